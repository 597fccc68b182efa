//! The server under load: one of our own, started here and stopped at the end, or one that runs.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::TLS13;

use super::machine::{self, Process};
use super::options::Options;
use super::stream::Route;
use super::{Outcome, tls_client};

/// How long it may take to answer a signal.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients connect to.
pub(super) struct Target {
    pub(super) label: String,
    pub(super) addr: SocketAddr,
    pub(super) tls_addr: Option<SocketAddr>,
    /// `None`: there are no figures of it.
    pub(super) process: Option<Process>,
    pub(super) own: Option<Own>,
}

/// A server of our own, stopped when dropped.
pub(super) struct Own {
    child: Child,
    dir: tempfile::TempDir,
    /// When it was started.
    pub(super) since: Instant,
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings of a server of our own besides those that lift its limits.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) variables: Vec<(&'static str, String)>,
    /// What is in `ca.pem`.
    pub(super) ca_pem: String,
}

impl Target {
    /// The one that the options name, or one of our own.
    pub(super) fn open(options: &Options, settings: &Settings) -> Outcome<Self> {
        let Some(addr) = options.target else { return Self::start(options, settings) };
        let process = options.pid.map(Process::new);
        if let (Some(process), Some(core)) = (&process, options.server_cpu) {
            for task in process.tasks()? {
                machine::pin(Some(task), core)?;
            }
        }
        let label = options.name.clone().unwrap_or_else(|| addr.to_string());
        Ok(Self { label, addr, tls_addr: options.tls.then_some(addr), process, own: None })
    }

    /// Starts `mio-chat` with its limits lifted.
    pub(super) fn start(options: &Options, settings: &Settings) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        tls_client::make_pair(dir.path());
        fs::write(dir.path().join("ca.pem"), &settings.ca_pem)?;
        let binary = binary()?;
        let since = Instant::now();
        let mut child = Command::new(&binary)
            .env("CHAT_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_MAX_HANDSHAKES", "1000")
            .env("CHAT_MAX_CONNECTIONS_PER_IP", "0")
            .env("CHAT_MESSAGES_PER_WINDOW", "0")
            .env("CHAT_LOG_LEVEL", "info")
            .envs(settings.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            // A file, since nobody reads a pipe meanwhile.
            .stderr(File::create(dir.path().join("log"))?)
            .spawn()
            .map_err(|e| format!("{}: {e}; build it first", binary.display()))?;
        let pid = i32::try_from(child.id())?;
        let stdout = child.stdout.take();
        let own = Own { child, dir, since };
        if let Some(core) = options.server_cpu {
            machine::pin(Some(pid), core)?;
        }
        let (mut addr, mut tls_addr) = (None, None);
        for line in BufReader::new(stdout.ok_or("no output")?).lines().map_while(Result::ok) {
            let port = || line.rsplit([':', ' ']).next().and_then(|port| port.parse::<u16>().ok());
            let here = || port().map(|port| (Ipv4Addr::LOCALHOST, port).into());
            if line.starts_with("Port: ") {
                addr = here();
            } else if line.starts_with("TLS enabled on port ") {
                tls_addr = here();
            } else if line.starts_with(">> Server ready") {
                break;
            }
        }
        let log = || fs::read_to_string(own.dir.path().join("log")).unwrap_or_default();
        let addr = addr.ok_or_else(|| format!("the server does not start: {}", log()))?;
        let label = options.name.clone().unwrap_or_else(|| "mio-chat".to_owned());
        Ok(Self { label, addr, tls_addr, process: Some(Process::new(pid)), own: Some(own) })
    }

    /// The way to it, over TLS if the options say so.
    pub(super) fn route(&self, options: &Options) -> Outcome<Route> {
        if options.tls {
            return self.tls_route();
        }
        Ok(Route { addr: self.addr, tls: None, small_buffer: false })
    }

    pub(super) fn tls_route(&self) -> Outcome<Route> {
        let addr = self.tls_addr.ok_or("the server does not speak TLS")?;
        Ok(Route { addr, tls: Some(tls_config()), small_buffer: false })
    }

    pub(super) fn process(&self) -> Outcome<&Process> {
        Ok(self.process.as_ref().ok_or("this scenario needs --pid with a --target")?)
    }

    /// The longest turn of its loop since the last time this was asked, if it is our own.
    pub(super) fn longest_turn_us(&self) -> Outcome<Option<u64>> {
        let Some(own) = &self.own else { return Ok(None) };
        let path = own.dir.path().join("log");
        let before = fs::read(&path)?.len();
        let pid = Pid::from_raw(i32::try_from(own.child.id())?).ok_or("no process id")?;
        kill_process(pid, Signal::USR1)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let log = fs::read(&path)?;
            let news = String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned();
            if let Some((_, rest)) = news.split_once("longest_turn_us=")
                && let Some((micros, _)) = rest.split_once('\n')
            {
                return Ok(Some(micros.trim().parse()?));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("the server did not answer SIGUSR1".into())
    }
}

/// The server beside the directory of this example.
pub(super) fn binary() -> Outcome<PathBuf> {
    let this = std::env::current_exe()?;
    let dir = this.parent().and_then(|dir| dir.parent()).ok_or("no directory of the build")?;
    Ok(dir.join("mio-chat"))
}

/// Settings that thousands of clients share, and with which none resumes another's session.
pub(super) fn tls_config() -> Arc<ClientConfig> {
    let mut config = tls_client::config(&TLS13);
    Arc::make_mut(&mut config).resumption = Resumption::disabled();
    config
}
