//! Who has signed in: a random token in a cookie for each, in memory, with a bound and an end.
//!
//! Tokens are kept and compared as their SHA-256, so that the time of a comparison tells nothing.
//! A session holds the connection on which its user authenticated, and no password.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::limits::{SESSION_IDLE, SESSION_MAX, SESSIONS};
use crate::server::Asker;

/// The cookie's name.
pub(crate) const COOKIE: &str = "levada-session";

type Hash = [u8; 32];

/// Somebody who has signed in.
pub(crate) struct Session {
    pub(crate) user: Vec<u8>,
    /// What every form of theirs carries, and no other page can know.
    pub(crate) csrf: String,
    pub(crate) asker: Asker,
}

/// All who have.
pub(crate) struct Sessions<S = Session>(Mutex<HashMap<Hash, Seat<S>>>);

struct Seat<S> {
    session: Arc<S>,
    born: Instant,
    seen: Instant,
}

impl<S> Seat<S> {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.seen) >= SESSION_IDLE
            || now.duration_since(self.born) >= SESSION_MAX
    }
}

impl<S> Sessions<S> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Takes a session in, and answers its token. At the bound the one that was quiet longest goes.
    pub(crate) fn open(&self, session: S, now: Instant) -> String {
        let token = random();
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|_, seat| !seat.is_over(now));
        if seats.len() >= SESSIONS
            && let Some(quiet) =
                seats.iter().min_by_key(|(_, seat)| seat.seen).map(|(hash, _)| *hash)
        {
            seats.remove(&quiet);
        }
        seats.insert(hash(&token), Seat { session: Arc::new(session), born: now, seen: now });
        token
    }

    /// Whose token this is, if the session is not over.
    pub(crate) fn find(&self, token: &str, now: Instant) -> Option<Arc<S>> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hash(token);
        let seat = seats.get_mut(&hash)?;
        if seat.is_over(now) {
            seats.remove(&hash);
            return None;
        }
        seat.seen = now;
        Some(Arc::clone(&seat.session))
    }

    /// Whether the session goes on. Asking is no use of it: a chart left open does not prolong it.
    pub(crate) fn is_open(&self, token: &str, now: Instant) -> bool {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.get(&hash(token)).is_some_and(|seat| !seat.is_over(now))
    }

    /// Ends it.
    pub(crate) fn close(&self, token: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(token));
    }
}

/// 256 random bits as text.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers once it runs");
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// Whether two secrets are one, in a time that does not tell where they differ.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    hash(one) == hash(other)
}

fn hash(token: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// The token among the cookies of a request.
pub(crate) fn token(cookies: &str) -> Option<&str> {
    let mut cookies = cookies.split(';').map(str::trim);
    cookies.find_map(|cookie| cookie.strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_ends_when_it_is_quiet_and_at_the_latest() {
        let (sessions, begin) = (Sessions::new(), Instant::now());
        let token = sessions.open(7, begin);
        let mut now = begin;
        while now - begin < SESSION_MAX {
            assert_eq!(sessions.find(&token, now).as_deref(), Some(&7));
            now += SESSION_IDLE / 2;
        }
        assert_eq!(sessions.find(&token, now), None);
        let token = sessions.open(8, now);
        assert_eq!(sessions.find(&token, now + SESSION_IDLE), None);
        assert_eq!(sessions.find("", now), None);
    }

    #[test]
    fn at_the_bound_the_quiet_one_goes() {
        let (sessions, begin) = (Sessions::new(), Instant::now());
        let tokens: Vec<_> = (0..SESSIONS).map(|number| sessions.open(number, begin)).collect();
        let later = begin + Duration::from_secs(1);
        for token in &tokens[1..] {
            assert!(sessions.find(token, later).is_some());
        }
        let last = sessions.open(SESSIONS, later);
        assert_eq!(sessions.find(&tokens[0], later), None);
        assert!(sessions.find(&tokens[1], later).is_some());
        assert!(sessions.is_open(&last, later) && !sessions.is_open(&last, later + SESSION_IDLE));
        sessions.close(&last);
        assert_eq!(sessions.find(&last, later), None);
    }

    #[test]
    fn the_token_is_found_among_cookies() {
        assert_eq!(token("a=b; levada-session=xyz; c=d"), Some("xyz"));
        assert_eq!(token("levada-sessions=xyz"), None);
        assert!(is_same("a", "a") && !is_same("a", "b"));
        assert_ne!(random(), random());
    }
}
