//! A challenger scores beside the model in force: stored, never shown; put in force by the rules or by force, and undone.

use claimrisk::broker::Outgoing;
use claimrisk::flow::split::message_of;
use claimrisk::simulate::{Options, simulate};
use claimrisk::wire::{Payload, x12_event};

use crate::events::quiet;
use crate::harness::{Place, assert_success, eventually};
use crate::learning::{EAGER, model};

const CHALLENGER: &str = "half-life=180 prior=140";

/// The newest model of a configuration.
async fn newest(place: &Place, configuration: &str) -> String {
    let sql = format!(
        "SELECT coalesce((SELECT model_version FROM model_snapshots WHERE configuration = '{configuration}'
            ORDER BY created_at DESC LIMIT 1), '')"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&place.pool).await.expect("a version")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_scores_in_the_shadow_and_takes_over_only_when_told() {
    let place = Place::new().await;
    let simulation = simulate(&Options { claims: 200, seed: 5, ..Options::default() });
    let claims = simulation.claims.into_iter();
    let claims = claims.map(|one| x12_event(Payload::Claim(Box::new(one.claim)), Some(one.submitted)));
    let answers = simulation.remittances.into_iter();
    let answers = answers.map(|one| x12_event(Payload::Remittance(Box::new(one.remittance)), Some(one.time)));
    let claims: Vec<Outgoing> = claims.map(|event| message_of(&event)).collect();
    let answers: Vec<Outgoing> = answers.map(|event| message_of(&event)).collect();

    let worker = place.worker(EAGER).await;
    assert_success(&place.run(&["model", "challenge", CHALLENGER]));
    let (early, late) = claims.split_at(claims.len() / 2);
    place.publish(early).await;
    place.publish(&answers).await;
    quiet(&place, &[&worker]).await;
    eventually("the challenger learns", async || !newest(&place, CHALLENGER).await.is_empty(), || worker.log()).await;
    eventually("workers take it", async || worker.log().contains(r#""challengers":1"#), || worker.log()).await;
    place.publish(late).await;
    quiet(&place, &[&worker]).await;

    // Every score made since has its shadow, by another model, and nothing of it is shown.
    let shadows = "SELECT count(*) FROM shadow_scores w JOIN risk_scores r ON r.id = w.risk_score_id
        WHERE w.model_version <> r.model_version AND w.log_odds_micro <> r.log_odds_micro";
    assert!(
        place.count(shadows).await >= i64::try_from(late.len()).expect("a count"),
        "{}",
        place.count(shadows).await
    );
    let claim: i64 = place.count("SELECT max(claim_id) FROM risk_scores").await;
    let (status, shown) = worker.get(&format!("/api/v1/risk/{claim}")).await;
    assert_eq!(status, 200);
    assert!(!shown.to_string().contains("shadow"), "{shown}");

    // Too few answers: the rules speak against it.
    let refused = place.run(&["model", "promote", CHALLENGER]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("5000 answers"), "{refused:?}");
    let listed = place.run(&["model", "challengers", "--matured-days", "0", "--output", "json"]);
    assert_success(&listed);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"may_take_over\": false"), "{listed:?}");

    let before = model(&worker).await;
    assert_success(&place.run(&["model", "promote", CHALLENGER, "--force"]));
    let in_force = async |configuration: &str| model(&worker).await == newest(&place, configuration).await;
    eventually("the challenger is in force", async || in_force(CHALLENGER).await, || worker.log()).await;
    assert_ne!(model(&worker).await, before);
    assert_success(&place.run(&["model", "roll-back"]));
    let usual = "half-life=365 prior=100";
    eventually("the former is in force again", async || in_force(usual).await, || worker.log()).await;
}
