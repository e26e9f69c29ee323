//! `claimrisk score`: the worklist of the claims in files, without any server.
//!
//! The scores are those that a worker gives the same claims. Patient control numbers are shown: they are the user's own,
//! on the user's own terminal. Must never: show anything else of a patient, or let the history change a score.

mod history;
mod worklist;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use self::history::{Gathering, History};
use self::worklist::{Row, Worklist};
use super::output::{print, print_json, say, table};
use super::publish::input::{self, Format, Found, Reading, Source};
use super::reference::{self, Given};
use super::{Output, Paths};
use crate::config::Config;
use crate::domain::rules::Facts;
use crate::domain::score::{Level, Snapshot, score};
use crate::error::CommandError;
use crate::wire::{Event, Payload};

/// Parts that could not be read and are shown; the others are counted.
const SHOWN: usize = 50;
/// Reasons that the table shows of each claim.
const REASONS: usize = 3;

const EXAMPLES: &str = "\
The list is ordered by expected loss: score x charge. The score is the probability, in percent,
that the payer's first answer denies the claim, a line of it, or a material part of it. Each reason
says what raises it; the fix says what to mend and how many points that takes off.

With --history, earlier claims and their remittances are linked in memory, and what each payer did
with lines of the same procedure is shown beside the reasons (\"97140: 38 of 102 denied\"). It is
evidence for the reader: the score does not change by it.

Examples:
  claimrisk score tomorrow.837
  claimrisk score outbox/ --limit 20
  claimrisk score tomorrow.837 --history last-year/
  claimrisk score tomorrow.837 --reference payer-rules=my-payers.csv --reference mue=mue.csv
  claimrisk score outbox/ --limit 0 --output json | jq '.[] | select(.blocking)'

Exit code 65 when a file that is named, or all of a folder, cannot be read, or holds no claim.";

/// What to score.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    paths: Paths,
    /// Earlier claims and remittances (837, 835, NDJSON events, folders of them), shown as evidence; stands after PATH.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    history: Vec<PathBuf>,
    /// A reference table, for the rules that need one (`payer-rules=my-payers.csv`); may be given several times.
    #[arg(long = "reference", value_name = "KIND=FILE", value_parser = reference::given)]
    references: Vec<Given>,
    /// How many claims to list; 0 lists all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Scores the claims of files and prints them.
///
/// # Errors
/// Bad data: a named file that cannot be read, or no claim at all.
pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<(), CommandError> {
    let sources = input::sources(&arguments.paths.paths)?;
    let mut read = Read::default();
    let tables = Arc::new(reference::read(&arguments.references)?);
    let history = gather(&arguments.history, config, &mut read)?;
    let (snapshot, mut worklist) = (Snapshot::expert(), Worklist::new(arguments.limit));
    read.all(&sources, config, &mut |event, file| {
        let Payload::Claim(claim) = &event.payload else { return false };
        let facts = Facts::of(claim, event.time.date_naive()).with_tables(Arc::clone(&tables));
        let score = score(claim, &facts, &snapshot, &config.levels);
        worklist.take(&event, claim, &score, file, history.as_ref());
        true
    })?;
    let claims = worklist.claims();
    if claims > 0 {
        let rows = worklist.rows();
        match arguments.output {
            Output::Json => print_json(&rows)?,
            Output::Table => print_table(&rows, history.is_some())?,
        }
        say_sum(&worklist, rows.len(), &read, history.as_ref());
    }
    read.verdict(claims)
}

fn gather(paths: &[PathBuf], config: &Config, read: &mut Read) -> Result<Option<History>, CommandError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut gathering = Gathering::default();
    read.all(&input::sources(paths)?, config, &mut |event, _| {
        gathering.take(event);
        true
    })?;
    Ok(Some(gathering.finish()))
}

/// What was read so far, and what could not be.
#[derive(Default)]
struct Read {
    shown: usize,
    errors: u64,
    withheld: u64,
    /// Events that are no claims.
    others: u64,
    /// Files named on the command line in which nothing could be read.
    unread: Vec<String>,
}

impl Read {
    /// Hands every event of the files to `take`, which tells whether it had a use for it.
    fn all(
        &mut self,
        sources: &[Source],
        config: &Config,
        take: &mut dyn FnMut(Event, &str) -> bool,
    ) -> Result<(), CommandError> {
        for source in sources {
            let name = source.name();
            let mut reading = Reading::open(source, config.max_event_bytes)?;
            let mut found: Vec<Found> = Vec::new();
            loop {
                let more = reading.step(&mut found)?;
                self.others += found.drain(..).map(|one| u64::from(!take(one.event, &name))).sum::<u64>();
                if !more {
                    break;
                }
            }
            self.end_file(source, &reading);
        }
        Ok(())
    }

    fn end_file(&mut self, source: &Source, reading: &Reading) {
        let (name, findings) = (source.name(), &reading.findings);
        if reading.format() == Format::Unknown && !source.named {
            say(&format!("{name}: passed over: neither X12 nor events"));
            return;
        }
        for trouble in findings.troubles.iter().take(SHOWN.saturating_sub(self.shown)) {
            say(&format!("{name}: {trouble}"));
            self.shown += 1;
        }
        self.errors += findings.errors;
        self.withheld += findings.withheld;
        if reading.format() == Format::Unknown || (findings.events == 0 && findings.errors > 0) {
            self.unread.push(name);
        }
    }

    fn verdict(&self, claims: usize) -> Result<(), CommandError> {
        if !self.unread.is_empty() {
            let names = self.unread.join(", ");
            return Err(CommandError::BadData(format!("no claims could be read: {names}")));
        }
        if claims == 0 {
            let what = if self.others > 0 {
                "the files hold remittances or acknowledgements only"
            } else {
                "there are no claims in the files"
            };
            return Err(CommandError::BadData(format!("nothing to score: {what}; give 837 files or claim events")));
        }
        Ok(())
    }
}

fn print_table(rows: &[Row], with_history: bool) -> Result<(), CommandError> {
    let mut header = vec!["Claim", "Payer", "Service", "Charge", "Score", "Level", "Expected loss", "Why", "Best fix"];
    if with_history {
        header.push("Earlier lines");
    }
    let mut table = table(&header);
    for row in rows {
        let mut cells = vec![
            row.patient_control_number.clone(),
            row.payer.name.clone().unwrap_or_else(|| row.payer.payer_id.clone()),
            row.service_date.map(|day| day.to_string()).unwrap_or_default(),
            row.total_charge_amount.clone(),
            format!("{:.1}", row.score.overall_score),
            row.level_words(),
            row.expected_loss.clone(),
            row.reasons(REASONS),
            row.best_fix(),
        ];
        if with_history {
            cells.push(row.earlier());
        }
        table.add_row(cells);
    }
    print(&table.to_string())
}

fn say_sum(worklist: &Worklist, listed: usize, read: &Read, history: Option<&History>) {
    let sums = worklist.sums();
    let levels: Vec<String> = Level::ALL
        .iter()
        .rev()
        .map(|level| format!("{} {}", sums.by_level.get(level).copied().unwrap_or_default(), level.as_str()))
        .collect();
    let older = worklist.read() - worklist.claims();
    if older > 0 {
        say(&format!("{} claims read; {older} of them are older or equal versions of others", worklist.read()));
    }
    say(&format!(
        "{} claims: {}; charges {}, expected loss {}; {listed} listed",
        worklist.claims(),
        levels.join(", "),
        sums.charge,
        sums.expected_loss
    ));
    if let Some(history) = history {
        let (claims, remittances, linked) = (history.claims, history.remittances, history.linked);
        say(&format!("history: {claims} claims, {remittances} remitted claims, {linked} of them linked"));
    }
    if read.errors > 0 {
        say(&format!("{} errors; {} claims and remitted claims could not be read", read.errors, read.withheld));
    }
}

#[cfg(test)]
#[path = "score/tests.rs"]
mod tests;
