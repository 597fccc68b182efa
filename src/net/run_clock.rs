//! The loop's clock, which stands still while the process does.
//!
//! Somebody stops the process, a machine or its container is paused, a laptop sleeps: then nobody
//! could read what was sent or be heard, and nobody is to blame for it. So the time in which nothing
//! ran is left out, for whatever goes by this clock: nothing becomes due in it. What people read
//! (ages, hours) has to be true all the same: [`Chat::resumed`](crate::chat::Chat::resumed) is told
//! how much was left out.

use std::time::{Duration, Instant};

use super::server::{Server, read_clock};
use crate::limits::{OVERSLEPT, PROXY_HEADER_TIMEOUT, TLS_SILENCE};

/// The time at which the present turn of the loop began.
#[derive(Debug)]
pub(super) struct RunClock {
    turn: Turn,
    start: Start,
}

/// The same moment on the system's clock, and on one that runs while the machine sleeps, too.
#[derive(Debug)]
struct Start {
    system: Instant,
    real: Option<Duration>,
}

impl Start {
    fn real_time(&self) -> Instant {
        match self.real.zip(since_boot()) {
            Some((then, now)) => self.system + now.saturating_sub(then),
            None => read_clock(),
        }
    }
}

/// The clock without what it reads.
#[derive(Debug)]
struct Turn {
    /// Real time.
    began: Instant,
    /// How much of that was left out so far.
    left_out: Duration,
}

impl RunClock {
    /// Starts it.
    pub(super) fn start() -> Self {
        let start = Start { system: read_clock(), real: since_boot() };
        Self { turn: Turn { began: start.system, left_out: Duration::ZERO }, start }
    }

    /// When this turn began.
    pub(super) fn now(&self) -> Instant {
        self.turn.now()
    }

    /// A turn begins, after a wait that was meant to last no longer than this, if it was to end at
    /// all. Gives the pause that is left out, if it lasted longer.
    pub(super) fn next_turn(&mut self, meant: Option<Duration>) -> Option<Duration> {
        self.turn.next(self.start.real_time(), meant)
    }
}

impl Turn {
    fn now(&self) -> Instant {
        self.began.checked_sub(self.left_out).unwrap_or(self.began)
    }

    /// All that has passed since the last turn began is left out: how much of it was the pause,
    /// nobody knows, and at its end nothing may be due at once.
    fn next(&mut self, real: Instant, meant: Option<Duration>) -> Option<Duration> {
        let passed = real.saturating_duration_since(self.began);
        self.began = self.began.max(real);
        let pause = meant.is_some_and(|meant| passed > meant + OVERSLEPT).then_some(passed);
        self.left_out += pause.unwrap_or_default();
        pause
    }
}

impl Server {
    /// The process stood still for so long, which is nobody's fault: all who are being waited for
    /// have their full time once more.
    pub(super) fn resume(&mut self, now: Instant, pause: Duration) {
        log::warn!(
            "stood still for {} s: whoever is waited for is given time anew",
            pause.as_secs()
        );
        self.chat.resumed(now, pause);
        self.wait_anew(now);
        self.manager.resumed(now);
    }

    /// Whatever a client is waited for begins anew: what it is owed could not be offered meanwhile,
    /// and what it sent could not be read. Those that are closing keep the end that was set.
    fn wait_anew(&mut self, now: Instant) {
        for (_, conn) in &mut self.conns {
            conn.progress = now;
            if conn.is_opening() && conn.deadline.is_some() {
                let header = conn.awaits_header();
                let patience = if header { PROXY_HEADER_TIMEOUT } else { TLS_SILENCE };
                self.timers.set(conn.id, &mut conn.deadline, Some(now + patience));
            }
        }
    }
}

/// That clock (clock_getres(2): `CLOCK_BOOTTIME`).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::Boottime).try_into().ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Option<Duration> {
    None
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_lasts_too_long_is_left_out_whole() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let mut turn = Turn { began: start, left_out: Duration::ZERO };
        // As long as it was meant to last, shorter, a little longer.
        assert_eq!((turn.next(at(1000), Some(ms(1000))), turn.now()), (None, at(1000)));
        assert_eq!((turn.next(at(1100), Some(ms(9000))), turn.now()), (None, at(1100)));
        assert_eq!((turn.next(at(2000), Some(ms(0))), turn.now()), (None, at(2000)));
        // Nothing was to become due.
        assert_eq!((turn.next(at(500_000), None), turn.now()), (None, at(500_000)));
        // What was due at 501 is still due in a second.
        assert_eq!(turn.next(at(503_000), Some(ms(1000))), Some(ms(3000)));
        assert_eq!(turn.now(), at(500_000));
        assert_eq!((turn.next(at(504_000), Some(ms(1000))), turn.now()), (None, at(501_000)));
        assert_eq!(turn.next(at(604_000), Some(ms(0))), Some(ms(100_000)));
        assert_eq!(turn.now(), at(501_000));
    }

    #[test]
    fn the_clock_runs() {
        let mut clock = RunClock::start();
        let before = clock.now();
        assert_eq!(clock.next_turn(Some(Duration::from_secs(5))), None);
        assert!(clock.now() >= before);
        let end = Instant::now() + Duration::from_secs(5);
        while clock.now() == before {
            clock.next_turn(None);
            assert!(Instant::now() < end);
        }
    }
}
