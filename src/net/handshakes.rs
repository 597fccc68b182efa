//! TLS handshakes under way: how many there may be, and whose is given up when there are too many.
//!
//! What is scarce is places and the time that they are held for. So an address pays for each handshake,
//! and most for those that do not come to an end; whoever just connects has paid for none.

use std::time::Instant;

use crate::id::ConnId;
use crate::rate::AddrKey;
use crate::share::{Claim, Shares};

/// What a handshake counts for that is finished: little, since its place is free again at once.
const FINISHED: f64 = 0.1;

/// All of them, at most `most`.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    /// In the order in which they began.
    under_way: Vec<Handshake>,
    shares: Shares,
}

#[derive(Debug, Clone, Copy)]
struct Handshake {
    id: ConnId,
    addr: AddrKey,
    since: Instant,
}

impl Handshake {
    /// What it counts for if it is not finished: one, and one for each second.
    fn amount(&self, now: Instant) -> f64 {
        1.0 + now.saturating_duration_since(self.since).as_secs_f64()
    }
}

impl Handshakes {
    pub(super) fn new(most: usize) -> Self {
        Self { most, under_way: Vec::new(), shares: Shares::default() }
    }

    /// One begins. If there are too many then, gives the one to be given up.
    pub(super) fn begin(&mut self, now: Instant, id: ConnId, addr: AddrKey) -> Option<ConnId> {
        self.under_way.push(Handshake { id, addr, since: now });
        if self.under_way.len() <= self.most {
            return None;
        }
        let claims = self.under_way.iter().map(|one| Claim {
            addr: one.addr,
            amount: one.amount(now),
            since: one.since,
            what: one.id,
        });
        self.shares.last(now, claims)
    }

    /// One is over, if it was under way.
    pub(super) fn end(&mut self, now: Instant, id: ConnId, finished: bool) {
        let Some(place) = self.under_way.iter().position(|one| one.id == id) else { return };
        let one = self.under_way.remove(place);
        let amount = if finished { FINISHED } else { one.amount(now) };
        self.shares.charge(now, one.addr, amount);
    }

    /// Whether half of all that there may be are under way: the other half is for clients that are let
    /// in, and not for telling others why they are not.
    pub(super) fn is_half_taken(&self) -> bool {
        self.under_way.len() * 2 >= self.most
    }
}
