//! The event stream decoder: however the input is cut, the events and stray lines are the same, and
//! the events are those that the standard finds.
//!
//! The first byte says how long the pieces are, and how often the rest is repeated; the rest is the
//! stream.

use mio_chat::http::{SseDecoder, SseError};
use mio_chat::limits::{MAX_SSE_EVENT_BYTES, MAX_SSE_STRAY_BYTES};

pub fn check(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else { return };
    let stream = stream.repeat(if first < 0xf0 { 1 } else { 50 });
    let piece = usize::from(first % 0xf0).max(1);
    let whole = decode(std::iter::once(&stream[..]));
    assert_eq!(whole, decode(stream.chunks(piece)));
    let (events, error, _) = whole;
    let expected = reference(&stream);
    match error {
        None => assert_eq!(events, expected),
        Some(SseError::TooLarge) => {
            assert!(stream.len() > MAX_SSE_EVENT_BYTES);
            assert!(expected.starts_with(&events));
        }
    }
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<SseError>, String) {
    let mut decoder = SseDecoder::default();
    let mut events = Vec::new();
    let mut error = None;
    for mut piece in pieces {
        loop {
            match decoder.next_event(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        if error.is_some() {
            break;
        }
        assert!(piece.is_empty());
    }
    match decoder.finish() {
        Ok(event) => {
            assert_eq!(error, None);
            events.extend(event);
            assert_eq!(decoder.finish(), Ok(None));
        }
        Err(e) => error = Some(e),
    }
    // A byte that is not UTF-8 becomes a character of three.
    assert!(events.iter().all(|event| event.len() <= 3 * MAX_SSE_EVENT_BYTES));
    assert!(decoder.stray().len() <= MAX_SSE_STRAY_BYTES);
    (events, error, decoder.stray().to_owned())
}

/// The data of all events (WHATWG HTML, 9.2.6), the one that only the stream's end ends included.
fn reference(stream: &[u8]) -> Vec<String> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' {
                    bytes.next_if_eq(&b'\n');
                }
                lines.push(std::mem::take(&mut line));
            }
            _ => line.push(byte),
        }
    }
    // What is left, and the empty line that the end of the stream stands for.
    lines.extend([line, Vec::new()]);
    let mut events = Vec::new();
    let mut data: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        if line.is_empty() && !data.is_empty() {
            let event = std::mem::take(&mut data).join(&b'\n');
            events.push(String::from_utf8_lossy(&event).into_owned());
        } else if line == b"data" {
            data.push(Vec::new());
        } else if let Some(value) = line.strip_prefix(b"data:") {
            data.push(value.strip_prefix(b" ").unwrap_or(value).to_vec());
        }
    }
    events
}
