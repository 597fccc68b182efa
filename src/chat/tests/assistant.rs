//! Questions to Rox: whose turn it is, what goes along, and what stays of an answer.

use super::*;
use crate::chat::assistant::Answer;
use crate::gemini::{AskError, Cause, Reason};

impl World {
    /// The service answers the oldest question with these lines.
    fn reply(&mut self, lines: &[&str]) {
        let ask = self.asked.remove(0).0;
        for line in lines {
            self.handle(Event::Answer { ask, answer: Answer::Line(line) });
        }
        self.handle(Event::Answer { ask, answer: Answer::Done(None) });
    }

    /// The service fails the oldest question.
    fn fail(&mut self) {
        self.fail_with(&AskError::NoNetwork(Cause::new("unplugged")));
    }

    fn fail_with(&mut self, error: &AskError) {
        let ask = self.asked.remove(0).0;
        self.handle(Event::Answer { ask, answer: Answer::Failed(error) });
    }
}

#[test]
fn the_whole_lobby_sees_question_and_answer() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.clear();
    let question = ["[AI] Thinking...", "[LOBBY] alice asked AI: why?"];
    world.answers(alice, "/ai why?", &question);
    world.sees(bob, &question[1..]);
    world.reply(&["Because.", "", "So."]);
    let answer = ["[AI Response to alice] Rox:", "  │ Because.", "  │ ", "  │ So."];
    world.sees(alice, &answer);
    world.sees(bob, &answer);
}

#[test]
fn a_question_brings_the_last_five_messages_and_the_conversation() {
    let mut world = World::new();
    let alice = world.user("alice");
    (0..7).for_each(|n| world.say(alice, &format!("message-{n}")));
    world.say(alice, "/ai first-question");
    let body = world.asked[0].1.clone();
    assert!(
        !body.contains("message-1") && body.contains("message-2") && body.contains("message-6")
    );
    world.reply(&["first-answer"]);
    world.say(alice, "/ai second-question");
    let body = &world.asked[0].1;
    assert!(body.contains("first-question") && body.contains("first-answer"));
}

#[test]
fn a_failed_question_leaves_no_trace_and_only_the_asker_is_told_why() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/ai doomed-question");
    world.clear();
    world.fail();
    world.sees(alice, &["[AI] The AI cannot be reached. Try again later."]);
    world.sees(bob, &["[LOBBY] Rox could not answer alice"]);
    world.say(alice, "/ai next");
    assert!(!world.asked[0].1.contains("doomed-question"));
    // What was shown is cut short: that tells it. Who is elsewhere hears why, and no more.
    world.say(alice, "/create den x");
    world.say(alice, "/join den");
    let ask = world.asked[0].0;
    world.handle(Event::Answer { ask, answer: Answer::Line("half of it") });
    world.clear();
    world.fail();
    world.sees(bob, &["[AI] (answer cut short)"]);
    world.sees(alice, &["[AI] The AI cannot be reached. Try again later."]);
}

#[test]
fn a_question_that_the_service_fails_does_not_count_and_one_that_is_blocked_does() {
    let mut world = World::new();
    let alice = world.user_at("alice", "192.0.2.1");
    let left = |world: &mut World| {
        world.clear();
        world.answer(alice, "/ai status")[2..4].to_vec()
    };
    let status = |own: u8, address: u8| {
        [
            format!("Your questions: {own} of 20 left this hour"),
            format!("All from your address: {address} of 200 left this hour"),
        ]
    };
    world.say(alice, "/ai one");
    world.reply(&["ok"]);
    world.advance_secs(60);
    (0..2).for_each(|n| world.say(alice, &format!("/ai question {n}")));
    assert_eq!(left(&mut world), status(17, 197));
    // Whoever else asks from the address counts there only, and gets back his own.
    let bob = world.user_at("bob", "192.0.2.1");
    world.say(bob, "/ai three");
    world.advance_secs(60);
    world.fail();
    assert_eq!(left(&mut world), status(18, 197));
    world.fail_with(&AskError::PromptBlocked(Reason::new("SAFETY")));
    assert_eq!(left(&mut world), status(18, 197));
    world.lose(bob);
    world.fail();
    assert_eq!(left(&mut world), status(18, 198));
    // Nothing is left of who asked nothing that counts.
    let counts = world.chat.counts();
    world.advance_secs(3600);
    assert!(counts.remembered > world.chat.counts().remembered);
    world.say(alice, "/ai four");
    world.fail();
    assert_eq!(left(&mut world), status(20, 200));
}

#[test]
fn a_conversation_is_forgotten_after_half_an_hour_and_belongs_to_its_lobby() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/ai remember-this");
    world.reply(&["yes"]);
    world.say(alice, "/create den no-pass x");
    let bob = world.user_in("bob", "den");
    world.say(bob, "/ai what was it?");
    assert!(!world.asked[0].1.contains("remember-this"));
    world.reply(&["no idea"]);
    world.advance_secs(29 * 60);
    world.say(alice, "/ai what was it?");
    assert!(world.asked[0].1.contains("remember-this"));
    world.reply(&["that"]);
    world.advance_secs(30 * 60);
    world.say(alice, "/ai what was it?");
    assert!(!world.asked[0].1.contains("remember-this"));
}

#[test]
fn four_lobbies_are_served_at_once_and_the_others_take_turns() {
    let mut world = World::new();
    let users: Vec<_> = (0..6)
        .map(|n| {
            let maker = world.user(&format!("maker{n}"));
            world.say(maker, &format!("/create lobby{n} x"));
            world.say(maker, &format!("/join lobby{n}"));
            maker
        })
        .collect();
    for user in &users {
        world.say(*user, "/ai one");
        world.say(*user, "/ai two");
    }
    assert_eq!(world.asked.len(), 4);
    world.clear();
    // The fifth lobby is before the first one's second question.
    world.reply(&["done"]);
    assert_eq!(world.seen(users[4])[0], "[AI] Thinking...");
    world.reply(&["done"]);
    assert_eq!(world.seen(users[5])[0], "[AI] Thinking...");
    (0..10).for_each(|_| world.reply(&["done"]));
    assert!(world.asked.is_empty());
    world.clear();
    assert_eq!(
        world.answer(users[5], "/ai status")[5],
        "This lobby: none being answered, 0 waiting"
    );
}

#[test]
fn an_asker_who_is_gone_and_a_lobby_that_is_gone_stop_nobody_elses_turn() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/create den no-pass x");
    world.say(alice, "/join den");
    world.say(alice, "/ai first");
    world.say(alice, "/ai second");
    world.lose(alice);
    world.reply(&["nobody reads this"]);
    assert_eq!(world.asked.len(), 1, "the second question is asked all the same");
    // An answer that outlives its lobby.
    world.advance_secs(7201);
    assert!(world.chat.lobbies.find("den").is_none());
    assert!(world.asked.is_empty(), "nobody waits for the second answer");
    let bob = world.user("bob");
    world.say(bob, "/ai hello");
    world.reply(&["hello"]);
    assert!(world.seen(bob).contains(&"  │ hello".to_owned()));
    world.say(bob, "/quit");
    world.advance_secs(7201);
    assert!(world.chat.timers.is_empty() && world.chat.lobbies.len() == 1);
}

#[test]
fn the_hourly_budget_is_a_true_window_of_a_name_at_an_address() {
    let mut world = World::new();
    let alice = world.user_at("alice", "192.0.2.1");
    for n in 0..20 {
        world.say(alice, &format!("/ai question {n}"));
        world.reply(&["ok"]);
        world.advance_secs(60);
    }
    world.clear();
    let refusal = "[AI] 20 questions an hour are the limit. Ask again in 40 minutes.";
    world.answers(alice, "/ai more", &[refusal]);
    assert_eq!(world.answer(alice, "/ai status")[2], "Your questions: 0 of 20 left this hour");
    world.lose(alice);
    let alice = world.user_at("alice", "192.0.2.1");
    world.answers(alice, "/ai more", &[refusal]);
    world.advance_secs(39 * 60);
    world.answers(alice, "/ai more", &[&*refusal.replace("40 minutes", "1 minute")]);
    world.advance_secs(60);
    world.say(alice, "/ai more");
    assert_eq!(world.asked.len(), 1);
}

#[test]
fn an_address_has_ten_times_as_many_questions_for_all_of_its_users() {
    let mut world = World::with(|settings| {
        settings.assistant.as_mut().unwrap().questions_per_hour = 1;
    });
    for n in 0..10 {
        let user = world.user_at(&format!("user{n}"), "192.0.2.1");
        world.say(user, "/ai hello");
        world.reply(&["ok"]);
        if n == 0 {
            world.clear();
            let refusal = "[AI] 1 question an hour is the limit. Ask again in 60 minutes.";
            world.answers(user, "/ai more", &[refusal]);
        }
    }
    let user = world.user_at("another", "192.0.2.1");
    let refusal = "[AI] 10 questions an hour are the limit for all users of your address together. \
        Ask again in 60 minutes.";
    world.clear();
    world.answers(user, "/ai hello", &[refusal]);
    // Elsewhere the same name is somebody else.
    world.lose(user);
    let user = world.user_at("user0x", "192.0.2.2");
    world.say(user, "/ai hello");
    assert_eq!(world.asked.len(), 1);
}

#[test]
fn a_server_has_so_many_questions_a_day_whoever_asks() {
    let mut world = World::with(|settings| {
        settings.assistant.as_mut().unwrap().questions_per_day = 3;
    });
    let users: Vec<_> =
        (0..4).map(|n| world.user_at(&format!("user{n}"), &format!("192.0.2.{n}"))).collect();
    for user in &users[..2] {
        world.say(*user, "/ai hello");
        world.reply(&["ok"]);
        world.advance_secs(3600);
    }
    // What fails on the service's side does not count for this, either.
    world.say(users[2], "/ai hello");
    world.fail();
    let status = |world: &mut World| world.answer(users[3], "/ai status")[4].clone();
    world.clear();
    assert_eq!(status(&mut world), "The whole server's: 1 of 3 left today");
    assert_eq!(world.chat.questions_today(world.now), 2);
    world.say(users[2], "/ai hello");
    world.reply(&["ok"]);
    world.clear();
    let refusal = |wait: &str| {
        format!("[AI] 3 questions a day are the limit for the whole server. Ask again in {wait}.")
    };
    world.answers(users[3], "/ai hello", &[&refusal("22 hours")]);
    assert_eq!(status(&mut world), "The whole server's: 0 of 3 left today");
    world.advance_secs(20 * 3600 + 1);
    world.answers(users[3], "/ai hello", &[&refusal("120 minutes")]);
    world.advance_secs(2 * 3600 - 2);
    world.answers(users[3], "/ai hello", &[&refusal("1 minute")]);
    world.advance_secs(1);
    world.say(users[3], "/ai hello");
    assert_eq!(world.asked.len(), 1);
    world.clear();
    world.answers(users[2], "/ai hello", &[&refusal("60 minutes")]);
}

#[test]
fn only_who_asked_or_made_the_lobby_can_stop_an_answer() {
    let mut world = World::new();
    let maker = world.user("maker");
    world.say(maker, "/create den no-pass x");
    world.say(maker, "/join den");
    let (alice, bob) = (world.user_in("alice", "den"), world.user_in("bob", "den"));
    world.answers(bob, "/ai stop", &["[AI] There is no answer to stop."]);
    world.say(alice, "/ai a long story");
    world.clear();
    let refusal = "[AI] Only the one who asked, or the lobby's creator, can stop the answer.";
    world.answers(bob, "/ai stop", &[refusal]);
    world.answers(maker, "/ai stop", &["[LOBBY] maker stopped the answer to alice"]);
    assert!(world.asked.is_empty());
}

#[test]
fn what_comes_for_a_stopped_question_is_ignored() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/ai one");
    let ask = world.asked[0].0;
    world.say(alice, "/ai stop");
    world.clear();
    world.handle(Event::Answer { ask, answer: Answer::Line("late") });
    world.handle(Event::Answer { ask, answer: Answer::Done(None) });
    world.sees(alice, &[]);
}

#[test]
fn nothing_follows_the_last_word_to_an_asker_who_quits() {
    let mut world = World::new();
    let (alice, _bob) = (world.user("alice"), world.user("bob"));
    (0..2).for_each(|n| world.say(alice, &format!("/ai question-{n}")));
    world.clear();
    world.lingering.insert(alice);
    world.say(alice, "/quit");
    // The first question fails, and the second begins.
    world.fail();
    world.sees(alice, &["Disconnecting from server. Goodbye!"]);
}

#[test]
fn what_the_chat_holds_is_counted() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let counts = world.chat.counts();
    assert_eq!((counts.questions, counts.remembered, counts.messages), (0, 0, 0));
    world.say(alice, "hello");
    (0..3).for_each(|n| world.say(alice, &format!("/ai question {n}")));
    let counts = world.chat.counts();
    // One is under way and two wait; alice and her address have a budget.
    assert_eq!((counts.questions, counts.remembered, counts.messages), (3, 2, 1));
    world.say(bob, "/create den pw x");
    world.say(bob, "/create other x");
    world.say(alice, "/join den no");
    assert_eq!(world.chat.counts().remembered, 3);
    world.say(bob, "/join other");
    (0..2).for_each(|n| world.say(bob, &format!("/ai question {n}")));
    let counts = world.chat.counts();
    assert_eq!((counts.questions, counts.remembered, counts.lobbies), (5, 5, 3));
    assert_eq!((counts.sessions, counts.users), (2, 2));
}

#[test]
fn the_longest_question_fits() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, &format!("/ai {}", "é".repeat(1000)));
    assert_eq!(world.asked.len(), 1);
    world.reply(&["short"]);
    world.clear();
    let error = "Question too long (max 1000 characters): it has 1001";
    world.answers(alice, &format!("/ai {}", "é".repeat(1001)), &[error]);
}

#[test]
fn who_waits_is_told_the_place_in_line_and_who_need_not_is_not() {
    let mut world = World::new();
    let alice = world.user("alice");
    let asked = ["[AI] Thinking...", "[LOBBY] alice asked AI: one"];
    world.answers(alice, "/ai one", &asked);
    for n in 1..=3 {
        let place = format!("[AI] You are number {n} in line.");
        world.answers(alice, "/ai more", &[&*place]);
    }
    let full = "[AI] Too many questions are waiting. Try again in a moment.";
    world.answers(alice, "/ai more", &[full]);
}

/// One address with two names kept somebody else out five times of six; now the last in line gives
/// place, which is whoever asks most.
#[test]
fn who_has_asked_least_is_answered_next_and_is_not_kept_out() {
    let mut world = World::new();
    let (one, two) = (world.user_at("one", "192.0.2.1"), world.user_at("two", "192.0.2.1"));
    let bob = world.user("bob");
    for (id, n) in [(one, 1), (two, 2), (one, 3), (two, 4)] {
        world.say(id, &format!("/ai question {n}"));
    }
    world.clear();
    world.answers(bob, "/ai mine", &["[AI] You are number 1 in line."]);
    let told =
        "[AI] Your question gave place to others: you have asked more. Try again in a moment.";
    world.sees(two, &[told]);
    world.answers(
        one,
        "/ai more",
        &["[AI] Too many questions are waiting. Try again in a moment."],
    );
    world.reply(&["to the first"]);
    assert!(world.asked[0].1.contains("mine"));
    // It counts for nobody what gave place.
    let status = world.answer(two, "/ai status");
    assert_eq!(status.iter().filter(|line| line.contains("197 of 200")).count(), 1, "{status:?}");
}

/// A hundred lobbies of few addresses made an answer take more than a minute.
#[test]
fn many_lobbies_of_one_address_do_not_delay_an_answer_elsewhere() {
    let mut world = World::new();
    let bob = world.user("bob");
    for n in 0..20 {
        let id = world.user_at(&format!("troll{n}"), &format!("192.0.2.{}", 1 + n / 5));
        world.packet(id, &[&format!("/create t{n} x"), &format!("/join t{n}")]);
        (0..3).for_each(|n| world.say(id, &format!("/ai question {n}")));
    }
    world.clear();
    world.say(bob, "/ai mine");
    // Four are under way, all of one address. Then it is the turn of the three others, and his.
    (0..4).for_each(|_| world.reply(&["done"]));
    assert!(world.asked.iter().any(|(_, body)| body.contains("mine")));
}

#[test]
fn an_idle_conversation_takes_no_room() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.say(alice, "/ai one");
    world.reply(&["two"]);
    let turns = |world: &World| {
        let general = world.chat.lobbies.general();
        world.chat.lobbies.get(general).unwrap().conversation.turns(world.now).count()
    };
    assert_eq!(turns(&world), 1);
    let timers = world.chat.timers.len();
    world.advance_secs(30 * 60);
    assert_eq!(turns(&world), 0);
    assert!(world.chat.timers.len() < timers);
    let general = world.chat.lobbies.general();
    assert_eq!(world.chat.lobbies.get(general).unwrap().conversation.deadline(), None);
}
