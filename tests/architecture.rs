//! The direction of dependencies: the pure modules name no socket, poll, clock or thread.

use std::fs;
use std::path::{Path, PathBuf};

/// What only the outermost modules may name.
const OUTSIDE: &[&str] = &[
    "mio::",
    "mio_chat::net",
    "crate::net",
    "rustls",
    "socket2",
    "signal_hook",
    "rustix",
    "getrandom",
    "std::net::Tcp",
    "std::net::Udp",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "thread::",
    "std::fs",
    "std::process",
];

/// Modules that may: the loop, the program, the log's destination, and the reader of settings.
const OUTERMOST: &[&str] = &["net", "main.rs", "logging.rs", "logging", "config.rs"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The code of a file: without comments, and without its tests, which may read a clock.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn pure_modules_name_nothing_of_the_outside() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut checked = 0;
    for path in files {
        let name = path.strip_prefix(&src).expect("inside src").to_owned();
        let top = name.iter().next().and_then(|top| top.to_str()).unwrap_or_default();
        let is_test = name.iter().any(|part| part == "tests" || part == "tests.rs");
        if OUTERMOST.contains(&top) || is_test {
            continue;
        }
        let code = code(&path);
        for outside in OUTSIDE {
            assert!(!code.contains(outside), "{} names {outside}", name.display());
        }
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} files were found");
}

#[test]
fn the_lowest_modules_name_no_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for name in ["id.rs", "limits.rs", "timers.rs"] {
        let code = code(&src.join(name));
        assert!(!code.contains("crate::"), "{name} depends on another module");
    }
}

#[test]
fn no_thread_is_started_and_nothing_blocks() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for path in files {
        let code = code(&path);
        for banned in ["thread::", "ToSocketAddrs", "set_nonblocking(false)", "block_on"] {
            assert!(!code.contains(banned), "{} names {banned}", path.display());
        }
    }
}
