//! What is wrong with a certificate, in words, and the option of openssl that helps.
//!
//! Where rustls's own words are clear enough, they are used. Owns no state.

use rustls::{CertificateError, Error};

/// Why a peer's certificate was not accepted, or why else TLS failed.
pub(super) fn explain(error: &Error) -> String {
    match (words(error), error) {
        (Some(words), _) => format!("invalid peer certificate: {words}"),
        (None, Error::InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "{error} - it came without its chain, or its CA is not in GEMINI_CA_FILE; \
             openssl s_client -connect HOST:PORT -showcerts shows what comes"
        ),
        (None, error) => error.to_string(),
    }
}

/// Faults that self-made certificates often have, whoever presents them.
pub(super) fn words(error: &Error) -> Option<&'static str> {
    let Error::InvalidCertificate(error) = error else { return None };
    let name = match error {
        // Errors that rustls passes on unchanged.
        CertificateError::Other(other) => format!("{:?}", other.0),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "NoNames".to_owned()
        }
        _ => return None,
    };
    Some(match &*name {
        "UnsupportedCertVersion" => {
            "it is X.509 version 1 and has to be version 3; openssl x509 -req makes that with \
             -extfile FILE (containing subjectAltName=DNS:NAME)"
        }
        "CaUsedAsEndEntity" => {
            "it is a CA's certificate, not a server's; openssl req -x509 makes a server's with \
             -addext basicConstraints=critical,CA:FALSE"
        }
        "EndEntityUsedAsCa" => {
            "its issuer's certificate is not a CA's; openssl req -x509 makes a CA's with \
             -addext basicConstraints=critical,CA:TRUE"
        }
        "NoNames" => "it names no host; openssl adds a name with -addext subjectAltName=DNS:NAME",
        _ => return None,
    })
}
