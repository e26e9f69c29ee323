//! The way of an event, end to end: publish, row, cache, API, metrics, receipt; and every way a bad event goes.

use claimrisk::broker::Outgoing;
use serde_json::{Value, json};

use crate::events::{SOURCE, claim, message, quiet, raw, remittance};
use crate::harness::{Place, assert_success, claimrisk};

#[tokio::test(flavor = "multi_thread")]
async fn one_claim_goes_all_the_way_to_its_score() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    place.publish(&[claim("e1", "PCN-1", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 1).await;
    let id = place.count("SELECT id FROM claims").await;
    quiet(&place, &[&worker]).await;

    let (status, claim) = worker.get(&format!("/api/v1/claims/{id}")).await;
    assert_eq!((status, claim["total_charge_amount"].as_str()), (200, Some("800.00")), "{claim}");
    assert_eq!(claim["lines"].as_array().map(Vec::len), Some(1));
    let (status, score) = worker.get(&format!("/api/v1/risk/{id}")).await;
    assert_eq!(status, 200, "{score}");
    let contributions: i64 = score["risk_factors"]
        .as_array()
        .expect("factors")
        .iter()
        .map(|factor| factor["contribution_micro"].as_i64().expect("integer"))
        .sum();
    assert_eq!(Some(contributions), score["log_odds_micro"].as_i64());

    // Both answers came from the cache, which the worker had written through.
    let metrics = worker.metrics().await;
    assert_eq!(metrics[r#"claimrisk_cache_gets_total{entity="claim",result="hit"}"#], 1.0);
    assert_eq!(metrics[r#"claimrisk_cache_gets_total{entity="risk_score",result="hit"}"#], 1.0);
    assert_eq!(metrics[r#"claimrisk_messages_settled_total{event_type="claim.submitted",outcome="scored"}"#], 1.0);
    for path in [
        "claims?claim_control_number=PCN-1",
        "claims/at-risk?provider_id=1760854442",
        "claims?payer_id=60054&practice_id=PR01",
    ] {
        let (status, list) = worker.get(&format!("/api/v1/{path}")).await;
        let name = if path.contains("at-risk") { "claim_id" } else { "id" };
        assert_eq!(
            (status, list["total"].as_i64(), list["items"][0][name].as_i64()),
            (200, Some(1), Some(id)),
            "{path}: {list}"
        );
    }
    let mut event: Value = serde_json::from_str(claimrisk::wire::examples::CLAIM_SUBMITTED).expect("example");
    // The same services under another number would be sent twice.
    let (status, twice) = worker.post("/api/v1/risk/what-if", &event["data"].to_string()).await;
    assert!(status == 200 && twice.to_string().contains("\"DU01\""), "{twice}");
    event["data"]["patientControlNumber"] = json!("PCN-1");
    for supposed in [event["data"].clone(), event.clone(), json!({"claim": event["data"]})] {
        let (status, what_if) = worker.post("/api/v1/risk/what-if", &supposed.to_string()).await;
        assert_eq!((status, &what_if["overall_score"]), (200, &score["overall_score"]), "{what_if}");
    }
    let (status, receipt) = worker.get(&format!("/api/v1/events/{SOURCE}/e1")).await;
    assert_eq!((status, receipt["result"].as_str()), (200, Some("accepted")), "{receipt}");
    assert_eq!(worker.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remittance_waits_for_its_claim_and_labels_it() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    place.publish(&[remittance("r1", "PCN-7", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'parked'", 1).await;
    let (_, unlinked) = worker.get("/api/v1/claims/unlinked").await;
    assert_eq!(unlinked["total"], 1, "{unlinked}");

    place.publish(&[claim("c1", "PCN-7", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claim_outcomes WHERE initial_outcome = 'denied'", 1).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'parked'", 0).await;
    assert_eq!(place.count("SELECT count(*) FROM claim_episodes WHERE link_method = 'control_number'").await, 1);
    assert_eq!(place.count("SELECT count(*) FROM claims WHERE status = 'denied'").await, 1);
    quiet(&place, &[&worker]).await;
    assert_eq!(worker.sum(r#"claimrisk_outcomes_total"#).await, 1);

    // A reversal and a correction change the final outcome, never the initial one.
    let reversal = remittance("r2", "PCN-7", |event| {
        let data = &mut event["data"];
        (data["claimStatusCode"], data["traceNumber"], data["paymentDate"]) =
            (json!("22"), json!("EFT2"), json!("2026-12-01"));
        data["totalClaimChargeAmount"] = json!("-800.00");
        data["serviceLines"] = json!([]);
        data["claimAdjustments"] = json!([{"groupCode": "CO", "reasonCode": "197", "amount": "-800.00"}]);
    });
    let correction = remittance("r3", "PCN-7", |event| {
        let data = &mut event["data"];
        (data["traceNumber"], data["paymentDate"], data["claimOrdinal"]) =
            (json!("EFT2"), json!("2026-12-01"), json!(2));
        data["claimPaymentAmount"] = json!("800.00");
        data["serviceLines"][0]["lineItemPaymentAmount"] = json!("800.00");
        data["serviceLines"][0]["adjustments"] = json!([]);
    });
    place.publish(&[correction, reversal]).await;
    place
        .wait_count(
            "SELECT count(*) FROM claim_outcomes WHERE initial_outcome = 'denied' AND final_outcome = 'paid'",
            1,
        )
        .await;
    place.wait_count("SELECT count(*) FROM claims WHERE status = 'paid'", 1).await;
    quiet(&place, &[&worker]).await;
    for (path, total) in [
        ("remits?claim_control_number=PCN-7", 3),
        ("remits?status=reversal", 1),
        ("episodes?practice_id=PR01&status=denied", 1),
        ("episodes?payer_id=60054", 3),
        ("episodes?provider_id=1760854442&risk_level=critical", 0),
    ] {
        let (status, list) = worker.get(&format!("/api/v1/{path}")).await;
        assert_eq!((status, list["total"].as_i64()), (200, Some(total)), "{path}: {list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_replacements_and_acknowledgements_take_their_places() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let at = |event: &mut Value, time: &str| event["time"] = json!(time);
    let newer = claim("v2", "PCN-1", |event| {
        at(event, "2026-11-03T00:00:00Z");
        event["data"]["totalClaimChargeAmount"] = json!("900.00");
    });
    place.publish(&[newer]).await;
    place.wait_count("SELECT count(*) FROM claims", 1).await;
    place.publish(&[claim("v1", "PCN-1", |event| at(event, "2026-11-02T00:00:00Z"))]).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'superseded'", 1).await;
    assert_eq!(place.count("SELECT (total_charge_amount * 100)::bigint FROM claims").await, 90_000);

    let replacement = claim("v3", "PCN-1", |event| {
        at(event, "2026-11-10T00:00:00Z");
        event["data"]["claimFrequencyCode"] = json!("7");
        event["data"]["payerClaimControlNumber"] = json!("ICN-1");
    });
    place.publish(&[replacement]).await;
    place.wait_count("SELECT count(*) FROM claim_submissions", 2).await;
    assert_eq!(place.count("SELECT count(*) FROM claims").await, 1);
    assert_eq!(
        place.count("SELECT count(*) FROM risk_scores r JOIN claim_submissions s ON s.id = r.submission_id WHERE s.frequency_code = '7'").await,
        1
    );
    let acknowledgement = message(
        "claim.acknowledged",
        &json!({
            "specversion": "1.0", "id": "a1", "source": SOURCE, "type": "claim.acknowledged.v1", "time": "2026-11-11T00:00:00Z",
            "data": {"practiceId": "PR01", "patientControlNumber": "PCN-1", "accepted": false, "claimStatusCategoryCode": "A7"}
        }),
    );
    place.publish(&[acknowledgement]).await;
    place.wait_count("SELECT count(*) FROM claims WHERE status = 'rejected'", 1).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_event_is_dead_lettered_alone_with_its_reason() {
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_BATCH_AGE_MS", "300"), ("CLAIMRISK_BATCH_MESSAGES", "600")]).await;
    place.publish(&[claim("first", "PCN-first", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claims", 1).await;

    let mut messages: Vec<Outgoing> =
        (0..500).map(|n| claim(&format!("good{n}"), &format!("PCN-{n}"), |_| {})).collect();
    let huge = "x".repeat(2_000_000);
    let bad = [
        raw("claim.submitted", "application/cloudevents+json", b"{not json".to_vec()),
        claim("large", "PCN-large", |event| event["data"]["note"] = json!(huge)),
        claim("version", "PCN-v", |event| event["type"] = json!("claim.submitted.v9")),
        claim("kind", "PCN-k", |event| event["type"] = json!("claim.invented.v1")),
        claim("nameless", "", |_| {}),
        claim("schema", "PCN-s", |event| event["data"]["totalClaimChargeAmount"] = json!(800.5)),
        claim("first", "PCN-other", |_| {}),
    ];
    for (place_in_list, message) in bad.into_iter().enumerate() {
        messages.insert(place_in_list * 60 + 30, message);
    }
    place.publish(&messages).await;
    place.wait_count("SELECT count(*) FROM claims", 501).await;
    quiet(&place, &[&worker]).await;
    let expected = [
        "id_conflict",
        "malformed",
        "missing_identifier",
        "schema_invalid",
        "too_large",
        "unknown_type",
        "unsupported_version",
    ];
    let reasons = place.dead_reasons().await;
    assert_eq!(reasons, expected.iter().map(|reason| ((*reason).to_owned(), 1)).collect());
    assert_eq!(worker.sum("claimrisk_dead_letters_total").await, 7);
    let (status, receipt) = worker.get(&format!("/api/v1/events/{SOURCE}/schema")).await;
    assert_eq!(
        (status, receipt["result"].as_str(), receipt["reason"].as_str()),
        (200, Some("rejected"), Some("schema_invalid"))
    );
    let (_, receipt) = worker.get(&format!("/api/v1/events/{SOURCE}/first")).await;
    assert_eq!(receipt["result"], "accepted", "the first event keeps its receipt");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_mode_and_plain_json_are_read_like_structured_events() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let event: Value = serde_json::from_str(claimrisk::wire::examples::CLAIM_SUBMITTED).expect("example");
    let mut data = event["data"].clone();
    data["patientControlNumber"] = json!("PCN-binary");
    let mut binary = raw("claim.submitted", "application/json", data.to_string().into_bytes());
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "b1"),
        ("source", SOURCE),
        ("type", "claim.submitted.v1"),
        ("time", "2026-11-02T05:50:21Z"),
    ] {
        binary.headers.insert(format!("cloudEvents:{name}"), value.to_owned());
    }
    let mut plain = claim("p1", "PCN-plain", |_| {});
    plain.content_type = Some("application/json".to_owned());
    place.publish(&[binary, plain]).await;
    place
        .wait_count("SELECT count(*) FROM claims WHERE patient_control_number IN ('PCN-binary', 'PCN-plain')", 2)
        .await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interchange_sent_twice_is_split_once() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let simulation =
        claimrisk::simulate::simulate(&claimrisk::simulate::Options { claims: 200, seed: 5, ..Default::default() });
    let folder = std::env::temp_dir().join(format!("claimrisk-it-x12-{}", std::process::id()));
    claimrisk::simulate::write_dir(&simulation, &folder, claimrisk::simulate::Format::X12).expect("written");
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|extension| extension != "csv") {
            messages.push(raw("x12.received", "application/EDI-X12", std::fs::read(&path).expect("file")));
        }
    }
    place.publish(&messages).await;
    place.publish(&messages).await;
    place.publish(&[raw("x12.received", "application/EDI-X12", b"this is no interchange".to_vec())]).await;
    // One that broke off: what reads well is applied (here for the third time), and the whole is kept for a person.
    let mut cut = messages[0].clone();
    cut.body.truncate(cut.body.len() * 3 / 4);
    place.publish(&[cut]).await;
    let expected = simulation.remittances.len() as i64;
    place.wait_count("SELECT count(*) FROM remittances", expected).await;
    quiet(&place, &[&worker]).await;
    assert_eq!(
        place.count("SELECT count(DISTINCT claim_id) FROM claim_submissions").await,
        place.count("SELECT count(*) FROM claims").await
    );
    assert_eq!(place.dead_reasons().await, [("malformed".to_owned(), 2)].into());
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn score_needs_no_server_and_noise_is_a_clear_error() {
    let folder = std::env::temp_dir().join(format!("claimrisk-it-score-{}", std::process::id()));
    let run = |arguments: &[&str]| claimrisk().args(arguments).output().expect("runs");
    let out = folder.to_str().expect("path");
    assert_success(&run(&["simulate", "--claims", "100", "--seed", "3", "--out", out]));
    let output = run(&["score", out, "--output", "json"]);
    assert_success(&output);
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = rows["claims"].as_array().or_else(|| rows.as_array()).expect("rows").clone();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["overall_score"].is_number()));
    let noise = folder.join("noise.837");
    std::fs::write(&noise, [0_u8, 159, 146, 150, 7, 7, 7].repeat(100)).expect("written");
    let output = run(&["score", noise.to_str().expect("path")]);
    assert_eq!(output.status.code(), Some(65));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("noise.837"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_a_schema_that_is_not_migrated() {
    let place = Place::new().await;
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 2").execute(&place.pool).await.expect("deleted");
    let output = place.run(&["worker"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("claimrisk migrate"));
    assert_eq!(place.run(&["migrate", "--check"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_check_names_what_differs() {
    let place = Place::new().await;
    assert_success(&place.run(&["topology", "check"]));
    let path = format!("/api/queues/{}/claimrisk.x12", place.vhost);
    crate::harness::servers().await.rabbitmq.management("DELETE", &path, None).await.expect("deleted");
    let output = place.run(&["topology", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("claimrisk.x12"));
    assert_success(&place.run(&["topology", "apply"]));
    assert_success(&place.run(&["topology", "check"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_again() {
    let place = Place::new().await;
    let migrator = &claimrisk::store::MIGRATOR;
    migrator.undo(&place.pool, 0).await.expect("undone");
    assert_eq!(
        place
            .count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'")
            .await,
        0
    );
    migrator.run(&place.pool).await.expect("done again");
    assert_eq!(
        place.count("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'ix\\_%'").await,
        place.count("SELECT count(DISTINCT indexname) FROM pg_indexes WHERE indexname LIKE 'ix\\_%'").await
    );
    assert_success(&place.run(&["migrate", "--check"]));
}
