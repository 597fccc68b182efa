//! Where the log goes: standard error, and a file if one is named.
//!
//! Each record is one line, whatever it contains, and is written in one piece:
//! `2026-11-22T20:42:22.123Z [INFO] …`, in UTC, with times of constant width. Refusals read
//! `refused ADDRESS - reason`.
//!
//! Nobody waits for whoever takes the log. A line is written at once if that is possible (`sink`);
//! else it waits, within a bound, and the loop goes on with it when there is room (`backlog`). Files
//! are written by a second process (`helper`, `writer`). Strangers decide how much there is to say,
//! so the log as a whole has a bound, too (`growth`).

mod backlog;
mod growth;
mod helper;
mod sink;
mod writer;

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use mio::{Registry, Token};
use rustix::event::{Timespec, poll};
use simplelog::{ConfigBuilder, WriteLogger};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::limits::LOG_SETTLE_TIMEOUT;
use growth::{Growth, Kind};
use helper::Report;
use sink::Sink;

pub use writer::{ARGUMENT as WRITER_ARGUMENT, write_log};

/// How a time looks.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The log. The logger writes to it, and the loop has it go on.
static LOG: Mutex<Option<Destinations>> = Mutex::new(None);

/// Sends the log to standard error and, if a path is given, appends it to that file.
///
/// # Errors
/// The file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let now = read_clock();
    let (stderr, error) = Sink::stderr(now);
    let mut sinks = vec![stderr];
    let mut errors = Vec::from_iter(error);
    if let Some(path) = file {
        let (file, error) = Sink::file(now, path)?;
        sinks.push(file);
        errors.extend(error);
    }
    install(level, sinks)?;
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let in_the_log_itself = matches!(LOG.try_lock(), Err(TryLockError::WouldBlock));
        if in_the_log_itself || settle() {
            default(panic);
        }
    }));
    for error in errors {
        log::warn!("the log is written without a second process: a disk may hold us - {error}");
    }
    Ok(())
}

/// Sends the log to standard error, for a process that says a few things and ends.
///
/// # Errors
/// There is a log already.
pub fn start_plainly(level: LevelFilter) -> io::Result<()> {
    install(level, vec![Sink::plain_stderr()])
}

fn install(level: LevelFilter, sinks: Vec<Sink>) -> io::Result<()> {
    let lines = Lines(Vec::new());
    *lock() = Some(Destinations { sinks, ..Destinations::default() });
    let logger = OneLine(WriteLogger::new(level, simplelog_config(), lines));
    log::set_boxed_logger(Box::new(logger)).map_err(|e| io::Error::other(e.to_string()))?;
    log::set_max_level(level);
    Ok(())
}

/// A time with milliseconds, the level, the text, and nothing else.
fn simplelog_config() -> simplelog::Config {
    ConfigBuilder::new()
        .set_time_format_custom(TIME)
        .set_time_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Whether the log could be appended to this file; it is not created.
///
/// # Errors
/// It could not.
pub fn check(path: &Path) -> io::Result<()> {
    match writer::open_with(path, OpenOptions::new().append(true)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            std::fs::metadata(directory.unwrap_or(Path::new("."))).map(drop)
        }
        result => result.map(drop),
    }
}

// ---- What the loop does ------------------------------------------------------------------------

/// From now on the poll wakes the loop when there is something to do: an event with this token means
/// [`wake`].
///
/// # Errors
/// The system lacks something.
pub fn register(registry: &Registry, token: Token) -> io::Result<()> {
    let registry = registry.try_clone()?;
    with(|log| {
        log.poll = Some((registry, token));
        // It may have ended before anybody listened for that.
        log.bereft = true;
        log.watch();
    });
    Ok(())
}

/// Something takes more, or the second process has something to say.
pub fn wake() {
    with(|log| log.woken = true);
}

/// A child of this process has ended.
pub fn child_ended() {
    with(|log| log.bereft = true);
}

/// Reopens the log's file, in case somebody has moved it away; the outcome is logged when it is
/// known. If it cannot be opened the one that was open stays in use.
pub fn reopen() {
    with(|log| {
        for sink in &mut log.sinks {
            if let Some(result) = sink.open_again() {
                log.to_say.push(opened_again(sink.path(), result.map_err(|e| e.to_string())));
            }
        }
    });
}

/// How long until there is something to do that no event tells of: no time if that has begun. Lines
/// have the system's time, which need not be the loop's.
#[must_use]
pub fn poll_timeout() -> Option<Duration> {
    with(|log| {
        if log.woken || log.bereft || !log.to_say.is_empty() || log.sinks.iter().any(Sink::is_busy)
        {
            return Some(Duration::ZERO);
        }
        let helpers = log.sinks.iter_mut().filter_map(Sink::helper);
        let due = helpers.filter_map(|helper| helper.poll_timeout());
        let due = due.chain(log.growth.poll_timeout()).min()?;
        Some(due.saturating_duration_since(read_clock()))
    })
    .flatten()
}

/// Does what there is to do, once a turn; never waits.
pub fn attend() {
    let to_say = with(|log| log.attend(read_clock())).unwrap_or_default();
    for (level, text) in to_say {
        log::log!(level, "{text}");
    }
}

/// Waits until everything has been taken, for at most [`LOG_SETTLE_TIMEOUT`]. Gives whether standard
/// error has taken all, so that something else can be written to it.
#[must_use]
pub fn settle() -> bool {
    let end = read_clock() + LOG_SETTLE_TIMEOUT;
    loop {
        let done = |log: &mut Destinations| {
            log.sinks.iter_mut().for_each(Sink::write);
            let mut done = log.sinks.iter().map(Sink::is_done);
            (done.next().unwrap_or(true), done.all(|done| done))
        };
        let (stderr, others) = with(done).unwrap_or((true, true));
        if stderr && others || read_clock() >= end {
            return stderr;
        }
        let pause = Timespec::try_from(Duration::from_micros(500)).ok();
        let _ = poll(&mut [], pause.as_ref());
    }
}

/// The same, at the end: what was only counted is logged before.
pub fn finish() -> bool {
    with(Destinations::tell_count);
    settle()
}

// ---- Destinations ------------------------------------------------------------------------------

/// All that a line goes to.
#[derive(Debug, Default)]
struct Destinations {
    /// Standard error first.
    sinks: Vec<Sink>,
    growth: Growth,
    poll: Option<(Registry, Token)>,
    woken: bool,
    bereft: bool,
    /// Lines that could not be logged while the log was in use.
    to_say: Vec<(Level, String)>,
}

impl Destinations {
    /// Takes a line, with its end.
    fn log(&mut self, line: &[u8]) {
        for n in 0..self.sinks.len() {
            let Some(trouble) = self.sinks.get_mut(n).and_then(|sink| sink.log(line)) else {
                continue;
            };
            let trouble = format!("{} [ERROR] {trouble}\n", stamp());
            for (_, other) in self.sinks.iter_mut().enumerate().filter(|(other, _)| *other != n) {
                other.log(trouble.as_bytes());
            }
        }
        self.watch();
    }

    fn watch(&mut self) {
        if let Some((registry, token)) = &self.poll {
            self.sinks.iter_mut().for_each(|sink| sink.watch(registry, *token));
        }
    }

    /// Goes on with what waits. Gives what is to be logged.
    fn attend(&mut self, now: Instant) -> Vec<(Level, String)> {
        let woken = std::mem::take(&mut self.woken);
        let bereft = std::mem::take(&mut self.bereft);
        for sink in &mut self.sinks {
            let name = sink.name;
            if let Some(helper) = sink.helper() {
                if bereft && let Some(status) = helper.ended(now) {
                    let text = format!("the second process, for {name}, has ended - {status}");
                    self.to_say.push((Level::Error, text));
                }
                helper.handle_timeout(now);
                let reports = if woken { helper.reports() } else { Vec::new() };
                let lines = reports.into_iter().map(|report| said(name, helper.path(), report));
                self.to_say.extend(lines);
            }
            if woken || sink.is_busy() {
                sink.write();
            }
        }
        if self.growth.poll_timeout().is_some_and(|at| at <= now) {
            self.tell_count();
        }
        self.watch();
        std::mem::take(&mut self.to_say)
    }

    /// Logs how many lines were left out, past the bound for which they were.
    fn tell_count(&mut self) {
        if let Some(count) = self.growth.take_count() {
            self.log(format!("{} [WARN] {count}\n", stamp()).as_bytes());
        }
    }
}

/// What is logged of a report of the second process.
fn said(name: &str, path: Option<&Path>, report: Report) -> (Level, String) {
    match report {
        Report::OpenedAgain => opened_again(path, Ok(())),
        Report::CannotOpen(error) => opened_again(path, Err(error)),
        Report::CannotWrite(error) => (Level::Error, format!("{name}: lines wait - {error}")),
    }
}

fn opened_again(path: Option<&Path>, result: Result<(), String>) -> (Level, String) {
    match result {
        Ok(()) => (Level::Info, "log file opened again".to_owned()),
        Err(error) => {
            let path = path.unwrap_or(Path::new("it")).display();
            (Level::Error, format!("the old log file stays in use - cannot write {path}: {error}"))
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Destinations>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(act: impl FnOnce(&mut Destinations) -> T) -> Option<T> {
    lock().as_mut().map(act)
}

/// The time, as lines begin with it.
fn stamp() -> String {
    OffsetDateTime::now_utc().format(TIME).unwrap_or_default()
}

/// The clock, since a line may come at any time of a turn.
#[allow(clippy::disallowed_methods)]
fn read_clock() -> Instant {
    Instant::now()
}

/// What the logger writes to: hands on whole lines.
struct Lines(Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        // A record has no other line's end in it.
        if self.0.ends_with(b"\n") {
            with(|log| log.log(&self.0));
            self.0.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A logger that makes one line of each record, and leaves out what is too much.
struct OneLine<L>(L);

impl<L: Log> Log for OneLine<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let text = one_line(&text);
        let bytes = "2026-11-22T20:42:22.123Z [ERROR] \n".len() + text.len();
        let kind = Kind::of(record.metadata());
        let admitted = match LOG.try_lock() {
            Ok(mut log) => {
                log.as_mut().is_none_or(|log| log.growth.admit(read_clock(), kind, bytes))
            }
            // What a library says on behalf of the log itself.
            Err(_) => false,
        };
        if !admitted {
            return;
        }
        let metadata = record.metadata().clone();
        self.0.log(&Record::builder().metadata(metadata).args(format_args!("{text}")).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Escapes everything that would end a line, or could control the terminal that shows it, as Rust
/// would write it: `\n`, `\t`, `\u{1b}`. What others sent may hold anything.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unprintable(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// Controls, the line and paragraph separators, and whatever changes the direction of a text.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;
    use std::sync::Arc;

    /// What the logger writes, kept.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(level: Level, text: &str) -> String {
        let kept = Kept::default();
        let logger =
            OneLine(WriteLogger::new(LevelFilter::Trace, simplelog_config(), kept.clone()));
        logger.log(&Record::builder().level(level).args(format_args!("{text}")).build());
        let line = kept.0.lock().unwrap().clone();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn times_have_milliseconds_and_always_the_same_width() {
        for _ in 0..20 {
            let line = shown(Level::Info, "a");
            let digits: String =
                line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(digits, "0000-00-00T00:00:00.000Z [INFO] a\n");
        }
        assert!(shown(Level::Error, "é").ends_with("Z [ERROR] é\n"));
    }

    #[test]
    fn a_record_is_one_line_whatever_stands_in_it() {
        let line = shown(Level::Warn, "a\nb\r\n\tc\u{1b}[2J\u{85}\u{2028}\u{202e}\\n日🙂");
        let text = "a\\nb\\r\\n\\tc\\u{1b}[2J\\u{85}\\u{2028}\\u{202e}\\n日🙂";
        assert!(line.ends_with(&format!("Z [WARN] {text}\n")), "{line:?}");
    }
}
