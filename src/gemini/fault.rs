//! What an error says about itself, in whatever form it comes: the service's own
//! (`google.rpc.Status` in JSON), or that of a gateway in front of it.
//!
//! Read with tolerance: an object, a text or a list, under `error` or `errors` or by itself, inside
//! a list or not, with a number possibly given as text. Judges nothing, and owns no state.

use std::borrow::Cow;

use super::json::Json;
use crate::limits::MAX_ERROR_BODY_BYTES;

/// One error.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fault<'a> {
    /// An HTTP status of 400 to 599.
    pub(super) code: Option<u16>,
    /// A name such as `UNAVAILABLE`, or empty.
    pub(super) name: &'a str,
    /// What happened, or empty.
    pub(super) message: Cow<'a, str>,
    /// The service's `details`.
    pub(super) details: &'a [Json<'a>],
}

/// How deeply errors may be nested.
const DEPTH: u8 = 4;

impl<'a> Fault<'a> {
    /// The error that came in place of an answer, if there is one.
    pub(super) fn find(value: &'a Json<'a>) -> Option<Self> {
        if let Json::List(list) = value {
            let is_object = |item: &&Json<'_>| matches!(item, Json::Object(_));
            return list.iter().filter(is_object).find_map(Self::find);
        }
        let empty = |error: &&Json<'_>| match error {
            Json::Null | Json::Bool(false) => true,
            Json::List(list) => list.is_empty(),
            Json::Text(text) => text.trim().is_empty(),
            _ => false,
        };
        let of = |name| value.get(name).filter(|error| !empty(error));
        if let Some(error) = of("error").or_else(|| of("errors")) {
            let mut fault = Self::read(error, DEPTH);
            // Anything next to a bare text is about that text.
            let beside = Self::read_object(value, 0);
            fault.code = fault.code.or(beside.code);
            if fault.message.is_empty() {
                fault.message = beside.message;
            }
            return Some(fault);
        }
        // No part of an answer, but a message: that is what several gateways send.
        let answers = ["candidates", "promptFeedback", "usageMetadata"];
        let is_answer = answers.iter().any(|name| value.get(name).is_some());
        let fault = Self::read_object(value, 0);
        (!is_answer && !fault.message.is_empty()).then_some(fault)
    }

    /// From the body of a response whose status reports an error: this may also be text, or a web
    /// page.
    pub(super) fn of_text(body: &'a [u8]) -> Self {
        // If it was cut, the key may be cut as well and would not be recognised.
        let body = if body.len() < MAX_ERROR_BODY_BYTES { body } else { &[] };
        let text = String::from_utf8_lossy(body);
        // ASCII letters have the same length in either case.
        let folded = text.to_ascii_lowercase();
        let title = folded.find("<title>").and_then(|at| {
            let rest = folded.get(at..)?;
            text.get(at + "<title>".len()..at + rest.find("</title>")?)
        });
        let words = match title {
            Some(title) => title,
            None if text.trim_start().starts_with(['<', '{', '[']) => "",
            None => &text,
        };
        let message = words.split_whitespace().collect::<Vec<_>>().join(" ").into();
        Self { message, ..Self::default() }
    }

    fn read(error: &'a Json<'a>, depth: u8) -> Self {
        match error {
            Json::Text(text) => Self { message: (&**text).into(), ..Self::default() },
            Json::List(list) if depth > 0 => list
                .iter()
                .find(|item| **item != Json::Null)
                .map_or_else(Self::default, |first| Self::read(first, depth - 1)),
            Json::Object(_) => Self::read_object(error, depth),
            Json::Number(_) => Self { code: code(error), ..Self::default() },
            Json::Null | Json::Bool(_) | Json::List(_) => Self::default(),
        }
    }

    fn read_object(error: &'a Json<'a>, depth: u8) -> Self {
        let text = |name| error.get(name).and_then(Json::as_str);
        let names = ["status", "code", "type"].into_iter().filter_map(text);
        let codes = ["code", "status", "statusCode", "status_code"];
        let said = ["message", "detail", "error_description", "msg"].into_iter().find_map(text);
        let fault = Self {
            code: codes.iter().filter_map(|name| error.get(name)).find_map(code),
            name: names.into_iter().find(|name| is_name(name)).unwrap_or_default(),
            message: said.unwrap_or_default().into(),
            details: error.get("details").map_or(&[][..], Json::list),
        };
        match error.get("error").filter(|_| depth > 0 && said.is_none()) {
            Some(inner) => Self::read(inner, depth - 1),
            None => fault,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.eq_ignore_ascii_case("none")
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A number, or the text of one, that is an HTTP status or a gRPC code.
fn code(value: &Json<'_>) -> Option<u16> {
    let number = match value {
        Json::Text(text) => text.trim().parse().ok()?,
        value => value.as_u64()?,
    };
    match number {
        400..=599 => number.try_into().ok(),
        // google.rpc.Code, where a gateway passes it on unchanged.
        1 => Some(499),
        2 | 13 | 15 => Some(500),
        3 | 9 | 11 => Some(400),
        4 => Some(504),
        5 => Some(404),
        6 | 10 => Some(409),
        7 => Some(403),
        8 => Some(429),
        12 => Some(501),
        14 => Some(503),
        16 => Some(401),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(value: &Value) -> Option<(Option<u16>, String, String)> {
        let text = value.to_string();
        let json = Json::read(text.as_bytes()).unwrap();
        let fault = Fault::find(&json)?;
        Some((fault.code, fault.name.to_owned(), fault.message.into_owned()))
    }

    /// Forms that gateways have: LiteLLM, Cloudflare, OpenRouter, Kong, FastAPI, Spring, grpc-gateway.
    #[test]
    fn an_error_is_read_in_whatever_form_it_comes() {
        let some = |code: u16, name: &str, message: &str| {
            Some(((code != 0).then_some(code), name.to_owned(), message.to_owned()))
        };
        for (value, expected) in [
            (json!({ "error": "busy" }), some(0, "", "busy")),
            (json!({ "error": ["busy", "very"] }), some(0, "", "busy")),
            (json!({ "error": [{ "code": 2001, "message": "busy" }] }), some(0, "", "busy")),
            (json!([{ "error": "busy" }]), some(0, "", "busy")),
            (json!([null, { "error": { "message": "busy" } }]), some(0, "", "busy")),
            (
                json!({ "success": false, "errors": [{ "code": 503, "message": "busy" }] }),
                some(503, "", "busy"),
            ),
            (json!({ "errors": "busy" }), some(0, "", "busy")),
            (json!({ "message": "busy" }), some(0, "", "busy")),
            (json!({ "detail": "busy" }), some(0, "", "busy")),
            (json!({ "code": 14, "message": "busy", "details": [] }), some(503, "", "busy")),
            (json!({ "status": 503, "error": "busy", "path": "/x" }), some(503, "", "busy")),
            (
                json!({ "error": { "message": "busy", "type": "None", "param": "None", "code": "429" } }),
                some(429, "", "busy"),
            ),
            (
                json!({ "error": { "message": "busy", "type": "server_error", "code": null } }),
                some(0, "server_error", "busy"),
            ),
            (
                json!({ "error": { "code": 503, "status": "UNAVAILABLE", "message": "busy" } }),
                some(503, "UNAVAILABLE", "busy"),
            ),
            (json!({ "error": { "error": { "message": "busy" } } }), some(0, "", "busy")),
            (json!({ "error": true, "message": "busy" }), some(0, "", "busy")),
            (json!({ "error": 503, "message": "busy" }), some(503, "", "busy")),
            (json!({ "error": {} }), some(0, "", "")),
            (json!({ "error": null, "errors": [], "candidates": [] }), None),
            (json!({ "error": "", "message": "hi", "usageMetadata": {} }), None),
            (json!({}), None),
            (json!(["error", 7]), None),
        ] {
            assert_eq!(told(&value), expected, "{value}");
        }
    }

    #[test]
    fn texts_and_pages_say_what_they_are_about() {
        let said = |body: &[u8]| Fault::of_text(body).message.into_owned();
        let page = b"<html>\r\n<head><TITLE>502 Bad\n Gateway</TITLE></head>\r\n<body>nginx</body>";
        assert_eq!(said(page), "502 Bad Gateway");
        assert_eq!(said(b"upstream connect error\nor reset"), "upstream connect error or reset");
        for nothing in
            [&b""[..], b"<html>no title", b"{\"half", b"<title>x", &[b'x'; MAX_ERROR_BODY_BYTES]]
        {
            assert_eq!(said(nothing), "");
        }
        assert_eq!(said(b"\xc3</title>\xff<title>\xff</title>"), "\u{fffd}");
    }

    #[test]
    fn an_error_in_an_error_in_an_error_ends_somewhere() {
        let mut value = json!("busy");
        for _ in 0..50 {
            value = json!({ "error": [value] });
        }
        assert_eq!(told(&value), Some((None, String::new(), String::new())));
    }
}
