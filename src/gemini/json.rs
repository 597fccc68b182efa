//! JSON as services send it, reduced while it is read to what is asked of it in here.
//!
//! A member with a name that nobody in here knows is skipped with all that is in it, and so is what
//! lies deeper than anything that matters. What is kept is bounded in number, and texts are borrowed
//! where they need no decoding: whatever a service sends, its JSON takes little more than its bytes.
//! Judges nothing, and owns no state.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::MAX_JSON_VALUES;

/// The members that are looked at, of an answer and of an error.
const NAMES: [&str; 28] = [
    "blockReason",
    "candidates",
    "code",
    "content",
    "detail",
    "details",
    "error",
    "error_description",
    "errors",
    "finishReason",
    "message",
    "metadata",
    "msg",
    "parts",
    "promptFeedback",
    "quotaId",
    "quotaValue",
    "quota_limit_value",
    "reason",
    "retryDelay",
    "status",
    "statusCode",
    "status_code",
    "text",
    "thought",
    "type",
    "usageMetadata",
    "violations",
];

/// How deeply lists and objects may lie in each other: an error in an error, and a quota in its
/// details.
const DEPTH: u8 = 16;

/// What is kept of a JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    /// `null`, or something that lies too deep.
    Null,
    Bool(bool),
    /// A number, if it is a whole one that is not negative.
    Number(Option<u64>),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    /// The members with known names.
    Object(Vec<(&'static str, Self)>),
}

impl<'a> Json<'a> {
    /// Reads a whole text.
    ///
    /// # Errors
    /// It is not JSON, or has more than [`MAX_JSON_VALUES`] that would be kept.
    pub(super) fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let left = Cell::new(MAX_JSON_VALUES);
        let value = Reader { left: &left, depth: DEPTH }.deserialize(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// A member of an object. Of several with the same name it is the last.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { *number } else { None }
    }

    /// The values in a list; there are none in anything else.
    pub(super) fn list(&self) -> &[Self] {
        if let Self::List(values) = self { values } else { &[] }
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'l> {
    /// How many more values may be kept.
    left: &'l Cell<usize>,
    /// How much deeper it may go.
    depth: u8,
}

impl Reader<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth, ..self }).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Json<'de>, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| de::Error::custom("too many values"))?);
        if self.depth == 0 {
            json.deserialize_ignored_any(IgnoredAny)?;
            return Ok(Json::Null);
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Some(number)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.deeper()?)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = object.next_key_seed(Name)? {
            match name {
                Some(name) => members.push((name, object.next_value_seed(self.deeper()?)?)),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Json::Object(members))
    }
}

/// Reads the name of a member; `None` if nobody knows it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(NAMES.into_iter().find(|known| *known == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json<'_> {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_known_is_kept_and_nothing_else() {
        let json = read(r#"{"x":[{"text":1}],"text":"a\u0062","text":"c","code":7,"parts":[]}"#);
        let members = [
            ("text", Json::Text("ab".into())),
            ("text", Json::Text("c".into())),
            ("code", Json::Number(Some(7))),
            ("parts", Json::List(Vec::new())),
        ];
        assert_eq!(json, Json::Object(members.into()));
        assert_eq!(json.get("text").and_then(Json::as_str), Some("c"));
        assert_eq!(json.get("code").and_then(Json::as_u64), Some(7));
        assert_eq!(read("[-1, 1.5, true, null]").list().len(), 4);
        assert!(read("{}").list().is_empty() && read("{}").get("text").is_none());
        for bad in ["", "{", "[1,]", "{}{}", "nul", "{\"a\":01}", "\"\n\""] {
            assert!(Json::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |n: usize| format!("{}7{}", "[".repeat(n), "]".repeat(n));
        let text = nested(30_000);
        let mut json = &read(&text);
        for _ in 0..DEPTH {
            json = &json.list()[0];
        }
        assert_eq!(*json, Json::Null);
        let many = |n: usize| Json::read(format!("[0{}]", ",0".repeat(n - 2)).as_bytes()).is_ok();
        assert!(many(MAX_JSON_VALUES) && !many(MAX_JSON_VALUES + 1));
        // What is skipped does not count.
        let skipped = format!("[{{\"x\":[0{}]}}]", ",0".repeat(30_000));
        assert_eq!(read(&skipped), Json::List(vec![Json::Object(Vec::new())]));
    }
}
