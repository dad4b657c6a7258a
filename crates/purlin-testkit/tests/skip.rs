//! What happens when a server is missing, seen from outside a test process.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::process::{Command, Output};

use purlin_testkit::{TestDatabase, TestRedis};

/// Runs the test `child` of this file in a process of its own, without servers.
fn run_child(require: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored"]);
    command
        .env_remove("PURLIN_TEST_POSTGRES_URL")
        .env_remove("PURLIN_TEST_REDIS_URL");
    command
        .env_remove("PURLIN_TEST_REQUIRE")
        .env_remove("RUST_TEST_NOCAPTURE");
    if require {
        command.env("PURLIN_TEST_REQUIRE", "1");
    }
    command.output().unwrap()
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child() {
    assert!(TestDatabase::create().is_none());
    assert!(TestRedis::create().is_none());
}

#[test]
fn a_skip_is_written_past_the_capture_of_the_harness() {
    let output = run_child(false);
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("skipped child: a Postgres server named by"),
        "{stderr}"
    );
    assert!(
        stderr.contains("skipped child: a Redis server named by"),
        "{stderr}"
    );
}

#[test]
fn a_skip_is_a_failure_when_servers_are_required() {
    let output = run_child(true);
    assert!(!output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("PURLIN_TEST_REQUIRE=1 forbids to skip it"),
        "{stdout}"
    );
}
