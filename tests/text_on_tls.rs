//! Those who speak no TLS on the encrypted port: they are told so, and nobody holds it against them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::programs::{NCAT, TELNET, installed, openbsd_nc};
use common::tls_client::config;
use common::{Client, PATIENCE, Server, eventually};
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

/// The beginning of a handshake record, and no more of it.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01";

fn connect(server: &Server) -> Client {
    Client::new(TcpStream::connect(server.tls_addr.unwrap()).unwrap())
}

fn says(server: &Server, bytes: &[u8]) -> Client {
    let mut client = connect(server);
    client.send_bytes(bytes);
    client
}

/// What a text client is told here.
fn advice(server: &Server) -> String {
    format!(
        "This port speaks TLS: openssl s_client -quiet -connect HOST:{} \
         (or nc HOST {} for the plain port)",
        server.tls_addr.unwrap().port(),
        server.addr.port()
    )
}

/// Nobody was refused for it, as far as fail2ban can see.
fn blames_nobody(server: &Server) {
    assert!(!server.log().contains("refused "), "{}", server.log());
}

#[test]
fn text_gets_one_line_and_a_close() {
    let server = Server::with_tls(&[]);
    let line = advice(&server) + "\n";
    for bytes in [
        &b"alice\nhello\n"[..],
        b"a",
        b"\n",
        b"\xff\xfd\x03",
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x02\x01\x02",
        b"{\"hello\":{}}\n",
        &[b'x'; 60_000],
    ] {
        // The end must be a clean one, whatever was sent that nobody reads.
        assert_eq!(says(&server, bytes).read_to_end(), line);
    }
    let log = server.expect_log("turned away 127.0.0.1 - text on the TLS port");
    assert!(log.contains("[INFO]"), "{log}");
    blames_nobody(&server);
    eventually("all are gone", || server.state()["connections"] == 0);
}

#[test]
fn the_line_comes_in_the_form_of_what_is_spoken() {
    let server = Server::with_tls(&[]);
    let advice = advice(&server);
    let http = says(&server, b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n").read_to_end();
    assert!(http.starts_with("HTTP/1.1 400 Bad Request\n"), "{http}");
    assert!(http.contains(&format!("Content-Length: {}\n", advice.len() + 1)), "{http}");
    assert!(http.ends_with(&format!("\n\n{advice}\n")), "{http}");
    let ssh = says(&server, b"SSH-2.0-OpenSSH_9.2\r\n").read_to_end();
    let short = advice.split(" (").next().unwrap();
    assert!(ssh.starts_with("\nSSH-2.0-mio_chat\n") && ssh.contains(short), "{ssh}");
    server.expect_log("turned away 127.0.0.1 - HTTP on the TLS port");
    server.expect_log("turned away 127.0.0.1 - SSH on the TLS port");
    blames_nobody(&server);
    // A proxy that is not named is told what is missing, as on the plain port.
    for header in
        [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]
    {
        let told = says(&server, header).read_to_end();
        assert!(told.contains("CHAT_PROXY_FROM does not name it."), "{told}");
    }
    server.expect_log("refused 127.0.0.1 - PROXY protocol instead of chat");
}

#[test]
fn silence_is_broken_after_five_seconds() {
    let server = Server::with_tls(&[]);
    let started = Instant::now();
    let mut silent = connect(&server);
    // A client that has begun has its ten seconds.
    let mut begun = says(&server, HALF_A_HELLO);
    assert_eq!(silent.read_to_end(), advice(&server) + "\n");
    let took = started.elapsed();
    assert!((4900..7500).contains(&took.as_millis()), "{took:?}");
    blames_nobody(&server);
    assert_eq!(begun.read_to_end(), "");
    assert!(started.elapsed() > Duration::from_secs(9), "{:?}", started.elapsed());
    server.expect_log("refused 127.0.0.1 - TLS handshake took too long");
    eventually("all are gone", || server.state()["connections"] == 0);
}

#[test]
fn a_slow_client_that_speaks_tls_is_not_hit() {
    let server = Server::with_tls(&[]);
    let stream = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    // What two lost segments cost where a round trip takes 300 ms.
    std::thread::sleep(Duration::from_millis(3500));
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let tls = ClientConnection::new(config(&TLS13), "localhost".try_into().unwrap()).unwrap();
    // Its hello comes in two halves, the second one when five seconds are over.
    let mut hello = Vec::new();
    let mut stream = StreamOwned::new(tls, stream);
    stream.conn.write_tls(&mut hello).unwrap();
    let (first, second) = hello.split_at(3);
    stream.sock.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    stream.sock.write_all(second).unwrap();
    Client::over(stream).login("slow").send("/quit");
    blames_nobody(&server);
}

#[test]
fn those_who_come_and_go_without_a_word_leave_none() {
    let server = Server::with_tls(&[]);
    for _ in 0..5 {
        drop(connect(&server));
    }
    let half_closed = connect(&server);
    half_closed.stream.shutdown(std::net::Shutdown::Write).unwrap();
    eventually("all are gone", || server.state()["connections"] == 0);
    blames_nobody(&server);
    assert!(!server.log().contains("turned away"), "{}", server.log());
}

#[test]
fn a_text_client_leaves_its_handshake_to_others_at_once() {
    let server = Server::with_tls(&[("CHAT_TLS_MAX_HANDSHAKES", "2")]);
    // They do not close when they are told, and the server waits for that for two seconds.
    let told: Vec<_> = (0..20)
        .map(|_| {
            let mut client = says(&server, b"hello\n");
            client.expect("for the plain port)\n");
            client
        })
        .collect();
    let started = Instant::now();
    let stream = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let tls = ClientConnection::new(config(&TLS13), "localhost".try_into().unwrap()).unwrap();
    Client::over(StreamOwned::new(tls, stream)).login("alice");
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    drop(told);
}

#[test]
fn one_who_is_turned_away_is_told_why_in_plain_text_too() {
    let server = Server::with_tls(&[("CHAT_MAX_CONNECTIONS_PER_IP", "1")]);
    let _one = server.login("one");
    let told = "Too many connections from your IP. Try again later.\n";
    assert_eq!(says(&server, b"hello\n").read_to_end(), told);
    assert_eq!(connect(&server).read_to_end(), told);
    eventually("they are gone", || server.state()["connections"] == 1);
}

#[test]
fn without_a_plain_port_only_the_encrypted_one_is_named() {
    let server = Server::with_tls(&[("CHAT_LISTEN", "off")]);
    let port = server.tls_addr.unwrap().port();
    let line = format!("This port speaks TLS: openssl s_client -quiet -connect HOST:{port}\n");
    assert_eq!(says(&server, b"hello\n").read_to_end(), line);
    // The same where the plain port is on another address than the one that was connected to.
    let server = Server::with_tls(&[("CHAT_LISTEN", "127.0.0.2:0")]);
    let line = says(&server, b"hello\n").read_to_end();
    assert!(!line.contains("plain port"), "{line}");
}

// ---- Behind a proxy --------------------------------------------------------------------------

const PROXIED: (&str, &str) = ("CHAT_PROXY_FROM", "127.0.0.1");
const BROUGHT: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.254 5555 8443\r\n";
const ITSELF: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// The ports are the proxy's there, and not known.
const BEHIND: &str = "This port speaks TLS: openssl s_client -quiet -connect HOST:PORT\n";

#[test]
fn a_text_client_that_a_proxy_brings_is_told() {
    let server = Server::with_tls(&[PROXIED, ("CHAT_MAX_CONNECTIONS_PER_IP", "1")]);
    let mut first = says(&server, &[BROUGHT, b"hello\n"].concat());
    assert_eq!(first.read_to_end(), BEHIND);
    server.expect_log("turned away 192.0.2.1 - text on the TLS port");
    drop(first);
    eventually("it is gone", || server.state()["connections"] == 0);
    let mut apart = says(&server, BROUGHT);
    std::thread::sleep(Duration::from_millis(200));
    apart.send_bytes(b"hello\n");
    assert_eq!(apart.read_to_end(), BEHIND);
    drop(apart);
    eventually("it is gone", || server.state()["connections"] == 0);
    // With its first words behind the header, of one whose address has enough connections.
    let mut silent = says(&server, BROUGHT);
    eventually("it is there", || server.state()["connections"] == 1);
    let told = says(&server, &[BROUGHT, b"hello\n"].concat()).read_to_end();
    assert_eq!(told, "Too many connections from your IP. Try again later.\n");
    assert_eq!(silent.read_to_end(), BEHIND);
    assert!(!server.log().contains("TLS handshake"), "{}", server.log());
}

#[test]
fn a_proxys_own_silence_is_not_broken() {
    let server = Server::with_tls(&[PROXIED]);
    let mut check = says(&server, ITSELF);
    assert_eq!(check.read_to_end(), "");
    blames_nobody(&server);
    assert!(!server.log().contains("turned away"), "{}", server.log());
    eventually("it is gone", || server.state()["connections"] == 0);
}

// ---- Real clients ------------------------------------------------------------------------------

/// What a program shows that is connected to this port and given this input.
fn shown(program: &str, addr: SocketAddr, input: &str) -> String {
    let mut child = Command::new(program)
        .args([addr.ip().to_string(), addr.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    keyboard.write_all(input.as_bytes()).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"plain port)") {
        assert!(Instant::now() < end, "{program}: {}", String::from_utf8_lossy(&seen));
        if screen.read(&mut byte).unwrap() == 0 {
            break;
        }
        seen.push(byte[0]);
    }
    drop(keyboard);
    let _ = child.kill();
    let _ = child.wait();
    common::plain(&seen)
}

#[test]
fn people_with_nc_and_telnet_read_what_to_do() {
    let server = Server::with_tls(&[]);
    let others = [NCAT, TELNET].into_iter().filter(|program| installed(&[*program]));
    for program in openbsd_nc().into_iter().chain(others.map(|program| program.name)) {
        for input in ["", "alice\n"] {
            let seen = shown(program, server.tls_addr.unwrap(), input);
            assert!(seen.contains(&advice(&server)), "{program}: {seen}");
        }
    }
}
