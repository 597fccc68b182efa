//! The system's own resolver file, in a mount namespace where it is ours: domains, interfaces, changes.
//! Needs root and `unshare`; passes and says so where that is not to be had.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::gemini::{Dns, Gemini, Manner, Step, answer};
use common::{Server, command};

/// Has what is started below it see this file as /etc/resolv.conf.
fn with_conf(conf: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
    command.arg(conf);
    command
}

fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

#[test]
fn the_systems_file_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("resolv.conf");
    let write = |text: &str| std::fs::write(&conf, text).unwrap();
    write("nameserver 127.0.0.153\nsearch a.test chat.test\noptions ndots:5\n");
    let probe = with_conf(&conf).arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip("no mount namespace of our own");
    }
    let knowing = Manner::Knowing("gemini.chat.test");
    let Some(first) = Dns::at("127.0.0.153", knowing) else { return skip("port 53 is not free") };
    let Some(second) = Dns::at("127.0.0.154", Manner::Honest) else {
        return skip("port 53 is not free");
    };
    // Every question takes a connection of its own, and so a look-up.
    let gemini = Gemini::named("gemini", |n, _| {
        let mut steps = answer(&[&format!("answer {n}")]);
        steps.push(Step::Cut);
        steps
    });
    std::fs::write(dir.path().join("ca.pem"), &gemini.ca_pem).unwrap();
    let template = command(dir.path());
    let mut command = with_conf(&conf);
    command.current_dir(dir.path()).arg(template.get_program());
    for (name, value) in template.get_envs() {
        assert!(value.is_none(), "{name:?} is only taken away");
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let url = format!("https://gemini:{}", gemini.addr.port());
    let mut settings = gemini.settings(&first);
    settings.retain(|(name, _)| *name != "CHAT_NAMESERVERS");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    settings.push(("GEMINI_BASE_URL", &url));
    let server = Server::spawn(command, dir, &settings);
    let mut alice = server.login("alice");
    let mut ask = |n: usize| {
        alice.send("/ai hello");
        alice.expect(&format!("│ answer {n}\n"));
    };

    ask(0);
    let asked = first.asked.lock().unwrap().clone();
    let names = ["gemini.a.test", "gemini.a.test", "gemini.chat.test", "gemini.chat.test"];
    assert_eq!(asked, names, "of both families each");
    ask(1);
    assert_eq!(first.asked.lock().unwrap().len(), 4, "the answer is remembered");

    // Another network: at a hang-up signal it is noticed at once.
    write("nameserver 127.0.0.154\n");
    server.signal(rustix::process::Signal::HUP);
    server.expect_log("name servers: 127.0.0.154");
    ask(2);
    assert_eq!(*second.asked.lock().unwrap(), ["gemini", "gemini"]);

    // Without one it is noticed at the first look-up some seconds later. The interface is found.
    let Some(third) = Dns::at("::1", Manner::Honest) else { return skip("no port 53 of ::1") };
    write("nameserver ::1%lo\nsearch .\n");
    std::thread::sleep(Duration::from_millis(5100));
    ask(3);
    server.expect_log("name servers: ::1%lo");
    assert_eq!(*third.asked.lock().unwrap(), ["gemini", "gemini"]);
    assert_eq!(second.asked.lock().unwrap().len(), 2);
}
