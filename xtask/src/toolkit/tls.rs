//! A server that speaks TLS and wants to know who asks, with certificates made for it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::peer::{Peer, free_port};

/// The server, and the directory of its certificates.
pub(super) struct Secure {
    /// Ends with this.
    _peer: Peer,
    port: u16,
    directory: PathBuf,
}

impl Secure {
    /// Starts a server with a port for TLS beside its plain one.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let port = free_port()?;
        let directory =
            std::env::temp_dir().join(format!("levada-tls-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).context("a directory for certificates")?;
        let outcome = certificates(&directory).and_then(|()| serve(program, &directory, port));
        match outcome {
            Ok(peer) => Ok(Self { _peer: peer, port, directory }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// The URL of the toolkit.
    pub(super) fn url(&self) -> String {
        let file = |name| self.directory.join(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        format!("rediss://127.0.0.1:{}?ca={ca}&cert={cert}&key={key}", self.port)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // Errors have nowhere to go.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn serve(program: &Path, directory: &Path, port: u16) -> Result<Peer> {
    let file = |name| directory.join(name).display().to_string();
    let (port, ca, cert, key) =
        (port.to_string(), file("ca.pem"), file("cert.pem"), file("key.pem"));
    let options = [
        ["--tls-port", &port],
        ["--tls-ca-cert-file", &ca],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-auth-clients", "yes"],
    ];
    Peer::redis_at(program, options.as_flattened())
}

/// An authority, a certificate of it for 127.0.0.1 that the server and its client share, and
/// another authority that nobody has heard of.
fn certificates(directory: &Path) -> Result<()> {
    // Each has a name: who is issued under its own name is taken for an authority.
    let named = |name: &str, of: Vec<String>| -> Result<CertificateParams> {
        let mut params = CertificateParams::new(of)?;
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params)
    };
    let authority = |name: &str| -> Result<CertifiedIssuer<'static, KeyPair>> {
        let mut params = named(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
    };
    let (ours, other) = (authority("ours")?, authority("another")?);
    let key = KeyPair::generate()?;
    let cert = named("peer", vec!["127.0.0.1".to_owned()])?.signed_by(&key, &ours)?;
    let files = [
        ("ca.pem", ours.pem()),
        ("other.pem", other.pem()),
        ("cert.pem", cert.pem()),
        ("key.pem", key.serialize_pem()),
    ];
    for (name, text) in files {
        std::fs::write(directory.join(name), text).context(name)?;
    }
    Ok(())
}
