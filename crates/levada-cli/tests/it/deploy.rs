//! The files for Prometheus and Grafana, and the pages about them: every metric that they name
//! exists, every metric has its line and every alert its page, and promtool takes the rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use levada_server::{METRICS, MetricKind};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words that begin like names of metrics.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric())
        .filter(|word| word.starts_with("levada_"))
        .collect()
}

fn exists(name: &str) -> bool {
    let parts = ["_bucket", "_sum", "_count"];
    METRICS.iter().any(|metric| match metric.kind {
        MetricKind::Histogram => parts.iter().any(|part| name == format!("{}{part}", metric.name)),
        _ => name == metric.name,
    })
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/levada.json"] {
        let text = read(path);
        let names = names(&text);
        assert!(names.len() > 10, "{path} names {names:?}");
        for name in names {
            assert!(exists(name), "{path} names {name}, which is not told");
        }
    }
    assert!(!exists("levada_group_lags") && !exists("levada_commit_seconds"), "the test can fail");
}

/// Metrics that are neither on a panel nor in an alert: who looks for a cause asks for them.
const NOT_SHOWN: [&str; 22] = [
    "levada_recovery_batches",
    "levada_clients_max",
    "levada_clients_buffer_bytes",
    "levada_connections_total",
    "levada_commands_failed_total",
    "levada_batch_request_bytes_total",
    "levada_batches_waiting",
    "levada_checkpoints_total",
    "levada_changes_since_checkpoint",
    "levada_disk_reserve_bytes",
    "levada_scrub_blocks_total",
    "levada_scrub_passes_total",
    "levada_cache_bytes",
    "levada_keys",
    "levada_strings_bytes",
    "levada_expired_keys_total",
    "levada_evicted_keys_total",
    "levada_streams",
    "levada_streams_told",
    "levada_stream_groups",
    "levada_stream_released_unread_total",
    "levada_group_consumers",
];

#[test]
fn every_metric_is_shown_or_said_not_to_be() {
    let texts = ["deploy/prometheus/alerts.yml", "deploy/grafana/levada.json"].map(read);
    let asked: BTreeSet<_> = texts.iter().flat_map(|text| names(text)).collect();
    let is_asked = |name: &str| {
        let parts = ["", "_bucket", "_sum", "_count"];
        parts.iter().any(|part| asked.contains(&*format!("{name}{part}")))
    };
    let told = METRICS.iter().map(|metric| metric.name);
    let not_shown: Vec<_> = told.filter(|name| !is_asked(name)).collect();
    assert_eq!(not_shown, NOT_SHOWN, "on a panel, in an alert, or in the list");
}

#[test]
fn every_metric_has_its_line_in_the_guide() {
    let page = read("docs/operate/metrics.md");
    let listed: Vec<_> = page.lines().filter(|line| line.starts_with("| `levada_")).collect();
    let expect: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} |", metric.name, labels.join(" "), metric.help)
        })
        .collect();
    assert_eq!(listed, expect);
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/levada.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each has a number of its own");
    for panel in panels {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            assert!(target["expr"].as_str().is_some_and(|asked| !names(asked).is_empty()));
        }
    }
}

/// What every page about an alert says.
const PARTS: [&str; 4] =
    ["**What it means.** ", "**How to look.**", "**What to do.**", "**When it is over.** "];

#[test]
fn every_alert_has_its_page_and_promtool_takes_the_rules() {
    let rules = read("deploy/prometheus/alerts.yml");
    let all = |begin: &str| -> Vec<String> {
        rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix(begin))
            .map(str::to_owned)
            .collect()
    };
    let alerts = all("- alert: ");
    let page_of = |alert: &String| format!("docs/operate/alerts/{alert}.md");
    assert_eq!(all("runbook_url: "), alerts.iter().map(page_of).collect::<Vec<_>>());
    let pages: BTreeSet<_> = std::fs::read_dir(root().join("docs/operate/alerts"))
        .expect("pages")
        .map(|page| page.expect("a page").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(pages, alerts.iter().map(|alert| format!("{alert}.md")).collect());
    let severities = all("labels: { severity: ");
    let overview = read("docs/operate/alerts.md");
    let listed: Vec<_> = overview.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!((listed.len(), severities.len()), (alerts.len(), alerts.len()));
    for ((alert, severity), row) in alerts.iter().zip(severities).zip(listed) {
        let severity = severity.trim_end_matches(" }");
        assert!(row.starts_with(&format!("| [{alert}](alerts/{alert}.md) | ")), "{row}");
        assert!(row.ends_with(&format!(" | {severity} |")), "{row}");
        let page = read(&page_of(alert));
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for part in PARTS {
            assert_eq!(page.matches(part).count(), 1, "{alert} and {part}");
        }
        for name in names(&page).into_iter().filter(|name| name.starts_with("levada_group_")) {
            assert!(exists(name), "{alert} names {name}, which is not told");
        }
    }
    let rules = root().join("deploy/prometheus/alerts.yml");
    if let Ok(output) = Command::new("promtool").args(["check", "rules"]).arg(rules).output() {
        assert!(output.status.success(), "{output:?}");
    } else {
        crate::rig::skip("promtool");
    }
}
