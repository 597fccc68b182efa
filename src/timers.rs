//! Deadlines, at most one for each key, cancelled exactly.
//!
//! The owner of a thing keeps the thing's deadline next to it and changes it only through
//! [`Timers::set`]. So a deadline that no longer holds is not in here, and nothing piles up however
//! often things come and go. Reads no clock.

use std::collections::BTreeSet;
use std::time::Instant;

/// The deadlines of everything named by a `K`.
#[derive(Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Moves the deadline of `key` from `current` (as its owner has it) to `at`; `None` means
    /// never.
    pub fn set(&mut self, key: K, current: &mut Option<Instant>, at: Option<Instant>) {
        if *current == at {
            return;
        }
        if let Some(old) = current.take() {
            self.due.remove(&(old, key));
        }
        if let Some(at) = at {
            self.due.insert((at, key));
        }
        *current = at;
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes one key whose deadline has come. Its owner's copy of the deadline is then out of
    /// date: clear it before the next [`Timers::set`].
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fires_in_order_and_only_what_still_holds() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut timers = Timers::default();
        let (mut a, mut b, mut c) = (None, None, None);
        timers.set('a', &mut a, Some(at(3)));
        timers.set('b', &mut b, Some(at(1)));
        timers.set('c', &mut c, Some(at(2)));
        timers.set('a', &mut a, Some(at(4)));
        timers.set('c', &mut c, None);
        assert_eq!((timers.len(), timers.is_empty()), (2, false));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(3)), Some('b'));
        assert_eq!(timers.pop_due(at(3)), None);
        assert_eq!(timers.pop_due(at(4)), Some('a'));
        assert!(timers.is_empty());
    }
}
