//! What wrong passwords cost.

use super::*;

const WRONG: &str = "Incorrect password for private lobby";
const HERE: &str = "192.0.2.1";

/// A private lobby `den` with the password `pw`, and its creator, who is elsewhere.
fn den() -> World {
    let mut world = World::new();
    let owner = world.user_at("owner", "198.51.100.1");
    world.say(owner, "/create den pw x");
    world.clear();
    world
}

#[track_caller]
fn is_locked_out(world: &mut World, id: ConnId, secs: u64) {
    let seen = world.answer(id, "/join den pw");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0] != WRONG && seen[0].contains(&format!(" {secs} ")), "{seen:?}");
}

#[test]
fn after_three_wrong_passwords_an_address_is_refused_for_a_minute() {
    let mut world = den();
    let id = world.user_at("mallory", HERE);
    for _ in 0..3 {
        world.answers(id, "/join den no", &[WRONG]);
        world.advance_secs(1);
    }
    is_locked_out(&mut world, id, 59);
    world.advance_ms(58_500);
    is_locked_out(&mut world, id, 1);
    world.advance_ms(500);
    assert_eq!(world.answer(id, "/join den pw")[0], "Joined lobby 'den'");
}

#[test]
fn the_lock_out_is_of_the_address_and_not_of_the_session_or_the_lobby() {
    let mut world = den();
    let first = world.user_at("first", HERE);
    world.say(first, "/create cave other x");
    world.say(first, "/join den no");
    world.say(first, "/quit");
    let second = world.user_at("second", HERE);
    world.answers(second, "/join cave no", &[WRONG]);
    let third = world.user_at("third", "::ffff:192.0.2.1");
    world.answers(third, "/join den no", &[WRONG]);
    is_locked_out(&mut world, second, 60);
    is_locked_out(&mut world, third, 60);
    assert_ne!(world.answer(second, "/join cave other")[0], "Joined lobby 'cave'");
}

#[test]
fn other_addresses_are_not_affected() {
    let mut world = den();
    let mallory = world.user_at("mallory", HERE);
    for _ in 0..4 {
        world.say(mallory, "/join den no");
    }
    let alice = world.user_at("alice", "192.0.2.2");
    world.answers(alice, "/join den no", &[WRONG]);
    assert_eq!(world.answer(alice, "/join den pw")[0], "Joined lobby 'den'");
}

#[test]
fn public_lobbies_may_be_joined_while_locked_out() {
    let mut world = den();
    let id = world.user_at("mallory", HERE);
    world.say(id, "/create open x");
    for _ in 0..3 {
        world.say(id, "/join den no");
    }
    world.clear();
    assert_eq!(world.answer(id, "/join open")[0], "Joined lobby 'open'");
}

#[test]
fn wrong_passwords_are_forgotten_after_a_minute() {
    let mut world = den();
    let id = world.user_at("forgetful", HERE);
    for _ in 0..6 {
        world.answers(id, "/join den no", &[WRONG]);
        world.advance_secs(30);
    }
    assert_eq!(world.answer(id, "/join den pw")[0], "Joined lobby 'den'");
}

#[test]
fn checks_under_way_at_once_tell_no_more_than_three_answers() {
    let mut world = den();
    let ids: Vec<_> = (0..6).map(|n| world.user_at(&format!("user{n}"), HERE)).collect();
    world.hold = true;
    for (n, id) in ids.iter().enumerate() {
        // The last one is right, but comes too late.
        world.say(*id, if n == 5 { "/join den pw" } else { "/join den no" });
    }
    world.release();
    for (n, id) in ids.iter().enumerate() {
        let seen = world.seen(*id);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0] == WRONG, n < 3, "{seen:?}");
    }
    assert_eq!(world.chat.counts().users, 7);
    assert_eq!(world.answer(ids[5], "/users")[0], "=== Users in 'general' (7) ===");
}

#[test]
fn the_lock_out_ends_though_tries_go_on() {
    let mut world = den();
    let id = world.user_at("mallory", HERE);
    for _ in 0..3 {
        world.say(id, "/join den no");
    }
    for _ in 0..59 {
        world.advance_secs(1);
        world.say(id, "/join den no");
    }
    world.advance_secs(1);
    world.clear();
    assert_eq!(world.answer(id, "/join den pw")[0], "Joined lobby 'den'");
}

#[test]
fn asking_without_a_password_is_not_a_wrong_one() {
    let mut world = den();
    let id = world.user_at("alice", HERE);
    for _ in 0..5 {
        world.say(id, "/join den");
    }
    world.clear();
    assert_eq!(world.answer(id, "/join den pw")[0], "Joined lobby 'den'");
}
