//! How much and how often: sliding windows, connections per address, lock-outs after failures.
//!
//! Each is given the time and reads no clock. Everything here is forgotten with age and is bounded
//! in number.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::limits::{MAX_REMEMBERED, SITE_NETS};

/// What counts as one address: an IPv4 address, even if it comes mapped into IPv6 (RFC 4291,
/// 2.5.5.2) or through NAT64 (RFC 6052, 2.1), or an IPv6 /64, the least that one subscriber gets
/// (RFC 6177).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddrKey {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address.
    V6Net(u64),
    /// The upper 48 bits of one, in the upper ones of these: what a site gets, or one subscriber who
    /// asks for more. All of its networks together count like [`SITE_NETS`] of them.
    V6Site(u64),
}

impl From<IpAddr> for AddrKey {
    fn from(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => match v6.octets() {
                [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
                    Self::V4(Ipv4Addr::new(a, b, c, d))
                }
                [net @ .., _, _, _, _, _, _, _, _] => Self::V6Net(u64::from_be_bytes(net)),
            },
        }
    }
}

impl AddrKey {
    /// All that a limit for addresses holds for: this address, with the limit as it is, and for an
    /// IPv6 network its site, with this many times as much.
    pub fn levels(self) -> impl Iterator<Item = (Self, u32)> {
        let site = match self {
            Self::V6Net(net) => Some((Self::V6Site(net >> 16 << 16), SITE_NETS)),
            Self::V4(_) | Self::V6Site(_) => None,
        };
        std::iter::once((self, 1)).chain(site)
    }
}

impl fmt::Display for AddrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => v4.fmt(f),
            Self::V6Net(net) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*net) << 64)),
            Self::V6Site(net) => write!(f, "{}/48", Ipv6Addr::from(u128::from(*net) << 64)),
        }
    }
}

/// A true sliding window: the times of the last accepted events.
#[derive(Debug, Default)]
pub struct SlidingWindow {
    accepted: VecDeque<Instant>,
}

impl SlidingWindow {
    /// Accepts an event at `now` if fewer than `limit` were accepted within the last `window`;
    /// otherwise says how long it takes until one is accepted again. A limit of 0 means no limit.
    ///
    /// # Errors
    /// The time to wait, never zero.
    pub fn try_accept(
        &mut self,
        now: Instant,
        limit: usize,
        window: Duration,
    ) -> Result<(), Duration> {
        if limit == 0 {
            return Ok(());
        }
        while self.accepted.front().is_some_and(|at| now.saturating_duration_since(*at) >= window) {
            self.accepted.pop_front();
        }
        if let Some(oldest) = self.accepted.front().filter(|_| self.accepted.len() >= limit) {
            return Err(window.saturating_sub(now.saturating_duration_since(*oldest)));
        }
        self.accepted.push_back(now);
        Ok(())
    }

    /// How long it takes until an event is accepted; `None` if it would be accepted now.
    #[must_use]
    pub fn wait(&self, now: Instant, limit: usize, window: Duration) -> Option<Duration> {
        let count = self.count(now, window);
        if limit == 0 || count < limit {
            return None;
        }
        // The oldest one that has to go first.
        let oldest = self.accepted.get(self.accepted.len() - limit)?;
        Some(window.saturating_sub(now.saturating_duration_since(*oldest)))
    }

    /// Takes back one event that was accepted at this time, if it is still remembered.
    pub fn give_back(&mut self, at: Instant) {
        if let Some(place) = self.accepted.iter().rposition(|accepted| *accepted == at) {
            self.accepted.remove(place);
        }
    }

    /// How many events were accepted within the last `window`.
    #[must_use]
    pub fn count(&self, now: Instant, window: Duration) -> usize {
        let old = |at: &Instant| now.saturating_duration_since(*at) >= window;
        self.accepted.len() - self.accepted.partition_point(old)
    }

    /// When the last event was accepted.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.accepted.back().copied()
    }
}

/// A sliding window that addresses share: when it is full each has an equal part of it, and at least
/// one event.
#[derive(Debug, Default)]
pub struct SharedWindow {
    accepted: VecDeque<(Instant, AddrKey)>,
    /// How many of them are each address's, and each site's.
    by: HashMap<AddrKey, usize>,
}

impl SharedWindow {
    /// How long it takes until an event of this address is accepted, if at most `most` are to be within
    /// `window`; `None` if it would be accepted now. 0 means no limit.
    #[must_use]
    pub fn wait(
        &mut self,
        now: Instant,
        addr: AddrKey,
        most: usize,
        window: Duration,
    ) -> Option<Duration> {
        self.prune(now, window);
        if most == 0 || self.accepted.len() < most {
            return None;
        }
        let is_address = |key: &&AddrKey| !matches!(key, AddrKey::V6Site(_));
        let others = self.by.keys().filter(is_address).filter(|key| **key != addr).count();
        let share = (most / (others + 1)).max(1);
        let frees = |(level, times): (AddrKey, u32)| {
            let share = share * usize::try_from(times).unwrap_or(usize::MAX);
            let excess = self.by.get(&level)?.checked_sub(share)?;
            let of_level = |(_, addr): &&(_, AddrKey)| addr.levels().any(|(key, _)| key == level);
            let (at, _) = self.accepted.iter().filter(of_level).nth(excess)?;
            Some(window.saturating_sub(now.saturating_duration_since(*at)))
        };
        addr.levels().filter_map(frees).max()
    }

    /// Counts an event.
    pub fn accept(&mut self, now: Instant, addr: AddrKey) {
        self.accepted.push_back((now, addr));
        for (level, _) in addr.levels() {
            *self.by.entry(level).or_default() += 1;
        }
    }

    /// Forgets what is older than `window`, and the room it took when nothing is left.
    pub fn forget(&mut self, now: Instant, window: Duration) {
        self.prune(now, window);
        if self.accepted.is_empty() {
            *self = Self::default();
        }
    }

    fn prune(&mut self, now: Instant, window: Duration) {
        while let Some((at, addr)) = self.accepted.front().copied()
            && now.saturating_duration_since(at) >= window
        {
            self.accepted.pop_front();
            for (level, _) in addr.levels() {
                let Some(count) = self.by.get_mut(&level) else { continue };
                *count -= 1;
                if *count == 0 {
                    self.by.remove(&level);
                }
            }
        }
    }
}

/// Whole seconds to wait, rounded up, so that waiting this long is always enough.
#[must_use]
pub fn wait_secs(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Open connections of each address.
#[derive(Debug, Default)]
pub struct Connections {
    open: HashMap<AddrKey, u32>,
}

impl Connections {
    /// Adds one for `addr`, unless `limit` (0: none) are open already.
    #[must_use]
    pub fn try_open(&mut self, addr: AddrKey, limit: u32) -> bool {
        let is_full = |(level, times): (AddrKey, u32)| {
            self.open.get(&level).is_some_and(|open| *open >= limit.saturating_mul(times))
        };
        if limit != 0 && addr.levels().any(is_full) {
            return false;
        }
        for (level, _) in addr.levels() {
            *self.open.entry(level).or_default() += 1;
        }
        true
    }

    /// How many addresses, and sites, have a connection.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.open.len()
    }

    /// Removes one.
    pub fn close(&mut self, addr: AddrKey) {
        for (level, _) in addr.levels() {
            if let Some(open) = self.open.get_mut(&level) {
                *open -= 1;
                if *open == 0 {
                    self.open.remove(&level);
                }
            }
        }
    }
}

/// A table whose entries are forgotten at a set time. Holds at most [`MAX_REMEMBERED`] entries;
/// when it is full, the half is forgotten that would be forgotten first. Its owner calls
/// [`Expiring::forget`] now and then, which makes room again.
#[derive(Debug)]
pub struct Expiring<K, V> {
    entries: HashMap<K, (Instant, V)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Hash + Eq, V> Expiring<K, V> {
    /// Remembers `value` until `until`.
    pub fn insert(&mut self, key: K, value: V, until: Instant) {
        if self.entries.len() >= MAX_REMEMBERED && !self.entries.contains_key(&key) {
            self.forget_half();
        }
        self.entries.insert(key, (until, value));
    }

    /// Drops the half of the entries that expires first.
    fn forget_half(&mut self) {
        let mut times: Vec<_> = self.entries.values().map(|(until, _)| *until).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let mut left = self.entries.len() / 2;
        // Many may expire at once: of those no more than the half stay either.
        self.entries.retain(|_, (until, _)| {
            let stays = until >= middle && left > 0;
            left -= usize::from(stays);
            stays
        });
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.entries = HashMap::new();
    }

    /// What is remembered under this key.
    #[must_use]
    pub fn get(&self, now: Instant, key: &K) -> Option<&V> {
        self.entries.get(key).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    /// Removes what is remembered under this key.
    pub fn remove(&mut self, now: Instant, key: &K) -> Option<V> {
        self.entries.remove(key).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    /// Drops the entries that have expired, and the room they took.
    pub fn forget(&mut self, now: Instant) {
        self.entries.retain(|_, (until, _)| *until > now);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// How many entries there are, including expired ones that have not been dropped yet.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.entries.len()
    }
}

/// Counts failures by address, and locks an address out after too many of them.
#[derive(Debug)]
pub struct Lockouts {
    failures: usize,
    window: Duration,
    recent: Expiring<AddrKey, SlidingWindow>,
    locked: Expiring<AddrKey, Instant>,
}

impl Lockouts {
    /// `failures` within `window` lock an address out for `window`.
    #[must_use]
    pub fn new(failures: usize, window: Duration) -> Self {
        Self { failures, window, recent: Expiring::default(), locked: Expiring::default() }
    }

    /// How long this address is still locked out, if it is.
    #[must_use]
    pub fn wait(&self, now: Instant, addr: AddrKey) -> Option<Duration> {
        self.locked.get(now, &addr).map(|until| until.saturating_duration_since(now))
    }

    /// Counts one failure; true if that locks the address out.
    pub fn fail(&mut self, now: Instant, addr: AddrKey) -> bool {
        let mut recent = self.recent.remove(now, &addr).unwrap_or_default();
        let _ = recent.try_accept(now, self.failures, self.window);
        let until = now + self.window;
        if recent.accepted.len() < self.failures {
            self.recent.insert(addr, recent, until);
            return false;
        }
        self.locked.insert(addr, until, until);
        true
    }

    /// Drops failures and lock-outs whose time is over.
    pub fn forget(&mut self, now: Instant) {
        self.recent.forget(now);
        self.locked.forget(now);
    }

    /// How many addresses with failures, and how many locked-out ones, are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.recent.remembered() + self.locked.remembered()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        let key = |text: &str| AddrKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(key("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        // Behind one NAT64 there are many people.
        assert_eq!(key("64:ff9b::192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("64:ff9b:1::192.0.2.1"), key("192.0.2.1"));
        let levels: Vec<_> = key("2001:db8:1:2::1").levels().collect();
        assert_eq!(
            levels,
            [(key("2001:db8:1:2::"), 1), (AddrKey::V6Site(0x2001_0db8_0001_0000), 10)]
        );
        assert_eq!(levels[1].0.to_string(), "2001:db8:1::/48");
        assert_eq!(key("192.0.2.1").levels().count(), 1);
    }

    #[test]
    fn the_stated_wait_is_enough_and_a_second_less_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ten = Duration::from_secs(10);
        let mut window = SlidingWindow::default();
        for ms in [0, 100, 200, 300, 400] {
            assert_eq!(window.try_accept(at(ms), 5, ten), Ok(()));
        }
        assert_eq!(window.wait(at(3500), 5, ten), Some(Duration::from_millis(6500)));
        assert_eq!((window.wait(at(3500), 6, ten), window.count(at(3500), ten)), (None, 5));
        let wait = window.try_accept(at(3500), 5, ten).unwrap_err();
        assert_eq!(wait_secs(wait), 7);
        assert!(window.try_accept(at(9_999), 5, ten).is_err());
        assert_eq!(window.try_accept(at(10_000), 5, ten), Ok(()));
        assert!(window.try_accept(at(10_099), 5, ten).is_err());
        assert_eq!(window.try_accept(at(10_100), 5, ten), Ok(()));
        assert_eq!(wait_secs(Duration::from_secs(3)), 3);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(
            steps in proptest::collection::vec(0u64..4000, 1..200), limit in 1usize..6
        ) {
            let window = Duration::from_secs(10);
            let mut now = Instant::now();
            let mut sliding = SlidingWindow::default();
            let mut accepted = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                let recent = accepted.iter().filter(|at| now - **at < window).count();
                let result = sliding.try_accept(now, limit, window);
                prop_assert_eq!(result.is_ok(), recent < limit);
                if result.is_ok() {
                    accepted.push(now);
                }
            }
        }
    }

    #[test]
    fn connections_per_address() {
        let addr = AddrKey::V4(Ipv4Addr::LOCALHOST);
        let mut open = Connections::default();
        assert_eq!(open.addresses(), 0);
        assert!(open.try_open(addr, 2) && open.try_open(addr, 2));
        assert!(!open.try_open(addr, 2));
        assert!(open.try_open(AddrKey::V4(Ipv4Addr::BROADCAST), 2));
        assert_eq!(open.addresses(), 2);
        open.close(addr);
        assert!(open.try_open(addr, 2));
        (0..3).for_each(|_| open.close(addr));
        assert_eq!(open.addresses(), 1);
        assert!((0..100).all(|_| open.try_open(addr, 0)));
    }

    #[test]
    fn a_site_counts_like_ten_networks() {
        let net = |n: u64| AddrKey::V6Net(0x2001_0db8_0001_0000 + n);
        let mut open = Connections::default();
        for n in 0..10 {
            assert!(open.try_open(net(n), 2) && open.try_open(net(n), 2));
        }
        assert!(!open.try_open(net(10), 2));
        assert!(open.try_open(AddrKey::V6Net(0x2001_0db8_0002_0000), 2));
        open.close(net(3));
        assert!(open.try_open(net(10), 2) && !open.try_open(net(3), 2));
    }

    #[test]
    fn a_full_window_is_shared_equally_and_everybody_has_one() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let ten = Duration::from_secs(10);
        let addr = |n: u8| AddrKey::V4([192, 0, 2, n].into());
        let mut window = SharedWindow::default();
        for secs in 0..6 {
            assert_eq!(window.wait(at(secs), addr(1), 6, ten), None);
            window.accept(at(secs), addr(1));
        }
        // All for one, but it is full; a second address has half of it.
        assert_eq!(window.wait(at(6), addr(1), 6, ten), Some(Duration::from_secs(4)));
        for _ in 0..3 {
            assert_eq!(window.wait(at(6), addr(2), 6, ten), None);
            window.accept(at(6), addr(2));
        }
        assert_eq!(window.wait(at(6), addr(2), 6, ten), Some(ten));
        // The first one has three too many: the fourth has to go as well.
        assert_eq!(window.wait(at(6), addr(1), 6, ten), Some(Duration::from_secs(7)));
        for n in 10..40 {
            assert_eq!(window.wait(at(6), addr(n), 6, ten), None);
            window.accept(at(6), addr(n));
            // With seven addresses or more the share is one.
            assert_eq!(window.wait(at(6), addr(n), 6, ten).is_some(), n >= 11, "{n}");
        }
        assert_eq!(window.wait(at(16), addr(1), 6, ten), None);
        assert!(window.accepted.is_empty() && window.by.is_empty());
        assert_eq!(window.wait(at(16), addr(1), 0, ten), None);
    }

    #[test]
    fn what_is_given_back_may_be_had_again_and_once_only() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let ten = Duration::from_secs(10);
        let mut window = SlidingWindow::default();
        for secs in [0, 1, 1] {
            window.try_accept(at(secs), 3, ten).unwrap();
        }
        window.give_back(at(1));
        assert_eq!((window.count(at(2), ten), window.last()), (2, Some(at(1))));
        window.try_accept(at(2), 3, ten).unwrap();
        assert_eq!(window.wait(at(2), 3, ten), Some(Duration::from_secs(8)));
        // Of another time there is none.
        window.give_back(at(5));
        assert_eq!(window.count(at(2), ten), 3);
        for secs in [0, 1, 2] {
            window.give_back(at(secs));
        }
        assert_eq!((window.count(at(2), ten), window.last()), (0, None));
    }

    #[test]
    fn what_is_as_old_as_the_window_is_not_counted() {
        let start = Instant::now();
        let ten = Duration::from_secs(10);
        let mut window = SlidingWindow::default();
        assert_eq!((window.last(), window.count(start, ten)), (None, 0));
        window.try_accept(start, 2, ten).unwrap();
        let later = start + Duration::from_secs(4);
        window.try_accept(later, 2, ten).unwrap();
        assert_eq!((window.last(), window.count(start + ten, ten)), (Some(later), 1));
    }

    #[test]
    fn three_failures_within_a_minute_lock_out_for_a_minute() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let addr = AddrKey::V4(Ipv4Addr::LOCALHOST);
        let mut lockouts = Lockouts::new(3, Duration::from_secs(60));
        assert!(!lockouts.fail(at(0), addr));
        assert!(!lockouts.fail(at(50), addr));
        // The first one is a minute old: it no longer counts.
        assert!(!lockouts.fail(at(60), addr));
        assert_eq!(lockouts.wait(at(61), addr), None);
        assert!(lockouts.fail(at(62), addr));
        assert_eq!(lockouts.wait(at(72), addr), Some(Duration::from_secs(50)));
        assert_eq!(lockouts.wait(at(72), AddrKey::V6Net(0)), None);
        assert_eq!(lockouts.wait(at(122), addr), None);
        assert!(!lockouts.fail(at(122), addr));
        // That one failure, and the lock-out that is over.
        assert_eq!(lockouts.remembered(), 2);
        lockouts.forget(at(123));
        assert_eq!(lockouts.remembered(), 1);
        lockouts.forget(at(182));
        assert_eq!(lockouts.remembered(), 0);
    }

    #[test]
    fn the_forgetting_table_is_bounded_and_forgets() {
        let start = Instant::now();
        let minute = start + Duration::from_secs(60);
        let mut table = Expiring::default();
        for n in 0..MAX_REMEMBERED + 100 {
            table.insert(n, (), minute);
        }
        // All expire at once, so half of them had to go.
        assert!((MAX_REMEMBERED / 2..=MAX_REMEMBERED).contains(&table.remembered()));
        let first = (0..MAX_REMEMBERED).find(|n| table.get(start, n).is_some()).unwrap();
        assert_eq!(table.get(minute, &first), None);
        for n in 0..MAX_REMEMBERED * 2 {
            table.insert(MAX_REMEMBERED * 2 + n, (), start + Duration::from_secs(n as u64 % 60));
            assert!(table.remembered() <= MAX_REMEMBERED);
        }
        // What is to be remembered for longest stays.
        table.insert(5, (), minute + Duration::from_secs(1));
        assert!(table.get(start, &(MAX_REMEMBERED * 4 - 1)).is_some());
        table.forget(minute);
        assert_eq!((table.remembered(), table.get(minute, &5)), (1, Some(&())));
        assert!(table.entries.capacity() < 10);
        // Few of many gone: the room stays for others.
        for n in 0..1000 {
            table.insert(n, (), if n < 500 { minute } else { minute + Duration::from_secs(1) });
        }
        let room = table.entries.capacity();
        table.forget(minute);
        assert!(table.remembered() == 500 && table.entries.capacity() > room / 2);
        // Most of them gone: there is room for as many again.
        for n in 600..1000 {
            table.remove(minute, &n);
        }
        table.forget(minute);
        assert!((200..room).contains(&table.entries.capacity()));
        assert_eq!(table.remove(minute + Duration::from_secs(1), &500), None);
        table.forget(minute + Duration::from_secs(1));
        assert_eq!(table.remembered(), 0);
    }
}
