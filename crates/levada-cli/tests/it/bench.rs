//! `levada bench` with tiny input: every case ends, counts what it did, and writes its files.

use std::process::Command;

use crate::rig::{Server, fresh_directory, levada, objects, skip};

#[test]
fn every_case_measures_something() {
    let server = Server::levada();
    let (csv, svg) = (server.directory.join("raw.csv"), server.directory.join("raw.svg"));
    let paths = [csv.display().to_string(), svg.display().to_string()];
    let options = [
        ["--url", &server.url()],
        ["--clients", "4"],
        ["--pipeline", "8"],
        ["--seconds", "0.2"],
        ["--entries", "2500"],
        ["--streams", "50"],
        ["--readers", "20"],
        ["--csv", &paths[0]],
        ["--svg", &paths[1]],
    ];
    let options: Vec<&str> =
        ["bench", "--flush", "--json"].into_iter().chain(options.into_iter().flatten()).collect();
    let told = objects(&options, 0);
    let text = std::fs::read_to_string(&csv).expect("it was written");
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let place = |name| head.iter().position(|one| *one == name).expect("a column");
    let (count, p50, p999) = (place("count"), place("p50_us"), place("p999_us"));
    let mut cases = Vec::new();
    for (row, told) in rows.zip(&told) {
        assert_eq!(row.len(), head.len(), "{row:?}");
        // Both say the same under the same names.
        assert_eq!(told.as_object().map(serde_json::Map::len), Some(head.len()), "{told}");
        assert!(head.iter().all(|name| told.get(name).is_some()), "{told}");
        assert_eq!((&told["case"], told["count"].to_string()), (&row[0].into(), row[count].into()));
        let figure = |at: usize| row[at].parse::<f64>().expect("a number");
        assert!(figure(count) > 0.0, "{row:?}");
        assert!(figure(p50) > 0.0 && figure(p50) <= figure(p999), "{row:?}");
        assert!(figure(place("cpu_us")) >= 0.0 && figure(place("rss_bytes")) > 0.0, "{row:?}");
        match row[0] {
            "group" | "pend-read" | "fill" => assert_eq!(row[count], "2500"),
            "streams-fill" => assert_eq!(row[count], "50"),
            // 10000 and 20 a second, the latter to every reader.
            "deliver" => assert_eq!(row[count], "2000"),
            "fanout" => assert_eq!(row[count], "80"),
            _ => {}
        }
        cases.push(row[0].to_owned());
    }
    let all = "append group deliver fanout streams-fill streams pend-read pend-idle pend-claim \
               pend-whole pend-pass range mixed beside beside-read fill";
    assert_eq!((cases.join(" "), told.len()), (all.to_owned(), cases.len()));
    let picture = std::fs::read_to_string(&svg).expect("it was drawn");
    assert_eq!(picture.matches("<polyline").count(), cases.len());
}

#[test]
fn a_server_that_is_to_keep_its_data_is_left_alone() {
    let server = Server::levada();
    let said = levada(&["bench", "append", "--url", &server.url()], 2);
    assert!(said.contains("--flush"), "{said}");
}

#[test]
fn a_device_is_measured_without_a_server_and_left_as_it_was() {
    let directory = fresh_directory("device");
    let path = directory.display().to_string();
    let told =
        objects(&["bench", "--disk", &path, "--seconds", "0.2", "--rate", "1000", "--json"], 0);
    let [syncs, entries] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&syncs["case"], &entries["case"]), (&"disk".into(), &"disk-wait".into()));
    let figure = |row: &serde_json::Value, name: &str| row[name].as_f64().expect("a number");
    assert!(figure(syncs, "count") > 0.0 && figure(syncs, "p50_us") > 0.0, "{syncs}");
    // The first is due at once, and whoever came during the last sync is not counted.
    assert!((1.0..=201.0).contains(&figure(entries, "count")), "{entries}");
    assert!(figure(entries, "p50_us") > 0.0, "{entries}");
    assert_eq!(std::fs::read_dir(&directory).expect("it stays").count(), 0);

    let said = levada(&["bench", "--disk", &path, "--flush"], 2);
    assert!(said.contains("--disk") && said.contains("--flush"), "{said}");
    let nowhere = directory.join("nowhere").display().to_string();
    let said = levada(&["bench", "--disk", &nowhere], 1);
    assert!(said.contains(&nowhere), "{said}");
    std::fs::remove_dir_all(&directory).expect("it is there");
}

/// ADR 28: a file that was asked for its times makes the next sync half as long again.
#[test]
fn a_sync_asks_its_file_for_no_times() {
    let directory = fresh_directory("times");
    let trace = directory.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=%file,fdatasync", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_levada")).args(["bench", "--seconds", "0.2", "--disk"]);
    let Ok(output) = command.arg(&directory).output() else {
        return skip("strace");
    };
    assert!(output.status.success(), "{output:?}");
    let trace = std::fs::read_to_string(&trace).expect("it was written");
    let count = |what: &dyn Fn(&str) -> bool| trace.lines().filter(|line| what(line)).count();
    let syncs = count(&|line| line.contains("fdatasync("));
    let looks = count(&|line| line.contains("stat") && line.contains("/pages\""));
    let timeless = count(&|line| line.contains("/pages\"") && line.contains("STATX_INO,"));
    assert!(syncs > 1, "{trace}");
    assert_eq!((looks, timeless), (syncs, syncs), "{trace}");
    std::fs::remove_dir_all(&directory).expect("it is there");
}
