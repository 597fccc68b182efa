//! Plays the script of one misbehaving client, and says whether the server did its part: a script
//! waits for what must come, and the end of the stream must be of the kind that is owed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::wire::{End, Wire};

/// What a client does next.
#[derive(Debug)]
pub enum Step {
    /// Sends all of this.
    Send(Vec<u8>),
    /// Sends this below TLS, where it does not belong.
    SendRaw(Vec<u8>),
    /// Goes on when all that was to be sent is.
    Flush,
    /// Does nothing, but reads, if it reads at all.
    Wait(Duration),
    WaitUntil(Instant),
    /// Reads until this has come.
    Expect(&'static str),
    ExpectText(String),
    /// Reads nothing from here on.
    Deaf,
    /// Sends an empty line now and then, until the server has ended the connection.
    Poke,
    PokeAt(Instant),
    /// Ends its direction; over TLS with a close_notify before.
    EndInput,
    /// Ends its direction, without another word.
    Shut,
    /// Reads to the end, which must be a clean one. These must have come, each as often as said.
    ReadToEnd(Vec<(String, usize)>),
    /// The server ends the connection, in whatever way.
    Gone,
    /// Goes away with a reset.
    Reset,
    /// Goes away.
    Vanish,
}

/// How a client goes away in the middle of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Reset,
    Vanish,
}

/// What a client does with its life.
#[derive(Debug)]
pub struct Script {
    pub steps: VecDeque<Step>,
    /// Sends one byte at a time, this far apart.
    pub pace: Option<Duration>,
    /// After this much time it goes away, wherever it is.
    pub cut: Option<(Duration, Leave)>,
    /// The server may end the connection at any time.
    pub forgiving: bool,
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// Because of its address, which had enough connections or log-ins.
    Refused,
    /// The server did not do what it should.
    Fault(String),
}

/// A client and what is left of its script.
pub struct Player {
    script: Script,
    wire: Wire,
    tls: bool,
    seen: Vec<u8>,
    /// So much of `seen` does not hold what is looked for.
    searched: usize,
    deaf: bool,
    begun: Instant,
    next_byte: Instant,
    /// When there is something to do without an event.
    pub wake: Instant,
}

/// What one step came to.
enum Next {
    On,
    Wait,
    Over(Outcome),
}

/// How long a script may take. Long: whoever misbehaves may have to wait, behind others who do.
const LONGEST_LIFE: Duration = Duration::from_secs(60);

/// How often a deaf client looks whether it is still connected.
const POKE_INTERVAL: Duration = Duration::from_millis(200);

/// What a client is told whose address has enough connections, or has logged in often enough.
const REFUSED: [&str; 2] = ["Too many connections from your IP.", "Too many log-ins from your IP."];

/// What somebody is told who goes past a limit of an address or a lobby: it was not heard, and the rest
/// of the script makes no sense.
const LIMITED: [&str; 2] = ["Your address has sent too much", "Too many talk at once here"];

impl Player {
    pub fn new(script: Script, wire: Wire, tls: bool, now: Instant) -> Self {
        Self {
            script,
            wire,
            tls,
            seen: Vec::new(),
            searched: 0,
            deaf: false,
            begun: now,
            next_byte: now,
            wake: now,
        }
    }

    /// Does what can be done now. An outcome is the end.
    pub fn turn(&mut self, now: Instant) -> Option<Outcome> {
        if let Some((after, leave)) = self.script.cut
            && now >= self.begun + after
        {
            return Some(self.leave(leave));
        }
        if !self.deaf {
            let new = self.seen.len().saturating_sub(64);
            self.wire.read(&mut self.seen);
            let new = &self.seen[new..];
            if LIMITED.iter().any(|text| new.windows(text.len()).any(|w| w == text.as_bytes())) {
                return Some(Outcome::Refused);
            }
        }
        let until = self.begun + LONGEST_LIFE;
        if now >= until {
            return Some(self.fault("stuck"));
        }
        self.wake = until;
        loop {
            self.pump(now);
            match self.step(now) {
                Next::On => drop(self.script.steps.pop_front()),
                Next::Wait => break,
                Next::Over(outcome) => return Some(outcome),
            }
        }
        if let Some((after, _)) = self.script.cut {
            self.wake = self.wake.min(self.begun + after);
        }
        None
    }

    fn pump(&mut self, now: Instant) {
        let Some(pace) = self.script.pace else { return self.wire.send(usize::MAX) };
        if now >= self.next_byte {
            self.wire.send(1);
            self.next_byte = now + pace;
        }
        self.wake = self.wake.min(self.next_byte);
    }

    fn step(&mut self, now: Instant) -> Next {
        let Some(step) = self.script.steps.front_mut() else {
            return Next::Over(Outcome::Done);
        };
        match step {
            Step::Send(bytes) => self.wire.put(&std::mem::take(bytes)),
            Step::SendRaw(bytes) => self.wire.put_raw(&std::mem::take(bytes)),
            Step::Wait(time) => *step = Step::WaitUntil(now + *time),
            Step::Expect(text) => {
                let text = *text;
                return self.expect(text);
            }
            Step::ExpectText(text) => {
                let text = text.clone();
                return self.expect(&text);
            }
            Step::Deaf => {
                self.deaf = true;
                return Next::On;
            }
            Step::Poke => *step = Step::PokeAt(now + POKE_INTERVAL),
            Step::PokeAt(_) => {}
            Step::ReadToEnd(_) | Step::Gone => return self.read_to_end(),
            Step::Reset => return Next::Over(self.leave(Leave::Reset)),
            Step::Vanish => return Next::Over(self.leave(Leave::Vanish)),
            Step::Flush | Step::WaitUntil(_) | Step::EndInput | Step::Shut => {
                return self.wait(now);
            }
        }
        if matches!(step, Step::Send(_) | Step::SendRaw(_)) {
            *step = Step::Flush;
        }
        self.step_again(now)
    }

    /// The step was changed into one that waits.
    fn step_again(&mut self, now: Instant) -> Next {
        self.pump(now);
        self.wait(now)
    }

    /// The steps that are done when something is out, or a time has come.
    fn wait(&mut self, now: Instant) -> Next {
        let Some(step) = self.script.steps.front_mut() else { return Next::On };
        let done = match step {
            Step::PokeAt(at) => {
                if now >= *at {
                    *at = now + POKE_INTERVAL;
                    self.wire.put(b"\n");
                    self.wire.send(usize::MAX);
                }
                self.wake = self.wake.min(*at);
                self.wire.end().is_some()
            }
            Step::WaitUntil(until) => {
                self.wake = self.wake.min(*until);
                now >= *until
            }
            _ => self.wire.is_sent(),
        };
        if !done && self.wire.end().is_some() {
            return self.ended_while_waiting();
        }
        if !done {
            return Next::Wait;
        }
        match step {
            Step::EndInput if self.tls => {
                self.wire.put_close_notify();
                *step = Step::Shut;
                return self.step_again(now);
            }
            Step::EndInput | Step::Shut => self.wire.shut(),
            _ => {}
        }
        Next::On
    }

    /// The end may come while there is nothing to do but wait for it.
    fn ended_while_waiting(&mut self) -> Next {
        let next = self.script.steps.get(1);
        match next {
            Some(Step::ReadToEnd(_) | Step::Gone) => Next::On,
            _ => Next::Over(self.ended_early()),
        }
    }

    fn expect(&mut self, text: &str) -> Next {
        let from = self.searched.saturating_sub(text.len());
        let found = self.seen[from..].windows(text.len()).position(|part| part == text.as_bytes());
        match found {
            Some(at) => {
                self.seen.drain(..from + at + text.len());
                self.searched = 0;
                Next::On
            }
            None if self.wire.end().is_some() => Next::Over(self.ended_early()),
            None => {
                self.searched = self.seen.len();
                Next::Wait
            }
        }
    }

    fn read_to_end(&mut self) -> Next {
        let Some(end) = self.wire.end() else { return Next::Wait };
        let Some(Step::ReadToEnd(owed)) = self.script.steps.front() else {
            return Next::Over(Outcome::Done);
        };
        let seen = String::from_utf8_lossy(&self.seen);
        let missing = owed.iter().find(|(text, times)| seen.matches(&**text).count() != *times);
        if end == End::Clean && missing.is_none() {
            return Next::Over(Outcome::Done);
        }
        Next::Over(self.ended_early())
    }

    /// The connection ended before its time.
    fn ended_early(&mut self) -> Outcome {
        let is_told =
            |text: &str| self.seen.windows(text.len()).any(|part| part == text.as_bytes());
        let refused = REFUSED.into_iter().any(is_told);
        let clean = self.wire.end() == Some(End::Clean);
        // Over TLS there is no time to tell everybody.
        let untold = self.tls && self.seen.is_empty();
        match refused {
            true if clean || self.script.forgiving => Outcome::Refused,
            false if untold => Outcome::Refused,
            false if self.script.forgiving => Outcome::Done,
            _ => self.fault("ended early"),
        }
    }

    fn leave(&self, leave: Leave) -> Outcome {
        if leave == Leave::Reset {
            self.wire.arm_reset();
        }
        Outcome::Done
    }

    fn fault(&self, what: &str) -> Outcome {
        let tail = &self.seen[self.seen.len().saturating_sub(600)..];
        let step = format!("{:?}", self.script.steps.front());
        let step: String = step.chars().take(300).collect();
        Outcome::Fault(format!(
            "{what} after {:?} at {step}, end {:?}, deaf {}, seen {} bytes, the last: {}",
            self.begun.elapsed(),
            self.wire.end(),
            self.deaf,
            self.seen.len(),
            String::from_utf8_lossy(tail).escape_debug()
        ))
    }
}
