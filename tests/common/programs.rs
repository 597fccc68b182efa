//! The programs that tests drive, and what happens where one is missing, or is another of the same
//! name: the test passes and says on standard error that it skipped, past what the harness keeps to
//! itself. Where `CI` is `true` it fails instead: `.ci/run` installs them all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, its Debian package, and how to see that it is the one that is meant: the arguments to
/// ask it with, and what is in its answer then.
#[derive(Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    package: &'static str,
    probe: &'static str,
    answer: &'static str,
}

const fn program(
    name: &'static str,
    package: &'static str,
    probe: &'static str,
    answer: &'static str,
) -> Program {
    Program { name, package, probe, answer }
}

pub const SOCAT: Program = program("socat", "socat", "-V", "WITH_OPENSSL 1");
pub const RLWRAP: Program = program("rlwrap", "rlwrap", "--version", "rlwrap");
pub const NCAT: Program = program("ncat", "ncat", "--version", "Ncat");
pub const BUSYBOX: Program = program("busybox", "busybox", "--list", "\nnc\n");
pub const TELNET: Program = program("telnet", "inetutils-telnet", "--version", "inetutils");
pub const OPENSSL: Program = program("openssl", "openssl", "version", "OpenSSL");
pub const MANDOC: Program = program("mandoc", "mandoc", "-V", "mandoc");
pub const HAPROXY: Program = program("haproxy", "haproxy", "-vv", "with OpenSSL");
pub const NGINX: Program = program("nginx", "nginx-light", "-h", "-e filename");
pub const TINYPROXY: Program = program("tinyproxy", "tinyproxy", "-h", "tinyproxy");

const NETCAT_PACKAGE: &str = "netcat-openbsd";

/// Whether all of these are here.
pub fn installed(programs: &[Program]) -> bool {
    programs.iter().all(|program| match path(program.name) {
        None => missing(program.name, program.package),
        Some(path) => {
            let answers = asked(&path, program.probe).contains(program.answer);
            answers || missing(&format!("the usual {}", program.name), program.package)
        }
    })
}

/// Whether this file is here, which a Debian package has.
pub fn has_file(file: &Path, package: &str) -> bool {
    file.is_file() || missing(&file.display().to_string(), package)
}

/// The name under which OpenBSD's netcat is here: `nc` may be another one.
pub fn openbsd_nc() -> Option<&'static str> {
    let is_here =
        |name: &&str| path(name).is_some_and(|path| asked(&path, "-h").contains("OpenBSD"));
    let found = ["nc", "nc.openbsd"].into_iter().find(is_here);
    if found.is_none() {
        missing("OpenBSD's nc", NETCAT_PACKAGE);
    }
    found
}

/// Where a program is; those of an administrator count, too.
pub fn path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn asked(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).stdin(Stdio::null()).output() else {
        return String::new();
    };
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn missing(what: &str, package: &str) -> bool {
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!required, "{what} is not installed (Debian package {package})");
    skipped(&format!("{what} is not installed (Debian package {package})"));
    false
}

/// Says that this test tests nothing, and why. `eprintln` would go unseen: the harness shows what
/// a test printed only when it fails.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
