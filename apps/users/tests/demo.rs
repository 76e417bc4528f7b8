//! The demo, small: it fails by itself where anything differs.

use std::process::Command;

#[test]
fn every_user_has_an_account_and_a_mail() {
    // A lease that no slow machine lets end: a mail is sent twice behind the kill alone.
    let mut demo = Command::new(env!("CARGO_BIN_EXE_users"));
    demo.args(["demo", "--users", "40", "--lease", "10"]);
    let output = demo.output().expect("the demo runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.ends_with("users: EQUAL\n"), "{out}");
}
