//! The sockets of the assistant and of the resolver.
//!
//! Does what calls (`gemini`) ask for: a look-up (`lookups`), a connection to the first address
//! that answers (`dial`), TLS with verified certificates, requests and responses (`link`). Decides
//! nothing about questions and answers.
//!
//! Every socket has a token that no other has or had, so that stale events find nobody. There are a
//! few dozen sockets at most, and they are searched one by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event as Readiness;
use mio::{Registry, Token};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::accept::StartError;
use super::certificate;
use super::dial::{Connecting, Tunnelling};
use super::files::ResolverFiles;
use super::link::{Link, Share};
use super::lookups::Query;
use crate::chat::assistant::AskId;
use crate::config::{BaseUrl, Gemini, Secret};
use crate::dns::{Lookup, LookupStart, Resolver};
use crate::gemini::{Action, AskError, Call, Ending, head, path};
use crate::id::{ConnId, tagged_token};
use crate::limits::{ASKS_AT_ONCE, IDLE_LINK_TIMEOUT};
use crate::tunnel::Proxy;

/// The reserved token value of all sockets in here; each has a different number above it.
const OUTBOUND: usize = 8;

/// News about a question, for the chat.
#[derive(Debug)]
pub(super) enum Said {
    Line(String),
    Done(Ending),
    Failed(AskError),
}

/// All outgoing connections.
pub(super) struct Outbound {
    pub(super) url: BaseUrl,
    path: String,
    key: Secret,
    /// The proxy that connections go through.
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) resolver: Resolver,
    files: ResolverFiles,
    pub(super) registry: Registry,
    tokens: usize,
    /// At most [`ASKS_AT_ONCE`].
    calls: Vec<Active>,
    /// Connections kept for the next call, until then.
    idle: Vec<(Link, Instant)>,
    /// What the chat was not told yet: at most what one turn brings.
    said: VecDeque<(AskId, Said)>,
    /// Whether there is something to do: a new call, or something that happened to a socket.
    woken: bool,
}

/// A call and how far its connection is.
pub(super) struct Active {
    ask: AskId,
    pub(super) call: Call,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// It has not asked for a connection yet, or no longer needs one.
    Nothing,
    Resolving(Box<Lookup>, Vec<Query>),
    Connecting(Connecting),
    /// Connected to the proxy, which is being asked for a tunnel.
    Tunnelling(Box<Tunnelling>),
    /// Connected; verified when the handshake is done, which has until this time.
    Open(Link, Instant),
}

/// What the assistant's settings amount to, before anything is opened.
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
                StartError::Assistant(format!("GEMINI_BASE_URL: \"{host}\" is not a host name"))
            })?;
            Some((certificate::client_config(gemini.ca_file.as_deref())?, name))
        } else {
            None
        };
        Ok(Some(Self { gemini: gemini.clone(), key, tls }))
    }

    /// Reads the resolver's files. Opens no socket yet.
    pub(super) fn open(self, now: Instant, registry: &Registry) -> Result<Outbound, StartError> {
        let (files, resolver) = ResolverFiles::open(now, self.gemini.nameservers);
        let registry = registry.try_clone().map_err(|e| StartError::System("poll", e))?;
        Ok(Outbound {
            path: path(&self.gemini.base_url.path, &self.gemini.model),
            url: self.gemini.base_url,
            proxy: self.gemini.proxy,
            key: self.key,
            tls: self.tls,
            resolver,
            files,
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
    /// Starts a call with this body.
    pub(super) fn ask(&mut self, now: Instant, ask: AskId, body: &[u8]) {
        let mut request = head(&self.url, &self.path, &self.key, body.len());
        request.extend_from_slice(body);
        let call = Call::new(now, request, self.key.clone(), entropy());
        self.calls.push(Active { ask, call, stage: Stage::Nothing });
        self.woken = true;
    }

    /// Reads the resolver's files again.
    pub(super) fn reload(&mut self, now: Instant) {
        self.files.reload(now, &mut self.resolver);
    }

    /// Forgets a call and its sockets.
    pub(super) fn stop(&mut self, ask: AskId) {
        self.calls.retain(|active| active.ask != ask);
        self.said.retain(|(of, _)| *of != ask);
    }

    /// The next thing to tell the chat.
    pub(super) fn poll_said(&mut self) -> Option<(AskId, Said)> {
        self.said.pop_front()
    }

    /// Whether there is more to do than one turn allowed.
    pub(super) fn is_busy(&self) -> bool {
        self.woken
            || !self.said.is_empty()
            || self
                .calls
                .iter()
                .any(|active| matches!(&active.stage, Stage::Open(link, _) if link.is_busy()))
    }

    /// When [`Outbound::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.iter().flat_map(|active| {
            let stage = match &active.stage {
                Stage::Nothing => None,
                Stage::Resolving(lookup, _) => lookup.poll_timeout(),
                Stage::Connecting(connecting) => Some(connecting.poll_timeout()),
                Stage::Tunnelling(tunnelling) => Some(tunnelling.until),
                Stage::Open(link, until) => link.is_handshaking().then_some(*until),
            };
            [active.call.poll_timeout(), stage].into_iter().flatten()
        });
        calls.chain(self.idle.iter().map(|(_, until)| *until)).min()
    }

    /// Whether this event is for a socket in here; if so, it is noted.
    pub(super) fn latch(&mut self, event: &Readiness) -> bool {
        let token = event.token();
        if ConnId::slot_of_token(token.0) != ConnId::slot_of_token(tagged_token(OUTBOUND, 0)) {
            return false;
        }
        self.woken = true;
        // A kept connection has nothing to say except that it ends.
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

    /// Continues with everything after events or the passing of time.
    pub(super) fn handle(&mut self, now: Instant) {
        let due = self.poll_timeout().is_some_and(|due| due <= now);
        // What came before is told first, so that it does not grow.
        if !self.said.is_empty() || (!due && !self.is_busy()) {
            return;
        }
        self.woken = false;
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

    /// Continues with all calls, as far as their common share of the turn goes. Those that it did not
    /// reach come first in the next turn.
    fn advance_all(&mut self, now: Instant) {
        let mut share = Share::of_a_turn();
        let mut calls = VecDeque::from(std::mem::take(&mut self.calls));
        let mut advanced = Vec::new();
        while !share.is_over()
            && let Some(mut active) = calls.pop_front()
        {
            if self.advance(now, &mut active, &mut share) {
                advanced.push(active);
            }
        }
        self.woken |= share.is_over();
        self.calls = calls.into_iter().chain(advanced).collect();
    }

    /// Does what a call asks for and what its sockets are ready for, until neither makes progress.
    /// False if the call has ended.
    fn advance(&mut self, now: Instant, active: &mut Active, share: &mut Share) -> bool {
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
                Stage::Resolving(..) => self.resolve(now, active, share),
                Stage::Connecting(..) => self.connect(now, active),
                Stage::Tunnelling(..) => self.tunnel(now, active, share),
                Stage::Open(..) => exchange(now, active, share),
            };
            if !went_on {
                return true;
            }
        }
    }

    /// A kept connection, or the start of the way to a fresh one.
    fn open(&mut self, now: Instant, active: &mut Active, fresh: bool) {
        if !fresh && let Some((link, _)) = self.idle.pop() {
            active.stage = Stage::Open(link, now);
            return active.call.handle_open(true);
        }
        self.files.refresh(now, &mut self.resolver);
        let host = self.next_hop().0.to_owned();
        match self.resolver.lookup(now, &host, entropy()) {
            LookupStart::Known(result) => self.resolved(now, active, result),
            LookupStart::Ask(lookup) => active.stage = Stage::Resolving(lookup, Vec::new()),
        }
    }

    fn keep(&mut self, now: Instant, active: &mut Active) {
        let stage = std::mem::replace(&mut active.stage, Stage::Nothing);
        // One with something to read has ended, or sends what nobody asked for.
        if let Stage::Open(link, _) = stage
            && self.idle.len() < ASKS_AT_ONCE
            && !link.is_busy()
        {
            self.idle.push((link, now + IDLE_LINK_TIMEOUT));
        }
    }

    /// What to connect to: the proxy, if there is one, which looks up the service's name itself.
    pub(super) fn next_hop(&self) -> (&str, u16) {
        match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.url.host, self.url.port),
        }
    }

    /// A token that no other socket has or had.
    pub(super) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(tagged_token(OUTBOUND, self.tokens))
    }
}

// ---- Exchanges -------------------------------------------------------------------------------

/// Continues the handshake, or sends and receives. True if something happened.
fn exchange(now: Instant, active: &mut Active, share: &mut Share) -> bool {
    let Stage::Open(link, until) = &mut active.stage else { return false };
    let was_handshaking = link.is_handshaking();
    let mut happened = false;
    let call = &mut active.call;
    let result = link.exchange(share, |bytes| {
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
    // What exceeds the budget of this turn is left for the next one.
    happened && !link.is_busy()
}

/// Random bits for query ids and pauses. If none can be had, guessable ones are used; the checks on
/// what comes back still hold then.
fn entropy() -> u64 {
    getrandom::u64().unwrap_or(0)
}
