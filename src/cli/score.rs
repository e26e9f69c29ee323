//! `claimrisk score`: the worklist of the claims in files, without any server.
//!
//! The scores are those that a worker gives the same claims. Patient control numbers are shown: they are the user's own,
//! on the user's own terminal. Must never: show anything else of a patient, or learn from what is to be scored.

mod worklist;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use self::worklist::{Row, Worklist};
use super::output::{print, print_json, say, table};
use super::publish::input;
use super::read::Read;
use super::reference::{self, Given};
use super::{Output, Paths};
use crate::config::Config;
use crate::domain::reference::ReferenceTables;
use crate::domain::rules::Facts;
use crate::domain::score::{Level, Snapshot, score};
use crate::error::CommandError;
use crate::history::{Gathering, History};
use crate::wire::Payload;

/// Reasons that the table shows of each claim.
const REASONS: usize = 3;

const EXAMPLES: &str = "\
The list is ordered by expected loss: score x charge. The score is the probability, in percent,
that the payer's first answer denies the claim, a line of it, or a material part of it. Each reason
says what raises it; the fix says what to mend and how many points that takes off.

With --history, earlier claims and their remittances are linked in memory, and the model learns from
them what the fleet of workers would: the scores are those a worker gives after the same history.
What the history sent before for the same patient counts too: a service sent twice, a visit within a
surgery's package, a claim that was decided already. Without it none of that is judged.
What each payer did with lines of the same procedure is shown beside the reasons (\"97140: 38 of 102
denied\").

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
    /// Earlier claims and remittances (837, 835, NDJSON events, folders of them) to learn from; stands after PATH.
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
    let history = gather(&arguments.history, &tables, config, &mut read)?;
    let snapshot = history.as_ref().map_or_else(Snapshot::expert, |history| Snapshot::of(&history.learn()));
    let mut worklist = Worklist::new(arguments.limit);
    read.all(&sources, config, &mut |event, file| {
        let Payload::Claim(claim) = &event.payload else { return false };
        let earlier = history.as_ref().and_then(|history| history.earlier(claim, (event.time, &event.id)));
        let facts = Facts::of(claim, event.time.date_naive()).with_tables(Arc::clone(&tables)).with_earlier(earlier);
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

fn gather(
    paths: &[PathBuf],
    tables: &Arc<ReferenceTables>,
    config: &Config,
    read: &mut Read,
) -> Result<Option<History>, CommandError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut gathering = Gathering::with_tables(Arc::clone(tables));
    read.all(&input::sources(paths)?, config, &mut |event, _| {
        gathering.take(event);
        true
    })?;
    Ok(Some(gathering.finish()))
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
