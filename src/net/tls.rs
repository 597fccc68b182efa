//! TLS on one connection, over rustls's unbuffered API: it owns no socket and keeps no buffers at
//! rest, so that an idle connection costs little more than its keys.
//!
//! Bytes from the wire go in, plaintext comes out, and unsent bytes wait in `outgoing`: at most one
//! record of the caller's, and what rustls itself adds (handshake, tickets, alerts). The caller
//! offers more only when those have left: the backlog is the outbox's, where it is counted.

use std::io::IoSlice;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, Error, InvalidMessage, ServerConfig};

use crate::limits::{MAX_TLS_HANDSHAKE, MAX_TLS_INCOMING};

/// The plaintext of one record (RFC 8446, section 5.1), and therefore of one write.
const MAX_PLAINTEXT: usize = 16 * 1024;

/// More than a record adds to its plaintext: header, nonce, content type, tag (RFC 8446, section
/// 5.2; RFC 5288, section 3). If it is not enough, rustls says so.
const RECORD_OVERHEAD: usize = 64;

/// One connection's TLS.
pub struct TlsSession {
    side: Side,
    /// Received but not decrypted: part of a record. Empty at rest.
    incoming: Vec<u8>,
    out: Out,
    /// How much of `out.outgoing` has been sent.
    sent: usize,
    /// We have sent close_notify.
    closed: bool,
}

/// Which of the two we are.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What came of the bytes from the wire.
#[derive(Default)]
struct Out {
    /// Decrypted but not taken yet. Empty at rest.
    plaintext: Vec<u8>,
    /// Encrypted but not sent yet. Empty at rest.
    outgoing: Vec<u8>,
    /// The peer has sent close_notify.
    ended: bool,
    /// What the peer did wrong; an alert about it is in `outgoing`.
    failed: Option<Error>,
}

/// The session cannot be used any more; see [`TlsSession::failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// What to do when rustls is ready for our data.
enum Task<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

impl TlsSession {
    /// The server's side of a new connection.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::of(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// The client's side of a new connection, whose first message is to be sent. The peer has to prove
    /// that it is this server.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn client(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Error> {
        let mut new = Self::of(Side::Client(UnbufferedClientConnection::new(config, server)?));
        let _ = new.process(Task::Nothing);
        new.out.failed.take().map_or(Ok(new), Err)
    }

    fn of(side: Side) -> Self {
        Self { side, incoming: Vec::new(), out: Out::default(), sent: 0, closed: false }
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.out.failed.is_none() && self.side.is_handshaking()
    }

    /// What the peer did wrong, if anything.
    pub fn failure(&self) -> Option<&Error> {
        self.out.failed.as_ref()
    }

    /// Whether the peer has ended its direction, and everything it sent was taken.
    pub fn has_ended(&self) -> bool {
        self.out.ended && self.out.plaintext.is_empty()
    }

    /// Takes bytes from the wire; after our close_notify they are dropped.
    ///
    /// # Errors
    /// They are not valid. See [`TlsSession::failure`]; an alert has to be sent.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if self.closed && self.out.failed.is_none() {
            // An alert about them would come after it, and rustls has an assertion against that.
            return Ok(());
        }
        self.incoming.extend_from_slice(bytes);
        self.process(Task::Nothing)?;
        // What a client of ours sends fits into a record; a service's certificates may not.
        let most = match &self.side {
            Side::Client(tls) if tls.is_handshaking() => MAX_TLS_HANDSHAKE,
            _ => MAX_TLS_INCOMING,
        };
        if self.incoming.len() > most {
            self.incoming = Vec::new();
            self.out.failed = Some(InvalidMessage::HandshakePayloadTooLarge.into());
            return Err(Broken);
        }
        Ok(())
    }

    /// Moves plaintext out, and gives how much.
    pub fn take_plaintext(&mut self, into: &mut [u8]) -> usize {
        let plaintext = &mut self.out.plaintext;
        let n = plaintext.len().min(into.len());
        for (to, from) in into.iter_mut().zip(plaintext.drain(..n)) {
            *to = from;
        }
        if plaintext.is_empty() {
            *plaintext = Vec::new();
        }
        n
    }

    /// Encrypts as much from the front of these slices as fits into one record, and gives how much
    /// that is. Only to be called when nothing is waiting to be sent.
    ///
    /// # Errors
    /// Nothing can be encrypted any more: the keys are used up, or the peer did something wrong.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Broken> {
        let mut data = Vec::new();
        for slice in slices {
            let room = MAX_PLAINTEXT - data.len();
            data.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        self.process(Task::Encrypt(&data))?;
        Ok(data.len())
    }

    /// Queues our close_notify, once. False if it was queued before, or no longer can be.
    pub fn close(&mut self) -> bool {
        if self.out.failed.is_some() || std::mem::replace(&mut self.closed, true) {
            return false;
        }
        self.process(Task::Close).is_ok()
    }

    /// Bytes of memory held in addition to the keys.
    pub fn held(&self) -> usize {
        [&self.incoming, &self.out.plaintext, &self.out.outgoing]
            .iter()
            .map(|bytes| bytes.capacity())
            .sum()
    }

    /// What is waiting to be sent.
    pub fn outgoing(&self) -> &[u8] {
        self.out.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// Notes that this much of it was sent.
    pub fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.out.outgoing.len() {
            self.out.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Lets rustls work until it needs more from the wire or has done the task. Nothing is sent
    /// here, but everything is queued in the order in which it has to be sent.
    fn process(&mut self, mut task: Task<'_>) -> Result<(), Broken> {
        if self.out.failed.is_some() {
            return Err(Broken);
        }
        loop {
            let incoming = &mut self.incoming;
            let (discard, done) = match &mut self.side {
                Side::Server(tls) => self.out.take(tls.process_tls_records(incoming), &mut task),
                Side::Client(tls) => self.out.take(tls.process_tls_records(incoming), &mut task),
            };
            self.incoming.drain(..discard.min(self.incoming.len()));
            // After an error there may be an alert to take out, but rustls must not be given input
            // again, neither the same nor none: it panics in both cases (seen with 0.23.46).
            if done || (self.out.failed.is_some() && !self.side.wants_write()) {
                break;
            }
        }
        if self.incoming.is_empty() || self.out.failed.is_some() {
            self.incoming = Vec::new();
        }
        if matches!(task, Task::Encrypt(_)) {
            // It was not done, so none of it may count as written.
            self.out.failed.get_or_insert(Error::EncryptError);
        }
        if self.out.failed.is_some() { Err(Broken) } else { Ok(()) }
    }
}

impl Side {
    fn is_handshaking(&self) -> bool {
        match self {
            Self::Server(tls) => tls.is_handshaking(),
            Self::Client(tls) => tls.is_handshaking(),
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Self::Server(tls) => tls.wants_write(),
            Self::Client(tls) => tls.wants_write(),
        }
    }
}

impl Out {
    /// Takes what rustls has to say. Gives how many bytes it has read, and whether that is all.
    fn take<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
        task: &mut Task<'_>,
    ) -> (usize, bool) {
        let UnbufferedStatus { mut discard, state } = status;
        let mut done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    discard += record.discard;
                    self.plaintext.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let encoded = append(&mut self.outgoing, 0, |into| {
                    data.encode(into).map_err(|e| match e {
                        EncodeError::InsufficientSize(size) => Some(size),
                        EncodeError::AlreadyEncoded => None,
                    })
                });
                done = encoded.is_err();
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => self.ended = true,
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let encrypted = match std::mem::replace(task, Task::Nothing) {
                    Task::Nothing => Ok(()),
                    Task::Encrypt(data) => {
                        append(&mut self.outgoing, data.len() + RECORD_OVERHEAD, |into| {
                            traffic.encrypt(data, into).map_err(size_wanted)
                        })
                    }
                    Task::Close => append(&mut self.outgoing, RECORD_OVERHEAD, |into| {
                        traffic.queue_close_notify(into).map_err(size_wanted)
                    }),
                };
                if encrypted.is_err() {
                    self.failed = Some(Error::EncryptError);
                }
                done = true;
            }
            // Early data is not offered. `Closed` and `BlockedHandshake`: nothing more to do.
            Ok(_) => done = true,
            Err(error) => {
                self.failed.get_or_insert(error);
                discard = usize::MAX;
            }
        }
        (discard, done)
    }
}

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` wants.
fn size_wanted(error: EncryptError) -> Option<InsufficientSizeError> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Appends what `encode` writes, with this much room or, if that is too little, as much as it asks
/// for.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), ()> {
    let start = out.len();
    let mut room = room;
    loop {
        out.resize(start + room, 0);
        match encode(out.get_mut(start..).unwrap_or_default()) {
            Ok(n) => {
                out.truncate(start + n);
                return Ok(());
            }
            Err(Some(size)) if size.required_size > room => room = size.required_size,
            Err(_) => {
                out.truncate(start);
                return Err(());
            }
        }
    }
}
