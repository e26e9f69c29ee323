//! Redis is away, slow, or holds what it should not: faults 15 to 17. The longer tests of the cache's truth are those of
//! the integration tests (`coherence`, `degraded`).

use std::time::{Duration, Instant};

use crate::harness::{Worker, sum};
use crate::ledger::Ledger;
use crate::matrix::play;
use crate::scene::{Scene, rough, shuffled, world};

#[tokio::test(flavor = "multi_thread")]
async fn fault_15_redis_away_at_start_and_dying() {
    let mut servers = rough().await;
    play(15, async {
        let world = world().await;
        let scene = Scene::on(&servers).await;
        let all = shuffled(world, 15);
        let parts: Vec<_> = all.chunks(all.len().div_ceil(3)).collect();
        servers.redis.kill9().await.expect("killed");
        let worker = scene.worker(&[("CLAIMRISK_BATCH_MESSAGES", "10")]).await;
        let degraded = worker.readiness().await.1;
        assert!(degraded.contains("redis"), "{degraded}");
        scene.publish_anew(parts[0]).await;
        scene.wait_applied(parts[0].len() as i64).await;
        servers.redis.start_again().await.expect("started");
        scene.publish_anew(parts[1]).await;
        servers.redis.kill9().await.expect("killed");
        scene.publish_anew(parts[2]).await;
        scene.wait_applied(all.len() as i64).await;
        let failed = worker.metrics().await;
        let failed: f64 = failed
            .iter()
            .filter(|(name, _)| name.starts_with("claimrisk_cache_write_throughs_total") && !name.contains("written"))
            .map(|(_, count)| count)
            .sum();
        assert!(failed > 0.0, "writes that failed are counted");
        servers.redis.start_again().await.expect("started");
        Ledger::of_world(&scene, &[&worker], &all).check_on(&servers).await;
        assert_eq!(worker.terminate(), 0);
        format!("{failed} entries not written, all events applied")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_16_redis_slow() {
    let servers = rough().await;
    play(16, async {
        let world = world().await;
        let scene = Scene::on(&servers).await;
        let all = shuffled(world, 16);
        let (first, second) = all.split_at(all.len() / 2);
        let worker = scene.worker(&[]).await;
        scene.redis.delay(Duration::from_secs(2));
        scene.publish_anew(first).await;
        let delayed = read(&worker, Duration::from_secs(4)).await;
        scene.wait_applied(first.len() as i64).await;
        scene.redis.pass();
        servers.redis.pause();
        scene.publish_anew(second).await;
        let frozen = read(&worker, Duration::from_secs(4)).await;
        scene.wait_applied(all.len() as i64).await;
        servers.redis.resume();
        Ledger::of_world(&scene, &[&worker], &all).check_on(&servers).await;
        assert_eq!(worker.terminate(), 0);
        format!("99 of 100 reads within {delayed:.2} s delayed, {frozen:.2} s frozen")
    })
    .await;
}

/// Reads for a while; the time below which 99 of 100 were.
async fn read(worker: &Worker, length: Duration) -> f64 {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < length {
        let asked = Instant::now();
        let (status, body) = worker.get(&format!("/api/v1/risk/{}", times.len() % 20 + 1)).await;
        assert!(status == 200 || status == 404, "{status}: {body}");
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let slow = times[(times.len() - 1) * 99 / 100];
    assert!(slow < Duration::from_secs(1), "{slow:?} of {} reads", times.len());
    slow.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_poisoned_and_stale_values() {
    let servers = rough().await;
    play(17, async {
        let world = world().await;
        let scene = Scene::on(&servers).await;
        let all = shuffled(world, 17);
        let (first, second) = all.split_at(all.len() / 2);
        let worker = scene.worker(&[]).await;
        scene.publish_anew(first).await;
        scene.wait_applied(first.len() as i64).await;
        let client = redis::Client::open(scene.place.redis_url.as_str()).expect("URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
        let poisoned = poison(&mut connection).await;
        // Every entry is read while it is garbage; events come, too.
        scene.publish_anew(second).await;
        every_answer_is_true(&scene, &worker).await;
        scene.wait_applied(all.len() as i64).await;
        let set = async |connection: &mut redis::aio::MultiplexedConnection, bytes: u32| {
            let mut limit = redis::cmd("CONFIG");
            limit.arg("SET").arg("maxmemory").arg(bytes).arg("maxmemory-policy").arg("noeviction");
            limit.query_async::<()>(connection).await.expect("set");
        };
        set(&mut connection, 1).await;
        every_answer_is_true(&scene, &worker).await;
        set(&mut connection, 0).await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("flushed");
        every_answer_is_true(&scene, &worker).await;
        let stale = sum_of(&worker, r#"result="stale""#).await;
        assert!(stale > 0, "garbage is found to be");
        // What was poisoned and not read since may be of a version that never was: what reads it finds that out.
        poison(&mut connection).await;
        every_answer_is_true(&scene, &worker).await;
        Ledger::of_world(&scene, &[&worker], &all).check_on(&servers).await;
        assert_eq!(worker.terminate(), 0);
        format!("{poisoned} entries poisoned, {stale} found stale, every answer PostgreSQL's")
    })
    .await;
}

async fn sum_of(worker: &Worker, label: &str) -> u64 {
    let metrics = worker.metrics().await;
    let chosen = metrics.into_iter().filter(|(name, _)| name.contains(label)).collect();
    sum(&chosen, "claimrisk_cache_gets_total")
}

/// Puts under every entry's key what does not belong there.
async fn poison(connection: &mut redis::aio::MultiplexedConnection) -> usize {
    let mut keys = Vec::new();
    for entity in ["claim", "remittance", "episode", "risk_score"] {
        let found: Vec<String> =
            redis::cmd("KEYS").arg(format!("claimrisk:{entity}:*")).query_async(connection).await.expect("keys");
        keys.extend(found);
    }
    let mut values = Vec::new();
    for key in &keys {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await.expect("type");
        let value = match kind.as_str() {
            "string" => redis::cmd("GET").arg(key).query_async(connection).await.expect("value"),
            _ => "0|".to_owned(),
        };
        values.push(value);
    }
    for (at, key) in keys.iter().enumerate() {
        let (version, rest) = values[at].split_once('|').unwrap_or(("0", ""));
        let future = version.parse::<i64>().unwrap_or(0) + 1_000_000;
        let garbage = match at % 6 {
            0 => "garbage".to_owned(),
            1 => values[(at + 6) % keys.len()].clone(),
            2 => format!("{future}|{rest}"),
            3 => format!("{version}|9-ffff|{key}|{{}}"),
            4 => "x".repeat(1024 * 1024),
            _ => String::new(),
        };
        redis::cmd("DEL").arg(key).query_async::<()>(connection).await.expect("gone");
        let mut put = redis::cmd(if garbage.is_empty() { "LPUSH" } else { "SET" });
        put.arg(key).arg(if garbage.is_empty() { "a list" } else { garbage.as_str() });
        put.query_async::<()>(connection).await.expect("poisoned");
    }
    keys.len()
}

/// Reads everything once: no answer is of an older version than the one that was committed when it was asked for, or of one
/// that never was.
async fn every_answer_is_true(scene: &Scene, worker: &Worker) {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'claims', id FROM claims UNION ALL SELECT 'remits', id FROM remittances
         UNION ALL SELECT 'episodes', id FROM claim_episodes UNION ALL SELECT DISTINCT 'risk', claim_id FROM risk_scores",
    )
    .fetch_all(&scene.place.pool)
    .await
    .expect("rows");
    let version = async |path: &str, id: i64| {
        let sql = match path {
            "claims" => "SELECT revision FROM claims WHERE id = $1",
            "remits" => "SELECT revision FROM remittances WHERE id = $1",
            "episodes" => "SELECT revision FROM claim_episodes WHERE id = $1",
            _ => "SELECT max(id) FROM risk_scores WHERE claim_id = $1",
        };
        let found: Option<i64> = sqlx::query_scalar(sql).bind(id).fetch_one(&scene.place.pool).await.ok();
        found
    };
    for (path, id) in rows {
        let Some(before) = version(&path, id).await else { continue };
        let (status, body) = worker.get(&format!("/api/v1/{path}/{id}")).await;
        let Some(after) = version(&path, id).await else { continue };
        assert_eq!(status, 200, "{path} {id}: {body}");
        let told = body[if path == "risk" { "id" } else { "revision" }].as_i64().expect("version");
        assert!((before..=after).contains(&told), "{path} {id}: {told} is not from {before} to {after}");
    }
}
