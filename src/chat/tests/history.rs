//! What a lobby remembers, and replays to whoever enters it.

use super::*;

/// What a newcomer sees before the line of the arrival.
fn replayed(world: &mut World) -> Vec<String> {
    let id = world.stranger();
    world.unbroken(id);
    let name = format!("newcomer{}", world.strangers);
    world.clear();
    let seen = world.answer(id, &name);
    let arrival = format!("[LOBBY] {name} has joined the lobby");
    let at = seen.iter().position(|line| *line == arrival).unwrap();
    // Then who is there, if anybody is.
    assert!(seen[at + 1..].iter().all(|line| line.contains(" here: ")) && seen.len() <= at + 2);
    world.clear();
    seen[..at].to_vec()
}

/// The texts of replayed messages.
fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("  ╰─> ")).collect()
}

#[test]
fn a_newcomer_sees_the_history_oldest_first_then_the_arrival() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "one");
    world.advance_secs(5);
    world.say(bob, "two");
    world.advance_secs(2);
    let expected = ["[@_@] alice [7s ago]", "  ╰─> one", "[@_@] bob [2s ago]", "  ╰─> two"];
    assert_eq!(replayed(&mut world), expected);
}

#[test]
fn the_age_of_a_message_is_told_in_its_largest_unit() {
    let mut world = World::with(|settings| settings.history_age = Duration::from_secs(999_999));
    let alice = world.user("alice");
    world.say(alice, "text");
    let mut age = 0;
    for (secs, expected) in [
        (0, "just now"),
        (5, "5s ago"),
        (59, "59s ago"),
        (60, "1m ago"),
        (179, "2m ago"),
        (3599, "59m ago"),
        (3600, "1h ago"),
        (86_399, "23h ago"),
        (86_400, "1d ago"),
        (300_000, "3d ago"),
    ] {
        world.advance_secs(secs - age);
        age = secs;
        assert_eq!(replayed(&mut world)[0], format!("[@_@] alice [{expected}]"));
    }
}

#[test]
fn a_history_keeps_its_last_hundred_messages() {
    let mut world = World::new();
    let alice = world.user("alice");
    for n in 0..130 {
        world.say(alice, &n.to_string());
    }
    let lines = replayed(&mut world);
    let expected: Vec<_> = (30..130).map(|n| n.to_string()).collect();
    assert_eq!(texts(&lines), expected);
}

#[test]
fn a_history_keeps_at_most_64_kib() {
    let mut world = World::new();
    let alice = world.user("alice");
    for _ in 0..60 {
        world.say(alice, &"🔥".repeat(1000));
    }
    let lines = replayed(&mut world);
    let bytes: usize = texts(&lines).iter().map(|text| text.len()).sum();
    assert!((60 * 1024..=64 * 1024).contains(&bytes), "{bytes}");
}

#[test]
fn a_history_keeps_five_minutes() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "old");
    world.advance_secs(100);
    world.say(alice, "young");
    world.advance_secs(199);
    assert_eq!(texts(&replayed(&mut world)), ["old", "young"]);
    world.advance_secs(2);
    assert_eq!(texts(&replayed(&mut world)), ["young"]);
    world.advance_secs(100);
    assert!(replayed(&mut world).is_empty());
}

#[test]
fn what_is_too_old_is_gone_even_if_the_timer_is_late() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "old");
    world.now += Duration::from_secs(301);
    world.say(alice, "young");
    assert_eq!(texts(&replayed(&mut world)), ["young"]);
    world.advance_secs(301);
    assert!(replayed(&mut world).is_empty());
    assert_eq!(world.chat.poll_timeout(), None);
}

#[test]
fn a_history_is_kept_when_its_senders_are_gone() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "goodbye");
    world.say(alice, "/quit");
    assert_eq!(texts(&replayed(&mut world)), ["goodbye"]);
}

#[test]
fn a_history_has_the_picture_of_its_time() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "before");
    world.say(alice, "/sp cat");
    assert_eq!(replayed(&mut world)[0], "[@_@] alice [just now]");
}

#[test]
fn comings_and_goings_commands_and_direct_messages_are_no_history() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/msg bob secret");
    world.say(alice, "/users");
    world.say(alice, "/unknown");
    world.say(bob, "/quit");
    assert!(replayed(&mut world).is_empty());
}

#[test]
fn a_tagged_message_is_history() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.user("bob");
    world.say(alice, "/tag bob look");
    let lines = replayed(&mut world);
    assert!(lines[0].starts_with("[@_@] alice @bob"), "{lines:?}");
    assert_eq!(lines[1..], ["  ╰─> look"]);
}

#[test]
fn after_a_pause_a_message_stands_below_the_time_of_day() {
    let mut world = World::with(|settings| settings.history_age = Duration::from_secs(3600));
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den x");
    let carol = world.user_in("carol", "den");
    // A Thursday in Unix time.
    world.chat.set_wall_clock(world.now, 50_730);
    world.say(alice, "first");
    let line = "\x1b[2m── Thu 14:05 ──\x1b[0m\n\x1b[36m[@_@]";
    assert!(world.raw(bob).contains(line));
    assert!(world.raw(alice).contains(line));
    for (secs, from, clock) in
        [(299, alice, None), (299, bob, None), (300, alice, Some("── Thu 14:20 ──"))]
    {
        world.advance_secs(secs);
        world.say(alice, "/users");
        world.clear();
        world.say(from, "next");
        let seen = world.seen(bob);
        assert_eq!(seen.len(), 2 + usize::from(clock.is_some()), "{seen:?}");
        assert!(clock.is_none_or(|clock| seen[0] == clock));
    }
    // Another lobby has pauses of its own.
    world.clear();
    world.say(carol, "quiet here");
    assert_eq!(world.seen(carol)[0], "── Thu 14:20 ──");
    world.advance_secs(60);
    let lines = replayed(&mut world);
    assert_eq!(lines.len(), 4 * 2 + 2);
    assert_eq!(lines[..2], ["── Thu 14:05 ──", "[@_@] alice [15m ago]"]);
    assert_eq!(lines[7..9], ["── Thu 14:20 ──", "[@_@] alice [1m ago]"]);
    // The clock is set right: what was shown stays.
    world.chat.set_wall_clock(world.now, 0);
    assert_eq!(replayed(&mut world)[0], "── Thu 14:05 ──");
}

#[test]
fn each_lobby_replays_its_own_history() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "in general");
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    world.say(alice, "in coding");
    world.clear();
    let bob = world.user("bob");
    world.advance_secs(60);
    world.answers(
        bob,
        "/join coding",
        &[
            "Joined lobby 'coding'",
            "[@_@] alice [1m ago]",
            "  ╰─> in coding",
            "[LOBBY] bob has joined the lobby",
            "1 other is here: alice",
        ],
    );
    world.answers(
        bob,
        "/join general",
        &[
            "Joined lobby 'general'",
            "[@_@] alice [1m ago]",
            "  ╰─> in general",
            "[LOBBY] bob has joined the lobby",
        ],
    );
}

#[test]
fn ages_and_pauses_are_true_though_the_process_stood_still() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.chat.set_wall_clock(world.now, 50_730);
    world.say(alice, "early");
    world.advance_secs(60);
    world.say(alice, "late");
    world.chat.resumed(world.now, Duration::from_secs(239));
    assert_eq!(replayed(&mut world)[1], "[@_@] alice [4m ago]");
    world.advance_secs(1);
    assert_eq!(texts(&replayed(&mut world)), ["late"]);
    world.chat.resumed(world.now, Duration::from_secs(60));
    world.chat.set_wall_clock(world.now, 50_730 + 360);
    world.say(alice, "after five minutes");
    assert_eq!(replayed(&mut world)[0], "── Thu 14:11 ──");
    // What is too old is gone at once, and not only for those who ask.
    world.chat.resumed(world.now, Duration::from_secs(300));
    assert_eq!(world.chat.counts().messages, 0);
}
