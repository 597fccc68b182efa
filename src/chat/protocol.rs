//! Recognises those who speak another protocol instead of plain lines.
//!
//! Judges only what comes before a name, and nothing that could be one.

use std::fmt;

/// What somebody speaks instead of plain lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS client, by its first byte.
    Tls,
    /// An HTTP client, by its request line (RFC 9112, section 3).
    Http,
    /// An SSH client, by its identification string (RFC 4253, section 4.2).
    Ssh,
    /// A proxy that nobody told the server to believe, by its header (HAProxy's
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
/// as a character it is SYN, which no one types.
const TLS_HANDSHAKE: u8 = 22;

impl Protocol {
    /// From the first byte of a connection.
    #[must_use]
    pub fn of_first_byte(byte: u8) -> Option<Self> {
        (byte == TLS_HANDSHAKE).then_some(Self::Tls)
    }

    /// From an answer to the name prompt. What it recognises has a control character, a `.` or a
    /// space in it, so that it could not have been a name.
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
