//! What was sent before for the same patient: duplicates and claims sent again, told of as they come, learned of in any
//! order, and never by what came later.

use claimrisk::broker::Outgoing;
use claimrisk::domain::score::Snapshot;
use claimrisk::history::Gathering;
use claimrisk::wire::decode_json;
use serde_json::json;

use crate::events::{claim, quiet, remittance};
use crate::harness::{Place, Worker, assert_success, eventually};
use crate::learning::{EAGER, model};

/// The example's claim as it is sent on a day.
fn sent(id: &str, number: &str, day: &str) -> Outgoing {
    claim(id, number, |event| event["time"] = json!(format!("{day}T08:00:00Z")))
}

/// The payer's answer to it as it comes on a day.
fn answered(id: &str, number: &str, day: &str) -> Outgoing {
    remittance(id, number, |event| {
        event["time"] = json!(format!("{day}T08:00:00Z"));
        (event["data"]["paymentDate"], event["data"]["traceNumber"]) = (json!(day), json!(id));
    })
}

/// The rules among the factors of each claim's current score, by control number.
async fn rules(place: &Place, number: &str) -> Vec<String> {
    let factors: serde_json::Value = sqlx::query_scalar(
        "SELECT r.risk_factors FROM claims c JOIN risk_scores r ON r.claim_id = c.id
         WHERE c.patient_control_number = $1 ORDER BY r.id DESC LIMIT 1",
    )
    .bind(number)
    .fetch_one(&place.pool)
    .await
    .expect("a score");
    let codes = factors.as_array().expect("factors").iter().filter_map(|factor| factor["code"].as_str());
    codes.map(str::to_owned).collect()
}

async fn has(place: &Place, number: &str, rule: &str) -> bool {
    rules(place, number).await.iter().any(|code| code == rule)
}

/// Scores a claim again and tells the rules.
async fn again(place: &Place, worker: &Worker, number: &str) -> Vec<String> {
    let id: i64 = sqlx::query_scalar("SELECT id FROM claims WHERE patient_control_number = $1")
        .bind(number)
        .fetch_one(&place.pool)
        .await
        .expect("a claim");
    let (status, body) = worker.post(&format!("/api/v1/risk/{id}/calculate"), "").await;
    assert!(matches!(status, 200 | 201), "{status} {body}");
    rules(place, number).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sent_twice_is_a_duplicate_in_the_same_batch_or_a_later_one() {
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_BATCH_AGE_MS", "1000")]).await;
    // The first event of a connection is worked on alone.
    let other = claim("c4", "PCN-4", |event| event["data"]["subscriber"]["memberId"] = json!("W987654321"));
    place.publish(&[other]).await;
    place.wait_count("SELECT count(*) FROM claims", 1).await;
    quiet(&place, &[&worker]).await;
    // One batch, in the wrong order.
    place.publish(&[sent("c2", "PCN-2", "2026-11-03"), sent("c1", "PCN-1", "2026-11-02")]).await;
    place.wait_count("SELECT count(*) FROM claims", 3).await;
    quiet(&place, &[&worker]).await;
    assert_eq!(worker.sum("claimrisk_batch_messages_count").await, 2);
    place.publish(&[sent("c3", "PCN-3", "2026-11-04")]).await;
    place.wait_count("SELECT count(*) FROM claims", 4).await;
    quiet(&place, &[&worker]).await;
    for (number, twice) in [("PCN-1", false), ("PCN-2", true), ("PCN-3", true), ("PCN-4", false)] {
        assert_eq!(has(&place, number, "DU01").await, twice, "{number}");
        assert_eq!(again(&place, &worker, number).await.contains(&"DU01".to_owned()), twice, "{number}, again");
    }

    // Turned back, the first one counts as never sent; voided, so does the second.
    let rejected = json!({"specversion": "1.0", "id": "a1", "source": "urn:clearinghouse:acme",
        "type": "claim.acknowledged.v1", "time": "2026-11-02T09:00:00Z", "data": {"practiceId": "PR01",
        "patientControlNumber": "PCN-1", "accepted": false}});
    let void = claim("v1", "PCN-2", |event| {
        event["time"] = json!("2026-11-03T20:00:00Z");
        event["data"]["claimFrequencyCode"] = json!("8");
    });
    place.publish(&[crate::events::message("claim.acknowledged", &rejected), void]).await;
    place.wait_count("SELECT count(*) FROM claims WHERE status IN ('rejected', 'voided')", 2).await;
    quiet(&place, &[&worker]).await;
    assert!(!again(&place, &worker, "PCN-3").await.contains(&"DU01".to_owned()));
    assert_eq!(worker.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_sent_again_is_judged_by_what_was_decided_before_and_not_after() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    for (number, second, told) in [("PCN-1", "2026-11-10", false), ("PCN-2", "2026-12-10", true)] {
        let event = |kind: &str| format!("{kind}-{number}");
        place.publish(&[sent(&event("c"), number, "2026-11-02")]).await;
        quiet(&place, &[&worker]).await;
        // The remittance of November the twentieth is there before the second version comes, whenever that was sent.
        place.publish(&[answered(&event("r"), number, "2026-11-20")]).await;
        quiet(&place, &[&worker]).await;
        place.publish(&[sent(&event("again"), number, second)]).await;
        quiet(&place, &[&worker]).await;
        assert_eq!(has(&place, number, "FQ02").await, told, "{number}");
        assert_eq!(again(&place, &worker, number).await.contains(&"FQ02".to_owned()), told, "{number}");
    }
    assert_eq!(place.count("SELECT count(*) FROM claim_outcomes WHERE initial_outcome = 'denied'").await, 2);
    assert_eq!(worker.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_late_changes_what_was_learned_of_later_claims() {
    let place = Place::new().await;
    let worker = place.worker(EAGER).await;
    let mut events: Vec<Outgoing> = Vec::new();
    let learned = |events: &[Outgoing]| {
        let mut gathering = Gathering::default();
        events.iter().for_each(|event| gathering.take(decode_json(&event.body).expect("an event")));
        Snapshot::of(&gathering.finish().learn()).version().to_owned()
    };
    let mut versions = Vec::new();
    for new in [
        vec![sent("c3", "PCN-3", "2026-11-04"), answered("r3", "PCN-3", "2026-11-25")],
        // Sent before it: PCN-3 was a duplicate.
        vec![sent("c1", "PCN-1", "2026-11-02")],
        // Turned back before it: PCN-3 was none.
        vec![crate::events::message(
            "claim.acknowledged",
            &json!({"specversion": "1.0", "id": "a1", "source": "urn:clearinghouse:acme",
                "type": "claim.acknowledged.v1", "time": "2026-11-03T09:00:00Z",
                "data": {"practiceId": "PR01", "patientControlNumber": "PCN-1", "accepted": false}}),
        )],
        // Paid before it all the same: PCN-3 was one.
        vec![answered("r1", "PCN-1", "2026-11-03")],
    ] {
        place.publish(&new).await;
        events.extend(new);
        let expected = learned(&events);
        let shown = || format!("{expected} was expected; {}", worker.log());
        eventually("the model of all labels", async || model(&worker).await == expected, shown).await;
        versions.push(expected);
        // The learner reads again what changed within the last minutes, whether it is told to or not.
        sqlx::query("UPDATE claim_outcomes SET updated_at = updated_at - interval '1 hour'")
            .execute(&place.pool)
            .await
            .expect("older");
    }
    versions.dedup();
    assert_eq!(versions.len(), 4, "{versions:?}");
    assert_eq!(worker.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn usual_charges_are_made_of_stored_claims_and_loaded() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let one = |number: u32| {
        claim(&format!("c{number}"), &format!("PCN-{number}"), |event| {
            let data = &mut event["data"];
            let charge = json!(format!("{}.00", 200 + number % 5 * 10));
            data["subscriber"]["memberId"] = json!(format!("W{number}"));
            (data["totalClaimChargeAmount"], data["serviceLines"][0]["lineItemChargeAmount"]) =
                (charge.clone(), charge);
            data["serviceLines"][0]["serviceUnitCount"] = json!("2");
        })
    };
    place.publish(&(1..=25).map(one).collect::<Vec<_>>()).await;
    place.wait_count("SELECT count(*) FROM claims", 25).await;
    let output = place.run(&["reference", "usual-charges"]);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).expect("text");
    let head = "practice_id,payer_id,procedure_code,median,deviation,lines\n";
    assert_eq!(text, format!("{head}PR01,60054,99213,110.00,5.00,25\n"));
    let file = std::env::temp_dir().join(format!("claimrisk-it-usual-{}.csv", std::process::id()));
    std::fs::write(&file, text).expect("written");
    assert_success(&place.run(&["reference", "load", "usual-charges", &file.display().to_string()]));
    std::fs::remove_file(&file).expect("removed");
    // Five deviations above the median of one unit, and a cent.
    let scored = async |charge: &str| {
        let event = claim("w", "PCN-W", |event| {
            let data = &mut event["data"];
            (data["totalClaimChargeAmount"], data["serviceLines"][0]["lineItemChargeAmount"]) =
                (json!(charge), json!(charge));
        });
        let body = String::from_utf8(event.body).expect("text");
        let (status, score) = worker.post("/api/v1/risk/what-if", &body).await;
        assert_eq!(status, 200, "{score}");
        score.to_string().contains("AM04")
    };
    eventually("the table is in force", async || scored("137.51").await, || worker.log()).await;
    assert!(!scored("137.50").await);
    assert_eq!(worker.terminate(), 0);
}
