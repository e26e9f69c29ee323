//! A simulated world through the real servers: whatever the order and the repetitions, the end is the simulator's truth.

use std::collections::BTreeMap;

use claimrisk::broker::Outgoing;
use claimrisk::domain::outcome::{Adjudication, judge};
use claimrisk::simulate::{Options, Simulation, simulate};
use claimrisk::topology;

use crate::events::quiet;
use crate::harness::{Place, Worker, assert_success, sum};
use crate::truth::{assert_truth, messages, shuffle, state};

async fn wait_applied(place: &Place, workers: &[&Worker], events: usize) {
    place.wait_count("SELECT count(*) FROM ingest_events", events as i64).await;
    quiet(place, workers).await;
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
    counted_once(&simulation, &[one, two]);

    cache_statistics_agree(&place, &first, &second).await;
    load_prints_hit_rates(&place, &first);
}

/// Scores and denied money are counted when they are stored, and not again with a duplicate.
fn counted_once(simulation: &Simulation, workers: &[BTreeMap<String, f64>]) {
    let all = |part: &dyn Fn(&str) -> bool| -> f64 {
        workers.iter().flatten().filter(|(name, _)| part(name)).map(|(_, value)| value).sum()
    };
    let scored = all(&|name| name.contains(r#"outcome="scored""#));
    assert_eq!(all(&|name| name.starts_with("claimrisk_scores_total")), scored);
    assert_eq!(all(&|name| name.starts_with("claimrisk_score_bins_total")), scored);
    let judged = simulation.remittances.iter().map(|one| judge(&one.remittance));
    let decided = judged.filter(|judged| matches!(judged.adjudication, Adjudication::Label(_)));
    let denied: i64 = decided.flat_map(|judged| judged.denial_carcs).map(|(_, _, amount)| amount.get()).sum();
    let dollars = all(&|name| name.starts_with("claimrisk_denied_amount_dollars_total"));
    assert_eq!((dollars * 100.0).round() as i64, denied);
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
