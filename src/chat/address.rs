//! What all users of one address are and do together.
//!
//! Owns the table of addresses: those from which somebody is here, and for a while those that somebody
//! has left. Knows nothing of names.

use std::collections::HashMap;
use std::time::Instant;

use crate::rate::AddrKey;

/// All addresses, and IPv6 sites.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<AddrKey, Address>,
}

/// One address.
#[derive(Debug)]
struct Address {
    /// Connections.
    sessions: u32,
    /// Since when it has had one without interruption.
    here: Instant,
}

impl Addresses {
    /// One more connection.
    pub(super) fn came(&mut self, now: Instant, addr: AddrKey) {
        for (level, _) in addr.levels() {
            let address = self.known.entry(level).or_insert(Address { sessions: 0, here: now });
            address.sessions += 1;
        }
    }

    /// One less.
    pub(super) fn went(&mut self, addr: AddrKey) {
        for (level, _) in addr.levels() {
            let Some(address) = self.known.get_mut(&level) else { continue };
            address.sessions -= 1;
            if address.sessions == 0 {
                self.known.remove(&level);
            }
        }
    }

    /// Since when somebody has been here from this address, without interruption.
    pub(super) fn here(&self, addr: AddrKey) -> Option<Instant> {
        Some(self.known.get(&addr)?.here)
    }
}
