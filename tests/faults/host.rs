//! The machine runs out of what the worker needs: fault 30. Fault 28, TLS, has tests of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ledger::Ledger;
use crate::matrix::play;
use crate::scene::{Scene, seconds_until, shuffled, world};

/// Sets (softly) how many files a process may have open.
fn limit_files(pid: u32, files: &str) {
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}")]).status();
    assert!(limited.expect("prlimit").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_no_descriptors_and_a_full_log_disk() {
    play(30, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 30);
        let (first, second) = all.split_at(all.len() / 2);
        let worker = scene.worker(&[("CLAIMRISK_BATCH_MESSAGES", "10")]).await;
        scene.place.publish(first).await;
        scene.wait_applied(30).await;
        // Not one more; and all connections go, so that new ones are needed.
        limit_files(worker.pid(), "4:");
        scene.database.reset();
        scene.redis.reset();
        scene.broker.reset();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let meanwhile = scene.applied().await;
        limit_files(worker.pid(), "1024:");
        let back = async || worker.readiness().await.0;
        let seconds = seconds_until("it is ready again", Duration::from_secs(15), back).await;
        scene.wait_applied(first.len() as i64).await;

        // A second one, whose log has no room from the beginning.
        let mut unheard = unheard(&scene);
        scene.place.publish(second).await;
        scene.wait_applied(all.len() as i64).await;
        assert!(unheard.try_wait().expect("wait").is_none(), "a full log disk ended it");
        unheard.kill().expect("kill");
        unheard.wait().expect("wait");
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        assert_eq!(worker.terminate(), 0);
        format!("{meanwhile} applied without descriptors, ready {seconds:.1} s after it had them again")
    })
    .await;
}

/// A worker that writes its log to a full disk.
fn unheard(scene: &Scene) -> std::process::Child {
    let [http, metrics] = claimrisk::servers::free_ports().expect("free ports");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    scene
        .place
        .command(&["worker"])
        .env("CLAIMRISK_HTTP_ADDR", format!("127.0.0.1:{http}"))
        .env("CLAIMRISK_METRICS_ADDR", format!("127.0.0.1:{metrics}"))
        .env("CLAIMRISK_LOG", "debug")
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .expect("worker starts")
}
