//! Applies a batch of events: ledger, effect and score in one transaction, then links and labels in a second.
//!
//! Two transactions, because a claim and its remittance may be applied by two workers at once, neither seeing the
//! other's uncommitted row. After its own commit each of them looks for the other; whichever looks last sees both.
//! A crash between the two is a redelivery, whose duplicate event runs the second transaction again.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, PgPool};

use super::earlier::Scored;
use super::ledger::{self, Known};
use super::reconcile::{self, Changes, Touched};
use super::refs::Refs;
use super::scores::Fresh;
use super::{claims, remittances};
use crate::domain::outcome::Judged;
use crate::domain::remittance::Remittance;
use crate::domain::types::Instant;
use crate::domain::{claim::Claim, score::Score};
use crate::error::{Cause, Failure};
use crate::metrics::{self, Query, Settled, Stage};
use crate::retry::while_busy;
use crate::wire::{Event, Payload, Reason};

/// An event to be stored.
#[derive(Debug)]
pub struct Work {
    /// The event.
    pub event: Event,
    /// When it was published.
    pub published: Instant,
}

/// What is computed of an event before it is stored.
#[derive(Debug)]
pub enum Computed {
    /// A claim's score.
    Score(Box<Score>),
    /// What a remittance says.
    Judged(Box<Judged>),
    /// Nothing.
    None,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub enum Applied {
    /// It is in the database.
    Settled {
        /// As what.
        outcome: Settled,
        /// The claim it is about, when known.
        claim_id: Option<i64>,
    },
    /// The id came before with another body.
    Conflict,
}

/// What a batch did.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// One for each event, in their order.
    pub applied: Vec<Applied>,
    /// Rows that changed, for the cache.
    pub changes: Changes,
}

impl BatchResult {
    /// Adds what another part of the same batch did.
    pub fn merge(&mut self, other: Self) {
        self.applied.extend(other.applied);
        self.changes.merge(other.changes);
    }
}

/// One event of the batch with its place and its ids, while it is applied.
pub(super) struct Item<'a> {
    pub(super) work: &'a Work,
    computed: &'a Computed,
    pub(super) practice_id: i64,
    pub(super) payer_id: Option<i64>,
    pub(super) payer_name: Option<&'a str>,
    pub(super) provider_id: Option<i64>,
    /// Filled by the step that stores it.
    pub(super) stored: Stored,
}

/// Where an event went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    pub(super) claim_id: Option<i64>,
    pub(super) remittance_id: Option<i64>,
    pub(super) acknowledgement_id: Option<i64>,
    /// A newer version was there.
    pub(super) superseded: bool,
}

impl<'a> Item<'a> {
    pub(super) fn claim(&self) -> Option<(&'a Claim, &'a Score)> {
        match (&self.work.event.payload, self.computed) {
            (Payload::Claim(claim), Computed::Score(score)) => Some((claim, score)),
            _ => None,
        }
    }

    pub(super) fn remittance(&self) -> Option<(&'a Remittance, &'a Judged)> {
        match (&self.work.event.payload, self.computed) {
            (Payload::Remittance(remittance), Computed::Judged(judged)) => Some((remittance, judged)),
            _ => None,
        }
    }

    /// What orders versions: the event's time, ties by its id.
    pub(super) fn version(&self) -> (Instant, &'a str) {
        (self.work.event.time, &self.work.event.id)
    }
}

/// How often a batch is begun anew when another worker applied one of its events meanwhile.
const RACES: usize = 8;

/// Applies a batch, with what was computed of each of its events, and with the state of the database that the scores were made
/// of. To be cut short by a deadline of
/// `store::deadline` alone, which closes the connection: any other way an open transaction would go back to the pool.
///
/// # Errors
/// A failure of the whole batch; nothing of the first transaction is kept then.
pub async fn apply(
    pool: &PgPool,
    refs: &Refs,
    batch: &[Work],
    computed: &[Computed],
    snapshot: Option<String>,
) -> Result<BatchResult, Failure> {
    let mut outcome = None;
    for _ in 0..RACES {
        outcome = metrics::queried(Query::Store, store(pool, refs, batch, computed)).await?;
        if outcome.is_some() {
            break;
        }
    }
    let Some(mut stored) = outcome else {
        return Err(Failure::Transient(Cause::DatabaseBusy, "other workers apply the same events".to_owned()));
    };
    let new: BTreeSet<i64> = stored.left.fresh.iter().map(|fresh| fresh.claim.id).collect();
    let touched = Touched {
        claims: stored.claim_ids.clone(),
        known: stored.claim_ids.iter().copied().filter(|id| !new.contains(id)).collect(),
        remittances: stored.remittance_ids.clone(),
        acknowledgements: stored.places.iter().filter_map(|place| place.acknowledgement_id).collect(),
        scored: Scored { writer: stored.left.writer, snapshot },
        left: stored.left.members,
    };
    let started = std::time::Instant::now();
    // The first transaction is committed: to apply the batch again would find nothing but duplicates.
    let (mut changes, bearing) = while_busy(|| reconcile::reconcile(pool, &touched)).await?;
    changes.late.extend(while_busy(|| reconcile::late(pool, &touched, &bearing)).await?);
    metrics::stage(Stage::Link, started);
    for (applied, place) in stored.applied.iter_mut().zip(&stored.places) {
        complete(applied, place, &changes);
    }
    // What nothing else bears on need not be read back.
    let untouched =
        |fresh: &Fresh| !changes.claims.contains(&fresh.claim.id) && !changes.late.contains(&fresh.claim.id);
    changes.fresh = stored.left.fresh.into_iter().filter(untouched).collect();
    let known: BTreeSet<i64> = changes.fresh.iter().map(|fresh| fresh.claim.id).collect();
    changes.scored = stored.claim_ids.iter().copied().filter(|id| !known.contains(id)).collect();
    changes.claims.extend(changes.scored.iter().copied());
    changes.remittances.extend(stored.remittance_ids.iter().copied());
    Ok(BatchResult { applied: stored.applied, changes })
}

/// Tells which claim a remittance or acknowledgement found; one that found none is parked.
fn complete(applied: &mut Applied, place: &Stored, changes: &Changes) {
    let Applied::Settled { outcome, claim_id } = applied else { return };
    let found = match (place.remittance_id, place.acknowledgement_id) {
        (Some(id), _) => changes.links.get(&id).copied().flatten(),
        (None, Some(id)) => changes.acknowledged.get(&id).copied(),
        (None, None) => return,
    };
    *claim_id = found;
    if found.is_none() && *outcome == Settled::Recorded {
        *outcome = Settled::Parked;
    }
}

struct StoredBatch {
    applied: Vec<Applied>,
    /// Where each event went.
    places: Vec<Stored>,
    claim_ids: Vec<i64>,
    remittance_ids: Vec<i64>,
    left: claims::Left,
}

/// The first transaction. `None` when another worker committed one of the events since the look at the ledger.
async fn store(
    pool: &PgPool,
    refs: &Refs,
    batch: &[Work],
    computed: &[Computed],
) -> Result<Option<StoredBatch>, Failure> {
    let mut transaction = super::begin(pool).await?;
    let known = ledger::look_up(&mut transaction, batch).await?;
    let verdicts = sort_out(batch, &known);
    let mut items = Vec::new();
    for ((work, computed), verdict) in batch.iter().zip(computed).zip(&verdicts) {
        if matches!(verdict, Verdict::New) {
            items.push(item(work, computed, refs)?);
        }
    }
    let left = store_effects(&mut transaction, &mut items).await?;
    if !ledger::insert(&mut transaction, &items).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    transaction.commit().await?;
    Ok(Some(StoredBatch { left, ..collect(verdicts, &items) }))
}

async fn store_effects(connection: &mut PgConnection, items: &mut [Item<'_>]) -> Result<claims::Left, Failure> {
    let left = claims::store(connection, items).await?;
    remittances::store(connection, items).await?;
    remittances::store_acknowledgements(connection, items).await?;
    Ok(left)
}

fn item<'a>(work: &'a Work, computed: &'a Computed, refs: &'a Refs) -> Result<Item<'a>, Failure> {
    let missing = |what: &str| Failure::Permanent(Reason::MissingIdentifier, format!("no {what}"));
    let practice_key = work.event.payload.practice_key().ok_or_else(|| missing("practice"))?;
    let practice_id = refs.practice(practice_key).ok_or_else(|| missing("practice id"))?;
    let (payer, provider_id) = match &work.event.payload {
        Payload::Claim(claim) => (refs.payer(&claim.payer), refs.provider(&claim.billing_provider)),
        Payload::Remittance(remittance) => (refs.payer(&remittance.payer), None),
        Payload::Acknowledgement(_) => (None, None),
    };
    Ok(Item {
        work,
        computed,
        practice_id,
        payer_id: payer.map(|payer| payer.id),
        payer_name: payer.and_then(|payer| payer.name.as_deref()),
        provider_id,
        stored: Stored::default(),
    })
}

/// What the ledger says of an event of the batch.
enum Verdict {
    New,
    Duplicate(Stored),
    /// The same event stands earlier in this batch, at that place.
    DuplicateOf(usize),
    Conflict,
}

/// Compares the batch with the ledger and with itself.
fn sort_out(batch: &[Work], known: &[Option<Known>]) -> Vec<Verdict> {
    let mut first_of: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    batch
        .iter()
        .zip(known)
        .enumerate()
        .map(|(place, (work, known))| {
            let same_body = |hash: &[u8]| hash == work.event.body_hash;
            if let Some(known) = known {
                return if same_body(&known.body_hash) { Verdict::Duplicate(known.stored) } else { Verdict::Conflict };
            }
            let first = *first_of.entry((&work.event.source, &work.event.id)).or_insert(place);
            if first == place {
                Verdict::New
            } else if same_body(&batch[first].event.body_hash) {
                Verdict::DuplicateOf(first)
            } else {
                Verdict::Conflict
            }
        })
        .collect()
}

fn collect(verdicts: Vec<Verdict>, items: &[Item<'_>]) -> StoredBatch {
    let mut batch = StoredBatch {
        applied: Vec::with_capacity(verdicts.len()),
        places: Vec::with_capacity(verdicts.len()),
        claim_ids: Vec::new(),
        remittance_ids: Vec::new(),
        left: claims::Left::default(),
    };
    let mut new = items.iter();
    for verdict in verdicts {
        let (applied, stored) = match verdict {
            Verdict::New => {
                let item = new.next();
                let stored = item.map(|item| item.stored).unwrap_or_default();
                let scored = item.is_some_and(|item| item.claim().is_some());
                let outcome = match (stored.superseded, scored) {
                    (true, _) => Settled::Superseded,
                    (false, true) => Settled::Scored,
                    (false, false) => Settled::Recorded,
                };
                (settled(outcome, stored), stored)
            }
            Verdict::Duplicate(stored) => (settled(Settled::Duplicate, stored), stored),
            Verdict::DuplicateOf(place) => {
                let stored = batch.places.get(place).copied().unwrap_or_default();
                (settled(Settled::Duplicate, stored), stored)
            }
            Verdict::Conflict => (Applied::Conflict, Stored::default()),
        };
        batch.places.push(stored);
        batch.applied.push(applied);
        batch.claim_ids.extend(stored.claim_id);
        batch.remittance_ids.extend(stored.remittance_id);
    }
    for ids in [&mut batch.claim_ids, &mut batch.remittance_ids] {
        ids.sort_unstable();
        ids.dedup();
    }
    batch
}

fn settled(outcome: Settled, stored: Stored) -> Applied {
    Applied::Settled { outcome, claim_id: stored.claim_id }
}
