//! Splits a raw X12 interchange into one event per claim and per remitted claim, and puts them on the inbound exchange.
//!
//! The ids of the events come from their content, so that the same file sent twice changes nothing. Must never:
//! acknowledge an interchange before all its events are confirmed, or drop what could not be read: an interchange with
//! claims that could not be read goes to the dead letters too, whole, after the rest of it was published.

use super::delivery::{Alive, Delivery};
use super::{Context, Verdict, settle};
use crate::broker::{Outgoing, PublishError};
use crate::domain::x12::{Item, Note, NoteReason, Reader, Severity, Summary};
use crate::metrics::Settled;
use crate::retry::Delays;
use crate::topology;
use crate::wire::{Event, EventType, Payload, Reason, Rejection, x12_event};

/// Bytes read between two rounds of publishing.
const PIECE: usize = 64 * 1024;
/// Notes on unreadable parts that are named in the dead letter's header.
const NAMED_NOTES: usize = 5;

/// The event of what the reader found; notes are none.
pub fn event_of(item: Item) -> Result<Event, Note> {
    match item {
        Item::Claim(parsed) => {
            let time = parsed.transaction.time;
            Ok(x12_event(Payload::Claim(Box::new(parsed.value)), time))
        }
        Item::Remittance(parsed) => {
            let time = parsed.transaction.time;
            Ok(x12_event(Payload::Remittance(Box::new(parsed.value)), time))
        }
        Item::Note(note) => Err(note),
    }
}

/// The message that carries an event to the work queues, stamped with the time of publishing.
pub fn message_of(event: &Event) -> Outgoing {
    let mut message = Outgoing {
        exchange: topology::EVENTS_EXCHANGE,
        routing_key: event.event_type.as_str().to_owned(),
        body: event.encode(),
        content_type: Some("application/cloudevents+json".to_owned()),
        message_id: Some(event.id.clone()).filter(|id| id.len() < 256),
        kind: Some(event.event_type.versioned_type().to_owned()),
        app_id: Some(event.source.clone()).filter(|source| source.len() < 256),
        mandatory: true,
        ..Outgoing::default()
    };
    stamp(&mut message);
    message
}

/// Tells in a message that it is published now.
pub fn stamp(message: &mut Outgoing) {
    let now = chrono::Utc::now();
    message.timestamp = u64::try_from(now.timestamp()).ok();
    message.headers.insert("timestamp_in_ms".to_owned(), now.timestamp_millis().to_string());
}

/// Splits the interchanges of a batch and settles them. `false` when the epoch must end.
pub(super) async fn split(context: &Context, deliveries: Vec<Delivery>, alive: &Alive) -> bool {
    let mut verdicts = Vec::with_capacity(deliveries.len());
    for delivery in &deliveries {
        verdicts.push(split_one(context, delivery, alive).await);
    }
    settle::settle(context, deliveries, verdicts, alive).await
}

async fn split_one(context: &Context, delivery: &Delivery, alive: &Alive) -> Verdict {
    if delivery.earlier_deliveries() >= context.config.delivery_attempts {
        let detail = format!("given up after {} deliveries", delivery.earlier_deliveries());
        return Verdict::Dead(rejection(delivery, Reason::DeliveryLimit, detail));
    }
    let mut reader = Reader::new();
    let (mut events, mut notes): (Vec<Event>, Vec<Note>) = (Vec::new(), Vec::new());
    for piece in delivery.body.chunks(PIECE) {
        reader.push(piece, &mut |item| sort(item, &mut events, &mut notes));
        if events.len() >= context.config.batch.messages
            && let Err(error) = publish(context, &mut events, alive).await
        {
            return not_published(&error);
        }
    }
    let summary = reader.finish(&mut |item| sort(item, &mut events, &mut notes));
    if let Err(error) = publish(context, &mut events, alive).await {
        return not_published(&error);
    }
    report(delivery, &summary, &notes)
}

fn sort(item: Item, events: &mut Vec<Event>, notes: &mut Vec<Note>) {
    match event_of(item) {
        Ok(event) => events.push(event),
        Err(note) if note.severity == Severity::Error || is_cut(note.reason) => notes.push(note),
        Err(_) => {}
    }
}

/// Publishes events, again and again while the broker does not confirm (an alarm may last); an event published twice is a
/// duplicate. Only a refusal, or the end of the epoch, gives up.
async fn publish(context: &Context, events: &mut Vec<Event>, alive: &Alive) -> Result<(), PublishError> {
    let messages: Vec<Outgoing> = events.drain(..).map(|event| message_of(&event)).collect();
    for part in messages.chunks(context.config.batch.messages) {
        let mut delays = Delays::reconnect();
        loop {
            let answers: Result<(), PublishError> = context.copies.publish(part).await.into_iter().collect();
            match answers {
                Err(PublishError::Unknown(why)) if !alive.is_over() => {
                    tracing::warn!(why, "events of an interchange are not confirmed yet");
                    alive.pause(delays.next_delay()).await;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
    }
    Ok(())
}

/// The events published so far keep their ids: when the interchange comes again they are duplicates.
fn not_published(error: &PublishError) -> Verdict {
    tracing::error!(%error, "events of an interchange were not taken; it stays in its queue");
    Verdict::HandBack
}

/// Whether a note tells that the interchange broke off: its last claim may be incomplete, though it reads well.
const fn is_cut(reason: NoteReason) -> bool {
    matches!(reason, NoteReason::Truncated | NoteReason::MissingSe | NoteReason::MissingGe | NoteReason::MissingIea)
}

fn report(delivery: &Delivery, summary: &Summary, notes: &[Note]) -> Verdict {
    let found = summary.claims + summary.remittances;
    if notes.is_empty() && summary.withheld == 0 && found > 0 {
        if summary.warnings > 0 {
            tracing::info!(warnings = summary.warnings, "an interchange was read with warnings");
        }
        return Verdict::Done(Settled::Recorded);
    }
    if notes.is_empty() && summary.withheld == 0 {
        tracing::info!(transactions = summary.transactions, "an interchange held no claims and no remittances");
        return Verdict::Done(Settled::Recorded);
    }
    let places: Vec<String> = notes
        .iter()
        .take(NAMED_NOTES)
        .map(|note| format!("{} at segment {} {}", note.reason.as_str(), note.at.segment, note.segment_id))
        .collect();
    let detail = format!(
        "{found} claims and remitted claims were read and published, {} were withheld; not read whole: {}",
        summary.withheld,
        places.join("; ")
    );
    Verdict::Dead(rejection(delivery, Reason::Malformed, detail))
}

fn rejection(delivery: &Delivery, reason: Reason, detail: String) -> Rejection {
    Rejection {
        reason,
        detail,
        source: delivery.app_id.clone(),
        id: delivery.message_id.clone(),
        event_type: Some(EventType::X12Received),
    }
}
