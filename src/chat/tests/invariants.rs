//! What holds whatever people do: random sessions, checked after every step.

use proptest::prelude::*;

use super::*;
use crate::chat::name::skeleton;
use crate::chat::user::Stage;

/// Lines that touch every command, with few names, so that they meet.
const LINES: &[&str] = &[
    "hello",
    "",
    "/users",
    "/lobbies",
    "/create one x",
    "/create two pw x",
    "/create three pw x",
    "/create four x",
    "/join general",
    "/join one",
    "/join two pw",
    "/join two no",
    "/join three pw",
    "/join four",
    "/msg user1 hi",
    "/tag user2 hi",
    "/setai be kind",
    "/sp cat",
    "/color off",
    "/color on",
    "/quit",
];

#[derive(Debug, Clone)]
enum Step {
    Connect(u8),
    Name(usize, u8),
    Say(usize, usize),
    SayMuch(usize),
    Lose(usize),
    EndOfInput(usize),
    /// Stops reading, or reads again.
    Deaf(usize, bool),
    Wait(u64),
    Hold(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..64;
    prop_oneof![
        3 => (0u8..4).prop_map(Step::Connect),
        4 => (who.clone(), 0u8..12).prop_map(|(who, name)| Step::Name(who, name)),
        12 => (who.clone(), 0..LINES.len()).prop_map(|(who, line)| Step::Say(who, line)),
        2 => who.clone().prop_map(Step::SayMuch),
        1 => who.clone().prop_map(Step::Lose),
        1 => who.clone().prop_map(Step::EndOfInput),
        1 => (who, any::<bool>()).prop_map(|(who, deaf)| Step::Deaf(who, deaf)),
        3 => (0u64..20_000).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Hold),
    ]
}

/// The `n`th of the open connections, round and round.
fn pick(world: &World, n: usize) -> Option<ConnId> {
    let mut open: Vec<_> = world.open.iter().copied().collect();
    open.sort();
    open.get(n % open.len().max(1)).copied()
}

fn take(world: &mut World, step: &Step) {
    match *step {
        Step::Connect(n) => {
            world.connect(&format!("192.0.2.{n}"));
        }
        Step::Wait(ms) => world.advance_ms(ms),
        Step::Hold(true) => world.hold = true,
        Step::Hold(false) => world.release(),
        Step::Name(n, _)
        | Step::Say(n, _)
        | Step::SayMuch(n)
        | Step::Lose(n)
        | Step::EndOfInput(n)
        | Step::Deaf(n, _) => {
            let Some(id) = pick(world, n) else { return };
            match *step {
                Step::Name(_, name) => world.say(id, &format!("user{name}")),
                Step::Say(_, line) => world.say(id, LINES[line]),
                Step::SayMuch(_) => world.packet(id, &[&*"x".repeat(1000); 5]),
                Step::Lose(_) => world.lose(id),
                Step::EndOfInput(_) => world.handle(Event::EndOfInput { id }),
                Step::Deaf(_, true) => {
                    world.deaf.insert(id);
                }
                _ => {
                    world.deaf.remove(&id);
                    world.read(id);
                }
            }
        }
    }
}

fn check(world: &World) {
    let chat = &world.chat;
    let mut named = 0;
    for (id, session) in chat.sessions.iter() {
        assert!(world.open.contains(&id));
        let Stage::Named(user) = &session.stage else { continue };
        named += 1;
        assert_eq!(chat.names.get(&*skeleton(&user.name)), Some(&id));
        let lobby = chat.lobbies.get(user.lobby).expect("everybody is somewhere");
        assert_eq!(lobby.members.get(user.seat), Some(&id), "{} has no seat", user.name);
    }
    // A connection is open exactly as long as its session.
    assert_eq!(chat.sessions.len(), world.open.len());
    assert_eq!((named, chat.counts().users), (chat.names.len(), chat.names.len()));
    let seated = chat.lobbies.iter().map(|lobby| lobby.members.len());
    assert_eq!(seated.sum::<usize>(), named);
    for lobby in chat.lobbies.iter() {
        let waits = lobby.members.is_empty() && &*lobby.name != crate::chat::GENERAL;
        assert_eq!(lobby.removal.is_some(), waits, "{}", lobby.name);
    }
    assert!(chat.timers.len() <= 2 * chat.sessions.len() + 3 * chat.lobbies.len() + 1);
    assert!(chat.requests.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_people_do_the_tables_agree(
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let mut world = World::with(|settings| {
            settings.messages_per_window = 5;
            settings.history_age = Duration::from_secs(30);
            settings.lobby_ttl = Duration::from_secs(20);
            settings.idle_timeout = Some(Duration::from_secs(90));
        });
        world.out = Outboxes::new(crate::limits::MIN_SEND_QUEUE_BYTES);
        for step in &steps {
            take(&mut world, step);
            check(&world);
        }
        world.advance_secs(10_000);
        prop_assert!(world.open.is_empty() && world.chat.timers.is_empty());
        let counts = world.chat.counts();
        prop_assert_eq!((counts.lobbies, counts.messages, counts.remembered), (1, 0, 0));
    }
}
