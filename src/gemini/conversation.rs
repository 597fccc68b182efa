//! A lobby's conversation with the assistant: the questions that were answered, and the answers.
//!
//! Bounded in turns and bytes, and forgotten after an idle time. Only whole turns are kept, so a
//! question that failed leaves no trace. Reads no clock.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::{CONVERSATION_BYTES, CONVERSATION_IDLE, CONVERSATION_TURNS};

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who asked.
    pub asker: Box<str>,
    /// What, on one line.
    pub question: Box<str>,
    /// What the lobby was shown, its lines separated by newlines.
    pub answer: Box<str>,
}

impl Turn {
    fn bytes(&self) -> usize {
        self.asker.len() + self.question.len() + self.answer.len()
    }
}

/// The latest turns of one lobby.
#[derive(Debug, Default)]
pub struct Conversation {
    turns: VecDeque<Turn>,
    bytes: usize,
    /// When the last turn was added.
    last: Option<Instant>,
}

impl Conversation {
    /// Keeps an answered question, and forgets the oldest turns if there are now too many. An
    /// answer without text does not count and is not kept.
    pub fn add(&mut self, now: Instant, asker: &str, question: &str, answer: &str) {
        self.prune(now);
        let answer = answer.trim();
        if answer.is_empty() {
            return;
        }
        let turn = Turn { asker: asker.into(), question: question.into(), answer: answer.into() };
        self.bytes += turn.bytes();
        self.turns.push_back(turn);
        self.last = Some(now);
        while self.turns.len() > CONVERSATION_TURNS || self.bytes > CONVERSATION_BYTES {
            let Some(oldest) = self.turns.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The turns, oldest first; none if the conversation has been idle for too long.
    pub fn turns(&self, now: Instant) -> impl Iterator<Item = &Turn> {
        let count = if self.is_idle(now) { 0 } else { self.turns.len() };
        self.turns.iter().take(count)
    }

    /// Forgets everything if the conversation has been idle for too long. True if nothing is left.
    pub fn prune(&mut self, now: Instant) -> bool {
        if self.is_idle(now) {
            *self = Self::default();
        }
        self.turns.is_empty()
    }

    /// Bytes of names, questions and answers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When everything is forgotten unless a turn is added.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.last.map(|last| last + CONVERSATION_IDLE)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::limits::{ANSWER_BYTES, MAX_MESSAGE_CHARS};
    use proptest::prelude::*;
    use std::time::Duration;

    fn questions(conversation: &Conversation, now: Instant) -> Vec<&str> {
        conversation.turns(now).map(|turn| &*turn.question).collect()
    }

    #[test]
    fn it_keeps_the_latest_turns() {
        let now = Instant::now();
        let mut conversation = Conversation::default();
        assert_eq!((conversation.prune(now), conversation.deadline()), (true, None));
        for n in 0..CONVERSATION_TURNS + 5 {
            conversation.add(now, "alice", &n.to_string(), "an answer");
        }
        let kept = questions(&conversation, now);
        assert_eq!(kept.len(), CONVERSATION_TURNS);
        assert_eq!((kept[0], kept[19]), ("5", "24"));
    }

    #[test]
    fn an_answer_without_text_leaves_no_trace() {
        let now = Instant::now();
        let mut conversation = Conversation::default();
        conversation.add(now, "alice", "why?", " \n");
        assert!(questions(&conversation, now).is_empty());
        assert_eq!(conversation.deadline(), None);
    }

    #[test]
    fn it_is_forgotten_when_idle() {
        let now = Instant::now();
        let mut conversation = Conversation::default();
        conversation.add(now, "alice", "one", "an answer");
        let later = now + CONVERSATION_IDLE - Duration::from_secs(1);
        assert_eq!(questions(&conversation, later), ["one"]);
        conversation.add(later, "bob", "two", "an answer");
        let idle = later + CONVERSATION_IDLE;
        assert_eq!(conversation.deadline(), Some(idle));
        assert!(questions(&conversation, idle).is_empty());
        conversation.add(idle, "carol", "three", "an answer");
        assert_eq!(questions(&conversation, idle), ["three"]);
        assert!(conversation.prune(idle + CONVERSATION_IDLE) && conversation.bytes == 0);
    }

    #[test]
    fn the_largest_turn_fits() {
        let now = Instant::now();
        let mut conversation = Conversation::default();
        let question = "😀".repeat(MAX_MESSAGE_CHARS);
        conversation.add(now, "alice", &question, &"x".repeat(2 * ANSWER_BYTES));
        assert_eq!(conversation.turns(now).count(), 1);
    }

    proptest! {
        #[test]
        fn it_is_bounded(sizes in proptest::collection::vec((0_usize..4000, 1_usize..9000), 0..60)) {
            let now = Instant::now();
            let mut conversation = Conversation::default();
            for (question, answer) in sizes {
                conversation.add(now, "alice", &"q".repeat(question), &"a".repeat(answer));
                let bytes = conversation.turns.iter().map(Turn::bytes).sum::<usize>();
                prop_assert_eq!(conversation.bytes, bytes);
                prop_assert!(bytes <= CONVERSATION_BYTES);
                prop_assert!((1..=CONVERSATION_TURNS).contains(&conversation.turns.len()));
            }
        }
    }

    #[test]
    fn all_bytes_are_used_and_one_more_costs_the_oldest_turn() {
        let now = Instant::now();
        let mut conversation = Conversation::default();
        let answer = "a".repeat(CONVERSATION_BYTES / 16 - "bobwhy?".len());
        for n in 1..=16 {
            conversation.add(now, "bob", "why?", &answer);
            assert_eq!(conversation.turns(now).count(), n);
        }
        assert_eq!(conversation.bytes, CONVERSATION_BYTES);
        conversation.add(now, "bob", "why?", "so");
        assert_eq!(conversation.turns(now).count(), 16);
    }
}
