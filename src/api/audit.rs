//! Every read of a claim or remittance is one row of the audit log, written before the answer is given.
//!
//! One task writes: what comes while it waits for PostgreSQL is written together, as the next group, so that many readers
//! wait for few commits. Must never: let an answer go whose row is not committed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::ApiState;
use super::access::Caller;
use super::error::ApiError;
use crate::error::Failure;
use crate::metrics::{self, Query};
use crate::store::audit::{self, Note};

/// Reads that may wait for the writer; more of them wait to wait.
const WAITING: usize = 1024;
/// A group is not made larger than the entry that passes this.
const ROWS: usize = 2000;

/// What a request has done, and who waits for it to be written down.
struct Entry {
    notes: Vec<Note>,
    written: oneshot::Sender<Result<(), Failure>>,
}

/// The way to the writer.
#[derive(Clone)]
pub struct AuditLog(Option<mpsc::Sender<Entry>>);

impl AuditLog {
    /// Starts the writer; it ends with the last of its logs. A group that takes longer than `limit` has failed.
    pub fn start(pool: PgPool, limit: Duration) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write(pool, limit, receiver));
        Self(Some(sender))
    }

    /// A log that keeps nothing, to measure what the log costs. No setting leads here.
    #[doc(hidden)]
    pub fn none() -> Self {
        Self(None)
    }

    async fn enter(&self, notes: Vec<Note>) -> Result<(), ApiError> {
        let (Some(sender), false) = (&self.0, notes.is_empty()) else { return Ok(()) };
        let (written, answer) = oneshot::channel();
        if sender.send(Entry { notes, written }).await.is_err() {
            return Err(ApiError::internal());
        }
        match answer.await {
            Ok(written) => Ok(written?),
            Err(_) => Err(ApiError::internal()),
        }
    }
}

async fn write(pool: PgPool, limit: Duration, mut entries: mpsc::Receiver<Entry>) {
    while let Some(first) = entries.recv().await {
        let (mut notes, mut waiting) = (first.notes, vec![first.written]);
        while notes.len() < ROWS
            && let Ok(entry) = entries.try_recv()
        {
            notes.extend(entry.notes);
            waiting.push(entry.written);
        }
        let written = metrics::queried(Query::Audit, audit::append(&pool, &notes, limit)).await.map_err(Failure::from);
        for one in waiting {
            // Nobody waits any more where the client has gone; the row stays.
            one.send(written.clone()).ok();
        }
    }
}

/// Notes that claims are shown.
pub(super) async fn claims_read(state: &ApiState, caller: &Caller, ids: &[i64]) -> Result<(), ApiError> {
    state.audit.enter(notes(caller, "read", "claim", ids)).await
}

/// Notes that remittances are shown.
pub(super) async fn remittances_read(state: &ApiState, caller: &Caller, ids: &[i64]) -> Result<(), ApiError> {
    state.audit.enter(notes(caller, "read", "remittance", ids)).await
}

/// Notes that a claim is scored anew, and its score shown.
pub(super) async fn claim_scored(state: &ApiState, caller: &Caller, id: i64) -> Result<(), ApiError> {
    state.audit.enter(notes(caller, "calculate", "claim", &[id])).await
}

fn notes(caller: &Caller, action: &'static str, entity: &'static str, ids: &[i64]) -> Vec<Note> {
    let actor: &Arc<str> = &caller.0;
    ids.iter().map(|id| Note::new(actor, action, entity, Some(*id))).collect()
}
