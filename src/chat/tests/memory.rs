//! What the chat does without while memory is short, and what it forgets to make room.

use super::*;
use crate::chat::assistant::AssistantSettings;

const SHORT: &str = "The server is short of memory. Try again later.";

#[test]
fn while_memory_is_short_there_are_no_new_lobbies_and_prompts() {
    let mut world = World::with(|settings| {
        let model = "some-model".to_owned();
        settings.assistant =
            Some(AssistantSettings { model, questions_per_hour: 1, questions_per_day: 0 });
    });
    let alice = world.user("alice");
    world.say(alice, "/create den x");
    world.say(alice, "/join den");
    world.clear();
    world.chat.set_short_of_memory(true);
    world.answers(alice, "/create other x", &[SHORT]);
    world.answers(alice, "/create other s3cret x", &[SHORT]);
    world.answers(alice, "/setai be brief", &[SHORT]);
    world.answers(alice, "/ai why?", &[SHORT]);
    // What frees something, or takes nothing, still works.
    world.answers(
        alice,
        "/setai default",
        &["AI prompt updated!", "[LOBBY] alice updated the AI prompt"],
    );
    world.say(alice, "hi");
    assert_eq!(world.seen(alice), message("alice", "hi"));
    world.chat.set_short_of_memory(false);
    world.say(alice, "/setai be brief");
    world.clear();
    world.say(alice, "/ai why?");
    assert_eq!(world.asked.len(), 1, "a question that was refused did not count");
    world.clear();
    let created = "Created public lobby 'other'. Use /join other to enter.";
    world.answers(alice, "/create other x", &[created]);
}

#[test]
fn who_remembers_most_forgets_the_older_half() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(bob, "/create den x");
    world.say(bob, "/join den");
    for n in 0..10 {
        world.say(alice, &format!("a long enough word {n}"));
    }
    world.say(bob, "short");
    world.clear();
    assert!(world.chat.forget_half(world.now));
    assert_eq!(world.chat.counts().messages, 5 + 1);
    world.say(bob, "/join general");
    let seen = world.seen(bob).concat();
    assert!(
        seen.contains("word 9") && seen.contains("word 5") && !seen.contains("word 4"),
        "{seen}"
    );
    while world.chat.forget_half(world.now) {}
    let counts = world.chat.counts();
    assert_eq!((counts.messages, counts.timers), (0, 1), "only the removal of den is due");
}
