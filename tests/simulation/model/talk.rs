//! Messages and commands, except what they do to lobbies and what the assistant makes of them.

use std::time::Duration;

use mio_chat::chat::picture;

use super::rooms::Said;
use super::{Fixed, LONGEST_MESSAGE, Model, Who, words};

const PAUSE: Duration = Duration::from_secs(300);

const COMMANDS: [&str; 13] = [
    "/help", "/users", "/lobbies", "/create", "/join", "/sp", "/msg", "/tag", "/ai", "/setai",
    "/color", "/width", "/quit",
];

/// The first word of a line, and the rest without the spaces around it.
pub fn split(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    (word, rest.trim())
}

/// Whether everybody in the lobby hears at once what this command says.
pub fn is_for_the_lobby(line: &str) -> bool {
    let (name, args) = split(line);
    let args = args.to_lowercase();
    match &*name.to_lowercase() {
        "/tag" => !split(&args).1.is_empty(),
        "/ai" => !["", "status", "stop"].contains(&&*args),
        _ => false,
    }
}

/// Whether a line is a command that changes nothing and that nobody else hears of, or none at all.
pub fn only_shows(line: &str) -> bool {
    let (name, args) = split(line);
    let args = args.to_lowercase();
    if !name.starts_with('/') {
        return false;
    }
    match &*name.to_lowercase() {
        "/help" | "/users" | "/lobbies" => true,
        "/sp" => args == "list",
        "/ai" => args.is_empty() || args == "status",
        "/msg" | "/tag" | "/create" => split(&args).1.is_empty(),
        "/join" | "/setai" => args.is_empty(),
        "/color" => args != "on" && args != "off",
        "/width" => args != "off" && !matches!(args.parse(), Ok(20..=500)),
        _ => true,
    }
}

/// The command that a line is. With blanks before it, it is one only if it exists, or nearly.
pub fn command_in(line: &str) -> Option<&str> {
    let command = line.trim_start();
    let known = [
        "/help", "/users", "/lobbies", "/create", "/join", "/sp", "/msg", "/tag", "/ai", "/setai",
        "/color", "/width", "/quit",
    ];
    let name = split(command).0;
    let is_known = known.contains(&&*name.to_ascii_lowercase())
        || words::meant(name, name.len() / 3, &known).is_some();
    let said = line.starts_with("//") || (command != line && !is_known);
    Some(command).filter(|command| command.starts_with('/') && !said)
}

impl Model {
    pub(super) fn command(&mut self, who: Who, line: &str) {
        let (name, args) = split(line);
        match &*name.to_ascii_lowercase() {
            "/help" => self.client_mut(who).owe_fixed(Fixed::Help),
            "/users" => self.list_users(who, args),
            "/lobbies" => self.list_lobbies(who, args),
            "/create" => self.create(who, args),
            "/join" => self.join(who, args),
            "/sp" => self.set_picture(who, args),
            "/msg" => self.direct(who, args),
            "/tag" => self.tag(who, args),
            "/ai" => self.ai(who, args),
            "/setai" => self.set_prompt(who, args),
            "/color" => match &*args.to_ascii_lowercase() {
                "on" => self.tell(who, "Colours are on.\n"),
                "off" => self.tell(who, "Colours are off.\n"),
                _ => self.tell(who, "Usage: /color <on | off>\n"),
            },
            "/width" => match args.parse() {
                Ok(columns @ 20..=500) => {
                    let columns = match columns {
                        20..79 => columns / 5 * 5,
                        79..100 => 79,
                        100..200 => columns / 20 * 20,
                        _ => columns / 100 * 100,
                    };
                    self.client_mut(who).columns = Some(columns);
                    self.tell(who, &format!("Messages now wrap at {columns} columns.\n"));
                }
                _ if args.eq_ignore_ascii_case("off") => {
                    self.client_mut(who).columns = None;
                    self.tell(who, "Messages are no longer wrapped.\n");
                }
                _ => self.tell(who, "Usage: /width <20 to 500 | off>\n"),
            },
            _ => {
                let meant = words::meant(name, name.len() / 2, &COMMANDS);
                let error = words::not_found("Unknown command", name, meant);
                self.tell(who, &format!("{error} Type /help for available commands.\n"));
            }
        }
    }

    // ---- Talking -----------------------------------------------------------------------------

    pub(super) fn say(&mut self, who: Who, text: &str) {
        if text.chars().count() > LONGEST_MESSAGE {
            return self.tell(who, &words::too_long("Message", LONGEST_MESSAGE, text));
        }
        self.publish(who, None, text);
    }

    /// A message in the lobby of its sender, which remembers it.
    fn publish(&mut self, who: Who, tagged: Option<&str>, text: &str) {
        let client = self.client(who);
        let (now, id, place) = (self.real(), client.lobby, client.place);
        let last = self.lobby(id).unwrap().said.last();
        let is_pause = last.is_none_or(|last| now - last.at >= PAUSE);
        let said = Said {
            clock: is_pause.then(|| words::clock(self.rules.wall + now)),
            at: now,
            picture: client.picture,
            sender: self.name(who),
            tagged: tagged.map(str::to_owned),
            text: text.to_owned(),
            place,
            gone: false,
        };
        self.tell_lobby(id, &said.rendered(now));
        let age = self.rules.history_age;
        let lobby = self.lobby_mut(id).unwrap();
        lobby.said.push(said);
        lobby.give_place(now, age);
        self.talked.push((self.now, id, place));
    }

    fn direct(&mut self, who: Who, args: &str) {
        let (to, text) = split(args);
        if text.is_empty() {
            return self.tell(who, "Usage: /msg <user> <message>\n");
        }
        let Some(to) = self.find_user(to).map(|client| client.who) else {
            return self.tell_not_found(who, to);
        };
        if to == who {
            self.tell(who, "You cannot message yourself.\n");
        } else if text.chars().count() > LONGEST_MESSAGE {
            self.tell(who, &words::too_long("Message", LONGEST_MESSAGE, text));
        } else {
            let (from, other) = (self.name(who), self.name(to));
            let text = words::said(text);
            if self.behind.contains(&to) {
                return self.tell(who, &format!("{other}'s line is full: not delivered.\n"));
            }
            self.hear(to, &format!("[DM] {from} —» You\n  ╰─> {text}\n"));
            self.tell(who, &format!("[DM] You —» {other}\n  ╰─> {text}\n"));
        }
    }

    fn tag(&mut self, who: Who, args: &str) {
        let (tagged, text) = split(args);
        if text.is_empty() {
            return self.tell(who, "Usage: /tag <user> <message>\n");
        }
        let Some(tagged) = self.find_user(tagged).map(|client| client.who) else {
            return self.tell_not_found(who, tagged);
        };
        if text.chars().count() > LONGEST_MESSAGE {
            return self.tell(who, &words::too_long("Message", LONGEST_MESSAGE, text));
        }
        let lobby = self.lobby(self.client(who).lobby).unwrap();
        let (place, is_private) = (lobby.name.clone(), lobby.password.is_some());
        let is_here = self.client(tagged).lobby == lobby.id;
        let (by, name) = (self.name(who), self.name(tagged));
        if !is_here && is_private {
            return self.tell(who, &format!("{name} is not in this lobby.\n"));
        }
        self.publish(who, Some(&name), text);
        if is_here {
            self.hear(tagged, &format!("✦ {by} tagged you\n"));
        } else {
            let text = words::said(text);
            self.hear(tagged, &format!("✦ {by} tagged you in '{place}'\n  ╰─> {text}\n"));
        }
    }

    fn tell_not_found(&mut self, who: Who, name: &str) {
        let here = self.client(who).lobby;
        let others = self.clients.iter().filter(|other| other.who != who);
        let names = |others: Vec<&super::Client>| -> Vec<String> {
            others.iter().filter_map(|other| other.name.clone()).collect()
        };
        let near = names(others.clone().filter(|other| other.lobby == here).collect());
        let all = names(others.collect());
        let meant = |names: &[String]| {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            words::meant(name, name.len() / 3, &names).map(str::to_owned)
        };
        let meant = meant(&near).or_else(|| meant(&all));
        let error = words::not_found("User not found", name, meant.as_deref());
        self.tell(who, &format!("{error}\n"));
    }

    // ---- Looking around ----------------------------------------------------------------------

    fn list_users(&mut self, who: Who, word: &str) {
        let lobby = self.lobby(self.client(who).lobby).unwrap();
        let mut members = self.members(lobby.id);
        members.retain(|member| self.folded_name(*member).contains(&word.to_ascii_lowercase()));
        members.sort_by_key(|member| self.folded_name(*member));
        let with = with(word);
        let mut text = format!("=== Users in '{}'{with} ({}) ===\n", lobby.name, members.len());
        for member in members {
            text += &format!("{} {}\n", self.client(member).picture, self.name(member));
        }
        self.tell(who, &text);
    }

    fn list_lobbies(&mut self, who: Who, word: &str) {
        let folded = |name: &str| name.to_ascii_lowercase();
        let mut lobbies: Vec<_> = self.lobbies.iter().collect();
        lobbies.retain(|lobby| folded(&lobby.name).contains(&folded(word)));
        lobbies.sort_by_key(|lobby| (lobby.id != 0, lobby.name.to_ascii_lowercase()));
        let title = if word.is_empty() { "Available Lobbies" } else { "Lobbies" };
        let mut text = format!("=== {title}{} ({}) ===\n", with(word), lobbies.len());
        for lobby in lobbies {
            let privacy = if lobby.password.is_some() { "private" } else { "public" };
            let ai = if lobby.prompt.is_some() { "custom AI" } else { "default AI" };
            let (by, users) = (&lobby.creator_name, self.members(lobby.id).len());
            let description = match &*lobby.description {
                "" => "No description",
                description => description,
            };
            // Who is in a private lobby is nobody's business who is not.
            let is_told = lobby.password.is_none() || lobby.id == self.client(who).lobby;
            let users = if is_told { format!(" | Users: {users}") } else { String::new() };
            text += &format!("Lobby: {}\n", lobby.name);
            text += &format!("  Privacy: {privacy} | AI: {ai} | Created by: {by}{users}\n");
            text += &format!("  Description: {}\n", words::said(description));
        }
        self.tell(who, &text);
    }

    // ---- Setting things ----------------------------------------------------------------------

    fn set_picture(&mut self, who: Who, args: &str) {
        match &*args.to_ascii_lowercase() {
            "" | "default" => {
                self.client_mut(who).picture = picture::DEFAULT;
                self.tell(who, "Profile picture reset to default.\n");
            }
            "list" => self.client_mut(who).owe_fixed(Fixed::Pictures),
            name => match picture::find(name) {
                Some(picture) => {
                    self.client_mut(who).picture = picture;
                    self.tell(who, &format!("Profile picture changed to: {picture}\n"));
                }
                None => {
                    let known: Vec<_> = picture::PICTURES.iter().map(|(name, _)| *name).collect();
                    let meant = words::meant(name, name.len() / 3, &known);
                    let error = words::not_found("Profile picture not found", args, meant);
                    self.tell(who, &format!("{error} Use /sp list to see options.\n"));
                }
            },
        }
    }

    fn set_prompt(&mut self, who: Who, args: &str) {
        let id = self.client(who).lobby;
        if args.is_empty() {
            self.tell(who, "Usage: /setai <prompt | default>\n");
        } else if self.rules.questions_per_hour.is_none() {
            self.tell(who, "AI is not available on this server\n");
        } else if id == 0 {
            self.tell(who, "The AI prompt of general cannot be changed.\n");
        } else if !self.lobby(id).unwrap().is_of(who) {
            self.tell(who, "Only the creator of this lobby can change its AI prompt.\n");
        } else if args.chars().count() > 2000 {
            self.tell(who, &words::too_long("AI prompt", 2000, args));
        } else {
            let is_default = args.eq_ignore_ascii_case("default");
            self.lobby_mut(id).unwrap().prompt = (!is_default).then(|| args.to_owned());
            self.tell(who, "AI prompt updated!\n");
            let name = self.name(who);
            self.tell_lobby(id, &format!("[LOBBY] {name} updated the AI prompt\n"));
        }
    }
}

/// How a title repeats the word that names have to hold, if there is one.
fn with(word: &str) -> String {
    match word.chars().count() {
        0 => String::new(),
        1..=32 => format!(" with '{word}'"),
        _ => format!(" with '{}…'", word.chars().take(32).collect::<String>()),
    }
}
