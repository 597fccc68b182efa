//! Those who come and go: `churn` properly, `scan` without a word.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::Outcome;
use super::driver::Driver;
use super::options::Options;
use super::report::{Meter, Progress, Report, round};
use super::server::{Settings, Target};
use super::stream::source;

/// How long the server is watched after a scan.
const AFTERMATH: Duration = Duration::from_secs(5);

pub(super) fn churn(options: &Options) -> Outcome<Report> {
    let at_once = options.clients_or(50);
    let (seconds, warmup) = (options.seconds.unwrap_or(5), options.warmup.unwrap_or(1));
    let target = Target::open(options, &Settings::default())?;
    let mut report = Report::new(options, &target);
    report.set("clients", at_once);
    report.set("seconds", seconds);
    report.memory("start", &target)?;
    let mut driver = Driver::new(options.protocol, 60, Progress::new("churn"))?;
    let route = target.route(options)?;
    let mut visits = 0_u64;
    // Everybody who leaves is replaced; gives how many have left.
    let mut run_until = |driver: &mut Driver, until: Instant| -> Outcome<u64> {
        let mut left = 0;
        while Instant::now() < until {
            while driver.present() < at_once {
                driver.connect(&route, options.protocol.visit(&format!("v{visits}")))?;
                visits += 1;
            }
            driver.turn(until)?;
            driver.check()?;
            left += driver.done.drain(..).count() as u64;
        }
        Ok(left)
    };
    run_until(&mut driver, Instant::now() + Duration::from_secs(warmup.into()))?;
    target.longest_turn_us()?;
    let meter = Meter::start(&target)?;
    let cycles = run_until(&mut driver, Instant::now() + Duration::from_secs(seconds.into()))?;
    let usage = meter.stop(&target)?;
    report.longest_turn(&target)?;
    report.usage(usage);
    let rate = |time: Duration| (cycles as f64 / time.as_secs_f64()).round();
    report.set("cycles", cycles);
    report.set("cycles_per_s", rate(usage.wall));
    report.set("cycles_per_cpu_s", json!(usage.server.map(rate)));
    report.line(format!(
        "{cycles} visits, {} a second, {} for a second of the server's processor",
        rate(usage.wall),
        usage.server.map_or(0.0, rate)
    ));
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}

pub(super) fn scan(options: &Options) -> Outcome<Report> {
    let count = options.clients_or(50);
    let target = Target::open(options, &Settings::default())?;
    let process = target.process()?;
    let mut report = Report::new(options, &target);
    report.set("clients", count);
    report.memory("start", &target)?;
    let before = process.descriptors()?;
    let mut half_closed = Vec::new();
    for n in 0..count {
        let socket = Socket::new(Domain::for_address(target.addr), Type::STREAM, None)?;
        if target.addr.is_ipv4() {
            socket.bind(&source(n).into())?;
        }
        socket.connect(&target.addr.into())?;
        match n % 3 {
            // Closed at once.
            0 => {}
            // Closing resets.
            1 => socket.set_linger(Some(Duration::ZERO))?,
            // Says that it has ended, and waits for the other side.
            _ => {
                socket.shutdown(Shutdown::Write)?;
                half_closed.push(socket);
            }
        }
    }
    // What is left to do right after the last one is no aftermath.
    std::thread::sleep(Duration::from_millis(200));
    let meter = Meter::start(&target)?;
    std::thread::sleep(AFTERMATH);
    let usage = meter.stop(&target)?;
    let after = process.descriptors()?;
    let left_open = half_closed.iter().filter(|socket| !is_closed(socket)).count();
    let cpu = usage.server.unwrap_or_default();
    let percent = cpu.as_secs_f64() / usage.wall.as_secs_f64() * 100.0;
    report.usage(usage);
    report.set("cpu_percent_after", round(percent));
    report.set("fds_before", before);
    report.set("fds_after", after);
    report.set("half_closed_left_open", left_open);
    report.line(format!(
        "{percent:.3} % of a core afterwards; descriptors {before} before, {after} after; \
         {left_open} of {} half-closed ones left open",
        half_closed.len()
    ));
    report.longest_turn(&target)?;
    report.memory("end", &target)?;
    Ok(report)
}

/// Whether the other side has closed, too, whatever it said before.
fn is_closed(mut socket: &Socket) -> bool {
    use std::io::Read as _;
    if socket.set_nonblocking(true).is_err() {
        return true;
    }
    let mut bytes = [0; 4096];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
