//! TLS: what is spoken, who is let in, and certificates that change while the server runs.
//!
//! The certificates in `tls/` are for tests alone: two of them, each signed with its own key.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use levada_server::{AuthClients, AuthClientsUser, Settings, TlsSettings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::rig::{Server, request};

pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

fn start(auth_clients: AuthClients) -> Server {
    start_with(auth_clients, |_| {})
}

fn start_with(auth_clients: AuthClients, change: impl FnOnce(&mut Settings)) -> Server {
    Server::start_with(|settings| {
        change(settings);
        settings.tls = TlsSettings {
            listeners: 1,
            cert_file: file("one.cert.pem"),
            key_file: file("one.key.pem"),
            ca_cert_file: file("two.cert.pem"),
            auth_clients,
            auth_clients_user: AuthClientsUser::Off,
        };
    })
}

/// Connects as somebody who trusts one certificate and may show one.
fn connect(
    server: &Server,
    trusted: &str,
    shown: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> Secure {
    let mut roots = RootCertStore::empty();
    let certificate =
        |name: &str| CertificateDer::from_pem_file(file(name)).expect("a certificate");
    roots.add(certificate(&format!("{trusted}.cert.pem"))).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key.pem")));
            let chain = vec![certificate(&format!("{name}.cert.pem"))];
            config.with_client_auth_cert(chain, key.expect("a key")).expect("they fit")
        }
    };
    open(server, config)
}

/// Connects as somebody who trusts the first certificate and is particular about something.
fn connect_with(server: &Server, change: impl FnOnce(&mut ClientConfig)) -> Secure {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("one.cert.pem")).expect("it")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    change(&mut config);
    open(server, config)
}

pub(crate) fn open(server: &Server, config: ClientConfig) -> Secure {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
    StreamOwned::new(connection, stream)
}

pub(crate) fn ask(client: &mut Secure, args: &[&[u8]], reply: &[u8]) -> std::io::Result<()> {
    client.write_all(&request(args))?;
    let mut got = vec![0; reply.len()];
    client.read_exact(&mut got)?;
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(reply));
    Ok(())
}

#[test]
fn requests_and_replies_of_any_size_pass() {
    let server = start(AuthClients::No);
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let mut client = connect(&server, "one", None, versions);
        ask(&mut client, &[b"PING"], b"+PONG\r\n").expect("served");
        let value = vec![b'x'; 3 << 20];
        ask(&mut client, &[b"SET", b"k", &value], b"+OK\r\n").expect("served");
        let reply = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
        ask(&mut client, &[b"GET", b"k"], &reply).expect("served");
        // Many in one go, which need not be one record.
        client.write_all(&request(&[b"PING"]).repeat(5_000)).expect("sent");
        let mut got = vec![0; 7 * 5_000];
        client.read_exact(&mut got).expect("all replies");
        assert_eq!(got, b"+PONG\r\n".repeat(5_000));
    }
}

#[test]
fn clients_show_a_certificate_or_stay_out() {
    let both = [&rustls::version::TLS12, &rustls::version::TLS13];
    let server = start(AuthClients::Yes);
    let ping = |mut client: Secure| ask(&mut client, &[b"PING"], b"+PONG\r\n");
    ping(connect(&server, "one", Some("two"), &both)).expect("the right one");
    assert!(ping(connect(&server, "one", None, &both)).is_err(), "none was shown");
    assert!(ping(connect(&server, "one", Some("one"), &both)).is_err(), "not a trusted one");
    let server = start(AuthClients::Optional);
    ping(connect(&server, "one", Some("two"), &both)).expect("the right one");
    ping(connect(&server, "one", None, &both)).expect("none is asked for");
}

#[test]
fn certificates_change_while_the_server_runs() {
    let both = [&rustls::version::TLS12, &rustls::version::TLS13];
    let server = start(AuthClients::No);
    let mut old = connect(&server, "one", None, &both);
    let text = |name: &str| file(name).display().to_string();
    let set = |client: &mut Secure, cert: &str, key: &str, reply: &[u8]| {
        let (cert, key) = (text(cert), text(key));
        let args: [&[u8]; 6] =
            [b"CONFIG", b"SET", b"tls-cert-file", cert.as_bytes(), b"tls-key-file", key.as_bytes()];
        ask(client, &args, reply).expect("served");
    };
    set(&mut old, "two.cert.pem", "one.key.pem", b"-ERR CONFIG SET failed");
    let mut old = connect(&server, "one", None, &both);
    set(&mut old, "two.cert.pem", "two.key.pem", b"+OK\r\n");
    let mut new = connect(&server, "two", None, &both);
    ask(&mut new, &[b"PING"], b"+PONG\r\n").expect("the new certificate");
    ask(&mut old, &[b"PING"], b"+PONG\r\n").expect("who is in stays in");
    let mut wrong = connect(&server, "one", None, &both);
    assert!(ask(&mut wrong, &[b"PING"], b"+PONG\r\n").is_err(), "the old certificate is gone");
}

#[test]
fn a_client_without_tls_is_not_served_and_hurts_nobody() {
    let server = start(AuthClients::No);
    for bytes in [&b"PING\r\n"[..], b"\x16\x03\x01\xff\xff", b"\x15\x03\x03\x00\x02\x02\x00"] {
        let mut client = server.client();
        client.send_bytes(bytes);
        drop(client);
        let versions = [&rustls::version::TLS13];
        let mut good = connect(&server, "one", None, &versions);
        ask(&mut good, &[b"PING"], b"+PONG\r\n").expect("served");
    }
    let mut plain = server.client();
    plain.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    let reply = plain.take(1 << 10);
    assert!(!reply.windows(3).any(|part| part == b"ERR"), "not a word in clear: {reply:?}");
}

#[test]
fn a_greeting_that_never_ends_is_not_waited_for() {
    let server = start_with(AuthClients::No, |settings| settings.strangers_ms_max = 50);
    let mut slow = server.client();
    slow.send_bytes(b"\x16\x03\x01\x02\x00\x01");
    slow.expect_end();
    // Within its bytes, too: one record of a greeting behind the other.
    let server = start(AuthClients::No);
    let mut long = server.client();
    let record = [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &[0; 0x4000 - 4]].concat();
    long.send_bytes(&record);
    let reply = long.take(1 << 10);
    assert!(reply.len() < 1 << 10, "an alert at most: {reply:?}");
}

#[test]
fn who_announces_another_protocol_is_refused() {
    let server = start(AuthClients::No);
    let mut browser = connect_with(&server, |config| {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    });
    assert!(ask(&mut browser, &[b"PING"], b"+PONG\r\n").is_err());
    let mut client =
        connect_with(&server, |config| config.alpn_protocols = vec![b"redis".to_vec()]);
    ask(&mut client, &[b"PING"], b"+PONG\r\n").expect("served");
}

#[test]
fn the_oldest_stranger_gives_way() {
    let server = Server::start_with(|settings| {
        settings.requirepass = "secret".into();
        settings.strangers_max = 3;
        settings.strangers_ms_max = u64::MAX;
    });
    let mut strangers: Vec<_> = (0..3).map(|_| server.client()).collect();
    // Each has its answer, so that it is known to be in.
    for stranger in &mut strangers {
        stranger.check("PING", "-NOAUTH Authentication required.\r\n");
    }
    let mut good = server.client();
    good.check("AUTH secret", "+OK\r\n");
    strangers[0].expect_end();
    // Who has authenticated counts no longer.
    strangers[1].check("AUTH secret", "+OK\r\n");
    strangers.push(server.client());
    strangers[3].check("AUTH secret", "+OK\r\n");
    strangers[2].check("AUTH secret", "+OK\r\n");
    good.check("PING", "+PONG\r\n");
}
