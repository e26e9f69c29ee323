//! Scores open claims again when another model or other tables are in force: a part of them in each turn, so that live
//! traffic comes first.
//!
//! Must never: touch a claim that the payer has decided, or store a score that tells nothing new.

use std::time::{Duration, Instant};

use super::Means;
use crate::error::Failure;
use crate::flow::rescore::{New, Rescoring};
use crate::store::{deadline, read};

/// Claims looked at together.
const PAGE: i64 = 200;
/// How long one turn may take.
const TURN: Duration = Duration::from_secs(2);
/// A score that moves by fewer tenths of a point, on the same level, stays as it is.
const MOVED_TENTHS: u16 = 10;

/// How far the claims were scored again.
#[derive(Default)]
pub(super) struct Progress {
    /// Versions of model and tables that the pass is for.
    version: String,
    /// The last claim that was looked at; none when the pass is over.
    after: Option<i64>,
    looked: u64,
    moved: u64,
}

impl Progress {
    /// Goes on with the pass, or begins one when what is in force has changed.
    pub(super) async fn turn(&mut self, means: &Means) -> Result<(), Failure> {
        let in_force = means.model.current();
        let version = format!("{} {:?}", in_force.snapshot.version(), in_force.tables.version());
        if self.version != version {
            // The first model seen is the one that claims were scored with when this process began to learn, or will
            // be found unmoved.
            *self = Self { version, after: Some(0), ..Self::default() };
        }
        let started = Instant::now();
        while let Some(after) = self.after.filter(|_| started.elapsed() < TURN) {
            let limit = means.config.database_deadline();
            let page = deadline::within(limit, read::open_claims(&means.pool, after, PAGE)).await?;
            let Some(last) = page.last() else {
                tracing::info!(
                    looked = self.looked,
                    moved = self.moved,
                    "open claims were scored with the model in force"
                );
                self.after = None;
                break;
            };
            self.after = Some(*last);
            self.looked += u64::try_from(page.len()).unwrap_or(0);
            self.page(means, &page).await?;
        }
        Ok(())
    }

    async fn page(&mut self, means: &Means, page: &[i64]) -> Result<(), Failure> {
        let model = means.model.current();
        let (pool, levels) = (&means.pool, &means.config.levels);
        let limit = means.config.database_deadline();
        let rescoring = Rescoring { pool, model: &model, levels, new: New::Moved(MOVED_TENTHS) };
        let moved = deadline::within(limit, rescoring.run(page)).await?;
        self.moved += u64::try_from(moved.claims.len()).unwrap_or(0);
        if !moved.claims.is_empty() {
            let entries = read::cache_entries(&means.pool, &moved.claims, &moved.claims, &[], &[]);
            let entries = deadline::within(limit, entries).await?;
            means.cache.refresh_many(&entries).await;
        }
        let lost = means.announcements.publish(&moved.messages).await.iter().filter(|answer| answer.is_err()).count();
        if lost > 0 {
            tracing::warn!(lost, "changes of level were not announced");
        }
        Ok(())
    }
}
