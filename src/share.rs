//! Sharing: whose turn it is when something scarce is wanted by many, and who gives place when there
//! is no room. One rule for everything: whoever has had least of it in the last minutes comes first,
//! and of all who hold or want some, the last in that order gives place.
//!
//! What is shared is counted by address, IPv6 sites included, so that many connections, names or
//! lobbies of one person are one. Knows no clock; remembers [`MAX_SHARES`] addresses at most.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

use crate::limits::{MAX_SHARES, SHARE_HALF_LIFE};
use crate::rate::AddrKey;

/// What each address has had of one thing lately, in units of the owner's choice. Half of it is
/// forgotten in every [`SHARE_HALF_LIFE`].
#[derive(Debug, Default)]
pub struct Shares {
    had: HashMap<AddrKey, Had>,
    /// When those who have had next to nothing were last forgotten.
    swept: Option<Instant>,
}

/// Parts of a unit that ranks differ by.
const GRAINS: f64 = 16.0;
/// Less than this is as good as nothing: what is left of one after a quarter of an hour.
const NEXT_TO_NOTHING: f64 = 0.000_03;

#[derive(Debug, Clone, Copy)]
struct Had {
    at: Instant,
    amount: f64,
}

impl Had {
    fn now(self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.amount * (-passed / SHARE_HALF_LIFE.as_secs_f64()).exp2()
    }
}

/// Somebody who holds some of it, or waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Claim<T> {
    /// Whose it counts as.
    pub addr: AddrKey,
    /// How much it is.
    pub amount: f64,
    /// Among equals, whoever has been here for longest comes first.
    pub since: Instant,
    /// What is claimed.
    pub what: T,
}

/// A place in the order in which something is shared: the first are served, the last give place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// What the address has had, and what it claims up to this, rounded to [`GRAINS`]: less makes no
    /// difference.
    had: f64,
    since: Instant,
}

impl Rank {
    /// The order of ranks.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.had.total_cmp(&other.had).then(self.since.cmp(&other.since))
    }
}

impl Shares {
    /// Counts that this address has had so much; less than nothing gives some back.
    pub fn charge(&mut self, now: Instant, addr: AddrKey, amount: f64) {
        self.forget(now);
        for (level, _) in addr.levels() {
            if !self.had.contains_key(&level) && self.had.len() >= MAX_SHARES {
                self.forget_least(now);
            }
            let had = self.had.entry(level).or_insert(Had { at: now, amount: 0.0 });
            *had = Had { at: now, amount: (had.now(now) + amount).max(0.0) };
        }
    }

    /// What this address has had lately. What others of its site have had counts as well.
    #[must_use]
    pub fn had(&self, now: Instant, addr: AddrKey) -> f64 {
        addr.levels()
            .filter_map(|(level, times)| Some(self.had.get(&level)?.now(now) / f64::from(times)))
            .fold(0.0, f64::max)
    }

    /// Gives all claims their ranks. They are given in the order in which they came: an address's
    /// second one counts as if it had the first already.
    pub fn ranked<T>(
        &self,
        now: Instant,
        claims: impl IntoIterator<Item = Claim<T>>,
    ) -> Vec<(Rank, T)> {
        let mut claimed: HashMap<AddrKey, f64> = HashMap::new();
        let mut rank = |claim: Claim<T>| {
            let mut most = 0.0;
            for (level, times) in claim.addr.levels() {
                let had = claimed
                    .entry(level)
                    .or_insert_with(|| self.had.get(&level).map_or(0.0, |had| had.now(now)));
                *had += claim.amount;
                most = f64::max(most, *had / f64::from(times));
            }
            (Rank { had: (most * GRAINS).round(), since: claim.since }, claim.what)
        };
        claims.into_iter().map(&mut rank).collect()
    }

    /// The first of these in order.
    pub fn first<T>(&self, now: Instant, claims: impl IntoIterator<Item = Claim<T>>) -> Option<T> {
        let ranked = self.ranked(now, claims).into_iter();
        Some(ranked.min_by(|(one, _), (other, _)| one.order(other))?.1)
    }

    /// The last of these in order, who gives place.
    pub fn last<T>(&self, now: Instant, claims: impl IntoIterator<Item = Claim<T>>) -> Option<T> {
        let ranked = self.ranked(now, claims).into_iter();
        Some(ranked.max_by(|(one, _), (other, _)| one.order(other))?.1)
    }

    /// How many addresses, and sites, are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.had.len()
    }

    /// Forgets who has had next to nothing, now and then.
    fn forget(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SHARE_HALF_LIFE) {
            return;
        }
        self.swept = Some(now);
        self.had.retain(|_, had| had.now(now) > NEXT_TO_NOTHING);
        if self.had.len() < self.had.capacity() / 4 {
            self.had.shrink_to(self.had.len() * 2);
        }
    }

    /// Makes room: whoever has had less than the average is like somebody who has had nothing.
    fn forget_least(&mut self, now: Instant) {
        let total: f64 = self.had.values().map(|had| had.now(now)).sum();
        let average = total / f64::from(u32::try_from(self.had.len()).unwrap_or(u32::MAX));
        self.had.retain(|_, had| had.now(now) > average);
    }
}

/// A waiting line of bounded length for something of which one is served at a time.
#[derive(Debug)]
pub struct Line<T> {
    shares: Shares,
    /// In the order in which they came.
    waiting: Vec<Claim<T>>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { shares: Shares::default(), waiting: Vec::new() }
    }
}

impl<T> Line<T> {
    /// Adds somebody. If more than `most` wait then, gives whoever gives place: perhaps the new one.
    pub fn push(&mut self, now: Instant, claim: Claim<T>, most: usize) -> Option<T> {
        self.waiting.push(claim);
        if self.waiting.len() <= most { None } else { self.take_last(now, |_| true) }
    }

    /// Takes the first of those who can be served, which counts as having had it.
    pub fn next(&mut self, now: Instant, can: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.shares.first(now, self.claims(can))?;
        let claim = self.waiting.remove(place);
        self.shares.charge(now, claim.addr, claim.amount);
        Some(claim.what)
    }

    /// Takes the last of these.
    pub fn take_last(&mut self, now: Instant, of: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.shares.last(now, self.claims(of))?;
        Some(self.waiting.remove(place).what)
    }

    /// How many of these come before the one for whom this holds.
    #[must_use]
    pub fn before(
        &self,
        now: Instant,
        of: impl Fn(&T) -> bool,
        whom: impl Fn(&T) -> bool,
    ) -> Option<usize> {
        let mut ranked = self.shares.ranked(now, self.claims(of));
        ranked.sort_by(|(one, _), (other, _)| one.order(other));
        let is_it = |place: usize| self.waiting.get(place).is_some_and(|claim| whom(&claim.what));
        ranked.iter().position(|(_, place)| is_it(*place))
    }

    /// Forgets those for whom this does not hold.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.waiting.retain(|claim| keep(&claim.what));
    }

    /// All who wait, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|claim| &claim.what)
    }

    /// The first of these, in the order in which they came, to be changed.
    pub fn find_mut(&mut self, which: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.waiting.iter_mut().map(|claim| &mut claim.what).find(|what| which(what))
    }

    /// Gives back so much that this address was charged at this time.
    pub fn give_back(&mut self, now: Instant, addr: AddrKey, amount: f64, at: Instant) {
        self.shares.charge(now, addr, -Had { at, amount }.now(now));
    }

    fn claims(&self, of: impl Fn(&T) -> bool) -> impl Iterator<Item = Claim<usize>> {
        self.waiting.iter().enumerate().filter(move |(_, claim)| of(&claim.what)).map(
            |(place, claim)| Claim {
                addr: claim.addr,
                amount: claim.amount,
                since: claim.since,
                what: place,
            },
        )
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn addr(n: u8) -> AddrKey {
        AddrKey::V4([192, 0, 2, n].into())
    }

    fn claim<T>(addr: AddrKey, since: Instant, what: T) -> Claim<T> {
        Claim { addr, amount: 1.0, since, what }
    }

    #[test]
    fn who_has_had_least_comes_first_and_who_has_most_gives_place() {
        let now = Instant::now();
        let mut line = Line::default();
        for what in ["a1", "a2", "a3"] {
            assert_eq!(line.push(now, claim(addr(1), now, what), 4), None);
        }
        assert_eq!(line.push(now, claim(addr(2), now, "b1"), 4), None);
        // There is no room for one more: the third of an address is more than anybody else's.
        assert_eq!(line.push(now, claim(addr(3), now, "c1"), 4), Some("a3"));
        assert_eq!(line.before(now, |_| true, |what| *what == "a2"), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| line.next(now, |_| true)).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2"]);
        // All have had one, and the first address two.
        line.push(now, claim(addr(1), now, "a4"), 4);
        line.push(now, claim(addr(4), now, "d1"), 4);
        line.push(now, claim(addr(2), now, "b2"), 4);
        assert_eq!(line.next(now, |what| *what != "d1").unwrap(), "b2");
        assert_eq!(line.next(now, |_| true).unwrap(), "d1");
        line.retain(|what| *what != "a4");
        assert_eq!((line.iter().count(), line.before(now, |_| true, |_| true)), (0, None));
    }

    #[test]
    fn among_equals_who_has_been_here_for_longest_comes_first() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let mut line = Line::default();
        line.push(later, claim(addr(1), later, "new"), 9);
        line.push(later, claim(addr(2), start, "old"), 9);
        assert_eq!(line.take_last(later, |_| true), Some("new"));
        assert_eq!(line.next(later, |_| true).unwrap(), "old");
    }

    #[test]
    fn what_was_had_is_forgotten_by_halves() {
        let start = Instant::now();
        let mut shares = Shares::default();
        shares.charge(start, addr(1), 8.0);
        let later = start + 2 * SHARE_HALF_LIFE;
        assert!((shares.had(later, addr(1)) - 2.0).abs() < 1e-9);
        shares.charge(later, addr(1), 1.0);
        assert!((shares.had(later, addr(1)) - 3.0).abs() < 1e-9);
        shares.charge(later, addr(1), -5.0);
        assert!(shares.had(later, addr(1)).abs() < 1e-9);
        shares.charge(later + SHARE_HALF_LIFE, addr(2), 1.0);
        assert_eq!(shares.remembered(), 1);
    }

    #[test]
    fn a_site_is_ten_networks() {
        let now = Instant::now();
        let net = |n: u64| AddrKey::V6Net(0x2001_0db8_0001_0000 + n);
        let mut shares = Shares::default();
        (0..100).for_each(|n| shares.charge(now, net(n), 1.0));
        assert!((shares.had(now, net(500)) - 10.0).abs() < 1e-6);
        let claims = [claim(net(501), now, 1), claim(addr(1), now, 2)];
        assert_eq!(shares.first(now, claims), Some(2));
        // Also of what nobody has had yet.
        let claims = (0..30).map(|n| claim(net(n), now, n)).chain([claim(addr(1), now, 99)]);
        let ranked = Shares::default().ranked(now, claims);
        assert_eq!((ranked[29].0.had, ranked[30].0.had), (48.0, 16.0));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_those_who_had_most_are() {
        let now = Instant::now();
        let mut shares = Shares::default();
        let nth = |n: u32| AddrKey::V4(n.into());
        shares.charge(now, nth(0), 5.0);
        for n in 1..20_000 {
            shares.charge(now, nth(n), 1.0);
            assert!(shares.remembered() <= MAX_SHARES);
        }
        assert!(shares.had(now, nth(0)) > 4.9);
    }
}
