//! `claimrisk simulate`: arguments to the simulator, and a report of what was written.
//!
//! Must never: remove a file of a folder it writes to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Output;
use super::output::{print, print_json, say, table};
use crate::domain::types::{Cents, Date};
use crate::error::CommandError;
use crate::simulate::{self, Options, Simulation, Written};

const EXAMPLES: &str = "\
The same arguments give the same bytes on every machine. truth.csv holds what is true of each
claim: its probability of denial under the payers' hidden rules. `publish` and `score` pass it over.

Examples:
  claimrisk simulate --claims 1000 --seed 1 --out world/
  claimrisk simulate --claims 5000 --seed 7 --out events/ --format ndjson --start 2026-01-01 --months 6
  claimrisk simulate --claims 200 --seed 3 --out world/ && claimrisk score world/";

/// How claims and remittances are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// 837 files, one per practice and claim type, and 835 files, one per payer.
    #[default]
    X12,
    /// CloudEvents, one per line.
    Ndjson,
}

/// What kind of world is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Hidden rules of every kind.
    #[default]
    Base,
    /// Further mechanisms that no factor of the scorecard describes.
    MisSpecified,
    /// Denials that depend on nothing: nothing can be learned.
    Noise,
}

/// What to simulate, and where to.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of claims; replacements, voids and secondary claims count too.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    claims: u32,
    /// Another seed gives another world.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Folder to write to; made when it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// First day on which claims are sent, 1980 to 2100.
    #[arg(long, value_name = "YYYY-MM-DD", default_value_t = Options::default().start, value_parser = start)]
    start: Date,
    /// Months over which claims are sent.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=24))]
    months: u32,
    /// What kind of world is simulated.
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn start(text: &str) -> Result<Date, String> {
    use chrono::Datelike as _;
    let date: Date = text.parse().map_err(|_| "a day is written YYYY-MM-DD".to_owned())?;
    if (1980..=2100).contains(&date.year()) { Ok(date) } else { Err("the year is 1980 to 2100".to_owned()) }
}

#[derive(Serialize)]
struct WrittenFile {
    name: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Report {
    folder: String,
    claims: usize,
    remittances: usize,
    total_charge_amount: String,
    total_payment_amount: String,
    files: Vec<WrittenFile>,
}

/// Simulates and writes.
///
/// # Errors
/// The folder cannot be written to.
pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let simulation = simulate::simulate(&options(arguments));
    let format = match arguments.format {
        Format::X12 => simulate::Format::X12,
        Format::Ndjson => simulate::Format::Ndjson,
    };
    let out = &arguments.out;
    let failed = |error: std::io::Error| CommandError::Failed(format!("{}: {error}", out.display()));
    let written = simulate::write_dir(&simulation, out, format).map_err(failed)?;
    let report = report(out, &simulation, &written).map_err(failed)?;
    match arguments.output {
        Output::Json => print_json(&report)?,
        Output::Table => print_table(&report)?,
    }
    let others = others(out, &written).map_err(failed)?;
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(String::as_str).collect();
        say(&format!("{} holds other files too, left as they were: {}", out.display(), names.join(", ")));
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    Options {
        claims: arguments.claims,
        seed: arguments.seed,
        start: arguments.start,
        months: arguments.months,
        scenario: match arguments.scenario {
            Scenario::Base => simulate::Scenario::Base,
            Scenario::MisSpecified => simulate::Scenario::MisSpecified,
            Scenario::Noise => simulate::Scenario::Noise,
        },
        ..Options::default()
    }
}

fn report(out: &Path, simulation: &Simulation, written: &Written) -> std::io::Result<Report> {
    let sized = |name: &String| {
        std::fs::metadata(out.join(name)).map(|data| WrittenFile { name: name.clone(), bytes: data.len() })
    };
    let charge: Cents = simulation.claims.iter().map(|one| one.claim.total_charge).sum();
    let payment: Cents = simulation.remittances.iter().map(|one| one.remittance.payment).sum();
    Ok(Report {
        folder: out.display().to_string(),
        claims: written.claims,
        remittances: written.remittances,
        total_charge_amount: charge.to_string(),
        total_payment_amount: payment.to_string(),
        files: written.files.iter().map(sized).collect::<std::io::Result<_>>()?,
    })
}

fn print_table(report: &Report) -> Result<(), CommandError> {
    let mut table = table(&["File", "Bytes"]);
    for file in &report.files {
        table.add_row([file.name.clone(), file.bytes.to_string()]);
    }
    print(&table.to_string())?;
    print(&format!(
        "{} claims charging {}, {} remitted claims paying {}, in {}",
        report.claims, report.total_charge_amount, report.remittances, report.total_payment_amount, report.folder
    ))
}

/// What else lies in the folder: remains of another run would be read together with this one.
fn others(out: &Path, written: &Written) -> std::io::Result<BTreeSet<String>> {
    let mut others = BTreeSet::new();
    for entry in std::fs::read_dir(out)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !written.files.contains(&name) {
            others.insert(name);
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &[&str]) -> Result<Arguments, clap::Error> {
        Line::try_parse_from([&["simulate"], line].concat()).map(|line| line.arguments)
    }

    #[test]
    fn arguments_become_the_simulators_options() {
        let read = arguments(&["--claims", "5", "--seed", "9", "--out", "x", "--start", "2026-02-01", "--months", "3"]);
        let expected = Options {
            claims: 5,
            seed: 9,
            start: Date::from_ymd_opt(2026, 2, 1).unwrap(),
            months: 3,
            ..Options::default()
        };
        assert_eq!(options(&read.unwrap()), expected);
    }

    #[test]
    fn what_the_simulator_would_bend_is_refused() {
        for line in [["--claims", "0"], ["--months", "25"], ["--start", "1979-12-31"], ["--start", "today"]] {
            assert!(arguments(&[&line[..], &["--out", "x"]].concat()).is_err(), "{line:?}");
        }
        assert!(arguments(&["--claims", "5"]).is_err(), "a folder is needed");
    }

    #[test]
    fn the_report_tells_every_file_and_what_was_there_before() {
        let dir = std::env::temp_dir().join(format!("claimrisk-simulate-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("old.837"), "x").unwrap();
        let simulation = simulate::simulate(&Options { claims: 20, ..Options::default() });
        let written = simulate::write_dir(&simulation, &dir, simulate::Format::X12).unwrap();
        let told = report(&dir, &simulation, &written).unwrap();
        let others = others(&dir, &written).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!((told.claims, told.files.len()), (20, written.files.len()));
        assert!(told.files.iter().all(|file| file.bytes > 0));
        assert_eq!(others, BTreeSet::from(["old.837".to_owned()]));
    }
}
