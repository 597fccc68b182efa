//! What the loop does for one connection: read its lines, write what it is owed, close it. How it
//! comes in is `admission`'s business.
//!
//! No call here removes a connection while its caller is still using it: it becomes `Closed`, and
//! `reap` frees its slot at the end of the turn.

use std::io::ErrorKind;
use std::time::Instant;

use mio::event::Event as Readiness;
use rustls::Error;

use super::conn::{Input, State};
use super::server::{Server, read_clock};
use crate::chat::protocol::Protocol;
use crate::chat::{CloseReason, Event};
use crate::id::ConnId;
use crate::limits::{
    COLUMNS, CROWD, DRAIN_TIMEOUT, FLUSH_TIME, FLUSH_TIMEOUT, GIVE_BACK_DELAY, HANDSHAKE_TIMEOUT,
    LINES_PER_TURN, READ_BYTES_PER_TURN, TLS_SILENCE, TLS_TIME,
};
use crate::line::{ASK_SIZE, Ending, MARK_ANSWER, Telnet};
use crate::outbox::Frame;
use crate::refusal::Refusal;

// ---- Readiness ----------------------------------------------------------------------------

impl Server {
    /// Latches what the poll says about a connection.
    pub(super) fn latch(&mut self, event: &Readiness) {
        let slot = ConnId::slot_of_token(event.token().0);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        // A stale event of the slot's former tenant has a different generation.
        if conn.id.token() != event.token().0 {
            return;
        }
        let id = conn.id;
        conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            conn.writable = true;
            if conn.has_output(&self.outboxes) {
                self.to_flush.push_back(id);
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
    /// Serves a ready connection within its budget, and queues it again if there is more to do.
    pub(super) fn serve(&mut self, now: Instant, id: ConnId) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some(conn) = self.conn(id) {
            conn.queued = false;
            match conn.state {
                State::Open => {
                    self.read_header(now, id, &mut scratch);
                    self.read_lines(now, id, &mut scratch);
                }
                State::Flushing(_) => self.read_handshake(now, id, &mut scratch),
                State::Draining(_) => {
                    conn.drain(&mut scratch);
                    if conn.state == State::Closed {
                        self.closed.push(id);
                    }
                }
                State::Closed => {}
            }
        }
        self.scratch = scratch;
        // Reading makes TLS want to send data of its own.
        if self.conns.get(id.slot()).is_some_and(|conn| conn.pending() > 0) {
            self.to_flush.push_back(id);
        }
        if !self.is_behind(id) {
            self.wake(id);
        }
    }

    /// Continues the handshake of a client that is only to be told why it is turned away.
    fn read_handshake(&mut self, now: Instant, id: ConnId, scratch: &mut [u8]) {
        let mut bytes = READ_BYTES_PER_TURN;
        while let Some(conn) = self.conn(id).filter(|conn| conn.has_input() && bytes > 0) {
            let read = conn.read(scratch);
            bytes = bytes.saturating_sub(conn.take_wire_cost());
            match read {
                Ok(Input::Ended) => return self.lose(now, id, CloseReason::EndOfInput),
                Ok(Input::NoTls(_)) => return self.speak_plainly(now, id),
                Ok(_) => self.notice_handshake(now, id),
                Err(kind) => return self.input_failed(now, id, kind),
            }
        }
    }

    /// After a read: if the handshake is done, the chat is told about the client, or the client is
    /// told why it is turned away.
    fn notice_handshake(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.handshaking) else {
            return;
        };
        if !conn.handshake_is_done() {
            // It has begun, and from now on it has the time allowed for a whole handshake. Nothing
            // was sent yet, so its beginning stands in for the last progress.
            if conn.state == State::Open && !std::mem::replace(&mut conn.recognised, true) {
                let until = conn.progress + HANDSHAKE_TIMEOUT;
                self.timers.set(id, &mut conn.deadline, Some(until));
            }
            return;
        }
        conn.handshaking = false;
        self.handshakes.end(now, id, true);
        if conn.state == State::Open {
            // Over TLS nobody speaks another protocol by mistake.
            conn.recognised = true;
            self.timers.set(id, &mut conn.deadline, None);
            let peer = conn.peer;
            self.tell_chat(now, Event::Connected { id, peer });
        }
        self.to_flush.push_back(id);
    }

    /// A read failed. An alert tells the peer what it did wrong at the TLS level.
    fn input_failed(&mut self, now: Instant, id: ConnId, kind: ErrorKind) {
        let Some(conn) = self.conn(id) else { return };
        let Some(failure) = conn.failure() else {
            return self.lose(now, id, CloseReason::Failed(kind));
        };
        if std::mem::take(&mut conn.handshaking) {
            let ip = conn.peer.ip();
            self.handshakes.end(now, id, false);
            let why = failure.to_string();
            let refusal = match failure {
                Error::AlertReceived(_) | Error::PeerIncompatible(_) => Refusal::Distrust(why),
                _ => Refusal::Handshake(why),
            };
            self.refusal_log.note(now, ip, &refusal);
        } else {
            log::debug!("{}: {failure}", conn.peer);
        }
        self.end_session(now, id, CloseReason::Failed(kind));
        // Only the alert is still owed.
        self.outboxes.close(id);
        self.begin_close(now, id);
    }

    /// Whether so much output is waiting for this client that its input has to wait as well.
    fn is_behind(&self, id: ConnId) -> bool {
        let of_protocol = self.conns.get(id.slot()).map_or(0, |conn| conn.pending());
        self.outboxes.unsent(id) + of_protocol >= self.limits.input_pause_bytes
    }

    fn read_lines(&mut self, now: Instant, id: ConnId, scratch: &mut [u8]) {
        let mut bytes = READ_BYTES_PER_TURN;
        let mut lines = LINES_PER_TURN;
        let mut end = None;
        while bytes > 0 && lines > 0 && !self.is_behind(id) && !self.has_to_send_first() {
            let Some(conn) = self.conn(id).filter(|conn| conn.takes_lines()) else { return };
            if conn.handshaking && !conn.unread.is_empty() {
                let unread = std::mem::take(&mut conn.unread);
                return self.no_tls(now, id, &unread);
            }
            if !conn.unread.is_empty() {
                let mut unread = std::mem::take(&mut conn.unread);
                let used = self.handle_bytes(now, id, &unread, &mut lines);
                unread.drain(..used);
                self.keep_unread(id, unread);
                continue;
            }
            if conn.input_ended {
                if conn.handshaking {
                    return self.lose(now, id, CloseReason::EndOfInput);
                }
                return self.end_of_input(now, id);
            }
            if !conn.readable {
                return;
            }
            let read = conn.read(scratch);
            let cost = conn.take_wire_cost();
            bytes = bytes.saturating_sub(cost);
            if cost > 0 && read_clock() >= *end.get_or_insert_with(|| read_clock() + TLS_TIME) {
                bytes = 0;
            }
            match read {
                Ok(Input::Bytes(n)) => {
                    bytes = bytes.saturating_sub(n);
                    self.notice_handshake(now, id);
                    let input = scratch.get(..n).unwrap_or_default();
                    let used = self.handle_bytes(now, id, input, &mut lines);
                    let rest = input.get(used..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.keep_unread(id, rest.to_vec());
                    }
                }
                Ok(Input::NoTls(n)) => {
                    return self.no_tls(now, id, scratch.get(..n).unwrap_or_default());
                }
                Ok(Input::Protocol | Input::Blocked | Input::Ended) => {
                    self.notice_handshake(now, id);
                }
                Err(kind) => return self.input_failed(now, id, kind),
            }
        }
    }

    fn keep_unread(&mut self, id: ConnId, unread: Vec<u8>) {
        if let Some(conn) = self.conn(id).filter(|conn| conn.state == State::Open) {
            // A buffer that is no longer needed is given back, not kept for the next flood.
            conn.unread = if unread.is_empty() { Vec::new() } else { unread };
        }
    }

    /// Handles the lines in these bytes, as far as the client and its budget allow. Gives how many
    /// bytes are dealt with.
    fn handle_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8], lines: &mut usize) -> usize {
        let mut rest = bytes;
        while *lines > 0 && !rest.is_empty() && !self.is_behind(id) && !self.has_to_send_first() {
            // Not `self.conn`: the line is borrowed from the connection while the chat writes to
            // outboxes.
            let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.takes_lines()) else {
                break;
            };
            if !std::mem::replace(&mut conn.recognised, true)
                && let Some(protocol) = rest.first().and_then(|b| Protocol::of_first_byte(*b))
            {
                self.tell_chat(now, Event::WrongProtocol { id, protocol });
                break;
            }
            let Some((line, ending)) = conn.decoder.next_line(&mut rest) else { break };
            if ending != conn.ending {
                conn.ending = ending;
                self.outboxes.set_crlf(id, ending == Ending::BareCr);
            }
            self.chat.handle(now, Event::Line { id, line }, &mut self.outboxes);
            self.drain_requests(now);
            *lines -= 1;
        }
        if let Some(told) = self.conn(id).and_then(|conn| conn.decoder.take_telnet()) {
            self.answer_telnet(id, told);
        }
        bytes.len() - rest.len()
    }

    /// A telnet client is asked for the width of its window, and texts are wrapped to that.
    fn answer_telnet(&mut self, id: ConnId, told: Telnet) {
        if told.met {
            self.outboxes.push(id, &Frame::new(ASK_SIZE));
        }
        if told.mark {
            self.outboxes.push(id, &Frame::new(MARK_ANSWER));
        }
        if let Some(columns) = told.columns {
            // Terminals differ in what they do after the last column, so it stays free.
            let columns = (columns.get() - 1).clamp(*COLUMNS.start(), *COLUMNS.end());
            self.outboxes.set_columns(id, Some(columns));
        }
    }

    /// Everything that was sent has been handled: now a last line without newline, then the end
    /// itself. If that line makes the client wait, the end follows when it is woken.
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
    /// Sends what was said, as far as this turn has time for it. Losing a connection on the way
    /// produces output for others, but each loss leaves one client fewer to lose.
    pub(super) fn settle(&mut self, now: Instant) {
        let end = read_clock() + FLUSH_TIME;
        loop {
            self.make_room(now);
            self.to_flush.extend(self.outboxes.take_dirty());
            let Some(id) = self.to_flush.pop_front() else { return };
            self.flush(now, id);
            if read_clock() >= end {
                return;
            }
        }
    }

    fn flush(&mut self, now: Instant, id: ConnId) {
        self.outboxes.end_turn(id);
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        let result = match conn.state {
            State::Open | State::Flushing(_) => conn.flush(now, &mut self.outboxes),
            State::Draining(_) | State::Closed => return,
        };
        self.outboxes.keep(id);
        match result {
            Err(kind) => self.lose(now, id, CloseReason::Failed(kind)),
            Ok(true) if conn.is_flushing() => self.shut(now, id),
            Ok(true) => {
                self.timers.set(id, &mut conn.deadline, None);
                self.wake(id);
            }
            Ok(false) => {
                if conn.state == State::Open && conn.deadline.is_none() {
                    // Output starts to wait. Later progress is checked when the time has come.
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

    /// Everything owed has been sent: ends our direction and starts to drain the other.
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

    /// No more lines are taken from this client; it is closed when it has received what it is owed.
    pub(super) fn begin_close(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.state != State::Open {
            return;
        }
        let timeout = if conn.handshaking { HANDSHAKE_TIMEOUT } else { FLUSH_TIMEOUT };
        conn.state = State::Flushing(now + timeout);
        conn.progress = now;
        conn.unread = Vec::new();
        if std::mem::take(&mut conn.paused) {
            self.jobs.cancel(id);
        }
        let patience = if conn.is_silent() { TLS_SILENCE } else { timeout };
        let until = now + patience.min(self.limits.send_stall);
        self.timers.set(id, &mut conn.deadline, Some(until));
        self.to_flush.push_back(id);
    }

    /// The connection is useless: closed without another word.
    pub(super) fn lose(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.state == State::Closed {
            return;
        }
        conn.state = State::Closed;
        self.closed.push(id);
        self.end_session(now, id, reason);
    }

    /// The chat is told that a client is gone, and its password job is forgotten.
    fn end_session(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        if self.conns.get_mut(id.slot()).is_some_and(|conn| std::mem::take(&mut conn.paused)) {
            self.jobs.cancel(id);
        }
        self.tell_chat(now, Event::Closed { id, reason });
    }

    /// A deadline of the connection has come.
    pub(super) fn deadline_passed(&mut self, now: Instant, id: ConnId) {
        let stall = self.limits.send_stall;
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        conn.deadline = None;
        match conn.state {
            State::Open if conn.awaits_header() => self.no_header(now, id, "took too long"),
            State::Open if conn.is_silent() => self.break_silence(now, id),
            State::Open if conn.handshaking && conn.progress + HANDSHAKE_TIMEOUT > now => {
                // What it has sent has yet to be read.
                let until = conn.progress + HANDSHAKE_TIMEOUT;
                self.timers.set(id, &mut conn.deadline, Some(until));
            }
            State::Open if conn.handshaking => {
                let ip = conn.peer.ip();
                self.refusal_log.note(now, ip, &Refusal::SlowHandshake);
                self.lose(now, id, CloseReason::LoginTimeout);
            }
            State::Open => {
                // What the kernel takes again has yet to be offered.
                let since = if conn.writable { now } else { conn.progress };
                let until = since + stall;
                if until > now {
                    self.timers.set(id, &mut conn.deadline, Some(until));
                } else {
                    self.lose(now, id, CloseReason::SendStalled);
                }
            }
            State::Flushing(end) => {
                if conn.is_silent() {
                    conn.progress = now;
                    self.speak_plainly(now, id);
                }
                let Some(conn) = self.conns.get_mut(id.slot()) else { return };
                let until = (conn.progress + stall).min(end);
                if until > now {
                    self.timers.set(id, &mut conn.deadline, Some(until));
                } else {
                    log::debug!("{} did not take its last words in time", conn.peer);
                    self.lose(now, id, CloseReason::SendStalled);
                }
            }
            State::Draining(_) => {
                conn.state = State::Closed;
                self.closed.push(id);
            }
            State::Closed => {}
        }
    }

    /// Frees the slots of everything closed in this turn. Dropping a socket removes it from the
    /// poll.
    pub(super) fn reap(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.closed) {
            if self.conns.get(id.slot()).is_none_or(|conn| conn.id != id) {
                continue;
            }
            let mut conn = self.conns.remove(id.slot());
            self.timers.set(id, &mut conn.deadline, None);
            self.outboxes.close(id);
            self.handshakes.end(now, id, false);
            self.discount(conn.admission);
        }
        let has_gone = self.most_conns >= CROWD && self.conns.len() < self.most_conns / 4;
        if has_gone && self.give_back.is_none() {
            self.give_back = Some(now + GIVE_BACK_DELAY);
        }
    }
}
