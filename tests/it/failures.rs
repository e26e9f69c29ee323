//! Servers that go away and come back, while events flow: nothing is lost, nothing doubled, and the metrics say so.
//!
//! The servers of these tests are their own, so that no other test notices.

use std::time::Duration;

use claimrisk::flow::split::message_of;
use claimrisk::servers::StopMode;
use claimrisk::servers::{Options as ServerOptions, Servers};
use claimrisk::simulate::{Options, simulate};
use claimrisk::wire::{Payload, x12_event};

use crate::harness::{Place, eventually};

pub fn claims(count: u32, seed: u64) -> Vec<claimrisk::broker::Outgoing> {
    let simulation = simulate(&Options { claims: count, seed, ..Options::default() });
    simulation
        .claims
        .iter()
        .map(|claim| message_of(&x12_event(Payload::Claim(Box::new(claim.claim.clone())), Some(claim.submitted))))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_costs_no_event_and_no_answer_and_counts_as_errors() {
    let mut servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    let worker = place.worker(&[]).await;
    place.publish(&claims(300, 1)).await;
    place.wait_count("SELECT count(*) FROM claim_submissions", 300).await;
    servers.redis.kill9().await.expect("killed");
    place.publish(&claims(300, 2)).await;
    place.wait_count("SELECT count(*) FROM claim_submissions", 600).await;

    let before = worker.metrics().await;
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM claims ORDER BY id LIMIT 20").fetch_all(&place.pool).await.expect("ids");
    for id in &ids {
        let (status, _) = worker.get(&format!("/api/v1/risk/{id}")).await;
        assert_eq!(status, 200, "PostgreSQL answers");
    }
    let after = worker.metrics().await;
    let grown = |result: &str| {
        let name = format!(r#"claimrisk_cache_gets_total{{entity="risk_score",result="{result}"}}"#);
        after[&name] - before[&name]
    };
    assert_eq!(grown("error") + grown("bypass"), 20.0);
    assert!(grown("error") >= 1.0, "a dead Redis is an error");
    assert_eq!(grown("miss") + grown("stale") + grown("hit"), 0.0, "and no miss");
    let url = format!("http://127.0.0.1:{}/readyz", worker.metrics);
    let (status, body) = crate::harness::try_get(&url).await.expect("answers");
    assert_eq!(status, 200, "without Redis the worker is ready, degraded");
    assert!(String::from_utf8_lossy(&body).contains("redis"));

    servers.redis.start_again().await.expect("started");
    let served_again = async || {
        worker.get(&format!("/api/v1/risk/{}", ids[0])).await;
        worker.metrics().await[r#"claimrisk_cache_gets_total{entity="risk_score",result="hit"}"#]
            > after[r#"claimrisk_cache_gets_total{entity="risk_score",result="hit"}"#]
    };
    eventually("Redis serves again", served_again, || worker.log()).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_the_broker_go_and_come_back_and_all_is_applied() {
    let mut servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    let worker = place.worker(&[("CLAIMRISK_BATCH_MESSAGES", "50")]).await;
    place.publish(&claims(1000, 3)).await;
    servers.postgres.stop(StopMode::Immediate).await.expect("stopped");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let url = format!("http://127.0.0.1:{}/readyz", worker.metrics);
    let (status, _) = crate::harness::try_get(&url).await.expect("answers");
    assert_eq!(status, 503, "without PostgreSQL the worker is not ready");
    servers.postgres.start_again().await.expect("started");
    place.wait_count("SELECT count(*) FROM claim_submissions", 1000).await;

    servers.rabbitmq.kill9().await.expect("killed");
    servers.rabbitmq.start_again().await.expect("started");
    worker.wait_ready().await;
    place.publish(&claims(500, 4)).await;
    place.wait_count("SELECT count(*) FROM claim_submissions", 1500).await;
    assert_eq!(place.ready(claimrisk::topology::DEAD_QUEUE).await, 0);
    assert_eq!(worker.terminate(), 0);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_stop_in_mid_load_finishes_what_it_took() {
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_BATCH_MESSAGES", "20")]).await;
    place.publish(&claims(1000, 5)).await;
    let began = std::time::Instant::now();
    while place.count("SELECT count(*) FROM claim_submissions").await == 0 && began.elapsed().as_secs() < 60 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(worker.terminate(), 0, "within the grace");
    let applied = place.count("SELECT count(*) FROM claim_submissions").await;
    let left = i64::from(place.ready(claimrisk::topology::CLAIMS_QUEUE).await);
    assert_eq!(applied + left, 1000, "what was not finished went back");
    let second = place.worker(&[]).await;
    place.wait_count("SELECT count(*) FROM claim_submissions", 1000).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_goes_round_through_the_delayed_queue_and_is_applied_once() {
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_DATABASE_TIMEOUT_MS", "400")]).await;
    let mut blocker = place.pool.begin().await.expect("transaction");
    sqlx::query("LOCK TABLE claim_submissions IN EXCLUSIVE MODE").execute(&mut *blocker).await.expect("locked");
    place.publish(&claims(3, 6)).await;
    let went_round = async || {
        worker.metrics().await[r#"claimrisk_messages_settled_total{event_type="claim.submitted",outcome="retried"}"#]
            >= 3.0
    };
    eventually("the events wait in the delayed queue", went_round, || worker.log()).await;
    blocker.rollback().await.expect("released");
    place.wait_count("SELECT count(*) FROM claim_submissions", 3).await;
    crate::events::quiet(&place, &[&worker]).await;
    assert_eq!(place.count("SELECT count(*) FROM ingest_events").await, 3);
    assert_eq!(place.ready(claimrisk::topology::DEAD_QUEUE).await, 0);
    assert_eq!(worker.sum("claimrisk_messages_in_flight").await, 0);
}
