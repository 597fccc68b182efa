//! Lobbies: who is in them, what was said recently, who made them, and their prompt for the
//! assistant.
//!
//! [`Lobbies`] owns them all, keeps names unique and numbers bounded. Sends nothing: the chat walks
//! the members and does that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::assistant::AskId;
use super::crowd::{Crowd, Way};
use super::name::fold;
use crate::clock::{ClockTime, RealTime};
use crate::gemini::Conversation;
use crate::id::ConnId;
use crate::limits::{HISTORY_BYTES, HISTORY_MESSAGES, MAX_LOBBIES, MAX_LOBBIES_PER_CREATOR};
use crate::outbox::PromptText;
use crate::password::PasswordHash;
use crate::rate::{AddrKey, SharedWindow};
use crate::share::{Claim, Shares};

/// The name of the lobby that everybody enters first and that is never removed.
pub const GENERAL: &str = "general";

/// The id of a lobby; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct LobbyId(u64);

/// One message as the history stores it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: RealTime,
    pub(super) picture: &'static str,
    pub(super) sender: Rc<str>,
    /// Where the sender was.
    pub(super) addr: AddrKey,
    /// The time of day, if it is shown above the message.
    pub(super) clock: Option<ClockTime>,
    /// Who is tagged in it, if anybody.
    pub(super) tagged: Option<Rc<str>>,
    pub(super) text: String,
}

impl Entry {
    /// Bytes of what people see of it.
    pub(super) fn bytes(&self) -> usize {
        let tagged = self.tagged.as_ref().map_or(0, |name| name.len());
        self.picture.len() + self.sender.len() + tagged + self.text.len()
    }
}

/// A lobby's latest messages, bounded in age, number and bytes.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// What of that is each address's. Few, and looked through rather than hashed.
    of: Vec<Part>,
    /// The allocation of a forgotten message, for the next one.
    spare: String,
}

/// What one address has of a history.
#[derive(Debug)]
struct Part {
    addr: AddrKey,
    messages: usize,
    bytes: usize,
}

/// Capacity beyond this is not kept for the next message: most are short.
const SPARE_BYTES: usize = 256;

impl History {
    /// Adds the latest message, and forgets those for which there is no room any more: of an address
    /// that has more than half of it the oldest, so that nobody empties it alone, or else the oldest of
    /// all.
    pub(super) fn push(&mut self, entry: Entry) {
        let (addr, bytes) = (entry.addr, entry.bytes());
        self.bytes += bytes;
        match self.of.iter_mut().find(|part| part.addr == addr) {
            Some(part) => {
                part.messages += 1;
                part.bytes += bytes;
            }
            None => self.of.push(Part { addr, messages: 1, bytes }),
        }
        self.entries.push_back(entry);
        while self.entries.len() > HISTORY_MESSAGES || self.bytes > HISTORY_BYTES {
            let has_most = |part: &&Part| {
                part.messages > HISTORY_MESSAGES / 2 && self.entries.len() > HISTORY_MESSAGES
                    || part.bytes > HISTORY_BYTES / 2 && self.bytes > HISTORY_BYTES
            };
            let addr = self.of.iter().find(has_most).map(|part| part.addr);
            let is_its = |entry: &Entry| addr.is_none_or(|addr| entry.addr == addr);
            let oldest = self.entries.iter().position(is_its).unwrap_or_default();
            self.remove(oldest);
        }
    }

    /// A copy of a text for the next message.
    pub(super) fn copy(&mut self, text: &str) -> String {
        let mut copy = std::mem::take(&mut self.spare);
        copy.clear();
        copy.push_str(text);
        copy
    }

    /// Forgets everything older than `max_age`.
    pub(super) fn prune(&mut self, now: RealTime, max_age: Duration) {
        while let Some(oldest) = self.entries.front() {
            if now.since(oldest.at) < max_age {
                break;
            }
            self.remove(0);
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
            self.of = Vec::new();
            self.spare = String::new();
        }
    }

    /// Bytes of names, pictures and texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the older half.
    pub(super) fn halve(&mut self) {
        let many = self.entries.len().div_ceil(2);
        (0..many).for_each(|_| self.remove(0));
        self.entries.shrink_to_fit();
        self.spare = String::new();
    }

    /// Oldest first.
    pub(super) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator + Clone {
        self.entries.iter()
    }

    /// When the oldest message was said.
    pub(super) fn oldest(&self) -> Option<RealTime> {
        self.entries.front().map(|entry| entry.at)
    }

    fn remove(&mut self, place: usize) {
        if let Some(entry) = self.entries.remove(place) {
            self.bytes -= entry.bytes();
            if let Some(at) = self.of.iter().position(|part| part.addr == entry.addr)
                && let Some(part) = self.of.get_mut(at)
            {
                part.messages -= 1;
                part.bytes -= entry.bytes();
                if part.messages == 0 {
                    self.of.swap_remove(at);
                }
            }
            if entry.text.capacity() <= SPARE_BYTES {
                self.spare = entry.text;
            }
        }
    }
}

/// Who created a lobby.
#[derive(Debug, Clone)]
pub(super) struct Creator {
    /// The session, not whoever holds its name later. `None` for the server itself.
    pub(super) session: Option<ConnId>,
    pub(super) addr: Option<AddrKey>,
    pub(super) name: Rc<str>,
}

/// One lobby.
#[derive(Debug)]
pub(super) struct Lobby {
    pub(super) name: Rc<str>,
    pub(super) description: Box<str>,
    pub(super) password: Option<PasswordHash>,
    pub(super) creator: Creator,
    /// The lobby's own AI prompt; `None` is the standard one.
    pub(super) prompt: Option<Box<str>>,
    /// Recent questions and answers here.
    pub(super) conversation: Conversation,
    /// The question that is being answered here.
    pub(super) asked: Option<AskId>,
    pub(super) members: Vec<ConnId>,
    /// The text of the prompt for those who are here, if it is not the usual one.
    pub(super) prompt_text: Option<PromptText>,
    pub(super) history: History,
    /// What it has heard lately, and from which addresses.
    pub(super) talk: SharedWindow,
    /// When something was last said here.
    pub(super) last_said: Option<RealTime>,
    arrivals: Crowd,
    departures: Crowd,
    /// When the oldest message is forgotten.
    pub(super) history_deadline: Option<Instant>,
    /// When the conversation is forgotten.
    pub(super) conversation_deadline: Option<Instant>,
    /// When the lobby is removed because it is empty.
    pub(super) removal: Option<Instant>,
}

impl Lobby {
    /// Recent arrivals and departures.
    pub(super) fn crowd(&mut self, way: Way) -> &mut Crowd {
        match way {
            Way::Arrival => &mut self.arrivals,
            Way::Departure => &mut self.departures,
        }
    }
}

/// Why a lobby could not be created. The chat renders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreateError {
    Exists,
    TooManyOfCreator,
    TooMany,
}

/// All lobbies.
#[derive(Debug)]
pub(super) struct Lobbies {
    /// Boxed, because the table keeps room for the largest number of lobbies there has been.
    by_id: HashMap<LobbyId, Box<Lobby>>,
    by_name: BTreeMap<Rc<str>, LobbyId>,
    by_creator: HashMap<AddrKey, u32>,
    general: LobbyId,
    last_id: u64,
}

impl Lobbies {
    /// Only `general`.
    pub(super) fn new() -> Self {
        let mut lobbies = Self {
            by_id: HashMap::new(),
            by_name: BTreeMap::new(),
            by_creator: HashMap::new(),
            general: LobbyId(0),
            last_id: 0,
        };
        let server = Creator { session: None, addr: None, name: "server".into() };
        lobbies.general = lobbies.insert(GENERAL.into(), "Where everybody starts", None, server);
        lobbies
    }

    pub(super) fn general(&self) -> LobbyId {
        self.general
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: LobbyId) -> Option<&Lobby> {
        self.by_id.get(&id).map(|lobby| &**lobby)
    }

    pub(super) fn get_mut(&mut self, id: LobbyId) -> Option<&mut Lobby> {
        self.by_id.get_mut(&id).map(|lobby| &mut **lobby)
    }

    /// The lobby of this name, without regard to case.
    pub(super) fn find(&self, name: &str) -> Option<LobbyId> {
        self.by_name.get(&fold(name)).copied()
    }

    /// `general` first, then by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lobby> {
        let others = self.by_name.values().filter(|id| **id != self.general);
        std::iter::once(&self.general).chain(others).filter_map(|id| self.get(*id))
    }

    /// All of them, in no particular order.
    pub(super) fn ids(&self) -> Vec<LobbyId> {
        self.by_id.keys().copied().collect()
    }

    /// Whether a lobby of this name may be created from this address.
    pub(super) fn check_new(&self, name: &str, addr: AddrKey) -> Result<(), CreateError> {
        if self.find(name).is_some() {
            Err(CreateError::Exists)
        } else if addr
            .levels()
            .any(|(level, times)| self.made_by(level) >= MAX_LOBBIES_PER_CREATOR * times)
        {
            Err(CreateError::TooManyOfCreator)
        } else if self.is_full() && self.gives_place().is_none() {
            Err(CreateError::TooMany)
        } else {
            Ok(())
        }
    }

    fn made_by(&self, addr: AddrKey) -> u32 {
        self.by_creator.get(&addr).copied().unwrap_or_default()
    }

    /// Whether one has to give place before another is made.
    pub(super) fn is_full(&self) -> bool {
        self.by_id.len() >= MAX_LOBBIES
    }

    /// The lobby that gives place to a new one: an empty one in which nobody ever spoke, the oldest of
    /// the address that made most of them, or else the empty one that was left longest ago. `None` if
    /// all are in use.
    pub(super) fn gives_place(&self) -> Option<LobbyId> {
        let empty = || {
            self.by_id
                .iter()
                .filter(|(_, lobby)| lobby.members.is_empty() && lobby.removal.is_some())
        };
        let mut unused: Vec<_> = empty()
            .filter(|(_, lobby)| lobby.last_said.is_none())
            .filter_map(|(id, lobby)| Some((*id, lobby.creator.addr?, lobby.removal?)))
            .collect();
        // From the newest to the oldest: the last claim of an address is its first lobby.
        unused.sort_unstable_by_key(|(id, ..)| std::cmp::Reverse(*id));
        let Some((.., since)) = unused.first().copied() else {
            return empty().min_by_key(|(_, lobby)| lobby.removal).map(|(id, _)| *id);
        };
        let claims =
            unused.into_iter().map(|(id, addr, _)| Claim { addr, amount: 1.0, since, what: id });
        Shares::default().last(since, claims)
    }

    /// Creates a lobby that [`Lobbies::check_new`] allows.
    pub(super) fn insert(
        &mut self,
        name: Rc<str>,
        description: &str,
        password: Option<PasswordHash>,
        creator: Creator,
    ) -> LobbyId {
        self.last_id += 1;
        let id = LobbyId(self.last_id);
        for (level, _) in creator.addr.into_iter().flat_map(AddrKey::levels) {
            *self.by_creator.entry(level).or_default() += 1;
        }
        self.by_name.insert(fold(&name), id);
        let lobby = Box::new(Lobby {
            name,
            description: description.into(),
            password,
            creator,
            prompt: None,
            conversation: Conversation::default(),
            asked: None,
            members: Vec::new(),
            prompt_text: None,
            history: History::default(),
            talk: SharedWindow::default(),
            last_said: None,
            arrivals: Crowd::default(),
            departures: Crowd::default(),
            history_deadline: None,
            conversation_deadline: None,
            removal: None,
        });
        self.by_id.insert(id, lobby);
        id
    }

    /// Removes everybody from all lobbies.
    pub(super) fn vacate_all(&mut self) {
        self.by_id.values_mut().for_each(|lobby| lobby.members.clear());
    }

    /// Removes a lobby with everything it holds.
    pub(super) fn remove(&mut self, id: LobbyId) -> Option<Box<Lobby>> {
        let lobby = self.by_id.remove(&id)?;
        self.by_name.remove(&fold(&lobby.name));
        for (level, _) in lobby.creator.addr.into_iter().flat_map(AddrKey::levels) {
            if let Some(count) = self.by_creator.get_mut(&level) {
                *count -= 1;
                if *count == 0 {
                    self.by_creator.remove(&level);
                }
            }
        }
        Some(lobby)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::clock::{WallClock, Zone};

    fn real(at: Instant) -> RealTime {
        WallClock::new(Zone::utc()).real(at)
    }

    fn entry(at: Instant, text: &str) -> Entry {
        Entry {
            at: real(at),
            picture: "[@_@]",
            sender: "alice".into(),
            addr: AddrKey::V6Net(1),
            clock: None,
            tagged: None,
            text: text.into(),
        }
    }

    #[test]
    fn history_is_bounded_in_number_bytes_and_age() {
        let start = Instant::now();
        let mut history = History::default();
        for n in 0..150 {
            history.push(entry(start, &n.to_string()));
        }
        assert_eq!(history.iter().count(), HISTORY_MESSAGES);
        assert_eq!(&*history.iter().next().unwrap().text, "50");

        let long = "x".repeat(4000);
        for _ in 0..50 {
            history.push(entry(start + Duration::from_secs(1), &long));
            assert!(history.bytes <= HISTORY_BYTES);
        }
        assert_eq!(history.bytes, history.iter().map(Entry::bytes).sum::<usize>());

        let half = history.iter().count() / 2;
        history.halve();
        assert_eq!(history.iter().count(), half);
        assert_eq!(history.bytes, history.iter().map(Entry::bytes).sum::<usize>());

        history.push(entry(start + Duration::from_secs(9), "last"));
        history.prune(real(start + Duration::from_secs(11)), Duration::from_secs(10));
        assert_eq!(history.iter().count(), 1);
        history.prune(real(start + Duration::from_secs(19)), Duration::from_secs(10));
        assert_eq!((history.iter().count(), history.bytes), (0, 0));
    }

    /// Seventeen lines of one address emptied a history.
    #[test]
    fn nobody_empties_a_history_alone() {
        let start = Instant::now();
        let from = |n, text: &str| Entry { addr: AddrKey::V6Net(n), ..entry(start, text) };
        let mut history = History::default();
        for n in 0..40 {
            history.push(from(n, "hello"));
        }
        for _ in 0..100 {
            history.push(from(99, &"x".repeat(4000)));
        }
        assert!(history.iter().filter(|entry| entry.text == "hello").count() == 40);
        let own =
            |history: &History| history.iter().filter(|e| e.addr == AddrKey::V6Net(99)).count();
        assert!((8..=16).contains(&own(&history)));
        // By number as well.
        for _ in 0..200 {
            history.push(from(99, "x"));
        }
        assert!(history.iter().filter(|entry| entry.text == "hello").count() == 40);
        assert_eq!((history.iter().count(), own(&history)), (100, 60));
        // Where nobody has more than half the oldest goes.
        for n in 100..170 {
            history.push(from(n, "new"));
        }
        assert_eq!(history.iter().filter(|entry| entry.text == "new").count(), 70);
        assert_eq!(history.bytes, history.iter().map(Entry::bytes).sum::<usize>());
        assert_eq!(history.of.iter().map(|part| part.bytes).sum::<usize>(), history.bytes);
        history.halve();
        assert_eq!(history.of.iter().map(|part| part.messages).sum::<usize>(), 50);
    }

    #[test]
    fn the_bytes_of_a_history_are_its_pictures_names_and_texts() {
        let start = Instant::now();
        let tagged = Some("bob".into());
        let one = Entry { tagged, ..entry(start, &"x".repeat(1024 - "[@_@]alicebob".len())) };
        let mut history = History::default();
        for n in 1..=64 {
            history.push(one.clone());
            assert_eq!((history.bytes, history.iter().count()), (n * 1024, n));
        }
        // All 64 KiB are used, and one byte more costs the oldest.
        assert_eq!(history.bytes, HISTORY_BYTES);
        history.push(one);
        assert_eq!((history.bytes, history.iter().count()), (HISTORY_BYTES, 64));
    }

    #[test]
    fn lobbies_are_unique_bounded_and_counted_by_creator() {
        let addr = AddrKey::V6Net(1);
        let creator = Creator { session: None, addr: Some(addr), name: "alice".into() };
        let mut lobbies = Lobbies::new();
        assert_eq!(lobbies.check_new("GENERAL", addr), Err(CreateError::Exists));
        let ids: Vec<_> = ["b", "a", "c", "d", "e"]
            .iter()
            .map(|name| {
                assert_eq!(lobbies.check_new(name, addr), Ok(()));
                lobbies.insert((*name).into(), "", None, creator.clone())
            })
            .collect();
        assert_eq!(lobbies.check_new("f", addr), Err(CreateError::TooManyOfCreator));
        assert_eq!(lobbies.check_new("f", AddrKey::V6Net(2)), Ok(()));
        let names: Vec<_> = lobbies.iter().map(|lobby| &*lobby.name).collect();
        assert_eq!(names, ["general", "a", "b", "c", "d", "e"]);
        lobbies.remove(ids[0]);
        assert_eq!(lobbies.find("b"), None);
        assert_eq!(lobbies.check_new("f", addr), Ok(()));
        // The other four still count.
        lobbies.insert("f".into(), "", None, creator.clone());
        assert_eq!(lobbies.check_new("g", addr), Err(CreateError::TooManyOfCreator));
        lobbies.find("f").map(|f| lobbies.remove(f));
        ids.iter().for_each(|id| drop(lobbies.remove(*id)));
        assert!(lobbies.by_creator.is_empty() && lobbies.len() == 1);
    }

    #[test]
    fn of_a_thousand_lobbies_that_are_gone_little_stays() {
        fn bytes<K, V>(table: &HashMap<K, V>) -> usize {
            table.capacity() * size_of::<(K, V)>()
        }
        let mut lobbies = Lobbies::new();
        let creator = Creator { session: None, addr: None, name: "alice".into() };
        let ids: Vec<_> = (0..1000)
            .map(|n| lobbies.insert(format!("lobby{n}").into(), "", None, creator.clone()))
            .collect();
        ids.iter().for_each(|id| drop(lobbies.remove(*id)));
        assert!(bytes(&lobbies.by_id) < 32 * 1024, "{} bytes", bytes(&lobbies.by_id));
    }
}
