//! One question on its way to the service and back, as a machine that is told what happens to its
//! connection.
//!
//! It asks for a connection ([`Action::Open`]), has its request sent, reads the response, and hands
//! out the answer line by line. It tries again where that can help and nothing was shown yet, and
//! ends once, in time: [`Action::Done`] or [`Action::Failed`] is its last word.
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
    ANSWER_TIMEOUT, FIRST_PIECE_TIMEOUT, MAX_ERROR_BODY_BYTES, RETRIES, RETRY_PAUSE,
};

/// What the owner of the connection is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Get a connection, verified if it is encrypted; with `fresh`, one that was not used before.
    /// Answer with [`Call::handle_open`] or [`Call::handle_open_failed`].
    Open {
        /// No connection that was kept.
        fresh: bool,
    },
    /// Send this on it.
    Send(Rc<[u8]>),
    /// The connection is not needed any more and good for another call.
    Keep,
    /// Close the connection, or stop getting one.
    Close,
    /// A line of the answer.
    Line(String),
    /// That was the answer.
    Done(Ending),
    /// There is none, or no more of it.
    Failed(AskError),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// A connection is being got.
    Opening,
    /// The request is sent; `reused`: on a connection that may have been dead.
    Receiving { reused: bool },
    /// Until the next try.
    Pausing(Instant),
    /// The last word is said.
    Ended,
}

/// One question on its way.
pub struct Call {
    request: Rc<[u8]>,
    key: Secret,
    state: State,
    first_piece_by: Instant,
    end_by: Instant,
    /// Tries made again after a failure of the service.
    retries: u32,
    /// A kept connection turned out dead, and a fresh one was asked for.
    refreshed: bool,
    entropy: u64,
    response: Response,
    answer: Answer,
    /// Text of the answer has come.
    started: bool,
    /// A line was handed out.
    shown: bool,
    actions: VecDeque<Action>,
}

/// The response to one try.
#[derive(Default)]
struct Response {
    http: ResponseDecoder,
    sse: SseDecoder,
    status: u16,
    keep_alive: bool,
    error_body: Vec<u8>,
    finish: Option<Finish>,
}

/// The only status that comes with an answer.
const OK: u16 = 200;

impl Call {
    /// A call with this request, head and body. The key is what is not to be found in errors.
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
        let until = if self.started { self.end_by } else { self.first_piece_by };
        match self.state {
            State::Ended => None,
            State::Pausing(pause) => Some(pause.min(until)),
            State::Opening | State::Receiving { .. } => Some(until),
        }
    }

    /// There is a connection.
    pub fn handle_open(&mut self, reused: bool) {
        if self.state == State::Opening {
            self.state = State::Receiving { reused };
            self.response = Response::default();
            self.actions.push_back(Action::Send(self.request.clone()));
        }
    }

    /// There is none to be had.
    pub fn handle_open_failed(&mut self, cause: &str) {
        if self.state == State::Opening {
            self.fail(AskError::NoNetwork(Cause::new(cause)));
        }
    }

    /// There is none to be had since the proxy on the way does not allow it.
    pub fn handle_proxy_refused(&mut self, cause: &str) {
        if self.state == State::Opening {
            self.fail(AskError::ProxyRefused(Cause::new(cause)));
        }
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let mut input = bytes;
        while matches!(self.state, State::Receiving { .. }) {
            match self.response.http.next_part(&mut input) {
                Ok(None) => return,
                Ok(Some(Part::Head(head))) => {
                    self.response.status = head.status;
                    self.response.keep_alive = head.keep_alive;
                }
                Ok(Some(Part::Body(bytes))) => self.body(now, bytes),
                Ok(Some(Part::End)) => {
                    // What stands behind the response was not asked for.
                    self.response.keep_alive &= input.is_empty();
                    self.response_ended(now);
                }
                Err(error) => self.fail(AskError::Unusable(Cause::new(&error.to_string()))),
            }
        }
    }

    /// The connection ended, or failed for this cause.
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
                self.fail(AskError::NoNetwork(Cause::new(&cause)));
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
        let until = if self.started { self.end_by } else { self.first_piece_by };
        if now >= until {
            return self.fail(AskError::TimedOut(Cause::new(stuck)));
        }
        if matches!(self.state, State::Pausing(pause) if pause <= now) {
            self.state = State::Opening;
            self.actions.push_back(Action::Open { fresh: true });
        }
    }

    fn body(&mut self, now: Instant, mut bytes: &[u8]) {
        if self.response.status != OK {
            let room = MAX_ERROR_BODY_BYTES.saturating_sub(self.response.error_body.len());
            self.response.error_body.extend(bytes.iter().take(room));
            return;
        }
        while matches!(self.state, State::Receiving { .. }) {
            match self.response.sse.next_event(&mut bytes) {
                Ok(None) => return,
                Ok(Some(event)) => self.event(now, &event),
                Err(error) => self.fail(AskError::Unusable(Cause::new(&error.to_string()))),
            }
        }
    }

    fn event(&mut self, now: Instant, json: &str) {
        if json.trim().is_empty() {
            return;
        }
        let found = match pieces(json.as_bytes(), &self.key) {
            Ok(found) => found,
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
                    self.response.finish.get_or_insert(finish);
                }
            }
        }
        if self.answer.is_cut() {
            // The rest is not waited for.
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
            let Response { status, error_body, .. } = &self.response;
            let error = AskError::from_response(*status, error_body, &self.key);
            return self.try_again_or_fail(now, error);
        }
        match self.response.sse.finish() {
            Ok(Some(event)) => self.event(now, &event),
            Ok(None) => {}
            Err(error) => return self.fail(AskError::Unusable(Cause::new(&error.to_string()))),
        }
        // An error may come as bare JSON, without the form of an event.
        let stray = self.response.sse.stray().to_owned();
        if self.response.finish.is_none() && !stray.trim().is_empty() && self.is_receiving() {
            self.event(now, &stray);
        }
        if !self.is_receiving() {
            return;
        }
        self.answer.finish();
        self.hand_out();
        match ending(self.response.finish.as_ref(), self.shown) {
            Ok(ending) => self.done(ending),
            Err(error) => self.fail(error),
        }
    }

    fn is_receiving(&self) -> bool {
        matches!(self.state, State::Receiving { .. })
    }

    fn done(&mut self, ending: Ending) {
        let keep = if self.response.keep_alive { Action::Keep } else { Action::Close };
        self.state = State::Ended;
        self.actions.extend([keep, Action::Done(ending)]);
    }

    /// Another try, where that may help, nothing was shown, and there is time for it.
    fn try_again_or_fail(&mut self, now: Instant, error: AskError) {
        let pause = self.pause();
        let in_time = now + pause < self.first_piece_by;
        if !error.is_retryable() || self.started || self.retries >= RETRIES || !in_time {
            return self.fail(error);
        }
        self.retries += 1;
        self.state = State::Pausing(now + pause);
        self.actions.push_back(Action::Close);
    }

    /// Twice as long each time, and up to half of it more or less, so that many who failed together
    /// do not come back together.
    fn pause(&self) -> Duration {
        let base = RETRY_PAUSE * 2u32.saturating_pow(self.retries);
        let jitter = u32::from(self.entropy.to_le_bytes().first().copied().unwrap_or_default());
        base / 2 + base * jitter / 255
    }

    fn fail(&mut self, error: AskError) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.actions.extend([Action::Close, Action::Failed(error)]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn key() -> Secret {
        let get = |name: &str| (name == "GEMINI_API_KEY").then(|| "the-key".to_owned());
        Config::parse(get).unwrap().gemini.key.unwrap()
    }

    fn begun(now: Instant) -> Call {
        let mut call = Call::new(now, b"request".to_vec(), key(), 0);
        assert_eq!(actions(&mut call), [Action::Open { fresh: false }]);
        call
    }

    fn actions(call: &mut Call) -> Vec<Action> {
        std::iter::from_fn(|| call.poll_action()).collect()
    }

    fn sent(call: &mut Call, reused: bool) {
        call.handle_open(reused);
        assert_eq!(actions(call), [Action::Send(b"request"[..].into())]);
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn event(text: &str, rest: &str) -> Vec<u8> {
        let json = format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{rest}}}]}}\n\n"
        );
        format!("{:x}\r\n{json}\r\n", json.len()).into_bytes()
    }

    fn unavailable() -> Vec<u8> {
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()
    }

    #[test]
    fn an_answer_comes_line_by_line_and_the_connection_is_kept() {
        let now = Instant::now();
        let mut call = begun(now);
        sent(&mut call, false);
        call.handle_bytes(now, HEAD);
        call.handle_bytes(now, &event("one\\ntw", ""));
        assert_eq!(actions(&mut call), [Action::Line("one".to_owned())]);
        call.handle_bytes(now, &event("o", ",\"finishReason\":\"STOP\""));
        call.handle_bytes(now, b"0\r\n\r\n");
        let expected = [Action::Line("two".to_owned()), Action::Keep, Action::Done(Ending::Whole)];
        assert_eq!(actions(&mut call), expected);
        assert_eq!(call.poll_timeout(), None);
        // Whatever comes now comes too late.
        call.handle_bytes(now, b"more");
        call.handle_closed(now, "closed");
        call.handle_timeout(now + Duration::from_secs(100));
        assert_eq!(actions(&mut call), []);
    }

    #[test]
    fn a_failing_service_is_tried_three_times_with_growing_pauses() {
        let mut now = Instant::now();
        let start = now;
        let mut call = begun(now);
        let mut pauses = Vec::new();
        for _ in 0..2 {
            sent(&mut call, false);
            call.handle_bytes(now, &unavailable());
            assert_eq!(actions(&mut call), [Action::Close]);
            let next = call.poll_timeout().unwrap();
            pauses.push(next - now);
            now = next;
            call.handle_timeout(now);
            assert_eq!(actions(&mut call), [Action::Open { fresh: true }]);
        }
        assert!(pauses[1] > pauses[0] && now < start + FIRST_PIECE_TIMEOUT);
        sent(&mut call, false);
        call.handle_bytes(now, &unavailable());
        let last = actions(&mut call);
        assert!(matches!(&last[..], [Action::Close, Action::Failed(AskError::Overloaded(_))]));
    }

    #[test]
    fn a_dead_kept_connection_is_replaced_once_and_only_before_anything_came() {
        let now = Instant::now();
        let mut call = begun(now);
        sent(&mut call, true);
        call.handle_closed(now, "reset");
        assert_eq!(actions(&mut call), [Action::Close, Action::Open { fresh: true }]);
        sent(&mut call, false);
        call.handle_closed(now, "reset");
        let last = actions(&mut call);
        assert!(matches!(&last[..], [Action::Close, Action::Failed(AskError::NoNetwork(_))]));

        let mut call = begun(now);
        sent(&mut call, true);
        call.handle_bytes(now, b"HTTP/1.1 2");
        call.handle_closed(now, "reset");
        let last = actions(&mut call);
        assert!(matches!(&last[..], [Action::Close, Action::Failed(AskError::NoNetwork(_))]));
    }

    #[test]
    fn what_is_wrong_with_the_question_is_not_tried_again() {
        let now = Instant::now();
        let mut call = begun(now);
        sent(&mut call, false);
        call.handle_bytes(now, b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(&actions(&mut call)[..], [Action::Close, Action::Failed(_)]));
        // Nor is what fails when a part of the answer was shown.
        let mut call = begun(now);
        sent(&mut call, false);
        let error = b"data: {\"error\":{\"code\":503}}\n\n";
        let error = [format!("{:x}\r\n", error.len()).as_bytes(), error, b"\r\n"].concat();
        call.handle_bytes(now, &[HEAD, &event("one\\n", ""), &error].concat());
        let last = actions(&mut call);
        assert!(matches!(&last[..], [Action::Line(_), Action::Close, Action::Failed(_)]));
    }

    #[test]
    fn pauses_are_a_half_to_one_and_a_half_of_one_and_two_seconds() {
        for (entropy, millis) in [(0, [500, 1000]), (255, [1500, 3000]), (51, [700, 1400])] {
            let mut now = Instant::now();
            let mut call = Call::new(now, b"request".to_vec(), key(), entropy);
            actions(&mut call);
            for millis in millis {
                sent(&mut call, false);
                call.handle_bytes(now, &unavailable());
                assert_eq!(actions(&mut call), [Action::Close]);
                let next = call.poll_timeout().unwrap();
                assert_eq!(next - now, Duration::from_millis(millis));
                call.handle_timeout(next - Duration::from_millis(1));
                assert_eq!(actions(&mut call), []);
                now = next;
                call.handle_timeout(now);
                assert_eq!(actions(&mut call), [Action::Open { fresh: true }]);
            }
        }
    }

    #[test]
    fn there_is_no_pause_that_ends_too_late() {
        let start = Instant::now();
        for (millis, in_time) in [(29_499, true), (29_500, false), (29_900, false)] {
            let now = start + Duration::from_millis(millis);
            let mut call = begun(start);
            sent(&mut call, false);
            call.handle_bytes(now, &unavailable());
            let last = actions(&mut call);
            assert_eq!(matches!(&last[..], [Action::Close]), in_time, "{last:?}");
        }
    }

    #[test]
    fn without_a_connection_the_question_fails() {
        let mut call = begun(Instant::now());
        call.handle_open_failed("unplugged");
        let last = actions(&mut call);
        let [Action::Close, Action::Failed(AskError::NoNetwork(cause))] = &last[..] else {
            panic!("{last:?}");
        };
        assert_eq!(cause.to_string(), "unplugged");
        // Once there is one, no other is needed.
        let mut call = begun(Instant::now());
        sent(&mut call, false);
        call.handle_open_failed("unplugged");
        assert_eq!(actions(&mut call), []);
    }

    #[test]
    fn a_connection_is_not_kept_if_it_ends_or_holds_more_than_the_response() {
        let now = Instant::now();
        let closing = HEAD.strip_suffix(b"\r\n").unwrap();
        let closing = [closing, b"Connection: close\r\n\r\n"].concat();
        let end = event("one", ",\"finishReason\":\"STOP\"");
        for (head, behind) in [(HEAD, &b"HTTP"[..]), (&closing, b"")] {
            let mut call = begun(now);
            sent(&mut call, false);
            call.handle_bytes(now, &[head, &end, b"0\r\n\r\n", behind].concat());
            let last = actions(&mut call);
            let expected =
                [Action::Line("one".to_owned()), Action::Close, Action::Done(Ending::Whole)];
            assert_eq!(last, expected);
        }
    }

    #[test]
    fn a_second_kept_connection_that_is_dead_is_one_too_many() {
        let now = Instant::now();
        let mut call = begun(now);
        sent(&mut call, true);
        call.handle_closed(now, "reset");
        assert_eq!(actions(&mut call), [Action::Close, Action::Open { fresh: true }]);
        sent(&mut call, true);
        call.handle_closed(now, "reset");
        let last = actions(&mut call);
        assert!(matches!(&last[..], [Action::Close, Action::Failed(AskError::NoNetwork(_))]));
    }

    /// A body of this text in one chunk, and the end.
    fn body(text: &str) -> Vec<u8> {
        [HEAD, format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len()).as_bytes()].concat()
    }

    const STOP: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"one\"}]},\
        \"finishReason\":\"STOP\"}]}\n\n";
    const REFUSED: &str = "{\"error\":{\"code\":403,\"message\":\"no\"}}";

    #[test]
    fn an_error_counts_without_the_form_of_an_event_but_not_behind_the_end_of_an_answer() {
        let now = Instant::now();
        let run = |text: &str| {
            let mut call = begun(now);
            sent(&mut call, false);
            call.handle_bytes(now, &body(text));
            actions(&mut call)
        };
        let bare = run(&format!("{REFUSED}\n"));
        assert!(matches!(&bare[..], [Action::Close, Action::Failed(AskError::KeyRefused(_))]));
        let behind = run(&format!("{STOP}{REFUSED}\n"));
        let whole = [Action::Line("one".to_owned()), Action::Keep, Action::Done(Ending::Whole)];
        assert_eq!(behind, whole);
        // As the last event, without its empty line: the call fails, and that is all.
        let last = run(&format!("{STOP}data: {REFUSED}"));
        assert!(matches!(&last[..], [Action::Close, Action::Failed(_)]), "{last:?}");
    }

    #[test]
    fn the_log_says_where_a_call_got_stuck() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let stuck = |call: &mut Call, now| {
            call.handle_timeout(now);
            match actions(call).pop() {
                Some(Action::Failed(AskError::TimedOut(cause))) => cause.to_string(),
                other => panic!("{other:?}"),
            }
        };
        let mut call = begun(start);
        assert_eq!(stuck(&mut call, at(30)), "no connection");
        let mut call = begun(start);
        sent(&mut call, false);
        assert_eq!(stuck(&mut call, at(30)), "no answer");
        let mut call = begun(start);
        sent(&mut call, false);
        call.handle_bytes(at(1), &[HEAD, &event("begun", "")].concat());
        assert_eq!(stuck(&mut call, at(60)), "the answer did not end");
        let mut call = begun(start);
        sent(&mut call, false);
        call.handle_bytes(at(1), &unavailable());
        actions(&mut call);
        assert_eq!(stuck(&mut call, at(30)), "the service kept failing");
    }

    #[test]
    fn the_first_piece_has_30_seconds_and_the_answer_60() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let timed_out = |call: &mut Call| {
            matches!(&actions(call)[..], [Action::Close, Action::Failed(AskError::TimedOut(_))])
        };
        let mut silent = begun(start);
        sent(&mut silent, false);
        silent.handle_bytes(at(29), HEAD);
        assert_eq!(silent.poll_timeout(), Some(at(30)));
        silent.handle_timeout(at(30));
        assert!(timed_out(&mut silent));

        let mut slow = begun(start);
        sent(&mut slow, false);
        slow.handle_bytes(at(29), &[HEAD, &event("begun", "")].concat());
        assert_eq!(slow.poll_timeout(), Some(at(60)));
        slow.handle_timeout(at(59));
        assert_eq!(actions(&mut slow), []);
        slow.handle_timeout(at(60));
        assert!(timed_out(&mut slow));

        let mut nowhere = begun(start);
        nowhere.handle_timeout(at(30));
        assert!(timed_out(&mut nowhere));
    }

    #[test]
    fn however_the_response_is_cut_the_answer_is_the_same() {
        let now = Instant::now();
        let end = event("two\\nthree", ",\"finishReason\":\"STOP\"");
        let response = [HEAD, &event("one\\n", ""), &end, b"0\r\n\r\n"].concat();
        let run = |piece: usize| {
            let mut call = begun(now);
            sent(&mut call, false);
            response.chunks(piece).for_each(|bytes| call.handle_bytes(now, bytes));
            actions(&mut call)
        };
        let whole = run(response.len());
        assert_eq!(whole.len(), 5);
        for piece in [1, 2, 3, 7, 50] {
            assert_eq!(run(piece), whole);
        }
    }
}
