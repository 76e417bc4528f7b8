//! What must hold for any bytes at all, for the fuzzer and its corpus.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::guard::check_origin;
use crate::query::{Pairs, joined};

/// Any bytes as a query, a form, a value in one, and (separated by zero bytes) as the headers by
/// which a form is told from another site's: no value changes on its way through a link, and a form
/// is taken from the origin alone that the request names as its host.
///
/// # Panics
///
/// If it is not so.
pub fn query_any(bytes: &[u8]) {
    let parts = bytes.split(|byte| *byte == b'&').count();
    for pairs in [Pairs::parse(bytes), Pairs::of_query(bytes)] {
        // What stands in `at` are pairs of their own, and no more than its bytes can hold.
        assert!(pairs.len() <= parts + bytes.len());
        let _ = pairs.text("csrf");
    }
    let there = joined(&[("key", bytes), ("at", joined(&[("id", bytes)]).as_bytes())]);
    assert!(there.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%=&".contains(&byte)));
    let back = Pairs::of_query(there.as_bytes());
    assert_eq!((back.get("key"), back.get("id")), (bytes, bytes));
    origin(bytes);
}

fn origin(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let names = [ORIGIN, HOST, HeaderName::from_static("sec-fetch-site")];
    for (name, value) in names.into_iter().zip(bytes.split(|byte| *byte == 0)) {
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        headers.insert(name, value);
    }
    if check_origin(&headers).is_err() {
        return;
    }
    let lower = |name: HeaderName| headers[name].as_bytes().to_ascii_lowercase();
    let (origin, host) = (lower(ORIGIN), lower(HOST));
    let schemes = [b"http://".as_slice(), b"https://"];
    assert!(schemes.iter().any(|scheme| origin == [scheme, host.as_slice()].concat()));
    let site = headers.get("sec-fetch-site");
    assert!(site.is_none_or(|site| site == "same-origin"));
}
