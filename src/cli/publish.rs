//! `claimrisk publish`: files to events on the broker, with confirms, a bounded number at a time.
//!
//! Must never: hold a file whole, count an event as published before its confirm, or stop at a bad part: it is told
//! with its place and reason, and the rest is published.

pub(in crate::cli) mod input;
mod progress;

use std::time::{Duration, Instant};

use clap::Args;
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use serde::Serialize;

use self::input::{Format, Found, Reading, Source};
use self::progress::Progress;
use super::output::{print, print_json, table};
use super::{Output, Paths};
use crate::broker::{self, Outgoing, PublishError, Publisher};
use crate::config::Config;
use crate::error::CommandError;
use crate::flow::split::message_of;
use crate::topology::EVENTS_EXCHANGE;
use crate::wire::{Event, Payload, Reason, Rejection, decode_json, event_id_from_content};

/// Events that are on their way at once.
const BATCH_EVENTS: usize = 500;
/// Bytes that are on their way at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often what was not taken is sent again.
const ATTEMPTS: u32 = 3;
/// Troubles that are shown; the others are counted.
const SHOWN: usize = 50;

const EXAMPLES: &str = "\
What a file holds is told by its content, not by its name. An X12 file becomes one event per
claim (837) and per remitted claim (835); the ids of these events are made from their content, so
publishing a file twice changes nothing. In a folder, files of other kinds are passed over; a file
that is named has to be readable.

Examples:
  claimrisk publish monday.837 monday.835
  claimrisk publish inbox/                       # all files below, hidden ones apart
  claimrisk publish --dry-run inbox/             # read and report; no broker is needed
  claimrisk publish --practice PR01 claims.837   # every claim goes to practice PR01
  zcat old.ndjson.gz | claimrisk publish -       # one CloudEvent per line
  claimrisk publish --output json inbox/ | jq .totals

Exit codes: 65 when a part could not be read (the rest was published), 69 when RabbitMQ is
unreachable, 75 when it takes no more for now, 1 when it lacks the queues (run
`claimrisk topology apply`).";

/// What to publish, and how.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    paths: Paths,
    /// Practice that all events belong to, whatever they say themselves; changes the ids of the events.
    #[arg(long, value_name = "ID", value_parser = practice_id)]
    practice: Option<String>,
    /// Read and report, but publish nothing; no broker is needed.
    #[arg(long)]
    dry_run: bool,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn practice_id(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a practice id is a text without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// What became of one file, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Report {
    path: String,
    format: Format,
    claims: u64,
    remittances: u64,
    acknowledgements: u64,
    published: u64,
    withheld: u64,
    errors: u64,
    warnings: u64,
    bytes: u64,
}

impl Report {
    fn new(path: String) -> Self {
        Self {
            path,
            format: Format::Unknown,
            claims: 0,
            remittances: 0,
            acknowledgements: 0,
            published: 0,
            withheld: 0,
            errors: 0,
            warnings: 0,
            bytes: 0,
        }
    }

    fn events(&self) -> u64 {
        self.claims + self.remittances + self.acknowledgements
    }

    fn add(&mut self, other: &Self) {
        self.claims += other.claims;
        self.remittances += other.remittances;
        self.acknowledgements += other.acknowledgements;
        self.published += other.published;
        self.withheld += other.withheld;
        self.errors += other.errors;
        self.warnings += other.warnings;
        self.bytes += other.bytes;
    }

    fn count(&mut self, payload: &Payload) {
        match payload {
            Payload::Claim(_) => self.claims += 1,
            Payload::Remittance(_) => self.remittances += 1,
            Payload::Acknowledgement(_) => self.acknowledgements += 1,
        }
    }

    fn cells(&self) -> Vec<String> {
        let numbers = [
            self.claims,
            self.remittances,
            self.acknowledgements,
            self.published,
            self.withheld,
            self.errors,
            self.warnings,
            self.bytes,
        ];
        numbers.iter().map(ToString::to_string).collect()
    }
}

/// Publishes files.
///
/// # Errors
/// Bad data where something could not be read; otherwise whatever kept the events from the broker.
pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<(), CommandError> {
    let sources = input::sources(&arguments.paths.paths)?;
    let mut publishing = Publishing {
        arguments,
        config,
        publisher: None,
        messages: Vec::new(),
        owners: Vec::new(),
        bytes: 0,
        reports: Vec::new(),
        published: 0,
        progress: Progress::new(sources.iter().map(Source::size).sum()),
    };
    if !arguments.dry_run {
        check_exchange(config).await?;
        publishing.publisher = Some(Publisher::new(config.amqp_url.clone(), "publish"));
    }
    let started = Instant::now();
    let result = publishing.all(&sources).await;
    if let Some(publisher) = &publishing.publisher {
        publisher.close().await;
    }
    publishing.progress.finish();
    publishing.print()?;
    publishing.say_sum(started.elapsed());
    result?;
    publishing.verdict()
}

/// Asks for the exchange, so that a wrong address or a bare broker is told before anything is read.
async fn check_exchange(config: &Config) -> Result<(), CommandError> {
    let away = |error: lapin::Error| {
        let what = broker::describe(&error);
        CommandError::Unavailable(format!(
            "RabbitMQ cannot be reached ({what}); check AMQP_URL. `make demo` starts servers of its own; a broker of \
             yours needs `claimrisk topology apply` once. `--dry-run` needs none"
        ))
    };
    let connection = broker::connect(&config.amqp_url, "publish check").await.map_err(away)?;
    let channel = connection.create_channel().await.map_err(away)?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let asked = channel.exchange_declare(EVENTS_EXCHANGE.into(), ExchangeKind::Topic, passive, FieldTable::default());
    let answer = asked.await;
    if let Err(error) = connection.close(200, "checked".into()).await {
        tracing::debug!(error = broker::describe(&error), "connection was gone already");
    }
    answer.map_err(|error| if is_not_found(&error) { no_topology() } else { away(error) })
}

/// Whether the broker says that what was asked for does not exist.
pub(in crate::cli) fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(protocol) => {
            matches!(protocol.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
        }
        _ => false,
    }
}

fn no_topology() -> CommandError {
    CommandError::Failed("the broker lacks claimrisk's exchanges or queues; run `claimrisk topology apply`".to_owned())
}

/// A run of the command.
struct Publishing<'a> {
    arguments: &'a Arguments,
    config: &'a Config,
    /// None in a dry run.
    publisher: Option<Publisher>,
    messages: Vec<Outgoing>,
    /// Which report each message counts in.
    owners: Vec<usize>,
    bytes: usize,
    reports: Vec<Report>,
    /// Events confirmed so far.
    published: u64,
    progress: Progress,
}

impl Publishing<'_> {
    async fn all(&mut self, sources: &[Source]) -> Result<(), CommandError> {
        for source in sources {
            self.file(source).await?;
        }
        self.flush().await
    }

    async fn file(&mut self, source: &Source) -> Result<(), CommandError> {
        let mut reading = Reading::open(source, self.config.max_event_bytes)?;
        let at = self.reports.len();
        self.reports.push(Report::new(source.name()));
        let mut found = Vec::new();
        loop {
            let more = reading.step(&mut found);
            for one in found.drain(..) {
                self.take(one, at, &mut reading.findings).await?;
            }
            self.progress.tell(reading.findings.bytes, self.published);
            if !more? {
                break;
            }
        }
        self.progress.file_done(reading.findings.bytes);
        self.end_file(source, at, &reading);
        Ok(())
    }

    fn end_file(&mut self, source: &Source, at: usize, reading: &Reading) {
        let (findings, format) = (&reading.findings, reading.format());
        let passed_over = format == Format::Unknown && !source.named;
        if let Some(report) = self.reports.get_mut(at) {
            report.format = format;
            report.bytes = findings.bytes;
            if !passed_over {
                report.withheld = findings.withheld;
                report.errors = findings.errors;
                report.warnings = findings.warnings;
            }
        }
        if passed_over {
            self.progress.say(&format!("{}: passed over: neither X12 nor events", source.name()));
            return;
        }
        self.progress.troubles(&source.name(), &findings.troubles, SHOWN);
    }

    /// Takes one event: what the workers could not read is not sent to them.
    async fn take(&mut self, found: Found, at: usize, findings: &mut input::Findings) -> Result<(), CommandError> {
        let place = found.place;
        let message = match self.message(found) {
            Ok((message, payload)) => {
                if let Some(report) = self.reports.get_mut(at) {
                    report.count(&payload);
                }
                message
            }
            Err(rejection) => {
                findings.withheld += 1;
                findings.trouble(|| format!("{place}: {rejection}"));
                return Ok(());
            }
        };
        if self.publisher.is_none() {
            return Ok(());
        }
        self.bytes += message.body.len();
        self.messages.push(message);
        self.owners.push(at);
        if self.messages.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// The message of an event. A line of a file travels as it is, unless its practice is changed.
    fn message(&self, found: Found) -> Result<(Outgoing, Payload), Rejection> {
        let event = match &self.arguments.practice {
            Some(practice) => moved(found.event, practice),
            None => found.event,
        };
        let mut message = message_of(&event);
        match found.line {
            Some(line) if self.arguments.practice.is_none() => message.body = line,
            // Written by this program: read back, as a worker will, so that nothing is sent that it must refuse.
            _ => drop(decode_json(&message.body)?),
        }
        let (size, max) = (message.body.len(), self.config.max_event_bytes);
        if size > max {
            let detail = format!("{size} bytes as an event, at most {max} are taken");
            return Err(Rejection {
                reason: Reason::TooLarge,
                detail,
                source: None,
                id: None,
                event_type: Some(event.event_type),
            });
        }
        Ok((message, event.payload))
    }

    /// Sends what is gathered and waits for the confirms. What was sent twice is a duplicate to the workers.
    async fn flush(&mut self) -> Result<(), CommandError> {
        let Some(publisher) = &self.publisher else { return Ok(()) };
        self.bytes = 0;
        let (mut messages, mut owners) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.owners));
        let mut attempt = 0;
        while !messages.is_empty() {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_secs(attempt.into())).await;
            }
            attempt += 1;
            let answers = publisher.publish(&messages).await;
            let mut left: (Vec<Outgoing>, Vec<usize>) = Default::default();
            let mut worst = None;
            for ((message, owner), answer) in messages.into_iter().zip(owners).zip(answers) {
                match answer {
                    Ok(()) => {
                        self.published += 1;
                        if let Some(report) = self.reports.get_mut(owner) {
                            report.published += 1;
                        }
                    }
                    Err(PublishError::Unroutable) => return Err(no_topology()),
                    Err(error) => {
                        left.0.push(message);
                        left.1.push(owner);
                        worst = Some(error);
                    }
                }
            }
            (messages, owners) = left;
            if let Some(error) = worst.filter(|_| attempt >= ATTEMPTS) {
                return Err(not_taken(&error));
            }
        }
        Ok(())
    }

    fn print(&self) -> Result<(), CommandError> {
        let totals = self.totals();
        if self.arguments.output == Output::Json {
            return print_json(
                &serde_json::json!({ "files": self.reports, "totals": Totals::of(&totals, &self.reports) }),
            );
        }
        let mut table = table(&[
            "File",
            "Format",
            "Claims",
            "Remitted",
            "Acknowledged",
            "Published",
            "Withheld",
            "Errors",
            "Warnings",
            "Bytes",
        ]);
        for report in &self.reports {
            let head = [report.path.clone(), report.format.as_str().to_owned()];
            table.add_row(head.into_iter().chain(report.cells()));
        }
        if self.reports.len() > 1 {
            let head = [totals.path.clone(), String::new()];
            table.add_row(head.into_iter().chain(totals.cells()));
        }
        print(&table.to_string())
    }

    fn totals(&self) -> Report {
        let mut totals = Report::new("all files".to_owned());
        for report in &self.reports {
            totals.add(report);
        }
        totals
    }

    fn say_sum(&self, took: Duration) {
        let totals = self.totals();
        let files = self.reports.len();
        let (events, seconds) = (totals.events(), took.as_secs_f64());
        let untold = totals.errors.saturating_sub(self.progress.told());
        if untold > 0 {
            self.progress.say(&format!("{untold} further parts that could not be read are not shown"));
        }
        self.progress.say(&if self.arguments.dry_run {
            format!("dry run: {events} events in {files} files could be published; nothing was")
        } else {
            format!("{} of {events} events in {files} files published in {seconds:.1} s", totals.published)
        });
    }

    /// Bad data when anything could not be read, though the rest was published.
    fn verdict(&self) -> Result<(), CommandError> {
        let totals = self.totals();
        let files = self.reports.len();
        if self.reports.iter().all(|report| report.format == Format::Unknown) {
            let what = if files == 1 { "it is" } else { "they are" };
            return Err(CommandError::BadData(format!("nothing could be read: {what} neither X12 nor NDJSON events")));
        }
        if totals.errors == 0 {
            return Ok(());
        }
        let rest = if self.arguments.dry_run { "the rest can be published" } else { "the rest was published" };
        Err(CommandError::BadData(format!(
            "{} errors; {} claims, remitted claims and events could not be read and were kept back; {rest}",
            totals.errors, totals.withheld
        )))
    }
}

/// The sums over all files.
#[derive(Serialize)]
struct Totals {
    files: usize,
    claims: u64,
    remittances: u64,
    acknowledgements: u64,
    published: u64,
    withheld: u64,
    errors: u64,
    warnings: u64,
    bytes: u64,
}

impl Totals {
    fn of(sum: &Report, reports: &[Report]) -> Self {
        Self {
            files: reports.len(),
            claims: sum.claims,
            remittances: sum.remittances,
            acknowledgements: sum.acknowledgements,
            published: sum.published,
            withheld: sum.withheld,
            errors: sum.errors,
            warnings: sum.warnings,
            bytes: sum.bytes,
        }
    }
}

fn not_taken(error: &PublishError) -> CommandError {
    let again = "publish the same files again later: what was taken already changes nothing";
    match error {
        PublishError::Unroutable => no_topology(),
        PublishError::Refused => CommandError::TryAgain(format!("{error}; {again}")),
        PublishError::Unknown(why) => CommandError::Unavailable(format!("RabbitMQ gives no confirm ({why}); {again}")),
    }
}

/// The event as one of another practice: other content, hence another id.
fn moved(mut event: Event, practice: &str) -> Event {
    let practice = Some(practice.to_owned());
    match &mut event.payload {
        Payload::Claim(claim) => claim.practice_id = practice,
        Payload::Remittance(remittance) => remittance.practice_id = practice,
        Payload::Acknowledgement(acknowledgement) => acknowledgement.practice_id = practice,
    }
    let id = event_id_from_content(&event.payload, event.time);
    let traceparent = event.traceparent.take();
    Event { traceparent, ..Event::new(&event.source, &id, event.time, event.payload) }
}

#[cfg(test)]
#[path = "publish/tests.rs"]
mod tests;
