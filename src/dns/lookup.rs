//! One name being resolved through the name servers, for both address families at once.
//!
//! Each family asks one server at a time, each try with an id and a socket of its own, until one
//! server knows the name or knows that it has no address. Anything that is not a reply to the
//! question never ends a try. If a short name may stand for several names, one is tried after
//! another, until one has an address. The look-up ends once, at the latest after [`DNS_DEADLINE`].

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::message::{self, Fault, Kind, Reply, ReplyError};
use super::name::{HostName, NameError};
use super::tcp::tcp_framed;
use crate::limits::{DNS_DEADLINE, DNS_ROUNDS, DNS_TCP_TIMEOUT, DNS_UDP_TIMEOUT, RESOLUTION_DELAY};

/// One try: one question, to be sent from one socket. No two tries of a look-up share a `QueryId`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryId(u16);

/// What the owner of the sockets has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a UDP socket on a random port, connect it to the server and send one datagram; pass
    /// every datagram that arrives to [`Lookup::handle_reply`].
    SendUdp {
        /// The try that the socket belongs to.
        query: QueryId,
        /// Where to.
        server: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Open a TCP connection and write these bytes; pass every message that arrives (see
    /// [`super::TcpFramer`]) to [`Lookup::handle_reply`].
    AskTcp {
        /// The try that the connection belongs to.
        query: QueryId,
        /// Where to.
        server: SocketAddr,
        /// The message, with its length in front.
        bytes: Vec<u8>,
    },
    /// Close the socket of this try, if it is still open. Nothing more is expected from it.
    Forget {
        /// The try.
        query: QueryId,
    },
}

/// Why there are no addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DnsError {
    /// What was asked for is not a name.
    NotAName(NameError),
    /// There is no such name, or it has no address of either family.
    NoSuchName,
    /// No server answered in time.
    NoAnswer,
    /// Every server was asked, and the last one that answered failed like this.
    ServersFailed(Fault),
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAName(error) => write!(f, "not a host name: {error}"),
            Self::NoSuchName => f.write_str("no such name"),
            Self::NoAnswer => f.write_str("no name server answered"),
            Self::ServersFailed(fault) => write!(f, "name servers failed: {fault}"),
        }
    }
}

/// One name being looked up. Drain [`Lookup::poll_action`] after every call, also after the last.
#[derive(Debug)]
pub struct Lookup {
    asked: Box<str>,
    name: HostName,
    /// What is tried if this name has no address.
    further: VecDeque<HostName>,
    /// How the names before it failed.
    past: Option<Outcome>,
    servers: Rc<[SocketAddr]>,
    /// The server that is asked first: the last one that had an answer.
    first: usize,
    ids: Ids,
    deadline: Instant,
    /// Until when the addresses found wait for those of the other family.
    delay: Option<Instant>,
    /// IPv6 first: the order of the addresses.
    families: [Family; 2],
    actions: VecDeque<Action>,
    outcome: Option<Outcome>,
}

/// How a look-up ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<Vec<IpAddr>, DnsError>,
    /// How long the result is valid; `None` if part of it is not known.
    pub(super) ttl: Option<Duration>,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    /// UDP tries so far; the next one goes to the server this far after the first, modulo their
    /// number.
    tries: usize,
    last_fault: Option<Fault>,
    /// What a truncated reply contained, while the rest is asked for over TCP.
    partial: Option<(Vec<IpAddr>, Duration)>,
    state: State,
}

#[derive(Debug)]
enum State {
    Asking(Try),
    Known {
        addrs: Vec<IpAddr>,
        ttl: Duration,
    },
    /// No server knows, or there was no time left to ask.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Try {
    query: QueryId,
    id: u16,
    server: SocketAddr,
    transport: Transport,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    Udp,
    Tcp,
}

impl Family {
    fn new(kind: Kind) -> Self {
        Self { kind, tries: 0, last_fault: None, partial: None, state: State::Unknown }
    }

    fn trying(&self) -> Option<Try> {
        match self.state {
            State::Asking(current) => Some(current),
            _ => None,
        }
    }
}

impl Lookup {
    /// Starts to ask for whatever `asked` may stand for: these names, in this order, at least one.
    /// The seed gives the ids of the questions: 64 random bits for each look-up.
    pub(super) fn new(
        now: Instant,
        asked: &str,
        names: Vec<HostName>,
        servers: Rc<[SocketAddr]>,
        entropy: u64,
    ) -> Option<Self> {
        let mut further = VecDeque::from(names);
        let mut lookup = Self {
            asked: asked.into(),
            name: further.pop_front()?,
            further,
            past: None,
            servers,
            first: 0,
            ids: Ids { state: entropy, queries: 0 },
            deadline: now + DNS_DEADLINE,
            delay: None,
            families: [Kind::Aaaa, Kind::A].map(Family::new),
            actions: VecDeque::new(),
            outcome: None,
        };
        lookup.each_family(|family, asker| asker.ask_next(now, family));
        lookup.conclude(now);
        Some(lookup)
    }

    /// The name being looked up.
    pub(super) fn asked(&self) -> &str {
        &self.asked
    }

    /// Takes a message that arrived at the socket of a try, without the length that TCP puts in
    /// front.
    pub fn handle_reply(&mut self, now: Instant, query: QueryId, bytes: &[u8]) {
        let mut answered = None;
        self.each_family(|family, asker| {
            let Some(current) = family.trying().filter(|current| current.query == query) else {
                return;
            };
            match message::reply(bytes, current.id, asker.name, family.kind) {
                Err(ReplyError::NotOurs) => {}
                Ok(Reply::Addresses { addrs, ttl }) => {
                    answered = Some(current.server);
                    asker.forget(family, State::Known { addrs, ttl });
                }
                Ok(Reply::None { ttl }) => {
                    answered = Some(current.server);
                    asker.forget(family, State::Known { addrs: Vec::new(), ttl });
                }
                Ok(Reply::Truncated { addrs, ttl }) => {
                    if !addrs.is_empty() {
                        family.partial = Some((addrs, ttl));
                    }
                    if current.transport == Transport::Udp {
                        return asker.ask(now, family, current.server, Transport::Tcp);
                    }
                    family.last_fault = Some(Fault::Truncated);
                    asker.failed(now, family);
                }
                Err(ReplyError::Failed(fault)) => {
                    family.last_fault = Some(fault);
                    asker.failed(now, family);
                }
            }
        });
        if let Some(at) = answered.and_then(|by| self.servers.iter().position(|one| *one == by)) {
            self.first = at;
        }
        self.conclude(now);
    }

    /// The socket of a try failed: it could not be opened, was refused, or was closed.
    pub fn handle_failure(&mut self, now: Instant, query: QueryId) {
        self.each_family(|family, asker| {
            if family.trying().is_some_and(|current| current.query == query) {
                asker.failed(now, family);
            }
        });
        self.conclude(now);
    }

    /// The time of [`Lookup::poll_timeout`] has come. Does nothing before it.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.each_family(|family, asker| {
            if family.trying().is_some_and(|current| current.until <= now) {
                asker.failed(now, family);
            }
        });
        self.conclude(now);
    }

    /// What to do next with the sockets; `None` is nothing for now.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Lookup::handle_timeout`]; never once there is an outcome.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.outcome.is_some() {
            return None;
        }
        let tries = self.families.iter().filter_map(Family::trying);
        tries.map(|current| current.until).chain(self.delay).min()
    }

    /// The addresses, alternating between the two families and starting with IPv6 (RFC 8305,
    /// section 4), or why there are none. `None` while the look-up is under way.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<&[IpAddr], DnsError>> {
        let outcome = self.outcome.as_ref()?;
        Some(outcome.result.as_deref().map_err(|error| *error))
    }

    /// The same, with how long it is valid.
    pub(super) fn ended(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Calls `f` for each family, with the rest of the look-up.
    fn each_family(&mut self, mut f: impl FnMut(&mut Family, &mut Asker<'_>)) {
        let (ids, actions) = (&mut self.ids, &mut self.actions);
        let (name, servers, deadline) = (&self.name, &*self.servers, self.deadline);
        let mut asker = Asker { name, servers, first: self.first, deadline, ids, actions };
        for family in &mut self.families {
            f(family, &mut asker);
        }
    }

    /// Ends the look-up if both families are done, or one has waited long enough for the other; or
    /// continues with the next name.
    fn conclude(&mut self, now: Instant) {
        while self.outcome.is_none() && self.is_done(now) {
            let outcome = outcome(&self.families, self.past.take());
            // A silent server is silent for all names.
            let goes_on =
                matches!(outcome.result, Err(DnsError::NoSuchName | DnsError::ServersFailed(_)))
                    && now < self.deadline;
            match self.further.pop_front().filter(|_| goes_on) {
                Some(next) => {
                    self.past = Some(outcome);
                    self.name = next;
                    self.delay = None;
                    self.families = [Kind::Aaaa, Kind::A].map(Family::new);
                    self.each_family(|family, asker| asker.ask_next(now, family));
                }
                None => self.outcome = Some(outcome),
            }
        }
    }

    /// Whether nothing more is expected for this name.
    fn is_done(&mut self, now: Instant) -> bool {
        let [v6, v4] = &self.families;
        let has_addresses =
            |f: &Family| matches!(&f.state, State::Known { addrs, .. } if !addrs.is_empty());
        if v6.trying().is_some() || v4.trying().is_some() {
            if !has_addresses(v6) && !has_addresses(v4) {
                return false;
            }
            if now < *self.delay.get_or_insert(now + RESOLUTION_DELAY) {
                return false;
            }
            self.each_family(|family, asker| {
                if family.trying().is_some() {
                    asker.forget(family, State::Unknown);
                }
            });
        }
        true
    }
}

/// What the two families amount to when nothing more is asked, after names that failed as `past`
/// says.
fn outcome([v6, v4]: &[Family; 2], past: Option<Outcome>) -> Outcome {
    let known = |family: &Family| match &family.state {
        State::Known { addrs, ttl } => Some((addrs.clone(), *ttl)),
        _ => None,
    };
    let (known6, known4) = (known(v6), known(v4));
    let complete = known6.is_some() && known4.is_some();
    let (addrs6, ttl6) = known6.unwrap_or_default();
    let (addrs4, ttl4) = known4.unwrap_or_default();
    let ttl = match (addrs6.is_empty(), addrs4.is_empty()) {
        (false, true) => ttl6,
        (true, false) => ttl4,
        _ => ttl6.min(ttl4),
    };
    let addrs = in_turn(&addrs6, &addrs4);
    let fault = |family: &Family| match family.state {
        State::Unknown => family.last_fault,
        _ => None,
    };
    let result = match fault(v6).or(fault(v4)) {
        _ if !addrs.is_empty() => Ok(addrs),
        _ if complete => Err(DnsError::NoSuchName),
        Some(fault) => Err(DnsError::ServersFailed(fault)),
        None => Err(DnsError::NoAnswer),
    };
    let outcome = Outcome { result, ttl: complete.then_some(ttl) };
    match past {
        Some(past) if outcome.result.is_err() => Outcome {
            // That there is no such name is true only if every one of the names was denied.
            result: match past.result {
                Err(DnsError::ServersFailed(fault)) => Err(DnsError::ServersFailed(fault)),
                _ => outcome.result,
            },
            ttl: past.ttl.zip(outcome.ttl).map(|(past, ttl)| past.min(ttl)),
        },
        _ => outcome,
    }
}

/// One of the first, one of the second, and so on; then the rest of the longer one.
pub(super) fn in_turn(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let rounds = first.len().max(second.len());
    let pair = |n: usize| [first.get(n), second.get(n)];
    (0..rounds).flat_map(pair).flatten().copied().collect()
}

/// What a family needs from the look-up in order to ask.
struct Asker<'a> {
    name: &'a HostName,
    servers: &'a [SocketAddr],
    first: usize,
    deadline: Instant,
    ids: &'a mut Ids,
    actions: &'a mut VecDeque<Action>,
}

impl Asker<'_> {
    /// The current try came to nothing: either the contents of a truncated reply have to do, or the
    /// next server is asked.
    fn failed(&mut self, now: Instant, family: &mut Family) {
        match family.partial.take() {
            Some((addrs, ttl)) => self.forget(family, State::Known { addrs, ttl }),
            None => self.ask_next(now, family),
        }
    }

    /// Ends the current try and asks the next server; after the last server of the last round, or
    /// the deadline, the family stays unknown.
    fn ask_next(&mut self, now: Instant, family: &mut Family) {
        let server = self.servers.iter().cycle().nth(self.first + family.tries);
        let left = family.tries < self.servers.len() * DNS_ROUNDS && now < self.deadline;
        match server.filter(|_| left) {
            Some(server) => {
                family.tries += 1;
                self.ask(now, family, *server, Transport::Udp);
            }
            None => self.forget(family, State::Unknown),
        }
    }

    /// Ends the current try and starts one with this server.
    fn ask(&mut self, now: Instant, family: &mut Family, server: SocketAddr, via: Transport) {
        let (query, id) = self.ids.next();
        let bytes = message::query(id, self.name, family.kind);
        let (wait, action) = match via {
            Transport::Udp => (DNS_UDP_TIMEOUT, Action::SendUdp { query, server, bytes }),
            Transport::Tcp => {
                // A question is far shorter than the most a frame can hold.
                let bytes = tcp_framed(&bytes).unwrap_or_default();
                (DNS_TCP_TIMEOUT, Action::AskTcp { query, server, bytes })
            }
        };
        let until = (now + wait).min(self.deadline);
        self.forget(family, State::Asking(Try { query, id, server, transport: via, until }));
        self.actions.push_back(action);
    }

    /// Ends the current try, if there is one.
    fn forget(&mut self, family: &mut Family, state: State) {
        if let Some(Try { query, .. }) = family.trying() {
            self.actions.push_back(Action::Forget { query });
        }
        family.state = state;
    }
}

/// The ids of a look-up's tries, and the random ids of their questions.
#[derive(Debug)]
struct Ids {
    state: u64,
    queries: u16,
}

impl Ids {
    fn next(&mut self) -> (QueryId, u16) {
        self.queries += 1;
        // splitmix64 (Steele, Lea and Flood, 2014): one output of it reveals 16 bits of the seed.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Its last step changes only the lower bits.
        let [high, low, ..] = z.to_be_bytes();
        (QueryId(self.queries), u16::from_be_bytes([high, low]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_and_their_questions_random() {
        // The first outputs for the seed 0 as the authors' own program gives them.
        let outputs = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f_u64];
        let mut ids = Ids { state: 0, queries: 0 };
        for (n, output) in (1..).zip(outputs) {
            assert_eq!(ids.next(), (QueryId(n), u16::try_from(output >> 48).unwrap()));
        }
    }
}
