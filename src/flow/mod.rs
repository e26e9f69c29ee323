//! The way of an event: delivery, batch, decode, read, score, persist, link, cache, settle.
//!
//! One task per work queue takes deliveries, makes batches of them and drives each batch through the stages, three batches
//! side by side; no stage calls back. A message leaves its queue only when its effect is committed, or when the broker has confirmed its copy in
//! a retry queue or the dead letters. Everything else ends in a redelivery, which the ledger makes harmless.

pub mod batch;
pub mod decode;
pub mod delivery;
pub(crate) mod outbound;
mod persist;
pub(crate) mod rescore;
pub mod settle;
pub mod split;
mod under_way;
mod waiting;

use std::sync::Arc;
use std::time::Instant;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::broker::Publisher;
use crate::cache::Cache;
use crate::config::Config;
use crate::metrics::{self, Settled, Stage};
use crate::model::Model;
use crate::store::apply::{Applied, BatchResult, Computed, Work};
use crate::store::deadline;
use crate::wire::{EventType, Reason, Rejection};
use decode::Decoded;
use delivery::{Alive, Delivery, Queue};

/// What the stages need.
pub struct Context {
    /// Settings.
    pub config: Arc<Config>,
    /// The truth.
    pub pool: PgPool,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Retries, dead letters and split events: a delivery waits for their confirms.
    pub copies: Arc<Publisher>,
    /// Scores and receipts, on a channel of their own: no delivery waits for them.
    pub announcements: Arc<Publisher>,
    /// The model.
    pub model: Arc<Model>,
    /// Whether the consumers are connected, for readiness.
    pub connected: delivery::Connected,
}

/// What becomes of a delivery.
#[derive(Debug)]
pub enum Verdict {
    /// Its effect is committed: acknowledge.
    Done(Settled),
    /// Not now: put a copy into a delayed queue, then acknowledge.
    Retry,
    /// Never: put a copy into the dead letters, then acknowledge.
    Dead(Rejection),
    /// The queue or the process is going away: hand it back.
    HandBack,
}

/// Works on one queue until told to stop.
pub async fn run(context: Arc<Context>, queue: Queue, stop: CancellationToken) {
    delivery::consume(&context, queue, &stop).await;
}

/// Drives one batch of event deliveries through the stages; the verdicts have the deliveries' order.
pub(crate) async fn process(context: &Arc<Context>, deliveries: &[Delivery], alive: &Alive) -> Vec<Verdict> {
    metrics::batch(deliveries.len());
    let started = Instant::now();
    // One model for the whole batch, whatever is published meanwhile.
    let model = context.model.current();
    let mut decoded: Vec<Decoded> =
        deliveries.iter().map(|delivery| decode::decode(&context.config, delivery)).collect();
    metrics::stage(Stage::Decode, started);
    spare_applied(context, deliveries, &mut decoded).await;

    let (mut verdicts, work) = set_refused_apart(decoded);
    let mut persisted = persist::persist(context, &model, work, alive).await;
    outbound::rescore_late(context, &model, &mut persisted, alive).await;
    let started = Instant::now();
    outbound::write_cache(context, &persisted.result).await;
    metrics::stage(Stage::Cache, started);
    outbound::announce(context, &persisted).await;

    for (place, verdict) in persisted.verdicts {
        if let Some(slot) = verdicts.get_mut(place) {
            *slot = Some(verdict);
        }
    }
    record_refused(context, &verdicts).await;
    verdicts.into_iter().map(|verdict| verdict.unwrap_or(Verdict::HandBack)).collect()
}

/// What came too often may have been applied by a worker that died before it could say so, again and again: then it is no
/// dead letter but goes its way as a duplicate, which completes whatever was left undone.
async fn spare_applied(context: &Context, deliveries: &[Delivery], decoded: &mut [Decoded]) {
    for (delivery, decoded) in deliveries.iter().zip(decoded) {
        let Err(Rejection { reason: Reason::DeliveryLimit, source: Some(source), id: Some(id), .. }) = &*decoded else {
            continue;
        };
        let applied = crate::store::ledger::is_applied(&context.pool, source, id);
        if let Ok(true) = deadline::within(context.config.database_deadline(), applied).await {
            *decoded = decode::decode_applied(delivery);
        }
    }
}

/// Splits a decoded batch: refused ones have their verdict, events go on with their place in the batch.
fn set_refused_apart(decoded: Vec<Decoded>) -> (Vec<Option<Verdict>>, Vec<(usize, Work)>) {
    let mut verdicts = Vec::with_capacity(decoded.len());
    let mut events = Vec::with_capacity(decoded.len());
    for (place, decoded) in decoded.into_iter().enumerate() {
        match decoded {
            Ok(work) => {
                verdicts.push(None);
                events.push((place, work));
            }
            Err(rejection) => verdicts.push(Some(Verdict::Dead(rejection))),
        }
    }
    (verdicts, events)
}

/// Enters refused events into the ledger, for their receipts. Their dead letters tell the same, so a failure here is
/// only logged.
async fn record_refused(context: &Context, verdicts: &[Option<Verdict>]) {
    let rejections: Vec<&Rejection> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Some(Verdict::Dead(rejection)) => Some(rejection),
            _ => None,
        })
        .collect();
    if rejections.is_empty() {
        return;
    }
    let stored = crate::store::ledger::insert_rejected(&context.pool, &rejections);
    if let Err(error) = deadline::within(context.config.database_deadline(), stored).await {
        tracing::warn!(%error, "receipts of refused events were not stored");
    }
}

/// What a batch came to: a verdict by place, and what changed.
struct Persisted {
    verdicts: Vec<(usize, Verdict)>,
    result: BatchResult,
    /// The events, and which of them were applied as what.
    work: Arc<Vec<Work>>,
    /// What was computed of each of them; nothing of one that was not applied.
    computed: Vec<Computed>,
    applied: Vec<(usize, Applied)>,
}

/// The type a delivery is counted under, before it is read: its routing key's.
pub(crate) fn counted_type(routing_key: &str) -> Option<EventType> {
    EventType::parse(routing_key)
}
