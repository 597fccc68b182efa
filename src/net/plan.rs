//! What the settings amount to on this machine, worked out before anything is opened: `--check` makes a
//! plan, too, and stops there. Opens no socket; reads the certificate and asks for descriptors.

use std::net::SocketAddr;

use super::accept::{self, Sockets, StartError};
use super::certificate::Certificate;
use super::machine::default_ceiling;
use super::outbound::Assistant;
use crate::config::Config;
use crate::id::MAX_SLOTS;

/// What is wrong with a passed TLS socket, if nothing else is.
const NO_PAIR: &str = "the one named tls needs CHAT_TLS_CERT and CHAT_TLS_KEY";

/// What the settings amount to on this machine, before anything is opened.
#[derive(Debug)]
pub struct Plan {
    /// Where to listen; true: for TLS.
    pub(super) addrs: Vec<(SocketAddr, bool)>,
    pub(super) certificate: Option<Certificate>,
    pub(super) assistant: Option<Assistant>,
    pub(super) max_connections: usize,
    /// The ceiling on memory, in bytes.
    pub(super) memory: Option<usize>,
}

impl Plan {
    /// Reads the certificate and raises the descriptor limit.
    ///
    /// # Errors
    /// The certificate is no good, or there is nowhere to listen.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let certificate = match config.tls_listen {
            Some(_) => Certificate::load(&config.tls).map_err(StartError::Certificate)?,
            None => None,
        };
        let tls_addr = config.tls_listen.filter(|_| certificate.is_some());
        let addrs: Vec<(SocketAddr, bool)> = [(config.listen, false), (tls_addr, true)]
            .into_iter()
            .filter_map(|(addr, tls)| Some((addr?, tls)))
            .collect();
        if addrs.is_empty() {
            return Err(StartError::Nowhere);
        }
        Self::with(config, addrs, certificate)
    }

    /// The same with sockets that exist already, instead of addresses.
    pub(super) fn for_passed(config: &Config, sockets: &Sockets) -> Result<Self, StartError> {
        let certificate = if sockets.iter().any(|one| one.1) {
            let none = || StartError::Passed(NO_PAIR.to_owned());
            let pair = Certificate::load(&config.tls).map_err(StartError::Certificate)?;
            Some(pair.ok_or_else(none)?)
        } else {
            None
        };
        Self::with(config, Vec::new(), certificate)
    }

    fn with(
        config: &Config,
        addrs: Vec<(SocketAddr, bool)>,
        certificate: Option<Certificate>,
    ) -> Result<Self, StartError> {
        let assistant = Assistant::new(&config.gemini)?;
        let fit = accept::raise_descriptor_limit();
        let max_connections = config.max_connections.unwrap_or(fit).min(MAX_SLOTS);
        if max_connections > fit {
            log::warn!("CHAT_MAX_CONNECTIONS is {max_connections}, but descriptors allow {fit}");
        }
        let memory =
            config.memory_mb.map_or_else(default_ceiling, |mb| (mb > 0).then_some(mb << 20));
        Ok(Self { addrs, certificate, assistant, max_connections, memory })
    }

    /// The addresses for TLS, or for plain lines, as the start-up lines show them.
    pub fn addrs(&self, tls: bool) -> impl Iterator<Item = String> {
        self.addrs.iter().filter(move |one| one.1 == tls).map(|one| accept::display(one.0))
    }

    /// Whether there is an assistant.
    #[must_use]
    pub fn has_assistant(&self) -> bool {
        self.assistant.is_some()
    }

    /// How many bytes of memory the server may use, if there is a ceiling.
    #[must_use]
    pub fn memory(&self) -> Option<usize> {
        self.memory
    }

    /// How many clients are let in at once.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }
}
