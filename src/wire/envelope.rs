//! CloudEvents 1.0 in RabbitMQ messages: structured and binary mode to [`Event`]. The way back is `encode.rs`.
//!
//! AMQP 0-9-1 has no CloudEvents binding of its own: structured mode needs only a content type; binary mode takes the
//! attributes from headers `cloudEvents:*` (`cloudEvents_*` from clients that cannot write a colon), else from the
//! basic properties. Must never: lose the source and id of a bad event that had them, or quote a message in an error.

use super::reading::{At, Kind, Object, Violation};
use super::text::{Checked, Scalar, Text};
use super::{
    AcknowledgementData, ClaimData, Event, EventType, MessageMeta, Payload, Reason, Rejection, RemittanceData,
};
use crate::domain::types::Instant;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde::Deserialize as DeriveDeserialize;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Bound of `source` and `id`, in characters.
pub(super) const MAX_ATTRIBUTE: usize = 256;
/// Deepest nesting of arrays and objects, as deep as `serde_json` itself goes.
const MAX_DEPTH: usize = 127;

type Attribute = Option<Checked<Text<MAX_ATTRIBUTE>>>;

/// Why an event is refused, before it is joined with what its envelope told.
struct Fault {
    reason: Reason,
    detail: String,
}

impl Fault {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        let reason = match violation.kind {
            Kind::NoIdentifier(_) => Reason::MissingIdentifier,
            Kind::NotJson(_) => Reason::Malformed,
            Kind::Missing | Kind::Expected(_) | Kind::TooLong(_) | Kind::ControlCharacter | Kind::TooMany(_) => {
                Reason::SchemaInvalid
            }
        };
        Self::new(reason, violation.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    /// Tells the place only: the library's own words may quote the document.
    fn from(error: serde_json::Error) -> Self {
        // The wire structs take any value in any field, so what is left of serde's own complaints is a repeated field.
        let what = if error.is_data() { "a field is given twice, or this is no JSON object" } else { "not JSON" };
        Self::new(Reason::Malformed, format!("{what} (line {}, column {})", error.line(), error.column()))
    }
}

/// What a message's content type says about its body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    CloudEvent,
    Json,
    /// None, or one of those that clients set by themselves.
    Unsaid,
    X12,
    Other,
}

impl Media {
    fn of(content_type: Option<&str>) -> Self {
        let essence =
            content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/cloudevents+json" => Self::CloudEvent,
            "application/cloudevents-batch+json" => Self::Other,
            "application/edi-x12" => Self::X12,
            "" | "application/octet-stream" | "text/plain" => Self::Unsaid,
            "application/json" | "text/json" => Self::Json,
            other if other.starts_with("application/") && other.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// Whether a message is a raw X12 interchange: by its content type, else by its routing key.
pub fn is_x12(meta: &MessageMeta<'_>) -> bool {
    match Media::of(meta.content_type) {
        Media::X12 => true,
        Media::Unsaid => meta.routing_key == EventType::X12Received.as_str(),
        Media::CloudEvent | Media::Json | Media::Other => false,
    }
}

/// The attributes of an event, from wherever its mode keeps them.
#[derive(Default)]
struct Envelope {
    binary: bool,
    spec_version: Attribute,
    id: Attribute,
    source: Attribute,
    kind: Attribute,
    time: Attribute,
    data_content_type: Attribute,
    traceparent: Attribute,
    base64: bool,
    repeated: bool,
}

/// The top-level names of a structured event.
#[derive(DeriveDeserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    SpecVersion,
    Id,
    Source,
    Type,
    Time,
    DataContentType,
    TraceParent,
    #[serde(rename = "data_base64")]
    DataBase64,
    #[serde(other)]
    Other,
}

/// Reads the attributes into an envelope that outlives an error further on in the document.
struct HeadSeed<'a>(&'a mut Envelope);

impl<'de> DeserializeSeed<'de> for HeadSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let head = self.0;
        while let Some(name) = map.next_key::<Name>()? {
            let attribute = match name {
                Name::SpecVersion => &mut head.spec_version,
                Name::Id => &mut head.id,
                Name::Source => &mut head.source,
                Name::Type => &mut head.kind,
                Name::Time => &mut head.time,
                Name::DataContentType => &mut head.data_content_type,
                Name::TraceParent => &mut head.traceparent,
                Name::DataBase64 | Name::Other => {
                    head.base64 |= matches!(name, Name::DataBase64);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            head.repeated |= attribute.is_some();
            *attribute = map.next_value()?;
        }
        Ok(())
    }
}

impl Envelope {
    /// Gathers the attributes of a message, and says what kept the body from being read as JSON.
    fn gather(body: &[u8], meta: &MessageMeta<'_>) -> (Self, Result<(), Fault>) {
        let mut head = Self::default();
        let mut json = serde_json::Deserializer::from_slice(without_bom(body));
        let read = HeadSeed(&mut head).deserialize(&mut json).and_then(|()| json.end()).map_err(Fault::from);
        let structured = head.spec_version.is_some() || Media::of(meta.content_type) == Media::CloudEvent;
        if !structured && header(meta, "specversion").or_else(|| header(meta, "id")).is_some() {
            return (Self::from_headers(meta), read);
        }
        (head, read)
    }

    fn from_headers(meta: &MessageMeta<'_>) -> Self {
        let attribute = |name: &str, property: Option<&str>| {
            header(meta, name).or(property).map(|value| Checked(Text::<MAX_ATTRIBUTE>::from_text(value)))
        };
        Self {
            binary: true,
            spec_version: attribute("specversion", None),
            id: attribute("id", meta.message_id),
            source: attribute("source", meta.app_id),
            kind: attribute("type", meta.type_),
            time: attribute("time", None),
            traceparent: attribute("traceparent", None),
            ..Self::default()
        }
    }

    /// The place of an attribute, for people.
    fn place(&self, name: &str) -> String {
        if self.binary { format!("header cloudEvents:{name}") } else { format!("/{name}") }
    }

    /// An attribute that must be there and not be blank.
    fn need<'a>(&self, attribute: &'a Attribute, name: &str, absent: Reason) -> Result<&'a str, Fault> {
        match attribute.as_ref().map(|checked| &checked.0) {
            Some(Ok(value)) if !value.trim().is_empty() => Ok(value),
            Some(Err(kind)) => Err(Fault::new(Reason::SchemaInvalid, format!("{}: {kind}", self.place(name)))),
            _ => Err(Fault::new(absent, format!("{}: {}", self.place(name), Kind::Missing))),
        }
    }

    /// Checks the attributes that every event has, in the order in which they matter to its publisher.
    fn check(&self) -> Result<(EventType, Instant), Fault> {
        self.need(&self.source, "source", Reason::MissingIdentifier)?;
        self.need(&self.id, "id", Reason::MissingIdentifier)?;
        let spec_version = self.need(&self.spec_version, "specversion", Reason::SchemaInvalid)?;
        if !spec_version.starts_with("1.") {
            let detail = format!("{}: only CloudEvents 1.x is read", self.place("specversion"));
            return Err(Fault::new(Reason::UnsupportedVersion, detail));
        }
        let kind = self.need(&self.kind, "type", Reason::SchemaInvalid)?;
        let kind =
            read_type(kind).map_err(|(reason, why)| Fault::new(reason, format!("{}: {why}", self.place("type"))))?;
        let time = self.need(&self.time, "time", Reason::SchemaInvalid)?;
        let time = read_time(time).ok_or_else(|| {
            let detail = format!("{}: expected an RFC 3339 time such as 2026-11-02T05:50:21Z", self.place("time"));
            Fault::new(Reason::SchemaInvalid, detail)
        })?;
        self.check_data_content_type()?;
        Ok((kind, time))
    }

    fn check_data_content_type(&self) -> Result<(), Fault> {
        let json = match self.data_content_type.as_ref().map(|checked| &checked.0) {
            None => true,
            Some(Ok(media)) => media.trim().is_empty() || media.to_ascii_lowercase().contains("json"),
            Some(Err(_)) => false,
        };
        let detail = "/datacontenttype: data is read as application/json only";
        if json { Ok(()) } else { Err(Fault::new(Reason::SchemaInvalid, detail)) }
    }

    /// Joins a fault with what is known of the event; for that the properties count in either mode.
    fn reject(self, fault: Fault, meta: &MessageMeta<'_>) -> Rejection {
        let known = |attribute: Attribute, property: Option<&str>| {
            attribute
                .or_else(|| property.map(|value| Checked(Text::<MAX_ATTRIBUTE>::from_text(value))))
                .and_then(|checked| checked.0.ok())
                .filter(|value| !value.trim().is_empty())
        };
        let named = known(self.kind, meta.type_).and_then(|kind| named_type(&kind).map(|(kind, _)| kind));
        Rejection {
            reason: fault.reason,
            detail: fault.detail,
            source: known(self.source, meta.app_id),
            id: known(self.id, meta.message_id),
            event_type: named.or_else(|| EventType::parse(meta.routing_key)),
        }
    }
}

/// A CloudEvents attribute from the headers, in either spelling.
fn header<'a>(meta: &'a MessageMeta<'_>, name: &str) -> Option<&'a str> {
    ["cloudEvents:", "cloudEvents_"]
        .iter()
        .find_map(|prefix| meta.headers.get(&format!("{prefix}{name}")))
        .map(String::as_str)
}

/// Some Windows clients begin UTF-8 with a byte order mark, which JSON does not know.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// Finds the known type that a versioned type begins with, and what follows its name.
fn named_type(text: &str) -> Option<(EventType, &str)> {
    EventType::ALL.into_iter().find_map(|kind| {
        let version = text.strip_prefix(kind.as_str())?;
        (version.is_empty() || version.starts_with('.')).then_some((kind, version))
    })
}

/// Reads `claim.submitted.v1`; a minor version behind it (`v1.2`) only adds fields, which are ignored.
fn read_type(text: &str) -> Result<EventType, (Reason, &'static str)> {
    let (kind, version) =
        named_type(text).ok_or((Reason::UnknownType, "no event type of this program; see queues/schemas"))?;
    if version != ".v1" && !version.starts_with(".v1.") {
        return Err((Reason::UnsupportedVersion, "only major version v1 of this event type is read"));
    }
    if kind == EventType::X12Received {
        return Err((Reason::SchemaInvalid, "raw X12 travels as a body of content type application/EDI-X12"));
    }
    Ok(kind)
}

/// Reads an RFC 3339 time into UTC, cut to the microseconds that the database keeps.
fn read_time(text: &str) -> Option<Instant> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc).trunc_subsecs(6);
    (1900..=9999).contains(&time.year()).then_some(time)
}

/// Keeps a W3C trace context (`00-<32 hex>-<16 hex>-<2 hex>`) and drops what is none.
fn read_traceparent(text: &str) -> Option<String> {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let well_formed = parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && is_hex(part))
        && parts.get(1..3).is_some_and(|ids| ids.iter().all(|id| id.bytes().any(|b| b != b'0')));
    well_formed.then(|| text.to_owned())
}

/// Whether arrays and objects nest deeper than [`MAX_DEPTH`], also within fields that nobody reads.
fn too_deep(body: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The body as text, if it is UTF-8 and not nested too deep.
fn readable(body: &[u8]) -> Result<&str, Kind> {
    let body = without_bom(body);
    if too_deep(body) {
        return Err(Kind::NotJson("nested too deep; at most 127 levels are read"));
    }
    std::str::from_utf8(body).map_err(|_| Kind::NotJson("not UTF-8"))
}

/// Reads one message of a work queue: a CloudEvent in structured or binary mode.
///
/// The caller bounds the size of `body` and hands raw X12 (see [`is_x12`]) to the splitter instead.
///
/// # Errors
/// A [`Rejection`] with reason `malformed`, `schema_invalid`, `unsupported_version`, `unknown_type` or
/// `missing_identifier`, and with the event's source and id wherever they could be read.
pub fn decode(body: &[u8], meta: &MessageMeta<'_>) -> Result<Event, Rejection> {
    let (envelope, read) = Envelope::gather(body, meta);
    match decode_with(&envelope, read, body, meta) {
        Ok(event) => Ok(event),
        Err(fault) => Err(envelope.reject(fault, meta)),
    }
}

/// Reads one structured CloudEvent without message properties, as a line of an NDJSON file holds it.
///
/// # Errors
/// As [`decode`].
pub fn decode_json(body: &[u8]) -> Result<Event, Rejection> {
    decode(body, &MessageMeta { content_type: Some("application/cloudevents+json"), ..MessageMeta::default() })
}

fn decode_with(
    envelope: &Envelope,
    read: Result<(), Fault>,
    body: &[u8],
    meta: &MessageMeta<'_>,
) -> Result<Event, Fault> {
    match Media::of(meta.content_type) {
        Media::CloudEvent | Media::Json | Media::Unsaid => {}
        Media::X12 => return Err(Fault::new(Reason::Malformed, "raw X12 where a JSON event was expected")),
        Media::Other => {
            let detail = "content type: application/cloudevents+json or application/json is read, one event a message";
            return Err(Fault::new(Reason::Malformed, detail));
        }
    }
    let text = readable(body).map_err(|kind| Fault::new(Reason::Malformed, kind.to_string()))?;
    read?;
    if envelope.repeated && !envelope.binary {
        return Err(Fault::new(Reason::Malformed, "an attribute of the envelope is given twice"));
    }
    let (kind, time) = envelope.check()?;
    if envelope.base64 && !envelope.binary {
        return Err(Fault::new(Reason::Malformed, "/data_base64 is not read; send the data as JSON in /data"));
    }
    let payload = match kind {
        EventType::ClaimSubmitted => Payload::Claim(Box::new(data(envelope, text, ClaimData::read)?)),
        EventType::RemittanceReceived => Payload::Remittance(Box::new(data(envelope, text, RemittanceData::read)?)),
        EventType::ClaimAcknowledged => Payload::Acknowledgement(data(envelope, text, AcknowledgementData::read)?),
        EventType::X12Received => return Err(Fault::new(Reason::Malformed, "raw X12 cannot travel within JSON")),
    };
    let source = envelope.need(&envelope.source, "source", Reason::MissingIdentifier)?;
    let id = envelope.need(&envelope.id, "id", Reason::MissingIdentifier)?;
    let mut event = Event::new(source, id, time, payload);
    let from_body = envelope.traceparent.as_ref().and_then(|checked| checked.0.as_deref().ok());
    // The header was written by the last sender, so it is the nearer parent.
    event.traceparent = meta.headers.get("traceparent").map(String::as_str).or(from_body).and_then(read_traceparent);
    Ok(event)
}

/// A structured event of which only the data is wanted.
#[derive(DeriveDeserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct WithData<T> {
    data: Option<Object<T>>,
}

/// Reads the data of an event from where its mode keeps it.
fn data<T, U>(
    envelope: &Envelope,
    text: &str,
    read: impl FnOnce(T, &At<'_>) -> Result<U, Violation>,
) -> Result<U, Fault>
where
    T: for<'de> Deserialize<'de>,
{
    let (object, at) = if envelope.binary {
        (Some(serde_json::from_str::<Object<T>>(text)?), At::Root(""))
    } else {
        (serde_json::from_str::<WithData<T>>(text)?.data, At::Root("/data"))
    };
    let object = object.ok_or_else(|| at.violation(Kind::Missing))?;
    let wire = object.0.map_err(|kind| at.violation(kind))?;
    Ok(read(wire, &at)?)
}

/// Reads data that has no envelope.
pub(super) fn read_bare<T, U>(
    body: &[u8],
    read: impl FnOnce(T, &At<'_>) -> Result<U, Violation>,
) -> Result<U, Violation>
where
    T: for<'de> Deserialize<'de>,
{
    let at = At::Root("");
    let text = readable(body).map_err(|kind| at.violation(kind))?;
    let object: Object<T> =
        serde_json::from_str(text).map_err(|_| at.violation(Kind::NotJson("not JSON, or a field is given twice")))?;
    read(object.0.map_err(|kind| at.violation(kind))?, &at)
}

/// Refuses a message for a reason found elsewhere, with what its envelope tells.
pub(super) fn rejection(reason: Reason, detail: String, body: &[u8], meta: &MessageMeta<'_>) -> Rejection {
    Envelope::gather(body, meta).0.reject(Fault::new(reason, detail), meta)
}
