//! What all users of one address are and do together.
//!
//! Owns the table of addresses: those from which somebody is here, and for a while those that somebody
//! has left. Knows nothing of names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::limits::MAX_REMEMBERED;
use crate::rate::{AddrKey, SlidingWindow};

/// What is limited for all users of an address together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A line that others may notice.
    Says,
    /// A command that only shows something.
    Looks,
    /// A log-in.
    LogsIn,
}

/// How often, in which span. Sites have more by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) act: Act,
    pub(super) most: usize,
    pub(super) window: Duration,
}

/// All addresses, and IPv6 sites.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<AddrKey, Address>,
    /// Those of them from which nobody is here.
    left: usize,
}

/// One address.
#[derive(Debug)]
struct Address {
    /// Connections.
    sessions: u32,
    /// Since when it has had one without interruption.
    here: Instant,
    said: SlidingWindow,
    looked: SlidingWindow,
    logged_in: SlidingWindow,
    /// When nothing of that counts any more.
    until: Instant,
}

impl Address {
    fn window(&mut self, act: Act) -> &mut SlidingWindow {
        match act {
            Act::Says => &mut self.said,
            Act::Looks => &mut self.looked,
            Act::LogsIn => &mut self.logged_in,
        }
    }
}

impl Addresses {
    /// One more connection.
    pub(super) fn came(&mut self, now: Instant, addr: AddrKey) {
        for (level, _) in addr.levels() {
            let address = self.known.entry(level).or_insert_with(|| {
                self.left += 1;
                Address {
                    sessions: 0,
                    here: now,
                    said: SlidingWindow::default(),
                    looked: SlidingWindow::default(),
                    logged_in: SlidingWindow::default(),
                    until: now,
                }
            });
            if address.sessions == 0 {
                self.left -= 1;
                address.here = now;
            }
            address.sessions += 1;
        }
    }

    /// One less.
    pub(super) fn went(&mut self, now: Instant, addr: AddrKey) {
        for (level, _) in addr.levels() {
            let Some(address) = self.known.get_mut(&level) else { continue };
            address.sessions -= 1;
            if address.sessions > 0 {
                continue;
            }
            if address.until <= now || self.left >= MAX_REMEMBERED {
                self.known.remove(&level);
            } else {
                self.left += 1;
            }
        }
    }

    /// Since when somebody has been here from this address, without interruption.
    pub(super) fn here(&self, addr: AddrKey) -> Option<Instant> {
        Some(self.known.get(&addr)?.here)
    }

    /// Counts something that a user of this address does.
    ///
    /// # Errors
    /// It is too much: how long to wait.
    pub(super) fn try_accept(
        &mut self,
        now: Instant,
        addr: AddrKey,
        limit: Limit,
    ) -> Result<(), Duration> {
        for (level, times) in addr.levels() {
            let Some(address) = self.known.get_mut(&level) else { continue };
            let most = limit.most.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX));
            if let Err(wait) = address.window(limit.act).try_accept(now, most, limit.window) {
                // Refused for its site, it is not counted for the address either.
                if level != addr
                    && let Some(address) = self.known.get_mut(&addr)
                {
                    address.window(limit.act).give_back(now);
                }
                return Err(wait);
            }
            address.until = address.until.max(now + limit.window);
        }
        Ok(())
    }

    /// Takes back what was counted at this time: it did not happen after all.
    pub(super) fn give_back(&mut self, at: Instant, addr: AddrKey, act: Act) {
        for (level, _) in addr.levels() {
            if let Some(address) = self.known.get_mut(&level) {
                address.window(act).give_back(at);
            }
        }
    }

    /// Forgets addresses that somebody has left and that nothing counts for any more.
    pub(super) fn forget(&mut self, now: Instant) {
        self.known.retain(|_, address| address.sessions > 0 || address.until > now);
        self.left = self.known.values().filter(|address| address.sessions == 0).count();
        if self.known.len() < self.known.capacity() / 4 {
            self.known.shrink_to(self.known.len() * 2);
        }
    }

    /// Forgets all from which nobody is here, whatever they did.
    pub(super) fn forget_left(&mut self) {
        self.known.retain(|_, address| address.sessions > 0);
        self.known.shrink_to_fit();
        self.left = 0;
    }

    /// How many are remembered although nobody is here from them.
    pub(super) fn remembered(&self) -> usize {
        self.left
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const SAYS: Limit = Limit { act: Act::Says, most: 2, window: Duration::from_secs(10) };

    fn net(n: u64) -> AddrKey {
        AddrKey::V6Net(0x2001_0db8_0001_0000 + n)
    }

    #[test]
    fn what_an_address_did_stays_with_it_for_as_long_as_it_counts() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut addresses = Addresses::default();
        let addr = AddrKey::V4([192, 0, 2, 1].into());
        addresses.came(at(0), addr);
        addresses.came(at(5), addr);
        assert_eq!(addresses.here(addr), Some(at(0)));
        for _ in 0..2 {
            assert_eq!(addresses.try_accept(at(5), addr, SAYS), Ok(()));
        }
        assert_eq!(addresses.try_accept(at(6), addr, SAYS), Err(Duration::from_secs(9)));
        addresses.give_back(at(5), addr, Act::Says);
        assert_eq!(addresses.try_accept(at(6), addr, SAYS), Ok(()));
        addresses.went(at(7), addr);
        addresses.went(at(7), addr);
        assert_eq!(addresses.remembered(), 1);
        // It comes anew, and has not become somebody else.
        addresses.came(at(8), addr);
        assert_eq!((addresses.remembered(), addresses.here(addr)), (0, Some(at(8))));
        assert!(addresses.try_accept(at(8), addr, SAYS).is_err());
        addresses.went(at(8), addr);
        addresses.forget(at(15));
        assert_eq!(addresses.remembered(), 1);
        addresses.forget(at(16));
        assert_eq!((addresses.remembered(), addresses.here(addr)), (0, None));
        // Of one that did nothing nothing stays.
        addresses.came(at(20), addr);
        addresses.went(at(21), addr);
        assert_eq!((addresses.remembered(), addresses.known.len()), (0, 0));
    }

    #[test]
    fn the_networks_of_a_site_have_ten_times_as_much_together() {
        let now = Instant::now();
        let mut addresses = Addresses::default();
        for n in 0..12 {
            addresses.came(now, net(n));
        }
        let accepted = |addresses: &mut Addresses, n| {
            (0..3).filter(|_| addresses.try_accept(now, net(n), SAYS).is_ok()).count()
        };
        let counts: Vec<_> = (0..11).map(|n| accepted(&mut addresses, n)).collect();
        assert_eq!(counts, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0]);
        // Refused for the site it is not counted for the network.
        addresses.give_back(now, net(3), Act::Says);
        assert_eq!(accepted(&mut addresses, 10), 1);
    }
}
