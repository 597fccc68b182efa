//! Where the log goes: standard error, and a file if one is named.
//!
//! One line a record, whatever stands in it, written in one piece:
//! `2026-11-22T20:42:22.123Z [INFO] …`, in UTC, the time always as wide. Refusals read
//! `refused ADDRESS - reason`.
//!
//! The file is opened and written without waiting for whoever reads it: a FIFO that nobody reads
//! keeps what its buffer takes; what comes after that is lost, and standard error says so.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::fs::OFlags;
use rustix::io::Errno;
use time::OffsetDateTime;

/// What the `log` macros write to; one for the process.
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Sends the log to standard error and, if a path is given, appends it to that file.
///
/// # Errors
/// The file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let file = file.map(|path| LogFile::open(path.to_owned())).transpose()?;
    let logger = LOGGER.get_or_init(|| Logger { level, file: Mutex::new(file) });
    log::set_logger(logger).map_err(|e| io::Error::other(e.to_string()))?;
    log::set_max_level(level);
    Ok(())
}

/// Opens the log's file again, for whoever has moved it away. `None`: there is none.
///
/// # Errors
/// It cannot be opened, with its name; the one that was open stays in use.
pub fn reopen() -> Option<io::Result<()>> {
    let mut file = LOGGER.get()?.file.lock().unwrap_or_else(PoisonError::into_inner);
    let path = file.as_ref()?.path.clone();
    let named = |e| io::Error::other(format!("cannot write {}: {e}", path.display()));
    let new = LogFile::open(path.clone()).map_err(named);
    Some(new.map(|new| *file = Some(new)))
}

/// Whether the log could be appended to this file; it is not created.
///
/// # Errors
/// It could not.
pub fn check(path: &Path) -> io::Result<()> {
    match open(path, OpenOptions::new().append(true)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            std::fs::metadata(directory.unwrap_or(Path::new("."))).map(drop)
        }
        result => result.map(drop),
    }
}

/// Opens it without waiting for anybody, and without making a terminal ours. A FIFO that nobody reads
/// yet cannot be opened for writing alone (open(2), `ENXIO`): it is opened for both.
fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut options = options.clone();
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    match options.open(path) {
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            options.read(true).open(path)
        }
        result => result,
    }
}

/// Standard error and perhaps a file. A failure of one does not keep lines from the other.
struct Logger {
    level: LevelFilter,
    file: Mutex<Option<LogFile>>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(OffsetDateTime::now_utc(), record);
        let _ = io::stderr().write_all(line.as_bytes());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut *file {
            file.append(&line);
        }
    }

    fn flush(&self) {}
}

struct LogFile {
    path: PathBuf,
    file: File,
    /// It did not take the last line.
    failing: bool,
    /// It took a part of one, which has to end before the next one.
    torn: bool,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path, OpenOptions::new().create(true).append(true))?;
        Ok(Self { path, file, failing: false, torn: false })
    }

    /// Appends a line. If it cannot be written standard error says so, once until it can be.
    fn append(&mut self, line: &str) {
        let end: &[u8] = if self.torn { b"\n" } else { b"" };
        let result = self.write(end).and_then(|()| self.write(line.as_bytes()));
        if let Err(error) = &result
            && !self.failing
        {
            let _ = writeln!(io::stderr(), "[ERROR] CHAT_LOG_FILE: lines are lost - {error}");
        }
        self.failing = result.is_err();
    }

    /// Like `write_all`, and remembers whether a line is begun and not ended.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let (written, rest) = bytes.split_at(n);
                    self.torn = !written.ends_with(b"\n");
                    bytes = rest;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A record as its line, with the newline.
fn line(time: OffsetDateTime, record: &Record<'_>) -> String {
    let mut line = String::with_capacity(128);
    let _ = write!(
        line,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z [{}] ",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond(),
        record.level(),
    );
    let _ = write!(OneLine(&mut line), "{}", record.args());
    line.push('\n');
    line
}

/// Writes what would end a line, or could steer the terminal that shows it, as Rust would: `\n`,
/// `\t`, `\u{1b}`. What others sent may hold anything.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_unprintable(c) {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

/// Controls, the line and paragraph separators, and what turns the direction of a text.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn shown(millis: i128, level: Level, text: &str) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap();
        line(time, &Record::builder().level(level).args(format_args!("{text}")).build())
    }

    #[test]
    fn times_have_milliseconds_and_always_the_same_width() {
        assert_eq!(shown(0, Level::Info, "a"), "1970-01-01T00:00:00.000Z [INFO] a\n");
        let line = shown(1_795_380_142_120, Level::Error, "é");
        assert_eq!(line, "2026-11-22T20:42:22.120Z [ERROR] é\n");
    }

    #[test]
    fn a_record_is_one_line_whatever_stands_in_it() {
        let line = shown(0, Level::Warn, "a\nb\r\n\tc\u{1b}[2J\u{85}\u{2028}\u{202e}\\n日🙂");
        let text = "a\\nb\\r\\n\\tc\\u{1b}[2J\\u{85}\\u{2028}\\u{202e}\\n日🙂";
        assert_eq!(line, format!("1970-01-01T00:00:00.000Z [WARN] {text}\n"));
    }

    #[test]
    fn a_line_that_was_torn_ends_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = LogFile::open(path.clone()).unwrap();
        file.write(b"half of").unwrap();
        file.append("whole\n");
        file.append("and another\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "half of\nwhole\nand another\n");
    }
}
