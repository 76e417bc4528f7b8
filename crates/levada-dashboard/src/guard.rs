//! What stands between a browser that was led here and the server: the headers of every answer, the
//! origin of every form, and the [`Permit`] without which nothing is changed.
//!
//! Under which names the port answers at all (Host) is checked where HTTP is spoken, before this.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::fault::Fault;
use crate::query::Pairs;
use crate::session::{Session, is_same};

/// Proof that somebody who has signed in sent a form of ours; only [`permit`] makes one.
pub(crate) struct Permit(());

/// Nothing comes from elsewhere, nothing stands in the page, nobody frames it. `same-origin` as
/// the policy for referrers, since with `no-referrer` browsers hide the origin of our own forms.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Puts the headers on an answer.
pub(crate) async fn headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    response
}

/// Refuses a form that another site's page sent. Every browser of today tells the origin of a
/// form; what does not tell it is refused too.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site =
        headers.get("sec-fetch-site").map_or("same-origin".as_bytes(), HeaderValue::as_bytes);
    let origin = text(&ORIGIN).unwrap_or_default();
    let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (origin, text(&HOST)) {
        (Some(origin), Some(host))
            if origin.eq_ignore_ascii_case(host) && site == b"same-origin" =>
        {
            Ok(())
        }
        _ => Err(Fault::Refused("This form does not come from a page of this address.")),
    }
}

/// Lets a form of somebody who has signed in do what it says, if it carries their token.
pub(crate) fn permit(session: &Session, form: &Pairs) -> Result<Permit, Fault> {
    match is_same(&session.csrf, &form.text("csrf")) {
        true => Ok(Permit(())),
        false => Err(Fault::Refused("This form is not of your session: go back and try again.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], expect: bool) {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("text"))
        };
        let map: HeaderMap = headers.iter().map(pair).collect();
        assert_eq!(check_origin(&map).is_ok(), expect, "{headers:?}");
    }

    #[test]
    fn only_our_own_pages_send_forms() {
        check(&[("origin", "http://localhost:1"), ("host", "localhost:1")], true);
        check(&[("origin", "https://d.example"), ("host", "d.example")], true);
        check(&[("origin", "http://localhost:2"), ("host", "localhost:1")], false);
        check(&[("origin", "http://evil.example"), ("host", "localhost:1")], false);
        check(&[("origin", "null"), ("host", "localhost:1")], false);
        check(&[("origin", "localhost:1"), ("host", "localhost:1")], false);
        check(&[("host", "localhost:1")], false);
        check(&[("origin", "http://a"), ("host", "a"), ("sec-fetch-site", "same-origin")], true);
        check(&[("origin", "http://a"), ("host", "a"), ("sec-fetch-site", "cross-site")], false);
    }
}
