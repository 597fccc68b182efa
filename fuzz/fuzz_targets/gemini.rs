//! What the service answers: any bytes as an event, an error body or the text of an answer are
//! survived; lines hold nothing forbidden, fit, and are the same however the text is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::config::Config;
use mio_chat::gemini::{Answer, AskError, Piece, reply};
use mio_chat::limits::{ANSWER_COLUMNS, ANSWER_LINES};
use mio_chat::text;

fn lines<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (Vec<String>, bool) {
    let mut answer = Answer::default();
    pieces.into_iter().for_each(|piece| answer.push(piece));
    answer.finish();
    (std::iter::from_fn(|| answer.next_line()).collect(), answer.is_cut())
}

fn check_error(error: &AskError) {
    for line in [error.to_string(), error.log_cause()] {
        assert_eq!(text::clean(line.as_bytes()), line);
        assert!(!line.contains("AIzaS3cret"));
    }
}

fuzz_target!(|data: &[u8]| {
    let get = |name: &str| (name == "GEMINI_API_KEY").then(|| "AIzaS3cret".to_owned());
    let Some(key) = Config::parse(get).ok().and_then(|config| config.gemini.key) else { return };
    let status = data.first().map_or(400, |byte| 300 + u16::from(*byte));
    check_error(&AskError::from_response(status, data.get(1..).unwrap_or_default(), &key));

    let mut written = String::from_utf8_lossy(data).into_owned();
    match reply::pieces(data, &key) {
        Err(error) => check_error(&error),
        Ok(pieces) => {
            for piece in pieces {
                if let Piece::Text(text) = piece {
                    written.push_str(&text);
                }
            }
        }
    }
    let (whole, cut) = lines([written.as_str()]);
    assert_eq!(lines(written.split_inclusive(|c: char| !c.is_alphanumeric())), (whole.clone(), cut));
    assert!(whole.len() <= ANSWER_LINES);
    for line in whole {
        for c in line.chars() {
            assert!(!c.is_control(), "{c:?}");
            let forbidden = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{200c}' | '\u{feff}');
            assert!(!forbidden, "{c:?}");
        }
        assert_eq!(text::clean(line.as_bytes()), line);
        assert!(text::width(&line) <= ANSWER_COLUMNS, "{line:?}");
    }
});
