//! Learns the model: keeps the ledger of labels in memory up to date with PostgreSQL, folds it and publishes what it
//! teaches.
//!
//! Every model is folded from the whole ledger in the payer's order, so that it does not depend on who learned, when, or in
//! which order labels came. Must never: publish while another process may hold the right to learn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::Means;
use crate::domain::model::Ledger;
use crate::domain::reference::ReferenceTables;
use crate::domain::score::Snapshot;
use crate::error::Failure;
use crate::store::labels::{self, Cursor};
use crate::store::snapshots;

/// Labels read at a time.
const PAGE: i64 = 1000;
/// Labels committed late by a slow transaction may carry an earlier time: each look goes back this far.
const OVERLAP: chrono::Duration = chrono::Duration::seconds(120);
/// The ledger is read anew from the start this often, whatever was seen to change.
const READ_ANEW: Duration = Duration::from_secs(24 * 3600);

/// Folds all labels of a database from the start and returns the model they teach: what the learner publishes, unless it
/// has missed something.
///
/// # Errors
/// PostgreSQL is away.
pub async fn rebuild(connection: &mut PgConnection, tables: Arc<ReferenceTables>) -> Result<Snapshot, Failure> {
    let mut labels = Labels { tables, ..Labels::new() };
    labels.read(connection).await?;
    Ok(Snapshot::of(&labels.ledger.replay()))
}

/// The learner's memory.
pub(super) struct Labels {
    ledger: Ledger,
    cursor: Cursor,
    tables: Arc<ReferenceTables>,
    read_anew: Option<Instant>,
    /// When the last model was published, or learning began.
    published: Instant,
    version: String,
}

impl Labels {
    /// Nothing learned yet.
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            cursor: Cursor::default(),
            tables: Arc::default(),
            read_anew: None,
            published: Instant::now(),
            version: String::new(),
        }
    }

    /// Labels held.
    pub(super) fn len(&self) -> usize {
        self.ledger.len()
    }

    /// Reads what changed; publishes a model when enough did, or enough time has passed.
    pub(super) async fn turn(&mut self, means: &Means, connection: &mut PgConnection) -> Result<(), Failure> {
        let tables = Arc::clone(&means.model.current().tables);
        let due = self.read_anew.is_none_or(|at| at.elapsed() >= READ_ANEW);
        if due || self.tables.version() != tables.version() {
            self.tables = tables;
            self.forget();
        }
        let changed = self.read(connection).await?;
        self.read_anew.get_or_insert_with(Instant::now);
        let enough = changed >= means.config.model_publish_labels;
        if !self.ledger.is_empty() && (enough || self.published.elapsed() >= means.config.model_publish) {
            self.publish(means).await?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        (self.ledger, self.cursor, self.read_anew) = (Ledger::default(), Cursor::default(), None);
    }

    /// Brings the ledger up to date; answers how many labels were read.
    async fn read(&mut self, connection: &mut PgConnection) -> Result<usize, Failure> {
        let mut cursor = self.cursor.back(OVERLAP);
        let mut count = 0;
        // First what is gone: a label that came back since is among the changed ones.
        if let Some(since) = cursor.at() {
            for submission in labels::removed(connection, since).await? {
                self.ledger.remove(submission);
                count += 1;
            }
        }
        loop {
            let page = labels::changed(connection, &mut cursor, PAGE, &self.tables).await?;
            if page.is_empty() {
                break;
            }
            count += page.len();
            for changed in page {
                match changed.label {
                    Some((order, features, label)) => {
                        self.ledger.put(changed.submission_id, order, &features, label);
                    }
                    None => self.ledger.remove(changed.submission_id),
                }
            }
            self.cursor = cursor;
        }
        Ok(count)
    }

    async fn publish(&mut self, means: &Means) -> Result<(), Failure> {
        let ledger = std::mem::take(&mut self.ledger);
        // Folding takes seconds when there are many labels: not on a thread that serves others.
        let folded = tokio::task::spawn_blocking(move || {
            let snapshot = Snapshot::of(&ledger.replay());
            (ledger, snapshot)
        });
        let Ok((ledger, snapshot)) = folded.await else {
            self.forget();
            return Ok(());
        };
        self.ledger = ledger;
        self.published = Instant::now();
        if self.version != snapshot.version() {
            snapshots::publish(&means.pool, &snapshot).await?;
            snapshot.version().clone_into(&mut self.version);
            tracing::info!(model = snapshot.version(), labels = snapshot.labels(), "a model was published");
        }
        Ok(())
    }
}
