//! What the checks share: connecting, one line for each, and waiting for a fact.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use redis::{Client, Connection, RedisError, RedisResult};

/// Longest wait for something that another connection must do first.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A check: given the client and a connection that all checks share.
pub(crate) type Check = fn(&Client, &mut Connection) -> Result<()>;

/// Runs all checks; whether all held.
pub(crate) fn run(checks: &[(&str, Check)]) -> Result<bool> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, host, port, rest @ ..] = &arguments[..] else { bail!("HOST PORT [PROTOCOL]") };
    let protocol = rest.first().map_or("3", String::as_str);
    let client = Client::open(format!("redis://{host}:{port}/?protocol=resp{protocol}"))?;
    let mut connection = client.get_connection()?;
    redis::cmd("FLUSHALL").exec(&mut connection)?;
    let mut all_held = true;
    for (name, check) in checks {
        match check(&client, &mut connection) {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                println!("FAILED {name}\n{error:?}");
                all_held = false;
            }
        }
    }
    Ok(all_held)
}

/// Fails unless both are the same.
pub(crate) fn equal<T: PartialEq + Debug>(seen: T, expected: T) -> Result<()> {
    ensure!(seen == expected, "expected {expected:?}, saw {seen:?}");
    Ok(())
}

/// The error of a call that must fail.
pub(crate) fn fails<T: Debug>(result: RedisResult<T>) -> Result<RedisError> {
    match result {
        Ok(reply) => bail!("expected an error, saw {reply:?}"),
        Err(error) => Ok(error),
    }
}

/// The only element.
pub(crate) fn only<T>(elements: &[T]) -> Result<&T> {
    ensure!(elements.len() == 1, "{} elements, not one", elements.len());
    elements.first().context("one element")
}

/// Asks for a fact until it is true.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> RedisResult<bool>) -> Result<()> {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        if fact()? {
            return Ok(());
        }
    }
    bail!("waited {WAIT_MAX:?} for: {what}")
}
