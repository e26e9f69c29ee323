//! The shared Redis cache: versioned values, written only after the commit, never to an older version.
//!
//! A value says which database, entity and key it is of and how old it is; anything else found under a key is `stale`
//! and never served. Must never fail an event or a request: without Redis everything goes to PostgreSQL.

mod script;
pub mod stats;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_redis::{PoolConfig, Runtime, Timeouts};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::error::CommandError;
use crate::metrics::{self, BreakerState, CacheWrite, Dependency, Pool, PoolState};
use script::StoredAs;
use stats::Stats;

/// What is cached, in the order of `metrics::ENTITIES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// A claim with its lines, by id.
    Claim,
    /// The current score of a claim, by claim id.
    RiskScore,
    /// A remittance with its lines, by id.
    Remittance,
    /// A claim and remittance that belong together, by id.
    Episode,
    /// A payer, by the id that events use.
    Payer,
    /// A provider, by NPI or tax id.
    Provider,
    /// A practice, by the id that events use.
    Practice,
    /// What a payer denies, by payer id.
    Pattern,
    /// The total of a list, by a hash of its filters.
    Count,
}

impl Entity {
    /// The name in keys, metrics and statistics.
    pub fn as_str(self) -> &'static str {
        metrics::ENTITIES[self as usize]
    }

    fn key(self, id: &str) -> String {
        format!("claimrisk:{}:{id}", self.as_str())
    }
}

/// What a look-up came to, in the order of `metrics::GET_RESULTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetResult {
    /// Found and served.
    Hit,
    /// Nothing there.
    Miss,
    /// Something there that cannot be served.
    Stale,
    /// Redis did not answer in time, or answered with an error.
    Error,
    /// Not asked, because Redis failed a moment ago.
    Bypass,
}

/// A value to be written.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub entity: Entity,
    /// Its id.
    pub id: String,
    /// Its version; a write of an older one changes nothing.
    pub version: i64,
    /// The value as JSON.
    pub json: String,
}

impl Entry {
    /// Makes an entry of a value; `None` when the value cannot be written as JSON.
    #[expect(clippy::needless_pass_by_value, reason = "ids are numbers or borrowed text")]
    pub fn new<T: Serialize>(entity: Entity, id: impl ToString, version: i64, value: &T) -> Option<Self> {
        serde_json::to_string(value).ok().map(|json| Self { entity, id: id.to_string(), version, json })
    }
}

/// The cache of one process.
pub struct Cache {
    pool: deadpool_redis::Pool,
    timeout: Duration,
    ttls: [Duration; 9],
    /// Tells values of this database and this format from any others.
    schema: String,
    /// Statistics of this process.
    pub stats: Stats,
    breaker: Mutex<Breaker>,
    /// Keys whose entry may be older than the database, until their removal succeeds.
    doubtful: Mutex<BTreeMap<(Entity, String), ()>>,
}

/// The format of cached values; to be raised when a cached structure changes.
const FORMAT: u32 = 1;
/// Keys that may be remembered for removal; beyond it the oldest promise is their lifetime in the cache.
const DOUBTFUL_LIMIT: usize = 100_000;

/// After a failure Redis is left alone for a moment, so that its time-outs do not add up.
#[derive(Debug)]
struct Breaker {
    open_until: Option<Instant>,
}

impl Cache {
    /// Prepares the pool; connects on first use. `installation` is the database's own id.
    ///
    /// # Errors
    /// A URL that Redis' client does not understand.
    pub fn new(config: &Config, installation: uuid::Uuid) -> Result<Self, CommandError> {
        let bad = |what: String| CommandError::Config(format!("redis_url: {what}"));
        let mut settings = deadpool_redis::Config::from_url(config.redis_url.expose());
        let limit = Some(config.redis_timeout);
        settings.pool = Some(PoolConfig {
            max_size: config.redis_connections,
            timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
            ..PoolConfig::default()
        });
        let pool = settings.create_pool(Some(Runtime::Tokio1)).map_err(|_| bad("not understood".to_owned()))?;
        Ok(Self {
            pool,
            timeout: config.redis_timeout,
            ttls: config.cache_ttls,
            schema: format!("{FORMAT}-{}", installation.simple()),
            stats: Stats::new(),
            breaker: Mutex::new(Breaker { open_until: None }),
            doubtful: Mutex::new(BTreeMap::new()),
        })
    }

    /// Looks one value up. `least` is the version the caller knows to be committed; an older one is stale.
    pub async fn get<T: DeserializeOwned>(&self, entity: Entity, id: &str, least: i64) -> Option<T> {
        let keys = [id.to_owned()];
        self.get_many(entity, &keys, least).await.pop().flatten()
    }

    /// Looks several values of one entity up in one round trip; the answer has the order of `ids`.
    pub async fn get_many<T: DeserializeOwned>(&self, entity: Entity, ids: &[String], least: i64) -> Vec<Option<T>> {
        if ids.is_empty() {
            return Vec::new();
        }
        if self.is_resting() {
            self.stats.count(entity, GetResult::Bypass, ids.len());
            return ids.iter().map(|_| None).collect();
        }
        let started = Instant::now();
        let found = self.fetch(entity, ids).await;
        metrics::cache_get_seconds(entity as usize, started);
        match found {
            Some(values) => ids
                .iter()
                .zip(values)
                .map(|(id, value)| {
                    let (result, decoded) = self.decode(entity, id, least, value);
                    self.stats.count(entity, result, 1);
                    decoded
                })
                .collect(),
            None => {
                self.stats.count(entity, GetResult::Error, ids.len());
                ids.iter().map(|_| None).collect()
            }
        }
    }

    async fn fetch(&self, entity: Entity, ids: &[String]) -> Option<Vec<redis::Value>> {
        let mut pipe = redis::pipe();
        for id in ids {
            // GET one by one, not MGET: a value of another type under one key must not hide the others.
            pipe.cmd("GET").arg(entity.key(id));
        }
        let pipe = pipe.ignore_errors();
        self.run(async |connection| pipe.query_async::<Vec<redis::Value>>(connection).await).await
    }

    /// Runs one exchange with Redis within the time limit; a failure is noted and gives `None`.
    async fn run<T>(
        &self,
        exchange: impl AsyncFnOnce(&mut deadpool_redis::Connection) -> redis::RedisResult<T>,
    ) -> Option<T> {
        let attempt = async {
            let started = Instant::now();
            let connection = self.pool.get().await;
            metrics::pool_wait(Pool::Redis, started);
            let mut connection = connection.ok()?;
            let answer = exchange(&mut connection).await;
            if answer.is_err() {
                // A connection that failed may still get late answers: it must not be used again.
                drop(deadpool_redis::Connection::take(connection));
            }
            answer.ok()
        };
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, attempt).await.ok().flatten();
        self.note(answer.is_some(), started.elapsed());
        answer
    }

    /// A failure that took long opens the breaker; one that came at once (nothing listens) costs nothing to try again.
    fn note(&self, success: bool, took: Duration) {
        let mut breaker = self.breaker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if success {
            breaker.open_until = None;
        } else if took * 2 >= self.timeout {
            breaker.open_until = Some(Instant::now() + self.timeout * 4);
        }
        let open = breaker.open_until.is_some();
        drop(breaker);
        metrics::breaker(if open { BreakerState::Open } else { BreakerState::Closed });
        metrics::dependency_up(Dependency::Redis, success);
    }

    fn is_resting(&self) -> bool {
        let breaker = self.breaker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        breaker.open_until.is_some_and(|until| Instant::now() < until)
    }

    fn decode<T: DeserializeOwned>(
        &self,
        entity: Entity,
        id: &str,
        least: i64,
        value: redis::Value,
    ) -> (GetResult, Option<T>) {
        let bytes = match value {
            redis::Value::Nil => return (GetResult::Miss, None),
            redis::Value::BulkString(bytes) => bytes,
            _ => return (GetResult::Stale, None),
        };
        let decoded = StoredAs::read(&bytes)
            .filter(|stored| stored.version >= least && stored.schema == self.schema)
            .filter(|stored| stored.key == entity.key(id))
            .and_then(|stored| serde_json::from_str(stored.json).ok());
        match decoded {
            Some(value) => (GetResult::Hit, Some(value)),
            None => (GetResult::Stale, None),
        }
    }

    /// Writes values after their commit; an entry that is there with a newer version stays.
    pub async fn put_many(&self, entries: Vec<Entry>) {
        for chunk in entries.chunks(500) {
            self.put_chunk(chunk).await;
        }
    }

    async fn put_chunk(&self, entries: &[Entry]) {
        let started = Instant::now();
        let written = if self.is_resting() { None } else { self.store(entries).await };
        metrics::cache_put_seconds(started);
        match written {
            Some(kept) => {
                for (entry, newer_kept) in entries.iter().zip(kept) {
                    let outcome = if newer_kept { CacheWrite::SkippedOlder } else { CacheWrite::Both };
                    metrics::cache_writes(entry.entity as usize, outcome, 1);
                    self.settle_doubt(entry.entity, &entry.id);
                }
            }
            None => {
                for entry in entries {
                    metrics::cache_writes(entry.entity as usize, CacheWrite::NotInvalidated, 1);
                    self.doubt(entry.entity, &entry.id);
                }
            }
        }
    }

    async fn store(&self, entries: &[Entry]) -> Option<Vec<bool>> {
        let script = script::write_if_newer();
        let mut call = script.prepare_invoke();
        for entry in entries {
            let key = entry.entity.key(&entry.id);
            let value = StoredAs { version: entry.version, schema: &self.schema, key: &key, json: &entry.json }.write();
            let ttl = self.lifetime(entry);
            call.key(key).arg(entry.version).arg(value).arg(ttl.as_millis().max(1).to_string());
        }
        let kept: Vec<i64> = self.run(async |connection| call.invoke_async(connection).await).await?;
        Some(kept.into_iter().map(|flag| flag == 1).collect())
    }

    /// The setting's lifetime less up to a tenth, spread by key, so that entries written together do not end together.
    fn lifetime(&self, entry: &Entry) -> Duration {
        let ttl = self.ttls[entry.entity as usize];
        let spread = u32::from(blake3::hash(entry.id.as_bytes()).as_bytes()[0]);
        ttl - ttl * spread / 2560
    }

    /// Removes entries whose row is gone or has changed in a way that the caller does not write.
    pub async fn remove_many(&self, keys: &[(Entity, String)]) {
        if keys.is_empty() {
            return;
        }
        let names: Vec<String> = keys.iter().map(|(entity, id)| entity.key(id)).collect();
        let command = redis::Cmd::del(names);
        let removed: Option<i64> = if self.is_resting() {
            None
        } else {
            self.run(async |connection| command.query_async(connection).await).await
        };
        for (entity, id) in keys {
            if removed.is_some() {
                self.settle_doubt(*entity, id);
            } else {
                self.doubt(*entity, id);
            }
        }
    }

    fn doubt(&self, entity: Entity, id: &str) {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if doubtful.len() < DOUBTFUL_LIMIT {
            doubtful.insert((entity, id.to_owned()), ());
        }
    }

    fn settle_doubt(&self, entity: Entity, id: &str) {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !doubtful.is_empty() && doubtful.remove(&(entity, id.to_owned())).is_some() {
            metrics::cache_removed_later(entity as usize);
        }
    }

    /// Removes what could not be written while Redis was away; to be run as a task of its own.
    pub async fn clear_doubts(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            ticks.tick().await;
            let keys: Vec<(Entity, String)> = {
                let doubtful = self.doubtful.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                doubtful.keys().take(500).cloned().collect()
            };
            self.remove_many(&keys).await;
        }
    }

    /// How full the pool is.
    pub fn pool_state(&self) -> PoolState {
        let status = self.pool.status();
        PoolState { open: status.size, idle: status.available, max: status.max_size }
    }

    /// Entries that wait for their removal.
    pub fn doubtful_entries(&self) -> usize {
        self.doubtful.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> bool {
        let command = redis::cmd("PING");
        self.run(async |connection| command.query_async::<String>(connection).await).await.is_some()
    }
}
