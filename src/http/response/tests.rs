use super::*;
use proptest::prelude::*;

/// What a stream was decoded to; neighbouring pieces of a body are joined.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Head(u16),
    Body(Vec<u8>),
    End,
    Error(HttpError),
}

/// Every response of a stream that arrives in these pieces, up to its end or the first error.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = ResponseDecoder::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        loop {
            let part = decoder.next_part(&mut piece);
            assert!(decoder.held.capacity() <= 2 * MAX_HTTP_HEAD_BYTES);
            match part {
                Ok(Some(part)) => note(&mut seen, part),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_part(&mut &b"HTTP/1.1 200"[..]), Err(error));
                    assert_eq!(decoder.finish(), Err(error));
                    seen.push(Seen::Error(error));
                    return seen;
                }
            }
        }
        assert!(piece.is_empty());
    }
    match decoder.finish() {
        Ok(Some(part)) => note(&mut seen, part),
        Ok(None) => unreachable!("finish gives a part or an error"),
        Err(HttpError::NoResponse) => assert!(matches!(seen.last(), None | Some(Seen::End))),
        Err(error) => seen.push(Seen::Error(error)),
    }
    seen
}

fn note(seen: &mut Vec<Seen>, part: Part<'_>) {
    match part {
        Part::Head(head) => seen.push(Seen::Head(head.status)),
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

/// What a stream gives, which must not depend on how it is cut.
fn seen(stream: impl AsRef<[u8]>) -> Vec<Seen> {
    let stream = stream.as_ref();
    let whole = decode([stream]);
    assert_eq!(decode(stream.chunks(1)), whole);
    whole
}

fn response(status: u16, body: &[u8]) -> Vec<Seen> {
    let body = (!body.is_empty()).then(|| Seen::Body(body.to_vec()));
    std::iter::once(Seen::Head(status)).chain(body).chain([Seen::End]).collect()
}

/// A response in chunks, up to its first chunk line.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The last thing that is seen of a response in chunks whose body is this on the wire.
fn chunked(body: &str) -> Seen {
    seen(format!("{CHUNKED}{body}")).pop().unwrap()
}

#[test]
fn a_body_of_known_length() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(seen(stream), response(200, b"hello"));
    assert_eq!(seen("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"), response(404, b""));
    let cut = [Seen::Head(200), Seen::Body(b"hell".to_vec()), Seen::Error(HttpError::CutShort)];
    assert_eq!(seen(&stream[..stream.len() - 1]), cut);
}

#[test]
fn a_body_until_the_stream_ends() {
    assert_eq!(seen("HTTP/1.1 200 OK\r\n\r\nhello\r\n"), response(200, b"hello\r\n"));
    assert_eq!(seen("HTTP/1.0 200 OK\r\n\r\n"), response(200, b""));
    assert_eq!(seen("HTTP/1.1 200 OK\n\nbare newlines"), response(200, b"bare newlines"));
}

/// RFC 9112, 7.1.
#[test]
fn a_body_in_chunks() {
    let body = "5\r\nhello\r\n00a;name=\"va;lue\"; x\r\n, world!\r\n\r\n1 ; ext\r\n.\r\n0\r\n\r\n";
    assert_eq!(seen(format!("{CHUNKED}{body}")), response(200, b"hello, world!\r\n."));
    let trailers = "B\r\nhello world\r\n000;last\r\nExpires: never\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(seen(format!("{CHUNKED}{trailers}")), response(200, b"hello world"));
}

#[test]
fn bad_chunks() {
    let bad = [
        "\r\n",
        " 5\r\nhello",
        "g\r\n",
        "-5\r\n",
        "+5\r\n",
        "0x5\r\n",
        ";ext\r\n",
        "5 5\r\n",
        "5\n",
        "5;ext\nhello",
        "5\r\nhello\n",
        "5\r\nhello5\r\n",
        "5\r\nhello\rx",
        "5\r\nhello\r\r",
        "5;a\rb\r\n",
        "5\r\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
    ];
    for bad in bad {
        assert_eq!(chunked(bad), Seen::Error(HttpError::BadChunk), "{bad:?}");
    }
    for cut in
        ["", "5", "5\r\nhel", "5\r\nhello\r", "ffffffffffffffff\r\nx", "0\r\n", "0\r\nA: b\r\n"]
    {
        assert_eq!(chunked(cut), Seen::Error(HttpError::CutShort), "{cut:?}");
    }
    for bad in ["0\r\n\n", "0\r\nA: b\n\r\n", "0\r\nnothing\r\n\r\n", "0\r\nA: b\r\n c\r\n\r\n"] {
        assert_eq!(chunked(bad), Seen::Error(HttpError::BadTrailers), "{bad:?}");
    }
}

#[test]
fn bounds_of_chunk_lines_and_trailers() {
    let line = |len: usize| format!("1;{}\r\n", "e".repeat(len - 4));
    let end = "x\r\n0\r\n\r\n";
    assert_eq!(chunked(&(line(MAX_CHUNK_LINE_BYTES) + end)), Seen::End);
    let error = Seen::Error(HttpError::ChunkLineTooLong);
    assert_eq!(chunked(&(line(MAX_CHUNK_LINE_BYTES + 1) + end)), error);
    let trailers = |len: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(len - 7));
    assert_eq!(chunked(&trailers(MAX_TRAILER_BYTES)), Seen::End);
    let error = Seen::Error(HttpError::TrailersTooLarge);
    assert_eq!(chunked(&trailers(MAX_TRAILER_BYTES + 1)), error);
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(MAX_HTTP_HEADERS + 1));
    assert_eq!(chunked(&many), Seen::Error(HttpError::TooManyHeaders));
}

#[test]
fn the_largest_head_fits_and_one_byte_more_does_not() {
    let head = |len: usize| {
        let start = "HTTP/1.1 204 No Content\r\nA: ";
        format!("{start}{}\r\n\r\n", "b".repeat(len - start.len() - 4))
    };
    assert_eq!(seen(head(MAX_HTTP_HEAD_BYTES)), response(204, b""));
    let error = [Seen::Error(HttpError::HeadTooLarge)];
    assert_eq!(seen(head(MAX_HTTP_HEAD_BYTES + 1)), error);
    assert_eq!(seen("\r".repeat(100_000)), error);
    assert_eq!(seen("A: b\r\n".repeat(100_000)), error);
}

/// RFC 9110, 15.2.
#[test]
fn interim_responses_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(seen(format!("{interim}{last}")), response(200, b"x"));
    assert_eq!(seen(interim), [Seen::Error(HttpError::CutShort)]);
    let most = usize::from(MAX_INTERIM_RESPONSES);
    let many = |count| "HTTP/1.1 102 Processing\r\n\r\n".repeat(count) + last;
    // Counted for each response anew.
    let twice = many(most).repeat(2);
    assert_eq!(seen(twice), [response(200, b"x"), response(200, b"x")].concat());
    assert_eq!(seen(many(most + 1)), [Seen::Error(HttpError::TooManyInterim)]);
}

/// RFC 9112, 6.3, and RFC 9110, 15.3.5 and 15.4.5.
#[test]
fn responses_without_body() {
    assert_eq!(seen("HTTP/1.1 204 No Content\r\n\r\n"), response(204, b""));
    let cached = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(seen(cached.repeat(2)), [response(304, b""), response(304, b"")].concat());
}

#[test]
fn what_stands_behind_the_end_is_left() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore";
    let chunks = format!("{CHUNKED}2\r\nok\r\n0\r\n\r\nmore");
    for stream in [stream, &chunks] {
        let mut decoder = ResponseDecoder::default();
        let mut input = stream.as_bytes();
        assert!(decoder.is_idle());
        let head = decoder.next_part(&mut input);
        assert!(matches!(head, Ok(Some(Part::Head(Head { keep_alive: true, .. })))));
        assert_eq!(decoder.next_part(&mut input), Ok(Some(Part::Body(b"ok"))));
        assert!(!decoder.is_idle());
        assert_eq!(decoder.next_part(&mut input), Ok(Some(Part::End)));
        assert!(decoder.is_idle());
        assert_eq!(input, b"more");
        assert_eq!(decoder.next_part(&mut input), Ok(None));
        assert!(!decoder.is_idle());
        assert_eq!(decoder.finish(), Err(HttpError::CutShort));
    }
}

#[test]
fn the_end_of_the_stream() {
    assert_eq!(ResponseDecoder::default().finish(), Err(HttpError::NoResponse));
    assert_eq!(seen("H"), [Seen::Error(HttpError::CutShort)]);
    assert_eq!(seen("HTTP/1.1 200 OK\r\nA: b\r\n"), [Seen::Error(HttpError::CutShort)]);
    // An end that is due and was not asked for is still given.
    let mut decoder = ResponseDecoder::default();
    let head = decoder.next_part(&mut &b"HTTP/1.1 204 No Content\r\n\r\n"[..]);
    assert!(matches!(head, Ok(Some(Part::Head(_)))));
    assert_eq!(decoder.finish(), Ok(Some(Part::End)));
    assert_eq!(decoder.finish(), Err(HttpError::NoResponse));
}

#[test]
fn errors_read_as_sentences() {
    let error = HttpError::CutShort.to_string();
    assert_eq!(error, "the connection ended inside a response");
}

#[test]
fn what_is_no_http() {
    for (stream, error) in [
        ("\r\n\r\n", HttpError::BadHead),
        ("\nHTTP/1.1 200 OK\r\n\r\n", HttpError::BadHead),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", HttpError::BadVersion),
        ("HTTP/1.1 200 OK\r\nA: b\r\n\tfolded\r\n\r\n", HttpError::BadHead),
        ("HTTP/1.1 200 OK\r\nA: b\r\n \r\n\r\n", HttpError::BadHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HttpError::BadLength),
    ] {
        assert_eq!(seen(stream), [Seen::Error(error)], "{stream:?}");
    }
}

/// A response as it is sent, and what is to be seen of it. One that is not delimited comes last.
fn one(delimited: bool) -> impl Strategy<Value = (Vec<u8>, Vec<Seen>)> {
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    let framing = if delimited { 0..2u8 } else { 2..3 };
    let interim = "(HTTP/1\\.1 10[023] x\r\nA: b\r\n\r\n){0,2}";
    let head = ("[a-zA-Z-]{1,8}: [ -~]{0,20}", interim, 200..600u16, 1..90usize, framing, body);
    head.prop_map(|(field, interim, status, size, framing, body)| {
        let status = if matches!(status, 204 | 304) { 200 } else { status };
        let mut wire = format!("{interim}HTTP/1.1 {status} Some Reason\r\nX-{field}\r\n");
        match framing {
            0 => wire += &format!("Content-Length: {}\r\n\r\n", body.len()),
            1 => wire += "Transfer-Encoding: chunked\r\n\r\n",
            _ => wire += "\r\n",
        }
        let mut wire = wire.into_bytes();
        if framing == 1 {
            for chunk in body.chunks(size) {
                wire.extend(format!("{:x}{}\r\n", chunk.len(), &";e=1"[..size % 5]).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\nTrailer: x\r\n\r\n");
        } else {
            wire.extend(&body);
        }
        (wire, response(status, &body))
    })
}

fn valid() -> impl Strategy<Value = (Vec<u8>, Vec<Seen>)> {
    (proptest::collection::vec(one(true), 0..4), proptest::option::of(one(false))).prop_map(
        |(kept, last)| {
            let (wire, expected): (Vec<_>, Vec<_>) = kept.into_iter().chain(last).unzip();
            (wire.concat(), expected.concat())
        },
    )
}

/// Bytes that mean something in a response.
fn meaningful() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[\r\n;: 0-9a-f]{0,4}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..4),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        (1000..20_000usize).prop_map(|len| vec![b'0'; len]),
    ]
}

proptest! {
    #[test]
    fn what_was_sent_is_what_comes((stream, expected) in valid()) {
        prop_assert_eq!(seen(&stream), expected);
    }

    #[test]
    fn splitting_does_not_matter(
        (mut stream, _) in valid(),
        corruptions in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0..6usize, meaningful()), 0..4
        ),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        for (at, len, bytes) in corruptions {
            let at = at.index(stream.len() + 1);
            let until = stream.len().min(at + len);
            stream.splice(at..until, bytes);
        }
        let whole = seen(&stream);
        prop_assert_eq!(decode(crate::http::pieces(&stream, &cuts)), whole);
    }
}
