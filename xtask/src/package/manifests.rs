//! Files for Kubernetes, Prometheus and containers, checked without either: they parse, what they
//! name in each other exists, and the settings in them are understood by the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use yaml_rust2::{Yaml, YamlLoader};

use super::parts::output;
use crate::peer::Peer;
use crate::transcript::connection::Connection;
use crate::transcript::reply::Reply;
use crate::workspace;

/// Checks them with a binary that knows the settings.
pub(super) fn check(levada: &Path) -> Result<()> {
    let documents = load(&workspace::root().join("deploy"))?;
    let kubernetes: Vec<_> =
        documents.into_iter().filter(|(path, _)| path.contains("/kubernetes/")).collect();
    ensure!(kubernetes.len() >= 5, "only {} documents for Kubernetes", kubernetes.len());
    objects(&kubernetes)?;
    for (path, document) in &kubernetes {
        if let Some(settings) = document["data"]["levada.toml"].as_str() {
            understood(levada, settings).with_context(|| path.clone())?;
        }
    }
    let triggers: Vec<_> = kubernetes.iter().flat_map(|(_, document)| triggers(document)).collect();
    ensure!(!triggers.is_empty(), "no trigger for KEDA");
    for trigger in triggers {
        answered(levada, &Scaled::of(trigger)?)?;
    }
    container(levada)?;
    println!("{} documents for Kubernetes, and the container: settings known", kubernetes.len());
    Ok(())
}

/// Every document of every YAML file below a directory, with the path of its file.
fn load(directory: &Path) -> Result<Vec<(String, Yaml)>> {
    let mut all = Vec::new();
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        entries.push(entry?.path());
    }
    entries.sort();
    for path in entries {
        if path.is_dir() {
            all.extend(load(&path)?);
        } else if path.extension().is_some_and(|it| it == "yml" || it == "yaml") {
            let shown = path.display().to_string();
            let text = fs::read_to_string(&path)?;
            let parsed = YamlLoader::load_from_str(&text).with_context(|| shown.clone())?;
            ensure!(!parsed.is_empty(), "{shown} is empty");
            all.extend(parsed.into_iter().map(|document| (shown.clone(), document)));
        }
    }
    Ok(all)
}

/// What the objects say of each other.
fn objects(documents: &[(String, Yaml)]) -> Result<()> {
    let mut named: BTreeMap<(&str, &str), &Yaml> = BTreeMap::new();
    for (path, document) in documents {
        let field = |key: &str| document[key].as_str().with_context(|| format!("{path}: {key}"));
        let name = document["metadata"]["name"].as_str();
        let name = name.with_context(|| format!("{path}: an object without a name"))?;
        field("apiVersion")?;
        let is_new = named.insert((field("kind")?, name), document).is_none();
        ensure!(is_new, "{path}: a second {name}");
    }
    let (_, set) = documents
        .iter()
        .find(|(_, document)| document["kind"].as_str() == Some("StatefulSet"))
        .context("no StatefulSet")?;
    let exists = |kind: &'static str, name: &Yaml| -> Result<()> {
        let name = name.as_str().with_context(|| format!("a {kind} without a name"))?;
        ensure!(named.contains_key(&(kind, name)), "{kind} {name} is named and is not there");
        Ok(())
    };
    exists("Service", &set["spec"]["serviceName"])?;
    let template = &set["spec"]["template"];
    for volume in template["spec"]["volumes"].as_vec().into_iter().flatten() {
        exists("ConfigMap", &volume["configMap"]["name"])?;
    }
    let labels = &template["metadata"]["labels"];
    selects(&set["spec"]["selector"]["matchLabels"], labels, "StatefulSet")?;
    for ((kind, _), document) in &named {
        match *kind {
            "Service" => selects(&document["spec"]["selector"], labels, kind)?,
            "PodDisruptionBudget" => {
                selects(&document["spec"]["selector"]["matchLabels"], labels, kind)?;
            }
            _ => {}
        }
    }
    probes(&template["spec"]["containers"][0])
}

/// Fields that KEDA's `redis-streams` knows, beside those that name variables of the environment.
const TRIGGER_FIELDS: [&str; 13] = [
    "address",
    "host",
    "port",
    "username",
    "password",
    "stream",
    "consumerGroup",
    "pendingEntriesCount",
    "streamLength",
    "lagCount",
    "activationLagCount",
    "databaseIndex",
    "enableTLS",
];

/// The triggers of a `ScaledObject` that ask a stream.
fn triggers(document: &Yaml) -> impl Iterator<Item = &Yaml> {
    let is_scaled = document["kind"].as_str() == Some("ScaledObject");
    let all = document["spec"]["triggers"].as_vec().filter(|_| is_scaled);
    all.into_iter().flatten().filter(|it| it["type"].as_str() == Some("redis-streams"))
}

/// What a trigger scales by, and so what the scaler asks.
#[derive(Debug, PartialEq, Eq)]
struct Scaled<'a> {
    stream: &'a str,
    group: Option<&'a str>,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Lag,
    Pending,
    Length,
}

impl<'a> Scaled<'a> {
    /// As the scaler reads it: all fields are text, and one that it does not know it passes over.
    fn of(trigger: &'a Yaml) -> Result<Self> {
        let metadata = trigger["metadata"].as_hash().context("a trigger without metadata")?;
        let mut fields = BTreeMap::new();
        for (name, value) in metadata {
            let name = name.as_str().context("a field of a trigger")?;
            let value = value.as_str().with_context(|| format!("{name} must be text: quote it"))?;
            let known = TRIGGER_FIELDS.contains(&name.trim_end_matches("FromEnv"));
            ensure!(known, "redis-streams of KEDA knows no {name}");
            fields.insert(name, value);
        }
        let has = |name: &str| fields.contains_key(name);
        ensure!(has("address") || has("host") && has("port"), "address, or host and port");
        for name in ["lagCount", "pendingEntriesCount", "streamLength", "activationLagCount"] {
            if let Some(value) = fields.get(name) {
                value.parse::<u64>().with_context(|| format!("{name} is {value}"))?;
            }
        }
        let group = fields.get("consumerGroup").copied();
        let by = match group {
            Some(_) if has("lagCount") => By::Lag,
            Some(_) => By::Pending,
            None => By::Length,
        };
        ensure!(by != By::Length || !has("lagCount"), "lagCount needs consumerGroup");
        Ok(Self { stream: fields.get("stream").context("a trigger without stream")?, group, by })
    }
}

/// The server answers what the scaler asks, with the figure that it looks for: of three entries one
/// is pending, and two are lag.
fn answered(levada: &Path, scaled: &Scaled<'_>) -> Result<()> {
    let peer = Peer::program(levada)?;
    let mut connection = Connection::open(peer.address)?;
    let (stream, group) = (scaled.stream, scaled.group.unwrap_or("other"));
    for id in ["1-1", "2-1", "3-1"] {
        connection.call(&["XADD", stream, id, "f", "v"])?;
    }
    connection.call(&["XGROUP", "CREATE", stream, group, "0"])?;
    let read = ["XREADGROUP", "GROUP", group, "c", "COUNT", "1", "STREAMS", stream, ">"];
    connection.call(&read)?;
    let version = connection.call(&["INFO", "server"])?;
    let version = String::from_utf8_lossy(version.text().unwrap_or_default()).into_owned();
    ensure!(version.contains("redis_version:8."), "lag is asked from version 7 on: {version}");
    let (asked, expect) = match scaled.by {
        By::Lag => (vec!["XINFO", "GROUPS", stream], 2),
        By::Pending => (vec!["XPENDING", stream, group], 1),
        By::Length => (vec!["XLEN", stream], 3),
    };
    let answer = connection.call(&asked)?;
    let found = match (scaled.by, &answer) {
        (By::Lag, Reply::Array(groups)) => groups.iter().find_map(|it| lag_of(it, group)),
        (By::Pending, Reply::Array(parts)) => parts.first().and_then(integer),
        _ => integer(&answer),
    };
    ensure!(found == Some(expect), "{asked:?} answers {answer:?}, and not {expect}");
    Ok(())
}

/// The lag in a row of XINFO GROUPS, if it is that of the group.
fn lag_of(row: &Reply, group: &str) -> Option<i64> {
    let Reply::Array(parts) = row else {
        return None;
    };
    let field = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        pairs.find(|pair| pair[0].text() == Some(name.as_bytes())).map(|pair| &pair[1])
    };
    let is_meant = field("name")?.text() == Some(group.as_bytes());
    field("lag").and_then(integer).filter(|_| is_meant)
}

fn integer(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Integer(number) => Some(*number),
        _ => None,
    }
}

/// Every label of a selector is one of the pod.
fn selects(selector: &Yaml, labels: &Yaml, who: &str) -> Result<()> {
    let selector = selector.as_hash().with_context(|| format!("{who} selects nothing"))?;
    for (key, value) in selector {
        let key = key.as_str().context("a label")?;
        ensure!(labels[key] == *value, "{who} selects by {key}, which the pod does not have so");
    }
    Ok(())
}

/// Probes ask paths that the server answers, on ports that the container names.
fn probes(container: &Yaml) -> Result<()> {
    let ports = container["ports"].as_vec().context("ports")?;
    let paths =
        [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")];
    for (probe, path) in paths {
        let asked = &container[probe]["httpGet"];
        ensure!(asked["path"].as_str() == Some(path), "{probe} must ask {path}");
        let is_named = ports.iter().any(|port| port["name"] == asked["port"]);
        ensure!(is_named, "{probe} asks a port that the container does not name");
    }
    Ok(())
}

/// The binary takes these settings.
fn understood(levada: &Path, settings: &str) -> Result<()> {
    let work = stage::Directory::new("levada-settings")?;
    let file = work.path().join("levada.toml");
    fs::write(&file, settings)?;
    output(Command::new(levada).args(["config", "--config"]).arg(&file))?;
    work.remove()
}

/// What the container sets in the environment is in force there.
fn container(levada: &Path) -> Result<()> {
    let path = workspace::root().join("packaging/container/Containerfile");
    let text = fs::read_to_string(&path)?;
    let mut config = Command::new(levada);
    config.args(["config", "--json"]);
    let mut expect = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        let (name, value) = line.split_once('=').context("ENV NAME=VALUE")?;
        let Some(setting) = name.strip_prefix("LEVADA_") else {
            bail!("{name} is no setting");
        };
        config.env(name, value);
        expect.push((setting.to_lowercase().replace('_', "-"), value));
    }
    ensure!(expect.len() >= 3, "the container sets {expect:?}");
    let shown: serde_json::Value = serde_json::from_slice(&output(&mut config)?)?;
    for (setting, value) in expect {
        let text = shown[&setting].to_string();
        ensure!(text.trim_matches(['[', ']', '"']) == value, "{setting} is {text}, not {value}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Yaml {
        YamlLoader::load_from_str(text).unwrap().remove(0)
    }

    #[test]
    fn a_selector_that_selects_nothing_is_found() {
        let labels = yaml("{ app: levada, tier: store }");
        assert!(selects(&yaml("{ app: levada }"), &labels, "Service").is_ok());
        assert!(selects(&yaml("{ app: redis }"), &labels, "Service").is_err());
        assert!(selects(&yaml("{ name: levada }"), &labels, "Service").is_err());
    }

    #[test]
    fn a_probe_on_a_port_without_a_name_is_found() {
        let of = |port: &str| {
            let probe = |path: &str| format!("{{ httpGet: {{ path: {path}, port: {port} }} }}");
            yaml(&format!(
                "ports: [{{ name: http, containerPort: 1 }}]\nstartupProbe: {}\n\
                 readinessProbe: {}\nlivenessProbe: {}\n",
                probe("/readyz"),
                probe("/readyz"),
                probe("/livez")
            ))
        };
        assert!(probes(&of("http")).is_ok());
        assert!(probes(&of("metrics")).is_err());
    }

    #[test]
    fn a_trigger_is_read_as_the_scaler_reads_it() {
        let of = |fields: &str| -> Result<String> {
            let trigger = yaml(&format!("metadata: {{ stream: s, {fields} }}"));
            Scaled::of(&trigger).map(|scaled| format!("{:?} {:?}", scaled.group, scaled.by))
        };
        let group = "address: 'levada:6379', consumerGroup: g";
        let check = |fields: &str, expect: &str| assert_eq!(of(fields).unwrap(), expect);
        check(&format!("{group}, lagCount: '5'"), "Some(\"g\") Lag");
        check(&format!("{group}, pendingEntriesCount: '5'"), "Some(\"g\") Pending");
        check("host: levada, port: '6379', streamLength: '5'", "None Length");
        for wrong in [
            format!("{group}, lag: '5'"),
            format!("{group}, lagCount: 5"),
            format!("{group}, lagCount: many"),
            "consumerGroup: g, lagCount: '5'".to_owned(),
            "address: 'levada:6379', lagCount: '5'".to_owned(),
        ] {
            assert!(of(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_scaled_object_asks_for_the_lag_of_a_group() {
        let documents = load(&workspace::root().join("deploy/kubernetes")).unwrap();
        let mut found = documents.iter().flat_map(|(_, document)| triggers(document));
        let scaled = Scaled::of(found.next().unwrap()).unwrap();
        assert_eq!(scaled, Scaled { stream: "orders", group: Some("billing"), by: By::Lag });
        assert!(found.next().is_none());
    }

    #[test]
    fn the_objects_for_kubernetes_fit_each_other() {
        let documents = load(&workspace::root().join("deploy/kubernetes")).unwrap();
        objects(&documents).unwrap();
        let without = |kind: &str| {
            let kept = documents.iter().filter(|(_, it)| it["kind"].as_str() != Some(kind));
            objects(&kept.cloned().collect::<Vec<_>>())
        };
        assert!(without("ConfigMap").is_err() && without("Service").is_err(), "it can fail");
    }
}
