//! How a client comes in: whether it may, what a proxy says about it, and its slot.
//!
//! Nobody is asked for anything here, except a proxy for its header. Clients that are refused are
//! told why and closed as politely as any others, except newcomers whose address may not connect at
//! all.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::accept::{FULL, TOO_MANY};
use super::conn::{Admission, Announcement, Conn, State};
use super::server::Server;
use super::tls::TlsSession;
use super::transport::Transport;
use crate::chat::{CloseReason, Event};
use crate::id::ConnId;
use crate::limits::{MAX_REFUSALS_CLOSING, PLACES_PER_TURN, PROXY_HEADER_TIMEOUT, TLS_SILENCE};
use crate::network::Access;
use crate::outbox::Frame;
use crate::rate::AddrKey;
use crate::refusal::Refusal;
use crate::share::{Claim, Shares};

/// What a client is told that may not come in for this reason, if anything.
fn line(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Full | Refusal::Memory => Some(FULL),
        Refusal::Connections => Some(TOO_MANY),
        _ => None,
    }
}

impl Server {
    /// Lets a client in, or turns it away. A client that comes through a proxy is judged when the
    /// proxy's header has come.
    pub(super) fn admit(&mut self, now: Instant, stream: TcpStream, peer: SocketAddr, tls: bool) {
        let admission = match self.room(now) {
            Ok(()) if self.config.proxies.contains(peer.ip()) => Ok(Admission::Announced),
            Ok(()) => self.judge(peer.ip()),
            Err(refusal) => Err(refusal),
        };
        match admission {
            Ok(admission) => match self.register(now, stream, peer, tls, admission) {
                Some(id) => self.begin(now, id),
                None => self.discount(admission),
            },
            Err(refusal) => self.refuse(now, stream, peer, tls, &refusal),
        }
    }

    /// Counts a handshake. If there are too many, whoever holds most for longest gives place.
    fn begin_handshake(&mut self, now: Instant, id: ConnId, addr: AddrKey) {
        let Some(given_up) = self.handshakes.begin(now, id, addr) else { return };
        if let Some(conn) = self.conn(given_up) {
            let ip = conn.peer.ip();
            self.refusal_log.note(now, ip, &Refusal::GavePlace);
        }
        self.lose(now, given_up, CloseReason::GavePlace);
        self.handshakes.end(now, given_up, false);
    }

    /// Whether there is room for one more, if need be made by one that has no name.
    fn room(&mut self, now: Instant) -> Result<(), Refusal> {
        let most = self.limits.max_connections + self.places_made;
        let is_full = self.conns.len() - self.refusals >= most;
        if is_full && !self.make_place(now) {
            Err(Refusal::Full)
        } else if self.memory.is_short() {
            Err(Refusal::Memory)
        } else {
            Ok(())
        }
    }

    /// Closes a connection without a name, if there is one: the oldest of the address that holds most of
    /// them.
    fn make_place(&mut self, now: Instant) -> bool {
        if self.places_made >= PLACES_PER_TURN || self.no_place {
            return false;
        }
        let nameless = self.conns.iter().filter_map(|(_, conn)| {
            let counts = matches!(conn.admission, Admission::Counted(_));
            let is_one = conn.state == State::Open && counts && !self.chat.is_named(conn.id);
            is_one.then_some((conn.id, AddrKey::from(conn.peer.ip())))
        });
        let mut nameless: Vec<_> = nameless.collect();
        // From the newest to the oldest.
        nameless.sort_unstable_by_key(|(id, _)| self.generation.wrapping_sub(id.generation()));
        let claims = nameless.into_iter().map(|(id, addr)| Claim {
            addr,
            amount: 1.0,
            since: now,
            what: id,
        });
        let last = Shares::default().last(now, claims);
        self.no_place = last.is_none();
        if let Some(id) = last {
            self.places_made += 1;
            self.lose(now, id, CloseReason::GavePlace);
        }
        last.is_some()
    }

    /// Whether this address may connect. Proxies may always connect for themselves: their health
    /// checks are not somebody trying to get in, and nobody else has their addresses.
    fn may_connect(&self, ip: IpAddr) -> bool {
        self.config.access.permits(ip) || self.config.proxies.contains(ip)
    }

    /// Counts one more connection from this address, if that is allowed.
    fn judge(&mut self, ip: IpAddr) -> Result<Admission, Refusal> {
        let addr = AddrKey::from(ip);
        if !self.may_connect(ip) {
            Err(Refusal::Forbidden)
        } else if !self.by_address.try_open(addr, self.limits.max_connections_per_ip) {
            Err(Refusal::Connections)
        } else {
            Ok(Admission::Counted(addr))
        }
    }

    /// A connection that was counted like this is gone.
    pub(super) fn discount(&mut self, admission: Admission) {
        match admission {
            Admission::Counted(addr) => self.by_address.close(addr),
            Admission::Refused => self.refusals -= 1,
            Admission::Announced => {}
        }
    }

    /// Turns away a client that has no slot yet.
    fn refuse(
        &mut self,
        now: Instant,
        mut stream: TcpStream,
        peer: SocketAddr,
        tls: bool,
        refusal: &Refusal,
    ) {
        self.refusal_log.note(now, peer.ip(), refusal);
        let Some(line) = line(refusal) else { return };
        if self.has_time_to_explain(tls) {
            if let Some(id) = self.register(now, stream, peer, tls, Admission::Refused) {
                self.refusals += 1;
                self.explain(now, id, line);
            }
        } else if !tls {
            // One attempt to say it, without waiting for it to be read.
            let _ = stream.write(line.as_bytes());
        }
    }

    /// Whether one more client that is turned away can be told why, and be closed as politely as
    /// any other; over TLS that comes after the handshake.
    fn has_time_to_explain(&self, tls: bool) -> bool {
        let too_costly = tls && (self.handshakes.is_half_taken() || self.memory.is_short());
        self.refusals < MAX_REFUSALS_CLOSING && !too_costly
    }

    fn explain(&mut self, now: Instant, id: ConnId, line: &str) {
        // Whatever a TLS client behind a proxy has sent after the header is not TLS.
        if self.conn(id).is_some_and(|conn| conn.handshaking && !conn.unread.is_empty()) {
            self.speak_plainly(now, id);
        }
        self.outboxes.push(id, &Frame::new(line));
        self.begin_close(now, id);
    }

    /// Starts with whatever comes first: a proxy's header, the handshake, or the chat.
    fn begin(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()) else { return };
        if conn.awaits_header() {
            self.timers.set(id, &mut conn.deadline, Some(now + PROXY_HEADER_TIMEOUT));
        } else if conn.handshaking {
            // After a proxy's header, the next read shows whether the client has already begun.
            conn.progress = now;
            self.timers.set(id, &mut conn.deadline, Some(now + TLS_SILENCE));
            let addr = AddrKey::from(conn.peer.ip());
            self.begin_handshake(now, id, addr);
        } else {
            self.timers.set(id, &mut conn.deadline, None);
            let peer = conn.peer;
            self.tell_chat(now, Event::Connected { id, peer });
        }
    }

    /// Continues with a proxy's header.
    pub(super) fn read_header(&mut self, now: Instant, id: ConnId, scratch: &mut [u8]) {
        while let Some(conn) = self.conn(id).filter(|conn| conn.awaits_header() && conn.readable) {
            match conn.read_header(scratch) {
                Ok(Announcement::Unfinished) => {}
                Ok(Announcement::Of(source)) => self.announced(now, id, source),
                Ok(Announcement::Wrong) => return self.no_header(now, id, "sent something else"),
                Err(kind) => return self.lose(now, id, CloseReason::Failed(kind)),
            }
        }
    }

    /// A proxy has said whom it connects for: `None` is the proxy itself.
    fn announced(&mut self, now: Instant, id: ConnId, source: Option<SocketAddr>) {
        let Some(conn) = self.conn(id) else { return };
        conn.peer = source.unwrap_or(conn.peer);
        let (peer, tls) = (conn.peer, conn.handshaking);
        let judged = self.judge(peer.ip());
        let Some(conn) = self.conns.get_mut(id.slot()) else { return };
        let refusal = match judged {
            Ok(admission) => {
                conn.admission = admission;
                return self.begin(now, id);
            }
            Err(refusal) => refusal,
        };
        self.refusal_log.note(now, peer.ip(), &refusal);
        match line(&refusal).filter(|_| self.has_time_to_explain(tls)) {
            Some(line) => {
                if let Some(conn) = self.conn(id) {
                    conn.admission = Admission::Refused;
                    self.refusals += 1;
                }
                self.explain(now, id, line);
            }
            None => self.lose(now, id, CloseReason::Forbidden),
        }
    }

    /// A proxy has not sent the header that has to come first: closed without another word.
    pub(super) fn no_header(&mut self, now: Instant, id: ConnId, instead: &'static str) {
        let Some(conn) = self.conn(id) else { return };
        let ip = conn.peer.ip();
        self.refusal_log.note(now, ip, &Refusal::NoHeader(instead));
        self.lose(now, id, CloseReason::NoHeader);
    }

    /// Who may connect has changed: clients that may no longer connect are told so and
    /// disconnected.
    pub(super) fn set_access(&mut self, now: Instant, access: Access) {
        if access != self.config.access {
            log::info!("may connect: {access}");
        }
        self.config.access = access;
        let forbidden: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| matches!(conn.admission, Admission::Counted(_)))
            .filter(|(_, conn)| !self.may_connect(conn.peer.ip()))
            .map(|(_, conn)| conn.id)
            .collect();
        for id in forbidden {
            // Where there is no session yet, or no longer, there is nobody to tell.
            match self.conn(id).map(|conn| (conn.is_opening(), conn.state)) {
                Some((true, _)) => self.lose(now, id, CloseReason::Forbidden),
                Some((false, State::Open)) => self.tell_chat(now, Event::Forbidden { id }),
                _ => {}
            }
        }
    }

    /// Gives a connection its slot and registers it, once, for both directions.
    fn register(
        &mut self,
        now: Instant,
        stream: TcpStream,
        peer: SocketAddr,
        tls: bool,
        admission: Admission,
    ) -> Option<ConnId> {
        let session = match self.certificate.as_ref().filter(|_| tls) {
            Some(certificate) => match TlsSession::new(certificate.config()) {
                Ok(session) => Some(Box::new(session)),
                Err(e) => {
                    log::error!("no TLS for {peer} - {e}");
                    return None;
                }
            },
            None => None,
        };
        self.generation = self.generation.wrapping_add(1);
        let slot = self.conns.vacant_key();
        let id = ConnId::new(slot, self.generation)?;
        let mut conn = Conn::new(id, peer, admission, Transport::new(stream, session), now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.registry().register(conn.socket(), Token(id.token()), interest) {
            log::error!("cannot register {peer} - {e}");
            return None;
        }
        self.conns.insert(Box::new(conn));
        self.most_conns = self.most_conns.max(self.conns.len());
        self.outboxes.open(id);
        Some(id)
    }
}
