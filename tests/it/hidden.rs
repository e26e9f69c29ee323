//! Payers' hidden policies, through the real broker: once remittances have taught them, claims that are still open say which
//! one they hit. The answers to the last tenth of the claims are kept back, so that no score has seen its own.

use std::collections::BTreeSet;
use std::time::Duration;

use claimrisk::domain::types::{Instant, Phi};
use claimrisk::simulate::{Options, SimClaim, Simulation, simulate};
use serde_json::Value;
use sqlx::Row as _;

use crate::events::quiet;
use crate::harness::{Place, Worker, eventually, setting};
use crate::learning::{EAGER, model};
use crate::truth::messages;

/// Claims of a run in the suite; `CLAIMRISK_HIDDEN_CLAIMS` asks for another number.
const CLAIMS: u64 = 4000;
/// Of the open claims that hit a policy, so many percent name it first, at the least. With few claims a policy has hardly
/// been seen; with many, the rest are claims where something else weighs more.
const LEAST: fn(u64) -> usize = |claims| if claims >= 20_000 { 70 } else { 40 };

/// The procedure of the hidden policy that is the likeliest reason for a denial of a claim.
fn policy(one: &SimClaim) -> Option<&str> {
    one.truth.mechanism.strip_prefix("policy:").filter(|_| one.claim.frequency_code == "1")
}

/// Keeps back what answers the last claims; tells from when on.
fn keep_back(simulation: &mut Simulation) -> Instant {
    let since = simulation.claims[simulation.claims.len() / 10 * 9].submitted;
    let late: BTreeSet<Phi<String>> = simulation
        .claims
        .iter()
        .filter(|one| one.submitted >= since)
        .map(|one| one.truth.patient_control_number.clone())
        .collect();
    simulation.remittances.retain(|one| one.time < since && !late.contains(&one.remittance.patient_control_number));
    since
}

async fn first_reason(place: &Place, worker: &Worker, one: &SimClaim) -> Value {
    let id = sqlx::query(
        "SELECT c.id FROM claims c JOIN practices p ON p.id = c.practice_id
         WHERE p.practice_key = $1 AND c.patient_control_number = $2 AND c.responsibility = $3",
    )
    .bind(&one.truth.practice)
    .bind(one.truth.patient_control_number.expose())
    .bind(one.truth.responsibility)
    .fetch_one(&place.pool)
    .await
    .expect("a claim");
    let (status, risk) = worker.get(&format!("/api/v1/risk/{}", id.get::<i64, _>(0))).await;
    assert_eq!(status, 200, "{risk}");
    risk["risk_factors"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a longer run is asked for and told on the command line")]
async fn a_hidden_policy_is_the_first_reason_with_its_payer_and_procedure() {
    let claims = setting("CLAIMRISK_HIDDEN_CLAIMS").unwrap_or(CLAIMS);
    let mut simulation =
        simulate(&Options { claims: u32::try_from(claims).expect("fits"), seed: 5, ..Options::default() });
    let since = keep_back(&mut simulation);
    let place = Place::new().await;
    let worker = place.worker(EAGER).await;
    let messages = messages(&simulation);
    let started = std::time::Instant::now();
    place.publish(&messages).await;
    let took = started.elapsed();
    let all = i64::try_from(messages.len()).expect("fits");
    while place.count("SELECT count(*) FROM ingest_events").await < all {
        assert!(started.elapsed() < Duration::from_secs(1200), "{}", worker.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    quiet(&place, &[&worker]).await;
    // What is open is scored with the last model when nothing was scored for a while.
    let newest = "SELECT count(*) FROM risk_scores";
    let mut last = (-1, String::new());
    let settled = async || {
        let before = std::mem::replace(&mut last, (place.count(newest).await, model(&worker).await));
        tokio::time::sleep(Duration::from_secs(8)).await;
        before == last
    };
    eventually("open claims are scored with the last model", settled, || worker.log()).await;

    let (mut hit, mut named) = (0, 0);
    let mut missed = Vec::new();
    for one in simulation.claims.iter().filter(|one| one.submitted >= since) {
        let Some(procedure) = policy(one) else { continue };
        let first = first_reason(&place, &worker, one).await;
        let payer = one.claim.payer.key();
        let told = first["description"].as_str().unwrap_or_default();
        hit += 1;
        if told.starts_with(&format!("Payer {payer} denies procedure {procedure} ")) {
            named += 1;
        } else {
            missed.push(format!("{payer} {procedure}: {told}"));
        }
    }
    println!(
        "{all} messages published in {took:.1?}; of {hit} open claims that hit a hidden policy, {named} name it first"
    );
    assert!(hit >= 20 && named * 100 >= hit * LEAST(claims), "{named} of {hit}: {missed:#?}");
    assert_eq!(worker.terminate(), 0);
}
