//! The name prompt: how a connection becomes a user in `general`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::address::{Act, Limit};
use super::name::{self, NameError, What};
use super::protocol::Protocol;
use super::user::{Session, Stage, User};
use super::{Chat, CloseReason, Request, Timer, render};
use crate::id::ConnId;
use crate::limits::{
    LOGINS_PER_CONNECTION, LOGINS_WINDOW, MAX_NAME_ERRORS, PROBE_INTERVAL, PROBE_TRUST,
};
use crate::line::Line;
use crate::outbox::{Frame, Outboxes};
use crate::rate::{AddrKey, wait_secs};
use crate::refusal::Refusal;
use crate::text;

impl Chat {
    pub(super) fn connected(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        out: &mut Outboxes,
    ) {
        let addr = AddrKey::from(peer.ip());
        let mut deadline = None;
        let until = now + self.settings.login_timeout;
        self.timers.set(Timer::Session(id), &mut deadline, Some(until));
        let stage = Stage::Login { errors: 0 };
        self.addresses.came(now, addr);
        self.sessions.insert(id, Session { peer, addr, deadline, stage });
        log::debug!("{peer} connected");
        out.push(id, &self.welcome);
    }

    pub(super) fn login_line(
        &mut self,
        now: Instant,
        id: ConnId,
        line: Line<'_>,
        out: &mut Outboxes,
    ) {
        let result = match line {
            Line::TooLong => Err(NameError::TooLong(What::User)),
            Line::Complete(bytes) => {
                if let Some(protocol) = Protocol::of_line(bytes.trim_ascii()) {
                    return self.wrong_protocol(now, id, protocol, out);
                }
                let typed = text::edited(bytes);
                let cleaned = text::clean(&typed);
                let name = cleaned.trim();
                if name.is_empty() {
                    // An empty line is ignored; the prompt comes again.
                    out.push(id, &Frame::new(render::NAME_PROMPT));
                    return;
                }
                self.check_name(now, id, name, out).map(|()| name.to_owned())
            }
        };
        match result {
            Ok(name) => self.name_accepted(now, id, &name, out),
            Err(error) => self.name_error(now, id, error, out),
        }
    }

    pub(super) fn wrong_protocol(
        &mut self,
        now: Instant,
        id: ConnId,
        protocol: Protocol,
        out: &mut Outboxes,
    ) {
        let Some(session) = self.sessions.get(id) else { return };
        if !matches!(session.stage, Stage::Login { .. }) {
            return;
        }
        let refusal = match protocol {
            Protocol::Http => Refusal::Http,
            Protocol::Tls => Refusal::Tls,
            Protocol::Ssh => Refusal::Ssh,
            Protocol::Proxy => Refusal::Proxy,
        };
        self.refused(id, refusal);
        let answer = render::wrong_protocol(protocol);
        self.dismiss(now, id, CloseReason::WrongProtocol(protocol), Some(&answer), out);
    }

    fn check_name(
        &mut self,
        now: Instant,
        id: ConnId,
        name: &str,
        out: &mut Outboxes,
    ) -> Result<(), NameError> {
        name::check_form(name, What::User)?;
        if name::is_reserved(name, What::User) {
            return Err(NameError::Reserved(What::User));
        }
        let Some(holder) = self.names.get(&*name::skeleton(name)).copied() else { return Ok(()) };
        match self.user(holder) {
            Some(user) if !user.name.eq_ignore_ascii_case(name) => {
                Err(NameError::TooMuchLike(user.name.clone()))
            }
            _ => Err(NameError::Taken(self.probe(now, id, holder, out))),
        }
    }

    /// Somebody asks for the name of a user who is here. If they come from the user's own address,
    /// it may be the same person, whose old connection broke without the server having noticed.
    /// Then that connection is probed. Gives the seconds after which the name is free if nothing
    /// answers, unless it has just answered.
    fn probe(
        &mut self,
        now: Instant,
        id: ConnId,
        holder: ConnId,
        out: &mut Outboxes,
    ) -> Option<u64> {
        let addr = self.sessions.get(id)?.addr;
        if self.sessions.get(holder)?.addr != addr {
            return None;
        }
        let user = self.user_mut(holder)?;
        let since = user.probed.map(|at| now.saturating_duration_since(at));
        let since = match since {
            // It has answered, and is left in peace for a while.
            Some(since) if (PROBE_INTERVAL..PROBE_TRUST).contains(&since) => return None,
            Some(since) if since < PROBE_INTERVAL => since,
            _ => {
                user.probed = Some(now);
                out.redraw_prompt(holder);
                self.requests.push_back(Request::Probe { id: holder });
                Duration::ZERO
            }
        };
        Some(wait_secs(PROBE_INTERVAL - since))
    }

    fn name_error(&mut self, now: Instant, id: ConnId, error: NameError, out: &mut Outboxes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Stage::Login { errors } = &mut session.stage else { return };
        // Being too late for a name is nobody's fault.
        *errors += u8::from(!matches!(error, NameError::Taken(_) | NameError::TooMuchLike(_)));
        if *errors < MAX_NAME_ERRORS {
            return out.push(id, &render::name_error(error));
        }
        self.refused(id, Refusal::WrongNames);
        out.push(id, &render::error(error));
        let farewell = render::error("Too many wrong usernames. Goodbye!");
        self.dismiss(now, id, CloseReason::NameErrors, Some(&farewell), out);
    }

    /// Whether somebody may log in from this address now. If not, that is said, and it is the end.
    fn may_log_in(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) -> bool {
        let Some(session) = self.sessions.get(id) else { return false };
        let addr = session.addr;
        let most = LOGINS_PER_CONNECTION * self.settings.connections_per_address;
        let limit = Limit { act: Act::LogsIn, most, window: LOGINS_WINDOW };
        let Err(wait) = self.addresses.try_accept(now, addr, limit) else { return true };
        self.refused(id, Refusal::LogIns);
        let farewell = render::too_many_logins(wait_secs(wait));
        self.dismiss(now, id, CloseReason::TooManyLogins, Some(&farewell), out);
        false
    }

    fn name_accepted(&mut self, now: Instant, id: ConnId, name: &str, out: &mut Outboxes) {
        if !self.may_log_in(now, id, out) {
            return;
        }
        let Some(session) = self.sessions.get_mut(id) else { return };
        let idle = self.settings.idle_timeout.map(|idle| now + idle);
        self.timers.set(Timer::Session(id), &mut session.deadline, idle);
        let windows = self.departed.remove(now, &(session.addr, name::fold(name)));
        let general = self.lobbies.general();
        let user = User::new(name, general, windows.unwrap_or_default(), now);
        session.stage = Stage::Named(user);
        log::info!("{name} joined from {}", session.peer);
        self.names.insert(name::skeleton(name), id);
        out.set_prompting(id, true);
        self.enter(now, id, general, out);
    }
}
