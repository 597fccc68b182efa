//! From the banner to a name, and those who do not get that far.

use super::*;

const NAME_PROMPT: &str = "Enter your username: ";

#[track_caller]
fn refused(world: &mut World, id: ConnId, name: &str, error: &str) {
    world.say(id, name);
    let seen = plain(&world.raw(id));
    assert_eq!(seen, format!("{error}\n{NAME_PROMPT}"), "for {name:?}");
}

#[test]
fn a_newcomer_gets_the_banner_the_greeting_and_the_name_prompt_at_once() {
    let mut world = World::new();
    let id = world.stranger();
    let raw = world.raw(id);
    let seen = plain(&raw);
    assert!(!raw.contains("\x1b[2J") && !raw.contains("\x1b[H"));
    for part in ["/help", "/users", "/quit"] {
        assert!(seen.contains(part), "{part}");
    }
    let greeting = "[● CONNECTED] You're live! Start chatting now...\n";
    assert!(seen.contains(greeting) && seen.ends_with(NAME_PROMPT));
    assert!(seen.lines().all(|line| crate::text::width(line) <= 70));
}

#[test]
fn a_name_of_the_wrong_form_gets_its_error_and_the_prompt_again() {
    let short = "Username too short (min 2 characters)";
    let long = "Username too long (max 20 characters)";
    let odd = "Username can only contain letters, numbers, - and _";
    let accents = &format!("{odd} (A to Z without accents: jerome?)");
    let mut world = World::new();
    for (name, error) in [
        ("a", short),
        (" a ", short),
        ("abcdefghijklmnopqrstu", long),
        ("two words", odd),
        ("al!ce", odd),
        ("jérôme", accents),
        ("日本", odd),
        ("/quit", odd),
        ("a.b", odd),
    ] {
        let id = world.stranger();
        world.clear();
        refused(&mut world, id, name, error);
        assert!(!world.is_closed(id));
    }
}

#[test]
fn names_of_2_and_of_20_characters_are_accepted() {
    for name in ["al", "Alice-in_W0nderland9", "_x", "1-", "42"] {
        let mut world = World::new();
        let id = world.stranger();
        world.clear();
        world.answers(id, name, &[&format!("[LOBBY] {name} has joined the lobby")]);
    }
}

#[test]
fn a_name_is_trimmed() {
    let mut world = World::new();
    let id = world.stranger();
    world.clear();
    world.answers(id, "  alice\t ", &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn a_name_is_unique_without_regard_to_case() {
    let mut world = World::new();
    world.user("Alice");
    let id = world.stranger();
    world.clear();
    for name in ["Alice", "alice", "ALICE"] {
        refused(&mut world, id, name, "Username already taken, try another.");
    }
}

#[test]
fn reserved_names_are_refused_without_regard_to_case() {
    let mut world = World::new();
    for name in [
        "server", "system", "admin", "root", "rox", "ai", "you", "lobby", "everyone", "here",
        "Server", "ROX", "aI", "DM", "me", "R0x", "Server-", "Adm1n", "--", "operator", "Mai1",
    ] {
        let id = world.stranger();
        world.clear();
        refused(&mut world, id, name, "Username is reserved, try another.");
    }
}

#[test]
fn a_name_that_looks_like_that_of_somebody_here_is_refused() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.user("B0");
    let id = world.stranger();
    world.clear();
    for name in ["aIice", "A1ice", "al-ice", "Alice_"] {
        refused(&mut world, id, name, "Too much like 'alice', who is here.");
    }
    refused(&mut world, id, "bo", "Too much like 'B0', who is here.");
    // Nobody is found under a name that is only like theirs.
    world.say(alice, "/msg b0- psst");
    assert!(world.seen(alice)[0].starts_with("User not found"));
    world.say(alice, "/quit");
    world.clear();
    world.answers(id, "aIice", &["[LOBBY] aIice has joined the lobby", "1 other is here: B0"]);
}

#[test]
fn a_name_that_is_taken_counts_as_no_error() {
    let mut world = World::new();
    world.user("alice");
    let id = world.stranger();
    for _ in 0..4 {
        world.say(id, "x");
    }
    for _ in 0..20 {
        world.clear();
        refused(&mut world, id, "alice", "Username already taken, try another.");
        refused(&mut world, id, "alice-", "Too much like 'alice', who is here.");
    }
    world.clear();
    world.answers(id, "bob", &["[LOBBY] bob has joined the lobby", "1 other is here: alice"]);
}

#[test]
fn who_asks_for_a_name_from_its_holders_address_has_that_connection_probed() {
    let taken = "Username already taken, try another.";
    let if_you = |secs: &str| format!("{taken} If it was you: try again in {secs}.");
    let mut world = World::new();
    let alice = world.user_at("alice", "2001:db8::1");
    let elsewhere = world.connect("2001:db8:0:1::1");
    let id = world.connect("2001:db8::2");
    world.clear();
    refused(&mut world, elsewhere, "alice", taken);
    assert!(world.probed.is_empty() && world.raw(alice).is_empty());
    refused(&mut world, id, "Alice", &if_you("6 seconds"));
    assert_eq!(world.probed, [alice]);
    // What it answers to is its prompt, which is drawn again.
    assert_eq!(world.raw(alice), format!("{ERASE}{PROMPT}"));
    // Once in six seconds, whoever asks, and however often.
    world.advance_ms(2500);
    refused(&mut world, id, "alice", &if_you("4 seconds"));
    world.advance_ms(3499);
    refused(&mut world, id, "alice", &if_you("1 second"));
    assert!(world.probed == [alice] && world.raw(alice).is_empty());
    // It has answered, and is left in peace for the rest of a minute.
    world.advance_ms(1);
    refused(&mut world, id, "alice", taken);
    world.advance_ms(53_999);
    refused(&mut world, id, "alice", taken);
    assert_eq!(world.probed, [alice]);
    world.advance_ms(1);
    let id = world.connect("2001:db8::3");
    world.clear();
    refused(&mut world, id, "alice", &if_you("6 seconds"));
    assert_eq!(world.probed, [alice, alice]);
    // It answers, and stays; when it does not the name is free.
    world.answers(alice, "/color on", &["Colours are on."]);
    world.lose(alice);
    world.clear();
    world.answers(id, "alice", &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn one_without_a_prompt_is_probed_and_sees_nothing_of_it() {
    let mut world = World::new();
    let alice = world.user_at("alice", "192.0.2.1");
    world.say(alice, "/color off");
    let id = world.connect("192.0.2.1");
    world.clear();
    world.say(id, "alice");
    assert_eq!(world.probed, [alice]);
    assert!(world.raw(alice).is_empty() && world.out.unsent(alice) == 0);
}

#[test]
fn after_four_errors_a_good_name_is_still_accepted() {
    let mut world = World::new();
    let id = world.stranger();
    for _ in 0..4 {
        world.say(id, "x");
    }
    world.clear();
    world.answers(id, "alice", &["[LOBBY] alice has joined the lobby"]);
    assert!(!world.is_closed(id));
}

#[test]
fn the_fifth_error_is_told_and_the_connection_closed() {
    let mut world = World::new();
    let id = world.stranger();
    for _ in 0..4 {
        world.say(id, "x");
        assert!(!world.is_closed(id));
    }
    world.clear();
    let seen = world.answer(id, "a b");
    assert_eq!(seen[0], "Username can only contain letters, numbers, - and _");
    assert!(seen.len() > 1 && !seen.concat().contains(NAME_PROMPT), "{seen:?}");
    assert_eq!(world.closed, [id]);
}

#[test]
fn an_empty_answer_is_no_error_and_gets_the_prompt_again() {
    let mut world = World::new();
    let id = world.stranger();
    for line in ["", "  ", "\t", "\r", "", "", ""] {
        world.clear();
        world.say(id, line);
        assert_eq!(plain(&world.raw(id)), NAME_PROMPT);
    }
    world.answers(id, "alice", &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn an_over_long_answer_is_one_error() {
    let mut world = World::new();
    let id = world.stranger();
    for _ in 0..5 {
        assert!(!world.is_closed(id));
        world.say_too_long(id);
    }
    assert!(world.is_closed(id));
}

#[test]
fn a_name_is_free_again_when_its_owner_is_gone() {
    let mut world = World::new();
    let by_quit = world.user("alice");
    world.say(by_quit, "/quit");
    let by_end_of_input = world.user("ALICE");
    world.handle(Event::EndOfInput { id: by_end_of_input });
    let by_failure = world.user("Alice");
    world.lose(by_failure);
    let last = world.stranger();
    world.clear();
    world.answers(last, "alice", &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn control_characters_never_reach_a_name() {
    let mut world = World::new();
    let id = world.stranger();
    world.clear();
    world.answers(id, "\x1b[31mal\u{200b}\x07ice\u{202e}", &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn without_a_name_within_a_minute_the_connection_is_told_and_closed() {
    let mut world = World::new();
    let id = world.stranger();
    world.say(id, "x");
    world.clear();
    world.advance_ms(59_999);
    assert!(!world.is_closed(id) && world.raw(id).is_empty());
    world.advance_ms(1);
    assert!(world.is_closed(id));
    assert!(!world.seen(id).concat().is_empty());
}

#[test]
fn the_login_timeout_ends_with_the_name() {
    let mut world = World::new();
    let id = world.stranger();
    world.advance_secs(59);
    world.say(id, "alice");
    world.clear();
    world.advance_secs(3600);
    assert!(!world.is_closed(id) && world.raw(id).is_empty());
}

#[test]
fn end_of_input_before_a_name_closes_silently_and_leaves_nothing() {
    let mut world = World::new();
    let alice = world.user("alice");
    let id = world.stranger();
    world.clear();
    world.handle(Event::EndOfInput { id });
    assert_eq!(world.closed, [id]);
    assert_eq!(world.raw(id), "");
    assert_eq!(world.raw(alice), "");
    assert_eq!(world.chat.sessions.len(), 1);
    assert_eq!(world.chat.poll_timeout(), None);
}

#[test]
fn one_without_a_name_hears_nothing_and_is_not_heard() {
    let mut world = World::new();
    let alice = world.user("alice");
    let id = world.stranger();
    world.clear();
    world.say(alice, "hello");
    assert_eq!(world.raw(id), "");
    world.clear();
    world.lose(id);
    assert_eq!(world.raw(alice), "");
}

#[test]
fn an_http_request_gets_one_http_answer_and_is_closed() {
    for request in ["GET / HTTP/1.1", "POST /chat?x=1 HTTP/1.0", "CONNECT host:443 HTTP/1.1"] {
        let mut world = World::new();
        let id = world.stranger();
        world.clear();
        world.packet(id, &[request, "Host: example.org", "Accept: */*", ""]);
        let raw = world.raw(id);
        assert!(raw.starts_with("HTTP/1.1 400 "), "{raw:?}");
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{raw:?}");
        assert_eq!(body.lines().count(), 1);
        assert_eq!(world.closed, [id]);
    }
}

#[test]
fn an_ssh_client_gets_one_answer_and_is_closed() {
    let mut world = World::new();
    let id = world.stranger();
    world.clear();
    world.packet(id, &["SSH-2.0-OpenSSH_9.2", "garbage"]);
    assert!(world.raw(id).contains("SSH-2.0-"));
    assert_eq!(world.closed, [id]);
}

#[test]
fn a_tls_client_gets_one_answer_and_is_closed() {
    let mut world = World::new();
    let id = world.stranger();
    world.clear();
    world.handle(Event::WrongProtocol { id, protocol: Protocol::Tls });
    let seen = world.seen(id);
    assert_eq!(seen.iter().filter(|line| !line.is_empty()).count(), 1, "{seen:?}");
    assert_eq!(world.closed, [id]);
    assert!(world.chat.sessions.is_empty());
}

#[test]
fn a_named_user_may_talk_of_other_protocols() {
    let mut world = World::new();
    let id = world.user("alice");
    for text in ["GET / HTTP/1.1", "SSH-2.0-OpenSSH_9.2"] {
        world.say(id, text);
        assert_eq!(world.seen(id), message("alice", text));
    }
}

#[test]
fn everybody_in_general_sees_an_arrival_the_newcomer_included() {
    let mut world = World::new();
    let alice = world.user("alice");
    let bob = world.stranger();
    world.clear();
    world.say(bob, "Bob");
    world.sees(alice, &["[LOBBY] Bob has joined the lobby"]);
    let raw = world.raw(bob);
    assert_eq!(plain(&raw), "[LOBBY] Bob has joined the lobby\n1 other is here: alice\n");
    assert!(raw.ends_with(PROMPT));
}

#[test]
fn after_a_pause_of_the_process_everybody_has_the_full_time() {
    let mut world = World::with(|settings| settings.idle_timeout = Some(Duration::from_secs(300)));
    let alice = world.user("alice");
    world.advance_secs(270);
    let bob = world.stranger();
    world.advance_secs(29);
    world.chat.resumed(world.now, Duration::from_secs(3600));
    world.advance_secs(59);
    assert_eq!(world.closed, []);
    world.advance_secs(1);
    assert_eq!(world.closed, [bob]);
    world.advance_secs(239);
    assert_eq!(world.closed, [bob]);
    world.advance_secs(1);
    assert_eq!(world.closed, [bob, alice]);
}
