//! Whose password is hashed next. Two kinds of addresses take turns: those from which somebody has
//! been here for a while, and all others, so that many strangers delay no regular for long. Within each
//! kind `share` has the rule.
//!
//! One job is under way, a round at a time; knows no clock.

use std::time::Instant;

use crate::id::ConnId;
use crate::limits::{LONG_HERE, MAX_PASSWORD_JOBS, PASSWORD_WAIT_TOLD};
use crate::password::{Job, Outcome};
use crate::rate::AddrKey;
use crate::share::{Claim, Line};

/// Kinds of addresses that take turns.
const KINDS: usize = 2;

/// All password jobs: one under way and at most [`MAX_PASSWORD_JOBS`] that wait.
#[derive(Debug, Default)]
pub struct Jobs {
    current: Option<(ConnId, Job)>,
    kinds: [Line<Waiting>; KINDS],
    /// The kind whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Waiting {
    id: ConnId,
    job: Job,
    since: Instant,
    /// The user has been told about the wait.
    told: bool,
}

impl Jobs {
    /// Queues a job for a connection from an address where somebody has been `here` since then. If
    /// there are too many, gives the connection whose job is dropped: whoever holds or has had most.
    pub fn push(
        &mut self,
        now: Instant,
        id: ConnId,
        job: Job,
        addr: AddrKey,
        here: Instant,
    ) -> Option<ConnId> {
        let is_regular = now.saturating_duration_since(here) >= LONG_HERE;
        let amount = job.amount();
        let what = Waiting { id, job, since: now, told: false };
        let [regulars, others] = &mut self.kinds;
        let line = if is_regular { regulars } else { others };
        let claim = Claim { addr, amount, since: here, what };
        Some(line.push(now, claim, MAX_PASSWORD_JOBS / KINDS)?.id)
    }

    /// Forgets the jobs of a connection that is gone.
    pub fn cancel(&mut self, id: ConnId) {
        self.current.take_if(|(owner, _)| *owner == id);
        self.kinds.iter_mut().for_each(|line| line.retain(|waiting| waiting.id != id));
    }

    /// Does one round of the job under way, and gives its outcome if that was the last one.
    pub fn advance(&mut self, now: Instant) -> Option<(ConnId, Outcome)> {
        for _ in 0..KINDS {
            if self.current.is_some() {
                break;
            }
            let line = self.kinds.get_mut(self.turn)?;
            self.current = line.next(now, |_| true).map(|waiting| (waiting.id, waiting.job));
            self.turn = (self.turn + 1) % KINDS;
        }
        let (id, job) = self.current.as_mut()?;
        let done = (*id, job.advance()?);
        self.current = None;
        Some(done)
    }

    /// Somebody who has waited for [`PASSWORD_WAIT_TOLD`] and has not been told about it, and their
    /// place in the line of their kind, the first being 1.
    pub fn overdue(&mut self, now: Instant) -> Option<(ConnId, usize)> {
        let is_late = |waiting: &Waiting| {
            !waiting.told && now.saturating_duration_since(waiting.since) >= PASSWORD_WAIT_TOLD
        };
        for line in &mut self.kinds {
            let Some(late) = line.find_mut(is_late) else { continue };
            late.told = true;
            let id = late.id;
            return Some((id, line.before(now, |_| true, |waiting| waiting.id == id)? + 1));
        }
        None
    }

    /// How many wait or are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        let waiting: usize = self.kinds.iter().map(|line| line.iter().count()).sum();
        waiting + usize::from(self.current.is_some())
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.kinds.iter().all(|line| line.iter().next().is_none())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::password::Password;

    fn id(n: usize) -> ConnId {
        ConnId::new(n, 1).unwrap()
    }

    fn job() -> Job {
        Job::hash(Password::new(b"x").unwrap(), 4, [0; 16])
    }

    fn addr(n: usize) -> AddrKey {
        AddrKey::V6Net((n as u64) << 16)
    }

    fn finished(jobs: &mut Jobs, now: Instant) -> ConnId {
        loop {
            if let Some((id, _)) = jobs.advance(now) {
                return id;
            }
        }
    }

    #[test]
    fn jobs_are_bounded_and_cancelled_with_their_owner() {
        let now = Instant::now();
        let mut jobs = Jobs::default();
        for n in 0..MAX_PASSWORD_JOBS / 2 {
            assert_eq!(jobs.push(now, id(n), job(), addr(n), now), None);
        }
        // All have one, and the newest gives place: who came a moment ago has none in reserve.
        assert_eq!(jobs.push(now, id(999), job(), addr(999), now), Some(id(999)));
        assert_eq!((jobs.len(), jobs.is_empty()), (MAX_PASSWORD_JOBS / 2, false));
        jobs.cancel(id(1));
        assert_eq!(finished(&mut jobs, now), id(0));
        assert_eq!(finished(&mut jobs, now), id(2));
        let _ = jobs.advance(now);
        (0..MAX_PASSWORD_JOBS).for_each(|n| jobs.cancel(id(n)));
        assert_eq!((jobs.len(), jobs.is_empty()), (0, true));
        assert_eq!(jobs.advance(now), None);
    }

    #[test]
    fn twenty_six_addresses_with_ten_each_keep_nobody_else_waiting() {
        let now = Instant::now();
        let mut jobs = Jobs::default();
        let mut dropped = 0;
        for n in 0..260 {
            dropped += usize::from(jobs.push(now, id(n), job(), addr(n / 10), now).is_some());
        }
        assert_eq!(dropped, 260 - MAX_PASSWORD_JOBS / 2);
        let _ = jobs.advance(now);
        // Whoever had none comes next, and never hears that there are too many.
        assert_ne!(jobs.push(now, id(500), job(), addr(500), now), Some(id(500)));
        let first: Vec<_> = (0..28).map(|_| finished(&mut jobs, now)).collect();
        assert!(first.contains(&id(500)), "{first:?}");
        // After one each, who had none since comes before all.
        jobs.push(now, id(501), job(), addr(501), now);
        assert_eq!(finished(&mut jobs, now), id(501));
    }

    #[test]
    fn regulars_and_strangers_take_turns() {
        let start = Instant::now();
        let now = start + LONG_HERE;
        let mut jobs = Jobs::default();
        for n in 0..100 {
            jobs.push(now, id(n), job(), addr(n), now);
        }
        jobs.push(now, id(500), job(), addr(500), start);
        jobs.push(now, id(501), job(), addr(501), start);
        let first: Vec<_> = (0..4).map(|_| finished(&mut jobs, now)).collect();
        assert_eq!(first, [id(500), id(0), id(501), id(1)]);
    }

    #[test]
    fn whoever_waits_long_is_told_once() {
        let start = Instant::now();
        let mut jobs = Jobs::default();
        for n in 0..3 {
            jobs.push(start, id(n), job(), addr(n), start);
        }
        let _ = jobs.advance(start);
        assert_eq!(jobs.overdue(start + Duration::from_millis(2900)), None);
        let late = start + PASSWORD_WAIT_TOLD;
        assert_eq!(jobs.overdue(late), Some((id(1), 1)));
        assert_eq!(jobs.overdue(late), Some((id(2), 2)));
        assert_eq!(jobs.overdue(late), None);
    }
}
