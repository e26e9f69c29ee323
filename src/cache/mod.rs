//! The shared Redis cache: versioned values, written only after the commit, never to an older version.
//!
//! A value says which database, entity, key and version it is of. It is served only under the version that PostgreSQL
//! holds at the time of the look-up; anything else found under a key is `stale` and replaced. So whatever becomes of a
//! write (Redis away, a crash before it, old data come back from a disk), nothing older than the database is answered.
//! Must never fail an event or a request: without Redis everything goes to PostgreSQL.

mod breaker;
mod loads;
mod script;
pub mod stats;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_redis::{Manager, Runtime, Timeouts};
use redis::{ClientTlsConfig, TlsCertificates};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, SecretUrl};
use crate::error::{CommandError, Failure};
use crate::metrics::{self, CacheWrite, Dependency, Pool, PoolState};
use breaker::Breaker;
pub use loads::Loaded;
use loads::Loads;
use script::{Keys, NEWER_KEPT, NOT_THERE, StoredAs};
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
    breaker: Breaker,
    loads: Loads,
    /// Keys whose entry may be older than the database, until their removal succeeds.
    doubtful: Mutex<BTreeMap<(Entity, String), ()>>,
}

/// The format of cached values; to be raised when a cached structure changes.
const FORMAT: u32 = 2;
/// Keys that may be remembered for removal; what is beyond it goes when it is looked up, or by its lifetime.
const DOUBTFUL_LIMIT: usize = 100_000;
/// A larger value is not kept, and not read when somebody else put it there.
const LARGEST_VALUE: usize = 512 * 1024;
/// Values and bytes written in one exchange, at the most.
const CHUNK: (usize, usize) = (500, 4 * 1024 * 1024);

impl Cache {
    /// Prepares the pool; connects on first use. `installation` is the database's own id.
    ///
    /// # Errors
    /// A URL that Redis' client does not understand.
    pub fn new(config: &Config, installation: uuid::Uuid) -> Result<Self, CommandError> {
        let bad = |what: String| CommandError::Config(format!("redis_url: {what}"));
        let limit = Some(config.redis_timeout);
        let manager = manager(&config.redis_url).map_err(|_| bad("not understood".to_owned()))?;
        let pool = deadpool_redis::Pool::builder(manager)
            .max_size(config.redis_connections)
            .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| bad("no pool can be made".to_owned()))?;
        Ok(Self {
            pool,
            timeout: config.redis_timeout,
            ttls: config.cache_ttls,
            schema: format!("{FORMAT}-{}", installation.simple()),
            stats: Stats::new(),
            breaker: Breaker::new(config.redis_timeout),
            // Half of the connections stay free for events.
            loads: Loads::new((config.database_connections as usize / 2).max(1)),
            doubtful: Mutex::new(BTreeMap::new()),
        })
    }

    /// Looks one value up. `committed` is the version that PostgreSQL holds: a value of another one is stale.
    pub async fn get<T: DeserializeOwned>(&self, entity: Entity, id: &str, committed: i64) -> Option<T> {
        let keys = [id.to_owned()];
        self.get_many(entity, &keys, committed).await.pop().flatten()
    }

    /// Looks several values of one entity up in one round trip; the answer has the order of `ids`.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        entity: Entity,
        ids: &[String],
        committed: i64,
    ) -> Vec<Option<T>> {
        if ids.is_empty() {
            return Vec::new();
        }
        if !self.breaker.admits(Instant::now()) {
            self.stats.count(entity, GetResult::Bypass, ids.len());
            return ids.iter().map(|_| None).collect();
        }
        let started = Instant::now();
        let found = self.fetch(entity, ids).await.filter(|values| values.len() == ids.len());
        metrics::cache_get_seconds(entity as usize, started);
        let Some(values) = found else {
            self.stats.count(entity, GetResult::Error, ids.len());
            return ids.iter().map(|_| None).collect();
        };
        let decoded = ids.iter().zip(values).map(|(id, value)| {
            let (result, decoded) = self.decode(entity, id, committed, value);
            self.stats.count(entity, result, 1);
            decoded
        });
        decoded.collect()
    }

    async fn fetch(&self, entity: Entity, ids: &[String]) -> Option<Vec<redis::Value>> {
        let mut pipe = redis::pipe();
        for id in ids {
            // One by one, not MGET: a value of another type under one key must not hide the others. One byte more than
            // is kept tells a value that is too large, without reading it.
            pipe.cmd("GETRANGE").arg(entity.key(id)).arg(0).arg(LARGEST_VALUE);
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
            if answer.as_ref().is_err_and(redis::RedisError::is_unrecoverable_error) {
                // A connection that failed may still get late answers: it must not be used again.
                drop(deadpool_redis::Connection::take(connection));
            }
            Some(answer)
        };
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, attempt).await.ok().flatten();
        // Redis that refuses (it is full) is up, and fast.
        let answered = match &answer {
            Some(Err(error)) => !error.is_unrecoverable_error(),
            Some(Ok(_)) => true,
            None => false,
        };
        self.breaker.note(Instant::now(), answered, started.elapsed());
        metrics::breaker(self.breaker.state(Instant::now()));
        metrics::dependency_up(Dependency::Redis, answered);
        answer?.ok()
    }

    fn decode<T: DeserializeOwned>(
        &self,
        entity: Entity,
        id: &str,
        committed: i64,
        value: redis::Value,
    ) -> (GetResult, Option<T>) {
        let bytes = match value {
            redis::Value::Nil => return (GetResult::Miss, None),
            // What GETRANGE answers for a key that is not there.
            redis::Value::BulkString(bytes) if bytes.is_empty() => return (GetResult::Miss, None),
            redis::Value::BulkString(bytes) if bytes.len() <= LARGEST_VALUE => bytes,
            _ => return (GetResult::Stale, None),
        };
        let decoded = StoredAs::read(&bytes)
            .filter(|stored| stored.version == committed && stored.schema == self.schema)
            .filter(|stored| stored.key == entity.key(id))
            .and_then(|stored| Some((stored.written_ms, serde_json::from_str(stored.json).ok()?)));
        match decoded {
            Some((written_ms, value)) => {
                // Another machine's clock may be ahead.
                let age = chrono::Utc::now().timestamp_millis().saturating_sub(written_ms).max(0);
                metrics::cache_served_age(entity as usize, u32::try_from(age).unwrap_or(u32::MAX));
                (GetResult::Hit, Some(value))
            }
            None => (GetResult::Stale, None),
        }
    }

    /// Loads a value that was not served, once for all who want it now, and keeps it.
    ///
    /// # Errors
    /// What `load` fails with; or too many values are being loaded.
    pub async fn load(
        &self,
        entity: Entity,
        id: &str,
        load: impl Future<Output = Result<Option<Entry>, Failure>>,
    ) -> Result<Loaded, Failure> {
        let load_and_keep = Box::pin(async {
            let loaded = load.await?;
            self.keep_many(loaded.as_slice()).await;
            Ok(loaded)
        });
        self.loads.once(entity, id, load_and_keep).await
    }

    /// Writes values after their commit; an entry that is there with a newer version stays.
    pub async fn put_many(&self, entries: &[Entry]) {
        self.put(entries, Keys::Any).await;
    }

    /// The same for entries that nobody may want: only what is there already is written over. To fill the cache with them
    /// would drive out what people look at.
    pub async fn refresh_many(&self, entries: &[Entry]) {
        self.put(entries, Keys::Present).await;
    }

    async fn put(&self, entries: &[Entry], keys: Keys) {
        let mut rest = entries;
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(chunk_length(rest));
            self.put_chunk(chunk, keys).await;
            rest = others;
        }
    }

    /// Keeps values that were just loaded because they were not served. Under a key that holds a higher version there is
    /// either a value that came meanwhile, or one that was never committed here (somebody else put it there, or the
    /// database was set back) and would never be served: it goes, and the next look-up tells.
    pub async fn keep_many(&self, entries: &[Entry]) {
        let mut rest = entries;
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(chunk_length(rest));
            self.remove_many(&self.put_chunk(chunk, Keys::Any).await).await;
            rest = others;
        }
    }

    /// Writes values in one exchange; answers the keys that hold a newer one.
    async fn put_chunk(&self, entries: &[Entry], keys: Keys) -> Vec<(Entity, String)> {
        let fits = entries.iter().all(|entry| entry.json.len() + HEAD <= LARGEST_VALUE);
        let admitted = fits && self.breaker.admits(Instant::now());
        let started = Instant::now();
        let written = if admitted { self.store(entries, keys).await } else { None };
        metrics::cache_put_seconds(started);
        let Some(kept) = written else {
            self.invalidate(entries).await;
            return Vec::new();
        };
        let mut newer = Vec::new();
        for (entry, kept) in entries.iter().zip(kept) {
            self.settle_doubt(entry.entity, &entry.id);
            let outcome = match kept {
                NOT_THERE => continue,
                NEWER_KEPT => CacheWrite::SkippedOlder,
                _ => CacheWrite::Both,
            };
            metrics::cache_writes(entry.entity as usize, outcome, 1);
            metrics::cache_value_bytes(entry.entity as usize, entry.json.len());
            if kept == NEWER_KEPT {
                newer.push((entry.entity, entry.id.clone()));
            }
        }
        newer
    }

    /// What was not written: the entries that are there may be older, and go; now or, while Redis is away, later.
    async fn invalidate(&self, entries: &[Entry]) {
        let keys: Vec<(Entity, String)> = entries.iter().map(|entry| (entry.entity, entry.id.clone())).collect();
        let outcome = if self.remove_many(&keys).await { CacheWrite::Invalidated } else { CacheWrite::NotInvalidated };
        for entry in entries {
            metrics::cache_writes(entry.entity as usize, outcome, 1);
        }
    }

    async fn store(&self, entries: &[Entry], keys: Keys) -> Option<Vec<i64>> {
        let script = script::write_if_newer();
        let mut call = script.prepare_invoke();
        call.arg(keys.as_str());
        let written_ms = chrono::Utc::now().timestamp_millis();
        for entry in entries {
            let key = entry.entity.key(&entry.id);
            let stored =
                StoredAs { version: entry.version, schema: &self.schema, written_ms, key: &key, json: &entry.json };
            let ttl = self.lifetime(entry);
            call.key(&key).arg(entry.version).arg(stored.write()).arg(ttl.as_millis().max(1).to_string());
        }
        self.run(async |connection| call.invoke_async(connection).await).await
    }

    /// The setting's lifetime less up to a tenth, spread by key, so that entries written together do not end together.
    fn lifetime(&self, entry: &Entry) -> Duration {
        let ttl = self.ttls[entry.entity as usize];
        let spread = u32::from(blake3::hash(entry.id.as_bytes()).as_bytes()[0]);
        ttl - ttl * spread / 2560
    }

    /// Removes entries whose row is gone or has changed in a way that the caller does not write. What cannot be removed
    /// now is removed later; `false` then.
    pub async fn remove_many(&self, keys: &[(Entity, String)]) -> bool {
        if keys.is_empty() {
            return true;
        }
        let names: Vec<String> = keys.iter().map(|(entity, id)| entity.key(id)).collect();
        let command = redis::Cmd::del(names);
        let removed: Option<i64> = if self.breaker.admits(Instant::now()) {
            self.run(async |connection| command.query_async(connection).await).await
        } else {
            None
        };
        for (entity, id) in keys {
            if removed.is_some() {
                self.settle_doubt(*entity, id);
            } else {
                self.doubt(*entity, id);
            }
        }
        removed.is_some()
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

/// Makes connections, over TLS where the URL says so: with our authorities instead of the system's, where there are any.
fn manager(url: &SecretUrl) -> redis::RedisResult<Manager> {
    if !url.expose().starts_with("rediss://") {
        return Manager::new(url.expose());
    }
    let certificates = url.certificates();
    let client_tls = certificates.identity.as_ref().map(|identity| ClientTlsConfig {
        client_cert: identity.chain.clone().into_bytes(),
        client_key: identity.key.expose().as_bytes().to_vec(),
    });
    let root_cert = certificates.authorities.as_ref().map(|text| text.as_bytes().to_vec());
    let client = redis::Client::build_with_tls(url.expose(), TlsCertificates { client_tls, root_cert })?;
    Manager::new(client.get_connection_info().clone())
}

/// Room for what stands before the JSON of a value.
const HEAD: usize = 512;

/// How many of the entries fit into one exchange; at least one. One that is too large to be kept stands alone.
fn chunk_length(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.json.len();
        bytes <= CHUNK.1 && entry.json.len() + HEAD <= LARGEST_VALUE
    };
    entries.iter().take(CHUNK.0).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_bounded_and_a_value_that_is_too_large_stands_alone() {
        let entry = |bytes: usize| Entry { entity: Entity::Claim, id: "1".into(), version: 1, json: "x".repeat(bytes) };
        let many: Vec<Entry> = (0..600).map(|_| entry(10)).collect();
        assert_eq!(chunk_length(&many), 500);
        let heavy: Vec<Entry> = (0..20).map(|_| entry(400_000)).collect();
        assert_eq!(chunk_length(&heavy), 10);
        assert_eq!(chunk_length(&[entry(10), entry(10), entry(LARGEST_VALUE)]), 2);
        assert_eq!(chunk_length(&[entry(LARGEST_VALUE), entry(10)]), 1);
    }
}
