//! What the API reads, and the loaders that fill the cache.
//!
//! A loader of rows and what hangs on them reads all of it in one snapshot, so that a value is what was committed at some
//! moment. Must never: scan a table that grows with the claims.

mod claims;
mod ledger;
mod lists;
mod remittances;
mod rescore;
mod scores;

pub use claims::{load_claim_heads, load_claims, worklist};
pub use ledger::receipt;
pub use lists::{Fence, Filter, List, Page, PageRequest, fence, page};
pub use remittances::{load_episodes, load_remittance_heads, load_remittances};
pub use rescore::{NewScore, ScoredClaim, lock_claims, open_claims, scored_claims, store_scores};
pub use scores::{history, history_length, load_scores};

use sqlx::PgPool;

use crate::cache::{Entity, Entry};
use crate::store::{self, patterns};

/// The version of what is cached by a table id, as it is committed at this moment: the row's revision, the id of a claim's
/// current score. A cached value of any other version is not to be served. `None` when there is no such row.
///
/// # Errors
/// PostgreSQL is away.
pub async fn version(pool: &PgPool, entity: Entity, id: i64) -> Result<Option<i64>, sqlx::Error> {
    match entity {
        Entity::Claim => {
            sqlx::query_scalar!("SELECT revision FROM claims WHERE id = $1", id).fetch_optional(pool).await
        }
        Entity::RiskScore => {
            sqlx::query_scalar!("SELECT id FROM risk_scores WHERE claim_id = $1 ORDER BY id DESC LIMIT 1", id)
                .fetch_optional(pool)
                .await
        }
        Entity::Remittance => {
            sqlx::query_scalar!("SELECT revision FROM remittances WHERE id = $1", id).fetch_optional(pool).await
        }
        Entity::Episode => {
            sqlx::query_scalar!("SELECT revision FROM claim_episodes WHERE id = $1", id).fetch_optional(pool).await
        }
        Entity::Pattern => patterns::committed(pool, id).await.map(Some),
        // Known by the keys of events, and never changed; lists have a fence of their own.
        Entity::Payer | Entity::Provider | Entity::Practice | Entity::Count => Ok(None),
    }
}

/// Cache entries of rows that changed: claims, the current scores of claims, remittances, episodes, each by id.
/// Ids without a row are left out.
///
/// # Errors
/// PostgreSQL is away.
pub async fn cache_entries(
    pool: &PgPool,
    claims: &[i64],
    scored: &[i64],
    remittances: &[i64],
    episodes: &[i64],
) -> Result<Vec<Entry>, sqlx::Error> {
    if claims.is_empty() && scored.is_empty() && remittances.is_empty() && episodes.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::with_capacity(claims.len() + scored.len() + remittances.len() + episodes.len());
    let mut snapshot = store::snapshot(pool).await?;
    for claim in claims::whole_claims(&mut snapshot, claims).await? {
        entries.extend(Entry::new(Entity::Claim, claim.id, claim.revision, &claim));
    }
    for score in scores::current_scores(&mut snapshot, scored).await? {
        entries.extend(Entry::new(Entity::RiskScore, score.claim_id, score.id, &score));
    }
    for remittance in remittances::whole_remittances(&mut snapshot, remittances).await? {
        entries.extend(Entry::new(Entity::Remittance, remittance.id, remittance.revision, &remittance));
    }
    for episode in remittances::episodes(&mut snapshot, episodes).await? {
        entries.extend(Entry::new(Entity::Episode, episode.id, episode.revision, &episode));
    }
    snapshot.commit().await?;
    Ok(entries)
}
