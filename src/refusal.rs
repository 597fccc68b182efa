//! Refusals in the log: one form for all, `refused ADDRESS - reason`, which tools that ban
//! addresses can match, and a bound on how many a second, since strangers decide how many there
//! are.
//!
//! Reads no clock. Where the log goes is `logging`'s business.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::REFUSALS_LOGGED_PER_SEC;

/// What was logged in the current second: refusals, and apart from them mistakes, so that nobody hides
/// the ones behind many of the others.
#[derive(Debug, Default)]
pub struct RefusalLog {
    refusals: PerSecond,
    mistakes: PerSecond,
}

/// Lines of one kind.
#[derive(Debug, Default)]
struct PerSecond {
    second: Option<Instant>,
    logged: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Logs that this address was refused, unless there have been too many refusals lately.
    pub fn note(&mut self, now: Instant, addr: IpAddr, reason: impl fmt::Display) {
        if self.refusals.may_log(now) {
            log::warn!("refused {} - {reason}", addr.to_canonical());
        }
    }

    /// Logs that this address was turned away for a mistake that it should not be banned for, with
    /// a bound of their own, and in another form.
    pub fn note_mistake(&mut self, now: Instant, addr: IpAddr, mistake: impl fmt::Display) {
        if self.mistakes.may_log(now) {
            log::info!("turned away {} - {mistake}", addr.to_canonical());
        }
    }
}

impl PerSecond {
    /// Counts one, and logs how many were left out. Gives whether to log this one.
    fn may_log(&mut self, now: Instant) -> bool {
        let (log, left_out) = self.count(now);
        if left_out > 0 {
            log::warn!("{left_out} more refusals were not logged");
        }
        log
    }

    /// Counts one. Gives whether to log it, and how many were left out without having been
    /// reported.
    fn count(&mut self, now: Instant) -> (bool, u64) {
        let over =
            |second: Instant| now.saturating_duration_since(second) >= Duration::from_secs(1);
        let mut left_out = 0;
        if self.second.is_none_or(over) {
            self.second = Some(now);
            self.logged = 0;
            left_out = std::mem::take(&mut self.left_out);
        }
        if self.logged < REFUSALS_LOGGED_PER_SEC {
            self.logged += 1;
            return (true, left_out);
        }
        self.left_out += 1;
        (false, left_out)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_later() {
        let start = Instant::now();
        let mut log = PerSecond::default();
        let logged = (0..500).filter(|_| log.count(start).0).count();
        assert_eq!(logged, 100);
        assert_eq!(log.count(start + Duration::from_secs(1)), (true, 400));
        assert_eq!(log.count(start + Duration::from_secs(1)), (true, 0));
    }
}
