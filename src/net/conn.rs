//! One client connection: readiness, the unfinished input, and how it ends.
//!
//! A connection ends one direction at a time, `Open → Flushing → Draining → Closed`: what is owed
//! is delivered, then our direction is shut, then whatever the peer still sends is read and dropped
//! for a while. Closing a socket with unread input would reset it and destroy output that the peer
//! has not read yet (RFC 1122, 4.2.2.13; RFC 9293, 3.10.4).
//!
//! Readiness is latched here and cleared by `WouldBlock` only. Knows nothing of chat.

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::transport::{Read, Transport};
use crate::id::ConnId;
use crate::limits::{DRAIN_BYTES, SLICES_PER_WRITE, TLS_COST};
use crate::line::{Ending, LineDecoder};
use crate::outbox::Outboxes;
use crate::proxy::{BadHeader, Header, HeaderDecoder};
use crate::rate::AddrKey;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Lines come in, output goes out.
    Open,
    /// Input is ignored, except for a handshake; what is owed goes out, until this time at the
    /// latest.
    Flushing(Instant),
    /// Our direction is shut; input is dropped, this many bytes of it so far.
    Draining(usize),
    /// Over. The slot is freed at the end of the turn.
    Closed,
}

/// What a connection counts as while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// One of this address's connections.
    Counted(AddrKey),
    /// One that was turned away and is being told why.
    Refused,
    /// One from a proxy that has not yet said whom it connects for.
    Announced,
}

/// One client.
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// The client; behind a proxy, the proxy until its header has come.
    pub(super) peer: SocketAddr,
    /// The proxy's header, until it is complete.
    header: Option<Box<HeaderDecoder>>,
    /// What it counts as.
    pub(super) admission: Admission,
    pub(super) state: State,
    pub(super) decoder: LineDecoder,
    /// Bytes read but not decoded yet: a budget ran out, or a password is being checked.
    pub(super) unread: Vec<u8>,
    /// The peer may have sent something.
    pub(super) readable: bool,
    /// The kernel may take something.
    pub(super) writable: bool,
    /// It is in the loop's queue of connections to serve.
    pub(super) queued: bool,
    /// It waits for a password job, and so do its lines.
    pub(super) paused: bool,
    /// The peer has ended its direction.
    pub(super) input_ended: bool,
    /// The TLS handshake is under way; the chat does not know about the client yet.
    pub(super) handshaking: bool,
    /// How its lines end.
    pub(super) ending: Ending,
    /// The first byte has been examined.
    pub(super) recognised: bool,
    /// The deadline for what it waits for in its state: progress, the flush, the drain.
    pub(super) deadline: Option<Instant>,
    /// When output last moved, or began to wait.
    pub(super) progress: Instant,
    /// How long it was served while others had to wait.
    pub(super) served: Duration,
    transport: Transport,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Something, but no plaintext so far; there may be more.
    Protocol,
    /// Nothing now.
    Blocked,
    /// No more, ever.
    Ended,
    /// This many bytes, the first ones, and they are not TLS although they should be.
    NoTls(usize),
}

/// The result of reading a proxy's header.
pub(super) enum Announcement {
    /// It is not complete yet.
    Unfinished,
    /// This client, or `None`: the proxy itself.
    Of(Option<SocketAddr>),
    /// It is something else.
    Wrong,
}

/// The result of one attempt to write.
enum Written {
    /// Something was sent, or is on its way.
    Some,
    /// There was nothing left to write.
    All,
    /// There may be something, but not before the handshake is done.
    NotYet,
}

impl Conn {
    pub(super) fn new(
        id: ConnId,
        peer: SocketAddr,
        admission: Admission,
        transport: Transport,
        now: Instant,
    ) -> Self {
        Self {
            id,
            peer,
            header: (admission == Admission::Announced).then(Box::default),
            admission,
            state: State::Open,
            decoder: LineDecoder::default(),
            unread: Vec::new(),
            readable: false,
            // A new socket has room; the first output does not wait for an event.
            writable: true,
            queued: false,
            paused: false,
            input_ended: false,
            handshaking: transport.is_handshaking(),
            ending: Ending::Newline,
            recognised: false,
            deadline: None,
            progress: now,
            served: Duration::ZERO,
            transport,
        }
    }

    /// The socket, to be registered.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        self.transport.socket()
    }

    /// Whether the proxy that brings this client has not said yet who it is.
    pub(super) fn awaits_header(&self) -> bool {
        self.header.is_some()
    }

    /// Whether the chat does not know about this client yet.
    pub(super) fn is_opening(&self) -> bool {
        self.handshaking || self.awaits_header()
    }

    /// Whether the handshake that was under way is over, successfully or not.
    pub(super) fn handshake_is_done(&self) -> bool {
        !self.transport.is_handshaking()
    }

    /// Whether this client still has to begin a TLS handshake and has sent nothing that we could
    /// read.
    pub(super) fn is_silent(&self) -> bool {
        self.handshaking && self.transport.is_silent() && !self.readable
    }

    /// Gives up the handshake: what is owed is sent in plain text.
    pub(super) fn speak_plainly(&mut self) {
        self.handshaking = false;
        self.transport.release();
    }

    /// The addresses of both ends of the connection itself, ours first.
    pub(super) fn ends(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket();
        Some((socket.local_addr().ok()?, socket.peer_addr().ok()?))
    }

    /// How many bytes of its own the transport has to send.
    pub(super) fn pending(&self) -> usize {
        self.transport.pending()
    }

    /// What the reads since the last call count for: bytes of TLS for more than others, since each
    /// of its records is work.
    pub(super) fn take_wire_cost(&mut self) -> usize {
        self.transport.take_wire() * TLS_COST
    }

    /// What the peer did wrong at the TLS level.
    pub(super) fn failure(&self) -> Option<rustls::Error> {
        self.transport.failure().cloned()
    }

    /// Whether output stands still that the kernel did not take.
    pub(super) fn is_stalled(&self) -> bool {
        self.state == State::Open && !self.handshaking && !self.writable
    }

    /// Whether lines of this client may be handled now.
    pub(super) fn takes_lines(&self) -> bool {
        self.state == State::Open && !self.paused && !self.awaits_header()
    }

    /// Whether serving this connection would have any effect.
    pub(super) fn has_input(&self) -> bool {
        match self.state {
            State::Open => {
                !self.paused && (self.readable || self.input_ended || !self.unread.is_empty())
            }
            State::Draining(_) => self.readable,
            // What is owed cannot be sent before the handshake is done, and that takes reading.
            State::Flushing(_) => self.handshaking && self.readable,
            State::Closed => false,
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<Input, ErrorKind> {
        loop {
            return match self.transport.read(into) {
                Ok(Read::Plaintext(0)) => {
                    self.readable = false;
                    self.input_ended = true;
                    Ok(Input::Ended)
                }
                Ok(Read::Plaintext(n)) => Ok(Input::Bytes(n)),
                Ok(Read::Protocol) => Ok(Input::Protocol),
                Ok(Read::NoTls(n)) => Ok(Input::NoTls(n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    Ok(Input::Blocked)
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(e.kind()),
            };
        }
    }

    /// Reads once from the proxy's header. What comes after it is kept for later reads.
    pub(super) fn read_header(&mut self, into: &mut [u8]) -> Result<Announcement, ErrorKind> {
        let Some(header) = &mut self.header else { return Err(ErrorKind::InvalidInput) };
        let n = loop {
            match self.transport.socket().read(into) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof),
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(Announcement::Unfinished);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.kind()),
            }
        };
        match header.receive(into.get(..n).unwrap_or_default()) {
            Ok(None) => Ok(Announcement::Unfinished),
            Ok(Some(Header { source, rest })) => {
                self.header = None;
                self.unread = self.transport.give_back(rest);
                Ok(Announcement::Of(source))
            }
            Err(BadHeader) => Ok(Announcement::Wrong),
        }
    }

    /// Bytes of memory held for its input and its protocol, beyond what every connection needs.
    pub(super) fn held(&self) -> usize {
        self.decoder.held() + self.unread.capacity() + self.transport.held()
    }

    /// Frees all of that. Only to be called for a closed connection.
    pub(super) fn release(&mut self) {
        self.decoder = LineDecoder::default();
        self.unread = Vec::new();
        self.transport.release();
    }

    /// Whether this is being closed once it has received what it is owed.
    pub(super) fn is_flushing(&self) -> bool {
        matches!(self.state, State::Flushing(_))
    }

    /// Whether a flush would do anything.
    pub(super) fn has_output(&self, out: &Outboxes) -> bool {
        self.is_flushing() || self.transport.pending() > 0 || out.unsent(self.id) > 0
    }

    /// Writes from the outbox until everything is out or the kernel takes no more. True if
    /// everything is out, which for a connection that is being closed includes its protocol's last
    /// message.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Outboxes) -> Result<bool, ErrorKind> {
        while self.writable {
            match self.write_once(out) {
                Ok(Written::Some) => self.progress = now,
                Ok(Written::All) => return Ok(true),
                Ok(Written::NotYet) => return Ok(false),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.kind()),
            }
        }
        Ok(!self.has_output(out))
    }

    fn write_once(&mut self, out: &mut Outboxes) -> io::Result<Written> {
        if self.transport.pending() > 0 {
            return match self.transport.flush()? {
                0 => Err(ErrorKind::WriteZero.into()),
                _ => Ok(Written::Some),
            };
        }
        if self.handshaking {
            return Ok(Written::NotYet);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let filled = out.slices(self.id, &mut slices);
        let slices = slices.get(..filled).unwrap_or_default();
        if slices.is_empty() {
            let last_word = self.is_flushing() && self.transport.close();
            return Ok(if last_word { Written::Some } else { Written::All });
        }
        match self.transport.write(slices)? {
            0 => Err(ErrorKind::WriteZero.into()),
            n => {
                out.advance(self.id, n);
                Ok(Written::Some)
            }
        }
    }

    /// Ends our direction. The next state is `Closed` if the peer has already ended its own.
    pub(super) fn shut(&mut self) -> io::Result<()> {
        self.transport.shutdown_write()?;
        self.state = if self.input_ended { State::Closed } else { State::Draining(0) };
        Ok(())
    }

    /// Reads and drops what the peer still sends, until it ends, fails, or has sent too much.
    pub(super) fn drain(&mut self, scratch: &mut [u8]) {
        while let State::Draining(dropped) = self.state {
            // From the socket itself: what the bytes mean no longer matters.
            self.state = match self.socket().read(scratch) {
                Ok(n) if n > 0 && dropped + n <= DRAIN_BYTES => State::Draining(dropped + n),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return;
                }
                Ok(_) | Err(_) => State::Closed,
            };
        }
    }
}
