//! A crowd beside heavy work: `storm` has passwords checked, `everything` adds handshakes and
//! streaming answers.

use std::time::{Duration, Instant};

use super::Outcome;
use super::dialog::{Dialog, End};
use super::driver::Driver;
use super::fanout::Crowd;
use super::gemini::{Dns, Gemini, Manner, Step, finish, piece, stream_head};
use super::options::Options;
use super::protocol::Protocol;
use super::report::{Report, round};
use super::server::{Settings, Target};
use super::stream::Route;

/// Handshakes begin so often, so many at a time, and with no more than so many under way.
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(10);
const HANDSHAKES: usize = 2;
const HANDSHAKES_UNDER_WAY: usize = 64;
/// Lobbies in which answers stream.
const ASKERS: usize = 4;
/// The last line of an answer.
const LAST_LINE: &str = "the end of a long answer";

pub(super) fn storm(options: &Options) -> Outcome<Report> {
    const GUESSERS: usize = 8;
    let mut crowd = Crowd::new(options, 10, 60, 10);
    crowd.senders = options.senders.unwrap_or(1).min(crowd.clients);
    let (rate, cost) = (options.rate.unwrap_or(200), options.cost.unwrap_or(10));
    let target = Target::start(options, &with_cost(cost))?;
    let mut report = Report::new(options, &target);
    crowd.describe(&mut report);
    report.set("rate", rate);
    report.set("cost", cost);
    report.memory("start", &target)?;
    let mut driver = crowd.enter(options, &target)?;

    "alone".clone_into(&mut driver.progress.phase);
    driver.talk_open(rate);
    crowd.measure(&mut driver, &target)?;
    let alone = driver.tally.latency.clone();
    driver.fall_silent()?;

    let route = target.route(options)?;
    let guessers = begin_guessing(&mut driver, &route, GUESSERS)?;
    "beside guessers".clone_into(&mut driver.progress.phase);
    driver.talk_open(rate);
    let before = checks(&driver, &guessers);
    let usage = crowd.measure(&mut driver, &target)?;
    let checked = checks(&driver, &guessers) - before;
    let threads = target.process()?.tasks()?.len();
    report.longest_turn(&target)?;
    report.traffic(&driver.tally, usage);
    report.latency("alone_", &alone);
    report.latency("", &driver.tally.latency);
    report.set("guesses", checked);
    report.set("threads", threads);
    report.line(format!("{checked} passwords checked at cost {cost}, with {threads} threads"));
    driver.fall_silent()?;
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}

pub(super) fn everything(options: &Options) -> Outcome<Report> {
    const GUESSERS: usize = 4;
    let mut crowd = Crowd::new(options, 100, 60, 10);
    let (in_flight, cost) = (options.in_flight.unwrap_or(100), options.cost.unwrap_or(10));
    crowd.senders = crowd.senders.min(in_flight);
    let service = Gemini::start(|_, _| long_answer());
    let dns = Dns::start(Manner::Honest);
    let mut settings = with_cost(cost);
    settings.variables.extend(service.settings(&dns));
    settings.ca_pem.clone_from(&service.ca_pem);
    let target = Target::start(options, &settings)?;
    let mut report = Report::new(options, &target);
    crowd.describe(&mut report);
    report.set("in_flight", in_flight);
    report.set("cost", cost);
    report.memory("start", &target)?;
    let mut driver = crowd.enter(options, &target)?;

    let route = target.route(options)?;
    let guessers = begin_guessing(&mut driver, &route, GUESSERS)?;
    let askers =
        (0..ASKERS).map(|n| driver.connect(&route, asker(n))).collect::<Result<Vec<_>, _>>()?;
    "everything".clone_into(&mut driver.progress.phase);
    driver.talk_closed(in_flight)?;
    let mut handshakes = Handshakes::new(target.tls_route()?);
    driver.done.clear();
    let (checked, answered) = (checks(&driver, &guessers), checks(&driver, &askers));
    let usage = crowd.measure_with(&mut driver, &target, |driver, until| {
        while Instant::now() < until {
            handshakes.go_on(driver)?;
            driver.turn(until.min(handshakes.next))?;
        }
        Ok(())
    })?;
    let checked = checks(&driver, &guessers) - checked;
    let answered = checks(&driver, &askers) - answered;
    let asked = service.requests.lock().map_or(0, |requests| requests.len());
    report.longest_turn(&target)?;
    report.traffic(&driver.tally, usage);
    report.latency("", &driver.tally.latency);
    let slowest = round(handshakes.slowest.as_secs_f64() * 1000.0);
    report.set("handshakes", handshakes.done);
    report.set("slowest_handshake_ms", slowest);
    report.set("guesses", checked);
    report.set("questions", asked);
    report.set("answers", answered);
    report.line(format!(
        "warm-up included: {} handshakes (slowest {slowest} ms), {checked} passwords checked, \
         {asked} questions, {answered} answers complete",
        handshakes.done
    ));
    if asked < ASKERS {
        report.fail(format!("only {asked} of {ASKERS} questions reached the assistant"));
    }
    driver.fall_silent()?;
    report.memory("end", &target)?;
    report.verdict(&driver);
    Ok(report)
}

fn with_cost(cost: u32) -> Settings {
    let variables = vec![("CHAT_BCRYPT_COST", cost.to_string())];
    Settings { variables, ..Settings::default() }
}

/// Somebody makes a private lobby, and these go in and out of it. With the right password: three wrong
/// ones would lock their address out, and the work is the same.
fn begin_guessing(driver: &mut Driver, route: &Route, count: usize) -> Outcome<Vec<usize>> {
    let mut maker = Protocol::Chat.login("maker");
    maker.say("/create hall no-pass x").wait("Created public lobby").say("/join hall");
    maker.wait("Joined lobby 'hall'").say("/create secret pass-word for few");
    maker.wait("Created private lobby");
    driver.done.clear();
    driver.connect(route, maker)?;
    while driver.done.is_empty() {
        driver.turn(Instant::now() + Duration::from_millis(100))?;
        driver.check()?;
    }
    let mut guessers = Vec::new();
    for n in 0..count {
        let mut guesser = Protocol::Chat.login(&format!("guesser{n}"));
        guesser.say("/join hall").wait("Joined lobby 'hall'").say("/join secret pass-word");
        guesser.wait("Joined lobby 'secret'").say("/join hall").end(End::Again(2));
        guessers.push(driver.connect(route, guesser)?);
    }
    driver.settle_for(Duration::from_secs(1))?;
    Ok(guessers)
}

/// Somebody who asks in a lobby of their own, again and again.
fn asker(n: usize) -> Dialog {
    let mut asker = Protocol::Chat.login(&format!("asker{n}"));
    asker.say(&format!("/create lobby{n} no-pass x")).wait("Created public lobby");
    asker.say(&format!("/join lobby{n}")).wait("Joined lobby").say("/ai long");
    asker.wait(LAST_LINE).say("/ai long").end(End::Again(4));
    asker
}

/// About four seconds of it.
fn long_answer() -> Vec<Step> {
    let mut steps = vec![stream_head()];
    for _ in 0..80 {
        steps.push(piece("another line of a long answer\n"));
        steps.push(Step::Wait(Duration::from_millis(50)));
    }
    steps.push(piece(&format!("{LAST_LINE}\n")));
    steps.extend(finish("STOP"));
    steps
}

fn checks(driver: &Driver, guessers: &[usize]) -> u64 {
    guessers.iter().map(|n| driver.rounds(*n)).sum()
}

/// TLS clients that come to the name prompt and go.
struct Handshakes {
    route: Route,
    next: Instant,
    begun: u64,
    done: u64,
    slowest: Duration,
}

impl Handshakes {
    fn new(route: Route) -> Self {
        Self { route, next: Instant::now(), begun: 0, done: 0, slowest: Duration::ZERO }
    }

    fn go_on(&mut self, driver: &mut Driver) -> Outcome<()> {
        for took in driver.done.drain(..) {
            self.done += 1;
            self.slowest = self.slowest.max(took);
        }
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + HANDSHAKE_INTERVAL;
        for _ in 0..HANDSHAKES {
            if self.begun - self.done < HANDSHAKES_UNDER_WAY as u64 {
                let mut visitor = Dialog::new(End::Close);
                visitor.wait("Enter your username: ");
                driver.connect(&self.route, visitor)?;
                self.begun += 1;
            }
        }
        Ok(())
    }
}
