//! The encrypted port: handshakes, streams, endings, certificates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::tls_client::{config, make_pair};
use common::{Client, PATIENCE, Server, command, eventually};
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

// ---- Servers and clients ----------------------------------------------------------------------

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and finishes the handshake.
fn handshake(addr: SocketAddr, config: &Arc<ClientConfig>) -> TlsStream {
    handshake_over(TcpStream::connect(addr).unwrap(), config)
}

fn handshake_over(tcp: TcpStream, config: &Arc<ClientConfig>) -> TlsStream {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream
}

fn connect(server: &Server) -> Client<TlsStream> {
    Client::over(handshake(server.tls_addr.unwrap(), &config(&TLS13)))
}

fn login(server: &Server, name: &str) -> Client<TlsStream> {
    connect(server).login(name)
}

// ---- Chatting --------------------------------------------------------------------------------

#[test]
fn both_ports_and_both_versions_lead_into_the_same_lobby() {
    let server = Server::with_tls(&[]);
    assert!(server.start_lines.contains("Protocol: TCP + TLS\nTLS enabled on port "));
    let mut plain = server.login("plain");
    let tls12 = handshake(server.tls_addr.unwrap(), &config(&TLS12));
    assert_eq!(tls12.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let mut old = Client::over(tls12).login("old");
    let mut new = login(&server, "new");
    assert_eq!(new.stream.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    for (sender, text) in [("old", "from 1.2"), ("new", "from 1.3"), ("plain", "from plain")] {
        match sender {
            "old" => old.send(text),
            "new" => new.send(text),
            _ => plain.send(text),
        }
        let message = format!("[@_@] {sender} [just now]\n  ╰─> {text}\n");
        old.expect(&message);
        new.expect(&message);
        plain.expect(&message);
    }
    for user in [&mut old, &mut new] {
        user.send("/quit");
        // An end without close_notify would be an error here.
        assert!(user.read_to_end().contains("Disconnecting from server. Goodbye!\n"));
    }
}

#[test]
fn sessions_are_resumed_with_tickets() {
    let server = Server::with_tls(&[]);
    for version in [&TLS12, &TLS13] {
        let config = config(version);
        let kind = |name: &str| {
            let stream = handshake(server.tls_addr.unwrap(), &config);
            let kind = stream.conn.handshake_kind();
            // Reading takes the ticket in.
            Client::over(stream).login(name).send("/quit");
            kind
        };
        assert_eq!(kind("one"), Some(HandshakeKind::Full));
        assert_eq!(kind("two"), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn many_pipelined_messages_come_back_in_order() {
    let server = Server::with_tls(&[]);
    let mut watcher = server.login("watcher");
    let mut alice = login(&server, "alice");
    let text = "x".repeat(900);
    let all: String = (0..400).map(|n| format!("{n} {text}\n")).collect();
    let reader = std::thread::spawn(move || {
        (0..400).for_each(|n| drop(watcher.expect(&format!("╰─> {n}\n"))));
    });
    alice.send_bytes(all.as_bytes());
    for n in 0..400 {
        alice.expect(&format!("╰─> {n}\n"));
    }
    reader.join().unwrap();
}

#[test]
fn a_client_whose_every_byte_comes_alone_is_served() {
    let server = Server::with_tls(&[]);
    let tcp = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let tls = ClientConnection::new(config(&TLS13), "localhost".try_into().unwrap()).unwrap();
    let mut client = Client::over(StreamOwned::new(tls, OneByOne(tcp)));
    client = client.login("alice");
    client.send("hello");
    client.expect("  ╰─> hello\n");
}

/// Writes one byte at a time, each in a packet of its own.
struct OneByOne(TcpStream);

impl std::io::Write for OneByOne {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl std::io::Read for OneByOne {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

#[test]
fn who_does_not_read_misses_lines_at_the_same_bound_and_memory_shows_it() {
    let server = Server::with_tls(&[
        ("CHAT_SEND_QUEUE_BYTES", "65536"),
        ("CHAT_MESSAGES_PER_WINDOW", "0"),
        ("CHAT_SEND_STALL_SECS", "2"),
    ]);
    let mut alice = server.login("alice");
    let before = server.status("VmRSS");
    let silent = login(&server, "silent");
    socket2::SockRef::from(&silent.stream.sock).set_recv_buffer_size(4096).unwrap();
    alice.expect("silent has joined");
    let text = "x".repeat(900);
    let mut queued = 0;
    for n in 0..500 {
        alice.send(&format!("{n} {text}"));
        alice.expect(&format!("╰─> {n}\n"));
        queued = queued.max(server.state()["queued_bytes"]);
    }
    assert!((40_000..=65_536).contains(&queued), "{queued}");
    assert!(server.status("VmRSS") < before + 2048);
    server.expect_log("reads nothing: send queue stalled");
    drop(silent);
}

// ---- Handshakes ------------------------------------------------------------------------------

#[test]
fn stalled_handshakes_cost_no_time_disturb_nobody_and_end() {
    let server = Server::with_tls(&[("CHAT_TLS_MAX_HANDSHAKES", "16")]);
    let mut alice = login(&server, "alice");
    let stalled: Vec<_> =
        (0..200).map(|_| TcpStream::connect(server.tls_addr.unwrap()).unwrap()).collect();
    // The beginning of a handshake record, and no more of it.
    for mut stream in &stalled {
        stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    }
    for n in 0..50 {
        let sent = Instant::now();
        alice.send(&format!("number {n}"));
        alice.expect(&format!("╰─> number {n}\n"));
        assert!(sent.elapsed() < Duration::from_secs(2));
    }
    let ticks = server.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.cpu_ticks() - ticks <= 2, "the loop turns without work");
    // Those beyond the bound wait in the kernel: one descriptor for each of the sixteen.
    assert!(server.descriptors() < 40);
    drop(stalled);
    let _bob = login(&server, "bob");
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let server = Server::with_tls(&[]);
    let mut stalled = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    stalled.set_read_timeout(Some(PATIENCE)).unwrap();
    // The beginning of a handshake record, and no more of it.
    stalled.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let started = Instant::now();
    assert_eq!(stalled.read(&mut [0; 10]).unwrap_or(0), 0);
    assert!(started.elapsed() > Duration::from_secs(9), "{:?}", started.elapsed());
    server.expect_log("refused 127.0.0.1 - TLS handshake took too long");
}

#[test]
fn what_is_not_tls_gets_a_line_or_an_alert_and_a_close() {
    let server = Server::with_tls(&[]);
    let mut noise: u32 = 7;
    for round in 0..40 {
        let bytes: Vec<u8> = match round {
            0 => b"alice\nhello\n".to_vec(),
            1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            // Handshake records whose content is none.
            2 => [b"\x16\x03\x01\x00\x04".to_vec(), vec![0; 4]].concat(),
            3 => [b"\x16\x03\x01\x00\x10".to_vec(), vec![0xaa; 16]].concat(),
            _ => (0..500)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                })
                .collect(),
        };
        let mut stream = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        if round < 4 {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            // An alert record (RFC 8446, sections 5.1 and 6): type 21, level fatal. For the last
            // there is no alert, only the close. Text is `tests/text_on_tls.rs`'s.
            let alert = (answer.first(), answer.get(5)) == (Some(&21), Some(&2));
            assert_eq!(alert, round == 2, "round {round}: {answer:?}");
        }
    }
    server.expect_log("refused 127.0.0.1 - TLS handshake failed: ");
    let _alice = login(&server, "alice");
}

#[test]
fn the_address_limit_counts_from_the_accept_and_is_told_over_tls() {
    let server = Server::with_tls(&[("CHAT_MAX_CONNECTIONS_PER_IP", "3")]);
    let _one = login(&server, "one");
    let _stalled: Vec<_> =
        (0..2).map(|_| TcpStream::connect(server.tls_addr.unwrap()).unwrap()).collect();
    let told = "Too many connections from your IP. Try again later.\n";
    assert_eq!(connect(&server).read_to_end(), told);
    assert_eq!(server.connect().read_to_end(), told);
}

#[test]
fn those_who_are_refused_do_not_take_the_handshakes_of_others() {
    let settings = [("CHAT_MAX_CONNECTIONS_PER_IP", "2"), ("CHAT_TLS_MAX_HANDSHAKES", "8")];
    let server = Server::with_tls(&settings);
    let _silent: Vec<_> =
        (0..40).map(|_| TcpStream::connect(server.tls_addr.unwrap()).unwrap()).collect();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&server.tls_addr.unwrap().into()).unwrap();
    let started = Instant::now();
    Client::over(handshake_over(socket.into(), &config(&TLS13))).login("elsewhere");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

// ---- Endings ---------------------------------------------------------------------------------

#[test]
fn a_close_notify_of_the_peer_is_the_end_of_input_and_what_is_owed_comes() {
    let server = Server::with_tls(&[]);
    let mut bob = server.login("bob");
    let mut alice = connect(&server);
    alice.send_bytes(b"alice\nfirst\nlast words without a newline");
    alice.stream.conn.send_close_notify();
    alice.stream.flush().unwrap();
    assert!(alice.read_to_end().contains("╰─> last words without a newline\n"));
    bob.expect("╰─> last words without a newline\n");
    bob.expect("[LOBBY] alice has left the lobby\n");
}

#[test]
fn an_end_without_close_notify_loses_nothing_that_came_before() {
    let server = Server::with_tls(&[]);
    let mut bob = server.login("bob");
    let mut alice = login(&server, "alice");
    alice.send("before the end");
    alice.stream.sock.shutdown(Shutdown::Write).unwrap();
    bob.expect("╰─> before the end\n");
    bob.expect("[LOBBY] alice has left the lobby\n");
    server.expect_log("alice left from");
}

#[test]
fn a_record_cut_short_or_broken_ends_one_connection_only() {
    let server = Server::with_tls(&[]);
    let mut bob = server.login("bob");
    let mut cut = login(&server, "cut");
    // An application data record of 100 bytes, of which ten come.
    cut.stream.sock.write_all(b"\x17\x03\x03\x00\x64aaaaaaaaaa").unwrap();
    cut.stream.sock.shutdown(Shutdown::Write).unwrap();
    bob.expect("[LOBBY] cut has left the lobby\n");
    let mut broken = login(&server, "broken");
    broken.stream.sock.write_all(&[b"\x17\x03\x03\x00\x64", &[7; 100][..]].concat()).unwrap();
    bob.expect("[LOBBY] broken has left the lobby\n");
    bob.send("still here");
    bob.expect("╰─> still here\n");
}

#[test]
fn a_shutdown_reaches_a_hundred_users() {
    let mut server = Server::with_tls(&[]);
    let mut users: Vec<_> = (0..100).map(|n| login(&server, &format!("user{n}"))).collect();
    let _stalled = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    server.signal(Signal::TERM);
    for user in &mut users {
        assert!(user.read_to_end().ends_with("Server is shutting down. Goodbye!\n"));
    }
    drop(users);
    assert_eq!(server.wait().code(), Some(0));
}

// ---- Certificates ----------------------------------------------------------------------------

fn certificate_seen(server: &Server) -> Vec<u8> {
    let stream = handshake(server.tls_addr.unwrap(), &config(&TLS13));
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_hang_up_reloads_the_pair_and_keeps_the_old_one_if_the_new_one_is_bad() {
    let server = Server::with_tls(&[]);
    let mut alice = login(&server, "alice");
    let first = certificate_seen(&server);
    make_pair(server.dir());
    assert_eq!(certificate_seen(&server), first, "files are read when told to, not before");
    server.signal(Signal::HUP);
    server.expect_log("certificate reloaded");
    let second = certificate_seen(&server);
    assert_ne!(second, first);

    std::fs::write(server.dir().join("server.crt"), "no certificate").unwrap();
    server.signal(Signal::HUP);
    server.expect_log("the old certificate stays in use - CHAT_TLS_CERT: there is no certificate");
    assert_eq!(certificate_seen(&server), second);
    alice.send("still here");
    alice.expect("╰─> still here\n");
}

/// Puts files into a directory.
type Prepare<'a> = &'a dyn Fn(&Path);

/// Runs `--check` with the TLS port on, in a directory prepared so.
fn check(prepare: Prepare<'_>, settings: &[(&str, &str)]) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let output = command(dir.path())
        .arg("--check")
        .envs([("CHAT_LISTEN", "127.0.0.1:0"), ("CHAT_TLS_LISTEN", "127.0.0.1:0")])
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    (output, errors)
}

#[test]
fn half_a_pair_or_one_that_does_not_match_stops_the_start_with_one_line() {
    let remove = |name: &'static str| {
        move |dir: &Path| {
            make_pair(dir);
            std::fs::remove_file(dir.join(name)).unwrap();
        }
    };
    let replace = |name: &'static str, text: &'static str| {
        move |dir: &Path| {
            make_pair(dir);
            std::fs::write(dir.join(name), text).unwrap();
        }
    };
    let mismatch = |dir: &Path| {
        make_pair(dir);
        let certificate = std::fs::read(dir.join("server.crt")).unwrap();
        make_pair(dir);
        std::fs::write(dir.join("server.crt"), certificate).unwrap();
    };
    let cases: [(Prepare<'_>, &str); 8] = [
        (
            &remove("server.key"),
            "CHAT_TLS_KEY: server.key is missing, and server.crt is of no use without it\n",
        ),
        (
            &remove("server.crt"),
            "CHAT_TLS_CERT: server.crt is missing, and server.key is of no use without it\n",
        ),
        (
            &replace("server.key", ""),
            "CHAT_TLS_KEY: there is no private key in server.key (PEM is needed)\n",
        ),
        (
            &replace("server.crt", "x"),
            "CHAT_TLS_CERT: there is no certificate in server.crt (PEM is needed)\n",
        ),
        (
            &mismatch,
            "CHAT_TLS_KEY: the key in server.key does not belong to the first certificate in \
             server.crt, which must be the server's own\n",
        ),
        (
            &replace("server.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n"),
            "CHAT_TLS_KEY: the key in server.key needs a passphrase; openssl pkey -in server.key -out \
             NEW removes it\n",
        ),
        (
            &replace("server.key", UNSUPPORTED_KEY),
            "CHAT_TLS_KEY: cannot use the key in server.key; allowed: ECDSA P-256 or P-384, Ed25519, \
             RSA of 2048 to 4096 bits\n",
        ),
        (
            &|dir: &Path| {
                make_pair(dir);
                std::fs::remove_file(dir.join("server.crt")).unwrap();
                std::fs::create_dir(dir.join("server.crt")).unwrap();
            },
            "CHAT_TLS_CERT: cannot read server.crt: is a directory\n",
        ),
    ];
    for (prepare, error) in cases {
        let (output, errors) = check(prepare, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(errors, error);
    }
    let named = [("CHAT_TLS_CERT", "elsewhere.crt")];
    assert!(check(&|_| {}, &named).1.starts_with("CHAT_TLS_CERT: elsewhere.crt is missing"));
    let (none, errors) = check(&|_| {}, &[]);
    assert!(none.status.success() && errors.is_empty(), "{errors}");
    let said = String::from_utf8(none.stdout).unwrap();
    assert!(said.contains("[!] TLS disabled (no server.crt)\n"), "{said}");
    let (off, errors) = check(&remove("server.key"), &[("CHAT_TLS_LISTEN", "off")]);
    assert!(off.status.success(), "{errors}");
}

/// On the curve secp256k1.
const UNSUPPORTED_KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHQCAQEEIH+al4jt2R/OEjqgcEDKS/3SX4CYSUo2dSrHDlpmRpPGoAcGBSuBBAAK
oUQDQgAEo8gj4G2sL5/97+yolV7tLUcpC3RAWTRrsRVgb1coeBzOpYYvzzAOj0B+
yoLjECAyGPN6eYXZiohSNIJYBYm+cQ==
-----END EC PRIVATE KEY-----
";

#[test]
fn a_certificate_out_of_date_is_warned_of() {
    let with = |from: i32, to: i32| {
        move |dir: &Path| {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            std::fs::write(dir.join("server.crt"), certificate.pem()).unwrap();
            std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
        }
    };
    for (from, to, warning) in [
        (2020, 2021, "[WARN] CHAT_TLS_CERT: server.crt expired "),
        (3020, 3021, "[WARN] CHAT_TLS_CERT: server.crt is not valid for another "),
    ] {
        let (output, errors) = check(&with(from, to), &[]);
        assert!(output.status.success());
        assert!(errors.contains(warning), "{errors}");
    }
    let (_, errors) = check(&with(2020, 3020), &[]);
    assert!(!errors.contains("CHAT_TLS_CERT"), "{errors}");
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let readable = |dir: &Path| {
        make_pair(dir);
        let path = dir.join("server.key");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let (output, errors) = check(&readable, &[]);
    assert!(output.status.success());
    assert!(errors.contains("CHAT_TLS_KEY: everybody can read server.key"), "{errors}");
}

#[test]
fn without_the_plain_port_only_tls_is_left() {
    let server = Server::with_tls(&[("CHAT_LISTEN", "off")]);
    assert!(server.start_lines.contains("Protocol: TLS\nTLS enabled on port "));
    let mut alice = login(&server, "alice");
    alice.send("/quit");
    alice.read_to_end();
    eventually("she is gone", || server.log().contains("alice left from"));
}

#[test]
fn the_memory_of_a_crowd_goes_back_to_the_system_when_it_has_gone() {
    let unlimited = [("CHAT_MAX_CONNECTIONS_PER_IP", "0"), ("CHAT_TLS_MAX_HANDSHAKES", "1000")];
    let server = Server::with_tls(&unlimited);
    let (addr, config) = (server.tls_addr.unwrap(), config(&TLS13));
    // What one client needs for the first time stays.
    drop(handshake(addr, &config));
    let before = server.status("VmRSS");
    let crowd: Vec<_> = (0..400).map(|_| handshake(addr, &config)).collect();
    let most = server.status("VmRSS");
    assert!(most > before + 1200, "{before} KiB, with all {most}");
    drop(crowd);
    eventually("most of it is back", || server.status("VmRSS") < before + (most - before) / 3);
}
