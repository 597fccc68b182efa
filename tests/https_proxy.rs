//! The assistant behind an HTTP proxy: a scripted one, and a real one, tinyproxy. Where that is missing
//! its test passes and says so: see `common::programs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::forward_proxy::{ForwardProxy, Reaction};
use common::gemini::{Dns, Gemini, KEY, Manner, answer};
use common::programs::{TINYPROXY, installed};
use common::{Server, command, eventually};

/// A name server that knows no name but this one.
fn knowing(name: &'static str) -> Dns {
    Dns::start(Manner::Knowing(name))
}

#[test]
fn questions_go_through_the_proxy_which_looks_the_name_up() {
    let gemini = Gemini::start(|n, _| answer(&[&format!("answer {n}")]));
    let to = gemini.addr;
    let proxy = ForwardProxy::start(move |_| Reaction::Tunnel(to));
    let dns = knowing("proxy.test");
    let address = format!("http://rox:s%40cret@proxy.test:{}/", proxy.addr.port());
    let server = Server::with_gemini(&gemini, &dns, &[("HTTPS_PROXY", &address)]);
    let shown = format!("through the proxy proxy.test:{} (HTTPS_PROXY)\n", proxy.addr.port());
    assert!(server.start_lines.contains(&shown), "{}", server.start_lines);
    let mut alice = server.login("alice");
    for n in 0..3 {
        alice.send("/ai hello");
        alice.expect(&format!("│ answer {n}\n"));
    }
    // One tunnel for all of them, and nothing in the clear but where it goes.
    let heads = proxy.heads.lock().unwrap().clone();
    let target = format!("gemini.test:{}", gemini.addr.port());
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")));
    // printf 'rox:s@cret' | base64
    assert!(heads[0].contains("\r\nProxy-Authorization: Basic cm94OnNAY3JldA==\r\n"), "{heads:?}");
    let forwarded = String::from_utf8_lossy(&proxy.forwarded.lock().unwrap()).into_owned();
    assert!(!heads[0].contains(KEY) && !forwarded.contains(KEY) && !forwarded.contains("hello"));
    assert!(!gemini.request(0).head.contains("Proxy-Authorization"));
    let asked = dns.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|name| name == "proxy.test"), "{asked:?}");
    let log = server.log();
    assert!(!log.contains("cret") && !log.contains("cm94"), "{log}");
}

#[test]
fn a_proxys_reply_may_come_slowly_and_others_chat_meanwhile() {
    let gemini = Gemini::start(|_, _| answer(&["found"]));
    let to = gemini.addr;
    let proxy = ForwardProxy::start(move |_| Reaction::SlowTunnel(to));
    let address = proxy.addr.to_string();
    let dns = Dns::start(Manner::Denying);
    let server = Server::with_gemini(&gemini, &dns, &[("https_proxy", &address)]);
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    alice.send("meanwhile");
    let seen = alice.expect("╰─> meanwhile\n");
    assert!(!seen.contains("found"), "the reply alone takes a tenth of a second");
    alice.expect("│ found\n");
    assert!(dns.asked.lock().unwrap().is_empty(), "an address is not looked up");
}

#[test]
fn what_is_exempt_is_reached_without_it() {
    let gemini = Gemini::start(|_, _| answer(&["direct"]));
    let proxy = ForwardProxy::start(|_| Reaction::Say("HTTP/1.1 403 No\r\n\r\n"));
    let address = format!("http://{}", proxy.addr);
    let dns = knowing("gemini.test");
    let settings = [("HTTPS_PROXY", &*address), ("NO_PROXY", "localhost, .test")];
    let server = Server::with_gemini(&gemini, &dns, &settings);
    assert!(server.start_lines.contains("[✓] AI features enabled\n"), "{}", server.start_lines);
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    alice.expect("│ direct\n");
    assert!(proxy.heads.lock().unwrap().is_empty());
}

#[test]
fn a_proxy_that_refuses_fails_or_talks_nonsense_is_told_of() {
    const CANNOT: &str = "[AI] The AI cannot be reached. Try again later.\n";
    const REFUSED: &str = "[AI] The AI cannot be reached: this server's proxy does not allow it.\n";
    let cases: [(Reaction, &str, &str); 8] = [
        (
            Reaction::Say("HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n<html>"),
            REFUSED,
            "HTTP 407: it wants a user and a password (http://user:password@…)",
        ),
        (Reaction::Say("HTTP/1.1 403 Filtered\r\n\r\n"), REFUSED, "HTTP 403\n"),
        (Reaction::Say("HTTP/1.0 502 x\r\n\r\n"), CANNOT, "HTTP 502: it cannot reach the service"),
        (Reaction::Say("SSH-2.0-OpenSSH_9.2\r\n\r\n"), CANNOT, "the response is not of HTTP/1.0"),
        (Reaction::Say(""), CANNOT, "it closed the connection"),
        (Reaction::Say("HTTP/1.1 200 OK\r\n\r\nhello"), CANNOT, "it sent more than its answer"),
        (Reaction::Flood("HTTP/1.1 200 OK\r\nX: "), CANNOT, "the head of the response is"),
        (Reaction::Silence(Duration::from_secs(30)), CANNOT, "it took too long to answer"),
    ];
    let reactions: Vec<_> = cases.iter().map(|(reaction, ..)| reaction.clone()).collect();
    let proxy = ForwardProxy::start(move |n| reactions[n].clone());
    let gemini = Gemini::start(|_, _| answer(&["never"]));
    let address = format!("http://{}", proxy.addr);
    let server = Server::with_gemini(&gemini, &knowing("x"), &[("ALL_PROXY", &address)]);
    let mut alice = server.login("alice");
    for (_, line, cause) in cases {
        alice.send("/ai hello");
        alice.expect("asked AI: hello\n");
        let sent = Instant::now();
        alice.send("meanwhile");
        let seen = alice.expect("╰─> meanwhile\n");
        assert!(sent.elapsed() < Duration::from_secs(2));
        if !seen.contains(line) {
            alice.expect(line);
        }
        let start = format!("proxy {} (ALL_PROXY): ", proxy.addr);
        eventually(cause, || server.log().contains(&format!("{start}{cause}")));
    }
    let ticks = server.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.cpu_ticks() - ticks <= 2, "the loop turns without work");
    assert!(gemini.requests.lock().unwrap().is_empty());
}

#[test]
fn a_proxy_that_is_not_there_is_named_in_the_log() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gemini = Gemini::start(|_, _| answer(&["never"]));
    for (address, cause) in [
        (format!("http://{closed}"), format!("proxy {closed} (HTTPS_PROXY): Connection refused")),
        ("http://proxy.test:1".to_owned(), "(HTTPS_PROXY): proxy.test: no such name".to_owned()),
    ] {
        let server = Server::with_gemini(&gemini, &knowing("x"), &[("HTTPS_PROXY", &address)]);
        let mut alice = server.login("alice");
        alice.send("/ai hello");
        alice.expect("[AI] The AI cannot be reached. Try again later.\n");
        server.expect_log(&cause);
    }
}

#[test]
fn the_check_names_the_proxy_and_what_is_wrong_with_one() {
    let check = |settings: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        let run = command(dir.path())
            .arg("--check")
            .envs([("CHAT_LISTEN", "127.0.0.1:0"), ("CHAT_TLS_LISTEN", "off")])
            .env("GEMINI_API_KEY", KEY)
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (run.status.code(), text(run.stdout), text(run.stderr))
    };
    let (code, said, _) = check(&[("HTTPS_PROXY", "http://me:s3cret@proxy.example:3128")]);
    assert_eq!(code, Some(0));
    let line = "[✓] AI features enabled, through the proxy proxy.example:3128 (HTTPS_PROXY)\n";
    assert!(said.contains(line) && !said.contains("s3cret"), "{said}");
    let (code, _, error) = check(&[("ALL_PROXY", "socks5://me:s3cret@proxy.example")]);
    assert_eq!(code, Some(1));
    let line = "ALL_PROXY: cannot use its value; allowed: http://[user:password@]host[:port] \
                (no https:// and no socks5:// proxy)\n";
    assert_eq!(error, line);
    let (code, _, error) = check(&[("https_proxy", "https://proxy.example"), ("no_proxy", "*")]);
    assert_eq!((code, &*error), (Some(0), ""));
}

// ---- A real proxy ----------------------------------------------------------------------------

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tinyproxy that lets connections to this port through, for a user with a password.
fn tinyproxy(dir: &std::path::Path, connect_port: u16) -> Option<(Program, u16)> {
    if !installed(&[TINYPROXY]) {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = format!(
        "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 10\n\
         ConnectPort {connect_port}\nBasicAuth rox s3cret\nLogLevel Error\n"
    );
    let path = dir.join("tinyproxy.conf");
    std::fs::write(&path, conf).unwrap();
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Program(command.spawn().unwrap());
    eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some((program, port))
}

#[test]
fn through_tinyproxy() {
    let dir = tempfile::tempdir().unwrap();
    let gemini = Gemini::named("localhost", |_, _| answer(&["through"]));
    let Some((_proxy, port)) = tinyproxy(dir.path(), gemini.addr.port()) else { return };
    let ask = |user: &str, service: u16| {
        let address = format!("http://{user}127.0.0.1:{port}");
        let url = format!("https://localhost:{service}");
        let settings = [("HTTPS_PROXY", &*address), ("GEMINI_BASE_URL", &*url)];
        let server = Server::with_gemini(&gemini, &knowing("x"), &settings);
        let mut alice = server.login("alice");
        alice.send("/ai hello");
        (server, alice)
    };
    let (_server, mut alice) = ask("rox:s%33cret@", gemini.addr.port());
    alice.expect("│ through\n");
    alice.send("/ai hello");
    alice.expect("│ through\n");
    for (user, service, cause) in [
        ("", gemini.addr.port(), "HTTP 407: it wants a user and a password"),
        ("rox:wrong@", gemini.addr.port(), "it does not accept this user and password"),
        ("rox:s%33cret@", 1, "HTTP 403"),
    ] {
        let (server, mut alice) = ask(user, service);
        alice.expect("[AI] The AI cannot be reached: this server's proxy does not allow it.\n");
        server.expect_log(cause);
    }
}
