//! Where the log goes: standard error, and a file if one is named.
//!
//! One line of text a record, written in one piece: `2026-11-22T20:42:22.123456789Z [INFO] …`.
//! Refusals read `refused ADDRESS - reason`.

use std::fs::{File, OpenOptions};
use std::io::{self, LineWriter, Write};
use std::path::Path;

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

/// Sends the log to standard error and, if a path is given, appends it to that file.
///
/// # Errors
/// The file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_time_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    let open = |path| OpenOptions::new().create(true).append(true).open(path);
    let sinks = Sinks { file: file.map(open).transpose()?, failing: false };
    // Records are formatted in pieces; the buffer makes one write of each line.
    WriteLogger::init(level, config, LineWriter::new(sinks)).map_err(io::Error::other)
}

/// Whether the log could be appended to this file, which is not made for it.
///
/// # Errors
/// It could not.
pub fn check(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            std::fs::metadata(directory.unwrap_or(Path::new("."))).map(drop)
        }
        result => result.map(drop),
    }
}

/// Standard error and perhaps a file. That one of them fails does not keep a line from the other, and
/// of the file it is told.
struct Sinks {
    file: Option<File>,
    /// The file did not take the last line.
    failing: bool,
}

impl Write for Sinks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        if let Some(file) = &mut self.file {
            let result = file.write_all(bytes);
            if let Err(error) = &result
                && !self.failing
            {
                let _ = writeln!(io::stderr(), "[ERROR] CHAT_LOG_FILE: lines are lost - {error}");
            }
            self.failing = result.is_err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
