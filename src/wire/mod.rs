//! Events as they travel: CloudEvents JSON to domain types and back, and the JSON Schemas of both.
//!
//! Everything here is a function of its arguments: bytes and message properties in, an [`Event`] or a [`Rejection`] out.
//! Must never: know lapin, SQL or the cache, read a clock, or put a value of a message into an error. What is wrong is
//! told by the place (a JSON pointer made of our own field names) and the kind.

mod acknowledgement;
mod claim;
mod encode;
mod envelope;
pub mod examples;
mod parts;
mod reading;
mod remittance;
pub mod schema;
mod text;

#[cfg(test)]
mod tests;

pub use acknowledgement::AcknowledgementData;
pub use claim::{ClaimData, read_claim};
pub use encode::{X12_SOURCE, encode, envelope, event_id_from_content, x12_event};
pub use envelope::{decode, decode_json, is_x12};
pub use reading::{Kind, Violation};
pub use remittance::{RemittanceData, read_remittance};

use crate::domain::claim::Claim;
use crate::domain::remittance::{Acknowledgement, Remittance};
use crate::domain::types::{Instant, Phi};
use std::collections::BTreeMap;
use std::fmt;

/// The kinds of event on the inbound exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// A claim was sent (837).
    ClaimSubmitted,
    /// A claim was taken in or turned away before adjudication (277CA).
    ClaimAcknowledged,
    /// A payer adjudicated a claim (one CLP of an 835).
    RemittanceReceived,
    /// A raw X12 interchange, still to be split.
    X12Received,
}

impl EventType {
    /// All kinds, in the order of the contract.
    pub const ALL: [Self; 4] =
        [Self::ClaimSubmitted, Self::ClaimAcknowledged, Self::RemittanceReceived, Self::X12Received];

    /// The routing key and metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaimSubmitted => "claim.submitted",
            Self::ClaimAcknowledged => "claim.acknowledged",
            Self::RemittanceReceived => "remittance.received",
            Self::X12Received => "x12.received",
        }
    }

    /// The CloudEvents `type` as this version of the program writes it.
    pub const fn versioned_type(self) -> &'static str {
        match self {
            Self::ClaimSubmitted => "claim.submitted.v1",
            Self::ClaimAcknowledged => "claim.acknowledged.v1",
            Self::RemittanceReceived => "remittance.received.v1",
            Self::X12Received => "x12.received.v1",
        }
    }

    /// Reads a routing key, which is a type without version.
    pub fn parse(routing_key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == routing_key)
    }
}

/// Why an event was dead-lettered: the closed set of the header `x-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not readable at all: no JSON, no UTF-8, nested too deep, a field given twice.
    Malformed,
    /// Readable, but a field is missing, of another kind or out of bounds.
    SchemaInvalid,
    /// A major version of the envelope or of the event that this program does not know.
    UnsupportedVersion,
    /// An event type that this program does not know.
    UnknownType,
    /// Nothing says which event, which claim or which practice it is.
    MissingIdentifier,
    /// The body is larger than the limit.
    TooLarge,
    /// The same source and id came before with another body.
    IdConflict,
    /// Tried too often.
    DeliveryLimit,
    /// The program failed on it.
    Internal,
}

impl Reason {
    /// All reasons, in the order of the contract.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::SchemaInvalid,
        Self::UnsupportedVersion,
        Self::UnknownType,
        Self::MissingIdentifier,
        Self::TooLarge,
        Self::IdConflict,
        Self::DeliveryLimit,
        Self::Internal,
    ];

    /// The value of the header and of the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SchemaInvalid => "schema_invalid",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnknownType => "unknown_type",
            Self::MissingIdentifier => "missing_identifier",
            Self::TooLarge => "too_large",
            Self::IdConflict => "id_conflict",
            Self::DeliveryLimit => "delivery_limit",
            Self::Internal => "internal",
        }
    }

    /// Reads what [`Reason::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A refused event: why, where, and what of its envelope is known, so that its publisher can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: Reason,
    /// Where it went wrong and how to mend it; never a value of the message.
    pub detail: String,
    /// The event's source, where it could be read and is within bounds.
    pub source: Option<String>,
    /// The event's id, where it could be read and is within bounds.
    pub id: Option<String>,
    /// The event's type, else what the routing key says.
    pub event_type: Option<EventType>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

// By hand, because a field named `source` would be taken for the error's cause.
impl std::error::Error for Rejection {}

impl Rejection {
    /// Refuses a message for a reason found elsewhere (too large, tried too often), with what its envelope tells.
    ///
    /// Reads no further into `body` than to find the envelope's attributes; pass `&[]` to use the properties alone.
    pub fn of(reason: Reason, detail: impl Into<String>, body: &[u8], meta: &MessageMeta<'_>) -> Self {
        envelope::rejection(reason, detail.into(), body, meta)
    }
}

/// An event that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who published it (CloudEvents `source`), at most 256 characters.
    pub source: String,
    /// Its id at that source (CloudEvents `id`), at most 256 characters.
    pub id: String,
    /// What kind it is.
    pub event_type: EventType,
    /// When it happened, to the microsecond, which is what the database holds; orders the versions of one submission.
    pub time: Instant,
    /// First 16 bytes of the BLAKE3 hash of type, time and normalised data: tells a duplicate from an id used twice.
    pub body_hash: [u8; 16],
    /// What happened.
    pub payload: Payload,
    /// The payload as JSON, in the vocabulary of the events and nothing else: what is hashed, and stored.
    pub data: Phi<String>,
    /// W3C trace context, if the publisher sent a well-formed one.
    pub traceparent: Option<String>,
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Of `claim.submitted`.
    Claim(Box<Claim>),
    /// Of `remittance.received`.
    Remittance(Box<Remittance>),
    /// Of `claim.acknowledged`.
    Acknowledgement(Acknowledgement),
}

impl Payload {
    /// The kind of event that carries such data.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Claim(_) => EventType::ClaimSubmitted,
            Self::Remittance(_) => EventType::RemittanceReceived,
            Self::Acknowledgement(_) => EventType::ClaimAcknowledged,
        }
    }

    /// The practice it belongs to: the publisher's id, else the NPI or tax id of the provider.
    pub fn practice_key(&self) -> Option<&str> {
        match self {
            Self::Claim(claim) => claim.practice_key(),
            Self::Remittance(remittance) => remittance.practice_key(),
            Self::Acknowledgement(acknowledgement) => acknowledgement.practice_key(),
        }
    }
}

/// What of a message's properties matters to reading it, free of the client library.
#[derive(Clone, Debug, Default)]
pub struct MessageMeta<'a> {
    /// Property `content_type`.
    pub content_type: Option<&'a str>,
    /// Routing key of the delivery; empty where there is none.
    pub routing_key: &'a str,
    /// Property `message_id`: the event id in binary mode when no header gives it.
    pub message_id: Option<&'a str>,
    /// Property `type`: the event type in binary mode when no header gives it.
    pub type_: Option<&'a str>,
    /// Property `app_id`: the source in binary mode when no header gives it.
    pub app_id: Option<&'a str>,
    /// Headers whose value is text, by name.
    pub headers: BTreeMap<String, String>,
}
