//! `claimrisk dead-letters`: what lies in the dead-letter queue, and why.
//!
//! Messages are looked at and left: nothing is acknowledged, and closing the channel gives all of them back. Must never:
//! print a body, or a header that this program did not write itself.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use serde::Serialize;

use super::Output;
use super::output::{print, print_json, table};
use super::publish::is_not_found;
use crate::broker;
use crate::config::Config;
use crate::error::CommandError;
use crate::topology::DEAD_QUEUE;
use crate::wire::{EventType, Reason};

/// Messages looked at in one run; all of them are out of the queue until the command ends.
const LOOKED_AT: usize = 10_000;
/// Characters of a text that are shown.
const SHOWN: usize = 200;

const EXAMPLES: &str = "\
Bodies are never printed. An event that could not be read stands here with the reason and the
place in the event that is at fault; mend it at its publisher and publish it again.

Examples:
  claimrisk dead-letters list
  claimrisk dead-letters list --reason schema_invalid --limit 20
  claimrisk dead-letters list --output json | jq .by_reason";

/// What to do with the dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List dead letters with their reasons, and leave them where they are.
    List(List),
}

/// Which dead letters to list.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct List {
    /// How many to list.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only those with this reason.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<Reason>,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}

/// Runs an action.
///
/// # Errors
/// RabbitMQ cannot be reached, or has no such queue.
pub(super) async fn run(action: &Action, config: &Config) -> Result<(), CommandError> {
    let Action::List(list) = action;
    let connection = broker::connect(&config.amqp_url, "dead-letters").await?;
    let channel = connection.create_channel().await?;
    let listing = look(&channel, list).await;
    // Gives back what was looked at, as losing the connection would.
    if let Err(error) = connection.close(200, "done".into()).await {
        tracing::debug!(error = broker::describe(&error), "connection was gone already");
    }
    let listing = listing.map_err(|error| {
        if is_not_found(&error) {
            CommandError::Failed(format!("the broker has no queue {DEAD_QUEUE}; run `claimrisk topology apply`"))
        } else {
            CommandError::from(error)
        }
    })?;
    match list.output {
        Output::Json => print_json(&listing),
        Output::Table => print_table(&listing, list),
    }
}

/// A dead letter as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DeadLetter {
    /// Place in the queue, from 1.
    number: usize,
    reason: &'static str,
    detail: Option<String>,
    event_type: &'static str,
    event_id: Option<String>,
    source: Option<String>,
    bytes: usize,
    died_at: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Listing {
    queue: &'static str,
    /// Messages in the queue, whatever their reason.
    messages: u32,
    looked_at: usize,
    /// Of those looked at.
    by_reason: BTreeMap<&'static str, u64>,
    dead_letters: Vec<DeadLetter>,
}

async fn look(channel: &Channel, list: &List) -> Result<Listing, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(DEAD_QUEUE.into(), passive, FieldTable::default()).await?;
    let mut listing = Listing { queue: DEAD_QUEUE, messages: queue.message_count(), ..Listing::default() };
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    while listing.dead_letters.len() < limit && listing.looked_at < LOOKED_AT {
        let got = channel.basic_get(DEAD_QUEUE.into(), BasicGetOptions { no_ack: false }).await?;
        let Some(BasicGetMessage { delivery, .. }) = got else { break };
        let (routing_key, size) = (delivery.routing_key.as_str(), delivery.data.len());
        listing.add(&delivery.properties, routing_key, size, list.reason);
    }
    Ok(listing)
}

impl Listing {
    fn add(&mut self, properties: &BasicProperties, routing_key: &str, bytes: usize, wanted: Option<Reason>) {
        self.looked_at += 1;
        let death = Death::of(properties.headers().as_ref());
        *self.by_reason.entry(death.reason.as_str()).or_default() += 1;
        if wanted.is_some_and(|wanted| wanted != death.reason) {
            return;
        }
        let shown = |text: &Option<ShortString>| text.as_ref().map(|text| plain(text.as_str()));
        self.dead_letters.push(DeadLetter {
            number: self.looked_at,
            reason: death.reason.as_str(),
            detail: death.detail,
            event_type: EventType::parse(routing_key).map_or("unknown", EventType::as_str),
            event_id: shown(properties.message_id()),
            source: shown(properties.app_id()),
            bytes,
            died_at: death.at,
        });
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
fn plain(text: &str) -> String {
    text.chars().take(SHOWN).map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

fn print_table(listing: &Listing, list: &List) -> Result<(), CommandError> {
    if listing.looked_at == 0 {
        return print("there are no dead letters");
    }
    let mut counts = table(&["Reason", "Messages"]);
    for (reason, count) in &listing.by_reason {
        counts.add_row([(*reason).to_owned(), count.to_string()]);
    }
    print(&counts.to_string())?;
    let mut letters = table(&["#", "Reason", "Detail", "Event", "Event id", "Source", "Bytes", "Died at"]);
    for letter in &listing.dead_letters {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        letters.add_row([
            letter.number.to_string(),
            letter.reason.to_owned(),
            text(&letter.detail),
            letter.event_type.to_owned(),
            text(&letter.event_id),
            text(&letter.source),
            letter.bytes.to_string(),
            text(&letter.died_at),
        ]);
    }
    if !listing.dead_letters.is_empty() {
        print(&letters.to_string())?;
    }
    let (shown, looked_at, messages) = (listing.dead_letters.len(), listing.looked_at, listing.messages);
    let of = list.reason.map(|reason| format!(" with reason {}", reason.as_str())).unwrap_or_default();
    print(&format!("{shown} listed{of}; {looked_at} of {messages} in {DEAD_QUEUE} looked at, all left there"))
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

    #[test]
    fn a_filter_still_counts_every_reason() {
        let mut listing = Listing::default();
        for reason in ["malformed", "too_large", "malformed"] {
            let table = headers(&[("x-reason", string(reason))]);
            let properties = BasicProperties::default().with_headers(table).with_message_id("id\u{1b}[2J".into());
            listing.add(&properties, "claim.submitted", 7, Some(Reason::Malformed));
        }
        assert_eq!(listing.by_reason, BTreeMap::from([("malformed", 2), ("too_large", 1)]));
        let numbers: Vec<usize> = listing.dead_letters.iter().map(|letter| letter.number).collect();
        assert_eq!(numbers, [1, 3]);
        let first = &listing.dead_letters[0];
        assert_eq!((first.event_type, first.bytes), ("claim.submitted", 7));
        assert_eq!(first.event_id.as_deref(), Some("id\u{fffd}[2J"), "no escape reaches the terminal");
    }

    #[test]
    fn an_unknown_reason_on_the_command_line_names_the_known_ones() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            list: List,
        }
        let refused = Line::try_parse_from(["list", "--reason", "bad"]).err().unwrap().to_string();
        assert!(refused.contains("schema_invalid"), "{refused}");
        assert_eq!(Line::try_parse_from(["list"]).unwrap().list.limit, 100);
    }
}
