//! Clients that do not speak TLS on the TLS port: one readable line that says what to do instead,
//! and a close.
//!
//! They are recognised by their first bytes, or by not sending any: a TLS client speaks first. It
//! is a mistake and not a refusal, so that nobody is banned for it. A proxy's connections for
//! itself are left alone.

use std::time::Instant;

use super::conn::State;
use super::server::Server;
use crate::chat::CloseReason;
use crate::chat::protocol::Protocol;
use crate::chat::render;
use crate::id::ConnId;
use crate::refusal::Refusal;

impl Server {
    /// The first bytes of this client are not TLS.
    pub(super) fn no_tls(&mut self, now: Instant, id: ConnId, first: &[u8]) {
        let protocol = Protocol::of_first_bytes(first);
        let Some(conn) = self.conn(id) else { return };
        let ip = conn.peer.ip();
        let refusal = match protocol {
            // As on the plain port: the operator has to know about it.
            Some(Protocol::Proxy) => Refusal::Proxy,
            Some(Protocol::Http) => Refusal::HttpOnTls,
            Some(Protocol::Ssh) => Refusal::SshOnTls,
            Some(Protocol::Tls) | None => Refusal::TextOnTls,
        };
        self.refusal_log.note(now, ip, &refusal);
        self.advise(now, id, protocol);
    }

    /// Nothing has come from this client for [`crate::limits::TLS_SILENCE`]: somebody who is trying
    /// out ports, or a client that waits to be greeted.
    pub(super) fn break_silence(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if self.config.proxies.contains(conn.peer.ip()) {
            return self.lose(now, id, CloseReason::LoginTimeout);
        }
        log::debug!("{} is silent on the TLS port", conn.peer);
        self.advise(now, id, None);
    }

    fn advise(&mut self, now: Instant, id: ConnId, protocol: Option<Protocol>) {
        let Some((tls, plain)) = self.commands(id) else { return };
        let advice = match plain {
            // The packet for an SSH client has room for one of them.
            Some(plain) if protocol != Some(Protocol::Ssh) => format!("{tls} ({plain})"),
            _ => tls,
        };
        self.speak_plainly(now, id);
        self.outboxes.push(id, &render::advice(protocol, &advice));
        self.begin_close(now, id);
    }

    /// How this client can connect: over TLS, or to the plain port if there is one at this address.
    fn commands(&mut self, id: ConnId) -> Option<(String, Option<String>)> {
        const TLS: &str = "This port speaks TLS: openssl s_client -quiet -connect HOST:";
        let conn = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id)?;
        let peer = conn.peer;
        // Behind a proxy, clients see the proxy's ports.
        let Some((ours, _)) = conn.ends().filter(|(_, theirs)| {
            (theirs.ip().to_canonical(), theirs.port()) == (peer.ip(), peer.port())
        }) else {
            return Some((format!("{TLS}PORT"), None));
        };
        let here = ours.ip().to_canonical();
        let plain = self.acceptor.addrs(false).find(|addr| {
            let ip = addr.ip();
            ip.to_canonical() == here || ip.is_unspecified() && (ip.is_ipv6() || here.is_ipv4())
        });
        let plain = plain.map(|addr| format!("or nc HOST {} for the plain port", addr.port()));
        Some((format!("{TLS}{}", ours.port()), plain))
    }

    /// Gives up a handshake, so that another one may start: what this client is owed is sent in
    /// plain text.
    pub(super) fn speak_plainly(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.handshaking && conn.state != State::Closed {
            conn.speak_plainly();
            self.handshakes.end(now, id, false);
            self.to_flush.push_back(id);
        }
    }
}
