//! Blocked reads, woken by an append on another connection.
//!
//! An asynchronous connection of redis-rs gives a reply up after 500 ms unless it is told
//! otherwise, and the server may have handed out entries by then that nobody saw. So a reader that
//! blocks has a connection of its own, whose limit is above its BLOCK.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, Commands as _, Connection};

use crate::checks::{equal, only, until};
use crate::ids;

/// One reader with XREAD, one with XREADGROUP, each on a thread.
pub(crate) fn threads(client: &Client, one: &mut Connection) -> Result<()> {
    one.xgroup_create_mkstream::<_, _, _, ()>("w", "g", "$")?;
    let plain = StreamReadOptions::default().block(0);
    let grouped = StreamReadOptions::default().group("g", "c").block(20_000);
    let readers = [(plain, "$"), (grouped, ">")].map(|(options, id)| {
        let client = client.clone();
        thread::spawn(move || -> Result<StreamReadReply> {
            Ok(client.get_connection()?.xread_options(&["w"], &[id], &options)?)
        })
    });
    until_blocked(one, 2)?;
    one.xadd::<_, _, _, _, ()>("w", "5-5", &[("wake", "up")])?;
    for reader in readers {
        let reply = reader.join().expect("a reader does not panic")?;
        equal(ids(&only(&reply.keys)?.ids), vec!["5-5"])?;
    }
    let options = StreamReadOptions::default().block(10);
    let nothing: Option<StreamReadReply> = one.xread_options(&["w"], &["$"], &options)?;
    equal(nothing.map_or(0, |reply| reply.keys.len()), 0)
}

/// A reader on a multiplexed connection, blocked for longer than the limit that it has by default.
pub(crate) fn futures(client: &Client, one: &mut Connection) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reader = {
        let client = client.clone();
        thread::spawn(move || -> Result<StreamReadReply> { runtime.block_on(read(&client)) })
    };
    until_blocked(one, 1)?;
    // Time is what is tested: the default limit passes.
    thread::sleep(Duration::from_millis(600));
    one.xadd::<_, _, _, _, ()>("w", "6-6", &[("wake", "up")])?;
    let reply = reader.join().expect("the reader does not panic")?;
    equal(ids(&only(&reply.keys)?.ids), vec!["6-6"])
}

async fn read(client: &Client) -> Result<StreamReadReply> {
    let limit = Some(Duration::from_secs(30));
    let config = AsyncConnectionConfig::new().set_response_timeout(limit);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let options = StreamReadOptions::default().group("g", "d").block(20_000);
    Ok(connection.xread_options(&["w"], &[">"], &options).await?)
}

fn until_blocked(one: &mut Connection, count: usize) -> Result<()> {
    until("blocked clients", || {
        let info: String = redis::cmd("INFO").arg("clients").query(one)?;
        Ok(info.contains(&format!("blocked_clients:{count}\r\n")))
    })
}
