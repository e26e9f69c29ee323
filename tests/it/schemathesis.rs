//! The API under a tester that makes requests from its own description, by the thousand, right and wrong: nothing fails,
//! each answer is as described, and the memory stays where it is. `make schemathesis` installs the tester and runs this.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use claimrisk::broker::Outgoing;
use claimrisk::flow::split::message_of;

use crate::events::quiet;
use crate::harness::{Place, assert_success, claimrisk, setting};
use crate::observability::events;

/// What the process may have held in memory at its worst, in MiB.
const MEMORY: u64 = 300;

fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("peak");
    line.split_whitespace().nth(1).expect("number").parse::<u64>().expect("number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tester: make schemathesis"]
#[expect(clippy::print_stderr, reason = "the number is what people ask for")]
async fn requests_made_from_the_description_are_answered_as_described() {
    let tester = std::env::var_os("CLAIMRISK_SCHEMATHESIS").expect("make schemathesis says where the tester is");
    let place = Place::new().await;
    let tokens = std::env::temp_dir().join(format!("claimrisk-it-tokens-{}", uuid::Uuid::now_v7().simple()));
    let made = claimrisk()
        .args(["token", "new", "--name", "tester", "--scope", "read", "--scope", "write", "--scope", "admin"])
        .output()
        .expect("runs");
    assert_success(&made);
    let made = String::from_utf8(made.stdout).expect("text");
    let (token, line) = made.trim().split_once('\n').expect("two lines");
    std::fs::write(&tokens, line).expect("written");
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let worker = place
        .worker(&[
            ("CLAIMRISK_API_TOKENS_FILE", tokens.to_str().expect("text")),
            ("CLAIMRISK_API_REQUESTS_PER_MINUTE", "1000000"),
            ("CLAIMRISK_API_REQUESTS_PER_HOUR", "10000000"),
        ])
        .await;
    let messages: Vec<Outgoing> = events(100).iter().map(message_of).collect();
    place.publish(&messages).await;
    quiet(&place, &[&worker]).await;

    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let seconds = setting("CLAIMRISK_SCHEMATHESIS_SECONDS").unwrap_or(120).to_string();
    let status = Command::new(tester)
        .arg("--config-file")
        .arg(root.join("tests/schemathesis.toml"))
        .args(["run", &format!("http://127.0.0.1:{}/openapi.json", worker.http), "--no-color", "--seed", "1"])
        .args(["--continue-on-failure", "--max-time", &seconds, "-H", &format!("Authorization: Bearer {token}")])
        .current_dir(root.join("target"))
        .stdin(Stdio::null())
        .status()
        .expect("the tester runs");
    std::fs::remove_file(&tokens).ok();
    let peak = peak_memory(worker.pid());
    eprintln!("the worker held {peak} MiB at its worst");
    assert!(status.success(), "{status}\n{}", worker.log());
    assert!(peak <= MEMORY, "{peak} MiB");
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
    assert_eq!(worker.terminate(), 0);
}
