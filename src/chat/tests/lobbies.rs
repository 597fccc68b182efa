//! Making, listing, changing and removing lobbies.

use super::*;

const EXISTS: &str = "Lobby already exists";

/// Whether `/lobbies` has this line.
fn listed(world: &mut World, id: ConnId, line: &str) -> bool {
    world.clear();
    world.answer(id, "/lobbies").iter().any(|listed| listed == line)
}

fn exists(world: &mut World, id: ConnId, name: &str) -> bool {
    listed(world, id, &format!("Lobby: {name}"))
}

fn succeeded(answer: &[String]) -> bool {
    answer.iter().any(|line| line.starts_with("Created "))
}

#[test]
fn lobbies_are_listed_with_general_first_and_then_by_name() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create zoo no-pass animals, all of them");
    world.say(alice, "/create Den pw a den");
    world.say(bob, "/create attic \"\"");
    world.say(alice, "/join Den pw");
    world.say(alice, "/setai be brief");
    world.clear();
    let seen = world.answer(bob, "/lobbies");
    assert_eq!(
        seen[..3],
        [
            "=== Available Lobbies (4) ===",
            "Lobby: general",
            "  Privacy: public | AI: default AI | Created by: server | Users: 1",
        ]
    );
    assert!(seen[3].starts_with("  Description: "), "{seen:?}");
    assert_eq!(
        seen[4..],
        [
            "Lobby: attic",
            "  Privacy: public | AI: default AI | Created by: bob | Users: 0",
            "  Description: No description",
            "Lobby: Den",
            "  Privacy: private | AI: custom AI | Created by: alice",
            "  Description: a den",
            "Lobby: zoo",
            "  Privacy: public | AI: default AI | Created by: alice | Users: 0",
            "  Description: animals, all of them",
        ]
    );
    // How many are in a private one is for those who are.
    let row = "  Privacy: private | AI: custom AI | Created by: alice | Users: 1";
    assert!(listed(&mut world, alice, row));
}

#[test]
fn listings_look_for_a_word_and_are_short() {
    let mut world = World::new();
    let bob = world.user("bob");
    for n in 0..60 {
        let id = world.user(&format!("user{n}"));
        let text = "🔥".repeat(200);
        world.say(id, &format!("/create lobby{n} no-pass {text}"));
        world.say(id, &format!("/create hidden{n} pw {text}"));
        if n == 59 {
            world.say(id, "/join lobby59");
        } else {
            world.say(id, &format!("/join hidden{n} pw"));
        }
    }
    world.clear();
    world.say(bob, "/lobbies");
    let raw = world.raw(bob);
    assert!(raw.len() <= 16 * 1024, "{}", raw.len());
    let seen = plain(&raw);
    let names: Vec<_> = seen.lines().filter_map(|line| line.strip_prefix("Lobby: ")).collect();
    // Where people can be seen comes first, and where they cannot, that there are some tells nothing.
    assert_eq!(names[..3], ["general", "lobby59", "hidden0"]);
    let left = 121 - names.len();
    let more = format!("… and {left} more: /lobbies <word> looks for one\n");
    assert!(seen.contains(&more), "{seen}");
    let one = world.answer(bob, "/lobbies BBY42");
    assert_eq!(one[..2], ["=== Lobbies with 'BBY42' (1) ===", "Lobby: lobby42"]);
    assert_eq!(world.answer(bob, "/lobbies nothing"), ["=== Lobbies with 'nothing' (0) ==="]);
    assert_eq!(world.answer(bob, "/users BO")[..1], ["=== Users in 'general' with 'BO' (1) ==="]);
}

#[test]
fn two_arguments_make_a_public_lobby() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let reply = "Created public lobby 'coding'. Use /join coding to enter.";
    world.answers(alice, "/create coding talk", &[reply]);
    assert!(listed(&mut world, bob, "  Description: talk"));
    assert_eq!(world.answer(bob, "/join coding")[0], "Joined lobby 'coding'");
}

#[test]
fn creating_does_not_move_the_creator_and_nobody_else_is_told() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create coding talk");
    world.say(alice, "/create den pw talk");
    world.sees(bob, &[]);
    world.clear();
    assert_eq!(world.answer(alice, "/users")[0], "=== Users in 'general' (2) ===");
}

#[test]
fn three_arguments_make_a_private_lobby() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let reply = "Created private lobby 'secret'. Use /join secret <password> to enter.";
    world.answers(
        alice,
        "/create secret pw for the few",
        &["'pw' is the password. For a public lobby: /create secret no-pass <desc>", reply],
    );
    assert!(listed(&mut world, bob, "  Description: for the few"));
    let private = "Lobby 'secret' is private. Use /join secret <password>";
    world.answers(bob, "/join secret", &[private]);
    assert_eq!(world.answer(bob, "/join secret pw")[0], "Joined lobby 'secret'");
}

#[test]
fn the_password_no_pass_or_an_empty_one_makes_a_public_lobby() {
    let mut world = World::new();
    let alice = world.user("alice");
    for (name, password) in [("one", "no-pass"), ("two", "\"\"")] {
        let reply = format!("Created public lobby '{name}'. Use /join {name} to enter.");
        world.answers(alice, &format!("/create {name} {password} some text"), &[&reply]);
        assert!(listed(&mut world, alice, "  Description: some text"));
    }
}

#[test]
fn a_quoted_password_may_hold_spaces() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let reply = "Created private lobby 'den'. Use /join den <password> to enter.";
    world.answers(
        alice,
        "/create den \"two  words\" a den",
        &["'two  words' is the password. For a public lobby: /create den no-pass <desc>", reply],
    );
    assert!(listed(&mut world, alice, "  Description: a den"));
    assert_eq!(world.answer(bob, "/join den \"two  words\"")[0], "Joined lobby 'den'");
    world.say(bob, "/join general");
    world.clear();
    assert_eq!(world.answer(bob, "/join den two  words")[0], "Joined lobby 'den'");
}

#[test]
fn a_lobby_name_follows_the_rule_of_names_with_up_to_32_characters() {
    let mut world = World::new();
    for (name, good) in [
        ("x", false),
        ("xy", true),
        (&*"x".repeat(32), true),
        (&*"x".repeat(33), false),
        ("a.b", false),
        ("ünder", false),
        ("A-b_9", true),
    ] {
        let id = world.stranger();
        world.say(id, &format!("user{}", world.strangers));
        world.clear();
        assert_eq!(succeeded(&world.answer(id, &format!("/create {name} text"))), good, "{name}");
        world.say(id, "/quit");
    }
}

#[test]
fn a_lobby_name_is_unique_without_regard_to_case() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create Coding talk");
    for line in ["/create CODING x", "/create coding pw x", "/create General x"] {
        world.answers(bob, line, &[EXISTS]);
    }
}

#[test]
fn a_description_has_at_most_200_characters() {
    let mut world = World::new();
    let alice = world.user("alice");
    assert!(succeeded(&world.answer(alice, &format!("/create one {}", "é".repeat(200)))));
    for line in
        [format!("/create two {}", "é".repeat(201)), format!("/create two pw {}", "é".repeat(201))]
    {
        let refusal = world.answer(alice, &line);
        assert!(refusal.len() == 1 && !succeeded(&refusal), "{refusal:?}");
    }
    assert!(!exists(&mut world, alice, "two"));
}

#[test]
fn a_password_of_72_bytes_is_kept_whole_and_a_longer_one_refused() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for long in ["x".repeat(73), "é".repeat(37)] {
        let refusal = world.answer(alice, &format!("/create den {long} text"));
        assert!(refusal.len() == 1 && !succeeded(&refusal), "{refusal:?}");
    }
    let password = "é".repeat(36);
    assert!(succeeded(&world.answer(alice, &format!("/create den {password} text"))));
    let wrong = format!("/join den {}è", "é".repeat(35));
    world.answers(bob, &wrong, &["Incorrect password for private lobby"]);
    assert_ne!(world.answer(bob, &format!("/join den {password}x"))[0], "Joined lobby 'den'");
    assert_eq!(world.answer(bob, &format!("/join den {password}"))[0], "Joined lobby 'den'");
}

#[test]
fn an_address_makes_at_most_five_lobbies_also_when_their_creators_left() {
    let mut world = World::new();
    let alice = world.user_at("alice", "192.0.2.1");
    for n in 0..3 {
        assert!(succeeded(&world.answer(alice, &format!("/create a{n} x"))));
    }
    world.say(alice, "/quit");
    let bob = world.user_at("bob", "192.0.2.1");
    for n in 3..5 {
        assert!(succeeded(&world.answer(bob, &format!("/create a{n} pw x"))));
    }
    for line in ["/create a5 x", "/create a5 pw x"] {
        assert!(!succeeded(&world.answer(bob, line)));
    }
    let mapped = world.user_at("carol", "::ffff:192.0.2.1");
    assert!(!succeeded(&world.answer(mapped, "/create a5 x")));
    let other = world.user_at("dave", "192.0.2.2");
    assert!(succeeded(&world.answer(other, "/create a5 x")));
}

#[test]
fn an_ipv6_network_is_one_address() {
    let mut world = World::new();
    for n in 0..5 {
        let id = world.user_at(&format!("user{n}"), &format!("2001:db8:1:2::{n}"));
        assert!(succeeded(&world.answer(id, &format!("/create a{n} x"))));
    }
    let same = world.user_at("same", "2001:db8:1:2:ffff::1");
    assert!(!succeeded(&world.answer(same, "/create a5 x")));
    let other = world.user_at("other", "2001:db8:1:3::1");
    assert!(succeeded(&world.answer(other, "/create a5 x")));
}

#[test]
fn a_removed_lobby_no_longer_counts_against_its_address() {
    let mut world = World::new();
    let alice = world.user("alice");
    for n in 0..5 {
        world.say(alice, &format!("/create a{n} x"));
    }
    world.advance_secs(7200);
    world.clear();
    for n in 0..5 {
        assert!(succeeded(&world.answer(alice, &format!("/create b{n} x"))));
    }
}

#[test]
fn there_are_at_most_a_thousand_lobbies_and_their_listing_drops_nobody() {
    let mut world = World::new();
    let mut last = None;
    for n in 0..200 {
        let id = world.user(&format!("user{n}"));
        for m in 0..5 {
            let made = world.answer(id, &format!("/create l{n}-{m} {}", "🔥".repeat(200)));
            // The thousand includes general: the last of them is made in the place of another.
            assert!(succeeded(&made), "{made:?}");
        }
        last = Some(id);
    }
    let last = last.unwrap();
    let listed = world.answer(last, "/lobbies");
    assert_eq!(listed[0], "=== Available Lobbies (1000) ===");
    assert!(!world.seen(last).iter().any(|line| line.contains("left out")));
}

#[test]
fn of_two_who_make_the_same_lobby_at_once_the_second_is_refused() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.hold = true;
    world.say(alice, "/create den one of alice");
    world.say(bob, "/create DEN two of bob");
    world.clear();
    world.release();
    let made = "Created private lobby 'den'. Use /join den <password> to enter.";
    world.sees(alice, &[made]);
    world.sees(bob, &[EXISTS]);
    world.answers(bob, "/join den two", &["Incorrect password for private lobby"]);
    assert_eq!(world.answer(bob, "/join den one")[0], "Joined lobby 'den'");
}

#[test]
fn a_lobby_made_in_the_meantime_is_found_after_hashing() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.hold = true;
    world.say(alice, "/create den pw of alice");
    world.clear();
    assert!(succeeded(&world.answer(bob, "/create den bobs")));
    world.release();
    world.sees(alice, &[EXISTS]);
    assert!(listed(&mut world, bob, "  Description: bobs"));
}

#[test]
fn the_bound_of_an_address_holds_for_lobbies_made_at_once() {
    let mut world = World::new();
    let ids: Vec<_> = (0..7).map(|n| world.user_at(&format!("user{n}"), "192.0.2.1")).collect();
    world.hold = true;
    for (n, id) in ids.iter().enumerate() {
        world.say(*id, &format!("/create a{n} pw x"));
    }
    world.release();
    let made = ids.iter().filter(|id| succeeded(&world.seen(**id))).count();
    assert_eq!((made, world.chat.counts().lobbies), (5, 6));
}

#[test]
fn a_lobby_is_not_made_for_somebody_who_left_while_its_password_was_hashed() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.hold = true;
    world.say(alice, "/create den pw x");
    world.lose(alice);
    world.release();
    assert!(!exists(&mut world, bob, "den"));
}

#[test]
fn the_creator_sets_the_prompt_and_the_lobby_is_told() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create coding talk");
    let bob = world.user_in("bob", "coding");
    world.say(alice, "/join coding");
    world.clear();
    let told = "[LOBBY] alice updated the AI prompt";
    world.answers(alice, "/setai You are terse.", &["AI prompt updated!", told]);
    world.sees(bob, &[told]);
    let row = "  Privacy: public | AI: custom AI | Created by: alice | Users: 2";
    assert!(listed(&mut world, bob, row));
    world.answers(alice, "/setai DEFAULT", &["AI prompt updated!", told]);
    let row = "  Privacy: public | AI: default AI | Created by: alice | Users: 2";
    assert!(listed(&mut world, bob, row));
}

#[test]
fn a_prompt_has_at_most_2000_characters() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    world.clear();
    let answer = world.answer(alice, &format!("/setai {}", "é".repeat(2000)));
    assert_eq!(answer[0], "AI prompt updated!");
    let refusal = world.answer(alice, &format!("/setai {}", "é".repeat(2001)));
    assert!(refusal.len() == 1 && refusal[0] != "AI prompt updated!", "{refusal:?}");
}

#[test]
fn only_the_creator_sets_the_prompt_and_nobody_in_general() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create coding talk");
    let bob = world.user_in("bob", "coding");
    let refusal = world.answer(bob, "/setai hijacked");
    assert!(refusal.len() == 1 && refusal[0] != "AI prompt updated!", "{refusal:?}");
    let refusal = world.answer(alice, "/setai of general");
    assert!(refusal.len() == 1 && refusal[0] != "AI prompt updated!", "{refusal:?}");
    let listing = world.answer(alice, "/lobbies");
    assert!(!listing.concat().contains("custom AI"));
}

#[test]
fn the_creator_is_the_session_and_not_whoever_has_the_name_later() {
    let mut world = World::new();
    let alice = world.user_at("alice", "192.0.2.1");
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    let bob = world.user_in("bob", "coding");
    world.say(alice, "/quit");
    // The same name, address and slot, but another session.
    let again = world.user_at("alice", "192.0.2.1");
    assert_eq!(again.slot(), alice.slot());
    world.say(again, "/join coding");
    world.clear();
    let refusal = world.answer(again, "/setai hijacked");
    assert!(refusal.len() == 1 && refusal[0] != "AI prompt updated!", "{refusal:?}");
    world.sees(bob, &[]);
}

#[test]
fn an_empty_lobby_is_removed_after_two_hours_and_its_name_is_free() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw first");
    world.say(alice, "/join den pw");
    world.say(alice, "/setai be rude");
    world.say(alice, "old words");
    world.say(alice, "/join general");
    world.advance_secs(7199);
    assert!(exists(&mut world, bob, "den"));
    world.advance_secs(1);
    assert!(!exists(&mut world, bob, "den"));
    world.answers(bob, "/join den pw", &["Lobby does not exist: den."]);
    assert!(succeeded(&world.answer(bob, "/create den second")));
    let row = "  Privacy: public | AI: default AI | Created by: bob | Users: 0";
    assert!(listed(&mut world, bob, row));
    world.answers(
        alice,
        "/join den",
        &["Joined lobby 'den'", "[LOBBY] alice has joined the lobby"],
    );
}

#[test]
fn a_lobby_that_nobody_ever_entered_is_removed_too() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den x");
    world.advance_secs(7200);
    assert!(!exists(&mut world, alice, "den"));
}

#[test]
fn a_lobby_with_somebody_in_it_stays() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den x");
    world.advance_secs(7000);
    world.say(alice, "/join den");
    world.advance_secs(100_000);
    assert!(exists(&mut world, alice, "den"));
    // It is empty from now on, whichever way it was left.
    world.lose(alice);
    let bob = world.user("bob");
    world.advance_secs(7199);
    assert!(exists(&mut world, bob, "den"));
    world.advance_secs(1);
    assert!(!exists(&mut world, bob, "den"));
}

#[test]
fn general_stays_for_ever() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/quit");
    world.advance_secs(1_000_000);
    let bob = world.user("bob");
    assert!(exists(&mut world, bob, "general"));
    assert_eq!(world.answer(bob, "/users")[0], "=== Users in 'general' (1) ===");
}
