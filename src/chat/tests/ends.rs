//! Idle users, shutdown, late events, and what is left behind.

use super::*;
use crate::password::Outcome;

const FAREWELL: &str = "Server is shutting down. Goodbye!";

fn with_idle_limit(secs: u64) -> World {
    World::with(|settings| settings.idle_timeout = Some(Duration::from_secs(secs)))
}

#[test]
fn there_is_no_idle_limit_unless_set() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.advance_secs(30 * 86_400);
    assert!(world.closed.is_empty() && world.raw(alice).is_empty());
}

#[test]
fn a_silent_user_is_told_and_closed_after_the_idle_limit() {
    let mut world = with_idle_limit(600);
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.advance_secs(300);
    world.say(bob, "hello");
    world.clear();
    world.advance_ms(299_999);
    assert!(world.closed.is_empty());
    world.advance_ms(1);
    assert_eq!(world.closed, [alice]);
    assert!(!world.seen(alice).is_empty());
    world.sees(bob, &["[LOBBY] alice has left the lobby"]);
}

#[test]
fn every_line_begins_the_idle_limit_anew() {
    let mut world = with_idle_limit(60);
    let alice = world.user("alice");
    for line in ["hello", "/users", "", "/nothing"].repeat(5) {
        world.advance_secs(59);
        world.say(alice, line);
    }
    assert!(world.closed.is_empty());
    world.advance_secs(60);
    assert_eq!(world.closed, [alice]);
}

#[test]
fn what_others_say_does_not_keep_an_idle_user() {
    let mut world = with_idle_limit(60);
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for _ in 0..4 {
        world.advance_secs(20);
        world.say(bob, "/msg alice wake up");
    }
    assert_eq!(world.closed, [alice]);
}

#[test]
fn at_shutdown_everybody_is_told_once_and_closed_and_nobody_of_departures() {
    let mut world = World::new();
    let mut ids: Vec<_> = (0..60).map(|n| world.user(&format!("user{n}"))).collect();
    world.say(ids[0], "/create den pw x");
    world.say(ids[0], "/join den pw");
    world.say(ids[1], "/join den pw");
    ids.push(world.stranger());
    world.advance_secs(5);
    world.clear();
    world.handle(Event::Shutdown);
    world.advance_secs(5);
    for id in &ids {
        let raw = world.raw(*id);
        assert_eq!(plain(&raw).trim_start_matches('\n'), format!("{FAREWELL}\n"));
        assert!(!raw.contains(PROMPT));
    }
    let mut closed = world.closed.clone();
    closed.sort();
    ids.sort();
    assert_eq!(closed, ids);
    assert!(world.chat.sessions.is_empty() && world.chat.names.is_empty());
}

#[test]
fn a_crowd_not_yet_told_is_not_told_at_shutdown() {
    let mut world = World::new();
    let ids: Vec<_> = (0..70).map(|n| world.user(&format!("user{n}"))).collect();
    world.clear();
    for id in &ids[60..] {
        world.lose(*id);
    }
    world.clear();
    world.handle(Event::Shutdown);
    world.advance_secs(5);
    world.sees(ids[0], &[FAREWELL]);
}

#[test]
fn one_whose_password_is_being_checked_is_told_of_the_shutdown_too() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den pw x");
    world.clear();
    world.hold = true;
    world.say(alice, "/join den pw");
    world.handle(Event::Shutdown);
    world.release();
    world.sees(alice, &[FAREWELL]);
    assert_eq!(world.closed, [alice]);
}

#[test]
fn events_for_those_who_are_gone_do_nothing() {
    let mut world = World::new();
    let gone = world.user("gone");
    world.say(gone, "/quit");
    let watcher = world.user("watcher");
    // The slot has a new tenant, who must not be taken for the old one.
    assert_eq!(watcher.slot(), gone.slot());
    let never = ConnId::new(77, 1).unwrap();
    world.clear();
    let closed = world.closed.len();
    for id in [gone, never] {
        for event in [
            Event::Line { id, line: Line::Complete(b"hello") },
            Event::Line { id, line: Line::Complete(b"/quit") },
            Event::Line { id, line: Line::TooLong },
            Event::WrongProtocol { id, protocol: Protocol::Tls },
            Event::EndOfInput { id },
            Event::Password { id, outcome: Outcome::Checked(true) },
            Event::Password { id, outcome: Outcome::Busy },
            Event::Closed { id, reason: CloseReason::SendStalled },
            Event::Timeout,
        ] {
            world.handle(event);
        }
    }
    assert_eq!(world.raw(watcher), "");
    assert_eq!(world.closed.len(), closed);
    assert_eq!(world.chat.counts().users, 1);
}

#[test]
fn a_password_outcome_that_nobody_waits_for_does_nothing() {
    let mut world = World::new();
    let alice = world.user("alice");
    let unnamed = world.stranger();
    world.clear();
    for id in [alice, unnamed] {
        world.handle(Event::Password { id, outcome: Outcome::Checked(true) });
        assert_eq!(world.raw(id), "");
    }
}

#[test]
fn too_many_passwords_at_once_are_answered_and_the_user_goes_on() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.hold = true;
    world.say(alice, "/create den pw x");
    world.jobs.clear();
    world.kept_back.clear();
    world.handle(Event::Password { id: alice, outcome: Outcome::Busy });
    assert_eq!(world.seen(alice).len(), 2);
    assert_eq!(world.answer(alice, "hi"), message("alice", "hi"));
}

#[test]
fn who_waits_long_for_a_password_is_told_how_many_come_first() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.hold = true;
    world.say(alice, "/create den pw x");
    world.clear();
    for id in [alice, bob] {
        world.handle(Event::PasswordWaits { id, place: 7 });
    }
    let told = "Many passwords are being checked: yours is number 7.";
    assert_eq!((world.seen(alice), world.seen(bob)), (vec![told.to_owned()], vec![]));
}

#[test]
fn a_connection_that_is_lost_is_a_departure_and_is_not_closed_again() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.lose(bob);
    world.sees(alice, &["[LOBBY] bob has left the lobby"]);
    assert!(world.closed.is_empty());
}

#[test]
fn when_everybody_is_gone_nothing_is_left() {
    let mut world = World::with(|settings| {
        settings.idle_timeout = Some(Duration::from_secs(1000));
        settings.messages_per_window = 5;
    });
    let ids: Vec<_> = (0..80).map(|n| world.user(&format!("user{n}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        world.say(*id, &format!("/create l{n} pw x"));
        world.say(*id, "/join l0 pw");
        world.say(*id, "hello");
        world.say(*id, &format!("/join l{n} no"));
        world.say(*id, &format!("/join l{} pw", n / 2));
    }
    let unnamed: Vec<_> = (0..10).map(|_| world.stranger()).collect();
    for (n, id) in ids.iter().chain(&unnamed).enumerate() {
        match n % 3 {
            0 => world.lose(*id),
            1 => world.say(*id, "/quit"),
            _ => world.handle(Event::EndOfInput { id: *id }),
        }
    }
    unnamed.iter().for_each(|id| world.handle(Event::EndOfInput { id: *id }));
    assert!(world.chat.sessions.is_empty() && world.chat.names.is_empty());
    assert_eq!(world.chat.counts().users, 0);
    assert!(world.chat.lobbies.iter().all(|lobby| lobby.members.is_empty()));
    world.advance_secs(7200);
    assert_eq!(world.chat.lobbies.len(), 1);
    let histories = world.chat.lobbies.iter().map(|lobby| lobby.history.iter().count());
    assert_eq!(histories.sum::<usize>(), 0);
    assert!(world.chat.timers.is_empty(), "{:?}", world.chat.timers);
    assert!(world.chat.requests.is_empty());
    assert_eq!(world.out.unsent_in_all(), 0);
}

#[test]
fn a_timer_due_while_a_line_is_handled_leaves_no_other_behind() {
    let mut world = World::with(|settings| settings.idle_timeout = Some(Duration::from_secs(60)));
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for _ in 0..50 {
        // Lines come before timers in a turn, so that both may be due.
        world.now += Duration::from_secs(59);
        world.say(alice, "hello");
        world.say(bob, "/create den x");
        world.say(bob, "/join den");
        world.now += Duration::from_secs(400);
        world.say(alice, "hello");
        world.say(bob, "/join general");
        world.handle(Event::Timeout);
        assert!(world.chat.timers.len() <= 8, "{:?}", world.chat.timers);
    }
    world.lose(alice);
    world.lose(bob);
    world.advance_secs(10_000);
    assert!(world.chat.timers.is_empty(), "{:?}", world.chat.timers);
}

#[test]
fn reasons_read_as_the_log_has_them() {
    for (reason, text) in [
        (CloseReason::Quit, "quit"),
        (CloseReason::WrongProtocol(Protocol::Http), "HTTP instead of chat"),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}
