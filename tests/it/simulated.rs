//! A simulated world through the real servers: whatever the order and the repetitions, the end is the simulator's truth.

use std::collections::BTreeMap;

use claimrisk::broker::Outgoing;
use claimrisk::flow::split::message_of;
use claimrisk::simulate::{Options, Simulation, simulate};
use claimrisk::topology;
use claimrisk::wire::{Payload, x12_event};
use sqlx::Row as _;

use crate::flow::quiet;
use crate::harness::{Place, Worker, assert_success, sum};

/// All events of a simulation, as messages.
pub fn messages(simulation: &Simulation) -> Vec<Outgoing> {
    let claims = simulation
        .claims
        .iter()
        .map(|claim| x12_event(Payload::Claim(Box::new(claim.claim.clone())), Some(claim.submitted)));
    let remittances = simulation.remittances.iter().map(|remittance| {
        x12_event(Payload::Remittance(Box::new(remittance.remittance.clone())), Some(remittance.time))
    });
    claims.chain(remittances).map(|event| message_of(&event)).collect()
}

/// A fixed shuffle: the same seed gives the same order.
fn shuffle(messages: &mut [Outgoing], mut seed: u64) {
    for place in (1..messages.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        messages.swap(place, (seed >> 33) as usize % (place + 1));
    }
}

/// The business state: everything but surrogate ids and times of arrival.
async fn state(place: &Place) -> Vec<String> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, y.payer_key, c.total_charge_amount,
             c.status, c.claim_frequency_type, c.overall_score, c.risk_level, c.service_date, c.diagnosis_codes::text,
             (SELECT count(*) FROM claim_lines l WHERE l.claim_id = c.id), (SELECT sum(charge_amount) FROM claim_lines l WHERE l.claim_id = c.id))
         FROM claims c JOIN practices p ON p.id = c.practice_id JOIN payers y ON y.id = c.payer_id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, r.patient_control_number, r.trace_number, r.claim_ordinal, r.payment_amount,
             r.adjudication, r.link_state, c.patient_control_number, c.responsibility, e.link_method, e.link_confidence, e.status,
             (SELECT sum(payment_amount) FROM remittance_lines l WHERE l.remittance_id = r.id))
         FROM remittances r JOIN practices p ON p.id = r.practice_id LEFT JOIN claims c ON c.id = r.claim_id
         LEFT JOIN claim_episodes e ON e.remittance_id = r.id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, s.frequency_code, s.predecessor,
             o.initial_outcome, o.final_outcome, o.net_payment_amount, o.overturned, o.initial_date)
         FROM claim_outcomes o JOIN claim_submissions s ON s.id = o.submission_id JOIN claims c ON c.id = o.claim_id
         JOIN practices p ON p.id = c.practice_id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, n.overall_score, n.model_version, n.input_hash)
         FROM claims c JOIN practices p ON p.id = c.practice_id
         CROSS JOIN LATERAL (SELECT * FROM risk_scores r WHERE r.claim_id = c.id ORDER BY r.id DESC LIMIT 1) n ORDER BY 1",
        "SELECT concat_ws('|', source, event_id, event_type, result = 'parked') FROM ingest_events ORDER BY 1",
    ] {
        let found = sqlx::query(sql).fetch_all(&place.pool).await.expect("state");
        rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
    }
    rows
}

async fn wait_applied(place: &Place, workers: &[&Worker], events: usize) {
    place.wait_count("SELECT count(*) FROM ingest_events", events as i64).await;
    quiet(place, workers).await;
}

/// Practice, control number, responsibility.
type Key = (String, String, String);
/// By claim and frequency: initial outcome, final outcome, net payment in cents.
type Outcomes = BTreeMap<(Key, String), (Option<String>, Option<String>, i64)>;

/// Compares tables with the simulator's truth: claims, money, links, outcomes.
async fn assert_truth(place: &Place, simulation: &Simulation) {
    let mut claims: BTreeMap<Key, ()> = BTreeMap::new();
    let mut outcomes = Outcomes::new();
    for claim in &simulation.claims {
        let truth = &claim.truth;
        let key =
            (truth.practice.clone(), truth.patient_control_number.expose().clone(), truth.responsibility.to_owned());
        claims.insert(key.clone(), ());
        if truth.initial_outcome.is_some() || truth.final_outcome.is_some() {
            let words = |word: Option<&str>| word.map(str::to_owned);
            let outcome = (words(truth.initial_outcome), words(truth.final_outcome), truth.paid_total.get());
            outcomes.insert((key, truth.frequency.clone()), outcome);
        }
    }
    assert_eq!(place.count("SELECT count(*) FROM claims").await, claims.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM claim_submissions").await, simulation.claims.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM remittances").await, simulation.remittances.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM remittances WHERE claim_id IS NULL").await, 0);
    assert_eq!(place.count("SELECT count(*) FROM claim_episodes").await, simulation.remittances.len() as i64);
    let paid: i64 = simulation.remittances.iter().map(|remittance| remittance.remittance.payment.get()).sum();
    assert_eq!(place.count("SELECT (sum(payment_amount) * 100)::bigint FROM remittances").await, paid);
    assert_eq!(place.count("SELECT (sum(payment_amount) * 100)::bigint FROM claim_episodes").await, paid);

    let rows = sqlx::query(
        "SELECT p.practice_key, c.patient_control_number, c.responsibility, s.frequency_code, o.initial_outcome,
             o.final_outcome, (o.net_payment_amount * 100)::bigint
         FROM claim_outcomes o JOIN claim_submissions s ON s.id = o.submission_id JOIN claims c ON c.id = o.claim_id
         JOIN practices p ON p.id = c.practice_id",
    )
    .fetch_all(&place.pool)
    .await
    .expect("outcomes");
    let stored: Outcomes = rows
        .iter()
        .map(|row| (((row.get(0), row.get(1), row.get(2)), row.get(3)), (row.get(4), row.get(5), row.get(6))))
        .collect();
    for (key, truth) in &outcomes {
        assert_eq!(stored.get(key), Some(truth), "{key:?}");
    }
    assert_eq!(stored.len(), outcomes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_claims_in_random_order_half_of_them_twice_end_in_the_truth() {
    let place = Place::new().await;
    let (first, second) = (place.worker(&[]).await, place.worker(&[]).await);
    let simulation = simulate(&Options { claims: 5000, seed: 11, ..Options::default() });
    let once = messages(&simulation);
    let events = once.len();
    let mut all: Vec<Outgoing> = once.iter().chain(once.iter().step_by(2)).cloned().collect();
    shuffle(&mut all, 42);
    place.publish(&all).await;
    wait_applied(&place, &[&first, &second], events).await;
    assert_truth(&place, &simulation).await;
    assert_eq!(place.ready(topology::DEAD_QUEUE).await, 0);
    let (one, two) = (first.metrics().await, second.metrics().await);
    let settled = sum(&one, "claimrisk_messages_settled_total") + sum(&two, "claimrisk_messages_settled_total");
    assert_eq!(settled, all.len() as u64);
    let duplicates = |metrics: &BTreeMap<String, f64>| {
        metrics.iter().filter(|(name, _)| name.contains(r#"outcome="duplicate""#)).map(|(_, value)| *value).sum::<f64>()
    };
    assert_eq!(duplicates(&one) + duplicates(&two), (all.len() - events) as f64);

    cache_statistics_agree(&place, &first, &second).await;
    load_prints_hit_rates(&place, &first);
}

/// The endpoint's numbers are the sum of the two workers' counters, also after a reset.
async fn cache_statistics_agree(place: &Place, first: &Worker, second: &Worker) {
    let id = place.count("SELECT min(id) FROM claims").await;
    for worker in [first, second, first] {
        worker.get(&format!("/api/v1/claims/{id}")).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let (_, stats) = first.get("/api/v1/cache/stats").await;
    let (one, two) = (first.metrics().await, second.metrics().await);
    for (entity, stats) in stats["entities"].as_object().expect("entities") {
        let counted = |result: &str| {
            let name = format!(r#"claimrisk_cache_gets_total{{entity="{entity}",result="{result}"}}"#);
            (one[&name] + two[&name]) as u64
        };
        assert_eq!(stats["hits"].as_u64(), Some(counted("hit")), "{entity}");
        assert_eq!(stats["misses"].as_u64(), Some(counted("miss") + counted("stale")), "{entity}");
    }
    let (status, _) = first.post("/api/v1/cache/stats/reset", "").await;
    assert_eq!(status, 200);
    let (_, after) = second.get("/api/v1/cache/stats").await;
    assert_eq!(after["overall"]["total"], 0, "{after}");
    assert!(sum(&first.metrics().await, "claimrisk_cache_gets_total") > 0, "the counters never go back");
}

fn load_prints_hit_rates(place: &Place, worker: &Worker) {
    let url = format!("http://127.0.0.1:{}", worker.http);
    for (concurrent, requests) in [("10", "100"), ("50", "500")] {
        let output = place.run(&["load", "--concurrent", concurrent, "--requests", requests, "--url", &url]);
        assert_success(&output);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("risk_score") && text.contains("p99"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_orders_of_the_same_events_end_in_the_same_state() {
    // Few practices, so that patients come again and claims bear on each other.
    let simulation = simulate(&Options { claims: 600, seed: 23, practices: 4, ..Options::default() });
    let once = messages(&simulation);
    let mut states = Vec::new();
    for order in 0..3_u64 {
        let place = Place::new().await;
        let batch = [("CLAIMRISK_BATCH_MESSAGES", ["500", "37", "1"][order as usize])];
        let (worker, other) = (place.worker(&batch).await, place.worker(&batch).await);
        let mut all = once.clone();
        match order {
            0 => {}
            1 => all.reverse(),
            _ => shuffle(&mut all, 7),
        }
        place.publish(&all).await;
        wait_applied(&place, &[&worker, &other], once.len()).await;
        states.push(state(&place).await);
    }
    for other in &states[1..] {
        for (a, b) in states[0].iter().zip(other) {
            assert_eq!(a, b);
        }
        assert_eq!(states[0].len(), other.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_load_loses_and_doubles_nothing() {
    let place = Place::new().await;
    let simulation = simulate(&Options { claims: 3000, seed: 31, ..Options::default() });
    let mut all = messages(&simulation);
    let events = all.len();
    shuffle(&mut all, 3);
    let mut worker = place.worker(&[("CLAIMRISK_BATCH_MESSAGES", "100")]).await;
    place.publish(&all).await;
    for share in 1..=4 {
        let mark = (events * share / 6) as i64;
        let began = std::time::Instant::now();
        while place.count("SELECT count(*) FROM ingest_events").await < mark && began.elapsed().as_secs() < 60 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        worker.kill();
        worker = place.worker(&[("CLAIMRISK_BATCH_MESSAGES", "100")]).await;
    }
    wait_applied(&place, &[&worker], events).await;
    assert_truth(&place, &simulation).await;
    assert_eq!(place.ready(topology::DEAD_QUEUE).await, 0);
}
