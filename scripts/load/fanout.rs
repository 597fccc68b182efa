//! Everybody talks: `fanout` as fast as it goes, `rate` at a fixed rate. And what other scenarios need
//! of that: a crowd that is logged in, and a measured span of its talk.

use std::time::{Duration, Instant};

use super::Outcome;
use super::driver::Driver;
use super::options::Options;
use super::report::{Meter, Progress, Report, Usage};
use super::server::{Settings, Target};

/// Log-ins at a time: fewer than a listener's backlog.
pub(super) const AT_ONCE: usize = 100;

/// How many talk to how many, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    pub(super) clients: usize,
    pub(super) senders: usize,
    pub(super) size: usize,
    pub(super) seconds: u32,
    pub(super) warmup: u32,
}

impl Crowd {
    /// What the options say, or these numbers.
    pub(super) fn new(options: &Options, clients: usize, size: usize, seconds: u32) -> Self {
        let clients = options.clients_or(clients);
        Self {
            clients,
            senders: options.senders.unwrap_or(clients.min(100)).min(clients),
            size: options.size.unwrap_or(size),
            seconds: options.seconds.unwrap_or(seconds),
            warmup: options.warmup.unwrap_or(1),
        }
    }

    pub(super) fn describe(&self, report: &mut Report) {
        report.set("clients", self.clients);
        report.set("senders", self.senders);
        report.set("size", self.size);
        report.set("seconds", self.seconds);
    }

    /// Logs them in and waits until all is quiet.
    pub(super) fn enter(&self, options: &Options, target: &Target) -> Outcome<Driver> {
        let mut driver = Driver::new(options.protocol, self.size, Progress::new("logging in"))?;
        let route = target.route(options)?;
        driver
            .gather(self.clients, AT_ONCE, |n| (route.clone(), options.protocol.login(&name(n))))?;
        driver.take_part(self.senders);
        driver.settle()?;
        Ok(driver)
    }

    /// Lets them go on, after a warm-up, for the time that is measured.
    pub(super) fn measure(&self, driver: &mut Driver, target: &Target) -> Outcome<Usage> {
        self.measure_with(driver, target, Driver::run_until)
    }

    /// The same, with something else going on, too.
    pub(super) fn measure_with(
        &self,
        driver: &mut Driver,
        target: &Target,
        mut run_until: impl FnMut(&mut Driver, Instant) -> Outcome<()>,
    ) -> Outcome<Usage> {
        run_until(driver, Instant::now() + Duration::from_secs(self.warmup.into()))?;
        target.longest_turn_us()?;
        driver.tally.begin();
        let meter = Meter::start(target)?;
        run_until(driver, Instant::now() + Duration::from_secs(self.seconds.into()))?;
        let usage = meter.stop(target)?;
        driver.tally.measuring = false;
        Ok(usage)
    }
}

/// The name of a client, of six characters.
pub(super) fn name(n: usize) -> String {
    format!("u{n:05}")
}

pub(super) fn fanout(options: &Options) -> Outcome<Report> {
    let mut crowd = Crowd::new(options, 100, 60, 5);
    let in_flight = options.in_flight.unwrap_or(100);
    // Others would never get to talk.
    crowd.senders = crowd.senders.min(in_flight);
    run(options, crowd, |driver, report| {
        "fanout".clone_into(&mut driver.progress.phase);
        report.set("in_flight", in_flight);
        driver.talk_closed(in_flight)
    })
}

pub(super) fn rate(options: &Options) -> Outcome<Report> {
    let crowd = Crowd::new(options, 100, 60, 5);
    let rate = options.rate.unwrap_or(50);
    run(options, crowd, |driver, report| {
        "rate".clone_into(&mut driver.progress.phase);
        report.set("rate", rate);
        driver.talk_open(rate);
        Ok(())
    })
}

fn run(
    options: &Options,
    crowd: Crowd,
    talk: impl FnOnce(&mut Driver, &mut Report) -> Outcome<()>,
) -> Outcome<Report> {
    let target = Target::open(options, &Settings::default())?;
    let mut report = Report::new(options, &target);
    crowd.describe(&mut report);
    report.memory("start", &target)?;
    let mut driver = crowd.enter(options, &target)?;
    talk(&mut driver, &mut report)?;
    let usage = crowd.measure(&mut driver, &target)?;
    report.longest_turn(&target)?;
    report.traffic(&driver.tally, usage);
    report.latency("", &driver.tally.latency);
    driver.fall_silent()?;
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}
