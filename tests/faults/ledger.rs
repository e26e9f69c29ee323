//! The check that every fault ends with: nothing lost, nothing counted twice, the cache true, all means back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claimrisk::broker::{Outgoing, connect};
use claimrisk::config::SecretUrl;
use claimrisk::servers::Servers;
use claimrisk::topology::{self, RetryDelay};
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use sqlx::{PgPool, Row as _};

use crate::events::{quiet, told};
use crate::harness::{Worker, eventually, servers, try_get};
use crate::scene::{Scene, World, world};
use crate::truth::{assert_truth, state};

/// A policy that lets events wait for half a second instead of up to ten minutes: of a policy's and a queue's own limit
/// the lower one counts.
pub const SHORT_RETRIES: &str =
    r#"{"pattern":"^claimrisk\\.retry\\.","definition":{"message-ttl":500},"apply-to":"queues"}"#;

/// What a worker may have held in memory at its worst, in MiB, where a fault allows no more.
pub const MEMORY: u64 = 300;

/// A dead letter, looked at and left.
#[derive(Debug)]
pub struct DeadLetter {
    pub id: Option<String>,
    pub source: Option<String>,
    pub reason: String,
    pub body: Vec<u8>,
    /// All headers and properties as text.
    pub told: String,
}

/// What is to be checked.
pub struct Ledger<'a> {
    pub scene: &'a Scene,
    /// The workers that run.
    pub workers: &'a [&'a Worker],
    /// Every event that the broker confirmed.
    pub sent: &'a [Outgoing],
    /// The dead letters that must be there, by reason.
    pub dead: &'a [(&'a str, usize)],
    /// Whether all of the world was sent; then the state must be the reference's, and the simulator's truth.
    pub whole_world: bool,
    /// Most memory of a worker in MiB.
    pub memory: u64,
}

impl<'a> Ledger<'a> {
    /// The check of a fault that sent the world and expects no dead letter.
    pub fn of_world(scene: &'a Scene, workers: &'a [&'a Worker], sent: &'a [Outgoing]) -> Self {
        Self { scene, workers, sent, dead: &[], whole_world: true, memory: MEMORY }
    }

    /// On the servers that nobody harms.
    pub async fn check(&self) {
        self.check_on(servers().await).await;
    }

    pub async fn check_on(&self, servers: &Servers) {
        let world = world().await;
        self.drained().await;
        let dead = dead_letters(self.scene).await;
        self.each_in_one_place(&dead).await;
        if self.whole_world {
            self.same_as_reference(world).await;
        }
        self.cache_is_true().await;
        self.means_are_back(servers).await;
        self.no_patient_is_named(world, &dead).await;
    }

    /// Work and retry queues are empty, and what each worker received is settled.
    async fn drained(&self) {
        quiet(&self.scene.place, self.workers).await;
        let empty = async || {
            for delay in RetryDelay::ALL {
                if self.scene.place.ready(delay.queue()).await > 0 {
                    return false;
                }
            }
            true
        };
        eventually("the delayed queues are empty", empty, || self.logs()).await;
        // What came back from there.
        quiet(&self.scene.place, self.workers).await;
    }

    fn logs(&self) -> String {
        self.workers.iter().map(|worker| worker.log()).collect()
    }

    /// Every confirmed event is applied or a dead letter, and never both (an id that came again with another body is).
    async fn each_in_one_place(&self, dead: &[DeadLetter]) {
        let rows = sqlx::query("SELECT source, event_id FROM ingest_events WHERE result <> 'rejected'")
            .fetch_all(&self.scene.place.pool)
            .await
            .expect("ledger");
        let applied: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let dead_ids: BTreeSet<(String, String)> = dead
            .iter()
            .filter(|letter| letter.reason != "id_conflict")
            .filter_map(|letter| Some((letter.source.clone()?, letter.id.clone()?)))
            .collect();
        let mut wrong = Vec::new();
        for message in self.sent {
            let Some(id) = identity(message) else { continue };
            match (applied.contains(&id), dead_ids.contains(&id)) {
                (true, false) | (false, true) => {}
                (false, false) => wrong.push(format!("lost: {id:?}")),
                (true, true) => wrong.push(format!("applied and dead: {id:?}")),
            }
        }
        assert!(wrong.is_empty(), "{} events: {:#?}\n{}", wrong.len(), &wrong[..wrong.len().min(5)], self.logs());
        let known: BTreeSet<(String, String)> = self.sent.iter().filter_map(identity).collect();
        let invented = applied.iter().filter(|id| !known.contains(*id)).count();
        assert_eq!(invented, 0, "events that nobody sent");
        // A crash between a copy's confirm and the acknowledgement makes the copy twice: the event counts once.
        let mut named = BTreeSet::new();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for letter in dead {
            if letter.id.is_none() || named.insert((&letter.source, &letter.id, &letter.reason)) {
                *reasons.entry(&letter.reason).or_default() += 1;
            }
        }
        let expected: BTreeMap<&str, usize> = self.dead.iter().copied().collect();
        assert_eq!(reasons, expected, "dead letters by reason");
    }

    /// Rows, money and counts are those of one undisturbed worker, and the simulator's truth.
    async fn same_as_reference(&self, world: &World) {
        let is_same = async || state(&self.scene.place).await == world.state;
        // Late scores come after the commit that calls for them.
        for _ in 0..50 {
            if is_same().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let now = state(&self.scene.place).await;
        let (here, there): (BTreeSet<&String>, BTreeSet<&String>) =
            (now.iter().collect(), world.state.iter().collect());
        let differing: Vec<_> = here.symmetric_difference(&there).take(6).collect();
        assert!(differing.is_empty() && now.len() == world.state.len(), "{differing:#?}\n{}", self.logs());
        assert_truth(&self.scene.place, &world.simulation).await;
    }

    /// No cached value is newer than PostgreSQL's; what is read once is equal.
    async fn cache_is_true(&self) {
        let Some(worker) = self.workers.first() else { return };
        // After a fault of Redis's: it is asked again, and what could not be written or removed is removed.
        let trusted = async || {
            let doubtful = worker.sum("claimrisk_cache_doubtful_entries").await;
            doubtful == 0 && worker.readiness().await.1.contains(r#""degraded":[]"#)
        };
        eventually("the cache is trusted again", trusted, || worker.log()).await;
        let client = redis::Client::open(self.scene.place.redis_url.as_str()).expect("URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
        let rows = versions(&self.scene.place.pool, None).await;
        for (at, (entity, path, id, newest)) in rows.into_iter().enumerate() {
            let key = format!("claimrisk:{entity}:{id}");
            let before = cached_version(&mut connection, &key).await;
            // All that is not equal, and some of what is.
            if before == Some(newest) && at % 20 != 0 {
                continue;
            }
            let (status, body) = worker.get(&format!("/api/v1/{path}/{id}")).await;
            assert_eq!(status, 200, "{path} {id}: {body}");
            let after = cached_version(&mut connection, &key).await;
            // The learner may have stored another score since; nearly always it has not, and these are one version.
            let now = versions(&self.scene.place.pool, Some((&entity, id))).await[0].3;
            assert!(before.is_none_or(|version| version <= now), "{key} is at {now}, cached was {before:?}");
            let is_true = after.is_some_and(|version| newest <= version && version <= now);
            assert!(is_true, "{key} is at {newest}, then {now}; read it is cached at {after:?}, before at {before:?}");
        }
    }

    /// Memory bounded, no session left in a transaction, the pool whole, every queue consumed by every worker.
    async fn means_are_back(&self, servers: &Servers) {
        for worker in self.workers {
            let peak = peak_memory(worker.pid());
            assert!(peak <= self.memory, "a worker held {peak} MiB");
        }
        let pool = &self.scene.place.pool;
        let stuck = async || {
            let stuck: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'claimrisk'
                     AND (state LIKE 'idle in transaction%' OR state = 'active' AND now() - query_start > '5 s')",
            )
            .fetch_one(pool)
            .await
            .expect("sessions");
            stuck == 0
        };
        eventually("no session is stuck in a transaction", stuck, || self.logs()).await;
        for worker in self.workers {
            let whole = async || {
                let metrics = worker.metrics().await;
                let used = metrics[r#"claimrisk_pool_connections{pool="postgres",state="used"}"#];
                used == 0.0 && worker.readiness().await.0
            };
            eventually("the pool is whole and the worker ready", whole, || worker.log()).await;
        }
        let expected = u32::try_from(self.workers.len()).expect("few");
        let consumed = async || {
            for queue in [topology::CLAIMS_QUEUE, topology::REMITTANCES_QUEUE, topology::X12_QUEUE] {
                if consumers(self.scene, queue).await != Some(expected) {
                    return false;
                }
            }
            true
        };
        eventually("every worker consumes every queue", consumed, || self.logs()).await;
        assert!(servers.rabbitmq.is_running() && servers.postgres.is_running() && servers.redis.is_running());
    }

    /// No log, no metric and no header names a patient or a claim.
    async fn no_patient_is_named(&self, world: &World, dead: &[DeadLetter]) {
        let mut texts = self.scene.logs.lock().expect("lock").clone();
        texts.extend(dead.iter().map(|letter| letter.told.clone()));
        for worker in self.workers {
            let (_, metrics) = try_get(&format!("http://127.0.0.1:{}/metrics", worker.metrics)).await.expect("metrics");
            texts.push(String::from_utf8_lossy(&metrics).into_owned());
            texts.push(worker.log());
        }
        for text in &texts {
            let named = world.markers.iter().filter(|marker| text.contains(marker.as_str())).count();
            assert_eq!(named, 0, "patients or claims are named in a log, a metric or a header");
        }
    }
}

/// What identifies an event: its body tells, or its properties.
pub fn identity(message: &Outgoing) -> Option<(String, String)> {
    let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap_or_default();
    let told = |name: &str| body[name].as_str().map(str::to_owned);
    let source = told("source").or_else(|| message.app_id.clone())?;
    Some((source, told("id").or_else(|| message.message_id.clone())?))
}

/// The dead letters; all are left where they are. A broker that was killed may need a while until it finds them again.
pub async fn dead_letters(scene: &Scene) -> Vec<DeadLetter> {
    for _ in 0..5 {
        match tokio::time::timeout(Duration::from_secs(30), look_at_dead_letters(scene)).await {
            Ok(Ok(letters)) => return letters,
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    panic!("the dead letters cannot be read");
}

async fn look_at_dead_letters(scene: &Scene) -> Result<Vec<DeadLetter>, lapin::Error> {
    let url = SecretUrl::new(scene.place.amqp_url.clone());
    let connection = connect(&url, "tests look").await?;
    let channel = connection.create_channel().await?;
    let mut letters = Vec::new();
    while let Some(got) = channel.basic_get(topology::DEAD_QUEUE.into(), BasicGetOptions { no_ack: false }).await? {
        letters.push(dead_letter(&got.delivery));
    }
    connection.close(200, "done".into()).await.ok();
    Ok(letters)
}

fn dead_letter(delivery: &lapin::message::Delivery) -> DeadLetter {
    let properties = &delivery.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let header = |name: &str| match properties.headers().as_ref()?.inner().get(name)? {
        lapin::types::AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    };
    let by_broker = || header("x-first-death-reason").map_or("none".to_owned(), |why| format!("broker: {why}"));
    DeadLetter {
        id: text(properties.message_id()),
        source: text(properties.app_id()),
        reason: header("x-reason").unwrap_or_else(by_broker),
        told: told(properties),
        body: delivery.data.clone(),
    }
}

/// Consumers of a queue, at once; `None` when there is no such queue.
pub async fn consumers(scene: &Scene, queue: &str) -> Option<u32> {
    let connection = connect(&SecretUrl::new(scene.place.amqp_url.clone()), "tests look").await.ok()?;
    let channel = connection.create_channel().await.ok()?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, Default::default()).await.ok();
    connection.close(200, "done".into()).await.ok();
    declared.map(|queue| queue.consumer_count())
}

/// What PostgreSQL has of what is cached, or of one of them: entity, path in the API, id, version.
async fn versions(pool: &PgPool, one: Option<(&str, i64)>) -> Vec<(String, String, i64, i64)> {
    let all = "SELECT * FROM (SELECT 'claim' AS entity, 'claims', id, revision FROM claims
             UNION ALL SELECT 'remittance', 'remits', id, revision FROM remittances
             UNION ALL SELECT 'episode', 'episodes', id, revision FROM claim_episodes
             UNION ALL SELECT 'risk_score', 'risk', claim_id, max(id) FROM risk_scores GROUP BY claim_id) AS cached";
    let query = match one {
        None => sqlx::query_as(all).fetch_all(pool).await,
        // A condition of its own, which the planner takes into each part: there may be many thousand rows.
        Some((entity, id)) => {
            let query = format!("{all} WHERE entity = $1 AND id = $2");
            sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(entity).bind(id).fetch_all(pool).await
        }
    };
    query.expect("versions")
}

async fn cached_version(connection: &mut redis::aio::MultiplexedConnection, key: &str) -> Option<i64> {
    let value: Option<String> = redis::cmd("GET").arg(key).query_async(connection).await.expect("value");
    value.and_then(|value| value.split('|').next()?.parse().ok())
}

/// The most memory that a process ever held, in MiB.
pub fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("peak");
    line.split_whitespace().nth(1).expect("number").parse::<u64>().expect("number") / 1024
}
