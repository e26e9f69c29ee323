//! Dead letters as a tool, on real servers: found, sent again, thrown away, shown to those who may; all of it written down.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use claimrisk::broker::Outgoing;
use claimrisk::topology::REPLAYED_HEADER;
use serde_json::{Value, json};

use crate::events::{claim, raw};
use crate::harness::{Place, assert_success, claimrisk, eventually};

const SOURCE: &str = "urn:clearinghouse:acme";

/// Three claims that a small worker finds too large, and one body that nobody can read.
async fn prepare(place: &Place) {
    let worker = place.worker(&[("CLAIMRISK_MAX_EVENT_BYTES", "1024")]).await;
    let large = |n: u32| {
        let mut message =
            claim(&format!("e{n}"), &format!("PCN-{n}"), |event| event["data"]["note"] = json!("x".repeat(2000)));
        message.app_id = Some(SOURCE.to_owned());
        message.message_id = Some(format!("e{n}"));
        message
    };
    let unreadable = raw("claim.submitted", "application/json", b"{\"memberId\": \"W-SECRET".to_vec());
    let messages: Vec<Outgoing> = (1..=3).map(large).chain([unreadable]).collect();
    place.publish(&messages).await;
    let dead = async || place.ready("claimrisk.dead").await == 4;
    eventually("all are dead", dead, || worker.log()).await;
    assert_eq!(worker.terminate(), 0);
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_of_a_limit_is_sent_again_once_the_limit_is_mended() {
    let place = Place::new().await;
    prepare(&place).await;
    let run = |arguments: &[&str]| {
        let output = place.run(&[&["dead-letters"], arguments].concat());
        assert_success(&output);
        text(&output)
    };
    let listed: Value =
        serde_json::from_str(&run(&["list", "--reason", "too_large", "--output", "json"])).expect("JSON");
    assert_eq!(listed["dead_letters"].as_array().map(Vec::len), Some(3));
    assert_eq!((&listed["by_reason"]["malformed"], &listed["by_source"][SOURCE]), (&json!(1), &json!(3)));

    let filter = ["replay", "--source", SOURCE, "--newer-than", "1h"];
    assert!(run(&filter).contains("3 would be replayed"));
    assert_eq!(place.ready("claimrisk.dead").await, 4, "a dry run moves nothing");
    assert!(run(&[&filter[..], &["--limit", "2", "--yes"]].concat()).contains("2 replayed"));
    assert!(run(&[&filter[..], &["--yes"]].concat()).contains("1 replayed"));
    assert_eq!(place.ready("claimrisk.dead").await, 1, "the other one stays");
    let worker = place.worker(&[]).await;
    place.wait_count("SELECT count(*) FROM claims", 3).await;
    place.wait_count("SELECT count(*) FROM audit_log WHERE action = 'replay' AND actor LIKE 'user:%'", 3).await;
    assert_eq!(worker.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_coming_back_is_not_sent_again_for_ever() {
    let place = Place::new().await;
    prepare(&place).await;
    let worker = place.worker(&[("CLAIMRISK_MAX_EVENT_BYTES", "1024")]).await;
    let replay = |more: &[&str]| {
        let output = place.run(&[&["dead-letters", "replay", "--id", "e1", "--yes"], more].concat());
        assert_success(&output);
        text(&output)
    };
    for turn in 1..=3 {
        assert!(replay(&[]).contains("1 replayed"), "turn {turn}");
        eventually("it is back", async || place.ready("claimrisk.dead").await == 4, || worker.log()).await;
    }
    let told = replay(&[]);
    assert!(told.contains("1 came back 3 times and stay") && told.contains("0 replayed"), "{told}");
    assert!(replay(&["--again"]).contains("1 replayed"));
    assert!(!REPLAYED_HEADER.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_shown_to_a_token_with_the_scope_admin_only_and_that_is_written_down() {
    let place = Place::new().await;
    prepare(&place).await;
    let path = std::env::temp_dir().join(format!("claimrisk-it-reveal-{}", uuid::Uuid::now_v7().simple()));
    let mut lines = String::new();
    let mut make = |name: &str, scope: &str| {
        let output = claimrisk().args(["token", "new", "--name", name, "--scope", scope]).output().expect("runs");
        assert_success(&output);
        let (token, line) =
            text(&output).trim().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two");
        lines.push_str(&format!("{line}\n"));
        token
    };
    let (reader, admin) = (make("reader", "read"), make("keeper", "admin"));
    std::fs::write(&path, lines).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let show = |token: Option<&str>, more: &[&str]| {
        let mut command = place.command(&[&["dead-letters", "show", "4"], more].concat());
        if let Some(token) = token {
            command.env("CLAIMRISK_API_TOKENS_FILE", &path).env("CLAIMRISK_CLIENT_TOKEN", token);
        }
        command.output().expect("runs")
    };
    let plain = show(None, &[]);
    assert_success(&plain);
    assert!(text(&plain).contains("malformed") && !text(&plain).contains("W-SECRET"), "{}", text(&plain));
    for token in [None, Some(reader.as_str()), Some("claimrisk_00")] {
        let refused = show(token, &["--reveal"]);
        assert_eq!((refused.status.code(), text(&refused).contains("W-SECRET")), (Some(78), false), "{token:?}");
    }
    assert_eq!(place.count("SELECT count(*) FROM audit_log").await, 0);
    let shown = show(Some(&admin), &["--reveal"]);
    assert_success(&shown);
    assert!(text(&shown).contains("W-SECRET"));
    assert_eq!(place.count("SELECT count(*) FROM audit_log WHERE action = 'reveal' AND actor = 'keeper'").await, 1);
    assert_eq!(place.ready("claimrisk.dead").await, 4, "what is shown stays");
    std::fs::remove_file(&path).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_thrown_away_without_a_reason_or_unseen() {
    let place = Place::new().await;
    prepare(&place).await;
    let discard = |arguments: &[&str]| place.run(&[&["dead-letters", "discard"], arguments].concat());
    assert_eq!(discard(&["--reason", "malformed", "--yes"]).status.code(), Some(2), "no reason given");
    assert_eq!(discard(&["--because", "x", "--yes"]).status.code(), Some(2), "which ones is not said");
    assert!(text(&discard(&["--reason", "malformed", "--because", "test data"])).contains("1 would be discarded"));
    assert_eq!(place.ready("claimrisk.dead").await, 4);
    let done = discard(&["--reason", "malformed", "--because", "test data", "--yes"]);
    assert_success(&done);
    assert_eq!(place.ready("claimrisk.dead").await, 3);
    let noted = "SELECT count(*) FROM audit_log WHERE action = 'discard' AND details->>'because' = 'test data'
                 AND details->>'reason' = 'malformed' AND length(details->>'body_sha256') = 64";
    assert_eq!(place.count(noted).await, 1);
    assert_success(&discard(&["--all", "--because", "test data", "--yes"]));
    assert_eq!(place.ready("claimrisk.dead").await, 0);
}
