//! The demo, small: it fails by itself where anything differs.

use std::process::Command;

#[test]
fn every_need_is_met() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_facade"));
    demo.args(["demo", "--count", "30"]);
    let output = demo.output().expect("the demo runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.ends_with("facade: EQUAL\n"), "{out}");
}
