//! Showing, replaying and discarding dead letters: each one taken, dealt with and let go before the next, so that memory
//! holds one.
//!
//! Must never: let a letter go before the broker has its copy or the audit log its entry; show a body to somebody without
//! a token of the scope `admin`; replay what keeps coming back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use lapin::Channel;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::AMQPValue;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use super::super::audit::operator;
use super::super::output::print;
use super::letter::{Filter, Letter};
use crate::api::{Refusal, Scope, Tokens};
use crate::broker::{Outgoing, Publisher, within_limit};
use crate::config::Config;
use crate::error::CommandError;
use crate::store::{self, audit};
use crate::topology::{DEAD_QUEUE, EVENTS_EXCHANGE, REPLAYED_HEADER};

/// How often a letter may be replayed before a person must look at why it comes back.
const REPLAYS: u32 = 3;
/// Characters of a reason for discarding.
const LONGEST_REASON: usize = 200;

/// Which dead letter to show.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// Its place in the queue, as `list` numbers them.
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Print the body, too: patient data. It asks for CLAIMRISK_CLIENT_TOKEN with the scope admin, and is written into the audit
    /// log.
    #[arg(long)]
    reveal: bool,
}

/// Which dead letters to send again.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Without --yes it only tells which ones. A letter that was replayed three times and came back stays, \
                        unless --again is given.\n\nExamples:\n  claimrisk dead-letters replay --reason delivery_limit\n  \
                        claimrisk dead-letters replay --source urn:clearinghouse:acme --newer-than 12h --yes"
)]
pub struct Replay {
    #[command(flatten)]
    filter: Filter,
    /// How many, at the most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How many per second, at the most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Also those that came back three times.
    #[arg(long)]
    again: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Which dead letters to throw away.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Without --yes it only tells which ones. What is discarded is gone; the audit log keeps its id, its \
                        reason and yours.\n\nExample:\n  claimrisk dead-letters discard --source urn:test --older-than 30d \
                        --because \"test data\" --yes"
)]
pub struct Discard {
    #[command(flatten)]
    filter: Filter,
    /// All of them: needed where nothing else says which.
    #[arg(long)]
    all: bool,
    /// How many, at the most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Why; never anything about a person.
    #[arg(long, value_name = "TEXT", value_parser = because)]
    because: String,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

fn because(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_REASON || text.contains(char::is_control) {
        return Err(format!("a line of up to {LONGEST_REASON} characters"));
    }
    Ok(text.to_owned())
}

/// Takes the next letter out of the queue, until the connection is closed or it is acknowledged.
pub(super) async fn next(channel: &Channel, number: usize) -> Result<Option<(Letter, Delivery)>, lapin::Error> {
    let get = channel.basic_get(DEAD_QUEUE.into(), BasicGetOptions { no_ack: false });
    let Some(BasicGetMessage { delivery, .. }) = within_limit(get).await? else { return Ok(None) };
    let letter = Letter::of(number, &delivery.properties, delivery.routing_key.as_str(), delivery.data.len());
    Ok(Some((letter, delivery)))
}

/// Who acts: the name of the token, where tokens are in use and one is shown, else this machine's user.
fn actor(config: &Config) -> Result<Arc<str>, CommandError> {
    match (&config.api_tokens_file, &config.client_token) {
        (Some(_), Some(_)) => admin(config),
        _ => Ok(operator()),
    }
}

/// The name of a token that has the scope `admin`.
fn admin(config: &Config) -> Result<Arc<str>, CommandError> {
    let (Some(tokens), Some(token)) = (Tokens::configured(config)?, &config.client_token) else {
        return Err(CommandError::Config(
            "this shows patient data: set CLAIMRISK_API_TOKENS_FILE, and CLAIMRISK_CLIENT_TOKEN to a token with the scope \
             admin"
                .to_owned(),
        ));
    };
    tokens.owner(token.expose(), Scope::Admin).map_err(|refusal| {
        CommandError::Config(match refusal {
            Refusal::Scope(_) => "client_token lacks the scope admin".to_owned(),
            _ => "client_token is not in the file of tokens".to_owned(),
        })
    })
}

/// Writes down what is about to be done with a letter.
async fn note(
    pool: &PgPool,
    config: &Config,
    who: &Arc<str>,
    action: &'static str,
    taken: (&Letter, &Delivery),
    because: Option<&str>,
) -> Result<(), CommandError> {
    let (letter, delivery) = taken;
    let hash: String = Sha256::digest(&delivery.data).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut note = audit::Note::new(who, action, "dead_letter", None);
    note.details = json!({ "event_id": letter.event_id, "source": letter.source, "reason": letter.reason,
        "died_at": letter.died_at, "body_sha256": hash, "because": because });
    Ok(audit::append(pool, &[note], config.database_timeout).await?)
}

/// Shows one letter.
pub(super) async fn show(channel: &Channel, show: &Show, config: &Config, waiting: u32) -> Result<(), CommandError> {
    // Whoever may not see the body is told before anything is touched.
    let who = show.reveal.then(|| admin(config)).transpose()?;
    let wanted = usize::try_from(show.number).unwrap_or(usize::MAX);
    let mut number = 0;
    let (letter, delivery) = loop {
        number += 1;
        match next(channel, number).await? {
            Some(taken) if number == wanted => break taken,
            Some(_) => {}
            None => {
                return Err(CommandError::Failed(format!("there is no dead letter {wanted}, but {waiting} in all")));
            }
        }
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let content_type = delivery.properties.content_type().as_ref().map(|kind| super::letter::plain(kind.as_str()));
    for (name, value) in [
        ("reason", letter.reason.to_owned()),
        ("detail", text(&letter.detail)),
        ("event", letter.event_type.to_owned()),
        ("event id", text(&letter.event_id)),
        ("source", text(&letter.source)),
        ("content type", text(&content_type)),
        ("bytes", letter.bytes.to_string()),
        ("died at", text(&letter.died_at)),
        ("replayed", letter.replayed.to_string()),
    ] {
        print(&format!("{name:<13} {value}"))?;
    }
    if let Some(who) = who {
        note(&store::pool(config)?, config, &who, "reveal", (&letter, &delivery), None).await?;
        print("")?;
        print(&String::from_utf8_lossy(&delivery.data))?;
    }
    Ok(())
}

/// Sends letters again.
pub(super) async fn replay(
    channel: &Channel,
    replay: &Replay,
    config: &Config,
    waiting: u32,
) -> Result<(), CommandError> {
    let (pool, who) = (store::pool(config)?, actor(config)?);
    let publisher = Publisher::new(config.amqp_url.clone(), "replay");
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / replay.rate);
    let mut told = Told::default();
    // What comes in meanwhile, perhaps because of this, is not looked at.
    for number in 1..=waiting as usize {
        if told.done >= replay.limit {
            break;
        }
        let Some((letter, delivery)) = next(channel, number).await? else { break };
        if !replay.filter.takes(&letter, Utc::now()) {
            continue;
        }
        if letter.replayed >= REPLAYS && !replay.again {
            told.came_back += 1;
            continue;
        }
        told.count(&letter);
        if replay.yes {
            ticks.tick().await;
            note(&pool, config, &who, "replay", (&letter, &delivery), None).await?;
            if let Err(error) = publisher.publish_one(copy(&letter, &delivery)).await {
                return Err(CommandError::TryAgain(format!(
                    "{} replayed, then one was not taken: {error}",
                    told.done - 1
                )));
            }
            let_go(&delivery).await?;
        }
    }
    publisher.close().await;
    told.print(if replay.yes { "replayed" } else { "would be replayed; say --yes to do it" })
}

/// Throws letters away.
pub(super) async fn discard(
    channel: &Channel,
    discard: &Discard,
    config: &Config,
    waiting: u32,
) -> Result<(), CommandError> {
    if discard.filter.is_empty() != discard.all {
        return Err(CommandError::Usage(
            "say which ones (--reason, --source, --id, --older-than), or --all".to_owned(),
        ));
    }
    let (pool, who) = (store::pool(config)?, actor(config)?);
    let mut told = Told::default();
    for number in 1..=waiting as usize {
        if told.done >= discard.limit {
            break;
        }
        let Some((letter, delivery)) = next(channel, number).await? else { break };
        if !discard.filter.takes(&letter, Utc::now()) {
            continue;
        }
        told.count(&letter);
        if discard.yes {
            note(&pool, config, &who, "discard", (&letter, &delivery), Some(&discard.because)).await?;
            let_go(&delivery).await?;
        }
    }
    told.print(if discard.yes { "discarded" } else { "would be discarded; say --yes to do it" })
}

/// The event again, as its publisher sent it, and how often that was.
fn copy(letter: &Letter, delivery: &Delivery) -> Outgoing {
    let properties = &delivery.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let headers = properties.headers().iter().flat_map(|table| table.inner().iter()).filter_map(|(name, value)| {
        let lower = name.as_str().to_ascii_lowercase();
        let kept = lower.starts_with("cloudevents") || lower == "traceparent" || lower == "timestamp_in_ms";
        let value = match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            AMQPValue::ShortString(text) => text.as_str().to_owned(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            _ => return None,
        };
        kept.then(|| (name.as_str().to_owned(), value))
    });
    let mut headers: BTreeMap<String, String> = headers.collect();
    headers.insert(REPLAYED_HEADER.to_owned(), (letter.replayed + 1).to_string());
    Outgoing {
        exchange: EVENTS_EXCHANGE,
        routing_key: delivery.routing_key.as_str().to_owned(),
        body: delivery.data.clone(),
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        kind: text(properties.kind()),
        app_id: text(properties.app_id()),
        timestamp: *properties.timestamp(),
        headers,
        mandatory: true,
    }
}

async fn let_go(delivery: &Delivery) -> Result<(), CommandError> {
    match within_limit(delivery.acker.ack(BasicAckOptions::default())).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(CommandError::TryAgain("the connection was lost: the last letter stayed in the queue".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is told at the end.
#[derive(Default)]
struct Told {
    done: u32,
    by_reason: BTreeMap<&'static str, u32>,
    came_back: u32,
}

impl Told {
    fn count(&mut self, letter: &Letter) {
        self.done += 1;
        *self.by_reason.entry(letter.reason).or_default() += 1;
    }

    fn print(&self, what: &str) -> Result<(), CommandError> {
        for (reason, count) in &self.by_reason {
            print(&format!("{reason}: {count}"))?;
        }
        if self.came_back > 0 {
            print(&format!("{} came back {REPLAYS} times and stay; look at why, then say --again", self.came_back))?;
        }
        print(&format!("{} {what}", self.done))
    }
}
