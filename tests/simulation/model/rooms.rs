//! Lobbies: making and entering them, who is told of whom, what they remember, when they go.

use std::time::Duration;

use super::words::{self, they_have};
use super::{MINUTE, Model, Password, Piece, Place, WRONG_PASSWORDS, Waiting, Who};

const LOBBIES_OF_AN_ADDRESS: usize = 5;
const LOBBIES: usize = 1000;
const HISTORY_MESSAGES: usize = 100;
const HISTORY_BYTES: usize = 64 * 1024;
/// A lobby with more members than this gathers those who come, or go, in a crowd.
const CROWD: usize = 50;
/// So many are told one by one within `CROWD_TIME`.
const TOLD_SINGLY: usize = 5;
/// So many are told to a newcomer by name, if the line is no longer than `COLUMNS` with them.
const NAMED: usize = 10;
const COLUMNS: usize = 79;
const CROWD_TIME: Duration = Duration::from_secs(1);

/// Into a lobby or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    In,
    Out,
}

/// A message that a lobby has seen.
#[derive(Debug)]
pub struct Said {
    pub at: Duration,
    pub picture: &'static str,
    pub sender: String,
    pub tagged: Option<String>,
    pub text: String,
    /// The time of day, if nothing had been said for a while.
    pub clock: Option<String>,
    /// From where it was said.
    pub place: Place,
    /// It had to give place to a later one.
    pub gone: bool,
}

impl Said {
    /// As somebody sees it who looks now.
    pub fn rendered(&self, now: Duration) -> String {
        let Self { picture, sender, text, .. } = self;
        let behind = match &self.tagged {
            Some(tagged) => format!("@{tagged}"),
            None => format!("[{}]", words::ago(now - self.at)),
        };
        let clock = self.clock.as_ref().map(|clock| format!("── {clock} ──\n"));
        let clock = clock.unwrap_or_default();
        format!("{clock}{picture} {sender} {behind}\n  ╰─> {}\n", words::said(text))
    }

    fn bytes(&self) -> usize {
        let tagged = self.tagged.as_ref().map_or(0, String::len);
        self.picture.len() + self.sender.len() + tagged + self.text.len()
    }
}

/// Those who go one way in a large lobby.
#[derive(Debug, Default)]
struct Crowd {
    /// When each of those came or went who were told one by one while the lobby was large.
    told: Vec<Duration>,
    /// When the second under way began.
    began: Option<Duration>,
    /// Who is to be told of when it ends.
    gathered: Vec<(Who, String)>,
}

/// A question with its answer.
#[derive(Debug)]
pub struct Turn {
    pub at: Duration,
    pub asker: String,
    pub question: String,
    pub answer: String,
}

#[derive(Debug)]
pub struct Lobby {
    pub id: u32,
    pub name: String,
    pub password: Option<String>,
    pub description: String,
    pub creator_name: String,
    /// The session that made it, and from where; nobody's is `general`.
    pub creator: Option<(Who, Place)>,
    /// When it was made, or last left.
    pub touched: Duration,
    pub prompt: Option<String>,
    /// All that was ever said here.
    pub said: Vec<Said>,
    /// All that Rox ever answered here.
    pub turns: Vec<Turn>,
    /// Who sits where: a newcomer takes the next seat, and the last one that of whoever leaves.
    seats: Vec<Who>,
    arrivals: Crowd,
    departures: Crowd,
}

impl Lobby {
    pub fn general() -> Self {
        let made = Made { name: "general", password: None, description: "Where everybody starts" };
        Self::new(0, made, None, "server", Duration::ZERO)
    }

    fn new(
        id: u32,
        made: Made<'_>,
        creator: Option<(Who, Place)>,
        creator_name: &str,
        now: Duration,
    ) -> Self {
        Self {
            id,
            name: made.name.to_owned(),
            password: made.password.map(str::to_owned),
            description: made.description.to_owned(),
            creator_name: creator_name.to_owned(),
            creator,
            touched: now,
            prompt: None,
            said: Vec::new(),
            turns: Vec::new(),
            seats: Vec::new(),
            arrivals: Crowd::default(),
            departures: Crowd::default(),
        }
    }

    pub fn is_of(&self, who: Who) -> bool {
        self.creator.is_some_and(|creator| creator.0 == who)
    }

    /// What it remembers, oldest first: the last messages that are young, few and small enough.
    pub fn history(&self, now: Duration, age: Duration) -> Vec<&Said> {
        let young = self.said.iter().rev().take_while(|said| said.at + age > now);
        let mut kept: Vec<_> = young.filter(|said| !said.gone).collect();
        kept.reverse();
        kept
    }

    /// There is one more message: who has more than half of what there is room for gives place with
    /// the oldest of theirs, or else the oldest of all goes.
    pub fn give_place(&mut self, now: Duration, age: Duration) {
        loop {
            let kept = self.history(now, age);
            let bytes = |said: &[&Said]| said.iter().map(|said| said.bytes()).sum::<usize>();
            let too_many = kept.len() > HISTORY_MESSAGES;
            let too_long = bytes(&kept) > HISTORY_BYTES;
            if !too_many && !too_long {
                return;
            }
            let has_most = |said: &&&Said| {
                let of: Vec<_> =
                    kept.iter().filter(|other| other.place == said.place).copied().collect();
                too_many && 2 * of.len() > HISTORY_MESSAGES
                    || too_long && 2 * bytes(&of) > HISTORY_BYTES
            };
            let gone = std::ptr::from_ref(*kept.iter().find(has_most).unwrap_or(&kept[0]));
            self.said.iter_mut().rev().find(|said| std::ptr::eq(*said, gone)).unwrap().gone = true;
        }
    }

    fn crowd(&mut self, way: Way) -> &mut Crowd {
        match way {
            Way::In => &mut self.arrivals,
            Way::Out => &mut self.departures,
        }
    }

    /// When those gathered are told of, if there are any.
    pub fn gathered_due(&self, way: Way) -> Option<Duration> {
        let crowd = if way == Way::In { &self.arrivals } else { &self.departures };
        crowd.began.filter(|_| !crowd.gathered.is_empty()).map(|began| began + CROWD_TIME)
    }

    pub fn forget_gathered(&mut self) {
        self.arrivals.gathered.clear();
        self.departures.gathered.clear();
    }
}

/// What is said of a lobby to be made.
#[derive(Debug, Clone, Copy)]
struct Made<'a> {
    name: &'a str,
    password: Option<&'a str>,
    description: &'a str,
}

impl Model {
    // ---- Making ------------------------------------------------------------------------------

    pub(super) fn create(&mut self, who: Who, args: &str) {
        let (name, rest) = super::talk::split(args);
        if rest.is_empty() {
            return self.tell(who, "Usage: /create <name> [password] <desc>\n");
        }
        let (word, quoted, behind) = first_argument(rest);
        let (password, description) = match behind {
            "" => (None, word),
            _ if word.is_empty() || (word == "no-pass" && !quoted) => (None, behind),
            _ => (Some(word), behind),
        };
        let is_reserved = words::is_reserved_for_lobbies(name) && self.find_lobby(name).is_none();
        let error = words::name_error("Lobby name", name, 32).or_else(|| {
            if is_reserved {
                Some(words::LOBBY_RESERVED.to_owned())
            } else if description.chars().count() > 200 {
                Some(words::too_long("Description", 200, description).trim_end().to_owned())
            } else if password.is_some_and(|password| password.len() > 72) {
                Some("Password too long (max 72 bytes)".to_owned())
            } else {
                self.cannot_make(who, name)
            }
        });
        match (error, password) {
            (Some(error), _) => self.tell(who, &format!("{error}\n")),
            (None, None) => self.make(who, Made { name, password, description }),
            (None, Some(password)) => {
                let (name, password) = (name.to_owned(), password.to_owned());
                let description = description.to_owned();
                self.tell(
                    who,
                    &format!(
                        "'{password}' is the password. For a public lobby: \
                         /create {name} no-pass <desc>\n"
                    ),
                );
                let waiting = Waiting::Create { name, password, description };
                self.client_mut(who).waiting = Some(waiting);
            }
        }
    }

    fn cannot_make(&self, who: Who, name: &str) -> Option<String> {
        let place = self.client(who).place;
        let creators = self.lobbies.iter().filter_map(|lobby| lobby.creator);
        if self.find_lobby(name).is_some() {
            Some("Lobby already exists".to_owned())
        } else if creators.filter(|creator| creator.1 == place).count() >= LOBBIES_OF_AN_ADDRESS {
            Some("Too many lobbies were created from your address (max 5)".to_owned())
        } else if self.lobbies.len() >= LOBBIES && self.gives_place().is_none() {
            Some(
                "There are too many lobbies, and somebody is in each of them. Try again later."
                    .to_owned(),
            )
        } else {
            None
        }
    }

    /// An empty lobby in which nobody ever spoke, the oldest of the place that has most of those, or the
    /// one that was left first.
    fn gives_place(&self) -> Option<u32> {
        let empty = || self.lobbies.iter().skip(1).filter(|lobby| lobby.seats.is_empty());
        let place = |lobby: &Lobby| lobby.creator.unwrap().1;
        let unused: Vec<_> = empty().filter(|lobby| lobby.said.is_empty()).collect();
        let of =
            |counts: &dyn Fn(Place) -> bool| unused.iter().filter(|l| counts(place(l))).count();
        let most = |lobby: &&&Lobby| {
            let own = of(&|other| other == place(lobby)) * 10;
            (own.max(of(&|other| other.is_of_site(place(lobby)))), std::cmp::Reverse(lobby.id))
        };
        let first = unused.iter().max_by_key(most).map(|lobby| lobby.id);
        first.or_else(|| empty().min_by_key(|lobby| lobby.touched).map(|lobby| lobby.id))
    }

    fn make(&mut self, who: Who, made: Made<'_>) {
        if let Some(gone) = self.gives_place().filter(|_| self.lobbies.len() >= LOBBIES) {
            self.remove_lobby(gone);
        }
        self.lobbies_made += 1;
        let (creator, name) = (self.name(who), made.name);
        let place = self.client(who).place;
        let id = self.lobbies_made;
        self.lobbies.push(Lobby::new(id, made, Some((who, place)), &creator, self.now));
        let text = match made.password {
            None => format!("Created public lobby '{name}'. Use /join {name} to enter.\n"),
            Some(_) => {
                format!("Created private lobby '{name}'. Use /join {name} <password> to enter.\n")
            }
        };
        self.tell(who, &text);
    }

    /// It is gone with all that belongs to it; a question from it that waits is never asked.
    pub(super) fn remove_lobby(&mut self, id: u32) {
        self.lobbies.retain(|lobby| lobby.id != id);
        self.forget_questions_of(id);
    }

    // ---- Moving ------------------------------------------------------------------------------

    pub(super) fn join(&mut self, who: Who, args: &str) {
        let (name, rest) = super::talk::split(args);
        if name.is_empty() {
            return self.tell(who, "Usage: /join <name> [password]\n");
        }
        let Some(lobby) = self.find_lobby(name) else {
            let known: Vec<_> = self.lobbies.iter().map(|lobby| &*lobby.name).collect();
            let meant = words::meant(name, name.len() / 3, &known);
            let error = words::not_found("Lobby does not exist", name, meant);
            return self.tell(who, &format!("{error}\n"));
        };
        let (id, name, is_private) = (lobby.id, lobby.name.clone(), lobby.password.is_some());
        let unquoted = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let password = unquoted.unwrap_or(rest);
        if self.client(who).lobby == id {
            self.tell(who, &format!("You are already in '{name}'\n"));
        } else if !is_private && !password.is_empty() {
            let by = &self.lobby(id).unwrap().creator_name;
            let text =
                format!("'{name}' is public now, created by {by}. Enter with /join {name}.\n");
            self.tell(who, &text);
        } else if !is_private {
            self.change(who, id);
        } else if password.is_empty() {
            self.tell(who, &format!("Lobby '{name}' is private. Use /join {name} <password>\n"));
        } else if let Some(wait) = self.locked_out(who) {
            self.tell(who, &words::too_many_wrong_passwords(wait));
        } else if password.len() > 72 {
            self.tell(who, "Password too long (max 72 bytes)\n");
        } else {
            let password = password.to_owned();
            self.client_mut(who).waiting = Some(Waiting::Join { lobby: id, password });
        }
    }

    /// The password job of this client is over. What was so when it began may be so no longer.
    pub fn password(&mut self, now: Duration, who: Who, how: Password) {
        self.now = now;
        if !self.waits_for_password(who) {
            return;
        }
        let waiting = self.client_mut(who).waiting.take();
        match (how, waiting) {
            (Password::Busy, _) => {
                self.tell(who, "Too many passwords are being checked. Try again in a moment.\n");
            }
            (_, Some(Waiting::Create { name, password, description })) => {
                match self.cannot_make(who, &name) {
                    Some(error) => self.tell(who, &format!("{error}\n")),
                    None => {
                        let (name, password) = (&*name, Some(&*password));
                        self.make(who, Made { name, password, description: &description });
                    }
                }
            }
            (_, Some(Waiting::Join { lobby, password })) => self.check(who, lobby, &password),
            (_, None) => {}
        }
    }

    fn check(&mut self, who: Who, lobby: u32, password: &str) {
        let right = self.lobby(lobby).map(|lobby| lobby.password.as_deref() == Some(password));
        match (right, self.locked_out(who)) {
            (None, _) => self.tell(who, "Lobby does not exist\n"),
            (_, Some(wait)) => self.tell(who, &words::too_many_wrong_passwords(wait)),
            (Some(true), None) => self.change(who, lobby),
            (Some(false), None) => {
                let place = self.client(who).place;
                self.wrong_passwords.push((self.now, place));
                self.tell(who, "Incorrect password for private lobby\n");
            }
        }
    }

    /// How long this client's address is refused for its wrong passwords: a minute from the last one
    /// of three within a minute.
    fn locked_out(&self, who: Who) -> Option<Duration> {
        let place = self.client(who).place;
        let wrong = self.wrong_passwords.iter().filter(|wrong| wrong.1 == place);
        let wrong: Vec<_> = wrong.map(|wrong| wrong.0).collect();
        let last = wrong
            .windows(WRONG_PASSWORDS)
            .filter(|of| of[WRONG_PASSWORDS - 1] - of[0] < MINUTE)
            .map(|of| of[WRONG_PASSWORDS - 1])
            .next_back()?;
        (last + MINUTE).checked_sub(self.now).filter(|wait| !wait.is_zero())
    }

    fn change(&mut self, who: Who, to: u32) {
        let (name, from) = (self.name(who), self.client(who).lobby);
        let lobby = self.lobby(to).unwrap().name.clone();
        self.tell(who, &format!("Joined lobby '{lobby}'\n"));
        self.client_mut(who).lobby = to;
        self.left(who, &name, from);
        self.enter(who, to);
    }

    /// This user is in this lobby from now on: it gets the history, then all in it are told, in a crowd
    /// the user alone, and then it hears who is there.
    pub(super) fn enter(&mut self, who: Who, lobby: u32) {
        self.client_mut(who).lobby = lobby;
        let name = self.name(who);
        let (now, age) = (self.real(), self.rules.history_age);
        let history = self.lobby(lobby).unwrap().history(now, age);
        let columns = self.client(who).columns;
        let shown = |said: &&Said| words::laid_out(&said.rendered(now), columns);
        let history: Vec<_> = history.iter().map(shown).collect();
        if !history.is_empty() {
            self.client_mut(who).owed.push(Piece::History(history));
        }
        if !self.passes(who, &name, lobby, Way::In) {
            self.tell(who, &passed(&[name], Way::In));
        }
        self.tell_who_is_here(who, lobby);
    }

    fn tell_who_is_here(&mut self, who: Who, lobby: u32) {
        let seats = &mut self.lobby_mut(lobby).unwrap().seats;
        let others = seats.clone();
        seats.push(who);
        let mut names: Vec<_> = others.iter().take(NAMED).map(|other| self.name(*other)).collect();
        names.sort_by_key(|name| name.to_lowercase());
        let head = match others.len() {
            0 => return,
            1 => "1 other is here: ".to_owned(),
            n => format!("{n} others are here: "),
        };
        let line = |named: usize| match others.len() - named {
            0 => format!("{head}{}", names[..named].join(", ")),
            more => format!("{head}{} and {more} more: /users", names[..named].join(", ")),
        };
        let fits = |named: &usize| line(*named).len() <= COLUMNS;
        let named = (2..=names.len()).filter(fits).max().unwrap_or(1);
        self.tell(who, &format!("{}\n", line(named)));
    }

    /// This user is in this lobby no longer: those in it are told.
    pub(super) fn left(&mut self, who: Who, name: &str, lobby: u32) {
        let now = self.now;
        if let Some(lobby) = self.lobby_mut(lobby) {
            lobby.touched = now;
            if let Some(seat) = lobby.seats.iter().position(|other| *other == who) {
                lobby.seats.swap_remove(seat);
            }
        }
        self.passes(who, name, lobby, Way::Out);
    }

    // ---- Crowds ------------------------------------------------------------------------------

    /// Somebody has just come or gone: the lobby is told at once, which is what is said here, or later of
    /// all together.
    fn passes(&mut self, who: Who, name: &str, id: u32, way: Way) -> bool {
        let (now, members) = (self.now, self.members(id).len());
        let lobby = self.lobby_mut(id).unwrap();
        let other_way = if way == Way::In { Way::Out } else { Way::In };
        let back = lobby.crowd(other_way);
        if let Some(at) = back.gathered.iter().position(|(other, _)| *other == who) {
            // Nobody was told of the way there, so nobody is of the way back.
            back.gathered.remove(at);
            return false;
        }
        if back.gathered.iter().any(|(_, other)| other.eq_ignore_ascii_case(name)) {
            // Another one of the same name: what was first is told first.
            self.tell_gathered(id, other_way);
        }
        let crowd = self.lobby_mut(id).unwrap().crowd(way);
        if members > CROWD || !crowd.gathered.is_empty() {
            if crowd.began.is_none_or(|began| began + CROWD_TIME <= now) {
                crowd.began = Some(now);
            }
            let began = crowd.began;
            if crowd.told.iter().filter(|told| Some(**told) >= began).count() >= TOLD_SINGLY {
                crowd.gathered.push((who, name.to_owned()));
                return false;
            }
            crowd.told.push(now);
        }
        self.tell_lobby(id, &passed(&[name.to_owned()], way));
        true
    }

    /// The second is over: those gathered in it are told of in one line.
    pub(super) fn tell_gathered(&mut self, id: u32, way: Way) {
        let crowd = self.lobby_mut(id).unwrap().crowd(way);
        crowd.began = None;
        crowd.told.clear();
        let names: Vec<_> = crowd.gathered.drain(..).map(|(_, name)| name).collect();
        self.tell_lobby(id, &passed(&names, way));
    }

    // ---- Looking things up -------------------------------------------------------------------

    pub(super) fn lobby(&self, id: u32) -> Option<&Lobby> {
        self.lobbies.iter().find(|lobby| lobby.id == id)
    }

    pub(super) fn lobby_mut(&mut self, id: u32) -> Option<&mut Lobby> {
        self.lobbies.iter_mut().find(|lobby| lobby.id == id)
    }

    fn find_lobby(&self, name: &str) -> Option<&Lobby> {
        self.lobbies.iter().find(|lobby| lobby.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn members(&self, lobby: u32) -> Vec<Who> {
        let named = self.clients.iter().filter(|client| client.name.is_some());
        named.filter(|client| client.lobby == lobby).map(|client| client.who).collect()
    }

    pub(super) fn tell_lobby(&mut self, lobby: u32, text: &str) {
        for who in self.members(lobby) {
            self.hear(who, text);
        }
    }
}

fn passed(names: &[String], way: Way) -> String {
    let what = if way == Way::In { "joined" } else { "left" };
    format!("[LOBBY] {} {what} the lobby\n", they_have(names))
}

/// The first argument, whether it stood in double quotes, and what is behind it. A quote ends where
/// a space or nothing follows; without an end there is none.
fn first_argument(args: &str) -> (&str, bool, &str) {
    if let Some((inside, behind)) = args.strip_prefix('"').and_then(|rest| rest.split_once('"'))
        && (behind.is_empty() || behind.starts_with(' '))
    {
        return (inside, true, behind.trim());
    }
    let (word, behind) = super::talk::split(args);
    (word, false, behind)
}
