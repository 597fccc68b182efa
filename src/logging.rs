//! Where the log goes: standard error, and a file if one is named.
//!
//! One line of text a record, written in one piece: `2026-11-22T20:42:22.123456789Z [INFO] …`. Refusals read
//! `refused ADDRESS - reason`.

use std::fs::OpenOptions;
use std::io::{self, LineWriter};
use std::path::Path;

use log::LevelFilter;
use simplelog::{CombinedLogger, ConfigBuilder, SharedLogger, WriteLogger};

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
    let mut loggers: Vec<Box<dyn SharedLogger>> =
        vec![WriteLogger::new(level, config.clone(), LineWriter::new(io::stderr()))];
    if let Some(path) = file {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        loggers.push(WriteLogger::new(level, config, LineWriter::new(file)));
    }
    CombinedLogger::init(loggers).map_err(io::Error::other)
}
