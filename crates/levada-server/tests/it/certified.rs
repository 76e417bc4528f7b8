//! `tls-auth-clients-user`: who shows a certificate is the user of its common name.
//!
//! Every certificate here is made for the test that shows it.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use levada_server::{AuthClients, AuthClientsUser, Settings, TlsSettings};
use rcgen::string::BmpString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::encrypted::{Secure, ask, open};
use crate::rig::{Server, request};

const NEWEST: &SupportedProtocolVersion = &rustls::version::TLS13;

/// Who signs, and where its certificate stands for the server.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A name as a certificate has it: kinds and values in order.
fn named(parts: &[(DnType, DnValue)]) -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in parts {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params
}

fn common(name: &str) -> CertificateParams {
    named(&[(DnType::CommonName, DnValue::Utf8String(name.to_owned()))])
}

impl Authority {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "levada-certified-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut params = common("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("it");
        let authority = Self { issuer, directory };
        authority.write("ca.pem", &authority.issuer.pem());
        let key = KeyPair::generate().expect("a key");
        let signed = common("a server").signed_by(&key, &authority.issuer).expect("signed");
        authority.write("cert.pem", &signed.pem());
        authority.write("key.pem", &key.serialize_pem());
        authority
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).expect("written");
    }

    /// A server that asks for certificates, takes connections without one, and has some users.
    fn server(&self, users: &[&str], change: impl FnOnce(&mut Settings)) -> Server {
        Server::start_with(|settings| {
            settings.users = users.iter().map(|&user| user.to_owned()).collect();
            settings.tls = TlsSettings {
                listeners: 1,
                cert_file: self.directory.join("cert.pem"),
                key_file: self.directory.join("key.pem"),
                ca_cert_file: self.directory.join("ca.pem"),
                auth_clients: AuthClients::Optional,
                auth_clients_user: AuthClientsUser::CommonName,
            };
            change(settings);
        })
    }

    /// What a client speaks that trusts this authority, and shows a certificate if it has one.
    fn config(
        &self,
        shown: Option<&CertificateParams>,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots);
        let Some(params) = shown else {
            return config.with_no_client_auth();
        };
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        config.with_client_auth_cert(vec![signed.der().clone()], key).expect("they fit")
    }

    fn connect(&self, server: &Server, params: &CertificateParams) -> Secure {
        open(server, self.config(Some(params), NEWEST))
    }

    fn nameless(&self, server: &Server) -> Secure {
        open(server, self.config(None, NEWEST))
    }
}

fn check(client: &mut Secure, line: &str, reply: &str) {
    let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
    ask(client, &args, reply.as_bytes()).expect("served");
}

const SHOP: &str = "shop on >a-password ~orders:* +@stream +acl|whoami +ping +reset";

#[test]
fn a_certificate_stands_for_the_user_of_its_name() {
    let authority = Authority::new();
    let server =
        authority.server(&["default on >secret allkeys allcommands allchannels", SHOP], |_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.config(Some(&common("shop")), version);
        // The second connection goes on with the keys of the first, and is known all the same.
        for _ in 0..2 {
            let mut client = open(&server, config.clone());
            check(&mut client, "ACL WHOAMI", "$4\r\nshop\r\n");
            check(&mut client, "XLEN orders:1", ":0\r\n");
            check(&mut client, "XLEN others", "-NOPERM ");
        }
    }
    let mut client = authority.nameless(&server);
    check(&mut client, "XLEN orders:1", "-NOAUTH Authentication required.\r\n");
    check(&mut client, "AUTH secret", "+OK\r\n");
    check(
        &mut client,
        "CONFIG GET tls-auth-clients-user",
        "*2\r\n$21\r\ntls-auth-clients-user\r\n",
    );
}

#[test]
fn what_ends_the_introduction_ends_the_user() {
    let authority = Authority::new();
    let users = ["default on >secret allkeys allcommands allchannels", SHOP];
    let server = authority.server(&users, |_| {});
    let mut client = authority.connect(&server, &common("shop"));
    check(&mut client, "RESET", "+RESET\r\n");
    check(&mut client, "PING", "-NOAUTH Authentication required.\r\n");
    check(&mut client, "AUTH shop a-password", "+OK\r\n");
    let mut operator = authority.nameless(&server);
    check(&mut operator, "AUTH secret", "+OK\r\n");
    check(&mut operator, "CONFIG SET tls-auth-clients-user off", "+OK\r\n");
    check(&mut client, "PING", "+PONG\r\n");
    let mut late = authority.connect(&server, &common("shop"));
    check(&mut late, "PING", "-NOAUTH Authentication required.\r\n");
    let text = "-ERR CONFIG SET failed (possibly related to argument 'tls-auth-clients-user') - \
                argument(s) must be one of the following: CN, off\r\n";
    check(&mut operator, "CONFIG SET tls-auth-clients-user on", text);
    check(&mut operator, "CONFIG SET tls-auth-clients-user cn", "+OK\r\n");
    let mut client = authority.connect(&server, &common("shop"));
    check(&mut client, "PING", "+PONG\r\n");
}

#[test]
fn who_has_no_such_user_stays_who_it_was_and_the_log_tells() {
    let authority = Authority::new();
    let server = authority.server(&["asleep off >a-password +@all ~*", SHOP], |_| {});
    let mut operator = authority.nameless(&server);
    let mut denied = 0;
    for name in ["asleep", "nobody", "SHOP", "shop ", "shop\0", "", "default\0x"] {
        let mut client = authority.connect(&server, &common(name));
        check(&mut client, "ACL WHOAMI", "$7\r\ndefault\r\n");
        check(&mut client, "AUTH shop a-password", "+OK\r\n");
        // Who shows no name is not told of, as there is nothing to tell.
        denied += u32::from(!name.is_empty());
        let told = format!("acl_access_denied_tls_cert:{denied}\r\n");
        assert!(info(&mut operator).contains(&told), "{name:?}: {told}");
    }
    check(&mut operator, "ACL LOG RESET", "+OK\r\n");
    let mut last = authority.connect(&server, &common("asleep"));
    check(&mut last, "PING", "+PONG\r\n");
    check(
        &mut operator,
        "ACL LOG 1",
        "*1\r\n*20\r\n$5\r\ncount\r\n:1\r\n$6\r\nreason\r\n$8\r\ntls-cert\r\n$7\r\ncontext\r\n\
         $8\r\ntoplevel\r\n$6\r\nobject\r\n$0\r\n\r\n$8\r\nusername\r\n$6\r\nasleep\r\n",
    );
}

#[test]
fn a_name_is_the_first_common_one_and_nothing_else() {
    let authority = Authority::new();
    let server = authority.server(&[SHOP, "other on +@all ~*"], |_| {});
    let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
    let wide = DnValue::BmpString(BmpString::try_from("shop").expect("text"));
    let printable = DnValue::PrintableString("shop".try_into().expect("text"));
    for (parts, user) in [
        (vec![(DnType::OrganizationName, utf8("shop"))], "default"),
        (vec![(DnType::CommonName, wide)], "default"),
        (vec![(DnType::CommonName, printable)], "shop"),
        (
            vec![(DnType::OrganizationName, utf8("other")), (DnType::CommonName, utf8("shop"))],
            "shop",
        ),
    ] {
        let mut client = authority.connect(&server, &named(&parts));
        check(&mut client, "ACL WHOAMI", &format!("${}\r\n{user}\r\n", user.len()));
    }
    // Nor is another name in it, or one in an extension.
    let mut params = named(&[(DnType::OrganizationName, utf8("a company"))]);
    params.subject_alt_names = vec![rcgen::SanType::DnsName("shop".try_into().expect("a name"))];
    let oid = [2, 5, 4, 3];
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&oid, b"\x0c\x04shop".to_vec())];
    let mut client = authority.connect(&server, &params);
    check(&mut client, "ACL WHOAMI", "$7\r\ndefault\r\n");
}

#[test]
fn who_is_not_asked_for_a_certificate_is_nobody_by_it() {
    let authority = Authority::new();
    let server = authority.server(&[SHOP], |settings| settings.tls.auth_clients = AuthClients::No);
    let mut client = authority.connect(&server, &common("shop"));
    check(&mut client, "ACL WHOAMI", "$7\r\ndefault\r\n");
    let server =
        authority.server(&[SHOP], |settings| settings.tls.auth_clients_user = AuthClientsUser::Off);
    let mut client = authority.connect(&server, &common("shop"));
    check(&mut client, "ACL WHOAMI", "$7\r\ndefault\r\n");
}

#[test]
fn a_user_with_enough_connections_takes_no_certificate() {
    let authority = Authority::new();
    let server = authority.server(&[SHOP], |settings| settings.clients_per_user_max = 1);
    let mut first = authority.connect(&server, &common("shop"));
    check(&mut first, "PING", "+PONG\r\n");
    let mut second = authority.connect(&server, &common("shop"));
    let text = "-ERR max number of clients reached for this user (maxclients-per-user)\r\n";
    check(&mut second, "PING", text);
    assert!(ask(&mut second, &[b"PING"], b"+PONG\r\n").is_err(), "it ends");
    check(&mut first, "RESET", "+RESET\r\n");
    check(&mut authority.connect(&server, &common("shop")), "PING", "+PONG\r\n");
}

/// What INFO says of counters.
fn info(client: &mut Secure) -> String {
    client.write_all(&request(&[b"INFO", b"stats"])).expect("sent");
    let mut header = Vec::new();
    while !header.ends_with(b"\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a reply");
        header.push(byte[0]);
    }
    let length = String::from_utf8(header).expect("text");
    let length: usize = length.trim_matches(['$', '\r', '\n']).parse().expect("a length");
    let mut text = vec![0; length + 2];
    client.read_exact(&mut text).expect("all of it");
    String::from_utf8(text).expect("text")
}
