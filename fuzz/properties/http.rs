//! The response decoder: however the input is cut, heads, bodies and errors are the same; nothing
//! is made up, limits hold, and a head that says two things about the end of its body is refused.
//!
//! The first byte says how long the pieces are, and what the rest is: with an even one the stream,
//! with an odd one the body of a response that is put together here and has to come out whole.

use mio_chat::http::{Head, HttpError, Part, ResponseDecoder};
use mio_chat::limits::MAX_HTTP_HEAD_BYTES;

/// What a stream was decoded to; neighbouring pieces of a body are joined.
#[derive(Debug, PartialEq)]
enum Seen {
    Head(Head),
    Body(Vec<u8>),
    End,
    Error(HttpError),
}

pub fn check(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let piece = usize::from(first / 2).max(1);
    if first % 2 == 0 {
        stream(rest, piece);
    } else {
        round_trip(rest, piece);
    }
}

fn stream(stream: &[u8], piece: usize) {
    let whole = decode(std::iter::once(stream));
    assert_eq!(whole, decode(stream.chunks(piece)));
    let body = |seen: &Seen| if let Seen::Body(body) = seen { body.len() } else { 0 };
    assert!(whole.iter().map(body).sum::<usize>() <= stream.len());
    for (at, seen) in whole.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &whole[at]);
        match seen {
            Seen::Head(head) => {
                assert!(matches!(before, None | Some(Seen::End)));
                assert!(head.status >= 200 && head.status < 1000);
                let kept = head.content_type.as_ref().map_or(0, String::len);
                // A byte that is not UTF-8 becomes a character of three.
                assert!(kept <= 3 * MAX_HTTP_HEAD_BYTES);
            }
            Seen::Body(_) => assert!(matches!(before, Some(Seen::Head(_)))),
            Seen::End => assert!(matches!(before, Some(Seen::Head(_) | Seen::Body(_)))),
            Seen::Error(error) => {
                assert_eq!(at, whole.len() - 1);
                if *error == HttpError::HeadTooLarge {
                    assert!(stream.len() > MAX_HTTP_HEAD_BYTES);
                }
            }
        }
    }
    let head = first_head(stream);
    let says = |name: &[u8]| head.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name));
    if says(b"\ncontent-length:") && says(b"\ntransfer-encoding:") {
        assert!(matches!(whole[..], [Seen::Error(_)]));
    }
}

/// Up to and with the first empty line.
fn first_head(stream: &[u8]) -> &[u8] {
    let ends = |at: &usize| {
        let head = &stream[..*at];
        head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")
    };
    (0..=stream.len()).find(ends).map_or(stream, |at| &stream[..at])
}

/// The first byte says how the body's end is marked, the second how long its chunks are; the rest
/// is the body.
fn round_trip(data: &[u8], piece: usize) {
    let [how, chunk, body @ ..] = data else { return };
    let mut wire = b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n".to_vec();
    match how % 3 {
        0 => {
            wire.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            wire.extend(body);
        }
        1 => {
            wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(usize::from(*chunk).max(1)) {
                wire.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\nTrailer: t\r\n\r\n");
        }
        _ => {
            wire.extend(b"\r\n");
            wire.extend(body);
        }
    }
    let marked = how % 3 != 2;
    let mut expected = vec![Seen::Head(Head {
        status: 200,
        keep_alive: marked,
        content_type: Some("x/y".to_owned()),
        content_encoding: None,
        retry_after_secs: None,
    })];
    if !body.is_empty() {
        expected.push(Seen::Body(body.to_vec()));
    }
    expected.push(Seen::End);
    if marked {
        // Another one may follow.
        let again = wire.clone();
        wire.extend(again);
        let seen = decode(wire.chunks(piece));
        let (one, two) = seen.split_at(expected.len());
        assert_eq!(one, expected);
        assert_eq!(two[..expected.len()], expected);
        expected = seen;
        assert_eq!(expected.last(), Some(&Seen::Error(HttpError::NoResponse)));
    }
    assert_eq!(decode(std::iter::once(&wire[..])), expected);
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
                    assert_eq!(decoder.next_part(&mut &b"HTTP/1.1 200 OK\r\n\r\n"[..]), Err(error));
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
