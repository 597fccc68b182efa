//! One connection to the service: plain, or TLS with a verified certificate.
//!
//! Sends what it is given as far as the kernel takes it, and passes on what it receives. An end of
//! the stream, clean or not, is an error here: the call knows whether its answer was complete.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use mio::Token;
use mio::event::Event as Readiness;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::verdict;
use crate::limits::LINK_BYTES_PER_TURN;

/// A connection to the service.
pub(super) struct Link {
    token: Token,
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
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
        let tls = tls.map(|(config, name)| ClientConnection::new(config.clone(), name.clone()));
        let tls = tls.transpose().map_err(|e| e.to_string())?.map(Box::new);
        Ok(Self { token, stream, tls, unsent: Vec::new(), readable: true, writable: true })
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Whether the peer has yet to be verified.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
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

    /// Sends and receives as much as there is room and time for in one turn. The error says why the
    /// connection is over.
    pub(super) fn exchange(&mut self, mut receive: impl FnMut(&[u8])) -> Result<(), String> {
        // A service that refuses early may still have answered.
        let written = self.write();
        let mut bytes = [0; 8 * 1024];
        let mut left = LINK_BYTES_PER_TURN;
        while self.readable && left > 0 {
            let result = match &mut self.tls {
                None => self.stream.read(&mut bytes),
                Some(tls) => tls.read_tls(&mut self.stream),
            };
            let n = match result {
                Ok(0) => return Err("the connection ended".to_owned()),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.to_string()),
            };
            left = left.saturating_sub(n);
            let Some(tls) = &mut self.tls else {
                receive(bytes.get(..n).unwrap_or_default());
                continue;
            };
            let state = tls.process_new_packets();
            if let Err(error) = state {
                // The alert about it is sent, as far as that is possible at once.
                let _ = tls.write_tls(&mut self.stream);
                return Err(format!("TLS: {}", verdict::explain(&error)));
            }
            loop {
                match tls.reader().read(&mut bytes) {
                    Ok(0) => return Err("the connection ended".to_owned()),
                    Ok(n) => receive(bytes.get(..n).unwrap_or_default()),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.to_string()),
                }
            }
        }
        written?;
        self.write()
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
        let sent = match &mut self.tls {
            Some(tls) => {
                if !tls.is_handshaking() && !tls.wants_write() && !self.unsent.is_empty() {
                    let n = tls.writer().write(&self.unsent)?;
                    self.unsent.drain(..n);
                }
                if !tls.wants_write() {
                    return Ok(false);
                }
                tls.write_tls(&mut self.stream)?
            }
            None if self.unsent.is_empty() => return Ok(false),
            None => {
                let n = self.stream.write(&self.unsent)?;
                self.unsent.drain(..n);
                n
            }
        };
        if sent == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(true) }
    }
}
