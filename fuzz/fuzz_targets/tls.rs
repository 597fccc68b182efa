//! TLS bytes into the server's side: whatever comes, there is an answer or a failure, never a panic,
//! and nothing is kept beyond a record.
//!
//! With an odd first byte the rest comes as it is. With an even one a real client talks, and the
//! rest says which of its bytes arrive changed: pairs of a distance and a mask.

#![no_main]

#[path = "../../tests/common/tls_client.rs"]
mod tls_client;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use mio_chat::net::tls::TlsSession;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme,
};

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

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| tls_client::config(&TLS13));

/// Gives the server these bytes in pieces, as `Transport` would. False once it has failed.
fn feed(server: &mut TlsSession, bytes: &[u8], piece: usize) -> bool {
    for piece in bytes.chunks(piece) {
        let went_well = server.receive(piece).is_ok();
        let mut sink = [0; 1000];
        while server.take_plaintext(&mut sink) > 0 {}
        assert_eq!(went_well, server.failure().is_none());
        if !went_well {
            return false;
        }
    }
    true
}

/// Says something and goodbye; with a broken session that fails, and does no more.
fn finish(mut server: TlsSession) {
    server.advance(server.outgoing().len());
    if !server.is_handshaking() {
        let _ = server.encrypt(&[std::io::IoSlice::new(b"hello")]);
        let _ = server.close();
        assert!(!server.close());
    }
    let _ = server.receive(b"more");
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut server = TlsSession::new(SERVER.clone()).unwrap();
    let piece = usize::from(first / 2).max(1);
    if first % 2 == 1 {
        feed(&mut server, rest, piece);
        return finish(server);
    }
    let mut client =
        ClientConnection::new(CLIENT.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut changes = rest.chunks_exact(2).map(|pair| (usize::from(pair[0]), pair[1]));
    let mut next = changes.next();
    for round in 0..6 {
        if round == 3 {
            let _ = std::io::Write::write_all(&mut client.writer(), b"hello\n");
        }
        if round == 4 {
            client.send_close_notify();
        }
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut at = 0;
        while let Some((distance, mask)) = next {
            match bytes.get_mut(at + distance) {
                Some(byte) => *byte ^= mask,
                None => {
                    next = Some((distance.saturating_sub(bytes.len() - at), mask));
                    break;
                }
            }
            at += distance + 1;
            at = at.min(bytes.len());
            next = changes.next();
        }
        if !feed(&mut server, &bytes, piece) {
            break;
        }
        let mut answer = server.outgoing();
        while !answer.is_empty() {
            if client.read_tls(&mut answer).is_err() {
                break;
            }
            let _ = client.process_new_packets();
        }
        server.advance(server.outgoing().len());
    }
    finish(server);
});
