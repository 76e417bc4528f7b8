//! Where servers are, by a URL: one, several that know the master, or several of a cluster.
//!
//! The redis crate reads URLs of one host; here the parts that are ours are taken off, and each
//! host gets a URL of that kind. Nothing but this file knows the grammar.

use redis::{Client, ClientTlsConfig, TlsCertificates};

use super::link;
use crate::error::{Error, Result};

/// Hosts named in one URL at most: they are asked one after the other.
const HOSTS_MAX: usize = 64;

/// What a URL names.
#[derive(Clone)]
pub(super) struct Place {
    kind: Kind,
    secure: bool,
    /// `USER:PASSWORD@` as the URL has it, or nothing.
    user: String,
    /// The same for sentinels.
    sentinel_user: String,
    /// Each with its port, at least one.
    hosts: Vec<String>,
    /// The name that sentinels know a master by.
    master: String,
    /// The number of a database, or nothing.
    database: String,
    /// `?...` that is not ours.
    query: String,
    certificates: Option<TlsCertificates>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Server,
    Sentinel,
    Cluster,
}

impl Place {
    /// Reads a URL, and the files of certificates that it names.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let bad =
            |why: &str| Error::Url { url: without_passwords(url).to_owned(), why: why.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no ://"))?;
        let (kind, secure) = scheme_of(scheme).ok_or_else(|| bad("the scheme is not known"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let port = if kind == Kind::Sentinel { 26_379 } else { 6379 };
        let hosts: Vec<String> = hosts.split(',').map(|host| with_port(host, port)).collect();
        let (master, database) = match kind {
            Kind::Sentinel => path.split_once('/').unwrap_or((path, "")),
            Kind::Server | Kind::Cluster => ("", path),
        };
        match kind {
            Kind::Server if hosts.len() > 1 => {
                return Err(bad("several hosts are redis-cluster:// or redis-sentinel://"));
            }
            Kind::Cluster if !matches!(database, "" | "0") => {
                return Err(bad("a cluster has no database but 0"));
            }
            Kind::Sentinel if master.is_empty() => {
                return Err(bad("behind the hosts stands the name of the master: /mymaster"));
            }
            _ if hosts.len() > HOSTS_MAX => return Err(bad("these are too many hosts")),
            _ => {}
        }
        let (query, sentinel_user) = sentinel_user(query).map_err(|why| bad(&why))?;
        if kind != Kind::Sentinel && !sentinel_user.is_empty() {
            return Err(bad("sentinel_password is for redis-sentinel://"));
        }
        let (query, certificates) = certificates(&query).map_err(|why| bad(&why))?;
        if certificates.is_some() && !secure {
            return Err(bad("certificates are for rediss://"));
        }
        let (master, database) = (master.to_owned(), database.to_owned());
        let place = Self {
            kind,
            secure,
            user,
            sentinel_user,
            hosts,
            master,
            database,
            query,
            certificates,
        };
        place.client(&place.hosts[0]).map_err(|error| bad(&error.to_string()))?;
        Ok(place)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Host and port each, at least one.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The name that sentinels know a master by.
    pub(super) fn master(&self) -> &str {
        &self.master
    }

    /// A client of a server, with the user of the URL.
    pub(super) fn client(&self, host: &str) -> Result<Client> {
        self.build(&format!("{}{host}/{}{}", self.user, self.database, self.query))
    }

    /// A client of a sentinel, which has users of its own.
    pub(super) fn sentinel(&self, host: &str) -> Result<Client> {
        self.build(&format!("{}{host}", self.sentinel_user))
    }

    fn build(&self, rest: &str) -> Result<Client> {
        let url = format!("redis{}://{rest}", if self.secure { "s" } else { "" });
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(url, certificates.clone()),
            None => Client::open(url),
        };
        client.map_err(|error| link::of(&error))
    }
}

impl std::fmt::Debug for Place {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Place");
        shown.field("kind", &self.kind).field("hosts", &self.hosts);
        shown.field("master", &self.master).finish_non_exhaustive()
    }
}

/// What may be shown of a URL.
fn without_passwords(url: &str) -> &str {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    match place.rsplit_once('@') {
        Some((_, place)) => place,
        // One of both is part of a password, and which is not known.
        None if query.contains('@') => "",
        None => place,
    }
}

/// Takes `sentinel_user` and `sentinel_password` off a query: the rest, and both as URLs have them.
fn sentinel_user(query: &str) -> Result<(String, String), String> {
    let (mut rest, mut name, mut password) = (Vec::new(), "", None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("sentinel_user", value)) => name = value,
            Some(("sentinel_password", value)) => password = Some(value),
            _ => rest.push(part),
        }
    }
    let plain = |text: &str| !text.contains(['@', ':', '/']);
    match password {
        _ if !plain(name) || !password.is_none_or(plain) => {
            Err("in sentinel_user and sentinel_password @, : and / are %40, %3A and %2F".to_owned())
        }
        None if name.is_empty() => Ok((rest.join("&"), String::new())),
        None => Err("sentinel_user needs a sentinel_password".to_owned()),
        Some(password) => Ok((rest.join("&"), format!("{name}:{password}@"))),
    }
}

fn scheme_of(scheme: &str) -> Option<(Kind, bool)> {
    let (first, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
    let secure = match first {
        "redis" => false,
        "rediss" => true,
        _ => return None,
    };
    match kind {
        "" => Some((Kind::Server, secure)),
        "sentinel" => Some((Kind::Sentinel, secure)),
        "cluster" => Some((Kind::Cluster, secure)),
        _ => None,
    }
}

/// A host with the port that it has unless it is said; `[::1]` is a host.
fn with_port(host: &str, port: u16) -> String {
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if behind.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

/// Takes `ca`, `cert` and `key`, paths of PEM files, out of a query; answers the rest of it.
fn certificates(query: &str) -> Result<(String, Option<TlsCertificates>), String> {
    let (mut rest, mut root_cert, mut cert, mut key) = (Vec::new(), None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, path) = pair.split_once('=').unwrap_or((pair, ""));
        let read = || std::fs::read(path).map_err(|error| format!("{name} {path}: {error}"));
        match name {
            "ca" => root_cert = Some(read()?),
            "cert" => cert = Some(read()?),
            "key" => key = Some(read()?),
            _ => rest.push(pair),
        }
    }
    let rest = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    let client_tls = match (cert, key) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => return Err("a client's certificate needs both cert and key".to_owned()),
    };
    let any = root_cert.is_some() || client_tls.is_some();
    Ok((rest, any.then_some(TlsCertificates { client_tls, root_cert })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Place {
        Place::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn each_scheme_has_its_parts() {
        let place = parse("redis://me:a%40b@host/3");
        assert_eq!((place.kind(), place.hosts()), (Kind::Server, &["host:6379".to_owned()][..]));
        let place = parse("redis-cluster://a:7000,b,[::1]");
        assert_eq!(place.kind(), Kind::Cluster);
        assert_eq!(place.hosts(), ["a:7000", "b:6379", "[::1]:6379"]);
        let place = parse("redis-sentinel://:secret@a,b:5/orders/2");
        assert_eq!((place.kind(), place.master()), (Kind::Sentinel, "orders"));
        assert_eq!((&*place.hosts()[0], &*place.database), ("a:26379", "2"));
        assert!(!format!("{place:?}").contains("secret"));
        let place = parse("redis-sentinel://a/m?protocol=resp3&sentinel_password=se%40cret");
        assert_eq!((&*place.sentinel_user, &*place.query), (":se%40cret@", "?protocol=resp3"));
        assert!(!format!("{place:?}").contains("se%40cret"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, why) in [
            ("redis://u:secret@a,b", "several hosts"),
            ("redis-cluster://u:secret@a/1", "no database"),
            ("redis-sentinel://u:secret@a", "name of the master"),
            ("redis-ring://u:secret@a", "scheme"),
            ("redis-sentinel://a/m?sentinel_password=secret@a", "%40"),
            ("redis-sentinel://a/m?sentinel_user=secret", "sentinel_password"),
            ("redis://a?sentinel_password=secret", "redis-sentinel"),
            ("redis://u:secret@a?ca=/x", "/x"),
            ("rediss://u:secret@a?ca=/nowhere/at/all", "/nowhere/at/all"),
        ] {
            let said = Place::parse(url).expect_err(url).to_string();
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
        }
    }
}
