//! From bytes to events.
//!
//! Must never: parse a body before its size is checked, or keep a wire structure beyond this file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::delivery::Delivery;
use crate::config::Config;
use crate::domain::types::Instant;
use crate::metrics::{self, Clock};
use crate::store::apply::Work;
use crate::wire::{self, Event, Reason, Rejection};

/// An event, or why there is none.
pub type Decoded = Result<Work, Rejection>;

/// Reads one delivery. Should the reader panic on it, the event is refused like any other bad one: a panic must not take
/// the batch, and later its neighbours' delivery counts, with it.
pub(super) fn decode(config: &Config, delivery: &Delivery) -> Decoded {
    guarded(delivery, || read(config, delivery))
}

/// Reads one delivery that came too often: only for an event that was applied, so that reading it is known to harm nothing.
pub(super) fn decode_applied(delivery: &Delivery) -> Decoded {
    guarded(delivery, || event(delivery))
}

fn guarded(delivery: &Delivery, read: impl FnOnce() -> Decoded) -> Decoded {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let detail = "the program failed on this event; keep it and report it";
        Err(Rejection::of(Reason::Internal, detail, &[], &delivery.meta()))
    })
}

fn read(config: &Config, delivery: &Delivery) -> Decoded {
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
    event(delivery)
}

fn event(delivery: &Delivery) -> Decoded {
    let event = wire::decode(&delivery.body, &delivery.meta())?;
    let (published, clock) = published(delivery, &event);
    metrics::clock(clock);
    Ok(Work { event, published })
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
