//! What should have become of the accounts and mails, by a plain loop, beside what did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use levada::{Broker, DeadLetters, Event as _, MessageId, Reader, event};
use stage::Table;

use crate::event::{Change, Mail, What, message_id};
use crate::plan::{self, UNKNOWN};
use crate::profiles::Profiles;
use crate::serve;
use crate::sink::Taken;
use crate::state::Accounts;
use crate::{mailer, profiles, welcome};

/// Dead letters that are looked at.
const LETTERS_MAX: usize = 100_000;

/// Compares everything; whether all is equal.
pub(crate) async fn everything(
    broker: &Broker,
    dir: &Path,
    users: u64,
    taken: &[Taken],
) -> Result<bool> {
    let mut table = Table::default();
    let requests = plan::requests(users);
    let door: BTreeMap<String, MessageId> = stage::lines(&serve::door(dir))?
        .into_iter()
        .filter(|(request, _)| request != serve::NONSENSE)
        .map(|(request, id)| Ok((request, id.parse()?)))
        .collect::<Result<_>>()?;
    let trail = trail(broker).await?;
    table.row("requests acknowledged", requests.len(), door.len());
    table.row("entries of the audit trail, none trimmed", requests.len(), trail.len());
    let same = requests
        .iter()
        .zip(&trail)
        .all(|(request, (id, change))| request == change && door.get(&request.request) == Some(id));
    table.row("  the same ones in the same order", true, same);
    states(&mut table, broker, &requests, &door).await?;
    mails(&mut table, &trail, taken);
    let queue = broker.backend().len(Mail::STREAM).await?;
    table.row("entries left in the queue of mails", 0, queue);
    for group in [welcome::GROUP, profiles::GROUP] {
        let letters = DeadLetters::of::<Change>(broker, group).list(LETTERS_MAX).await?;
        table.row(&format!("dead letters of {group}: nonsense"), 1, letters.len());
    }
    let unknown = (1..=users).filter(|number| plan::mail(*number).starts_with(UNKNOWN)).count();
    let letters = DeadLetters::of::<Mail>(broker, mailer::GROUP).list(LETTERS_MAX).await?;
    let refused = letters.iter().filter(|letter| letter.reason.contains("550")).count();
    table.row("dead letters of mailer: nobody has that name", unknown, refused);
    table.row("  others", 0, letters.len() - refused);
    print!("{}", table.text());
    Ok(table.is_equal())
}

/// What stands in the stream of accounts.
async fn trail(broker: &Broker) -> Result<Vec<(MessageId, Change)>> {
    let (mut trail, mut reader) = (Vec::new(), Reader::from_start::<Change>(broker).await?);
    loop {
        let entries = reader.replay().await?;
        if entries.is_empty() {
            return Ok(trail);
        }
        let change = |entry: levada::Entry| {
            let change = event::decode::<Change>(&entry.fields).ok()?;
            Some((entry.id, change))
        };
        trail.extend(entries.into_iter().filter_map(change));
    }
}

/// The accounts by a plain loop, beside the ways to have them from the stream.
async fn states(
    table: &mut Table,
    broker: &Broker,
    requests: &[Change],
    door: &BTreeMap<String, MessageId>,
) -> Result<()> {
    let middle = requests.get(requests.len() / 2).context("there are requests")?;
    let middle_ms = door.get(&middle.request).context("it was acknowledged")?.ms;
    let (mut plain, mut plain_middle) = (Accounts::default(), Accounts::default());
    for change in requests {
        plain.apply(change);
        if door.get(&change.request).is_some_and(|id| id.ms < middle_ms) {
            plain_middle.apply(change);
        }
    }
    let from_start = Accounts::at(broker, u64::MAX).await?;
    let at_middle = Accounts::at(broker, middle_ms).await?;
    let from_middle = at_middle.clone().since(broker, middle_ms).await?;
    table.row("accounts, replayed from the beginning", plain.0.len(), from_start.0.len());
    table.row("  the same", true, plain == from_start);
    table.row("accounts at a time in the middle", plain_middle.0.len(), at_middle.0.len());
    table.row("  the same", true, plain_middle == at_middle);
    table.row("accounts, replayed from that time on", plain.0.len(), from_middle.0.len());
    table.row("  the same", true, plain == from_middle);
    let (profiles, mut shown) = (Profiles::new(broker), Accounts::default());
    for user in plain.0.keys() {
        if let Some(account) = profiles.get(user).await? {
            shown.0.insert(user.clone(), account);
        }
    }
    table.row("profiles that pages show", plain.0.len(), shown.0.len());
    table.row("  the same", true, plain == shown);
    Ok(())
}

/// Who should have had which mail, beside what the mail system was given.
fn mails(table: &mut Table, trail: &[(MessageId, Change)], taken: &[Taken]) {
    let expected = trail.iter().filter_map(|(id, change)| match &change.what {
        What::Registered { mail, .. } if !mail.starts_with(UNKNOWN) => {
            Some((message_id(&id.to_string()), mail.clone()))
        }
        _ => None,
    });
    let expected: BTreeSet<(String, String)> = expected.collect();
    let of = |mail: &Taken| (mail.message_id.clone(), mail.to.clone());
    let found: BTreeSet<(String, String)> = taken.iter().map(of).collect();
    table.row("mails by Message-ID, the id of the event", expected.len(), found.len());
    table.row("  the same, each to its user", true, expected == found);
    let twice = taken.len() - found.len();
    println!("{twice} mails were sent a second time, with the same Message-ID");
    let bound = format!("at most {}", mailer::CONCURRENCY);
    let is_bounded = twice <= mailer::CONCURRENCY;
    let text = if is_bounded { bound.clone() } else { twice.to_string() };
    table.row("  sent twice, as one kill may cause", bound, text);
}
