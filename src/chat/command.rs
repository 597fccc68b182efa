//! What a line that starts with `/` means: one table behind parsing, `/help` and usage lines.
//!
//! Decides what was asked for and whether all arguments are there, not whether it is allowed. Owns
//! no state.

use std::fmt;

use super::nearest::Mistyped;
use super::render::NotFound;

use crate::limits::COLUMNS;
use crate::text;

/// A well-formed command, its arguments borrowed from the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// List the commands.
    Help,
    /// List who is in the lobby, all or those whose names hold this.
    Users(Option<&'a str>),
    /// List the lobbies, all or those whose names hold this.
    Lobbies(Option<&'a str>),
    /// Make a lobby; private if there is a password.
    Create {
        /// Its name.
        name: &'a str,
        /// Its password, as it was typed; `None` makes it public.
        password: Option<&'a [u8]>,
        /// What it is for, as it was typed.
        description: &'a [u8],
    },
    /// Go to another lobby.
    Join {
        /// Its name.
        name: &'a str,
        /// The rest of the line as it was typed, if there is one.
        password: Option<&'a [u8]>,
    },
    /// Choose a picture by name.
    Picture(&'a str),
    /// Go back to the default picture.
    ResetPicture,
    /// List the pictures.
    ListPictures,
    /// Say something to one user.
    Message {
        /// Whom to.
        user: &'a str,
        /// What.
        text: &'a str,
    },
    /// Say something to the lobby with somebody's name on it.
    Tag {
        /// Whose name.
        user: &'a str,
        /// What.
        text: &'a str,
    },
    /// Ask the assistant.
    Ask(&'a str),
    /// Set the lobby's AI prompt; `None` restores the standard one.
    SetPrompt(Option<&'a str>),
    /// Turn escape sequences on or off.
    Color(bool),
    /// Have texts broken into rows of at most so many columns; `None`: not at all.
    Width(Option<u16>),
    /// Leave.
    Quit,
}

impl Command<'_> {
    /// Whether it changes nothing and nobody else hears of it.
    #[must_use]
    pub fn only_shows(&self) -> bool {
        match self {
            Self::Help | Self::Users(_) | Self::Lobbies(_) | Self::ListPictures => true,
            Self::Ask(question) => question.eq_ignore_ascii_case("status"),
            _ => false,
        }
    }

    /// Whether everybody in the lobby hears it at once.
    #[must_use]
    pub fn talks(&self) -> bool {
        match self {
            Self::Tag { .. } => true,
            Self::Ask(question) => !self.only_shows() && !question.eq_ignore_ascii_case("stop"),
            _ => false,
        }
    }
}

/// Why a line that starts with `/` is no command.
#[derive(Debug, PartialEq, Eq)]
pub enum CommandError<'a> {
    /// There is no command of that name. What follows it may be a password: only the name is
    /// repeated.
    Unknown(&'a str),
    /// An argument is missing or wrong: the command and the arguments it takes.
    Usage(&'static str, &'static str),
}

impl fmt::Display for CommandError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let nearest = Mistyped::word(name).nearest(COMMANDS.iter().map(|spec| spec.name));
                let about = NotFound { what: "Unknown command", name, nearest };
                write!(f, "{about} Type /help for available commands.")
            }
            Self::Usage(name, args) => write!(f, "Usage: {name} {args}"),
        }
    }
}

/// Reads arguments: as text, and the whole line as it was typed, for what has to be taken so.
type Parse = for<'a> fn(&'a str, &'a [u8]) -> Option<Command<'a>>;

/// A row of the table.
pub struct Spec {
    /// The name, with its slash.
    pub name: &'static str,
    /// The arguments, as the usage line shows them.
    pub args: &'static str,
    /// What it does, for `/help`.
    pub help: &'static str,
    parse: Parse,
}

/// Every command, in the order of `/help`.
pub static COMMANDS: &[Spec] = &[
    Spec { name: "/help", args: "", help: "Show this help", parse: |_, _| Some(Command::Help) },
    Spec {
        name: "/users",
        args: "[word]",
        help: "List the users here, or some",
        parse: |rest, _| Some(Command::Users(some(rest))),
    },
    Spec {
        name: "/lobbies",
        args: "[word]",
        help: "List all lobbies, or some",
        parse: |rest, _| Some(Command::Lobbies(some(rest))),
    },
    Spec {
        name: "/create",
        args: "<name> [password] <desc>",
        help: "Create a lobby; password no-pass: public",
        parse: create,
    },
    Spec { name: "/join", args: "<name> [password]", help: "Go to another lobby", parse: join },
    Spec {
        name: "/sp",
        args: "[name | list | default]",
        help: "Set your profile picture, or list them",
        parse: |rest, _| {
            Some(match rest.to_ascii_lowercase().as_str() {
                "" | "default" => Command::ResetPicture,
                "list" => Command::ListPictures,
                _ => Command::Picture(rest),
            })
        },
    },
    Spec {
        name: "/msg",
        args: "<user> <message>",
        help: "Send a direct message",
        parse: |rest, _| two(rest).map(|(user, text)| Command::Message { user, text }),
    },
    Spec {
        name: "/tag",
        args: "<user> <message>",
        help: "Tag a user in the lobby",
        parse: |rest, _| two(rest).map(|(user, text)| Command::Tag { user, text }),
    },
    Spec {
        name: "/ai",
        args: "<question>",
        help: "Ask Rox, the AI; also: /ai status, /ai stop",
        parse: |rest, _| some(rest).map(Command::Ask),
    },
    Spec {
        name: "/setai",
        args: "<prompt | default>",
        help: "Set the AI prompt of a lobby you created",
        parse: |rest, _| {
            let prompt = some(rest)?;
            Some(Command::SetPrompt(
                Some(prompt).filter(|prompt| !prompt.eq_ignore_ascii_case("default")),
            ))
        },
    },
    Spec {
        name: "/color",
        args: "<on | off>",
        help: "Turn colours and the prompt on or off",
        parse: |rest, _| match rest.to_ascii_lowercase().as_str() {
            "on" => Some(Command::Color(true)),
            "off" => Some(Command::Color(false)),
            _ => None,
        },
    },
    Spec {
        name: "/width",
        args: "<20 to 500 | off>",
        help: "Say how many columns your screen has",
        parse: |rest, _| {
            if rest.eq_ignore_ascii_case("off") {
                return Some(Command::Width(None));
            }
            let columns = rest.parse().ok().filter(|columns| COLUMNS.contains(columns))?;
            Some(Command::Width(Some(columns)))
        },
    },
    Spec { name: "/quit", args: "", help: "Leave the server", parse: |_, _| Some(Command::Quit) },
];

/// Reads a line that begins with `/`: as text, without blanks around it, and `typed`, the same before
/// it was cleaned, since passwords are no text. The name ends at the first blank and is matched without
/// regard to case.
///
/// # Errors
/// There is no such command, or it lacks an argument.
pub fn parse<'a>(line: &'a str, typed: &'a [u8]) -> Result<Command<'a>, CommandError<'a>> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let spec = find(name).ok_or(CommandError::Unknown(name))?;
    (spec.parse)(rest.trim(), typed).ok_or(CommandError::Usage(spec.name, spec.args))
}

/// Whether a line with blanks before its first `/` is a command all the same, well spelt or nearly so:
/// nobody is to tell a lobby its password because of a blank too many.
#[must_use]
pub fn is_meant(line: &str) -> bool {
    let name = line.split(char::is_whitespace).next().unwrap_or(line);
    let nearly = || Mistyped::name(name).nearest(COMMANDS.iter().map(|spec| spec.name)).is_some();
    find(name).is_some() || nearly()
}

fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
}

fn some(rest: &str) -> Option<&str> {
    Some(rest).filter(|rest| !rest.is_empty())
}

/// The first word, and the rest, which must not be empty.
fn two(rest: &str) -> Option<(&str, &str)> {
    let (first, rest) = rest.split_once(char::is_whitespace)?;
    Some((first, some(rest.trim_start())?))
}

/// What stands in a typed line behind its first two words and one blank.
fn behind_two_words(typed: &[u8]) -> &[u8] {
    let (_command, rest) = text::split_word(typed);
    let (_name, rest) = text::split_word(rest);
    rest
}

/// With two arguments the second is the description of a public lobby; with more it is the
/// password, where `no-pass` and `""` stand for none. It may be quoted to hold spaces.
fn create<'a>(rest: &'a str, typed: &'a [u8]) -> Option<Command<'a>> {
    let (name, _) = two(rest)?;
    let rest = text::behind_blanks(behind_two_words(typed));
    let (second, quoted, rest) = match quoted(rest) {
        Some((inside, rest)) => (inside, true, rest),
        None => {
            let (word, rest) = text::split_word(rest);
            (word, false, rest)
        }
    };
    let description = text::behind_blanks(rest).trim_ascii_end();
    if description.is_empty() {
        return Some(Command::Create { name, password: None, description: second });
    }
    let none = second.is_empty() || (!quoted && second == b"no-pass");
    Some(Command::Create { name, password: (!none).then_some(second), description })
}

/// What stands in double quotes at the start, if the closing one ends a word, and what follows.
fn quoted(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest.iter().position(|b| *b == b'"')?;
    let (inside, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
    let behind = text::behind_blanks(rest);
    (rest.is_empty() || behind.len() < rest.len()).then_some((inside, behind))
}

fn join<'a>(rest: &'a str, typed: &'a [u8]) -> Option<Command<'a>> {
    let name = some(rest.split(char::is_whitespace).next()?)?;
    let password = behind_two_words(typed);
    let inside = password.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    // With another quote inside it was no quoted password for `/create` either.
    let password = inside.filter(|inside| !inside.contains(&b'"')).unwrap_or(password);
    Some(Command::Join { name, password: Some(password).filter(|text| !text.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command<'_>, CommandError<'_>> {
        super::parse(line, line.as_bytes())
    }

    fn created(line: &'static str) -> (Option<&'static str>, &'static str) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let line = format!("/create {line}").leak();
        match parse(line) {
            Ok(Command::Create { password, description, .. }) => {
                (password.map(text), text(description))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_end_at_the_first_blank_and_have_no_case() {
        assert_eq!(parse("/HELP"), Ok(Command::Help));
        assert_eq!(
            parse("/Msg bob  hi  there"),
            Ok(Command::Message { user: "bob", text: "hi  there" })
        );
        assert_eq!(parse("/HELP\u{a0}x"), Ok(Command::Help));
        assert_eq!(
            parse("/msg\u{3000}bob\u{3000}hi"),
            Ok(Command::Message { user: "bob", text: "hi" })
        );
        for line in ["/", "//", "/helpme", "/msgbob hi"] {
            let name = line.split(' ').next().unwrap();
            assert_eq!(parse(line), Err(CommandError::Unknown(name)), "{line}");
        }
    }

    #[test]
    fn a_known_command_without_its_arguments_gives_its_usage() {
        for (line, name, args) in [
            ("/msg", "/msg", "<user> <message>"),
            ("/msg bob", "/msg", "<user> <message>"),
            ("/tag bob ", "/tag", "<user> <message>"),
            ("/create", "/create", "<name> [password] <desc>"),
            ("/create x", "/create", "<name> [password] <desc>"),
            ("/join", "/join", "<name> [password]"),
            ("/ai", "/ai", "<question>"),
            ("/setai ", "/setai", "<prompt | default>"),
            ("/color blue", "/color", "<on | off>"),
        ] {
            assert_eq!(parse(line), Err(CommandError::Usage(name, args)), "{line}");
        }
    }

    #[test]
    fn create_tells_password_and_description_apart() {
        assert_eq!(created("x desc"), (None, "desc"));
        assert_eq!(created("x pw some desc"), (Some("pw"), "some desc"));
        assert_eq!(created("x no-pass some desc"), (None, "some desc"));
        assert_eq!(created("x \"\" some desc"), (None, "some desc"));
        assert_eq!(created("x \"two words\" some desc"), (Some("two words"), "some desc"));
        assert_eq!(created("x \"no-pass\" desc"), (Some("no-pass"), "desc"));
        assert_eq!(created("x \"only a description\""), (None, "only a description"));
        assert_eq!(created("x \"open desc"), (Some("\"open"), "desc"));
        assert_eq!(created("x no-pass"), (None, "no-pass"));
        // Blanks of other kinds, which keyboards and editors put in unasked.
        for line in ["x pw some desc", "x\u{a0}pw some desc", "x pw\u{a0}some desc"] {
            assert_eq!(created(line), (Some("pw"), "some desc"), "{line:?}");
        }
        assert_eq!(created("x\u{3000}\u{3000}pw\u{3000}some desc"), (Some("pw"), "some desc"));
        assert_eq!(created("x \"two words\"\u{a0}some desc"), (Some("two words"), "some desc"));
        assert_eq!(created("x\u{200b} p\u{200b}w some desc"), (Some("p\u{200b}w"), "some desc"));
    }

    #[test]
    fn the_password_of_join_is_the_rest_of_the_line() {
        for (line, expected) in [
            ("/join x", None),
            ("/join x two words", Some("two words")),
            ("/join x \"two words\"", Some("two words")),
            ("/join x \"\"", None),
            ("/join x \"", Some("\"")),
            ("/join x \"a\"b\"", Some("\"a\"b\"")),
            ("/join  x  two ", Some(" two ")),
            ("/join x \t", Some("\t")),
            ("/join x\u{a0}two words", Some("two words")),
            ("/join\u{3000}x\u{3000}two words", Some("two words")),
        ] {
            let joined = Command::Join { name: "x", password: expected.map(str::as_bytes) };
            assert_eq!(parse(line), Ok(joined), "{line}");
        }
    }

    #[test]
    fn pictures_colours_and_prompts() {
        assert_eq!(parse("/sp"), Ok(Command::ResetPicture));
        assert_eq!(parse("/sp Default"), Ok(Command::ResetPicture));
        assert_eq!(parse("/sp LIST"), Ok(Command::ListPictures));
        assert_eq!(parse("/sp cat"), Ok(Command::Picture("cat")));
        assert_eq!(parse("/color OFF"), Ok(Command::Color(false)));
        assert_eq!(parse("/width 45"), Ok(Command::Width(Some(45))));
        assert_eq!(parse("/width Off"), Ok(Command::Width(None)));
        for wrong in ["/width", "/width 19", "/width 501", "/width 99999", "/width -30"] {
            let usage = Err(CommandError::Usage("/width", "<20 to 500 | off>"));
            assert_eq!(parse(wrong), usage, "{wrong}");
        }
        assert_eq!(parse("/setai Default"), Ok(Command::SetPrompt(None)));
        assert_eq!(parse("/setai be kind"), Ok(Command::SetPrompt(Some("be kind"))));
    }
}
