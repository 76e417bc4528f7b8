//! Who may do what: users with passwords and rights, as Redis has them.
//!
//! A user has a number for as long as it is there, and numbers are not given again, so that a
//! connection whose user was removed can never act as another one. Number 0 is `default`, which
//! connections begin as and which cannot be removed.

pub(crate) mod file;
pub(crate) mod log;
pub(crate) mod revoke;
pub(crate) mod selector;
#[cfg(test)]
mod tests;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::path::Path;

use self::log::Log;
pub(crate) use self::selector::{Denied, Reason, Wish};
use self::user::{User, hexadecimal};
use crate::log_event::{LogEvent, LogName};
use crate::registry::Registry;
use crate::wire_error::WireError;

/// The user that connections begin as.
pub(crate) const DEFAULT: &[u8] = b"default";

/// Number of a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct UserNumber(usize);

impl UserNumber {
    /// The user `default`.
    pub(crate) const DEFAULT: Self = Self(0);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Acl {
    /// By number; `None` where one was removed.
    users: Vec<Option<Box<User>>>,
    names: BTreeMap<Vec<u8>, UserNumber>,
    /// New users may use all channels (`acl-pubsub-default`).
    pub(crate) all_channels: bool,
    pub(crate) log: Log,
    pub(crate) failures: Failures,
}

/// Attempts of one kind that failed, as far as the server's log has not told of them.
#[derive(Debug)]
pub(crate) struct Failures {
    name: LogName,
    /// What they were at.
    attempts: &'static str,
    count: u64,
    last: String,
    told_ms: Option<u64>,
}

impl Failures {
    /// Milliseconds between two lines.
    const EVERY_MS: u64 = 60_000;

    pub(crate) fn new(name: LogName, attempts: &'static str) -> Self {
        Self { name, attempts, count: 0, last: String::new(), told_ms: None }
    }

    pub(crate) fn note(&mut self, last: String) {
        self.count += 1;
        self.last = last;
    }

    /// An event for the log, now and then.
    pub(crate) fn tell(&mut self, now_ms: u64) -> Option<LogEvent> {
        let due = self.told_ms.is_none_or(|told| now_ms >= told + Self::EVERY_MS);
        if self.count == 0 || !due {
            return None;
        }
        self.told_ms = Some(now_ms);
        let count = std::mem::take(&mut self.count);
        let Self { name, attempts, last, .. } = self;
        let message = format!("{count} failed attempts to {attempts}, the last {last}");
        Some(LogEvent::new(*name, message).number("count", count).text("last", &last))
    }
}

impl Acl {
    /// The default user alone, without a password.
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            users: vec![Some(Box::new(User::first(registry, DEFAULT)))],
            names: BTreeMap::from([(DEFAULT.to_vec(), UserNumber::DEFAULT)]),
            all_channels: false,
            log: Log::default(),
            failures: Failures::new(LogName::LoginsFailed, "authenticate"),
        }
    }

    /// A user, unless it was removed.
    #[inline]
    pub(crate) fn user(&self, number: UserNumber) -> Option<&User> {
        self.users.get(number.0)?.as_deref()
    }

    /// Whether a user may do everything.
    #[inline]
    pub(crate) fn is_unrestricted(&self, number: UserNumber) -> bool {
        self.user(number).is_some_and(User::is_unrestricted)
    }

    /// The name of a user.
    pub(crate) fn name(&self, number: UserNumber) -> &[u8] {
        self.user(number).map_or(b"(removed)", |user| &user.name)
    }

    /// A user by its name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<UserNumber> {
        self.names.get(name).copied()
    }

    /// All users, by name.
    pub(crate) fn users(&self) -> impl Iterator<Item = &User> {
        self.names.values().filter_map(|number| self.user(*number))
    }

    /// Number of users.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether connections must say AUTH.
    pub(crate) fn needs_password(&self) -> bool {
        !self.user(UserNumber::DEFAULT).is_some_and(|user| user.no_password && user.enabled)
    }

    /// Whether the default user has no password, so that one alone can only be a mistake.
    pub(crate) fn admits_anyone(&self) -> bool {
        self.user(UserNumber::DEFAULT).is_some_and(|user| user.no_password)
    }

    /// Gives the default user this password and no other, or none where it is empty.
    pub(crate) fn set_default_password(&mut self, registry: &Registry, password: &str) {
        let rule = if password.is_empty() { "nopass".into() } else { format!(">{password}") };
        if let Some(user) = &mut self.users[UserNumber::DEFAULT.0] {
            for rule in ["resetpass", &rule] {
                user.apply(registry, rule.as_bytes(), false).expect("both are rules");
            }
        }
    }

    /// The user who may come in with this password.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<UserNumber> {
        let number = self.find(name);
        // A name that nobody has takes as long as one that somebody has.
        let nobody = User::new(name, false);
        let user = number.and_then(|number| self.user(number)).unwrap_or(&nobody);
        user.admits(password).then_some(number).flatten()
    }

    /// The user of this name whom somebody else vouches for, as long as it may come in at all.
    pub(crate) fn vouched(&self, name: &[u8]) -> Option<UserNumber> {
        self.find(name).filter(|number| self.user(*number).is_some_and(|user| user.enabled))
    }

    /// Whether a user may run a request. Nobody may who was removed.
    pub(crate) fn check(&self, number: UserNumber, wish: &Wish<'_>) -> Result<(), Denied> {
        let denied = Denied { reason: Reason::Command, at: 0 };
        self.user(number).ok_or(denied)?.check(wish)
    }

    /// Puts a user in the place of the one of the same name, if there is one, and gives that back.
    pub(crate) fn put(&mut self, user: User) -> (UserNumber, Option<Box<User>>) {
        if let Some(number) = self.find(&user.name) {
            return (number, self.users[number.0].replace(Box::new(user)));
        }
        let number = UserNumber(self.users.len());
        self.names.insert(user.name.clone(), number);
        self.users.push(Some(Box::new(user)));
        (number, None)
    }

    /// Removes a user.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<UserNumber> {
        let number = self.names.remove(name)?;
        self.users[number.0] = None;
        Some(number)
    }

    /// The users that the settings name, or those of a file; both together are refused. For the
    /// start, where nobody is connected.
    pub(crate) fn load_at_start(
        &mut self,
        registry: &Registry,
        lines: &[String],
        path: Option<&Path>,
    ) -> Result<(), String> {
        let mut users = Vec::new();
        for line in lines {
            let mut words = line.as_bytes().split(u8::is_ascii_whitespace);
            let mut words = words.by_ref().filter(|word| !word.is_empty());
            let name = words.next().ok_or("user: a line names no user")?;
            let rules: Vec<_> = words.collect();
            let shown = String::from_utf8_lossy(name).into_owned();
            let user = file::parse(registry, name, &rules, self.all_channels)
                .map_err(|why| format!("user {shown}: {why}"))?;
            if users.iter().any(|known: &User| known.name == user.name) {
                return Err(format!("user {shown}: it is there twice"));
            }
            users.push(user);
        }
        if let Some(path) = path {
            if !users.is_empty() {
                return Err(
                    "users stand in the settings and there is an aclfile: one of both".into()
                );
            }
            users = file::load(registry, path, self.all_channels)?;
        }
        for user in users {
            self.put(user);
        }
        Ok(())
    }
}

/// A password of so many bits that nobody guesses, in hexadecimal digits.
pub(crate) fn random_password(bits: usize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; bits.div_ceil(8)];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| WireError::Fixed("ERR the system has no random numbers"))?;
    let digits = bytes.iter().flat_map(|byte| [hexadecimal(byte >> 4), hexadecimal(*byte)]);
    Ok(digits.take(bits.div_ceil(4)).collect())
}
