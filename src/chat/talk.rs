//! What a user's line does: messages, and the commands that do not move anybody.

use std::time::{Duration, Instant};

use super::address::{Act, Limit};
use super::command::{self, Command};
use super::lobby::{Entry, LobbyId};
use super::nearest::Mistyped;
use super::render::NotFound;
use super::user::{Refused, Stage, Whose};
use super::{Chat, CloseReason, Timer, listings, marks, picture, render};
use crate::id::ConnId;
use crate::limits::{
    LOBBY_MESSAGES, LOOKS_PER_WINDOW, MAX_AI_PROMPT_CHARS, MAX_MESSAGE_CHARS, NEAREST_USERS, PAUSE,
    REFUSALS_BORNE, REFUSED_QUIET,
};
use crate::line::Line;
use crate::outbox::Outboxes;
use crate::rate::wait_secs;
use crate::refusal::Refusal;
use crate::text;

impl Chat {
    pub(super) fn user_line(
        &mut self,
        now: Instant,
        id: ConnId,
        line: Line<'_>,
        out: &mut Outboxes,
    ) {
        if let Some(user) = self.user_mut(id) {
            user.last_line = now;
        }
        let typed = match line {
            Line::Complete(bytes) => Some(text::edited(bytes)),
            Line::TooLong => None,
        };
        let cleaned = typed.as_deref().map(text::clean);
        let line = cleaned.as_deref().map(marks::disarm);
        let line = line.as_deref().map(str::trim_end);
        if line == Some("") {
            return;
        }
        let typed = typed.as_deref().unwrap_or_default();
        let command = line.and_then(command_in).map(|line| command::parse(line, typed));
        // Said with one slash.
        let line = line.map(|line| line.strip_prefix('/').unwrap_or(line));
        if let Some(Ok(Command::Quit)) = command {
            let farewell = render::success("Disconnecting from server. Goodbye!");
            return self.dismiss(now, id, CloseReason::Quit, Some(&farewell), out);
        }
        // A line that is not a command only shows which command may have been meant.
        let looks = match &command {
            Some(Ok(command)) => command.only_shows(),
            Some(Err(_)) => true,
            None => false,
        };
        let talks = match &command {
            Some(command) => command.as_ref().is_ok_and(Command::talks),
            None => true,
        };
        if let Err((whose, wait)) = self.within_rate(now, id, looks, talks) {
            return self.refuse_line(now, id, whose, wait, out);
        }
        self.account_for_refused(id, out);
        match (command, line) {
            (Some(Ok(command)), _) => self.command(now, id, command, out),
            (Some(Err(error)), _) => out.push(id, &render::error(error)),
            (None, Some(line)) if text::chars(line) <= MAX_MESSAGE_CHARS => {
                self.say(now, id, None, line, out);
            }
            (None, line) => out.push(id, &render::message_too_long(line.map(text::chars))),
        }
    }

    /// Counts a line of a user; commands that only show something (`looks`) have budgets of their own,
    /// and what its lobby hears (`talks`) has to fit there as well.
    ///
    /// # Errors
    /// Whose limit it goes past, and how long to wait. Then it is not counted.
    fn within_rate(
        &mut self,
        now: Instant,
        id: ConnId,
        looks: bool,
        talks: bool,
    ) -> Result<(), (Whose, Duration)> {
        let (limit, window) = (self.settings.messages_per_window, self.settings.rate_window);
        let (act, most) = match looks {
            true => (Act::Looks, LOOKS_PER_WINDOW),
            false => (Act::Says, limit),
        };
        let Some(session) = self.sessions.get_mut(id).filter(|_| limit > 0) else { return Ok(()) };
        let (addr, Stage::Named(user)) = (session.addr, &mut session.stage) else { return Ok(()) };
        let own = user.windows.of(looks);
        own.try_accept(now, most, window).map_err(|wait| (Whose::Own, wait))?;
        let together = most * self.settings.connections_per_address;
        let together = Limit { act, most: together, window };
        let refused = match self.addresses.try_accept(now, addr, together) {
            Err(wait) => Some((Whose::Address, wait)),
            Ok(()) => {
                let lobby = self.lobbies.get_mut(user.lobby).filter(|_| talks);
                let wait =
                    lobby.and_then(|lobby| lobby.talk.wait(now, addr, LOBBY_MESSAGES, window));
                wait.inspect(|_| self.addresses.give_back(now, addr, act))
                    .map(|wait| (Whose::Lobby, wait))
            }
        };
        let Some(refused) = refused else { return Ok(()) };
        own.give_back(now);
        Err(refused)
    }

    /// Refuses a line. The first one is told of at once, and further ones are counted.
    fn refuse_line(
        &mut self,
        now: Instant,
        id: ConnId,
        whose: Whose,
        wait: Duration,
        out: &mut Outboxes,
    ) {
        if whose == Whose::Address {
            self.refused(id, Refusal::Messages);
        }
        let Some(user) = self.user_mut(id) else { return };
        if let Some(refused) = &mut user.refused {
            refused.others += 1;
            refused.last = now;
            // More than haste. The address's other users have nothing to do with it.
            if whose == Whose::Own && refused.others % u64::from(REFUSALS_BORNE) == 0 {
                self.refused(id, Refusal::Flood);
            }
            return;
        }
        let mut deadline = None;
        self.timers.set(Timer::Refused(id), &mut deadline, Some(now + REFUSED_QUIET));
        let refused = Refused { others: 0, last: now, deadline };
        if let Some(user) = self.user_mut(id) {
            user.refused = Some(Box::new(refused));
        }
        out.push(id, &render::rate_limited(whose, wait_secs(wait)));
    }

    /// Tells a user how many lines were refused silently.
    pub(super) fn account_for_refused(&mut self, id: ConnId, out: &mut Outboxes) {
        let Some(mut refused) = self.user_mut(id).and_then(|user| user.refused.take()) else {
            return;
        };
        self.timers.set(Timer::Refused(id), &mut refused.deadline, None);
        if refused.others > 0 {
            out.push(id, &render::not_sent(refused.others));
        }
    }

    /// It is time to account for refused lines, unless more have come meanwhile.
    pub(super) fn refused_timeout(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let Some(mut refused) = self.user_mut(id).and_then(|user| user.refused.take()) else {
            return;
        };
        refused.deadline = None;
        let until = refused.last + REFUSED_QUIET;
        if until > now {
            self.timers.set(Timer::Refused(id), &mut refused.deadline, Some(until));
        }
        let is_over = until <= now;
        if let Some(user) = self.user_mut(id) {
            user.refused = Some(refused);
        }
        if is_over {
            self.account_for_refused(id, out);
        }
    }

    /// Says something to the user's lobby, and keeps it in the history.
    fn say(
        &mut self,
        now: Instant,
        id: ConnId,
        tagged: Option<ConnId>,
        text: &str,
        out: &mut Outboxes,
    ) {
        let tagged = tagged.and_then(|id| Some(self.user(id)?.name.clone()));
        let (Some(session), Some(user)) = (self.sessions.get(id), self.user(id)) else { return };
        let addr = session.addr;
        let (at, picture, sender) = (user.lobby, user.picture, user.name.clone());
        self.count_talk(now, id, at);
        let Some(lobby) = self.lobbies.get_mut(at) else { return };
        let text = lobby.history.copy(text);
        let real = self.wall_clock.real(now);
        let is_pause = |last| real.since(last) >= PAUSE;
        let clock =
            if lobby.last_said.is_none_or(is_pause) { self.wall_clock.at(now) } else { None };
        lobby.last_said = Some(real);
        let entry = Entry { at: real, picture, sender, addr, clock, tagged, text };
        self.message.clear();
        render::message(&mut self.message, &entry, Duration::ZERO);
        lobby.history.push(entry);
        self.broadcast(at, &self.message, out);
        self.forget_history(now, at);
    }

    /// Counts something that a lobby hears from a user.
    pub(super) fn count_talk(&mut self, now: Instant, id: ConnId, at: LobbyId) {
        let Some(session) = self.sessions.get(id) else { return };
        if self.settings.messages_per_window > 0
            && let Some(lobby) = self.lobbies.get_mut(at)
        {
            lobby.talk.accept(now, session.addr);
        }
    }

    fn command(&mut self, now: Instant, id: ConnId, command: Command<'_>, out: &mut Outboxes) {
        match command {
            Command::Help => out.push(id, &listings::help(out.columns(id))),
            Command::Users(word) => self.list_users(id, word, out),
            Command::Lobbies(word) => self.list_lobbies(id, word, out),
            Command::Create { name, password, description } => {
                self.create(now, id, name, password, description, out);
            }
            Command::Join { name, password } => self.join(now, id, name, password, out),
            Command::ListPictures => out.push(id, &listings::pictures(out.columns(id))),
            Command::ResetPicture => self.set_picture(id, picture::DEFAULT, out),
            Command::Picture(name) => match picture::find(name) {
                Some(picture) => self.set_picture(id, picture, out),
                None => {
                    let names = picture::PICTURES.iter().map(|(name, _)| *name);
                    let nearest = Mistyped::name(name).nearest(names);
                    let about = NotFound { what: "Profile picture not found", name, nearest };
                    let error = format_args!("{about} Use /sp list to see options.");
                    out.push(id, &render::error(error));
                }
            },
            Command::Message { user, text } => self.message(id, user, text, out),
            Command::Tag { user, text } => self.tag(now, id, user, text, out),
            Command::Ask(question) => self.ask(now, id, question, out),
            Command::SetPrompt(prompt) => self.set_prompt(id, prompt, out),
            Command::Color(on) => {
                out.set_color(id, on);
                let state = if on { "on" } else { "off" };
                out.push(id, &render::success(format_args!("Colours are {state}.")));
            }
            Command::Width(columns) => {
                let reply = match out.set_columns(id, columns) {
                    Some(columns) => format!("Messages now wrap at {columns} columns."),
                    None => "Messages are no longer wrapped.".to_owned(),
                };
                out.push(id, &render::success(reply));
            }
            // Handled before the rate limit, to which it is not subject.
            Command::Quit => {}
        }
    }

    fn list_users(&self, id: ConnId, word: Option<&str>, out: &mut Outboxes) {
        let Some(lobby) = self.user(id).and_then(|user| self.lobbies.get(user.lobby)) else {
            return;
        };
        let members = lobby.members.iter().filter_map(|member| self.user(*member));
        let members = members.filter(|user| holds(&user.name, word));
        let users = members.map(|user| (user.picture, &*user.name)).collect();
        out.push(id, &listings::users(&lobby.name, word, users, out.answer_room(id)));
    }

    fn list_lobbies(&self, id: ConnId, word: Option<&str>, out: &mut Outboxes) {
        let Some(here) = self.user(id).and_then(|user| self.lobbies.get(user.lobby)) else {
            return;
        };
        let lobbies = self.lobbies.iter().filter(|lobby| holds(&lobby.name, word)).collect();
        out.push(id, &listings::lobbies(word, lobbies, &here.name, out.answer_room(id)));
    }

    fn set_picture(&mut self, id: ConnId, picture: &'static str, out: &mut Outboxes) {
        let Some(user) = self.user_mut(id) else { return };
        user.picture = picture;
        if picture == picture::DEFAULT {
            out.push(id, &render::success("Profile picture reset to default."));
        } else {
            out.push(id, &render::success(format_args!("Profile picture changed to: {picture}")));
        }
    }

    /// Nobody has this name. Perhaps somebody with a similar one was meant, most likely somebody in
    /// the same lobby.
    fn user_not_found(&self, id: ConnId, name: &str, out: &mut Outboxes) {
        let Some(lobby) = self.user(id).and_then(|user| self.lobbies.get(user.lobby)) else {
            return;
        };
        let typed = Mistyped::name(name);
        let other = |other: &ConnId| Some(&*self.user(*other).filter(|_| *other != id)?.name);
        let nearest = typed
            .nearest(lobby.members.iter().take(NEAREST_USERS).filter_map(other))
            .or_else(|| typed.nearest(self.names.values().take(NEAREST_USERS).filter_map(other)));
        out.push(id, &render::error(NotFound { what: "User not found", name, nearest }));
    }

    /// `/msg`: seen by the two of them, and stored nowhere.
    fn message(&self, id: ConnId, to: &str, text: &str, out: &mut Outboxes) {
        let Some(sender) = self.user(id) else { return };
        let Some((to, recipient)) = self.find_user(to) else {
            return self.user_not_found(id, to, out);
        };
        if to == id {
            return out.push(id, &render::error("You cannot message yourself."));
        }
        if text::chars(text) > MAX_MESSAGE_CHARS {
            return out.push(id, &render::message_too_long(Some(text::chars(text))));
        }
        if !out.keeps_up(to) {
            let error = format_args!("{}'s line is full: not delivered.", recipient.name);
            return out.push(id, &render::error(error));
        }
        out.broadcast(&[to], &render::direct(&sender.name, "You", text));
        out.push(id, &render::direct("You", &recipient.name, text));
    }

    /// `/tag`: a message with a user's name on it. That user is told even when elsewhere, unless
    /// the lobby is private.
    fn tag(&mut self, now: Instant, id: ConnId, whom: &str, text: &str, out: &mut Outboxes) {
        let Some((whom, tagged)) = self.find_user(whom) else {
            return self.user_not_found(id, whom, out);
        };
        let Some(sender) = self.user(id) else { return };
        let Some(lobby) = self.lobbies.get(sender.lobby) else { return };
        if text::chars(text) > MAX_MESSAGE_CHARS {
            return out.push(id, &render::message_too_long(Some(text::chars(text))));
        }
        let told = if tagged.lobby == sender.lobby {
            render::tagged_here(&sender.name)
        } else if lobby.password.is_none() {
            render::tagged_elsewhere(&sender.name, &lobby.name, text)
        } else {
            let error = format_args!("{} is not in this lobby.", tagged.name);
            return out.push(id, &render::error(error));
        };
        self.say(now, id, Some(whom), text, out);
        out.broadcast(&[whom], &told);
    }

    /// `/setai`: allowed for the session that created the lobby.
    fn set_prompt(&mut self, id: ConnId, prompt: Option<&str>, out: &mut Outboxes) {
        if self.settings.assistant.is_none() {
            return out.push(id, &render::error(super::assistant::NOT_HERE));
        }
        let Some(user) = self.user(id) else { return };
        let (at, name) = (user.lobby, user.name.clone());
        if at == self.lobbies.general() {
            let error = format_args!("The AI prompt of {} cannot be changed.", super::GENERAL);
            return out.push(id, &render::error(error));
        }
        let Some(lobby) = self.lobbies.get(at) else { return };
        if lobby.creator.session != Some(id) {
            let error = "Only the creator of this lobby can change its AI prompt.";
            return out.push(id, &render::error(error));
        }
        if prompt.is_some_and(|prompt| text::chars(prompt) > MAX_AI_PROMPT_CHARS) {
            let chars = prompt.map_or(0, text::chars);
            return out.push(id, &render::too_long("AI prompt", MAX_AI_PROMPT_CHARS, chars));
        }
        if prompt.is_some() && self.refuse_short_of_memory(id, out) {
            return;
        }
        let Some(lobby) = self.lobbies.get_mut(at) else { return };
        lobby.prompt = prompt.map(Into::into);
        out.push(id, &render::success("AI prompt updated!"));
        let line = format_args!("{} updated the AI prompt", render::named(&name));
        self.broadcast(at, &render::lobby_line(line), out);
    }
}

/// Whether a name has this word in it, without regard to case.
fn holds(name: &str, word: Option<&str>) -> bool {
    word.is_none_or(|word| name.to_ascii_lowercase().contains(&word.to_ascii_lowercase()))
}

/// The command in a line, if the line is not something to say: `//x` says `/x`, and a line that
/// begins with blanks is said as it stands, unless that command exists.
fn command_in(line: &str) -> Option<&str> {
    let command = line.trim_start();
    if !command.starts_with('/') || line.starts_with("//") {
        return None;
    }
    (command.len() == line.len() || command::is_meant(command)).then_some(command)
}
