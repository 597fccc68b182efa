//! Movement between lobbies: entering, leaving, making and removing them, and telling their members.

use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::crowd::{Tell, Way};
use super::lobby::{CreateError, Creator, LobbyId};
use super::name::{self, NameError, What};
use super::nearest::Mistyped;
use super::render::NotFound;
use super::user::Waiting;
use super::{Chat, Request, Timer, marks, render};
use crate::count::count;
use crate::id::ConnId;
use crate::limits::{MAX_DESCRIPTION_CHARS, MAX_LOBBIES_PER_CREATOR, OTHERS_NAMED};
use crate::outbox::{Frame, Outboxes};
use crate::password::{Outcome, Password, PasswordHash};
use crate::rate::wait_secs;
use crate::refusal::Refusal;
use crate::text;

impl Chat {
    /// Queues a frame for every member of a lobby.
    pub(super) fn broadcast(&self, lobby: LobbyId, frame: &Frame, out: &mut Outboxes) {
        let Some(lobby) = self.lobbies.get(lobby) else { return };
        out.broadcast(&lobby.members, frame);
    }

    /// Queues a frame for every member of a lobby but this one.
    pub(super) fn broadcast_but(
        &self,
        but: ConnId,
        lobby: LobbyId,
        frame: &Frame,
        out: &mut Outboxes,
    ) {
        let Some(lobby) = self.lobbies.get(lobby) else { return };
        let others: Vec<_> = lobby.members.iter().copied().filter(|id| *id != but).collect();
        out.broadcast(&others, frame);
    }

    /// Seats a user in a lobby, replays what was said there recently, tells everybody, and says who
    /// is there.
    pub(super) fn enter(&mut self, now: Instant, id: ConnId, to: LobbyId, out: &mut Outboxes) {
        let Some(lobby) = self.lobbies.get_mut(to) else { return };
        let seat = lobby.members.len();
        lobby.members.push(id);
        out.set_prompt_text(id, lobby.prompt_text.clone());
        self.timers.set(Timer::Removal(to), &mut lobby.removal, None);
        let Some(user) = self.user_mut(id) else { return };
        user.lobby = to;
        user.seat = seat;
        let name = user.name.clone();
        self.forget_history(now, to);
        let real = self.wall_clock.real(now);
        let Some(lobby) = self.lobbies.get(to) else { return };
        if let Some(history) = render::history(lobby.history.iter(), real, out.reply_room(id)) {
            out.push(id, &history);
        }
        if !self.announce(now, to, id, &name, Way::Arrival, out) {
            // The others are told later, together with others, or not at all.
            out.push(id, &moved(&name, false, Way::Arrival));
        }
        self.tell_who_is_here(to, id, seat, out);
        out.redraw_prompt(id);
    }

    /// Tells a newcomer, who has this seat, who was there before: only some of them by name, since
    /// going through a large lobby for every newcomer would cost too much.
    fn tell_who_is_here(&self, at: LobbyId, id: ConnId, seat: usize, out: &mut Outboxes) {
        let Some(others) = self.lobbies.get(at).and_then(|lobby| lobby.members.get(..seat)) else {
            return;
        };
        let named = others.iter().take(OTHERS_NAMED);
        let mut names: Vec<_> = named.filter_map(|other| Some(&*self.user(*other)?.name)).collect();
        names.sort_by_cached_key(|name| name.to_ascii_lowercase());
        if !names.is_empty() {
            out.push(id, &render::others_here(others.len(), &names));
        }
    }

    /// Takes a user out of a lobby and tells those who stay.
    fn leave(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let Some(user) = self.user(id) else { return };
        let (lobby, seat, name) = (user.lobby, user.seat, user.name.clone());
        self.leave_seat(now, id, lobby, seat, &name, out);
    }

    /// The same for one whose session may be gone already.
    pub(super) fn leave_seat(
        &mut self,
        now: Instant,
        id: ConnId,
        from: LobbyId,
        seat: usize,
        name: &Rc<str>,
        out: &mut Outboxes,
    ) {
        self.vacate(now, from, seat);
        self.announce(now, from, id, name, Way::Departure, out);
    }

    /// Frees a seat, into which the last member moves. A lobby left empty starts to wait for its
    /// removal.
    fn vacate(&mut self, now: Instant, from: LobbyId, seat: usize) {
        let general = self.lobbies.general();
        let Some(lobby) = self.lobbies.get_mut(from) else { return };
        if seat >= lobby.members.len() {
            return;
        }
        lobby.members.swap_remove(seat);
        let moved = lobby.members.get(seat).copied();
        if lobby.members.is_empty() && from != general {
            let until = now + self.settings.lobby_ttl;
            self.timers.set(Timer::Removal(from), &mut lobby.removal, Some(until));
        }
        if let Some(moved) = moved.and_then(|id| self.user_mut(id)) {
            moved.seat = seat;
        }
    }
}

// ---- Telling ---------------------------------------------------------------------------------

impl Chat {
    /// Tells a lobby that somebody came or went: at once or, in a crowd, together with others. True
    /// if everybody has been told.
    fn announce(
        &mut self,
        now: Instant,
        at: LobbyId,
        id: ConnId,
        name: &Rc<str>,
        way: Way,
        out: &mut Outboxes,
    ) -> bool {
        let Some(lobby) = self.lobbies.get_mut(at) else { return false };
        // Those who came and went before anybody was told, or went and came back, are not worth
        // mentioning.
        if lobby.crowd(way.opposite()).retract(id) {
            return false;
        }
        if lobby.crowd(way.opposite()).holds(name) {
            // Somebody else of the same name: the earlier event is announced first.
            self.tell_crowd(at, way.opposite(), out);
        }
        let Some(lobby) = self.lobbies.get_mut(at) else { return false };
        let members = lobby.members.len();
        let crowd = lobby.crowd(way);
        match crowd.add(now, id, name, members) {
            Tell::Now => {
                self.broadcast(at, &moved(name, false, way), out);
                true
            }
            Tell::At(until) => {
                self.timers.set(Timer::Crowd(at, way), &mut crowd.deadline, Some(until));
                false
            }
        }
    }

    /// Tells a lobby about everybody who came, or went, in the last second.
    pub(super) fn tell_crowd(&mut self, id: LobbyId, way: Way, out: &mut Outboxes) {
        let Some(lobby) = self.lobbies.get_mut(id) else { return };
        let crowd = lobby.crowd(way);
        self.timers.set(Timer::Crowd(id, way), &mut crowd.deadline, None);
        if let Some((names, many)) = crowd.take() {
            self.broadcast(id, &moved(&names, many, way), out);
        }
    }

    /// Forgets what is too old, and sets the time when something is next forgotten.
    pub(super) fn forget_history(&mut self, now: Instant, id: LobbyId) {
        let max_age = self.settings.history_age;
        let Some(lobby) = self.lobbies.get_mut(id) else { return };
        lobby.talk.forget(now, self.settings.rate_window);
        let real = self.wall_clock.real(now);
        lobby.history.prune(real, max_age);
        let next = lobby.history.oldest().map(|at| now + max_age.saturating_sub(real.since(at)));
        self.timers.set(Timer::History(id), &mut lobby.history_deadline, next);
    }

    /// It is time to remove an empty lobby.
    pub(super) fn removal_timeout(&mut self, now: Instant, id: LobbyId, out: &mut Outboxes) {
        if let Some(lobby) = self.lobbies.get_mut(id) {
            lobby.removal = None;
        }
        let empty_secs = self.settings.lobby_ttl.as_secs();
        self.remove_lobby(now, id, format_args!("empty for {empty_secs} s"), out);
    }

    fn remove_lobby(
        &mut self,
        now: Instant,
        id: LobbyId,
        why: impl fmt::Display,
        out: &mut Outboxes,
    ) {
        let Some(mut lobby) = self.lobbies.remove(id) else { return };
        self.timers.set(Timer::Removal(id), &mut lobby.removal, None);
        self.timers.set(Timer::History(id), &mut lobby.history_deadline, None);
        self.timers.set(Timer::Conversation(id), &mut lobby.conversation_deadline, None);
        for way in [Way::Arrival, Way::Departure] {
            self.timers.set(Timer::Crowd(id, way), &mut lobby.crowd(way).deadline, None);
        }
        log::info!("lobby '{}' removed - {why}", lobby.name);
        self.abandon_questions(now, id, lobby.asked, out);
    }
}

fn moved(names: &str, many: bool, way: Way) -> Frame {
    let have = if many { "have" } else { "has" };
    let done = match way {
        Way::Arrival => "joined",
        Way::Departure => "left",
    };
    render::lobby_line(format_args!("{} {have} {done} the lobby", render::named(names)))
}

// ---- Making and changing ---------------------------------------------------------------------

impl Chat {
    /// `/create`: at once or, with a password, when that has been hashed.
    pub(super) fn create(
        &mut self,
        now: Instant,
        id: ConnId,
        name: &str,
        password: Option<&[u8]>,
        description: &[u8],
        out: &mut Outboxes,
    ) {
        let description = text::clean(description);
        let description = marks::disarm(description.trim());
        let description = &*description;
        if self.refuse_short_of_memory(id, out) {
            return;
        }
        if let Err(error) = name::check_form(name, What::Lobby) {
            return out.push(id, &render::error(error));
        }
        if name::is_reserved(name, What::Lobby) && self.lobbies.find(name).is_none() {
            return out.push(id, &render::error(NameError::Reserved(What::Lobby)));
        }
        let chars = text::chars(description);
        if chars > MAX_DESCRIPTION_CHARS {
            return out.push(id, &render::too_long("Description", MAX_DESCRIPTION_CHARS, chars));
        }
        let Some(password) = password else {
            return self.finish_create(now, id, &name.into(), description, None, out);
        };
        let taken = password;
        let password = match Password::new(password) {
            Ok(password) => password,
            Err(error) => return out.push(id, &render::error(error)),
        };
        if let Err(error) = self.may_create(id, name) {
            return self.cannot_create(id, error, out);
        }
        out.push(id, &render::taken_for_password(name, taken));
        let waiting = Waiting::Create { name: name.into(), description: description.into() };
        self.wait_for_password(id, waiting, Request::HashPassword { id, password });
    }

    /// Creates the lobby, if that is still allowed.
    fn finish_create(
        &mut self,
        now: Instant,
        id: ConnId,
        name: &Rc<str>,
        description: &str,
        password: Option<PasswordHash>,
        out: &mut Outboxes,
    ) {
        if let Err(error) = self.may_create(id, name) {
            return self.cannot_create(id, error, out);
        }
        if self.lobbies.is_full()
            && let Some(gives_place) = self.lobbies.gives_place()
        {
            self.remove_lobby(now, gives_place, "empty, for another one", out);
        }
        let (Some(session), Some(user)) = (self.sessions.get(id), self.user(id)) else { return };
        let (privacy, argument) = match password {
            Some(_) => ("private", " <password>"),
            None => ("public", ""),
        };
        log::info!("lobby '{name}' created by {} from {} - {privacy}", user.name, session.peer);
        let (addr, creator) = (Some(session.addr), user.name.clone());
        let creator = Creator { session: Some(id), addr, name: creator };
        let lobby = self.lobbies.insert(name.clone(), description, password, creator);
        if let Some(made) = self.lobbies.get_mut(lobby) {
            made.prompt_text = Some(render::prompt(name));
            let until = now + self.settings.lobby_ttl;
            self.timers.set(Timer::Removal(lobby), &mut made.removal, Some(until));
        }
        let reply =
            format_args!("Created {privacy} lobby '{name}'. Use /join {name}{argument} to enter.");
        out.push(id, &render::success(reply));
    }

    fn may_create(&self, id: ConnId, name: &str) -> Result<(), CreateError> {
        let Some(session) = self.sessions.get(id) else { return Err(CreateError::TooMany) };
        self.lobbies.check_new(name, session.addr)
    }

    fn cannot_create(&mut self, id: ConnId, error: CreateError, out: &mut Outboxes) {
        let error = match error {
            CreateError::Exists => render::error("Lobby already exists"),
            CreateError::TooManyOfCreator => {
                self.refused(id, Refusal::Lobbies);
                render::error(format_args!(
                    "Too many lobbies were created from your address (max {MAX_LOBBIES_PER_CREATOR})"
                ))
            }
            CreateError::TooMany => render::error(
                "There are too many lobbies, and somebody is in each of them. Try again later.",
            ),
        };
        out.push(id, &error);
    }

    /// `/join`: at once or, with a password, when that has been checked.
    pub(super) fn join(
        &mut self,
        now: Instant,
        id: ConnId,
        name: &str,
        password: Option<&[u8]>,
        out: &mut Outboxes,
    ) {
        let Some((to, lobby)) =
            self.lobbies.find(name).and_then(|to| Some((to, self.lobbies.get(to)?)))
        else {
            let nearest =
                Mistyped::name(name).nearest(self.lobbies.iter().map(|lobby| &*lobby.name));
            let error = NotFound { what: "Lobby does not exist", name, nearest };
            return out.push(id, &render::error(error));
        };
        let name = &lobby.name;
        if self.user(id).is_some_and(|user| user.lobby == to) {
            return out.push(id, &render::notice(format_args!("You are already in '{name}'")));
        }
        if lobby.password.is_none() && password.is_some_and(|password| !password.is_empty()) {
            let creator = render::named(&lobby.creator.name);
            let error = format_args!(
                "'{name}' is public now, created by {creator}. Enter with /join {name}."
            );
            return out.push(id, &render::notice(error));
        }
        let Some(hash) = lobby.password.clone() else {
            return self.change_lobby(now, id, to, out);
        };
        let Some(password) = password else {
            let error = format_args!("Lobby '{name}' is private. Use /join {name} <password>");
            return out.push(id, &render::error(error));
        };
        if self.refuse_locked_out(now, id, out) {
            return;
        }
        let password = match Password::new(password) {
            Ok(password) => password,
            Err(error) => return out.push(id, &render::error(error)),
        };
        let check = Request::CheckPassword { id, password, hash };
        self.wait_for_password(id, Waiting::Join { lobby: to }, check);
    }

    /// Enters the lobby whose password was checked, or says why not. Several tries from one address
    /// may have been under way at once: those that finish after the lock-out do not count, right or
    /// wrong, so that they reveal nothing.
    fn finish_join(
        &mut self,
        now: Instant,
        id: ConnId,
        to: LobbyId,
        right: bool,
        out: &mut Outboxes,
    ) {
        if self.lobbies.get(to).is_none() {
            return out.push(id, &render::error("Lobby does not exist"));
        }
        if self.refuse_locked_out(now, id, out) {
            return;
        }
        if right {
            return self.change_lobby(now, id, to, out);
        }
        out.push(id, &render::error("Incorrect password for private lobby"));
        let Some(session) = self.sessions.get(id) else { return };
        if self.wrong_passwords.fail(now, session.addr) {
            self.refused(id, Refusal::WrongPasswords);
        }
    }

    /// Tells a user to wait if too many wrong passwords came from the user's address. True if so.
    fn refuse_locked_out(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) -> bool {
        let Some(session) = self.sessions.get(id) else { return true };
        let Some(wait) = self.wrong_passwords.wait(now, session.addr) else { return false };
        self.refused(id, Refusal::LockedOut);
        let wait = count(wait_secs(wait), "second");
        let error = format_args!("Too many wrong passwords. Try again in {wait}.");
        out.push(id, &render::error(error));
        true
    }

    fn change_lobby(&mut self, now: Instant, id: ConnId, to: LobbyId, out: &mut Outboxes) {
        self.leave(now, id, out);
        if let Some(lobby) = self.lobbies.get(to) {
            out.push(id, &render::success(format_args!("Joined lobby '{}'", lobby.name)));
        }
        self.enter(now, id, to, out);
    }

    fn wait_for_password(&mut self, id: ConnId, waiting: Waiting, request: Request) {
        if let Some(user) = self.user_mut(id) {
            debug_assert!(user.waiting.is_none(), "a line came in before the password was checked");
            user.waiting = Some(Box::new(waiting));
            self.requests.push_back(request);
        }
    }

    /// A password job is done: the command that waited for it continues.
    pub(super) fn password(
        &mut self,
        now: Instant,
        id: ConnId,
        outcome: Outcome,
        out: &mut Outboxes,
    ) {
        let Some(waiting) = self.user_mut(id).and_then(|user| user.waiting.take()) else { return };
        match (*waiting, outcome) {
            (Waiting::Create { name, description }, Outcome::Hashed(hash)) => {
                self.finish_create(now, id, &name, &description, Some(hash), out);
            }
            (Waiting::Join { lobby }, Outcome::Checked(right)) => {
                self.finish_join(now, id, lobby, right, out);
            }
            _ => {
                self.refused(id, Refusal::Passwords);
                let error = "Too many passwords are being checked. Try again in a moment.";
                out.push(id, &render::error(error));
            }
        }
    }

    /// Somebody's password is not checked yet, and will not be for a while.
    pub(super) fn password_waits(&self, id: ConnId, place: usize, out: &mut Outboxes) {
        if self.user(id).is_some_and(|user| user.waiting.is_some()) {
            let notice = format_args!("Many passwords are being checked: yours is number {place}.");
            out.push(id, &render::notice(notice));
        }
    }
}
