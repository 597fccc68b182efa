//! Replays what fuzzing has gathered: every file of `fuzz/corpus/NAME` goes through the function
//! that the fuzz target NAME calls.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, clippy::cast_possible_truncation)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/properties/config.rs"]
mod config;
#[path = "../fuzz/properties/dns.rs"]
mod dns;
#[path = "../fuzz/properties/gemini.rs"]
mod gemini;
#[path = "../fuzz/properties/harmless.rs"]
mod harmless;
#[path = "../fuzz/properties/http.rs"]
mod http;
#[path = "../fuzz/properties/line.rs"]
mod line;
#[path = "../fuzz/properties/proxy.rs"]
mod proxy;
#[path = "../fuzz/properties/session.rs"]
mod session;
#[path = "../fuzz/properties/sse.rs"]
mod sse;
#[path = "../fuzz/properties/text.rs"]
mod text;
#[path = "../fuzz/properties/tls.rs"]
mod tls;

/// The fewest inputs that make a corpus; there are some for every important case.
const FEWEST: usize = 5;

fn replay(name: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= FEWEST, "{} has too few inputs", dir.display());
    for file in files {
        // Shown if the check fails.
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
    }
}

macro_rules! corpora {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name), $name::check);
        }
    )*
        /// Every target has a test here, and every test a target.
        #[test]
        fn all_targets_are_replayed() {
            let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut names: Vec<_> = fs::read_dir(targets)
                .unwrap()
                .map(|entry| name(&entry.unwrap().path()))
                .collect();
            names.sort();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

corpora!(config, dns, gemini, http, line, proxy, session, sse, text, tls);
