//! Who has which message: in flight, delivered, lost, out of order, and how long each delivery took.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones, in nanoseconds.
const LONGEST_NANOS: u64 = 120_000_000_000;

/// Latencies, in nanoseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, LONGEST_NANOS, 3).expect("these bounds are in order")
}

/// A message that not everybody has.
struct Flight {
    /// When it was sent, or due.
    at: Instant,
    /// Recipients without it.
    left: usize,
}

/// The messages of one sender.
#[derive(Default)]
struct Sender {
    /// Those that not everybody has, and the sequence of the first one.
    flights: VecDeque<Flight>,
    first: u32,
}

impl Sender {
    fn next(&self) -> u32 {
        self.first + u32::try_from(self.flights.len()).unwrap_or(u32::MAX)
    }
}

/// Clients are numbered from 0; the first ones are the senders.
pub(super) struct Tally {
    senders: Vec<Sender>,
    recipients: usize,
    echoes: bool,
    /// The next sequence, by recipient and sender.
    expected: Vec<u32>,
    /// Senders, once for each message that all have; for the driver to take.
    pub(super) completed: Vec<usize>,
    /// Whether what happens now is part of the result.
    pub(super) measuring: bool,
    /// Whose deliveries are left out of the latencies.
    pub(super) apart: Option<usize>,
    pub(super) latency: Histogram<u64>,
    pub(super) messages: u64,
    pub(super) deliveries: u64,
    pub(super) lost: u64,
    pub(super) misordered: u64,
    pub(super) damaged: u64,
}

impl Tally {
    pub(super) fn new(recipients: usize, senders: usize, echoes: bool) -> Self {
        Self {
            senders: (0..senders).map(|_| Sender::default()).collect(),
            recipients,
            echoes,
            expected: vec![0; recipients * senders],
            completed: Vec::new(),
            measuring: false,
            apart: None,
            latency: histogram(),
            messages: 0,
            deliveries: 0,
            lost: 0,
            misordered: 0,
            damaged: 0,
        }
    }

    pub(super) fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Starts to measure anew.
    pub(super) fn begin(&mut self) {
        self.latency.reset();
        (self.messages, self.deliveries) = (0, 0);
        self.measuring = true;
    }

    /// Notes a message that is sent now, or was due then, and gives its sequence.
    pub(super) fn send(&mut self, sender: usize, at: Instant) -> u32 {
        let left = self.recipients - usize::from(!self.echoes);
        let Some(sender) = self.senders.get_mut(sender) else { return 0 };
        let sequence = sender.next();
        sender.flights.push_back(Flight { at, left });
        self.messages += u64::from(self.measuring);
        sequence
    }

    /// Notes that a recipient has got a message.
    pub(super) fn deliver(&mut self, recipient: usize, sender: usize, sequence: u32, now: Instant) {
        let next = self.senders.get(sender).map(Sender::next);
        let cell = self.expected.get_mut(recipient * self.senders.len() + sender);
        let (Some(next), Some(expected)) = (next, cell) else {
            self.damaged += 1;
            return;
        };
        if sequence < *expected || sequence >= next {
            self.misordered += 1;
            return;
        }
        let missed = std::mem::replace(expected, sequence + 1)..sequence;
        for missed in missed {
            self.lost += 1;
            self.arrive(sender, missed);
        }
        if let Some(sent) = self.arrive(sender, sequence)
            && self.measuring
        {
            self.deliveries += 1;
            if self.apart != Some(recipient) {
                let nanos = now.saturating_duration_since(sent).as_nanos();
                self.latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
        }
    }

    /// One recipient fewer lacks it. Gives when it was sent.
    fn arrive(&mut self, number: usize, sequence: u32) -> Option<Instant> {
        let sender = self.senders.get_mut(number)?;
        let index = sequence.checked_sub(sender.first)?;
        let flight = sender.flights.get_mut(index as usize)?;
        let at = flight.at;
        flight.left = flight.left.saturating_sub(1);
        if flight.left == 0 {
            self.completed.push(number);
            while sender.flights.front().is_some_and(|flight| flight.left == 0) {
                sender.flights.pop_front();
                sender.first += 1;
            }
        }
        Some(at)
    }

    /// A recipient is gone or not counted on any more: nobody waits for what it lacks.
    pub(super) fn leave(&mut self, recipient: usize) {
        self.recipients = self.recipients.saturating_sub(1);
        for sender in 0..self.senders.len() {
            if !self.echoes && sender == recipient {
                continue;
            }
            let expected = self.expected.get(recipient * self.senders.len() + sender);
            let next = self.senders.get(sender).map(Sender::next);
            if let (Some(&expected), Some(next)) = (expected, next) {
                (expected..next).for_each(|sequence| {
                    self.arrive(sender, sequence);
                });
            }
        }
    }

    /// Deliveries that are still missing.
    pub(super) fn missing(&self) -> u64 {
        let flights = self.senders.iter().flat_map(|sender| &sender.flights);
        flights.map(|flight| flight.left as u64).sum()
    }

    /// Whether every message came once, whole and in order, as far as is known.
    pub(super) fn is_clean(&self) -> bool {
        (self.lost, self.misordered, self.damaged) == (0, 0, 0)
    }
}
