//! Events to structured CloudEvents JSON, their hashes, and the ids of events that have none of their own.
//!
//! Must never: depend on anything but the content. Equal events give equal bytes, hashes and ids, on every machine.

use super::{AcknowledgementData, ClaimData, Event, Payload, RemittanceData};
use crate::domain::types::{Instant, Phi};
use chrono::{DateTime, SecondsFormat, SubsecRound};
use serde::Serialize;

/// The source of events that were split from raw X12.
pub const X12_SOURCE: &str = "urn:claimrisk:x12";
/// The wire form of a payload; equal payloads give equal bytes.
#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Claim(Box<ClaimData>),
    Remittance(Box<RemittanceData>),
    Acknowledgement(AcknowledgementData),
}

impl From<&Payload> for Data {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Claim(claim) => Self::Claim(Box::new(ClaimData::from(claim.as_ref()))),
            Payload::Remittance(remittance) => Self::Remittance(Box::new(RemittanceData::from(remittance.as_ref()))),
            Payload::Acknowledgement(acknowledgement) => {
                Self::Acknowledgement(AcknowledgementData::from(acknowledgement))
            }
        }
    }
}

/// A structured CloudEvent as this program writes it.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'static str,
    time: String,
    datacontenttype: &'static str,
    data: Data,
}

impl<'a> CloudEvent<'a> {
    fn new(source: &'a str, id: &'a str, time: Instant, payload: &Payload) -> Self {
        Self {
            specversion: "1.0",
            id,
            source,
            r#type: payload.event_type().versioned_type(),
            time: time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            datacontenttype: "application/json",
            data: Data::from(payload),
        }
    }
}

/// Writes an event as a structured CloudEvent, to be sent as `application/cloudevents+json`.
pub fn encode(source: &str, id: &str, time: Instant, payload: &Payload) -> Vec<u8> {
    serde_json::to_vec(&CloudEvent::new(source, id, time, payload)).expect(WRITABLE)
}

/// The same as a JSON value.
pub fn envelope(source: &str, id: &str, time: Instant, payload: &Payload) -> serde_json::Value {
    serde_json::to_value(CloudEvent::new(source, id, time, payload)).expect(WRITABLE)
}

/// Why writing JSON cannot fail: what comes from the domain holds no violation, and the keys are names of fields.
const WRITABLE: &str = "wire structs made from domain types can always be written";

/// The data of an event as this program writes it.
fn normalised(payload: &Payload) -> Phi<String> {
    Phi::new(serde_json::to_string(&Data::from(payload)).expect(WRITABLE))
}

/// BLAKE3 over type, time and normalised data, under a name that says what the hash is for.
fn content_hash(purpose: &str, time: Instant, payload: &Payload, data: &Phi<String>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in [purpose, payload.event_type().versioned_type()] {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.update(&time.timestamp_micros().to_le_bytes()).update(data.expose().as_bytes());
    hasher.finalize()
}

/// First half of a hash.
fn half(hash: &blake3::Hash) -> [u8; 16] {
    std::array::from_fn(|index| hash.as_bytes().get(index).copied().unwrap_or_default())
}

/// The id of an event that has none of its own: a version 8 UUID made from its content.
///
/// The same content gives the same id wherever and whenever it is read, so that a file sent twice changes nothing. Two
/// remitted claims of one 835 that are alike differ by their ordinal, which is part of the content.
pub fn event_id_from_content(payload: &Payload, time: Instant) -> String {
    id_from(payload, time, &normalised(payload))
}

fn id_from(payload: &Payload, time: Instant, data: &Phi<String>) -> String {
    let hash = content_hash("claimrisk event id", time, payload, data);
    uuid::Builder::from_custom_bytes(half(&hash)).into_uuid().to_string()
}

/// Makes the event of a claim or remitted claim that was split from X12.
///
/// `time` is the transaction's own (BHT04/05, BPR16), else the interchange's; where there is none, 1970 stands in, so
/// that any dated version of the same submission is newer and the same file still gives the same event.
pub fn x12_event(payload: Payload, time: Option<Instant>) -> Event {
    let time = time.unwrap_or(DateTime::UNIX_EPOCH).trunc_subsecs(6);
    let data = normalised(&payload);
    let id = id_from(&payload, time, &data);
    Event::with_data(X12_SOURCE, &id, time, payload, data)
}

impl Event {
    /// Makes an event of its parts, with its hash. The time is cut to microseconds, as reading it back would.
    pub fn new(source: &str, id: &str, time: Instant, payload: Payload) -> Self {
        let data = normalised(&payload);
        Self::with_data(source, id, time, payload, data)
    }

    fn with_data(source: &str, id: &str, time: Instant, payload: Payload, data: Phi<String>) -> Self {
        let time = time.trunc_subsecs(6);
        Self {
            source: source.to_owned(),
            id: id.to_owned(),
            event_type: payload.event_type(),
            time,
            body_hash: half(&content_hash("claimrisk event body", time, &payload, &data)),
            payload,
            data,
            traceparent: None,
        }
    }

    /// Writes the event as a structured CloudEvent; the trace context travels in the message's headers instead.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.source, &self.id, self.time, &self.payload)
    }
}
