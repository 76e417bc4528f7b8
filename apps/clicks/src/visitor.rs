//! What a request tells of who sent it. Nothing of it can be trusted, and all of it may be
//! missing: what does not parse is left out, and what is too long is cut.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, REFERER, USER_AGENT};

use crate::click::{Click, Ids};

/// Longest user agent that is kept, in bytes.
const AGENT_BYTES_MAX: usize = 512;
/// Longest id that a proxy may give.
const ID_BYTES_MAX: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How clicks are read out of requests.
#[derive(Debug)]
pub(crate) struct Visitors {
    ids: Ids,
    /// Whether a proxy of ours stands in front. Only then is what it adds to a request believed.
    behind_proxy: bool,
}

impl Visitors {
    /// For requests that come from browsers, or from a proxy of ours.
    pub(crate) fn new(ids: Ids, behind_proxy: bool) -> Self {
        Self { ids, behind_proxy }
    }

    /// The click that a request to follow a link is.
    ///
    /// Behind a proxy its id is that of the request, so that a proxy that asks twice, because
    /// the first answer did not arrive, makes one click of it.
    pub(crate) fn click(&self, code: &str, headers: &HeaderMap, peer: IpAddr) -> Click {
        let (id, ip) = match self.behind_proxy {
            true => (request_id(headers), forwarded(headers)),
            false => (None, Some(peer)),
        };
        Click {
            id: id.unwrap_or_else(|| self.ids.next()),
            code: code.to_owned(),
            weight: 1,
            ip: ip.map(|ip| ip.to_canonical()),
            agent: text(headers, &USER_AGENT).map(|agent| cut(&agent, AGENT_BYTES_MAX)),
            referer: text(headers, &REFERER).and_then(|address| site(&address)),
        }
    }

    /// A click that stands for several whose requests were not looked at.
    pub(crate) fn several(&self, code: String, weight: u32) -> Click {
        Click { id: self.ids.next(), code, weight, ip: None, agent: None, referer: None }
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let is_well_formed = (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_well_formed.then(|| id.to_owned())
}

/// The address that our proxy saw: the last one. Those before it are what the client claims.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(&FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The host of an address: which page it was is nobody's business here.
fn site(address: &str) -> Option<String> {
    url::Url::parse(address).ok()?.host_str().map(|host| cut(host, 253))
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn click(behind_proxy: bool, pairs: &[(&'static str, &[u8])]) -> Click {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Visitors::new(Ids::new().unwrap(), behind_proxy).click("abcdefg", &headers, PEER)
    }

    #[test]
    fn what_a_proxy_adds_is_believed_behind_a_proxy_only() {
        let headers: &[(&str, &[u8])] =
            &[("x-request-id", b"r-1"), ("x-forwarded-for", b"10.0.0.1, 203.0.113.5")];
        let behind = click(true, headers);
        assert_eq!((&*behind.id, behind.ip), ("r-1", "203.0.113.5".parse().ok()));
        let before = click(false, headers);
        assert_ne!(before.id, "r-1");
        assert_eq!(before.ip, Some(PEER));
    }

    #[test]
    fn what_does_not_parse_is_left_out() {
        for bad in [&b"unknown"[..], b"203.0.113.5, 999.1.1.1", b"\xff\xfe", b"", b"::1%eth0"] {
            assert_eq!(click(true, &[("x-forwarded-for", bad)]).ip, None, "{bad:?}");
        }
        for bad in [&b"a b"[..], b"", b"\xff", &[b'x'; 65]] {
            assert_ne!(click(true, &[("x-request-id", bad)]).id.as_bytes(), bad);
        }
        let odd = click(false, &[("user-agent", b" "), ("referer", b"not an address")]);
        assert_eq!((odd.agent, odd.referer), (None, None));
    }

    #[test]
    fn what_is_long_is_cut_and_pages_are_forgotten() {
        let agent = [b"a".repeat(511), "ü".repeat(40).into_bytes()].concat();
        let found = click(false, &[("user-agent", &agent)]).agent.unwrap();
        assert_eq!(found.len(), 511, "no half of a character");
        let from = click(false, &[("referer", b"https://news.example/secret?token=1")]);
        assert_eq!(from.referer.as_deref(), Some("news.example"));
        let bytes = click(false, &[("user-agent", b"Mo\xffzilla")]);
        assert_eq!(bytes.agent.as_deref(), Some("Mo\u{fffd}zilla"));
    }
}
