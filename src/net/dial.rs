//! The way to a connection: the race between a host's addresses, then a tunnel through the proxy if
//! that host is one.
//!
//! Never waits; an address that does not answer is overtaken by the next one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::link::{Link, Share};
use super::outbound::{Active, Outbound, Stage};
use crate::limits::{CONNECT_ATTEMPT_DELAY, CONNECT_TIMEOUT, MAX_CONNECT_ADDRESSES};
use crate::tunnel::{Reply, Tunnel};

/// The race of a few addresses (RFC 8305, section 5).
pub(super) struct Connecting {
    untried: VecDeque<IpAddr>,
    attempts: Vec<(Token, TcpStream)>,
    /// When the next address joins.
    next: Instant,
    until: Instant,
    error: String,
}

/// A proxy that is being asked for a tunnel.
pub(super) struct Tunnelling {
    token: Token,
    stream: TcpStream,
    unsent: Vec<u8>,
    tunnel: Tunnel,
    /// How long that may take.
    pub(super) until: Instant,
}

impl Connecting {
    /// Starts with the first of these addresses.
    pub(super) fn to(now: Instant, addrs: Vec<IpAddr>) -> Self {
        Self {
            untried: addrs.into_iter().take(MAX_CONNECT_ADDRESSES).collect(),
            attempts: Vec::new(),
            next: now,
            until: now + CONNECT_TIMEOUT,
            error: "no address".to_owned(),
        }
    }

    /// When to continue, whatever its sockets do.
    pub(super) fn poll_timeout(&self) -> Instant {
        if self.untried.is_empty() { self.until } else { self.next.min(self.until) }
    }
}

impl Outbound {
    /// Continues the race for a connection. True if it is over.
    pub(super) fn connect(&mut self, now: Instant, active: &mut Active) -> bool {
        let Stage::Connecting(connecting) = &mut active.stage else { return false };
        let mut won = None;
        let mut attempts = Vec::new();
        for (token, stream) in std::mem::take(&mut connecting.attempts) {
            match is_connected(&stream) {
                Ok(true) if won.is_none() => won = Some((token, stream)),
                Ok(_) => attempts.push((token, stream)),
                Err(error) => {
                    connecting.error = error.to_string();
                    // The next address need not wait for its time.
                    connecting.next = now;
                }
            }
        }
        connecting.attempts = attempts;
        if let Some((token, stream)) = won {
            self.connected(now, active, token, stream);
            return true;
        }
        while connecting.next <= now
            && let Some(addr) = connecting.untried.pop_front()
        {
            connecting.next = now + CONNECT_ATTEMPT_DELAY;
            let token = self.token();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let begun = TcpStream::connect(SocketAddr::new(addr, self.next_hop().1)).and_then(
                |mut stream| self.registry.register(&mut stream, token, interest).map(|()| stream),
            );
            match begun {
                Ok(stream) => connecting.attempts.push((token, stream)),
                Err(error) => {
                    connecting.error = error.to_string();
                    connecting.next = now;
                }
            }
        }
        let hopeless = connecting.attempts.is_empty() && connecting.untried.is_empty();
        if !hopeless && now < connecting.until {
            return false;
        }
        let cause = match hopeless {
            true => std::mem::take(&mut connecting.error),
            false => "connecting took too long".to_owned(),
        };
        active.stage = Stage::Nothing;
        active.call.handle_open_failed(&self.way(&cause));
        true
    }

    /// Why there is no connection, with the proxy's name if the failure was there.
    pub(super) fn way(&self, cause: &str) -> String {
        match &self.proxy {
            Some(proxy) => format!("proxy {proxy}: {cause}"),
            None => cause.to_owned(),
        }
    }

    fn connected(&self, now: Instant, active: &mut Active, token: Token, stream: TcpStream) {
        // Small requests, sent in one piece: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        match &self.proxy {
            Some(proxy) => {
                let (unsent, tunnel) = proxy.request(&self.url.host, self.url.port);
                let until = now + CONNECT_TIMEOUT;
                let tunnelling = Tunnelling { token, stream, unsent, tunnel, until };
                active.stage = Stage::Tunnelling(Box::new(tunnelling));
            }
            None => self.speak(now, active, token, stream),
        }
    }

    /// Continues asking the proxy for a tunnel. True if anything happened.
    pub(super) fn tunnel(&self, now: Instant, active: &mut Active, share: &mut Share) -> bool {
        let Stage::Tunnelling(tunnelling) = &mut active.stage else { return false };
        let (cause, is_its_will) = match tunnelling.exchange(share) {
            Ok(Reply::Unfinished) if now < tunnelling.until => return false,
            Ok(Reply::Unfinished) => ("it took too long to answer".to_owned(), false),
            Ok(Reply::Refused(cause, is_its_will)) => (cause, is_its_will),
            Err(error) => (error.to_string(), false),
            Ok(Reply::Open) => {
                let stage = std::mem::replace(&mut active.stage, Stage::Nothing);
                if let Stage::Tunnelling(tunnelling) = stage {
                    self.speak(now, active, tunnelling.token, tunnelling.stream);
                }
                return true;
            }
        };
        active.stage = Stage::Nothing;
        let cause = self.way(&cause);
        match is_its_will {
            true => active.call.handle_proxy_refused(&cause),
            false => active.call.handle_open_failed(&cause),
        }
        true
    }

    /// Starts talking to the service itself, over a stream that leads to it.
    fn speak(&self, now: Instant, active: &mut Active, token: Token, stream: TcpStream) {
        match Link::new(token, stream, self.tls.as_ref()) {
            Ok(link) => {
                let handshaking = link.is_handshaking();
                active.stage = Stage::Open(link, now + CONNECT_TIMEOUT);
                if !handshaking {
                    active.call.handle_open(false);
                }
            }
            Err(error) => {
                active.stage = Stage::Nothing;
                active.call.handle_open_failed(&error);
            }
        }
    }
}

impl Tunnelling {
    /// Sends and receives as much as is possible at once and the share allows.
    fn exchange(&mut self, share: &mut Share) -> io::Result<Reply> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let mut bytes = [0; 4096];
        while !share.is_over() {
            let n = match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::Error::other("it closed the connection")),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Reply::Unfinished),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            share.spend(n);
            let reply = self.tunnel.receive(bytes.get(..n).unwrap_or_default());
            if reply != Reply::Unfinished {
                return Ok(reply);
            }
        }
        Ok(Reply::Unfinished)
    }
}

/// Whether the connection is established: being writable is not enough (connect(2), EINPROGRESS).
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}
