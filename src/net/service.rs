//! The service manager's side of the server: the sockets it passes (sd_listen_fds(3)), and what it
//! is told (sd_notify(3)). The protocols are systemd's, but others speak them as well.
//!
//! Owns the socket to the manager. Never waits for the manager, never fails because of it after the
//! start, and does nothing where there is none. The environment is read once, at start, and
//! anything meant for another process is ignored.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, SockAddr, Socket, Type};

use super::accept::{self, MAX_LISTENERS, Sockets, StartError};
use crate::limits::NOTIFY_RETRY;

/// The name (`FileDescriptorName=`) of a passed socket whose clients speak TLS.
const TLS_NAME: &str = "tls";

/// The sockets that were passed to this process, with our options set.
///
/// # Errors
/// There are too many, or one of them is not a listening TCP socket.
pub(super) fn passed_sockets() -> Result<Sockets, StartError> {
    let count = number("LISTEN_FDS").unwrap_or(0);
    if count == 0 || number("LISTEN_PID") != Some(process::id()) {
        return Ok(Vec::new());
    }
    if count > MAX_LISTENERS {
        let line = format!("{count} sockets were passed; at most {MAX_LISTENERS} can be used");
        return Err(StartError::Passed(line));
    }
    let passed = sd_listen_fds::get().map_err(|e| StartError::Passed(e.to_string()))?;
    let adopt = |(name, fd): (Option<String>, sd_listen_fds::OwnedFd)| {
        let fd = fd.into_std();
        let raw = fd.as_raw_fd();
        match accept::adopt(fd) {
            Ok(socket) => Ok((socket, name.as_deref() == Some(TLS_NAME))),
            Err(e) => Err(StartError::Passed(format!("fd {raw}: {}", accept::system_text(&e)))),
        }
    };
    passed.into_iter().map(adopt).collect()
}

/// The service manager, as seen by the loop.
#[derive(Debug)]
pub(super) struct Manager {
    /// A socket of our own, and where the manager listens.
    socket: Option<(Socket, SockAddr)>,
    /// How often the manager is told that the loop is running, and when it is told next.
    watchdog: Option<(Duration, Instant)>,
    /// The latest state for which there was no room, and when it is tried again.
    owed: Option<(&'static str, Instant)>,
    /// Whether the log has a line about a failure; one is enough.
    logged: bool,
}

impl Manager {
    /// The manager that the environment names, if any.
    pub(super) fn from_env(now: Instant) -> Self {
        let mut manager = Self { socket: None, watchdog: None, owed: None, logged: false };
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return manager;
        };
        match connect(&name) {
            Ok(socket) => {
                manager.socket = Some(socket);
                let own = number("WATCHDOG_PID").is_none_or(|pid: u32| pid == process::id());
                let usec = number("WATCHDOG_USEC").filter(|usec| own && *usec > 0);
                // Half of the interval leaves room for one long turn (sd_watchdog_enabled(3)).
                manager.watchdog = usec.map(|usec| (Duration::from_micros(usec) / 2, now));
            }
            Err(e) => manager.log(&e),
        }
        manager
    }

    /// Clients can connect.
    pub(super) fn ready(&mut self, now: Instant) {
        self.tell(now, "READY=1");
    }

    /// Settings are being read again; [`Manager::ready`] has to follow.
    pub(super) fn reloading(&mut self) {
        if self.socket.is_some() {
            let time = clock_gettime(ClockId::Monotonic);
            let usec = time.tv_sec * 1_000_000 + time.tv_nsec / 1000;
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
        }
    }

    /// The shutdown has started.
    pub(super) fn stopping(&mut self, now: Instant) {
        self.tell(now, "STOPPING=1");
    }

    /// The loop stood still, but not the manager: it is told at once that the loop is running.
    pub(super) fn resumed(&mut self, now: Instant) {
        if let Some((_, at)) = &mut self.watchdog {
            *at = now;
        }
    }

    /// When there is something to tell.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|(_, at)| at);
        watchdog.into_iter().chain(self.owed.map(|(_, at)| at)).min()
    }

    /// Reports what is due: that the loop is running, and the number of connections.
    pub(super) fn handle_timeout(&mut self, now: Instant, connections: usize) {
        if let Some((state, _)) = self.owed.take_if(|(_, at)| *at <= now) {
            self.tell(now, state);
        }
        if let Some((interval, at)) = &mut self.watchdog
            && *at <= now
        {
            *at = now + *interval;
            self.send(&format!("WATCHDOG=1\nSTATUS=Connections: {connections}"));
        }
    }

    /// Sends a state, at once or as soon as there is room. It replaces an older one.
    fn tell(&mut self, now: Instant, state: &'static str) {
        let sent = self.send(state);
        self.owed = (!sent).then_some((state, now + NOTIFY_RETRY));
    }

    /// False if there is no room for it. Any other failure is final, and logged the first time.
    fn send(&mut self, message: &str) -> bool {
        let Some((socket, manager)) = &self.socket else { return true };
        match socket.send_to(message.as_bytes(), manager) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
            Err(e) => self.log(&e),
            Ok(_) => {}
        }
        true
    }

    fn log(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.logged, true) {
            let error = accept::system_text(error);
            log::warn!("NOTIFY_SOCKET: cannot tell the service manager - {error}");
        }
    }
}

/// A socket that never waits, and the manager's address: a path, or, after an `@`, a name in
/// Linux's abstract namespace. It is not connected, so a manager that comes back is found again.
fn connect(name: &OsStr) -> io::Result<(Socket, SockAddr)> {
    let manager = match name.as_bytes() {
        [b'/', ..] => SockAddr::unix(name)?,
        [b'@', rest @ ..] => SockAddr::unix(OsString::from_vec([b"\0", rest].concat()))?,
        _ => return Err(io::Error::other("neither a path nor an abstract name")),
    };
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// A variable that holds a number.
fn number<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}
