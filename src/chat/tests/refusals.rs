//! What is to be logged of those who are refused something.

use super::*;

/// What was to be logged of this address since the last time.
fn noted(world: &mut World, ip: &str) -> Vec<Refusal> {
    let ip: IpAddr = ip.parse().unwrap();
    let refused = std::mem::take(&mut world.refused);
    assert!(refused.iter().all(|(addr, _)| *addr == ip), "{refused:?}");
    refused.into_iter().map(|(_, refusal)| refusal).collect()
}

const IP: &str = "192.0.2.1";

#[test]
fn other_protocols_and_wrong_names() {
    let mut world = World::new();
    for (line, refusal) in [
        ("GET /1.png HTTP/1.1", Refusal::Http),
        ("SSH-2.0-x", Refusal::Ssh),
        ("PROXY UNKNOWN", Refusal::Proxy),
    ] {
        let id = world.connect(IP);
        world.say(id, line);
        assert_eq!(noted(&mut world, IP), [refusal]);
    }
    let id = world.connect(IP);
    world.handle(Event::WrongProtocol { id, protocol: Protocol::Tls });
    assert_eq!(noted(&mut world, IP), [Refusal::Tls]);
    let id = world.connect(IP);
    for _ in 0..4 {
        world.say(id, "x");
    }
    assert_eq!(noted(&mut world, IP), []);
    world.say(id, "x");
    assert_eq!(noted(&mut world, IP), [Refusal::WrongNames]);
}

#[test]
fn wrong_passwords_and_what_comes_after_them() {
    let mut world = World::new();
    let owner = world.user("owner");
    world.say(owner, "/create den right x");
    let member = world.user_at("member", IP);
    for _ in 0..2 {
        world.say(member, "/join den wrong");
    }
    assert_eq!(noted(&mut world, IP), []);
    world.say(member, "/join den wrong");
    assert_eq!(noted(&mut world, IP), [Refusal::WrongPasswords]);
    world.say(member, "/join den right");
    assert_eq!(noted(&mut world, IP), [Refusal::LockedOut]);
    world.advance_secs(60);
    world.say(member, "/join den right");
    assert_eq!(noted(&mut world, IP), []);
    world.hold = true;
    world.say(member, "/create other right x");
    world.handle(Event::Password { id: member, outcome: Outcome::Busy });
    assert_eq!(noted(&mut world, IP), [Refusal::Passwords]);
}

#[test]
fn lobbies_beyond_the_limit() {
    let mut world = World::new();
    let alice = world.user_at("alice", IP);
    for n in 0..5 {
        world.say(alice, &format!("/create lobby{n} x"));
    }
    world.say(alice, "/create lobby0 x");
    assert_eq!(noted(&mut world, IP), []);
    world.say(alice, "/create lobby5 x");
    assert_eq!(noted(&mut world, IP), [Refusal::Lobbies]);
}

#[test]
fn what_an_address_does_too_often() {
    let mut world = World::with(|settings| {
        settings.messages_per_window = 5;
        settings.connections_per_address = 1;
    });
    let (alice, bob) = (world.user_at("alice", IP), world.user_at("bob", IP));
    for _ in 0..3 {
        world.say(alice, "hello");
        world.say(bob, "hello");
    }
    assert_eq!(noted(&mut world, IP), [Refusal::Messages]);
    world.user_at("carol", IP);
    world.user_at("dave", IP);
    assert_eq!(noted(&mut world, IP), [Refusal::LogIns]);
}

#[test]
fn a_flood_is_more_than_a_paste() {
    for line in ["hello", "/users"] {
        let mut world = World::with_rate_limit();
        let alice = world.user_at("alice", IP);
        let room = if line == "hello" { 5 } else { 20 };
        // One is refused at once, twenty more silently.
        for _ in 0..room + 20 {
            world.say(alice, line);
        }
        assert_eq!(noted(&mut world, IP), []);
        for _ in 0..100 {
            world.say(alice, line);
        }
        assert_eq!(noted(&mut world, IP), vec![Refusal::Flood; 5]);
        // Less than two lines a second are none, however long it lasts.
        world.advance_secs(30);
        for _ in 0..600 {
            world.say(alice, "hello");
            world.advance_ms(500);
        }
        assert_eq!(noted(&mut world, IP), []);
    }
}
