//! `claimrisk backtest`: how well the scores foretold the first answers of a history, without any server.
//!
//! Scores, baselines and intervals are those of `crate::backtest` and `crate::evaluate`; here they are read, printed and
//! written. Must never: print anything of a patient but the user's own control numbers, into the file asked for.

mod report;
mod steps;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Output;
use super::output::{csv_field, print, print_json, say};
use super::publish::input;
use super::read::Read;
use super::reference::{self, Given};
use crate::backtest::{Replay, Row, replay};
use crate::config::Config;
use crate::domain::types::Date;
use crate::error::CommandError;
use crate::history::{Gathering, History};
use crate::store;

const EXAMPLES: &str = "\
Claims are scored in the order in which they were sent, each with the model of that day; a remittance
teaches the model from the day after it came. Measured are answered claims old enough to have been
answered (--matured-days), from the middle of the history on (--from): before, the model was young.

Examples:
  claimrisk simulate --claims 30000 --months 24 --seed 7 --out world/
  claimrisk backtest world/ --truth world/truth.csv --steps world/steps.csv
  claimrisk backtest last-two-years/ --scores scores.csv --report report.html
  claimrisk backtest events.ndjson --from 2026-01-01 --output json
  claimrisk backtest --from-database --scores scores.csv

Beside the model stand simpler methods on the same claims: the base rate, the payer's rate, a fixed
weighted sum of rule points and rates, and a naive sum of log-odds. What a simulated history shows
holds for simulated payers; your own history is the judge.";

/// What to play again.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// 837 and 835 files, NDJSON event files, or folders of them; `-` is standard input.
    #[arg(value_name = "EVENTS", required_unless_present = "from_database")]
    paths: Vec<PathBuf>,
    /// Play the stored claims and remittances of the database instead of files.
    #[arg(long, conflicts_with_all = ["paths", "references"])]
    from_database: bool,
    /// Write each claim's score to this file (CSV), in the order of submission.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write a page (HTML) with the reliability diagram, the lift chart and all measures.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The `truth.csv` of a simulation: shows how near the model is to the best possible.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// The `steps.csv` of a simulation: shows how fast the model learns what a payer began to deny.
    #[arg(long, value_name = "FILE", requires = "truth")]
    steps: Option<PathBuf>,
    /// A reference table, for the rules that need one (`payer-rules=my-payers.csv`); may be given several times.
    #[arg(long = "reference", value_name = "KIND=FILE", value_parser = reference::given)]
    references: Vec<Given>,
    /// Measure claims submitted from this day on; without it, from the middle of the history on.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Date>,
    /// Measure claims at least so many days older than the last event.
    #[arg(long, value_name = "N", default_value_t = 90)]
    matured_days: u32,
    /// Rounds of the bootstrap that makes the intervals (95 %, by billing provider).
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How the measures are printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Claims between two words of progress.
const TELL_EVERY: usize = 50_000;

/// Plays the history again, measures, prints, writes.
///
/// # Errors
/// Bad data: files that cannot be read, or no answered claim to measure on.
pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<(), CommandError> {
    let truth = arguments.truth.as_deref().map(read_truth).transpose()?;
    let steps = arguments.steps.as_deref().map(steps::read).transpose()?;
    let history = if arguments.from_database { of_database(config)? } else { of_files(arguments, config)? };
    let replay = replay(&history, &config.levels, |done| {
        if done % TELL_EVERY == 0 {
            say(&format!("{done} claims scored"));
        }
    });
    say(&format!(
        "{} claims scored with {} models, {} labels learned",
        replay.rows.len(),
        replay.models,
        replay.labels
    ));
    if let Some(path) = &arguments.scores {
        write_scores(path, &replay).map_err(|error| cannot_write(path, &error))?;
    }
    let options = report::Options {
        from: arguments.from,
        matured_days: arguments.matured_days,
        rounds: arguments.rounds,
        truth: truth.as_ref(),
        steps: steps.as_ref(),
    };
    let measured = report::measure(&replay, &options).ok_or_else(|| {
        CommandError::BadData(
            "nothing to measure: no answered claim is old enough; give a longer history, an earlier --from or fewer \
             --matured-days"
                .to_owned(),
        )
    })?;
    if let Some(path) = &arguments.report {
        std::fs::write(path, measured.page()).map_err(|error| cannot_write(path, &error))?;
    }
    match arguments.output {
        Output::Json => print_json(&measured),
        Output::Table => print(&measured.table()),
    }
}

fn of_files(arguments: &Arguments, config: &Config) -> Result<History, CommandError> {
    let tables = reference::read(&arguments.references)?;
    let mut gathering = Gathering::with_tables(Arc::new(tables));
    let mut read = Read::default();
    let sources = input::sources(&arguments.paths)?;
    read.all(&sources, config, &mut |event, _| {
        gathering.take(event);
        true
    })?;
    let history = gathering.finish();
    let (claims, remittances, linked) = (history.claims, history.remittances, history.linked);
    say(&format!("{claims} claims, {remittances} remitted claims, {linked} of them linked"));
    read.verdict(claims)?;
    Ok(history)
}

fn of_database(config: &Config) -> Result<History, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let history = runtime.block_on(async {
        let pool = store::pool(config)?;
        let tables = Arc::new(store::reference::load_all(&pool).await?);
        Ok::<_, CommandError>(store::labels::history(&pool, &tables).await?)
    })?;
    say(&format!("{} submissions stored, {} of them answered", history.claims, history.linked));
    Ok(history)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("{}: cannot be written: {error}", path.display()))
}

fn write_scores(path: &Path, replay: &Replay) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(
        out,
        "practice_id,patient_control_number,submitted_at,p,overall_score,risk_level,model_version,initial_outcome"
    )?;
    for row in &replay.rows {
        writeln!(
            out,
            "{},{},{},{:.6},{}.{},{},{},{}",
            csv_field(&row.key.0),
            csv_field(&row.key.1),
            row.submitted.format("%Y-%m-%dT%H:%M:%S%.fZ"),
            row.p,
            row.overall_tenths / 10,
            row.overall_tenths % 10,
            row.level.as_str(),
            row.model_version,
            row.outcome.map_or("", crate::domain::outcome::Outcome::as_str),
        )?;
    }
    out.flush()
}

/// What is true of a submission.
struct Truth {
    /// The true probability of a denial.
    p: f64,
    /// The likeliest cause of one.
    mechanism: String,
}

/// The truth by practice, control number, payer's place and frequency.
type Truths = HashMap<(String, String, String, String), Truth>;

fn truth_of<'a>(truths: &'a Truths, row: &Row) -> Option<&'a Truth> {
    let (practice, number, place, frequency) = &row.key;
    truths.get(&(practice.clone(), number.clone(), place.code().to_owned(), frequency.clone()))
}

fn read_truth(path: &Path) -> Result<Truths, CommandError> {
    let bad = |what: String| CommandError::BadData(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let mut lines = text.lines();
    if lines.next() != Some(crate::simulate::TRUTH_HEADER) {
        return Err(bad("line 1: not the truth.csv of `claimrisk simulate`".to_owned()));
    }
    let row = |(place, line): (usize, &str)| {
        let fields: Vec<&str> = line.split(',').collect();
        let p = fields.get(5).and_then(|text| text.parse::<f64>().ok());
        let text = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
        p.map(|p| ((text(0), text(1), text(2), text(3)), Truth { p, mechanism: text(8) }))
            .ok_or_else(|| bad(format!("line {}: the sixth field is no probability", place + 2)))
    };
    lines.enumerate().map(row).collect()
}
