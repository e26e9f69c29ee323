//! What is measured of the three servers: whether they answer, pools, confirms, errors, the cache's breaker.
//!
//! Must never: tell what was asked of a server, or with which value.

use std::time::Instant;

use super::catalogue::*;
use super::registered;

/// A server the worker needs.
#[derive(Clone, Copy, Debug)]
pub enum Dependency {
    /// The broker.
    RabbitMq,
    /// The database.
    Postgres,
    /// The cache.
    Redis,
}

/// A pool of connections.
#[derive(Clone, Copy, Debug)]
pub enum Pool {
    /// To the database.
    Postgres,
    /// To the cache.
    Redis,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolState {
    /// Connections that are open.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// How many there may be.
    pub max: usize,
}

/// A state of the cache's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Redis is asked.
    Closed,
    /// The next exchange decides.
    HalfOpen,
    /// Redis is not asked.
    Open,
}

/// Whether a server answered.
pub fn dependency_up(dependency: Dependency, up: bool) {
    registered::gauge(DEPENDENCY_UP, &[("dependency", DEPENDENCIES[dependency as usize])]).set(if up {
        1.0
    } else {
        0.0
    });
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How full a pool is; told at each scrape.
pub fn pool(pool: Pool, state: PoolState) {
    let name = POOLS[pool as usize];
    let used = state.open.saturating_sub(state.idle);
    for (label, count) in POOL_STATES.iter().zip([state.idle, used]) {
        registered::gauge(POOL_CONNECTIONS, &[("pool", name), ("state", label)]).set(number(count));
    }
    registered::gauge(POOL_MAX, &[("pool", name)]).set(number(state.max));
}

/// A connection was at hand this long after it was asked for.
pub fn pool_wait(pool: Pool, since: Instant) {
    registered::histogram(POOL_WAIT, &[("pool", POOLS[pool as usize])]).record(since.elapsed().as_secs_f64());
}

/// A wait for a connection to PostgreSQL was given up.
pub fn pool_timeout() {
    registered::counter(POOL_TIMEOUTS, &[]).increment(1);
}

/// PostgreSQL, or the way to it, answered with an error of this SQLSTATE.
pub fn db_error(sqlstate: Option<&str>) {
    let class = sqlstate.map_or("client", |code| code.get(..2).unwrap_or("other"));
    let known = SQL_CLASSES.iter().find(|known| **known == class).unwrap_or(&"other");
    registered::counter(DB_ERRORS, &[("class", known)]).increment(1);
}

/// What PostgreSQL is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Payers, providers and practices of a batch.
    References,
    /// Claims sent before those of a batch.
    EarlierClaims,
    /// To store a batch; to link and label around it is a stage of its own.
    Store,
    /// What changed, for the cache.
    ChangedRows,
    /// How new a row is, before the cache is asked.
    Version,
    /// The ids of a page.
    Page,
    /// To note who looked at what.
    Audit,
}

/// Asks PostgreSQL and takes the time, also of what fails; what is given up takes none.
pub async fn queried<T>(query: Query, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    registered::histogram(QUERY, &[("query", QUERIES[query as usize])]).record(started.elapsed().as_secs_f64());
    done
}

/// A connection to the broker that consumes (or else publishes) failed or was lost.
pub fn broker_connection_lost(consuming: bool) {
    registered::counter(CONNECTIONS_LOST, &[("connection", CONNECTIONS[usize::from(!consuming)])]).increment(1);
}

/// The broker's answers to what was published.
#[derive(Clone, Copy, Debug)]
pub enum Confirm {
    /// Taken.
    Confirmed,
    /// No queue takes it.
    Unroutable,
    /// Refused.
    Refused,
    /// No answer.
    Unknown,
}

/// Messages on their way to the broker; no longer pending once this is dropped.
#[derive(Debug)]
pub struct Publishing {
    publisher: &'static str,
    messages: f64,
    since: Instant,
}

impl Publishing {
    /// So many messages are published. Publishers of other names than the worker's are not counted.
    pub fn begin(name: &str, messages: usize) -> Option<Self> {
        let publisher = PUBLISHERS.iter().find(|known| **known == name)?;
        let publishing = Self { publisher, messages: number(messages), since: Instant::now() };
        publishing.pending().increment(publishing.messages);
        Some(publishing)
    }

    fn pending(&self) -> metrics::Gauge {
        registered::gauge(CONFIRMS_PENDING, &[("publisher", self.publisher)])
    }

    /// The broker's answer to one of them.
    pub fn answered(&self, answer: Confirm) {
        let labels = [("publisher", self.publisher), ("answer", CONFIRMS[answer as usize])];
        registered::counter(PUBLISHED, &labels).increment(1);
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.pending().decrement(self.messages);
        registered::histogram(CONFIRM_SECONDS, &[("publisher", self.publisher)])
            .record(self.since.elapsed().as_secs_f64());
    }
}

/// The breaker is in this state now.
pub fn breaker(state: BreakerState) {
    for (at, name) in BREAKER_STATES.iter().enumerate() {
        let value = if at == state as usize { 1.0 } else { 0.0 };
        registered::gauge(BREAKER, &[("state", name)]).set(value);
    }
}

/// Values were written to the cache, or not, in this time.
pub fn cache_put_seconds(since: Instant) {
    registered::histogram(CACHE_PUT_SECONDS, &[]).record(since.elapsed().as_secs_f64());
}

/// What came of a load from PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A value.
    Found,
    /// There is none.
    Absent,
    /// It failed.
    Error,
    /// Another's load was waited for.
    Coalesced,
}

/// A load for the cache ended; `entity` indexes [`ENTITIES`].
pub fn cache_load(entity: usize, outcome: Load, since: Instant) {
    let entity = ("entity", ENTITIES[entity]);
    registered::counter(CACHE_LOADS, &[entity, ("outcome", LOADS[outcome as usize])]).increment(1);
    if outcome != Load::Coalesced {
        registered::histogram(CACHE_LOAD_SECONDS, &[entity]).record(since.elapsed().as_secs_f64());
    }
}

/// So many cache entries wait for their removal; told at each scrape.
pub fn cache_doubtful(entries: usize) {
    registered::gauge(DOUBTFUL, &[]).set(number(entries));
}

/// A cache entry that waited for its removal is gone or written; `entity` indexes `ENTITIES`.
pub fn cache_removed_later(entity: usize) {
    registered::counter(REMOVED_LATER, &[("entity", ENTITIES[entity])]).increment(1);
}

/// The API answered with this status.
pub fn http_answer(status: u16, since: Instant) {
    let class = match status {
        ..300 => 0,
        300..400 => 1,
        400..500 => 2,
        500.. => 3,
    };
    registered::histogram(HTTP_SECONDS, &[("status", STATUSES[class])]).record(since.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enum_has_a_label_for_each_of_its_values() {
        assert_eq!(QUERIES.len(), Query::Audit as usize + 1);
        assert_eq!(POOLS.len(), Pool::Redis as usize + 1);
        assert_eq!(DEPENDENCIES.len(), Dependency::Redis as usize + 1);
        assert_eq!(CONFIRMS.len(), Confirm::Unknown as usize + 1);
        assert_eq!(BREAKER_STATES[BreakerState::HalfOpen as usize], "half_open");
        assert_eq!(BREAKER_STATES[BreakerState::Open as usize], "open");
    }
}
