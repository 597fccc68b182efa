//! How fast the log may grow: [`LOG_BYTES_A_MINUTE`] in any minute. What strangers cause comes last,
//! so that a flood of it hides nothing else; what is left out is counted, and the count is logged.
//!
//! Reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use log::{Level, Metadata};

use crate::limits::{
    LOG_BYTES_A_MINUTE, LOG_CLIENTS_BYTES, LOG_COUNT_INTERVAL, LOG_REFUSALS_BYTES,
};

/// How long bytes are remembered, and how many of them together.
const MINUTE: Duration = Duration::from_secs(60);
const SLOT: Duration = Duration::from_secs(5);

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Arrivals, departures, and what else people in the chat cause; details for developers.
    Clients,
    Refusals,
    /// Errors, the start and the end, what the operator did.
    Rest,
}

impl Kind {
    /// By the module that says it: `chat` logs nothing but what clients do, `refusal` whom it
    /// refuses.
    pub(super) fn of(metadata: &Metadata<'_>) -> Self {
        let target = metadata.target();
        if metadata.level() == Level::Error {
            Self::Rest
        } else if target.starts_with("mio_chat::refusal") {
            Self::Refusals
        } else if target.starts_with("mio_chat::chat") || metadata.level() >= Level::Debug {
            Self::Clients
        } else {
            Self::Rest
        }
    }

    /// How many bytes a minute may have with one more line of this kind.
    const fn most(self) -> usize {
        match self {
            Self::Clients => LOG_CLIENTS_BYTES,
            Self::Refusals => LOG_REFUSALS_BYTES,
            // What remains is for the counts.
            Self::Rest => LOG_BYTES_A_MINUTE - 10_000,
        }
    }
}

/// What the log has grown by lately, and what it would have.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Bytes, by when they came.
    slots: VecDeque<(Instant, usize)>,
    /// Their sum.
    bytes: usize,
    /// Lines left out that have not been accounted for.
    clients: u64,
    refusals: u64,
    rest: u64,
    /// When they are.
    count_at: Option<Instant>,
}

impl Growth {
    /// Counts a line of this many bytes. Gives whether it may be logged.
    pub(super) fn admit(&mut self, now: Instant, kind: Kind, bytes: usize) -> bool {
        // A slot stands for what came within its span after its start.
        while let Some((start, old)) = self.slots.front()
            && now >= *start + SLOT + MINUTE
        {
            self.bytes -= old;
            self.slots.pop_front();
        }
        if self.bytes.saturating_add(bytes) > kind.most() {
            *match kind {
                Kind::Clients => &mut self.clients,
                Kind::Refusals => &mut self.refusals,
                Kind::Rest => &mut self.rest,
            } += 1;
            self.count_at.get_or_insert(now + LOG_COUNT_INTERVAL);
            return false;
        }
        self.bytes += bytes;
        match self.slots.back_mut() {
            Some((start, sum)) if now < *start + SLOT => *sum += bytes,
            _ => self.slots.push_back((now, bytes)),
        }
        true
    }

    /// When there is something to tell.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.count_at
    }

    /// What was left out since the last time, for the log; it is admitted without question.
    pub(super) fn take_count(&mut self) -> Option<String> {
        self.count_at.take()?;
        let kinds = [
            (&mut self.clients, "arrival or departure", "arrivals and departures"),
            (&mut self.refusals, "refusal", "refusals"),
            (&mut self.rest, "other line", "other lines"),
        ];
        let counts = kinds.into_iter().filter(|(n, ..)| **n > 0).map(|(n, one, many)| {
            let n = std::mem::take(n);
            format!("{n} {}", if n == 1 { one } else { many })
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        Some(format!("not logged: {counts} - the log grows by at most 1 MB a minute"))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn no_minute_has_more_than_a_megabyte_and_each_kind_leaves_room_for_the_next() {
        let start = Instant::now();
        let mut growth = Growth::default();
        let mut sum = [0; 300];
        for (n, second) in (0..).zip(&mut sum) {
            let now = start + SEC * n + Duration::from_millis(u64::from(n) * 7 % 1000);
            for kind in [Kind::Clients, Kind::Refusals, Kind::Rest] {
                *second += (0..4000).filter(|_| growth.admit(now, kind, 100)).count() * 100;
            }
        }
        for minute in sum.windows(60) {
            assert!(minute.iter().sum::<usize>() <= LOG_BYTES_A_MINUTE);
        }
        assert!(sum.iter().sum::<usize>() >= 4 * LOG_BYTES_A_MINUTE);
    }

    #[test]
    fn a_flood_of_arrivals_hides_no_refusal_and_one_of_refusals_no_error() {
        let now = Instant::now();
        let mut growth = Growth::default();
        while growth.admit(now, Kind::Clients, 100) {}
        assert!(growth.admit(now, Kind::Refusals, 100));
        while growth.admit(now, Kind::Refusals, 100) {}
        assert!(growth.admit(now, Kind::Rest, 100));
        while growth.admit(now, Kind::Rest, 100) {}
        assert!(growth.bytes <= 1_000_000);
    }

    #[test]
    fn what_is_left_out_is_told_after_a_while() {
        let now = Instant::now();
        let mut growth = Growth::default();
        assert_eq!(growth.take_count(), None);
        while growth.admit(now, Kind::Clients, 1000) {}
        assert!(!growth.admit(now, Kind::Clients, 1000));
        assert!(!growth.admit(now, Kind::Refusals, usize::MAX / 2));
        assert_eq!(growth.poll_timeout(), Some(now + LOG_COUNT_INTERVAL));
        assert_eq!(
            growth.take_count().unwrap(),
            "not logged: 2 arrivals and departures, 1 refusal - the log grows by at most 1 MB a \
             minute"
        );
        assert_eq!((growth.take_count(), growth.poll_timeout()), (None, None));
        assert!(!growth.admit(now + MINUTE, Kind::Clients, 1000));
        assert!(growth.admit(now + MINUTE + SLOT, Kind::Clients, 1000));
    }

    #[test]
    fn kinds_are_told_by_who_says_it() {
        let of = |target, level| Kind::of(&Metadata::builder().target(target).level(level).build());
        assert_eq!(of("mio_chat::chat::login", Level::Info), Kind::Clients);
        assert_eq!(of("mio_chat::chat", Level::Info), Kind::Clients);
        assert_eq!(of("mio_chat::chat", Level::Error), Kind::Rest);
        assert_eq!(of("mio_chat::refusal", Level::Warn), Kind::Refusals);
        assert_eq!(of("mio_chat::net::server", Level::Info), Kind::Rest);
        assert_eq!(of("mio_chat", Level::Info), Kind::Rest);
        assert_eq!(of("mio_chat::net::clients", Level::Debug), Kind::Clients);
    }
}
