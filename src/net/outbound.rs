//! The sockets of the assistant and of the resolver.
//!
//! Carries out what calls (`gemini`) and look-ups (`dns`) ask for: queries over UDP and TCP,
//! connections to the first address that answers, TLS with verified certificates, requests and
//! responses. Decides nothing about questions and answers.
//!
//! Every socket has a token that no other has or had, so that stale events find nobody. There are a
//! few dozen sockets at most, and they are looked for one by one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event as Readiness;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::accept::StartError;
use super::certificate;
use super::link::Link;
use crate::chat::assistant::AskId;
use crate::config::{BaseUrl, Gemini, Secret};
use crate::dns::{self, Hosts, Lookup, LookupStart, QueryId, Resolver, TcpFramer};
use crate::gemini::{Action, AskError, Call, Ending, head, path};
use crate::id::{ConnId, tagged_token};
use crate::limits::{
    ASKS_AT_ONCE, CONNECT_ATTEMPT_DELAY, CONNECT_TIMEOUT, IDLE_LINK_TIMEOUT, MAX_CONNECT_ADDRESSES,
    QUERY_BYTES,
};

/// The reserved token value of all sockets in here; each has another number above it.
const OUTBOUND: usize = 8;

/// What comes of a question, for the chat.
#[derive(Debug)]
pub(super) enum Said {
    Line(String),
    Done(Ending),
    Failed(AskError),
}

/// Everything that goes out.
pub(super) struct Outbound {
    url: BaseUrl,
    path: String,
    key: Secret,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    resolver: Resolver,
    registry: Registry,
    tokens: usize,
    /// At most [`ASKS_AT_ONCE`].
    calls: Vec<Active>,
    /// Connections kept for the next call, until then.
    idle: Vec<(Link, Instant)>,
    said: VecDeque<(AskId, Said)>,
    /// Something happened to a socket since the last turn.
    woken: bool,
}

/// A call and its way to a connection.
struct Active {
    ask: AskId,
    call: Call,
    stage: Stage,
}

enum Stage {
    /// It has not asked for a connection, or has had one.
    Nothing,
    Resolving(Box<Lookup>, Vec<Query>),
    Connecting(Connecting),
    /// Connected, and verified when the handshake is done; until when that may take.
    Open(Link, Instant),
}

/// One socket of a look-up.
struct Query {
    id: QueryId,
    socket: QuerySocket,
    /// Bytes that it may still bring: a server that goes on and on is one that fails.
    left: usize,
}

enum QuerySocket {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, unsent: Vec<u8>, framer: TcpFramer },
}

/// The race of a few addresses (RFC 8305, section 5).
struct Connecting {
    untried: VecDeque<IpAddr>,
    attempts: Vec<(Token, TcpStream)>,
    /// When the next address joins.
    next: Instant,
    until: Instant,
    error: String,
}

/// What the assistant's settings come to, before anything is opened.
pub(super) struct Assistant {
    gemini: Gemini,
    key: Secret,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl std::fmt::Debug for Assistant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Assistant({:?})", self.gemini)
    }
}

impl Assistant {
    /// `None` without a key. Reads the file of extra roots, if one is named.
    pub(super) fn new(gemini: &Gemini) -> Result<Option<Self>, StartError> {
        let Some(key) = gemini.key.clone() else { return Ok(None) };
        let tls = if gemini.base_url.https {
            let host = &gemini.base_url.host;
            let name = ServerName::try_from(host.clone()).map_err(|_| {
                StartError::Assistant(format!("GEMINI_BASE_URL: \"{host}\" is no host name"))
            })?;
            Some((certificate::client_config(gemini.ca_file.as_deref())?, name))
        } else {
            None
        };
        Ok(Some(Self { gemini: gemini.clone(), key, tls }))
    }

    /// Reads the resolver's files, once and for all. Opens no socket yet.
    pub(super) fn open(self, registry: &Registry) -> Result<Outbound, StartError> {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut servers = self.gemini.nameservers.clone();
        if servers.is_empty() {
            servers = dns::name_servers(&text("/etc/resolv.conf"));
        }
        let registry = registry.try_clone().map_err(|e| StartError::System("poll", e))?;
        Ok(Outbound {
            path: path(&self.gemini.base_url.path, &self.gemini.model),
            url: self.gemini.base_url,
            key: self.key,
            tls: self.tls,
            resolver: Resolver::new(servers, Hosts::parse(&text("/etc/hosts"))),
            registry,
            tokens: 0,
            calls: Vec::new(),
            idle: Vec::new(),
            said: VecDeque::new(),
            woken: false,
        })
    }
}

impl Outbound {
    /// Begins a call with this body.
    pub(super) fn ask(&mut self, now: Instant, ask: AskId, body: &[u8]) {
        let mut request = head(&self.url, &self.path, &self.key, body.len());
        request.extend_from_slice(body);
        let call = Call::new(now, request, self.key.clone(), entropy());
        self.calls.push(Active { ask, call, stage: Stage::Nothing });
        self.advance_all(now);
    }

    /// Forgets a call, with its sockets.
    pub(super) fn stop(&mut self, ask: AskId) {
        self.calls.retain(|active| active.ask != ask);
    }

    /// The next thing to tell the chat.
    pub(super) fn poll_said(&mut self) -> Option<(AskId, Said)> {
        self.said.pop_front()
    }

    /// Whether a socket has more to read than one turn allowed.
    pub(super) fn is_busy(&self) -> bool {
        self.calls
            .iter()
            .any(|active| matches!(&active.stage, Stage::Open(link, _) if link.is_busy()))
    }

    /// When [`Outbound::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.iter().flat_map(|active| {
            let stage = match &active.stage {
                Stage::Nothing => None,
                Stage::Resolving(lookup, _) => lookup.poll_timeout(),
                Stage::Connecting(connecting) => {
                    let next = (!connecting.untried.is_empty()).then_some(connecting.next);
                    Some(next.map_or(connecting.until, |next| next.min(connecting.until)))
                }
                Stage::Open(link, until) => link.is_handshaking().then_some(*until),
            };
            [active.call.poll_timeout(), stage].into_iter().flatten()
        });
        calls.chain(self.idle.iter().map(|(_, until)| *until)).min()
    }

    /// Whether this event is for a socket in here; if so it is taken notice of.
    pub(super) fn latch(&mut self, event: &Readiness) -> bool {
        let token = event.token();
        if ConnId::slot_of_token(token.0) != ConnId::slot_of_token(tagged_token(OUTBOUND, 0)) {
            return false;
        }
        self.woken = true;
        // A kept connection has nothing to say but its end.
        self.idle.retain(|(link, _)| link.token() != token);
        for active in &mut self.calls {
            if let Stage::Open(link, _) = &mut active.stage
                && link.token() == token
            {
                link.latch(event);
            }
        }
        true
    }

    /// Goes on with everything after events or time.
    pub(super) fn handle(&mut self, now: Instant) {
        let due = self.poll_timeout().is_some_and(|due| due <= now);
        if !std::mem::take(&mut self.woken) && !due && !self.is_busy() {
            return;
        }
        self.idle.retain(|(_, until)| *until > now);
        for active in &mut self.calls {
            if active.call.poll_timeout().is_some_and(|due| due <= now) {
                active.call.handle_timeout(now);
            }
            if let Stage::Resolving(lookup, _) = &mut active.stage
                && lookup.poll_timeout().is_some_and(|due| due <= now)
            {
                lookup.handle_timeout(now);
            }
        }
        self.advance_all(now);
    }

    fn advance_all(&mut self, now: Instant) {
        for mut active in std::mem::take(&mut self.calls) {
            if self.advance(now, &mut active) {
                self.calls.push(active);
            }
        }
    }

    /// Does what a call asks for and what its sockets are ready for, until neither goes on. False
    /// if the call has ended.
    fn advance(&mut self, now: Instant, active: &mut Active) -> bool {
        loop {
            while let Some(action) = active.call.poll_action() {
                match action {
                    Action::Open { fresh } => self.open(now, active, fresh),
                    Action::Send(request) => {
                        if let Stage::Open(link, _) = &mut active.stage {
                            link.send(&request);
                        }
                    }
                    Action::Keep => self.keep(now, active),
                    Action::Close => active.stage = Stage::Nothing,
                    Action::Line(line) => self.said.push_back((active.ask, Said::Line(line))),
                    Action::Done(ending) => {
                        self.said.push_back((active.ask, Said::Done(ending)));
                        return false;
                    }
                    Action::Failed(error) => {
                        self.said.push_back((active.ask, Said::Failed(error)));
                        return false;
                    }
                }
            }
            let went_on = match &mut active.stage {
                Stage::Nothing => false,
                Stage::Resolving(..) => self.resolve(now, active),
                Stage::Connecting(..) => self.connect(now, active),
                Stage::Open(..) => exchange(now, active),
            };
            if !went_on {
                return true;
            }
        }
    }

    /// A kept connection, or the beginning of the way to a fresh one.
    fn open(&mut self, now: Instant, active: &mut Active, fresh: bool) {
        if !fresh && let Some((link, _)) = self.idle.pop() {
            active.stage = Stage::Open(link, now);
            return active.call.handle_open(true);
        }
        match self.resolver.lookup(now, &self.url.host, entropy()) {
            LookupStart::Known(result) => self.resolved(now, active, result),
            LookupStart::Ask(lookup) => active.stage = Stage::Resolving(lookup, Vec::new()),
        }
    }

    fn keep(&mut self, now: Instant, active: &mut Active) {
        let stage = std::mem::replace(&mut active.stage, Stage::Nothing);
        // One with something left to read has come to its end, or says what it was not asked.
        if let Stage::Open(link, _) = stage
            && self.idle.len() < ASKS_AT_ONCE
            && !link.is_busy()
        {
            self.idle.push((link, now + IDLE_LINK_TIMEOUT));
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(tagged_token(OUTBOUND, self.tokens))
    }
}

// ---- Names -----------------------------------------------------------------------------------

impl Outbound {
    /// Goes on with a look-up. True if it came to something.
    fn resolve(&mut self, now: Instant, active: &mut Active) -> bool {
        let Stage::Resolving(lookup, queries) = &mut active.stage else { return false };
        let mut failed = Vec::new();
        for query in queries.iter_mut() {
            if read_query(now, lookup, query).is_err() {
                failed.push(query.id);
            }
        }
        failed.into_iter().for_each(|id| lookup.handle_failure(now, id));
        while let Some(action) = lookup.poll_action() {
            let (id, opened) = match action {
                dns::Action::Forget { query } => {
                    queries.retain(|one| one.id != query);
                    continue;
                }
                dns::Action::SendUdp { query, server, bytes } => {
                    (query, self.query_udp(server, &bytes))
                }
                dns::Action::AskTcp { query, server, bytes } => {
                    (query, self.query_tcp(server, bytes))
                }
            };
            match opened {
                Ok(socket) => queries.push(Query { id, socket, left: QUERY_BYTES }),
                Err(_) => lookup.handle_failure(now, id),
            }
        }
        let Some(result) = lookup.outcome() else { return false };
        let result = result.map(<[IpAddr]>::to_vec);
        if let Err(error) = &result {
            log::debug!("look-up of {} - {error}", self.url.host);
        }
        self.resolver.remember(now, lookup);
        self.resolved(now, active, result);
        true
    }

    fn query_udp(&mut self, server: SocketAddr, bytes: &[u8]) -> io::Result<QuerySocket> {
        // Port 0: one at random, which a forger would have to guess (RFC 5452, section 9.2).
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(server)?;
        let token = self.token();
        self.registry.register(&mut socket, token, Interest::READABLE)?;
        socket.send(bytes)?;
        Ok(QuerySocket::Udp(socket))
    }

    fn query_tcp(&mut self, server: SocketAddr, unsent: Vec<u8>) -> io::Result<QuerySocket> {
        let mut stream = TcpStream::connect(server)?;
        let token = self.token();
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(QuerySocket::Tcp { stream, unsent, framer: TcpFramer::default() })
    }

    fn resolved(
        &mut self,
        now: Instant,
        active: &mut Active,
        result: Result<Vec<IpAddr>, dns::DnsError>,
    ) {
        match result {
            Ok(addrs) => {
                active.stage = Stage::Connecting(Connecting {
                    untried: addrs.into_iter().take(MAX_CONNECT_ADDRESSES).collect(),
                    attempts: Vec::new(),
                    next: now,
                    until: now + CONNECT_TIMEOUT,
                    error: "no address".to_owned(),
                });
            }
            Err(error) => {
                active.stage = Stage::Nothing;
                active.call.handle_open_failed(&format!("{}: {error}", self.url.host));
            }
        }
    }
}

/// Sends what a query over TCP has left to send, and hands on what came.
fn read_query(now: Instant, lookup: &mut Lookup, query: &mut Query) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut bytes = [0; 4096];
    let blocked = |result: io::Result<usize>| match result {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(e) if e.kind() == ErrorKind::NotConnected => Ok(None),
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok(None),
        result => result.map(Some),
    };
    match &mut query.socket {
        QuerySocket::Udp(socket) => {
            while let Some(n) = blocked(socket.recv(&mut bytes))? {
                query.left = spend(query.left, n)?;
                lookup.handle_reply(now, query.id, bytes.get(..n).unwrap_or_default());
            }
        }
        QuerySocket::Tcp { stream, unsent, framer } => {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            while !unsent.is_empty() {
                let Some(n) = blocked(stream.write(unsent))? else { break };
                unsent.drain(..n);
            }
            while let Some(n) = blocked(stream.read(&mut bytes))? {
                if n == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                query.left = spend(query.left, n)?;
                let mut input = bytes.get(..n).unwrap_or_default();
                while let Some(message) = framer.next_message(&mut input) {
                    lookup.handle_reply(now, query.id, &message);
                }
            }
        }
    }
    Ok(())
}

/// Takes what came off what may come; a small piece counts for more than it is.
fn spend(left: usize, n: usize) -> io::Result<usize> {
    left.checked_sub(n.max(512)).ok_or_else(|| ErrorKind::InvalidData.into())
}

// ---- Connections -----------------------------------------------------------------------------

impl Outbound {
    /// Goes on with the race for a connection. True if it is over.
    fn connect(&mut self, now: Instant, active: &mut Active) -> bool {
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
            self.tokens += 1;
            let token = Token(tagged_token(OUTBOUND, self.tokens));
            let interest = Interest::READABLE | Interest::WRITABLE;
            let begun =
                TcpStream::connect(SocketAddr::new(addr, self.url.port)).and_then(|mut stream| {
                    self.registry.register(&mut stream, token, interest).map(|()| stream)
                });
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
        active.call.handle_open_failed(&cause);
        true
    }

    fn connected(&self, now: Instant, active: &mut Active, token: Token, stream: TcpStream) {
        // Small requests, sent in one piece: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
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

/// Whether a connection is there: writable is not enough (connect(2), EINPROGRESS).
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

/// Goes on with the handshake, or sends and receives. True if something happened.
fn exchange(now: Instant, active: &mut Active) -> bool {
    let Stage::Open(link, until) = &mut active.stage else { return false };
    let was_handshaking = link.is_handshaking();
    let mut happened = false;
    let call = &mut active.call;
    let result = link.exchange(|bytes| {
        happened = true;
        call.handle_bytes(now, bytes);
    });
    if was_handshaking {
        let failure = match &result {
            Err(error) => Some(error.clone()),
            Ok(()) if !link.is_handshaking() => None,
            Ok(()) if *until <= now => Some("the TLS handshake took too long".to_owned()),
            Ok(()) => return false,
        };
        if let Some(failure) = failure {
            active.stage = Stage::Nothing;
            active.call.handle_open_failed(&failure);
        } else {
            // Verified: only now is there anything to send, the key among it.
            active.call.handle_open(false);
        }
        return true;
    }
    if let Err(error) = result {
        active.call.handle_closed(now, &error);
        return true;
    }
    // What is left beyond the budget of this turn is the next one's.
    happened && !link.is_busy()
}

/// Random bits for query ids and pauses. Without any there are guessable ones, which the checks of
/// what comes back still bear.
fn entropy() -> u64 {
    getrandom::u64().unwrap_or(0)
}
