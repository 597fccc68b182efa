use super::*;
use proptest::prelude::*;

/// The events of a stream in these pieces, the error if there is one, and the stray lines.
type Decoded = (Vec<String>, Option<SseError>, String);

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = SseDecoder::default();
    let mut events = Vec::new();
    let mut error = None;
    for mut piece in pieces {
        while error.is_none() {
            match decoder.next_event(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(found) => error = Some(found),
            }
        }
        assert!(error.is_some() || piece.is_empty());
        let data = decoder.data.as_ref();
        let kept = decoder.line.len() + data.map_or(0, Vec::len);
        let reserved = decoder.line.capacity() + data.map_or(0, Vec::capacity);
        assert!(kept <= MAX_SSE_EVENT_BYTES + LINE_OVERHEAD);
        assert!(reserved <= 4 * MAX_SSE_EVENT_BYTES);
        assert!(decoder.stray.len() <= MAX_SSE_STRAY_BYTES);
    }
    match decoder.finish() {
        Ok(event) => events.extend(event),
        // Said again, or for the first time: the last line has its end only now.
        Err(found) => assert_eq!(*error.get_or_insert(found), found),
    }
    (events, error, decoder.stray().to_owned())
}

/// The events of a stream without errors, which must not depend on how it is cut.
fn events(stream: &[u8]) -> Vec<String> {
    let whole = decode([stream]);
    assert_eq!(decode(stream.chunks(1)), whole);
    assert_eq!(whole.1, None);
    whole.0
}

fn stray(stream: &str) -> String {
    decode([stream.as_bytes()]).2
}

#[test]
fn line_endings() {
    let expected = ["a\nb", "c"];
    for ending in ["\n", "\r", "\r\n"] {
        let stream = "data: a|data: b||data: c||".replace('|', ending);
        assert_eq!(events(stream.as_bytes()), expected, "{ending:?}");
    }
    assert_eq!(events(b"data: a\rdata: b\n\rdata: c\r\n\n"), expected);
    // CR LF is one ending and not an empty line, also where it is cut.
    assert_eq!(events(b"data: a\r\ndata: b\r\n\r\n\r\ndata: c\r\n\r\n"), expected);
}

#[test]
fn an_event_is_given_as_soon_as_its_empty_line_is_there() {
    let mut decoder = SseDecoder::default();
    let mut input = &b"data: a\r\r"[..];
    assert_eq!(decoder.next_event(&mut input), Ok(Some("a".to_owned())));
    let mut input = &b"\ndata: b\n\nrest"[..];
    assert_eq!(decoder.next_event(&mut input), Ok(Some("b".to_owned())));
    assert_eq!(input, b"rest");
}

/// The examples of WHATWG HTML, 9.2.6, the end of the stream apart.
#[test]
fn the_examples_of_the_standard() {
    assert_eq!(events(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    let four =
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third";
    assert_eq!(events(four), ["first event", "second event", " third"]);
    assert_eq!(events(b"data\n\ndata\ndata\n\ndata:"), ["", "\n", ""]);
    assert_eq!(events(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
}

#[test]
fn fields_other_than_data_are_ignored_and_events_without_data_not_given() {
    let stream = b"event: x\nid: 1\nretry: 5\n\n: comment\n\nevent: y\nDATA: no\nDatax: no\n\n";
    assert_eq!(events(stream), [""; 0]);
    assert_eq!(events(b"event: x\ndata: a\nunknown\nid: 7\n: data: b\ndata: c\n\n"), ["a\nc"]);
    assert_eq!(stray("event: x\nid: 1\nretry: 5\n: comment\nunknown\nDATA: no\n\n"), "");
}

#[test]
fn only_the_first_line_may_have_a_byte_order_mark() {
    assert_eq!(events(b"\xef\xbb\xbfdata: a\n\n"), ["a"]);
    assert_eq!(events(b"\xef\xbb\xbf\n\xef\xbb\xbfdata: a\n\n"), [""; 0]);
    assert_eq!(events(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n"), [""; 0]);
    assert_eq!(events(b"\xef\xbb\xbf"), [""; 0]);
}

#[test]
fn the_last_event_needs_no_empty_line() {
    assert_eq!(events(b"data: a\n\ndata: b\ndata: c"), ["a", "b\nc"]);
    assert_eq!(events(b"data: a\n"), ["a"]);
    assert_eq!(events(b"data: a\r"), ["a"]);
    assert_eq!(events(b"data: a\n\n: bye"), ["a"]);
    assert_eq!(events(b""), [""; 0]);
}

#[test]
fn what_is_not_utf_8_is_replaced() {
    assert_eq!(events(b"data: a\xffb\ndata: \xe2\x82\n\n"), ["a\u{fffd}b\n\u{fffd}"]);
    assert_eq!(events("data: \u{20ac}\n\n".as_bytes()), ["\u{20ac}"]);
}

#[test]
fn a_bare_json_text_is_seen_beside_the_events() {
    let error = "{\n  \"error\": {\n    \"code\": 503\n  }\n}\n";
    let stream = format!("data: a\n\n{}data: b\n\n", error.replace('\n', "\r\n"));
    assert_eq!(stray(&stream), error);
    assert_eq!(events(stream.as_bytes()), ["a", "b"]);
    assert_eq!(stray("[{\n\"data\": 1}\n,\r\n{}]"), "[{\n\"data\": 1}\n,\n{}]\n");
    assert_eq!(stray(" data: a\n\n<html>\n\n"), " data: a\n");
}

#[test]
fn stray_lines_are_bounded() {
    let long = format!("{{{}\n", "\u{20ac}".repeat(MAX_SSE_STRAY_BYTES / 4)).into_bytes();
    let (_, error, stray) = decode([&long[..], &long[..], b"{}\n", b"{\n"]);
    assert_eq!(error, None);
    assert!((MAX_SSE_STRAY_BYTES - MAX_CHAR_BYTES..=MAX_SSE_STRAY_BYTES).contains(&stray.len()));
    assert!(stray.ends_with('\u{20ac}'));
    // As long as a character of any size fits, one is taken.
    let ascii = format!("{{{}\n", "x".repeat(MAX_SSE_STRAY_BYTES / 2)).into_bytes();
    let (_, _, stray) = decode([&ascii[..], &ascii[..]]);
    assert_eq!(stray.len(), MAX_SSE_STRAY_BYTES - MAX_CHAR_BYTES + 1);
}

#[test]
fn the_largest_event_fits_and_one_byte_more_does_not() {
    let half = "h".repeat(MAX_SSE_EVENT_BYTES / 2);
    let next = "\n\ndata: next\n\n";
    for start in ["", "\u{feff}"] {
        let fits = format!("{start}data: {half}\ndata: {}{next}", &half[1..]);
        assert_eq!(events(fits.as_bytes()), [&format!("{half}\n{}", &half[1..]), "next"]);
        let fits = format!("{start}data: {half}{half}{next}");
        assert_eq!(events(fits.as_bytes()), [&half.repeat(2), "next"]);
        for long in [format!("data: {half}\ndata: {half}"), format!("data:{half}h{half}")] {
            let long = format!("{start}data: first\n\n{long}{next}");
            let expected = (vec!["first".to_owned()], Some(SseError::TooLarge), String::new());
            assert_eq!(decode([long.as_bytes()]), expected);
            assert_eq!(decode(long.as_bytes().chunks(1)), expected);
        }
    }
}

#[test]
fn the_error_reads_as_a_sentence() {
    assert_eq!(SseError::TooLarge.to_string(), "an event of the stream is too large");
}

#[test]
fn an_endless_line_is_refused_and_nothing_of_it_kept() {
    let mut decoder = SseDecoder::default();
    let piece = [b':'; 4096];
    let mut taken = 0;
    while decoder.next_event(&mut &piece[..]) == Ok(None) {
        taken += piece.len();
        assert!(taken <= MAX_SSE_EVENT_BYTES + LINE_OVERHEAD);
    }
    assert_eq!(decoder.line.capacity(), 0);
    assert_eq!(decoder.next_event(&mut &b"data: a\n\n"[..]), Err(SseError::TooLarge));
    assert_eq!(decoder.next_event(&mut &[][..]), Err(SseError::TooLarge));
    assert_eq!(decoder.finish(), Err(SseError::TooLarge));
}

/// A stream and the events in it.
fn valid() -> impl Strategy<Value = (Vec<u8>, Vec<String>)> {
    let ending = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
    let noise = prop_oneof![
        Just(String::new()),
        "(: ?[a-z]{0,5}|id: 3|event:x|retry|foo: bar)".prop_map(|line| line + "|"),
    ];
    let value = "[ :a-z\u{e9}\u{20ac}\u{1f600}]{0,8}";
    let event = proptest::collection::vec((noise, value), 1..4);
    (ending, proptest::collection::vec(event, 0..5), any::<bool>()).prop_map(
        |(ending, events, whole)| {
            let mut stream = String::new();
            let mut expected = Vec::new();
            for lines in events {
                for (noise, value) in &lines {
                    stream += noise;
                    stream += "data: ";
                    stream += value;
                    stream.push('|');
                }
                stream.push('|');
                expected.push(lines.into_iter().map(|line| line.1).collect::<Vec<_>>().join("\n"));
            }
            if !whole && !expected.is_empty() {
                stream.pop();
            }
            (stream.replace('|', ending).into_bytes(), expected)
        },
    )
}

/// Streams made of what matters to the decoder, long runs included.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => "(data|data:|data: |:|id: |[{\\[\"} ,]|[a-z ]{0,8}|\r|\n|\r\n|\u{feff}|\u{20ac}){0,12}"
            .prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (0..8usize, "(data: ?|: ?|\\{)?").prop_map(|(more, start)| {
            [start.as_bytes(), &vec![b'l'; MAX_SSE_EVENT_BYTES / 2 - 4 + more]].concat()
        }),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_was_sent_is_what_comes((stream, expected) in valid()) {
        prop_assert_eq!(events(&stream), expected);
    }

    #[test]
    fn splitting_does_not_matter(
        stream in any_stream(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let whole = decode([&stream[..]]);
        prop_assert_eq!(&decode(stream.chunks(1)), &whole);
        prop_assert_eq!(decode(crate::http::pieces(&stream, &cuts)), whole);
    }
}
