//! The names of users and lobbies: their form, which are reserved, and which look alike.
//!
//! Owns no state; who has which name is the chat's business.

use std::fmt;
use std::rc::Rc;

use crate::count::count;
use crate::limits::{LOBBY_NAME_CHARS, USERNAME_CHARS};

/// Names that no user may take, nor any name that looks like them: those of the server and of Rox,
/// words that stand for somebody, and what the server prints in brackets.
const RESERVED: &[&str] = &[
    "server",
    "system",
    "admin",
    "operator",
    "root",
    "rox",
    "ai",
    "you",
    "me",
    "dm",
    "mail",
    "lobby",
    "everyone",
    "here",
    "connected",
    "just-now",
    "bot",
];

/// The same for lobbies, whose names appear in the prompt: words that speak for the server, and
/// anything that could be taken for the lobby where everybody starts.
const RESERVED_LOBBIES: &[&str] = &["server", "system", "lobby", "dm", super::GENERAL];

/// Names shorter than this are too short to resemble others: they are reserved only as they are
/// read.
const ALIKE_LETTERS: usize = 4;

/// Why a name is refused. `Display` is what the user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Fewer characters than allowed.
    TooShort(What),
    /// More characters than allowed.
    TooLong(What),
    /// A character that is not allowed; with the name without its accents, if that would be
    /// allowed.
    Characters(What, Option<String>),
    /// Somebody has it. With the seconds after which it may be free, if the request came from its
    /// holder's address and the holder's connection is being probed.
    Taken(Option<u64>),
    /// It looks like the name of this user, who is here.
    TooMuchLike(Rc<str>),
    /// It is reserved.
    Reserved(What),
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A user.
    User,
    /// A lobby.
    Lobby,
}

impl What {
    fn limits(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::User => USERNAME_CHARS,
            Self::Lobby => LOBBY_NAME_CHARS,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "Username",
            Self::Lobby => "Lobby name",
        })
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(what) => {
                write!(f, "{what} too short (min {} characters)", what.limits().start())
            }
            Self::TooLong(what) => {
                write!(f, "{what} too long (max {} characters)", what.limits().end())
            }
            Self::Characters(what, without) => {
                write!(f, "{what} can only contain letters, numbers, - and _")?;
                match without {
                    Some(without) => write!(f, " (A to Z without accents: {without}?)"),
                    None => Ok(()),
                }
            }
            Self::Taken(wait) => {
                f.write_str("Username already taken, try another.")?;
                match wait {
                    None => Ok(()),
                    Some(secs) => {
                        write!(f, " If it was you: try again in {}.", count(*secs, "second"))
                    }
                }
            }
            Self::TooMuchLike(name) => write!(f, "Too much like '{name}', who is here."),
            Self::Reserved(what) => write!(f, "{what} is reserved, try another."),
        }
    }
}

/// Checks the form of a name, which is the same for users and lobbies.
///
/// # Errors
/// It is too short, too long, or has a character that is not allowed.
pub fn check_form(name: &str, what: What) -> Result<(), NameError> {
    let chars = name.chars().count();
    if chars < *what.limits().start() {
        Err(NameError::TooShort(what))
    } else if chars > *what.limits().end() {
        Err(NameError::TooLong(what))
    } else if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        Ok(())
    } else {
        let without = without_accents(name).filter(|name| check_form(name, what).is_ok());
        Err(NameError::Characters(what, without))
    }
}

/// Whether nobody may take this name, whose form is right: it is reserved, looks like a reserved
/// one, or contains neither a letter nor a digit.
#[must_use]
pub fn is_reserved(name: &str, what: What) -> bool {
    let names = match what {
        What::User => RESERVED,
        What::Lobby => RESERVED_LOBBIES,
    };
    let (own, read) = (skeleton(name), read(name));
    own.is_empty()
        || names.iter().any(|reserved| match reserved.len() {
            ..ALIKE_LETTERS => read == *reserved,
            _ => own == skeleton(reserved),
        })
}

/// A name as it is looked up: in lower case.
#[must_use]
pub fn fold(name: &str) -> Rc<str> {
    name.to_ascii_lowercase().into()
}

/// What names that look alike have in common: lower case, one letter for those that look the same
/// (`i`, `l`, `1`; `o`, `0`), and no `-` or `_`.
#[must_use]
pub fn skeleton(name: &str) -> Rc<str> {
    let letter = |b: u8| match b.to_ascii_lowercase() {
        b'i' | b'l' | b'1' => 'l',
        b'o' | b'0' => 'o',
        b => char::from(b),
    };
    let letters: String = name.bytes().filter(|b| !matches!(b, b'-' | b'_')).map(letter).collect();
    letters.into()
}

/// A short name as it is read aloud: in lower case, with digits turned back into letters, and
/// without `-` and `_`.
fn read(name: &str) -> String {
    let letter = |b: u8| match b.to_ascii_lowercase() {
        b'1' => 'i',
        b'0' => 'o',
        b => char::from(b),
    };
    name.bytes().filter(|b| !matches!(b, b'-' | b'_')).map(letter).collect()
}

/// A name with the accents removed from its Latin letters, if it has any.
fn without_accents(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut changed = false;
    for c in name.chars() {
        if let Some(plain) = plain(c) {
            changed = true;
            out.push_str(plain);
        } else {
            out.push(c);
        }
    }
    changed.then_some(out)
}

/// The letters of A to Z that replace one with an accent (Unicode's blocks Latin-1 Supplement,
/// Latin Extended-A and, for Vietnamese, Latin Extended Additional); nothing for an accent by
/// itself.
fn plain(c: char) -> Option<&'static str> {
    const LATIN_1: &str = "A A A A A A AE C E E E E I I I I D N O O O O O * O U U U U Y TH ss \
        a a a a a a ae c e e e e i i i i d n o o o o o * o u u u u y th y";
    const EXTENDED_A: &str = "A a A a A a C c C c C c C c D d D d E e E e E e E e E e G g G g \
        G g G g H h H h I i I i I i I i I i IJ ij J j K k k L l L l L l L l L l N n N n N n n \
        N n O o O o O o OE oe R r R r R r S s S s S s S s T t T t T t U u U u U u U u U u U u \
        W w Y y Y Z z Z z Z z s";
    const VIETNAMESE: [(char, &str, &str); 6] = [
        ('\u{1eb7}', "A", "a"),
        ('\u{1ec7}', "E", "e"),
        ('\u{1ecb}', "I", "i"),
        ('\u{1ee3}', "O", "o"),
        ('\u{1ef1}', "U", "u"),
        ('\u{1ef9}', "Y", "y"),
    ];
    let nth = |letters: &'static str, first: char| {
        let n = usize::try_from(u32::from(c) - u32::from(first)).ok()?;
        letters.split_whitespace().nth(n).filter(|plain| *plain != "*")
    };
    match c {
        '\u{300}'..='\u{36f}' => Some(""),
        '\u{c0}'..='\u{ff}' => nth(LATIN_1, '\u{c0}'),
        '\u{100}'..='\u{17f}' => nth(EXTENDED_A, '\u{100}'),
        'ơ' => Some("o"),
        'Ơ' => Some("O"),
        'ư' => Some("u"),
        'Ư' => Some("U"),
        'ș' => Some("s"),
        'Ș' => Some("S"),
        'ț' => Some("t"),
        'Ț' => Some("T"),
        '\u{1ea0}'..='\u{1ef9}' => {
            let (_, upper, lower) = VIETNAMESE.iter().find(|(last, ..)| c <= *last)?;
            Some(if u32::from(c) % 2 == 0 { upper } else { lower })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_names() {
        let check = |name| check_form(name, What::User).map_err(|e| e.to_string());
        for good in ["al", "Alice-in_W0nderland99", "__"] {
            let good = &good[..good.len().min(20)];
            assert_eq!(check(good), Ok(()));
        }
        let short = Err("Username too short (min 2 characters)".to_owned());
        let long = Err("Username too long (max 20 characters)".to_owned());
        let odd = Err("Username can only contain letters, numbers, - and _".to_owned());
        assert_eq!(check(""), short);
        assert_eq!(check("é"), short);
        assert_eq!(check("abcdefghijklmnopqrstu"), long);
        assert_eq!(check("日本"), odd);
        assert_eq!(check("a b"), odd);
        assert_eq!(check_form(&"x".repeat(32), What::Lobby), Ok(()));
        assert_eq!(
            check_form(&"x".repeat(33), What::Lobby).map_err(|e| e.to_string()),
            Err("Lobby name too long (max 32 characters)".to_owned())
        );
    }

    #[test]
    fn a_name_with_accents_is_told_without_them() {
        for (name, without) in [
            ("José", Some("Jose")),
            ("Jose\u{301}", Some("Jose")),
            ("Jérôme-2", Some("Jerome-2")),
            ("Łukasz", Some("Lukasz")),
            ("Žofie", Some("Zofie")),
            ("Strauß", Some("Strauss")),
            ("Æsir", Some("AEsir")),
            ("Nguyễn", Some("Nguyen")),
            ("Đặng", Some("Dang")),
            ("Øystein", Some("Oystein")),
            ("ÿſ", Some("ys")),
            ("ÞÐ", Some("THD")),
            // What is left has to be a name.
            ("José María", None),
            ("é\u{301}", None),
            ("äöüßßßßßßßßßßßßßßß", None),
            ("3×4", None),
            ("日本é", None),
            ("a.b", None),
        ] {
            let error = check_form(name, What::User).unwrap_err();
            assert_eq!(error, NameError::Characters(What::User, without.map(str::to_owned)));
        }
        assert_eq!(
            check_form("José", What::User).unwrap_err().to_string(),
            "Username can only contain letters, numbers, - and _ (A to Z without accents: Jose?)"
        );
    }

    #[test]
    fn reserved_is_what_is_read_as_a_reserved_name() {
        for name in RESERVED {
            assert!(is_reserved(name, What::User), "{name}");
            assert!(is_reserved(&name.to_uppercase(), What::User), "{name}");
        }
        for name in [
            "Server-",
            "S-y-s-t-e-m",
            "Adm1n",
            "AdmIn",
            "admln",
            "0perator",
            "R00T",
            "ro_ot",
            "mai1",
            "MAlL",
            "L0BBY",
            "Iobby",
            "he_re",
            "Rox",
            "R0X",
            "r-o-x",
            "A1",
            "a-i",
            "D_M",
            "y0u",
            "ME",
            "justnow",
            "c0nnected",
            "B0T",
            "--",
            "_-_",
            "__",
        ] {
            assert!(is_reserved(name, What::User), "{name}");
        }
        for name in [
            "alice", "Al", "al_", "servers", "roxy", "rot", "Ron", "mia", "yo", "m3", "A2", "d0m",
            "general", "mall1", "chess", "-a", "1l",
        ] {
            assert!(!is_reserved(name, What::User), "{name}");
        }
        for name in ["SERVER", "L0bby", "dm", "D-M", "genera1", "Gene-ral", "----"] {
            assert!(is_reserved(name, What::Lobby), "{name}");
        }
        for name in ["ai", "here", "admin", "you", "rox", "generals", "coding"] {
            assert!(!is_reserved(name, What::Lobby), "{name}");
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("alice", "aIice"),
            ("alice", "A1_ice-"),
            ("bob", "B0b"),
            ("Oliver", "0LIVER"),
            ("x-1", "xl"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        for (one, other) in [("alice", "alicia"), ("bob", "rob"), ("user1", "user11")] {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
        assert_eq!(&*skeleton("-_"), "");
    }
}
