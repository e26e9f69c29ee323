//! The last stage: acknowledge, or put a copy into a delayed queue or the dead letters first.
//!
//! Must never: acknowledge before the copy is confirmed to be in a queue, or put patient data into a header.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::options::{BasicAckOptions, BasicNackOptions};

use super::delivery::{Alive, Delivery};
use super::{Context, Verdict, outbound};
use crate::broker::{Outgoing, within_limit};
use crate::metrics::{self, Settled, Stage};
use crate::topology::{self, RetryDelay};
use crate::wire::{Reason, Rejection};

/// How a delivery leaves the queue.
enum Exit {
    Acknowledge(Settled),
    HandBack,
}

/// Settles a batch. `false` when the broker could not be told: the epoch must end then.
pub(super) async fn settle(
    context: &Context,
    deliveries: Vec<Delivery>,
    verdicts: Vec<Verdict>,
    alive: &Alive,
) -> bool {
    let started = Instant::now();
    let exits = send_copies(context, &deliveries, verdicts).await;
    let handed_back = exits.iter().any(|exit| matches!(exit, Exit::HandBack));
    if handed_back && !alive.is_over() {
        // What could not be copied would come again at once, and fail at once.
        alive.pause(Duration::from_secs(1)).await;
    }
    let healthy = tell_broker(deliveries, &exits).await;
    metrics::stage(Stage::Settle, started);
    healthy
}

/// Publishes the copies that verdicts ask for, all at once; a delivery whose copy is not confirmed is handed back.
async fn send_copies(context: &Context, deliveries: &[Delivery], verdicts: Vec<Verdict>) -> Vec<Exit> {
    let mut copies = Vec::new();
    for (delivery, verdict) in deliveries.iter().zip(&verdicts) {
        match verdict {
            Verdict::Retry => copies.push(retry_copy(delivery)),
            Verdict::Dead(rejection) => copies.push(dead_copy(delivery, rejection)),
            Verdict::Done(_) | Verdict::HandBack => {}
        }
    }
    let mut answers = context.copies.publish(&copies).await.into_iter();
    let mut receipts = Vec::new();
    let exits = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Done(outcome) => Exit::Acknowledge(outcome),
            Verdict::HandBack => Exit::HandBack,
            Verdict::Retry => exit_after(answers.next(), Settled::Retried),
            Verdict::Dead(rejection) => {
                let exit = exit_after(answers.next(), Settled::DeadLettered);
                if let Exit::Acknowledge(_) = exit {
                    metrics::dead_lettered(rejection.reason);
                    tracing::warn!(reason = rejection.reason.as_str(), detail = rejection.detail, "dead-lettered");
                    receipts.extend(outbound::refused(&rejection));
                }
                exit
            }
        })
        .collect();
    outbound::send(context, &receipts).await;
    exits
}

fn exit_after(answer: Option<Result<(), crate::broker::PublishError>>, outcome: Settled) -> Exit {
    match answer {
        Some(Ok(())) => Exit::Acknowledge(outcome),
        Some(Err(error)) => {
            tracing::error!(%error, outcome = outcome.as_str(), "a copy was not taken; the message stays in its queue");
            Exit::HandBack
        }
        None => Exit::HandBack,
    }
}

/// Acknowledges the whole range at once when nothing is handed back: a channel has one batch in flight, and what was
/// delivered after it has higher tags.
async fn tell_broker(mut deliveries: Vec<Delivery>, exits: &[Exit]) -> bool {
    let all = exits.iter().all(|exit| matches!(exit, Exit::Acknowledge(_)));
    if all {
        let Some(last) = deliveries.last() else { return true };
        let told = matches!(within_limit(last.ticket.acker.ack(BasicAckOptions { multiple: true })).await, Ok(true));
        if told {
            for (delivery, exit) in deliveries.iter_mut().zip(exits) {
                if let Exit::Acknowledge(outcome) = exit {
                    delivery.ticket.mark(*outcome);
                }
            }
        }
        return told;
    }
    let mut healthy = true;
    for (mut delivery, exit) in deliveries.into_iter().zip(exits) {
        healthy &= match exit {
            Exit::Acknowledge(outcome) => {
                let told =
                    matches!(within_limit(delivery.ticket.acker.ack(BasicAckOptions::default())).await, Ok(true));
                if told {
                    delivery.ticket.mark(*outcome);
                }
                told
            }
            Exit::HandBack => {
                let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                matches!(within_limit(delivery.ticket.acker.nack(back)).await, Ok(true))
            }
        };
    }
    healthy
}

/// A copy that keeps what is needed to read the event again: attributes of CloudEvents and its trace, how often it was
/// replayed, no other headers.
fn copy(delivery: &Delivery, exchange: &'static str, own: BTreeMap<String, String>) -> Outgoing {
    let kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("cloudevents")
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
