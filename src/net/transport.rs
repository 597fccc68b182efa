//! What a connection speaks below its lines, or its HTTP: plain TCP, or TLS over it. Those above do
//! not know which.
//!
//! Never blocks and keeps no readiness: `WouldBlock` is passed up, and the connection remembers it.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::tls::TlsSession;
use crate::chat::protocol::begins_tls;

/// Bytes taken from the wire in one read of a TLS connection: a few records of chat.
const WIRE_READ: usize = 4 * 1024;

/// The byte stream of one client, or of a service.
pub(super) struct Transport {
    socket: TcpStream,
    tls: Option<Box<TlsSession>>,
    /// Something came from the peer of a TLS session.
    begun: bool,
    /// Bytes that TLS has taken from the wire since they were last counted.
    wire: usize,
}

/// The result of a read.
pub(super) enum Read {
    /// This many bytes of plaintext; 0 is the end of input.
    Plaintext(usize),
    /// Bytes of the protocol, and no plaintext so far.
    Protocol,
    /// This many bytes, the first ones, unchanged: the peer does not speak TLS.
    NoTls(usize),
}

impl Transport {
    /// Plain TCP, or TLS if there is a session for it.
    pub(super) fn new(socket: TcpStream, tls: Option<Box<TlsSession>>) -> Self {
        Self { socket, tls, begun: false, wire: 0 }
    }

    /// The same for a peer that we have called, which speaks TLS if we do.
    pub(super) fn called(socket: TcpStream, tls: Option<Box<TlsSession>>) -> Self {
        Self { begun: true, ..Self::new(socket, tls) }
    }

    /// The socket, to be registered, or to drain it of bytes that no longer matter.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether it is not yet possible to send or receive anything.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether TLS is expected, and nothing has come from the peer yet.
    pub(super) fn is_silent(&self) -> bool {
        self.tls.is_some() && !self.begun
    }

    /// What the peer did wrong at the TLS level.
    pub(super) fn failure(&self) -> Option<&rustls::Error> {
        self.tls.as_ref()?.failure()
    }

    /// Reads once from the socket. This also advances a handshake; what the handshake has to send
    /// is pending afterwards. A peer can send any amount of protocol that brings no plaintext, so
    /// nothing here waits for some.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Read> {
        let Some(tls) = &mut self.tls else { return self.socket.read(into).map(Read::Plaintext) };
        let n = tls.take_plaintext(into);
        if n > 0 || tls.has_ended() {
            return Ok(Read::Plaintext(n));
        }
        if tls.failure().is_some() {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut wire = [0; WIRE_READ];
        let n = self.socket.read(&mut wire)?;
        self.wire += n;
        if n == 0 {
            // No close_notify: that is just as good for us, since lines have endings of their own.
            return Ok(Read::Plaintext(0));
        }
        let wire = wire.get(..n).unwrap_or_default();
        if !std::mem::replace(&mut self.begun, true) && !begins_tls(wire) {
            into.iter_mut().zip(wire).for_each(|(to, from)| *to = *from);
            return Ok(Read::NoTls(n.min(into.len())));
        }
        // Whatever came before a fault is handed out first; the next read reports the failure.
        let received = tls.receive(wire);
        let n = tls.take_plaintext(into);
        match received {
            _ if n > 0 => Ok(Read::Plaintext(n)),
            Err(_) => Err(ErrorKind::InvalidData.into()),
            Ok(()) if tls.has_ended() => Ok(Read::Plaintext(0)),
            Ok(()) => Ok(Read::Protocol),
        }
    }

    /// How many bytes TLS has taken from the wire since the last call.
    pub(super) fn take_wire(&mut self) -> usize {
        std::mem::take(&mut self.wire)
    }

    /// Takes bytes that were read from the socket before this stream was in charge of it. Gives
    /// back those that are plaintext from the peer, or are not TLS.
    pub(super) fn give_back(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let begins = !bytes.is_empty();
        match &mut self.tls {
            None => bytes,
            Some(_)
                if begins && !std::mem::replace(&mut self.begun, true) && !begins_tls(&bytes) =>
            {
                bytes
            }
            Some(tls) => {
                // The next read reports what is wrong with them.
                let _ = tls.receive(&bytes);
                Vec::new()
            }
        }
    }

    /// How many bytes are waiting to be sent that the outbox does not know about.
    pub(super) fn pending(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.outgoing().len())
    }

    /// Sends some of what is pending.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let n = self.socket.write(tls.outgoing())?;
        tls.advance(n);
        Ok(n)
    }

    /// Takes output from the front of these slices: as much as the kernel does, or one record,
    /// which is then pending. Only to be called when nothing is pending.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write_vectored(slices),
            Some(tls) => tls.encrypt(slices).map_err(|_| ErrorKind::InvalidData.into()),
        }
    }

    /// Bytes of memory held for the protocol, beyond what it needs at rest.
    pub(super) fn held(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.held())
    }

    /// Forgets the protocol: whatever is read and written from now on is plain.
    pub(super) fn release(&mut self) {
        self.tls = None;
    }

    /// Queues the closing message of the protocol, if it has one that was not sent yet.
    pub(super) fn close(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.close())
    }

    /// Ends our direction of the stream, after everything that was sent.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
