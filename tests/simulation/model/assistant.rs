//! Questions to Rox: whose turn it is, what goes along, who sees what, and what stays of an answer.

use std::time::Duration;

use super::rooms::{Lobby, Turn};
use super::{Key, Model, Place, Started, Who, words};

const AT_ONCE: usize = 4;
const WAITING: usize = 3;
const RECENT: usize = 5;
const TURNS: usize = 20;
const TURNS_BYTES: usize = 32 * 1024;
const TURNS_IDLE: Duration = Duration::from_secs(30 * 60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_QUESTION: usize = 1000;

/// A question that waits or is under way.
#[derive(Debug)]
pub struct Question {
    /// Set once it is under way.
    key: Option<Key>,
    who: Who,
    asker: String,
    lobby: u32,
    text: String,
    /// When it was asked, and by whom from where: what it counts for unless the service fails.
    asked: (Duration, String, Place),
    /// When it was sent to the service.
    begun: Option<Duration>,
    /// The lines of its answer that were shown.
    shown: Vec<String>,
}

impl Model {
    pub(super) fn ai(&mut self, who: Who, args: &str) {
        if args.is_empty() {
            return self.tell(who, "Usage: /ai <question>\n");
        }
        let Some(an_hour) = self.rules.questions_per_hour else {
            return self.tell(who, "AI is not available on this server\n");
        };
        match &*args.to_ascii_lowercase() {
            "status" => self.status(who, an_hour),
            "stop" => self.stop(who),
            _ => self.ask(who, an_hour, args),
        }
    }

    fn ask(&mut self, who: Who, an_hour: usize, text: &str) {
        let lobby = self.client(who).lobby;
        if text.chars().count() > LONGEST_QUESTION {
            return self.tell(who, &words::too_long("Question", LONGEST_QUESTION, text));
        }
        let (own, address) = (self.asked_by(who), self.asked_from(who));
        let (of_all, a_day) = (self.asked_lately(DAY, |_| true), self.rules.questions_per_day);
        let together = " for all users of your address together";
        let everybody = " for the whole server";
        let limits = [
            (self.wait_for(&own, an_hour, HOUR), an_hour, "an hour", ""),
            (self.wait_for(&address, 10 * an_hour, HOUR), 10 * an_hour, "an hour", together),
            (self.wait_for(&of_all, a_day, DAY), a_day, "a day", everybody),
        ];
        // Where two have to wait as long, the one of more people is told.
        let longest = limits.into_iter().filter(|one| one.0.is_some()).max_by_key(|one| one.0);
        if let Some((Some(wait), limit, span, whose)) = longest {
            let wait = match words::secs_up(wait).div_ceil(60) {
                1 => "1 minute".to_owned(),
                minutes if minutes <= 120 => format!("{minutes} minutes"),
                minutes => format!("{} hours", minutes.div_ceil(60)),
            };
            let limit = match limit {
                1 => format!("1 question {span} is"),
                limit => format!("{limit} questions {span} are"),
            };
            let text = format!("[AI] {limit} the limit{whose}. Ask again in {wait}.\n");
            return self.tell(who, &text);
        }
        let asked = (self.now, self.folded_name(who), self.client(who).place);
        self.asked.push(asked.clone());
        let (asker, text) = (self.name(who), text.to_owned());
        let (shown, begun) = (Vec::new(), None);
        let may_begin = self.under_way_in(lobby).is_none() && self.under_way() < AT_ONCE;
        let question = Question { key: None, who, asker, lobby, text, asked, begun, shown };
        let is_it = |other: &Question, one: &(Duration, String, Place)| other.asked == *one;
        let asked = question.asked.clone();
        self.questions.push(question);
        if !may_begin && self.in_line(|other| other.lobby == lobby).len() > WAITING {
            let last = *self.in_line(|other| other.lobby == lobby).last().unwrap();
            let gone = self.questions.remove(last);
            let at = self.asked.iter().position(|one| *one == gone.asked).unwrap();
            self.asked.remove(at);
            if is_it(&gone, &asked) {
                return self
                    .tell(who, "[AI] Too many questions are waiting. Try again in a moment.\n");
            }
            if self.name_of(gone.who).is_some() {
                let more = "you have asked more. Try again in a moment.";
                self.tell(gone.who, &format!("[AI] Your question gave place to others: {more}\n"));
            }
        }
        self.talked.push((self.now, lobby, asked.2));
        self.begin();
        let line = self.in_line(|other| other.lobby == lobby);
        if let Some(at) = line.iter().position(|at| is_it(&self.questions[*at], &asked)) {
            self.tell(who, &format!("[AI] You are number {} in line.\n", at + 1));
        }
    }

    /// Where the waiting questions of these are, those first whose places have had least lately, and of
    /// those alike the one that was asked first.
    fn in_line(&self, of: impl Fn(&Question) -> bool) -> Vec<usize> {
        let age = |at: Duration| (self.now - at).as_secs_f64() / 60.0;
        let had = |counts: &dyn Fn(Place) -> bool| -> f64 {
            let had = self.had.iter().filter(|one| counts(one.1));
            had.map(|one| 0.5f64.powf(age(one.0))).sum()
        };
        let waits = |at: &usize| self.questions[*at].key.is_none() && of(&self.questions[*at]);
        let all: Vec<_> = (0..self.questions.len()).filter(waits).collect();
        let mut line: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(nth, at)| {
                let place = self.questions[*at].asked.2;
                let claims = |counts: &dyn Fn(Place) -> bool| {
                    let up_to = all[..=nth].iter().map(|at| self.questions[*at].asked.2);
                    up_to.filter(|place| counts(*place)).count() as f64
                };
                let own = had(&|one| one == place) + claims(&|one| one == place);
                let site = |one: Place| one.is_of_site(place);
                let site = (had(&site) + claims(&site)) / 10.0;
                ((own.max(site) * 16.0).round() as u64, self.questions[*at].asked.0, *at)
            })
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(.., at)| at).collect()
    }

    fn under_way(&self) -> usize {
        self.questions.iter().filter(|question| question.key.is_some()).count()
    }

    /// When the questions were asked that count against this user: a name at an address.
    fn asked_by(&self, who: Who) -> Vec<Duration> {
        let (name, place) = (self.folded_name(who), self.client(who).place);
        self.asked_lately(HOUR, |asked| asked.1 == name && asked.2 == place)
    }

    /// The same for everybody at the user's address together.
    fn asked_from(&self, who: Who) -> Vec<Duration> {
        let place = self.client(who).place;
        self.asked_lately(HOUR, |asked| asked.2 == place)
    }

    fn asked_lately(
        &self,
        span: Duration,
        counts: impl Fn(&(Duration, String, Place)) -> bool,
    ) -> Vec<Duration> {
        let young = |asked: &&(Duration, String, _)| asked.0 + span > self.now;
        self.asked.iter().filter(young).filter(|one| counts(one)).map(|one| one.0).collect()
    }

    /// How long it is until one more may be asked; a limit of 0 is none.
    fn wait_for(&self, asked: &[Duration], limit: usize, span: Duration) -> Option<Duration> {
        let used_up = limit != 0 && asked.len() >= limit;
        used_up.then(|| asked[asked.len() - limit] + span - self.now)
    }

    fn status(&mut self, who: Who, an_hour: usize) {
        let lobby = self.client(who).lobby;
        let left = |asked: Vec<Duration>, limit: usize, span: &str| match limit {
            0 => "no limit".to_owned(),
            _ => format!("{} of {limit} left {span}", limit - asked.len()),
        };
        let own = left(self.asked_by(who), an_hour, "this hour");
        let address = left(self.asked_from(who), 10 * an_hour, "this hour");
        let of_all = left(self.asked_lately(DAY, |_| true), self.rules.questions_per_day, "today");
        let answering = if self.under_way_in(lobby).is_some() {
            "one being answered"
        } else {
            "none being answered"
        };
        let (model, waiting) = (&self.rules.model_name, self.waiting_in(lobby));
        let text = format!(
            "=== AI ===\nModel: {model}\nYour questions: {own}\n\
             All from your address: {address}\n\
             The whole server's: {of_all}\n\
             This lobby: {answering}, {waiting} waiting\n"
        );
        self.tell(who, &text);
    }

    fn stop(&mut self, who: Who) {
        let lobby = self.client(who).lobby;
        let Some(at) = self.under_way_in(lobby) else {
            return self.tell(who, "[AI] There is no answer to stop.\n");
        };
        if self.questions[at].who != who && !self.lobby(lobby).unwrap().is_of(who) {
            let text =
                "[AI] Only the one who asked, or the lobby's creator, can stop the answer.\n";
            return self.tell(who, text);
        }
        let question = self.take_question(at);
        self.stopped.extend(question.key);
        if !question.shown.is_empty() {
            self.tell_lobby(lobby, words::CUT_SHORT);
        }
        let (by, asker) = (self.name(who), question.asker);
        self.tell_lobby(lobby, &format!("[LOBBY] {by} stopped the answer to {asker}\n"));
        self.begin();
    }

    // ---- Answers -----------------------------------------------------------------------------

    /// A line of the answer has come.
    pub fn answer_line(&mut self, now: Duration, key: Key, line: &str) {
        self.now = now;
        let Some(at) = self.position(key) else { return };
        let question = &mut self.questions[at];
        let title = match &question.shown[..] {
            [] => format!("[AI Response to {}] Rox:\n", question.asker),
            _ => String::new(),
        };
        question.shown.push(line.to_owned());
        let lobby = question.lobby;
        self.tell_lobby(lobby, &format!("{title}  │ {}\n", words::said(line)));
    }

    /// The answer is whole; the remark is what the lobby is told of it.
    pub fn answer_done(&mut self, now: Duration, key: Key, remark: Option<&str>) {
        self.now = now;
        let Some(at) = self.position(key) else { return };
        let Question { lobby, asker, text: question, shown, .. } = self.take_question(at);
        if let Some(remark) = remark {
            self.tell_lobby(lobby, &format!("[AI] ({remark})\n"));
        }
        let answer = shown.join("\n").trim().to_owned();
        if let Some(lobby) = self.lobby_mut(lobby).filter(|_| !answer.is_empty()) {
            lobby.turns.push(Turn { at: now, asker, question, answer });
        }
        self.begin();
    }

    /// There is no answer, or no more of it; the error is for the asker, wherever they are. Unless the
    /// question was blocked, it `gives_back` what was taken off the budgets.
    pub fn answer_failed(&mut self, now: Duration, key: Key, error: &str, gives_back: bool) {
        self.now = now;
        let Some(at) = self.position(key) else { return };
        let question = self.take_question(at);
        if gives_back && let Some(at) = self.asked.iter().position(|one| *one == question.asked) {
            self.asked.remove(at);
        }
        let had =
            |one: &(Duration, Place)| (Some(one.0), one.1) == (question.begun, question.asked.2);
        if gives_back && let Some(at) = self.had.iter().position(had) {
            self.had.remove(at);
        }
        if question.shown.is_empty() {
            let text = format!("[LOBBY] Rox could not answer {}\n", question.asker);
            for other in self.members(question.lobby) {
                if other != question.who {
                    self.hear(other, &text);
                }
            }
        } else {
            self.tell_lobby(question.lobby, words::CUT_SHORT);
        }
        if self.name_of(question.who).is_some() {
            self.tell(question.who, &format!("[AI] {error}\n"));
        }
        self.begin();
    }

    // ---- Turns -------------------------------------------------------------------------------

    /// Begins what may begin: one in each lobby, four in all.
    fn begin(&mut self) {
        while self.under_way() < AT_ONCE {
            let line = self.in_line(|question| self.under_way_in(question.lobby).is_none());
            let Some(first) = line.first() else { return };
            self.ask_service(*first);
        }
    }

    fn ask_service(&mut self, at: usize) {
        self.questions_begun += 1;
        let question = &mut self.questions[at];
        question.key = Some(self.questions_begun);
        question.begun = Some(self.now);
        self.had.push((self.now, question.asked.2));
        let (who, text, asker) = (question.who, question.text.clone(), question.asker.clone());
        let lobby = self.lobby(self.questions[at].lobby).unwrap();
        let turns = conversation(lobby, self.now).iter();
        let mut texts: Vec<_> =
            turns.flat_map(|turn| [turn.question.clone(), turn.answer.clone()]).collect();
        let history = lobby.history(self.real(), self.rules.history_age);
        let recent = &history[history.len().saturating_sub(RECENT)..];
        texts.extend(recent.iter().map(|said| said.text.clone()));
        texts.push(text.clone());
        let (id, prompt, lobby) = (lobby.id, lobby.prompt.clone(), lobby.name.clone());
        let key = self.questions_begun;
        self.started.push(Started { key, texts, prompt, asker: asker.clone(), lobby });
        if self.name_of(who).is_some() {
            self.tell(who, "[AI] Thinking...\n");
        }
        self.tell_lobby(id, &format!("[LOBBY] {asker} asked AI: {}\n", words::said(&text)));
    }

    /// A question that is over.
    fn take_question(&mut self, at: usize) -> Question {
        self.questions.remove(at)
    }

    /// The lobby is gone: nobody would see an answer.
    pub(super) fn forget_questions_of(&mut self, lobby: u32) {
        let gone = self.questions.iter().filter(|question| question.lobby == lobby);
        self.stopped.extend(gone.filter_map(|question| question.key));
        self.questions.retain(|question| question.lobby != lobby);
        self.begin();
    }

    fn position(&self, key: Key) -> Option<usize> {
        self.questions.iter().position(|question| question.key == Some(key))
    }

    fn under_way_in(&self, lobby: u32) -> Option<usize> {
        let is_it = |question: &Question| question.lobby == lobby && question.key.is_some();
        self.questions.iter().position(is_it)
    }

    fn waiting_in(&self, lobby: u32) -> usize {
        let waits = |question: &&Question| question.lobby == lobby && question.key.is_none();
        self.questions.iter().filter(waits).count()
    }
}

/// The lobby's last turns: none with half an hour of silence behind it, and few and small enough.
fn conversation(lobby: &Lobby, now: Duration) -> &[Turn] {
    let mut next = now;
    let mut bytes = 0;
    let kept = lobby
        .turns
        .iter()
        .rev()
        .take(TURNS)
        .take_while(|turn| {
            let silence = next - turn.at;
            next = turn.at;
            silence < TURNS_IDLE
        })
        .take_while(|turn| {
            bytes += turn.asker.len() + turn.question.len() + turn.answer.len();
            bytes <= TURNS_BYTES
        })
        .count();
    &lobby.turns[lobby.turns.len() - kept..]
}
