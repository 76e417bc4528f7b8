//! What a pipelined XADD costs to read and its reply to write, in nanoseconds. Under `cargo test`
//! it runs with a tiny input, so that it never rots; under `cargo bench` it measures.

use std::hint::black_box;
use std::time::Instant;

use levada_resp::encode::request;
use levada_resp::{Decoder, Limits, Progress, Protocol, Writer};

const PIPELINE: usize = 100;

fn main() {
    // Test runners ask for a list first; there is one, and only if nobody asks for ignored ones.
    if std::env::args().any(|arg| arg == "--list") {
        if !std::env::args().any(|arg| arg == "--ignored") {
            println!("codec: benchmark");
        }
        return;
    }
    let measuring = std::env::args().any(|arg| arg == "--bench");
    let rounds = if measuring { 50_000 } else { 2 };
    let value = "x".repeat(64);
    let xadd = request(&["XADD", "orders", "*", "field", &value]);
    report("decode a pipelined XADD of 5 arguments", rounds, decode(&xadd, rounds));
    let long = "x".repeat(2000);
    let xadd = request(&["XADD", "orders", "*", "field", &long]);
    report("the same with a value of 2,000 bytes", rounds, decode(&xadd, rounds));
    report("write its id", rounds, encode(rounds, |writer| writer.bulk_id(1_763_700_000_000, 42)));
    report("write a small integer", rounds, encode(rounds, |writer| writer.integer(1)));
}

fn report(what: &str, rounds: usize, start: Instant) {
    let operations = u32::try_from(rounds * PIPELINE).expect("a few million operations");
    let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(operations);
    println!("{each:8.1} ns  {what}");
}

fn decode(one: &[u8], rounds: usize) -> Instant {
    let pipeline = one.repeat(PIPELINE);
    let mut decoder = Decoder::new(Limits::authenticated());
    let mut args = Vec::new();
    let start = Instant::now();
    for _ in 0..rounds {
        let mut rest = black_box(pipeline.as_slice());
        while let Ok(Progress::Request { consumed }) = decoder.decode(rest, &mut args) {
            black_box(&args);
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty(), "the pipeline is whole requests");
    }
    start
}

fn encode(rounds: usize, write: impl Fn(&mut Writer)) -> Instant {
    let mut out = Vec::new();
    let start = Instant::now();
    for _ in 0..rounds {
        out.clear();
        for _ in 0..PIPELINE {
            write(&mut Writer::new(&mut out, black_box(Protocol::Resp2)));
        }
        black_box(&out);
    }
    start
}
