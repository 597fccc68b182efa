//! The server's side of the second process (`writer`): starts it, again if somebody ends it, and
//! hears what it reports.
//!
//! It never waits for it, but at the start. Both ends of the socket between the two are kept here,
//! so that lines which one process has not written are there for the next.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, kill_process};

use super::writer::{ARGUMENT, CANNOT_OPEN, CANNOT_WRITE, OPENED};
use crate::limits::{LOG_OPEN_TIMEOUT, LOG_REPORT_BYTES, LOG_RETRY};

/// The second process, and what leads to it.
#[derive(Debug)]
pub(super) struct Helper {
    /// What it is to open; `None`: it writes to our standard error.
    path: Option<PathBuf>,
    ours: UnixStream,
    theirs: UnixStream,
    child: Option<Child>,
    started: Instant,
    /// When it is started again.
    start_at: Option<Instant>,
    /// It was asked to open its file again.
    opening: bool,
    /// The start of a report.
    unread: Vec<u8>,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The file that it was asked to open again is open.
    OpenedAgain,
    /// It cannot open it, with the system's words.
    CannotOpen(String),
    /// It cannot write to it.
    CannotWrite(String),
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum StartError {
    /// It cannot open the file.
    Open(String),
    /// There can be no such process here.
    Process(io::Error),
}

impl Helper {
    /// Starts it, and waits until it has opened its file, or [`LOG_OPEN_TIMEOUT`].
    pub(super) fn start(now: Instant, path: Option<&Path>) -> Result<Self, StartError> {
        let (ours, theirs) = UnixStream::pair().map_err(StartError::Process)?;
        let mut helper = Self {
            path: path.map(Path::to_owned),
            ours,
            theirs,
            child: None,
            started: now,
            start_at: None,
            opening: true,
            unread: Vec::new(),
        };
        helper.child = Some(helper.spawn().map_err(StartError::Process)?);
        let step = Duration::from_millis(20);
        for _ in 0..LOG_OPEN_TIMEOUT.as_millis() / step.as_millis() {
            let mut fds = [PollFd::new(&helper.ours, PollFlags::IN)];
            let _ = poll(&mut fds, Timespec::try_from(step).ok().as_ref());
            match helper.reports().into_iter().next() {
                Some(Report::CannotOpen(error)) => return Err(StartError::Open(error)),
                Some(_) => break,
                None => {}
            }
            if let Some(status) = helper.ended(now) {
                return Err(StartError::Process(io::Error::other(status.to_string())));
            }
        }
        helper.opening = false;
        Ok(helper)
    }

    fn spawn(&self) -> io::Result<Child> {
        // What was started, whatever was put in its place since.
        #[cfg(target_os = "linux")]
        let program = PathBuf::from("/proc/self/exe");
        #[cfg(not(target_os = "linux"))]
        let program = std::env::current_exe()?;
        Command::new(program)
            .arg0("mio-chat-log")
            .arg(ARGUMENT)
            .args(&self.path)
            // The key of the assistant is none of its business.
            .env_clear()
            .stdin(OwnedFd::from(self.theirs.try_clone()?))
            // A terminal's Ctrl-C is for the server.
            .process_group(0)
            .spawn()
    }

    /// Sends it some of these bytes, without waiting. SIGPIPE is ignored in every Rust program.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.ours, bytes, SendFlags::DONTWAIT)?)
    }

    /// Whether it has written all that it was sent.
    pub(super) fn has_written(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&self.theirs, &mut [0], flags).is_err()
    }

    /// What its file is called, if it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Asks it to open its file again.
    pub(super) fn open_again(&mut self) {
        self.opening = true;
        // One that is not there opens it when it comes.
        if let Some(child) = &self.child {
            let _ = kill_process(Pid::from_child(child), Signal::HUP);
        }
    }

    /// What it has reported since the last time.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let mut bytes = [0; 1024];
        while let Ok((_, n)) = recv(&self.ours, &mut bytes, RecvFlags::DONTWAIT)
            && n > 0
            && self.unread.len() < LOG_REPORT_BYTES
        {
            self.unread.extend_from_slice(bytes.get(..n).unwrap_or_default());
        }
        let Some(end) = memchr::memrchr(b'\n', &self.unread) else { return Vec::new() };
        let lines: Vec<u8> = self.unread.drain(..=end).collect();
        lines.split(|byte| *byte == b'\n').filter_map(|line| self.report(line)).collect()
    }

    fn report(&mut self, line: &[u8]) -> Option<Report> {
        let (what, error) = line.split_first()?;
        let error = String::from_utf8_lossy(error).into_owned();
        match *what {
            OPENED => std::mem::take(&mut self.opening).then_some(Report::OpenedAgain),
            CANNOT_OPEN if std::mem::take(&mut self.opening) => Some(Report::CannotOpen(error)),
            // Also from one that was started again, which has no file.
            CANNOT_OPEN | CANNOT_WRITE => Some(Report::CannotWrite(error)),
            _ => None,
        }
    }

    /// How it has ended, if it has; then it is started again, but not over and over.
    pub(super) fn ended(&mut self, now: Instant) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.start_at = Some(now.max(self.started + LOG_RETRY));
        Some(status)
    }

    /// When it has to be started again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.start_at
    }

    /// Starts it again if it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.start_at.is_some_and(|at| at <= now) {
            self.started = now;
            self.child = self.spawn().ok();
            self.start_at = self.child.is_none().then(|| now + LOG_RETRY);
        }
    }
}

impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}
