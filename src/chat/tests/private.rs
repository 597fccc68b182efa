//! Words to one person: `/msg` and `/tag`.

use super::*;

#[test]
fn a_direct_message_is_seen_by_the_two_of_them_only() {
    let mut world = World::new();
    let [alice, bob, carol] = ["alice", "Bob", "carol"].map(|name| world.user(name));
    world.say(alice, "/msg bob  how are  you?");
    world.sees(alice, &["[DM] You —» Bob", "  ╰─> how are  you?"]);
    world.sees(bob, &["[DM] alice —» You", "  ╰─> how are  you?"]);
    world.sees(carol, &[]);
}

#[test]
fn a_direct_message_works_across_lobbies() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw a den");
    world.say(alice, "/join den pw");
    world.clear();
    world.answers(alice, "/msg BOB hi", &["[DM] You —» bob", "  ╰─> hi"]);
    world.sees(bob, &["[DM] alice —» You", "  ╰─> hi"]);
    world.answers(bob, "/msg alice hello", &["[DM] You —» alice", "  ╰─> hello"]);
    world.sees(alice, &["[DM] bob —» You", "  ╰─> hello"]);
}

#[test]
fn a_direct_message_to_nobody_or_oneself_is_refused() {
    let mut world = World::new();
    let alice = world.user("alice");
    let unnamed = world.stranger();
    world.clear();
    world.answers(alice, "/msg nobody hi", &["User not found: nobody."]);
    // Nobody means oneself.
    world.answers(alice, "/msg alcie hi", &["User not found: alcie."]);
    world.answers(alice, "/msg ALICE hi", &["You cannot message yourself."]);
    assert_eq!(world.raw(unnamed), "");
}

#[test]
fn somebody_who_left_is_not_found() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(bob, "/quit");
    world.clear();
    world.answers(alice, "/msg bob hi", &["User not found: bob."]);
    world.answers(alice, "/tag bob hi", &["User not found: bob."]);
}

#[test]
fn the_nearest_name_is_suggested_first_of_those_in_the_same_lobby() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.user("Marion");
    world.say(alice, "/create den x");
    world.user_in("marlon1", "den");
    world.clear();
    let about = |typed, meant| format!("User not found: {typed}. Did you mean {meant}?");
    world.answers(alice, "/msg marlon hi", &[&about("marlon", "Marion")]);
    world.answers(alice, "/tag MAIRON hi", &[&about("MAIRON", "Marion")]);
    world.say(alice, "/join den");
    world.clear();
    world.answers(alice, "/msg marlon hi", &[&about("marlon", "marlon1")]);
    world.answers(alice, "/msg marino hi", &[&about("marino", "Marion")]);
    let long = "é".repeat(33);
    let cut = format!("User not found: {}….", "é".repeat(32));
    world.answers(alice, &format!("/msg {long} hi"), &[&cut]);
}

#[test]
fn a_tag_in_the_same_lobby_is_said_to_all_and_told_to_the_tagged() {
    let mut world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.user(name));
    world.say(alice, "/tag BOB look here");
    let said = ["[@_@] alice @bob", "  ╰─> look here"];
    world.sees(alice, &said);
    world.sees(carol, &said);
    world.sees(bob, &[said[0], said[1], "✦ alice tagged you"]);
}

#[test]
fn a_tag_from_a_public_lobby_reaches_somebody_elsewhere_with_the_text() {
    let mut world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.user(name));
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    world.say(carol, "/join coding");
    let dave = world.user("dave");
    world.clear();
    world.say(alice, "/tag bob look here");
    let said = ["[@_@] alice @bob", "  ╰─> look here"];
    world.sees(alice, &said);
    world.sees(carol, &said);
    let told = world.seen(bob);
    assert_eq!(told[0], "✦ alice tagged you in 'coding'");
    assert!(told.len() == 2 && told[1].ends_with("look here"), "{told:?}");
    world.sees(dave, &[]);
}

#[test]
fn a_tag_from_a_private_lobby_tells_nobody_elsewhere_anything() {
    let mut world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.user(name));
    world.say(alice, "/create den pw a den");
    for id in [alice, carol] {
        world.say(id, "/join den pw");
    }
    world.clear();
    world.answers(alice, "/tag bob secret plan", &["bob is not in this lobby."]);
    world.sees(bob, &[]);
    world.sees(carol, &[]);
    world.say(bob, "/join den pw");
    assert!(!world.seen(bob).concat().contains("secret plan"));
}

#[test]
fn a_tag_in_a_private_lobby_works_among_its_members() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/create den pw a den");
    for id in [alice, bob] {
        world.say(id, "/join den pw");
    }
    world.clear();
    world.say(alice, "/tag bob hi");
    world.sees(bob, &["[@_@] alice @bob", "  ╰─> hi", "✦ alice tagged you"]);
}

#[test]
fn a_tag_from_elsewhere_is_no_history_of_the_lobby_of_the_tagged() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.user("bob");
    world.say(alice, "/create coding talk");
    world.say(alice, "/join coding");
    world.say(alice, "/tag bob look");
    let carol = world.stranger();
    world.clear();
    let joined = "[LOBBY] carol has joined the lobby";
    world.answers(carol, "carol", &[joined, "1 other is here: bob"]);
}
