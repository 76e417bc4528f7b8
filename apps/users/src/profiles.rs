//! The group `profiles`: keeps each account as it is now under a key, for pages that show it.
//!
//! A key is no more than a copy: thrown away, it is made again from the stream. With each profile
//! stands the entry that it was made of, so that an entry that comes again changes nothing; and
//! because the group is exclusive, none comes before an earlier one of its user, also behind a
//! kill.

use levada::{Broker, Cache, Fault, Id, MessageId, Msg, State, Worker};
use serde::{Deserialize, Serialize};

use crate::event::Change;
use crate::state::Account;

pub(crate) const GROUP: &str = "profiles";

/// What stands under a key.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Profile {
    account: Option<Account>,
    /// The last entry in it.
    entry: String,
}

/// The profiles.
#[derive(Clone, Debug)]
pub(crate) struct Profiles(Cache);

impl Profiles {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self(Cache::new(broker, "profile"))
    }

    /// The account of a user, as the group knows it.
    pub(crate) async fn get(&self, user: &str) -> levada::Result<Option<Account>> {
        Ok(self.0.get::<Profile>(user).await?.and_then(|profile| profile.account))
    }
}

pub(crate) fn worker(broker: &Broker) -> Worker<Profiles> {
    Worker::new(broker, GROUP).state(Profiles::new(broker)).handle(project).exclusive()
}

async fn project(
    State(Profiles(cache)): State<Profiles>,
    Id(id): Id,
    Msg(change): Msg<Change>,
) -> Result<(), Fault> {
    let before = cache.get::<Profile>(&change.user).await?;
    let last = before.as_ref().map(|profile| profile.entry.parse()).transpose()?;
    if last.is_some_and(|last: MessageId| last >= id) {
        return Ok(()); // It is in there.
    }
    let account = Account::behind(before.and_then(|profile| profile.account), &change.what);
    cache.set(&change.user, &Profile { account, entry: id.to_string() }, None).await?;
    Ok(())
}
