//! The demo, small: it fails by itself where anything differs.

use std::process::Command;

#[test]
fn every_order_ends_as_it_should() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_orders"));
    demo.args(["demo", "--orders", "60", "--deadline", "2", "--lease", "5"]);
    let output = demo.output().expect("the demo runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.ends_with("orders: EQUAL\n"), "{out}");
}
