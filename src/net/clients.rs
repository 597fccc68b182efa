//! What the loop does for one connection: let it in, read its lines, write what it is owed, close it.
//!
//! No call here closes a connection under its caller's hands: it becomes `Closed`, and its slot is
//! freed by `reap` at the end of the turn.

use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event as Readiness;
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::accept::{FULL, TOO_MANY};
use super::conn::{Conn, Input, State};
use super::server::Server;
use super::transport::Transport;
use crate::chat::protocol::Protocol;
use crate::chat::{CloseReason, Event};
use crate::id::ConnId;
use crate::limits::{
    DRAIN_TIMEOUT, FLUSH_TIMEOUT, LINES_PER_TURN, MAX_REFUSALS_CLOSING, READ_BYTES_PER_TURN,
};
use crate::line::MARK_ANSWER;
use crate::outbox::Frame;
use crate::rate::AddrKey;

// ---- Coming in -------------------------------------------------------------------------------

impl Server {
    /// Lets a client in, or turns it away if there are too many.
    pub(super) fn admit(&mut self, now: Instant, stream: TcpStream, peer: SocketAddr) {
        let addr = AddrKey::from(peer.ip());
        let refusal = if self.conns.len() - self.refusals >= self.limits.max_connections {
            Some((FULL, "server full"))
        } else if !self.by_address.try_open(addr, self.limits.max_connections_per_ip) {
            Some((TOO_MANY, "too many connections"))
        } else {
            None
        };
        if let Some((line, reason)) = refusal {
            log::warn!("refused {} - {reason}", peer.ip());
            if self.refusals < MAX_REFUSALS_CLOSING {
                self.turn_away(now, stream, peer, line);
            }
            return;
        }
        match self.register(now, stream, peer) {
            Some(id) => {
                if let Some(conn) = self.conn(id) {
                    conn.counted = Some(addr);
                }
                self.tell_chat(now, Event::Connected { id, peer });
            }
            None => self.by_address.close(addr),
        }
    }

    /// Tells a client why it is not let in, and closes as politely as for any other.
    fn turn_away(&mut self, now: Instant, stream: TcpStream, peer: SocketAddr, line: &str) {
        if let Some(id) = self.register(now, stream, peer) {
            self.refusals += 1;
            self.outboxes.push(id, &Frame::new(line));
            self.begin_close(now, id);
        }
    }

    /// Gives a connection its slot and registers it, once, for both directions.
    fn register(&mut self, now: Instant, stream: TcpStream, peer: SocketAddr) -> Option<ConnId> {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.conns.vacant_key();
        let id = ConnId::new(slot, self.generation)?;
        let mut conn = Conn::new(id, peer, Transport::plain(stream), now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = conn.transport().stream();
        if let Err(e) = self.registry().register(stream, Token(id.token()), interest) {
            log::error!("cannot register {peer} - {e}");
            return None;
        }
        self.conns.insert(conn);
        self.outboxes.open(id);
        Some(id)
    }

    /// Latches what the poll says of a connection.
    pub(super) fn latch(&mut self, event: &Readiness) {
        let slot = ConnId::slot_of_token(event.token().0);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        // A stale event of the slot's former tenant has another generation.
        if conn.id.token() != event.token().0 {
            return;
        }
        let id = conn.id;
        conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            conn.writable = true;
            if self.outboxes.unsent(id) > 0 {
                self.to_flush.push(id);
            }
        }
        self.wake(id);
    }

    /// Queues a connection to be served, if there is something to serve.
    pub(super) fn wake(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        if !conn.queued && conn.has_input() {
            conn.queued = true;
            self.ready.push_back(id);
        }
    }
}

// ---- Reading ---------------------------------------------------------------------------------

impl Server {
    /// Serves a ready connection within its budget, and queues it again if more is left.
    pub(super) fn serve(&mut self, now: Instant, id: ConnId) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some(conn) = self.conn(id) {
            conn.queued = false;
            if let State::Draining(_) = conn.state {
                conn.drain(&mut scratch);
                if conn.state == State::Closed {
                    self.closed.push(id);
                }
            } else {
                self.read_lines(now, id, &mut scratch);
            }
        }
        self.scratch = scratch;
        if !self.is_behind(id) {
            self.wake(id);
        }
    }

    /// Whether so much output waits for this client that its input waits, too.
    fn is_behind(&self, id: ConnId) -> bool {
        self.outboxes.unsent(id) >= self.limits.input_pause_bytes
    }

    fn read_lines(&mut self, now: Instant, id: ConnId, scratch: &mut [u8]) {
        let mut bytes = READ_BYTES_PER_TURN;
        let mut lines = LINES_PER_TURN;
        while bytes > 0 && lines > 0 && !self.is_behind(id) {
            let Some(conn) = self.conn(id).filter(|conn| conn.takes_lines()) else { return };
            if !conn.unread.is_empty() {
                let mut unread = std::mem::take(&mut conn.unread);
                let used = self.handle_bytes(now, id, &unread, &mut lines);
                unread.drain(..used);
                self.keep_unread(id, unread);
                continue;
            }
            if conn.input_ended {
                return self.end_of_input(now, id);
            }
            if !conn.readable {
                return;
            }
            match conn.read(scratch) {
                Ok(Input::Bytes(n)) => {
                    bytes = bytes.saturating_sub(n);
                    let input = scratch.get(..n).unwrap_or_default();
                    let used = self.handle_bytes(now, id, input, &mut lines);
                    let rest = input.get(used..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.keep_unread(id, rest.to_vec());
                    }
                }
                Ok(Input::Blocked | Input::Ended) => {}
                Err(kind) => return self.lose(now, id, CloseReason::Failed(kind)),
            }
        }
    }

    fn keep_unread(&mut self, id: ConnId, unread: Vec<u8>) {
        if let Some(conn) = self.conn(id).filter(|conn| conn.state == State::Open) {
            conn.unread = unread;
        }
    }

    /// Handles the lines in these bytes as far as the client and its budget allow. Gives how many
    /// bytes are done with.
    fn handle_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8], lines: &mut usize) -> usize {
        let mut rest = bytes;
        while *lines > 0 && !rest.is_empty() && !self.is_behind(id) {
            // Not `self.conn`: the line is lent by the connection while the chat writes to outboxes.
            let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.takes_lines()) else {
                break;
            };
            if !std::mem::replace(&mut conn.recognised, true)
                && let Some(protocol) = rest.first().and_then(|b| Protocol::of_first_byte(*b))
            {
                self.tell_chat(now, Event::WrongProtocol { id, protocol });
                break;
            }
            let Some(line) = conn.decoder.next_line(&mut rest) else {
                if conn.decoder.take_mark() {
                    self.outboxes.push(id, &Frame::raw(MARK_ANSWER));
                }
                break;
            };
            self.chat.handle(now, Event::Line { id, line }, &mut self.outboxes);
            self.drain_requests(now);
            *lines -= 1;
        }
        bytes.len() - rest.len()
    }

    /// All that was sent is handled: a last line without newline, then the end itself. If that line
    /// makes the client wait, the end comes when it is woken.
    fn end_of_input(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()) else { return };
        if let Some(line) = conn.decoder.finish() {
            self.chat.handle(now, Event::Line { id, line }, &mut self.outboxes);
            self.drain_requests(now);
        } else {
            self.tell_chat(now, Event::EndOfInput { id });
        }
    }
}

// ---- Writing and closing ---------------------------------------------------------------------

impl Server {
    /// Sends what this turn produced. Losing a connection on the way produces more for others, and
    /// every round loses at least one or is the last.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            for id in self.outboxes.take_doomed() {
                self.lose(now, id, CloseReason::SendQueueFull);
            }
            let again = std::mem::take(&mut self.to_flush);
            let dirty = self.outboxes.take_dirty();
            if again.is_empty() && dirty.is_empty() {
                return;
            }
            for id in again.into_iter().chain(dirty.iter().copied()) {
                self.flush(now, id);
            }
            self.outboxes.recycle_dirty(dirty);
        }
    }

    fn flush(&mut self, now: Instant, id: ConnId) {
        self.outboxes.end_turn(id);
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if !matches!(conn.state, State::Open | State::Flushing) {
            return;
        }
        match conn.flush(now, &mut self.outboxes) {
            Err(kind) => self.lose(now, id, CloseReason::Failed(kind)),
            Ok(true) if conn.state == State::Flushing => self.shut(now, id),
            Ok(true) => {
                self.timers.set(id, &mut conn.deadline, None);
                self.wake(id);
            }
            Ok(false) => {
                if conn.state == State::Open && conn.deadline.is_none() {
                    // Output begins to wait. Later progress is looked at when the time has come.
                    conn.progress = now;
                    let until = now + self.limits.send_stall;
                    self.timers.set(id, &mut conn.deadline, Some(until));
                }
                if !self.is_behind(id) {
                    self.wake(id);
                }
            }
        }
    }

    /// Everything owed is out: ends our direction and begins to drain the other.
    fn shut(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()) else { return };
        if conn.shut().is_err() {
            conn.state = State::Closed;
        }
        if conn.state == State::Closed {
            self.closed.push(id);
        } else {
            self.timers.set(id, &mut conn.deadline, Some(now + DRAIN_TIMEOUT));
            self.wake(id);
        }
    }

    /// No more lines from this client; it is closed when it has received what it is owed.
    pub(super) fn begin_close(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.state != State::Open {
            return;
        }
        conn.state = State::Flushing;
        conn.unread = Vec::new();
        if std::mem::take(&mut conn.paused) {
            self.jobs.cancel(id);
        }
        self.timers.set(id, &mut conn.deadline, Some(now + FLUSH_TIMEOUT));
        self.to_flush.push(id);
    }

    /// The connection is no use any more: closed without another word.
    pub(super) fn lose(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.state == State::Closed {
            return;
        }
        conn.state = State::Closed;
        if std::mem::take(&mut conn.paused) {
            self.jobs.cancel(id);
        }
        self.closed.push(id);
        self.tell_chat(now, Event::Closed { id, reason });
    }

    /// The time of a connection has come for what it waited for.
    pub(super) fn deadline_passed(&mut self, now: Instant, id: ConnId) {
        let stall = self.limits.send_stall;
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        conn.deadline = None;
        match conn.state {
            State::Open => {
                let until = conn.progress + stall;
                if until > now {
                    self.timers.set(id, &mut conn.deadline, Some(until));
                } else {
                    self.lose(now, id, CloseReason::SendStalled);
                }
            }
            State::Flushing => {
                log::debug!("{} did not take its last words in time", conn.peer);
                self.lose(now, id, CloseReason::SendStalled);
            }
            State::Draining(_) | State::Closed => {
                self.lose(now, id, CloseReason::EndOfInput);
            }
        }
    }

    /// Frees the slots of what was closed in this turn. Dropping a socket takes it out of the poll.
    pub(super) fn reap(&mut self) {
        for id in std::mem::take(&mut self.closed) {
            if self.conns.get(id.slot()).is_none_or(|conn| conn.id != id) {
                continue;
            }
            let mut conn = self.conns.remove(id.slot());
            self.timers.set(id, &mut conn.deadline, None);
            self.outboxes.close(id);
            match conn.counted {
                Some(addr) => self.by_address.close(addr),
                None => self.refusals -= 1,
            }
        }
    }
}
