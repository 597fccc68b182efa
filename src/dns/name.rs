//! The name of a host, checked once.

use std::fmt;

use domain::base::Name;

/// A name that may be asked for: labels of ASCII letters, digits, hyphens and underscores (RFC
/// 1123, section 2.1; underscores are used in practice), in lower case, without the dot at the end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostName(Name<Vec<u8>>);

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// It is empty, or contains two dots in a row.
    EmptyLabel,
    /// It has more than 253 bytes, or more than 63 between two dots (RFC 1035, section 2.3.4).
    TooLong,
    /// It has a character that no host name contains.
    BadCharacter(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyLabel => f.write_str("empty or with two dots in a row"),
            Self::TooLong => f.write_str("too long"),
            Self::BadCharacter(c) => write!(f, "with the character {c:?}"),
        }
    }
}

impl HostName {
    /// Reads a name. One dot at its end is allowed and changes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if let Some(c) = text.chars().find(|c| !sound(*c)) {
            return Err(NameError::BadCharacter(c));
        }
        if text.split('.').any(str::is_empty) {
            return Err(NameError::EmptyLabel);
        }
        // Nothing else is left that could be wrong.
        let name = Name::vec_from_str(&text.to_ascii_lowercase());
        name.map(Self).map_err(|_| NameError::TooLong)
    }

    /// Whether it is `localhost` or a name below it: this machine, whatever a name server says
    /// (RFC 6761, section 6.3).
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.0.iter().rev().nth(1).is_some_and(|label| label.as_slice() == b"localhost")
    }

    /// The name within a domain: `chat` in `example.org` is `chat.example.org`. `None` if that is too
    /// long for a name.
    #[must_use]
    pub fn within(&self, domain: &Self) -> Option<Self> {
        Self::parse(&format!("{self}.{domain}")).ok()
    }

    /// The name as it appears in messages.
    pub(super) fn wire(&self) -> &Name<Vec<u8>> {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_brought_to_one_form() {
        let name = HostName::parse("Example.COM.").unwrap();
        assert_eq!(name, HostName::parse("example.com").unwrap());
        assert_eq!(name.to_string(), "example.com");
        assert!(HostName::parse("_dmarc.a-b.example").is_ok());
        for (text, error) in [
            ("", NameError::EmptyLabel),
            (".", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a b", NameError::BadCharacter(' ')),
            ("a\\.b", NameError::BadCharacter('\\')),
            ("a\0", NameError::BadCharacter('\0')),
            ("bücher.example", NameError::BadCharacter('ü')),
            ("a/b", NameError::BadCharacter('/')),
            (&"x".repeat(64), NameError::TooLong),
            (&"x.".repeat(128), NameError::TooLong),
        ] {
            assert_eq!(HostName::parse(text), Err(error), "{text:?}");
        }
        assert!(HostName::parse(&"x".repeat(63)).is_ok());
        assert!(HostName::parse(&"x.".repeat(127)).is_ok());
    }

    #[test]
    fn localhost_and_what_is_below_it() {
        for (text, is) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("db.localhost", true),
            ("localhost.example", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(HostName::parse(text).unwrap().is_localhost(), is, "{text}");
        }
    }
}
