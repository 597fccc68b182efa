//! The program: settings, log, start-up lines, the loop, the exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use mio_chat::chat::{self, render};
use mio_chat::config::Config;
use mio_chat::logging;
use mio_chat::net::{Ended, Server};

const HELP: &str = "\
mio-chat: a chat server for terminals

Usage: mio-chat [--check | --help | --version]

  --check    read the settings, try to listen, say what would be done, and end
  --help     show this help
  --version  show the version

Settings come from the environment and from a .env file in the working
directory; the environment wins. The ones people change most:

  CHAT_LISTEN                  plain address         [::]:8080, or off
  CHAT_MAX_CONNECTIONS_PER_IP  from one address      10, 0 for no limit
  CHAT_MESSAGES_PER_WINDOW     lines of one user     5 in CHAT_RATE_WINDOW_SECS (10)
  CHAT_LOG_LEVEL               log detail            info
  CHAT_LOG_FILE                log to a file, too    none

README.md lists them all. Connect with: rlwrap nc HOST 8080
";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let check = match arguments.as_slice() {
        [] => false,
        [one] if one == "--check" => true,
        [one] if one == "--help" || one == "-h" => return print(HELP),
        [one] if one == "--version" || one == "-V" => {
            return print(concat!("mio-chat ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        _ => {
            eprintln!("mio-chat: unknown arguments; try: mio-chat --help");
            return ExitCode::from(2);
        }
    };
    match start(check) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. That nobody reads it is no reason to fail.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

/// Starts and runs the server, or with `check` only sees whether it would start. An error is the
/// one line for the operator.
fn start(check: bool) -> Result<ExitCode, String> {
    let config = Config::load(Path::new(".")).map_err(|e| e.to_string())?;
    let log_file = config.log_file.as_deref();
    logging::start(config.log_level, log_file).map_err(|e| {
        let path = log_file.unwrap_or(Path::new("standard error"));
        format!("CHAT_LOG_FILE: cannot write {}: {e}", path.display())
    })?;
    let mut server = Server::bind(&config).map_err(|e| e.to_string())?;
    if check {
        return Ok(print(&summary(&config, &server)));
    }
    print(&start_lines(&server));
    log::info!("ready on {}", addresses(&server));
    match server.run() {
        Ok(Ended::Gracefully) => {
            log::info!("ended");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ended::AtOnce) => Ok(ExitCode::FAILURE),
        Err(e) => Err(format!("Error: poll: {e}")),
    }
}

/// All addresses, plain ones first.
fn addresses(server: &Server) -> String {
    let tls = server.addrs(true).map(|addr| format!("{addr} (TLS)"));
    server
        .addrs(false)
        .map(|addr| format!("{addr} (TCP)"))
        .chain(tls)
        .collect::<Vec<_>>()
        .join(", ")
}

fn start_lines(server: &Server) -> String {
    let banner = render::banner(&["A chat server for terminals", "rlwrap nc HOST PORT"]);
    let (plain, tls) = (server.addrs(false).next(), server.addrs(true).next());
    let protocol = match (&plain, &tls) {
        (Some(_), Some(_)) => "TCP + TLS",
        (None, Some(_)) => "TLS",
        _ => "TCP",
    };
    let tls_line = tls.as_ref().map_or(String::new(), |addr| {
        format!("TLS enabled on port {}\n", addr.rsplit(':').next().unwrap_or(addr))
    });
    format!(
        "{banner}Port: {}\nLobby: {}\nProtocol: {protocol}\n{tls_line}{AI}\n\
         >> Server ready - Waiting for connections...\n",
        plain.or(tls).unwrap_or_default(),
        chat::GENERAL,
    )
}

const AI: &str = "[!] AI features disabled (no API key)";

/// What `--check` says: one line for each thing that the settings decide.
fn summary(config: &Config, server: &Server) -> String {
    let limit = |n: u64, unit: &str| match n {
        0 => "no limit".to_owned(),
        n => format!("{n} {unit}"),
    };
    let chat = &config.chat;
    let rate = match chat.messages_per_window {
        0 => "no limit".to_owned(),
        n => format!("{n} lines in {} s", chat.rate_window.as_secs()),
    };
    let idle = chat.idle_timeout.map_or(0, |idle| idle.as_secs());
    let log =
        config.log_file.as_ref().map_or(String::new(), |path| format!(", {}", path.display()));
    format!(
        "Would listen on: {}\n\
         Connections: {} in all, from one address: {}\n\
         Rate limit: {rate}\n\
         History: {} s; empty lobbies removed after {} s\n\
         Timeouts: name {} s, idle {}\n\
         Unsent output of one client: {} bytes, dropped after {} s without progress\n\
         Passwords: bcrypt cost {}\n\
         Log: {} to standard error{log}\n\
         {AI}\n\
         Settings are good.\n",
        addresses(server),
        server.max_connections(),
        limit(config.max_connections_per_ip.into(), "connections"),
        chat.history_age.as_secs(),
        chat.lobby_ttl.as_secs(),
        chat.login_timeout.as_secs(),
        limit(idle, "s"),
        config.send_queue_bytes,
        config.send_stall.as_secs(),
        config.bcrypt_cost,
        config.log_level.to_string().to_lowercase(),
    )
}
