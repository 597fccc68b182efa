//! What the service's answer says: the JSON of one event of the stream, read with tolerance.
//!
//! Unknown members, values of unexpected types and new reasons are skipped; only something that is
//! not a JSON object at all is an error. Text comes out as the service wrote it: cleaning and
//! layout are [`Answer`](super::Answer)'s business. Owns no state.

use super::error::{AskError, Cause, Reason};
use super::fault::Fault;
use super::json::Json;
use crate::config::Secret;

/// What an event brings. Events may follow the one that says how the answer finished; they bring no
/// more text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next part of the answer, never empty.
    Text(String),
    /// There is no more of it.
    Finished(Finish),
}

/// How an answer finished, from its `finishReason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model had nothing more to say.
    Stop,
    /// It was cut off at the requested number of tokens.
    MaxTokens,
    /// It was stopped because of what it said or was about to say.
    Blocked(Reason),
    /// Something else, perhaps a reason that did not exist when this was written.
    Other(Reason),
}

/// How an answer turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is complete.
    Whole,
    /// It stops before its end, but can be used.
    Cut,
}

impl Finish {
    /// `None` for the values that mean no reason.
    fn from_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "" | "FINISH_REASON_UNSPECIFIED" => return None,
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::MaxTokens,
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => {
                Self::Blocked(Reason::new(reason))
            }
            _ => Self::Other(Reason::new(reason)),
        })
    }
}

/// The pieces in one event of the stream, in order; an event without pieces is nothing unusual.
///
/// # Errors
/// The service reports an error (perhaps in mid-stream, or in an array), the question is blocked,
/// or this is not a JSON object. `null`, nothing and `[DONE]` are not errors, nor is anything after
/// a finish.
pub fn pieces(json: &[u8], key: &Secret) -> Result<Vec<Piece>, AskError> {
    match json.trim_ascii() {
        b"" => return Ok(Vec::new()),
        // How gateways that speak for several services end their streams.
        b"[DONE]" => return Ok(vec![Piece::Finished(Finish::Stop)]),
        _ => {}
    }
    let value = Json::read(json)
        .map_err(|e| AskError::Unusable(Cause::without_key(&format!("no JSON: {e}"), key)))?;
    let objects = match &value {
        Json::List(objects) => objects,
        object => std::slice::from_ref(object),
    };
    let mut found = Vec::new();
    let mut finished = false;
    for object in objects.iter().filter(|object| **object != Json::Null) {
        let result = match object {
            Json::Object(_) => read(object, key, &mut found),
            _ => Err(AskError::Unusable(Cause::new("no JSON object"))),
        };
        // What comes after the end of an answer can add to it, and cannot spoil it.
        finished |= matches!(found.last(), Some(Piece::Finished(_)));
        if !finished {
            result?;
        }
    }
    Ok(found)
}

/// One `GenerateContentResponse`, or an error in its place.
fn read(object: &Json<'_>, key: &Secret, found: &mut Vec<Piece>) -> Result<(), AskError> {
    const OK: u16 = 200;
    if let Some(fault) = Fault::find(object) {
        return Err(AskError::classify(OK, &fault, key));
    }
    let Some(candidate) = object.get("candidates").and_then(|list| list.list().first()) else {
        let feedback = object.get("promptFeedback");
        let reason = feedback.and_then(|feedback| feedback.get("blockReason")?.as_str());
        return match reason {
            None | Some("" | "BLOCK_REASON_UNSPECIFIED") => Ok(()),
            Some(reason) => Err(AskError::PromptBlocked(Reason::new(reason))),
        };
    };
    let parts = candidate.get("content").and_then(|content| content.get("parts"));
    let text: String = parts
        .map_or(&[][..], Json::list)
        .iter()
        .filter(|part| part.get("thought") != Some(&Json::Bool(true)))
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    if !text.is_empty() {
        found.push(Piece::Text(text));
    }
    let reason = candidate.get("finishReason").and_then(Json::as_str).unwrap_or_default();
    found.extend(Finish::from_reason(reason).map(Piece::Finished));
    Ok(())
}

/// The result of a stream that has ended: `finish` is what it said about its end, and `shown`
/// whether there was any text to show.
///
/// # Errors
/// The answer was blocked, or stopped without saying so, or there is no text in it.
pub fn ending(finish: Option<&Finish>, shown: bool) -> Result<Ending, AskError> {
    let unusable = |words: &str| Err(AskError::Unusable(Cause::new(words)));
    match finish {
        Some(Finish::Blocked(reason)) => Err(AskError::AnswerBlocked(reason.clone())),
        None => unusable("the stream ended without a finishReason"),
        Some(Finish::Stop) if shown => Ok(Ending::Whole),
        Some(_) if shown => Ok(Ending::Cut),
        Some(Finish::Stop) => unusable("no text"),
        Some(Finish::MaxTokens) => unusable("MAX_TOKENS before any text"),
        Some(Finish::Other(reason)) => unusable(&format!("no text, {}", reason.code())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::tests::key;
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Vec<Piece>, AskError> {
        pieces(json.as_bytes(), &key())
    }

    fn finished(reason: &str) -> Option<Finish> {
        let json = format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#);
        match read(&json).unwrap().pop() {
            Some(Piece::Finished(finish)) => Some(finish),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_text_of_all_parts_is_joined_without_thoughts() {
        let json = r#"{"candidates":[{"content":{"role":"model","parts":[
            {"text":"hmm","thought":true},{"text":"Hel"},{"functionCall":{}},{"text":7},
            {"text":"lo\n","thought":false,"thoughtSignature":"x"}]},"finishReason":"STOP","index":0},
            {"content":{"parts":[{"text":"another"}]}}],
            "usageMetadata":{"totalTokenCount":9},"modelVersion":"m","unheard":["of"]}"#;
        let text = Piece::Text("Hello\n".to_owned());
        assert_eq!(read(json).unwrap(), [text, Piece::Finished(Finish::Stop)]);
    }

    #[test]
    fn events_without_text_are_nothing_unusual() {
        for json in [
            "{}",
            "[]",
            "",
            " \r\n",
            "null",
            "[null]",
            "[null,{}]",
            r#"{"usageMetadata":{}}"#,
            r#"{"candidates":[]}"#,
            r#"{"candidates":null,"promptFeedback":{}}"#,
            r#"{"candidates":[{"content":{}}]}"#,
            r#"{"candidates":[{"content":null,"finishReason":null}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}]}}]}"#,
            r#"{"promptFeedback":{"blockReason":"BLOCK_REASON_UNSPECIFIED"},"error":null}"#,
        ] {
            assert_eq!(read(json), Ok(Vec::new()), "{json}");
        }
    }

    #[test]
    fn what_is_no_object_is_unusable() {
        for json in
            ["data", "7", "[7]", "[DONE", "[null,7]", "{", "\"x\"", "{}{}", &"[".repeat(10_000)]
        {
            assert!(matches!(read(json), Err(AskError::Unusable(_))), "{json}");
        }
    }

    #[test]
    fn finish_reasons() {
        assert_eq!(finished("STOP"), Some(Finish::Stop));
        assert_eq!(finished("MAX_TOKENS"), Some(Finish::MaxTokens));
        assert_eq!(finished("FINISH_REASON_UNSPECIFIED"), None);
        for code in ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"]
        {
            assert_eq!(finished(code), Some(Finish::Blocked(Reason::new(code))));
        }
        for code in ["OTHER", "MALFORMED_RESPONSE", "NEVER_HEARD_OF"] {
            assert_eq!(finished(code), Some(Finish::Other(Reason::new(code))));
        }
    }

    #[test]
    fn a_blocked_prompt_is_an_error() {
        let json = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{}}"#;
        let reason = Reason::new("PROHIBITED_CONTENT");
        assert_eq!(read(json), Err(AskError::PromptBlocked(reason)));
    }

    #[test]
    fn an_error_in_the_stream_has_a_code_of_its_own() {
        for json in [
            r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#,
            r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#,
            r#"[{},{"error":{"message":"busy","status":"UNAVAILABLE"}}]"#,
        ] {
            let error = read(json).unwrap_err();
            assert!(error.is_retryable());
            assert_eq!(error.log_cause(), "service failing: HTTP 503 UNAVAILABLE: busy");
        }
        for json in [
            r#"{"error":"odd"}"#,
            r#"[{"error":"odd"}]"#,
            r#"{"error":["odd"]}"#,
            r#"{"errors":[{"message":"odd"}]}"#,
            r#"{"message":"odd"}"#,
            r#"{"id":"7","choices":[],"error":{"message":"odd"}}"#,
        ] {
            let error = read(json).unwrap_err();
            assert_eq!(error.log_cause(), "unusable answer: HTTP 200: odd", "{json}");
        }
    }

    #[test]
    fn nothing_behind_a_finish_is_an_error() {
        let done = Piece::Finished(Finish::Stop);
        assert_eq!(read(" [DONE] "), Ok(vec![done.clone()]));
        let finished = r#"{"candidates":[{"finishReason":"STOP"}]}"#;
        for behind in ["null", "7", "{}", r#"{"error":"late"}"#, r#"{"message":"late"}"#] {
            assert_eq!(read(&format!("[{finished},{behind}]")), Ok(vec![done.clone()]), "{behind}");
        }
    }

    #[test]
    fn endings() {
        let other = Finish::Other(Reason::new("OTHER"));
        let blocked = Finish::Blocked(Reason::new("SAFETY"));
        assert_eq!(ending(Some(&Finish::Stop), true), Ok(Ending::Whole));
        assert_eq!(ending(Some(&Finish::MaxTokens), true), Ok(Ending::Cut));
        assert_eq!(ending(Some(&other), true), Ok(Ending::Cut));
        for shown in [true, false] {
            let expected = AskError::AnswerBlocked(Reason::new("SAFETY"));
            assert_eq!(ending(Some(&blocked), shown), Err(expected));
            assert!(matches!(ending(None, shown), Err(AskError::Unusable(_))));
        }
        for finish in [Finish::Stop, Finish::MaxTokens, other] {
            assert!(matches!(ending(Some(&finish), false), Err(AskError::Unusable(_))));
        }
    }

    proptest! {
        #[test]
        fn anything_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = pieces(&bytes, &key());
        }

        #[test]
        fn any_text_arrives_unchanged(parts in proptest::collection::vec(any::<String>(), 0..5)) {
            let list: Vec<_> = parts.iter().map(|text| serde_json::json!({ "text": text })).collect();
            let json = serde_json::json!({ "candidates": [{ "content": { "parts": list } }] });
            let text = parts.concat();
            let expected = (!text.is_empty()).then_some(Piece::Text(text));
            prop_assert_eq!(read(&json.to_string()), Ok(Vec::from_iter(expected)));
        }
    }
}
