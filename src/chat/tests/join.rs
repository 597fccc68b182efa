//! Moving from one lobby to another.

use super::*;

#[test]
fn joining_is_told_to_the_lobby_left_and_the_one_entered() {
    let mut world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.user(name));
    world.say(alice, "/create Coding talk");
    let carol = world.user_in("carol", "coding");
    world.answers(
        alice,
        "/JOIN cOdInG",
        &["Joined lobby 'Coding'", "[LOBBY] alice has joined the lobby", "1 other is here: carol"],
    );
    world.sees(bob, &["[LOBBY] alice has left the lobby"]);
    world.sees(carol, &["[LOBBY] alice has joined the lobby"]);
}

#[test]
fn a_newcomer_is_told_who_is_there_by_name_as_far_as_a_row_goes() {
    let mut world = World::new();
    let others = |world: &mut World, name: &str| {
        let id = world.stranger();
        world.clear();
        let seen = world.answer(id, name);
        assert!(world.raw(id).is_empty() && seen.len() <= 2, "{seen:?}");
        seen.get(1).cloned().unwrap_or_default()
    };
    assert_eq!(others(&mut world, "dave"), "");
    assert_eq!(others(&mut world, "Bob"), "1 other is here: dave");
    assert_eq!(others(&mut world, "erin"), "2 others are here: Bob, dave");
    assert_eq!(others(&mut world, "carol"), "3 others are here: Bob, dave, erin");
    for n in 5..=9 {
        others(&mut world, &format!("user{n}"));
    }
    assert_eq!(
        others(&mut world, "user10"),
        "9 others are here: Bob, carol, dave, erin, user5, user6, user7, user8, user9"
    );
    for n in 11..40 {
        others(&mut world, &format!("somebody-{n}"));
    }
    // Those of the first seats; no more than fit into 79 columns with the rest.
    let line = others(&mut world, "last");
    let named = "39 others are here: Bob, carol, dave, erin, user10, user5";
    assert_eq!(line, format!("{named} and 33 more: /users"));
    // Whose name is long is named alone.
    let mut world = World::new();
    for n in 10..30 {
        others(&mut world, &format!("a-name-of-20-chars{n}"));
    }
    assert_eq!(
        others(&mut world, "last"),
        "20 others are here: a-name-of-20-chars10 and 19 more: /users"
    );
}

#[test]
fn a_lobby_that_is_not_there_cannot_be_joined() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.answers(alice, "/join nowhere", &["Lobby does not exist: nowhere."]);
    world.answers(alice, "/join nowhere pw", &["Lobby does not exist: nowhere."]);
    world.say(alice, "/create chess pw x");
    world.clear();
    let ches = "Lobby does not exist: ches. Did you mean chess?";
    world.answers(alice, "/join ches pw", &[ches]);
    world.answers(alice, "/join GENRAL", &["Lobby does not exist: GENRAL. Did you mean general?"]);
    world.sees(bob, &[]);
}

#[test]
fn joining_the_lobby_one_is_in_does_nothing() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.answers(alice, "/join GENERAL", &["You are already in 'general'"]);
    world.say(alice, "/create den pw x");
    world.say(alice, "/join den pw");
    world.clear();
    for line in ["/join den", "/join den pw", "/join den wrong"] {
        world.answers(alice, line, &["You are already in 'den'"]);
    }
    world.sees(bob, &[]);
}

/// The private lobby that somebody remembers may have lapsed, and another have been made under its name
/// by somebody who waits for its former members.
#[test]
fn a_public_lobby_takes_no_password() {
    let mut world = World::new();
    let (alice, spy) = (world.user("alice"), world.user("spy"));
    world.say(spy, "/create coding talk");
    world.clear();
    let told = "'coding' is public now, created by spy. Enter with /join coding.";
    world.answers(alice, "/join Coding secret", &[told]);
    world.answers(alice, "/join coding \"of two words\"", &[told]);
    assert_eq!(world.answer(alice, "/join coding")[0], "Joined lobby 'coding'");
}

#[test]
fn a_wrong_password_leaves_the_user_where_they_are() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw x");
    world.clear();
    world.answers(alice, "/join den PW", &["Incorrect password for private lobby"]);
    world.sees(bob, &[]);
    assert_eq!(world.answer(alice, "/users")[0], "=== Users in 'general' (2) ===");
}

#[test]
fn the_creator_needs_the_password_too() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den pw x");
    world.clear();
    let private = "Lobby 'den' is private. Use /join den <password>";
    world.answers(alice, "/join den", &[private]);
    world.answers(alice, "/join den \"\"", &[private]);
}

#[test]
fn the_lines_of_a_user_wait_while_a_password_is_checked_and_no_others() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw x");
    world.clear();
    world.hold = true;
    world.packet(alice, &["/join den pw", "inside"]);
    world.say(bob, "outside");
    assert_eq!(world.seen(bob), message("bob", "outside"));
    world.release();
    let ([head_out, out], [head_in, inside]) =
        (message("bob", "outside"), message("alice", "inside"));
    world.sees(
        alice,
        &[
            &head_out,
            &out,
            "Joined lobby 'den'",
            "[LOBBY] alice has joined the lobby",
            &head_in,
            &inside,
        ],
    );
    world.sees(bob, &["[LOBBY] alice has left the lobby"]);
}

#[test]
fn a_lobby_removed_while_its_password_was_checked_does_not_exist() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den pw x");
    world.advance_secs(7199);
    world.clear();
    world.hold = true;
    world.say(alice, "/join den pw");
    world.advance_secs(2);
    world.say(alice, "/create den second");
    world.release();
    assert_eq!(world.seen(alice)[0], "Lobby does not exist");
}

#[test]
fn members_of_a_busy_lobby_are_never_mixed_up() {
    let mut world = World::new();
    let ids: Vec<_> = (0..20).map(|n| world.user(&format!("user{n:02}"))).collect();
    world.say(ids[0], "/create den x");
    // Seats are left in every order: first, last, in the middle.
    for n in [0, 19, 7, 8, 18, 1, 3] {
        world.say(ids[n], "/join den");
    }
    world.say(ids[8], "/join general");
    world.say(ids[19], "/quit");
    world.lose(ids[4]);
    world.clear();
    let listed = world.answer(ids[1], "/users");
    let den =
        ["user00", "user01", "user03", "user07", "user18"].map(|name| format!("[@_@] {name}"));
    assert_eq!(listed[1..], den);
    world.say(ids[5], "hello");
    for (n, id) in ids.iter().enumerate() {
        let heard = !world.raw(*id).is_empty();
        assert_eq!(heard, ![0, 1, 3, 4, 7, 18, 19].contains(&n), "{n}");
    }
}
