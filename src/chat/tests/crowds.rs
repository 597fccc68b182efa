//! Many who come and go at once in a large lobby.

use super::*;

/// A lobby of so many, and the first of them, who watches.
fn lobby_of(members: usize) -> (World, ConnId, Vec<ConnId>) {
    let mut world = World::new();
    let ids: Vec<_> = (0..members).map(|n| world.user(&format!("old{n:02}"))).collect();
    world.advance_secs(10);
    world.clear();
    let watcher = ids[0];
    (world, watcher, ids)
}

fn arrive(world: &mut World, name: &str) -> ConnId {
    let id = world.stranger();
    world.say(id, name);
    id
}

fn joined(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("[LOBBY] {name} has joined the lobby")).collect()
}

fn left(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("[LOBBY] {name} has left the lobby")).collect()
}

#[test]
fn a_small_lobby_is_told_of_everybody_at_once() {
    let (mut world, watcher, ids) = lobby_of(30);
    let names: Vec<_> = (0..20).map(|n| format!("new{n}")).collect();
    for name in &names {
        arrive(&mut world, name);
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(world.seen(watcher), joined(&names));
    for id in &ids[10..20] {
        world.lose(*id);
    }
    assert_eq!(world.seen(watcher).len(), 10);
}

#[test]
fn after_five_arrivals_the_rest_of_the_second_is_one_line() {
    let (mut world, watcher, _) = lobby_of(51);
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        arrive(&mut world, name);
        assert_eq!(world.seen(watcher), joined(&[name]));
        world.advance_ms(50);
    }
    for n in 0..39 {
        arrive(&mut world, &format!("b{n:02}"));
        world.advance_ms(10);
    }
    world.sees(watcher, &[]);
    world.advance_ms(359);
    world.sees(watcher, &[]);
    world.advance_ms(1);
    world.sees(watcher, &["[LOBBY] b00, b01 and 37 others have joined the lobby"]);
    // A new second begins.
    arrive(&mut world, "later");
    assert_eq!(world.seen(watcher), joined(&["later"]));
}

#[test]
fn after_five_departures_the_rest_of_the_second_is_one_line() {
    let (mut world, watcher, ids) = lobby_of(70);
    for id in &ids[1..=5] {
        world.say(*id, "/quit");
    }
    assert_eq!(world.seen(watcher), left(&["old01", "old02", "old03", "old04", "old05"]));
    world.lose(ids[6]);
    world.handle(Event::EndOfInput { id: ids[7] });
    world.sees(watcher, &[]);
    world.advance_secs(1);
    world.sees(watcher, &["[LOBBY] old06 and old07 have left the lobby"]);
}

#[test]
fn one_alone_at_the_end_of_a_crowd_is_told_like_any_other() {
    let (mut world, watcher, _) = lobby_of(51);
    for name in ["n1", "n2", "n3", "n4", "n5", "last"] {
        arrive(&mut world, name);
    }
    world.clear();
    world.advance_secs(1);
    assert_eq!(world.seen(watcher), joined(&["last"]));
}

#[test]
fn the_newcomers_of_a_crowd_are_told_and_count_as_told() {
    let (mut world, watcher, _) = lobby_of(51);
    let crowd: Vec<_> = (0..15).map(|n| arrive(&mut world, &format!("new{n:02}"))).collect();
    world.clear();
    world.advance_secs(1);
    let line = "[LOBBY] new05, new06 and 8 others have joined the lobby";
    world.sees(watcher, &[line]);
    world.sees(crowd[14], &[line]);
    world.say(crowd[14], "/quit");
    assert_eq!(world.seen(watcher), left(&["new14"]));
}

#[test]
fn a_newcomer_in_a_crowd_is_told_of_its_own_arrival_at_once() {
    let (mut world, watcher, ids) = lobby_of(51);
    for n in 0..6 {
        arrive(&mut world, &format!("new{n}"));
    }
    let late = world.stranger();
    world.clear();
    world.say(late, "late");
    let seen = world.seen(late);
    assert_eq!(seen[0], "[LOBBY] late has joined the lobby");
    assert!(seen[1].starts_with("57 others are here: old00, ") && seen.len() == 2, "{seen:?}");
    world.sees(watcher, &[]);
    world.advance_secs(1);
    world.sees(watcher, &["[LOBBY] new5 and late have joined the lobby"]);
    // Of one who went and came back before anybody was told the others hear nothing.
    world.say(ids[9], "/create den x");
    for id in &ids[1..=6] {
        world.say(*id, "/join den");
    }
    world.clear();
    world.say(ids[6], "/join general");
    assert_eq!(
        world.seen(ids[6])[..2],
        ["Joined lobby 'general'", "[LOBBY] old06 has joined the lobby"]
    );
    world.advance_secs(2);
    world.sees(watcher, &[]);
}

#[test]
fn a_newcomer_in_a_crowd_has_a_prompt_at_once() {
    let (mut world, _, _) = lobby_of(51);
    let crowd: Vec<_> = (0..15).map(|n| arrive(&mut world, &format!("new{n:02}"))).collect();
    assert!(world.raw(crowd[14]).ends_with(PROMPT));
}

#[test]
fn one_who_came_and_went_before_anybody_was_told_is_not_mentioned() {
    let (mut world, watcher, _) = lobby_of(51);
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        arrive(&mut world, name);
    }
    let ghost = arrive(&mut world, "ghost");
    arrive(&mut world, "stays");
    world.clear();
    world.lose(ghost);
    world.advance_secs(2);
    assert_eq!(world.seen(watcher), joined(&["stays"]));
}

#[test]
fn one_who_takes_the_name_of_somebody_just_gone_is_told() {
    let (mut world, watcher, ids) = lobby_of(80);
    for id in &ids[1..=7] {
        world.lose(*id);
    }
    world.clear();
    // Another connection from another address: not the one that left, though the name is the same.
    let other = arrive(&mut world, "old07");
    world.advance_secs(2);
    for id in [watcher, other] {
        let seen = world.seen(id);
        assert!(seen.contains(&joined(&["old07"])[0]), "{seen:?}");
    }
}

#[test]
fn a_steady_trickle_is_told_one_by_one() {
    let (mut world, watcher, _) = lobby_of(51);
    for n in 0..40 {
        let name = format!("new{n}");
        arrive(&mut world, &name);
        assert_eq!(world.seen(watcher), joined(&[&name]));
        world.advance_ms(250);
    }
}

#[test]
fn arrivals_and_departures_are_counted_apart() {
    let (mut world, watcher, ids) = lobby_of(70);
    for n in 0..5 {
        arrive(&mut world, &format!("new{n}"));
        world.say(ids[n + 1], "/quit");
    }
    assert_eq!(world.seen(watcher).len(), 10);
}

#[test]
fn the_end_of_the_arrivals_second_does_not_end_that_of_the_departures() {
    let (mut world, watcher, ids) = lobby_of(80);
    for n in 0..7 {
        arrive(&mut world, &format!("new{n}"));
    }
    world.advance_ms(900);
    for id in &ids[1..=6] {
        world.lose(*id);
    }
    world.clear();
    world.advance_ms(200);
    // The departures' second began 200 ms ago, and five were told in it.
    world.lose(ids[7]);
    let seen = world.seen(watcher);
    assert_eq!(seen, ["[LOBBY] new5 and new6 have joined the lobby"]);
    world.advance_ms(800);
    world.sees(watcher, &["[LOBBY] old06 and old07 have left the lobby"]);
}

#[test]
fn the_end_of_the_arrivals_second_does_not_allow_more_departures_one_by_one() {
    let (mut world, watcher, ids) = lobby_of(80);
    for n in 0..6 {
        arrive(&mut world, &format!("new{n}"));
    }
    world.advance_ms(900);
    for id in &ids[1..=5] {
        world.lose(*id);
    }
    world.advance_ms(200);
    world.clear();
    for id in &ids[6..=9] {
        world.lose(*id);
    }
    world.sees(watcher, &[]);
    world.advance_ms(800);
    world.sees(watcher, &["[LOBBY] old06, old07 and 2 others have left the lobby"]);
}

#[test]
fn the_mover_in_a_crowd_still_hears_where_they_are() {
    let (mut world, watcher, ids) = lobby_of(60);
    world.say(watcher, "/create den x");
    world.clear();
    for id in &ids[1..=7] {
        world.raw(*id);
        assert_eq!(world.answer(*id, "/join den")[0], "Joined lobby 'den'");
    }
    assert_eq!(world.seen(watcher).len(), 5);
    world.advance_secs(1);
    world.sees(watcher, &["[LOBBY] old06 and old07 have left the lobby"]);
}
