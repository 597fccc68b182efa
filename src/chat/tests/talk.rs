//! Lines, messages, and the prompt around them.

use super::*;

#[test]
fn a_message_goes_to_everybody_in_the_lobby_the_sender_included() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "Hello everyone!");
    for id in [alice, bob] {
        world.sees(id, &["[@_@] alice [just now]", "  ╰─> Hello everyone!"]);
    }
}

#[test]
fn a_message_stays_in_its_lobby() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    world.clear();
    world.say(alice, "here");
    world.say(bob, "there");
    assert_eq!(world.seen(alice), message("alice", "here"));
    assert_eq!(world.seen(bob), message("bob", "there"));
}

#[test]
fn a_message_carries_the_picture_of_its_sender() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/sp cat");
    world.clear();
    world.answers(alice, "meow", &["(=^・^=) alice [just now]", "  ╰─> meow"]);
}

#[test]
fn lines_of_one_packet_are_handled_in_order() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.packet(alice, &["one", "/sp dog", "two"]);
    let expected = [
        "[@_@] alice [just now]",
        "  ╰─> one",
        "Profile picture changed to: (U・ᴥ・U)",
        "(U・ᴥ・U) alice [just now]",
        "  ╰─> two",
    ];
    world.sees(alice, &expected);
}

#[test]
fn a_name_and_what_follows_it_in_one_packet_are_handled_in_order() {
    let mut world = World::new();
    let id = world.stranger();
    world.clear();
    world.packet(id, &["alice", "hello"]);
    let [head, text] = message("alice", "hello");
    world.sees(id, &["[LOBBY] alice has joined the lobby", &head, &text]);
}

#[test]
fn a_thousand_characters_are_a_message_and_one_more_are_not() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.unbroken(bob);
    for letter in ["x", "é", "日", "🔥"] {
        let longest = letter.repeat(1000);
        world.say(alice, &longest);
        assert_eq!(world.seen(bob), message("alice", &longest));
        world.clear();
        world.answers(alice, &letter.repeat(1001), &[TOO_LONG]);
        world.sees(bob, &[]);
    }
}

#[test]
fn the_length_of_a_message_is_counted_after_trimming() {
    let mut world = World::new();
    let alice = world.user("alice");
    let longest = "x".repeat(1000);
    let seen = world.answer(alice, &format!("{longest}\t \r"));
    assert_eq!(seen, message("alice", &longest));
}

#[test]
fn a_line_beyond_8_kib_is_refused_once_and_the_connection_lives_on() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say_too_long(alice);
    world.sees(alice, &[MUCH_TOO_LONG]);
    world.sees(bob, &[]);
    assert_eq!(world.answer(alice, "still here"), message("alice", "still here"));
}

#[test]
fn direct_and_tagged_messages_have_the_same_bound() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.unbroken(bob);
    for command in ["/msg bob", "/tag bob"] {
        world.answers(alice, &format!("{command} {}", "é".repeat(1001)), &[TOO_LONG]);
        world.sees(bob, &[]);
        world.say(alice, &format!("{command} {}", "é".repeat(1000)));
        assert!(world.seen(bob).concat().contains(&"é".repeat(1000)));
        world.clear();
    }
}

#[test]
fn an_empty_line_is_ignored_and_the_prompt_redrawn() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for line in ["", "   ", "\t", "\r", "\x07", "\x1b[A", "\u{200b}"] {
        world.say(alice, line);
        // Nothing to erase: the line has moved the cursor to an empty one.
        assert_eq!(world.raw(alice), PROMPT, "{line:?}");
        assert_eq!(world.raw(bob), "");
    }
}

#[test]
fn escapes_and_controls_are_taken_out_of_messages() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for (typed, text) in [
        ("a\x1b[31mb\x1b[0mc", "abc"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1bPq\x1b\\b", "ab"),
        ("a\u{9b}2Jb", "ab"),
        ("a\0b", "ab"),
        // Editing keys do what they do on a screen.
        ("secret\x15hello", "hello"),
        ("helo\x08lo wrld\x17world", "hello world"),
        ("//x", "/x"),
        ("  indented", "  indented"),
        ("a\tb", "a b"),
        ("\u{202e}a\u{2066}b\u{2069}\u{2028}c\u{2029}", "abc"),
        ("a\u{200b}b\u{feff}c", "abc"),
        ("👩\u{200d}💻 ❤\u{fe0f}", "👩\u{200d}💻 ❤\u{fe0f}"),
        (&format!("e{}", "\u{301}".repeat(9)), &format!("e{}", "\u{301}".repeat(4))),
    ] {
        world.say(alice, typed);
        assert_eq!(world.seen(bob), message("alice", text), "{typed:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say_bytes(alice, b"a\xff\xfeb");
    assert_eq!(world.seen(alice), message("alice", "a\u{fffd}\u{fffd}b"));
}

#[test]
fn escapes_are_taken_out_of_everything_else_that_others_see() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create co\x1b[31mding no-pass about\x1b]0;x\x07 code");
    world.answers(
        bob,
        "/join coding",
        &["Joined lobby 'coding'", "[LOBBY] bob has joined the lobby"],
    );
    let listed = world.answer(bob, "/lobbies");
    assert_eq!(listed.last().unwrap(), "  Description: about code");
    world.say(alice, "/msg bob a\x1b[2Jb");
    world.sees(bob, &["[DM] alice —» You", "  ╰─> ab"]);
}

#[test]
fn the_prompt_is_erased_before_a_turn_and_drawn_once_after_it() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.packet(alice, &["one", "two", "/msg bob three"]);
    for id in [alice, bob] {
        let raw = world.raw(id);
        assert!(raw.starts_with(ERASE) && raw.ends_with(PROMPT), "{raw:?}");
        assert_eq!((raw.matches(ERASE).count(), raw.matches(PROMPT).count()), (1, 1), "{raw:?}");
    }
}

#[test]
fn the_prompt_follows_every_kind_of_output() {
    let mut world = World::new();
    let alice = world.user("alice");
    for line in ["/help", "/users", "/nothing", "/msg", "/sp list", "/create den x", "/join den"] {
        world.say(alice, line);
        let raw = world.raw(alice);
        let prompt = if line == "/join den" { "\x1b[36mden> \x1b[0m" } else { PROMPT };
        assert!(raw.starts_with(ERASE) && raw.ends_with(prompt), "{line}: {raw:?}");
        assert_eq!((raw.matches(ERASE).count(), raw.matches("> \x1b").count()), (1, 1), "{line}");
    }
    // Back in general it is the usual one.
    world.say(alice, "/join general");
    assert!(world.raw(alice).ends_with(PROMPT));
}

#[test]
fn a_blank_before_a_command_does_not_tell_the_lobby_a_password() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.answers(alice, " /join den secret", &["Lobby does not exist: den."]);
    let error = "Unknown command: /jion. Did you mean /join? Type /help for available commands.";
    world.answers(alice, "  /jion den secret", &[error]);
    world.sees(bob, &[]);
    // What is no command is said as it stands.
    for path in ["/etc/passwd", "/tmp", "/usr/bin", "/var", "/dev/null", "/me"] {
        world.say(alice, &format!(" {path}"));
        world.sees(bob, &["[@_@] alice [just now]", &format!("  ╰─>  {path}")]);
    }
}
