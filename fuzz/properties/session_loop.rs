//! What the server's loop does around the chat: lines within a turn's budget, requests, the ends of
//! turns, timers. A client takes as many bytes as the script lets it.

use std::io::IoSlice;
use std::time::Duration;

use mio_chat::chat::assistant::Answer;
use mio_chat::chat::protocol::Protocol;
use mio_chat::chat::{Event, Request};
use mio_chat::gemini::{AskError, Cause};
use mio_chat::id::ConnId;
use mio_chat::limits::{
    ASKS_AT_ONCE, LINES_PER_TURN, READ_BUFFER_BYTES, SLICES_PER_WRITE, input_pause_bytes,
};
use mio_chat::line::MARK_ANSWER;
use mio_chat::outbox::Frame;
use mio_chat::password::{Outcome, PasswordHash};
use mio_chat::text;

use super::{Job, VICA, VICB, World};

impl World {
    /// Handles what a client has sent, turn by turn.
    pub(super) fn serve(&mut self, who: usize) {
        while self.serve_turn(who) {
            self.end_turn();
        }
        self.end_turn();
    }

    /// One turn's share of it. False if nothing is left to do now.
    fn serve_turn(&mut self, who: usize) -> bool {
        let Some(client) = self.clients[who].as_mut().filter(|client| !client.paused) else {
            return false;
        };
        let id = client.id;
        if self.out.unsent(id) >= input_pause_bytes(self.limit) {
            return false;
        }
        let n = client.unread.len().min(READ_BUFFER_BYTES);
        if n == 0 && !client.ended {
            return false;
        }
        let bytes: Vec<u8> = client.unread.drain(..n).collect();
        let mut rest = &bytes[..];
        for _ in 0..LINES_PER_TURN {
            let Some(client) = self.clients[who].as_mut().filter(|client| client.id == id) else {
                return false;
            };
            if client.paused || self.out.unsent(id) >= input_pause_bytes(self.limit) {
                break;
            }
            if n == 0 {
                // The end of input: a last line without a newline, then the end itself.
                let Some(line) = client.decoder.finish() else {
                    self.tell(Event::EndOfInput { id });
                    return false;
                };
                self.chat.handle(self.now, Event::Line { id, line }, &mut self.out);
                self.after_event();
                continue;
            }
            if let Some(&first) = rest.first()
                && !std::mem::replace(&mut client.recognised, true)
                && let Some(protocol) = Protocol::of_first_byte(first)
            {
                self.tell(Event::WrongProtocol { id, protocol });
                return false;
            }
            let Some((line, _)) = client.decoder.next_line(&mut rest) else {
                if client.decoder.take_telnet().is_some_and(|told| told.mark) {
                    self.out.push(id, &Frame::new(MARK_ANSWER));
                }
                break;
            };
            self.chat.handle(self.now, Event::Line { id, line }, &mut self.out);
            self.after_event();
        }
        if let Some(client) = self.clients[who].as_mut().filter(|client| client.id == id) {
            rest.iter().rev().for_each(|b| client.unread.push_front(*b));
        }
        true
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        self.chat.handle(self.now, event, &mut self.out);
        self.after_event();
    }

    fn after_event(&mut self) {
        while let Some(request) = self.chat.poll_request() {
            match request {
                Request::HashPassword { id, password } => self.begin_job(id, Job::Hash(password)),
                Request::CheckPassword { id, password, hash } => {
                    self.begin_job(id, Job::Check(password, hash));
                }
                Request::AskGemini { ask, body } => {
                    let body = String::from_utf8(body).unwrap();
                    assert!(body.starts_with('{') && !body.contains(&self.secret));
                    self.asked.push_back(ask);
                    assert!(self.asked.len() <= ASKS_AT_ONCE);
                }
                Request::Probe { id } => {
                    // At most one who is there and shares the address of whoever asks.
                    let client = self.clients[id.slot()].as_ref().unwrap();
                    assert!(client.id == id && id.slot() < super::CLIENTS);
                }
                Request::Refused { .. } => {}
                Request::StopGemini { ask } => {
                    assert!(self.asked.contains(&ask));
                    self.asked.retain(|asked| *asked != ask);
                }
                Request::Close { id } => {
                    self.out.end_turn(id);
                    self.write(id.slot());
                    let closed = self.close(id.slot());
                    assert_eq!(closed.map(|client| client.id), Some(id));
                }
            }
        }
        for client in self.clients.iter().flatten() {
            assert!(self.out.unsent(client.id) <= self.limit);
        }
    }

    fn begin_job(&mut self, id: ConnId, job: Job) {
        let client = self.clients[id.slot()].as_mut().unwrap();
        assert!(client.id == id && !client.paused);
        client.paused = true;
        self.jobs.push_back((id, job));
    }

    pub(super) fn finish_job(&mut self) {
        let Some((id, job)) = self.jobs.pop_front() else { return };
        let outcome = match job {
            Job::Hash(password) => {
                // Any text of the right form, another one each time.
                let (salt, n) = (".".repeat(22), self.hashes.len());
                let hash = PasswordHash::parse(&format!("$2b$04${salt}{n:030}.")).unwrap();
                self.hashes.push((password, hash.clone()));
                Outcome::Hashed(hash)
            }
            Job::Check(password, hash) => {
                let (right, _) = self.hashes.iter().find(|(_, known)| *known == hash).unwrap();
                Outcome::Checked(password == *right)
            }
        };
        self.clients[id.slot()].as_mut().unwrap().paused = false;
        self.tell(Event::Password { id, outcome });
        self.serve(id.slot());
    }

    pub(super) fn answer(&mut self, text: &[u8]) {
        let Some(ask) = self.asked.front().copied() else { return };
        let error = AskError::NoNetwork(Cause::new("gone"));
        let line = text::clean(text);
        let answer = match text {
            b"." => Answer::Done(None),
            b"," => Answer::Done(Some("answer cut short")),
            b"!" => Answer::Failed(&error),
            _ => Answer::Line(&line),
        };
        if !matches!(answer, Answer::Line(_)) {
            self.asked.pop_front();
        }
        self.tell(Event::Answer { ask, answer });
        self.end_turn();
    }

    /// Writes what there is.
    pub(super) fn end_turn(&mut self) {
        while self.out.has_news() {
            for id in self.out.take_dirty().collect::<Vec<_>>() {
                self.out.end_turn(id);
                self.write(id.slot());
            }
        }
    }

    /// Moves what a client takes to its end of the wire.
    pub(super) fn write(&mut self, who: usize) {
        let Some(client) = &mut self.clients[who] else { return };
        while self.out.unsent(client.id) > 0 && client.takes != Some(0) {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.out.slices(client.id, &mut slices);
            assert!(filled > 0);
            let (mut n, seen) = (0, &mut self.seen[client.at].1);
            for slice in &slices[..filled] {
                let taken = slice.len().min(client.takes.unwrap_or(usize::MAX));
                client.takes = client.takes.map(|left| left - taken);
                seen.extend_from_slice(&slice[..taken]);
                n += taken;
            }
            self.out.advance(client.id, n);
        }
        self.out.keep(client.id);
    }

    /// Lets time pass, with every timer fired when it is due.
    pub(super) fn advance(&mut self, by: Duration) {
        // So that the two are not taken for idle.
        for who in [VICA, VICB] {
            if self.clients[who].is_some() {
                self.send(who, b"", b"\n");
            }
        }
        let until = self.now + by;
        let mut fired = 0;
        while let Some(due) = self.chat.poll_timeout().filter(|due| *due <= until) {
            assert!(due > self.now || fired == 0);
            self.now = self.now.max(due);
            self.tell(Event::Timeout);
            self.end_turn();
            assert!(self.chat.poll_timeout().is_none_or(|next| next > self.now));
            fired += 1;
            assert!(fired < 1000, "the timers spin");
        }
        self.now = until;
    }
}
