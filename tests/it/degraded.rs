//! Redis slow, dead, full, or holding garbage, while claims are sent again and again and their scores are read: no wrong
//! answer, no lost event, bounded waits. The times before, during and after are printed.

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

use claimrisk::broker::Outgoing;
use claimrisk::servers::{Options as ServerOptions, Servers};
use claimrisk::topology;
use serde_json::json;

use crate::events::{claim, quiet};
use crate::harness::{Place, Worker};
use crate::proxy::Proxy;

/// Claims that each phase sends anew, this many times.
const CLAIMS: usize = 60;
const VERSIONS: usize = 5;
/// Requests at once.
const READERS: usize = 8;
/// Generous for a busy machine; without its time limit a slow Redis alone would cost 2 s for each exchange.
const LONGEST: Duration = Duration::from_secs(3);

/// What a phase came to.
struct Phase {
    name: &'static str,
    latencies: Vec<Duration>,
    events_per_second: f64,
}

impl Phase {
    fn at(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, most) = (self.at(50), self.at(99), self.at(100));
        let (name, reads, events) = (self.name, self.latencies.len(), self.events_per_second);
        write!(f, "{name}: {reads} reads, p50 {p50:.1?}, p99 {p99:.1?}, longest {most:.1?}; {events:.0} events/s")
    }
}

fn versions(phase: usize) -> Vec<Outgoing> {
    let event = |at: usize| {
        let second = i64::try_from(phase * CLAIMS * VERSIONS + at).expect("few");
        claim(&format!("{phase}-{at}"), &format!("PCN-{:03}", at % CLAIMS), |event| {
            let time = chrono::DateTime::from_timestamp(1_790_000_000 + second, 0).expect("time");
            event["time"] = json!(time.to_rfc3339());
            event["data"]["totalClaimChargeAmount"] = json!(format!("{}.00", 100 + second % 700));
        })
    };
    (0..CLAIMS * VERSIONS).map(event).collect()
}

async fn current_score(place: &Place, claim: i64) -> i64 {
    let newest = sqlx::query_scalar("SELECT max(id) FROM risk_scores WHERE claim_id = $1").bind(claim);
    newest.fetch_one(&place.pool).await.expect("score")
}

/// Reads scores until the events of the phase are applied, and a little longer; no answer is older than the database was
/// when it was asked for.
async fn read(place: &Place, worker: &Worker, ids: &[i64], first: usize, until: &tokio::sync::Notify) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let over = until.notified();
    tokio::pin!(over);
    for id in ids.iter().cycle().skip(first) {
        let committed = current_score(place, *id).await;
        let asked = Instant::now();
        let (status, body) = worker.get(&format!("/api/v1/risk/{id}")).await;
        latencies.push(asked.elapsed());
        assert_eq!(status, 200, "{body}");
        assert!(body["id"].as_i64().expect("id") >= committed, "{body} is older than score {committed}");
        let ended = tokio::time::timeout(Duration::from_millis(1), over.as_mut()).await.is_ok();
        if ended && latencies.len() > 20 {
            break;
        }
    }
    latencies
}

async fn phase(place: &Place, worker: &Worker, number: usize, name: &'static str) -> Phase {
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM claims").fetch_all(&place.pool).await.expect("ids");
    let over = tokio::sync::Notify::new();
    let readers = (0..READERS).map(|at| read(place, worker, &ids, at * 7, &over));
    let writing = async {
        let (began, events) = (Instant::now(), versions(number));
        place.publish(&events).await;
        let expected = i64::try_from((number + 1) * events.len()).expect("few");
        place.wait_count("SELECT count(*) FROM ingest_events", expected).await;
        let seconds = began.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs(1)).await;
        over.notify_waiters();
        events.len() as f64 / seconds
    };
    let (latencies, events_per_second) = tokio::join!(futures_util::future::join_all(readers), writing);
    let mut latencies = latencies.concat();
    latencies.sort_unstable();
    let phase = Phase { name, latencies, events_per_second };
    writeln!(std::io::stdout(), "{phase}").expect("stdout");
    assert!(phase.at(99) < LONGEST, "{phase}");
    assert_eq!(place.ready(topology::DEAD_QUEUE).await, 0, "{name}");
    phase
}

async fn redis(place: &Place) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(place.redis_url.as_str()).expect("URL");
    client.get_multiplexed_async_connection().await.expect("connects")
}

async fn limit_memory(place: &Place, bytes: u32) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg(bytes).arg("maxmemory-policy").arg("noeviction");
    set.query_async::<()>(&mut redis(place).await).await.expect("set");
}

/// Puts under every key what does not belong there: other types, other keys' values, versions never committed, and more.
async fn poison(place: &Place) {
    let mut connection = redis(place).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("claimrisk:*").query_async(&mut connection).await.expect("keys");
    assert!(keys.len() > CLAIMS, "{} keys", keys.len());
    let mut values = Vec::new();
    for key in &keys {
        let value: String = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("value");
        values.push(value);
    }
    for (at, key) in keys.iter().enumerate() {
        let (version, rest) = values[at].split_once('|').expect("version");
        let garbage = match at % 7 {
            0 => "garbage".to_owned(),
            1 => values[(at + 7) % keys.len()].clone(),
            2 => format!("{}|{rest}", version.parse::<i64>().expect("number") + 1_000_000),
            3 => format!("{version}|9-ffff|{key}|{{}}"),
            4 => "x".repeat(8 * 1024 * 1024),
            5 => values[at].chars().take(values[at].len() / 2).collect(),
            _ => String::new(),
        };
        redis::cmd("DEL").arg(key).query_async::<()>(&mut connection).await.expect("gone");
        let mut put = redis::cmd(if garbage.is_empty() { "LPUSH" } else { "SET" });
        put.arg(key).arg(if garbage.is_empty() { "a list" } else { garbage.as_str() });
        put.query_async::<()>(&mut connection).await.expect("poisoned");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_slow_dead_full_or_poisoned_costs_no_answer_and_no_event() {
    let mut servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    let proxy = Proxy::before(servers.redis.port()).await;
    let url = proxy.url(&place.redis_url, servers.redis.port());
    let worker = place.worker(&[("REDIS_URL", &url)]).await;
    place.publish(&versions(0)).await;
    place.wait_count("SELECT count(*) FROM ingest_events", (CLAIMS * VERSIONS) as i64).await;
    quiet(&place, &[&worker]).await;

    let before = phase(&place, &worker, 1, "before").await;
    proxy.delay(Duration::from_secs(2));
    let slow = phase(&place, &worker, 2, "Redis slow by 2 s").await;
    proxy.delay(Duration::ZERO);
    servers.redis.kill9().await.expect("killed");
    phase(&place, &worker, 3, "Redis dead").await;
    servers.redis.start_again().await.expect("started");
    phase(&place, &worker, 4, "Redis empty").await;
    limit_memory(&place, 1).await;
    phase(&place, &worker, 5, "Redis full").await;
    limit_memory(&place, 0).await;
    phase(&place, &worker, 6, "Redis refilled").await;
    poison(&place).await;
    phase(&place, &worker, 7, "Redis poisoned").await;
    let after = phase(&place, &worker, 8, "after").await;

    assert!(slow.at(50) < Duration::from_millis(500), "the breaker keeps most reads from waiting: {slow}");
    assert!(before.events_per_second > 1.0 && after.events_per_second > 1.0);
    // All is mended: what is read twice is served from the cache.
    let claim = place.count("SELECT min(id) FROM claims").await;
    let hits = r#"claimrisk_cache_gets_total{entity="risk_score",result="hit"}"#;
    worker.get(&format!("/api/v1/risk/{claim}")).await;
    let mended = worker.metrics().await[hits];
    worker.get(&format!("/api/v1/risk/{claim}")).await;
    assert!(worker.metrics().await[hits] > mended, "the cache serves again");
    servers.stop().await;
}
