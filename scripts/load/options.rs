//! The command line: which scenario, and the one set of options that all of them share.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::protocol::Protocol;

/// Scenarios by name, each with what it measures.
const SCENARIOS: &[(&str, &str)] = &[
    ("fanout", "everybody talks, closed loop: deliveries for a second of the server's processor"),
    ("rate", "a fixed rate of messages, open loop: the latency of deliveries"),
    ("idle", "memory of so many users at rest (--clients 0,1000,10000), and after they have left"),
    ("stalled", "latency with all reading, then with one client that reads nothing any more"),
    ("storm", "latency alone, then beside eight clients who have passwords checked without pause"),
    ("scan", "connections that vanish before they have a name: processor time afterwards"),
    ("churn", "come, say something, leave, over and over"),
    ("login", "so many log-ins as fast as possible; and from the start to the first log-in"),
    ("everything", "fan-out, handshakes, passwords and streaming answers, all at once"),
    ("tls", "what a TLS connection costs: handshakes, memory, the longest turn of the loop"),
    ("rox", "latency beside four streaming answers; memory after a thousand of them"),
];

/// Options by name, each with its argument and what it means.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("--clients", "N", "connections; a list for idle"),
    ("--senders", "N", "how many of them talk"),
    ("--in-flight", "N", "messages that not everybody has yet (fanout, everything)"),
    ("--size", "BYTES", "of a message, 14 to 1000 (irc: 400)"),
    ("--rate", "N", "messages a second in all (rate, stalled, storm, rox)"),
    ("--seconds", "N", "how long is measured"),
    ("--warmup", "N", "seconds of the same before that"),
    ("--cost", "N", "of bcrypt, 4 to 15 (storm, everything)"),
    ("--tls", "", "over TLS; a target has to speak it"),
    ("--target", "ADDR:PORT", "a server on loopback that runs already"),
    ("--pid", "PID", "its process, for its figures"),
    ("--protocol", "NAME", "chat, irc or floor: what it speaks (chat)"),
    ("--name", "LABEL", "what to call it in the result"),
    ("--server-cpu", "CORE", "where a server started here runs (0); moves a target only if given"),
    ("--driver-cpu", "CORE", "where the clients run (1)"),
];

/// What was asked for. What is `None` or empty is up to the scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) scenario: &'static str,
    pub(super) clients: Vec<usize>,
    pub(super) senders: Option<usize>,
    pub(super) in_flight: Option<usize>,
    pub(super) size: Option<usize>,
    pub(super) rate: Option<u32>,
    pub(super) seconds: Option<u32>,
    pub(super) warmup: Option<u32>,
    pub(super) cost: Option<u32>,
    pub(super) tls: bool,
    pub(super) target: Option<SocketAddr>,
    pub(super) pid: Option<i32>,
    pub(super) protocol: Protocol,
    pub(super) name: Option<String>,
    pub(super) server_cpu: Option<usize>,
    pub(super) driver_cpu: Option<usize>,
}

impl Options {
    /// # Errors
    /// One line that says what would be right.
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let wanted = arguments.next().ok_or("name a scenario")?;
        let scenario = SCENARIOS.iter().map(|(name, _)| *name).find(|name| *name == wanted);
        let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        let scenario = scenario
            .ok_or_else(|| format!("no scenario {wanted:?}; there are {}", known.join(", ")))?;
        let mut options = Self { scenario, ..Self::default() };
        while let Some(name) = arguments.next() {
            let known = OPTIONS.iter().find(|(known, ..)| *known == name);
            let Some((name, argument, _)) = known else {
                let known: Vec<_> = OPTIONS.iter().map(|(name, ..)| *name).collect();
                return Err(format!("no option {name:?}; there are {}", known.join(", ")));
            };
            let value = match *argument {
                "" => String::new(),
                argument => arguments.next().ok_or_else(|| format!("{name} needs {argument}"))?,
            };
            options.set(name, &value)?;
        }
        options.check()?;
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--clients" => {
                let each = value.split(',').map(|one| number(name, one, 0..=10_000));
                self.clients = each.collect::<Result<_, _>>()?;
            }
            "--senders" => self.senders = Some(number(name, value, 1..=10_000)?),
            "--in-flight" => self.in_flight = Some(number(name, value, 1..=1_000_000)?),
            "--size" => self.size = Some(number(name, value, 14..=1000)?),
            "--rate" => self.rate = Some(number(name, value, 1..=1_000_000)?),
            "--seconds" => self.seconds = Some(number(name, value, 1..=3600)?),
            "--warmup" => self.warmup = Some(number(name, value, 0..=3600)?),
            "--cost" => self.cost = Some(number(name, value, 4..=15)?),
            "--tls" => self.tls = true,
            "--target" => self.target = Some(loopback(value)?),
            "--pid" => self.pid = Some(number(name, value, 1..=i32::MAX)?),
            "--protocol" => self.protocol = Protocol::of(value)?,
            "--name" => self.name = Some(value.to_owned()),
            "--server-cpu" => self.server_cpu = Some(number(name, value, 0..=1023)?),
            "--driver-cpu" => self.driver_cpu = Some(number(name, value, 0..=1023)?),
            _ => return Err(format!("{name} is not implemented")),
        }
        Ok(())
    }

    /// What goes together.
    fn check(&self) -> Result<(), String> {
        let ours_only = ["storm", "everything", "tls", "rox"];
        if self.target.is_none() && self.protocol != Protocol::Chat {
            return Err("--protocol needs --target ADDR:PORT".to_owned());
        }
        if self.target.is_some() && ours_only.contains(&self.scenario) {
            return Err(format!("{} starts its own server; leave out --target", self.scenario));
        }
        if self.pid.is_some() && self.target.is_none() {
            return Err("--pid needs --target ADDR:PORT".to_owned());
        }
        if self.clients.len() > 1 && self.scenario != "idle" {
            return Err("--clients takes a list for idle only".to_owned());
        }
        let least = if ["idle", "tls", "rox"].contains(&self.scenario) { 0 } else { 2 };
        if self.clients.iter().any(|clients| *clients < least) {
            return Err(format!("--clients has to be at least {least} for {}", self.scenario));
        }
        if self.protocol == Protocol::Irc && self.size.is_some_and(|size| size > 400) {
            return Err("--size has to be 14 to 400 for irc, whose lines have 512 bytes".to_owned());
        }
        Ok(())
    }

    /// How many clients, or this many.
    pub(super) fn clients_or(&self, default: usize) -> usize {
        self.clients.first().copied().unwrap_or(default)
    }
}

/// All scenarios and options, a line each.
pub(super) fn usage() -> String {
    let mut out = "usage: load SCENARIO [OPTION]...\n\n".to_owned();
    for (name, what) in SCENARIOS {
        out.push_str(&format!("  {name:<22} {what}\n"));
    }
    out.push('\n');
    for (name, argument, what) in OPTIONS {
        out.push_str(&format!("  {:<22} {what}\n", format!("{name} {argument}")));
    }
    out
}

fn number<T>(name: &str, value: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!("{name} {value:?} has to be a number, {} to {}", range.start(), range.end())
    })
}

/// Nobody else's server is loaded by mistake.
fn loopback(value: &str) -> Result<SocketAddr, String> {
    let addr: Option<SocketAddr> = value.parse().ok();
    addr.filter(|addr| addr.ip().is_loopback())
        .ok_or_else(|| format!("--target {value:?} has to be a loopback address and a port"))
}
