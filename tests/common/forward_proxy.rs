//! A scripted HTTP proxy: it does with each CONNECT what a test tells it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with a request.
#[derive(Clone)]
pub enum Reaction {
    /// Opens a tunnel to this address, whatever name was asked for.
    Tunnel(SocketAddr),
    /// The same, with a reply that comes byte by byte and has much to say.
    SlowTunnel(SocketAddr),
    /// Says this, and closes.
    Say(&'static str),
    /// Says this again and again.
    Flood(&'static str),
    /// Says nothing for so long.
    Silence(Duration),
}

pub struct ForwardProxy {
    pub addr: SocketAddr,
    /// The heads of all requests.
    pub heads: Arc<Mutex<Vec<String>>>,
    /// All that went through, from the client.
    pub forwarded: Arc<Mutex<Vec<u8>>>,
}

impl ForwardProxy {
    /// Reacts to the `n`th request, counted from 0.
    pub fn start(script: impl Fn(usize) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let forwarded = Arc::new(Mutex::new(Vec::new()));
        let (script, log, all) = (Arc::new(script), heads.clone(), forwarded.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, log, all) = (script.clone(), log.clone(), all.clone());
                std::thread::spawn(move || serve(stream, &*script, &log, &all));
            }
        });
        Self { addr, heads, forwarded }
    }
}

fn serve(
    mut client: TcpStream,
    script: &(impl Fn(usize) -> Reaction + ?Sized),
    log: &Mutex<Vec<String>>,
    all: &Arc<Mutex<Vec<u8>>>,
) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let n = {
        let mut log = log.lock().unwrap();
        log.push(String::from_utf8(head).unwrap());
        log.len() - 1
    };
    match script(n) {
        Reaction::Tunnel(to) => {
            let server = TcpStream::connect(to).ok()?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            tunnel(client, server, all);
        }
        Reaction::SlowTunnel(to) => {
            let server = TcpStream::connect(to).ok()?;
            let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nVia: 1.1 slow\r\n\r\n";
            for byte in head.bytes() {
                client.write_all(&[byte]).ok()?;
                std::thread::sleep(Duration::from_millis(2));
            }
            tunnel(client, server, all);
        }
        Reaction::Say(text) => client.write_all(text.as_bytes()).ok()?,
        Reaction::Flood(text) => while client.write_all(text.as_bytes()).is_ok() {},
        Reaction::Silence(time) => std::thread::sleep(time),
    }
    Some(())
}

fn tunnel(client: TcpStream, server: TcpStream, all: &Arc<Mutex<Vec<u8>>>) {
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let all = all.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            all.lock().unwrap().extend_from_slice(&bytes[..n]);
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
