//! One destination of the log: how it is written to without waiting, and what waits for it.
//!
//! What is written to is chosen by what is there. A pipe or a terminal is opened once more, for an
//! open file description of our own: the flags of the one we were given are the shell's, too. A
//! socket takes a flag with each call. A file is written by a second process. Where none of that is
//! possible we ask before we write.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _, stderr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::net::{SendFlags, send};
use rustix::pipe::PIPE_BUF;

use super::backlog::Backlog;
use super::helper::{Helper, StartError};
use super::{stamp, writer};

/// Pieces written in one go: the end of a line, what was lost, and lines.
const PIECES: usize = 3;

/// Where lines go, and those that have not gone yet.
#[derive(Debug)]
pub(super) struct Sink {
    /// As the operator knows it.
    pub(super) name: &'static str,
    target: Target,
    backlog: Backlog,
    /// It took no more the last time.
    blocked: bool,
    /// What the poll watches it for, or should if it could.
    watched: Option<Interest>,
    /// The last error, since something was taken.
    error: Option<String>,
}

#[derive(Debug)]
enum Target {
    /// A description of our own, which does not wait; if it is a file, for the disk.
    Own {
        file: File,
        path: Option<PathBuf>,
    },
    /// Standard error, which others have, too, and which may wait.
    Shared,
    /// The same, a socket.
    Socket,
    Helper(Helper),
}

impl Sink {
    fn new(name: &'static str, target: Target) -> Self {
        let backlog = Backlog::default();
        Self { name, target, backlog, blocked: false, watched: None, error: None }
    }

    /// Standard error. The text says what is not as it should be.
    pub(super) fn stderr(now: Instant) -> (Self, Option<String>) {
        let mut error = None;
        let mut helper = || match Helper::start(now, None) {
            Ok(helper) => Some(Target::Helper(helper)),
            Err(StartError::Open(text)) => {
                error = Some(text);
                None
            }
            Err(StartError::Process(e)) => {
                error = Some(e.to_string());
                None
            }
        };
        let kind = fstat(stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let target = match kind {
            Ok(FileType::Socket) => Some(Target::Socket),
            // One that cannot be opened (made by root, as service managers and containers do) takes
            // whole lines if it takes anything.
            Ok(FileType::Fifo) => stderr_of_our_own(),
            Ok(FileType::CharacterDevice) => stderr_of_our_own().or_else(helper),
            Ok(_) => helper(),
            Err(_) => None,
        };
        (Self::new("standard error", target.unwrap_or(Target::Shared)), error)
    }

    /// Standard error as it is, for a process that says a few things and ends.
    pub(super) fn plain_stderr() -> Self {
        Self::new("standard error", Target::Shared)
    }

    /// A file. The text says what is not as it should be.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn file(now: Instant, path: &Path) -> io::Result<(Self, Option<String>)> {
        let (target, error) = match Helper::start(now, Some(path)) {
            Ok(helper) => (Target::Helper(helper), None),
            Err(StartError::Open(error)) => return Err(io::Error::other(error)),
            Err(StartError::Process(e)) => {
                let file = writer::open(path)?;
                (Target::Own { file, path: Some(path.to_owned()) }, Some(e.to_string()))
            }
        };
        Ok((Self::new("CHAT_LOG_FILE", target), error))
    }

    /// Whether it can take something now, and something waits.
    pub(super) fn is_busy(&self) -> bool {
        !self.backlog.is_empty() && !self.blocked
    }

    /// Whether all that waited has been taken, for good.
    pub(super) fn is_done(&self) -> bool {
        let written = match &self.target {
            Target::Helper(helper) => helper.has_written(),
            _ => true,
        };
        written && self.backlog.is_empty()
    }

    /// Takes a line, and writes it if nothing waits. Gives what others should be told: that lines
    /// have begun to be lost here.
    pub(super) fn log(&mut self, line: &[u8]) -> Option<String> {
        let had_lost = self.backlog.has_lost();
        let waited = !self.backlog.is_empty();
        self.backlog.push(line, stamp);
        // What is not watched has to be tried.
        if !waited || self.watched.is_none() {
            self.write();
        }
        if had_lost || !self.backlog.has_lost() {
            return None;
        }
        let error = self.error.as_deref().unwrap_or("it takes no more");
        Some(format!("{}: lines are lost - {error}", self.name))
    }

    /// Writes some of what waits.
    pub(super) fn write(&mut self) {
        self.blocked = false;
        for _ in 0..PIECES {
            if self.backlog.is_empty() {
                return;
            }
            let target = &self.target;
            match self.backlog.write_piece(stamp, |piece| target.write(piece)) {
                Ok(()) => self.error = None,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(e) => {
                    self.error = Some(e.to_string());
                    self.backlog.discard(stamp);
                    self.blocked = true;
                    return;
                }
            }
        }
    }

    /// Has the poll say when it takes more, if something waits, or when its process reports. What
    /// cannot be watched (`/dev/null`) never waits.
    pub(super) fn watch(&mut self, registry: &Registry, token: Token) {
        let reports = matches!(self.target, Target::Helper(_)).then_some(Interest::READABLE);
        let room = (self.blocked && !self.backlog.is_empty()).then_some(Interest::WRITABLE);
        let wanted = match (reports, room) {
            (Some(reports), Some(room)) => Some(reports | room),
            (one, other) => one.or(other),
        };
        if wanted == self.watched {
            return;
        }
        let stderr = stderr();
        let fd = match &self.target {
            Target::Own { file, .. } => file.as_fd(),
            Target::Helper(helper) => helper.as_fd(),
            Target::Shared | Target::Socket => stderr.as_fd(),
        }
        .as_raw_fd();
        let mut source = SourceFd(&fd);
        let result = match (self.watched, wanted) {
            (None, Some(interest)) => registry.register(&mut source, token, interest),
            (Some(_), Some(interest)) => registry.reregister(&mut source, token, interest),
            (Some(_), None) => registry.deregister(&mut source),
            (None, None) => Ok(()),
        };
        self.watched = if result.is_ok() { wanted } else { None };
    }

    /// Its second process, if it has one.
    pub(super) fn helper(&mut self) -> Option<&mut Helper> {
        match &mut self.target {
            Target::Helper(helper) => Some(helper),
            _ => None,
        }
    }

    /// The file's, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Own { path, .. } => path.as_deref(),
            Target::Helper(helper) => helper.path(),
            Target::Shared | Target::Socket => None,
        }
    }

    /// Opens its file again. The outcome, if it is known.
    pub(super) fn open_again(&mut self) -> Option<io::Result<()>> {
        match &mut self.target {
            Target::Own { file, path: Some(path) } => Some(writer::open(path).map(|new| {
                *file = new;
                self.watched = None;
            })),
            Target::Helper(helper) if helper.path().is_some() => {
                helper.open_again();
                None
            }
            _ => None,
        }
    }
}

impl Target {
    /// Writes some of these bytes, without waiting.
    fn write(&self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own { file, .. } => {
                let mut file = file;
                file.write(piece)
            }
            Self::Shared => write_if_ready(stderr().as_fd(), piece),
            // SIGPIPE is ignored in every Rust program.
            Self::Socket => Ok(send(stderr(), piece, SendFlags::DONTWAIT)?),
            Self::Helper(helper) => helper.send(piece),
        }
    }
}

/// Writes to what may wait if it says that it does not: a pipe that takes anything takes [`PIPE_BUF`]
/// bytes.
fn write_if_ready(fd: BorrowedFd<'_>, piece: &[u8]) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    if poll(&mut fds, Some(&Timespec::default()))? == 0 {
        return Err(ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(fd, piece.get(..PIPE_BUF).unwrap_or(piece))?)
}

/// What standard error leads to, opened once more. Elsewhere than in Linux there is no way to.
fn stderr_of_our_own() -> Option<Target> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2").ok()?;
    Some(Target::Own { file, path: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_pipe_that_cannot_be_opened_again_is_asked_first() {
        let (mut reader, writer) = io::pipe().unwrap();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let mut written = 0;
        loop {
            match write_if_ready(writer.as_fd(), &line) {
                Ok(n) => written += n,
                Err(e) => break assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(written >= 32 * 1024, "{written}");
        // Room for one piece, and no more.
        reader.read_exact(&mut vec![0; PIPE_BUF * 2]).unwrap();
        let long = vec![b'y'; PIPE_BUF * 8];
        assert_eq!(write_if_ready(writer.as_fd(), &long).unwrap(), PIPE_BUF);
    }
}
