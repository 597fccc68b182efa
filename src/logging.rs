//! Where the log goes: standard error, and a file if one is named.
//!
//! Each record is one line, whatever it contains, and is written in one piece:
//! `2026-11-22T20:42:22.123Z [INFO] …`, in UTC, with times of constant width. Refusals read
//! `refused ADDRESS - reason`.
//!
//! The file is opened and written without waiting for whoever reads it: a FIFO that nobody reads
//! keeps what its buffer holds; anything after that is lost, and standard error says so.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, LineWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::fs::OFlags;
use rustix::io::Errno;
use simplelog::{ConfigBuilder, WriteLogger};
use time::macros::format_description;

/// The log's file, if there is one. The logger writes to it, and a signal has it reopened.
static FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// Sends the log to standard error and, if a path is given, appends it to that file.
///
/// # Errors
/// The file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let file = file.map(|path| LogFile::open(path.to_owned())).transpose()?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = file;
    let logger = OneLine(WriteLogger::new(level, simplelog_config(), LineWriter::new(Sinks)));
    log::set_boxed_logger(Box::new(logger)).map_err(|e| io::Error::other(e.to_string()))?;
    log::set_max_level(level);
    Ok(())
}

/// A time with milliseconds, the level, the text, and nothing else.
fn simplelog_config() -> simplelog::Config {
    ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_time_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Reopens the log's file, in case somebody has moved it away. `None`: there is none.
///
/// # Errors
/// It cannot be opened, with its name; the one that was open stays in use.
pub fn reopen() -> Option<io::Result<()>> {
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Opens it without waiting for anybody, and without making a terminal our controlling terminal. A
/// FIFO that nobody reads yet cannot be opened for writing alone (open(2), `ENXIO`), so it is
/// opened for both.
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
struct Sinks;

impl Write for Sinks {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        if let Some(file) = &mut *FILE.lock().unwrap_or_else(PoisonError::into_inner) {
            file.append(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A logger that makes one line of each record.
struct OneLine<L>(L);

impl<L: Log> Log for OneLine<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let text = one_line(&text);
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

struct LogFile {
    path: PathBuf,
    file: File,
    /// It did not take the last line.
    failing: bool,
    /// It took part of a line, which has to be ended before the next one.
    torn: bool,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path, OpenOptions::new().create(true).append(true))?;
        Ok(Self { path, file, failing: false, torn: false })
    }

    /// Appends a line. If it cannot be written, standard error says so, once until writing works
    /// again.
    fn append(&mut self, line: &[u8]) {
        let end: &[u8] = if self.torn { b"\n" } else { b"" };
        let result = self.write(end).and_then(|()| self.write(line));
        if let Err(error) = &result
            && !self.failing
        {
            let _ = writeln!(io::stderr(), "[ERROR] CHAT_LOG_FILE: lines are lost - {error}");
        }
        self.failing = result.is_err();
    }

    /// Like `write_all`, but remembers whether a line has been started and not ended.
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

    #[test]
    fn a_line_that_was_torn_ends_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = LogFile::open(path.clone()).unwrap();
        file.write(b"half of").unwrap();
        file.append(b"whole\n");
        file.append(b"and another\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "half of\nwhole\nand another\n");
    }
}
