//! Rox: questions to a scripted Gemini over real TLS, and what the lobby sees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::gemini::stream_head;
use common::gemini::{Dns, Gemini, KEY, Manner, Step, answer, error, event, finish, piece};
use common::{Server, eventually};

fn honest() -> Dns {
    Dns::start(Manner::Honest)
}

#[test]
fn the_lobby_sees_question_and_answer() {
    let gemini = Gemini::start(|_, _| answer(&["Hello **al", "ice**!\n\nSec", "ond line"]));
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    assert!(server.start_lines.contains("[✓] AI features enabled"));
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    bob.send("what a day");
    alice.expect("what a day\n");
    alice.send("/ai how are you?");
    let seen = alice.expect("│ Second line\n");
    let expected = "[AI] Thinking...\n[LOBBY] alice asked AI: how are you?\n";
    assert!(seen.contains(expected), "{seen}");
    assert!(seen.contains("[AI Response to alice] Rox:\n  │ Hello alice!\n"), "{seen}");
    let seen = bob.expect("│ Second line\n");
    assert!(!seen.contains("Thinking"));
    let request = gemini.request(0);
    assert!(request.head.starts_with(
        "POST /v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse HTTP/1.1\r\n"
    ));
    assert!(request.head.contains(&format!("x-goog-api-key: {KEY}\r\n")));
    assert!(request.body.contains("what a day") && request.body.contains("how are you?"));
    assert!(!request.body.contains(KEY) && !server.log().contains(KEY));
    // The second question knows the first, and uses the connection again, which is free when the end of
    // the answer has come.
    eventually("the answer is over", || server.state()["questions"] == 0);
    alice.send("/ai and now?");
    alice.expect("│ Second line\n");
    assert!(gemini.request(1).body.contains("Hello alice!"));
    assert_eq!(gemini.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn private_things_never_reach_the_service() {
    let gemini = Gemini::start(|_, _| answer(&["ok"]));
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    bob.send("/msg alice a-direct-message");
    alice.expect("a-direct-message\n");
    bob.send("/create den no-pass a lobby of its own");
    bob.send("/join den");
    bob.expect("Joined lobby 'den'\n");
    bob.send("said-in-the-den");
    bob.expect("said-in-the-den\n");
    alice.send("/ai hello");
    alice.expect("│ ok\n");
    let body = gemini.request(0).body;
    assert!(!body.contains("a-direct-message") && !body.contains("said-in-the-den"));
    bob.send("/setai You are a pirate.");
    bob.expect("AI prompt updated!\n");
    bob.send("/ai hello");
    bob.expect("│ ok\n");
    let body = gemini.request(1).body;
    assert!(body.contains("You are a pirate.") && body.contains("said-in-the-den"));
}

#[test]
fn lines_arrive_as_they_are_finished_and_everybody_goes_on_chatting() {
    let gemini = Gemini::start(|_, _| {
        let mut steps = vec![stream_head(), piece("first\nsec")];
        steps.push(Step::Wait(Duration::from_millis(1500)));
        steps.push(piece("ond\n"));
        steps.extend(finish("STOP"));
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    alice.send("/ai go");
    alice.expect("│ first\n");
    alice.send("in between");
    let seen = alice.expect("in between\n");
    assert!(!seen.contains("second"));
    alice.expect("│ second\n");
    assert_eq!(server.status("Threads"), 1);
}

#[test]
fn one_question_at_a_time_three_wait_and_more_are_refused() {
    let gemini = Gemini::start(|n, _| {
        let mut steps = vec![Step::Wait(Duration::from_millis(400))];
        steps.extend(answer(&[&format!("answer {n}")]));
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    for n in 0..5 {
        alice.send(&format!("/ai question {n}"));
    }
    alice.expect("[AI] You are number 1 in line.\n");
    alice.expect("[AI] You are number 2 in line.\n");
    alice.expect("[AI] You are number 3 in line.\n");
    alice.expect("[AI] Too many questions are waiting. Try again in a moment.\n");
    alice.send("/ai status");
    alice.expect("Model: gemini-3.5-flash-lite\nYour questions: no limit\n");
    alice.expect("This lobby: one being answered, 3 waiting\n");
    for n in 0..4 {
        alice.expect(&format!("│ answer {n}\n"));
    }
}

#[test]
fn questions_an_hour_are_counted_and_the_limit_is_stated() {
    let gemini = Gemini::start(|_, _| answer(&["ok"]));
    let server = Server::with_gemini(&gemini, &honest(), &[("GEMINI_QUESTIONS_PER_HOUR", "2")]);
    let mut alice = server.login("alice");
    for _ in 0..2 {
        alice.send("/ai hello");
        alice.expect("│ ok\n");
    }
    alice.send("/ai hello");
    alice.expect("[AI] 2 questions an hour are the limit. Ask again in 60 minutes.\n");
    // Another user at the same address has questions of their own.
    let mut bob = server.login("bob");
    bob.send("/ai hello");
    bob.expect("│ ok\n");
    bob.send("/ai status");
    let status = "Your questions: 1 of 2 left this hour\nAll from your address: 17 of 20 left";
    bob.expect(status);
}

#[test]
fn questions_a_day_are_counted_for_the_whole_server() {
    let gemini = Gemini::start(|n, _| match n {
        0 => error(400, "{}"),
        _ => answer(&["ok"]),
    });
    let server = Server::with_gemini(&gemini, &honest(), &[("GEMINI_QUESTIONS_PER_DAY", "2")]);
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    alice.expect("[AI] The AI service rejected the question.\n");
    assert_eq!(server.state()["questions_today"], 0);
    for _ in 0..2 {
        alice.send("/ai hello");
        alice.expect("│ ok\n");
    }
    let mut bob = server.login("bob");
    bob.send("/ai hello");
    bob.expect(
        "[AI] 2 questions a day are the limit for the whole server. Ask again in 24 hours.\n",
    );
    bob.send("/ai status");
    bob.expect("The whole server's: 0 of 2 left today\n");
    assert_eq!(server.state()["questions_today"], 2);
}

#[test]
fn an_answer_can_be_stopped_and_outlives_its_asker() {
    let gemini = Gemini::start(|n, _| {
        let mut steps = vec![stream_head(), piece(&format!("line {n}\n"))];
        steps.push(Step::Wait(Duration::from_millis(1000)));
        steps.push(piece("the rest\n"));
        steps.extend(finish("STOP"));
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send("/ai one");
    bob.expect("│ line 0\n");
    bob.send("/ai stop");
    bob.expect("[AI] Only the one who asked, or the lobby's creator, can stop the answer.\n");
    alice.send("/ai stop");
    bob.expect("[AI] (answer cut short)\n[LOBBY] alice stopped the answer to alice\n");
    alice.send("/ai two");
    bob.expect("│ line 1\n");
    alice.send("/quit");
    let seen = bob.expect("│ the rest\n");
    assert!(seen.contains("[LOBBY] alice has left the lobby\n"));
}

/// Asks one question and gives what the asker sees up to this text.
fn ask(server: &Server, until: &str) -> String {
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    alice.expect(until)
}

#[test]
fn every_error_is_one_line_for_the_asker_and_the_cause_in_the_log() {
    let quota = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure",
         "violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]}]}}"#;
    let rate = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#;
    let key = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"bad AIza-not-a-real-key",
        "details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let none = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"limit: 0, m"}}"#;
    let place = r#"[{"error":{"code":400,"status":"FAILED_PRECONDITION",
        "message":"User location is not supported for the API use."}}]"#;
    let zipped = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b";
    let zipped = vec![Step::Send(zipped.to_vec())];
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    let stream = |json: &'static str| {
        let mut steps = vec![stream_head(), event(json)];
        steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
        steps
    };
    let cases: Vec<(Vec<Step>, &str)> = vec![
        (error(429, rate), "The AI's rate limit is reached. Try again in 34 seconds."),
        (error(429, quota), "The AI's quota for today is used up."),
        (error(400, key), "The AI service refused this server's key."),
        (error(403, "{}"), "The AI service refused this server's key."),
        (error(404, "{}"), "The AI model of this server is not available any more."),
        (error(302, ""), "The AI gave no usable answer."),
        (error(429, none), "The AI service gives this server's key no quota for its model."),
        (error(400, place), "The AI service is not available in this server's region."),
        (zipped, "The AI's answer came in a form that this server cannot read."),
        (stream(blocked), "The AI service blocked the question (reason: safety)."),
        (stream(r#"{"candidates":[{"finishReason":"SPII"}]}"#), "(reason: spii)."),
        (stream("not json"), "The AI gave no usable answer."),
        (stream(rate), "The AI's rate limit is reached. Try again in 34 seconds."),
        (vec![Step::Send(b"garbage\r\n\r\n".to_vec())], "The AI gave no usable answer."),
        (vec![Step::Cut], "The AI cannot be reached."),
    ];
    let steps: Vec<_> = cases.iter().map(|(steps, _)| steps.clone()).collect();
    let gemini = Gemini::start(move |n, _| steps[n].clone());
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    for (n, (_, line)) in cases.iter().enumerate() {
        alice.send(&format!("/ai question {n}"));
        let seen = alice.expect(line);
        assert!(seen.contains("[AI] The AI"), "{seen}");
    }
    assert!(server.log().contains("assistant - key refused: HTTP 400 INVALID_ARGUMENT: bad (key)"));
    assert!(server.log().contains("assistant - compressed answer: Content-Encoding: gzip"));
    assert!(server.log().contains("assistant - model not found: /v1beta/models/gemini-3.5-flash"));
    assert!(!server.log().contains(KEY));
    // A failed question leaves no trace in the conversation.
    assert!(!gemini.request(5).body.contains("question 1"));
}

#[test]
fn what_was_shown_stays_when_the_rest_does_not_come() {
    let gemini = Gemini::start(|_, _| {
        vec![
            stream_head(),
            piece("shown\nnot fin"),
            Step::Wait(Duration::from_millis(50)),
            Step::Cut,
        ]
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let seen = ask(&server, "The AI cannot be reached. Try again later.\n");
    let seen = seen.replace("> ", "");
    assert!(seen.contains("│ shown\n[AI] (answer cut short)\n[AI] The AI"), "{seen}");
}

#[test]
fn a_first_paragraph_without_its_end_is_shown_as_far_as_it_came() {
    let gemini = Gemini::start(|_, _| vec![stream_head(), piece("a long first parag"), Step::Cut]);
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let seen = ask(&server, "The AI cannot be reached. Try again later.\n").replace("> ", "");
    assert!(seen.contains("Rox:\n  │ a long first parag\n[AI] (answer cut short)\n"), "{seen}");
}

#[test]
fn the_version_of_the_service_may_stand_at_the_end_of_its_address() {
    let gemini = Gemini::start(|_, _| answer(&["found"]));
    for version in ["/v1beta", "/v1/", "/gateway/v1beta/"] {
        let url = format!("https://{}:{}{version}", common::gemini::NAME, gemini.addr.port());
        let server = Server::with_gemini(&gemini, &honest(), &[("GEMINI_BASE_URL", &url)]);
        ask(&server, "│ found\n");
    }
    let paths = [0, 1, 2].map(|n| gemini.request(n).head.split(' ').nth(1).unwrap().to_owned());
    let path = "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse";
    assert_eq!(paths, [path.to_owned(), path.to_owned(), format!("/gateway{path}")]);
}

#[test]
fn gateways_add_to_a_stream_and_leave_it_open() {
    let raw = |text: &str| Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
    let gemini = Gemini::start(move |n, _| {
        let mut steps = vec![stream_head(), raw(": PROCESSING\n\ndata: null\n\ndata:\n\n")];
        steps.push(piece(&format!("answer {n}")));
        steps.push(finish("STOP").remove(0));
        steps.push(raw("data: [DONE]\n\n"));
        match n {
            0 => steps.push(Step::Send(b"0\r\n\r\n".to_vec())),
            // An error that comes too late, a stream that ends badly, and one that does not end.
            1 => steps.extend([event(r#"{"error":"late"}"#), Step::Send(b"0\r\n\r\n".to_vec())]),
            2 => steps.push(Step::Cut),
            _ => steps.push(Step::Wait(Duration::from_secs(20))),
        }
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    let asked = Instant::now();
    for n in 0..4 {
        alice.send(&format!("/ai question {n}"));
        alice.expect(&format!("│ answer {n}\n"));
    }
    alice.send("/ai status");
    let seen = alice.expect("This lobby: none being answered, 0 waiting\n");
    assert!(!seen.contains("cut short") && !server.log().contains("assistant -"), "{seen}");
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_failing_service_is_tried_again_before_anything_was_shown() {
    let gemini = Gemini::start(|n, _| match n {
        0 => error(503, r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"busy"}}"#),
        1 => error(500, "{}"),
        _ => answer(&["at last"]),
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    ask(&server, "│ at last\n");
    assert_eq!(gemini.requests.lock().unwrap().len(), 3);
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced_without_a_word() {
    let gemini = Gemini::start(|n, _| {
        let mut steps = answer(&[&format!("answer {n}")]);
        if n == 0 {
            steps.extend([Step::Wait(Duration::from_millis(300)), Step::Cut]);
        }
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    alice.send("/ai one");
    alice.expect("│ answer 0\n");
    std::thread::sleep(Duration::from_millis(600));
    alice.send("/ai two");
    alice.expect("│ answer 1\n");
    assert_eq!(gemini.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn an_endless_answer_is_cut_and_says_so() {
    let gemini = Gemini::start(|_, _| {
        let mut steps = vec![stream_head()];
        steps.extend((0..5000).map(|n| piece(&format!("{n} {}\n", "word ".repeat(200)))));
        steps.extend(finish("STOP"));
        steps
    });
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let before = server.status("VmRSS");
    let seen = ask(&server, "[AI] (answer cut short)\n");
    let lines = seen.matches("  │ ").count();
    assert!((10..=100).contains(&lines) && seen.len() < 12_000, "{lines} {}", seen.len());
    assert!(server.status("VmRSS") < before + 4096);
}

#[test]
fn what_the_service_says_never_controls_a_terminal() {
    let gemini = Gemini::start(|_, _| answer(&["a\u{1b}[2Jb\u{202e}c\u{7}\u{9b}31md"]));
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    ask(&server, "│ abcd\n");
}

#[test]
fn a_service_that_stalls_is_given_up_while_others_chat() {
    let gemini = Gemini::start(|_, _| vec![stream_head(), Step::Wait(Duration::from_secs(60))]);
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    let mut alice = server.login("alice");
    let asked = Instant::now();
    alice.send("/ai hello");
    alice.expect("asked AI: hello\n");
    for n in 0..20 {
        let sent = Instant::now();
        alice.send(&format!("number {n}"));
        alice.expect(&format!("number {n}\n"));
        assert!(sent.elapsed() < Duration::from_secs(1));
    }
    let ticks = server.cpu_ticks();
    while !alice.read_for(Duration::from_secs(1)).contains("[AI] The AI took too long to answer.") {
        assert!(asked.elapsed() < Duration::from_secs(40));
    }
    assert!(asked.elapsed() > Duration::from_secs(29));
    assert!(server.cpu_ticks() - ticks <= 10, "the loop turns without work");
}

#[test]
fn a_certificate_for_another_name_is_refused_and_the_key_stays_here() {
    let gemini = Gemini::named("evil.test", |_, _| answer(&["never"]));
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    ask(&server, "[AI] The AI cannot be reached. Try again later.\n");
    server.expect_log("assistant - no connection: TLS: invalid peer certificate");
    assert!(gemini.requests.lock().unwrap().is_empty());
    // The same without the CA.
    let mut gemini = Gemini::start(|_, _| answer(&["never"]));
    gemini.ca_pem = Gemini::start(|_, _| Vec::new()).ca_pem;
    let server = Server::with_gemini(&gemini, &honest(), &[]);
    ask(&server, "[AI] The AI cannot be reached. Try again later.\n");
    assert!(gemini.requests.lock().unwrap().is_empty());
}

#[test]
fn name_servers_that_lie_deny_truncate_or_never_answer() {
    let gemini = Gemini::start(|_, _| answer(&["found"]));
    for manner in [Manner::Lying, Manner::Truncating, Manner::Cutting] {
        let server = Server::with_gemini(&gemini, &Dns::start(manner), &[]);
        ask(&server, "│ found\n");
    }
    let server = Server::with_gemini(&gemini, &Dns::start(Manner::Denying), &[]);
    ask(&server, "[AI] The AI cannot be reached. Try again later.\n");
    server.expect_log("assistant - no connection: gemini.test: no such name");
    // The first one is dead, the second one is asked.
    let (dead, alive) = (Dns::start(Manner::Dead), honest());
    let both = format!("{},{}", dead.addr, alive.addr);
    let server = Server::with_gemini(&gemini, &alive, &[("CHAT_NAMESERVERS", &both)]);
    ask(&server, "│ found\n");
    // With none alive chat goes on, and the asker is told.
    let server = Server::with_gemini(&gemini, &dead, &[]);
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    for n in 0..20 {
        alice.send(&format!("number {n}"));
        alice.expect(&format!("number {n}\n"));
    }
    alice.expect("[AI] The AI cannot be reached. Try again later.\n");
    server.expect_log("gemini.test: no name server answered");
}

/// Somebody chats while a question is under way, and is never held up.
fn chats_on(alice: &mut common::Client, until: &str) {
    let end = Instant::now() + common::PATIENCE;
    let mut seen = String::new();
    for n in 0.. {
        let sent = Instant::now();
        alice.send(&format!("number {n}"));
        seen.push_str(&alice.expect(&format!("number {n}\n")));
        assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
        if seen.contains(until) {
            return;
        }
        assert!(Instant::now() < end, "no {until:?} in {seen}");
        seen.push_str(&alice.read_for(Duration::from_millis(20)));
    }
}

#[test]
fn a_service_that_floods_holds_nobody_up() {
    let flood = |times: usize| {
        Gemini::start(move |_, _| {
            let comments = ":\n".repeat(1 << 20);
            let chunk = format!("{:x}\r\n{comments}\r\n", comments.len()).into_bytes();
            let mut steps = vec![stream_head()];
            steps.extend(std::iter::repeat_n(Step::Send(chunk), times));
            steps.push(piece("at last\n"));
            steps.extend(finish("STOP"));
            steps
        })
    };
    for (times, said) in
        [(1, "│ at last\n"), (20, "[AI] The AI gave no usable answer. Try again.\n")]
    {
        let server = Server::with_gemini(&flood(times), &honest(), &[]);
        let mut alice = server.login("alice");
        alice.send("/ai hello");
        chats_on(&mut alice, said);
    }
}

#[test]
fn a_name_server_that_floods_holds_nobody_up() {
    let gemini = Gemini::start(|_, _| answer(&["never"]));
    let server = Server::with_gemini(&gemini, &Dns::start(Manner::Endless), &[]);
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    chats_on(&mut alice, "[AI] The AI cannot be reached.");
}

#[test]
fn without_a_key_there_is_no_assistant() {
    let server = Server::start();
    assert!(server.start_lines.contains("[!] AI features disabled (no API key)"));
    ask(&server, "AI is not available on this server\n");
}
