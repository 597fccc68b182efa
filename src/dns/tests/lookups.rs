//! Whole look-ups against servers that answer, lie, fail and keep silent.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::limits::{DNS_DEADLINE, DNS_TCP_TIMEOUT, RESOLUTION_DELAY};

const MS: Duration = Duration::from_millis(1);

/// What comes of one try, and how many milliseconds later.
#[derive(Clone, Debug)]
enum Reaction {
    Bytes(u32, Vec<u8>),
    Failure(u32),
}
use Reaction::{Bytes, Failure};

/// One try as a server sees it.
struct Seen<'a> {
    /// 1, 2, 3.
    server: usize,
    tcp: bool,
    kind: Kind,
    /// Without the length that TCP puts before it.
    query: &'a [u8],
}

/// How a look-up went.
#[derive(Debug)]
struct Story {
    outcome: Result<Vec<IpAddr>, DnsError>,
    took: Duration,
    /// Milliseconds, server, kind, over TCP.
    tries: Vec<(u128, usize, Kind, bool)>,
}

impl Story {
    /// The tries of one family, in order, as `[milliseconds, server]`, TCP marked.
    fn of(&self, kind: Kind) -> Vec<(u128, usize, bool)> {
        let ours = self.tries.iter().filter(|(_, _, of, _)| *of == kind);
        ours.map(|(at, server, _, tcp)| (*at, *server, *tcp)).collect()
    }

    fn ms(&self) -> u128 {
        self.took.as_millis()
    }
}

/// Looks `api.example` up with so many servers that react to each try as `react` says.
fn look_up(servers: u8, react: impl FnMut(&Seen<'_>) -> Vec<Reaction>) -> Story {
    look_up_with("", "api.example", servers, react)
}

/// Looks this name up with what this text of resolv.conf says about names.
fn look_up_with(
    conf: &str,
    name: &str,
    servers: u8,
    mut react: impl FnMut(&Seen<'_>) -> Vec<Reaction>,
) -> Story {
    let start = Instant::now();
    let addrs: Vec<SocketAddr> = (1..=servers).map(|n| ([192, 0, 2, n], 53).into()).collect();
    let search = ResolvConf::parse(conf).search;
    let mut resolver = Resolver::new(addrs.clone(), search, Hosts::default());
    let LookupStart::Ask(mut lookup) = resolver.lookup(start, name, 42) else { panic!() };
    let (mut now, mut events, mut tries) = (start, Vec::new(), Vec::new());
    let (mut open, mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        while let Some(action) = lookup.poll_action() {
            let (query, server, bytes, tcp) = match action {
                Action::SendUdp { query, server, bytes } => (query, server, bytes, false),
                Action::AskTcp { query, server, bytes } => {
                    let mut input = &bytes[..];
                    let message = TcpFramer::default().next_message(&mut input).unwrap();
                    assert!(input.is_empty());
                    (query, server, message, true)
                }
                Action::Forget { query } => {
                    assert!(open.remove(&query), "forgotten twice");
                    continue;
                }
            };
            assert!(seen.insert(query), "no fresh socket");
            assert!(ids.insert([bytes[0], bytes[1]]), "no fresh id");
            open.insert(query);
            assert!(open.len() <= 2);
            let server = addrs.iter().position(|addr| *addr == server).unwrap() + 1;
            let kind = kind_of(&bytes);
            tries.push(((now - start).as_millis(), server, kind, tcp));
            for reaction in react(&Seen { server, tcp, kind, query: &bytes }) {
                let (Bytes(after, _) | Failure(after)) = reaction;
                events.push((now + MS * after, query, reaction));
            }
        }
        if let Some(outcome) = lookup.outcome() {
            assert!(open.is_empty(), "sockets are left open");
            assert_eq!(lookup.poll_timeout(), None);
            return Story { outcome: outcome.map(<[_]>::to_vec), took: now - start, tries };
        }
        let timeout = lookup.poll_timeout().unwrap();
        assert!(timeout > now, "a deadline that is over");
        let next = (0..events.len()).min_by_key(|n| events[*n].0);
        match next.filter(|n| events[*n].0 < timeout).map(|n| events.remove(n)) {
            // Late events come, too: a look-up does not rely on its `Forget` having been in time.
            Some((at, query, Bytes(_, bytes))) => {
                now = at;
                lookup.handle_reply(now, query, &bytes);
            }
            Some((at, query, Failure(_))) => {
                now = at;
                lookup.handle_failure(now, query);
            }
            None => {
                now = timeout;
                lookup.handle_timeout(now);
            }
        }
    }
}

/// The right answer: one address of each kind.
fn right(query: &[u8]) -> Vec<u8> {
    match kind_of(query) {
        Kind::A => with(query, &[("api.example", 60, "192.0.2.80")]),
        Kind::Aaaa => with(query, &[("api.example", 60, "2001:db8::80")]),
    }
}

fn both() -> Result<Vec<IpAddr>, DnsError> {
    Ok(vec![ip("2001:db8::80"), ip("192.0.2.80")])
}

#[test]
fn both_families_are_asked_at_once_and_come_in_turn() {
    let story = look_up(2, |seen| vec![Bytes(20, right(seen.query))]);
    assert_eq!((story.outcome.clone(), story.ms()), (both(), 20));
    assert_eq!(story.tries, [(0, 1, Kind::Aaaa, false), (0, 1, Kind::A, false)]);
    let story = look_up(1, |seen| {
        let addrs: &[&str] = match seen.kind {
            Kind::A => &["192.0.2.1", "192.0.2.2", "192.0.2.3"],
            Kind::Aaaa => &["2001:db8::1", "2001:db8::2"],
        };
        let records: Vec<Rec<'_>> = addrs.iter().map(|a| ("api.example", 60, *a)).collect();
        vec![Bytes(1, with(seen.query, &records))]
    });
    let turn = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"];
    assert_eq!(story.outcome, Ok(turn.map(ip).to_vec()));
}

#[test]
fn one_family_waits_fifty_milliseconds_for_the_other() {
    for (slow, alone) in [(Kind::Aaaa, "192.0.2.80"), (Kind::A, "2001:db8::80")] {
        let late = |by: u32| {
            look_up(1, move |seen| {
                let after = if seen.kind == slow { 10 + by } else { 10 };
                vec![Bytes(after, right(seen.query))]
            })
        };
        let story = late(49);
        assert_eq!((story.outcome.clone(), story.ms()), (both(), 59));
        let story = late(51);
        let delay = RESOLUTION_DELAY.as_millis();
        assert_eq!((story.outcome.clone(), story.ms()), (Ok(vec![ip(alone)]), 10 + delay));
    }
}

#[test]
fn having_no_address_is_nothing_to_go_ahead_with() {
    // IPv6 is known not to be there; IPv4 takes a second try and is waited for.
    let story = look_up(2, |seen| match (seen.kind, seen.server) {
        (Kind::Aaaa, _) => vec![Bytes(5, code(seen.query, Rcode::NOERROR))],
        (Kind::A, 1) => vec![],
        (Kind::A, _) => vec![Bytes(400, right(seen.query))],
    });
    assert_eq!((story.outcome.clone(), story.ms()), (Ok(vec![ip("192.0.2.80")]), 1400));
}

#[test]
fn no_such_name_is_final() {
    let story = look_up(3, |seen| vec![Bytes(5, code(seen.query, Rcode::NXDOMAIN))]);
    assert_eq!((story.outcome.clone(), story.tries.len()), (Err(DnsError::NoSuchName), 2));
    assert_eq!(DnsError::NoSuchName.to_string(), "no such name");
    // One family alone does not decide it: some servers deny a name for want of an IPv6 address.
    let story = look_up(3, |seen| match seen.kind {
        Kind::Aaaa => vec![Bytes(5, code(seen.query, Rcode::NXDOMAIN))],
        Kind::A => vec![Bytes(9, right(seen.query))],
    });
    assert_eq!(story.outcome, Ok(vec![ip("192.0.2.80")]));
}

#[test]
fn a_silent_server_is_left_after_a_second() {
    let story = look_up(3, |seen| match seen.server {
        3 => vec![Bytes(7, right(seen.query))],
        _ => vec![],
    });
    assert_eq!((story.outcome.clone(), story.ms()), (both(), 2007));
    assert_eq!(story.of(Kind::A), [(0, 1, false), (1000, 2, false), (2000, 3, false)]);
}

#[test]
fn a_lost_datagram_is_made_good_in_the_second_round() {
    let mut lost = 2;
    let story = look_up(1, |seen| {
        if lost > 0 {
            lost -= 1;
            return vec![];
        }
        vec![Bytes(3, right(seen.query))]
    });
    assert_eq!((story.outcome.clone(), story.ms()), (both(), 1003));
}

#[test]
fn a_failing_server_is_left_at_once() {
    type Reactor = fn(&[u8]) -> Reaction;
    let failures: [Reactor; 6] = [
        |query| Bytes(4, code(query, Rcode::SERVFAIL)),
        |query| Bytes(4, code(query, Rcode::REFUSED)),
        |query| Bytes(4, referral(query, Rcode::NOERROR, &[])),
        |query| Bytes(4, with(query, &[("api.example", 1, "api.example")])),
        |query| {
            let good = right(query);
            Bytes(4, good[..good.len() - 1].to_vec())
        },
        |_| Failure(4),
    ];
    for (n, failure) in failures.iter().enumerate() {
        let story = look_up(2, |seen| match seen.server {
            1 => vec![failure(seen.query)],
            _ => vec![Bytes(6, right(seen.query))],
        });
        assert_eq!((story.outcome.clone(), story.ms()), (both(), 10), "failure {n}");
        assert_eq!(story.of(Kind::Aaaa), [(0, 1, false), (4, 2, false)]);
    }
}

#[test]
fn all_servers_dead_failing_or_refusing_end_the_look_up() {
    for servers in 1..=3 {
        let story = look_up(servers, |_| vec![]);
        assert_eq!(story.outcome, Err(DnsError::NoAnswer));
        assert_eq!(story.took, 2 * u32::from(servers) * Duration::from_secs(1));
        assert!(story.took < DNS_DEADLINE);
        let story = look_up(servers, |_| vec![Failure(1)]);
        assert_eq!(story.outcome, Err(DnsError::NoAnswer));
        assert_eq!(story.tries.len(), 4 * usize::from(servers));
    }
    let story = look_up(3, |seen| match seen.server {
        2 => vec![Bytes(1, code(seen.query, Rcode::SERVFAIL))],
        _ => vec![],
    });
    assert_eq!(story.outcome.unwrap_err().to_string(), "name servers failed: SERVFAIL");
    // A truncated reply, and then silence: the deadline ends it.
    let story = look_up(3, |seen| match seen.tcp {
        false => vec![Bytes(1, truncated(seen.query))],
        true => vec![],
    });
    assert_eq!((story.outcome, story.took), (Err(DnsError::NoAnswer), DNS_DEADLINE));
}

#[test]
fn a_truncated_reply_is_asked_for_over_tcp() {
    let story = look_up(2, |seen| match (seen.kind, seen.tcp) {
        (Kind::A, false) => vec![Bytes(5, truncated(seen.query))],
        (Kind::A, true) => vec![Bytes(30, right(seen.query))],
        (Kind::Aaaa, _) => vec![Bytes(5, right(seen.query))],
    });
    assert_eq!((story.outcome.clone(), story.ms()), (both(), 35));
    assert_eq!(story.of(Kind::A), [(0, 1, false), (5, 1, true)]);
    assert_eq!(story.of(Kind::Aaaa), [(0, 1, false)]);
}

#[test]
fn a_server_whose_tcp_does_not_work_is_left_for_the_next() {
    let tcp = DNS_TCP_TIMEOUT.as_millis();
    for (reaction, at) in [(None, 5 + tcp), (Some(Failure(2)), 7)] {
        let story = look_up(2, |seen| match (seen.server, seen.tcp) {
            (1, false) => vec![Bytes(5, truncated(seen.query))],
            (1, true) => reaction.iter().cloned().collect(),
            _ => vec![Bytes(1, right(seen.query))],
        });
        assert_eq!((story.outcome.clone(), story.ms()), (both(), at + 1));
        assert_eq!(story.of(Kind::A), [(0, 1, false), (5, 1, true), (at, 2, false)]);
    }
    let story = look_up(1, |seen| vec![Bytes(1, truncated(seen.query))]);
    let error = story.outcome.unwrap_err();
    assert_eq!(error.to_string(), "name servers failed: truncated over TCP");
}

#[test]
fn addresses_in_a_truncated_reply_do_where_tcp_does_not_work() {
    let cut = |query: &[u8]| {
        let mut reply = right(query);
        reply[2] |= 2;
        reply
    };
    let tcp = DNS_TCP_TIMEOUT.as_millis();
    for (reaction, at) in [(None, 5 + tcp), (Some(Failure(2)), 7)] {
        let story = look_up(1, |seen| match seen.tcp {
            false => vec![Bytes(5, cut(seen.query))],
            true => reaction.iter().cloned().collect(),
        });
        assert_eq!((story.outcome.clone(), story.ms()), (both(), at));
        assert_eq!(story.of(Kind::A), [(0, 1, false), (5, 1, true)], "nobody else is asked");
    }
    for broken in [truncated, |query: &[u8]| code(query, Rcode::SERVFAIL)] {
        let story = look_up(1, |seen| match seen.tcp {
            false => vec![Bytes(5, cut(seen.query))],
            true => vec![Bytes(2, broken(seen.query))],
        });
        assert_eq!((story.outcome.clone(), story.ms()), (both(), 7));
    }
    // What comes over TCP counts where it comes.
    let story = look_up(1, |seen| match (seen.kind, seen.tcp) {
        (_, false) => vec![Bytes(5, cut(seen.query))],
        (Kind::A, true) => vec![Bytes(5, with(seen.query, &[("api.example", 9, "192.0.2.9")]))],
        (Kind::Aaaa, true) => vec![Bytes(5, code(seen.query, Rcode::NXDOMAIN))],
    });
    assert_eq!(story.outcome, Ok(vec![ip("192.0.2.9")]));
}

/// The name in a question.
fn name_in(query: &[u8]) -> String {
    let message = Message::from_octets(query).unwrap();
    message.sole_question().unwrap().qname().to_string()
}

const POD: &str = "search chat.svc.local svc.local local\noptions ndots:5";

#[test]
fn a_short_name_is_completed_until_there_is_an_address() {
    let mut asked = Vec::new();
    let story = look_up_with(POD, "gemini", 1, |seen| {
        let name = name_in(seen.query);
        if seen.kind == Kind::A {
            asked.push(name.clone());
        }
        match (&*name, seen.kind) {
            ("gemini.svc.local", Kind::A) => {
                vec![Bytes(3, with(seen.query, &[("gemini.svc.local", 5, "192.0.2.80")]))]
            }
            ("gemini.svc.local", _) => vec![Bytes(3, code(seen.query, Rcode::NOERROR))],
            _ => vec![Bytes(3, code(seen.query, Rcode::NXDOMAIN))],
        }
    });
    assert_eq!((story.outcome, story.took), (Ok(vec![ip("192.0.2.80")]), MS * 6));
    assert_eq!(asked, ["gemini.chat.svc.local", "gemini.svc.local"]);
}

#[test]
fn a_name_that_is_not_there_is_asked_for_in_all_ways_and_a_whole_one_only_as_it_is() {
    let denied = |conf: &str, name: &str| {
        let mut asked = Vec::new();
        let story = look_up_with(conf, name, 2, |seen| {
            if seen.kind == Kind::A {
                asked.push(name_in(seen.query));
            }
            vec![Bytes(1, code(seen.query, Rcode::NXDOMAIN))]
        });
        assert_eq!(story.outcome, Err(DnsError::NoSuchName));
        asked
    };
    let names = ["api.x.chat.svc.local", "api.x.svc.local", "api.x.local", "api.x"];
    assert_eq!(denied(POD, "api.x"), names);
    assert_eq!(denied(POD, "api.x."), ["api.x"]);
    assert_eq!(denied("search lan", "api.x"), ["api.x", "api.x.lan"]);
    assert_eq!(denied("search lan", "api"), ["api.lan", "api"]);
}

#[test]
fn a_failure_for_one_domain_is_not_the_end_and_a_silent_server_costs_a_second_only_once() {
    let story = look_up_with(POD, "gemini", 2, |seen| match (seen.server, &*name_in(seen.query)) {
        (1, _) => vec![],
        (_, "gemini.chat.svc.local") => vec![Bytes(1, code(seen.query, Rcode::NXDOMAIN))],
        (_, "gemini.svc.local") => vec![Bytes(1, code(seen.query, Rcode::SERVFAIL))],
        (_, name) => {
            let addr = if seen.kind == Kind::A { "192.0.2.80" } else { "2001:db8::80" };
            vec![Bytes(1, with(seen.query, &[(name, 5, addr)]))]
        }
    });
    assert_eq!(story.outcome, both());
    let servers: Vec<_> = story.of(Kind::A).iter().map(|(_, server, _)| *server).collect();
    // For the second name both are asked twice, since the one that answers fails.
    assert_eq!(servers, [1, 2, 2, 1, 2, 1, 2]);
    // If nothing is found it is not said that there is no such name.
    let story = look_up_with(POD, "gemini", 1, |seen| match &*name_in(seen.query) {
        "gemini.svc.local" => vec![Bytes(1, code(seen.query, Rcode::SERVFAIL))],
        _ => vec![Bytes(1, code(seen.query, Rcode::NXDOMAIN))],
    });
    assert_eq!(story.outcome.unwrap_err().to_string(), "name servers failed: SERVFAIL");
    // Where nobody answers no further name is tried.
    let story = look_up_with(POD, "gemini", 3, |_| vec![]);
    assert_eq!((story.outcome, story.tries.len()), (Err(DnsError::NoAnswer), 12));
}

#[test]
fn what_is_not_ours_never_ends_a_try() {
    let story = look_up(1, |seen| {
        let mut wrong_id = right(seen.query);
        wrong_id[1] ^= 1;
        let other =
            query(u16::from_be_bytes([seen.query[0], seen.query[1]]), &name("evil"), Kind::A);
        let mut denial = code(seen.query, Rcode::NXDOMAIN);
        denial[0] ^= 0x80;
        let lies = [wrong_id, with(&other, &[("evil", 60, "192.0.2.66")]), denial, vec![], vec![0]];
        let mut reactions: Vec<Reaction> =
            lies.into_iter().zip(1..).map(|(lie, after)| Bytes(after, lie)).collect();
        reactions.push(Bytes(6, seen.query.to_vec()));
        reactions.push(Bytes(500, right(seen.query)));
        reactions
    });
    assert_eq!((story.outcome.clone(), story.ms(), story.tries.len()), (both(), 500, 2));
}

#[test]
fn a_reply_to_a_try_that_is_over_is_not_heard() {
    // The first server answers when the second one has been asked.
    let story = look_up(2, |seen| match seen.server {
        1 => vec![Bytes(1005, code(seen.query, Rcode::NXDOMAIN))],
        _ => vec![Bytes(10, right(seen.query))],
    });
    assert_eq!((story.outcome.clone(), story.ms()), (both(), 1010));
}

/// A reply, a lie, a failure or silence.
fn reactions() -> impl Strategy<Value = Vec<(u8, u32, Vec<u8>)>> {
    let reaction = (0u8..12, 0u32..4000, proptest::collection::vec(any::<u8>(), 0..40));
    proptest::collection::vec(reaction, 0..4)
}

proptest! {
    #[test]
    fn every_look_up_ends_in_time_with_true_addresses_only(
        servers in 0u8..4, script in proptest::collection::vec(reactions(), 1..12),
        short in any::<bool>(),
    ) {
        let mut script = script.iter().cycle();
        let (conf, name, names) = match short {
            true => ("search x example\noptions ndots:2", "api", 3),
            false => ("", "api.example", 1),
        };
        let story = look_up_with(conf, name, servers, |seen| {
            let react = |(which, after, noise): &(u8, u32, Vec<u8>)| {
                let mut bytes = match which {
                    0 => return Failure(*after),
                    1 => truncated(seen.query),
                    2 => code(seen.query, Rcode::SERVFAIL),
                    3 => code(seen.query, Rcode::NXDOMAIN),
                    4 => noise.clone(),
                    5 => with(seen.query, &[("evil", 1, "192.0.2.66"), ("evil", 1, "::66")]),
                    _ => right(seen.query),
                };
                if *which == 6 {
                    bytes.truncate(bytes.len() - noise.len());
                }
                if *which == 7 {
                    bytes[1] ^= 1;
                }
                Bytes(*after, bytes)
            };
            script.next().into_iter().flatten().map(react).collect()
        });
        prop_assert!(story.took <= DNS_DEADLINE);
        prop_assert!(story.tries.len() <= names * 2 * 2 * 2 * usize::from(servers));
        if let Ok(addrs) = story.outcome {
            prop_assert!(!addrs.is_empty());
            prop_assert!(addrs.iter().all(|addr| both().unwrap().contains(addr)));
        }
    }
}
