//! A master, a replica, and three sentinels that watch them.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::cluster::{ask, until_said};
use crate::peer::Peer;

/// What the sentinels call the master.
const NAME: &str = "levada-it";
/// Who may ask the sentinels for the master, as a URL has it.
const USER: &str = "sentinel_user=toolkit&sentinel_password=s%40cret";
/// Sentinels; two have to agree.
const SENTINELS: usize = 3;

/// The servers, the master first, and the sentinels.
pub(super) struct Watched {
    pub(super) servers: Vec<Peer>,
    pub(super) sentinels: Vec<Peer>,
}

impl Watched {
    /// Starts all of them and waits until they know each other.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let master = Peer::redis_at(program, &["--repl-diskless-sync-delay", "0"])?;
        let port = master.address.port().to_string();
        let replica = Peer::redis_at(program, &["--replicaof", "127.0.0.1", &port])?;
        until_said(replica.address, &["INFO", "replication"], &["master_link_status:up"])?;
        let sentinels = (0..SENTINELS).map(|_| sentinel(program, &port));
        let sentinels = sentinels.collect::<Result<Vec<_>>>()?;
        let others = format!("sentinels={SENTINELS}");
        for sentinel in &sentinels {
            let known = ["slaves=1", &*others];
            until_said(sentinel.address, &["INFO", "sentinel"], &known)?;
            ask(sentinel.address, &["ACL", "SETUSER", "toolkit", "on", ">s@cret", "+@all"])?;
            let others = "-sentinel|get-master-addr-by-name";
            ask(sentinel.address, &["ACL", "SETUSER", "default", others])?;
        }
        Ok(Self { servers: vec![master, replica], sentinels })
    }

    /// The URL of the toolkit.
    pub(super) fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|it| it.address.to_string()).collect();
        format!("redis-sentinel://{}/{NAME}?{USER}", hosts.join(","))
    }
}

/// A sentinel writes its state into its configuration: each has a file of its own.
fn sentinel(program: &Path, port: &str) -> Result<Peer> {
    let peer = Peer::sentinel(program).context("a sentinel")?;
    let monitor = ["SENTINEL", "MONITOR", NAME, "127.0.0.1", port, "2"];
    ask(peer.address, &monitor)?;
    for (setting, value) in [("down-after-milliseconds", "1000"), ("failover-timeout", "5000")] {
        ask(peer.address, &["SENTINEL", "SET", NAME, setting, value])?;
    }
    Ok(peer)
}
