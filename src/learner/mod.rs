//! The learner: keeps the counts of what each payer denies, and the model, up to date with the remittances. One in the
//! fleet is active.
//!
//! Which one is decided by an advisory lock that its database session holds: when the process or the connection dies, the
//! lock goes with it and another process takes over.

mod labels;
mod rescore;

pub use labels::rebuild;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use self::labels::Labels;
use crate::broker::Publisher;
use crate::cache::Cache;
use crate::config::Config;
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::metrics;
use crate::model::Model;
use crate::retry::Delays;
use crate::store::{deadline, patterns, reconcile};

/// Any number, the same in all processes: `claimris` in ASCII.
const LOCK: i64 = 0x636c_6169_6d72_6973;
/// How often new remittances are looked for, at the most.
const PERIOD: Duration = Duration::from_secs(10);

/// What the learner works with.
pub struct Means {
    /// The truth.
    pub pool: PgPool,
    /// The cache.
    pub cache: Arc<Cache>,
    /// The model in force, for its reference tables.
    pub model: Arc<Model>,
    /// Where changes of level are announced.
    pub announcements: Arc<Publisher>,
    /// Settings.
    pub config: Arc<Config>,
}

impl Means {
    /// How often new remittances are looked for: at least as often as models are published.
    fn period(&self) -> Duration {
        PERIOD.min(self.config.model_publish)
    }
}
/// Remittances committed late by a slow transaction may carry an earlier time: each look goes back this far.
const OVERLAP: Duration = Duration::from_secs(30);
/// How long labels may be read: all of them, at the start.
const READING_LIMIT: Duration = Duration::from_secs(600);

/// Learns until told to stop.
pub async fn run(means: &Means, stop: &CancellationToken) {
    let mut delays = Delays::reconnect();
    while !stop.is_cancelled() {
        if let Err(failure) = while_active(means, stop).await {
            tracing::debug!(error = %failure, "the learner tries again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
}

/// Takes the lock if it is free and learns for as long as the session that holds it lives.
async fn while_active(means: &Means, stop: &CancellationToken) -> Result<(), Failure> {
    // A connection of its own, not one of the pool: closing it is what gives the lock back.
    let mut holder = means.pool.acquire().await?.detach();
    let lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "taken!""#, LOCK).fetch_one(&mut holder);
    let active = deadline::within(means.config.database_deadline(), lock).await?;
    let result = if active {
        tracing::info!("this process is the active learner");
        learn(means, &mut holder, stop).await
    } else {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(means.period()) => {}
        }
        Ok(())
    };
    holder.close().await?;
    result
}

async fn learn(means: &Means, holder: &mut PgConnection, stop: &CancellationToken) -> Result<(), Failure> {
    let (learning, limit) = (metrics::Learning::begin(), means.config.database_deadline());
    let mut since: Option<Instant> = None;
    let (mut labels, mut rescored) = (Labels::new(), rescore::Progress::default());
    loop {
        // Through the session that holds the lock: when it is gone, so is the right to learn.
        let (now, payers) = deadline::within(limit, changed_payers(holder, since)).await?;
        for payer_id in payers {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = deadline::within(limit, count_anew(&means.pool, &means.cache, payer_id)).await {
                // The others must not wait for this one.
                tracing::warn!(payer_id, %error, "the denials of a payer were not counted");
            }
        }
        since = Some(now - OVERLAP);
        labels.turn(means, holder).await?;
        rescored.turn(means).await?;
        learning.turn(labels.len(), deadline::within(limit, reconcile::unlinked(holder)).await?);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(means.period()) => {}
        }
    }
}

async fn count_anew(pool: &PgPool, cache: &Cache, payer_id: i64) -> Result<(), sqlx::Error> {
    patterns::refresh(pool, &[payer_id]).await?;
    let entry = patterns::load(pool, payer_id).await?.as_ref().and_then(patterns::entry);
    cache.put_many(entry.as_slice()).await;
    Ok(())
}

/// The time, and payers with remittances that changed since then; at the start all whose counts are older than their
/// remittances.
async fn changed_payers(holder: &mut PgConnection, since: Option<Instant>) -> Result<(Instant, Vec<i64>), sqlx::Error> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(&mut *holder).await?;
    let payers = match since {
        Some(since) => {
            sqlx::query_scalar!("SELECT DISTINCT payer_id FROM remittances WHERE updated_at >= $1", since)
                .fetch_all(holder)
                .await?
        }
        None => sqlx::query_scalar!("SELECT id FROM payers").fetch_all(holder).await?,
    };
    Ok((now, payers))
}
