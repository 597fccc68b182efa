//! The server under a service manager: what it tells it, and the sockets it is handed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::programs::skipped;
use common::tls_client::{config, make_pair};
use common::{Client, PATIENCE, Server, command, eventually};
use rustix::process::Signal;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

// ---- What the manager hears -------------------------------------------------------------------

/// The end of sd_notify(3) that is the manager's.
struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    name: String,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn at_a_path() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("notify").to_str().unwrap().to_owned();
        let manager = Self { socket: UnixDatagram::bind(&name).unwrap(), name, _dir: dir };
        manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        manager
    }

    #[cfg(target_os = "linux")]
    fn with_an_abstract_name() -> Self {
        use std::os::linux::net::SocketAddrExt as _;
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().to_str().unwrap();
        let addr = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixDatagram::bind_addr(&addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, name: format!("@{name}"), _dir: dir }
    }

    fn start(&self, settings: &[(&str, &str)]) -> Server {
        Server::with(&[&[("NOTIFY_SOCKET", &*self.name)], settings].concat())
    }

    fn expect(&self) -> String {
        let mut message = [0; 4096];
        let n = self.socket.recv(&mut message).unwrap();
        std::str::from_utf8(&message[..n]).unwrap().to_owned()
    }

    /// How many messages come within this time.
    fn count_for(&self, time: Duration) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let end = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < end {
            match self.socket.recv(&mut [0; 4096]) {
                Ok(_) => count += 1,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => panic!("{e}"),
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        count
    }
}

#[test]
fn from_start_to_end() {
    let mut managers = vec![Manager::at_a_path()];
    #[cfg(target_os = "linux")]
    managers.push(Manager::with_an_abstract_name());
    for manager in managers {
        let mut server = manager.start(&[]);
        assert_eq!(manager.expect(), "READY=1");
        let mut alice = server.login("alice");
        server.signal(Signal::HUP);
        let reloading = manager.expect();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let age = now.tv_sec - time.parse::<i64>().unwrap() / 1_000_000;
        assert!((0..=PATIENCE.as_secs() as i64).contains(&age), "{reloading}");
        assert_eq!(manager.expect(), "READY=1");
        server.signal(Signal::TERM);
        assert_eq!(manager.expect(), "STOPPING=1");
        assert!(alice.read_to_end().ends_with("Server is shutting down. Goodbye!\n"));
        drop(alice);
        assert_eq!(server.wait().code(), Some(0));
        // No watchdog was asked for.
        assert_eq!(manager.count_for(Duration::from_millis(50)), 0);
    }
}

#[test]
fn who_is_told_that_it_is_ready_can_connect() {
    let manager = Manager::at_a_path();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path())
        .envs([("NOTIFY_SOCKET", &*manager.name), ("CHAT_LISTEN", &free.to_string())])
        .spawn()
        .unwrap();
    assert_eq!(manager.expect(), "READY=1");
    let result = TcpStream::connect(free);
    child.kill().unwrap();
    child.wait().unwrap();
    result.unwrap();
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let manager = Manager::at_a_path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let settings = [("NOTIFY_SOCKET", &*manager.name), ("CHAT_LISTEN", &addr)];
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path()).envs(settings).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(manager.count_for(Duration::from_millis(50)), 0);
}

#[test]
fn the_watchdog_hears_from_a_loop_that_turns_and_from_no_other() {
    let manager = Manager::at_a_path();
    let started = Instant::now();
    let server = manager.start(&[("WATCHDOG_USEC", "200000")]);
    assert_eq!(manager.expect(), "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.expect(), "WATCHDOG=1\nSTATUS=Connections: 0");
    }
    // The first one at once, then one in 100 ms, however much there is to do.
    assert!(started.elapsed() >= Duration::from_millis(390));
    let _alice = server.login("alice");
    eventually("alice is counted", || manager.expect() == "WATCHDOG=1\nSTATUS=Connections: 1");
    server.signal(Signal::STOP);
    eventually("it stands still", || manager.count_for(Duration::from_millis(300)) == 0);
    server.signal(Signal::CONT);
    assert!(manager.expect().starts_with("WATCHDOG=1"));
}

#[test]
fn a_watchdog_for_another_process_is_none_of_ours() {
    let manager = Manager::at_a_path();
    let _server = manager.start(&[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(manager.expect(), "READY=1");
    assert_eq!(manager.count_for(Duration::from_millis(200)), 0);
}

#[test]
fn a_manager_without_room_is_told_later() {
    let manager = Manager::at_a_path();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"FILLER=1", &manager.name).is_ok() {}
    let server = manager.start(&[]);
    // It serves although nobody takes its word.
    server.login("alice");
    eventually("ready", || manager.expect() == "READY=1");
}

#[test]
fn a_manager_that_is_not_there_is_logged_once_and_missed_by_nobody() {
    let settings = [("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "20000")];
    for settings in [&settings, &[("NOTIFY_SOCKET", "vsock:2:1234"), settings[1]]] {
        let server = Server::with(settings);
        server.login("alice");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(server.log().matches("NOTIFY_SOCKET").count(), 1, "{}", server.log());
    }
}

// ---- Sockets that are passed ------------------------------------------------------------------

/// The binary behind a shell that hands it standard input as descriptor 3, and standard error as
/// the next one if there are `two`, as sd_listen_fds(3) has it.
fn activated(dir: &std::path::Path, socket: impl Into<OwnedFd>, two: bool) -> Command {
    let direct = command(dir);
    let mut command = Command::new("/bin/sh");
    let move_them = if two { "exec 3<&0 4<&2 2>/dev/null" } else { "exec 3<&0" };
    let script = format!("{move_them} 0</dev/null; LISTEN_PID=$$ exec \"$0\"");
    command.args(["-c", &script]).arg(direct.get_program()).current_dir(dir);
    for (name, value) in direct.get_envs() {
        assert!(value.is_none());
        command.env_remove(name);
    }
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.env("LISTEN_FDS", if two { "2" } else { "1" });
    command.stdin(socket.into());
    command
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn who_connected_before_the_start_is_served_like_everybody() {
    let (listener, addr) = listener();
    let early = TcpStream::connect(addr).unwrap();
    let early_port = early.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    // The address of the settings is not opened: it is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = [("CHAT_LISTEN", &*taken.local_addr().unwrap().to_string())];
    let command = activated(dir.path(), listener, false);
    let server = Server::spawn(command, dir, &settings);
    assert!(server.start_lines.contains(&format!("Port: {addr}\n")), "{}", server.start_lines);
    server.expect_log(&format!("ready on {addr} (TCP)"));
    let mut early = Client::new(early).login("early");
    let mut late = server.login("late");
    early.expect("late has joined the lobby");
    early.send("hello");
    late.expect("╰─> hello\n");
    // Both have their options: the timer of keep-alive runs.
    #[cfg(target_os = "linux")]
    for port in [early_port, late.stream.local_addr().unwrap().port()] {
        eventually("keep-alive", || timer_of(addr.port(), port) == "02");
    }
}

/// The kind of the timer that runs for a connection (proc_net_tcp: 02 is keep-alive).
#[cfg(target_os = "linux")]
fn timer_of(local: u16, remote: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_it = |line: &Vec<String>| {
        line[1].ends_with(&format!(":{local:04X}")) && line[2].ends_with(&format!(":{remote:04X}"))
    };
    let line = table.lines().skip(1).map(fields).find(is_it).unwrap();
    line[5].split(':').next().unwrap().to_owned()
}

#[test]
fn the_one_named_tls_speaks_tls() {
    let dir = tempfile::tempdir().unwrap();
    make_pair(dir.path());
    let ((plain, plain_addr), (tls, tls_addr)) = (listener(), listener());
    let mut command = activated(dir.path(), plain, true);
    command.env("LISTEN_FDNAMES", "mio-chat.socket:tls").stderr(OwnedFd::from(tls));
    // Neither address of the settings counts; those of `spawn` turn TLS off.
    let server = Server::spawn(command, dir, &[("CHAT_LISTEN", "off")]);
    assert!(server.start_lines.contains("Protocol: TCP + TLS\n"), "{}", server.start_lines);
    assert_eq!((server.addr, server.tls_addr), (plain_addr, Some(tls_addr)));
    let mut alice = server.login("alice");
    let tcp = TcpStream::connect(tls_addr).unwrap();
    let tls = ClientConnection::new(config(&TLS13), "localhost".try_into().unwrap()).unwrap();
    let mut bob = Client::over(StreamOwned::new(tls, tcp)).login("bob");
    alice.expect("bob has joined the lobby");
    alice.send("hello");
    bob.expect("╰─> hello\n");
}

#[test]
fn sockets_for_another_process_are_none_of_ours() {
    for pid in ["1", "", "-1"] {
        let server = Server::with(&[("LISTEN_PID", pid), ("LISTEN_FDS", "1")]);
        server.login("alice");
    }
}

#[test]
fn a_socket_that_is_of_no_use_stops_the_start_with_one_line() {
    let run = |socket: OwnedFd, settings: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        activated(dir.path(), socket, false).envs(settings.iter().copied()).output().unwrap()
    };
    let expect = |output: Output, line: &str| {
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("LISTEN_FDS: {line}\n"));
    };
    let dir = tempfile::tempdir().unwrap();
    let (listening, _) = listener();
    let unfit: [OwnedFd; 4] = [
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        TcpStream::connect(listening.local_addr().unwrap()).unwrap().into(),
        UnixListener::bind(dir.path().join("socket")).unwrap().into(),
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap().into(),
    ];
    for socket in unfit {
        expect(run(socket, &[]), "fd 3: it is not a listening tcp socket");
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    expect(run(file.into(), &[]), "fd 3: socket operation on non-socket");
    let many = "8 sockets were passed; at most 7 can be used";
    expect(run(listener().0.into(), &[("LISTEN_FDS", "8")]), many);
    let no_pair = "the one named tls needs CHAT_TLS_CERT and CHAT_TLS_KEY";
    expect(run(listener().0.into(), &[("LISTEN_FDNAMES", "tls")]), no_pair);
}

/// With systemd's own tool, where there is one.
#[test]
fn systemd_socket_activate() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        return skipped(&format!("there is no {tool}"));
    }
    let dir = tempfile::tempdir().unwrap();
    let direct = command(dir.path());
    let addr = listener().1.to_string();
    let mut command = Command::new(tool);
    command.args(["-l", &addr]).arg(direct.get_program()).current_dir(dir.path());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut stream = None;
    eventually("it listens", || {
        stream = TcpStream::connect(&addr).ok();
        stream.is_some()
    });
    let mut alice = Client::new(stream.unwrap()).login("alice");
    alice.send("/quit");
    alice.read_to_end();
    child.kill().unwrap();
    child.wait().unwrap();
}

// ---- As a service -----------------------------------------------------------------------------

/// systemd 252 rates the unit at 1.1, of which 0.8 is that it has a network; others weigh a little
/// differently.
#[test]
fn the_unit_is_rated_as_it_was() {
    let rate = |unit: &str| {
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=15", unit])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
    };
    match rate("scripts/service/mio-chat.service") {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unrecognized option") => {
            skipped("this systemd-analyze is too old");
        }
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(e) => skipped(&format!("systemd-analyze: {e}")),
    }
}

#[test]
fn an_installation_keeps_the_settings_of_the_one_before() {
    for (init, file) in [
        ("systemd", "usr/local/lib/systemd/system/mio-chat.service"),
        ("openrc", "etc/init.d/mio-chat"),
        ("procd", "etc/init.d/mio-chat"),
        ("none", "etc/mio-chat/env.example"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let install = |argument: &str| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");
            let mut command = Command::new(script);
            command.env("DESTDIR", dir.path()).env("INIT", init).arg(argument);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let binary = env!("CARGO_BIN_EXE_mio-chat");
        install(binary);
        let at = |path: &str| dir.path().join(path);
        let settings = std::fs::read_to_string(at("etc/mio-chat/.env")).unwrap();
        assert_eq!(settings, include_str!("../.env.example"));
        assert!(at(file).exists());
        std::fs::write(at("etc/mio-chat/env"), "CHAT_BCRYPT_COST=5\n").unwrap();
        install(binary);
        let settings = std::fs::read_to_string(at("etc/mio-chat/.env")).unwrap();
        assert_eq!(settings, "CHAT_BCRYPT_COST=5\n");
        let installed = std::fs::read(at("usr/local/bin/mio-chat")).unwrap();
        assert!(installed == std::fs::read(binary).unwrap());
        install("--uninstall");
        assert!(at("etc/mio-chat/env").exists() && !at("usr/local/bin/mio-chat").exists());
        assert!(!at(file).exists() || init == "none");
    }
}
