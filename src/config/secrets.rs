//! What settings must not give away: URLs with passwords, tokens, and the keys to connections.
//!
//! Must never: print a secret, or take one from a file that everybody on the machine may read.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::CommandError;

/// A text that never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// A server's URL with a password in it, which never prints itself, and the certificates for the way there.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    url: String,
    certificates: Certificates,
}

impl SecretUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), certificates: Certificates::default() }
    }

    /// The same with certificates, for a connection over TLS.
    #[must_use]
    pub fn with_certificates(mut self, certificates: &Certificates) -> Self {
        self.certificates = certificates.clone();
        self
    }

    /// The URL itself, to connect with.
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// What to show to the server, and whom to believe.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The URL without user, password and query.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return "<hidden>".to_owned() };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// Whether a host is this machine, which no wire leads to.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A private key with the certificates that go with it, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then those that vouch for it.
    pub chain: String,
    /// The private key.
    pub key: Secret,
}

/// The certificates of connections to servers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Authorities that vouch for servers, as PEM.
    pub authorities: Option<Arc<str>>,
    /// What this program shows of itself.
    pub identity: Option<Arc<Identity>>,
}

impl Certificates {
    /// Reads the files that are named.
    ///
    /// # Errors
    /// A file cannot be read or holds something else; a certificate without its key, or the other way round.
    pub(super) fn read(ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>) -> Result<Self, CommandError> {
        let authorities = ca.map(|path| certificates(path, "tls_ca_file")).transpose()?;
        Ok(Self {
            authorities: authorities.map(Arc::from),
            identity: Identity::read(cert, key, ["tls_cert_file", "tls_key_file"])?.map(Arc::new),
        })
    }
}

impl Identity {
    /// Reads certificate and key from the files that two settings name.
    ///
    /// # Errors
    /// A file cannot be read or holds something else; one of them without the other.
    pub(super) fn read(
        cert: Option<&Path>,
        key: Option<&Path>,
        [cert_setting, key_setting]: [&str; 2],
    ) -> Result<Option<Self>, CommandError> {
        let (cert, key) = match (cert, key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => return Err(alone(cert_setting, key_setting)),
            (None, Some(_)) => return Err(alone(key_setting, cert_setting)),
        };
        let chain = certificates(cert, cert_setting)?;
        let text = private_file(key, key_setting)?;
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| no(key, key_setting, "private key (PEM)"))?;
        Ok(Some(Self { chain, key: Secret::new(text) }))
    }
}

fn alone(given: &str, missing: &str) -> CommandError {
    CommandError::Config(format!("{given} is set without {missing}; set both or none"))
}

fn no(path: &Path, setting: &str, what: &str) -> CommandError {
    CommandError::Config(format!("{setting}: {} holds no {what}", path.display()))
}

/// The text of a file with at least one certificate.
fn certificates(path: &Path, setting: &str) -> Result<String, CommandError> {
    let text = read(path, setting)?;
    let whole = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match whole {
        Ok(found) if !found.is_empty() => Ok(text),
        _ => Err(no(path, setting, "certificate (PEM)")),
    }
}

/// The text of a file that holds a secret: others than its owner and group may not read it, others than its owner not
/// write it.
///
/// # Errors
/// It cannot be read, or too many may.
pub fn private_file(path: &Path, setting: &str) -> Result<String, CommandError> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| CommandError::Config(format!("{setting}: cannot read {}: {error}", path.display())))?;
    if metadata.mode() & 0o027 != 0 {
        return Err(CommandError::Config(format!(
            "{setting}: {path} may be read or changed by others (mode {mode:03o}); run: chmod 600 {path}",
            path = path.display(),
            mode = metadata.mode() & 0o777
        )));
    }
    read(path, setting)
}

/// A larger file is none of certificates, keys or tokens.
const LARGEST: u64 = 1 << 20;

fn read(path: &Path, setting: &str) -> Result<String, CommandError> {
    use std::io::Read as _;
    let failed =
        |error: std::io::Error| CommandError::Config(format!("{setting}: cannot read {}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(CommandError::Config(format!("{setting}: {} is over 1 MiB", path.display())));
    }
    Ok(text)
}
