//! Where a code leads: from this process if it knows, else from the server's cache, else from the
//! database.
//!
//! What this process knows holds until somebody says otherwise over pub/sub. Whoever listens may
//! miss a message when the connection breaks; it then forgets everything. A lookup that began
//! before a link was removed is not remembered: `round` counts what was said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use levada::{Broker, Cache};

use crate::store;
use crate::target::{self, SALTS};

/// Links that are known in this process; at the bound it begins anew.
const NEAR_MAX: usize = 100_000;
/// How long it is remembered that there is no link of a code.
const ABSENT_FOR: Duration = Duration::from_secs(1);
/// How long the server remembers a link. A lookup that was under way when the link was removed may
/// put it there once more: then this is how long it goes on leading somewhere.
const CACHED_FOR: Duration = Duration::from_mins(10);
/// Longest wait for the server's cache: the database knows as well.
pub(crate) const CACHE_WAIT_MAX: Duration = Duration::from_millis(250);
/// Rest before listening again.
const REST: Duration = Duration::from_millis(500);

/// Finds links. Cheap to share.
pub(crate) struct Finder {
    links: Arc<dyn store::Links>,
    cache: Cache,
    /// Longest wait for it.
    wait: Duration,
    near: Mutex<Near>,
    /// Host names of this service.
    ours: Vec<String>,
}

#[derive(Default)]
struct Near {
    known: HashMap<String, Known>,
    round: u64,
}

#[derive(Clone)]
enum Known {
    Link(Arc<str>),
    Absent(Instant),
}

/// A link that somebody asked for.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Made {
    /// It is new.
    New(String),
    /// It was there: the address has been shortened before.
    There(String),
}

impl Finder {
    /// Over a database and the cache of a server.
    pub(crate) fn new(
        links: Arc<dyn store::Links>,
        broker: &Broker,
        wait: Duration,
        ours: Vec<String>,
    ) -> Self {
        Self { links, cache: Cache::new(broker, "link"), wait, near: Mutex::default(), ours }
    }

    /// Where a code leads.
    pub(crate) async fn find(&self, code: &str) -> Result<Option<Arc<str>>> {
        if !target::is_code(code) {
            return Ok(None);
        }
        let round = {
            let near = self.near();
            match near.known.get(code) {
                Some(Known::Link(address)) => return Ok(Some(Arc::clone(address))),
                Some(Known::Absent(since)) if since.elapsed() < ABSENT_FOR => return Ok(None),
                _ => near.round,
            }
        };
        let found = self.far(code).await?;
        let known = match &found {
            Some(address) => Known::Link(Arc::clone(address)),
            None => Known::Absent(Instant::now()),
        };
        let mut near = self.near();
        if near.round == round {
            if near.known.len() >= NEAR_MAX {
                near.known.clear();
            }
            near.known.insert(code.to_owned(), known);
        }
        Ok(found)
    }

    /// Makes a link, or finds the one that the address has. The error of the inner result says
    /// what is wrong with the address.
    pub(crate) async fn make(&self, text: &str) -> Result<Result<Made, &'static str>> {
        let address = match target::checked(text, &self.ours) {
            Ok(address) => address,
            Err(why) => return Ok(Err(why)),
        };
        for salt in 0..SALTS {
            let code = target::code(&address, salt);
            let (leads_to, is_new) = self.links.create(&code, &address).await?;
            if leads_to != address {
                continue; // The code of another address.
            }
            if is_new {
                // Somebody may have asked for it before it was there.
                self.forget(&code).await;
            }
            return Ok(Ok(if is_new { Made::New(code) } else { Made::There(code) }));
        }
        bail!("every code of an address belongs to another");
    }

    /// Removes a link here, on the server and in all other processes.
    pub(crate) async fn remove(&self, code: &str) -> Result<bool> {
        let was_there = target::is_code(code) && self.links.remove(code).await?;
        if was_there {
            self.forget(code).await;
        }
        Ok(was_there)
    }

    /// Forgets what others say is not so any more, for as long as it is polled.
    pub(crate) async fn listen(&self) {
        loop {
            match self.cache.invalidations().await {
                Ok(mut said) => {
                    self.near().begin_anew();
                    while let Ok(code) = said.next().await {
                        self.near().forget(&code);
                    }
                    self.near().begin_anew();
                }
                Err(error) => eprintln!("links: nobody says which are stale: {error}"),
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn far(&self, code: &str) -> Result<Option<Arc<str>>> {
        let asked = tokio::time::timeout(self.wait, self.cache.get::<String>(code)).await;
        let answered = match asked {
            Ok(Ok(Some(address))) => return Ok(Some(address.into())),
            Ok(Ok(None)) => true,
            // The server is away, or has something else under this key.
            Ok(Err(_)) | Err(_) => false,
        };
        let found = self.links.address(code).await?;
        if let (Some(address), true) = (&found, answered) {
            let put = self.cache.set(code, address, Some(CACHED_FOR));
            // A cache that does not take it is asked again the next time.
            let _ = tokio::time::timeout(self.wait, put).await;
        }
        Ok(found.map(Arc::from))
    }

    async fn forget(&self, code: &str) {
        self.near().forget(code);
        match tokio::time::timeout(self.wait, self.cache.invalidate(code)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => eprintln!("links: {code} may be stale elsewhere: {error}"),
            Err(_) => eprintln!("links: {code} may be stale elsewhere: no answer"),
        }
    }

    fn near(&self) -> std::sync::MutexGuard<'_, Near> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Near {
    fn forget(&mut self, code: &str) {
        self.known.remove(code);
        self.round += 1;
    }

    fn begin_anew(&mut self) {
        self.known.clear();
        self.round += 1;
    }
}
