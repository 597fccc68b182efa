//! Bytes to responses: heads, bodies of known length, in chunks, or until the stream ends.
//!
//! Owns the unfinished head, chunk line or trailers of one connection, bounded in `limits`; bodies
//! are borrowed from the input and never kept. However the input is cut, the parts are the same,
//! except for where one piece of a body ends and the next begins. Every byte is looked at once: a
//! head is parsed only when its empty line is there, so that one that arrives byte by byte costs no
//! more than another. Knows only the answers to POST: those to HEAD have no body (RFC 9112, 6.3).

use std::fmt;

use super::head::{self, Framing, Head};
use crate::limits::{
    MAX_CHUNK_LINE_BYTES, MAX_HTTP_HEAD_BYTES, MAX_HTTP_HEADERS, MAX_INTERIM_RESPONSES,
    MAX_TRAILER_BYTES,
};

/// One part of a response: first its head, then pieces of its body, then its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// The head. Interim responses (1xx) are skipped.
    Head(Head),
    /// The next bytes of the body, at least one.
    Body(&'a [u8]),
    /// The response is complete.
    End,
}

/// Why what came is not a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// The stream ended before any byte of a response.
    NoResponse,
    /// The stream ended inside a response.
    CutShort,
    /// The head is longer than [`MAX_HTTP_HEAD_BYTES`].
    HeadTooLarge,
    /// The head does not have the form of RFC 9112, 4 and 5, or has a status that no response to us
    /// has.
    BadHead,
    /// The head names a version other than HTTP/1.0 and HTTP/1.1, or none.
    BadVersion,
    /// The head or the trailers have more than [`MAX_HTTP_HEADERS`] fields.
    TooManyHeaders,
    /// More than [`MAX_INTERIM_RESPONSES`] responses with a status of 1xx.
    TooManyInterim,
    /// A `Content-Length` that is not a number, or several that differ.
    BadLength,
    /// A `Transfer-Encoding` other than exactly `chunked`.
    BadTransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndChunked,
    /// A chunk without a size, with one that is too large, or without its line endings.
    BadChunk,
    /// The line with a chunk's size is longer than [`MAX_CHUNK_LINE_BYTES`].
    ChunkLineTooLong,
    /// The trailers are not header fields.
    BadTrailers,
    /// The trailers are longer than [`MAX_TRAILER_BYTES`].
    TrailersTooLarge,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoResponse => "the connection ended without a response",
            Self::CutShort => "the connection ended inside a response",
            Self::HeadTooLarge => "the head of the response is too large",
            Self::BadHead => "the head of the response is malformed",
            Self::BadVersion => "the response is not of HTTP/1.0 or HTTP/1.1",
            Self::TooManyHeaders => "the response has too many header fields",
            Self::TooManyInterim => "too many interim responses",
            Self::BadLength => "the response's Content-Length is malformed or contradicts itself",
            Self::BadTransferEncoding => "the response's Transfer-Encoding is not chunked",
            Self::LengthAndChunked => "the response has a Content-Length and a Transfer-Encoding",
            Self::BadChunk => "a chunk of the response is malformed",
            Self::ChunkLineTooLong => "the line with a chunk's size is too long",
            Self::BadTrailers => "the trailers of the response are malformed",
            Self::TrailersTooLarge => "the trailers of the response are too large",
        })
    }
}

impl std::error::Error for HttpError {}

/// The decoder of one connection, for one response after another.
#[derive(Debug, Default)]
pub struct ResponseDecoder {
    state: State,
    /// What has arrived of a head, a chunk line or trailers.
    held: Vec<u8>,
    /// Where in `held` its last line starts.
    line_start: usize,
    /// Interim responses since the last real one.
    interim: u8,
}

/// What comes next in the stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// This many bytes of a body.
    Length(u64),
    UntilClose,
    ChunkLine,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The CR after a chunk, then its LF.
    ChunkCr,
    ChunkLf,
    Trailers,
    Failed(HttpError),
}

impl ResponseDecoder {
    /// Whether no byte of a response has come since the last one ended: a new one may start, and
    /// the stream may end without anything being lost.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Head && self.held.is_empty() && self.interim == 0
    }

    /// Takes input from the front of `input` up to the end of the next part and gives that part.
    /// `None`: all of `input` was taken and no part is finished. To be called until it gives `None`
    /// or [`Part::End`], which needs no input of its own.
    ///
    /// Anything after the end of a response is left in `input`; a further call takes it as the
    /// start of the next response. Do not make that call if no further response was asked for.
    ///
    /// # Errors
    /// What the peer did wrong, once and for all: every further call returns the same error.
    pub fn next_part<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Part<'i>>, HttpError> {
        self.step(input).map_err(|error| self.fail(error))
    }

    /// The end of the stream. It ends a body that has no other end, which gives [`Part::End`];
    /// nothing else is given here. The return type is that of [`Self::next_part`], so that a caller
    /// can treat both alike.
    ///
    /// # Errors
    /// [`HttpError::NoResponse`] before any byte of a response, [`HttpError::CutShort`] inside one,
    /// and the error of an earlier call again.
    pub fn finish(&mut self) -> Result<Option<Part<'static>>, HttpError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::UntilClose | State::Length(0) => Ok(Some(self.end())),
            _ if self.is_idle() => Err(self.fail(HttpError::NoResponse)),
            _ => Err(self.fail(HttpError::CutShort)),
        }
    }

    fn step<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Part<'i>>, HttpError> {
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Length(0) => return Ok(Some(self.end())),
                State::Chunk(0) => self.state = State::ChunkCr,
                _ if input.is_empty() => return Ok(None),
                State::Head => {
                    if self.take_section(input, MAX_HTTP_HEAD_BYTES, HttpError::HeadTooLarge)?
                        && let Some(head) = self.read_head()?
                    {
                        return Ok(Some(Part::Head(head)));
                    }
                }
                State::Length(rest) => {
                    let piece = take_body(input, rest);
                    self.state = State::Length(rest - piece.len() as u64);
                    return Ok(Some(Part::Body(piece)));
                }
                State::Chunk(rest) => {
                    let piece = take_body(input, rest);
                    self.state = State::Chunk(rest - piece.len() as u64);
                    return Ok(Some(Part::Body(piece)));
                }
                State::UntilClose => return Ok(Some(Part::Body(std::mem::take(input)))),
                State::ChunkLine => {
                    if self.take_line(input, MAX_CHUNK_LINE_BYTES, HttpError::ChunkLineTooLong)? {
                        self.state = match chunk_size(&self.take_held())? {
                            0 => State::Trailers,
                            size => State::Chunk(size),
                        };
                    }
                }
                State::ChunkCr => self.state = take_byte(input, b'\r', State::ChunkLf)?,
                State::ChunkLf => self.state = take_byte(input, b'\n', State::ChunkLine)?,
                State::Trailers => {
                    if self.take_section(input, MAX_TRAILER_BYTES, HttpError::TrailersTooLarge)? {
                        check_trailers(&self.take_held())?;
                        return Ok(Some(self.end()));
                    }
                }
            }
        }
    }

    /// Reads the head that is held. `None` for an interim response.
    fn read_head(&mut self) -> Result<Option<Head>, HttpError> {
        let Some((head, framing)) = head::parse(&self.take_held())? else {
            self.interim += 1;
            let bearable = self.interim <= MAX_INTERIM_RESPONSES;
            return if bearable { Ok(None) } else { Err(HttpError::TooManyInterim) };
        };
        self.state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose => State::UntilClose,
        };
        Ok(Some(head))
    }

    /// Takes input up to and including the next empty line. True if it is there; everything up to
    /// it is then held.
    fn take_section(
        &mut self,
        input: &mut &[u8],
        max: usize,
        too_long: HttpError,
    ) -> Result<bool, HttpError> {
        while self.take_line(input, max, too_long)? {
            let line = self.held.get(self.line_start..);
            if matches!(line, Some(b"\r\n" | b"\n")) {
                return Ok(true);
            }
            self.line_start = self.held.len();
        }
        Ok(false)
    }

    /// Takes input up to and including the next newline. True if it is there.
    fn take_line(
        &mut self,
        input: &mut &[u8],
        max: usize,
        too_long: HttpError,
    ) -> Result<bool, HttpError> {
        let newline = input.iter().position(|byte| *byte == b'\n');
        let taken = newline.map_or(input.len(), |at| at + 1);
        if self.held.len() + taken > max {
            return Err(too_long);
        }
        let (line, rest) = input.split_at_checked(taken).unwrap_or((input, &[]));
        self.held.extend_from_slice(line);
        *input = rest;
        Ok(newline.is_some())
    }

    fn take_held(&mut self) -> Vec<u8> {
        self.line_start = 0;
        std::mem::take(&mut self.held)
    }

    fn end(&mut self) -> Part<'static> {
        *self = Self::default();
        Part::End
    }

    fn fail(&mut self, error: HttpError) -> HttpError {
        *self = Self { state: State::Failed(error), ..Self::default() };
        error
    }
}

/// Takes from the front of the input what belongs to a body with this many bytes left.
fn take_body<'i>(input: &mut &'i [u8], rest: u64) -> &'i [u8] {
    let len = usize::try_from(rest).unwrap_or(usize::MAX).min(input.len());
    let (piece, behind) = input.split_at_checked(len).unwrap_or((input, &[]));
    *input = behind;
    piece
}

/// Takes one byte of a chunk's ending, which must be this one; `next` is the state after it.
fn take_byte(input: &mut &[u8], expected: u8, next: State) -> Result<State, HttpError> {
    *input = input.strip_prefix(&[expected]).ok_or(HttpError::BadChunk)?;
    Ok(next)
}

/// The size in a chunk line, line ending included (RFC 9112, 7.1).
fn chunk_size(line: &[u8]) -> Result<u64, HttpError> {
    // httparse takes a line without digits as a size of 0.
    if !line.first().is_some_and(u8::is_ascii_hexdigit) {
        return Err(HttpError::BadChunk);
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((len, size))) if len == line.len() => Ok(size),
        _ => Err(HttpError::BadChunk),
    }
}

/// Trailers are read to make sure that they are trailers, and then ignored (RFC 9112, 7.1.2).
fn check_trailers(bytes: &[u8]) -> Result<(), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let lines_end = bytes.split_inclusive(|byte| *byte == b'\n').all(|l| l.ends_with(b"\r\n"));
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((len, _))) if lines_end && len == bytes.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::TooManyHeaders),
        _ => Err(HttpError::BadTrailers),
    }
}

#[cfg(test)]
mod tests;
