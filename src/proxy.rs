//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): a header, sent before
//! anything else, that says whom a proxy connects for.
//!
//! Pure: whom to believe and how long to wait are the caller's business. Reads no TLVs.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

use crate::limits::MAX_PROXY_HEADER_BYTES;

/// How headers of the two versions begin.
const SIGNATURES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// The byte of a version 2 header which says that the proxy connects for itself.
const LOCAL: u8 = 0x20;

/// Bytes of the longest header of version 1 (section 2.1).
const LONGEST_VERSION_1: usize = 107;

/// Collects the header of one connection.
#[derive(Debug, Default)]
pub struct HeaderDecoder {
    bytes: Vec<u8>,
}

/// A complete header.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Who connected to the proxy. `None`: the proxy itself did, or does not know.
    pub source: Option<SocketAddr>,
    /// What came after the header.
    pub rest: Vec<u8>,
}

/// What was sent is not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHeader;

impl HeaderDecoder {
    /// Takes what was received next. `None`: the header is not complete yet.
    ///
    /// # Errors
    /// This is not a header, or one longer than [`MAX_PROXY_HEADER_BYTES`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
        self.bytes.extend_from_slice(bytes);
        let begins = |signature: &&[u8]| {
            self.bytes.starts_with(signature) || signature.starts_with(&self.bytes)
        };
        if !SIGNATURES.iter().any(begins) {
            return Err(BadHeader);
        }
        let longest = match self.bytes.first() {
            Some(b'P') => LONGEST_VERSION_1,
            _ => MAX_PROXY_HEADER_BYTES,
        };
        // The family that a proxy names when it speaks for itself is to be ignored (the
        // specification, 2.2); the parser would have it agree with the addresses.
        if let [b'\r', .., LOCAL, family] = self.bytes.get_mut(..14).unwrap_or_default() {
            *family = 0;
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        let (source, length) = match ProxyHeader::parse(&self.bytes, config) {
            Ok((header, length)) => (header.proxied_address().map(|addr| addr.source), length),
            Err(Error::BufferTooShort) if self.bytes.len() < longest => {
                return Ok(None);
            }
            Err(_) => return Err(BadHeader),
        };
        if length > longest {
            return Err(BadHeader);
        }
        self.bytes.drain(..length);
        // An IPv4 client of a proxy's socket for both families is shown as what it is.
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Ok(Some(Header { source: source.map(canonical), rest: std::mem::take(&mut self.bytes) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ProxiedAddress;

    fn whole(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
        HeaderDecoder::default().receive(bytes)
    }

    /// However the bytes are cut, what comes after the header is whatever arrives with its last
    /// byte.
    fn header(bytes: &[u8]) -> Result<(Option<SocketAddr>, Vec<u8>), BadHeader> {
        let mut decoder = HeaderDecoder::default();
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(header) = decoder.receive(&[*byte])? {
                let together = whole(bytes)?.unwrap();
                let behind = bytes[at + 1..].to_vec();
                assert_eq!((together.source, &together.rest), (header.source, &behind));
                return Ok((header.source, behind));
            }
        }
        panic!("no end");
    }

    fn version_2(source: &str, destination: &str) -> Vec<u8> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        header.append_tlv(proxy_header::Tlv::Authority("chat.example.org".into()));
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn version_1() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5555 8080\r\n", Some("192.0.2.1:5555")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 5555 8080\r\n", Some("[2001:db8::1]:5555")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 5555 8080\r\n", Some("192.0.2.1:5555")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f::1 ffff::2 65535 65535\r\n", None),
        ] {
            let source = source.map(|text| text.parse().unwrap());
            let bytes = [line.as_bytes(), b"alice\nhello\n"].concat();
            assert_eq!(header(&bytes), Ok((source, b"alice\nhello\n".to_vec())), "{line}");
        }
    }

    #[test]
    fn version_2_with_what_is_appended_to_it() {
        let bytes = [&version_2("192.0.2.1:5555", "10.0.0.1:8443")[..], &[22, 3, 1]].concat();
        assert_eq!(header(&bytes), Ok(("192.0.2.1:5555".parse().ok(), vec![22, 3, 1])));
        let bytes = version_2("[2001:db8::1]:5555", "[2001:db8::2]:8443");
        assert_eq!(header(&bytes), Ok(("[2001:db8::1]:5555".parse().ok(), Vec::new())));
        // A proxy's own check of us: LOCAL.
        for family in [0, 0x11, 0x12, 0x21, 0x31, 0xff] {
            for addresses in [0, 3, 12, 36] {
                let mut bytes = SIGNATURES[1].to_vec();
                bytes.extend([LOCAL, family, 0, addresses]);
                bytes.resize(bytes.len() + usize::from(addresses), 7);
                assert_eq!(header(&bytes), Ok((None, Vec::new())), "{family} {addresses}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_known_at_once() {
        for (bytes, at) in [
            (&b"alice\n"[..], 1),
            (b"PROXy TCP4", 5),
            (b"\r\n\r\nalice", 5),
            (b"PROXY TCP4 192.0.2.256 10.0.0.1 5555 8080\r\n", 23),
            (b"PROXY TCP5 192.0.2.1", 15),
            (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", 16),
        ] {
            let mut decoder = HeaderDecoder::default();
            for byte in &bytes[..at - 1] {
                assert_eq!(decoder.receive(&[*byte]), Ok(None), "{bytes:?}");
            }
            assert_eq!(decoder.receive(&bytes[at - 1..at]), Err(BadHeader), "{bytes:?}");
            assert_eq!(whole(bytes), Err(BadHeader));
        }
    }

    #[test]
    fn a_header_has_an_end() {
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        assert_eq!(whole(&endless), Err(BadHeader));
        let ends = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
        assert_eq!(whole(&ends), Err(BadHeader));
        let length = |n: usize| {
            let n = u16::try_from(n).unwrap().to_be_bytes();
            [b"\r\n\r\n\0\r\nQUIT\n\x20\0", &n[..]].concat()
        };
        let longest = [length(MAX_PROXY_HEADER_BYTES - 16), vec![0; 4080]].concat();
        assert_eq!(header(&longest), Ok((None, Vec::new())));
        let longer = [length(MAX_PROXY_HEADER_BYTES - 15), vec![0; 4081]].concat();
        assert_eq!(whole(&longer), Err(BadHeader));
        assert_eq!(whole(&longer[..MAX_PROXY_HEADER_BYTES]), Err(BadHeader));
    }
}
