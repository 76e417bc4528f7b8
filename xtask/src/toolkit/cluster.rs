//! A cluster of three masters and three replicas on free ports, formed without the tools of either
//! project.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::peer::{Peer, free_port};
use crate::transcript::connection::Connection;
use crate::transcript::reply::Reply;

/// Masters; each has one replica.
const MASTERS: usize = 3;
/// A master that is silent for so long is missed.
const NODE_TIMEOUT_MS: &str = "2000";
/// Longest wait for the nodes to agree.
const FORM_WAIT_MAX: Duration = Duration::from_mins(1);

/// The nodes, masters first.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Peer>,
}

impl Cluster {
    /// Starts the nodes and waits until all is well.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let nodes = (0..2 * MASTERS).map(|_| node(program)).collect::<Result<Vec<_>>>()?;
        let cluster = Self { nodes };
        cluster.form().context("the cluster does not form")?;
        Ok(cluster)
    }

    /// The URL of the toolkit.
    pub(super) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    fn form(&self) -> Result<()> {
        let count = u32::try_from(MASTERS)?;
        for (number, node) in (0_u32..).zip(&self.nodes) {
            let epoch = (number + 1).to_string();
            ask(node.address, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
            if number < count {
                let (first, behind) = (number * 16_384 / count, (number + 1) * 16_384 / count);
                let (first, last) = (first.to_string(), (behind - 1).to_string());
                ask(node.address, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            }
        }
        let first = self.nodes[0].address;
        for node in &self.nodes[1..] {
            let (port, bus) = (node.address.port().to_string(), bus_port(node.address)?);
            ask(first, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let known = format!("cluster_known_nodes:{}", 2 * MASTERS);
        for node in &self.nodes {
            until_said(node.address, &["CLUSTER", "INFO"], &[&known])?;
        }
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        for (master, replica) in masters.iter().zip(replicas) {
            let id = text(&ask(master.address, &["CLUSTER", "MYID"])?);
            replicate(replica.address, &id)?;
        }
        for node in &self.nodes {
            until_said(node.address, &["CLUSTER", "INFO"], &["cluster_state:ok"])?;
        }
        for replica in replicas {
            let linked = ["role:slave", "master_link_status:up"];
            until_said(replica.address, &["INFO", "replication"], &linked)?;
        }
        Ok(())
    }
}

fn node(program: &Path) -> Result<Peer> {
    let bus = free_port()?.to_string();
    let options = [
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus],
        ["--cluster-node-timeout", NODE_TIMEOUT_MS],
        ["--appendonly", "yes"],
        ["--appendfsync", "everysec"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    Peer::redis_at(program, options.as_flattened())
}

fn bus_port(address: SocketAddr) -> Result<String> {
    let config = ask(address, &["CONFIG", "GET", "cluster-port"])?;
    match config {
        Reply::Array(pair) if pair.len() == 2 => Ok(text(&pair[1])),
        other => bail!("a node without a bus: {other:?}"),
    }
}

/// A node learns of the others by gossip: the master may not be known to it yet.
fn replicate(replica: SocketAddr, master: &str) -> Result<()> {
    until(|| Ok(ask(replica, &["CLUSTER", "REPLICATE", master]).is_ok()))
        .with_context(|| format!("{replica} does not become a replica of {master}"))
}

/// Waits until a server says all of some words.
pub(super) fn until_said(address: SocketAddr, command: &[&str], words: &[&str]) -> Result<()> {
    let mut said = String::new();
    let outcome = until(|| {
        said = text(&ask(address, command)?);
        Ok(words.iter().all(|word| said.contains(word)))
    });
    outcome.with_context(|| format!("{address} never says {words:?}, but\n{said}"))
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + FORM_WAIT_MAX;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("not so within {FORM_WAIT_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(super) fn ask(address: SocketAddr, command: &[&str]) -> Result<Reply> {
    match Connection::open(address)?.call(command)? {
        Reply::Error(error) => bail!("{command:?}: {}", String::from_utf8_lossy(&error)),
        reply => Ok(reply),
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned()
}
