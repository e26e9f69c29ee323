//! From bytes to events, and what is computed of an event before the database is asked: scores and judgements.
//!
//! Must never: parse a body before its size is checked, or keep a wire structure beyond this file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Context;
use super::delivery::Delivery;
use crate::config::Config;
use crate::domain::drift::probability_micro;
use crate::domain::outcome::judge;
use crate::domain::types::Instant;
use crate::metrics::{self, Clock, Stage};
use crate::model::InForce;
use crate::store::apply::{Computed, Work};
use crate::wire::{self, Event, Payload, Reason, Rejection};

/// An event with what was computed of it, or why there is none.
pub type Decoded = Result<Work, Rejection>;

/// Reads one delivery and computes what can be without the database. Should either panic on it, the event is refused
/// like any other bad one: a panic must not take the batch, and later its neighbours' delivery counts, with it.
pub(super) fn decode_and_compute(context: &Context, model: &InForce, delivery: &Delivery) -> Decoded {
    let guarded = AssertUnwindSafe(|| {
        let Received { event, published } = decode(&context.config, delivery)?;
        let started = std::time::Instant::now();
        let computed = compute(context, model, &event);
        metrics::stage(Stage::Score, started);
        Ok(Work { event, computed, published })
    });
    catch_unwind(guarded).unwrap_or_else(|_| {
        let detail = "the program failed on this event; keep it and report it";
        Err(Rejection::of(Reason::Internal, detail, &[], &delivery.meta()))
    })
}

/// A readable event.
#[derive(Debug)]
struct Received {
    event: Event,
    /// When it was published.
    published: Instant,
}

/// Reads one delivery.
fn decode(config: &Config, delivery: &Delivery) -> Result<Received, Rejection> {
    let meta = delivery.meta();
    let size = delivery.body.len();
    if size > config.max_event_bytes {
        let detail = format!(
            "{size} bytes, at most {} are taken; send large files as X12 with `claimrisk publish`",
            config.max_event_bytes
        );
        return Err(Rejection::of(Reason::TooLarge, detail, &[], &meta));
    }
    let (deliveries, attempts) = (delivery.earlier_deliveries(), delivery.attempts());
    if deliveries >= config.delivery_attempts || attempts >= config.delivery_attempts {
        let detail = format!("given up after {deliveries} deliveries and {attempts} delayed attempts");
        return Err(Rejection::of(Reason::DeliveryLimit, detail, &delivery.body, &meta));
    }
    let event = wire::decode(&delivery.body, &meta)?;
    let (published, clock) = published(delivery, &event);
    metrics::clock(clock);
    Ok(Received { event, published })
}

/// An event's own time is that of the claim or payment; taken for the time of publishing only while it is this fresh.
const FRESH: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// Clocks of two machines differ by this much without being wrong.
const SKEW: chrono::TimeDelta = chrono::TimeDelta::milliseconds(50);

/// When an event was published: by the millisecond header that brokers since 3.12 and our own publisher set, else by the
/// publisher's second, else by the event's own time if it is fresh, else when it was taken. Tells which of them it was.
fn published(delivery: &Delivery, event: &Event) -> (Instant, Clock) {
    let header = delivery.headers.get("timestamp_in_ms").and_then(|text| text.parse().ok());
    let seconds = delivery.timestamp.and_then(|seconds| i64::try_from(seconds).ok());
    let (time, clock) = header
        .and_then(chrono::DateTime::from_timestamp_millis)
        .map(|time| (time, Clock::HeaderMillis))
        .or_else(|| Some((chrono::DateTime::from_timestamp(seconds?, 0)?, Clock::AmqpSeconds)))
        .or_else(|| Some((event.time, Clock::EventTime)).filter(|(time, _)| delivery.taken_at - *time < FRESH))
        .unwrap_or((delivery.taken_at, Clock::None));
    (time, if time - delivery.taken_at > SKEW { Clock::Future } else { clock })
}

/// Scores claims and judges remittances.
fn compute(context: &Context, model: &InForce, event: &Event) -> Computed {
    match &event.payload {
        Payload::Claim(claim) => {
            let score = model.score(claim, event.time.date_naive(), &context.config.levels);
            metrics::scored(score.level.as_str(), probability_micro(score.logit_micro));
            Computed::Score(Box::new(score))
        }
        Payload::Remittance(remittance) => Computed::Judged(Box::new(judge(remittance))),
        Payload::Acknowledgement(_) => Computed::None,
    }
}
