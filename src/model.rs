//! The model in force: the snapshot and the reference tables that this process scores with, and how it comes to newer ones.
//!
//! Must never: change while a claim is scored; whoever scores takes what is in force once and keeps it to the end.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;

use crate::domain::claim::Claim;
use crate::domain::reference::ReferenceTables;
use crate::domain::rules::Facts;
use crate::domain::score::{Levels, Score, Snapshot, score};
use crate::domain::types::Date;
use crate::error::CommandError;
use crate::metrics::now_seconds;
use crate::store::{self, reference, snapshots};

/// How often a newer model or table is looked for.
const PERIOD: Duration = Duration::from_secs(5);

/// What claims are scored with.
#[derive(Debug)]
pub struct InForce {
    /// The model.
    pub snapshot: Snapshot,
    /// The reference tables.
    pub tables: Arc<ReferenceTables>,
    /// Kinds and versions of the tables as they are stored.
    stored: Vec<(String, String)>,
    /// When this process took the model, in seconds since 1970.
    pub since: f64,
}

impl InForce {
    /// Scores a claim; `day` counts where the claim does not say when it was sent.
    pub fn score(&self, claim: &Claim, day: Date, levels: &Levels) -> Score {
        let facts = Facts::of(claim, day).with_tables(Arc::clone(&self.tables));
        score(claim, &facts, &self.snapshot, levels)
    }
}

/// The model of a process, which may be replaced while it runs.
#[derive(Debug)]
pub struct Model(RwLock<Arc<InForce>>);

impl Model {
    /// Reads the newest stored model and the tables; where there is no model that this release understands, the one
    /// of experts is stored and used.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached, or a stored table does not follow its format.
    pub async fn load(pool: &PgPool) -> Result<Self, CommandError> {
        let stored = stored_tables(pool).await?;
        let tables = Arc::new(reference::load_all(pool).await?);
        let snapshot = match snapshots::newest(pool).await?.map(|content| Snapshot::from_content(&content)) {
            Some(Ok(snapshot)) => snapshot,
            other => {
                if let Some(Err(reason)) = other {
                    tracing::warn!(reason, "the stored model is not of this release; scoring as before any learning");
                }
                let snapshot = Snapshot::expert();
                snapshots::publish(pool, &snapshot).await?;
                snapshot
            }
        };
        Ok(Self(RwLock::new(Arc::new(InForce { snapshot, tables, stored, since: now_seconds() }))))
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<InForce> {
        // A reader cannot leave a half-written value behind, so a poisoned lock is as good as any.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for newer models and tables, for ever.
    pub async fn follow(&self, pool: &PgPool) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if let Err(error) = self.renew(pool).await {
                tracing::debug!(%error, "no newer model could be looked for");
            }
        }
    }

    async fn renew(&self, pool: &PgPool) -> Result<(), CommandError> {
        let current = self.current();
        let stored = stored_tables(pool).await?;
        let newest = snapshots::newest_version(pool).await?;
        let same_model = newest.is_none_or(|version| version == current.snapshot.version());
        if same_model && stored == current.stored {
            return Ok(());
        }
        let tables = match stored == current.stored {
            true => Arc::clone(&current.tables),
            false => Arc::new(reference::load_all(pool).await?),
        };
        let snapshot = match same_model {
            true => current.snapshot.clone(),
            false => read_newest(pool, &current.snapshot).await?,
        };
        tracing::info!(model = snapshot.version(), labels = snapshot.labels(), "scoring with another model or tables");
        let since = if same_model { current.since } else { now_seconds() };
        let next = Arc::new(InForce { snapshot, tables, stored, since });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

/// The newest stored model; the current one as long as the newest is of another release.
async fn read_newest(pool: &PgPool, current: &Snapshot) -> Result<Snapshot, CommandError> {
    let Some(content) = snapshots::newest(pool).await? else { return Ok(current.clone()) };
    // Large models take a while to read: not on a thread that serves others.
    let read = tokio::task::spawn_blocking(move || Snapshot::from_content(&content)).await;
    match read {
        Ok(Ok(snapshot)) => Ok(snapshot),
        Ok(Err(reason)) => Err(CommandError::Failed(format!("the stored model is not of this release: {reason}"))),
        Err(_) => Err(CommandError::Failed("the stored model could not be read".to_owned())),
    }
}

async fn stored_tables(pool: &PgPool) -> Result<Vec<(String, String)>, sqlx::Error> {
    let versions = store::reference::versions(pool).await?;
    Ok(versions.into_iter().map(|table| (table.kind, table.version)).collect())
}
