//! The certificate and its key: read at start and on SIGHUP, at no other time.
//!
//! Owns the TLS settings that new connections get, and makes those with which the assistant's
//! service is verified. At start a bad pair is an error; later it leaves the one in use in place.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::CertificateError as Invalid;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ProducesTickets};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SignatureScheme,
};
use zeroize::Zeroizing;

use super::accept::StartError;
use super::verdict;
use crate::config::TlsFiles;
use crate::count::count;
use crate::limits::MAX_INTERMEDIATES;

/// What is wrong with the files. `Display` is one line that names the variable and the file.
#[derive(Debug)]
pub enum CertificateError {
    /// One of the two files is missing (the variable, the file), but the other is there.
    Missing(&'static str, PathBuf, PathBuf),
    /// A file cannot be read.
    Unreadable(&'static str, PathBuf, io::Error),
    /// A file contains no certificate, or no key.
    Empty(&'static str, PathBuf, &'static str),
    /// The key does not belong to the certificate.
    Mismatch(PathBuf, PathBuf),
    /// The key needs a passphrase, and there is nobody to ask for it.
    Encrypted(PathBuf),
    /// The key is of a kind that is not supported.
    Unsupported(PathBuf),
    /// It cannot be used for TLS.
    Unusable(PathBuf, Error),
}

const CERT: &str = "CHAT_TLS_CERT";
const KEY: &str = "CHAT_TLS_KEY";

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name, path, other) => {
                let (path, other) = (path.display(), other.display());
                write!(f, "{name}: {path} is missing, and {other} is of no use without it")
            }
            Self::Unreadable(name, path, error) => {
                let error = super::accept::system_text(error);
                write!(f, "{name}: cannot read {}: {error}", path.display())
            }
            Self::Empty(name, path, what) => {
                write!(f, "{name}: there is no {what} in {} (PEM is needed)", path.display())
            }
            Self::Mismatch(key, cert) => write!(
                f,
                "{KEY}: the key in {} does not belong to the first certificate in {}, which must \
                 be the server's own",
                key.display(),
                cert.display()
            ),
            Self::Encrypted(key) => write!(
                f,
                "{KEY}: the key in {0} needs a passphrase; openssl pkey -in {0} -out NEW removes \
                 it",
                key.display()
            ),
            Self::Unsupported(key) => write!(
                f,
                "{KEY}: cannot use the key in {}; allowed: ECDSA P-256 or P-384, Ed25519, RSA of 2048 \
                 to 4096 bits",
                key.display()
            ),
            Self::Unusable(path, error) => {
                let path = path.display();
                match verdict::words(error) {
                    Some(words) => write!(f, "{CERT}: cannot use {path}: {words}"),
                    None => write!(f, "{CERT}: cannot use {path}: {error}"),
                }
            }
        }
    }
}

/// What new TLS connections are made with.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    /// Survives a reload, so that old sessions can still be resumed. Its keys rotate.
    tickets: Arc<dyn ProducesTickets>,
    config: Arc<ServerConfig>,
}

impl Certificate {
    /// Reads the pair. `None` if neither file is there and nobody named them.
    pub(super) fn load(files: &TlsFiles) -> Result<Option<Self>, CertificateError> {
        let (cert, key) = (exists(&files.cert), exists(&files.key));
        if !cert && !key && !files.named {
            return Ok(None);
        }
        let tickets =
            ring::Ticketer::new().map_err(|e| CertificateError::Unusable(files.cert.clone(), e))?;
        let config = read(files, &tickets)?;
        Ok(Some(Self { files: files.clone(), tickets, config }))
    }

    /// Reads the pair again. If it is bad, the old one stays.
    pub(super) fn reload(&mut self) -> Result<(), CertificateError> {
        self.config = read(&self.files, &self.tickets)?;
        Ok(())
    }

    /// The settings for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

/// Whether there is something of this name; a file that cannot be read counts as being there.
fn exists(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn read(
    files: &TlsFiles,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, CertificateError> {
    for (name, path, other) in [(CERT, &files.cert, &files.key), (KEY, &files.key, &files.cert)] {
        if !exists(path) {
            return Err(CertificateError::Missing(name, path.clone(), other.clone()));
        }
    }
    let contents = |name, path: &PathBuf| {
        fs::read(path).map_err(|e| CertificateError::Unreadable(name, path.clone(), e))
    };
    let chain = certificates(&contents(CERT, &files.cert)?);
    if chain.is_empty() {
        return Err(CertificateError::Empty(CERT, files.cert.clone(), "certificate"));
    }
    let pem = Zeroizing::new(contents(KEY, &files.key)?);
    let key = private_key(&pem).ok_or_else(|| match is_encrypted(&pem) {
        true => CertificateError::Encrypted(files.key.clone()),
        false => CertificateError::Empty(KEY, files.key.clone(), "private key"),
    })?;
    if ring::sign::any_supported_type(&key).is_err() {
        return Err(CertificateError::Unsupported(files.key.clone()));
    }
    warn_if_readable_by_all(&files.key);
    warn_of_faults(&files.cert, &chain);
    let unusable = |e| match e {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CertificateError::Mismatch(files.key.clone(), files.cert.clone())
        }
        e => CertificateError::Unusable(files.cert.clone(), e),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.ticketer = tickets.clone();
    // Clients keep the tickets; a session table here would cost memory for the same purpose.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Clients that check the certificate refuse one that has expired, is not valid yet, is a CA's, or
/// whose issuer they cannot find. Clients that do not check need not be refused as well, and it may
/// be this machine's clock that is wrong.
fn warn_of_faults(path: &Path, chain: &[CertificateDer<'_>]) {
    let Some((first, issuers)) = chain.split_first() else { return };
    let Ok(parsed) = ParsedCertificate::try_from(first) else { return };
    // The last one is trusted here, whoever issued it: clients have to decide about that.
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if chain.last().is_some_and(|last| roots.add(last.clone().into_owned()).is_err()) {
        return;
    }
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let now = UnixTime::now();
    let verdict =
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, issuers, now, algorithms);
    let Err(error) = verdict else { return };
    let path = path.display();
    if let Some(words) = verdict::words(&error) {
        return log::warn!("{CERT}: clients that check it may refuse {path}: {words}");
    }
    let Error::InvalidCertificate(error) = error else { return };
    let days = |from: UnixTime, to: UnixTime| {
        count(to.as_secs().saturating_sub(from.as_secs()) / 86_400, "day")
    };
    match error {
        Invalid::ExpiredContext { time, not_after } => {
            log::warn!("{CERT}: {path} expired {} ago", days(not_after, time));
        }
        Invalid::NotValidYetContext { time, not_before } => {
            let days = days(time, not_before);
            log::warn!("{CERT}: {path} is not valid for another {days}; is the clock right?");
        }
        Invalid::UnknownIssuer if issuers.is_empty() => log::warn!(
            "{CERT}: {path} holds no chain: clients that check it refuse it unless they have its \
             issuer; put the issuer's certificate below it (openssl x509 -noout -issuer -in {path} \
             names it)"
        ),
        Invalid::UnknownIssuer => log::warn!(
            "{CERT}: the certificates in {path} do not form a chain: each must be issued by the \
             one below it (openssl storeutl -noout -text -certs {path} shows them)"
        ),
        _ => {}
    }
}

/// How to verify the assistant's service: with the usual public roots, and those in this file. The
/// usual roots are built in, since a small box may have none of its own.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, StartError> {
    let wrong = |path: &Path, what: &dyn fmt::Display| {
        StartError::Assistant(format!("GEMINI_CA_FILE: {}: {what}", path.display()))
    };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let pem = fs::read(path).map_err(|e| wrong(path, &super::accept::system_text(&e)))?;
        let extra = certificates(&pem);
        if extra.is_empty() {
            return Err(wrong(path, &"there is no certificate in it (PEM is needed)"));
        }
        for certificate in extra {
            roots.add(certificate).map_err(|e| wrong(path, &e))?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let unusable = |e: String| StartError::Assistant(format!("TLS: {e}"));
    let verifier = ShortChains::new(roots, provider.clone()).map_err(unusable)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// rustls's own verifier, which is given no more than the beginning of a chain: of certificates that
/// all have the name of a root it tries every order, and five of them make it check 100 signatures.
#[derive(Debug)]
struct ShortChains(Arc<WebPkiServerVerifier>);

impl ShortChains {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        verifier.build().map(Self).map_err(|e| e.to_string())
    }
}

impl ServerCertVerifier for ShortChains {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let begin = intermediates.get(..MAX_INTERMEDIATES).unwrap_or(intermediates);
        self.0.verify_server_cert(end_entity, begin, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

// PEM is read in these two functions only: rustls-pemfile is a thin wrapper that is no longer
// maintained (RUSTSEC-2025-0134), to be replaced here when there is a need.

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    // One that cannot be read spoils the chain: no chain is better than part of one.
    rustls_pemfile::certs(&mut &*pem).collect::<Result<_, _>>().unwrap_or_default()
}

fn is_encrypted(pem: &[u8]) -> bool {
    // RFC 7468, section 11; RFC 1421, section 4.6.1.1.
    let pem = String::from_utf8_lossy(pem);
    pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED")
}

fn private_key(pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    rustls_pemfile::private_key(&mut &*pem).ok().flatten()
}

#[cfg(unix)]
fn warn_if_readable_by_all(key: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
        log::warn!("{KEY}: everybody can read {}; chmod o= it", key.display());
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_all(_: &Path) {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    /// A CA with the name that all of them have here.
    fn authority() -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    #[test]
    fn certificates_in_the_name_of_a_root_are_not_tried_in_every_order() {
        let mut roots = RootCertStore::empty();
        let root = KeyPair::generate().unwrap();
        roots.add(authority().self_signed(&root).unwrap().der().clone()).unwrap();
        let verifier = ShortChains::new(roots, Arc::new(ring::default_provider())).unwrap();
        let name = ServerName::try_from("gemini.test").unwrap();
        let leaf = CertificateParams::new(["gemini.test".to_owned()]).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let failed = |intermediates: usize, signer: KeyPair| {
            let issuer = Issuer::new(authority(), signer);
            let false_ones: Vec<_> = (0..intermediates)
                .map(|_| authority().signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap())
                .map(|certificate| certificate.der().clone())
                .collect();
            let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            verifier.verify_server_cert(leaf.der(), &false_ones, &name, &[], now).err()
        };
        // Not that there were too many signatures to be checked.
        let forged = Error::InvalidCertificate(Invalid::BadSignature);
        assert_eq!(failed(50, KeyPair::generate().unwrap()), Some(forged));
        assert_eq!(failed(0, root), None);
    }
}
