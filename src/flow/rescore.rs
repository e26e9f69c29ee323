//! Scores stored claims again, with the model in force and what is known now, and stores the scores that tell something new.
//!
//! A score that is stored was made while its claim was locked, of what was committed by then: of two processes that score a
//! claim at once, the one that stores last has seen all. Must never: be cut short but by a deadline of
//! `store::deadline`, which closes the connection.

use sqlx::{PgConnection, PgPool};

use super::outbound::rescored;
use crate::broker::Outgoing;
use crate::domain::claim::Claim;
use crate::domain::score::Levels;
use crate::error::Failure;
use crate::model::InForce;
use crate::retry::while_busy;
use crate::store::earlier::{self, Asked};
use crate::store::read::{self, NewScore, ScoredClaim};
use crate::view::ScoreView;
use crate::wire;

/// Claims looked at together.
const PAGE: usize = 200;
/// Claims locked together: batches that want one of them wait until all are scored and stored.
const LOCKED: usize = 25;

/// Which scores tell something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum New {
    /// Those on another level, or moved by so many tenths of a point at least.
    Moved(u16),
    /// Those that differ, or were made of something else.
    Differing,
    /// Any.
    Any,
}

/// What moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Claims with another score.
    pub(crate) claims: Vec<i64>,
    /// Announcements of those on another level.
    pub(crate) messages: Vec<Outgoing>,
}

impl Moved {
    fn extend(&mut self, other: Self) {
        self.claims.extend(other.claims);
        self.messages.extend(other.messages);
    }
}

/// What claims are scored with, and which of the scores are stored.
#[derive(Clone, Copy)]
pub(crate) struct Rescoring<'a> {
    pub(crate) pool: &'a PgPool,
    pub(crate) model: &'a InForce,
    pub(crate) levels: &'a Levels,
    pub(crate) new: New,
}

impl Rescoring<'_> {
    /// Scores claims again. Ids without a claim are passed over.
    ///
    /// # Errors
    /// PostgreSQL is away or busy; what was stored before stays stored.
    pub(crate) async fn run(self, claims: &[i64]) -> Result<Moved, Failure> {
        let mut all = Moved::default();
        for part in claims.chunks(PAGE) {
            all.extend(self.page(part).await?);
        }
        Ok(all)
    }

    async fn page(self, claims: &[i64]) -> Result<Moved, Failure> {
        // First without locks: most scores stay as they are.
        let mut snapshot = crate::store::snapshot(self.pool).await?;
        let found = self.score(&mut snapshot, claims).await?;
        snapshot.commit().await?;
        let claims: Vec<i64> = found.iter().map(|(old, _)| old.claim_id).collect();
        let mut all = Moved::default();
        for part in claims.chunks(LOCKED) {
            all.extend(while_busy(|| self.store(part)).await?);
        }
        Ok(all)
    }

    async fn store(self, claims: &[i64]) -> Result<Moved, Failure> {
        let mut transaction = crate::store::begin(self.pool).await?;
        read::lock_claims(&mut transaction, claims).await?;
        // Only what is read after the locks are held sees what others committed before.
        let (old, new): (Vec<_>, Vec<_>) = self.score(&mut transaction, claims).await?.into_iter().unzip();
        read::store_scores(&mut transaction, &new).await?;
        transaction.commit().await?;
        let moved = old.iter().zip(&new).filter(|(old, new)| old.risk_level != new.score.risk_level);
        let message = |(old, new): (&ScoredClaim, &NewScore)| {
            rescored(new.claim_id, &new.score, old.overall_tenths, &old.risk_level)
        };
        Ok(Moved { messages: moved.map(message).collect(), claims: new.iter().map(|new| new.claim_id).collect() })
    }

    /// The scores that tell something new.
    async fn score(
        self,
        connection: &mut PgConnection,
        claims: &[i64],
    ) -> Result<Vec<(ScoredClaim, NewScore)>, Failure> {
        let stored = read::scored_claims(connection, claims).await?;
        // What is stored was read before, when its event came.
        let read = stored.into_iter().filter_map(|old| wire::read_claim(&old.body).ok().map(|claim| (old, claim)));
        let read: Vec<(ScoredClaim, Claim)> = read.collect();
        let asked: Vec<Asked<'_>> = read.iter().map(|(old, claim)| (claim, old.moment())).collect();
        let earlier = earlier::of_stored(connection, &asked).await?;
        let scored = read.into_iter().zip(earlier).map(|((old, claim), earlier)| {
            let day = old.version_time.date_naive();
            let score = ScoreView::of(&self.model.score(&claim, day, earlier, self.levels));
            let new = NewScore { claim_id: old.claim_id, submission_id: old.submission_id, score };
            (old, new)
        });
        Ok(scored.filter(|(old, new)| self.is_new(old, &new.score)).collect())
    }

    fn is_new(self, old: &ScoredClaim, score: &ScoreView) -> bool {
        let by = score.overall_tenths().abs_diff(old.overall_tenths);
        let is_new = match self.new {
            New::Moved(least) => by >= least,
            New::Differing => by > 0 || score.input_hash != old.input_hash,
            New::Any => true,
        };
        is_new || score.risk_level != old.risk_level
    }
}
