//! How clients come in: listeners, the limits on connections, and what happens without a
//! descriptor to spare.
//!
//! Socket options are set once, on the listener; Linux and the BSDs pass them on to every socket
//! accepted from it, which saves five system calls for each.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::certificate::CertificateError;
use crate::id::{MAX_SLOTS, reserved_token};
use crate::limits::{
    ACCEPT_PAUSE, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, LISTEN_BACKLOG,
    RESERVED_DESCRIPTORS, SOCKET_RECEIVE_BUFFER, SOCKET_SEND_BUFFER,
};

/// Why the server cannot start. `Display` is the line for the operator.
#[derive(Debug)]
pub enum StartError {
    /// It is not possible to listen on an address (true: for TLS).
    Listen(SocketAddr, bool, io::Error),
    /// The certificate or its key is no good.
    Certificate(CertificateError),
    /// The assistant cannot be set up: a line that names the variable.
    Assistant(String),
    /// There is no address to listen on.
    Nowhere,
    /// A socket passed by the service manager is unusable: a line that says which.
    Passed(String),
    /// The system cannot provide something that every server needs.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(addr, tls, error) => write!(
                f,
                "Error starting {} server: listen tcp {}: {}",
                if *tls { "TLS" } else { "TCP" },
                display(*addr),
                system_text(error)
            ),
            Self::Certificate(error) => error.fmt(f),
            Self::Assistant(line) => f.write_str(line),
            Self::Nowhere => f.write_str(
                "CHAT_LISTEN: it is off and there is no TLS address, so nobody could connect",
            ),
            Self::Passed(line) => write!(f, "LISTEN_FDS: {line}"),
            Self::System(what, error) => {
                write!(f, "Error starting server: {what}: {}", system_text(error))
            }
        }
    }
}

/// An address as the start-up lines show it: `:8080` if it stands for all addresses of the host.
pub(super) fn display(addr: SocketAddr) -> String {
    if addr.ip().is_unspecified() { format!(":{}", addr.port()) } else { addr.to_string() }
}

/// The system's own words for an error, in lower case and without the number.
pub(super) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Listening sockets; true: their clients speak TLS.
pub(super) type Sockets = Vec<(std::net::TcpListener, bool)>;

/// One address that is listened on.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: bool,
    /// Somebody may be waiting.
    readable: bool,
    /// Somebody may have been waiting since before the socket had its options, and lacks them.
    early: bool,
}

/// The result of one attempt to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A client, and whether it should speak TLS.
    Client(TcpStream, SocketAddr, bool),
    /// Somebody was there, and was turned away for want of a descriptor: go on.
    TurnedAway(IpAddr),
    /// Somebody was there and has gone: go on.
    Nobody,
    /// Nobody is waiting any more.
    Done,
}

/// Everything that lets clients in.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// Given up for a moment when there is no other descriptor left to turn a client away with.
    spare: Option<File>,
    /// Accepting pauses until then.
    paused_until: Option<Instant>,
    /// The operator was told that descriptors are short, and has not been told otherwise since.
    short: bool,
}

impl Acceptor {
    /// Lets clients in through these sockets, at most [`MAX_LISTENERS`].
    pub(super) fn open(sockets: Sockets, registry: &Registry) -> Result<Self, StartError> {
        let error = |e| StartError::System("listener", e);
        let mut listeners = Vec::new();
        for (socket, tls) in sockets {
            let mut socket = TcpListener::from_std(socket);
            let token = Token(reserved_token(FIRST_LISTENER + listeners.len()));
            registry.register(&mut socket, token, Interest::READABLE).map_err(error)?;
            let addr = socket.local_addr().map_err(error)?;
            listeners.push(Listener { socket, addr, tls, readable: true, early: true });
        }
        Ok(Self { listeners, spare: spare(), paused_until: None, short: false })
    }

    /// The addresses on which TLS, or plain lines, are served, with their real ports.
    pub(super) fn addrs(&self, tls: bool) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter(move |one| one.tls == tls).map(|one| one.addr)
    }

    /// How many listeners there are.
    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Latches the readiness of the listener with this token. False if the token is not a
    /// listener's.
    pub(super) fn latch(&mut self, token: Token) -> bool {
        for (n, listener) in self.listeners.iter_mut().enumerate() {
            if token.0 == reserved_token(FIRST_LISTENER + n) {
                listener.readable = true;
                return true;
            }
        }
        false
    }

    /// Whether somebody may be waiting who can be let in now.
    pub(super) fn is_ready(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|one| one.readable)
    }

    /// When a pause in accepting ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends a pause that is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
    }

    /// Stops listening.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
        self.paused_until = None;
    }

    /// Accepts once from the `n`th listener.
    pub(super) fn accept(&mut self, now: Instant, n: usize) -> Accepted {
        let Some(listener) = self.listeners.get_mut(n) else { return Accepted::Done };
        if !listener.readable || self.paused_until.is_some() {
            return Accepted::Done;
        }
        match listener.socket.accept() {
            Ok((stream, peer)) => {
                self.short = false;
                if listener.early {
                    // If it fails, the client has gone, which is noticed anyway.
                    let _ = set_options(&SockRef::from(&stream));
                }
                // An IPv4 client of a dual-stack socket is shown with its IPv4 address.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Accepted::Client(stream, peer, listener.tls)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                listener.readable = false;
                listener.early = false;
                Accepted::Done
            }
            Err(e) if is_shortage(&e) => self.refuse_without_descriptor(now, n, &e),
            Err(e) if is_transient(&e) => Accepted::Nobody,
            Err(e) => {
                log::error!("cannot accept - {}", system_text(&e));
                self.paused_until = Some(now + ACCEPT_PAUSE);
                Accepted::Done
            }
        }
    }

    /// There is no descriptor for a newcomer: one is freed for just long enough to say so.
    fn refuse_without_descriptor(&mut self, now: Instant, n: usize, error: &io::Error) -> Accepted {
        if !std::mem::replace(&mut self.short, true) {
            log::error!("cannot accept - {}; newcomers are turned away", system_text(error));
        }
        let had_spare = self.spare.take().is_some();
        let accepted = self.listeners.get_mut(n).map(|listener| {
            let accepted = listener.socket.accept();
            if accepted.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
                listener.readable = false;
            }
            accepted
        });
        let result = match accepted {
            Some(Ok((mut stream, peer))) => {
                // A new socket has room for one line; if not, closing it says enough.
                if self.listeners.get(n).is_some_and(|one| !one.tls) {
                    let _ = stream.write(FULL.as_bytes());
                }
                Accepted::TurnedAway(peer.ip())
            }
            _ => Accepted::Done,
        };
        self.spare = spare();
        if !had_spare || self.spare.is_none() {
            self.paused_until = Some(now + ACCEPT_PAUSE);
        }
        result
    }
}

/// Reserved tokens from this one on belong to the listeners.
const FIRST_LISTENER: usize = 1;
/// How many of them there are.
pub(super) const MAX_LISTENERS: usize = 7;

/// What a client is told when all places are taken.
pub(super) const FULL: &str = "\x1b[31mServer is full. Try again later.\x1b[0m\n";

/// What a client is told when its address has as many connections as it may.
pub(super) const TOO_MANY: &str =
    "\x1b[31mToo many connections from your IP. Try again later.\x1b[0m\n";

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an accept failed for want of descriptors or memory, here or in the whole system.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno))
}

/// Whether the client went away before it was let in, or its network failed: accept(2) says to try
/// again after any of these.
fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let transient = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| transient.contains(&errno))
}

/// Listens on these addresses; true: for TLS.
pub(super) fn listen_all(addrs: &[(SocketAddr, bool)]) -> Result<Sockets, StartError> {
    let open = |&(addr, tls): &(SocketAddr, bool)| match listen(addr) {
        Ok(socket) => Ok((socket, tls)),
        Err(e) => Err(StartError::Listen(addr, tls, e)),
    };
    addrs.iter().map(open).collect()
}

/// A listening socket. "All IPv6 addresses" includes all IPv4 ones, and becomes just those if the
/// host has no IPv6.
fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    match listen_on(addr) {
        Err(e) if addr.ip().is_unspecified() && addr.is_ipv6() && has_no_ipv6(&e) => {
            listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port()))
        }
        result => result,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| absent.contains(&errno))
}

fn listen_on(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    set_options(&socket)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Makes a listener from a socket that somebody else opened.
pub(super) fn adopt(fd: OwnedFd) -> io::Result<std::net::TcpListener> {
    let socket = Socket::from(fd);
    let is_tcp = socket.local_addr()?.as_socket().is_some() && socket.r#type()? == Type::STREAM;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let is_listener = socket.is_listener()?;
    // Where there is no way to ask, listening again does no harm.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    let is_listener = socket.listen(LISTEN_BACKLOG).is_ok();
    if !is_tcp || !is_listener {
        return Err(io::Error::other("it is not a listening tcp socket"));
    }
    set_options(&socket)?;
    Ok(socket.into())
}

/// The options that every client's socket inherits from its listener.
fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SOCKET_SEND_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_RECEIVE_BUFFER)?;
    set_patience(socket)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(crate::limits::SOCKET_NOT_SENT)?;
    Ok(())
}

/// How long a peer may be silent.
pub(super) fn set_patience(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(crate::limits::USER_TIMEOUT))?;
    Ok(())
}

/// Raises the limit on file descriptors to its hard limit. Gives how many clients that allows.
pub(super) fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused where the maximum is "unlimited" and the kernel has its own limit; then the old one
    // stays.
    let _ = setrlimit(Resource::Nofile, limit);
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2).min(MAX_SLOTS)
}
