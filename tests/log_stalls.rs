//! The log when nothing takes it: whatever standard error and the log's file are, nobody in the chat
//! waits for them, what is lost is counted, and nothing is changed that belongs to others.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Server, command, eventually};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A server with this as its standard error.
fn logging_to(stderr: impl Into<Stdio>, settings: &[(&str, &str)]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.stderr(stderr);
    Server::spawn(command, dir, settings)
}

/// A server that logs to this file of its directory, made ready by this.
fn logging_to_file(prepare: impl FnOnce(&Path)) -> (Server, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.log");
    prepare(&path);
    let mut command = command(dir.path());
    command.stderr(Stdio::null());
    let server = Server::spawn(command, dir, &[("CHAT_LOG_FILE", path.to_str().unwrap())]);
    (server, path)
}

/// The lines that one visit leaves in the log, at least 230 bytes of them.
const LINES: [&str; 3] = [" connected\n", " joined from ", " left from "];

/// Has others come and go, and says something each time. Nobody waits for the log.
fn chat_and_log(server: &Server, visits: usize) {
    let mut alice = server.login("alice");
    let mut waits = Vec::new();
    for n in 0..visits {
        let mut visitor = server.connect();
        visitor.send(&format!("visitor{n}"));
        visitor.expect(&format!("visitor{n} has joined the lobby"));
        drop(visitor);
        let start = Instant::now();
        alice.send(&format!("still here {n}"));
        alice.expect(&format!("╰─> still here {n}\n"));
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    let (median, worst) = (waits[visits / 2], waits[visits - 1]);
    println!("{visits} messages: median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(100), "{median:?}");
    // Others use this machine, too.
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

/// Everything that comes out of this, read by a thread.
fn read_all(mut from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let read = Arc::new(Mutex::new(String::new()));
    let sink = read.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(n) = from.read(&mut bytes)
            && n > 0
        {
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    });
    read
}

/// What is said of lost lines: where it stands, and how many there were.
fn lost(log: &str) -> Option<(usize, usize)> {
    let at = log.find(" of this log lost after 20")?;
    let line = log[..at].rfind('\n').map_or(0, |end| end + 1);
    let count = log[line..at].split(' ').nth(2).unwrap();
    Some((line, count.parse().unwrap()))
}

/// After so many visits, when at most `held` bytes could leave the server: reads on, and looks at what
/// is said of the lines that are missing.
fn expect_account(server: &Server, read: &Mutex<String>, visits: usize, held: usize) {
    let log = || read.lock().unwrap().replace('\r', "");
    eventually("it is said how many are lost", || lost(&log()).is_some());
    // Now there is room.
    server.login("carol");
    eventually("it goes on", || log().contains("carol left from"));
    let log = log();
    let (at, lost) = lost(&log).unwrap();
    assert!(at <= held, "{at} bytes came before the count");
    assert!(lost > 0 && log.matches(" of this log lost").count() == 1, "{lost}");
    // Alice and Carol came, too.
    let came: usize = LINES.iter().map(|line| log.matches(line).count()).sum();
    assert_eq!(came + lost, LINES.len() * (visits + 2), "{came} and {lost}");
    for line in log.lines() {
        assert_eq!((&line[4..5], &line[19..20], &line[23..25]), ("-", ".", "Z "), "{line}");
    }
}

#[test]
fn a_full_pipe_delays_nobody_and_its_flags_stay() {
    let (reader, writer) = std::io::pipe().unwrap();
    let before = fcntl_getfl(&writer).unwrap();
    let server = logging_to(writer.try_clone().unwrap(), &[]);
    chat_and_log(&server, 1700);
    assert_eq!(fcntl_getfl(&writer).unwrap(), before);
    expect_account(&server, &read_all(reader), 1700, 64 * 1024);
}

#[test]
fn a_socket_that_takes_nothing_delays_nobody_and_its_flags_stay() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let before = fcntl_getfl(&writer).unwrap();
    let server = logging_to(OwnedFd::from(writer.try_clone().unwrap()), &[]);
    chat_and_log(&server, 2600);
    assert_eq!(fcntl_getfl(&writer).unwrap(), before);
    expect_account(&server, &read_all(reader), 2600, 256 * 1024);
}

/// A terminal: the side of the user, and that of programs.
fn terminal() -> (File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let programs = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (user.into(), programs)
}

#[test]
fn a_terminal_that_ctrl_s_has_stopped_delays_nobody_and_its_flags_stay() {
    let (mut user, programs) = terminal();
    let before = fcntl_getfl(&programs).unwrap();
    let server = logging_to(programs.try_clone().unwrap(), &[]);
    user.write_all(b"\x13").unwrap();
    chat_and_log(&server, 1700);
    assert_eq!(fcntl_getfl(&programs).unwrap(), before);
    let read = read_all(user.try_clone().unwrap());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!read.lock().unwrap().contains(" joined "));
    user.write_all(b"\x11").unwrap();
    expect_account(&server, &read, 1700, 8 * 1024);
}

#[test]
fn a_fifo_whose_reader_stops_delays_nobody() {
    let mut reader = None;
    let (server, fifo) = logging_to_file(|path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        reader = OpenOptions::new().read(true).custom_flags(flags).open(path).ok();
    });
    chat_and_log(&server, 2700);
    let read = read_all(File::open(fifo).unwrap());
    drop(reader);
    // The process in between holds some, too.
    expect_account(&server, &read, 2700, 320 * 1024);
}

// ---- The second process ------------------------------------------------------------------------

/// The process that writes the server's file.
fn second(server: &Server) -> Option<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = processes.filter_map(|one| one.file_name().to_str()?.parse::<i32>().ok());
    pids.find_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.split_once(" (mio-chat-log) ")?.1;
        let parent = rest.split(' ').nth(1)?.parse::<u32>().ok()?;
        (parent == server.pid() && !rest.starts_with('Z')).then(|| Pid::from_raw(pid))?
    })
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_disk_that_hangs_delays_nobody() {
    let (server, path) = logging_to_file(|_| {});
    let second = second(&server).unwrap();
    // As good as a write(2) that does not come back.
    kill_process(second, Signal::STOP).unwrap();
    chat_and_log(&server, 2700);
    kill_process(second, Signal::CONT).unwrap();
    let log = Mutex::new(String::new());
    eventually("it is said how many are lost", || lost(&read(&path)).is_some());
    server.login("carol");
    eventually("it goes on", || read(&path).contains("carol left from"));
    log.lock().unwrap().push_str(&read(&path));
    expect_account(&server, &log, 2700, 256 * 1024);
}

#[test]
fn a_second_process_that_is_killed_is_followed_by_another_and_nothing_is_lost() {
    let (server, path) = logging_to_file(|_| {});
    let first = second(&server).unwrap();
    kill_process(first, Signal::STOP).unwrap();
    for n in 0..50 {
        server.login(&format!("user{n}"));
    }
    kill_process(first, Signal::KILL).unwrap();
    eventually("there is another", || second(&server).is_some_and(|other| other != first));
    eventually("it has written", || read(&path).contains("user49 left from"));
    let log = read(&path);
    for n in 0..50 {
        for what in ["joined", "left"] {
            assert_eq!(log.matches(&format!(" user{n} {what} from")).count(), 1, "{n}\n{log}");
        }
    }
    let error = "[ERROR] the second process, for CHAT_LOG_FILE, has ended - signal: 9";
    eventually("it is said", || read(&path).contains(error));
    assert!(!read(&path).contains("opened again"));
    // Signals that are for the server end neither.
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::USR1, Signal::HUP] {
        kill_process(second(&server).unwrap(), signal).unwrap();
    }
    server.login("carol");
    eventually("it goes on", || read(&path).contains("carol left from"));
    assert_eq!(read(&path).matches("has ended").count(), 1);
}

#[test]
fn a_full_disk_loses_nothing_that_fits_the_buffer() {
    let (server, path) = logging_to_file(|_| {});
    let second = Some(second(&server).unwrap());
    let full = fs::metadata(&path).unwrap().len() + 10;
    let limit = |most| Rlimit { current: most, maximum: None };
    prlimit(second, Resource::Fsize, limit(Some(full))).unwrap();
    for n in 0..50 {
        server.login(&format!("user{n}"));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), full);
    prlimit(second, Resource::Fsize, limit(None)).unwrap();
    eventually("it goes on", || read(&path).contains("user49 left from"));
    let log = read(&path);
    for n in 0..50 {
        assert_eq!(log.matches(&format!(" user{n} joined from")).count(), 1, "{n}\n{log}");
    }
    assert!(log.contains("[ERROR] CHAT_LOG_FILE: lines wait - File too large"), "{log}");
    assert!(log.lines().all(|line| line.contains("Z [")), "{log}");
}

#[test]
fn a_file_that_takes_nothing_can_be_exchanged_for_another() {
    let (server, path) = logging_to_file(|path| {
        std::os::unix::fs::symlink("/dev/full", path).unwrap();
    });
    server.login("alice");
    fs::remove_file(&path).unwrap();
    server.signal(Signal::HUP);
    eventually("it goes on", || path.exists() && read(&path).contains("log file opened again"));
    let log = read(&path);
    assert!(log.contains("alice joined from") && log.contains("lines wait - No space"), "{log}");
}

/// As with `mio-chat >log 2>&1`, where the shell's description has no O_APPEND.
#[test]
fn a_file_as_standard_error_gets_everything_in_order_and_its_flags_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("log")).unwrap();
    let path = dir.path().join("log");
    let before = fcntl_getfl(&file).unwrap();
    let mut child = command(dir.path())
        .env("CHAT_LISTEN", "127.0.0.1:0")
        .env("CHAT_TLS_LISTEN", "off")
        .env("CHAT_UNKNOWN", "1")
        .stdout(file.try_clone().unwrap())
        .stderr(file.try_clone().unwrap())
        .spawn()
        .unwrap();
    eventually("it is ready", || read(&path).contains("[INFO] ready on"));
    let port = read(&path).split("ready on 127.0.0.1:").nth(1).unwrap()[..5].trim().to_owned();
    let port = port.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u16>().unwrap();
    common::Client::new(TcpStream::connect(("127.0.0.1", port)).unwrap()).login("alice");
    eventually("it is logged", || read(&path).contains("alice left from"));
    assert_eq!(fcntl_getfl(&file).unwrap(), before);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    // At the end nothing is left to be written.
    let log = read(&path);
    let order = ["CHAT_UNKNOWN", "Port: ", "Server ready", "ready on", "alice left", "] ended\n"];
    let found: Vec<_> = order.iter().map(|text| log.find(text).unwrap()).collect();
    assert!(found.is_sorted(), "{found:?}\n{log}");
    assert!(log.ends_with("[INFO] ended\n"), "{log}");
}

#[test]
fn a_start_that_fails_says_so_wherever_standard_error_leads() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let error = format!("Error starting TCP server: listen tcp {addr}: address already in use\n");
    let path = dir.path().join("log");
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let (user, programs) = terminal();
    let shown = read_all(user);
    for stderr in [Stdio::from(File::create(&path).unwrap()), OwnedFd::from(writer).into()] {
        let mut command = command(dir.path());
        command.env("CHAT_LISTEN", &addr).env("CHAT_TLS_LISTEN", "off").stderr(stderr);
        assert_eq!(command.status().unwrap().code(), Some(1));
    }
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!((said, read(&path)), (error.clone(), error.clone()));
    let mut command = command(dir.path());
    command.env("CHAT_LISTEN", &addr).env("CHAT_TLS_LISTEN", "off").stderr(programs);
    assert_eq!(command.status().unwrap().code(), Some(1));
    eventually("it is shown", || shown.lock().unwrap().replace('\r', "") == error);
}

/// The rest of the test below, in a process of its own.
#[test]
#[ignore = "it panics"]
fn panics_behind_a_line_of_the_log() {
    mio_chat::logging::start(log::LevelFilter::Info, None).unwrap();
    log::info!("that was all");
    panic!("by intention");
}

#[test]
fn a_panic_is_told_behind_what_was_logged() {
    let own = std::env::current_exe().unwrap();
    let arguments = ["--exact", "--ignored", "--nocapture", "panics_behind_a_line_of_the_log"];
    let output = Command::new(&own).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let found = ["[INFO] that was all\n", "panicked at", "by intention"].map(|s| said.find(s));
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{said}");
    // What cannot be told keeps nobody for longer than a second.
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    let mut command = Command::new(own);
    command.stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command.args(arguments).stderr(OwnedFd::from(writer)).spawn().unwrap();
    eventually("it has ended", || child.try_wait().unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(reader);
}

// ---- The end -----------------------------------------------------------------------------------

#[test]
fn at_the_end_what_waits_gets_a_second() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = logging_to(writer, &[]);
    chat_and_log(&server, 500);
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let took = start.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    drop(reader);
    // Who reads on gets it all.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = logging_to(writer, &[]);
    chat_and_log(&server, 500);
    server.signal(Signal::TERM);
    let read = read_all(reader);
    assert!(server.wait().success());
    eventually("all of it", || read.lock().unwrap().ends_with("] ended\n"));
    assert_eq!(read.lock().unwrap().matches(" joined from ").count(), 501);
}

#[test]
fn the_second_process_ends_with_the_server_whatever_keeps_it() {
    let (mut server, _) = logging_to_file(|path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    chat_and_log(&server, 1000);
    let second = second(&server).unwrap();
    server.signal(Signal::KILL);
    server.wait();
    let alive = || fs::exists(format!("/proc/{}/exe", second.as_raw_nonzero())).unwrap();
    eventually("it has ended", || !alive());
}

// ---- Its growth --------------------------------------------------------------------------------

#[test]
fn it_grows_by_a_megabyte_a_minute_at_most_and_what_is_left_out_is_counted() {
    let (server, path) = logging_to_file(|_| {});
    let start = Instant::now();
    let mut came = 0;
    // Each of them is 230 bytes of log.
    while came < 6000 {
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let mut client = server.connect();
                came += 1;
                client.send(&format!("user{came}"));
                client
            })
            .collect();
        for mut client in clients {
            client.expect("has joined the lobby");
        }
    }
    server.signal(Signal::USR1);
    eventually("errors and the like are logged", || read(&path).contains("state: "));
    eventually("it is told", || read(&path).contains("[WARN] not logged: "));
    let log = read(&path);
    println!("{} bytes after {:?}", log.len(), start.elapsed());
    assert!(log.len() < 1_000_000 && log.contains("joined from"), "{}", log.len());
    let counts = log.split("not logged: ").skip(1);
    let counted: usize =
        counts.map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    let logged =
        ["connected\n", " joined from", " left from"].map(|what| log.matches(what).count());
    assert!(start.elapsed() < Duration::from_secs(60), "this machine is too slow to tell");
    let all = logged.iter().sum::<usize>() + counted;
    assert!((3 * 6000 - 300..=3 * 6000).contains(&all), "{logged:?} and {counted}");
}
