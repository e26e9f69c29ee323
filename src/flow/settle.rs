//! The last stage: acknowledge, or put a copy into a delayed queue or the dead letters first.
//!
//! Must never: acknowledge before the copy is confirmed to be in a queue, or put patient data into a header.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::options::{BasicAckOptions, BasicNackOptions};

use super::delivery::{Alive, Delivery};
use super::{Context, Verdict, outbound};
use crate::broker::{Outgoing, PublishError, within_limit};
use crate::metrics::{self, Settled, Stage};
use crate::topology::{self, RetryDelay};
use crate::wire::{Reason, Rejection};

/// How a delivery leaves the queue.
enum Exit {
    Acknowledge(Settled),
    /// Its copy is not taken yet: it waits for that, unacknowledged.
    Wait(Box<Copied>),
    HandBack,
}

/// A copy, and what its delivery is settled as when it is taken.
pub(super) struct Copied {
    pub(super) copy: Outgoing,
    /// Why it is a dead letter, if it is one.
    rejection: Option<Rejection>,
}

/// The attributes of CloudEvents that reading an event takes from headers.
const ATTRIBUTES: [&str; 6] = ["specversion", "id", "source", "type", "time", "traceparent"];
/// How long a batch waits for its copies to be taken; what is not by then waits by itself.
const COPY_LIMIT: Duration = Duration::from_secs(5);

/// Settles a batch. `false` when the broker could not be told: the epoch must end then.
pub(super) async fn settle(
    context: &Context,
    deliveries: Vec<Delivery>,
    verdicts: Vec<Verdict>,
    alive: &Alive,
) -> bool {
    let started = Instant::now();
    let exits = send_copies(context, &deliveries, verdicts, alive).await;
    let handed_back = exits.iter().any(|exit| matches!(exit, Exit::HandBack));
    if handed_back && !alive.is_over() {
        // What could not be done would come again at once, and fail at once.
        alive.pause(Duration::from_secs(1)).await;
    }
    let healthy = tell_broker(deliveries, exits, alive).await;
    metrics::stage(Stage::Settle, started);
    healthy
}

/// Publishes the copies that verdicts ask for, all at once. While others wait for theirs, there is no use in trying.
async fn send_copies(context: &Context, deliveries: &[Delivery], verdicts: Vec<Verdict>, alive: &Alive) -> Vec<Exit> {
    let mut copies = Vec::new();
    for (delivery, verdict) in deliveries.iter().zip(&verdicts) {
        match verdict {
            Verdict::Retry => copies.push(retry_copy(delivery)),
            Verdict::Dead(rejection) => copies.push(dead_copy(delivery, rejection)),
            Verdict::Done(_) | Verdict::HandBack => {}
        }
    }
    let answers =
        if alive.waiting.is_empty() { context.copies.publish_within(&copies, COPY_LIMIT).await } else { Vec::new() };
    let (mut copies, mut answers) = (copies.into_iter(), answers.into_iter());
    let mut taken = Vec::new();
    let mut exit = |rejection: Option<Rejection>| {
        let Some(copy) = copies.next() else { return Exit::HandBack };
        let copied = Copied { copy, rejection };
        match answers.next() {
            Some(Ok(())) => {
                let outcome = copied.outcome();
                taken.push(copied);
                Exit::Acknowledge(outcome)
            }
            Some(Err(error)) => {
                copied.not_taken(&error);
                Exit::Wait(Box::new(copied))
            }
            None => Exit::Wait(Box::new(copied)),
        }
    };
    let exits = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Done(outcome) => Exit::Acknowledge(outcome),
            Verdict::HandBack => Exit::HandBack,
            Verdict::Retry => exit(None),
            Verdict::Dead(rejection) => exit(Some(rejection)),
        })
        .collect();
    let receipts: Vec<Outgoing> = taken.into_iter().filter_map(Copied::taken).collect();
    outbound::send(context, &receipts).await;
    exits
}

impl Copied {
    /// What the delivery is settled as.
    pub(super) const fn outcome(&self) -> Settled {
        if self.rejection.is_some() { Settled::DeadLettered } else { Settled::Retried }
    }

    /// Tells that the broker has the copy; the receipt of a dead letter.
    pub(super) fn taken(self) -> Option<Outgoing> {
        let rejection = self.rejection?;
        metrics::dead_lettered(rejection.reason);
        tracing::warn!(reason = rejection.reason.as_str(), detail = rejection.detail, "dead-lettered");
        outbound::refused(&rejection)
    }

    /// Tells that it has not.
    pub(super) fn not_taken(&self, error: &PublishError) {
        let outcome = self.outcome().as_str();
        tracing::error!(%error, outcome, "a copy was not taken; the message stays in its queue until it is");
    }
}

/// Acknowledges the whole range at once when nothing is left behind: what was delivered before is settled, in its turn, and
/// what was delivered after has higher tags.
async fn tell_broker(mut deliveries: Vec<Delivery>, exits: Vec<Exit>, alive: &Alive) -> bool {
    let all = exits.iter().all(|exit| matches!(exit, Exit::Acknowledge(_))) && alive.waiting.is_empty();
    if all {
        let Some(last) = deliveries.last() else { return true };
        let told = matches!(within_limit(last.ticket.acker.ack(BasicAckOptions { multiple: true })).await, Ok(true));
        if told {
            for (delivery, exit) in deliveries.iter_mut().zip(exits) {
                if let Exit::Acknowledge(outcome) = exit {
                    delivery.ticket.mark(outcome);
                }
            }
        }
        return told;
    }
    let mut healthy = true;
    for (delivery, exit) in deliveries.into_iter().zip(exits) {
        healthy &= match exit {
            Exit::Acknowledge(outcome) => acknowledge(delivery, outcome).await,
            Exit::Wait(copied) => {
                alive.waiting.add(delivery, *copied);
                true
            }
            Exit::HandBack => {
                let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                matches!(within_limit(delivery.ticket.acker.nack(back)).await, Ok(true))
            }
        };
    }
    healthy
}

/// Acknowledges one delivery. `false` when the broker could not be told.
pub(super) async fn acknowledge(mut delivery: Delivery, outcome: Settled) -> bool {
    let told = matches!(within_limit(delivery.ticket.acker.ack(BasicAckOptions::default())).await, Ok(true));
    if told {
        delivery.ticket.mark(outcome);
    }
    told
}

/// A copy that keeps what is needed to read the event again: the attributes of CloudEvents that are read, its trace, how
/// often it was replayed; no other headers: publishers may name a patient there (`cloudEvents:subject`).
fn copy(delivery: &Delivery, exchange: &'static str, own: BTreeMap<String, String>) -> Outgoing {
    let kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("cloudevents")
            .is_some_and(|attribute| ATTRIBUTES.contains(&attribute.get(1..).unwrap_or_default()))
            || [topology::REPLAYED_HEADER, "traceparent", "timestamp_in_ms"].contains(&name.as_str())
    };
    let mut headers: BTreeMap<String, String> =
        delivery.headers.iter().filter(|(name, _)| kept(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    headers.extend(own);
    Outgoing {
        exchange,
        routing_key: delivery.routing_key.clone(),
        body: delivery.body.clone(),
        content_type: delivery.content_type.clone(),
        message_id: delivery.message_id.clone(),
        kind: delivery.kind.clone(),
        app_id: delivery.app_id.clone(),
        timestamp: delivery.timestamp,
        headers,
        mandatory: true,
    }
}

fn retry_copy(delivery: &Delivery) -> Outgoing {
    let attempt = delivery.attempts() + 1;
    // The longer it failed, the longer it waits.
    let step = usize::try_from(attempt - 1).unwrap_or(usize::MAX).min(RetryDelay::ALL.len() - 1);
    let own = BTreeMap::from([
        ("x-attempt".to_owned(), attempt.to_string()),
        (topology::RETRY_DELAY_HEADER.to_owned(), RetryDelay::ALL[step].header_value().to_owned()),
    ]);
    copy(delivery, topology::RETRY_EXCHANGE, own)
}

pub(super) fn dead_copy(delivery: &Delivery, rejection: &Rejection) -> Outgoing {
    let mut own = BTreeMap::from([
        ("x-reason".to_owned(), rejection.reason.as_str().to_owned()),
        ("x-detail".to_owned(), rejection.detail.clone()),
        ("x-died-at".to_owned(), chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
    ]);
    if rejection.reason == Reason::DeliveryLimit {
        own.insert("x-attempt".to_owned(), delivery.attempts().to_string());
    }
    let mut copy = copy(delivery, topology::DEAD_EXCHANGE, own);
    // What the envelope told, where the properties did not: so that `dead-letters list` need not read bodies.
    copy.message_id = copy.message_id.or_else(|| rejection.id.clone().filter(|id| id.len() < 256));
    copy.app_id = copy.app_id.or_else(|| rejection.source.clone().filter(|source| source.len() < 256));
    copy
}
