//! Settings as people write them, right and wrong.

use super::*;

fn parse(vars: &[(&str, &str)]) -> Result<Config, String> {
    let get = |name: &str| {
        vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    Config::parse(get).map_err(|e| e.to_string())
}

#[test]
fn defaults() {
    let config = parse(&[("CHAT_BCRYPT_COST", "  "), ("GEMINI_API_KEY", "")]).unwrap();
    assert_eq!(config.listen, "[::]:8080".parse().ok());
    assert_eq!(config.tls_listen, "[::]:8443".parse().ok());
    assert_eq!((config.max_connections, config.max_connections_per_ip), (None, 10));
    assert_eq!(config.bcrypt_cost, 10);
    assert_eq!(config.send_queue_bytes, 256 * 1024);
    assert_eq!(config.chat.messages_per_window, 5);
    assert_eq!(config.chat.idle_timeout, None);
    assert!(config.gemini.key.is_none());
}

#[test]
fn values() {
    let config = parse(&[
        ("CHAT_LISTEN", "127.0.0.1:0"),
        ("CHAT_TLS_LISTEN", "off"),
        ("CHAT_IDLE_TIMEOUT_SECS", "5"),
        ("CHAT_LOG_LEVEL", "DEBUG"),
        ("CHAT_NAMESERVERS", "192.0.2.1, 192.0.2.2:5353,[2001:db8::2]:54,fe80::3%eth0,[::4]"),
        ("GEMINI_API_KEY", "secret-key"),
        ("CHAT_ALLOW_FROM", "192.0.2.0/24"),
        ("CHAT_DENY_FROM", "192.0.2.1"),
        ("CHAT_PROXY_FROM", "10.0.0.0/8"),
    ])
    .unwrap();
    assert_eq!(config.access.allow.to_string(), "192.0.2.0/24");
    assert_eq!(config.access.deny.to_string(), "192.0.2.1/32");
    assert_eq!(config.proxies.to_string(), "10.0.0.0/8");
    assert_eq!(config.listen, "127.0.0.1:0".parse().ok());
    assert_eq!(config.tls_listen, None);
    assert_eq!(config.chat.idle_timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.log_level, LevelFilter::Debug);
    let servers: Vec<_> = config.gemini.nameservers.iter().map(ToString::to_string).collect();
    let expected =
        ["192.0.2.1", "192.0.2.2 port 5353", "2001:db8::2 port 54", "fe80::3%eth0", "::4"];
    assert_eq!(servers, expected);
    assert!(!format!("{config:?}").contains("secret-key"));
    let all = parse(&[("CHAT_LISTEN", ":9000")]).unwrap();
    assert_eq!(all.listen, "[::]:9000".parse().ok());
}

#[test]
fn an_error_names_the_variable_the_value_and_what_is_allowed() {
    for (name, value, error) in [
        (
            "CHAT_BCRYPT_COST",
            "16",
            "CHAT_BCRYPT_COST: cannot use \"16\"; allowed: a whole number from 4 to 15",
        ),
        (
            "CHAT_MESSAGES_PER_WINDOW",
            "five",
            "CHAT_MESSAGES_PER_WINDOW: cannot use \"five\"; \
             allowed: a whole number from 0 to 1000",
        ),
        (
            "CHAT_LISTEN",
            "localhost:1",
            "CHAT_LISTEN: cannot use \"localhost:1\"; allowed: address:port such as \
             [::]:8080 or 192.0.2.1:8080, :port, or off",
        ),
        (
            "GEMINI_API_KEY",
            "se cret",
            "GEMINI_API_KEY: cannot use its value; allowed: printable characters without \
             spaces",
        ),
    ] {
        assert_eq!(parse(&[(name, value)]).unwrap_err(), error);
    }
    for (name, value) in [
        ("CHAT_RATE_WINDOW_SECS", "0"),
        ("CHAT_SEND_QUEUE_BYTES", "1000"),
        ("CHAT_LOG_LEVEL", "loud"),
        ("CHAT_NAMESERVERS", "dns.example"),
        ("CHAT_NAMESERVERS", "192.0.2.1:0"),
        ("CHAT_NAMESERVERS", "192.0.2.1,[[2001:db8::1]"),
        ("CHAT_NAMESERVERS", "192.0.2.1]"),
        ("CHAT_MEMORY_MB", "7"),
        ("CHAT_MEMORY_MB", "half"),
        ("CHAT_ALLOW_FROM", "10.0.0.0/33"),
        ("CHAT_DENY_FROM", "example.com"),
        ("CHAT_PROXY_FROM", "10.0.0.1,"),
        ("GEMINI_BASE_URL", "http://example.com"),
        ("GEMINI_MODEL", "a/b"),
        ("CHAT_LISTEN", ":99999"),
    ] {
        assert!(parse(&[(name, value)]).unwrap_err().starts_with(name));
    }
}

#[test]
fn a_secret_is_given_to_who_asks_and_never_shown() {
    let config = parse(&[("GEMINI_API_KEY", "secret-key")]).unwrap();
    let key = config.gemini.key.unwrap();
    assert_eq!((key.expose(), format!("{key:?}")), ("secret-key", "Secret(…)".to_owned()));
}

#[test]
fn the_largest_values_fit_and_one_more_does_not() {
    let queue = |value| parse(&[("CHAT_SEND_QUEUE_BYTES", value)]).map(|c| c.send_queue_bytes);
    assert_eq!(queue("67108864"), Ok(67_108_864));
    assert!(queue("67108865").is_err() && queue("32767").is_err());
    let memory = |value| parse(&[("CHAT_MEMORY_MB", value)]).map(|c| c.memory_mb);
    assert_eq!((memory("0"), memory("8"), memory("")), (Ok(Some(0)), Ok(Some(8)), Ok(None)));
    let ttl = |value| parse(&[("CHAT_LOBBY_TTL_SECS", value)]).map(|c| c.chat.lobby_ttl);
    assert_eq!(ttl("31536000"), Ok(Duration::from_secs(31_536_000)));
    assert!(ttl("31536001").is_err());
}

#[test]
fn a_proxy_that_would_be_used_has_to_be_one_that_can_be() {
    let key = ("GEMINI_API_KEY", "k");
    let proxy = |more: &[(&str, &str)]| {
        let config = parse(&[&[key], more].concat())?;
        assert!(!format!("{config:?}").contains("s3cret"));
        Ok::<_, String>(config.gemini.proxy.map(|proxy| proxy.to_string()))
    };
    let good = ("HTTPS_PROXY", "http://me:s3cret@proxy.example:3128");
    assert_eq!(proxy(&[good]), Ok(Some("proxy.example:3128 (HTTPS_PROXY)".to_owned())));
    assert_eq!(proxy(&[good, ("NO_PROXY", "googleapis.com")]), Ok(None));
    assert_eq!(proxy(&[good, ("GEMINI_BASE_URL", "http://127.0.0.1:1")]), Ok(None));
    let bad = ("https_proxy", "socks5://me:s3cret@proxy:1");
    let error = "https_proxy: cannot use its value; allowed: http://[user:password@]host[:port] \
                 (no https:// and no socks5:// proxy)";
    assert_eq!(proxy(&[bad]), Err(error.to_owned()));
    assert_eq!(proxy(&[bad, ("NO_PROXY", "*")]), Ok(None));
    assert!(parse(&[bad]).is_ok(), "without a key nothing goes out");
}

#[test]
fn a_proxy_may_stand_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = "GEMINI_API_KEY=k\nhttps_proxy=proxy.example:3128\nHTTP_PROXY=x\n";
    std::fs::write(dir.path().join(".env"), text).unwrap();
    let config = Config::load(dir.path()).unwrap();
    // The environment wins, and may exempt all hosts.
    let exempts = NO_PROXY_VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
    assert!(config.gemini.proxy.is_some() || exempts);
}

#[test]
fn files_are_named_by_their_paths() {
    let config = parse(&[("CHAT_TLS_CERT", "/etc/a.pem"), ("CHAT_LOG_FILE", "b")]).unwrap();
    assert_eq!((config.tls.cert, config.tls.key), ("/etc/a.pem".into(), "server.key".into()));
    assert!(config.tls.named && config.log_file == Some("b".into()));
    assert!(!parse(&[]).unwrap().tls.named);
}

#[test]
fn a_model_is_named_by_letters_digits_and_three_signs() {
    let model = |value| parse(&[("GEMINI_MODEL", value)]).map(|config| config.gemini.model);
    assert_eq!(model("gemini-3.5_x").as_deref(), Ok("gemini-3.5_x"));
    assert!(model("gemini:3").is_err());
}

#[test]
fn the_file_is_read_may_be_missing_and_has_to_be_a_file() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Config::load(dir.path()).unwrap().chat.history_age, Duration::from_secs(300));
    let file = dir.path().join(".env");
    std::fs::write(&file, "CHAT_HISTORY_SECS=77\n").unwrap();
    assert_eq!(Config::load(dir.path()).unwrap().chat.history_age, Duration::from_secs(77));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(Config::load(dir.path()), Err(ConfigError::Unreadable(..))));
}

#[test]
fn base_urls() {
    let url = |text: &str| text.parse::<BaseUrl>().ok();
    let full = url("https://example.com:8443/a/b/").unwrap();
    assert_eq!((full.https, &*full.host, full.port), (true, "example.com", 8443));
    assert_eq!(full.path, "/a/b");
    for (given, path) in [
        ("", ""),
        ("/v1beta", ""),
        ("/v1beta/", ""),
        ("/v1", ""),
        ("/v1//", ""),
        ("//v1beta", ""),
        ("/v1/account/gateway", "/v1/account/gateway"),
        ("/v1/account/v1beta/", "/v1/account"),
        ("/gemini/v1", "/gemini"),
        ("/apiv1", "/apiv1"),
        // For one whose paths begin so.
        ("/v1/v1beta", "/v1"),
        ("/v1beta2", "/v1beta2"),
    ] {
        assert_eq!(url(&format!("https://example.com{given}")).unwrap().path, path, "{given}");
    }
    assert_eq!(url("https://example.com").unwrap().port, 443);
    assert_eq!(url("http://127.0.0.1").unwrap().port, 80);
    assert_eq!(url("http://[::1]:9").unwrap().host, "::1");
    for bad in [
        "example.com",
        "ftp://example.com",
        "https://",
        "https://u@example.com",
        "https://example.com:x",
        "https://example.com:0",
        "https://exa mple.com",
        "https://[::1",
        "http://192.0.2.1",
        "https://example.com/?key=1",
    ] {
        assert_eq!(url(bad), None, "{bad}");
    }
}

#[test]
fn the_file_is_read_and_its_faults_are_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "CHAT_BCRYPT_COST=4\n# note\n").unwrap();
    assert_eq!(Config::load(dir.path()).unwrap().bcrypt_cost, 4);
    for bad in ["GEMINI_API_KEY=abc s3cret", "GEMINI_API_KEY=\"s3cret", "s3cret"] {
        let text = format!("\u{feff}CHAT_BCRYPT_COST=4\n\n{bad}\nCHAT_LISTEN=off\n");
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let error = Config::load(dir.path()).unwrap_err().to_string();
        let expected = ".env: line 3 is not NAME=value; quote a value with spaces";
        assert!(error.ends_with(expected), "{error}");
        assert!(!error.contains("s3cret"));
    }
}
