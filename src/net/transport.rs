//! What a connection speaks below its lines: plain TCP, or TLS over it. The connection, the outbox
//! and the chat do not know which.
//!
//! Never blocks and keeps no readiness: `WouldBlock` is handed up, and the connection remembers it.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::tls::TlsSession;
use crate::chat::protocol::begins_tls;

/// Bytes taken from the wire in one read of a TLS connection: a few records of chat.
const WIRE_READ: usize = 4 * 1024;

/// One client's byte stream.
pub(super) struct Transport {
    socket: TcpStream,
    tls: Option<Box<TlsSession>>,
    /// Something came from the peer of a TLS session.
    begun: bool,
}

/// What a read brought.
pub(super) enum Read {
    /// So many bytes of plaintext; 0 is the end of input.
    Plaintext(usize),
    /// So many bytes, the first ones, as they are: the peer does not speak TLS.
    NoTls(usize),
}

impl Transport {
    /// Plain TCP, or TLS if there is a session for it.
    pub(super) fn new(socket: TcpStream, tls: Option<Box<TlsSession>>) -> Self {
        Self { socket, tls, begun: false }
    }

    /// The socket, to be registered, or drained of bytes that no longer matter.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether nothing can be said yet, nor heard.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether TLS is to be spoken, and nothing has come from the peer yet.
    pub(super) fn is_silent(&self) -> bool {
        self.tls.is_some() && !self.begun
    }

    /// What the peer did wrong below the lines.
    pub(super) fn failure(&self) -> Option<String> {
        Some(self.tls.as_ref()?.failure()?.to_string())
    }

    /// Reads what there is. A handshake goes on in here, and what it has to say is pending
    /// afterwards.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Read> {
        let Some(tls) = &mut self.tls else { return self.socket.read(into).map(Read::Plaintext) };
        loop {
            let n = tls.take_plaintext(into);
            if n > 0 || tls.has_ended() {
                return Ok(Read::Plaintext(n));
            }
            if tls.failure().is_some() {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut wire = [0; WIRE_READ];
            let n = self.socket.read(&mut wire)?;
            if n == 0 {
                // No close_notify: as good as one for us, since lines have ends of their own.
                return Ok(Read::Plaintext(0));
            }
            let wire = wire.get(..n).unwrap_or_default();
            if !std::mem::replace(&mut self.begun, true) && !begins_tls(wire) {
                into.iter_mut().zip(wire).for_each(|(to, from)| *to = *from);
                return Ok(Read::NoTls(n.min(into.len())));
            }
            // What came before something wrong is handed out first; the failure is said after it.
            let _ = tls.receive(wire);
        }
    }

    /// Takes bytes that were read from the socket already, before it was this stream's turn. Gives
    /// back those that are the peer's plaintext as it stands, or not TLS.
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
                // What is wrong with them the next read says.
                let _ = tls.receive(&bytes);
                Vec::new()
            }
        }
    }

    /// Whether bytes wait to be sent that the outbox does not know of.
    pub(super) fn is_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.outgoing().is_empty())
    }

    /// Sends some of what is pending.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let n = self.socket.write(tls.outgoing())?;
        tls.advance(n);
        Ok(n)
    }

    /// Takes output from the front of these slices: as much as the kernel does, or one record, which
    /// is pending then. To be called only when nothing is pending.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write_vectored(slices),
            Some(tls) => tls.encrypt(slices).map_err(|_| ErrorKind::InvalidData.into()),
        }
    }

    /// Bytes of memory that are held for the protocol's sake, but for what it needs at rest.
    pub(super) fn held(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.held())
    }

    /// Forgets the protocol: what is read and written from now on, if anything, is plain.
    pub(super) fn release(&mut self) {
        self.tls = None;
    }

    /// Says the last word of the protocol, if it has one and it was not said: it is pending then.
    pub(super) fn close(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.close())
    }

    /// Ends our direction of the stream, behind everything sent.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
