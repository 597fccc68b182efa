//! One question on its way to the service and back, as a state machine that is told what happens to
//! its connection.
//!
//! It asks for a connection ([`Action::Open`]), has its request sent, reads the response, and hands
//! out the answer line by line. It retries where that can help and nothing was shown yet, and it
//! ends once, in time: its last action is [`Action::Done`] or [`Action::Failed`].
//!
//! Resolving, connecting and encrypting are its owner's business. Knows no socket and no clock; the
//! jitter of its pauses comes from the entropy it is given.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::error::{AskError, Cause};
use super::reply::{Ending, Finish, Piece, ending, pieces};
use crate::config::Secret;
use crate::http::{HttpError, Part, ResponseDecoder, SseDecoder};
use crate::limits::{
    ANSWER_TIMEOUT, FINISH_LINGER, FIRST_PIECE_TIMEOUT, MAX_ERROR_BODY_BYTES, MAX_RESPONSE_BYTES,
    MAX_RESPONSE_EVENTS, RETRIES, RETRY_PAUSE,
};

/// What the owner of the connection has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Get a connection, verified if it is encrypted; with `fresh`, one that was not used before.
    /// Answer with [`Call::handle_open`] or [`Call::handle_open_failed`].
    Open {
        /// Whether a kept connection will not do.
        fresh: bool,
    },
    /// Send this on it.
    Send(Rc<[u8]>),
    /// The connection is no longer needed, and can be used for another call.
    Keep,
    /// Close the connection, or stop trying to get one.
    Close,
    /// A line of the answer.
    Line(String),
    /// That was the whole answer.
    Done(Ending),
    /// There is no answer, or no more of it.
    Failed(AskError),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// A connection is being got.
    Opening,
    /// The request has been sent; `reused`: on a connection that may have been dead.
    Receiving { reused: bool },
    /// Waiting for the next try.
    Pausing(Instant),
    /// The last action has been given.
    Ended,
}

/// One question on its way.
pub struct Call {
    request: Rc<[u8]>,
    key: Secret,
    state: State,
    first_piece_by: Instant,
    end_by: Instant,
    /// Retries so far, after failures of the service.
    retries: u32,
    /// A kept connection turned out to be dead, and a fresh one was asked for.
    refreshed: bool,
    entropy: u64,
    response: Response,
    answer: Answer,
    /// Whether text of the answer has arrived.
    started: bool,
    /// A line was handed out.
    shown: bool,
    actions: VecDeque<Action>,
}

/// The response in one try.
#[derive(Default)]
struct Response {
    /// Bytes of it so far, its form included.
    received: usize,
    http: ResponseDecoder,
    sse: SseDecoder,
    /// Events so far.
    events: u32,
    status: u16,
    keep_alive: bool,
    retry_after_secs: Option<u64>,
    /// How its body is compressed, according to its head.
    coding: Option<String>,
    /// The first bytes of the body, as many as [`GZIP`] has.
    begin: Vec<u8>,
    error_body: Vec<u8>,
    /// How the answer finished, and until when the response may continue.
    finish: Option<(Finish, Instant)>,
}

/// The first bytes of a body that is compressed with gzip (RFC 1952, 2.3.1), whatever its head
/// says.
const GZIP: &[u8] = b"\x1f\x8b";

impl Response {
    /// What we say about a compressed body, which was not asked for and is not read.
    fn compression(&self) -> Option<String> {
        let how = match &self.coding {
            Some(coding) => format!("Content-Encoding: {coding}"),
            None if self.begin == GZIP => "it is gzip, without a Content-Encoding".to_owned(),
            None => return None,
        };
        Some(format!("{how}, though the request allows none; to be switched off in the gateway"))
    }
}

/// The only status that comes with an answer.
const OK: u16 = 200;

impl Call {
    /// A call with this request, head and body. The key must not appear in errors.
    #[must_use]
    pub fn new(now: Instant, request: Vec<u8>, key: Secret, entropy: u64) -> Self {
        Self {
            request: request.into(),
            key,
            state: State::Opening,
            first_piece_by: now + FIRST_PIECE_TIMEOUT,
            end_by: now + ANSWER_TIMEOUT,
            retries: 0,
            refreshed: false,
            entropy,
            response: Response::default(),
            answer: Answer::default(),
            started: false,
            shown: false,
            actions: VecDeque::from([Action::Open { fresh: false }]),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Call::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let until = self.until();
        match self.state {
            State::Ended => None,
            State::Pausing(pause) => Some(pause.min(until)),
            State::Opening | State::Receiving { .. } => Some(until),
        }
    }

    /// When it will be over at the latest, as far as is known now.
    fn until(&self) -> Instant {
        let until = if self.started { self.end_by } else { self.first_piece_by };
        self.response.finish.as_ref().map_or(until, |(_, linger)| until.min(*linger))
    }

    /// A connection is ready.
    pub fn handle_open(&mut self, reused: bool) {
        if self.state == State::Opening {
            self.state = State::Receiving { reused };
            self.response = Response::default();
            self.actions.push_back(Action::Send(self.request.clone()));
        }
    }

    /// No connection can be had.
    pub fn handle_open_failed(&mut self, cause: &str) {
        if self.state == State::Opening {
            self.fail(AskError::NoNetwork(Cause::new(cause)));
        }
    }

    /// No connection can be had because the proxy does not allow it.
    pub fn handle_proxy_refused(&mut self, cause: &str) {
        if self.state == State::Opening {
            self.fail(AskError::ProxyRefused(Cause::new(cause)));
        }
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let mut input = bytes;
        self.response.received += bytes.len();
        if self.response.received > MAX_RESPONSE_BYTES {
            return self.break_off(AskError::Unusable(Cause::new("the response is too long")));
        }
        while matches!(self.state, State::Receiving { .. }) {
            match self.response.http.next_part(&mut input) {
                Ok(None) => return,
                Ok(Some(Part::Head(head))) => {
                    self.response.status = head.status;
                    self.response.keep_alive = head.keep_alive;
                    self.response.retry_after_secs = head.retry_after_secs;
                    self.response.coding = head.content_encoding;
                }
                Ok(Some(Part::Body(bytes))) => self.body(now, bytes),
                Ok(Some(Part::End)) => {
                    // Anything after the response was not asked for.
                    self.response.keep_alive &= input.is_empty();
                    self.response_ended(now);
                }
                Err(error) => self.break_off(AskError::Unusable(Cause::new(&error.to_string()))),
            }
        }
    }

    /// The connection ended, or failed for this reason.
    pub fn handle_closed(&mut self, now: Instant, cause: &str) {
        let State::Receiving { reused } = self.state else { return };
        self.response.keep_alive = false;
        match self.response.http.finish() {
            Ok(_) => self.response_ended(now),
            Err(HttpError::NoResponse) if reused && !self.refreshed => {
                // It was closed while it was kept, and nothing of the answer is lost.
                self.refreshed = true;
                self.state = State::Opening;
                self.actions.extend([Action::Close, Action::Open { fresh: true }]);
            }
            Err(error) => {
                let cause = format!("{error} ({cause})");
                self.break_off(AskError::NoNetwork(Cause::new(&cause)));
            }
        }
    }

    /// The time of [`Call::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let stuck = match self.state {
            State::Ended => return,
            State::Opening => "no connection",
            State::Receiving { .. } if self.started => "the answer did not end",
            State::Receiving { .. } => "no answer",
            State::Pausing(_) => "the service kept failing",
        };
        if now >= self.until() {
            return self.break_off(AskError::TimedOut(Cause::new(stuck)));
        }
        if matches!(self.state, State::Pausing(pause) if pause <= now) {
            self.state = State::Opening;
            self.actions.push_back(Action::Open { fresh: true });
        }
    }

    fn body(&mut self, now: Instant, mut bytes: &[u8]) {
        let unseen = GZIP.len() - self.response.begin.len();
        self.response.begin.extend(bytes.iter().take(unseen));
        if self.response.status != OK {
            let room = MAX_ERROR_BODY_BYTES.saturating_sub(self.response.error_body.len());
            self.response.error_body.extend(bytes.iter().take(room));
            if self.response.error_body.len() == MAX_ERROR_BODY_BYTES {
                // We do not wait for the rest.
                self.response.keep_alive = false;
                self.response_ended(now);
            }
            return;
        }
        if let Some(how) = self.response.compression() {
            return self.fail(AskError::Compressed(Cause::without_key(&how, &self.key)));
        }
        while matches!(self.state, State::Receiving { .. }) {
            match self.response.sse.next_event(&mut bytes) {
                Ok(None) => return,
                Ok(Some(_)) if self.response.events == MAX_RESPONSE_EVENTS => {
                    return self.break_off(AskError::Unusable(Cause::new("too many events")));
                }
                Ok(Some(event)) => {
                    self.response.events += 1;
                    self.event(now, &event);
                }
                Err(error) => {
                    return self.break_off(AskError::Unusable(Cause::new(&error.to_string())));
                }
            }
        }
    }

    fn event(&mut self, now: Instant, json: &str) {
        let found = match pieces(json.as_bytes(), &self.key) {
            Ok(found) => found,
            // Whatever comes after the end of the answer has nothing to do with it.
            Err(_) if self.response.finish.is_some() => return,
            Err(error) => return self.try_again_or_fail(now, error),
        };
        for piece in found {
            match piece {
                Piece::Text(text) => {
                    self.started = true;
                    self.answer.push(&text);
                    self.hand_out();
                }
                Piece::Finished(finish) => {
                    self.response.finish.get_or_insert((finish, now + FINISH_LINGER));
                }
            }
        }
        if self.answer.is_cut() {
            // We do not wait for the rest.
            self.response.keep_alive = false;
            self.done(Ending::Cut);
        }
    }

    fn hand_out(&mut self) {
        while let Some(line) = self.answer.next_line() {
            self.shown = true;
            self.actions.push_back(Action::Line(line));
        }
    }

    /// The response is complete.
    fn response_ended(&mut self, now: Instant) {
        if self.response.status != OK {
            let Response { status, error_body, retry_after_secs, .. } = &self.response;
            let compression = self.response.compression();
            let said = compression.as_ref().map_or(&error_body[..], String::as_bytes);
            let error = AskError::from_response(*status, said, &self.key);
            return self.try_again_or_fail(now, error.or_wait(*retry_after_secs));
        }
        match self.response.sse.finish() {
            Ok(Some(event)) => self.event(now, &event),
            Ok(None) => {}
            Err(error) => {
                return self.break_off(AskError::Unusable(Cause::new(&error.to_string())));
            }
        }
        // An error may arrive as bare JSON, without the form of an event.
        let stray = self.response.sse.stray().to_owned();
        if self.response.finish.is_none() && !stray.trim().is_empty() && self.is_receiving() {
            self.event(now, &stray);
        }
        if self.is_receiving() {
            self.conclude();
        }
    }

    /// There is no more of the answer.
    fn conclude(&mut self) {
        self.answer.finish();
        self.hand_out();
        match ending(self.response.finish.as_ref().map(|(finish, _)| finish), self.shown) {
            Ok(ending) => self.done(ending),
            Err(error) => self.fail(error),
        }
    }

    /// The response is broken, or does not end. The answer is fine if it had finished before.
    fn break_off(&mut self, error: AskError) {
        if self.is_receiving() && self.response.finish.is_some() {
            self.response.keep_alive = false;
            return self.conclude();
        }
        self.fail(error);
    }

    fn is_receiving(&self) -> bool {
        matches!(self.state, State::Receiving { .. })
    }

    fn done(&mut self, ending: Ending) {
        let keep = if self.response.keep_alive { Action::Keep } else { Action::Close };
        self.state = State::Ended;
        self.actions.extend([keep, Action::Done(ending)]);
    }

    /// Tries again if that may help, nothing was shown yet, and there is time for it.
    fn try_again_or_fail(&mut self, now: Instant, error: AskError) {
        let error = error.of_path(&self.path(), &self.key);
        let pause = self.pause();
        let in_time = now + pause < self.first_piece_by;
        if !error.is_retryable() || self.started || self.retries >= RETRIES || !in_time {
            return self.fail(error);
        }
        self.retries += 1;
        self.state = State::Pausing(now + pause);
        self.actions.push_back(Action::Close);
    }

    /// Twice as long each time, give or take up to half of it, so that many calls that failed
    /// together do not come back together.
    fn pause(&self) -> Duration {
        let base = RETRY_PAUSE * 2u32.saturating_pow(self.retries);
        let jitter = u32::from(self.entropy.to_le_bytes().first().copied().unwrap_or_default());
        base / 2 + base * jitter / 255
    }

    /// What was asked for: the second word of the request (RFC 9112, 3).
    fn path(&self) -> String {
        let mut words = self.request.split(|byte| matches!(byte, b' ' | b'\r'));
        String::from_utf8_lossy(words.nth(1).unwrap_or_default()).into_owned()
    }

    fn fail(&mut self, error: AskError) {
        if self.state != State::Ended {
            if !self.shown {
                // A long first paragraph need not be thrown away just because its end is missing.
                self.answer.finish();
                self.hand_out();
            }
            self.state = State::Ended;
            self.actions.extend([Action::Close, Action::Failed(error)]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests;
