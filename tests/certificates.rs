//! Certificates as people make them, and what is said of the faults that they have: those of the
//! assistant's service, and the server's own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::process::Command;

use common::Server;
use common::gemini::{Dns, Gemini, Manner, NAME, answer};
use common::programs::{OPENSSL, installed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Runs openssl, which has to succeed, in this directory.
fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// In `dir`: a root, an intermediate, and of the service a leaf of it, one of version 1, one that is a
/// CA's, and one without a name. False where that cannot be done.
fn make(dir: &Path) -> bool {
    if !installed(&[OPENSSL]) {
        return false;
    }
    let ca = "-addext basicConstraints=critical,CA:TRUE";
    let leaf = "-addext basicConstraints=critical,CA:FALSE";
    let name = format!("-addext subjectAltName=DNS:{NAME}");
    openssl(dir, &format!("req -x509 {EC} -subj /CN=root {ca} -keyout root.key -out root.pem"));
    std::fs::write(dir.join("ca.ext"), "basicConstraints=critical,CA:TRUE").unwrap();
    std::fs::write(dir.join("no.ext"), "basicConstraints=critical,CA:FALSE").unwrap();
    std::fs::write(dir.join("leaf.ext"), format!("subjectAltName=DNS:{NAME}")).unwrap();
    let sign = |name: &str, issuer: &str, extensions: &str| {
        openssl(dir, &format!("req {EC} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial \
                 {extensions}-out {name}.pem"
            ),
        );
    };
    sign("middle", "root", "-extfile ca.ext ");
    sign("leaf", "middle", "-extfile leaf.ext ");
    sign("none", "root", "-extfile no.ext ");
    sign("under-none", "none", "-extfile leaf.ext ");
    sign("v1", "root", "");
    openssl(dir, &format!("req -x509 {EC} -subj /CN=x {ca} {name} -keyout own.key -out own.pem"));
    openssl(dir, &format!("req -x509 {EC} -subj /CN=x {leaf} -keyout bare.key -out bare.pem"));
    openssl(
        dir,
        &format!("req -x509 {EC} -subj /CN=x {leaf} {name} -keyout good.key -out good.pem"),
    );
    true
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// openssl that makes version 3 by itself cannot show the fault.
fn makes_version_1(dir: &Path) -> bool {
    let mut text = Command::new("openssl");
    text.args(["x509", "-noout", "-text", "-in", "v1.pem"]).current_dir(dir);
    let is = String::from_utf8_lossy(&text.output().unwrap().stdout).contains("Version: 1 ");
    if !is {
        eprintln!("skipped: this openssl makes no certificates of version 1");
    }
    is
}

#[test]
fn what_is_wrong_with_the_services_certificate_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    if !make(dir) {
        return;
    }
    let version_1 = makes_version_1(dir);
    for (name, chain, ca, words) in [
        ("leaf", &["leaf", "middle"][..], "root", None),
        (
            "leaf",
            &["leaf"],
            "root",
            Some(
                "UnknownIssuer - it came without its chain, or its CA is not in \
             GEMINI_CA_FILE; openssl s_client -connect HOST:PORT -showcerts shows what comes",
            ),
        ),
        ("leaf", &["leaf", "middle"], "own", Some("UnknownIssuer - it came without its chain")),
        (
            "v1",
            &["v1"],
            "root",
            Some(
                "it is X.509 version 1 and has to be version 3; openssl x509 -req makes that \
             with -extfile FILE (containing subjectAltName=DNS:NAME)",
            ),
        ),
        (
            "own",
            &["own"],
            "own",
            Some(
                "it is a CA's certificate, not a server's; openssl req -x509 makes a server's \
             with -addext basicConstraints=critical,CA:FALSE",
            ),
        ),
        (
            "under-none",
            &["under-none", "none"],
            "root",
            Some("its issuer's certificate is not a CA's; openssl"),
        ),
        (
            "bare",
            &["bare"],
            "bare",
            Some(
                "it names no host; openssl adds a name with -addext \
             subjectAltName=DNS:NAME",
            ),
        ),
        ("good", &["good"], "good", None),
    ] {
        if name == "v1" && !version_1 {
            continue;
        }
        let certificates = chain.iter().map(|name| {
            CertificateDer::from_pem_slice(read(dir, &format!("{name}.pem")).as_bytes()).unwrap()
        });
        let key = read(dir, &format!("{name}.key"));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let ca = read(dir, &format!("{ca}.pem"));
        let gemini = Gemini::with_chain(certificates.collect(), &key, ca, |_, _| answer(&["hi"]));
        let server = Server::with_gemini(&gemini, &Dns::start(Manner::Honest), &[]);
        let mut alice = server.login("alice");
        alice.send("/ai hello");
        match words {
            None => drop(alice.expect("│ hi\n")),
            Some(words) => {
                alice.expect("[AI] The AI cannot be reached. Try again later.\n");
                let start = "assistant - no connection: TLS: invalid peer certificate: ";
                server.expect_log(&format!("{start}{words}"));
                assert!(gemini.requests.lock().unwrap().is_empty());
            }
        }
    }
}

#[test]
fn what_is_wrong_with_the_servers_own_certificate_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    if !make(dir) {
        return;
    }
    let version_1 = makes_version_1(dir);
    for (name, chain, words) in [
        ("leaf", &["leaf", "middle"][..], None),
        ("leaf", &["leaf", "middle", "root"], None),
        ("good", &["good"], None),
        ("bare", &["bare"], None),
        (
            "leaf",
            &["leaf"],
            Some(
                "server.crt holds no chain: clients that check it refuse it unless they have \
             its issuer; put the issuer's certificate below it (openssl x509 -noout -issuer -in server.crt \
             names it)",
            ),
        ),
        (
            "leaf",
            &["leaf", "root"],
            Some(
                "the certificates in server.crt do not form a chain: each must be \
             issued by the one below it (openssl storeutl -noout -text -certs server.crt shows them)",
            ),
        ),
        (
            "own",
            &["own"],
            Some(
                "clients that check it may refuse server.crt: it is a CA's certificate, not a \
             server's; openssl req -x509 makes a server's with -addext \
             basicConstraints=critical,CA:FALSE",
            ),
        ),
        (
            "v1",
            &["v1"],
            Some("cannot use server.crt: it is X.509 version 1 and has to be version 3; openssl"),
        ),
    ] {
        if name == "v1" && !version_1 {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        let chain: String = chain.iter().map(|name| read(dir, &format!("{name}.pem"))).collect();
        std::fs::write(place.path().join("server.crt"), chain).unwrap();
        std::fs::copy(dir.join(format!("{name}.key")), place.path().join("server.key")).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_mio-chat"));
        check.arg("--check").current_dir(place.path()).env_clear();
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), name != "v1", "{said}");
        match words {
            None => assert!(!said.contains("CHAT_TLS_CERT"), "{said}"),
            Some(words) => assert!(said.contains(&format!("CHAT_TLS_CERT: {words}")), "{said}"),
        }
    }
}
