//! Those who do not speak TLS on the TLS port: one readable line of what to do instead, and a
//! close.
//!
//! They are known by their first bytes, or by having none: who speaks TLS speaks first. It is a
//! mistake and no refusal, so that nobody is banned for it. What a proxy asks for itself is left
//! alone.

use std::time::Instant;

use super::conn::State;
use super::server::Server;
use crate::chat::CloseReason;
use crate::chat::protocol::Protocol;
use crate::chat::render;
use crate::id::ConnId;

impl Server {
    /// The first bytes of this client are not TLS.
    pub(super) fn no_tls(&mut self, now: Instant, id: ConnId, first: &[u8]) {
        let protocol = Protocol::of_first_bytes(first);
        let Some(conn) = self.conn(id) else { return };
        let ip = conn.peer.ip();
        match protocol {
            // As on the plain port: it is the operator who has to hear of it.
            Some(Protocol::Proxy) => {
                self.refusal_log.note(now, ip, format_args!("{} instead of chat", Protocol::Proxy));
            }
            Some(other) => {
                self.refusal_log.note_mistake(now, ip, format_args!("{other} on the TLS port"));
            }
            None => self.refusal_log.note_mistake(now, ip, "text on the TLS port"),
        }
        self.advise(now, id, protocol);
    }

    /// Nothing has come from this client for [`crate::limits::TLS_SILENCE`]. Somebody who tries
    /// ports, or who waits to be greeted.
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
            // An SSH client is told in a packet with room for one of them.
            Some(plain) if protocol != Some(Protocol::Ssh) => format!("{tls} ({plain})"),
            _ => tls,
        };
        self.speak_plainly(id);
        self.outboxes.push(id, &render::advice(protocol, &advice));
        self.begin_close(now, id);
    }

    /// How this client can connect: over TLS, and to the plain port if there is one where it is.
    fn commands(&mut self, id: ConnId) -> Option<(String, Option<String>)> {
        const TLS: &str = "This port speaks TLS: openssl s_client -quiet -connect HOST:";
        let conn = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id)?;
        let peer = conn.peer;
        // Behind a proxy the ports are the proxy's.
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

    /// Gives up a handshake, so that another one may begin: what this client is owed it gets in plain
    /// text.
    pub(super) fn speak_plainly(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|conn| conn.id == id) else { return };
        if conn.handshaking && conn.state != State::Closed {
            conn.speak_plainly();
            self.acceptor.handshake_ended();
            self.to_flush.push_back(id);
        }
    }
}
