//! A chatter's message latency beside four answers that stream, one of them stalled, with a dead name
//! server before the one that answers; and memory after 1000 answers.

use std::time::Duration;

use super::Outcome;
use super::blocking::{Client, login};
use super::gemini::{Dns, Gemini, Manner, Request, Step, answer, finish, piece, stream_head};
use super::options::Options;
use super::report::Report;
use super::server::{Settings, Target};

const ASKERS: usize = 4;
/// Answers before memory is looked at, and after.
const FIRST_ANSWERS: u32 = 10;
const ANSWERS: u32 = 1000;
/// An answer lasts little longer.
const LONGEST_SECONDS: u32 = 8;

pub(super) fn rox(options: &Options) -> Outcome<Report> {
    let seconds = options.seconds.unwrap_or(LONGEST_SECONDS).min(LONGEST_SECONDS);
    let rate = options.rate.unwrap_or(200);
    let service = Gemini::start(|_, request| script(request));
    let (dead, honest) = (Dns::start(Manner::Dead), Dns::start(Manner::Honest));
    let mut variables = service.settings(&honest);
    variables.push(("CHAT_NAMESERVERS", format!("{},{}", dead.addr, honest.addr)));
    let settings = Settings { variables, ca_pem: service.ca_pem.clone() };
    let target = Target::start(options, &settings)?;
    let process = target.process()?;
    let mut report = Report::new(options, &target);
    report.set("rate", rate);
    report.set("seconds", seconds);
    report.memory("start", &target)?;

    let mut chatter = login(&target, "chatter")?;
    report.latency("alone_", &chatter.chat(rate, seconds)?);
    let askers = (0..ASKERS).map(|n| begin_to_ask(&target, n)).collect::<Outcome<Vec<_>>>()?;
    target.longest_turn_us()?;
    report.latency("", &chatter.chat(rate, seconds)?);
    report.longest_turn(&target)?;
    let threads = process.tasks()?.len();
    report.set("threads", threads);
    report.line(format!("threads of the server: {threads}"));
    drop(askers);

    let mut asker = login(&target, "asker")?;
    let mut before = 0;
    for n in 0..FIRST_ANSWERS + ANSWERS {
        if n == FIRST_ANSWERS {
            before = process.rss_kib()?;
        }
        asker.send("/ai quick")?;
        asker.wait("Of two lines.")?;
    }
    let after = process.rss_kib()?;
    report.set("rss_before_answers_kib", before);
    report.set("rss_after_answers_kib", after);
    report.line(format!("resident KiB before and after {ANSWERS} answers: {before}, {after}"));
    report.memory("end", &target)?;
    Ok(report)
}

fn begin_to_ask(target: &Target, n: usize) -> Outcome<Client> {
    let mut asker = login(target, &format!("asker{n}"))?;
    asker.send(&format!("/create lobby{n} no-pass x"))?;
    asker.wait("Created")?;
    asker.send(&format!("/join lobby{n}"))?;
    asker.wait("Joined")?;
    asker.send(if n == 0 { "/ai stall" } else { "/ai long" })?;
    Ok(asker)
}

fn script(request: &Request) -> Vec<Step> {
    if request.body.contains("asks: quick") {
        return answer(&["A short answer.\nOf two lines.\n"]);
    }
    let mut steps = vec![stream_head(), piece("begun\n")];
    if request.body.contains("asks: stall") {
        steps.push(Step::Wait(Duration::from_secs(100)));
    }
    for _ in 0..90 {
        steps.push(Step::Wait(Duration::from_millis(100)));
        steps.push(piece("another line of a long answer\n"));
    }
    steps.extend(finish("STOP"));
    steps
}
