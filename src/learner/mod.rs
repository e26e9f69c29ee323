//! The learner: keeps the counts of what each payer denies, and the model, up to date with the remittances. One in the
//! fleet is active.
//!
//! Which one is decided by an advisory lock that its database session holds (see [`right`]): when the process or the
//! connection dies, the lock goes with it and another process takes over. Must never: learn without it.

mod labels;
mod rescore;
mod right;

pub use labels::rebuild;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use self::labels::Labels;
use self::right::Right;
use crate::broker::Publisher;
use crate::cache::Cache;
use crate::config::Config;
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::metrics;
use crate::model::Model;
use crate::retry::Delays;
use crate::store::{deadline, patterns, reconcile};

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

/// How long a turn may go on after the learner was told to stop: less than the process has to end in.
const FAREWELL: Duration = Duration::from_secs(3);

/// Learns until told to stop.
pub async fn run(means: &Means, stop: &CancellationToken) {
    let farewell = async {
        stop.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = again_and_again(means, stop) => {}
        // Nothing is lost: the next learner begins from what is stored.
        () = farewell => deadline::give_up(),
    }
}

async fn again_and_again(means: &Means, stop: &CancellationToken) {
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

/// Takes the right to learn if it is free, and learns for as long as the session that holds it lives.
async fn while_active(means: &Means, stop: &CancellationToken) -> Result<(), Failure> {
    let (mut right, taken) = Right::take(means).await?;
    let result = if taken {
        tracing::info!("this process is the active learner");
        learn(means, &mut right, stop).await
    } else {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(means.period()) => {}
        }
        Ok(())
    };
    right.give_back().await?;
    result
}

async fn learn(means: &Means, right: &mut Right, stop: &CancellationToken) -> Result<(), Failure> {
    let learning = metrics::Learning::begin();
    let mut since: Option<Instant> = None;
    let (mut labels, mut rescored) = (Labels::new(), rescore::Progress::default());
    loop {
        let (session, limit) = right.session();
        let (now, payers) = deadline::within(limit, changed_payers(session, since)).await?;
        for payer_id in payers {
            if stop.is_cancelled() {
                return Ok(());
            }
            right.is_held().await?;
            if let Err(error) = deadline::within(limit, count_anew(&means.pool, &means.cache, payer_id)).await {
                // The others must not wait for this one.
                tracing::warn!(payer_id, %error, "the denials of a payer were not counted");
            }
        }
        since = Some(now - OVERLAP);
        labels.turn(means, right, stop).await?;
        right.is_held().await?;
        rescored.turn(means).await?;
        let (session, limit) = right.session();
        learning.turn(labels.len(), deadline::within(limit, reconcile::unlinked(session)).await?);
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
