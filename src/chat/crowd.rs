//! Arrivals (or departures) in one lobby, announced one by one or, in a crowd, as one line a
//! second.
//!
//! Decides what is announced when; the chat sends it. Reads no clock.

use std::rc::Rc;
use std::time::Instant;

use crate::id::ConnId;
use crate::limits::{CROWD_MEMBERS, CROWD_SINGLE_LINES, CROWD_WINDOW};

/// Whether somebody arrives or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Arrival,
    Departure,
}

impl Way {
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Arrival => Self::Departure,
            Self::Departure => Self::Arrival,
        }
    }
}

/// What to do with one arrival.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// Announce it now.
    Now,
    /// It is announced with the others at this time.
    At(Instant),
}

/// The arrivals (or departures) of the current second.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    since: Option<Instant>,
    told: u32,
    gathered: Vec<(ConnId, Rc<str>)>,
    /// When the collected ones are announced. The chat keeps the timer.
    pub(super) deadline: Option<Instant>,
}

impl Crowd {
    /// Counts one in a lobby with this many members.
    pub(super) fn add(&mut self, now: Instant, id: ConnId, name: &Rc<str>, members: usize) -> Tell {
        if members <= CROWD_MEMBERS && self.gathered.is_empty() {
            return Tell::Now;
        }
        let since = match self.since {
            Some(since) if now < since + CROWD_WINDOW || !self.gathered.is_empty() => since,
            _ => {
                self.told = 0;
                *self.since.insert(now)
            }
        };
        if self.told < CROWD_SINGLE_LINES {
            self.told += 1;
            return Tell::Now;
        }
        self.gathered.push((id, name.clone()));
        Tell::At(since + CROWD_WINDOW)
    }

    /// Takes back one that has not been announced yet. True if there was one.
    pub(super) fn retract(&mut self, id: ConnId) -> bool {
        match self.gathered.iter().position(|(gathered, _)| *gathered == id) {
            Some(at) => {
                self.gathered.remove(at);
                true
            }
            None => false,
        }
    }

    /// Whether somebody of this name, without regard to case, has yet to be announced.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.gathered.iter().any(|(_, gathered)| gathered.eq_ignore_ascii_case(name))
    }

    /// Takes those to be announced now, as they appear in a sentence: `alice`, `alice and bob`,
    /// `alice, bob and 37 others`; and whether that is more than one.
    pub(super) fn take(&mut self) -> Option<(String, bool)> {
        self.since = None;
        let gathered = std::mem::take(&mut self.gathered);
        Some(match gathered.as_slice() {
            [] => return None,
            [(_, one)] => (one.to_string(), false),
            [(_, one), (_, two)] => (format!("{one} and {two}"), true),
            [(_, one), (_, two), _] => (format!("{one}, {two} and 1 other"), true),
            [(_, one), (_, two), rest @ ..] => {
                (format!("{one}, {two} and {} others", rest.len()), true)
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A connection for each first letter.
    fn id(name: &str) -> ConnId {
        ConnId::new(name.as_bytes()[0].into(), 1).unwrap()
    }

    #[test]
    fn small_lobbies_are_told_at_once() {
        let now = Instant::now();
        let mut crowd = Crowd::default();
        let mut add = || crowd.add(now, id("alice"), &"alice".into(), CROWD_MEMBERS);
        assert!((0..100).all(|_| add() == Tell::Now));
        assert_eq!(crowd.take(), None);
    }

    #[test]
    fn in_a_large_one_the_rest_of_a_busy_second_is_one_line() {
        let start = Instant::now();
        let mut crowd = Crowd::default();
        let add = |crowd: &mut Crowd, ms, name: &str| {
            let now = start + Duration::from_millis(ms);
            crowd.add(now, id(name), &name.into(), CROWD_MEMBERS + 1)
        };
        for n in 0..5 {
            assert_eq!(add(&mut crowd, n * 100, "early"), Tell::Now);
        }
        let end = Tell::At(start + CROWD_WINDOW);
        for name in ["alice", "bob", "carol", "dave"] {
            assert_eq!(add(&mut crowd, 900, name), end);
        }
        assert!(crowd.holds("Alice") && crowd.retract(id("alice")));
        assert!(!crowd.holds("Alice") && !crowd.retract(id("alice")));
        assert_eq!(crowd.take(), Some(("bob, carol and 1 other".to_owned(), true)));
        assert_eq!(add(&mut crowd, 1000, "next"), Tell::Now);
        assert_eq!(crowd.take(), None);
        for n in 0..5 {
            assert_eq!(add(&mut crowd, 3000 + n * 200, "busy"), Tell::Now);
        }
        // A second has 1000 ms, and no more.
        assert_eq!(add(&mut crowd, 4000, "next"), Tell::Now);
        assert_eq!(crowd.take(), None);
        let start = start + Duration::from_secs(5);
        let add = |crowd: &mut Crowd, ms, name: &str| {
            let now = start + Duration::from_millis(ms);
            crowd.add(now, id(name), &name.into(), CROWD_MEMBERS + 1)
        };
        assert_eq!(add(&mut crowd, 1000, "next"), Tell::Now);
        // Five within a second, then a new second.
        for n in 0..4 {
            assert_eq!(add(&mut crowd, 1500 + n, "next"), Tell::Now);
        }
        assert_eq!(add(&mut crowd, 2100, "later"), Tell::Now);
    }
}
