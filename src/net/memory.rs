//! The memory ceiling: how near the server is to it, and what goes first when it is reached.
//!
//! Every byte that the program has allocated is counted, whatever it is for: unsent output,
//! histories, unfinished lines, TLS, passwords, questions. So nothing can be overlooked, and freed
//! memory counts as free at once; the resident memory that the system shows follows only slowly.
//!
//! There are two marks. At either the limits of those who have gone are forgotten first. Above the
//! lower one nothing dispensable is taken on (newcomers, lobbies, prompts, questions), and the lobbies
//! that remember most forget half of it every second. If that does not help within ten seconds,
//! connections are closed whose output or unfinished lines take the place of newcomers. At the higher
//! mark something goes at once, starting with the address that holds most for longest: first slow
//! readers, for whom much is held; if that is not enough, more of what lobbies remember; and if that
//! is still not enough, everybody else for whom something is held. Whoever holds little is never
//! closed for what others take.

use std::time::{Duration, Instant};

use super::conn::State;
use super::server::Server;
use crate::chat::CloseReason;
use crate::count::count;
use crate::id::ConnId;
use crate::limits::{
    FORGET_HALF_INTERVAL, GIVE_BACK_DELAY, LONG_STOOD, MUCH_HELD, PROGRAM_BYTES, SOME_HELD,
};
use crate::rate::AddrKey;
use crate::share::{Claim, Rank, Shares};

/// What the program knows about its allocator and the library cannot ask.
#[derive(Debug, Clone, Copy)]
pub struct Heap {
    /// How many bytes are allocated.
    pub allocated: fn() -> usize,
    /// Gives free memory back to the system.
    pub give_back: fn(),
}

/// The server's memory and its marks, in allocated bytes.
#[derive(Debug)]
pub(super) struct Memory {
    heap: Heap,
    low_mark: usize,
    high_mark: usize,
    /// When the low mark was passed; `None` unless memory is short.
    short_since: Option<Instant>,
    /// When lobbies forget next; `None` unless memory is short.
    forget_half: Option<Instant>,
    /// Connections closed to make room that the operator has not been told about yet.
    closed: usize,
}

impl Memory {
    /// With a ceiling of this many resident bytes; `None` for no ceiling.
    pub(super) fn new(heap: Heap, ceiling: Option<usize>) -> Self {
        // An allocator takes more than it is asked for: for its own tables, for rounding up, and
        // above all because of holes. glibc took half as much again when output of all sizes came
        // and went.
        let room = ceiling.map_or(usize::MAX, |bytes| bytes.saturating_sub(PROGRAM_BYTES));
        let high_mark = room / 8 * 5;
        Self {
            heap,
            low_mark: high_mark / 4 * 3,
            high_mark,
            short_since: None,
            forget_half: None,
            closed: 0,
        }
    }

    /// Bytes that are allocated now.
    pub(super) fn allocated(&self) -> usize {
        (self.heap.allocated)()
    }

    /// Whether newcomers have to wait, judged at this moment: several come in one turn.
    pub(super) fn is_short(&self) -> bool {
        self.short_since.is_some() || self.allocated() >= self.low_mark
    }

    pub(super) fn give_back(&self) {
        (self.heap.give_back)();
    }

    /// When [`Server::look_at_memory`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.forget_half
    }

    /// The number of bytes below which memory is no longer short: an eighth below the low mark.
    fn no_longer_short(&self) -> usize {
        self.low_mark / 8 * 7
    }

    fn tell_closed(&mut self) {
        let closed = std::mem::take(&mut self.closed);
        if closed > 0 {
            log::warn!("memory was full - closed: {}", count(closed as u64, "connection"));
        }
    }

    fn is_at_the_ceiling(&self) -> bool {
        self.allocated() >= self.high_mark
    }
}

/// What is held for one connection.
#[derive(Debug)]
struct Holder {
    /// Its place among all: the last in this order goes first. It is given by how much its address
    /// holds, and for how long: what stands still weighs more than what is moving.
    rank: Rank,
    stood: Duration,
    /// Bytes.
    held: usize,
    id: ConnId,
}

impl Server {
    /// Checks the lower mark, once a turn. Memory stays short until an eighth below it is free.
    pub(super) fn look_at_memory(&mut self, now: Instant) {
        if self.memory.forget_half.is_some_and(|at| at <= now) {
            self.chat.forget_half(now);
            if self.memory.short_since.is_some_and(|since| now >= since + LONG_STOOD) {
                self.make_room_for_newcomers(now);
            }
            self.give_back = Some(now);
            self.memory.tell_closed();
            self.memory.forget_half = Some(now + FORGET_HALF_INTERVAL);
        }
        let was_short = self.memory.short_since.is_some();
        let mark = if was_short { self.memory.no_longer_short() } else { self.memory.low_mark };
        if self.memory.allocated() >= mark && !was_short {
            self.chat.forget_departed();
        }
        let allocated = self.memory.allocated();
        let short = allocated >= mark;
        if short == was_short {
            return;
        }
        self.memory.short_since = short.then_some(now);
        self.memory.forget_half = short.then_some(now);
        self.chat.set_short_of_memory(short);
        if short {
            let kib = allocated / 1024;
            log::warn!("memory is short - {kib} KiB are allocated; newcomers are turned away");
        } else {
            self.memory.tell_closed();
            log::info!("memory is not short any more");
        }
    }

    /// Makes room if the higher mark is reached.
    pub(super) fn make_room(&mut self, now: Instant) {
        if !self.memory.is_at_the_ceiling() {
            return;
        }
        self.chat.forget_departed();
        if !self.memory.is_at_the_ceiling() {
            return;
        }
        let mut holders = self.holders(now);
        let high_mark = self.memory.high_mark;
        self.close_until(now, high_mark / 8 * 7, &mut holders, |one| one.held >= MUCH_HELD);
        while self.memory.is_at_the_ceiling() && self.chat.forget_half(now) {}
        holders.sort_by(|one, other| one.rank.order(&other.rank));
        // Closing those for whom nothing is held would not help.
        self.close_until(now, high_mark, &mut holders, |one| one.held >= SOME_HELD);
        self.give_back.get_or_insert(now + GIVE_BACK_DELAY);
    }

    /// Closes connections for which something is held that others could use, until memory is not
    /// short.
    fn make_room_for_newcomers(&mut self, now: Instant) {
        let mut holders = self.holders(now);
        let stands = |one: &Holder| one.held >= SOME_HELD && one.stood >= LONG_STOOD;
        holders.retain(|one| one.held >= MUCH_HELD || stands(one));
        self.close_until(now, self.memory.no_longer_short(), &mut holders, |_| true);
    }

    /// Closes the last of these, for as long as they should go and this many bytes are allocated.
    fn close_until(
        &mut self,
        now: Instant,
        mark: usize,
        holders: &mut Vec<Holder>,
        should_go: impl Fn(&Holder) -> bool,
    ) {
        while self.memory.allocated() >= mark
            && let Some(holder) = holders.pop_if(|holder| should_go(holder))
        {
            self.take_from(now, holder.id);
            self.memory.closed += 1;
        }
    }

    /// All connections in the order of their ranks; those for which much is held come after all
    /// others.
    fn holders(&self, now: Instant) -> Vec<Holder> {
        let conns = self.conns.iter().filter(|(_, conn)| conn.state != State::Closed);
        let mut claims: Vec<_> = conns
            .map(|(_, conn)| {
                let held = conn.held() + self.outboxes.held(conn.id);
                let stood = now.saturating_duration_since(conn.progress).min(LONG_STOOD);
                #[allow(clippy::cast_precision_loss)]
                let amount = held as f64 * stood.as_secs_f64();
                let addr = AddrKey::from(conn.peer.ip());
                Claim { addr, amount, since: now, what: (stood, held, conn.id) }
            })
            .collect();
        // What weighs most comes last for its address, and among equals the latest to come.
        claims.sort_by(|one, other| {
            let generation = |claim: &Claim<(_, _, ConnId)>| claim.what.2.generation();
            one.amount.total_cmp(&other.amount).then(generation(one).cmp(&generation(other)))
        });
        let ranked = Shares::default().ranked(now, claims).into_iter();
        let mut holders: Vec<_> =
            ranked.map(|(rank, (stood, held, id))| Holder { rank, stood, held, id }).collect();
        holders.sort_by(|one, other| {
            let much = |holder: &Holder| holder.held >= MUCH_HELD;
            much(one).cmp(&much(other)).then(one.rank.order(&other.rank))
        });
        holders
    }

    /// Closes a connection and frees at once what it held.
    fn take_from(&mut self, now: Instant, id: ConnId) {
        self.lose(now, id, CloseReason::Memory);
        self.outboxes.close(id);
        if let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) {
            conn.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_leave_room_for_the_program_and_the_allocator() {
        let heap = Heap { allocated: || 5 << 20, give_back: || {} };
        let mib = |n: usize| Some(n << 20);
        let marks = |ceiling| {
            let memory = Memory::new(heap, ceiling);
            (memory.low_mark, memory.high_mark)
        };
        assert_eq!(marks(mib(20)), (15 << 19, 10 << 20));
        assert!(Memory::new(heap, mib(12)).is_at_the_ceiling());
        assert!(!Memory::new(heap, mib(13)).is_at_the_ceiling());
        assert!(!Memory::new(heap, None).is_at_the_ceiling());
    }
}
