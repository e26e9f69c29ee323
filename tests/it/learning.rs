//! The learner on real servers: what the fleet learns is what the files teach, whoever learned it and in whatever order.

use chrono::TimeDelta;
use claimrisk::broker::Outgoing;
use claimrisk::domain::score::Snapshot;
use claimrisk::flow::split::message_of;
use claimrisk::history::{Gathering, History, Told};
use claimrisk::simulate::{Options, SimClaim, Simulation, simulate};
use claimrisk::wire::{Event, Payload, x12_event};
use serde_json::Value;

use crate::events::quiet;
use crate::harness::{Place, Worker, assert_success, eventually};

pub const EAGER: &[(&str, &str)] = &[("CLAIMRISK_MODEL_PUBLISH_SECONDS", "1")];

/// A simulated history with its duplicates, in which some originals are sent once more after the payer decided them.
fn events(claims: u32) -> Vec<Event> {
    let mut simulation = simulate(&Options { claims, seed: 77, ..Options::default() });
    let originals = simulation.claims.iter().filter(|one| one.claim.frequency_code == "1");
    let again: Vec<SimClaim> = originals.step_by(20).filter_map(|one| sent_again(one, &simulation)).collect();
    assert!(again.len() > 10, "{}", again.len());
    simulation.claims.extend(again);
    let sent = simulation.claims.into_iter();
    let sent = sent.map(|one| x12_event(Payload::Claim(Box::new(one.claim)), Some(one.submitted)));
    let paid = simulation.remittances.into_iter();
    let paid = paid.map(|one| x12_event(Payload::Remittance(Box::new(one.remittance)), Some(one.time)));
    sent.chain(paid).collect()
}

fn sent_again(original: &SimClaim, simulation: &Simulation) -> Option<SimClaim> {
    let number = &original.claim.patient_control_number;
    let mut answers = simulation.remittances.iter();
    let answer = answers.find(|one| one.remittance.patient_control_number == *number)?;
    let submitted = answer.time + TimeDelta::days(5);
    let mut again = SimClaim { submitted, ..original.clone() };
    again.claim.submitted_at = Some(submitted.date_naive());
    Some(again)
}

/// Claims of a history that break a rule.
fn breaking(history: &History, rule: &str) -> usize {
    let is_rule =
        |told: &&Told| told.features.claim().iter().any(|one| told.features.key(one) == format!("rule/{rule}"));
    history.submissions.iter().filter(is_rule).count()
}

/// A service that was sent twice, by its second claim.
fn duplicate(history: &History) -> &Told {
    let is_rule = |told: &&Told| told.features.claim().iter().any(|one| told.features.key(one) == "rule/DU01");
    history.submissions.iter().find(is_rule).expect("a duplicate")
}

/// The version of the model in force at a worker.
pub async fn model(worker: &Worker) -> String {
    let (_, health) = worker.get("/api/v1/health/detailed").await;
    health["model_version"].as_str().expect("a model").to_owned()
}

/// Open claims are scored again with the learned model, and each claim shows its newest score.
async fn open_claims_follow(place: &Place, worker: &Worker) {
    let moved = "SELECT count(*) FROM claims c WHERE c.status IN ('submitted', 'accepted', 'rejected') AND EXISTS (
        SELECT FROM risk_scores r WHERE r.claim_id = c.id AND r.model_version LIKE 'learned-%')";
    let done = || worker.log().matches("open claims were scored").count() >= 2;
    eventually("open claims are scored again", async || done(), || worker.log()).await;
    assert!(place.count(moved).await > 5, "{} moved", place.count(moved).await);
    let apart = "SELECT count(*) FROM claims c CROSS JOIN LATERAL (SELECT * FROM risk_scores r WHERE r.claim_id = c.id
        ORDER BY r.id DESC LIMIT 1) n WHERE (n.overall_score, n.risk_level) IS DISTINCT FROM (c.overall_score, c.risk_level)";
    assert_eq!(place.count(apart).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_learns_what_the_files_teach_although_its_learner_is_killed() {
    let place = Place::new().await;
    let events = events(600);
    let mut gathering = Gathering::default();
    events.iter().cloned().for_each(|event| gathering.take(event));
    let history = gathering.finish();
    for (rule, least) in [("DU01", 3), ("FQ02", 10)] {
        assert!(breaking(&history, rule) >= least, "{rule}: {}", breaking(&history, rule));
    }
    let expected = Snapshot::of(&history.learn());
    assert!(expected.labels() > 400, "{}", expected.labels());

    let first = place.worker(EAGER).await;
    let second = place.worker(EAGER).await;
    let messages: Vec<Outgoing> = events.iter().rev().map(message_of).collect();
    let (half, rest) = messages.split_at(messages.len() / 2);
    place.publish(half).await;
    quiet(&place, &[&first, &second]).await;
    // The one that learns is killed; the other goes on from what is stored.
    let learns = |worker: &Worker| worker.log().contains("active learner");
    eventually("somebody learns", async || learns(&first) || learns(&second), String::new).await;
    let (learner, other) = if learns(&first) { (first, second) } else { (second, first) };
    learner.kill();
    place.publish(rest).await;
    quiet(&place, &[&other]).await;
    let version = expected.version().to_owned();
    let shown = || format!("{version} was expected; {}", other.log());
    eventually("the model of all labels", async || model(&other).await == version, shown).await;
    assert!(learns(&other));

    let rebuilt = place.run(&["model", "rebuild"]);
    assert_success(&rebuilt);
    assert_eq!(String::from_utf8_lossy(&rebuilt.stdout).trim(), version);

    open_claims_follow(&place, &other).await;

    // The stored ledger, played again, scores as the files do.
    let folder = std::env::temp_dir().join(format!("claimrisk-it-learning-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let line = |event: &Event| String::from_utf8(message_of(event).body.to_vec()).expect("text") + "\n";
    std::fs::write(folder.join("history.ndjson"), events.iter().map(line).collect::<String>()).expect("written");
    let scores = |name: &str, from: &str| {
        let arguments = ["backtest", from, "--scores", name, "--matured-days", "0", "--rounds", "1"];
        let output = place.command(&arguments).current_dir(&folder).output().expect("run");
        assert_success(&output);
        std::fs::read_to_string(folder.join(name)).expect("scores")
    };
    let of_files = scores("files.csv", "history.ndjson");
    assert!(of_files.lines().count() > 500, "{of_files}");
    assert_eq!(of_files, scores("database.csv", "--from-database"));

    // The files alone give the same score as the fleet: of a claim that something was sent before.
    let number = &duplicate(&history).key.1;
    let is_it = |event: &&Event| matches!(&event.payload, Payload::Claim(claim) if claim.patient_control_number.expose() == number);
    let claim = events.iter().find(is_it).expect("a claim");
    std::fs::write(folder.join("claim.ndjson"), line(claim)).expect("written");
    let output = place
        .command(&["score", "claim.ndjson", "--history", "history.ndjson", "--output", "json"])
        .current_dir(&folder)
        .output()
        .expect("run");
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_success(&output);
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let body: Value = serde_json::from_slice(&message_of(claim).body).expect("JSON");
    let (status, what_if) = other.post("/api/v1/risk/what-if", &body.to_string()).await;
    assert_eq!(status, 200, "{what_if}");
    for field in ["overall_score", "log_odds_micro", "model_version", "input_hash"] {
        assert_eq!(rows[0][field], what_if[field], "{field}");
    }
    assert_eq!(what_if["model_version"], version.as_str());
    assert!(what_if.to_string().contains("\"DU01\""), "{what_if}");
    assert_eq!(other.terminate(), 0);
}
