//! The configuration: whatever the variables hold, parsing gives settings within their documented
//! ranges or one line that names the variable, and the key is shown by neither.
//!
//! The first byte says what the rest is: with an even one lines of `NAME=value`, where U+001F
//! stands for a newline, with an odd one the text of a `.env` file.

use std::collections::HashMap;
use std::time::Duration;

use crate::harmless;
use mio_chat::config::{BaseUrl, Config, ConfigError, Secret, read_file};
use mio_chat::tunnel::PROXY_VARIABLES;

/// Numbers: the default, the least and the greatest.
const NUMBERS: &[(&str, u64, u64, u64)] = &[
    ("CHAT_TLS_MAX_HANDSHAKES", 64, 1, 10_000),
    ("CHAT_MAX_CONNECTIONS", 0, 0, 1_000_000),
    ("CHAT_MAX_CONNECTIONS_PER_IP", 10, 0, 1_000_000),
    ("CHAT_MESSAGES_PER_WINDOW", 5, 0, 1000),
    ("CHAT_RATE_WINDOW_SECS", 10, 1, 3600),
    ("CHAT_HISTORY_SECS", 300, 0, 86_400),
    ("CHAT_LOBBY_TTL_SECS", 7200, 1, 365 * 86_400),
    ("CHAT_LOGIN_TIMEOUT_SECS", 60, 1, 3600),
    ("CHAT_IDLE_TIMEOUT_SECS", 0, 0, 365 * 86_400),
    ("CHAT_SEND_QUEUE_BYTES", 262_144, 32_768, 64 * 1024 * 1024),
    ("CHAT_SEND_STALL_SECS", 30, 1, 3600),
    ("CHAT_BCRYPT_COST", 10, 4, 15),
    ("GEMINI_QUESTIONS_PER_HOUR", 20, 0, 10_000),
    ("GEMINI_QUESTIONS_PER_DAY", 500, 0, 100_000),
];

/// The others that may be refused.
const OTHERS: &[&str] = &[
    "CHAT_LISTEN",
    "CHAT_TLS_LISTEN",
    "CHAT_LOG_LEVEL",
    "CHAT_NAMESERVERS",
    "GEMINI_API_KEY",
    "GEMINI_MODEL",
    "GEMINI_BASE_URL",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Part of every key and proxy's password here, and of nothing else.
const SECRET: &str = "S3cretMark";

type Vars = HashMap<String, String>;

pub fn check(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest).replace(SECRET, "");
    let vars = if how % 2 == 0 { lines(&text) } else { file(&text) };
    let Some(mut vars) = vars else { return };
    if let Some(key) = vars.get_mut("GEMINI_API_KEY").filter(|key| !key.trim().is_empty()) {
        key.push_str(SECRET);
    }
    for name in PROXY_VARIABLES {
        let Some(value) = vars.get_mut(name) else { continue };
        let ends = [value.find('@'), value.rfind('@')];
        ends.into_iter().flatten().rev().for_each(|at| value.insert_str(at, SECRET));
    }
    let parsed = parse(&vars);
    same(&parsed, &parse(&vars));
    match &parsed {
        Ok(config) => check_config(config, &vars),
        Err(error) => check_error(error, &vars),
    }
    // White space around a value changes nothing, and an empty value is as good as none.
    let pad = |(name, value): (&String, &String)| (name.clone(), format!(" \t{value}\n"));
    let mut padded: Vars = vars.iter().map(pad).collect();
    let all = NUMBERS.iter().map(|row| row.0).chain(OTHERS.iter().copied());
    all.for_each(|name| {
        padded.entry(name.to_owned()).or_insert_with(|| " \u{a0}".to_owned());
    });
    same(&parsed, &parse(&padded));
}

fn lines(text: &str) -> Option<Vars> {
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.replace('\u{1f}', "\n"))).collect())
}

fn file(text: &str) -> Option<Vars> {
    match read_file(text) {
        Ok(vars) => Some(vars),
        Err(line) => {
            assert!((1..=text.lines().count().max(1)).contains(&line));
            let error = ConfigError::File(".env".into(), line).to_string();
            assert!(error.starts_with(".env: line ") && error.len() < 100);
            None
        }
    }
}

fn parse(vars: &Vars) -> Result<Config, ConfigError> {
    Config::parse(|name| vars.get(name).cloned())
}

fn same(one: &Result<Config, ConfigError>, other: &Result<Config, ConfigError>) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

/// The value of a number, if it can be used.
fn number(vars: &Vars, name: &str) -> Option<u64> {
    let (_, default, least, greatest) = *NUMBERS.iter().find(|row| row.0 == name).unwrap();
    match vars.get(name).map_or("", |value| value.trim()) {
        "" => Some(default),
        text => text.parse().ok().filter(|n| (least..=greatest).contains(n)),
    }
}

fn check_error(error: &ConfigError, vars: &Vars) {
    let ConfigError::Value(name, ..) = error else { panic!("{error:?}") };
    let line = error.to_string();
    assert!(line.starts_with(&format!("{name}: cannot use ")), "{line}");
    assert!(!line.contains(SECRET), "{line}");
    assert!(!line.contains(harmless::is_forbidden), "{line:?}");
    if NUMBERS.iter().any(|row| row.0 == *name) {
        assert_eq!(number(vars, name), None, "{line}");
    } else {
        assert!(OTHERS.contains(name), "{line}");
        assert!(vars.get(*name).is_some_and(|value| !value.trim().is_empty()), "{line}");
    }
}

fn check_config(config: &Config, vars: &Vars) {
    assert!(!format!("{config:?}").contains(SECRET));
    let text = |name: &str| vars.get(name).map(|value| value.trim()).filter(|v| !v.is_empty());
    let is = |name: &str, value: u64| assert_eq!(Some(value), number(vars, name), "{name}");
    let secs = |name: &str, value: Duration| {
        assert_eq!(value.subsec_nanos(), 0);
        is(name, value.as_secs());
    };
    is("CHAT_TLS_MAX_HANDSHAKES", config.tls_max_handshakes as u64);
    is("CHAT_MAX_CONNECTIONS", config.max_connections.unwrap_or(0) as u64);
    is("CHAT_MAX_CONNECTIONS_PER_IP", config.max_connections_per_ip.into());
    is("CHAT_SEND_QUEUE_BYTES", config.send_queue_bytes as u64);
    secs("CHAT_SEND_STALL_SECS", config.send_stall);
    is("CHAT_BCRYPT_COST", config.bcrypt_cost.into());
    let chat = &config.chat;
    is("CHAT_MESSAGES_PER_WINDOW", chat.messages_per_window as u64);
    secs("CHAT_RATE_WINDOW_SECS", chat.rate_window);
    secs("CHAT_HISTORY_SECS", chat.history_age);
    secs("CHAT_LOBBY_TTL_SECS", chat.lobby_ttl);
    secs("CHAT_LOGIN_TIMEOUT_SECS", chat.login_timeout);
    secs("CHAT_IDLE_TIMEOUT_SECS", chat.idle_timeout.unwrap_or_default());
    assert_ne!(chat.idle_timeout, Some(Duration::ZERO));
    let gemini = &config.gemini;
    is("GEMINI_QUESTIONS_PER_HOUR", gemini.questions_per_hour as u64);
    is("GEMINI_QUESTIONS_PER_DAY", gemini.questions_per_day as u64);
    assert_eq!(gemini.key.as_ref().map(Secret::expose), text("GEMINI_API_KEY"));
    assert_eq!(chat.assistant.is_some(), gemini.key.is_some());
    let usual = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    assert!(!gemini.model.is_empty() && gemini.model.bytes().all(usual));
    assert!(gemini.nameservers.iter().all(|server| server.addr(|_| Some(1)).is_some()));
    check_url(&gemini.base_url);
    if let Some(proxy) = &gemini.proxy {
        assert!(gemini.key.is_some() && gemini.base_url.https);
        assert!(PROXY_VARIABLES.iter().any(|name| text(name).is_some()));
        assert!(!proxy.host.is_empty() && proxy.port != 0);
        let shown = proxy.to_string();
        assert!(!shown.contains(SECRET) && shown.bytes().all(|b| (b' '..=b'~').contains(&b)));
        // A request of so many lines, whatever the password holds.
        let request = String::from_utf8(proxy.request("api.example", 443).0).unwrap();
        let lines: Vec<&str> = request.split("\r\n").collect();
        assert!((5..=6).contains(&lines.len()) && request.ends_with("\r\n\r\n"), "{request:?}");
        assert!(lines.iter().all(|line| line.bytes().all(|b| (b' '..=b'~').contains(&b))));
    }
    for (name, port, listen) in
        [("CHAT_LISTEN", 8080, config.listen), ("CHAT_TLS_LISTEN", 8443, config.tls_listen)]
    {
        match text(name) {
            None => assert_eq!(listen, format!("[::]:{port}").parse().ok()),
            Some(value) if value.eq_ignore_ascii_case("off") => assert_eq!(listen, None),
            Some(value) if value.starts_with(':') => {
                assert!(listen.is_some_and(|addr| addr.ip().is_unspecified()));
            }
            Some(value) => assert_eq!(listen, value.parse().ok()),
        }
    }
    let named = ["CHAT_TLS_CERT", "CHAT_TLS_KEY"].into_iter().any(|name| text(name).is_some());
    assert_eq!(config.tls.named, named);
    let path = text("CHAT_LOG_FILE").map(Into::into);
    assert_eq!(config.log_file, path);
}

fn check_url(url: &BaseUrl) {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    assert!(!host.is_empty() && url.port != 0 && !url.path.ends_with('/'));
    let scheme = if url.https { "https" } else { "http" };
    let text = format!("{scheme}://{host}:{}{}", url.port, url.path);
    // It goes into the head of a request.
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
    // With the service's version behind it, which is left out once, it is the same.
    for version in ["/v1", "/v1beta", "/v1beta/"] {
        assert_eq!(format!("{text}{version}").parse().as_ref(), Ok(url));
    }
    if !url.https {
        let addr = url.host.parse::<std::net::IpAddr>();
        assert!(url.host == "localhost" || addr.is_ok_and(|addr| addr.is_loopback()));
    }
}
