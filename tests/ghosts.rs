//! Names whose holder may be gone without anybody knowing: whoever asks for one from the same address
//! has that connection probed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Client, Server, eventually};

const TAKEN: &str = "Username already taken, try another. If it was you: try again in 6 seconds.\n";
/// More than a probe takes.
const LONG_ENOUGH: Duration = Duration::from_millis(7500);

/// Asks for a name from the address of its holder.
fn ask(client: &mut Client, name: &str) {
    client.send(name);
    client.expect(TAKEN);
    client.expect("Enter your username: ");
}

#[test]
fn holders_who_are_there_stay_and_notice_next_to_nothing() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.login("alice"), server.login("bob"));
    bob.send("/color off");
    bob.expect("Colours are off.\n");
    alice.read_for(Duration::from_millis(200));
    let mut other = server.connect();
    other.expect("Enter your username: ");
    ask(&mut other, "alice");
    ask(&mut other, "bob");
    assert_eq!(alice.read_for(LONG_ENOUGH), "> ");
    assert_eq!(bob.read_for(Duration::from_millis(100)), "");
    // Not one byte came from them, and they can still be heard.
    alice.send("still here");
    bob.expect("still here\n");
    bob.send("me, too");
    alice.expect("me, too\n");
}

/// Needs a network of its own, in which packets to an address can be lost.
#[test]
fn holders_who_are_gone_give_their_names_back() {
    let test = std::env::current_exe().unwrap();
    let inside = format!(
        "ip link set lo up && ip -6 addr add fd00::5/128 dev lo && ip -6 addr add fd00::6/128 dev lo \
         && exec '{}' --exact --ignored --nocapture inside_a_network_of_its_own",
        test.display()
    );
    let can = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network of its own to be had (unshare -rn, ip)");
        return;
    }
    let output = Command::new("unshare").args(["-rn", "sh", "-c", &inside]).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}

#[test]
#[ignore = "run by holders_who_are_gone_give_their_names_back"]
fn inside_a_network_of_its_own() {
    let server = Server::with(&[("CHAT_LISTEN", "[::1]:0")]);
    // Two of one /64, which counts as one address; the first is about to be unreachable.
    let from = |source: &str| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        let source: IpAddr = source.parse().unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&server.addr.into()).unwrap();
        Client::new(socket.into())
    };
    let _alice = from("fd00::5").login("alice");
    let mut bob = from("fd00::5").login("bob");
    bob.send("/color off");
    bob.expect("Colours are off.\n");
    let mut carol = from("fd00::6").login("carol");
    let mut other = from("fd00::6");
    other.expect("Enter your username: ");
    // Longer than the times of a probe, which must not be counted from here.
    std::thread::sleep(Duration::from_secs(7));
    let gone = Command::new("ip").args(["-6", "addr", "del", "fd00::5/128", "dev", "lo"]).status();
    assert!(gone.unwrap().success());
    let asked = Instant::now();
    ask(&mut other, "carol");
    ask(&mut other, "alice");
    ask(&mut other, "bob");
    eventually("both are gone", || {
        let log = server.log();
        log.contains("alice left from") && log.contains("bob left from")
    });
    let took = asked.elapsed();
    println!("both gone after {took:?}\n{}", server.log());
    assert!(took >= Duration::from_millis(3500) && took < Duration::from_secs(6), "{took:?}");
    other.send("alice");
    other.expect("[LOBBY] alice has joined the lobby\n");
    // Who was there has not been cut off.
    carol.send("here");
    other.expect("here\n");
}
