//! The accounts, made of what has happened: the one place that says what an event means.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use levada::{Broker, MessageId, Reader, event};
use serde::{Deserialize, Serialize};

use crate::event::{Change, What};

/// An account.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) mail: String,
    pub(crate) town: String,
    pub(crate) is_closed: bool,
    /// Changes that were made to it.
    pub(crate) version: u64,
}

/// All accounts, by user.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Accounts(pub(crate) BTreeMap<String, Account>);

impl Account {
    /// What it is behind an event. A change that makes no sense is none: of an account that is not
    /// there or closed, or a second registration.
    pub(crate) fn behind(before: Option<Self>, what: &What) -> Option<Self> {
        let mut account = match (before, what) {
            (None, What::Registered { name, mail }) => {
                let (name, mail) = (name.clone(), mail.clone());
                return Some(Self { name, mail, version: 1, ..Self::default() });
            }
            (None, _) => return None,
            (Some(account), _) if account.is_closed => return Some(account),
            (Some(account), _) => account,
        };
        match what {
            What::Registered { .. } => return Some(account),
            What::Renamed { name } => account.name.clone_from(name),
            What::Moved { town } => account.town.clone_from(town),
            What::Closed => account.is_closed = true,
        }
        account.version += 1;
        Some(account)
    }
}

impl Accounts {
    pub(crate) fn apply(&mut self, change: &Change) {
        let before = self.0.remove(&change.user);
        if let Some(account) = Account::behind(before, &change.what) {
            self.0.insert(change.user.clone(), account);
        }
    }

    /// Goes on with everything that a reader finds below an id; answers how many entries were
    /// changes. What does not parse is no change.
    pub(crate) async fn replay(&mut self, reader: &mut Reader, end: MessageId) -> Result<u64> {
        let mut changes = 0;
        loop {
            let entries = reader.replay().await?;
            if entries.is_empty() {
                return Ok(changes);
            }
            for entry in entries.iter().filter(|entry| entry.id < end) {
                if let Ok(change) = event::decode::<Change>(&entry.fields) {
                    self.apply(&change);
                    changes += 1;
                }
            }
        }
    }

    /// As they were at a time (unix milliseconds of the server's clock), made from the beginning.
    pub(crate) async fn at(broker: &Broker, ms: u64) -> Result<Self> {
        let mut accounts = Self::default();
        let mut reader = Reader::from_start::<Change>(broker).await?;
        accounts.replay(&mut reader, MessageId::at(ms)).await?;
        Ok(accounts)
    }

    /// As they are now, made from how they were at a time and what has happened since: the way of
    /// whoever keeps a snapshot.
    pub(crate) async fn since(self, broker: &Broker, ms: u64) -> Result<Self> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let (mut accounts, mut reader) = (self, Reader::from_time::<Change>(broker, time).await?);
        accounts.replay(&mut reader, MessageId::MAX).await?;
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(all: &[What]) -> Option<Account> {
        all.iter().fold(None, Account::behind)
    }

    #[test]
    fn an_account_is_what_happened_to_it() {
        let registered = || What::Registered { name: "ada".into(), mail: "a@b".into() };
        let renamed = || What::Renamed { name: "eve".into() };
        assert_eq!(check(&[renamed()]), None);
        let account = check(&[registered(), renamed(), registered()]).unwrap();
        assert_eq!((&*account.name, account.version), ("eve", 2));
        let account = check(&[registered(), What::Closed, renamed()]).unwrap();
        assert!(account.is_closed && account.name == "ada");
        let account = check(&[registered(), What::Moved { town: "Funchal".into() }]).unwrap();
        assert_eq!(account.town, "Funchal");
    }
}
