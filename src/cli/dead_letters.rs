//! `claimrisk dead-letters`: what lies in the dead-letter queue, and why; sending it again, or throwing it away.
//!
//! What is only looked at is left: nothing is acknowledged, and closing the connection gives all of it back. Must never:
//! print a body that nobody with the right to it has asked for, or a header that this program did not write itself.

mod act;
mod letter;

use std::collections::BTreeMap;

use chrono::Utc;
use clap::{Args, Subcommand};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde::Serialize;

use super::Output;
use super::output::{print, print_json, table};
use super::publish::is_not_found;
use crate::broker::{self, within_limit};
use crate::config::Config;
use crate::error::CommandError;
use crate::topology::DEAD_QUEUE;
use letter::{Filter, Letter};

/// Messages looked at in one run; all of them are out of the queue until the command ends.
const LOOKED_AT: usize = 10_000;

const EXAMPLES: &str = "\
Bodies are never printed. An event that could not be read stands here with the reason and the
place in the event that is at fault; mend it at its publisher and publish it again.

Examples:
  claimrisk dead-letters list
  claimrisk dead-letters list --reason schema_invalid --limit 20
  claimrisk dead-letters list --older-than 3d --output json | jq .by_source";

/// What to do with the dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List dead letters with their reasons, and leave them where they are.
    List(List),
    /// Show one dead letter; its body only to somebody with the right to it.
    Show(act::Show),
    /// Send dead letters again, as their publishers sent them.
    Replay(act::Replay),
    /// Throw dead letters away.
    Discard(act::Discard),
}

/// Which dead letters to list.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct List {
    /// How many to list.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    filter: Filter,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs an action.
///
/// # Errors
/// RabbitMQ cannot be reached, or has no such queue.
pub(super) async fn run(action: &Action, config: &Config) -> Result<(), CommandError> {
    let connection = broker::connect(&config.amqp_url, "dead-letters").await?;
    let done = act_on(&connection, action, config).await;
    // Gives back what was looked at, as losing the connection would.
    if let Err(error) = within_limit(connection.close(200, "done".into())).await {
        tracing::debug!(error = broker::describe(&error), "connection was gone already");
    }
    done
}

async fn act_on(connection: &lapin::Connection, action: &Action, config: &Config) -> Result<(), CommandError> {
    let channel = within_limit(connection.create_channel()).await?;
    let waiting = waiting(&channel).await?;
    match action {
        Action::List(list) => {
            let listing = look(&channel, list, waiting).await?;
            match list.output {
                Output::Json => print_json(&listing),
                Output::Table => print_table(&listing),
            }
        }
        Action::Show(show) => act::show(&channel, show, config, waiting).await,
        Action::Replay(replay) => act::replay(&channel, replay, config, waiting).await,
        Action::Discard(discard) => act::discard(&channel, discard, config, waiting).await,
    }
}

/// Messages in the queue.
async fn waiting(channel: &Channel) -> Result<u32, CommandError> {
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let queue = within_limit(channel.queue_declare(DEAD_QUEUE.into(), passive, FieldTable::default())).await;
    let queue = queue.map_err(|error| {
        if is_not_found(&error) {
            CommandError::Failed(format!("the broker has no queue {DEAD_QUEUE}; run `claimrisk topology apply`"))
        } else {
            CommandError::from(error)
        }
    })?;
    Ok(queue.message_count())
}

#[derive(Debug, Default, Serialize)]
struct Listing {
    queue: &'static str,
    /// Messages in the queue, whatever their reason.
    messages: u32,
    looked_at: usize,
    /// Of those looked at.
    by_reason: BTreeMap<&'static str, u64>,
    /// Of those looked at, by publisher.
    by_source: BTreeMap<String, u64>,
    dead_letters: Vec<Letter>,
}

async fn look(channel: &Channel, list: &List, waiting: u32) -> Result<Listing, lapin::Error> {
    let mut listing = Listing { queue: DEAD_QUEUE, messages: waiting, ..Listing::default() };
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    while listing.dead_letters.len() < limit && listing.looked_at < LOOKED_AT {
        let Some((letter, _)) = act::next(channel, listing.looked_at + 1).await? else { break };
        listing.add(letter, &list.filter);
    }
    Ok(listing)
}

impl Listing {
    fn add(&mut self, letter: Letter, filter: &Filter) {
        self.looked_at += 1;
        *self.by_reason.entry(letter.reason).or_default() += 1;
        *self.by_source.entry(letter.source.clone().unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
        if filter.takes(&letter, Utc::now()) {
            self.dead_letters.push(letter);
        }
    }
}

fn print_table(listing: &Listing) -> Result<(), CommandError> {
    if listing.looked_at == 0 {
        return print("there are no dead letters");
    }
    let mut counts = table(&["Reason", "Messages"]);
    for (reason, count) in &listing.by_reason {
        counts.add_row([(*reason).to_owned(), count.to_string()]);
    }
    print(&counts.to_string())?;
    let mut publishers = table(&["Publisher", "Messages"]);
    for (source, count) in &listing.by_source {
        publishers.add_row([source.clone(), count.to_string()]);
    }
    print(&publishers.to_string())?;
    let mut letters = table(&["#", "Reason", "Detail", "Event", "Event id", "Source", "Bytes", "Died at", "Replayed"]);
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
            letter.replayed.to_string(),
        ]);
    }
    if !listing.dead_letters.is_empty() {
        print(&letters.to_string())?;
    }
    let (shown, looked_at, messages) = (listing.dead_letters.len(), listing.looked_at, listing.messages);
    print(&format!("{shown} listed; {looked_at} of {messages} in {DEAD_QUEUE} looked at, all left there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;
    use lapin::types::AMQPValue;

    #[test]
    fn a_filter_still_counts_every_reason_and_publisher() {
        let filter = Filter { reason: Some(crate::wire::Reason::Malformed), ..Filter::default() };
        let mut listing = Listing::default();
        for (number, reason) in (1..).zip(["malformed", "too_large", "malformed"]) {
            let mut table = FieldTable::default();
            table.insert("x-reason".into(), AMQPValue::LongString(reason.into()));
            let properties = BasicProperties::default().with_headers(table).with_app_id("urn:a".into());
            listing.add(Letter::of(number, &properties, "claim.submitted", 7), &filter);
        }
        assert_eq!(listing.by_reason, BTreeMap::from([("malformed", 2), ("too_large", 1)]));
        assert_eq!(listing.by_source, BTreeMap::from([("urn:a".to_owned(), 3)]));
        let numbers: Vec<usize> = listing.dead_letters.iter().map(|letter| letter.number).collect();
        assert_eq!(numbers, [1, 3]);
    }
}
