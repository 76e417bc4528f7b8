//! What the demos of the applications stand on: programs and servers that they start, kill and
//! stop by process number, a browser, free ports of the loopback, a directory that goes when all
//! went well, books of systems outside, the comparison at the end, and what is fetched once from a
//! package registry.
//!
//! Whatever a demo starts ends with the value that stands for it, also when the demo fails.
//! Nothing here waits for a time to pass: each wait is for something, and has a limit.

mod book;
mod browser;
mod click_house;
mod directory;
mod fetch;
mod postgres;
mod process;
mod server;
mod table;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use self::book::{Book, lines};
pub use self::browser::{Browser, ENTER, TAB};
pub use self::click_house::ClickHouse;
pub use self::directory::Directory;
pub use self::fetch::{from_npm, once, run};
pub use self::postgres::Postgres;
pub use self::process::Process;
pub use self::server::{Server, answers_ping, levada_command};
pub use self::table::Table;

/// Between two looks.
const POLL: Duration = Duration::from_millis(2);

/// How a program ends: well where all was as it should be; an error is said in its name.
pub fn exit(application: &str, outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{application}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where [`free_port`] looks: below the ports that Linux gives to clients.
const PORT_MIN: u16 = 20_000;
const PORTS: u16 = 12_000;

/// A port of 127.0.0.1 that is free now, and stays so unless another program asks for this one.
///
/// It is not one that the system would give to a client. While a server is away that was killed,
/// a client that tries to reach it could otherwise get the server's own port, connect to itself,
/// and keep the server from coming back.
pub fn free_port() -> Result<u16> {
    // A hasher begins with random keys.
    let first = RandomState::new().build_hasher().finish();
    let port = |step: u16| {
        let place = first.wrapping_add(u64::from(step)) % u64::from(PORTS);
        u16::try_from(place).map_or(PORT_MIN, |place| PORT_MIN + place)
    };
    let mut ports = (0..PORTS).map(port);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port of the loopback is free")
}

/// Looks until it is so. Each look answers what has moved so far, too: fails where that stands
/// still for `stall`, where a look fails, or behind `limit`.
pub fn until_moved(
    what: &str,
    limit: Duration,
    stall: Duration,
    mut look: impl FnMut() -> Result<(u64, bool)>,
) -> Result<()> {
    let mut moved = (Instant::now(), 0);
    until(what, limit, || {
        let (count, is_so) = look()?;
        if count != moved.1 {
            moved = (Instant::now(), count);
        }
        if moved.0.elapsed() >= stall {
            bail!("nothing moved for {} s; waited until {what}", stall.as_secs());
        }
        Ok(is_so.then_some(()))
    })
}

/// Looks until there is something, and answers it. Fails where a look fails, or behind `limit`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > limit {
            bail!("waited {} s in vain: {what}", limit.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_at() {
        let port = free_port().unwrap();
        assert!((PORT_MIN..PORT_MIN + PORTS).contains(&port));
        let held = TcpListener::bind(("127.0.0.1", port));
        assert!(held.is_ok() && free_port().unwrap() != port);
    }

    #[test]
    fn a_wait_ends_with_what_was_found_or_says_what_it_was_for() {
        let mut looks = 0;
        let third = until("the third look", Duration::from_mins(1), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(third.unwrap(), 3);
        let never = until::<()>("rain", Duration::ZERO, || Ok(None));
        assert!(never.unwrap_err().to_string().ends_with("rain"));
    }
}
