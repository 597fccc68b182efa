//! One side of a TLS 1.3 connection that writes its records itself, once the handshake is done.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpStream;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

/// The content types of records (RFC 8446, section 5.1).
pub const HANDSHAKE: u8 = 22;
pub const APPLICATION_DATA: u8 = 23;
/// The longest content of a record, with its type (section 5.2).
pub const LONGEST: usize = 16 * 1024 + 1;

pub struct Records {
    pub tcp: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sent: u64,
}

impl Records {
    /// With the secrets of the connection's own direction, as rustls gives them away.
    pub fn new(tcp: TcpStream, (sent, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another cipher was chosen");
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        Self { tcp, key, iv: iv.as_ref().try_into().unwrap(), sent }
    }

    /// A record (section 5.2) with this content, padded to this length.
    pub fn record(&mut self, kind: u8, content: &[u8], length: usize) -> Vec<u8> {
        let mut inner = [content, &[kind]].concat();
        inner.resize(length.max(inner.len()), 0);
        let size = u16::try_from(inner.len() + AES_256_GCM.tag_len()).unwrap();
        let head = [&[APPLICATION_DATA, 3, 3][..], &size.to_be_bytes()].concat();
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sent.to_be_bytes()).for_each(|(n, s)| *n ^= s);
        self.sent += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(&head), &mut inner).unwrap();
        [head, inner].concat()
    }
}
