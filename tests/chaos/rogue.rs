//! The kinds of misbehaving clients, how often they come, and from where.

use std::net::Ipv4Addr;

use super::player::{Leave, Script};
use super::random::Random;
use super::script::steps;

/// What a client does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ByteAtATime,
    ResetAnywhere,
    ResetInLogin,
    ResetInPassword,
    ResetInOutput,
    HalfClose,
    HalfCloseInLogin,
    EndlessLine,
    EndlessLineReset,
    Deaf,
    SilentAtPrompt,
    Vanish,
    Telnet,
    Http,
    Ssh,
    TlsOnPlainPort,
    Noise,
    WrongNames,
    PasswordGuesser,
    LobbyHopper,
    LobbyMaker,
    Pest,
    QuitWithOutputPending,
    TlsNoise,
    TlsHandshakeAbandoned,
    TlsRecordCutShort,
    TlsRecordBroken,
    TlsNoCloseNotify,
}

/// Every kind, with how often it comes: those who live long come seldom.
const KINDS: &[(Kind, usize)] = &[
    (Kind::ByteAtATime, 6),
    (Kind::ResetAnywhere, 10),
    (Kind::ResetInLogin, 5),
    (Kind::ResetInPassword, 5),
    (Kind::ResetInOutput, 5),
    (Kind::HalfClose, 6),
    (Kind::HalfCloseInLogin, 4),
    (Kind::EndlessLine, 3),
    (Kind::EndlessLineReset, 3),
    (Kind::Deaf, 4),
    (Kind::SilentAtPrompt, 1),
    (Kind::Vanish, 8),
    (Kind::Telnet, 4),
    (Kind::Http, 3),
    (Kind::Ssh, 3),
    (Kind::TlsOnPlainPort, 3),
    (Kind::Noise, 3),
    (Kind::WrongNames, 4),
    (Kind::PasswordGuesser, 3),
    (Kind::LobbyHopper, 6),
    (Kind::LobbyMaker, 4),
    (Kind::Pest, 6),
    (Kind::QuitWithOutputPending, 5),
    (Kind::TlsNoise, 4),
    (Kind::TlsHandshakeAbandoned, 4),
    (Kind::TlsRecordCutShort, 4),
    (Kind::TlsRecordBroken, 3),
    (Kind::TlsNoCloseNotify, 4),
];

/// Where a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Plain,
    PlainV6,
    Tls,
    /// The TLS port, without TLS.
    TlsUnspoken,
}

/// What the scripts have to know.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Lines that a user may send at once.
    pub lines: usize,
    /// The bytes that begin a handshake.
    pub hello: Vec<u8>,
    /// Well-behaved users in the lobby where everybody starts, once they are there.
    pub users: Vec<String>,
    /// A private lobby, whose password nobody here knows.
    pub private: &'static str,
    /// Whether there is IPv6.
    pub v6: bool,
}

/// One misbehaving client.
#[derive(Debug)]
pub struct Rogue {
    pub kind: Kind,
    pub door: Door,
    pub from: Ipv4Addr,
    /// Bytes of its receive buffer, if that is a small one.
    pub receive_buffer: Option<usize>,
    pub script: Script,
}

impl Rogue {
    /// The one of this number, which is part of its name. The same for the same random numbers.
    pub fn new(serial: usize, random: &mut Random, rules: &Rules) -> Self {
        let total: usize = KINDS.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total);
        let found = KINDS.iter().find(|(_, weight)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        });
        let kind = found.unwrap().0;
        Self::of(kind, serial, random, rules)
    }

    /// One of this kind.
    fn of(kind: Kind, serial: usize, random: &mut Random, rules: &Rules) -> Self {
        let steps = steps(kind, random, rules, format!("r{serial}"));
        let door = door(kind, random, rules.v6);
        let cut = match kind {
            Kind::ResetAnywhere if random.once_in(4) => {
                Some((random.millis(0..300), Leave::Vanish))
            }
            Kind::ResetAnywhere => Some((random.millis(0..300), Leave::Reset)),
            _ => None,
        };
        let pace = match kind {
            Kind::ByteAtATime if door == Door::Tls => Some(random.millis(1..3)),
            Kind::ByteAtATime => Some(random.millis(1..12)),
            _ => None,
        };
        // Passwords are guessed from many addresses, or most would be locked out; the others come
        // from few, so that some of them are turned away, and after a while from others, or most
        // would have logged in too often.
        let few = kind != Kind::PasswordGuesser;
        let street = 10 + serial / 1000 % 200;
        let (third, last) = if few { (street as u8, 2..34) } else { (1, 1..255) };
        let from = Ipv4Addr::new(127, 0, third, random.within(last) as u8);
        let forgiving = matches!(
            kind,
            Kind::ResetAnywhere
                | Kind::ResetInOutput
                | Kind::Deaf
                | Kind::Vanish
                | Kind::Noise
                | Kind::TlsNoise
                | Kind::TlsHandshakeAbandoned
                | Kind::TlsRecordCutShort
                | Kind::TlsRecordBroken
        );
        let receive_buffer = (kind == Kind::Deaf).then_some(4096);
        let script = Script { steps: steps.into(), pace, cut, forgiving };
        Self { kind, door, from, receive_buffer, script }
    }
}

fn door(kind: Kind, random: &mut Random, v6: bool) -> Door {
    match kind {
        Kind::TlsNoise | Kind::TlsHandshakeAbandoned => Door::TlsUnspoken,
        Kind::TlsRecordCutShort | Kind::TlsRecordBroken | Kind::TlsNoCloseNotify => Door::Tls,
        Kind::Http | Kind::Ssh | Kind::TlsOnPlainPort | Kind::Noise => Door::Plain,
        Kind::Vanish if random.once_in(3) => Door::TlsUnspoken,
        _ if random.once_in(6) => Door::Tls,
        _ if v6 && random.once_in(30) => Door::PlainV6,
        _ => Door::Plain,
    }
}
