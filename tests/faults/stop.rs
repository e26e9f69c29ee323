//! The worker stands still, is killed by an event, or is told to stop: faults 4, 20 and 26.

use std::time::{Duration, Instant};

use claimrisk::topology;

use crate::events::claim;
use crate::harness::{Worker, sum};
use crate::ledger::Ledger;
use crate::matrix::play;
use crate::proxy::{Then, Trigger, Way};
use crate::scene::{Scene, seconds_until, shuffled, world};

#[tokio::test(flavor = "multi_thread")]
async fn fault_04_worker_stands_still() {
    play(4, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 4);
        let settings = [("CLAIMRISK_DATABASE_TIMEOUT_MS", "3000")];
        let still = scene.worker(&settings).await;
        // It stops with a transaction open.
        scene.database.trap(Way::Up, Trigger::Pattern(b"COMMIT".to_vec()), Then::Tell, 6);
        scene.place.publish(&all).await;
        assert!(scene.database.wait_trapped(Duration::from_secs(20)).await, "no batch in flight");
        still.signal("STOP");
        scene.database.pass();
        let other = scene.worker(&settings).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let meanwhile = scene.applied().await;
        still.signal("CONT");
        scene.wait_applied(all.len() as i64).await;
        still.wait_ready().await;
        Ledger::of_world(&scene, &[&still, &other], &all).check().await;
        let lost = still.sum("claimrisk_broker_connections_lost_total").await;
        assert!(lost > 0, "its connections were lost");
        assert_eq!((still.terminate(), other.terminate()), (0, 0));
        format!("{meanwhile} applied when it woke up, {lost} connections lost")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_20_event_that_kills_the_process() {
    play(20, async {
        let (world, scene) = (world().await, Scene::new().await);
        let mut all = shuffled(world, 20);
        // Its number reaches PostgreSQL only when it is worked on.
        all.insert(150, claim("poison", "PCN-POISON-1", |_| {}));
        let settings = [("CLAIMRISK_DELIVERY_ATTEMPTS", "5"), ("CLAIMRISK_BATCH_MESSAGES", "200")];
        scene.database.trap(Way::Up, Trigger::Pattern(b"PCN-POISON-1".to_vec()), Then::Lose, 0);
        scene.place.publish(&all).await;
        let (mut kills, began) = (0, Instant::now());
        let worker = loop {
            let worker = scene.worker_not_ready(&settings);
            let before = scene.database.trapped();
            let over = async || scene.database.trapped() > before || scene.place.ready(topology::DEAD_QUEUE).await > 0;
            seconds_until("it dies, or the event is given up", Duration::from_secs(30), over).await;
            if scene.database.trapped() == before {
                break worker;
            }
            scene.kill(worker);
            kills += 1;
            assert!(began.elapsed() < Duration::from_secs(120), "{kills} kills");
        };
        scene.wait_applied(world.messages.len() as i64).await;
        let dead = [("delivery_limit", 1)];
        Ledger { dead: &dead, ..Ledger::of_world(&scene, &[&worker], &all) }.check().await;
        assert_eq!(worker.terminate(), 0);
        format!("given up after {kills} deaths at a limit of 5 deliveries; no neighbour with it")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_26_told_to_stop() {
    play(26, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 26);
        let mut codes = Vec::new();
        let mut parts = all.chunks(all.len().div_ceil(6));
        for part in parts.by_ref().take(4) {
            scene.place.publish(part).await;
            let worker = scene.worker_not_ready(&[("CLAIMRISK_BATCH_MESSAGES", "10")]);
            let before = scene.applied().await;
            seconds_until("it works", Duration::from_secs(20), async || scene.applied().await > before).await;
            let began = Instant::now();
            codes.push(worker.terminate());
            assert!(began.elapsed() < Duration::from_secs(20), "longer than the grace");
        }
        assert_eq!(codes, [0; 4], "each in its grace");
        for part in parts {
            scene.place.publish(part).await;
        }
        let past_grace = stop_with_a_batch_that_waits(&scene, false).await;
        let twice = stop_with_a_batch_that_waits(&scene, true).await;
        let worker = scene.worker(&[]).await;
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        assert_eq!(worker.terminate(), 0);
        format!("4 stops under load; {past_grace:.1} s past a grace of 1 s, {twice:.1} s when told twice")
    })
    .await;
}

/// Stops a worker whose batch waits for a lock; how long it took.
async fn stop_with_a_batch_that_waits(scene: &Scene, twice: bool) -> f64 {
    let grace = if twice { "15" } else { "1" };
    let mut blocker = scene.place.pool.begin().await.expect("transaction");
    let lock = "LOCK TABLE claim_submissions, remittances IN EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *blocker).await.expect("locked");
    let worker: Worker = scene.worker(&[("CLAIMRISK_SHUTDOWN_GRACE_SECONDS", grace)]).await;
    let flying = async || sum(&worker.metrics().await, "claimrisk_messages_in_flight") > 0;
    seconds_until("a batch waits", Duration::from_secs(20), flying).await;
    let began = Instant::now();
    if twice {
        worker.signal("TERM");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let code = worker.terminate();
    assert_eq!(code, 1, "work that was handed back is no clean end");
    let seconds = began.elapsed().as_secs_f64();
    assert!(seconds < 10.0, "{seconds} s");
    blocker.rollback().await.expect("released");
    seconds
}
