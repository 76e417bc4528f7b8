//! How many connections there are of each address and of each user, and whether one more may come.
//!
//! An address is counted from when its connection is accepted until that ends; a user from when
//! somebody logs in as it (AUTH, HELLO, a certificate) until they are somebody else, or go. Who has
//! said nothing and is `default` for want of a password is counted by address alone. Both are
//! counted also where they are not bounded, so that a bound holds from when it is set; who is in by
//! then stays. Entries are as many as connections, at most.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use crate::acl::{Failures, UserNumber};
use crate::log_event::{LogEvent, LogName};
use crate::session::Session;

/// See the module.
#[derive(Debug)]
pub(crate) struct HeadCount {
    addresses: HashMap<IpAddr, u64>,
    users: HashMap<UserNumber, u64>,
    turned_away: Failures,
}

impl HeadCount {
    /// Nobody.
    pub(crate) fn new() -> Self {
        let attempts = "connect more often than maxclients-per-address or maxclients-per-user";
        Self {
            addresses: HashMap::new(),
            users: HashMap::new(),
            turned_away: Failures::new(LogName::ClientsCrowd, attempts),
        }
    }

    /// Whether an address may have one more connection beside `max`; 0 for no bound.
    pub(crate) fn has_room(&mut self, address: IpAddr, max: u64) -> bool {
        let address = address.to_canonical();
        let has_room = is_below(&self.addresses, &address, max);
        if !has_room {
            self.turned_away.note(format!("from {address}"));
        }
        has_room
    }

    /// A connection was accepted; [`Self::depart`] must follow.
    pub(crate) fn arrive(&mut self, address: IpAddr) {
        *self.addresses.entry(address.to_canonical()).or_default() += 1;
    }

    /// A connection ends.
    pub(crate) fn depart(&mut self, session: &mut Session) {
        self.leave(session);
        let address = session.address.ip().to_canonical();
        take_one(&mut self.addresses, &address);
    }

    /// A connection is a user from now on, unless that would be one more beside `max`; 0 for no
    /// bound. `name` is for the log.
    pub(crate) fn enter(
        &mut self,
        session: &mut Session,
        (user, name): (UserNumber, &str),
        max: u64,
    ) -> bool {
        let is_in = session.counted_as == Some(user);
        if !is_in && !is_below(&self.users, &user, max) {
            self.turned_away.note(format!("of {name} from {}", session.address));
            return false;
        }
        self.leave(session);
        *self.users.entry(user).or_default() += 1;
        session.counted_as = Some(user);
        true
    }

    /// A connection is no user any more.
    pub(crate) fn leave(&mut self, session: &mut Session) {
        if let Some(user) = session.counted_as.take() {
            take_one(&mut self.users, &user);
        }
    }

    /// An event for the log, now and then.
    pub(crate) fn tell(&mut self, now_ms: u64) -> Option<LogEvent> {
        self.turned_away.tell(now_ms)
    }
}

fn is_below<K: Eq + Hash>(counts: &HashMap<K, u64>, key: &K, max: u64) -> bool {
    max == 0 || counts.get(key).is_none_or(|count| *count < max)
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
