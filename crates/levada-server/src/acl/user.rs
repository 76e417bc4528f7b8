//! A user: whether it may come in, with which passwords, and what it may do then.
//!
//! Passwords are kept as SHA-256 in hexadecimal digits, as Redis writes them, and as nothing else.

use ring::digest;

use super::selector::{Denied, Fault, Selector, Wish, check_name};
use crate::registry::Registry;

/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash([u8; HASH_DIGITS]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hash)")
    }
}

impl Hash {
    /// Of a password.
    pub(crate) fn of(password: &[u8]) -> Self {
        let mut digits = [0; HASH_DIGITS];
        let hash = digest::digest(&digest::SHA256, password);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.as_ref()) {
            pair[0] = hexadecimal(byte >> 4);
            pair[1] = hexadecimal(byte & 15);
        }
        Self(digits)
    }

    /// From its digits, which must be lower case.
    fn parse(digits: &[u8]) -> Result<Self, Fault> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        match digits.try_into() {
            Ok(hash) if digits.iter().all(is_digit) => Ok(Self(hash)),
            _ => Err(Fault::NotAHash),
        }
    }

    /// Its digits.
    pub(crate) fn digits(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
    }
}

/// The digit of a number below 16.
pub(super) fn hexadecimal(number: u8) -> u8 {
    b"0123456789abcdef"[usize::from(number & 15)]
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that change apart from each other")]
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    pub(crate) enabled: bool,
    /// Any password will do.
    pub(crate) no_password: bool,
    /// Noted, and written down again: RESTORE checks every payload.
    skip_sanitize: bool,
    passwords: Vec<Hash>,
    /// What it may do by itself; never empty with those that follow.
    root: Selector,
    selectors: Vec<Selector>,
    /// Everything is allowed.
    unrestricted: bool,
}

impl User {
    /// One that may do nothing, not even come in.
    pub(crate) fn new(name: &[u8], all_channels: bool) -> Self {
        let mut user = Self {
            name: name.to_vec(),
            enabled: false,
            no_password: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            root: Selector::NONE,
            selectors: Vec::new(),
            unrestricted: false,
        };
        user.root.put_all_channels(all_channels);
        user
    }

    /// The user that connections begin as: everything is allowed, to everybody.
    pub(crate) fn first(registry: &Registry, name: &[u8]) -> Self {
        let mut user = Self::new(name, false);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(registry, rule.as_bytes(), false).expect("these are rules");
        }
        user
    }

    /// Whether everything is allowed.
    #[inline]
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// The rights, first those that are the user's own, then those of selectors.
    pub(crate) fn rights(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// The hashes of its passwords.
    pub(crate) fn passwords(&self) -> &[Hash] {
        &self.passwords
    }

    /// Whether it may come in with this password. Takes the same time whichever is right.
    pub(crate) fn admits(&self, password: &[u8]) -> bool {
        let given = Hash::of(password);
        let known = self.passwords.iter().fold(false, |known, hash| known | hash.is(&given));
        self.enabled && (self.no_password || known)
    }

    /// Whether a request may be run. Of several reasons against it, the one that came closest.
    pub(crate) fn check(&self, wish: &Wish<'_>) -> Result<(), Denied> {
        if self.unrestricted {
            return Ok(());
        }
        let mut worst = None;
        for rights in self.rights() {
            match rights.check(wish) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(Some(denied)),
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Whether a channel may be listened to.
    pub(crate) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.rights().any(|rights| rights.allows_channel(channel, is_pattern))
    }

    /// Applies rules, all of them or none. An error names the rule.
    pub(crate) fn apply_all(
        &mut self,
        registry: &Registry,
        rules: &[Vec<u8>],
        all_channels: bool,
    ) -> Result<(), (Vec<u8>, Fault)> {
        let mut changed = self.clone();
        for rule in rules {
            changed.apply(registry, rule, all_channels).map_err(|fault| (rule.clone(), fault))?;
        }
        *self = changed;
        Ok(())
    }

    /// Applies a rule. `all_channels` is what `reset` leaves of channels.
    pub(crate) fn apply(
        &mut self,
        registry: &Registry,
        rule: &[u8],
        all_channels: bool,
    ) -> Result<(), Fault> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"sanitize-payload" => self.skip_sanitize = false,
            b"skip-sanitize-payload" => self.skip_sanitize = true,
            b"nopass" => (self.no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.no_password, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = Self::new(&std::mem::take(&mut self.name), all_channels),
            _ => match rule {
                [b'>', password @ ..] => self.add_password(Hash::of(password)),
                [b'#', digits @ ..] => self.add_password(Hash::parse(digits)?),
                [b'<', password @ ..] => self.remove_password(&Hash::of(password))?,
                [b'!', digits @ ..] => self.remove_password(&Hash::parse(digits)?)?,
                [b'(', rules @ .., b')'] => self.selectors.push(Selector::parse(registry, rules)?),
                _ => self.root.apply(registry, rule)?,
            },
        }
        self.unrestricted = self.root.is_unrestricted();
        Ok(())
    }

    /// Words about it: on or off, and so on.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        flags.extend(self.no_password.then_some("nopass"));
        flags.push(if self.skip_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// Rules that make the same user, without its name.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut text = self.flags().join(" ").into_bytes();
        for hash in &self.passwords {
            text.extend_from_slice(b" #");
            text.extend_from_slice(hash.digits());
        }
        text.push(b' ');
        self.root.describe(&mut text);
        for selector in &self.selectors {
            text.extend_from_slice(b" (");
            selector.describe(&mut text);
            text.push(b')');
        }
        text
    }

    /// The line of a file: `user name ...`.
    pub(crate) fn line(&self) -> Vec<u8> {
        [b"user ", self.name.as_slice(), b" ", &self.describe()].concat()
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), Fault> {
        let at = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(at.ok_or(Fault::NoSuchPassword)?);
        Ok(())
    }
}

/// Puts selectors together that were given in several arguments. An error is the argument that
/// opens a parenthesis which nobody closes.
pub(crate) fn merge(args: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for arg in args {
        match &mut open {
            Some((_, text)) => {
                text.push(b' ');
                text.extend_from_slice(arg);
                if arg.ends_with(b")") {
                    merged.extend(open.take().map(|(_, text)| text));
                }
            }
            None if arg.starts_with(b"(") && !arg.ends_with(b")") => {
                open = Some((arg, arg.to_vec()));
            }
            None => merged.push(arg.to_vec()),
        }
    }
    open.map_or(Ok(merged), |(arg, _)| Err(arg.to_vec()))
}

/// Whether this can be the name of a user.
pub(crate) fn is_name(name: &[u8]) -> bool {
    check_name(name).is_ok()
}
