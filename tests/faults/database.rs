//! PostgreSQL is silent, restarts, is full, locked, starved: faults 9 to 14.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use claimrisk::broker::Outgoing;
use claimrisk::servers::{Durability, Options as ServerOptions, Postgres, StopMode};
use sqlx::PgPool;

use crate::crash::duplicates;
use crate::harness::{Place, Worker, servers, sum};
use crate::ledger::Ledger;
use crate::matrix::play;
use crate::proxy::{Then, Trigger, Way};
use crate::random::Random;
use crate::scene::{Scene, rough, seconds_until, shuffled, world};

#[tokio::test(flavor = "multi_thread")]
async fn fault_09_silence_between_worker_and_postgres() {
    play(9, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 9);
        let (first, second) = all.split_at(all.len() / 2);
        // The client's deadline is twice this.
        let worker = scene.worker(&[("CLAIMRISK_DATABASE_TIMEOUT_MS", "1500")]).await;
        scene.place.publish(first).await;
        scene.wait_applied(first.len() as i64).await;
        let mut slowest = 0.0_f64;
        for part in second.chunks(second.len().div_ceil(3)) {
            let before = scene.applied().await;
            scene.database.trap(Way::Up, Trigger::Pattern(b"INSERT".to_vec()), Then::Tell, 0);
            scene.place.publish(part).await;
            assert!(scene.database.wait_trapped(Duration::from_secs(20)).await, "no batch in flight");
            scene.database.lose();
            scene.database.pass();
            let again = async || scene.applied().await >= before + part.len() as i64;
            slowest = slowest.max(seconds_until("the worker works again", Duration::from_secs(12), again).await);
        }
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        assert_eq!(worker.terminate(), 0);
        let learned = silence_under_the_learner(&scene).await;
        format!(
            "three times; all applied at most {slowest:.1} s later, the learner at work {learned:.1} s later, at a \
             deadline of 3 s"
        )
    })
    .await;
}

/// Silence where the learner reads what it learns from, in the session that holds the right to. Another session takes the
/// right when the server has ended that one; and who is told to stop meanwhile, stops. The seconds until somebody learns.
async fn silence_under_the_learner(scene: &Scene) -> f64 {
    let silent = async |settings: &[(&str, &str)]| {
        scene.database.trap(Way::Up, Trigger::Pattern(b"WITH wanted AS (".to_vec()), Then::LoseAnswer, 0);
        let worker = scene.worker(settings).await;
        assert!(scene.database.wait_trapped(Duration::from_secs(20)).await, "nobody learns");
        scene.database.pass();
        worker
    };
    let short = [("CLAIMRISK_DATABASE_TIMEOUT_MS", "1500"), ("CLAIMRISK_MODEL_PUBLISH_SECONDS", "1")];
    let worker = silent(&short).await;
    let learns = async || worker.sum("claimrisk_learner_last_turn_timestamp_seconds").await > 0;
    let learned = seconds_until("somebody learns again", Duration::from_secs(15), learns).await;
    assert_eq!(worker.terminate(), 0);
    // With a deadline far behind the grace.
    let (worker, told) = (silent(&[]).await, Instant::now());
    assert_eq!(worker.terminate(), 0);
    assert!(told.elapsed() < Duration::from_secs(10), "stopped after {:?}", told.elapsed());
    learned
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_10_answer_to_commit_lost() {
    play(10, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 10);
        let settings = [("CLAIMRISK_BATCH_MESSAGES", "20"), ("CLAIMRISK_DATABASE_TIMEOUT_MS", "3000")];
        let worker = scene.worker(&settings).await;
        let mut lost = 0;
        for (at, part) in all.chunks(all.len().div_ceil(8)).enumerate() {
            // The server's own word that it committed is not passed on.
            scene.database.trap(Way::Down, Trigger::Pattern(b"COMMIT\0".to_vec()), Then::Reset, at as u64 % 4);
            scene.place.publish(part).await;
            scene.database.wait_trapped(Duration::from_secs(10)).await;
            lost += scene.database.trapped().min(1);
            scene.database.pass();
        }
        assert!(lost >= 6, "{lost} answers lost");
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        let duplicates = duplicates(&worker).await;
        assert!(duplicates > 0, "what was committed was found to be");
        assert_eq!(worker.terminate(), 0);
        format!("{lost} answers lost, {duplicates} events found committed")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_11_postgres_restarts_at_once() {
    let mut servers = rough().await;
    play(11, async {
        let world = world().await;
        let scene = Scene::on(&servers).await;
        let all = shuffled(world, 11);
        let worker = scene.worker(&[("CLAIMRISK_BATCH_MESSAGES", "10")]).await;
        let mut slowest = 0.0_f64;
        for part in all.chunks(all.len().div_ceil(3)) {
            scene.publish_anew(part).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            servers.postgres.restart(StopMode::Immediate).await.expect("restarted");
            let ready = async || worker.readiness().await.0;
            slowest = slowest.max(seconds_until("it is ready again", Duration::from_secs(10), ready).await);
        }
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check_on(&servers).await;
        assert_eq!(worker.terminate(), 0);
        format!("3 restarts, ready at most {slowest:.1} s later")
    })
    .await;
}

/// A small disk in memory, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(mebibytes: u32) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("claimrisk-disk-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        let size = format!("size={mebibytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        std::fs::remove_dir(&path).ok();
        None
    }

    /// Fills the disk to its last byte.
    fn fill(&self) -> u64 {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.filler()).expect("file");
        let (piece, mut written) = (vec![0_u8; 64 * 1024], 0);
        while let Ok(length) = file.write(&piece) {
            written += length as u64;
        }
        written
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a cluster of its own on a small disk, full for 10 s"]
async fn fault_12_disk_of_postgres_full() {
    play(12, async {
        let Some(disk) = SmallDisk::mount(260) else {
            return "SKIPPED: this user may not mount a small disk; run it as root".to_owned();
        };
        let world = world().await;
        let options = ServerOptions {
            parent_folder: Some(disk.path().to_owned()),
            durability: Durability::default(),
            progress: None,
            ..ServerOptions::default()
        };
        let mut postgres = Postgres::start(&options).await.expect("PostgreSQL");
        let (scene, worker) = on_small_disk(&postgres).await;
        let all = shuffled(world, 12);
        let (first, second) = all.split_at(all.len() / 2);
        scene.publish_anew(first).await;
        scene.wait_applied(first.len() as i64 / 2).await;
        let filled = disk.fill();
        scene.publish_anew(second).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let crashed = !postgres.is_running();
        disk.empty();
        if crashed {
            postgres.start_again().await.expect("started");
        }
        scene.wait_applied(all.len() as i64).await;
        let errors = worker.metrics().await;
        let full = sum(&errors, "claimrisk_db_errors_total");
        assert!(full > 0, "the disk was never full");
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        assert_eq!(worker.terminate(), 0);
        let crashed = if crashed { "; PostgreSQL itself stopped and was started again" } else { "" };
        format!("{} MiB filled, {full} database errors{crashed}", filled / 1024 / 1024)
    })
    .await;
}

/// A scene whose database lies on another cluster.
async fn on_small_disk(postgres: &Postgres) -> (Scene, Worker) {
    let mut scene = Scene::new().await;
    let url = postgres.create_database("small").await.expect("database");
    let place = Place::prepare(
        scene.place.amqp_url.clone(),
        url.clone(),
        scene.place.redis_url.clone(),
        scene.place.vhost.clone(),
    )
    .await;
    scene.place = place;
    let worker = scene.worker(&[("DATABASE_URL", &url), ("CLAIMRISK_BATCH_MESSAGES", "10")]).await;
    (scene, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_13_deadlocks_locks_and_serialization() {
    play(13, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 13);
        let settings = [("CLAIMRISK_DATABASE_TIMEOUT_MS", "2500"), ("CLAIMRISK_BATCH_MESSAGES", "25")];
        let (one, two) = (scene.worker(&settings).await, scene.worker(&settings).await);
        // Two workers on the same claims in one another's way, and nobody else: no deadlock among them.
        let (first, second) = all.split_at(all.len() / 2);
        scene.place.publish(first).await;
        scene.wait_applied(first.len() as i64).await;
        let own = deadlocks(&scene.place.pool).await;
        assert_eq!(own, 0, "deadlocks among the workers alone");

        scene.place.publish(second).await;
        let rivals = (0..3).map(|at| rival(&scene.place.pool, at));
        futures_util::future::join_all(rivals).await;
        let blocker = lock_tables(&scene.place.pool).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        blocker.rollback().await.expect("released");
        scene.wait_applied(all.len() as i64).await;
        let met = deadlocks(&scene.place.pool).await;
        let errors = one.sum("claimrisk_db_errors_total").await + two.sum("claimrisk_db_errors_total").await;
        Ledger::of_world(&scene, &[&one, &two], &all).check().await;
        assert_eq!((one.terminate(), two.terminate()), (0, 0));
        format!("{met} deadlocks with strangers, {errors} database errors, none among the workers alone")
    })
    .await;
}

/// Locks tables against the workers; when that makes a deadlock in which this is the one to give way, again.
async fn lock_tables(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    loop {
        let mut blocker = pool.begin().await.expect("transaction");
        let lock = sqlx::query("LOCK TABLE claims, remittances IN EXCLUSIVE MODE").execute(&mut *blocker).await;
        if lock.is_ok() {
            return blocker;
        }
    }
}

async fn deadlocks(pool: &PgPool) -> i64 {
    // The statistics of a session are told a little later.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let found = sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    found.fetch_one(pool).await.expect("statistics")
}

/// Locks rows in the order against which the workers go, for three seconds.
async fn rival(pool: &PgPool, seed: u64) {
    let (mut random, began) = (Random(seed), Instant::now());
    while began.elapsed() < Duration::from_secs(3) {
        let mut transaction = pool.begin().await.expect("transaction");
        for _ in 0..8 {
            let back = i64::try_from(random.below(200)).expect("few");
            let locked = sqlx::query("SELECT 1 FROM claims WHERE id = (SELECT max(id) FROM claims) - $1 FOR UPDATE")
                .bind(back)
                .execute(&mut *transaction)
                .await;
            if locked.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        transaction.rollback().await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_14_starved_pool_and_requests_given_up() {
    play(14, async {
        let (world, scene) = (world().await, Scene::new().await);
        let all = shuffled(world, 14);
        let worker = scene.worker(&[("CLAIMRISK_DATABASE_CONNECTIONS", "2")]).await;
        let hang_ups = async {
            let (mut random, mut count) = (Random(14), 0);
            for part in all.chunks(all.len().div_ceil(10)) {
                scene.place.publish(part).await;
                for _ in 0..30 {
                    hang_up(worker.http, &mut random).await;
                    count += 1;
                }
            }
            count
        };
        let count = hang_ups.await;
        scene.wait_applied(all.len() as i64).await;
        Ledger::of_world(&scene, &[&worker], &all).check().await;
        // Autocommitted statements are there for others at once: none ran in a transaction that somebody left open.
        let bad: Vec<Outgoing> =
            vec![crate::events::claim("bad", "PCN-STALE-1", |event| event["type"] = "claim.invented.v1".into())];
        scene.place.publish(&bad).await;
        scene.place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'rejected'", 1).await;
        assert_eq!(worker.terminate(), 0);
        assert!(servers().await.postgres.is_running());
        format!("{count} requests given up")
    })
    .await;
}

/// Asks something that reads in a transaction, and hangs up before the answer.
async fn hang_up(port: u16, random: &mut Random) {
    use tokio::io::AsyncWriteExt as _;
    let paths =
        ["claims?limit=50", "claims/at-risk", "episodes", "remits?limit=20", "claims/unlinked", "claims/7", "risk/9"];
    let path = paths[random.below(paths.len() as u64) as usize];
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
    let request = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok();
    tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    stream.set_zero_linger().ok();
}
