//! A scripted Gemini of our own, over real TLS with its own CA, and the name server that leads to
//! it. Both do what a test tells them, faults included.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, clippy::cast_possible_truncation)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The name that the service has.
pub const NAME: &str = "gemini.test";
/// The key that it is asked with.
pub const KEY: &str = "AIza-not-a-real-key";

/// What the service does, in order, with one request.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Close the connection here.
    Cut,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: String,
}

/// What to do with the `n`th request, counted from 0.
type Script = Arc<dyn Fn(usize, &Request) -> Vec<Step> + Send + Sync>;

pub struct Gemini {
    pub addr: SocketAddr,
    pub requests: Arc<Mutex<Vec<Request>>>,
    pub connections: Arc<AtomicUsize>,
    /// The CA that the chat server is to trust.
    pub ca_pem: String,
}

impl Gemini {
    /// With a certificate for [`NAME`].
    pub fn start(script: impl Fn(usize, &Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::named(NAME, script)
    }

    /// With a certificate for another name.
    pub fn named(
        name: &str,
        script: impl Fn(usize, &Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let (chain, key, ca_pem) = certificates(name);
        Self::with_chain(chain, &key, ca_pem, script)
    }

    /// With this chain, whatever is wrong with it, and the key of its first certificate.
    pub fn with_chain(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
        ca_pem: String,
        script: impl Fn(usize, &Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let key = ring::sign::any_supported_type(key).unwrap();
        let pair = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(pair));
        let config = Arc::new(config);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(script);
        let log = requests.clone();
        let (addr, connections) = listen(move |stream| {
            serve(stream, config.clone(), &script, &log);
        });
        Self { addr, requests, connections, ca_pem }
    }

    /// With a certificate for [`NAME`], and with each connection it does this.
    pub fn wild(serve: impl Fn(TcpStream, ServerConfig) + Send + Sync + 'static) -> Self {
        let (chain, key, ca_pem) = certificates(NAME);
        let (addr, connections) = listen(move |stream| {
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain.clone(), key.clone_key())
                .unwrap();
            serve(stream, config);
        });
        Self { addr, requests: Arc::default(), connections, ca_pem }
    }

    /// The settings of a chat server that asks this service, through this name server, with the CA
    /// in `ca.pem`.
    pub fn settings(&self, dns: &Dns) -> Vec<(&'static str, String)> {
        vec![
            ("GEMINI_API_KEY", KEY.to_owned()),
            ("GEMINI_BASE_URL", format!("https://{NAME}:{}", self.addr.port())),
            ("GEMINI_CA_FILE", "ca.pem".to_owned()),
            ("CHAT_NAMESERVERS", dns.addr.to_string()),
            ("GEMINI_QUESTIONS_PER_HOUR", "0".to_owned()),
            ("GEMINI_QUESTIONS_PER_DAY", "0".to_owned()),
        ]
    }

    pub fn request(&self, n: usize) -> Request {
        self.requests.lock().unwrap()[n].clone()
    }
}

/// Does this with each connection, in a thread of its own. Gives the address, and how many came.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (serve, count) = (Arc::new(serve), connections.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    (addr, connections)
}

fn certificates(name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    (vec![leaf.der().clone()], key, ca.pem())
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    script: &Script,
    log: &Mutex<Vec<Request>>,
) -> Option<()> {
    let tls = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        let request = Request { head, body: String::from_utf8(body).ok()? };
        let n = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        for step in script(n, &request) {
            match step {
                Step::Send(bytes) => {
                    stream.get_mut().write_all(&bytes).ok()?;
                    stream.get_mut().flush().ok()?;
                }
                Step::Wait(time) => std::thread::sleep(time),
                Step::Cut => return None,
            }
        }
    }
}

// ---- Responses -------------------------------------------------------------------------------

/// The head of a streamed answer.
pub fn stream_head() -> Step {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    Step::Send(head.into())
}

fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// One event with this JSON.
pub fn event(json: &str) -> Step {
    chunk(&format!("data: {}\r\n\r\n", json.replace('\n', "")))
}

/// One event with a piece of the answer.
pub fn piece(text: &str) -> Step {
    let text = serde_json::Value::from(text);
    event(&format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text}}}],"role":"model"}}}}]}}"#
    ))
}

/// The last event, and the end of the response.
pub fn finish(reason: &str) -> Vec<Step> {
    let last = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":""}}]}},"finishReason":"{reason}"}}]}}"#
    );
    vec![event(&last), Step::Send(b"0\r\n\r\n".to_vec())]
}

/// A whole answer in these pieces.
pub fn answer(pieces: &[&str]) -> Vec<Step> {
    let mut steps = vec![stream_head()];
    steps.extend(pieces.iter().map(|text| piece(text)));
    steps.extend(finish("STOP"));
    steps
}

/// An error response.
pub fn error(status: u16, json: &str) -> Vec<Step> {
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status} Something\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        )
        .into_bytes(),
    )]
}

// ---- The name server -------------------------------------------------------------------------

/// How the name server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Never answers.
    Dead,
    /// Sends a forged answer before the right one: another id, another address.
    Lying,
    /// Says that there is no such name.
    Denying,
    /// Says that of all names but this one.
    Knowing(&'static str),
    /// Says over UDP that the answer is longer than the part that it sends, and ends what comes over
    /// TCP.
    Cutting,
    /// Says over UDP that the answer is too long for it.
    Truncating,
    /// The same, and over TCP sends empty messages without end.
    Endless,
    /// Answers each question with hundreds of datagrams that are no answer.
    Flooding,
}

pub struct Dns {
    pub addr: SocketAddr,
    /// The names that it was asked for, once for each question over UDP.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    pub fn start(manner: Manner) -> Self {
        // The same port for both, which somebody may have for the other one.
        let (udp, tcp) = std::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").unwrap())
            .find_map(|udp| {
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        Self::on(udp, tcp, manner)
    }

    /// On port 53 of this address; `None` if that cannot be had.
    pub fn at(addr: &str, manner: Manner) -> Option<Self> {
        let addr = SocketAddr::new(addr.parse().unwrap(), 53);
        Some(Self::on(UdpSocket::bind(addr).ok()?, TcpListener::bind(addr).ok()?, manner))
    }

    fn on(udp: UdpSocket, tcp: TcpListener, manner: Manner) -> Self {
        let addr = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = asked.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((n, from)) = udp.recv_from(&mut bytes) {
                let query = &bytes[..n];
                names.lock().unwrap().push(name_in(query));
                let _ = match manner {
                    Manner::Dead => continue,
                    Manner::Flooding => {
                        let mut stray = reply(query, [127, 0, 0, 99], Manner::Honest);
                        stray[0] ^= 0xff;
                        (0..400).for_each(|_| drop(udp.send_to(&stray, from)));
                        continue;
                    }
                    Manner::Lying => {
                        let mut forged = reply(query, [127, 0, 0, 99], Manner::Honest);
                        forged[0] ^= 0xff;
                        udp.send_to(&forged, from).unwrap();
                        udp.send_to(&reply(query, [127, 0, 0, 1], manner), from)
                    }
                    manner => udp.send_to(&reply(query, [127, 0, 0, 1], manner), from),
                };
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().map_while(Result::ok) {
                let mut length = [0; 2];
                if manner == Manner::Cutting {
                    continue;
                }
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut query).unwrap();
                if manner == Manner::Endless {
                    std::thread::spawn(move || while stream.write_all(&[0; 65536]).is_ok() {});
                    continue;
                }
                let reply = reply(&query, [127, 0, 0, 1], Manner::Honest);
                let length = (reply.len() as u16).to_be_bytes();
                stream.write_all(&[&length[..], &reply].concat()).unwrap();
            }
        });
        Self { addr, asked }
    }
}

/// The name in a question.
fn name_in(query: &[u8]) -> String {
    let mut rest = &query[12..];
    let mut labels = Vec::new();
    while rest[0] > 0 {
        let (label, behind) = rest[1..].split_at(rest[0].into());
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = behind;
    }
    labels.join(".")
}

/// An answer to a query (RFC 1035, section 4.1): one A record, nothing for other types.
fn reply(query: &[u8], address: [u8; 4], manner: Manner) -> Vec<u8> {
    let name_len = query[12..].iter().position(|b| *b == 0).unwrap() + 1;
    let question = &query[12..12 + name_len + 4];
    let is_a = question[name_len..name_len + 2] == [0, 1];
    let (flags, found) = match manner {
        Manner::Denying => ([0x81, 0x83], false),
        Manner::Knowing(name) if name_in(query) != name => ([0x81, 0x83], false),
        Manner::Cutting => ([0x83, 0x80], is_a),
        Manner::Truncating | Manner::Endless => ([0x83, 0x80], false),
        _ => ([0x81, 0x80], is_a),
    };
    let mut reply = vec![query[0], query[1], flags[0], flags[1], 0, 1, 0, found.into(), 0, 0, 0, 0];
    reply.extend_from_slice(question);
    if found {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address);
    }
    reply
}
