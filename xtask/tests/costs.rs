//! What operations allocate, and how often they read and write files: the server in this process,
//! whose allocator counts.
//!
//! A binary of its own, as there is one allocator per process, and one test, as it counts whatever
//! the process does.

use std::alloc::System;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use xtask::costs::{Client, Measure, OPERATIONS, Operation, Table};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What it takes to read a small file whose end is not looked for.
const READS_OF_A_FILE: usize = 1;

/// Rounds of an operation; a block of a stream is filled and sealed several times in them.
const ROUNDS: usize = 500;

#[test]
fn no_operation_costs_more_than_it_may() {
    let table = Table::read().expect("the table of limits");
    let directory = std::env::temp_dir().join(format!("levada-costs-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, signal) = UnixStream::pair().expect("a pair");
    let settings = levada_server::Settings {
        directory: directory.clone(),
        cache_bytes: 1 << 20,
        log_file_bytes: 32 << 20,
        // On a slow disk syncs would leave the loop, and each would cost a wake-up: what is counted
        // here is the loop's own work, whatever the disk is.
        inline_sync_us_max: u64::MAX,
        log: |_, _| {},
        ..levada_server::Settings::default()
    };
    let server = std::thread::spawn(move || levada_server::run(vec![listener], signal, settings));
    let mut client = Client::connect(address).expect("it listens");
    let results: Vec<_> = OPERATIONS.iter().flat_map(|one| count(&mut client, one)).collect();
    drop((client, stop));
    server.join().expect("no panic").expect("a clean end");
    std::fs::remove_dir_all(directory).expect("it was made");

    let checked = results.into_iter().map(|(operation, measure, cost)| {
        let checked = table.check(operation, measure, cost);
        println!("{}", checked.as_ref().unwrap_or_else(|failed| failed));
        checked
    });
    let failed: Vec<_> = checked.filter_map(Result::err).collect();
    assert!(failed.is_empty(), "costs more than tests/costs.txt allows:\n{}", failed.join("\n"));
}

/// Allocations, bytes and calls for files of a round, on average of all but the dearest tenth: now
/// and then a log file is filled beforehand, or a sync takes longer, beside the operation.
fn count(client: &mut Client, operation: &Operation) -> [(&'static str, Measure, f64); 3] {
    let mut region = Region::new(ALLOCATOR);
    let mut calls_before = calls_so_far();
    let mut allocations = Vec::with_capacity(ROUNDS);
    let mut bytes = Vec::with_capacity(ROUNDS);
    let mut calls = Vec::with_capacity(ROUNDS);
    let seen = |_: &mut Client, round: u64| {
        let change = region.change();
        let calls_now = calls_so_far();
        if round > 0 {
            allocations.push(change.allocations + change.reallocations);
            let grown = usize::try_from(change.bytes_reallocated).unwrap_or(0);
            bytes.push(change.bytes_allocated + grown);
            calls.push((calls_now - calls_before).saturating_sub(READS_OF_A_FILE));
        }
        calls_before = calls_now;
        region.reset();
        Ok(())
    };
    client.measure(operation, ROUNDS as u64, seen).expect(operation.name);
    [
        (operation.name, Measure::Allocations, usual(allocations)),
        (operation.name, Measure::Bytes, usual(bytes)),
        (operation.name, Measure::FileCalls, usual(calls)),
    ]
}

/// Reads and writes of files by this process; to find that out takes [`READS_OF_A_FILE`] more.
fn calls_so_far() -> usize {
    let mut text = [0; 512];
    let mut file = File::open("/proc/self/io").expect("the kernel counts them");
    let len = file.read(&mut text).expect("it can be read");
    let text = std::str::from_utf8(&text[..len]).expect("text");
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it says so");
        line.trim().parse::<usize>().expect("a number")
    };
    count("syscr:") + count("syscw:")
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
fn usual(mut counts: Vec<usize>) -> f64 {
    counts.sort_unstable();
    counts.truncate(counts.len() / 10 * 9);
    counts.iter().sum::<usize>() as f64 / counts.len() as f64
}
