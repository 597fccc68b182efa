//! What an operator may set: environment variables and a `.env` file, parsed once into types.
//!
//! The environment wins over the file; an empty value counts as none. A value that cannot be read
//! is an error that names the variable and says what is allowed. Opens no socket and reads no file
//! but `.env`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;

use crate::chat;
use crate::chat::assistant::AssistantSettings;
use crate::dns::NameServer;
use crate::limits::{
    DEFAULT_BCRYPT_COST, DEFAULT_SEND_QUEUE_BYTES, MAX_QUESTIONS_PER_DAY, MIN_MEMORY_MB,
    MIN_SEND_QUEUE_BYTES,
};
use crate::network::{Access, Networks};
use crate::password::COSTS;
use crate::tunnel::{self, NO_PROXY_VARIABLES, PROXY_VARIABLES, Proxy};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `CHAT_LISTEN`: the plain address, if there is one.
    pub listen: Option<SocketAddr>,
    /// `CHAT_TLS_LISTEN`: the TLS address, if there is one.
    pub tls_listen: Option<SocketAddr>,
    /// `CHAT_TLS_CERT` and `CHAT_TLS_KEY`.
    pub tls: TlsFiles,
    /// `CHAT_TLS_MAX_HANDSHAKES`: how many may be under way at once.
    pub tls_max_handshakes: usize,
    /// `CHAT_MAX_CONNECTIONS`; `None`: as many as the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// `CHAT_MAX_CONNECTIONS_PER_IP`; 0 is no limit.
    pub max_connections_per_ip: u32,
    /// `CHAT_ALLOW_FROM` and `CHAT_DENY_FROM`: which addresses may connect.
    pub access: Access,
    /// `CHAT_PROXY_FROM`: the proxies whose PROXY protocol header is required and believed.
    pub proxies: Networks,
    /// The chat's own settings.
    pub chat: chat::Settings,
    /// `CHAT_SEND_QUEUE_BYTES`: unsent output of one client.
    pub send_queue_bytes: usize,
    /// `CHAT_SEND_STALL_SECS`: how long that output may make no progress.
    pub send_stall: Duration,
    /// `CHAT_MEMORY_MB`: how much memory the server may use, in MiB; 0 is no ceiling, and `None`
    /// means that it depends on the machine.
    pub memory_mb: Option<usize>,
    /// `CHAT_BCRYPT_COST`: log2 of the rounds for a lobby password.
    pub bcrypt_cost: u32,
    /// `CHAT_LOG_LEVEL`.
    pub log_level: LevelFilter,
    /// `CHAT_LOG_FILE`: where the log goes besides standard error.
    pub log_file: Option<PathBuf>,
    /// The assistant's settings.
    pub gemini: Gemini,
    /// Where the `.env` file is looked for when it is read again.
    pub directory: PathBuf,
    /// Whether it was there.
    pub has_file: bool,
    /// Environment variables whose names look like settings but are not.
    pub unknown: Vec<String>,
}

/// Where the certificate is, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Whether the operator named one of them: then both have to exist.
    pub named: bool,
}

/// The assistant's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gemini {
    /// `GEMINI_API_KEY`; without it there is no assistant.
    pub key: Option<Secret>,
    /// `GEMINI_MODEL`.
    pub model: String,
    /// `GEMINI_BASE_URL`.
    pub base_url: BaseUrl,
    /// `GEMINI_CA_FILE`: extra trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// `GEMINI_QUESTIONS_PER_HOUR` of one user and address; 0 is no limit.
    pub questions_per_hour: usize,
    /// `GEMINI_QUESTIONS_PER_DAY` of the whole server; 0 is no limit.
    pub questions_per_day: usize,
    /// `CHAT_NAMESERVERS`; if empty, those of the resolver file.
    pub nameservers: Vec<NameServer>,
    /// `HTTPS_PROXY` and `NO_PROXY`: what its connections go through.
    pub proxy: Option<Proxy>,
}

/// A value that is never shown, not even in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `https://host[:port][/path]`, or the same with `http` and a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Encrypted and verified.
    pub https: bool,
    /// A name, or an address (an IPv6 one without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// What comes before the service's own paths, without a slash or the API version at the end.
    pub path: String,
}

impl FromStr for BaseUrl {
    type Err = ();

    fn from_str(url: &str) -> Result<Self, ()> {
        let (scheme, rest) = url.split_once("://").ok_or(())?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
        if rest.contains(odd) || !rest.is_ascii() {
            return Err(());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(())?;
                host.parse::<Ipv6Addr>().map_err(drop)?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or(())?)
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let port = match port {
            "" if https => 443,
            "" => 80,
            port => port.parse().ok().filter(|port| *port != 0).ok_or(())?,
        };
        let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if host.is_empty() || !(https || loopback || host == "localhost") {
            return Err(());
        }
        // Often given with the service's version, which its paths have.
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("/v1beta").or(path.strip_suffix("/v1")).unwrap_or(path);
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { https, host: host.to_owned(), port, path })
    }
}

/// What is wrong with the settings, in one line that names the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A value cannot be used: the variable, the value (`None`: not shown), what is allowed.
    Value(&'static str, Option<String>, String),
    /// The value of a variable is not UTF-8.
    NotText(String),
    /// A line of the `.env` file, given by its number, does not have the right form. The line
    /// itself is not shown: it may hold the key.
    File(PathBuf, usize),
    /// A line of the `.env` file is for a setting of this name, which does not exist.
    Unknown(PathBuf, String),
    /// The `.env` file cannot be read, and why.
    Unreadable(PathBuf, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(name, Some(value), allowed) => {
                write!(f, "{name}: cannot use \"{}\"; allowed: {allowed}", value.escape_debug())
            }
            Self::Value(name, None, allowed) => {
                write!(f, "{name}: cannot use its value; allowed: {allowed}")
            }
            Self::NotText(name) => write!(f, "{name}: its value is not UTF-8 text"),
            Self::File(path, line) => {
                let path = path.display();
                write!(f, "{path}: line {line} is not NAME=value; quote a value with spaces")
            }
            Self::Unknown(path, name) => {
                write!(f, "{}: there is no setting {name}", path.display())
            }
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl Config {
    /// From the process's environment and the `.env` file in `directory`, if there is one.
    ///
    /// # Errors
    /// The file or a value cannot be read.
    pub fn load(directory: &Path) -> Result<Self, ConfigError> {
        let path = directory.join(".env");
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => {
                Some(read_file(&text).map_err(|line| ConfigError::File(path.clone(), line))?)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(ConfigError::Unreadable(path, e.to_string())),
        };
        let mut environment = HashMap::new();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if is_ours(&name) || is_of_proxies(&name) {
                let value = value.into_string().map_err(|_| ConfigError::NotText(name.clone()))?;
                environment.insert(name, value);
            }
        }
        let has_file = file.is_some();
        let mut file = file.unwrap_or_default();
        // What nobody asks for here is no setting.
        let known = RefCell::new(HashSet::new());
        let config = Self::parse(|name| {
            known.borrow_mut().insert(name.to_owned());
            environment.get(name).or_else(|| file.get(name)).cloned()
        })?;
        let known = known.into_inner();
        file.retain(|name, _| is_ours(name) && !known.contains(name));
        if let Some(name) = file.into_keys().min() {
            return Err(ConfigError::Unknown(path, name));
        }
        // Here it may be another program's.
        let mut unknown: Vec<_> =
            environment.into_keys().filter(|name| is_ours(name) && !known.contains(name)).collect();
        unknown.sort_unstable();
        Ok(Self { directory: directory.to_owned(), has_file, unknown, ..config })
    }

    /// Uses a function that gives the value of a variable; the directory is the working directory.
    ///
    /// # Errors
    /// The first value that cannot be read.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let vars = Vars(&|name| get(name).filter(|value| !value.trim().is_empty()));
        let rate_window = vars.secs("CHAT_RATE_WINDOW_SECS", 10, 1..=3600)?;
        let idle = vars.secs("CHAT_IDLE_TIMEOUT_SECS", 0, 0..=MAX_SECS)?;
        let max_connections = vars.number("CHAT_MAX_CONNECTIONS", 0, 0..=1_000_000)?;
        let max_connections_per_ip =
            vars.number("CHAT_MAX_CONNECTIONS_PER_IP", 10, 0..=1_000_000)?;
        let gemini = Gemini::parse(&vars)?;
        let memory_allowed =
            format!("0, or a whole number from {MIN_MEMORY_MB} to {MAX_MEMORY_MB}");
        Ok(Self {
            listen: vars.listen("CHAT_LISTEN", 8080)?,
            tls_listen: vars.listen("CHAT_TLS_LISTEN", 8443)?,
            tls: TlsFiles {
                named: vars.get("CHAT_TLS_CERT").or_else(|| vars.get("CHAT_TLS_KEY")).is_some(),
                cert: vars.path("CHAT_TLS_CERT").unwrap_or_else(|| "server.crt".into()),
                key: vars.path("CHAT_TLS_KEY").unwrap_or_else(|| "server.key".into()),
            },
            tls_max_handshakes: vars.number("CHAT_TLS_MAX_HANDSHAKES", 64, 1..=10_000)?,
            max_connections: (max_connections != 0).then_some(max_connections),
            max_connections_per_ip,
            access: Access {
                allow: vars.networks("CHAT_ALLOW_FROM")?,
                deny: vars.networks("CHAT_DENY_FROM")?,
            },
            proxies: vars.networks("CHAT_PROXY_FROM")?,
            chat: chat::Settings {
                messages_per_window: vars.number("CHAT_MESSAGES_PER_WINDOW", 5, 0..=1000)?,
                rate_window,
                connections_per_address: usize::try_from(max_connections_per_ip)
                    .unwrap_or(usize::MAX),
                history_age: vars.secs("CHAT_HISTORY_SECS", 300, 0..=86_400)?,
                lobby_ttl: vars.secs("CHAT_LOBBY_TTL_SECS", 7200, 1..=MAX_SECS)?,
                login_timeout: vars.secs("CHAT_LOGIN_TIMEOUT_SECS", 60, 1..=3600)?,
                idle_timeout: (!idle.is_zero()).then_some(idle),
                assistant: gemini.key.is_some().then(|| AssistantSettings {
                    model: gemini.model.clone(),
                    questions_per_hour: gemini.questions_per_hour,
                    questions_per_day: gemini.questions_per_day,
                }),
            },
            send_queue_bytes: vars.number(
                "CHAT_SEND_QUEUE_BYTES",
                DEFAULT_SEND_QUEUE_BYTES,
                MIN_SEND_QUEUE_BYTES..=64 * 1024 * 1024,
            )?,
            send_stall: vars.secs("CHAT_SEND_STALL_SECS", 30, 1..=3600)?,
            memory_mb: vars.read("CHAT_MEMORY_MB", None, &memory_allowed, |text| {
                let allowed = |mb: &usize| *mb == 0 || (MIN_MEMORY_MB..=MAX_MEMORY_MB).contains(mb);
                text.parse().ok().filter(allowed).map(Some)
            })?,
            bcrypt_cost: vars.number("CHAT_BCRYPT_COST", DEFAULT_BCRYPT_COST, COSTS)?,
            log_level: vars.read(
                "CHAT_LOG_LEVEL",
                LevelFilter::Info,
                "off, error, warn, info, debug or trace",
                |text| text.parse().ok(),
            )?,
            log_file: vars.path("CHAT_LOG_FILE"),
            gemini,
            directory: PathBuf::from("."),
            has_file: false,
            unknown: Vec::new(),
        })
    }
}

impl Gemini {
    fn parse(vars: &Vars<'_>) -> Result<Self, ConfigError> {
        let key = match vars.get("GEMINI_API_KEY") {
            // It becomes the value of a header (RFC 9110, section 5.5).
            Some(key) if key.contains(['"', '\'']) => {
                let allowed = "printable characters without spaces; the quotes count as part of \
                               it, as in docker's --env-file: leave them out";
                return Err(ConfigError::Value("GEMINI_API_KEY", None, allowed.to_owned()));
            }
            Some(key) if key.bytes().all(|b| b.is_ascii_graphic()) => Some(Secret(key)),
            Some(_) => {
                let allowed = "printable characters without spaces".to_owned();
                return Err(ConfigError::Value("GEMINI_API_KEY", None, allowed));
            }
            None => None,
        };
        let base_url = BaseUrl {
            https: true,
            host: "generativelanguage.googleapis.com".to_owned(),
            port: 443,
            path: String::new(),
        };
        let base_url = vars.read(
            "GEMINI_BASE_URL",
            base_url,
            "https://host[:port][/path], or http:// with a loopback address",
            |text| text.parse().ok(),
        )?;
        // Other programs use these variables as well: a fault in them matters only where we use
        // them.
        let proxy = match key.is_some() && base_url.https {
            true => Proxy::find(|name| vars.get(name), &base_url.host).map_err(|name| {
                // There may be a password in it.
                ConfigError::Value(name, None, tunnel::ALLOWED.to_owned())
            })?,
            false => None,
        };
        Ok(Self {
            key,
            model: vars.read(
                "GEMINI_MODEL",
                "gemini-3.5-flash-lite".to_owned(),
                "letters, digits, - . and _",
                |text| {
                    let usual = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                    text.bytes().all(usual).then(|| text.to_owned())
                },
            )?,
            base_url,
            proxy,
            ca_file: vars.path("GEMINI_CA_FILE"),
            questions_per_hour: vars.number("GEMINI_QUESTIONS_PER_HOUR", 20, 0..=10_000)?,
            questions_per_day: vars.number(
                "GEMINI_QUESTIONS_PER_DAY",
                500,
                0..=MAX_QUESTIONS_PER_DAY,
            )?,
            nameservers: vars.read("CHAT_NAMESERVERS", Vec::new(), "ip[:port],…", nameservers)?,
        })
    }
}

/// Whether a variable of this name is meant for this server, whatever its case.
fn is_ours(name: &str) -> bool {
    let starts_with =
        |start: &str| name.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
    starts_with("CHAT_") || starts_with("GEMINI_")
}

/// Whether a variable of this name says how programs in general reach the network.
fn is_of_proxies(name: &str) -> bool {
    PROXY_VARIABLES.contains(&name) || NO_PROXY_VARIABLES.contains(&name)
}

/// The variables in the text of a `.env` file, the last of each name, as a shell has it.
///
/// # Errors
/// The number of the first line that does not have the right form.
pub fn read_file(text: &str) -> Result<HashMap<String, String>, usize> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut file = HashMap::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = pair.map_err(|error| match error {
            dotenvy::Error::LineParse(bad, _) => {
                // It quotes the line, or only the value in it.
                let bad = bad.lines().next().unwrap_or_default().trim();
                text.lines().position(|line| line.contains(bad)).map_or(1, |n| n + 1)
            }
            _ => 1,
        })?;
        file.insert(name, value);
    }
    Ok(file)
}

/// 2 GiB less 1 MiB: what a 32-bit machine can count in bytes.
const MAX_MEMORY_MB: usize = if usize::BITS == 32 { 2047 } else { 1 << 20 };

/// No time span is longer than a year.
const MAX_SECS: u64 = 365 * 24 * 3600;

fn nameservers(list: &str) -> Option<Vec<NameServer>> {
    list.split(',').map(|text| NameServer::parse(text.trim())).collect()
}

/// Reads variables by name; an empty one counts as missing.
struct Vars<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Vars<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0(name).map(|value| value.trim().to_owned())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    fn read<T>(
        &self,
        name: &'static str,
        default: T,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse(&text).ok_or_else(|| ConfigError::Value(name, Some(text), allowed.to_owned()))
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(
        &self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|n| range.contains(n));
        self.read(name, default, &allowed, parse)
    }

    fn secs(
        &self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.number(name, default, range).map(Duration::from_secs)
    }

    fn networks(&self, name: &'static str) -> Result<Networks, ConfigError> {
        let allowed = "networks such as 10.0.0.0/8,2001:db8::/32,192.0.2.1";
        self.read(name, Networks::default(), allowed, |text| text.parse().ok())
    }

    /// An address and port, `:port` for all addresses, or `off`.
    fn listen(&self, name: &'static str, port: u16) -> Result<Option<SocketAddr>, ConfigError> {
        let all = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let allowed = "address:port such as [::]:8080 or 192.0.2.1:8080, :port, or off";
        self.read(name, Some(all(port)), allowed, |text| {
            if text.eq_ignore_ascii_case("off") {
                return Some(None);
            }
            let address = match text.strip_prefix(':') {
                Some(port) => port.parse().map(all).ok(),
                None => text.parse().ok(),
            };
            address.map(Some)
        })
    }
}

#[cfg(test)]
mod tests;
