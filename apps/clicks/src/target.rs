//! Where a link may lead, and the code that it gets.
//!
//! The code is a number made of the address, so that the same address posted twice is one link,
//! whoever posts it and whether or not the first answer arrived.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longest address, in bytes, as it was given and as it is kept.
pub(crate) const URL_BYTES_MAX: usize = 2048;
/// Codes tried for an address whose code belongs to another.
pub(crate) const SALTS: u64 = 8;
/// Characters of a code.
pub(crate) const CODE_CHARS: usize = 7;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The address that a link leads to, as it goes into the header `Location`; the error says what
/// is wrong with it. `ours` are the host names under which this service is known: a link to
/// itself would send browsers in circles.
pub(crate) fn checked(text: &str, ours: &[String]) -> Result<String, &'static str> {
    if text.len() > URL_BYTES_MAX {
        return Err("the address is longer than 2048 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("the address has control characters");
    }
    let url = Url::parse(text).map_err(|_| "that is no address")?;
    // `javascript:`, `data:`, `file:` and their like run or read where the browser is.
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https addresses can be shortened");
    }
    // `https://bank.example@evil.example/` shows one name and leads to another.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with a user name is misleading");
    }
    match url.host() {
        None => return Err("the address names no host"),
        Some(Host::Domain(name)) if is_local(name) => return Err("the address is a private one"),
        Some(Host::Ipv4(ip)) if is_private(ip) => return Err("the address is a private one"),
        Some(Host::Ipv6(ip)) if is_private_v6(ip) => return Err("the address is a private one"),
        Some(host) => {
            let host = host.to_string();
            if ours.iter().any(|own| own.eq_ignore_ascii_case(host.trim_end_matches('.'))) {
                return Err("the address leads back to this service");
            }
        }
    }
    let kept = url.to_string();
    if kept.len() > URL_BYTES_MAX {
        return Err("the address is longer than 2048 bytes");
    }
    Ok(kept)
}

fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end))
}

fn is_private(ip: Ipv4Addr) -> bool {
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_multicast()
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().is_some_and(is_private)
        || ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
}

/// The code of an address; another salt gives another code.
pub(crate) fn code(address: &str, salt: u64) -> String {
    let mut number = xxh3_64_with_seed(address.as_bytes(), salt);
    let mut code = String::with_capacity(CODE_CHARS);
    for _ in 0..CODE_CHARS {
        // The remainder is below 62.
        code.push(char::from(DIGITS[usize::try_from(number % 62).unwrap_or(0)]));
        number /= 62;
    }
    code
}

/// Whether there may be a link of this code: what cannot be is not looked up.
pub(crate) fn is_code(text: &str) -> bool {
    text.len() == CODE_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        checked(text, &["clicks.example".to_owned(), "203.0.113.9".to_owned()]).is_err()
    }

    #[test]
    fn only_what_leads_out_is_shortened() {
        for text in [
            "",
            "no address",
            "//example.org/x",
            "javascript:alert(1)",
            " JaVaScRiPt:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "file:///etc/passwd",
            "ftp://example.org/",
            "https://bank.example@evil.example/",
            "https://:secret@example.org/",
            "http://localhost:8080/",
            "http://LOCALHOST./",
            "http://printer.local/",
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[fe80::1]/",
            "http://169.254.169.254/latest",
            "http://192.168.1.1/",
            "https://CLICKS.example/abc",
            "https://clicks.example./abc",
            "http://203.0.113.9:81/abc",
            "https://",
        ] {
            assert!(refused(text), "{text:?} was taken");
        }
        assert!(refused(&format!("https://example.org/{}", "x".repeat(URL_BYTES_MAX))));
        assert!(refused(&format!("https://example.org/{}", "ä".repeat(URL_BYTES_MAX / 4))));
    }

    #[test]
    fn an_address_is_kept_as_a_header_can_carry_it() {
        let check = |text, kept: &str| assert_eq!(checked(text, &[]).as_deref(), Ok(kept));
        check("https://example.org", "https://example.org/");
        check("HTTPS://Example.ORG/a b?q=ü#f", "https://example.org/a%20b?q=%C3%BC#f");
        check("https://bücher.example/", "https://xn--bcher-kva.example/");
    }

    #[test]
    fn a_code_depends_on_address_and_salt_only() {
        let first = code("https://example.org/", 0);
        assert_eq!(first, code("https://example.org/", 0));
        assert_ne!(first, code("https://example.org/", 1));
        assert_ne!(first, code("https://example.org/a", 0));
        assert!(is_code(&first));
        for text in ["", "short", "toolong8", "../../e", "abc\0def", "äääé"] {
            assert!(!is_code(text), "{text:?}");
        }
    }
}
