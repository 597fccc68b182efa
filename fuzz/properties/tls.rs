//! TLS bytes into the server's side: whatever comes, there is an answer or a failure, never a
//! panic, and a failure is for good. A client that nobody interferes with gets through and hears its echo.
//!
//! With an odd first byte the rest comes as it is. With an even one a real client talks, and the
//! rest says which of its bytes arrive changed: pairs of a distance and a mask. The other bits of
//! the first byte are the client's version of TLS and how long the pieces are;
//! with even pieces the server says goodbye first.

#[path = "../../tests/common/tls_client.rs"]
mod tls_client;

use std::io::{IoSlice, Read as _, Write as _};
use std::sync::{Arc, LazyLock};

use mio_chat::net::tls::TlsSession;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig};

static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    Arc::new(config)
});

static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> =
    LazyLock::new(|| [&TLS13, &TLS12].map(tls_client::config));

/// More than a server's whole flight and its tickets, or a record.
const MAX_OUTGOING: usize = 20_000;

const HELLO: &[u8] = b"hello\n";
const RUBBISH: &[u8] = b"no record at all";

pub fn check(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let piece = usize::from(first >> 2).max(1);
    if first & 1 == 1 {
        let mut server = TlsSession::new(SERVER.clone()).unwrap();
        let mut heard = Vec::new();
        feed(&mut server, rest, piece, &mut heard);
        // Nobody gets through a handshake by chance.
        assert!(heard.is_empty());
        finish(server);
    } else {
        exchange(&CLIENTS[usize::from(first >> 1 & 1)], rest, piece);
    }
}

/// Gives the server these bytes in pieces, as `Transport` would. False once it has failed.
fn feed(server: &mut TlsSession, bytes: &[u8], piece: usize, heard: &mut Vec<u8>) -> bool {
    for piece in bytes.chunks(piece) {
        let went_well = server.receive(piece).is_ok();
        let mut sink = [0; 1000];
        loop {
            let n = server.take_plaintext(&mut sink);
            if n == 0 {
                break;
            }
            heard.extend(&sink[..n]);
        }
        assert_eq!(went_well, server.failure().is_none());
        assert!(server.outgoing().len() < MAX_OUTGOING);
        if !went_well {
            return false;
        }
    }
    true
}

/// Says something and goodbye; with a broken session that fails, and does no more.
fn finish(mut server: TlsSession) {
    let broken = server.failure().is_some();
    server.advance(server.outgoing().len());
    assert!(server.outgoing().is_empty());
    if broken || !server.is_handshaking() {
        let encrypted = server.encrypt(&[IoSlice::new(HELLO)]);
        assert!(!broken || encrypted.is_err());
        let closed = server.close();
        assert!(!broken || (!closed && server.outgoing().is_empty()));
        assert!(!server.close());
    }
    let more = server.receive(RUBBISH);
    assert!(!broken || more.is_err());
}

/// Says goodbye first. What comes behind that is nothing to us, and nothing is said about it.
fn leave(mut server: TlsSession) {
    assert!(server.close() && !server.close());
    server.advance(server.outgoing().len());
    assert_eq!(server.receive(RUBBISH), Ok(()));
    assert!(server.outgoing().is_empty() && server.failure().is_none());
}

fn exchange(config: &Arc<ClientConfig>, changes: &[u8], piece: usize) {
    let mut server = TlsSession::new(SERVER.clone()).unwrap();
    let mut client =
        ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut tamper = Tamper::new(changes);
    let (mut heard, mut echo) = (Vec::new(), Vec::new());
    let (mut told, mut works) = (false, true);
    client.writer().write_all(HELLO).unwrap();
    for _ in 0..12 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        tamper.change(&mut bytes);
        works = feed(&mut server, &bytes, piece, &mut heard);
        if !works {
            break;
        }
        let mut answer = server.outgoing();
        while !answer.is_empty() && client.read_tls(&mut answer).is_ok() {
            let _ = client.process_new_packets();
        }
        server.advance(server.outgoing().len());
        let _ = client.reader().read_to_end(&mut echo);
        if !told && heard == HELLO {
            assert_eq!(server.encrypt(&[IoSlice::new(b"hel"), IoSlice::new(b"lo\n")]), Ok(6));
            told = true;
        } else if echo == HELLO && !tamper.changed && piece.is_multiple_of(2) {
            return leave(server);
        } else if echo == HELLO && !server.has_ended() {
            client.send_close_notify();
        } else if server.has_ended() {
            server.close();
        }
    }
    assert!(HELLO.starts_with(&heard) && HELLO.starts_with(&echo));
    if tamper.changed {
        return finish(server);
    }
    assert!(works && heard == HELLO && echo == HELLO);
    assert!(server.has_ended() && !server.is_handshaking() && !server.close());
    assert_eq!(server.failure(), None);
}

/// Changes bytes on their way.
struct Tamper<'a> {
    pairs: std::slice::ChunksExact<'a, u8>,
    /// How many bytes pass before the next one to be changed, and the mask.
    next: Option<(usize, u8)>,
    changed: bool,
}

impl<'a> Tamper<'a> {
    fn new(changes: &'a [u8]) -> Self {
        let mut tamper = Self { pairs: changes.chunks_exact(2), next: None, changed: false };
        tamper.turn();
        tamper
    }

    fn turn(&mut self) {
        self.next = self.pairs.next().map(|pair| (usize::from(pair[0]), pair[1]));
    }

    fn change(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while let Some((distance, mask)) = self.next {
            if distance >= rest.len() {
                self.next = Some((distance - rest.len(), mask));
                return;
            }
            rest[distance] ^= mask;
            self.changed |= mask != 0;
            rest = &mut rest[distance + 1..];
            self.turn();
        }
    }
}
