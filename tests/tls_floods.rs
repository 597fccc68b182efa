//! TLS that brings much work and no lines: whoever sends it makes nobody else wait, and the server keeps
//! little of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::records::{APPLICATION_DATA, HANDSHAKE, LONGEST, Records};
use common::tls_client::config;
use common::{PATIENCE, Server, eventually};
use rustls::ClientConnection;
use rustls::version::TLS13;

/// A client that writes its records itself, once the handshake is done.
fn records(server: &Server) -> Records {
    let mut config = (*config(&TLS13)).clone();
    config.enable_secret_extraction = true;
    let mut tcp = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut tcp).unwrap();
    }
    Records::new(tcp, tls.dangerous_extract_secrets().unwrap().tx)
}

/// Eight addresses with ten unfinished handshakes each took all 64 places, and kept everybody else out
/// until those were given up after ten seconds.
#[test]
fn unfinished_handshakes_keep_nobody_out() {
    let server = Server::with_tls(&[]);
    let over = AtomicBool::new(false);
    let waits = thread::scope(|scope| {
        for n in 0..30 {
            let (over, addr) = (&over, server.tls_addr.unwrap());
            scope.spawn(move || {
                let mut held = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let mut tcp = common::connect_from([127, 0, 2, n], addr);
                    // The beginning of a ClientHello.
                    let _ = tcp.write_all(&[HANDSHAKE, 3, 1, 2, 0, 1, 0]);
                    held.push(tcp);
                    held.drain(..held.len().saturating_sub(10));
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let began = Instant::now();
                let _ = records(&server);
                began.elapsed()
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        waits
    });
    assert!(waits.iter().max().unwrap().as_millis() < 500, "{waits:?}");
}

/// The longest turn, and the longest wait of somebody who chats, while something else goes on.
fn besieged(server: &Server, flood: impl Fn(&AtomicBool) + Sync) -> (Duration, Duration) {
    let mut honest = server.login("honest");
    let over = AtomicBool::new(false);
    server.state();
    let wait = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| flood(&over));
        }
        thread::sleep(Duration::from_millis(200));
        let waits = (0..40).map(|n| {
            let sent = Instant::now();
            honest.send(&format!("word {n}."));
            honest.expect(&format!("word {n}.\n"));
            thread::sleep(Duration::from_millis(20));
            sent.elapsed()
        });
        let longest = waits.max().unwrap();
        over.store(true, Ordering::Relaxed);
        longest
    });
    (Duration::from_micros(server.state()["longest_turn_us"]), wait)
}

#[track_caller]
fn nobody_waits((turn, wait): (Duration, Duration)) {
    println!("longest turn {turn:?}, longest wait {wait:?}");
    // Without optimisation, and on a busy machine.
    assert!(turn < Duration::from_millis(250) && wait < Duration::from_millis(1000));
}

#[test]
fn key_updates_make_nobody_wait() {
    let server = Server::with_tls(&[]);
    nobody_waits(besieged(&server, |over| {
        let mut tcp = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(config(&TLS13), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).unwrap();
        }
        while !over.load(Ordering::Relaxed) {
            for _ in 0..30 {
                tls.refresh_traffic_keys().unwrap();
            }
            tls.writer().write_all(b"x").unwrap();
            while tls.wants_write() && !over.load(Ordering::Relaxed) {
                // It may have been closed meanwhile, which is fine.
                if let Err(e) = tls.write_tls(&mut tcp)
                    && e.kind() != std::io::ErrorKind::WouldBlock
                {
                    return;
                }
            }
        }
    }));
}

#[test]
fn records_with_hardly_anything_in_them_make_nobody_wait() {
    let server = Server::with_tls(&[]);
    nobody_waits(besieged(&server, |over| {
        let mut client = records(&server);
        client.tcp.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        while !over.load(Ordering::Relaxed) {
            let records: Vec<_> =
                (0..400).flat_map(|_| client.record(APPLICATION_DATA, b"x", 0)).collect();
            let mut left = &records[..];
            while !over.load(Ordering::Relaxed) && !left.is_empty() {
                match client.tcp.write(left) {
                    Ok(n) => left = &left[n..],
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }));
}

#[test]
fn an_unfinished_message_in_padded_records_is_not_kept() {
    let server = Server::with_tls(&[]);
    let before = server.status("VmHWM");
    let mut client = records(&server);
    // A certificate that was asked for by nobody, of 65,535 bytes (section 4), a byte a record.
    let message = [&[11, 0, 0xff, 0xff][..], &[0; 2000]].concat();
    client.tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    let refused = message.iter().any(|byte| {
        let record = client.record(HANDSHAKE, &[*byte], LONGEST);
        client.tcp.write_all(&record).is_err()
    });
    assert!(refused, "32 MiB were taken");
    eventually("it is closed", || server.state()["connections"] == 0);
    let grown = server.status("VmHWM") - before;
    assert!(grown < 4 * 1024, "{grown} KiB more than before");
}
