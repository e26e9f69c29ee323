//! Scores a batch with what the database knows around its claims, and stores it: the whole batch at once, and when it
//! fails, narrowed down to the event at fault.
//!
//! While PostgreSQL is away the batch waits, unacknowledged; nothing is lost and nothing is dead-lettered for it.
//! Must never: wait for PostgreSQL without a deadline.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::AbortOnDropHandle;

use super::delivery::Alive;
use super::{Context, Persisted, Verdict};
use crate::domain::outcome::{Adjudication, judge};
use crate::domain::score::Levels;
use crate::error::{Cause, Failure};
use crate::metrics::{self, Dependency, Query, Settled, Stage};
use crate::model::InForce;
use crate::retry::Delays;
use crate::store;
use crate::store::apply::{self, Applied, BatchResult, Computed, Work};
use crate::store::deadline;
use crate::store::earlier::{Asked, Earlier, Looked};
use crate::store::refs::{self, Wanted};
use crate::wire::{Payload, Reason, Rejection};

/// Attempts on a busy database before an event is sent round through the delayed queues.
const BUSY_ATTEMPTS: u32 = 4;

/// What became of one part of the batch.
enum Part {
    Applied(Box<BatchResult>, Vec<Computed>),
    /// Split it, or give up on it when it is a single event.
    Failed(Failure),
    /// No time left.
    HandBack,
}

/// Persists the events of a batch; each result carries the event's place in the batch.
pub(super) async fn persist(
    context: &Arc<Context>,
    model: &Arc<InForce>,
    work: Vec<(usize, Work)>,
    alive: &Alive,
) -> Persisted {
    let started = Instant::now();
    let (places, work): (Vec<usize>, Vec<Work>) = work.into_iter().unzip();
    let work = Arc::new(work);
    let mut outcomes: Vec<Option<Result<Applied, Verdict>>> = work.iter().map(|_| None).collect();
    let mut computed: Vec<Computed> = work.iter().map(|_| Computed::None).collect();
    let mut total = BatchResult::default();
    let mut parts: Vec<Range<usize>> = (!work.is_empty()).then_some(0..work.len()).into_iter().collect();
    while let Some(part) = parts.pop() {
        match attempt(context, model, &work, part.clone(), alive).await {
            Part::Applied(result, of_part) => {
                for ((at, applied), of_event) in part.zip(&result.applied).zip(of_part) {
                    measure(applied, &of_event);
                    outcomes[at] = Some(Ok(applied.clone()));
                    computed[at] = of_event;
                }
                total.merge(*result);
            }
            Part::Failed(failure) if part.len() == 1 => {
                outcomes[part.start] = Some(Err(give_up(&work[part.start], failure)));
            }
            Part::Failed(Failure::Transient(cause, what)) => {
                // Nobody's fault in particular: all go round through the delayed queue.
                tracing::warn!(
                    events = part.len(),
                    ?cause,
                    what,
                    "the database stays busy; the events are tried later"
                );
                for at in part {
                    outcomes[at] = Some(Err(Verdict::Retry));
                }
            }
            Part::Failed(failure) => {
                tracing::warn!(events = part.len(), error = %failure, "a batch failed; narrowing it down");
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            Part::HandBack => {
                for at in part {
                    outcomes[at] = Some(Err(Verdict::HandBack));
                }
            }
        }
    }
    metrics::stage(Stage::Persist, started);
    conclude(&places, work, computed, outcomes, total)
}

/// Counts what an event brought, when it was the first to bring it.
fn measure(applied: &Applied, computed: &Computed) {
    let Applied::Settled { outcome, .. } = applied else { return };
    match (computed, outcome) {
        (Computed::Score(score), Settled::Scored) => metrics::scored(score),
        (Computed::Judged(judged), Settled::Recorded | Settled::Parked) => {
            if let Adjudication::Label(_) = judged.adjudication {
                let denials = judged.denial_carcs.iter();
                denials.for_each(|(group_code, _, amount)| metrics::denied_amount(group_code, *amount));
            }
        }
        _ => {}
    }
}

/// A single event that failed on its own.
fn give_up(work: &Work, failure: Failure) -> Verdict {
    match failure {
        Failure::Transient(..) => Verdict::Retry,
        Failure::Permanent(reason, detail) => Verdict::Dead(rejection(work, reason, detail)),
    }
}

fn rejection(work: &Work, reason: Reason, detail: String) -> Rejection {
    Rejection {
        reason,
        detail,
        source: Some(work.event.source.clone()),
        id: Some(work.event.id.clone()),
        event_type: Some(work.event.event_type),
    }
}

/// Tries a part until it is applied, fails for good, or there is no time left.
async fn attempt(
    context: &Arc<Context>,
    model: &Arc<InForce>,
    work: &Arc<Vec<Work>>,
    part: Range<usize>,
    alive: &Alive,
) -> Part {
    let mut delays = Delays::database();
    let mut busy = 0;
    loop {
        let failure = match once(context, model, work, part.clone()).await {
            Ok((result, computed)) => {
                metrics::dependency_up(Dependency::Postgres, true);
                return Part::Applied(Box::new(result), computed);
            }
            Err(failure) => failure,
        };
        match &failure {
            Failure::Permanent(..) => return Part::Failed(failure),
            Failure::Transient(Cause::DatabaseAway | Cause::Broker, _) => {
                metrics::dependency_up(Dependency::Postgres, false);
                tracing::warn!(error = %failure, events = part.len(), "PostgreSQL is away; the batch waits");
            }
            Failure::Transient(Cause::DatabaseBusy, _) => {
                busy += 1;
                if busy >= BUSY_ATTEMPTS {
                    return Part::Failed(failure);
                }
            }
        }
        if alive.is_over() {
            return Part::HandBack;
        }
        alive.pause(delays.next_delay()).await;
    }
}

/// One attempt, in a task of its own, so that a panic is seen here. When it takes too long it is given up with its
/// connection, and what was committed nevertheless is found as duplicates by the next attempt.
async fn once(
    context: &Arc<Context>,
    model: &Arc<InForce>,
    work: &Arc<Vec<Work>>,
    part: Range<usize>,
) -> Result<(BatchResult, Vec<Computed>), Failure> {
    let limit = context.config.database_deadline();
    let (context, model, work) = (Arc::clone(context), Arc::clone(model), Arc::clone(work));
    let task = tokio::spawn(async move {
        let batch = &work[part];
        let mut wanted = Wanted::default();
        batch.iter().for_each(|work| want(&mut wanted, &work.event.payload));
        let started = Instant::now();
        let resolved = refs::resolve(&context.pool, &context.cache, &wanted);
        let refs = metrics::queried(Query::References, resolved).await?;
        let looked = metrics::queried(Query::EarlierClaims, earlier(&context, batch)).await?;
        metrics::stage(Stage::Read, started);
        let started = Instant::now();
        let computed = compute(&model, &context.config.levels, batch, looked.earlier);
        metrics::stage(Stage::Score, started);
        let result = apply::apply(&context.pool, &refs, batch, &computed, looked.snapshot).await?;
        Ok((result, computed))
    });
    let given_up = AbortOnDropHandle::new(task);
    let joined = async {
        given_up
            .await
            .unwrap_or_else(|join| Err(Failure::Permanent(Reason::Internal, format!("panicked: {}", join.is_panic()))))
    };
    deadline::within(limit, joined).await
}

fn asked(work: &Work) -> Option<Asked<'_>> {
    match &work.event.payload {
        Payload::Claim(claim) => Some((claim, (work.event.time, &work.event.id))),
        Payload::Remittance(_) | Payload::Acknowledgement(_) => None,
    }
}

/// What was sent before each claim of a batch, in their order.
async fn earlier(context: &Context, batch: &[Work]) -> Result<Looked, Failure> {
    let asked: Vec<Asked<'_>> = batch.iter().filter_map(asked).collect();
    if asked.is_empty() {
        return Ok(Looked::default());
    }
    let mut snapshot = store::snapshot(&context.pool).await?;
    let looked = store::earlier::of_batch(&mut snapshot, &asked).await?;
    snapshot.commit().await?;
    Ok(looked)
}

/// Scores claims and judges remittances. An event that makes it panic is found by narrowing the batch down.
fn compute(model: &InForce, levels: &Levels, batch: &[Work], earlier: Earlier) -> Vec<Computed> {
    let mut earlier = earlier.into_iter();
    let of = |work: &Work| match &work.event.payload {
        Payload::Claim(claim) => {
            let day = work.event.time.date_naive();
            Computed::Score(Box::new(model.score(claim, day, earlier.next().flatten(), levels)))
        }
        Payload::Remittance(remittance) => Computed::Judged(Box::new(judge(remittance))),
        Payload::Acknowledgement(_) => Computed::None,
    };
    batch.iter().map(of).collect()
}

fn want(wanted: &mut Wanted, payload: &Payload) {
    if let Some(practice) = payload.practice_key() {
        wanted.practice(practice);
    }
    match payload {
        Payload::Claim(claim) => {
            wanted.payer(&claim.payer);
            wanted.provider(&claim.billing_provider);
        }
        Payload::Remittance(remittance) => wanted.payer(&remittance.payer),
        Payload::Acknowledgement(_) => {}
    }
}

fn conclude(
    places: &[usize],
    work: Arc<Vec<Work>>,
    computed: Vec<Computed>,
    outcomes: Vec<Option<Result<Applied, Verdict>>>,
    total: BatchResult,
) -> Persisted {
    let mut persisted =
        Persisted { verdicts: Vec::with_capacity(places.len()), result: total, work, computed, applied: Vec::new() };
    for ((place, at), outcome) in places.iter().zip(0..).zip(outcomes) {
        let verdict = match outcome {
            Some(Ok(Applied::Settled { outcome, claim_id })) => {
                persisted.applied.push((at, Applied::Settled { outcome, claim_id }));
                Verdict::Done(outcome)
            }
            Some(Ok(Applied::Conflict)) => {
                let detail = "this source and id came before with another body; give the event an id of its own";
                Verdict::Dead(rejection(&persisted.work[at], Reason::IdConflict, detail.to_owned()))
            }
            Some(Err(verdict)) => verdict,
            None => Verdict::HandBack,
        };
        persisted.verdicts.push((*place, verdict));
    }
    persisted
}
