//! Who is served first when a turn has no time for everybody who is ready.
//!
//! As long as all are served in every turn, their order makes no difference and nothing is measured.
//! From the first turn on that leaves somebody waiting, the time that is spent on each client is charged
//! to its address, and whoever has had least of it comes first.

use std::time::{Duration, Instant};

use super::server::{Server, read_clock};
use crate::id::ConnId;
use crate::limits::{HANDSHAKES_PER_TURN, SERVE_TIME};
use crate::rate::AddrKey;
use crate::share::{Claim, Shares};

/// What serving a client is expected to take, in milliseconds.
const EXPECTED_MS: f64 = 0.05;

/// The time that addresses have had, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Turns {
    shares: Shares,
    /// The last turn did not serve everybody.
    is_short: bool,
}

impl Server {
    /// Serves everybody who was ready when this turn began, but only a few handshakes: each costs
    /// as much as hundreds of messages. While much of what was said is still unsent, nobody may say
    /// more.
    pub(super) fn serve_ready(&mut self, now: Instant) {
        let mut handshakes = HANDSHAKES_PER_TURN;
        let mut clock = read_clock();
        let end = clock + SERVE_TIME;
        if self.turns.is_short {
            self.order_ready(now);
        }
        for _ in 0..self.ready.len() {
            if self.has_to_send_first() || clock >= end {
                self.turns.is_short = true;
                return;
            }
            let Some(id) = self.ready.pop_front() else { return };
            let mut addr = None;
            if let Some(conn) = self.conn(id) {
                addr = Some(AddrKey::from(conn.peer.ip()));
                if conn.handshaking {
                    if handshakes == 0 {
                        self.ready.push_back(id);
                        continue;
                    }
                    handshakes -= 1;
                }
            }
            self.serve(now, id);
            self.make_room(now);
            let before = std::mem::replace(&mut clock, read_clock());
            if let Some(addr) = addr.filter(|_| self.turns.is_short) {
                let took = clock.saturating_duration_since(before);
                self.turns.shares.charge(now, addr, took.as_secs_f64() * 1000.0);
                if let Some(conn) = self.conn(id) {
                    conn.served += took;
                }
            }
        }
        self.turns.is_short = false;
    }

    /// Puts those first who have had least time.
    fn order_ready(&mut self, now: Instant) {
        let ready: Vec<ConnId> = self.ready.drain(..).collect();
        let ready = ready.into_iter().filter_map(|id| {
            let conn = self.conn(id)?;
            Some((AddrKey::from(conn.peer.ip()), conn.served, id))
        });
        let ready = ready.collect();
        self.ready.extend(self.turns.in_order(now, ready));
    }
}

impl Turns {
    /// Connections, each with its address and the time it has had itself: those first whose addresses
    /// have had least, and of one address those that have.
    fn in_order(
        &self,
        now: Instant,
        mut ready: Vec<(AddrKey, Duration, ConnId)>,
    ) -> impl Iterator<Item = ConnId> {
        ready.sort_by_key(|(_, served, _)| *served);
        let claims = ready.into_iter().map(|(addr, _, id)| Claim {
            addr,
            amount: EXPECTED_MS,
            since: now,
            what: id,
        });
        let mut ranked = self.shares.ranked(now, claims);
        ranked.sort_by(|(one, _), (other, _)| one.order(other));
        ranked.into_iter().map(|(_, id)| id)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn who_has_had_least_time_comes_first_and_addresses_take_turns() {
        let now = Instant::now();
        let addr = |n: u8| AddrKey::V4([192, 0, 2, n].into());
        let ms = Duration::from_millis;
        let mut turns = Turns::default();
        turns.shares.charge(now, addr(1), 50.0);
        let id = |n| ConnId::new(n, 1).unwrap();
        let ready = vec![
            (addr(1), ms(40), id(11)),
            (addr(1), ms(10), id(12)),
            (addr(1), ms(0), id(13)),
            (addr(2), ms(0), id(21)),
            (addr(2), ms(0), id(22)),
            (addr(3), ms(0), id(31)),
        ];
        let order: Vec<_> = turns.in_order(now, ready).map(ConnId::slot).collect();
        assert_eq!(order, [21, 31, 22, 13, 12, 11]);
    }
}
