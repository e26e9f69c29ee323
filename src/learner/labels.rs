//! Learns the model: keeps the ledger of labels in memory up to date with PostgreSQL, folds it and publishes what it
//! teaches.
//!
//! Every model is folded from the whole ledger in the payer's order, so that it does not depend on who learned, when, or in
//! which order labels came. Must never: publish while another process may hold the right to learn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::right::Right;
use crate::domain::model::{Configuration, Ledger};
use crate::domain::reference::ReferenceTables;
use crate::domain::score::Snapshot;
use crate::error::Failure;
use crate::store::labels::{self, Changed, Cursor};
use crate::store::{configurations, deadline, snapshots};

/// Labels read at a time.
const PAGE: i64 = 1000;
/// Labels committed late by a slow transaction may carry an earlier time: each look goes back this far.
const OVERLAP: chrono::Duration = chrono::Duration::seconds(120);
/// The ledger is read anew from the start this often, whatever was seen to change.
const READ_ANEW: Duration = Duration::from_secs(24 * 3600);

/// Folds all labels of a database from the start and returns the model they teach: what the learner publishes, unless it
/// has missed something. No question to PostgreSQL takes longer than `limit`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn rebuild(
    connection: &mut PgConnection,
    tables: Arc<ReferenceTables>,
    limit: Duration,
) -> Result<Snapshot, Failure> {
    let mut labels = Labels { tables, ..Labels::new() };
    labels.read(connection, limit, &CancellationToken::new()).await?;
    let configuration = configurations(&mut *connection).await?.into_iter().next().unwrap_or_default();
    Ok(Snapshot::of(&labels.ledger.replay(configuration)))
}

/// The learner's memory.
pub(super) struct Labels {
    ledger: Ledger,
    /// When the ledger was brought up to date last, by the clock of the database.
    looked: Option<crate::domain::types::Instant>,
    tables: Arc<ReferenceTables>,
    read_anew: Option<Instant>,
    /// When the last model was published, or learning began.
    published: Instant,
    /// The version published last of each configuration.
    versions: BTreeMap<String, String>,
}

impl Labels {
    /// Nothing learned yet.
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            looked: None,
            tables: Arc::default(),
            read_anew: None,
            published: Instant::now(),
            versions: BTreeMap::new(),
        }
    }

    /// Labels held.
    pub(super) fn len(&self) -> usize {
        self.ledger.len()
    }

    /// Reads what changed; publishes a model when enough did, or enough time has passed.
    pub(super) async fn turn(
        &mut self,
        means: &Means,
        right: &mut Right,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let tables = Arc::clone(&means.model.current().tables);
        let due = self.read_anew.is_none_or(|at| at.elapsed() >= READ_ANEW);
        if due || self.tables.version() != tables.version() {
            self.tables = tables;
            self.forget();
        }
        let (session, limit) = right.session();
        let changed = self.read(session, limit, stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        self.read_anew.get_or_insert_with(Instant::now);
        let enough = changed >= means.config.model_publish_labels;
        if !self.ledger.is_empty() && (enough || self.published.elapsed() >= means.config.model_publish) {
            self.publish(means, right).await?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        (self.ledger, self.looked, self.read_anew) = (Ledger::default(), None, None);
    }

    /// Brings the ledger up to date, unless told to stop; answers how many labels were read.
    async fn read(
        &mut self,
        connection: &mut PgConnection,
        limit: Duration,
        stop: &CancellationToken,
    ) -> Result<usize, Failure> {
        let now = deadline::within(limit, labels::now(connection)).await?;
        let since = self.looked.map(|looked| looked - OVERLAP);
        let mut count = 0;
        if let Some(since) = since {
            let again = deadline::within(limit, labels::to_look_at_again(connection, since)).await?;
            for part in again.chunks(usize::try_from(PAGE).unwrap_or(1)) {
                // Those that have a label still are put in again.
                part.iter().for_each(|submission| self.ledger.remove(*submission));
                let found = deadline::within(limit, labels::of(connection, part, &self.tables)).await?;
                self.take(found);
                count += part.len();
            }
        }
        let mut cursor = Cursor::since(since);
        while !stop.is_cancelled() {
            let page = labels::changed(connection, &mut cursor, PAGE, &self.tables);
            let page = deadline::within(limit, page).await?;
            if page.is_empty() {
                break;
            }
            count += page.len();
            self.take(page);
        }
        if !stop.is_cancelled() {
            self.looked = Some(now);
        }
        Ok(count)
    }

    fn take(&mut self, labels: Vec<Changed>) {
        for Changed { submission_id, label } in labels {
            match label {
                Some((order, features, label)) => self.ledger.put(submission_id, order, &features, label),
                None => self.ledger.remove(submission_id),
            }
        }
    }

    async fn publish(&mut self, means: &Means, right: &mut Right) -> Result<(), Failure> {
        let limit = means.config.database_deadline();
        let wanted = deadline::within(limit, configurations(&means.pool)).await?;
        let ledger = std::mem::take(&mut self.ledger);
        // Folding takes seconds when there are many labels: not on a thread that serves others.
        let mut folding = tokio::task::spawn_blocking(move || {
            let fold = |configuration: Configuration| Snapshot::of(&ledger.replay(configuration));
            let snapshots: Vec<Snapshot> = wanted.into_iter().map(fold).collect();
            (ledger, snapshots)
        });
        let folded = loop {
            tokio::select! {
                folded = &mut folding => break folded,
                () = tokio::time::sleep(means.period()) => right.is_held().await?,
            }
        };
        right.is_held().await?;
        let Ok((ledger, snapshots)) = folded else {
            self.forget();
            return Ok(());
        };
        self.ledger = ledger;
        self.published = Instant::now();
        for snapshot in snapshots {
            let configuration = snapshot.configuration().to_string();
            if self.versions.get(&configuration).is_some_and(|last| last == snapshot.version()) {
                continue;
            }
            deadline::within(limit, snapshots::publish(&means.pool, &snapshot)).await?;
            tracing::info!(
                model = snapshot.version(),
                configuration,
                labels = snapshot.labels(),
                "a model was published"
            );
            self.versions.insert(configuration, snapshot.version().to_owned());
        }
        Ok(())
    }
}

/// How the models that score have to learn: the one in force and its challengers.
async fn configurations(connection: impl sqlx::PgExecutor<'_>) -> Result<Vec<Configuration>, Failure> {
    let all = configurations::all(connection).await?;
    let scoring = all.iter().filter(|one| one.role != "retired");
    // Written by this program; what it cannot read is another release's.
    Ok(scoring.filter_map(|one| one.settings.parse().ok()).collect())
}
