//! A master that sentinels watch dies.

use levada::{Error, Event as _, connect};
use redis::Value;

use super::{Kept, ask, processes, signal, url, workers_survive};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "kills servers: cargo xtask toolkit"]
async fn a_watched_master_dies_under_workers() {
    let broker = connect(&url()).await.expect("the sentinels are there");
    let url = url();
    let (place, _) = url.split_once("?sentinel_user").expect("sentinels with users");
    let refused = connect(place).await.expect_err("sentinels ask who is there");
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    broker.backend().remove(Kept::STREAM).await.expect("removed");
    let is_master = |address: &String| match ask(address, &["ROLE"]) {
        Ok(Value::Array(role)) => role[0] == Value::BulkString(b"master".to_vec()),
        _ => false,
    };
    let master = processes().into_keys().find(is_master).expect("one is the master");
    workers_survive(&broker, false, || signal("-KILL", &master)).await;
}
