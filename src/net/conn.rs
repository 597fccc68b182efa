//! One client connection: readiness, the unfinished input, and how it ends.
//!
//! A connection ends in one direction only, `Open → Flushing → Draining → Closed`: what is owed is
//! delivered, then our direction is shut, then what the peer still sends is read and dropped for a
//! while, because closing a socket with unread input resets it and destroys output that the peer
//! has not read yet (RFC 1122, 4.2.2.13; RFC 9293, 3.10.4).
//!
//! Readiness is latched here and cleared by `WouldBlock` only. Knows nothing of chat.

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;

use super::transport::{Read, Transport};
use crate::id::ConnId;
use crate::limits::{DRAIN_BYTES, SLICES_PER_WRITE};
use crate::line::{Ending, LineDecoder};
use crate::outbox::Outboxes;
use crate::proxy::{BadHeader, Header, HeaderDecoder};
use crate::rate::AddrKey;

/// Where in its life a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Lines come in, output goes out.
    Open,
    /// Input is left alone, but for a handshake; what is owed goes out, until this time at the latest.
    Flushing(Instant),
    /// Our direction is shut; input is dropped, so many bytes of it so far.
    Draining(usize),
    /// Over. The slot is freed at the end of the turn.
    Closed,
}

/// What a connection counts as while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// One of this address's.
    Counted(AddrKey),
    /// One that was turned away and is told why.
    Refused,
    /// One that comes from a proxy, which has not said yet whom it brings.
    Announced,
}

/// One client.
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// Who it is; where a proxy brings it, the proxy until its header has come.
    pub(super) peer: SocketAddr,
    /// The proxy's header, as long as it has not come.
    header: Option<Box<HeaderDecoder>>,
    /// What it counts as.
    pub(super) admission: Admission,
    pub(super) state: State,
    pub(super) decoder: LineDecoder,
    /// Bytes read and not decoded yet: a budget ended, or a password is being checked.
    pub(super) unread: Vec<u8>,
    /// The peer may have sent something.
    pub(super) readable: bool,
    /// The kernel may take something.
    pub(super) writable: bool,
    /// Stands in the loop's queue of connections to serve.
    pub(super) queued: bool,
    /// Waits for a password job; its lines wait, too.
    pub(super) paused: bool,
    /// The peer has ended its direction.
    pub(super) input_ended: bool,
    /// The TLS handshake is under way; the chat does not know of the client yet.
    pub(super) handshaking: bool,
    /// How its lines end.
    pub(super) ending: Ending,
    /// The first byte was looked at.
    pub(super) recognised: bool,
    /// What this waits for in its state: progress, the flush, the drain.
    pub(super) deadline: Option<Instant>,
    /// When output last moved, or began to wait.
    pub(super) progress: Instant,
    transport: Transport,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now.
    Blocked,
    /// Nothing ever again.
    Ended,
    /// So many bytes, its first, and no TLS though that is to be spoken here.
    NoTls(usize),
}

/// What a read of a proxy's header brought.
pub(super) enum Announcement {
    /// Not the end of it.
    Unfinished,
    /// This client, or `None`: the proxy itself.
    Of(Option<SocketAddr>),
    /// Something else.
    Wrong,
}

/// What one attempt to write came to.
enum Written {
    /// Something left, or is on its way.
    Some,
    /// There was nothing left to write.
    All,
    /// There may be something, but its time is after the handshake.
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

    /// Whether the chat does not know of this client yet.
    pub(super) fn is_opening(&self) -> bool {
        self.handshaking || self.awaits_header()
    }

    /// Whether the handshake that was under way is over, well or not.
    pub(super) fn handshake_is_done(&self) -> bool {
        !self.transport.is_handshaking()
    }

    /// Whether this has to begin a TLS handshake and has sent nothing yet that we could have read.
    pub(super) fn is_silent(&self) -> bool {
        self.handshaking && self.transport.is_silent() && !self.readable
    }

    /// Gives up the handshake: what is owed is said in plain text.
    pub(super) fn speak_plainly(&mut self) {
        self.handshaking = false;
        self.transport.release();
    }

    /// The addresses of both ends of the connection itself, ours first.
    pub(super) fn ends(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket();
        Some((socket.local_addr().ok()?, socket.peer_addr().ok()?))
    }

    /// Whether the transport has bytes of its own to send.
    pub(super) fn is_pending(&self) -> bool {
        self.transport.is_pending()
    }

    /// What the peer did wrong below the lines.
    pub(super) fn failure(&self) -> Option<String> {
        self.transport.failure()
    }

    /// Whether lines of this client may be handled now.
    pub(super) fn takes_lines(&self) -> bool {
        self.state == State::Open && !self.paused && !self.awaits_header()
    }

    /// Whether serving this connection would do anything.
    pub(super) fn has_input(&self) -> bool {
        match self.state {
            State::Open => {
                !self.paused && (self.readable || self.input_ended || !self.unread.is_empty())
            }
            State::Draining(_) => self.readable,
            // What is owed cannot be said before the handshake is done, which takes reading.
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

    /// Reads once of the proxy's header. What comes behind it is kept for the reads to come.
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

    /// Bytes of memory held for its input and its protocol, but for what every connection needs.
    pub(super) fn held(&self) -> usize {
        self.decoder.held() + self.unread.capacity() + self.transport.held()
    }

    /// Frees them all. To be called of a closed connection only.
    pub(super) fn release(&mut self) {
        self.decoder = LineDecoder::default();
        self.unread = Vec::new();
        self.transport.release();
    }

    /// Whether this is being closed behind what it is owed.
    pub(super) fn is_flushing(&self) -> bool {
        matches!(self.state, State::Flushing(_))
    }

    /// Whether a flush would do anything.
    pub(super) fn has_output(&self, out: &Outboxes) -> bool {
        self.is_flushing() || self.transport.is_pending() || out.unsent(self.id) > 0
    }

    /// Writes from the outbox until everything is out or the kernel takes no more. True if
    /// everything is out; of a connection that is being closed that is also its protocol's last
    /// word.
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
        if self.transport.is_pending() {
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

    /// Ends our direction. The next state is `Closed` if the peer has ended its own already.
    pub(super) fn shut(&mut self) -> io::Result<()> {
        self.transport.shutdown_write()?;
        self.state = if self.input_ended { State::Closed } else { State::Draining(0) };
        Ok(())
    }

    /// Reads and drops what the peer still sends, until it ends, fails, or has sent too much.
    pub(super) fn drain(&mut self, scratch: &mut [u8]) {
        while let State::Draining(dropped) = self.state {
            // From the socket itself: what it means does not matter any more.
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
