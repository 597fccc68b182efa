//! The program: settings, log, start-up lines, the loop, the exit code.

use std::alloc::System;
use std::env;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cap::Cap;
use mio_chat::chat::{self, banner};
use mio_chat::config::{Config, Gemini};
use mio_chat::count::count;
use mio_chat::logging;
use mio_chat::net::{Ended, Heap, Plan, Server};

/// The system's allocator, which counts what is allocated; it sets no limit, since a server without
/// memory could only abort.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const HELP: &str = "\
mio-chat: a chat server for terminals

Usage: mio-chat [--check | --help | --version]

  --check    read settings and certificate, say what would be done, and exit
  --help     show this help
  --version  show the version

Settings come from the environment and from a .env file in the working
directory; the environment wins. The ones people change most:

  CHAT_LISTEN                  the plain port        [::]:8080, or off
  CHAT_TLS_LISTEN              the TLS port          [::]:8443, or off
  CHAT_MAX_CONNECTIONS_PER_IP  from one address      10; 0: no limit
  CHAT_MESSAGES_PER_WINDOW     a user's lines        5 in 10 seconds; 0: no limit
  CHAT_LOG_FILE                a file for the log    none
  GEMINI_API_KEY               turns on Rox, the AI   none

mio-chat(1) and docs/settings.md list them all. Connect with: rlwrap nc HOST 8080
";

fn main() -> ExitCode {
    map_large_blocks();
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let [first, path @ ..] = arguments.as_slice()
        && first == logging::WRITER_ARGUMENT
    {
        // What the server starts beside it; nobody else does.
        return match logging::write_log(path.first().map(PathBuf::from)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        };
    }
    let only_check = match arguments.as_slice() {
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
    let config = Config::load(Path::new(".")).map_err(|e| e.to_string());
    let run = if only_check { check } else { serve };
    match config.and_then(|config| run(&config)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Says why this is the end, if standard error takes it.
fn fail(error: &str) -> ExitCode {
    if logging::finish() {
        eprintln!("{error}");
    }
    ExitCode::FAILURE
}

/// Writes to standard output. It is no failure if nobody reads it.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

/// Says what would be done, and opens nothing: no socket, and no log file that is not there.
fn check(config: &Config) -> Result<ExitCode, String> {
    logging::start_plainly(config.log_level).map_err(|e| e.to_string())?;
    if let Some(path) = &config.log_file {
        logging::check(path).map_err(|e| log_file_error(path, &e))?;
    }
    warn_of_unknown(config);
    let plan = Plan::new(config).map_err(|e| e.to_string())?;
    Ok(print(&summary(config, &plan)))
}

/// In the environment such a name may be meant for another program; in `.env` it is an error.
fn warn_of_unknown(config: &Config) {
    for name in &config.unknown {
        log::warn!("there is no setting {name}: the environment variable is ignored");
    }
}

fn log_file_error(path: &Path, error: &std::io::Error) -> String {
    format!("CHAT_LOG_FILE: cannot write {}: {error}", path.display())
}

/// Runs the server to its end. An error is the one line for the operator.
fn serve(config: &Config) -> Result<ExitCode, String> {
    let log_file = config.log_file.as_deref();
    logging::start(config.log_level, log_file)
        .map_err(|e| log_file_error(log_file.unwrap_or(Path::new("the log")), &e))?;
    warn_of_unknown(config);
    let heap = Heap { allocated: || ALLOCATOR.allocated(), give_back: give_back_memory };
    let mut server = Server::bind(config, heap).map_err(|e| e.to_string())?;
    // What was said before comes before it.
    let _ = logging::settle();
    print(&start_lines(config, &server));
    log::info!("ready on {}", addresses(server.addrs(false), server.addrs(true)));
    if lacks_certificate(config) {
        log::info!("TLS is off: there is no {}", config.tls.cert.display());
    }
    match server.run() {
        Ok(Ended::Gracefully) => {
            log::info!("ended");
            logging::finish();
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ended::AtOnce) => Ok(ExitCode::FAILURE),
        Err(e) => Err(format!("Error: poll: {e}")),
    }
}

/// Gives free memory back to the system. glibc does so by itself only at the top of its heap, where
/// something always stays: of 24 MiB that 5000 TLS users took 19 were kept when they had gone. Other
/// allocators (musl's) need no telling.
fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code)]
        // SAFETY: malloc_trim(3) may be called at any time, and is declared as glibc has it.
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

/// Has glibc map large blocks on their own, so that they leave no holes; by default it stops doing so
/// for blocks of the size of those that were freed.
fn map_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_MMAP_THRESHOLD: std::ffi::c_int = -3;
        #[allow(unsafe_code)]
        // SAFETY: mallopt(3) is declared as glibc has it, and called before there is another thread.
        unsafe extern "C" {
            safe fn mallopt(param: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        mallopt(M_MMAP_THRESHOLD, 32 * 1024);
    }
}

/// All addresses, plain ones first.
fn addresses(plain: impl Iterator<Item = String>, tls: impl Iterator<Item = String>) -> String {
    let plain = plain.map(|addr| format!("{addr} (TCP)"));
    let tls = tls.map(|addr| format!("{addr} (TLS)"));
    plain.chain(tls).collect::<Vec<_>>().join(", ")
}

fn start_lines(config: &Config, server: &Server) -> String {
    let banner = start_banner();
    let (plain, tls) = (server.addrs(false).next(), server.addrs(true).next());
    let protocol = match (&plain, &tls) {
        (Some(_), Some(_)) => "TCP + TLS",
        (None, Some(_)) => "TLS",
        _ => "TCP",
    };
    let tls_line = tls_line(config, tls.as_deref());
    format!(
        "{banner}Port: {}\nLobby: {}\nTime zone: {}\nProtocol: {protocol}\n{tls_line}{}\n\
         >> Server ready - Waiting for connections...\n",
        plain.or(tls).unwrap_or_default(),
        chat::GENERAL,
        server.zone_name().escape_debug(),
        ai_line(config, server.has_assistant()),
    )
}

/// The banner, for people: none where something else reads, and without colours where those are not
/// wanted (no-color.org) or not understood.
fn start_banner() -> String {
    if !std::io::stdout().is_terminal() {
        return String::new();
    }
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    let lines = ["A chat server for terminals", "rlwrap nc HOST PORT"];
    banner::banner(&lines, !(unwanted || is_dumb))
}

/// Whether TLS could be spoken if there were a certificate.
fn lacks_certificate(config: &Config) -> bool {
    config.tls_listen.is_some() && !config.tls.cert.exists()
}

/// The start-up line about TLS, with its end, if there is one.
fn tls_line(config: &Config, addr: Option<&str>) -> String {
    match addr {
        Some(addr) => {
            format!("TLS enabled on port {}\n", addr.rsplit(':').next().unwrap_or(addr))
        }
        None if lacks_certificate(config) => {
            format!("[!] TLS disabled (no {})\n", config.tls.cert.display())
        }
        None => String::new(),
    }
}

/// The start-up line about the assistant.
fn ai_line(config: &Config, enabled: bool) -> String {
    match &config.gemini.proxy {
        _ if !enabled => "[!] AI features disabled (no API key)".to_owned(),
        None => "[✓] AI features enabled".to_owned(),
        Some(proxy) => format!("[✓] AI features enabled, through the proxy {proxy}"),
    }
}

/// What `--check` says: one line for each thing that the settings decide.
fn summary(config: &Config, plan: &Plan) -> String {
    let no_limit = || "no limit".to_owned();
    let per_address = match config.max_connections_per_ip {
        0 => no_limit(),
        n => count(n.into(), "connection").to_string(),
    };
    let chat = &config.chat;
    let rate = match chat.messages_per_window {
        0 => no_limit(),
        n => format!("{} in {} s", count(n as u64, "line"), chat.rate_window.as_secs()),
    };
    let idle = chat.idle_timeout.map_or_else(no_limit, |idle| format!("{} s", idle.as_secs()));
    let log =
        config.log_file.as_ref().map_or(String::new(), |path| format!(", {}", path.display()));
    let proxies = match config.proxies.is_empty() {
        true => String::new(),
        false => format!("; proxies believed: {}", config.proxies),
    };
    format!(
        "Would listen on: {}\n\
         Connections: {} in all, from one address: {per_address}\n\
         May connect: {}{proxies}\n\
         Rate limit: {rate}\n\
         History: {} s; empty lobbies removed after {} s\n\
         Timeouts: name {} s, idle {idle}\n\
         Unsent output of one client: {} bytes, dropped after {} s without progress\n\
         Memory: {}\n\
         Passwords: bcrypt cost {}\n\
         Log: {} to standard error{log}\n\
         {}{}\n{}\
         Settings are good.\n",
        addresses(plan.addrs(false), plan.addrs(true)),
        plan.max_connections(),
        config.access,
        chat.history_age.as_secs(),
        chat.lobby_ttl.as_secs(),
        chat.login_timeout.as_secs(),
        config.send_queue_bytes,
        config.send_stall.as_secs(),
        plan.memory().map_or_else(no_limit, |bytes| format!("{} MiB", bytes >> 20)),
        config.bcrypt_cost,
        config.log_level.to_string().to_lowercase(),
        tls_line(config, plan.addrs(true).next().as_deref()),
        ai_line(config, plan.has_assistant()),
        if plan.has_assistant() { questions(&config.gemini) } else { String::new() },
    )
}

/// The line of `--check` about how much the assistant may be asked, with its end.
fn questions(gemini: &Gemini) -> String {
    let limit = |n: usize| match n {
        0 => "no limit".to_owned(),
        n => count(n as u64, "question").to_string(),
    };
    format!(
        "Rox: {} an hour for each user, {} a day for all together\n",
        limit(gemini.questions_per_hour),
        limit(gemini.questions_per_day)
    )
}
