//! The model in force: the snapshot and the reference tables that this process scores with, and how it comes to newer ones.
//!
//! Must never: change while a claim is scored; whoever scores takes what is in force once and keeps it to the end.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;

use crate::domain::claim::Claim;
use crate::domain::reference::ReferenceTables;
use crate::domain::rules::{EarlierClaim, Facts};
use crate::domain::score::{Levels, Score, Snapshot, score_beside};
use crate::domain::types::Date;
use crate::error::CommandError;
use crate::metrics::now_seconds;
use crate::store::{self, deadline, reference, snapshots};

/// How often a newer model or table is looked for.
const PERIOD: Duration = Duration::from_secs(5);

/// What claims are scored with.
#[derive(Debug)]
pub struct InForce {
    /// The model.
    pub snapshot: Arc<Snapshot>,
    /// Models that score beside it, by the number of their configuration: stored, never shown.
    challengers: Vec<(i32, Arc<Snapshot>)>,
    /// The reference tables.
    pub tables: Arc<ReferenceTables>,
    /// Kinds and versions of the tables as they are stored.
    stored: Vec<(String, String)>,
    /// When this process took the model, in seconds since 1970.
    pub since: f64,
}

impl InForce {
    /// Scores a claim; `day` counts where the claim does not say when it was sent.
    pub fn score(&self, claim: &Claim, day: Date, earlier: Option<Vec<EarlierClaim>>, levels: &Levels) -> Score {
        let facts = Facts::of(claim, day).with_tables(Arc::clone(&self.tables)).with_earlier(earlier);
        score_beside(claim, &facts, &self.snapshot, &self.challengers, levels)
    }
}

/// The model of a process, which may be replaced while it runs.
#[derive(Debug)]
pub struct Model(RwLock<Arc<InForce>>);

impl Model {
    /// Reads the newest stored models and the tables; where there is no model that this release understands, the one
    /// of experts is stored and used.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached, or a stored table does not follow its format.
    pub async fn load(pool: &PgPool) -> Result<Self, CommandError> {
        let stored = stored_tables(pool).await?;
        let tables = Arc::new(reference::load_all(pool).await?);
        let empty = InForce {
            snapshot: Arc::new(Snapshot::expert()),
            challengers: Vec::new(),
            tables,
            stored,
            since: now_seconds(),
        };
        let (champion, challengers) = newest(pool, &empty).await?;
        let snapshot = match champion {
            Some(snapshot) => snapshot,
            None => {
                snapshots::publish(pool, &empty.snapshot).await?;
                empty.snapshot
            }
        };
        let since = now_seconds();
        let (tables, stored) = (empty.tables, empty.stored);
        Ok(Self(RwLock::new(Arc::new(InForce { snapshot, challengers, tables, stored, since }))))
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<InForce> {
        // A reader cannot leave a half-written value behind, so a poisoned lock is as good as any.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for newer models and tables, for ever; one look may take so long.
    pub async fn follow(&self, pool: &PgPool, limit: Duration) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if let Some(Err(error)) = deadline::in_time(limit, self.renew(pool)).await {
                tracing::debug!(%error, "no newer model could be looked for");
            }
        }
    }

    async fn renew(&self, pool: &PgPool) -> Result<(), CommandError> {
        let current = self.current();
        let stored = stored_tables(pool).await?;
        let (champion, challengers) = newest(pool, &current).await?;
        let snapshot = champion.unwrap_or_else(|| Arc::clone(&current.snapshot));
        let names = |of: &[(i32, Arc<Snapshot>)]| {
            of.iter().map(|(id, one)| (*id, one.version().to_owned())).collect::<Vec<_>>()
        };
        let same_challengers = names(&challengers) == names(&current.challengers);
        if snapshot.version() == current.snapshot.version() && same_challengers && stored == current.stored {
            return Ok(());
        }
        let tables = match stored == current.stored {
            true => Arc::clone(&current.tables),
            false => Arc::new(reference::load_all(pool).await?),
        };
        tracing::info!(
            model = snapshot.version(),
            labels = snapshot.labels(),
            challengers = challengers.len(),
            "scoring with other models or tables"
        );
        let since = if snapshot.version() == current.snapshot.version() { current.since } else { now_seconds() };
        let next = Arc::new(InForce { snapshot, challengers, tables, stored, since });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

/// The newest models: the one in force, where there is one that this release understands, and its challengers. Those that
/// are known already are not read again.
async fn newest(
    pool: &PgPool,
    known: &InForce,
) -> Result<(Option<Arc<Snapshot>>, Vec<(i32, Arc<Snapshot>)>), CommandError> {
    let (mut champion, mut challengers) = (None, Vec::new());
    for newest in snapshots::newest(pool).await? {
        let mut all = known.challengers.iter().map(|(_, snapshot)| snapshot).chain([&known.snapshot]);
        let snapshot = match all.find(|snapshot| snapshot.version() == newest.model_version) {
            Some(snapshot) => Some(Arc::clone(snapshot)),
            None => read(pool, &newest.model_version).await?.map(Arc::new),
        };
        match snapshot {
            Some(snapshot) if newest.champion => champion = Some(snapshot),
            Some(snapshot) => challengers.push((newest.configuration_id, snapshot)),
            None => {}
        }
    }
    Ok((champion, challengers))
}

/// Reads a stored model; none that was removed meanwhile or is not of this release.
async fn read(pool: &PgPool, version: &str) -> Result<Option<Snapshot>, CommandError> {
    let Some(content) = snapshots::content(pool, version).await? else { return Ok(None) };
    // Large models take a while to read: not on a thread that serves others.
    match tokio::task::spawn_blocking(move || Snapshot::from_content(&content)).await {
        Ok(Ok(snapshot)) => Ok(Some(snapshot)),
        Ok(Err(reason)) => {
            tracing::warn!(version, reason, "a stored model is not of this release, and not used");
            Ok(None)
        }
        Err(_) => Err(CommandError::Failed("a stored model could not be read".to_owned())),
    }
}

async fn stored_tables(pool: &PgPool) -> Result<Vec<(String, String)>, sqlx::Error> {
    let versions = store::reference::versions(pool).await?;
    Ok(versions.into_iter().map(|table| (table.kind, table.version)).collect())
}
