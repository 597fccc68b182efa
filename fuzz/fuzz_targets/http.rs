//! The response decoder: however the input is cut, heads, bodies and errors are the same.
//!
//! The first byte says how long the pieces are; the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::http::{Head, HttpError, Part, ResponseDecoder};

/// What a stream was decoded to; neighbouring pieces of a body are joined.
#[derive(Debug, PartialEq)]
enum Seen {
    Head(Head),
    Body(Vec<u8>),
    End,
    Error(HttpError),
}

fn note(seen: &mut Vec<Seen>, part: Part<'_>) {
    match part {
        Part::Head(head) => seen.push(Seen::Head(head)),
        Part::Body(bytes) => {
            assert!(!bytes.is_empty());
            match seen.last_mut() {
                Some(Seen::Body(body)) => body.extend_from_slice(bytes),
                _ => seen.push(Seen::Body(bytes.to_vec())),
            }
        }
        Part::End => seen.push(Seen::End),
    }
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = ResponseDecoder::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next_part(&mut piece) {
                Ok(Some(part)) => note(&mut seen, part),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.finish(), Err(error));
                    seen.push(Seen::Error(error));
                    return seen;
                }
            }
        }
        assert!(piece.is_empty());
    }
    let idle = decoder.is_idle();
    match decoder.finish() {
        Ok(part) => note(&mut seen, part.expect("a part or an error")),
        Err(error) => {
            assert_eq!(idle, error == HttpError::NoResponse);
            seen.push(Seen::Error(error));
        }
    }
    seen
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    let pieces = decode(stream.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
});
