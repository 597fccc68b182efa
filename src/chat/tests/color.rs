//! `/color`: a connection without any escape sequence.

use super::*;

/// What stands in a script's way: any control character but the newline.
fn has_controls(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

#[test]
fn after_color_off_no_escape_is_sent_whatever_happens() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw a den");
    world.say(bob, "/color off");
    let reply = world.raw(bob);
    assert!(!has_controls(&reply), "{reply:?}");
    for line in [
        "/help",
        "/users",
        "/lobbies",
        "/sp cat",
        "/sp list",
        "/nothing",
        "/msg",
        "/msg alice hi",
        "/tag alice hi",
        "hello",
        "",
        "/ai why",
        "/setai x",
        "/join den",
        "/join den no",
        "/join den pw",
        "/join general",
        "/color off",
    ] {
        world.say(bob, line);
        let raw = world.raw(bob);
        assert!(!has_controls(&raw), "{line}: {raw:?}");
        assert!(!raw.lines().any(|line| line.starts_with("> ")), "{line}: {raw:?}");
    }
    world.say(alice, "hello");
    world.say(alice, "/msg bob hi");
    world.say(alice, "/quit");
    let raw = world.raw(bob);
    assert!(raw.contains("[LOBBY] alice has left the lobby\n") && !has_controls(&raw), "{raw:?}");
    world.say(bob, "/quit");
    assert_eq!(world.raw(bob), "Disconnecting from server. Goodbye!\n");
}

#[test]
fn lines_without_colours_are_those_with_colours_stripped() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(bob, "/color off");
    world.clear();
    world.say(alice, "some mmm [0m text");
    let (with, without) = (world.raw(alice), world.raw(bob));
    assert_eq!(plain(&with), without);
    assert_eq!(without, "[@_@] alice [just now]\n  ╰─> some mmm [0m text\n");
}

#[test]
fn the_colours_of_one_are_not_those_of_another() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(bob, "/color off");
    world.clear();
    world.say(bob, "hello");
    assert!(world.raw(alice).contains('\x1b'));
}

#[test]
fn color_on_brings_escapes_and_the_prompt_back() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/color off");
    world.clear();
    world.say(alice, "/COLOR On");
    assert!(world.raw(alice).ends_with(PROMPT));
    world.say(alice, "hello");
    let raw = world.raw(alice);
    assert!(raw.starts_with(ERASE) && raw.ends_with(PROMPT) && raw.contains("\x1b["), "{raw:?}");
    assert_eq!(plain(&raw).lines().collect::<Vec<_>>(), message("alice", "hello"));
}

#[test]
fn color_off_is_for_the_connection_and_not_the_name() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/color off");
    world.say(alice, "/quit");
    let again = world.stranger();
    world.clear();
    world.say(again, "alice");
    assert!(world.raw(again).ends_with(PROMPT));
}

#[test]
fn everything_said_at_the_end_is_without_escapes_too() {
    let mut world = World::with(|settings| {
        settings.idle_timeout = Some(Duration::from_secs(60));
    });
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for id in [alice, bob] {
        world.say(id, "/color off");
    }
    world.advance_secs(30);
    world.say(bob, "");
    world.clear();
    world.advance_secs(30);
    assert!(world.is_closed(alice) && !world.is_closed(bob));
    let raw = world.raw(alice);
    assert!(!raw.is_empty() && !has_controls(&raw), "{raw:?}");
    world.handle(Event::Shutdown);
    let raw = world.raw(bob);
    assert!(raw.contains("Server is shutting down. Goodbye!\n") && !has_controls(&raw), "{raw:?}");
    world.clear();
    let carol = world.user("carol");
    world.say(carol, "/color off");
    world.clear();
    world.handle(Event::EndOfInput { id: carol });
    assert_eq!(world.raw(carol), "");
}
