//! Reads beside each other: by the API of a worker with and without the cache, a route that does little else than answer,
//! and Redis alone; all by the same number of connections at once.
//!
//! Must never: count an answer that is no answer, or ask for an uncached score twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::AsyncCommands as _;
use serde_json::Value;
use tokio::task::JoinSet;

use super::super::load::{HttpClient, client, get, get_json, percentile, rows};
use super::Samples;
use super::raw::refused;
use super::site::{BATCH, Database, Site};
use crate::error::CommandError;

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 16;
/// How long each kind of read is measured.
const LASTS: Duration = Duration::from_secs(4);
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Rows of a page of the API, at the most.
const PAGE: usize = 1000;
/// Scores that are asked for again and again.
const CACHED: usize = 1000;

/// Reads of the claims that a run stored.
pub(super) async fn measure(
    site: &Site<'_>,
    database: &Database,
    name: &str,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let host = site.host(name).await?;
    site.settle().await?;
    let worker = site.worker(&host, database, BATCH, &[]).await?;
    let measured = all(site, &worker.api, samples).await;
    worker.stop().await;
    site.remove_host(host).await?;
    measured
}

async fn all(site: &Site<'_>, api: &str, samples: &mut Samples) -> Result<(), CommandError> {
    let ids = ids(&site.client, api).await?;
    let scores: Vec<String> = ids.iter().map(|id| format!("{api}/api/v1/risk/{id}")).collect();
    let few: Vec<String> = scores.iter().take(CACHED).cloned().collect();
    for path in &few {
        ask(&site.client, path).await.map_err(CommandError::Failed)?;
    }
    note(samples, "read_cached", &over_http(few, true).await?);
    note(samples, "redis_get", &redis_alone(site, &ids).await?);
    note(samples, "read_bare", &over_http(vec![format!("{api}/api/v1/health")], true).await?);
    site.servers.redis.forget_all().await?;
    note(samples, "read_uncached", &over_http(scores, false).await?);
    Ok(())
}

fn note(samples: &mut Samples, name: &str, told: &Told) {
    samples.add(name, told.per_second);
    samples.add(format!("{name}_p99"), told.p99_ms);
}

/// The ids of all claims.
async fn ids(client: &HttpClient, api: &str) -> Result<Vec<i64>, CommandError> {
    let mut ids = Vec::new();
    loop {
        let path = format!("/api/v1/claims?limit={PAGE}&skip={}", ids.len());
        let page = get_json(client, api, &path).await?;
        let found = ids.len();
        ids.extend(rows(&page).iter().filter_map(|row| row.get("id").and_then(Value::as_i64)));
        if ids.len() < found + PAGE {
            return Ok(ids);
        }
    }
}

/// What one kind of read came to.
struct Told {
    per_second: f64,
    p99_ms: f64,
}

async fn over_http(paths: Vec<String>, again: bool) -> Result<Told, CommandError> {
    let paths = Arc::new(paths);
    drive(move || {
        let (client, paths) = (Arc::new(client()), Arc::clone(&paths));
        move |index: usize| {
            let (client, paths) = (Arc::clone(&client), Arc::clone(&paths));
            async move {
                let place = if again { index % paths.len().max(1) } else { index };
                let Some(path) = paths.get(place) else { return Ok(false) };
                ask(&client, path).await.map(|()| true)
            }
        }
    })
    .await
}

async fn ask(client: &HttpClient, path: &str) -> Result<(), String> {
    match get(client, path, REQUEST_LIMIT).await? {
        (200, _) => Ok(()),
        (status, _) => Err(format!("the API answers with status {status}")),
    }
}

/// The same values, from Redis itself.
async fn redis_alone(site: &Site<'_>, ids: &[i64]) -> Result<Told, CommandError> {
    let manager = Manager::new(site.servers.redis.url(0)).map_err(refused)?;
    let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1).build();
    let pool = pool.map_err(|_| CommandError::Failed("no pool of Redis connections can be made".to_owned()))?;
    let keys: Arc<Vec<String>> =
        Arc::new(ids.iter().take(CACHED).map(|id| format!("claimrisk:risk_score:{id}")).collect());
    drive(move || {
        let (pool, keys) = (pool.clone(), Arc::clone(&keys));
        move |index: usize| {
            let (pool, keys) = (pool.clone(), Arc::clone(&keys));
            async move {
                let Some(key) = keys.get(index % keys.len().max(1)) else { return Ok(false) };
                let mut connection = pool.get().await.map_err(|_| "Redis: no connection".to_owned())?;
                let value: Vec<u8> = connection.get(key).await.map_err(|error| refused(error).to_string())?;
                if value.is_empty() { Err("Redis does not hold what was cached".to_owned()) } else { Ok(true) }
            }
        }
    })
    .await
}

/// Lets several tasks ask side by side, each the next thing that nobody has asked for; `Ok(false)` when there is none.
async fn drive<Ask, Answer>(make: impl Fn() -> Ask) -> Result<Told, CommandError>
where
    Ask: Fn(usize) -> Answer + Send + 'static,
    Answer: Future<Output = Result<bool, String>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (ask, next) = (make(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut micros = Vec::new();
            while started.elapsed() < LASTS {
                let asked = Instant::now();
                if !ask(next.fetch_add(1, Ordering::Relaxed)).await? {
                    break;
                }
                micros.push(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok::<_, String>(micros)
        });
    }
    let mut micros = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let joined = joined.map_err(|error| CommandError::Failed(format!("a reader ended: {error}")))?;
        micros.extend(joined.map_err(CommandError::Failed)?);
    }
    let seconds = started.elapsed().as_secs_f64();
    micros.sort_unstable();
    Ok(Told { per_second: micros.len() as f64 / seconds, p99_ms: percentile(&micros, 990) as f64 / 1000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_thing_is_asked_for_once_and_the_end_ends_it() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = drive(|| {
            let seen = Arc::clone(&seen);
            move |index| {
                let seen = Arc::clone(&seen);
                async move {
                    if index < 100 {
                        seen.lock().unwrap().push(index);
                    }
                    Ok(index < 100)
                }
            }
        });
        assert!(told.await.unwrap().per_second > 0.0);
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        let failing = drive(|| |index| async move { if index == 50 { Err("no".to_owned()) } else { Ok(true) } });
        assert!(failing.await.is_err());
    }
}
