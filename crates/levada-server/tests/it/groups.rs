//! Users who may use some consumer groups of a stream and not the others.

use std::fs;

use crate::rig::Server;

const REFUSED: &str = "-NOPERM No permissions to access a group\r\n";
const TAKEN: &str = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";

/// A server with a stream of two groups, in which one entry is pending for `audit`.
fn start() -> Server {
    let server = Server::start_with(|settings| {
        let path = settings.directory.join("users.acl");
        fs::create_dir_all(&settings.directory).expect("a directory");
        fs::write(&path, "").expect("a file");
        settings.aclfile = Some(path);
    });
    let mut admin = server.client();
    admin.check("XGROUP CREATE s billing 0 MKSTREAM", "+OK\r\n");
    admin.check("XGROUP CREATE s audit 0", "+OK\r\n");
    admin.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    admin.check("XREADGROUP GROUP audit a STREAMS s >", TAKEN);
    admin.check("ACL SETUSER worker on nopass +@all ~s resetgroups group~bill*", "+OK\r\n");
    server
}

#[test]
fn a_worker_of_one_group_cannot_touch_the_entries_of_another() {
    let server = start();
    let (mut admin, mut worker) = (server.client(), server.client());
    worker.check("AUTH worker x", "+OK\r\n");
    for line in [
        "XACK s audit 1-1",
        "XACKDEL s audit IDS 1 1-1",
        "XCLAIM s audit w 0 1-1",
        "XAUTOCLAIM s audit w 0 0",
        "XNACK s audit FAIL IDS 1 1-1",
        "XREADGROUP GROUP audit a STREAMS s 0",
        "XREADGROUP GROUP billing w GROUP audit a STREAMS s 0",
        "XGROUP DELCONSUMER s audit a",
        "XGROUP HANDOVER s audit a",
        "XGROUP DESTROY s audit",
        "XDLQ PURGE s audit",
    ] {
        worker.check(line, REFUSED);
    }
    worker.check("XREADGROUP GROUP billing w STREAMS s >", TAKEN);
    worker.check("XACK s billing 1-1", ":1\r\n");
    worker.check("XLEN s", ":1\r\n");
    // Who has no rule has all groups, and audit has what it had.
    admin.check("ACL SETUSER other on nopass +@all ~s", "+OK\r\n");
    let mut other = server.client();
    other.check("AUTH other x", "+OK\r\n");
    other.check("XACK s audit 1-1", ":1\r\n");
}

#[test]
fn a_refusal_is_foretold_and_logged() {
    let server = start();
    let (mut admin, mut worker) = (server.client(), server.client());
    let dry = "User worker has no permissions to access the 'audit' group";
    let dry = format!("${}\r\n{dry}\r\n", dry.len());
    admin.check("ACL DRYRUN worker XACK s audit 1-1", &dry);
    admin.check("ACL DRYRUN worker XACK s billing 1-1", "+OK\r\n");
    worker.check("AUTH worker x", "+OK\r\n");
    worker.check("XACK s audit 1-1", REFUSED);
    let logged = "*1\r\n*20\r\n$5\r\ncount\r\n:1\r\n$6\r\nreason\r\n$5\r\ngroup\r\n\
                  $7\r\ncontext\r\n$8\r\ntoplevel\r\n$6\r\nobject\r\n$5\r\naudit\r\n\
                  $8\r\nusername\r\n$6\r\nworker\r\n";
    admin.check("ACL LOG", logged);
    assert_eq!(server.client().info("stats", "acl_access_denied_group"), "1");
}

#[test]
fn a_transaction_asks_when_it_is_queued_and_when_it_runs() {
    let server = start();
    let (mut admin, mut worker) = (server.client(), server.client());
    worker.check("AUTH worker x", "+OK\r\n");
    worker.check("MULTI", "+OK\r\n");
    worker.check("XGROUP DESTROY s audit", REFUSED);
    worker.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    worker.check("MULTI", "+OK\r\n");
    worker.check("XGROUP DESTROY s billing", "+QUEUED\r\n");
    worker.check("XLEN s", "+QUEUED\r\n");
    admin.check("ACL SETUSER worker resetgroups", "+OK\r\n");
    let refused = "-NOPERM ACLs rules changed between the moment the transaction was accumulated \
                   and the EXEC call. This command is no longer allowed for the following reason: \
                   no permission to access the group used as an argument\r\n";
    worker.check("EXEC", &format!("*2\r\n{refused}:1\r\n"));
    admin.check("XGROUP DESTROY s billing", ":1\r\n");
}

#[test]
fn rules_outlive_a_file_and_hold_at_once_for_those_who_sleep() {
    let server = start();
    let (mut admin, mut worker) = (server.client(), server.client());
    admin.check("ACL SETUSER worker (+xlag ~s resetgroups group~audit)", "+OK\r\n");
    let own =
        "user worker on nopass sanitize-payload ~s resetchannels resetgroups group~bill* +@all";
    let line = format!("{own} (~s resetchannels resetgroups group~audit -@all +xlag)");
    admin.check("ACL SAVE", "+OK\r\n");
    admin.check("ACL SETUSER worker reset", "+OK\r\n");
    admin.check("ACL LOAD", "+OK\r\n");
    admin.send("ACL LIST");
    assert_eq!(admin.take_line(), b"*2\r\n");
    assert!(admin.take_bulk().starts_with("user default "));
    assert_eq!(admin.take_bulk(), line);
    worker.check("AUTH worker x", "+OK\r\n");
    worker.check("XPENDING s audit", REFUSED);
    worker.send("XLAG s audit");
    assert!(worker.take_line().starts_with(b"*"), "the selector allows it");

    let mut reader = server.client();
    reader.check("AUTH worker x", "+OK\r\n");
    reader.check("XREADGROUP GROUP billing w STREAMS s >", TAKEN);
    reader.send("XREADGROUP GROUP billing w BLOCK 0 STREAMS s >");
    admin.wait_for("clients", "blocked_clients", "1");
    admin.check("ACL SETUSER worker resetgroups group~other", "+OK\r\n");
    reader.expect("a reader that sleeps", REFUSED);
    admin.check("ACL SETUSER worker allgroups", "+OK\r\n");
    reader.check("XACK s audit 1-1", ":1\r\n");
}
