//! The second process: reads lines from the socket that is its standard input and appends them to a
//! file, so that a disk which hangs, or a FIFO that nobody reads, holds this process and not the
//! server. It is the same program, started with [`ARGUMENT`].
//!
//! A line is taken from the socket only when it has been written. So what is not written when this
//! process is killed is there for the next one, and the server sees in the socket what is still to
//! be done. What cannot be written is tried again every second; nothing is thrown away.
//!
//! It ends when the socket does, that is, with the server. Signals that are meant for the server do
//! not end it. SIGHUP opens the file again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, stderr, stdin};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

use crate::limits::{LOG_REPORT_BYTES, LOG_RETRY, LOG_WRITER_BYTES};

/// The argument that makes the program this process. After it comes the path, if there is one; else
/// standard error is what is written to.
pub const ARGUMENT: &str = "--write-log";

/// What the server is told: a line with one of these at its start, and then the error.
pub(super) const OPENED: u8 = b'+';
pub(super) const CANNOT_OPEN: u8 = b'!';
pub(super) const CANNOT_WRITE: u8 = b'-';

/// Writes until standard input, which has to be a socket, ends.
///
/// # Errors
/// It is not a socket, or the system lacks something.
pub fn write_log(path: Option<PathBuf>) -> io::Result<()> {
    // What ps(1) and pgrep(1) show; else it would be "exe" (proc(5)).
    let _ = std::fs::write("/proc/self/comm", "mio-chat-log");
    let mut writer = Writer { path, output: None, failing: false, hangups: take_signals()? };
    writer.open();
    let mut lines = vec![0; LOG_WRITER_BYTES];
    let (mut hung_up, mut stuck) = (false, false);
    loop {
        hung_up |= recv(&writer.hangups, &mut [0; 64], RecvFlags::DONTWAIT).is_ok();
        // What was said before goes to the old file, if that takes it.
        if hung_up && stuck {
            hung_up = false;
            writer.open();
        }
        match recv(stdin(), &mut *lines, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Ok(()),
            Ok((_, n)) => {
                let written = writer.write(lines.get(..n).unwrap_or_default());
                stuck = written.is_none();
                if let Some(written) = written {
                    consume(lines.get_mut(..written).unwrap_or_default())?;
                } else if has_ended() && !writer.may_write_soon() {
                    return Ok(());
                }
            }
            Err(Errno::AGAIN) if hung_up => {
                hung_up = false;
                writer.open();
            }
            Err(Errno::AGAIN) => wait([(stdin().as_fd(), PollFlags::IN), writer.on_hangup()], None),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Keeps signals that are for the server from ending this process: a terminal sends Ctrl-C to both,
/// a service manager its SIGTERM or SIGABRT. Gives a socket that has something to read after SIGHUP.
fn take_signals() -> io::Result<UnixStream> {
    let unread = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGXFSZ] {
        signal_hook::flag::register(signal, unread.clone())?;
    }
    let (hangups, theirs) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGHUP, theirs)?;
    Ok(hangups)
}

/// Takes what was written from the socket: as many bytes as the buffer has, which are there.
fn consume(mut written: &mut [u8]) -> io::Result<()> {
    while !written.is_empty() {
        let (_, n) = recv(stdin(), &mut *written, RecvFlags::DONTWAIT)?;
        if n == 0 {
            return Ok(());
        }
        written = written.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// Whether the server has ended.
fn has_ended() -> bool {
    let stdin = stdin();
    let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, Some(&Timespec::default()));
    fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
}

/// Waits for one of these, so long at most.
fn wait<const N: usize>(fds: [(BorrowedFd<'_>, PollFlags); N], most: Option<Duration>) {
    let mut fds = fds.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    let most = most.and_then(|most| Timespec::try_from(most).ok());
    let _ = poll(&mut fds, most.as_ref());
}

struct Writer {
    /// `None`: standard error.
    path: Option<PathBuf>,
    output: Option<OwnedFd>,
    /// It did not take what came last, and the server was told so.
    failing: bool,
    hangups: UnixStream,
}

impl Writer {
    /// Opens the file, again if it is open, and tells the server. If that fails, one that is open
    /// stays in use.
    fn open(&mut self) {
        let opened = match &self.path {
            Some(path) => open(path).map(OwnedFd::from),
            None => stderr().as_fd().try_clone_to_owned(),
        };
        match opened {
            Ok(output) => {
                (self.output, self.failing) = (Some(output), false);
                report(OPENED, "");
            }
            Err(e) => report(CANNOT_OPEN, &e.to_string()),
        }
    }

    /// Writes some of these bytes, and gives how many. `None`: it has waited a while for what keeps
    /// them from being written.
    fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(output) = &self.output else {
            self.pause();
            if let Some(path) = &self.path {
                self.output = open(path).ok().map(OwnedFd::from);
            }
            return None;
        };
        match rustix::io::write(output, bytes) {
            Ok(n) if n > 0 => {
                self.failing = false;
                return Some(n);
            }
            Err(Errno::AGAIN) => {
                let output = (output.as_fd(), PollFlags::OUT);
                let stdin = stdin();
                let ended = (stdin.as_fd(), PollFlags::empty());
                wait([output, ended, self.on_hangup()], None);
            }
            Err(Errno::INTR) => {}
            result => {
                let error = match result {
                    Err(e) => io::Error::from(e),
                    Ok(_) => ErrorKind::WriteZero.into(),
                };
                if !std::mem::replace(&mut self.failing, true) {
                    report(CANNOT_WRITE, &error.to_string());
                }
                self.pause();
            }
        }
        None
    }

    /// Waits before the next try; not after the end of the server.
    fn pause(&self) {
        wait([(stdin().as_fd(), PollFlags::empty()), self.on_hangup()], Some(LOG_RETRY));
    }

    /// Whether the file takes something, or will within [`LOG_RETRY`]: that is what the last lines
    /// of a server that has ended get.
    fn may_write_soon(&self) -> bool {
        let Some(output) = &self.output else { return false };
        let mut fds = [PollFd::new(output, PollFlags::OUT)];
        let most = Timespec::try_from(LOG_RETRY).ok();
        !self.failing && poll(&mut fds, most.as_ref()).is_ok_and(|ready| ready > 0)
    }

    fn on_hangup(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.hangups.as_fd(), PollFlags::IN)
    }
}

/// Tells the server. It is no failure if it does not listen.
fn report(what: u8, error: &str) {
    let mut line = vec![what];
    line.extend(error.bytes().filter(|byte| *byte != b'\n').take(LOG_REPORT_BYTES / 8));
    line.push(b'\n');
    let _ = send(stdin(), &line, SendFlags::DONTWAIT);
}

/// Opens it to be appended to.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().create(true).append(true))
}

/// Opens it without waiting for anybody, and without making a terminal our controlling terminal. A
/// FIFO that nobody reads yet cannot be opened for writing alone (open(2), `ENXIO`), so it is
/// opened for both.
pub(super) fn open_with(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut options = options.clone();
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    match options.open(path) {
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            options.read(true).open(path)
        }
        result => result,
    }
}
