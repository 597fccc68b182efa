//! Recognises clients that speak another protocol instead of plain lines.
//!
//! Judges only what comes before a name, and nothing that could be a name.

use std::fmt;

/// What a client speaks instead of plain lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS client, by its first byte.
    Tls,
    /// An HTTP client, by its request line (RFC 9112, section 3).
    Http,
    /// An SSH client, by its identification string (RFC 4253, section 4.2).
    Ssh,
    /// A proxy that the server was not told to believe, by its header (HAProxy's
    /// `doc/proxy-protocol.txt`).
    Proxy,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
            Self::Proxy => "PROXY protocol",
        })
    }
}

/// The content type of a TLS handshake record (RFC 8446, section 5.1), which begins a ClientHello;
/// as a character it is SYN, which nobody types.
const TLS_HANDSHAKE: u8 = 22;

/// The beginning of a version 2 proxy header.
const PROXY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The major version of all TLS records (RFC 8446, section 5.1).
const TLS_MAJOR: u8 = 3;

/// Whether a TLS client may have sent these first bytes. No text begins like this.
#[must_use]
pub fn begins_tls(bytes: &[u8]) -> bool {
    let is = |at: usize, byte: u8| bytes.get(at).is_none_or(|found| *found == byte);
    is(0, TLS_HANDSHAKE) && is(1, TLS_MAJOR)
}

impl Protocol {
    /// Judges by the first bytes on the TLS port, which do not begin TLS.
    #[must_use]
    pub fn of_first_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(PROXY_SIGNATURE) {
            return Some(Self::Proxy);
        }
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        Self::of_line(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Judges by the first byte of a connection.
    #[must_use]
    pub fn of_first_byte(byte: u8) -> Option<Self> {
        (byte == TLS_HANDSHAKE).then_some(Self::Tls)
    }

    /// Judges by an answer to the name prompt. Everything it recognises has a control character, a
    /// `.` or a space in it, so it could not have been a name.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        // Version 2 begins with a signature of four lines, of which this is the third.
        if line == b"\0" {
            return Some(Self::Proxy);
        }
        let line = std::str::from_utf8(line).ok()?;
        if ["PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"].iter().any(|v1| line.starts_with(v1)) {
            return Some(Self::Proxy);
        }
        if line.starts_with("SSH-2.") || line.starts_with("SSH-1.") {
            return Some(Self::Ssh);
        }
        let mut words = line.split(' ');
        let method = words.next()?;
        let upper = |b: u8| b.is_ascii_uppercase() || b == b'-';
        let is_method = !method.is_empty() && method.bytes().all(upper);
        let version = words.next_back()?;
        let is_version = version.strip_prefix("HTTP/").is_some_and(|version| {
            matches!(version.as_bytes(), [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
        });
        (is_method && is_version && words.count() == 1).then_some(Self::Http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_tls_begins_with_a_handshake_record() {
        for tls in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x01\x02\0\x01", b"\x16\x03\x03"] {
            assert!(begins_tls(tls), "{tls:?}");
        }
        for other in [&b"a"[..], b"\x15\x03\x01", b"\x16\x02", b"\x80\x2e\x01\x03", b"\n"] {
            assert!(!begins_tls(other), "{other:?}");
        }
        for (bytes, protocol) in [
            (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], Some(Protocol::Http)),
            (b"SSH-2.0-x\r\n", Some(Protocol::Ssh)),
            (b"PROXY UNKNOWN\r\nalice\n", Some(Protocol::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Some(Protocol::Proxy)),
            (b"GET / HT", None),
            (b"alice\nGET / HTTP/1.1\r\n", None),
            (b"\xff\xfd\x03", None),
            (b"", None),
        ] {
            assert_eq!(Protocol::of_first_bytes(bytes), protocol, "{bytes:?}");
        }
    }

    #[test]
    fn other_protocols_are_told_from_names() {
        let of_line = |line: &str| Protocol::of_line(line.as_bytes());
        assert_eq!(Protocol::of_first_byte(0x16), Some(Protocol::Tls));
        assert_eq!(Protocol::Tls.to_string() + &Protocol::Ssh.to_string(), "TLSSSH");
        assert_eq!(Protocol::of_first_byte(b'G'), None);
        for line in
            ["GET / HTTP/1.1", "POST /x?y HTTP/1.0", "PRI * HTTP/2.0", "M-SEARCH * HTTP/1.1"]
        {
            assert_eq!(of_line(line), Some(Protocol::Http), "{line}");
        }
        assert_eq!(of_line("SSH-2.0-OpenSSH_9.2"), Some(Protocol::Ssh));
        for line in ["PROXY TCP4 192.0.2.1 10.0.0.1 5555 8080", "PROXY UNKNOWN", "\0"] {
            assert_eq!(of_line(line), Some(Protocol::Proxy), "{line}");
        }
        for line in
            ["GET", "PROXY", "SSH-fan", "get / HTTP/1.1", "GET / HTTP/1.1 x", "HTTP/1.1", ""]
        {
            assert_eq!(of_line(line), None, "{line}");
        }
    }
}
