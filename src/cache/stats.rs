//! Hit and miss statistics: every look-up counted once, in one place, for the metrics and for the fleet's totals.
//!
//! Each process writes its totals to PostgreSQL every [`FLUSH_EVERY`]; a reset moves the baseline, the counters never go
//! back. What a crash may lose is what that process counted since its last write began. A reset takes what is written:
//! what another process has counted and not yet written then counts after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Entity, GetResult};
use crate::metrics::{self, ENTITIES, GET_RESULTS};
use crate::store::deadline;
use chrono::{DateTime, Utc};

/// How often a process writes its totals, when they have changed.
pub const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// The counts of this process.
#[derive(Debug)]
pub struct Stats {
    process_id: Uuid,
    counts: [[AtomicU64; 5]; 9],
}

/// How one entity fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct EntityStats {
    /// Look-ups served from the cache.
    pub hits: u64,
    /// Look-ups that found nothing usable.
    pub misses: u64,
    /// Hits and misses.
    pub total: u64,
    /// hits / total, between 0 and 1; 0 while there are none.
    pub hit_rate: f64,
    /// Look-ups that Redis did not answer.
    pub errors: u64,
    /// Look-ups not made, because Redis had failed a moment before.
    pub bypasses: u64,
}

impl EntityStats {
    fn add(&mut self, result: &str, count: u64) {
        match result {
            "hit" => self.hits += count,
            "miss" | "stale" => self.misses += count,
            "error" => self.errors += count,
            _ => self.bypasses += count,
        }
        self.total = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        if self.total > 0 {
            self.hit_rate = self.hits as f64 / self.total as f64;
        }
    }
}

/// How the cache fares, over the whole fleet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FleetStats {
    /// All entities together.
    pub overall: EntityStats,
    /// Each entity.
    pub entities: BTreeMap<&'static str, EntityStats>,
    /// Since when it is counted.
    pub since: DateTime<Utc>,
}

impl Stats {
    /// Starts at zero.
    pub fn new() -> Self {
        Self { process_id: Uuid::now_v7(), counts: Default::default() }
    }

    /// Counts look-ups.
    pub fn count(&self, entity: Entity, result: GetResult, count: usize) {
        let count = count as u64;
        self.counts[entity as usize][result as usize].fetch_add(count, Ordering::Relaxed);
        metrics::cache_gets(entity as usize, result as usize, count);
    }

    /// Writes the totals of this process for the fleet to see.
    ///
    /// # Errors
    /// PostgreSQL is away; the totals are written next time.
    pub async fn flush(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let (mut entities, mut results, mut totals) = (Vec::new(), Vec::new(), Vec::new());
        for (entity, row) in ENTITIES.iter().zip(&self.counts) {
            for (result, count) in GET_RESULTS.iter().zip(row) {
                let total = count.load(Ordering::Relaxed);
                if total > 0 {
                    entities.push((*entity).to_owned());
                    results.push((*result).to_owned());
                    totals.push(i64::try_from(total).unwrap_or(i64::MAX));
                }
            }
        }
        sqlx::query!(
            "INSERT INTO cache_counters (process_id, entity, result, total)
             SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
             ON CONFLICT (process_id, entity, result) DO UPDATE SET total = excluded.total, updated_at = now()
             WHERE cache_counters.total < excluded.total",
            self.process_id,
            &entities,
            &results,
            &totals
        )
        .execute(pool)
        .await?;
        Ok(())
    }

    /// Writes the totals where they changed, every [`FLUSH_EVERY`]; to be run as a task of its own. One write may take so long.
    pub async fn flush_forever(&self, pool: &PgPool, limit: Duration) {
        let mut ticks = tokio::time::interval(FLUSH_EVERY);
        let mut flushed = 0;
        loop {
            ticks.tick().await;
            let counted: u64 = self.counts.iter().flatten().map(|count| count.load(Ordering::Relaxed)).sum();
            if counted == flushed {
                continue;
            }
            if let Err(error) = deadline::within(limit, self.flush(pool)).await {
                tracing::debug!(%error, "cache statistics are written later");
            } else {
                flushed = counted;
            }
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// The statistics of the whole fleet since the last reset.
///
/// # Errors
/// PostgreSQL is away.
pub async fn fleet(pool: &PgPool) -> Result<FleetStats, sqlx::Error> {
    let since = sqlx::query_scalar!("SELECT since FROM cache_epoch").fetch_one(pool).await?;
    let rows = sqlx::query!(
        r#"SELECT entity, result, sum(total - baseline)::bigint AS "count!" FROM cache_counters GROUP BY entity, result"#
    )
    .fetch_all(pool)
    .await?;
    let mut entities: BTreeMap<_, _> = ENTITIES.iter().map(|name| (*name, EntityStats::default())).collect();
    let mut overall = EntityStats::default();
    for row in rows {
        let count = u64::try_from(row.count).unwrap_or(0);
        overall.add(&row.result, count);
        if let Some(stats) = entities.get_mut(row.entity.as_str()) {
            stats.add(&row.result, count);
        }
    }
    Ok(FleetStats { overall, entities, since })
}

/// Starts counting anew, for the whole fleet.
///
/// # Errors
/// PostgreSQL is away.
pub async fn reset(pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        "WITH moved AS (UPDATE cache_counters SET baseline = total)
         UPDATE cache_epoch SET since = now() RETURNING since"
    )
    .fetch_one(pool)
    .await
}
