//! The statistics of the cache are true: the endpoint, the metrics summed over the fleet and a count kept by the test
//! agree exactly, over three workers and a reset; a worker that is killed takes no more with it than its last flush had
//! not written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use claimrisk::cache::stats::FLUSH_EVERY;
use serde_json::{Value, json};

use crate::events::{claim, quiet};
use crate::harness::{Place, Worker};
use crate::proxy::Proxy;

/// What an endpoint's numbers are called.
const CLASSES: [&str; 4] = ["hits", "misses", "errors", "bypasses"];

/// Look-ups by entity and class.
type Counts = BTreeMap<(String, &'static str), u64>;

fn add(counts: &mut Counts, entity: &str, class: &'static str, count: u64) {
    if count > 0 {
        *counts.entry((entity.to_owned(), class)).or_default() += count;
    }
}

fn of_endpoint(stats: &Value) -> Counts {
    let mut counts = Counts::new();
    for (entity, row) in stats["entities"].as_object().expect("entities") {
        for class in CLASSES {
            add(&mut counts, entity, class, row[class].as_u64().expect("count"));
        }
        assert_eq!(row["total"], json!(row["hits"].as_u64().expect("hits") + row["misses"].as_u64().expect("misses")));
    }
    counts
}

/// The look-ups that a process has counted, as its metrics tell.
async fn of_metrics(worker: &Worker) -> Counts {
    let mut counts = Counts::new();
    for (name, value) in worker.metrics().await {
        let Some(labels) = name.strip_prefix("claimrisk_cache_gets_total{entity=\"") else { continue };
        let (entity, rest) = labels.split_once('"').expect("entity");
        let result = rest.trim_start_matches(",result=\"").trim_end_matches("\"}");
        let class = match result {
            "hit" => "hits",
            "miss" | "stale" => "misses",
            "error" => "errors",
            "bypass" => "bypasses",
            other => panic!("{other}"),
        };
        add(&mut counts, entity, class, value as u64);
    }
    counts
}

fn minus(mut counts: Counts, other: &Counts) -> Counts {
    for (key, count) in other {
        *counts.get_mut(key).expect("counters grow") -= count;
    }
    counts.retain(|_, count| *count > 0);
    counts
}

fn plus(mut counts: Counts, other: &Counts) -> Counts {
    for (key, count) in other {
        *counts.entry(key.clone()).or_default() += count;
    }
    counts
}

/// The fleet, and what it must have counted.
struct Truth {
    place: Place,
    claims: Vec<i64>,
    counts: Counts,
}

impl Truth {
    /// Reads every claim and its score from a worker; each of these look-ups is of this class.
    async fn read_all(&mut self, worker: &Worker, class: &'static str) {
        for id in &self.claims {
            for (path, entity) in [("claims", "claim"), ("risk", "risk_score")] {
                let (status, _) = worker.get(&format!("/api/v1/{path}/{id}")).await;
                assert_eq!(status, 200);
                add(&mut self.counts, entity, class, 1);
            }
        }
    }

    async fn read_patterns(&mut self, worker: &Worker, class: &'static str) {
        let (status, _) = worker.get("/api/v1/patterns/payer/60054").await;
        assert_eq!(status, 200);
        add(&mut self.counts, "payer", class, 1);
        add(&mut self.counts, "pattern", class, 1);
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.place.redis_url.as_str()).expect("URL");
        client.get_multiplexed_async_connection().await.expect("connects")
    }

    /// Long enough for every process to have written its totals, on a busy machine.
    async fn flushed(&self) {
        tokio::time::sleep(FLUSH_EVERY * 8).await;
    }
}

async fn start() -> (Truth, Proxy, Vec<Worker>) {
    let place = Place::new().await;
    let port = crate::harness::servers().await.redis.port();
    let proxy = Proxy::before(port).await;
    let url = proxy.url(&place.redis_url, port);
    let workers = vec![place.worker(&[("REDIS_URL", &url)]).await, place.worker(&[]).await, place.worker(&[]).await];
    // No remittances: the learner would write their payer's patterns whenever it comes round.
    let events: Vec<_> = (0..20).map(|at| claim(&format!("c{at}"), &format!("PCN-{at}"), |_| {})).collect();
    place.publish(&events).await;
    place.wait_count("SELECT count(*) FROM ingest_events", 20).await;
    quiet(&place, &workers.iter().collect::<Vec<_>>()).await;
    let claims = sqlx::query_scalar("SELECT id FROM claims ORDER BY id").fetch_all(&place.pool).await.expect("claims");
    (Truth { place, claims, counts: Counts::new() }, proxy, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_metrics_and_truth_agree_over_three_workers_one_of_them_killed() {
    let (mut truth, proxy, mut workers) = start().await;
    truth.flushed().await;
    let (status, after_reset) = workers[1].post("/api/v1/cache/stats/reset", "").await;
    assert_eq!((status, &after_reset["overall"]["total"]), (200, &json!(0)));
    let mut at_reset = Vec::new();
    for worker in &workers {
        at_reset.push(of_metrics(worker).await);
    }

    for worker in &workers {
        truth.read_all(worker, "hits").await;
    }
    redis::cmd("FLUSHDB").query_async::<()>(&mut truth.redis().await).await.expect("flushed");
    truth.read_all(&workers[2], "misses").await;
    truth.read_all(&workers[1], "hits").await;
    truth.read_patterns(&workers[0], "misses").await;
    truth.read_patterns(&workers[2], "hits").await;
    for id in &truth.claims {
        for (entity, garbage) in [("claim", "garbage"), ("risk_score", "1|2|3|4")] {
            let key = format!("claimrisk:{entity}:{id}");
            redis::cmd("SET")
                .arg(key)
                .arg(garbage)
                .query_async::<()>(&mut truth.redis().await)
                .await
                .expect("poisoned");
        }
    }
    truth.read_all(&workers[0], "misses").await;
    truth.read_all(&workers[0], "hits").await;
    // Nothing listens: an error each, never a miss.
    proxy.refuse(true);
    proxy.cut();
    truth.read_all(&workers[0], "errors").await;
    proxy.refuse(false);
    // What could not be written meanwhile is removed when Redis is back, and loaded anew.
    truth.flushed().await;
    truth.read_all(&workers[1], "misses").await;
    assert_eq!(workers[1].get("/api/v1/claims/999999").await.0, 404, "what is not there is no look-up");

    truth.flushed().await;
    let mut counted = Counts::new();
    for (worker, before) in workers.iter().zip(&at_reset) {
        counted = plus(counted, &minus(of_metrics(worker).await, before));
    }
    assert_eq!(counted, truth.counts, "the metrics of the fleet, and the truth");
    for worker in &workers {
        let (_, stats) = worker.get("/api/v1/cache/stats").await;
        assert_eq!(of_endpoint(&stats), truth.counts, "the endpoint, and the truth");
    }
    killed(&mut truth, &mut workers).await;
}

/// Kills the third worker in the midst of look-ups: it takes no more with it than came after its last flush, and the
/// others' numbers stay exact.
async fn killed(truth: &mut Truth, workers: &mut Vec<Worker>) {
    let third = workers.pop().expect("third");
    let (began, mut ends) = (Instant::now(), Vec::new());
    for id in truth.claims.iter().cycle() {
        assert_eq!(third.get(&format!("/api/v1/risk/{id}")).await.0, 200);
        ends.push(Instant::now());
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    let died = Instant::now();
    third.kill();
    truth.read_all(&workers[1], "hits").await;
    let fourth = truth.place.worker(&[]).await;
    truth.read_all(&fourth, "hits").await;
    truth.flushed().await;
    let (_, stats) = fourth.get("/api/v1/cache/stats").await;
    let written = minus(of_endpoint(&stats), &truth.counts);
    let hits = ("risk_score".to_owned(), "hits");
    assert!(written.keys().all(|key| *key == hits), "{written:?}");
    let written = written.get(&hits).copied().unwrap_or(0) as usize;
    // One interval, and the time that the last write took.
    let sure = ends.iter().filter(|end| died.duration_since(**end) > FLUSH_EVERY + Duration::from_millis(500)).count();
    assert!(sure > 50 && (sure..=ends.len()).contains(&written), "{written} of {}, {sure} for sure", ends.len());
    // Another reset, after which the dead one's numbers are gone too.
    fourth.post("/api/v1/cache/stats/reset", "").await;
    let (_, stats) = workers[0].get("/api/v1/cache/stats").await;
    assert_eq!(of_endpoint(&stats), Counts::new());
}
