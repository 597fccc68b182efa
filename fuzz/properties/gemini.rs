//! What the service answers: any bytes as an event, an error body, the text of an answer or a whole
//! response are survived; lines hold nothing forbidden, fit, and are the same however the text is
//! cut; nothing behind the end of an answer makes it fail; the key is never shown.

use std::time::Instant;

use crate::harmless;
use mio_chat::config::{Config, Secret};
use mio_chat::gemini::{Action, Answer, AskError, Call, Ending, Finish, Piece, reply};
use mio_chat::limits::{ANSWER_BYTES, ANSWER_COLUMNS, ANSWER_LINES, MAX_CAUSE_CHARS};
use mio_chat::text;

const KEY: &str = "AIzaS3cret";

pub fn check(data: &[u8]) {
    let get = |name: &str| (name == "GEMINI_API_KEY").then(|| KEY.to_owned());
    let key = Config::parse(get).unwrap().gemini.key.unwrap();
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    check_error(&AskError::from_response(300 + u16::from(*first), rest, &key));
    let typed = String::from_utf8_lossy(rest);
    let mut written = typed.clone().into_owned();
    match reply::pieces(rest, &key) {
        Err(error) => check_error(&error),
        Ok(pieces) => {
            for piece in pieces {
                if let Piece::Text(text) = piece {
                    assert!(!text.is_empty());
                    written.push_str(&text);
                }
            }
        }
    }
    layout(&written);
    round_trip(&typed, &key);
    quoted_key(&typed, u16::from(*first) + 300, &key);
    call(rest, usize::from(*first).max(1), &key);
    behind(rest, usize::from(*first).max(1), &key);
}

fn check_error(error: &AskError) {
    for line in [error.to_string(), error.log_cause()] {
        harmless::check(&line);
        assert!(!line.contains(KEY), "{line:?}");
        assert!(text::chars(&line) <= MAX_CAUSE_CHARS + 100);
    }
}

fn check_line(line: &str) {
    harmless::check(line);
    assert!(text::width(line) <= ANSWER_COLUMNS, "{line:?}");
}

fn lines<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (Vec<String>, bool) {
    let mut answer = Answer::default();
    let mut lines = Vec::new();
    for piece in pieces {
        answer.push(piece);
        lines.extend(std::iter::from_fn(|| answer.next_line()));
    }
    answer.finish();
    lines.extend(std::iter::from_fn(|| answer.next_line()));
    assert_eq!(lines.join("\n"), answer.text());
    (lines, answer.is_cut())
}

fn layout(written: &str) {
    let (whole, cut) = lines([written]);
    let words = written.split_inclusive(|c: char| !c.is_alphanumeric());
    assert_eq!(lines(words), (whole.clone(), cut));
    assert!(whole.len() <= ANSWER_LINES);
    whole.iter().for_each(|line| check_line(line));
    assert!(whole.first().is_none_or(|line| !line.is_empty()));
    if cut {
        assert!(written.len() > ANSWER_BYTES || whole.len() == ANSWER_LINES);
    }
}

/// Text that the service sends arrives as it is, and so does the reason for its end.
fn round_trip(typed: &str, key: &Secret) {
    let parts: Vec<_> = typed
        .split_inclusive(' ')
        .map(|text| serde_json::json!({ "text": text, "thoughtSignature": "x" }))
        .collect();
    let json = serde_json::json!({
        "candidates": [{ "content": { "parts": parts }, "finishReason": "MAX_TOKENS" }]
    });
    let mut expected = vec![Piece::Finished(Finish::MaxTokens)];
    if !typed.is_empty() {
        expected.insert(0, Piece::Text(typed.to_owned()));
    }
    assert_eq!(reply::pieces(json.to_string().as_bytes(), key), Ok(expected));
}

/// An error that quotes the key, split by what `typed` begins with.
fn quoted_key(typed: &str, code: u16, key: &Secret) {
    let (before, behind) = KEY.split_at(typed.len() % KEY.len());
    let hidden: String = typed.chars().take(1).filter(|c| harmless::is_forbidden(*c)).collect();
    let message = format!("{typed}{before}{hidden}{behind}{typed}");
    let error = serde_json::json!({
        "code": code, "status": message, "message": message, "details": [{ "reason": message }]
    });
    let body = serde_json::json!({ "error": error }).to_string();
    check_error(&AskError::from_response(code, body.as_bytes(), key));
    check_error(&reply::pieces(body.as_bytes(), key).unwrap_err());
    let body = serde_json::json!({ "candidates": [{ "finishReason": message }] }).to_string();
    for piece in reply::pieces(body.as_bytes(), key).unwrap() {
        let (Piece::Finished(finish), shown) = (piece, false) else { continue };
        if let Err(error) = reply::ending(Some(&finish), shown) {
            check_error(&error);
        }
    }
}

/// A whole response, however it is cut, leads to the same lines and the same end, which is the end.
fn call(response: &[u8], piece: usize, key: &Secret) {
    let whole = actions(std::iter::once(response), key);
    assert_eq!(whole, actions(response.chunks(piece), key));
    let mut lines = 0;
    for action in &whole {
        match action {
            Action::Line(line) => {
                check_line(line);
                lines += 1;
            }
            Action::Failed(error) => check_error(error),
            Action::Done(Ending::Whole | Ending::Cut) => assert!(lines > 0),
            Action::Open { .. } | Action::Send(_) | Action::Keep | Action::Close => {}
        }
    }
    assert!(lines <= ANSWER_LINES);
}

/// Nothing that stands behind the end of an answer makes it fail.
fn behind(rest: &[u8], piece: usize, key: &Secret) {
    const FINISHED: &[u8] =
        b"HTTP/1.1 200 OK\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":\
        [{\"text\":\"x\"}]},\"finishReason\":\"STOP\"}]}\n\n";
    let response = [FINISHED, rest].concat();
    let actions = actions(response.chunks(piece), key);
    assert!(matches!(actions.last(), Some(Action::Done(_))), "{actions:?}");
}

#[allow(clippy::disallowed_methods)]
fn actions<'a>(pieces: impl Iterator<Item = &'a [u8]>, key: &Secret) -> Vec<Action> {
    let now = Instant::now();
    let mut call = Call::new(now, b"request".to_vec(), key.clone(), 7);
    let mut actions: Vec<_> = std::iter::from_fn(|| call.poll_action()).collect();
    assert_eq!(actions, [Action::Open { fresh: false }]);
    call.handle_open(false);
    for piece in pieces {
        call.handle_bytes(now, piece);
        actions.extend(std::iter::from_fn(|| call.poll_action()));
    }
    call.handle_closed(now, "reset");
    actions.extend(std::iter::from_fn(|| call.poll_action()));
    // Whatever is still waited for, time ends it.
    let mut rounds = 0;
    while let Some(due) = call.poll_timeout() {
        call.handle_timeout(due);
        actions.extend(std::iter::from_fn(|| call.poll_action()));
        rounds += 1;
        assert!(rounds < 5);
    }
    let is_end = |action: &Action| matches!(action, Action::Done(_) | Action::Failed(_));
    assert_eq!(actions.iter().filter(|action| is_end(action)).count(), 1);
    assert!(actions.last().is_some_and(is_end));
    // Whether a connection may be kept depends on when the bytes come that nobody asked for.
    actions.iter_mut().filter(|a| **a == Action::Keep).for_each(|a| *a = Action::Close);
    actions
}
