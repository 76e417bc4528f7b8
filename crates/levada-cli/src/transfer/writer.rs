//! Writes streams to a server, so that the work can be ended at any point and taken up again.
//!
//! A stream under way carries a group named [`MARKER`], which is made in the same transaction as
//! the stream and removed in the transaction that sets its last numbers. So it is the target that
//! knows whether a stream is finished, and its last id tells how far its entries are; no file
//! beside it could disagree. Entries go in the order of their ids, so whatever part of a pipeline
//! was done, the last id is right.

use anyhow::{Context as _, Result, bail};
use redis::{Pipeline, Value};

use super::id::Id;
use super::live::Live;
use super::peer::{self, Peer};
use super::policy::{self, Policies};
use super::reply::{self, Pairs};
use super::source::{Entry, Group, Owner, Pending, Summary};

/// The group that stands in a stream until it is finished.
pub(crate) const MARKER: &[u8] = b"levada-import";
/// The field of an entry that stands in for one that is gone, until its id is claimed.
const PLACEHOLDER: [&[u8]; 2] = [MARKER, b"placeholder"];
/// The first version of Redis whose streams count what was added, and groups what was read.
pub(crate) const COUNTERS: (u32, u32) = (7, 0);

/// What the target has under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A stream that an earlier run began and did not finish.
    Open(Id),
    /// Something else, of this type.
    Other(String),
}

/// Looks what the target has.
pub(crate) fn look(target: &mut Peer, key: &[u8]) -> Result<Found> {
    let kind = reply::bytes(target.ask(redis::cmd("TYPE").arg(key))?)?;
    match &kind[..] {
        b"none" => return Ok(Found::Nothing),
        b"stream" => {}
        other => return Ok(Found::Other(peer::readable(other))),
    }
    let mut commands = redis::pipe();
    commands.cmd("XINFO").arg("GROUPS").arg(key).cmd("XINFO").arg("STREAM").arg(key);
    let mut replies = target.together(&commands)?.into_iter();
    let mut next = || replies.next().context("EXEC answers too little");
    let (groups, stream) = (reply::array(next()?)?, next()?);
    for group in groups {
        if reply::bytes(Pairs::new(group)?.take("name")?)? == MARKER {
            return Ok(Found::Open(reply::id(Pairs::new(stream)?.take("last-generated-id")?)?));
        }
    }
    Ok(Found::Other("stream".to_owned()))
}

/// Makes an empty stream that is marked as not finished, in place of what is there. With
/// `keeps_all` it has a policy that lets nothing go until the end.
pub(crate) fn open(target: &mut Peer, key: &[u8], keeps_all: bool) -> Result<()> {
    let mut commands = redis::pipe();
    commands.cmd("DEL").arg(key);
    commands.cmd("XGROUP").arg("CREATE").arg(key).arg(MARKER).arg(0).arg("MKSTREAM");
    if keeps_all {
        policy::keep_all(key, &mut commands);
    }
    target.together(&commands).map(drop)
}

/// Appends entries under their own ids, in their order.
///
/// An id that the target does not take any more is passed over: a run that was killed may have
/// left a pipeline that the server was still working on. Whether the entry is there is compared
/// later, as of every entry.
/// Those of a schedule are scheduled again for its target, under their handles.
pub(crate) fn append(
    target: &mut Peer,
    key: &[u8],
    entries: &[Entry],
    scheduled_for: Option<&[u8]>,
) -> Result<()> {
    let mut commands = redis::pipe();
    for entry in entries {
        if let Some(name) = scheduled_for
            && schedule_again(&mut commands, name, entry)
        {
            continue;
        }
        let command = commands.cmd("XADD").arg(key).arg(entry.id.to_string());
        if entry.fields.is_empty() {
            command.arg(&PLACEHOLDER[..]);
        } else {
            command.arg(&entry.fields);
        }
    }
    for (command, reply) in commands.cmd_iter().zip(target.send(&commands)?) {
        match reply {
            Value::ServerError(error) if !error.details().is_some_and(is_late) => {
                return Err(redis::RedisError::from(error)).with_context(|| target.about(command));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds the command that schedules an entry as it is; whether it is one that was scheduled.
fn schedule_again(commands: &mut Pipeline, name: &[u8], entry: &Entry) -> bool {
    let [fields @ .., word, at] = &entry.fields[..] else {
        return false;
    };
    if word != b"x-sched-at" {
        return false;
    }
    let command = commands.cmd("XSCHED").arg("ADD").arg(name);
    command.arg("HANDLE").arg(entry.id.to_string()).arg("AT").arg(at);
    match fields {
        [fields @ .., pid_word, pid, iid_word, iid]
            if pid_word == b"x-sched-pid" && iid_word == b"x-sched-iid" =>
        {
            command.arg("IDMP").arg(pid).arg(iid).arg(fields);
        }
        _ => {
            command.arg(fields);
        }
    }
    true
}

/// Whether an error means that the stream has gone on behind the id.
fn is_late(error: &str) -> bool {
    error.contains("equal or smaller")
}

/// Makes a group anew, with its consumers, and nothing pending.
pub(crate) fn group(target: &mut Peer, key: &[u8], group: &Group) -> Result<()> {
    let mut commands = redis::pipe();
    commands.cmd("XGROUP").arg("DESTROY").arg(key).arg(&group.name);
    let create = commands.cmd("XGROUP").arg("CREATE").arg(key).arg(&group.name);
    create.arg(group.last_id.to_string());
    for consumer in &group.consumers {
        commands.cmd("XGROUP").arg("CREATECONSUMER").arg(key).arg(&group.name).arg(consumer);
    }
    target.together(&commands).map(drop)
}

/// Removes groups of the target that are not among these.
pub(crate) fn remove_groups(target: &mut Live, key: &[u8], keep: &[Group]) -> Result<()> {
    use super::source::Source as _;
    for group in target.groups(key)? {
        if group.name != MARKER && keep.iter().all(|kept| kept.name != group.name) {
            target.peer.ask(redis::cmd("XGROUP").arg("DESTROY").arg(key).arg(&group.name))?;
        }
    }
    Ok(())
}

/// Makes these entries pending in the group. Answers how many the target did not take, such as
/// those that nobody owns, if it does not know of such.
pub(crate) fn claim(
    target: &mut Peer,
    key: &[u8],
    group: &[u8],
    pending: &[Pending],
) -> Result<u64> {
    let mut commands = Pipeline::new();
    // Neighbours with the same owner, time and count go in one command.
    for run in pending.chunk_by(|one, next| one.owner == next.owner && one.count == next.count) {
        let ids = run.iter().map(|pending| pending.id.to_string()).collect::<Vec<_>>();
        let count = run[0].count;
        if run[0].owner.is_none() && !target.releases {
            continue;
        }
        if let Some(Owner { consumer, delivered_ms }) = &run[0].owner {
            let command = commands.cmd("XCLAIM").arg(key).arg(group).arg(consumer).arg(0);
            command.arg(&ids).arg("TIME").arg(delivered_ms).arg("RETRYCOUNT").arg(count);
            command.arg("FORCE").arg("JUSTID");
        } else {
            let command = commands.cmd("XNACK").arg(key).arg(group).arg("SILENT").arg("IDS");
            command.arg(ids.len()).arg(&ids).arg("RETRYCOUNT").arg(count).arg("FORCE");
        }
    }
    let mut taken = 0;
    for (command, reply) in commands.cmd_iter().zip(target.send(&commands)?) {
        taken += match reply {
            Value::Array(ids) => ids.len() as u64,
            Value::Int(released) => u64::try_from(released).unwrap_or(0),
            Value::ServerError(error) => {
                return Err(redis::RedisError::from(error)).with_context(|| target.about(command));
            }
            other => bail!("XCLAIM at {} answers {other:?}", target.name),
        };
    }
    Ok(pending.len() as u64 - taken)
}

/// Removes entries below `first`, without a trace as a trim does.
pub(crate) fn trim(target: &mut Peer, key: &[u8], first: Option<Id>) -> Result<()> {
    let mut command = redis::cmd("XTRIM");
    match first {
        Some(id) => command.arg(key).arg("MINID").arg("=").arg(id.to_string()),
        None => command.arg(key).arg("MAXLEN").arg("=").arg(0),
    };
    target.ask(&command).map(drop)
}

/// Deletes entries.
pub(crate) fn delete(target: &mut Peer, key: &[u8], ids: &[Id]) -> Result<()> {
    let ids = ids.iter().map(Id::to_string).collect::<Vec<_>>();
    target.ask(redis::cmd("XDEL").arg(key).arg(&ids)).map(drop)
}

/// Sets the numbers of the stream and its groups, policies and expiry, and takes the mark away: all
/// at once. Answers how many numbers the target is too old to keep.
pub(crate) fn finish(
    target: &mut Peer,
    key: &[u8],
    (summary, groups, policies): (&Summary, &[Group], Option<&Policies>),
    expires_ms: Option<i64>,
) -> Result<u64> {
    let (mut commands, mut lost) = (redis::pipe(), 0);
    let counts = target.version >= COUNTERS;
    let set = commands.cmd("XSETID").arg(key).arg(summary.last_id.to_string());
    match (counts, summary.entries_added) {
        (true, Some(added)) => {
            set.arg("ENTRIESADDED").arg(added);
            if let Some(deleted) = summary.deleted_id_max.filter(|deleted| *deleted > Id::MIN) {
                set.arg("MAXDELETEDID").arg(deleted.to_string());
            }
        }
        (_, added) => lost += u64::from(added.is_some()),
    }
    for group in groups {
        // Only now, as a count above what the stream says were added would be cut down to that.
        match group.entries_read {
            Some(read) if counts => {
                let set = commands.cmd("XGROUP").arg("SETID").arg(key).arg(&group.name);
                set.arg(group.last_id.to_string()).arg("ENTRIESREAD").arg(read);
            }
            read => lost += u64::from(read.is_some()),
        }
    }
    commands.cmd("XGROUP").arg("DESTROY").arg(key).arg(MARKER);
    // Behind the mark, which under a policy would have been a group that holds everything.
    policies.iter().for_each(|policies| policies.set(key, &mut commands));
    if let Some(at) = expires_ms {
        commands.cmd("PEXPIREAT").arg(key).arg(at);
    }
    target.together(&commands)?;
    Ok(lost)
}
