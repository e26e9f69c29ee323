//! A dead letter as it is looked at: why it died, when, whose it was; and which of them are meant.
//!
//! Must never read a body, or take over a header that this program did not write itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde::Serialize;

use crate::topology::REPLAYED_HEADER;
use crate::wire::{EventType, Reason};

/// Characters of a text that are shown.
const SHOWN: usize = 200;

/// Which dead letters are meant; without any of these, all.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only those with this reason.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(super) reason: Option<Reason>,
    /// Only those of this publisher (CloudEvents `source`).
    #[arg(long, value_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// Only the event with this id.
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Only those that died at least so long ago, such as 90m, 12h, 3d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) older_than: Option<Duration>,
    /// Only those that died at most so long ago.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) newer_than: Option<Duration>,
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with s, m, h or d, such as 90m, 12h, 3d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

impl Filter {
    /// Whether nothing is asked for, so that all are meant.
    pub(super) fn is_empty(&self) -> bool {
        let Self { reason, source, id, older_than, newer_than } = self;
        reason.is_none() && source.is_none() && id.is_none() && older_than.is_none() && newer_than.is_none()
    }

    /// Whether a letter is meant. One that does not tell its age is neither old nor new.
    pub(super) fn takes(&self, letter: &Letter, now: DateTime<Utc>) -> bool {
        let age = letter.age(now);
        self.reason.is_none_or(|reason| letter.reason == reason.as_str())
            && self.source.as_ref().is_none_or(|source| letter.source.as_ref() == Some(source))
            && self.id.as_ref().is_none_or(|id| letter.event_id.as_ref() == Some(id))
            && self.older_than.is_none_or(|least| age.is_some_and(|age| age >= least))
            && self.newer_than.is_none_or(|most| age.is_some_and(|age| age <= most))
    }
}

/// A dead letter as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Letter {
    /// Place in the queue, from 1.
    pub(super) number: usize,
    pub(super) reason: &'static str,
    pub(super) detail: Option<String>,
    pub(super) event_type: &'static str,
    pub(super) event_id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) bytes: usize,
    pub(super) died_at: Option<String>,
    /// How often it was replayed before.
    pub(super) replayed: u32,
}

impl Letter {
    pub(super) fn of(number: usize, properties: &BasicProperties, routing_key: &str, bytes: usize) -> Self {
        let headers = properties.headers().as_ref();
        let death = Death::of(headers);
        let shown = |text: &Option<ShortString>| text.as_ref().map(|text| plain(text.as_str()));
        let replayed = headers.and_then(|table| text_of(table.inner().get(REPLAYED_HEADER)?));
        Self {
            number,
            reason: death.reason.as_str(),
            detail: death.detail,
            event_type: EventType::parse(routing_key).map_or("unknown", EventType::as_str),
            event_id: shown(properties.message_id()),
            source: shown(properties.app_id()),
            bytes,
            died_at: death.at,
            replayed: replayed.and_then(|count| count.parse().ok()).unwrap_or(0),
        }
    }

    fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let died: DateTime<Utc> = self.died_at.as_ref()?.parse().ok()?;
        Some((now - died).to_std().unwrap_or_default())
    }
}

/// Why and when a message died.
#[derive(Debug, PartialEq, Eq)]
struct Death {
    reason: Reason,
    detail: Option<String>,
    at: Option<String>,
}

impl Death {
    /// The worker's own words first; where the broker gave the message up, what it noted.
    fn of(headers: Option<&FieldTable>) -> Self {
        let header = |name: &str| headers.and_then(|table| text_of(table.inner().get(name)?));
        if let Some(reason) = header("x-reason").as_deref().and_then(Reason::parse) {
            return Self { reason, detail: header("x-detail"), at: header("x-died-at") };
        }
        let first = headers.and_then(|table| match table.inner().get("x-death")?.as_array()?.as_slice() {
            [AMQPValue::FieldTable(first), ..] => Some(first),
            _ => None,
        });
        let noted = |name: &str| first.and_then(|table| text_of(table.inner().get(name)?));
        let why = header("x-first-death-reason").or_else(|| noted("reason"));
        let queue = header("x-first-death-queue").or_else(|| noted("queue"));
        let at = first.and_then(|table| match table.inner().get("time")? {
            AMQPValue::Timestamp(seconds) => chrono::DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0),
            _ => None,
        });
        Self {
            reason: if why.as_deref() == Some("delivery_limit") { Reason::DeliveryLimit } else { Reason::Internal },
            detail: Some(match (why, queue) {
                (Some(why), Some(queue)) => format!("given up by the broker: {why} in {queue}"),
                (Some(why), None) => format!("given up by the broker: {why}"),
                (None, _) => "nothing says why".to_owned(),
            }),
            at: at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        }
    }
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(plain(&String::from_utf8_lossy(text.as_bytes()))),
        AMQPValue::ShortString(text) => Some(plain(text.as_str())),
        _ => None,
    }
}

/// What came from outside, fit for a terminal: without control characters, cut short.
pub(super) fn plain(text: &str) -> String {
    text.chars().take(SHOWN).map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use lapin::types::FieldArray;

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn headers(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert(ShortString::from(*name), value.clone());
        }
        table
    }

    #[test]
    fn the_workers_reason_stands_before_the_brokers() {
        let table = headers(&[
            ("x-reason", string("too_large")),
            ("x-detail", string("9 bytes")),
            ("x-died-at", string("2026-11-02T00:00:00.000Z")),
            ("x-first-death-reason", string("expired")),
        ]);
        let death = Death::of(Some(&table));
        assert_eq!((death.reason, death.detail.as_deref()), (Reason::TooLarge, Some("9 bytes")));
        assert_eq!(death.at.as_deref(), Some("2026-11-02T00:00:00.000Z"));
    }

    #[test]
    fn what_the_broker_gave_up_tells_its_reason_queue_and_time() {
        let death = |why: &str| {
            let entry = headers(&[
                ("reason", string(why)),
                ("queue", string("claimrisk.claims")),
                ("time", AMQPValue::Timestamp(1_793_577_600)),
            ]);
            let table =
                headers(&[("x-death", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(entry)])))]);
            Death::of(Some(&table))
        };
        let limit = death("delivery_limit");
        assert_eq!(limit.reason, Reason::DeliveryLimit);
        assert_eq!(limit.detail.as_deref(), Some("given up by the broker: delivery_limit in claimrisk.claims"));
        assert!(limit.at.is_some_and(|at| at.starts_with("2026-")));
        assert_eq!(death("rejected").reason, Reason::Internal);
    }

    #[test]
    fn a_forged_or_missing_reason_is_internal() {
        let forged = headers(&[("x-reason", string("John Smith")), ("x-detail", string("born 1980"))]);
        for table in [Some(&forged), None] {
            let death = Death::of(table);
            assert_eq!((death.reason, death.detail.as_deref()), (Reason::Internal, Some("nothing says why")));
        }
    }

    fn letter(reason: &str, source: &str, died_at: &str) -> Letter {
        let table = headers(&[("x-reason", string(reason)), ("x-died-at", string(died_at))]);
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_app_id(source.into())
            .with_message_id("id\u{1b}[2J".into());
        Letter::of(1, &properties, "claim.submitted", 7)
    }

    #[test]
    fn a_letter_is_meant_when_all_that_is_asked_for_fits() {
        let now: DateTime<Utc> = "2026-11-02T12:00:00Z".parse().unwrap();
        let letter = letter("malformed", "urn:a", "2026-11-02T09:00:00.000Z");
        assert_eq!((letter.event_type, letter.bytes, letter.replayed), ("claim.submitted", 7, 0));
        assert_eq!(letter.event_id.as_deref(), Some("id\u{fffd}[2J"), "no escape reaches the terminal");
        let takes = |arguments: &[&str]| {
            let line = Line::try_parse_from([&["x"], arguments].concat()).unwrap();
            line.filter.takes(&letter, now)
        };
        for meant in [
            &[][..],
            &["--reason", "malformed", "--source", "urn:a"],
            &["--older-than", "3h"],
            &["--newer-than", "180m", "--older-than", "1h"],
        ] {
            assert!(takes(meant), "{meant:?}");
        }
        for other in [
            &["--reason", "too_large"][..],
            &["--source", "urn:b"],
            &["--id", "7"],
            &["--older-than", "1d"],
            &["--newer-than", "2h"],
            &["--reason", "malformed", "--source", "urn:b"],
        ] {
            assert!(!takes(other), "{other:?}");
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    #[test]
    fn what_is_no_reason_or_age_is_refused_with_what_is() {
        let refused = |arguments: [&str; 3]| Line::try_parse_from(arguments).err().unwrap().to_string();
        assert!(refused(["x", "--reason", "bad"]).contains("schema_invalid"));
        for age in ["3", "h", "3w", "1.5h", "99999999999d"] {
            assert!(refused(["x", "--older-than", age]).contains("90m, 12h, 3d"), "{age}");
        }
    }
}
