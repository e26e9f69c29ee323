//! The pipeline against the raw limits of its servers, in one run: figures, ratios between them, and the targets beside.
//!
//! Always on private servers that wait for the disk as in production. Speed decides no exit code: what a machine can do is
//! not an error. Must never: touch a server it did not start, or print anything of a claim.

mod model;
mod pipeline;
mod reader;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::Output;
use super::demo::fleet::Folder;
use super::output::{print, print_json, say, table};
use crate::config::Config;
use crate::error::CommandError;
use crate::servers::{Durability, Options, Servers};

/// Batches of one are measured over so many fewer claims: they take longer.
const FEWER: u32 = 10;
/// Events of a full batch.
const BATCH: u32 = 500;

/// `claimrisk bench`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  claimrisk bench\n  claimrisk bench --claims 5000 --rounds 1 --output json\n\n\
                        Build with --release: other builds are several times slower. Nothing else should be running.")]
pub(super) struct Arguments {
    /// Simulated claims that go through the pipeline.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1000..=200_000))]
    claims: u32,
    /// Each figure is the median of so many measurements.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Only what needs no server: reading X12, learning, scoring.
    #[arg(long)]
    no_servers: bool,
    /// `table` or `json`.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Read one X12 file and print how much memory that took: how the bench measures itself in a process of its own.
    #[arg(long, hide = true, value_name = "FILE")]
    read_file: Option<PathBuf>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Figure {
    /// Stable name, for comparing runs.
    name: &'static str,
    /// In plain words.
    what: &'static str,
    /// Median over the rounds; none where the system does not tell.
    value: Option<f64>,
    unit: &'static str,
    /// What is wanted, if anything is.
    target: Option<Target>,
}

/// A bound that a figure should keep.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::Below(bound) => value < bound,
        }
    }
}

/// Measures and prints.
pub(super) async fn run(arguments: &Arguments, config: Config) -> Result<(), CommandError> {
    if let Some(path) = &arguments.read_file {
        return print_json(&reader::read_file(path)?);
    }
    if cfg!(debug_assertions) {
        say("this is a debug build: its figures say little; build with --release");
    }
    let figures = tokio::select! {
        figures = measure(arguments, config) => figures?,
        // Dropping the measurement stops its servers and tells its worker to end.
        result = tokio::signal::ctrl_c() => {
            result?;
            return Err(CommandError::Failed("told to end in the middle; all that was started is stopped".to_owned()));
        }
    };
    match arguments.output {
        Output::Json => print_json(&figures),
        Output::Table => print(&shown(&figures)),
    }
}

async fn measure(arguments: &Arguments, config: Config) -> Result<Vec<Figure>, CommandError> {
    let folder = Folder::create("bench")?;
    let progress: crate::servers::Progress = Arc::new(|sentence: &str| say(sentence));
    let options = Options { durability: Durability::Real, progress: Some(progress), ..Options::default() };

    say(&format!("simulating {} claims", arguments.claims));
    let claims = arguments.claims;
    let blocking = |error: tokio::task::JoinError| CommandError::Failed(format!("a measurement failed: {error}"));
    let material =
        tokio::task::spawn_blocking(move || reader::Material::simulate(claims)).await.map_err(blocking)??;
    let material = Arc::new(material);

    say("reading X12 and scoring, on one core");
    let (shared, rounds) = (Arc::clone(&material), arguments.rounds);
    let alone = tokio::task::spawn_blocking(move || reader::measure(&shared, rounds)).await.map_err(blocking)?;
    say("learning, and scoring claims of six lines with what was learned, on one core");
    let shared = Arc::clone(&material);
    let learned = tokio::task::spawn_blocking(move || model::measure(&shared, rounds)).await.map_err(blocking)?;
    let memory = reader::memory(&material, folder.path()).await?;
    if arguments.no_servers {
        return Ok(figures(&alone, &learned, memory));
    }

    let servers = Servers::start(options).await?;
    let sizes = pipeline::Sizes { batch: BATCH, fewer: FEWER, rounds };
    let flow = pipeline::measure(&material, sizes, &config, &servers, folder.path()).await;
    servers.stop().await;
    let mut all = figures(&alone, &learned, memory);
    all.extend(through_servers(&flow?));
    Ok(all)
}

fn mib(kib: Option<u64>) -> Option<f64> {
    kib.map(|kib| kib as f64 / 1024.0)
}

/// What needs no server.
fn figures(alone: &reader::Figures, learned: &model::Figures, memory: Option<u64>) -> Vec<Figure> {
    let figure = |name, what, value, unit, target| Figure { name, what, value, unit, target };
    let mut all = vec![
        figure(
            "x12_read",
            "X12 837 into claims, one core",
            median(&alone.megabytes_per_second),
            "MB/s",
            Some(Target::AtLeast(100.0)),
        ),
        figure("x12_memory", "Peak memory, reading a 100 MB file", mib(memory), "MiB", Some(Target::Below(64.0))),
        figure("score", "Scoring, one core", median(&alone.score_micros), "us/claim", Some(Target::Below(50.0))),
    ];
    all.extend(learning(learned));
    all
}

/// What goes through RabbitMQ, PostgreSQL and Redis.
fn through_servers(flow: &pipeline::Figures) -> [Figure; 6] {
    let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under?).filter(|ratio| ratio.is_finite());
    let figure = |name, what, value, unit, target| Figure { name, what, value, unit, target };
    let (raw, batches, ones) = (median(&flow.raw), median(&flow.batches), median(&flow.ones));
    [
        figure("broker_raw", "RabbitMQ alone: take and acknowledge", raw, "claims/s", None),
        figure("pipeline", "One worker, batches of 500", batches, "claims/s", None),
        figure("pipeline_ones", "One worker, batches of 1", ones, "claims/s", None),
        figure(
            "batch_ratio",
            "Batches of 500 over batches of 1",
            ratio(batches, ones),
            "x",
            Some(Target::AtLeast(4.0)),
        ),
        figure("broker_ratio", "One worker over RabbitMQ alone", ratio(batches, raw), "x", None),
        figure("worker_memory", "Peak memory of the worker", mib(flow.peak_kib), "MiB", Some(Target::Below(200.0))),
    ]
}

/// What learning takes, and scoring with what was learned.
fn learning(learned: &model::Figures) -> [Figure; 4] {
    let figure = |name, what, value, unit, target| Figure { name, what, value, unit, target: Some(target) };
    let (mean, p99) = (median(&learned.mean_micros), median(&learned.p99_micros));
    let inexact = (learned.summed > 0).then_some(learned.inexact as f64);
    [
        figure(
            "learn",
            "Folding labels into a model, one core",
            median(&learned.labels_per_second),
            "labels/s",
            Target::AtLeast(100_000.0),
        ),
        figure("score_six_mean", "Scoring six lines, learned model: mean", mean, "us/claim", Target::Below(15.0)),
        figure("score_six_p99", "The same, 99 of 100 within", p99, "us/claim", Target::Below(50.0)),
        figure("score_inexact", "Scores whose parts do not sum exactly", inexact, "scores", Target::Below(1.0)),
    ]
}

/// The middle value, or the mean of the two middle ones; none of none.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

fn shown(figures: &[Figure]) -> String {
    let mut table = table(&["Figure", "Median", "Unit", "Wanted", ""]);
    for figure in figures {
        let value = figure.value.map_or("not told by the system".to_owned(), rounded);
        let wanted = match figure.target {
            Some(Target::AtLeast(bound)) => format!(">= {bound}"),
            Some(Target::Below(bound)) => format!("< {bound}"),
            None => String::new(),
        };
        let verdict = match (figure.target, figure.value) {
            (Some(target), Some(value)) if target.is_met(value) => "reached",
            (Some(_), Some(_)) => "missed",
            _ => "",
        };
        table.add_row([figure.what, &value, figure.unit, &wanted, verdict]);
    }
    table.to_string()
}

/// Three digits that mean something.
fn rounded(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 100.0, 1.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn figures_tell_ratios_and_whether_targets_are_met() {
        let alone = reader::Figures { megabytes_per_second: vec![250.0], score_micros: vec![51.0] };
        let flow =
            pipeline::Figures { raw: vec![8000.0], batches: vec![4000.0], ones: vec![500.0], peak_kib: Some(102_400) };
        let learned = model::Figures { labels_per_second: vec![2e5], ..model::Figures::default() };
        let mut figures = figures(&alone, &learned, Some(20_480));
        figures.extend(through_servers(&flow));
        let value = |name: &str| figures.iter().find(|figure| figure.name == name).unwrap().value;
        assert_eq!(value("batch_ratio"), Some(8.0));
        assert_eq!(value("broker_ratio"), Some(0.5));
        assert_eq!(value("x12_memory"), Some(20.0));
        let shown = shown(&figures);
        assert_eq!(shown.matches("reached").count(), 5, "{shown}");
        assert_eq!(shown.matches("missed").count(), 1, "{shown}");
    }

    #[test]
    fn a_ratio_to_nothing_is_not_told() {
        let flow = pipeline::Figures { raw: vec![], batches: vec![10.0], ones: vec![0.0], peak_kib: None };
        assert!(
            through_servers(&flow)
                .iter()
                .filter(|figure| figure.name.ends_with("ratio"))
                .all(|figure| figure.value.is_none())
        );
    }
}
