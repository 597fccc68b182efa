//! One connection to the service: plain, or TLS with a verified certificate.
//!
//! Sends what it is given as far as the kernel takes it, and passes on what it receives, within the
//! share of the turn that it is given. An end of the stream, clean or not, is an error here: the call
//! knows whether its answer was complete.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use mio::Token;
use mio::event::Event as Readiness;
use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::server::read_clock;
use super::tls::TlsSession;
use super::transport::{Read, Transport};
use super::verdict;
use crate::limits::{OUTBOUND_BYTES, OUTBOUND_TIME, TLS_COST};

/// What all connections that we made may still do in this turn, together.
pub(super) struct Share {
    bytes: usize,
    until: Instant,
}

impl Share {
    /// That of a turn.
    pub(super) fn of_a_turn() -> Self {
        Self { bytes: OUTBOUND_BYTES, until: read_clock() + OUTBOUND_TIME }
    }

    /// Counts bytes that were received.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether the rest is for the next turn.
    pub(super) fn is_over(&self) -> bool {
        self.bytes == 0 || read_clock() >= self.until
    }
}

/// A connection to the service.
pub(super) struct Link {
    token: Token,
    transport: Transport,
    unsent: Vec<u8>,
    readable: bool,
    writable: bool,
}

impl Link {
    /// Uses a stream that is already connected. With TLS a handshake comes first.
    pub(super) fn new(
        token: Token,
        stream: TcpStream,
        tls: Option<&(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Result<Self, String> {
        let tls = tls.map(|(config, name)| TlsSession::client(config.clone(), name.clone()));
        let tls = tls.transpose().map_err(|e| e.to_string())?.map(Box::new);
        let transport = Transport::called(stream, tls);
        Ok(Self { token, transport, unsent: Vec::new(), readable: true, writable: true })
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Whether the peer has yet to be verified.
    pub(super) fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Whether there is more to read than the last turn allowed.
    pub(super) fn is_busy(&self) -> bool {
        self.readable
    }

    pub(super) fn latch(&mut self, event: &Readiness) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
    }

    /// Queues bytes to be sent.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Sends and receives as much as there is room for and the share allows. The error says why the
    /// connection is over.
    pub(super) fn exchange(
        &mut self,
        share: &mut Share,
        mut receive: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        // A service that refuses early may still have answered.
        let written = self.write();
        let mut bytes = [0; 8 * 1024];
        while self.readable && !share.is_over() {
            let read = self.transport.read(&mut bytes);
            share.spend(self.transport.take_wire() * TLS_COST);
            match read {
                Ok(Read::Plaintext(0)) => return Err("the connection ended".to_owned()),
                Ok(Read::Plaintext(n) | Read::NoTls(n)) => {
                    share.spend(n);
                    receive(bytes.get(..n).unwrap_or_default());
                }
                Ok(Read::Protocol) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failure(&e)),
            }
        }
        written?;
        self.write()
    }

    /// What is wrong, in words. The alert about it is sent, as far as that is possible at once.
    fn failure(&mut self, error: &io::Error) -> String {
        let Some(failure) = self.transport.failure() else { return error.to_string() };
        let words = format!("TLS: {}", verdict::explain(failure));
        let _ = self.transport.flush();
        words
    }

    fn write(&mut self) -> Result<(), String> {
        while self.writable {
            match self.write_once() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }

    /// One write; false if there is nothing to write.
    fn write_once(&mut self) -> io::Result<bool> {
        let sent = if self.transport.pending() > 0 {
            self.transport.flush()?
        } else if self.unsent.is_empty() || self.is_handshaking() {
            return Ok(false);
        } else {
            let n = self.transport.write(&[IoSlice::new(&self.unsent)])?;
            self.unsent.drain(..n);
            n
        };
        if sent == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(true) }
    }
}
