//! The head of a response: what the server uses of it, and how the body after it ends.
//!
//! A head that says two different things about the end of its body is refused, never interpreted:
//! responses get smuggled when two readers disagree about that end (RFC 9112, 11.2).

use super::response::HttpError;
use crate::limits::MAX_HTTP_HEADERS;

/// What the head of a response says, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code (RFC 9110, 15), 200 or above.
    pub status: u16,
    /// Whether the connection may be used for another request once the response has ended:
    /// HTTP/1.1, a body whose end is marked, and no `Connection: close` (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// The first `Content-Type` (RFC 9110, 8.3) as it was sent, parameters included.
    pub content_type: Option<String>,
    /// The first `Content-Encoding` (RFC 9110, 8.4) as it was sent, unless it is `identity`.
    pub content_encoding: Option<String>,
    /// `Retry-After` in seconds (RFC 9110, 10.2.3). Its other form, a date, gives `None`.
    pub retry_after_secs: Option<u64>,
}

/// How the body after a head ends (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the stream.
    UntilClose,
}

/// The relevant fields of a head, collected before they are checked against each other.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    content_type: Option<String>,
    content_encoding: Option<String>,
    retry_after_secs: Option<u64>,
}

/// Reads a complete head, including its empty line. `None`: an interim response (1xx), after which
/// the real one follows.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, Framing)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| match error {
        httparse::Error::Version => HttpError::BadVersion,
        httparse::Error::TooManyHeaders => HttpError::TooManyHeaders,
        _ => HttpError::BadHead,
    })?;
    // If our search for the empty line and the parser disagree, neither is right.
    if parsed != httparse::Status::Complete(bytes.len()) {
        return Err(HttpError::BadHead);
    }
    let (Some(version), Some(status)) = (response.version, response.code) else {
        return Err(HttpError::BadHead);
    };
    let fields = Fields::read(response.headers)?;
    // An HTTP/1.0 sender does not know chunks (RFC 9112, 6.1).
    if fields.chunked && version == 0 {
        return Err(HttpError::BadTransferEncoding);
    }
    let framing = match (status, fields.length) {
        // Nobody asked for another protocol (RFC 9110, 15.2.2).
        (..100 | 101, _) => return Err(HttpError::BadHead),
        (102..=199 | 100, _) => return Ok(None),
        (204 | 304, _) => Framing::Length(0),
        (_, Some(length)) => Framing::Length(length),
        (_, None) if fields.chunked => Framing::Chunked,
        (_, None) => Framing::UntilClose,
    };
    let head = Head {
        status,
        keep_alive: version == 1 && !fields.close && framing != Framing::UntilClose,
        content_type: fields.content_type,
        content_encoding: fields.content_encoding,
        retry_after_secs: fields.retry_after_secs,
    };
    Ok(Some((head, framing)))
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, HttpError> {
        let mut fields = Self::default();
        for httparse::Header { name, value } in headers {
            let is = |known| name.eq_ignore_ascii_case(known);
            if is("content-length") {
                fields.length = Some(length(value, fields.length)?);
            } else if is("transfer-encoding") {
                // Chunks are the only encoding that can be undone here, and chunks within chunks
                // are refused as well (RFC 9112, 6.1 and 7).
                if fields.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HttpError::BadTransferEncoding);
                }
                fields.chunked = true;
            } else if is("connection") {
                fields.close |= items(value).any(|item| item.eq_ignore_ascii_case(b"close"));
            } else if is("content-type") && fields.content_type.is_none() {
                fields.content_type = Some(String::from_utf8_lossy(value).into_owned());
            } else if is("content-encoding") && fields.content_encoding.is_none() {
                let plain = value.is_empty() || value.eq_ignore_ascii_case(b"identity");
                fields.content_encoding =
                    (!plain).then(|| String::from_utf8_lossy(value).into_owned());
            } else if is("retry-after") && fields.retry_after_secs.is_none() {
                fields.retry_after_secs = number(value);
            }
        }
        if fields.chunked && fields.length.is_some() {
            return Err(HttpError::LengthAndChunked);
        }
        Ok(fields)
    }
}

/// The length in a `Content-Length`, which may be given several times if it is always the same (RFC
/// 9110, 8.6).
fn length(value: &[u8], mut known: Option<u64>) -> Result<u64, HttpError> {
    for item in items(value) {
        let length = number(item).ok_or(HttpError::BadLength)?;
        if known.is_some_and(|known| known != length) {
            return Err(HttpError::BadLength);
        }
        known = Some(length);
    }
    known.ok_or(HttpError::BadLength)
}

/// The items of a list (RFC 9110, 5.6.1).
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else, as far as they fit.
fn number(value: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(value).ok()?;
    // `parse` would also accept a plus sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a head of these lines says, the empty line added.
    fn said(lines: &[&str]) -> Result<Option<(Head, Framing)>, HttpError> {
        parse(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())
    }

    fn framing(lines: &[&str]) -> Result<Framing, HttpError> {
        said(lines).map(|head| head.expect("no interim response").1)
    }

    fn head(lines: &[&str]) -> Head {
        said(lines).unwrap().expect("no interim response").0
    }

    #[test]
    fn what_is_used_of_a_head() {
        let lines = [
            "HTTP/1.1 429 Too Many Requests",
            "content-type: application/json; charset=UTF-8",
            "RETRY-AFTER: 7",
            "Content-Length: 12",
        ];
        let expected = Head {
            status: 429,
            keep_alive: true,
            content_type: Some("application/json; charset=UTF-8".to_owned()),
            content_encoding: None,
            retry_after_secs: Some(7),
        };
        assert_eq!(said(&lines), Ok(Some((expected, Framing::Length(12)))));
    }

    #[test]
    fn other_fields_say_nothing_and_the_first_of_two_counts() {
        let lines = [
            "HTTP/1.1 200 OK",
            "X-Number: 5",
            "Content-Length: 1",
            "Content-Type: text/a",
            "Content-Type: text/b",
        ];
        let head = head(&lines);
        assert_eq!(head.retry_after_secs, None);
        assert_eq!(head.content_type.as_deref(), Some("text/a"));
    }

    #[test]
    fn content_encodings() {
        let coding = |value: &str| {
            head(&["HTTP/1.1 200 OK", &format!("Content-Encoding: {value}")]).content_encoding
        };
        assert_eq!(coding("gzip").as_deref(), Some("gzip"));
        assert_eq!(coding(" BR ").as_deref(), Some("BR"));
        assert_eq!((coding(""), coding("Identity")), (None, None));
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_nothing() {
        let secs = |value: &str| {
            head(&["HTTP/1.1 503", &format!("Retry-After: {value}")]).retry_after_secs
        };
        assert_eq!(secs("0"), Some(0));
        assert_eq!(secs(" 120 "), Some(120));
        for none in
            ["", "+5", "-5", "1.5", "5s", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999999999999"]
        {
            assert_eq!(secs(none), None, "{none}");
        }
    }

    /// RFC 9112, 9.3.
    #[test]
    fn which_connections_may_be_used_again() {
        let kept = |version: &str, lines: &[&str]| head(&[&[version], lines].concat()).keep_alive;
        assert!(kept("HTTP/1.1 200 OK", &["Content-Length: 1"]));
        assert!(kept("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked", "Connection: x"]));
        assert!(kept("HTTP/1.1 204 No Content", &[]));
        assert!(!kept("HTTP/1.1 200 OK", &[]));
        assert!(!kept("HTTP/1.0 200 OK", &["Content-Length: 1", "Connection: keep-alive"]));
        assert!(!kept("HTTP/1.1 200 OK", &["Content-Length: 1", "Connection: x , Close"]));
        for twice in
            [["Connection: x", "Connection: close"], ["Connection: close", "Connection: x"]]
        {
            assert!(!kept("HTTP/1.1 204 No Content", &twice));
        }
    }

    /// RFC 9112, 6.3.
    #[test]
    fn how_a_body_ends() {
        let ok = "HTTP/1.1 200 OK";
        assert_eq!(framing(&[ok, "Content-Length: 5"]), Ok(Framing::Length(5)));
        assert_eq!(framing(&[ok, "Transfer-Encoding: Chunked"]), Ok(Framing::Chunked));
        assert_eq!(framing(&[ok]), Ok(Framing::UntilClose));
        assert_eq!(framing(&["HTTP/1.1 204 No Content"]), Ok(Framing::Length(0)));
        assert_eq!(framing(&["HTTP/1.1 304 x", "Content-Length: 9"]), Ok(Framing::Length(0)));
        assert_eq!(said(&["HTTP/1.1 103 Early Hints", "Link: x"]), Ok(None));
    }

    /// RFC 9110, 8.6, and RFC 9112, 6.3.
    #[test]
    fn lengths() {
        let lengths = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|v| format!("Content-Length: {v}")).collect();
            let mut lines = vec!["HTTP/1.1 200 OK"];
            lines.extend(fields.iter().map(String::as_str));
            framing(&lines)
        };
        assert_eq!(lengths(&["18446744073709551615"]), Ok(Framing::Length(u64::MAX)));
        assert_eq!(lengths(&["7", "7, 7"]), Ok(Framing::Length(7)));
        let bad = ["", "18446744073709551616", "+7", "-7", "7 7", "7,", "0x7", "7, 8", "seven"];
        for bad in bad {
            assert_eq!(lengths(&[bad]), Err(HttpError::BadLength), "{bad}");
        }
        assert_eq!(lengths(&["7", "8"]), Err(HttpError::BadLength));
    }

    /// RFC 9112, 6.1.
    #[test]
    fn transfer_encodings() {
        let coded = |version: &str, value: &str| {
            framing(&[&format!("HTTP/{version} 200 OK"), &format!("Transfer-Encoding: {value}")])
        };
        assert_eq!(coded("1.1", "chunked"), Ok(Framing::Chunked));
        assert_eq!(coded("1.0", "chunked"), Err(HttpError::BadTransferEncoding));
        for bad in ["", "gzip, chunked", "chunked, gzip", "identity", "chunked;q=1", "xchunked"] {
            assert_eq!(coded("1.1", bad), Err(HttpError::BadTransferEncoding), "{bad}");
        }
        let twice = "Transfer-Encoding: chunked";
        let twice = framing(&["HTTP/1.1 200 OK", twice, twice]);
        assert_eq!(twice, Err(HttpError::BadTransferEncoding));
        for status in ["200 OK", "204 No Content", "100 Continue"] {
            let status = format!("HTTP/1.1 {status}");
            let both = said(&[&status, "Content-Length: 5", "Transfer-Encoding: chunked"]);
            assert_eq!(both, Err(HttpError::LengthAndChunked), "{status}");
        }
    }

    #[test]
    fn what_is_no_head() {
        for bad in ["", "HTTP/1.1", "HTTP/1.1 20 OK", "HTTP/1.1 099 x", "HTTP/1.1 101 x", "a\r\nb"]
        {
            let error = said(&[bad]).unwrap_err();
            assert!(matches!(error, HttpError::BadHead | HttpError::BadVersion), "{bad}");
        }
        // Folded, a space before the colon, no colon (RFC 9112, 5).
        for bad in ["A: b\r\n c", "A : b", "A", ": b", "A: b\rc", "A: \0"] {
            assert_eq!(said(&["HTTP/1.1 200 OK", bad]), Err(HttpError::BadHead), "{bad:?}");
        }
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nmore"), Err(HttpError::BadHead));
    }

    /// RFC 9112, 2.3.
    #[test]
    fn versions() {
        for bad in
            ["HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "ICY 200 OK", "SSH-2.0-x"]
        {
            assert_eq!(said(&[bad]), Err(HttpError::BadVersion), "{bad}");
        }
        assert!(said(&["HTTP/1.0 200 OK"]).is_ok());
    }

    #[test]
    fn so_many_headers_and_no_more() {
        let mut lines = vec!["HTTP/1.1 200 OK"];
        lines.extend(["A: b"; MAX_HTTP_HEADERS]);
        assert!(said(&lines).is_ok());
        lines.push("A: b");
        assert_eq!(said(&lines), Err(HttpError::TooManyHeaders));
    }
}
