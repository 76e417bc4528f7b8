//! Certificates and keys from files, and what TLS is spoken with them: version 1.2 at least.
//!
//! They are read again when CONFIG SET names them, the same or others. Connections that are open
//! keep what they began with; an error leaves everything as it was.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::asn1_rs::{FromDer as _, Tag};
use x509_parser::certificate::X509Certificate;

use crate::config::Config;

/// Files and choices for TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// How many of the listeners speak TLS: the last ones.
    pub listeners: usize,
    /// Certificates in PEM, the server's own first.
    pub cert_file: PathBuf,
    /// Its private key in PEM.
    pub key_file: PathBuf,
    /// Certificates in PEM that clients' are signed with; empty for none.
    pub ca_cert_file: PathBuf,
    /// Whether clients must show one.
    pub auth_clients: AuthClients,
    /// Which user the one who shows a certificate is.
    pub auth_clients_user: AuthClientsUser,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthClients {
    /// They must.
    #[default]
    Yes,
    /// They are not asked.
    No,
    /// One that is shown must be right.
    Optional,
}

/// Which user the one who shows a certificate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthClientsUser {
    /// The one that AUTH says.
    #[default]
    Off,
    /// The one of the certificate's common name, if there is such a user.
    CommonName,
}

impl AuthClientsUser {
    /// From the word of the setting `tls-auth-clients-user`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Off, Self::CommonName].into_iter().find(|it| it.word().eq_ignore_ascii_case(word))
    }

    /// The word of the setting.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::CommonName => "CN",
        }
    }
}

impl AuthClients {
    /// From the word of the setting `tls-auth-clients`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "yes" => Some(Self::Yes),
            "no" => Some(Self::No),
            "optional" => Some(Self::Optional),
            _ => None,
        }
    }

    /// The word of the setting.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Optional => "optional",
        }
    }
}

impl TlsSettings {
    /// The settings in force, with pairs of names and values in their place. An error says which
    /// value is none.
    pub(crate) fn of(listeners: usize, config: &Config, pairs: &[&[u8]]) -> Result<Self, String> {
        let value = |name: &str| {
            let is = |pair: &&[&[u8]]| pair[0].eq_ignore_ascii_case(name.as_bytes());
            match pairs.chunks_exact(2).rfind(is) {
                Some(pair) => String::from_utf8_lossy(pair[1]).into_owned(),
                None => config.get(name).to_owned(),
            }
        };
        Ok(Self {
            listeners,
            cert_file: value("tls-cert-file").into(),
            key_file: value("tls-key-file").into(),
            ca_cert_file: value("tls-ca-cert-file").into(),
            auth_clients: AuthClients::parse(&value("tls-auth-clients").to_ascii_lowercase())
                .ok_or("tls-auth-clients is one of yes, no, optional")?,
            // No file depends on it.
            auth_clients_user: AuthClientsUser::parse(config.get("tls-auth-clients-user"))
                .unwrap_or_default(),
        })
    }

    /// Puts them and both ports where CONFIG GET looks.
    pub(crate) fn describe(&self, addresses: &[SocketAddr], config: &mut Config) {
        let plain = addresses.len().saturating_sub(self.listeners);
        let port = |addresses: &[SocketAddr]| addresses.first().map_or(0, SocketAddr::port);
        config.put("port", port(&addresses[..plain]).to_string());
        config.put("tls-port", port(&addresses[plain..]).to_string());
        for (name, path) in [
            ("tls-cert-file", &self.cert_file),
            ("tls-key-file", &self.key_file),
            ("tls-ca-cert-file", &self.ca_cert_file),
        ] {
            config.put(name, path.display().to_string());
        }
        config.put("tls-auth-clients", self.auth_clients.word().to_owned());
        config.put("tls-auth-clients-user", self.auth_clients_user.word().to_owned());
    }

    /// What is spoken with these files. An error names the file.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?;
        let builder = if self.auth_clients == AuthClients::No {
            builder.with_no_client_auth()
        } else {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider);
            let verifier = match self.auth_clients {
                AuthClients::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| format!("{}: {error}", self.ca_cert_file.display()))?;
            builder.with_client_cert_verifier(verifier)
        };
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| format!("{}: {error}", self.key_file.display()))?;
        let chain = certificates(&self.cert_file)?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            format!("{} and {}: {error}", self.cert_file.display(), self.key_file.display())
        })?;
        // Who announces another protocol, as browsers do, is refused; most clients announce none.
        config.alpn_protocols = vec![b"redis".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        if self.ca_cert_file.as_os_str().is_empty() {
            let word = self.auth_clients.word();
            return Err(format!("tls-auth-clients {word} needs tls-ca-cert-file"));
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca_cert_file)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", self.ca_cert_file.display()))?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect();
    match found.map_err(wrong)? {
        found if found.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        found => Ok(found),
    }
}

/// The name that a certificate gives its owner: the first common name of its subject, byte for
/// byte. There is none where it is empty, or in an encoding whose bytes are no text.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.attr_value();
    let is_text = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::T61String]
        .contains(&name.tag());
    (is_text && !name.data.is_empty()).then(|| name.data.to_vec())
}
