//! Connections whose user's name is wanted by somebody at the same address: for some seconds the kernel
//! waits less long for such a peer than for others, so that one that is gone is found and lost.
//!
//! Owns the list of them, each at most once. Never waits, and never closes a connection itself: the
//! kernel reports it, as it does every other that broke.

use std::collections::VecDeque;
use std::time::Instant;

use socket2::{SockRef, TcpKeepalive};

use super::accept;
use super::server::Server;
use crate::id::ConnId;
use crate::limits::{PROBE_INTERVAL, PROBE_PROBES, PROBE_TIMEOUT};

/// When the usual times count again, and for whom. The chat asks for no more than one probe of a
/// connection within that time, so that they are in order and nobody is here twice.
#[derive(Debug, Default)]
pub(super) struct Probes {
    until: VecDeque<(Instant, ConnId)>,
}

impl Probes {
    /// When the next one ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until.front().map(|(until, _)| *until)
    }
}

impl Server {
    /// Gives a client [`PROBE_TIMEOUT`] to acknowledge something. One that reads nothing just now, and
    /// whose kernel says so, is not gone: how long it may do that is decided elsewhere.
    pub(super) fn probe(&mut self, now: Instant, id: ConnId) {
        let is_sent_something = self.outboxes.unsent(id) > 0;
        let Some(conn) = self.conn(id) else { return };
        if conn.is_stalled() {
            return;
        }
        let socket = SockRef::from(&*conn.socket());
        let set = if is_sent_something {
            // What is sent again and again without an answer (RFC 5482); here only Linux knows it.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            {
                socket.set_tcp_user_timeout(Some(PROBE_TIMEOUT))
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Ok(())
        } else {
            // Who has no prompt is sent nothing that it would see: segments without data, which are
            // acknowledged all the same. Linux counts them only where there is no other time-out.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            let _ = socket.set_tcp_user_timeout(None);
            let interval = PROBE_TIMEOUT / PROBE_PROBES;
            let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
            socket.set_tcp_keepalive(&keepalive.with_retries(PROBE_PROBES))
        };
        if let Err(e) = set {
            log::debug!("{} cannot be probed - {e}", conn.peer);
        }
        self.probes.until.push_back((now + PROBE_INTERVAL, id));
    }

    /// Gives those their usual times back who have answered.
    pub(super) fn end_probes(&mut self, now: Instant) {
        while let Some((until, id)) = self.probes.until.front().copied()
            && until <= now
        {
            self.probes.until.pop_front();
            if let Some(conn) = self.conn(id)
                && let Err(e) = accept::set_patience(&SockRef::from(&*conn.socket()))
            {
                log::debug!("{} keeps the times of a probe - {e}", conn.peer);
            }
        }
    }
}
