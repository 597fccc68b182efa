//! Refusals in the log, in two forms. `refused ADDRESS - reason` is for tools that ban addresses;
//! `turned away ADDRESS - reason` is for what somebody can bring about who means no harm: a browser
//! that shows a page with our address in it, a member who mistypes a password.
//!
//! Strangers decide how many there are, so each address and reason has an allowance of its own: a
//! line a second, and a line a minute for a limit that the address goes past again and again. Nobody
//! can hide behind many lines of others, or behind lines of another reason. What is left out is
//! counted, and the count is logged.
//!
//! Reads no clock. Where the log goes is `logging`'s business.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    MAX_REFUSALS_REMEMBERED, PASSWORD_FAILURES, REFUSALS_BORNE, REFUSALS_COUNTED_INTERVAL,
    REFUSALS_LOGGED_PER_SEC,
};
use crate::rate::AddrKey;

/// Why somebody is refused something. `Display` is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    // ---- What the client did ----
    /// As many wrong names as a connection may have.
    WrongNames,
    /// As many wrong passwords for lobbies as lock the address out.
    WrongPasswords,
    /// The address is not allowed to connect.
    Forbidden,
    /// SSH on the plain port, as those send it who look for servers.
    Ssh,
    /// A TLS handshake failed for this reason.
    Handshake(String),
    /// A TLS handshake took too long.
    SlowHandshake,
    /// A user goes on sending lines, many more than the rate limit lets through.
    Flood,
    // ---- Limits of an address ----
    /// Its connections.
    Connections,
    /// How often its users may log in.
    LogIns,
    /// What its users may say together.
    Messages,
    /// The lobbies that it may make.
    Lobbies,
    /// Its share of the work on passwords.
    Passwords,
    /// It is locked out of private lobbies.
    LockedOut,
    // ---- What may be nobody's fault ----
    /// The maximum number of connections is reached.
    Full,
    /// Memory is short.
    Memory,
    /// There is no descriptor for one more.
    Descriptors,
    /// A proxy did not send the header that has to come first, but did this.
    NoHeader(&'static str),
    /// A proxy's header came unasked.
    Proxy,
    // ---- What browsers can be made to do, and mistakes ----
    /// HTTP on the plain port.
    Http,
    /// TLS on the plain port.
    Tls,
    /// The client broke the TLS handshake off, since it does not trust the certificate, or there is
    /// no version of TLS that both know.
    Distrust(String),
    /// Its TLS handshake was not finished when others were waiting.
    GavePlace,
    /// Some text on the TLS port.
    TextOnTls,
    /// HTTP on the TLS port.
    HttpOnTls,
    /// SSH on the TLS port.
    SshOnTls,
}

/// How a refusal is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// As a refusal, once a second.
    Refused,
    /// As a refusal, once a minute, after so many within a minute have been logged the other way.
    Limit { borne: u32 },
    /// The other way, once a second.
    TurnedAway,
}

impl Refusal {
    fn rule(&self) -> Rule {
        match self {
            Self::Connections | Self::LogIns | Self::Flood => Rule::Limit { borne: 0 },
            Self::Messages | Self::Lobbies | Self::Passwords | Self::LockedOut => {
                Rule::Limit { borne: REFUSALS_BORNE }
            }
            Self::Http
            | Self::Tls
            | Self::Distrust(_)
            | Self::GavePlace
            | Self::TextOnTls
            | Self::HttpOnTls
            | Self::SshOnTls => Rule::TurnedAway,
            Self::WrongNames
            | Self::WrongPasswords
            | Self::Forbidden
            | Self::Ssh
            | Self::Handshake(_)
            | Self::SlowHandshake
            | Self::Full
            | Self::Memory
            | Self::Descriptors
            | Self::NoHeader(_)
            | Self::Proxy => Rule::Refused,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongNames => "too many wrong names",
            Self::WrongPasswords => return write!(f, "{PASSWORD_FAILURES} wrong lobby passwords"),
            Self::Forbidden => "not allowed to connect",
            Self::Ssh => "SSH instead of chat",
            Self::Handshake(why) | Self::Distrust(why) => {
                return write!(f, "TLS handshake failed: {why}");
            }
            Self::SlowHandshake => "TLS handshake took too long",
            Self::Flood => "a flood of lines",
            Self::Connections => "too many connections",
            Self::LogIns => "too many log-ins",
            Self::Messages => "too many messages",
            Self::Lobbies => "too many lobbies",
            Self::Passwords => "too many passwords",
            Self::LockedOut => "locked out of private lobbies",
            Self::Full => "server full",
            Self::Memory => "server short of memory",
            Self::Descriptors => "out of file descriptors",
            Self::NoHeader(instead) => {
                return write!(f, "no PROXY protocol header: it {instead}");
            }
            Self::Proxy => "PROXY protocol instead of chat",
            Self::Http => "HTTP instead of chat",
            Self::Tls => "TLS instead of chat",
            Self::GavePlace => "unfinished TLS handshake, others were waiting",
            Self::TextOnTls => "text on the TLS port",
            Self::HttpOnTls => "HTTP on the TLS port",
            Self::SshOnTls => "SSH on the TLS port",
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Whose refusals have an allowance of their own.
type Key = (AddrKey, Discriminant<Refusal>);

/// What was logged lately, and what was left out.
#[derive(Debug, Default)]
pub struct RefusalLog {
    /// Either form has bounds of its own, so that the one does not hide behind the other.
    refused: Lines,
    turned_away: Lines,
    /// How often each address came to each limit, within the minute after the first time.
    limits: Recent<u32>,
    left_out: u64,
    /// When that is told, and what is too old is forgotten.
    due: Option<Instant>,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Refused,
    TurnedAway,
}

impl RefusalLog {
    /// Logs that this address was refused something, unless its allowance is used up.
    pub fn note(&mut self, now: Instant, addr: IpAddr, refusal: &Refusal) {
        let addr = addr.to_canonical();
        match self.count(now, (addr.into(), discriminant(refusal)), refusal.rule()) {
            Some(Form::Refused) => log::warn!("refused {addr} - {refusal}"),
            Some(Form::TurnedAway) => log::info!("turned away {addr} - {refusal}"),
            None => {}
        }
    }

    /// When [`RefusalLog::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Tells how many were left out, and forgets what is too old.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            log::warn!("{left_out} more refusals were not logged");
        }
        self.refused.logged.forget(now);
        self.turned_away.logged.forget(now);
        self.limits.forget(now);
        let tables = [&self.refused.logged, &self.turned_away.logged];
        let is_empty = self.limits.is_empty() && tables.iter().all(|table| table.is_empty());
        self.due = (!is_empty).then_some(now + REFUSALS_COUNTED_INTERVAL);
    }

    /// Counts one. Gives the form in which it is logged, if it is.
    fn count(&mut self, now: Instant, key: Key, rule: Rule) -> Option<Form> {
        self.due.get_or_insert(now + REFUSALS_COUNTED_INTERVAL);
        let form = match rule {
            Rule::Refused => Form::Refused,
            Rule::TurnedAway => Form::TurnedAway,
            Rule::Limit { borne: 0 } => Form::Refused,
            Rule::Limit { borne } if self.limits.add(now, key) > borne => Form::Refused,
            Rule::Limit { .. } => Form::TurnedAway,
        };
        let (lines, interval) = match (form, rule) {
            (Form::Refused, Rule::Limit { .. }) => (&mut self.refused, MINUTE),
            (Form::Refused, _) => (&mut self.refused, SECOND),
            (Form::TurnedAway, _) => (&mut self.turned_away, SECOND),
        };
        let logged = lines.may_log(now, key, interval);
        self.left_out += u64::from(!logged);
        logged.then_some(form)
    }
}

/// Lines of one form.
#[derive(Debug, Default)]
struct Lines {
    logged: Recent<()>,
    /// When the present second began.
    second: Option<Instant>,
    /// How many were logged in it for those who had no line in the last minute, and for others.
    first: u32,
    again: u32,
}

impl Lines {
    /// Whether to log a line for this key, which has one in each such interval. When there are too
    /// many of them, each has one less often, so that all have the same. First lines are apart, so
    /// that neither hides behind the other.
    fn may_log(&mut self, now: Instant, key: Key, interval: Duration) -> bool {
        self.logged.forget(now);
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.second.is_none_or(|at| since(at) >= SECOND) {
            (self.second, self.first, self.again) = (Some(now), 0, 0);
        }
        let keys = u32::try_from(self.logged.by_key.len()).unwrap_or(u32::MAX);
        let interval = interval.max(SECOND * (keys / REFUSALS_LOGGED_PER_SEC));
        let in_second = match self.logged.get(&key) {
            Some((at, ())) if since(at) < interval => return false,
            Some(_) => &mut self.again,
            None => &mut self.first,
        };
        if *in_second >= REFUSALS_LOGGED_PER_SEC {
            return false;
        }
        *in_second += 1;
        self.logged.insert(now, key, ());
        true
    }
}

/// What is remembered of each key for a minute. When there is no room, what was remembered first is
/// forgotten.
#[derive(Debug)]
struct Recent<V> {
    by_key: HashMap<Key, (Instant, V)>,
    /// In the order of time. What has been remembered anew since stands here twice.
    order: VecDeque<(Instant, Key)>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V: Copy> Recent<V> {
    fn get(&self, key: &Key) -> Option<(Instant, V)> {
        self.by_key.get(key).copied()
    }

    fn insert(&mut self, now: Instant, key: Key, value: V) {
        if self.order.len() >= MAX_REFUSALS_REMEMBERED {
            self.forget_first();
        }
        self.by_key.insert(key, (now, value));
        self.order.push_back((now, key));
    }

    fn forget_first(&mut self) {
        let Some((at, key)) = self.order.pop_front() else { return };
        if self.by_key.get(&key).is_some_and(|(latest, _)| *latest == at) {
            self.by_key.remove(&key);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MINUTE)
        {
            self.forget_first();
        }
        if self.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Recent<u32> {
    /// Counts one more. Gives how many that makes.
    fn add(&mut self, now: Instant, key: Key) -> u32 {
        self.forget(now);
        match self.by_key.get_mut(&key) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                self.insert(now, key, 1);
                1
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    struct World {
        log: RefusalLog,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { log: RefusalLog::default(), start: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// What becomes of a refusal of the `n`th address.
        fn note(&mut self, ms: u64, n: u32, refusal: &Refusal) -> Option<Form> {
            let addr = AddrKey::from(IpAddr::V4(Ipv4Addr::from(n)));
            let now = self.at(ms);
            if self.log.poll_timeout().is_some_and(|due| due <= now) {
                self.log.handle_timeout(now);
            }
            self.log.count(now, (addr, discriminant(refusal)), refusal.rule())
        }
    }

    #[test]
    fn an_address_has_a_line_a_second_for_each_reason() {
        let mut world = World::new();
        let (names, ssh) = (&Refusal::WrongNames, &Refusal::Ssh);
        let refused = Some(Form::Refused);
        assert_eq!((world.note(0, 1, names), world.note(0, 1, names)), (refused, None));
        assert_eq!((world.note(1, 1, ssh), world.note(1, 2, names)), (refused, refused));
        assert_eq!((world.note(999, 1, names), world.note(1000, 1, names)), (None, refused));
        assert_eq!(world.log.left_out, 2);
        // Addresses of one IPv6 /64 are one.
        let now = world.at(0);
        for (host, left_out) in [(1, 2), (2, 3)] {
            let addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
            world.log.note(now, addr.into(), names);
            assert_eq!(world.log.left_out, left_out);
        }
    }

    #[test]
    fn a_flood_of_few_hides_nobody() {
        let mut world = World::new();
        for ms in 0..5000 {
            for flooder in 0..4 {
                let form = world.note(ms, flooder, &Refusal::Http);
                assert_eq!(form, (ms % 1000 == 0).then_some(Form::TurnedAway));
                let form = world.note(ms, flooder, &Refusal::Ssh);
                assert_eq!(form, (ms % 1000 == 0).then_some(Form::Refused));
            }
            if ms % 250 == 0 {
                let other = 1000 + u32::try_from(ms).unwrap();
                assert_eq!(world.note(ms, other, &Refusal::WrongNames), Some(Form::Refused));
            }
        }
    }

    #[test]
    fn many_share_what_may_be_logged_and_newcomers_come_first() {
        let mut world = World::new();
        let mut lines = HashMap::new();
        let mut newcomers = 0;
        // 300 addresses, at it for a minute, and a newcomer every tenth of a second.
        for ms in (0..60_000).step_by(10) {
            for n in 0..300 {
                if world.note(ms, n, &Refusal::WrongNames).is_some() {
                    *lines.entry(n).or_insert(0) += 1;
                }
            }
            if ms > 11_000 && ms % 100 == 50 {
                let n = 1_000_000 + u32::try_from(ms).unwrap();
                newcomers += u32::from(world.note(ms, n, &Refusal::WrongNames).is_some());
            }
        }
        assert_eq!((newcomers, lines.len()), (490, 300));
        let (least, most) = (lines.values().min(), lines.values().max());
        assert!(*least.unwrap() >= 3 && *most.unwrap() <= 6, "{least:?} to {most:?}");
    }

    #[test]
    fn no_more_is_logged_or_remembered_than_the_bounds() {
        let mut world = World::new();
        for ms in 0..5000 {
            let logged = (0..50).filter(|n| {
                let n = u32::try_from(ms * 50 + n).unwrap();
                world.note(ms, n, &Refusal::LockedOut);
                world.note(ms, n, &Refusal::WrongNames).is_some()
            });
            assert!(logged.count() <= if ms % 1000 == 0 { 30 } else { 0 }, "at {ms}");
        }
        for table in [&world.log.refused.logged, &world.log.turned_away.logged] {
            assert!(table.by_key.len() <= 500 && table.order.len() <= MAX_REFUSALS_REMEMBERED);
        }
        assert_eq!(world.log.limits.by_key.len(), MAX_REFUSALS_REMEMBERED);
        // The count is told and everything forgotten, though nothing follows.
        assert!(world.log.left_out > 400_000);
        while let Some(due) = world.log.poll_timeout() {
            assert!(due <= world.at(80_000));
            world.log.handle_timeout(due);
            assert_eq!(world.log.left_out, 0);
        }
        assert_eq!(world.log.limits.by_key.capacity(), 0);
    }

    #[test]
    fn whoever_goes_past_a_limit_is_refused_once_a_minute_and_not_for_a_mistake() {
        let mut world = World::new();
        let (refused, turned_away) = (Some(Form::Refused), Some(Form::TurnedAway));
        // Seven right passwords while locked out.
        for ms in (0..7000).step_by(1000) {
            assert_eq!(world.note(ms, 1, &Refusal::LockedOut), turned_away);
        }
        for minute in 0..3 {
            let start = minute * 60_000;
            let forms = (0..600).map(|n| world.note(start + n * 100, 2, &Refusal::LockedOut));
            let forms: Vec<_> = forms.flatten().collect();
            let of = |form| forms.iter().filter(|one| **one == form).count();
            assert_eq!((of(Form::Refused), of(Form::TurnedAway)), (1, 2));
        }
        assert_eq!(world.note(200_000, 3, &Refusal::Connections), refused);
        assert_eq!(world.note(259_999, 3, &Refusal::Connections), None);
        assert_eq!(world.note(260_000, 3, &Refusal::Connections), refused);
    }
}
