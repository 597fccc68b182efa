//! Many who only come: `idle` for what they cost at rest, `login` for what their coming costs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::driver::Driver;
use super::fanout::{AT_ONCE, name};
use super::options::Options;
use super::report::{Meter, Progress, Report, round};
use super::server::{Settings, Target, binary};

/// How long memory is left to settle.
const REST: Duration = Duration::from_secs(3);
/// Log-ins at a time when they come as fast as possible.
const RUSH: usize = 500;
/// Starts of which the median is taken.
const STARTS: usize = 11;

pub(super) fn idle(options: &Options) -> Outcome<Report> {
    let target = Target::open(options, &Settings::default())?;
    let process = target.process()?;
    let mut report = Report::new(options, &target);
    let mut steps = options.clients.clone();
    if steps.is_empty() {
        steps = vec![0, 1000, 10_000];
    }
    steps.sort_unstable();
    report.memory("start", &target)?;
    let start = process.memory()?;
    let mut driver = Driver::new(options.protocol, 60, Progress::new("idle"))?;
    let route = target.route(options)?;
    let mut rows = Vec::new();
    for users in steps {
        driver.gather(users, AT_ONCE, |n| (route.clone(), options.protocol.login(&name(n))))?;
        driver.settle()?;
        let memory = process.memory()?;
        let each = (memory.rss.saturating_sub(start.rss) * 1024).checked_div(users as u64);
        let dirty = memory.private_dirty.saturating_sub(start.private_dirty);
        let dirty_each = (dirty * 1024).checked_div(users as u64);
        report.line(format!(
            "{users:6} users: resident {} KiB, Pss {}, private dirty {}; {} bytes a user",
            memory.rss,
            memory.pss,
            memory.private_dirty,
            each.unwrap_or(0)
        ));
        report.set("clients", users);
        report.set("bytes_per_user", json!(each));
        rows.push(json!({
            "users": users, "rss_kib": memory.rss, "pss_kib": memory.pss,
            "private_dirty_kib": memory.private_dirty,
            "bytes_per_user": each, "private_dirty_bytes_per_user": dirty_each,
        }));
    }
    report.set("steps", Value::Array(rows));
    report.memory("end", &target)?;
    report.verdict(&driver);
    driver.drop_all();
    driver.run_until(Instant::now() + REST)?;
    report.memory("after", &target)?;
    Ok(report)
}

pub(super) fn login(options: &Options) -> Outcome<Report> {
    let users = options.clients_or(10_000);
    let first = match options.target {
        None => Some(first_login(options)?),
        Some(_) => None,
    };
    let target = Target::open(options, &Settings::default())?;
    let mut report = Report::new(options, &target);
    report.set("clients", users);
    report.set("first_login_ms", json!(first.map(|time| round(time.as_secs_f64() * 1000.0))));
    if let Some(first) = first {
        let bytes = binary()?.metadata()?.len();
        report.set("binary_bytes", bytes);
        report.line(format!("from the start to the first log-in {first:?}, {bytes} bytes"));
    }
    report.memory("start", &target)?;
    let mut driver = Driver::new(options.protocol, 60, Progress::new("login"))?;
    let route = target.route(options)?;
    target.longest_turn_us()?;
    let meter = Meter::start(&target)?;
    let worst =
        driver.gather(users, RUSH, |n| (route.clone(), options.protocol.quick_login(&name(n))))?;
    let usage = meter.stop(&target)?;
    report.longest_turn(&target)?;
    report.usage(usage);
    let wall = usage.wall.as_secs_f64();
    report.set("wall_s", round(wall));
    report.set("logins_per_s", (users as f64 / wall).round());
    report.set("worst_login_ms", round(worst.as_secs_f64() * 1000.0));
    report.line(format!("{users} log-ins in {wall:.2} s, the slowest took {worst:?}"));
    driver.settle()?;
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}

/// The median time from the start of a server to its first user.
fn first_login(options: &Options) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let target = Target::start(options, &Settings::default())?;
        let mut stream = TcpStream::connect(target.addr)?;
        stream.write_all(b"first\n")?;
        let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
        while memchr::memmem::find(&seen, b"> ").is_none() {
            let n = stream.read(&mut bytes)?;
            seen.extend_from_slice(bytes.get(..n).filter(|new| !new.is_empty()).ok_or("closed")?);
        }
        times.push(target.own.as_ref().ok_or("not our own")?.since.elapsed());
    }
    times.sort();
    Ok(times.get(STARTS / 2).copied().unwrap_or_default())
}
