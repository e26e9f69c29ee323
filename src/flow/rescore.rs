//! Scores stored claims again, with what is in force and what is known now, and stores the scores that moved.
//!
//! Must never: store a score of a submission that is not the claim's newest any more.

use sqlx::PgPool;

use super::outbound::rescored;
use crate::broker::Outgoing;
use crate::domain::claim::Claim;
use crate::domain::score::Levels;
use crate::error::Failure;
use crate::model::InForce;
use crate::store::earlier::{self, Asked};
use crate::store::read::{self, Rescored, ScoredClaim};
use crate::view::ScoreView;
use crate::wire;

/// Claims looked at together.
const PAGE: usize = 200;

/// What moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Claims with another score.
    pub(crate) claims: Vec<i64>,
    /// Announcements of those on another level.
    pub(crate) messages: Vec<Outgoing>,
}

/// Which scores are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Those on another level, or moved by so many tenths of a point at least.
    Moved(u16),
    /// Those that were made of something else, too.
    Differing,
}

/// Scores claims again and stores the scores that tell something new.
///
/// # Errors
/// PostgreSQL is away or busy; what was stored before stays stored.
pub(crate) async fn rescore(
    pool: &PgPool,
    model: &InForce,
    levels: &Levels,
    claims: &[ScoredClaim],
    store: Store,
) -> Result<Moved, Failure> {
    // What is stored was read before, when its event came.
    let read = claims.iter().filter_map(|scored| Some((scored, wire::read_claim(&scored.submitted.body).ok()?)));
    let read: Vec<(&ScoredClaim, Claim)> = read.collect();
    let asked: Vec<Asked<'_>> = read.iter().map(|(scored, claim)| (claim, scored.submitted.moment())).collect();
    let earlier = earlier::of_stored(&mut *pool.acquire().await?, &asked).await?;
    let mut moved = Moved::default();
    for ((old, claim), earlier) in read.iter().zip(earlier) {
        let day = old.submitted.version_time.date_naive();
        let view = ScoreView::of(&model.score(claim, day, earlier, levels));
        let same_level = view.risk_level == old.risk_level;
        let by = view.overall_tenths().abs_diff(old.overall_tenths);
        let stays = match store {
            Store::Moved(least) => by < least,
            Store::Differing => by == 0 && view.input_hash == old.input_hash,
        };
        if same_level && stays {
            continue;
        }
        if read::store_score(pool, old.claim_id, &old.submitted, &view).await? == Rescored::Stored {
            moved.claims.push(old.claim_id);
            if !same_level {
                moved.messages.push(rescored(old.claim_id, &view, old.overall_tenths, &old.risk_level));
            }
        }
    }
    Ok(moved)
}

/// Scores claims again on which something bears that came late. What differs is stored, so that the order of arrival leaves
/// no trace.
///
/// # Errors
/// PostgreSQL is away or busy; what was stored before stays stored.
pub(crate) async fn late(pool: &PgPool, model: &InForce, levels: &Levels, ids: &[i64]) -> Result<Moved, Failure> {
    let mut all = Moved::default();
    for part in ids.chunks(PAGE) {
        let claims = read::scored_claims(pool, part).await?;
        let moved = rescore(pool, model, levels, &claims, Store::Differing).await?;
        all.claims.extend(moved.claims);
        all.messages.extend(moved.messages);
    }
    Ok(all)
}
