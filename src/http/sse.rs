//! From the bytes of an event stream to the data of its events (WHATWG HTML, 9.2.6).
//!
//! Owns the unfinished line and the unfinished event of one stream, together never much more than
//! [`MAX_SSE_EVENT_BYTES`], and up to [`MAX_SSE_STRAY_BYTES`] of anything that does not belong
//! there. However the input is cut, the events are the same. Knows nothing about the data; names,
//! ids and retry times of events are ignored, because nothing here reconnects to a stream.

use std::fmt;

use crate::limits::{MAX_SSE_EVENT_BYTES, MAX_SSE_STRAY_BYTES};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What a line may hold in addition to the data of the largest event.
const LINE_OVERHEAD: usize = BYTE_ORDER_MARK.len() + b"data: ".len();
/// The most bytes that one character takes in UTF-8.
const MAX_CHAR_BYTES: usize = 4;

/// Why an event stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseError {
    /// An event has more than [`MAX_SSE_EVENT_BYTES`] of data, or a line is as long as that.
    TooLarge,
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("an event of the stream is too large"),
        }
    }
}

impl std::error::Error for SseError {}

/// The decoder of one stream.
#[derive(Debug, Default)]
pub struct SseDecoder {
    /// The unfinished line.
    line: Vec<u8>,
    /// A line was read, so no byte order mark can come any more.
    begun: bool,
    /// The last byte was a CR: an LF right after it belongs to the same line ending.
    after_cr: bool,
    /// The lines of the unfinished event's data, joined with newlines. `None` before the first.
    data: Option<Vec<u8>>,
    stray: String,
    failed: bool,
}

impl SseDecoder {
    /// Takes input from the front of `input` up to the end of the next event and gives its data:
    /// the values of its `data` fields, joined with newlines. Bytes that are not UTF-8 become
    /// U+FFFD. `None`: all of `input` was taken and no event is finished.
    ///
    /// # Errors
    /// [`SseError::TooLarge`], and every further call returns it again.
    pub fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<String>, SseError> {
        while !input.is_empty() {
            if self.failed {
                return Err(SseError::TooLarge);
            }
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                *input = rest;
                continue;
            }
            let end = input.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(input.len());
            let (run, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
            self.make_room(run.len())?;
            let Some((ending, rest)) = rest.split_first() else {
                *input = &[];
                self.line.extend_from_slice(run);
                return Ok(None);
            };
            *input = rest;
            self.after_cr = *ending == b'\r';
            let event = if self.line.is_empty() {
                self.end_line(run)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(run);
                self.end_line(&line)?
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        if self.failed { Err(SseError::TooLarge) } else { Ok(None) }
    }

    /// The end of the stream: the last event, if it has data and no empty line came after it.
    ///
    /// The standard throws such an event away, since a browser's connection may have been cut
    /// anywhere. Here the HTTP response says whether its body is complete, and a service may close
    /// right after the last line of its last event.
    ///
    /// # Errors
    /// [`SseError::TooLarge`], as from [`Self::next_event`].
    pub fn finish(&mut self) -> Result<Option<String>, SseError> {
        if self.failed {
            return Err(SseError::TooLarge);
        }
        let line = std::mem::take(&mut self.line);
        // An empty line ends the event, and so does the end of the stream.
        let event = if line.is_empty() { None } else { self.end_line(&line)? };
        Ok(event.or_else(|| self.end_event()))
    }

    /// Lines so far that do not belong to an event stream but may belong to a JSON text: they start
    /// with white space or one of `{}[]",` and name no field. Up to [`MAX_SSE_STRAY_BYTES`] of
    /// them, each with a newline; empty if there are none.
    ///
    /// A service that fails within a stream may send its error like this, bare, in place of an
    /// event.
    #[must_use]
    pub fn stray(&self) -> &str {
        &self.stray
    }

    /// Whether this much more may be kept.
    fn make_room(&mut self, len: usize) -> Result<(), SseError> {
        let kept = self.line.len() + self.data.as_ref().map_or(0, Vec::len);
        if kept + len > MAX_SSE_EVENT_BYTES + LINE_OVERHEAD { Err(self.fail()) } else { Ok(()) }
    }

    /// Reads one line without its ending. Gives the event that it ends, if any.
    fn end_line(&mut self, mut line: &[u8]) -> Result<Option<String>, SseError> {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let Some(first) = line.first() else { return Ok(self.end_event()) };
        // A line without a colon is a field with an empty value.
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        match field {
            b"data" => {
                let value = value.strip_prefix(b":").unwrap_or_default();
                self.add_data(value.strip_prefix(b" ").unwrap_or(value))?;
            }
            _ if first.is_ascii_whitespace() || b"{}[]\",".contains(first) => self.keep_stray(line),
            // A comment, or what only matters to a browser.
            _ => {}
        }
        Ok(None)
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), SseError> {
        let joined = self.data.as_ref().map_or(0, |data| data.len() + 1) + value.len();
        if joined > MAX_SSE_EVENT_BYTES {
            return Err(self.fail());
        }
        match &mut self.data {
            None => self.data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
        Ok(())
    }

    fn keep_stray(&mut self, line: &[u8]) {
        for char in String::from_utf8_lossy(line).chars().chain(['\n']) {
            // The same test for every character, so that nothing can follow one that was left out.
            if self.stray.len() + MAX_CHAR_BYTES > MAX_SSE_STRAY_BYTES {
                return;
            }
            self.stray.push(char);
        }
    }

    fn end_event(&mut self) -> Option<String> {
        let data = self.data.take()?;
        Some(String::from_utf8(data).unwrap_or_else(|error| {
            // Rare, and the only case that copies.
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }))
    }

    fn fail(&mut self) -> SseError {
        self.failed = true;
        self.line = Vec::new();
        self.data = None;
        SseError::TooLarge
    }
}

#[cfg(test)]
mod tests;
