//! What a TLS connection costs: processor time of a handshake, memory at rest beyond a plain
//! connection, and the longest turn of the loop when 500 handshakes arrive at once.

use std::time::{Duration, Instant};

use super::Outcome;
use super::blocking::{Client, connect_tls, login};
use super::options::Options;
use super::report::{Report, round};
use super::server::{Settings, Target};

/// Handshakes that are timed, and those that come at once.
const ROUNDS: u32 = 2000;
const AT_ONCE: usize = 500;
/// How long memory is left to settle.
const REST: Duration = Duration::from_millis(1500);

pub(super) fn tls(options: &Options) -> Outcome<Report> {
    let users = options.clients_or(1000).max(1);
    let target = Target::start(options, &Settings::default())?;
    let process = target.process()?;
    let mut report = Report::new(options, &target);
    report.set("clients", users);
    report.memory("start", &target)?;

    let start = process.rss_kib()?;
    let plain = (0..users).map(|n| login(&target, &format!("plain{n}")));
    let plain = plain.collect::<Outcome<Vec<_>>>()?;
    std::thread::sleep(REST);
    let with_plain = process.rss_kib()?;
    let cpu = process.cpu()?;
    let encrypted = (0..users).map(|n| Client::login(connect_tls(&target)?, &format!("tls{n}")));
    let encrypted = encrypted.collect::<Outcome<Vec<_>>>()?;
    let each = (process.cpu()? - cpu) / u32::try_from(users)?;
    std::thread::sleep(REST);
    let with_tls = process.rss_kib()?;
    let bytes = |kib: u64| kib * 1024 / users as u64;
    let plain_bytes = bytes(with_plain.saturating_sub(start));
    let tls_bytes = bytes(with_tls.saturating_sub(with_plain));
    report.set("bytes_per_user", plain_bytes);
    report.set("tls_bytes_per_user", tls_bytes);
    report.set("tls_login_cpu_us", round(each.as_secs_f64() * 1e6));
    report.line(format!("{users} users at rest: {plain_bytes} bytes each, over TLS {tls_bytes}"));
    report.line(format!("full handshake and log-in: {each:?} of processor time each"));
    report.memory("end", &target)?;
    drop((plain, encrypted));

    let cpu = process.cpu()?;
    for _ in 0..ROUNDS {
        let mut stream = connect_tls(&target)?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
    }
    let rate = f64::from(ROUNDS) / (process.cpu()? - cpu).as_secs_f64();
    report.set("handshakes_per_cpu_s", rate.round());
    report.line(format!(
        "full handshakes a second of processor time, connection and close included: {rate:.0}"
    ));
    drop(target);
    at_once(options, &mut report)?;
    Ok(report)
}

/// Many handshakes arrive together, on a server of their own, and somebody says something.
fn at_once(options: &Options, report: &mut Report) -> Outcome<()> {
    let target = Target::start(options, &Settings::default())?;
    let mut chatter = login(&target, "chatter")?;
    let streams = (0..AT_ONCE).map(|_| connect_tls(&target));
    let mut streams = streams.collect::<Outcome<Vec<_>>>()?;
    target.longest_turn_us()?;
    for stream in &mut streams {
        stream.conn.write_tls(&mut stream.sock)?;
    }
    let said = Instant::now();
    chatter.send("in the middle of it")?;
    chatter.wait("in the middle of it")?;
    let delay = said.elapsed();
    for stream in &mut streams {
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
    }
    report.line(format!("{AT_ONCE} handshakes at once: a message meanwhile took {delay:?}"));
    report.longest_turn(&target)?;
    report.set("message_meanwhile_us", round(delay.as_secs_f64() * 1e6));
    Ok(())
}
