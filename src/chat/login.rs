//! The name prompt: from a connection to a user in `general`.

use std::net::SocketAddr;
use std::time::Instant;

use super::protocol::Protocol;
use super::user::{self, NameError, Session, Stage, User, What};
use super::{Chat, CloseReason, Timer, render};
use crate::id::ConnId;
use crate::limits::MAX_NAME_ERRORS;
use crate::line::Line;
use crate::outbox::{Frame, Outboxes};
use crate::rate::AddrKey;
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
                let cleaned = text::clean(bytes);
                let name = cleaned.trim();
                if name.is_empty() {
                    // An empty line is ignored; the prompt comes again.
                    out.push(id, &Frame::new(render::NAME_PROMPT));
                    return;
                }
                self.check_name(name).map(|()| name.to_owned())
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
        let ip = session.peer.ip();
        self.refusal_log.note(now, ip, format_args!("{protocol} instead of chat"));
        let answer = render::wrong_protocol(protocol);
        self.dismiss(now, id, CloseReason::WrongProtocol(protocol), Some(&answer), out);
    }

    fn check_name(&self, name: &str) -> Result<(), NameError> {
        user::check_form(name, What::User)?;
        if user::is_reserved(name) {
            return Err(NameError::Reserved);
        }
        if self.names.contains_key(&*user::fold(name)) {
            return Err(NameError::Taken);
        }
        Ok(())
    }

    fn name_error(&mut self, now: Instant, id: ConnId, error: NameError, out: &mut Outboxes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Stage::Login { errors } = &mut session.stage else { return };
        *errors += 1;
        if *errors < MAX_NAME_ERRORS {
            return out.push(id, &render::name_error(error));
        }
        let ip = session.peer.ip();
        self.refusal_log.note(now, ip, "too many wrong names");
        out.push(id, &render::error(error));
        let farewell = render::error("Too many wrong usernames. Goodbye!");
        self.dismiss(now, id, CloseReason::NameErrors, Some(&farewell), out);
    }

    fn name_accepted(&mut self, now: Instant, id: ConnId, name: &str, out: &mut Outboxes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let idle = self.settings.idle_timeout.map(|idle| now + idle);
        self.timers.set(Timer::Session(id), &mut session.deadline, idle);
        let folded = user::fold(name);
        let window = self.departed.remove(now, &(session.addr, folded.clone()));
        let general = self.lobbies.general();
        let user = User::new(name, general, window.unwrap_or_default(), now);
        session.stage = Stage::Named(user);
        log::info!("{name} joined from {}", session.peer);
        self.names.insert(folded, id);
        out.set_prompting(id, true);
        self.enter(now, id, general, out);
    }
}
