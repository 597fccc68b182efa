//! The rate limit, and the bound of unsent output.

use super::*;

#[track_caller]
fn accepted(world: &mut World, id: ConnId) {
    assert_eq!(world.seen(id), message("alice", "hi"));
}

/// Five lines at once, which are all that is allowed for ten seconds.
fn spend(world: &mut World, id: ConnId) {
    for _ in 0..5 {
        world.say(id, "hi");
    }
    world.clear();
}

#[test]
fn five_lines_in_ten_seconds_are_accepted_and_a_sixth_is_not() {
    let mut world = World::with_rate_limit();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for _ in 0..5 {
        world.say(alice, "hi");
        accepted(&mut world, alice);
    }
    world.clear();
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 10 seconds. 1 line was not sent."]);
    world.sees(bob, &[]);
}

#[test]
fn the_window_slides() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    // At 0, 2, 4, 6 and 8 seconds; then each is replaced when it is ten seconds old, not before.
    for _ in 0..5 {
        world.say(alice, "hi");
        accepted(&mut world, alice);
        world.advance_secs(2);
    }
    for _ in 0..10 {
        world.say(alice, "hi");
        accepted(&mut world, alice);
        world.advance_ms(1999);
        world.answers(alice, "hi", &["⚠ Rate limited! Wait 1 second. 1 line was not sent."]);
        world.advance_ms(1);
    }
}

#[test]
fn the_stated_wait_is_rounded_up_and_enough() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    for (ms, wait) in
        [(1, "10 seconds"), (3000, "7 seconds"), (9000, "1 second"), (9999, "1 second")]
    {
        spend(&mut world, alice);
        world.advance_ms(ms);
        let told = format!("⚠ Rate limited! Wait {wait}. 1 line was not sent.");
        world.answers(alice, "hi", &[&told]);
        world.advance_ms(10_000 - ms);
        world.say(alice, "hi");
        accepted(&mut world, alice);
        world.advance_secs(10);
    }
}

#[test]
fn a_burst_gets_one_notice_a_prompt_for_each_line_and_an_account() {
    let mut world = World::with_rate_limit();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    spend(&mut world, alice);
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 10 seconds. 1 line was not sent."]);
    for _ in 0..9 {
        world.advance_ms(100);
        world.say(alice, "hi");
        assert_eq!(world.raw(alice), PROMPT);
    }
    // When the next line is accepted.
    world.advance_ms(9100);
    let [head, text] = message("alice", "hi");
    world.answers(alice, "hi", &["⚠ 9 lines were not sent.", &head, &text]);
    world.sees(bob, &[&head, &text]);
    // The next refusal is a first one again.
    world.advance_secs(10);
    spend(&mut world, alice);
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 10 seconds. 1 line was not sent."]);
}

/// With the limits of an address that may have three connections.
fn with_address_limits() -> World {
    World::with(|settings| {
        settings.messages_per_window = 5;
        settings.connections_per_address = 3;
    })
}

/// One address said 250,000 messages in eight seconds, under ever new names.
#[test]
fn all_names_of_an_address_together_say_what_its_connections_may() {
    const IP: &str = "192.0.2.7";
    let mut world = with_address_limits();
    let bob = world.user("bob");
    let mut heard = 0;
    for n in 0..5 {
        let id = world.user_at(&format!("guest{n}"), IP);
        world.packet(id, &["hi"; 4]);
        heard += world.seen(bob).iter().filter(|line| line.ends_with("hi")).count();
        let refused = world.seen(id).iter().filter(|line| line.contains("Your address")).count();
        assert_eq!(refused, usize::from(n >= 3));
        world.say(id, "/quit");
        world.advance_ms(100);
    }
    assert_eq!(heard, 15);
    let id = world.user_at("other", IP);
    let told = "⚠ Rate limited! Your address has sent too much: wait 10 seconds.";
    world.answers(id, "hi", &[told]);
    // Its own limit has not counted what was refused; other addresses notice nothing.
    world.advance_ms(9600);
    world.say(id, "hi");
    assert!(world.seen(id).contains(&"  ╰─> hi".to_owned()));
    world.clear();
    assert_eq!(world.answer(bob, "hi"), message("bob", "hi"));
}

#[test]
fn three_log_ins_a_minute_for_each_connection_of_an_address() {
    const IP: &str = "192.0.2.7";
    let mut world = with_address_limits();
    for n in 0..9 {
        let id = world.user_at(&format!("guest{n}"), IP);
        world.say(id, "/quit");
        world.advance_secs(1);
    }
    let late = world.connect(IP);
    world.clear();
    world.say(late, "guest9");
    world.sees(late, &["Too many log-ins from your IP. Try again in 51 seconds."]);
    assert_eq!(world.closed.last(), Some(&late));
    assert!(world.user("bob") != late);
    world.advance_secs(51);
    let id = world.user_at("guest9", IP);
    world.say(id, "hi");
    assert!(world.seen(id).contains(&"  ╰─> hi".to_owned()));
}

#[test]
fn in_a_lobby_where_too_many_talk_each_address_has_an_equal_share() {
    let mut world = World::with_rate_limit();
    let crowd: Vec<_> = (0..60).map(|n| world.user(&format!("crowd{n}"))).collect();
    let late = world.user("late");
    for id in &crowd {
        world.packet(*id, &["hi"; 5]);
    }
    world.clear();
    world.advance_secs(1);
    // Three hundred were heard: whoever has had a share waits, and who has had none does not.
    world.say(late, "at last");
    assert!(world.seen(late).contains(&"  ╰─> at last".to_owned()));
    world.advance_ms(9000);
    for id in &crowd {
        world.packet(*id, &["hi"; 5]);
    }
    world.clear();
    let again = world.user_at("again", "10.0.0.1");
    let told = "⚠ Too many talk at once here! Wait 10 seconds. 1 line was not sent.";
    world.answers(again, "hi", &[told]);
    // What others do not hear is not stopped.
    world.say(again, "/msg late hi");
    assert_eq!(world.seen(late).last().unwrap(), "  ╰─> hi");
}

#[test]
fn refused_lines_are_accounted_for_ten_seconds_after_the_last() {
    let mut world = World::with(|settings| {
        settings.messages_per_window = 5;
        settings.rate_window = Duration::from_secs(60);
    });
    let alice = world.user("alice");
    spend(&mut world, alice);
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 60 seconds. 1 line was not sent."]);
    world.advance_secs(9);
    world.answers(alice, "hi", &[]);
    world.clear();
    world.advance_ms(9999);
    assert_eq!(world.raw(alice), "");
    world.advance_ms(1);
    world.sees(alice, &["⚠ 1 line was not sent."]);
    // Of one alone everything has been said.
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 41 seconds. 1 line was not sent."]);
    world.clear();
    world.advance_secs(11);
    assert_eq!(world.raw(alice), "");
    // Who leaves is owed nothing, and no timer stays.
    world.answers(alice, "hi", &["⚠ Rate limited! Wait 30 seconds. 1 line was not sent."]);
    world.say(alice, "hi");
    world.lose(alice);
    world.advance_secs(300);
    assert_eq!(world.chat.poll_timeout(), None);
}

#[test]
fn what_only_shows_something_has_a_budget_of_its_own() {
    let shows = [
        "/help",
        "/users",
        "/lobbies",
        "/sp LIST",
        "/ai status",
        "/nothing",
        "/",
        "/msg bob",
        "/create x",
        "/color blue",
    ];
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    spend(&mut world, alice);
    for line in [shows, shows].concat() {
        world.say(alice, line);
        let seen = world.raw(alice);
        assert!(!seen.contains("Rate limited"), "{line}: {seen}");
    }
    world.advance_secs(1);
    for line in shows {
        world.say(alice, line);
    }
    world.sees(alice, &["⚠ Rate limited! Wait 9 seconds. 1 line was not sent."]);
    world.advance_secs(9);
    let seen = world.answer(alice, "/users");
    assert_eq!(seen[0], "⚠ 9 lines were not sent.");
    // What others hear of, or what stays, has its share of what may be said.
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    for line in ["/sp cat", "/join nowhere", "/msg nobody hi", "/color on", "/sp nothing"] {
        world.say(alice, line);
    }
    world.clear();
    world.answers(alice, "/sp", &["⚠ Rate limited! Wait 10 seconds. 1 line was not sent."]);
    let mut world = World::new();
    let alice = world.user("alice");
    for _ in 0..100 {
        world.say(alice, "/help");
    }
    assert!(!world.raw(alice).contains("Rate limited"));
}

#[test]
fn who_leaves_is_told_of_refused_lines_first() {
    for end in ["/quit", "the end of the input", "shutdown"] {
        let mut world = World::with_rate_limit();
        let alice = world.user("alice");
        spend(&mut world, alice);
        for _ in 0..4 {
            world.say(alice, "hi");
        }
        world.clear();
        match end {
            "/quit" => world.say(alice, end),
            "shutdown" => world.handle(Event::Shutdown),
            _ => world.handle(Event::EndOfInput { id: alice }),
        }
        let seen = world.raw(alice);
        assert!(seen.contains("⚠ 3 lines were not sent."), "{end}: {seen:?}");
    }
}

#[test]
fn refused_lines_do_not_count() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    spend(&mut world, alice);
    for _ in 0..99 {
        world.advance_ms(100);
        world.say(alice, "hi");
    }
    world.advance_ms(100);
    world.clear();
    world.say(alice, "hi");
    assert_eq!(world.seen(alice)[1..], message("alice", "hi"));
}

#[test]
fn commands_count_like_messages() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    for line in ["/sp cat", "/msg bob hi", "hi", "/create x y", "/tag bob hi"] {
        world.say(alice, line);
    }
    world.clear();
    world.answers(alice, "/sp dog", &["⚠ Rate limited! Wait 10 seconds. 1 line was not sent."]);
}

#[test]
fn empty_lines_do_not_count() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    for _ in 0..20 {
        world.say(alice, "  ");
    }
    world.clear();
    for _ in 0..5 {
        world.say(alice, "hi");
        accepted(&mut world, alice);
    }
}

#[test]
fn quit_is_never_rate_limited() {
    let mut world = World::with_rate_limit();
    let alice = world.user("alice");
    spend(&mut world, alice);
    world.answers(alice, "/quit", &["Disconnecting from server. Goodbye!"]);
    assert!(world.is_closed(alice));
}

#[test]
fn each_user_has_a_window_of_their_own() {
    let mut world = World::with_rate_limit();
    let bob = world.user_at("bob", "192.0.2.1");
    let alice = world.user_at("alice", "192.0.2.1");
    spend(&mut world, bob);
    world.say(alice, "hi");
    accepted(&mut world, alice);
}

#[test]
fn the_window_is_carried_over_a_reconnect_from_the_same_address() {
    let mut world = World::with_rate_limit();
    let alice = world.user_at("alice", "192.0.2.1");
    spend(&mut world, alice);
    world.advance_secs(4);
    for n in 0..3 {
        let id = world.chat.find_user("alice").unwrap().0;
        if n == 1 {
            world.say(id, "/quit");
        } else {
            world.lose(id);
        }
        let again = world.user_at("Alice", "192.0.2.1");
        world.answers(again, "hi", &["⚠ Rate limited! Wait 6 seconds. 1 line was not sent."]);
    }
    world.advance_secs(6);
    let again = world.chat.find_user("alice").unwrap().0;
    assert_eq!(world.answer(again, "hi"), message("Alice", "hi"));
}

#[test]
fn the_window_is_not_carried_over_to_another_address() {
    let mut world = World::with_rate_limit();
    let alice = world.user_at("alice", "192.0.2.1");
    spend(&mut world, alice);
    world.say(alice, "/quit");
    let other = world.user_at("alice", "192.0.2.2");
    world.say(other, "hi");
    accepted(&mut world, other);
}

#[test]
fn a_limit_of_zero_is_none() {
    let mut world = World::new();
    let alice = world.user("alice");
    for _ in 0..100 {
        world.say(alice, "hi");
        accepted(&mut world, alice);
    }
}

#[test]
fn one_who_does_not_keep_up_misses_talk_and_is_told_how_much() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.deaf.insert(bob);
    let text = "x".repeat(1000);
    for _ in 0..400 {
        world.clear();
        world.say(alice, &text);
        assert!(world.out.unsent(bob) <= DEFAULT_SEND_QUEUE_BYTES);
    }
    world.clear();
    world.answers(alice, "/msg bob hi", &["bob's line is full: not delivered."]);
    world.say(alice, "/tag bob hi");
    world.clear();
    assert_eq!((world.chat.counts().users, world.closed.len()), (2, 0));
    // When he reads again he hears what fitted, and how much did not, and goes on from there.
    world.deaf.clear();
    world.say(alice, "last");
    world.read(bob);
    world.end_turn();
    let seen = world.seen(bob);
    let said = seen.iter().filter(|line| line.ends_with('x')).count();
    // The message with his name on it, the notice about it, and the last one.
    let missed = 400 - said + 3;
    assert!(said > 200, "{said}");
    let told = format!("… {missed} lines were left out: your line is slower than the talk.");
    assert_eq!(seen.last(), Some(&told));
    world.say(alice, "/msg bob hi");
    assert_eq!(world.seen(bob), ["[DM] alice —» You", "  ╰─> hi"]);
}

#[test]
fn one_who_reads_slowly_is_not_dropped_for_listings() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.deaf.insert(alice);
    for line in ["/help", "/lobbies", "/users", "/sp list"] {
        world.say(alice, line);
    }
    assert!(world.out.unsent(alice) < DEFAULT_SEND_QUEUE_BYTES / 4);
}
