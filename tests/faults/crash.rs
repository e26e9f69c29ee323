//! The worker is killed at the worst moments: faults 1 to 3.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::events::claim;
use crate::ledger::Ledger;
use crate::matrix::play;
use crate::proxy::{Then, Trigger, Way};
use crate::random::Random;
use crate::scene::{Scene, seconds_until, shuffled, world};

/// The frame that acknowledges: method 80 of class 60.
const ACKNOWLEDGE: [u8; 4] = [0, 60, 0, 80];

#[tokio::test(flavor = "multi_thread")]
async fn fault_01_worker_killed() {
    play(1, async {
        let (world, scene) = (world().await, Scene::new().await);
        let kills = if std::env::var_os("CLAIMRISK_FAULTS_REPORT").is_some() { 100 } else { 12 };
        let (all, mut random) = (shuffled(world, 1), Random(1));
        for part in all.chunks(all.len().div_ceil(kills)) {
            scene.place.publish(part).await;
            let worker = scene.worker_not_ready(&[("CLAIMRISK_BATCH_MESSAGES", "5")]);
            let before = scene.applied().await;
            let began = Instant::now();
            while scene.applied().await == before && began.elapsed() < Duration::from_secs(5) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(random.below(450))).await;
            scene.kill(worker);
        }
        let worker = scene.worker(&[]).await;
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        let redelivered = worker.sum("claimrisk_messages_redelivered_total").await;
        assert_eq!(worker.terminate(), 0);
        format!("{kills} kills, {redelivered} redelivered to the last worker")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_02_killed_between_commit_and_acknowledgement() {
    play(2, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 2);
        let worker = scene.worker(&[]).await;
        scene.broker.trap(Way::Up, Trigger::Pattern(ACKNOWLEDGE.to_vec()), Then::Lose, 4);
        scene.place.publish(&all).await;
        assert!(scene.broker.wait_trapped(Duration::from_secs(30)).await, "nothing was acknowledged");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let committed = scene.applied().await;
        scene.kill(worker);
        scene.broker.pass();
        scene.broker.reset();
        let worker = scene.worker(&[]).await;
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        let duplicates = duplicates(&worker).await;
        assert!(duplicates > 0, "what was committed and not acknowledged came again");
        assert_eq!(worker.terminate(), 0);
        format!("{committed} committed at the kill, {duplicates} came again as duplicates")
    })
    .await;
}

pub async fn duplicates(worker: &crate::harness::Worker) -> u64 {
    let metrics = worker.metrics().await;
    let count: f64 = metrics
        .iter()
        .filter(|(name, _)| {
            name.starts_with("claimrisk_messages_settled_total") && name.contains(r#"outcome="duplicate""#)
        })
        .map(|(_, count)| count)
        .sum();
    count as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_03_killed_between_commit_and_cache() {
    play(3, async {
        let scene = Scene::new().await;
        let settings = [("CLAIMRISK_REDIS_TIMEOUT_MS", "20000")];
        let worker = scene.worker(&settings).await;
        let older = claim("v1", "PCN-CACHE-1", |event| event["time"] = json!("2026-11-02T00:00:00Z"));
        let newer = claim("v2", "PCN-CACHE-1", |event| {
            event["time"] = json!("2026-11-03T00:00:00Z");
            event["data"]["totalClaimChargeAmount"] = json!("900.00");
        });
        scene.place.publish(std::slice::from_ref(&older)).await;
        scene.wait_applied(1).await;
        let id = scene.place.count("SELECT id FROM claims").await;
        let key = format!("claimrisk:claim:{id}");
        let cached = async || {
            let client = redis::Client::open(scene.place.redis_url.as_str()).expect("URL");
            let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
            let value: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("value");
            value.and_then(|value| value.split('|').next()?.parse::<i64>().ok()).unwrap_or(0)
        };
        let revision = async || scene.place.count("SELECT revision FROM claims").await;
        seconds_until("the first version is cached", Duration::from_secs(10), async || {
            cached().await == revision().await
        })
        .await;

        scene.redis.trap(Way::Up, Trigger::Pattern(b"EVALSHA".to_vec()), Then::Lose, 0);
        let before = revision().await;
        scene.place.publish(std::slice::from_ref(&newer)).await;
        assert!(scene.redis.wait_trapped(Duration::from_secs(30)).await, "the cache was not written");
        seconds_until("the newer version is committed", Duration::from_secs(10), async || revision().await > before)
            .await;
        scene.kill(worker);
        assert_eq!(cached().await, before, "the crash came before the cache was written");
        scene.redis.pass();
        let worker = scene.worker(&settings).await;
        let seconds = seconds_until("the redelivery writes the cache", Duration::from_secs(20), async || {
            cached().await == revision().await
        })
        .await;
        seconds_until("the duplicate is settled", Duration::from_secs(5), async || duplicates(&worker).await == 1)
            .await;
        let sent = [older, newer];
        Ledger { whole_world: false, ..Ledger::of_world(&scene, &[&worker], &sent) }.check().await;
        assert_eq!(worker.terminate(), 0);
        format!("rewritten {seconds:.1} s after the restart")
    })
    .await;
}
