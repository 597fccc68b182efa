//! What a wall clock shows: weekday, hour and minute, in the machine's time zone.
//!
//! Reads no clock and no file: the caller supplies the time and the zone's rules, summer time
//! included (RFC 9636).

use std::fmt;
use std::time::{Duration, Instant};

use tz::{LocalTimeType, TimeZone};

const DAY_SECS: i64 = 24 * 60 * 60;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The first day of Unix time, 1 January 1970, among them.
const FIRST_WEEKDAY: i64 = 3;

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone {
    rules: TimeZone,
    name: Box<str>,
}

impl Zone {
    /// The zone with these rules, under the name that it has on this machine.
    #[must_use]
    pub fn new(rules: TimeZone, name: &str) -> Self {
        Self { rules, name: name.into() }
    }

    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self::new(TimeZone::utc(), "UTC")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wall-clock time this many seconds after the beginning of 1970.
    #[must_use]
    pub fn at(&self, unix_secs: i64) -> ClockTime {
        let kind = self.rules.find_local_time_type(unix_secs);
        let offset = kind.map_or(0, LocalTimeType::ut_offset);
        let local = unix_secs.saturating_add(offset.into());
        let weekday = (local.div_euclid(DAY_SECS) + FIRST_WEEKDAY).rem_euclid(7);
        let minute = local.rem_euclid(DAY_SECS) / 60;
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        ClockTime { weekday: small(weekday), hour: small(minute / 60), minute: small(minute % 60) }
    }
}

/// What a clock shows. `Display` is `Thu 14:05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTime {
    /// Days since Monday: 0 is Monday.
    weekday: u8,
    hour: u8,
    minute: u8,
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weekday, hour, minute } = self;
        let weekday = WEEKDAYS.get(usize::from(*weekday)).unwrap_or(&"");
        write!(f, "{weekday} {hour:02}:{minute:02}")
    }
}

/// A moment in real time, which goes on while the process stands still: ages that people are shown
/// count from one. Any other [`Instant`] counts only the time in which the process ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RealTime(Instant);

impl RealTime {
    /// How long this is after an earlier moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// A clock in some zone, which runs on from the time it was last told.
#[derive(Debug)]
pub struct WallClock {
    zone: Zone,
    told: Option<(Instant, i64)>,
    /// How long the process has stood still so far.
    stood: Duration,
}

impl WallClock {
    /// A clock that stands until it is told the time.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self { zone, told: None, stood: Duration::ZERO }
    }

    /// Its time zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Sets it: at `now`, this many seconds have passed since the beginning of 1970.
    pub fn set(&mut self, now: Instant, unix_secs: i64) {
        self.told = Some((now, unix_secs));
    }

    /// The process has stood still for so long, and no `now` counts that.
    pub fn stood_still(&mut self, pause: Duration) {
        self.stood += pause;
    }

    /// The moment in real time that `now` is.
    #[must_use]
    pub fn real(&self, now: Instant) -> RealTime {
        RealTime(now + self.stood)
    }

    /// What it shows at `now`, which is not before the time when it was set; `None` if it was never
    /// set.
    #[must_use]
    pub fn at(&self, now: Instant) -> Option<ClockTime> {
        let (then, unix_secs) = self.told?;
        let passed = now.saturating_duration_since(then).as_secs();
        Some(self.zone.at(unix_secs.saturating_add_unsigned(passed)))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn zone(rules: &str) -> Zone {
        Zone::new(TimeZone::from_posix_tz(rules).unwrap(), rules)
    }

    #[test]
    fn clocks_show_the_time_of_their_zone() {
        // 27 November 2026 was a Friday.
        for (rules, unix_secs, shown) in [
            ("UTC0", 0, "Thu 00:00"),
            ("UTC0", -1, "Wed 23:59"),
            ("UTC0", 1_795_745_100, "Fri 02:05"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_795_745_100, "Fri 03:05"),
            ("EST5EDT,M3.2.0,M11.1.0", 1_795_745_100, "Thu 21:05"),
            ("<+0545>-5:45", 1_795_745_100, "Fri 07:50"),
            // The last Sunday of March and of October 2026: at two it is three, at three two.
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_774_745_999, "Sun 01:59"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_774_746_000, "Sun 03:00"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_792_889_999, "Sun 02:59"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_792_890_000, "Sun 02:00"),
        ] {
            assert_eq!(zone(rules).at(unix_secs).to_string(), shown, "{rules} {unix_secs}");
        }
        assert_eq!(Zone::utc().at(1_795_745_100).to_string(), "Fri 02:05");
        // However far away.
        for unix_secs in [i64::MIN, i64::MAX] {
            let _ = zone("CET-1CEST,M3.5.0,M10.5.0/3").at(unix_secs).to_string();
        }
    }

    #[test]
    fn a_clock_goes_on_from_what_it_was_told() {
        let now = Instant::now();
        let mut clock = WallClock::new(Zone::utc());
        assert_eq!(clock.at(now), None);
        clock.set(now, 1_795_745_100);
        let at = |secs| clock.at(now + Duration::from_secs(secs)).unwrap().to_string();
        assert_eq!([at(0), at(59), at(60)], ["Fri 02:05", "Fri 02:05", "Fri 02:06"]);
        let then = clock.real(now);
        clock.stood_still(Duration::from_secs(9));
        assert_eq!(clock.real(now + Duration::from_secs(1)).since(then), Duration::from_secs(10));
        clock.set(now + Duration::from_secs(60), 0);
        assert_eq!(clock.at(now + Duration::from_secs(61)).unwrap().to_string(), "Thu 00:00");
    }
}
