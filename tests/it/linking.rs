//! Links by the lower rungs of the ladder, and how they move when claims change or come late.

use serde_json::json;

use crate::events::{claim, message, quiet, remittance};
use crate::harness::Place;

const LINKED: &str =
    "SELECT count(*) FROM remittances r JOIN claims c ON c.id = r.claim_id WHERE c.patient_control_number = 'PCN-B'";

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_remittance_links_itself_when_one_claim_stops_fitting() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    place.publish(&[claim("a1", "PCN-A", |_| {}), claim("b1", "PCN-B", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claims", 2).await;
    let unnamed = remittance("r1", "UNKNOWN-77", |event| {
        event["data"]["subscriber"] = json!({"memberId": "W123456789"});
        event["data"]["payerClaimControlNumber"] = json!(null);
    });
    place.publish(&[unnamed]).await;
    place.wait_count("SELECT count(*) FROM remittances WHERE link_state = 'ambiguous'", 1).await;
    let other_member = claim("a2", "PCN-A", |event| {
        event["time"] = json!("2026-11-03T00:00:00Z");
        event["data"]["subscriber"]["memberId"] = json!("W000000001");
    });
    place.publish(&[other_member]).await;
    place.wait_count(LINKED, 1).await;
    assert_eq!(place.count("SELECT count(*) FROM claim_episodes WHERE link_method = 'member_dates_charge'").await, 1);
    quiet(&place, &[&worker]).await;
    assert_eq!(place.count("SELECT count(*) FROM ingest_events WHERE result = 'parked'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_claim_that_comes_late_takes_the_link_over() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    // The payer cut the number at 17 characters; a claim with just that number comes later and is the better match.
    place.publish(&[claim("long", "PCN-1234567890123-LONG", |_| {})]).await;
    place.publish(&[remittance("r1", "PCN-1234567890123", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claim_episodes WHERE link_method = 'mangled_control_number'", 1).await;
    place.wait_count("SELECT count(*) FROM claims WHERE status = 'denied'", 1).await;
    place.publish(&[claim("short", "PCN-1234567890123", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claim_episodes WHERE link_method = 'control_number'", 1).await;
    assert_eq!(place.count("SELECT count(*) FROM claim_episodes").await, 1);
    assert_eq!(
        place
            .count("SELECT count(*) FROM claims WHERE status = 'submitted' AND patient_control_number LIKE '%LONG'")
            .await,
        1
    );
    assert_eq!(place.count("SELECT count(*) FROM claim_outcomes").await, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_two_publishers_with_the_same_id_do_not_mix() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let acknowledged = |source: &str, number: &str, accepted: bool| {
        message(
            "claim.acknowledged",
            &json!({
                "specversion": "1.0", "id": "17", "source": source, "type": "claim.acknowledged.v1",
                "time": "2026-11-11T00:00:00Z",
                "data": {"practiceId": "PR01", "patientControlNumber": number, "accepted": accepted}
            }),
        )
    };
    // Before their claims, and in one batch.
    place.publish(&[acknowledged("urn:one", "PCN-A", true), acknowledged("urn:two", "PCN-B", false)]).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'parked'", 2).await;
    place.publish(&[claim("a", "PCN-A", |_| {}), claim("b", "PCN-B", |_| {})]).await;
    place
        .wait_count("SELECT count(*) FROM claims WHERE status = 'accepted' AND patient_control_number = 'PCN-A'", 1)
        .await;
    place
        .wait_count("SELECT count(*) FROM claims WHERE status = 'rejected' AND patient_control_number = 'PCN-B'", 1)
        .await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'parked'", 0).await;
    drop(worker);
}
