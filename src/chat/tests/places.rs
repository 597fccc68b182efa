//! A thousand lobbies: which of them gives place to one more.

use super::*;

fn names(world: &World) -> Vec<String> {
    world.chat.lobbies.iter().map(|lobby| lobby.name.to_string()).collect()
}

/// Fills all places but one: five lobbies of each of 199 addresses, and three of the last.
fn filled() -> (World, ConnId) {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create club no-pass for the club");
    world.say(alice, "/join club");
    world.say(alice, "hello");
    for maker in 0..200 {
        let id = world.user(&format!("maker{maker}"));
        for n in 0..if maker < 199 { 5 } else { 2 } {
            world.say(id, &format!("/create x{maker}-{n} no-pass mine"));
        }
    }
    world.clear();
    (world, alice)
}

#[test]
fn an_empty_lobby_of_who_made_most_gives_place_and_the_oldest_of_them() {
    let (mut world, alice) = filled();
    assert_eq!(world.chat.lobbies.len(), 999);
    let bob = world.user("bob");
    world.answers(bob, "/create den x", &["Created public lobby 'den'. Use /join den to enter."]);
    assert_eq!(world.chat.lobbies.len(), 1000);
    // Bob's own is one of one, and the first maker has five.
    world.answers(
        bob,
        "/create den2 x",
        &["Created public lobby 'den2'. Use /join den2 to enter."],
    );
    assert!(!names(&world).contains(&"x0-0".to_owned()));
    world.say(bob, "/create den3 x");
    let left = names(&world);
    assert!(!left.contains(&"x1-0".to_owned()) && left.contains(&"x0-1".to_owned()));
    assert!(["club", "den", "den2", "den3"].iter().all(|name| left.contains(&(*name).to_owned())));
    // One with people in it stays, and so does one that was left, as long as there are unused ones.
    world.say(alice, "/join general");
    for n in 0..60 {
        let id = world.user(&format!("late{n}"));
        world.say(id, &format!("/create late{n} x"));
    }
    assert!(names(&world).contains(&"club".to_owned()));
    assert_eq!(world.chat.lobbies.len(), 1000);
}

#[test]
fn of_those_in_which_somebody_spoke_the_one_left_longest_ago_gives_place() {
    let (mut world, _) = filled();
    let walker = world.user("walker");
    for name in names(&world).into_iter().filter(|name| name.starts_with('x')) {
        world.advance_ms(10);
        world.packet(walker, &[&format!("/join {name}"), "hello"]);
    }
    let bob = world.user("bob");
    world.say(bob, "/create den x");
    world.say(bob, "/join den");
    world.say(bob, "hello");
    world.clear();
    let first = names(&world).into_iter().find(|name| name.starts_with('x')).unwrap();
    let carol = world.user("carol");
    world.answers(carol, "/create new x", &["Created public lobby 'new'. Use /join new to enter."]);
    assert!(!names(&world).contains(&first));
    assert!(names(&world).contains(&"club".to_owned()));
}

#[test]
fn when_somebody_is_in_each_of_them_there_is_no_place() {
    let (mut world, _) = filled();
    for (n, name) in names(&world).into_iter().filter(|name| name.starts_with('x')).enumerate() {
        let id = world.user(&format!("guest{n}"));
        world.say(id, &format!("/join {name}"));
    }
    let bob = world.user("bob");
    world.say(bob, "/create den x");
    world.say(bob, "/join den");
    world.clear();
    let told = "There are too many lobbies, and somebody is in each of them. Try again later.";
    world.answers(bob, "/create new x", &[told]);
    world.answers(bob, "/create new pw x", &[told]);
}
