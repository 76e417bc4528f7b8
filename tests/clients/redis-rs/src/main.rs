//! Everything that redis-rs does with streams, through its own methods: HOST PORT [PROTOCOL].
//!
//! Prints `ok NAME` for each check that held. The order matters: later checks use what earlier ones
//! left in the streams.

mod blocked;
mod checks;
mod guide;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use redis::streams::{
    StreamAddOptions, StreamAutoClaimOptions, StreamAutoClaimReply, StreamClaimReply, StreamId,
    StreamInfoConsumersReply, StreamInfoGroupsReply, StreamInfoStreamReply, StreamMaxlen,
    StreamPendingCountReply, StreamPendingReply, StreamRangeReply, StreamReadOptions,
    StreamReadReply, StreamTrimOptions, StreamTrimStrategy, StreamTrimmingMode,
};
use redis::{Client, Commands as _, Connection, ErrorKind, ServerErrorKind, SetExpiry, SetOptions};

use crate::checks::{Check, equal, fails, only, until};

const CHECKS: &[(&str, Check)] = &[
    ("greeting", greeting),
    ("publish", publish),
    ("range", range),
    ("group", group),
    ("blocked reads", blocked::threads),
    ("blocked reads, asynchronous", blocked::futures),
    ("pending", pending),
    ("claim", claim),
    ("acknowledge", acknowledge),
    ("trim and delete", trim_and_delete),
    ("publish and subscribe", publish_and_subscribe),
    ("transaction", transaction),
    ("strings", strings),
    ("binary data", binary),
    ("errors", errors),
    ("reconnect and quit", reconnect_and_quit),
];

fn main() -> ExitCode {
    match checks::run(CHECKS) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The ids of entries.
pub(crate) fn ids(entries: &[StreamId]) -> Vec<&str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

fn greeting(client: &Client, one: &mut Connection) -> Result<()> {
    equal(one.ping::<String>()?, "PONG".to_owned())?;
    let me: String = redis::cmd("CLIENT").arg("INFO").query(one)?;
    let version = if client.get_connection_info().redis_settings().protocol().supports_resp3() {
        " resp=3"
    } else {
        " resp=2"
    };
    ensure!(me.contains(version), "{me} is not{version}");
    Ok(())
}

fn publish(_: &Client, one: &mut Connection) -> Result<()> {
    equal(one.xadd::<_, _, _, _, String>("s", "1-1", &[("n", 1)])?, "1-1".to_owned())?;
    let two = [("n", "2"), ("m", "two")];
    equal(one.xadd::<_, _, _, _, String>("s", "1-*", &two)?, "1-2".to_owned())?;
    let mut pipeline = redis::pipe();
    for number in 3..103 {
        pipeline.xadd("s", format!("{number}-0"), &[("n", number)]);
    }
    let ids: Vec<String> = pipeline.query(one)?;
    equal((ids.len(), ids[99].as_str()), (100, "102-0"))?;
    equal(one.xlen::<_, usize>("s")?, 102)?;
    let absent: Option<String> =
        one.xadd_options("absent", "*", &[("n", 1)], &StreamAddOptions::default().nomkstream())?;
    equal(absent, None)
}

fn range(_: &Client, one: &mut Connection) -> Result<()> {
    let two: StreamRangeReply = one.xrange_count("s", "-", "+", 2)?;
    equal(ids(&two.ids), vec!["1-1", "1-2"])?;
    equal(two.ids[1].get::<String>("m"), Some("two".to_owned()))?;
    let some: StreamRangeReply = one.xrange("s", "(1-1", "3")?;
    equal(ids(&some.ids), vec!["1-2", "3-0"])?;
    let last: StreamRangeReply = one.xrevrange_count("s", "+", "-", 1)?;
    equal(ids(&last.ids), vec!["102-0"])?;
    let read: StreamReadReply = one.xread(&["s"], &["101-0"])?;
    equal(ids(&only(&read.keys)?.ids), vec!["102-0"])?;
    let nothing: Option<StreamReadReply> = one.xread(&["s"], &["102-0"])?;
    ensure!(nothing.is_none_or(|reply| reply.keys.is_empty()), "entries behind the last one");
    let info: StreamInfoStreamReply = one.xinfo_stream("s")?;
    let seen = (info.length, info.last_generated_id.as_str(), info.first_entry.id.as_str());
    equal(seen, (102, "102-0", "1-1"))
}

fn group(_: &Client, one: &mut Connection) -> Result<()> {
    equal(one.xgroup_create::<_, _, _, String>("s", "g", "0")?, "OK".to_owned())?;
    let error = fails(one.xgroup_create::<_, _, _, ()>("s", "g", "0"))?;
    equal(error.code(), Some("BUSYGROUP"))?;
    one.xgroup_create_mkstream::<_, _, _, ()>("made", "g", "$")?;
    let options = StreamReadOptions::default().group("g", "alice").count(3);
    let fresh: StreamReadReply = one.xread_options(&["s"], &[">"], &options)?;
    equal(ids(&only(&fresh.keys)?.ids), vec!["1-1", "1-2", "3-0"])?;
    let again: StreamReadReply = one.xread_options(&["s"], &["0"], &options)?;
    equal(ids(&only(&again.keys)?.ids), ids(&only(&fresh.keys)?.ids))?;
    let info: StreamInfoGroupsReply = one.xinfo_groups("s")?;
    let info = only(&info.groups)?;
    equal((info.name.as_str(), info.pending, info.lag), ("g", 3, Some(99)))?;
    let info: StreamInfoConsumersReply = one.xinfo_consumers("s", "g")?;
    let info = only(&info.consumers)?;
    equal((info.name.as_str(), info.pending), ("alice", 3))
}

fn pending(_: &Client, one: &mut Connection) -> Result<()> {
    let summary: StreamPendingReply = one.xpending("s", "g")?;
    let StreamPendingReply::Data(data) = summary else { anyhow::bail!("nothing is pending") };
    let seen = (data.count, data.start_id.as_str(), data.end_id.as_str());
    equal(seen, (3, "1-1", "3-0"))?;
    equal(only(&data.consumers)?.name.as_str(), "alice")?;
    let first: StreamPendingCountReply =
        one.xpending_consumer_count("s", "g", "-", "+", 1, "alice")?;
    let first = only(&first.ids)?;
    equal((first.id.as_str(), first.times_delivered), ("1-1", 2))
}

fn claim(_: &Client, one: &mut Connection) -> Result<()> {
    let claimed: StreamClaimReply = one.xclaim("s", "g", "bob", 0, &["1-1", "1-2"])?;
    equal(ids(&claimed.ids), vec!["1-1", "1-2"])?;
    let options = StreamAutoClaimOptions::default().count(5);
    let claimed: StreamAutoClaimReply =
        one.xautoclaim_options("s", "g", "dave", 0, "2-0", options)?;
    equal((claimed.next_stream_id.as_str(), ids(&claimed.claimed)), ("0-0", vec!["3-0"]))?;
    let options = StreamAutoClaimOptions::default();
    let idle: StreamAutoClaimReply =
        one.xautoclaim_options("s", "g", "dave", 3_600_000, "0", options)?;
    equal(idle.claimed.len(), 0)
}

fn acknowledge(_: &Client, one: &mut Connection) -> Result<()> {
    equal(one.xack::<_, _, _, usize>("s", "g", &["1-1", "1-2", "99-9"])?, 2)?;
    equal(one.xgroup_delconsumer::<_, _, _, usize>("s", "g", "dave")?, 1)?;
    equal(one.xpending::<_, _, StreamPendingReply>("s", "g")?.count(), 0)?;
    equal(one.xgroup_destroy::<_, _, usize>("made", "g")?, 1)
}

fn trim_and_delete(_: &Client, one: &mut Connection) -> Result<()> {
    equal(one.xdel::<_, _, usize>("s", &["1-1", "99-9"])?, 1)?;
    equal(one.xtrim::<_, usize>("s", StreamMaxlen::Equals(50))?, 51)?;
    let options = StreamTrimOptions::minid(StreamTrimmingMode::Exact, "60-0");
    equal(one.xtrim_options::<_, usize>("s", &options)?, 7)?;
    let trim = StreamTrimStrategy::maxlen(StreamTrimmingMode::Exact, 10);
    let options = StreamAddOptions::default().trim(trim);
    one.xadd_options::<_, _, _, ()>("s", "103-0", &[("n", 103)], &options)?;
    equal(one.xlen::<_, usize>("s")?, 10)?;
    equal(one.del::<_, usize>(&["s", "w", "absent"])?, 2)
}

fn publish_and_subscribe(client: &Client, one: &mut Connection) -> Result<()> {
    let mut subscriber = client.get_connection()?;
    let mut channels = subscriber.as_pubsub();
    channels.subscribe("news")?;
    channels.psubscribe("room.*")?;
    let names: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query(one)?;
    equal(names, vec!["news".to_owned()])?;
    equal(one.publish::<_, _, usize>("news", "hello")?, 1)?;
    let message = channels.get_message()?;
    equal((message.get_channel_name(), message.get_payload_bytes()), ("news", &b"hello"[..]))?;
    equal(one.publish::<_, _, usize>("room.7", b"\x00\xff")?, 1)?;
    let message = channels.get_message()?;
    equal(message.get_pattern::<String>()?, "room.*".to_owned())?;
    equal((message.get_channel_name(), message.get_payload_bytes()), ("room.7", &b"\x00\xff"[..]))?;
    channels.unsubscribe("news")?;
    channels.punsubscribe("room.*")?;
    equal(one.publish::<_, _, usize>("news", "gone")?, 0)
}

fn transaction(client: &Client, one: &mut Connection) -> Result<()> {
    let mut all = redis::pipe();
    all.atomic().xadd("t", "1-0", &[("n", 1)]).set("count", 1).ignore().incr("count", 1);
    equal(all.query::<(String, i64)>(one)?, ("1-0".to_owned(), 2))?;
    // The first attempt meets a conflict, the second does not.
    let mut other = client.get_connection()?;
    let mut attempts = 0;
    let (count,): (i64,) = redis::transaction(one, &["count"], |one, pipeline| {
        let value: i64 = one.get("count")?;
        if attempts == 0 {
            other.incr::<_, _, ()>("count", 1)?;
        }
        attempts += 1;
        pipeline.set("count", value + 10).ignore().get("count").query(one)
    })?;
    equal((attempts, count), (2, 13))?;
    // A failed command of a transaction does not undo the others.
    let mut half = redis::pipe();
    half.atomic().set("count", 20).xadd("count", "*", &[("n", 1)]);
    fails(half.query::<()>(one))?;
    equal(one.get::<_, i64>("count")?, 20)
}

fn strings(_: &Client, one: &mut Connection) -> Result<()> {
    one.set_ex::<_, _, ()>("k", "v", 100)?;
    ensure!((98..=100).contains(&one.ttl::<_, i64>("k")?), "TTL is not 100 s");
    equal(one.set_nx::<_, _, bool>("k", "other")?, false)?;
    let options = SetOptions::default().get(true).with_expiration(SetExpiry::KEEPTTL);
    equal(one.set_options::<_, _, String>("k", "new", options)?, "v".to_owned())?;
    equal(one.persist::<_, bool>("k")?, true)?;
    equal(one.incr::<_, _, i64>("n", 5)?, 5)?;
    let all: Vec<Option<String>> = one.mget(&["k", "absent", "n"])?;
    equal(all, vec![Some("new".to_owned()), None, Some("5".to_owned())])?;
    one.pset_ex::<_, _, ()>("short", "x", 1)?;
    until("the key has expired", || Ok(!one.exists::<_, bool>("short")?))
}

fn binary(_: &Client, one: &mut Connection) -> Result<()> {
    let bytes: Vec<u8> = (0..=255).collect();
    one.xadd::<_, _, _, _, ()>("b", "1-0", &[(&b"all"[..], &bytes[..]), (b"none", b"")])?;
    let large = bytes.repeat(4096);
    one.xadd::<_, _, _, _, ()>("b", "2-0", &[("large", &large[..])])?;
    let read: StreamRangeReply = one.xrange_all("b")?;
    equal(read.ids[0].get::<Vec<u8>>("all"), Some(bytes))?;
    equal(read.ids[0].get::<Vec<u8>>("none"), Some(Vec::new()))?;
    ensure!(read.ids[1].get::<Vec<u8>>("large") == Some(large), "the large value differs");
    Ok(())
}

fn errors(_: &Client, one: &mut Connection) -> Result<()> {
    one.set::<_, _, ()>("string", "x")?;
    let error = fails(one.xadd::<_, _, _, _, ()>("string", "*", &[("n", 1)]))?;
    equal((error.kind(), error.code()), (ErrorKind::Extension, Some("WRONGTYPE")))?;
    let options = StreamReadOptions::default().group("no", "c");
    let error = fails(one.xread_options::<_, _, ()>(&["b"], &[">"], &options))?;
    equal(error.code(), Some("NOGROUP"))?;
    equal(
        error.detail(),
        Some("No such key 'b' or consumer group 'no' in XREADGROUP with GROUP option"),
    )?;
    let error = fails(one.xadd::<_, _, _, _, ()>("b", "1-0", &[("n", 1)]))?;
    equal(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError))?;
    equal(
        error.detail(),
        Some("The ID specified in XADD is equal or smaller than the target stream top item"),
    )?;
    let error = fails(redis::cmd("NOSUCH").arg("a").query::<()>(one))?;
    equal(error.detail(), Some("unknown command 'NOSUCH', with args beginning with: 'a' "))
}

fn reconnect_and_quit(client: &Client, one: &mut Connection) -> Result<()> {
    let mut victim = client.get_connection()?;
    let id: i64 = redis::cmd("CLIENT").arg("ID").query(&mut victim)?;
    let killed: i64 = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).query(one)?;
    equal(killed, 1)?;
    // A connection of redis-rs that broke stays broken; its client makes another.
    let error = fails(victim.ping::<String>())?;
    ensure!(error.is_connection_dropped() || error.is_io_error(), "{error:?}");
    let mut next = client.get_connection()?;
    equal(redis::cmd("QUIT").query::<String>(&mut next)?, "OK".to_owned())?;
    fails(next.ping::<String>()).map(drop)
}
