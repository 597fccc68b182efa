//! What the senders say, and when.

use std::time::{Duration, Instant};

use super::{Driver, LONGEST_WAIT};
use crate::load::Outcome;

/// What did not come when nothing has come for so long is lost.
const SILENCE: Duration = Duration::from_secs(8);

/// Who sends when.
pub(super) enum Pace {
    Silent,
    /// The next message when one of the sender's own has reached everybody.
    Closed,
    /// Message `n` at `start + n * interval`, the senders in turn.
    Open {
        start: Instant,
        interval: Duration,
        next: u32,
    },
}

impl Driver {
    /// So many messages in flight from now on.
    pub(in super::super) fn talk_closed(&mut self, in_flight: usize) -> Outcome<()> {
        self.pace = Pace::Closed;
        let senders = self.tally.senders().max(1);
        self.tally.completed.extend((0..in_flight).map(|n| n % senders));
        self.say_next()
    }

    /// So many messages a second from now on.
    pub(in super::super) fn talk_open(&mut self, rate: u32) {
        let interval = Duration::from_secs(1) / rate.max(1);
        self.pace = Pace::Open { start: Instant::now() + interval, interval, next: 0 };
    }

    /// Nobody says anything more; waits until all have what was said, or nobody gets anything any
    /// more: what is missing then is lost.
    pub(in super::super) fn fall_silent(&mut self) -> Outcome<()> {
        self.pace = Pace::Silent;
        self.tally.measuring = false;
        // As long as something comes: ten thousand deliveries take a slow server their time.
        let (mut missing, mut since) = (self.tally.missing(), Instant::now());
        while missing > 0 && since.elapsed() < SILENCE {
            self.turn(Instant::now() + LONGEST_WAIT)?;
            if self.tally.missing() < missing {
                (missing, since) = (self.tally.missing(), Instant::now());
            }
        }
        self.tally.lost += self.tally.missing();
        Ok(())
    }

    pub(super) fn say_next(&mut self) -> Outcome<()> {
        match self.pace {
            Pace::Silent => self.tally.completed.clear(),
            Pace::Closed => {
                let mut completed = std::mem::take(&mut self.tally.completed);
                // All that one sender says in a turn leaves in one write.
                completed.sort_unstable();
                for run in completed.chunk_by(|a, b| a == b) {
                    let now = Instant::now();
                    if let Some(&sender) = run.first() {
                        self.say(sender, run.len(), now);
                    }
                }
                completed.clear();
                self.tally.completed.append(&mut completed);
            }
            Pace::Open { start, interval, mut next } => {
                self.tally.completed.clear();
                let now = Instant::now();
                let mut due = start + interval * next;
                while due <= now {
                    self.say(next as usize % self.tally.senders().max(1), 1, due);
                    next += 1;
                    due = start + interval * next;
                }
                self.pace = Pace::Open { start, interval, next };
                self.alarm.set(due.saturating_duration_since(Instant::now()))?;
            }
        }
        Ok(())
    }

    fn say(&mut self, sender: usize, count: usize, at: Instant) {
        let Some(Some(client)) = self.clients.get_mut(sender) else { return };
        for _ in 0..count {
            let sequence = self.tally.send(sender, at);
            let payload = self.payload.render(sender, sequence);
            self.protocol.say(&mut client.stream.out, payload);
        }
        let result = client.stream.flush();
        self.note_end(sender, result);
    }
}
