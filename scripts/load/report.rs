//! What comes of a run: a line of JSON for programs, a summary for people, and progress meanwhile.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::driver::Driver;
use super::machine::Process;
use super::options::Options;
use super::server::Target;
use super::tally::Tally;

/// A core that is used more than this is busy.
const BUSY_PERCENT: f64 = 90.0;

/// A line on standard error each second, in place; where that is no terminal, every five.
pub(super) struct Progress {
    /// What is going on.
    pub(super) phase: String,
    start: Instant,
    next: Instant,
    in_place: bool,
}

impl Progress {
    pub(super) fn new(phase: &str) -> Self {
        let now = Instant::now();
        let in_place = stderr().is_terminal();
        Self { phase: phase.to_owned(), start: now, next: now + Duration::from_secs(1), in_place }
    }

    pub(super) fn tick(&mut self, now: Instant, tally: &Tally, clients: usize) {
        if now < self.next {
            return;
        }
        let secs = now.duration_since(self.start).as_secs();
        let Self { phase, .. } = self;
        let Tally { deliveries, lost, .. } = tally;
        let line =
            format!("{secs:4} s  {phase}: {clients} clients, {deliveries} deliveries, {lost} lost");
        if self.in_place {
            eprint!("\r\x1b[K{line}");
            // Only for the eye.
            let _ = stderr().flush();
        } else {
            eprintln!("{line}");
        }
        self.next = now + Duration::from_secs(if self.in_place { 1 } else { 5 });
    }
}

/// What server and driver have used when a span of time begins.
pub(super) struct Meter {
    at: Instant,
    server: Option<Duration>,
    driver: Duration,
}

/// What they used in a span of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) wall: Duration,
    pub(super) server: Option<Duration>,
    pub(super) driver: Duration,
}

impl Meter {
    pub(super) fn start(target: &Target) -> Outcome<Self> {
        let server = target.process.as_ref().map(Process::cpu).transpose()?;
        Ok(Self { at: Instant::now(), server, driver: Process::own().cpu()? })
    }

    pub(super) fn stop(&self, target: &Target) -> Outcome<Usage> {
        let end = Self::start(target)?;
        let server = end.server.zip(self.server).map(|(end, start)| end.saturating_sub(start));
        Ok(Usage { wall: end.at - self.at, server, driver: end.driver.saturating_sub(self.driver) })
    }
}

/// The result, as it comes together.
pub(super) struct Report {
    fields: Map<String, Value>,
    /// What makes the run a failure.
    failures: Vec<String>,
    summary: Vec<String>,
}

impl Report {
    pub(super) fn new(options: &Options, target: &Target) -> Self {
        let mut report = Self { fields: Map::new(), failures: Vec::new(), summary: Vec::new() };
        report.set("scenario", options.scenario);
        report.set("target", target.label.as_str());
        report.set("tls", options.tls);
        report
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// A line of the summary.
    pub(super) fn line(&mut self, text: String) {
        self.summary.push(text);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// What was delivered since the tally began to measure, and what that took.
    pub(super) fn traffic(&mut self, tally: &Tally, usage: Usage) {
        let (messages, deliveries) = (tally.messages, tally.deliveries);
        let wall = usage.wall.as_secs_f64();
        self.set("messages", messages);
        self.set("deliveries", deliveries);
        self.set("wall_s", round(wall));
        self.set("deliveries_per_s", (deliveries as f64 / wall).round());
        self.line(format!("{messages} messages, {deliveries} deliveries in {wall:.2} s"));
        self.usage(usage);
        if let Some(server) = usage.server.map(|time| time.as_secs_f64()).filter(|s| *s > 0.0) {
            let rate = deliveries as f64 / server;
            self.set("deliveries_per_cpu_s", rate.round());
            let each = 1e9 / rate;
            self.line(format!(
                "{rate:.0} deliveries for a second of the server's processor, {each:.0} ns each"
            ));
        }
    }

    /// Processor time alone, and who had none left.
    pub(super) fn usage(&mut self, usage: Usage) {
        let wall = usage.wall.as_secs_f64();
        let driver = usage.driver.as_secs_f64();
        self.set("driver_cpu_s", round(driver));
        let share = |used: f64| used / wall * 100.0;
        let mut line = format!("driver {:.0} % of a core", share(driver));
        match usage.server {
            Some(server) => {
                self.set("server_cpu_s", round(server.as_secs_f64()));
                line += &format!(", server {:.0} %", share(server.as_secs_f64()));
            }
            None => self.set("server_cpu_s", Value::Null),
        }
        self.line(line);
        if let Some(server) = usage.server {
            let bound = share(driver) > BUSY_PERCENT && share(server.as_secs_f64()) < BUSY_PERCENT;
            self.set("driver_bound", bound);
            if bound {
                self.line("the driver is the bottleneck here, not the server".to_owned());
            }
        }
    }

    /// Latencies, under names that begin like this.
    pub(super) fn latency(&mut self, prefix: &str, latency: &Histogram<u64>) {
        let what = if prefix.is_empty() { "latency" } else { prefix.trim_end_matches('_') };
        let mut line = format!("{what}:");
        for (name, quantile) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)]
        {
            let micros = latency.value_at_quantile(quantile) as f64 / 1000.0;
            self.set(&format!("{prefix}{name}_us"), round(micros));
            line += &format!(" {name} {micros:.0} µs");
        }
        self.line(line);
    }

    /// What went wrong among the messages and the connections.
    pub(super) fn verdict(&mut self, driver: &Driver) {
        let Tally { lost, misordered, damaged, .. } = driver.tally;
        self.set("lost", lost);
        self.set("misordered", misordered);
        self.set("damaged", damaged);
        self.set("thrown_out", driver.thrown_out);
        if !driver.tally.is_clean() {
            self.fail(format!("{lost} lost, {misordered} out of order, {damaged} damaged"));
        }
        if let Err(error) = driver.check() {
            self.fail(error.to_string());
        }
    }

    /// Memory under a name.
    pub(super) fn memory(&mut self, name: &str, target: &Target) -> Outcome<()> {
        let rss = target.process.as_ref().map(Process::rss_kib).transpose()?;
        if let Some(kib) = rss {
            self.line(format!("{name}: {kib} KiB resident"));
        }
        self.set(&format!("rss_{name}_kib"), json!(rss));
        Ok(())
    }

    /// The longest turn since the last time it was asked for.
    pub(super) fn longest_turn(&mut self, target: &Target) -> Outcome<()> {
        let micros = target.longest_turn_us()?;
        self.set("longest_turn_us", json!(micros));
        if let Some(micros) = micros {
            self.line(format!("longest turn of the server's loop: {micros} µs"));
        }
        Ok(())
    }

    /// Prints it all, and gives the exit code.
    pub(super) fn print(self) -> ExitCode {
        if stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        self.summary.iter().for_each(|line| eprintln!("  {line}"));
        self.failures.iter().for_each(|why| eprintln!("  FAILED: {why}"));
        println!("{}", Value::Object(self.fields));
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Enough digits.
pub(super) fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
