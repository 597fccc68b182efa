//! What holds whatever the rules of the chat are, judged by what people see alone: a word goes where
//! it may and nowhere else, nobody is heard more often than the limit says, names are unique.
//!
//! Every text that somebody types holds a token of its own, `m17`; a token on a screen or in a
//! request tells whose words they are. A second opinion beside the model: knows of the rules only
//! where words may go. Lobbies of the names in [`PRIVATE`] are always made with a password.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mio_chat::rate::AddrKey;

use super::model::{Model, Started, Who};
use super::world::Client;

/// Lobbies that are private whenever they exist.
pub const PRIVATE: &[&str] = &["den", "vault"];

/// Where somebody's words may be seen.
enum Audience {
    /// By the two of them.
    Two(Who, Option<Who>),
    /// By those who have been in this lobby, and one who is tagged from a public one.
    Lobby(String, Option<Who>),
    /// By the speaker alone: errors quote nothing, so in truth by nobody.
    Nobody,
}

struct Word {
    at: Duration,
    /// Whose limit it counts against.
    speaker: (String, AddrKey),
    audience: Audience,
    seen: bool,
}

pub struct Laws {
    limit: usize,
    window: Duration,
    words: BTreeMap<u64, Word>,
    /// The lobbies that each client has been told that it joined.
    visited: BTreeSet<(Who, String)>,
}

impl Laws {
    pub fn new(limit: usize, window: Duration) -> Self {
        Self { limit, window, words: BTreeMap::new(), visited: BTreeSet::new() }
    }

    /// Somebody is about to say this.
    pub fn said(
        &mut self,
        now: Duration,
        who: Who,
        model: &Model,
        clients: &BTreeMap<Who, Box<Client>>,
        line: Option<&str>,
    ) {
        let Some((name, lobby)) = model.name_of(who).zip(model.lobby_of(who)) else { return };
        let line = line.unwrap_or_default().trim();
        let Some(token) = tokens(line).first().copied() else { return };
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default().to_lowercase();
        let whom = words.next().unwrap_or_default();
        let named = |name: &str| {
            clients.keys().copied().find(|other| {
                model.name_of(*other).is_some_and(|other| other.eq_ignore_ascii_case(name))
            })
        };
        let lobby = lobby.to_lowercase();
        let audience = match command.as_str() {
            "/msg" => Audience::Two(who, named(whom)),
            "/tag" if PRIVATE.contains(&&*lobby) => Audience::Lobby(lobby, None),
            "/tag" => Audience::Lobby(lobby, named(whom)),
            "/ai" => Audience::Lobby(lobby, None),
            // Descriptions are for everybody, prompts and passwords for nobody.
            "/create" => return,
            command if command.starts_with("//") => Audience::Lobby(lobby, None),
            command if command.starts_with('/') => Audience::Nobody,
            _ => Audience::Lobby(lobby, None),
        };
        let speaker = (name.to_lowercase(), AddrKey::from(clients[&who].ip));
        self.words.insert(token, Word { at: now, speaker, audience, seen: false });
    }

    /// Somebody sees this text.
    pub fn seen(&mut self, who: Who, text: &str) {
        // On a narrow screen some go on below.
        for line in text.replace("\n      ", " ").lines() {
            if let Some(lobby) =
                line.strip_prefix("Joined lobby '").and_then(|l| l.strip_suffix('\''))
            {
                self.visited.insert((who, lobby.to_lowercase()));
            }
            for token in tokens(line) {
                let Some(word) = self.words.get_mut(&token) else { continue };
                word.seen = true;
                let fine = match &word.audience {
                    Audience::Two(from, to) => who == *from || Some(who) == *to,
                    Audience::Lobby(lobby, tagged) => {
                        lobby == "general"
                            || Some(who) == *tagged
                            || self.visited.contains(&(who, lobby.clone()))
                    }
                    Audience::Nobody => false,
                };
                assert!(fine, "{who} may not see this: {line:?}");
            }
        }
    }

    /// What the service is asked: exactly what the model says, nobody's direct words, and nothing of
    /// another lobby.
    pub fn check_body(&self, body: &[u8], started: &Started, persona: &str) {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let parts = &body["systemInstruction"]["parts"];
        let personality = parts[0]["text"].as_str().unwrap();
        assert_eq!(personality, started.prompt.as_deref().unwrap_or(persona));
        assert!(parts[1]["text"].as_str().unwrap().contains(&format!("'{}'", started.lobby)));
        let mut asked = String::new();
        for content in body["contents"].as_array().unwrap() {
            for line in content["parts"][0]["text"].as_str().unwrap().lines() {
                // Whose words they are stands before the first colon; an answer is nobody's.
                let is_answer = content["role"] == "model";
                let words = line.split_once(": ").filter(|_| !is_answer).map(|(_, words)| words);
                asked.push_str(words.unwrap_or(line));
                asked.push('\n');
            }
        }
        let expected: Vec<_> = started.texts.iter().flat_map(|text| tokens(text)).collect();
        assert_eq!(tokens(&asked), expected, "the question of {}", started.asker);
        let last = body["contents"].as_array().unwrap().last().unwrap();
        let last = last["parts"][0]["text"].as_str().unwrap().lines().last().unwrap();
        assert!(last.starts_with(&format!("{} asks: ", started.asker)), "{last}");
        for token in expected {
            if let Some(word) = self.words.get(&token) {
                let Audience::Lobby(lobby, _) = &word.audience else {
                    panic!("the assistant is told what is not for it: m{token}");
                };
                assert_eq!(*lobby, started.lobby.to_lowercase());
            }
        }
    }

    pub fn check_names<'a>(&self, model: &Model, clients: impl Iterator<Item = &'a Who>) {
        let mut names: Vec<_> =
            clients.filter_map(|who| model.name_of(*who)).map(str::to_lowercase).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }

    /// Nobody was heard more often than the limit allows, in any window.
    pub fn check_windows(&self) {
        if self.limit == 0 {
            return;
        }
        let mut heard: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
        for word in self.words.values().filter(|word| word.seen) {
            heard.entry(&word.speaker).or_default().push(word.at);
        }
        for (speaker, mut times) in heard {
            times.sort_unstable();
            let too_many =
                times.windows(self.limit + 1).find(|some| some[self.limit] - some[0] < self.window);
            assert!(too_many.is_none(), "{speaker:?} was heard at {too_many:?}");
        }
    }
}

/// The numbers of all tokens in a text, in order.
pub fn tokens(text: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        if let Some(digits) = word.strip_prefix('m')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            found.extend(digits.parse::<u64>());
        }
    }
    found
}
