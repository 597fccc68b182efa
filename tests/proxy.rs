//! Behind a proxy: the header that says whom it brings, and the limits and the log that go by it.
//! The last tests do it with real haproxy and nginx (Debian: haproxy, nginx-light,
//! libnginx-mod-stream); they pass and say so where those are missing, except where `CI` is `true`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::programs::{self, HAPROXY, NGINX, Program, has_file, installed};
use common::{Client, PATIENCE, Server, tls_client};
use rustls::{ClientConnection, StreamOwned};

/// Believes what comes from 127.0.0.1, and nobody else.
const PROXIED: (&str, &str) = ("CHAT_PROXY_FROM", "10.0.0.0/8,127.0.0.1");

fn version_1(source: &str) -> String {
    format!("PROXY TCP4 {source} 192.0.2.254 5555 8080\r\n")
}

fn version_2(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".to_vec();
    header.extend(source);
    header.extend([192, 0, 2, 254, 0x15, 0xb3, 0x1f, 0x90]);
    // Something appended, as proxies do: PP2_TYPE_UNIQUE_ID.
    header.extend([5, 0, 4, 1, 2, 3, 4]);
    header
}

fn brought(server: &Server, header: &[u8]) -> Client {
    let mut client = server.connect();
    client.send_bytes(header);
    client
}

#[test]
fn the_address_in_the_header_counts_and_is_logged() {
    let limit = ("CHAT_MAX_CONNECTIONS_PER_IP", "1");
    let server = Server::with(&[PROXIED, limit]);
    let mut alice = brought(&server, version_1("192.0.2.1").as_bytes()).login("alice");
    let _bob = brought(&server, &version_2([192, 0, 2, 2])).login("bob");
    server.expect_log("alice joined from 192.0.2.1:5555");
    server.expect_log("bob joined from 192.0.2.2:5555");
    let again = brought(&server, &version_2([192, 0, 2, 1])).read_to_end();
    assert_eq!(again, "Too many connections from your IP. Try again later.\n");
    server.expect_log("refused 192.0.2.1 - too many connections");
    alice.send("/quit");
    alice.read_to_end();
    server.expect_log("alice left from 192.0.2.1:5555");
    drop(alice);
    common::eventually("her place is free", || server.state()["connections"] == 1);
    brought(&server, version_1("192.0.2.1").as_bytes()).login("alice");
}

#[test]
fn a_header_may_come_in_pieces_and_with_what_follows_it() {
    let server = Server::with(&[PROXIED]);
    let mut slow = server.connect();
    for byte in version_1("192.0.2.1").bytes() {
        slow.send_bytes(&[byte]);
    }
    slow.login("slow");
    let mut early = brought(&server, &[&version_2([192, 0, 2, 2])[..], b"early\nhello\n"].concat());
    early.expect("╰─> hello\n");
    server.expect_log("early joined from 192.0.2.2:5555");
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    let server = Server::with(&[PROXIED]);
    brought(&server, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").login("local");
    brought(&server, b"PROXY UNKNOWN\r\n").login("unknown");
    server.expect_log("local joined from 127.0.0.1:");
    server.expect_log("unknown joined from 127.0.0.1:");
}

#[test]
fn a_proxy_may_see_whether_the_server_is_there_whoever_may_connect() {
    let server = Server::with(&[PROXIED, ("CHAT_ALLOW_FROM", "192.0.2.0/24")]);
    brought(&server, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").login("local");
    assert_eq!(brought(&server, version_1("198.51.100.1").as_bytes()).read_to_end(), "");
    assert!(!server.log().contains("refused 127.0.0.1"), "{}", server.log());
}

#[test]
fn a_proxy_has_to_send_a_header_and_in_time() {
    let server = Server::with(&[PROXIED]);
    assert_eq!(brought(&server, b"alice\n").read_to_end(), "");
    server.expect_log("refused 127.0.0.1 - no PROXY protocol header: it sent something else");
    let mut silent = server.connect();
    assert_eq!(silent.read_to_end(), "", "nothing is said before the header");
    server.expect_log("refused 127.0.0.1 - no PROXY protocol header: it took too long");
    // A check of the port leaves nothing behind.
    drop(server.connect());
    common::eventually("it is forgotten", || server.state()["connections"] == 0);
}

#[test]
fn others_are_not_believed() {
    let server = Server::with(&[PROXIED]);
    for header in [version_1("192.0.2.1").into_bytes(), version_2([192, 0, 2, 1])] {
        let mut liar = server.connect_from([127, 0, 0, 2]);
        liar.send_bytes(&header);
        liar.expect("CHAT_PROXY_FROM does not name it.\n");
        server.expect_log("refused 127.0.0.2 - PROXY protocol instead of chat");
    }
    assert!(!server.log().contains("192.0.2.1"));
    server.connect_from([127, 0, 0, 2]).login("direct");
}

#[test]
fn the_address_in_the_header_is_the_one_that_may_connect() {
    let server = Server::with(&[PROXIED, ("CHAT_DENY_FROM", "192.0.2.66")]);
    assert_eq!(brought(&server, version_1("192.0.2.66").as_bytes()).read_to_end(), "");
    server.expect_log("refused 192.0.2.66 - not allowed to connect");
    brought(&server, version_1("192.0.2.1").as_bytes()).login("alice");
}

#[test]
fn the_end_does_not_wait_for_a_header() {
    let mut server = Server::with(&[PROXIED]);
    let mut silent = server.connect();
    server.expect_log("ready on");
    common::eventually("it is let in", || server.state()["connections"] == 1);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(silent.read_to_end(), "");
    assert!(server.wait().success());
}

// ---- TLS ----------------------------------------------------------------------------------

/// TLS over a stream on which the proxy has sent its header.
fn over_tls(stream: TcpStream) -> Client<StreamOwned<ClientConnection, TcpStream>> {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let config = tls_client::config(&rustls::version::TLS13);
    let name = "localhost".try_into().unwrap();
    let tls = ClientConnection::new(Arc::clone(&config), name).unwrap();
    Client::over(StreamOwned::new(tls, stream))
}

#[test]
fn a_header_comes_before_the_handshake() {
    let limit = ("CHAT_MAX_CONNECTIONS_PER_IP", "1");
    let server = Server::with_tls(&[PROXIED, limit]);
    let connect = |source| {
        let mut client = Client::new(TcpStream::connect(server.tls_addr.unwrap()).unwrap());
        client.send_bytes(&version_2(source));
        over_tls(client.stream)
    };
    let mut alice = connect([192, 0, 2, 1]).login("alice");
    server.expect_log("alice joined from 192.0.2.1:5555");
    let refused = connect([192, 0, 2, 1]).read_to_end();
    assert_eq!(refused, "Too many connections from your IP. Try again later.\n");
    alice.send("hello");
    alice.expect("╰─> hello\n");
}

#[test]
fn a_client_hello_in_the_header_s_packet_is_not_lost() {
    let server = Server::with_tls(&[PROXIED]);
    let config = tls_client::config(&rustls::version::TLS13);
    let mut tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut together = version_2([192, 0, 2, 1]);
    tls.write_tls(&mut together).unwrap();
    let mut client = Client::new(TcpStream::connect(server.tls_addr.unwrap()).unwrap());
    client.send_bytes(&together);
    Client::over(StreamOwned::new(tls, client.stream)).login("alice");
    server.expect_log("alice joined from 192.0.2.1:5555");
}

// ---- Real proxies -------------------------------------------------------------------------

/// A proxy in its own directory, ended with the test.
struct Proxy {
    process: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that is free now, of 127.0.0.1.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// From another address, so that the server cannot mistake the proxy's for it.
fn connect_from_7(to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.7:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Runs a proxy with this configuration, made in its directory, until it listens on all of these.
fn run(
    program: Program,
    arguments: &[&str],
    config: impl Fn(&Path) -> String,
    ports: &[SocketAddr],
) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    tls_client::make_pair(dir.path());
    let pair = ["server.crt", "server.key"]
        .map(|name| std::fs::read_to_string(dir.path().join(name)).unwrap())
        .concat();
    std::fs::write(dir.path().join("pair.pem"), pair).unwrap();
    let file = dir.path().join("proxy.conf");
    std::fs::write(&file, config(dir.path())).unwrap();
    let process = Command::new(programs::path(program.name).unwrap())
        .args(arguments)
        .arg(&file)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let proxy = Proxy { process, _dir: dir };
    for port in ports {
        common::eventually("the proxy listens", || TcpStream::connect(port).is_ok());
    }
    proxy
}

/// What has to be so through any proxy: plain, TLS that ends at the proxy, TLS that ends at us.
fn check(server: &Server, plain: SocketAddr, terminated: SocketAddr, passed: SocketAddr) {
    let mut alice = Client::new(connect_from_7(plain)).login("alice");
    server.expect_log("alice joined from 127.0.0.7:");
    let mut bob = over_tls(connect_from_7(terminated)).login("bob");
    server.expect_log("bob joined from 127.0.0.7:");
    let mut carol = over_tls(connect_from_7(passed)).login("carol");
    server.expect_log("carol joined from 127.0.0.7:");
    carol.send("through and through");
    alice.expect("╰─> through and through\n");
    bob.expect("╰─> through and through\n");
    // The limit of three is this address's, not the proxy's.
    let refused = Client::new(connect_from_7(plain)).read_to_end();
    assert_eq!(refused, "Too many connections from your IP. Try again later.\n");
    Client::new(TcpStream::connect(plain).unwrap()).login("dave");
    server.expect_log("dave joined from 127.0.0.1:");
    // The last words come through, too.
    alice.send("/quit");
    assert!(alice.read_to_end().ends_with("Goodbye!\n"));
}

fn server_behind_a_proxy() -> Server {
    Server::with_tls(&[PROXIED, ("CHAT_MAX_CONNECTIONS_PER_IP", "3")])
}

#[test]
fn behind_haproxy() {
    if !installed(&[HAPROXY]) {
        return;
    }
    for version in ["send-proxy", "send-proxy-v2 send-proxy-v2-ssl"] {
        let server = server_behind_a_proxy();
        let [plain, terminated, passed] = [free_port(), free_port(), free_port()];
        let (to, to_tls) = (server.addr, server.tls_addr.unwrap());
        let config = |dir: &Path| {
            let dir = dir.display();
            format!(
                "global\n\
                 defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n \
                 timeout server 1h\n\
                 listen plain\n bind {plain}\n \
                 server chat {to} {version} check check-send-proxy inter 50ms\n\
                 listen terminated\n bind {terminated} ssl crt {dir}/pair.pem\n \
                 server chat {to} {version}\n\
                 listen passed\n bind {passed}\n server chat {to_tls} {version}\n"
            )
        };
        let _proxy = run(HAPROXY, &["-db", "-f"], config, &[plain, terminated, passed]);
        check(&server, plain, terminated, passed);
    }
}

#[test]
fn behind_nginx() {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if !(installed(&[NGINX]) && has_file(module, "libnginx-mod-stream")) {
        return;
    }
    let server = server_behind_a_proxy();
    let [plain, terminated, passed] = [free_port(), free_port(), free_port()];
    let (to, to_tls) = (server.addr, server.tls_addr.unwrap());
    let config = |dir: &Path| {
        let dir = dir.display();
        format!(
            "load_module {};\ndaemon off; master_process off; pid {dir}/pid; error_log stderr;\n\
             events {{}}\n\
             stream {{\n proxy_protocol on; proxy_timeout 1h; ssl_protocols TLSv1.3;\n\
             server {{ listen {plain}; proxy_pass {to}; }}\n\
             server {{ listen {terminated} ssl; proxy_pass {to};\n\
             ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key; }}\n\
             server {{ listen {passed}; proxy_pass {to_tls}; }}\n }}\n",
            module.display()
        )
    };
    let _proxy = run(NGINX, &["-e", "stderr", "-c"], config, &[plain, terminated, passed]);
    check(&server, plain, terminated, passed);
}
