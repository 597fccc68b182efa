//! One question, told what happens to its connection.

use super::*;
use crate::config::Config;
use crate::limits::MAX_SSE_EVENT_BYTES;

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
        let expected = [Action::Line("one".to_owned()), Action::Close, Action::Done(Ending::Whole)];
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
    // As an event it is not about the answer either.
    for behind in [&format!("data: {REFUSED}")[..], "data: x\n\n", "data: [DONE]\n\n", ": bye\n\n"]
    {
        assert_eq!(run(&format!("{STOP}{behind}")), whole, "{behind}");
    }
}

#[test]
fn what_is_no_event_of_an_answer_is_passed_over() {
    let now = Instant::now();
    let noise =
        [": ping\n\n", "data\n\n", "data:\n\n", "data: null\n\n", "event: ping\n\n"].concat();
    let mut call = begun(now);
    sent(&mut call, false);
    call.handle_bytes(now, &body(&format!("{noise}{STOP}{noise}data: [DONE]\n\n")));
    let whole = [Action::Line("one".to_owned()), Action::Keep, Action::Done(Ending::Whole)];
    assert_eq!(actions(&mut call), whole);
    // Where a gateway leaves the reason out, its last word says that the answer is whole.
    let mut call = begun(now);
    sent(&mut call, false);
    let done = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    call.handle_bytes(now, &[HEAD, &event("one", ""), done].concat());
    assert_eq!(actions(&mut call), whole);
}

#[test]
fn nothing_behind_a_finish_fails_an_answer() {
    let now = Instant::now();
    let whole = [Action::Line("one".to_owned()), Action::Close, Action::Done(Ending::Whole)];
    let last = event("one", ",\"finishReason\":\"STOP\"");
    let finished = || {
        let mut call = begun(now);
        sent(&mut call, false);
        call.handle_bytes(now, &[HEAD, &last].concat());
        assert_eq!(actions(&mut call), []);
        call
    };
    // The stream is malformed, is cut, goes on without end in one event, or does not end at all.
    let mut call = finished();
    call.handle_bytes(now, b"no chunk\r\n");
    assert_eq!(actions(&mut call), whole);
    let mut call = finished();
    call.handle_closed(now, "reset");
    assert_eq!(actions(&mut call), whole);
    let mut call = finished();
    let endless = "x".repeat(MAX_SSE_EVENT_BYTES + 10);
    call.handle_bytes(now, format!("fffffff\r\ndata: {endless}").as_bytes());
    assert_eq!(actions(&mut call), whole);
    let mut call = finished();
    let until = now + FINISH_LINGER;
    assert_eq!(call.poll_timeout(), Some(until));
    call.handle_timeout(until);
    assert_eq!(actions(&mut call), whole);
    // Text that comes so late is taken all the same.
    let mut call = finished();
    call.handle_bytes(now, &[&event(" more", ""), &b"0\r\n\r\n"[..]].concat());
    assert_eq!(actions(&mut call)[0], Action::Line("one more".to_owned()));
    // A finish that says that there is no answer says so whatever comes.
    let mut call = begun(now);
    sent(&mut call, false);
    call.handle_bytes(now, &[HEAD, &event("one", ",\"finishReason\":\"SAFETY\"")].concat());
    call.handle_closed(now, "reset");
    let last = actions(&mut call);
    assert!(matches!(&last[..], [_, Action::Close, Action::Failed(AskError::AnswerBlocked(_))]));
}

#[test]
fn what_came_of_the_first_paragraph_is_shown_when_the_rest_does_not_come() {
    let now = Instant::now();
    let cut = |text: &str| {
        let mut call = begun(now);
        sent(&mut call, false);
        call.handle_bytes(now, &[HEAD, &event(text, "")].concat());
        call.handle_closed(now, "reset");
        let mut all = actions(&mut call);
        assert!(matches!(all.pop(), Some(Action::Failed(AskError::NoNetwork(_)))));
        assert_eq!(all.pop(), Some(Action::Close));
        all
    };
    let line = |text: &str| Action::Line(text.to_owned());
    assert_eq!(cut("a long first para"), [line("a long first para")]);
    assert_eq!(cut("\\n\\n**bo"), [line("**bo")]);
    // A word that is cut off in a later one is nothing to look at.
    assert_eq!(cut("first\\nseco"), [line("first")]);
    assert_eq!(cut(" "), []);
}

#[test]
fn a_compressed_answer_is_said_to_be_that() {
    let now = Instant::now();
    let run = |response: &[u8], piece: usize| {
        let mut call = begun(now);
        sent(&mut call, false);
        response.chunks(piece).for_each(|bytes| call.handle_bytes(now, bytes));
        call.handle_closed(now, "closed");
        match actions(&mut call).pop() {
            Some(Action::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let labelled = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n\x0b\x02\x80";
    let bare = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\x1f\x8b\x08\0\0\0\0\0";
    let failed = b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n\x1f\x8b\x08\0\0\0\0\0";
    for piece in [1, 2, 3, 1000] {
        let error = run(labelled, piece);
        assert!(error.log_cause().starts_with("compressed answer: Content-Encoding: br, though"));
        let words = "The AI's answer came in a form that this server cannot read.";
        assert_eq!(error.to_string(), words);
        let error = run(bare, piece);
        assert!(error.log_cause().starts_with("compressed answer: it is gzip, without a"));
        assert_eq!(error.to_string(), words);
    }
    // An error is known by its status.
    let mut call = begun(now);
    sent(&mut call, false);
    call.handle_bytes(now, failed);
    call.handle_closed(now, "closed");
    assert_eq!(actions(&mut call), [Action::Close]);
    let refused = String::from_utf8_lossy(failed).replace("500", "403").replace('\u{fffd}', "");
    assert!(run(refused.as_bytes(), 100).log_cause().starts_with("key refused: HTTP 403"));
}

#[test]
fn where_there_is_nothing_the_log_says_what_was_asked_for() {
    let now = Instant::now();
    let request = b"POST /v1/v1beta/models/m:x?alt=sse HTTP/1.1\r\n\r\n".to_vec();
    let mut call = Call::new(now, request, key(), 0);
    actions(&mut call);
    call.handle_open(false);
    call.handle_bytes(now, b"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nnot found");
    let Some(Action::Failed(error)) = actions(&mut call).pop() else { panic!("no failure") };
    let cause = "model not found: /v1/v1beta/models/m:x?alt=sse: HTTP 404: not found";
    assert_eq!(error.log_cause(), cause);
}

#[test]
fn a_retry_after_is_the_wait_that_is_told() {
    let now = Instant::now();
    let mut call = begun(now);
    sent(&mut call, false);
    let response = "HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    call.handle_bytes(now, response.as_bytes());
    let Some(Action::Failed(error)) = actions(&mut call).pop() else { panic!("no failure") };
    assert_eq!(error.to_string(), "The AI's rate limit is reached. Try again in 7 seconds.");
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
    // What has come of the first paragraph is not lost.
    assert_eq!(slow.poll_action(), Some(Action::Line("begun".to_owned())));
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

#[test]
fn a_response_that_brings_no_answer_ends_by_its_length() {
    let now = Instant::now();
    // How many bytes of this are taken until the call has failed, and why it did.
    let taken = |head: &[u8], again: &[u8]| {
        let mut call = begun(now);
        sent(&mut call, false);
        call.handle_bytes(now, head);
        let mut taken = 0;
        loop {
            call.handle_bytes(now, again);
            taken += again.len();
            assert!(taken <= 2 * MAX_RESPONSE_BYTES);
            if let Some(Action::Failed(error)) = actions(&mut call).pop() {
                return (taken, error.log_cause());
            }
        }
    };
    let too_long = "unusable answer: the response is too long";
    for again in [&b"1;x\r\n\n\r\n"[..], &[b"5\r\n", &b":ab\n\n"[..], b"\r\n"].concat()] {
        let (bytes, why) = taken(HEAD, again);
        assert!(bytes > MAX_RESPONSE_BYTES / 2 && why == too_long, "{bytes} {why}");
    }
    let many = "unusable answer: too many events";
    for again in [&b"8\r\ndata:{}\n\r\n2\r\n\n\n\r\n"[..], &event("", ""), &event("\\n", "")] {
        let events = taken(HEAD, again).0 / again.len();
        assert_eq!((events, &*taken(HEAD, again).1), (8193, many));
    }
    // The status says enough.
    let error = b"HTTP/1.1 400 No\r\n\r\n";
    let (bytes, why) = taken(error, &[b' '; 1000]);
    assert_eq!((bytes, &*why), (66_000, "request rejected: HTTP 400"));
}

#[test]
fn a_whole_answer_may_come_in_as_many_pieces_as_it_has_tokens() {
    let now = Instant::now();
    let mut call = begun(now);
    sent(&mut call, false);
    call.handle_bytes(now, HEAD);
    let usage = format!("}}],\"usageMetadata\":{{\"x\":\"{}\"}},\"x\":[{{\"x\":0", "y".repeat(900));
    (0..4096).for_each(|_| call.handle_bytes(now, &event("a ", &usage)));
    call.handle_bytes(now, &event("", ",\"finishReason\":\"STOP\""));
    call.handle_bytes(now, b"0\r\n\r\n");
    assert_eq!(actions(&mut call).pop(), Some(Action::Done(Ending::Whole)));
}
