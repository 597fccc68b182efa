//! Lobby passwords: bcrypt as a job that can be run a round at a time.
//!
//! bcrypt is slow on purpose, and the loop must not wait for it. A [`Job`] does one of its 2^cost
//! rounds (about 70 µs) at each call; the loop does as many as it has time for and goes back to its
//! sockets. The hash is the same as if it were computed in one go; the tests compare it with the
//! `bcrypt` crate.
//!
//! Knows no clock and no random source: the salt is given. Passwords are wiped after use.

use std::rc::Rc;

use base64::Engine as _;
use bcrypt::{BASE_64, HashParts};
use blowfish::Blowfish;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::limits::{DEFAULT_BCRYPT_COST, MAX_PASSWORD_BYTES};

/// The costs that an operator may choose: log2 of the number of rounds. Above 15 a single password
/// takes seconds of the server's time.
pub const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// The text that bcrypt encrypts 64 times: "OrpheanBeholderScryDoubt" (Provos and Mazières, "A
/// Future-Adaptable Password Scheme", 1999, section 4).
const MAGIC: [[u32; 2]; 3] =
    [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];

/// A password as a user gave it: 1 to 72 bytes, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// A password of these bytes, which have to be UTF-8 without NUL.
    ///
    /// # Errors
    /// It is empty, longer than bcrypt reads, or contains other bytes: different keys could produce
    /// whatever replaced those.
    pub fn new(bytes: &[u8]) -> Result<Self, PasswordError> {
        if bytes.is_empty() {
            Err(PasswordError::Empty)
        } else if bytes.len() > MAX_PASSWORD_BYTES {
            Err(PasswordError::TooLong)
        } else if std::str::from_utf8(bytes).is_err() || bytes.contains(&0) {
            Err(PasswordError::NotText)
        } else {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        }
    }

    /// What bcrypt calls the key: the bytes and one NUL, cut at 72.
    fn key(&self) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_BYTES + 1));
        key.extend_from_slice(&self.0);
        key.push(0);
        key.truncate(MAX_PASSWORD_BYTES);
        key
    }
}

/// Why something is not a password. `Display` is what its user is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordError {
    /// It has no bytes.
    Empty,
    /// It has more than bcrypt reads.
    TooLong,
    /// It holds NUL, or bytes that are not UTF-8.
    NotText,
}

impl std::fmt::Display for PasswordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("A password has at least 1 byte"),
            Self::TooLong => write!(f, "Password too long (max {MAX_PASSWORD_BYTES} bytes)"),
            Self::NotText => {
                f.write_str("A password cannot contain NUL or bytes that are not UTF-8. Not used.")
            }
        }
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hash in the usual form, `$2b$10$` and 53 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(Rc<str>);

impl PasswordHash {
    /// Reads a hash. `None` unless it is a bcrypt hash of version 2a, 2b or 2y (2x marks the hashes
    /// of an implementation with a fault) with a cost in [`COSTS`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: HashParts = text.parse().ok()?;
        let sound = COSTS.contains(&parts.get_cost()) && !text.starts_with("$2x$");
        sound.then(|| Self(text.into()))
    }

    fn new(cost: u32, salt: [u8; 16], digest: &[u8; 24]) -> Self {
        // The last of the 24 bytes is not part of a bcrypt hash.
        let [digest @ .., _] = digest;
        Self(format!("$2b${cost:02}${}{}", BASE_64.encode(salt), BASE_64.encode(digest)).into())
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a finished job found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The hash of a new password.
    Hashed(PasswordHash),
    /// Whether the password is the one of the stored hash.
    Checked(bool),
    /// Nothing: too many jobs wait already.
    Busy,
}

/// One password being hashed or checked.
#[derive(Debug)]
pub struct Job {
    password: Password,
    cost: u32,
    salt: [u8; 16],
    expected: Option<PasswordHash>,
    progress: Option<Progress>,
}

/// The state of a job that has begun: allocated then, so that a waiting job is small.
struct Progress {
    state: Box<Blowfish>,
    key: Zeroizing<Vec<u8>>,
    rounds_left: u32,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Progress({} rounds left)", self.rounds_left)
    }
}

impl Job {
    /// Creates a job that hashes a new password with this cost (brought into [`COSTS`] if it is
    /// outside) and a random salt.
    #[must_use]
    pub fn hash(password: Password, cost: u32, salt: [u8; 16]) -> Self {
        let cost = cost.clamp(*COSTS.start(), *COSTS.end());
        Self { password, cost, salt, expected: None, progress: None }
    }

    /// Creates a job that checks a password against a hash. `None` if that is not one of our
    /// hashes.
    #[must_use]
    pub fn check(password: Password, hash: &PasswordHash) -> Option<Self> {
        let parts: HashParts = hash.0.parse().ok()?;
        let (cost, salt) = (parts.get_cost(), parts.get_salt_raw());
        Some(Self { password, cost, salt, expected: Some(hash.clone()), progress: None })
    }

    /// How much work it is, in passwords of the usual cost.
    #[must_use]
    pub fn amount(&self) -> f64 {
        f64::from(1u32 << self.cost) / f64::from(1u32 << DEFAULT_BCRYPT_COST)
    }

    /// Does one round, about 70 µs of work on a desktop processor. Gives the outcome after the last.
    pub fn advance(&mut self) -> Option<Outcome> {
        let Some(progress) = &mut self.progress else {
            let key = self.password.key();
            let mut state = Box::new(Blowfish::bc_init_state());
            state.salted_expand_key(&self.salt, &key);
            self.progress = Some(Progress { state, key, rounds_left: 1 << self.cost });
            return None;
        };
        progress.state.bc_expand_key(&progress.key);
        progress.state.bc_expand_key(&self.salt);
        progress.rounds_left -= 1;
        if progress.rounds_left > 0 {
            return None;
        }
        let hash = PasswordHash::new(self.cost, self.salt, &digest(&progress.state));
        Some(match &self.expected {
            None => Outcome::Hashed(hash),
            // The version letter is not compared: 2a, 2b and 2y differ in no password of ours.
            Some(expected) => {
                let (tail, wanted) = (hash.0.get(3..), expected.0.get(3..));
                let (tail, wanted) = (tail.unwrap_or_default(), wanted.unwrap_or_default());
                Outcome::Checked(tail.as_bytes().ct_eq(wanted.as_bytes()).into())
            }
        })
    }
}

fn digest(state: &Blowfish) -> [u8; 24] {
    let mut digest = [0; 24];
    for (mut block, bytes) in MAGIC.into_iter().zip(digest.chunks_exact_mut(8)) {
        for _ in 0..64 {
            block = state.bc_encrypt(block);
        }
        for (word, bytes) in block.into_iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(mut job: Job) -> Outcome {
        loop {
            if let Some(outcome) = job.advance() {
                return outcome;
            }
        }
    }

    fn hashed(password: &str, cost: u32, salt: [u8; 16]) -> PasswordHash {
        match run(Job::hash(Password::new(password.as_bytes()).unwrap(), cost, salt)) {
            Outcome::Hashed(hash) => hash,
            other => panic!("{other:?}"),
        }
    }

    fn checks(password: &str, hash: &str) -> bool {
        let hash = PasswordHash::parse(hash).unwrap();
        let job = Job::check(Password::new(password.as_bytes()).unwrap(), &hash).unwrap();
        run(job) == Outcome::Checked(true)
    }

    #[test]
    fn known_vectors() {
        // From the test suite of jBCrypt and of OpenBSD.
        for (password, hash) in [
            ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
            ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz.",
            ),
            (
                "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
                "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
            ),
        ] {
            assert!(checks(password, hash), "{password}");
            assert!(!checks(&format!("{password}!"), hash));
        }
    }

    #[test]
    fn edges_agree_with_the_bcrypt_crate() {
        let salt = *b"0123456789abcdef";
        let long = "x".repeat(72);
        for password in ["a", "ä", "日本", &long[..71], &long, "with space", "\u{ff}\u{80}"] {
            let ours = hashed(password, 4, salt);
            let theirs = bcrypt::hash_with_salt(password, 4, salt).unwrap().to_string();
            assert_eq!(ours.as_str(), theirs);
            assert!(checks(password, &theirs));
            assert!(bcrypt::verify(password, ours.as_str()).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn hashes_agree_with_the_bcrypt_crate(
            password in "\\PC{1,18}", salt in any::<[u8; 16]>(), cost in 4u32..6
        ) {
            let ours = hashed(&password, cost, salt);
            let theirs = bcrypt::hash_with_salt(&password, cost, salt).unwrap().to_string();
            prop_assert_eq!(ours.as_str(), theirs);
        }

        #[test]
        fn raw_bytes_agree_with_the_bcrypt_crate(
            bytes in proptest::collection::vec(any::<u8>(), 1..=72), salt in any::<[u8; 16]>()
        ) {
            let job = Job::hash(Password(Zeroizing::new(bytes.clone())), 4, salt);
            let theirs = bcrypt::hash_with_salt(&bytes, 4, salt).unwrap().to_string();
            prop_assert_eq!(run(job), Outcome::Hashed(PasswordHash(theirs.into())));
        }
    }

    #[test]
    fn what_is_no_sound_hash_is_refused() {
        let sound = "$2b$10$abcdefghijklmnopqrstuuJKIB0zSDqbW3iWxRmvoLrqnUzlnVY5C";
        assert!(PasswordHash::parse(sound).is_some());
        for (from, to) in [("$2b$", "$2x$"), ("$10$", "$31$"), ("$10$", "$03$"), ("5C", "5")] {
            assert_eq!(PasswordHash::parse(&sound.replace(from, to)), None);
        }
    }

    #[test]
    fn passwords_have_bounds_and_do_not_show() {
        assert_eq!(Password::new(b""), Err(PasswordError::Empty));
        assert_eq!(Password::new(&[b'x'; 73]), Err(PasswordError::TooLong));
        // Neither of these opens what the other closed.
        for bytes in [b"geh\xe4im", b"geh\xf6im", b"gehe\0m"] {
            assert_eq!(Password::new(bytes), Err(PasswordError::NotText));
        }
        let job = Job::hash(Password::new(b"hunter2").unwrap(), 4, [0; 16]);
        assert!(!format!("{job:?}").contains("hunter2"));
        assert!(!format!("{job:?}").contains("104"));
        assert!(format!("{job:?}").contains("Password(…)"));
        let mut begun = job;
        let _ = begun.advance();
        assert!(format!("{begun:?}").contains("Progress(16 rounds left)"));
    }
}
