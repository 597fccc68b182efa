//! Latency of a crowd, first with everybody reading, then with one who has stopped.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Outcome;
use super::driver::Driver;
use super::fanout::{AT_ONCE, Crowd, name};
use super::options::Options;
use super::report::{Progress, Report, round};
use super::server::{Settings, Target};

pub(super) fn stalled(options: &Options) -> Outcome<Report> {
    let mut crowd = Crowd::new(options, 50, 200, 10);
    crowd.senders = options.senders.unwrap_or(1).min(crowd.clients - 1);
    let rate = options.rate.unwrap_or(500);
    // The one who will stop comes last, so that it sends nothing; somebody else looks on, who in IRC
    // had better not be the only one who talks.
    let (who, watcher) = (crowd.clients - 1, crowd.clients - 2);
    let target = Target::open(options, &Settings::default())?;
    let mut report = Report::new(options, &target);
    crowd.describe(&mut report);
    report.set("rate", rate);
    report.memory("start", &target)?;

    let mut driver = Driver::new(options.protocol, crowd.size, Progress::new("all reading"))?;
    let route = target.route(options)?;
    driver.gather(crowd.clients, AT_ONCE, |n| {
        let mut route = route.clone();
        route.small_buffer = n == who;
        (route, options.protocol.login(&name(n)))
    })?;
    driver.take_part(crowd.senders);
    driver.settle()?;
    driver.tally.apart = Some(who);

    driver.talk_open(rate);
    crowd.measure(&mut driver, &target)?;
    let before = driver.tally.latency.clone();
    driver.fall_silent()?;

    "one does not read".clone_into(&mut driver.progress.phase);
    let received = driver.received(watcher);
    let stopped = Instant::now();
    driver.stall(who, watcher, &options.protocol.departure(&name(who)));
    driver.talk_open(rate);
    let mut unread = 0;
    let usage = crowd.measure_with(&mut driver, &target, |driver, until| {
        while Instant::now() < until {
            driver.turn(until.min(Instant::now() + Duration::from_millis(20)))?;
            if driver.seen().is_none() {
                unread = driver.received(watcher) - received;
            }
        }
        Ok(())
    })?;
    report.longest_turn(&target)?;
    report.traffic(&driver.tally, usage);
    report.latency("alone_", &before);
    report.latency("", &driver.tally.latency);
    for (name, quantile) in [("ratio_p50", 0.5), ("ratio_p99", 0.99), ("ratio_max", 1.0)] {
        let ratio = driver.tally.latency.value_at_quantile(quantile) as f64
            / before.value_at_quantile(quantile).max(1) as f64;
        report.set(name, round(ratio));
    }
    let closed = driver.seen().map(|seen| seen.duration_since(stopped).as_secs_f64());
    report.set("stalled_closed_after_s", json!(closed.map(round)));
    report.set("stalled_unread_bytes", unread);
    report.line(match closed {
        Some(secs) => format!("closed {secs:.2} s after it stopped reading, {unread} bytes behind"),
        None => format!("not closed; {unread} bytes behind"),
    });
    driver.fall_silent()?;
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}
