//! The assistant in the chat: who may ask, whose turn it is, and what a lobby sees of an answer.
//!
//! Owns the questions under way and those that wait. What is sent to the service is `gemini`'s
//! business, and the sending is somebody else's: a question leaves as [`Request::AskGemini`], and
//! its answer comes back line by line as [`Answer`].

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::lobby::LobbyId;
use super::name::fold;
use super::{Chat, Request, Timer, marks, render};
use crate::count::count;
use crate::gemini::{AskError, Question as Asked, Said, body};
use crate::id::ConnId;
use crate::limits::{
    ADDRESS_QUESTIONS, ASKS_AT_ONCE, ASKS_WAITING, DAY, MAX_ASKS_WAITING, MAX_MESSAGE_CHARS,
    QUESTIONS_WINDOW, RECENT_MESSAGES,
};
use crate::outbox::{Frame, Outboxes};
use crate::rate::{AddrKey, Expiring, SlidingWindow, wait_secs};
use crate::share::{Claim, Line};
use crate::text;

/// The id of a question; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(u64);

/// News about a question.
#[derive(Debug)]
pub enum Answer<'a> {
    /// The next line, clean, without its newline.
    Line(&'a str),
    /// That was the whole answer. With a remark for the lobby, if the service had more to say.
    Done(Option<&'static str>),
    /// There is no answer, or no more of it.
    Failed(&'a AskError),
}

/// The operator's settings for the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssistantSettings {
    /// The model's name, for `/ai status`.
    pub model: String,
    /// Questions that one user may ask in an hour; an address has [`ADDRESS_QUESTIONS`] times as
    /// many for all of its users together. 0 means no limit.
    pub questions_per_hour: usize,
    /// Questions that everybody together may ask in 24 hours; 0 means no limit.
    pub questions_per_day: usize,
}

#[derive(Debug)]
struct Question {
    ask: AskId,
    asker: ConnId,
    name: Rc<str>,
    text: Box<str>,
    lobby: LobbyId,
    addr: AddrKey,
    /// When it was charged to these budgets, which get it back if the service fails.
    at: Instant,
    budgets: Vec<Budget>,
}

/// A question under way.
#[derive(Debug)]
struct Current {
    question: Question,
    /// When it began.
    since: Instant,
    /// How many lines the lobby has seen.
    shown: String,
}

/// Whose questions are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Budget {
    /// A guest is identified by name and address.
    User(Rc<str>, AddrKey),
    Address(AddrKey),
}

impl Budget {
    /// How many questions an hour it has, given that a user has this many; 0 means no limit.
    fn limit(&self, questions_per_hour: usize) -> usize {
        match self {
            Self::User(..) => questions_per_hour,
            Self::Address(_) => questions_per_hour * ADDRESS_QUESTIONS,
        }
    }
}

/// A budget that is used up.
struct UsedUp {
    limit: usize,
    span: &'static str,
    of: &'static str,
    wait: Duration,
}

impl UsedUp {
    /// What the asker is told.
    fn line(&self) -> Frame {
        let Self { limit, span, of, wait } = self;
        let questions = count(*limit as u64, "question");
        let are = if *limit == 1 { "is" } else { "are" };
        let wait = match wait_secs(*wait).div_ceil(60) {
            minutes @ ..=120 => count(minutes, "minute"),
            minutes => count(minutes.div_ceil(60), "hour"),
        };
        render::error(format_args!(
            "[AI] {questions} {span} {are} the limit{of}. Ask again in {wait}."
        ))
    }
}

/// Everything about questions that does not belong to one lobby.
#[derive(Debug, Default)]
pub(super) struct Assistant {
    /// At most [`ASKS_AT_ONCE`].
    current: BTreeMap<AskId, Current>,
    /// Those that wait, at most [`ASKS_WAITING`] in a lobby.
    line: Line<Question>,
    pub(super) budgets: Expiring<Budget, SlidingWindow>,
    /// The questions of the whole server, as long as there is a limit for them.
    day: SlidingWindow,
    last_id: u64,
}

impl Assistant {
    /// How many questions are under way.
    pub(super) fn under_way(&self) -> usize {
        self.current.len()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.iter().count()
    }

    /// How many of them wait in this lobby.
    fn waiting_in(&self, lobby: LobbyId) -> usize {
        self.line.iter().filter(|question| question.lobby == lobby).count()
    }

    /// Gives back a question that was charged to these budgets at `spent`.
    fn give_back(&mut self, now: Instant, spent: Instant, budgets: &[Budget]) {
        self.day.give_back(spent);
        for budget in budgets {
            let Some(mut window) = self.budgets.remove(now, budget) else { continue };
            window.give_back(spent);
            self.remember(budget, window);
        }
    }

    /// Keeps a budget for as long as anything counts against it.
    fn remember(&mut self, budget: &Budget, window: SlidingWindow) {
        if let Some(last) = window.last() {
            self.budgets.insert(budget.clone(), window, last + QUESTIONS_WINDOW);
        }
    }
}

impl Chat {
    /// How many questions count against the server's limit for a day; 0 if it has none.
    #[must_use]
    pub fn questions_today(&self, now: Instant) -> usize {
        self.assistant.day.count(now, DAY)
    }

    /// `/ai`: a question, `status` or `stop`.
    pub(super) fn ask(&mut self, now: Instant, id: ConnId, text: &str, out: &mut Outboxes) {
        if self.settings.assistant.is_none() {
            return out.push(id, &render::error(NOT_HERE));
        }
        match text.to_ascii_lowercase().as_str() {
            "status" => self.ask_status(now, id, out),
            "stop" => self.ask_stop(now, id, out),
            _ => self.ask_question(now, id, text, out),
        }
    }

    fn ask_question(&mut self, now: Instant, id: ConnId, text: &str, out: &mut Outboxes) {
        if self.refuse_short_of_memory(id, out) {
            return;
        }
        let chars = text::chars(text);
        if chars > MAX_MESSAGE_CHARS {
            return out.push(id, &render::too_long("Question", MAX_MESSAGE_CHARS, chars));
        }
        let (Some(session), Some(user)) = (self.sessions.get(id), self.user(id)) else { return };
        let (addr, at, name) = (session.addr, user.lobby, user.name.clone());
        let budgets = match self.spend_question(now, id) {
            Ok(budgets) => budgets,
            Err(used_up) => return out.push(id, &used_up.line()),
        };
        self.assistant.last_id += 1;
        let ask = AskId(self.assistant.last_id);
        let text = text.into();
        let what = Question { ask, asker: id, name, text, lobby: at, addr, at: now, budgets };
        let claim = Claim { addr, amount: 1.0, since: now, what };
        let mut give_place = Vec::from_iter(self.assistant.line.push(now, claim, MAX_ASKS_WAITING));
        if !self.may_begin(at) && self.assistant.waiting_in(at) > ASKS_WAITING {
            give_place.extend(self.assistant.line.take_last(now, |one| one.lobby == at));
        }
        let mut is_in_line = true;
        for question in give_place {
            self.assistant.give_back(now, question.at, &question.budgets);
            let mine = question.ask == ask;
            let error = if mine {
                "[AI] Too many questions are waiting. Try again in a moment."
            } else {
                "[AI] Your question gave place to others: you have asked more. Try again in a moment."
            };
            if self.user(question.asker).is_some() {
                out.push(question.asker, &render::error(error));
            }
            is_in_line &= !mine;
        }
        if !is_in_line {
            return;
        }
        self.count_talk(now, id, at);
        self.start_questions(now, out);
        let is_it = |question: &Question| question.ask == ask;
        if let Some(before) = self.assistant.line.before(now, |one| one.lobby == at, is_it) {
            let notice = format_args!("[AI] You are number {} in line.", before + 1);
            out.push(id, &render::notice(notice));
        }
    }

    /// Whether a question of this lobby could begin at once.
    fn may_begin(&self, at: LobbyId) -> bool {
        let is_free = self.lobbies.get(at).is_some_and(|lobby| lobby.asked.is_none());
        is_free && self.assistant.current.len() < ASKS_AT_ONCE
    }

    /// Charges a question to the hourly budgets of the user and the address and to the day's of the
    /// server, or says which of them will be used up for longest.
    fn spend_question(&mut self, now: Instant, id: ConnId) -> Result<Vec<Budget>, UsedUp> {
        let (an_hour, a_day) = self
            .settings
            .assistant
            .as_ref()
            .map_or((0, 0), |ai| (ai.questions_per_hour, ai.questions_per_day));
        let budgets = self.budgets_of(id);
        let hourly = budgets.iter().filter_map(|budget| {
            let limit = budget.limit(an_hour);
            let window = self.assistant.budgets.get(now, budget)?;
            let wait = window.wait(now, limit, QUESTIONS_WINDOW)?;
            let of = match budget {
                Budget::User(..) => "",
                Budget::Address(_) => " for all users of your address together",
            };
            Some(UsedUp { limit, span: "an hour", of, wait })
        });
        let daily = self.assistant.day.wait(now, a_day, DAY);
        let of = " for the whole server";
        let daily = daily.map(|wait| UsedUp { limit: a_day, span: "a day", of, wait });
        if let Some(used_up) = hourly.chain(daily).max_by_key(|used_up| used_up.wait) {
            return Err(used_up);
        }
        let _ = self.assistant.day.try_accept(now, a_day, DAY);
        for budget in &budgets {
            let mut window = self.assistant.budgets.remove(now, budget).unwrap_or_default();
            let _ = window.try_accept(now, budget.limit(an_hour), QUESTIONS_WINDOW);
            self.assistant.remember(budget, window);
        }
        Ok(budgets)
    }

    fn budgets_of(&self, id: ConnId) -> Vec<Budget> {
        let (Some(session), Some(user)) = (self.sessions.get(id), self.user(id)) else {
            return Vec::new();
        };
        vec![Budget::User(fold(&user.name), session.addr), Budget::Address(session.addr)]
    }

    /// Starts the questions whose turn it is, as many as may be under way at once.
    fn start_questions(&mut self, now: Instant, out: &mut Outboxes) {
        while self.assistant.current.len() < ASKS_AT_ONCE {
            let lobbies = &self.lobbies;
            let is_free = |question: &Question| {
                lobbies.get(question.lobby).is_some_and(|lobby| lobby.asked.is_none())
            };
            let Some(question) = self.assistant.line.next(now, is_free) else { return };
            self.start_question(now, question, out);
        }
    }

    fn start_question(&mut self, now: Instant, question: Question, out: &mut Outboxes) {
        let at = question.lobby;
        self.forget_history(now, at);
        let Some(lobby) = self.lobbies.get_mut(at) else { return };
        let ask = question.ask;
        lobby.asked = Some(ask);
        lobby.conversation.prune(now);
        let mut recent: Vec<_> = lobby
            .history
            .iter()
            .rev()
            .take(RECENT_MESSAGES)
            .map(|entry| Said { sender: &entry.sender, text: &entry.text })
            .collect();
        recent.reverse();
        let asked = Asked {
            prompt: lobby.prompt.as_deref(),
            lobby: &lobby.name,
            recent: &recent,
            asker: &question.name,
            text: &question.text,
        };
        let body = body(&asked, lobby.conversation.turns(now));
        self.requests.push_back(Request::AskGemini { ask, body });
        // Nothing is sent to somebody who is leaving after their last words.
        let asker_is_here = self.user(question.asker).is_some();
        if asker_is_here {
            out.push(question.asker, &render::notice("[AI] Thinking..."));
        }
        let line = render::question(&question.name, &question.text);
        let current = Current { question, since: now, shown: String::new() };
        self.assistant.current.insert(ask, current);
        self.broadcast(at, &line, out);
    }

    /// A line of an answer, or its end.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        ask: AskId,
        answer: &Answer<'_>,
        out: &mut Outboxes,
    ) {
        let Some(current) = self.assistant.current.get_mut(&ask) else { return };
        let at = current.question.lobby;
        match answer {
            Answer::Line(line) => {
                let line = &*marks::disarm(line);
                let first = current.shown.is_empty();
                current.shown.push_str(line);
                current.shown.push('\n');
                let frame = render::answer_line(first.then_some(&current.question.name), line);
                self.broadcast(at, &frame, out);
            }
            Answer::Done(remark) => {
                let Some(current) = self.end_question(ask) else { return };
                if let Some(lobby) = self.lobbies.get_mut(at) {
                    let Question { name, text, .. } = &current.question;
                    lobby.conversation.add(now, name, text, &current.shown);
                    let until = lobby.conversation.deadline();
                    let deadline = &mut lobby.conversation_deadline;
                    self.timers.set(Timer::Conversation(at), deadline, until);
                }
                if let Some(remark) = remark {
                    self.broadcast(at, &render::notice(format_args!("[AI] ({remark})")), out);
                }
                self.start_questions(now, out);
            }
            Answer::Failed(error) => {
                let Some(current) = self.end_question(ask) else { return };
                let Question { asker, name, addr, at: spent, budgets, .. } = &current.question;
                if error.is_services() {
                    self.assistant.give_back(now, *spent, budgets);
                    self.assistant.line.give_back(now, *addr, 1.0, current.since);
                }
                if current.shown.is_empty() {
                    let line = format_args!("Rox could not answer {}", render::named(name));
                    let line = render::lobby_line(line);
                    self.broadcast_but(*asker, at, &line, out);
                } else {
                    self.broadcast(at, &render::notice(CUT_SHORT), out);
                }
                if self.user(*asker).is_some() {
                    out.push(*asker, &render::error(format_args!("[AI] {error}")));
                }
                self.start_questions(now, out);
            }
        }
    }

    /// Removes a question; another one of its lobby can begin.
    fn end_question(&mut self, ask: AskId) -> Option<Current> {
        let current = self.assistant.current.remove(&ask)?;
        if let Some(lobby) = self.lobbies.get_mut(current.question.lobby) {
            lobby.asked = None;
        }
        Some(current)
    }

    /// `/ai stop`: allowed for whoever asked, and for the lobby's creator.
    fn ask_stop(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let Some(user) = self.user(id) else { return };
        let (at, name) = (user.lobby, user.name.clone());
        let Some(lobby) = self.lobbies.get(at) else { return };
        let Some(ask) = lobby.asked else {
            return out.push(id, &render::notice("[AI] There is no answer to stop."));
        };
        let asked =
            self.assistant.current.get(&ask).is_some_and(|current| current.question.asker == id);
        if !asked && lobby.creator.session != Some(id) {
            let error = "[AI] Only the one who asked, or the lobby's creator, can stop the answer.";
            return out.push(id, &render::error(error));
        }
        self.requests.push_back(Request::StopGemini { ask });
        let Some(current) = self.end_question(ask) else { return };
        if !current.shown.is_empty() {
            self.broadcast(at, &render::notice(CUT_SHORT), out);
        }
        let (name, asker) = (render::named(&name), render::named(&current.question.name));
        let line = format_args!("{name} stopped the answer to {asker}");
        self.broadcast(at, &render::lobby_line(line), out);
        self.start_questions(now, out);
    }

    /// Drops the questions of a lobby that is gone: nobody is waiting for the answers.
    pub(super) fn abandon_questions(
        &mut self,
        now: Instant,
        at: LobbyId,
        asked: Option<AskId>,
        out: &mut Outboxes,
    ) {
        self.assistant.line.retain(|question| question.lobby != at);
        if let Some(ask) = asked {
            self.requests.push_back(Request::StopGemini { ask });
            self.assistant.current.remove(&ask);
            self.start_questions(now, out);
        }
    }

    /// `/ai status`.
    fn ask_status(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let Some(settings) = self.settings.assistant.clone() else { return };
        let left = |limit: usize, used: usize, when: &str| match limit {
            0 => "no limit".to_owned(),
            limit => format!("{} of {limit} left {when}", limit.saturating_sub(used)),
        };
        let hourly = |budget: &Budget| {
            let window = self.assistant.budgets.get(now, budget);
            let used = window.map_or(0, |window| window.count(now, QUESTIONS_WINDOW));
            left(budget.limit(settings.questions_per_hour), used, "this hour")
        };
        let hourly: Vec<_> = self.budgets_of(id).iter().map(hourly).collect();
        let [own, address] = &*hourly else { return };
        let server = left(settings.questions_per_day, self.questions_today(now), "today");
        let Some(user) = self.user(id) else { return };
        let Some(lobby) = self.lobbies.get(user.lobby) else { return };
        let answering =
            if lobby.asked.is_some() { "one being answered" } else { "none being answered" };
        let waiting = self.assistant.waiting_in(user.lobby);
        let status =
            render::ask_status(&settings.model, [own, address, &server], answering, waiting);
        out.push(id, &status);
    }

    /// Forgets the conversation of a lobby if it has been idle.
    pub(super) fn forget_conversation(&mut self, now: Instant, id: LobbyId) {
        let Some(lobby) = self.lobbies.get_mut(id) else { return };
        lobby.conversation.prune(now);
        let until = lobby.conversation.deadline();
        let deadline = &mut lobby.conversation_deadline;
        self.timers.set(Timer::Conversation(id), deadline, until);
    }
}

/// The answer when there is no assistant.
pub(super) const NOT_HERE: &str = "AI is not available on this server";

const CUT_SHORT: &str = "[AI] (answer cut short)";
