//! From an address to a country, from a user agent to a browser: what a click tells when somebody
//! looks it up. The databases are files that the user supplies; without one of them, or where it
//! knows nothing, what it would tell is left out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use maxminddb::Reader;
use serde::Deserialize;
use ua_parser::{Extractor, Regexes};

use crate::click::Click;
use crate::store::Row;

/// User agents whose meaning is remembered; at the bound it begins anew. To find it out costs a
/// thousand regular expressions, and most clicks come from few different ones.
const REMEMBERED_MAX: usize = 5_000;

/// What looks up.
#[derive(Default)]
pub(crate) struct Enricher {
    countries: Option<Reader<Vec<u8>>>,
    agents: Option<Extractor<'static>>,
    remembered: Mutex<HashMap<String, Agent>>,
}

/// A country, as the databases of MaxMind and those of ip-location-db have it.
#[derive(Deserialize)]
struct Place<'a> {
    country_code: Option<&'a str>,
    #[serde(borrow)]
    country: Option<Country<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

/// What is known of a user agent; empty where nothing is.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
struct Agent {
    browser: String,
    os: String,
    device: String,
}

impl Enricher {
    /// Reads the databases that there are: an `.mmdb` file, and the `regexes.yaml` of uap-core.
    pub(crate) fn open(countries: Option<&Path>, agents: Option<&Path>) -> Result<Self> {
        let countries = countries.map(|path| {
            Reader::open_readfile(path)
                .with_context(|| format!("{} is no GeoIP database", path.display()))
        });
        let agents = agents.map(|path| {
            compile(path).with_context(|| format!("{} has no user agents", path.display()))
        });
        let (countries, agents) = (countries.transpose()?, agents.transpose()?);
        Ok(Self { countries, agents, remembered: Mutex::default() })
    }

    /// The row that a click becomes, with the time of its entry in the stream.
    pub(crate) fn row(&self, click: Click, at_ms: u64) -> Row {
        let Agent { browser, os, device } =
            click.agent.as_deref().map_or_else(Agent::default, |text| self.agent(text));
        Row {
            country: click.ip.and_then(|ip| self.country(ip)).unwrap_or_default(),
            code: click.code,
            id: click.id,
            at: u32::try_from(at_ms / 1000).unwrap_or(u32::MAX),
            weight: click.weight,
            browser,
            os,
            device,
            referer: click.referer.unwrap_or_default(),
        }
    }

    fn country(&self, ip: IpAddr) -> Option<String> {
        // A database that is broken at this place knows as much as one that has no entry.
        let found = self.countries.as_ref()?.lookup(ip).ok()?;
        let place: Place<'_> = found.decode().ok()??;
        let code = place.country_code.or_else(|| place.country?.iso_code)?;
        Some(code.to_owned())
    }

    fn agent(&self, text: &str) -> Agent {
        let Some(agents) = &self.agents else {
            return Agent::default();
        };
        let remembered = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().get(text) {
            return known.clone();
        }
        let (browser, os, device) = agents.extract(text);
        let found = Agent {
            browser: browser.map(|it| it.family.into_owned()).unwrap_or_default(),
            os: os.map(|it| it.os.into_owned()).unwrap_or_default(),
            device: device.map(|it| it.device.into_owned()).unwrap_or_default(),
        };
        let mut remembered = remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(text.to_owned(), found.clone());
        found
    }
}

fn compile(path: &Path) -> Result<Extractor<'static>> {
    let text = std::fs::read_to_string(path)?;
    let regexes: Regexes<'static> = serde_norway::from_str(&text)?;
    Ok(Extractor::try_from(regexes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_databases_nothing_is_made_up() {
        let click = Click {
            id: "1".into(),
            code: "abcdefg".into(),
            weight: 3,
            ip: "203.0.113.5".parse().ok(),
            agent: Some("Mozilla/5.0".into()),
            referer: None,
        };
        let row = Enricher::default().row(click, 1_999);
        assert_eq!((row.at, row.weight), (1, 3));
        assert_eq!((&*row.country, &*row.browser, &*row.os, &*row.referer), ("", "", "", ""));
    }

    #[test]
    fn a_user_agent_is_told_by_the_rules_of_the_file() {
        let rules = "
user_agent_parsers:
  - regex: '(Firefox)/(\\d+)\\.(\\d+)'
os_parsers:
  - regex: '(Linux)'
device_parsers: []
";
        let directory = stage::Directory::new("clicks-agents").unwrap();
        let path = directory.path().join("regexes.yaml");
        std::fs::write(&path, rules).unwrap();
        let enricher = Enricher::open(None, Some(&path)).unwrap();
        let told = enricher.agent("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
        assert_eq!((&*told.browser, &*told.os, &*told.device), ("Firefox", "Linux", ""));
        assert_eq!(enricher.agent("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"), told);
        assert_eq!(enricher.agent("\u{fffd}\u{fffd} ' OR 1=1 --"), Agent::default());
        std::fs::write(&path, "user_agent_parsers: 7").unwrap();
        assert!(Enricher::open(None, Some(&path)).is_err());
        assert!(Enricher::open(Some(&path), None).is_err());
        directory.remove().unwrap();
    }
}
