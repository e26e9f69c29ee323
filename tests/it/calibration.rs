//! Calibration as counters: what the workers count adds up to what the database holds, to the last millionth, and a label
//! that comes again or changes counts once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use claimrisk::broker::Outgoing;
use claimrisk::domain::outcome::Outcome;
use claimrisk::domain::score::probability_of;
use claimrisk::flow::split::message_of;
use claimrisk::simulate::{Options, Simulation, simulate};
use claimrisk::wire::{Payload, x12_event};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::events::{claim, quiet, remittance};
use crate::harness::{Place, Worker, assert_success, sum, try_get};

const EVENTS: &str = "SELECT count(*) FROM ingest_events";

/// What one bin adds up to: labels, denials, probabilities and squared distances in millionths.
type Bins = [[u64; 4]; 10];

fn claims(simulation: &Simulation) -> Vec<Outgoing> {
    let event = |one: &claimrisk::simulate::SimClaim| {
        message_of(&x12_event(Payload::Claim(Box::new(one.claim.clone())), Some(one.submitted)))
    };
    simulation.claims.iter().map(event).collect()
}

/// The remittances in waves with one of each patient at the most: so the first of a claim comes first, and its initial
/// outcome stays what it was when its label came.
fn waves(simulation: &Simulation) -> Vec<Vec<Outgoing>> {
    let mut waves: Vec<Vec<Outgoing>> = Vec::new();
    let mut told: BTreeMap<u32, usize> = BTreeMap::new();
    for one in &simulation.remittances {
        let wave = told.entry(one.patient).or_default();
        if *wave == waves.len() {
            waves.push(Vec::new());
        }
        let event = x12_event(Payload::Remittance(Box::new(one.remittance.clone())), Some(one.time));
        waves[*wave].push(message_of(&event));
        *wave += 1;
    }
    waves
}

/// The counters of a fleet, added up.
async fn counted(workers: &[&Worker]) -> Bins {
    let mut bins = Bins::default();
    for worker in workers {
        let metrics = worker.metrics().await;
        let micro = |value: f64| (value * 1e6).round() as u64;
        for (bin, sums) in bins.iter_mut().enumerate() {
            let of = |name: &str, more: &str| metrics[&format!(r#"claimrisk_{name}{{bin="0.{bin}"{more}}}"#)];
            let denied = of("calibration_outcomes_total", r#",outcome="denied""#) as u64;
            sums[0] += denied + of("calibration_outcomes_total", r#",outcome="paid""#) as u64;
            sums[1] += denied;
            sums[2] += micro(of("calibration_predicted_total", ""));
        }
        bins[0][3] += micro(metrics["claimrisk_brier_loss_total"]);
    }
    bins
}

/// What the command tells; the loss of all bins stands in the first, as the counter has none.
fn recomputed(place: &Place) -> (Bins, Value) {
    let output = place.run(&["model", "calibration", "--output", "json"]);
    assert_success(&output);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut bins = Bins::default();
    for (bin, row) in bins.iter_mut().zip(report["bins"].as_array().expect("bins")) {
        let count = |name: &str| row[name].as_u64().expect("a count");
        *bin = [count("labels"), count("denied"), count("predicted_micro"), 0];
    }
    bins[0][3] = report["loss_micro"].as_u64().expect("loss");
    (bins, report)
}

/// The same from the scores and the outcomes, without the table of labels.
async fn independent(place: &Place) -> Bins {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (o.submission_id) r.log_odds_micro, o.initial_outcome
         FROM claim_outcomes o JOIN risk_scores r ON r.submission_id = o.submission_id
         WHERE o.initial_outcome IS NOT NULL ORDER BY o.submission_id, r.id DESC",
    )
    .fetch_all(&place.pool)
    .await
    .expect("labels");
    let mut bins = Bins::default();
    for row in rows {
        let probability = probability_of(row.get(0));
        let denied = Outcome::parse(row.get(1)).expect("an outcome") != Outcome::Paid;
        let sums = &mut bins[((probability * 10.0) as usize).min(9)];
        let micro = (probability * 1e6).round();
        sums[0] += 1;
        sums[1] += u64::from(denied);
        sums[2] += micro as u64;
        bins[0][3] += ((micro - if denied { 1e6 } else { 0.0 }).powi(2) / 1e6).round() as u64;
    }
    bins
}

/// Gives some submissions another score, as a rescoring would.
async fn rescore(place: &Place, every: i32, by: i64) {
    sqlx::query(
        "INSERT INTO risk_scores (claim_id, submission_id, overall_score, risk_level, log_odds_micro, component_scores,
             risk_factors, recommendations, blocking, model_version, rule_set_version, input_hash)
         SELECT claim_id, submission_id, overall_score, risk_level, log_odds_micro + $2, component_scores, risk_factors,
             recommendations, blocking, 'another', rule_set_version, input_hash FROM risk_scores WHERE id % $1 = 0",
    )
    .bind(every)
    .bind(by)
    .execute(&place.pool)
    .await
    .expect("scores");
}

/// Holds the text of /metrics against Prometheus' own rules, where promtool is installed.
#[expect(clippy::print_stderr, reason = "a skipped check has to be seen in the test's output")]
async fn promtool_accepts(worker: &Worker) {
    let (_, text) = try_get(&format!("http://127.0.0.1:{}/metrics", worker.metrics)).await.expect("metrics");
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            child.stdin.take().expect("piped").write_all(&text).expect("written");
            let output = child.wait_with_output().expect("ends");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.trim().is_empty(), "{said}");
        }
        Err(error) => eprintln!("SKIPPED promtool check metrics: {error}; it comes with Debian's package prometheus"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_of_two_workers_add_up_to_what_the_database_holds() {
    let place = Place::new().await;
    let (first, second) = (place.worker(&[]).await, place.worker(&[]).await);
    let fleet = [&first, &second];
    assert_eq!(counted(&fleet).await, Bins::default(), "every series is there from the start, at zero");
    let simulation = simulate(&Options { claims: 500, seed: 19, ..Options::default() });
    let sent = claims(&simulation);
    let mut events = sent.len() as i64;
    place.publish(&sent).await;
    place.wait_count(EVENTS, events).await;
    quiet(&place, &fleet).await;
    // A label is bound to the newest score of its submission, not to the first.
    rescore(&place, 3, 700_000).await;
    let waves = waves(&simulation);
    for wave in &waves {
        place.publish(wave).await;
        place.publish(&wave[..wave.len() / 2]).await;
        events += wave.len() as i64;
        place.wait_count(EVENTS, events).await;
        quiet(&place, &fleet).await;
    }
    let expected = independent(&place).await;
    assert!(expected.iter().filter(|sums| sums[0] > 0).count() >= 5, "{expected:?}");
    assert_eq!(counted(&fleet).await, expected);
    let (stored, report) = recomputed(&place);
    assert_eq!(stored, expected);

    // Scores that come after the label are not those that stood, and events that come again label nothing.
    rescore(&place, 2, -900_000).await;
    for messages in waves.iter().chain([&sent]) {
        place.publish(messages).await;
    }
    quiet(&place, &fleet).await;
    place.wait_count("SELECT count(*) FROM label_scores", expected.iter().map(|sums| sums[0] as i64).sum()).await;
    assert_eq!((counted(&fleet).await, recomputed(&place).0), (expected, expected));

    let labels = report["labels"].as_f64().expect("labels");
    let off: f64 = expected.iter().map(|sums| (sums[2] as f64 - sums[1] as f64 * 1e6).abs()).sum();
    assert!((report["calibration_error"].as_f64().expect("ECE") - off / 1e6 / labels).abs() < 1e-12, "{report}");
    assert!((report["brier"].as_f64().expect("Brier") - expected[0][3] as f64 / 1e6 / labels).abs() < 1e-12);
    let later = place.run(&["model", "calibration", "--since", "2999-01-01", "--output", "json"]);
    assert_success(&later);
    let later: Value = serde_json::from_slice(&later.stdout).expect("JSON");
    assert_eq!((later["labels"].as_u64(), later["brier"].is_null()), (Some(0), true), "{later}");

    let (one, two) = (first.metrics().await, second.metrics().await);
    let total = |name: &str| sum(&one, name) + sum(&two, name);
    assert_eq!(total("claimrisk_score_bins_total"), total("claimrisk_scores_total"));
    promtool_accepts(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_changes_counts_once() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    place.publish(&[claim("c1", "PCN-1", |_| {}), remittance("r1", "PCN-1", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM claim_outcomes WHERE initial_outcome = 'denied'", 1).await;
    // What comes later was decided earlier: the first adjudication paid.
    let earlier = remittance("r0", "PCN-1", |event| {
        let data = &mut event["data"];
        (data["traceNumber"], data["paymentDate"]) = (json!("EFT0"), json!("2026-11-10"));
        data["claimPaymentAmount"] = json!("800.00");
        data["serviceLines"][0]["lineItemPaymentAmount"] = json!("800.00");
        data["serviceLines"][0]["adjustments"] = json!([]);
    });
    place.publish(&[earlier]).await;
    place.wait_count("SELECT count(*) FROM claim_outcomes WHERE initial_outcome = 'paid'", 1).await;
    quiet(&place, &[&worker]).await;
    let counted = counted(&[&worker]).await;
    assert_eq!(counted.iter().fold((0, 0), |sum, bin| (sum.0 + bin[0], sum.1 + bin[1])), (1, 1), "{counted:?}");
    assert_eq!(recomputed(&place).0, counted);
}
