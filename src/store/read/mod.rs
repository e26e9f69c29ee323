//! What the API reads, and the loaders that fill the cache.
//!
//! A loader reads the row that carries the version first and what hangs on it afterwards: a value in the cache may then be
//! newer than its version says, never older. Must never: scan a table that grows with the claims.

mod claims;
mod ledger;
mod lists;
mod remittances;
mod rescore;
mod scores;

pub use claims::{load_claim_heads, load_claims, worklist};
pub use ledger::{AuditEntity, audit, receipt};
pub use lists::{Fence, Filter, List, Page, PageRequest, fence, page};
pub use remittances::{load_episodes, load_remittance_heads, load_remittances};
pub use rescore::{NewScore, ScoredClaim, lock_claims, open_claims, scored_claims, store_scores};
pub use scores::{history, history_length, load_scores};

use sqlx::PgPool;

use crate::cache::{Entity, Entry};

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
    let mut entries = Vec::with_capacity(claims.len() + scored.len() + remittances.len() + episodes.len());
    for claim in load_claims(pool, claims).await? {
        entries.extend(Entry::new(Entity::Claim, claim.id, claim.revision, &claim));
    }
    for score in load_scores(pool, scored).await? {
        entries.extend(Entry::new(Entity::RiskScore, score.claim_id, score.id, &score));
    }
    for remittance in load_remittances(pool, remittances).await? {
        entries.extend(Entry::new(Entity::Remittance, remittance.id, remittance.revision, &remittance));
    }
    for episode in load_episodes(pool, episodes).await? {
        entries.extend(Entry::new(Entity::Episode, episode.id, episode.revision, &episode));
    }
    Ok(entries)
}
