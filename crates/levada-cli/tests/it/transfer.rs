//! What is carried, what is refused, what survives being killed.

use std::process::Command;

use crate::fill::{Random, fill};
use crate::rig::{Server, ask, import, import_killed, levada, state, transfer};

#[test]
fn random_streams_come_over_and_back() {
    let (Some(source), Some(back)) = (Server::redis(), Server::redis()) else {
        return;
    };
    let ours = Server::levada();
    for seed in 1..=8 {
        [&source, &ours, &back].into_iter().for_each(flush);
        fill(&mut source.connect(), &mut Random::new(seed as u64));
        let before = state(&source, true);
        assert!(!before.is_empty(), "seed {seed} fills nothing");
        // Every other one without --by-pages: as payloads, if the servers take them.
        let more = &["--batch", "7", "--jobs", "3", "--by-pages"][..5 - seed % 2];
        let mut said = import(&source, &ours, more, 0);
        assert_eq!(state(&source, true), before, "seed {seed} changed the source");
        said += &transfer("export", &ours, &back, more, 0);
        let exact = !said.contains("Not carried");
        assert_eq!(state(&back, exact), state(&source, exact), "seed {seed}");
        // A second run finds all in place.
        let said = import(&source, &ours, &[], 0);
        assert!(said.contains(&format!("({} present)", before.len())), "{said}");
    }
}

#[test]
fn both_faces_know_our_server_by_the_environment() {
    let (there, ours) = (Server::levada(), Server::levada());
    ask(&mut there.connect(), "XADD s 1-1 f v");
    let run = |arguments: &[&str]| {
        let mut levada = Command::new(env!("CARGO_BIN_EXE_levada"));
        let output = levada.args(arguments).env("LEVADA_URL", ours.url()).output();
        let output = output.expect("levada runs");
        assert!(output.status.success(), "{output:?}");
    };
    run(&["import", "--from", &there.url()]);
    assert_eq!(state(&ours, true), state(&there, true));
    ask(&mut ours.connect(), "XADD more 1-1 f v");
    run(&["export", "--to", &there.url()]);
    assert_eq!(state(&there, true), state(&ours, true));
}

#[test]
fn a_file_has_the_same_as_its_server() {
    let (Some(source), Some(back)) = (Server::redis(), Server::redis()) else {
        return;
    };
    let ours = Server::levada();
    for seed in 21..=24 {
        [&source, &ours, &back].into_iter().for_each(flush);
        fill(&mut source.connect(), &mut Random::new(seed));
        ask(&mut source.connect(), "RPUSH a-list 1 2 3");
        ask(&mut source.connect(), "SAVE");
        ask(&mut source.connect(), "DEL a-list");
        let file = source.directory.join("dump.rdb");
        let file = file.to_str().expect("a path of ours");
        let arguments = ["import", "--rdb", file, "--to", &ours.url(), "--batch", "7"];
        // 4: everything is there but the list.
        let said = levada(&arguments, 4);
        assert!(said.contains("a-list  list  skipped"), "{said}");
        // The running server and the file are the same to the target.
        let said = import(&source, &ours, &[], 0);
        assert!(said.contains(" present)"), "{said}");
        levada(&[&arguments[..], &["--verify-only"]].concat(), 4);
        transfer("export", &ours, &back, &[], 0);
        assert_eq!(state(&back, false), state(&source, false), "seed {seed}");
    }
}

#[test]
fn small_streams_come_whole_with_all_their_times() {
    let (Some(source), Some(other)) = (Server::redis(), Server::redis()) else {
        return;
    };
    fill(&mut source.connect(), &mut Random::new(5));
    let said = import(&source, &other, &[], 0);
    assert!(said.contains(" restored"), "{said}");
    assert!(!said.contains("Not carried"), "{said}");
    assert_eq!(state(&other, true), state(&source, true));
}

#[test]
fn entries_that_nobody_owns_are_carried_where_they_are_known() {
    let (one, other) = (Server::levada(), Server::levada());
    let mut there = one.connect();
    for number in 1..=6 {
        ask(&mut there, &format!("XADD s {number}-1 f v"));
    }
    ask(&mut there, "XGROUP CREATE s g 0");
    ask(&mut there, "XREADGROUP GROUP g c COUNT 4 STREAMS s >");
    ask(&mut there, "XNACK s g SILENT IDS 2 1-1 3-1 RETRYCOUNT 7");
    ask(&mut there, "XGROUP CREATE s nobody 0");
    ask(&mut there, "XNACK s nobody FAIL IDS 1 5-1 FORCE");
    import(&one, &other, &["--by-pages"], 0);
    assert_eq!(state(&other, false), state(&one, false));
    let Some(redis) = Server::redis() else {
        return;
    };
    // The comparison tells, too.
    let said = transfer("export", &one, &redis, &["--by-pages"], 3);
    assert!(said.contains("Not carried: pending entries, 3"), "{said}");
    assert!(said.contains("DIFFERS pending: missing: 3, first g 1-1"), "{said}");
}

#[test]
fn an_error_names_the_key_and_the_command_and_spares_the_other_keys() {
    let Some(source) = Server::redis() else {
        return;
    };
    let ours = Server::levada();
    let mut there = source.connect();
    let long = vec![b'x'; 17 << 20];
    redis::cmd("SET").arg("long").arg(&long).exec(&mut there).expect("Redis takes it");
    ask(&mut there, "SET short value");
    let said = import(&source, &ours, &[], 1);
    assert!(said.contains("SET long at 127.0.0.1"), "{said}");
    assert!(
        said.contains("(1 failed, 1 copied)") || said.contains("(1 copied, 1 failed)"),
        "{said}"
    );
    assert!(!said.contains("xxxx"), "{said}");
}

#[test]
fn a_password_is_used_and_not_shown() {
    let Some(source) = Server::redis() else {
        return;
    };
    let ours = Server::levada();
    ask(&mut source.connect(), "SET t value");
    ask(&mut source.connect(), "CONFIG SET requirepass secret");
    let from = |password: &str| format!("redis://:{password}@127.0.0.1:{}", source.port);
    levada(&["import", "--from", &from("secret"), "--to", &ours.url()], 0);
    let said = levada(&["import", "--from", &from("wrong"), "--to", &ours.url()], 1);
    assert!(said.contains("the source") && !said.contains("wrong"), "{said}");
}

#[test]
fn what_the_target_has_is_not_touched() {
    let Some(source) = Server::redis() else {
        return;
    };
    let ours = Server::levada();
    let (mut there, mut here) = (source.connect(), ours.connect());
    ask(&mut there, "XADD s 1-1 f new");
    ask(&mut there, "SET t new");
    ask(&mut here, "XADD s 1-1 f old");
    ask(&mut here, "SET t old");
    let before = state(&ours, false);
    let said = import(&source, &ours, &[], 1);
    assert!(said.contains("2 refused"), "{said}");
    assert!(said.contains("another stream under this key (entries with other content)"), "{said}");
    assert_eq!(state(&ours, false), before);
    let said = import(&source, &ours, &["--verify-only"], 3);
    assert!(said.contains("DIFFERS value: 1"), "{said}");
    assert_eq!(state(&ours, false), before);
    import(&source, &ours, &["--replace"], 0);
    import(&source, &ours, &["--verify-only"], 0);
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let Some(source) = Server::redis() else {
        return;
    };
    let mut random = Random::new(77);
    fill(&mut source.connect(), &mut random);
    let before = state(&source, false);
    let more = ["--batch", "3", "--jobs", "1", "--by-pages"];
    let (mut kills, mut lines) = (0, 1);
    let ours = Server::levada();
    loop {
        flush(&ours);
        if !import_killed(&source, &ours, &more, lines) {
            break;
        }
        // Once more, a little later: the second run is one that goes on.
        import_killed(&source, &ours, &more, 1 + usize::try_from(random.below(9)).expect("small"));
        kills += 1;
        import(&source, &ours, &more, 0);
        assert_eq!(entries(&ours), entries(&source), "killed at line {lines}");
        let said = import(&source, &ours, &[], 0);
        assert!(said.contains(&format!("({} present)", before.len())), "{said}");
        lines += 1 + usize::try_from(random.below(12)).expect("small");
    }
    assert!(kills > 5, "only {kills} kills before the run was over");
}

fn flush(server: &Server) {
    ask(&mut server.connect(), "FLUSHALL");
}

/// What both a Redis and a Levada of another version show alike.
fn entries(server: &Server) -> Vec<String> {
    let mut connection = server.connect();
    let mut shown = Vec::new();
    for (key, _) in state(server, false) {
        if key.starts_with("stream") && !key.contains('\\') && !key.contains(' ') {
            shown.push(format!("{key} {:?}", ask(&mut connection, &format!("XRANGE {key} - +"))));
            let groups = ask(&mut connection, &format!("XINFO GROUPS {key}"));
            shown.push(format!("{groups:?}"));
        }
    }
    shown
}

#[test]
fn a_live_producer_is_followed_until_it_stops() {
    let Some(source) = Server::redis() else {
        return;
    };
    let ours = Server::levada();
    let mut there = source.connect();
    ask(&mut there, "XGROUP CREATE s g 0 MKSTREAM");
    for number in 1..=300 {
        ask(&mut there, &format!("XADD s {number}-1 f {number}"));
    }
    ask(&mut there, "XREADGROUP GROUP g c COUNT 100 STREAMS s >");
    let said = import(&source, &ours, &["--keep-open", "--batch", "10"], 0);
    assert!(said.contains("1 left open"), "{said}");
    // Meanwhile the source goes on: it trims, deletes, acknowledges and appends.
    ask(&mut there, "XTRIM s MINID 50");
    ask(&mut there, "XDEL s 60-1 70-1 200-1 300-1");
    ask(&mut there, "XACK s g 61-1 62-1");
    for number in 301..=400 {
        ask(&mut there, &format!("XADD s {number}-1 f {number}"));
    }
    let said = import(&source, &ours, &["--keep-open"], 0);
    assert!(said.contains("100 entries copied"), "{said}");
    ask(&mut there, "XADD s 500-1 f last");
    let said = import(&source, &ours, &[], 0);
    assert!(said.contains("1 resumed"), "{said}");
    assert!(said.contains("1 entries copied"), "{said}");
    assert_eq!(entries(&ours), entries(&source));
    // Finished, it is refused as soon as it differs.
    ask(&mut there, "XADD s 501-1 f later");
    import(&source, &ours, &[], 1);
}
