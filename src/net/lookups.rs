//! The sockets of the resolver: does what look-ups (`dns`) ask for, over UDP and TCP.
//!
//! Decides nothing about names and addresses, and never waits.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use mio::Interest;
use mio::net::{TcpStream, UdpSocket};

use super::dial::Connecting;
use super::link::Share;
use super::outbound::{Active, Outbound, Stage};
use crate::dns::{self, Lookup, QueryId, TcpFramer};
use crate::limits::QUERY_BYTES;

/// One socket of a look-up.
pub(super) struct Query {
    id: QueryId,
    socket: QuerySocket,
    /// Bytes that it may still receive: a server that goes on for ever counts as failing.
    left: usize,
}

enum QuerySocket {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, unsent: Vec<u8>, framer: TcpFramer },
}

impl Outbound {
    /// Continues a look-up. True if anything happened.
    pub(super) fn resolve(&mut self, now: Instant, active: &mut Active, share: &mut Share) -> bool {
        let Stage::Resolving(lookup, queries) = &mut active.stage else { return false };
        let mut failed = Vec::new();
        for query in queries.iter_mut() {
            if read_query(now, lookup, query, share).is_err() {
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
            log::debug!("look-up of {} - {error}", self.next_hop().0);
        }
        self.resolver.remember(now, lookup);
        self.resolved(now, active, result);
        true
    }

    fn query_udp(&mut self, server: SocketAddr, bytes: &[u8]) -> io::Result<QuerySocket> {
        // Port 0: a random one, which a forger would have to guess (RFC 5452, section 9.2).
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

    pub(super) fn resolved(
        &mut self,
        now: Instant,
        active: &mut Active,
        result: Result<Vec<IpAddr>, dns::DnsError>,
    ) {
        match result {
            Ok(addrs) => {
                active.stage = Stage::Connecting(Connecting::to(now, addrs));
            }
            Err(error) => {
                active.stage = Stage::Nothing;
                let host = self.next_hop().0;
                active.call.handle_open_failed(&self.way(&format!("{host}: {error}")));
            }
        }
    }
}

/// Sends the rest of a query over TCP, and passes on what came, as far as the share allows.
fn read_query(
    now: Instant,
    lookup: &mut Lookup,
    query: &mut Query,
    share: &mut Share,
) -> io::Result<()> {
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
            while !share.is_over()
                && let Some(n) = blocked(socket.recv(&mut bytes))?
            {
                query.left = spend(query.left, n, share)?;
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
            while !share.is_over()
                && let Some(n) = blocked(stream.read(&mut bytes))?
            {
                if n == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                query.left = spend(query.left, n, share)?;
                let mut input = bytes.get(..n).unwrap_or_default();
                while let Some(message) = framer.next_message(&mut input) {
                    lookup.handle_reply(now, query.id, &message);
                }
            }
        }
    }
    Ok(())
}

/// Subtracts what came from what may still come; a small piece counts as more than its size.
fn spend(left: usize, n: usize, share: &mut Share) -> io::Result<usize> {
    let n = n.max(512);
    share.spend(n);
    left.checked_sub(n).ok_or_else(|| ErrorKind::InvalidData.into())
}
