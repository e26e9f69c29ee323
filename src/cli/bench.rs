//! The pipeline against the raw limits of its servers, in one run: figures, ratios between them, and the targets beside.
//!
//! Always on private servers that wait for the disk as in production. Speed decides no exit code: what a machine can do is
//! not an error. Must never: touch a server it did not start, or print anything of a claim.

mod figures;
mod latency;
mod messages;
mod model;
mod processor;
mod raw;
mod reader;
mod reads;
mod rounds;
mod site;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Output;
use super::demo::fleet::Folder;
use super::output::{print, print_json, say};
use crate::config::Config;
use crate::error::CommandError;
use crate::servers::{Durability, Options, Servers};
use figures::{Figure, Samples};
use site::Site;

/// `claimrisk bench`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  claimrisk bench\n  claimrisk bench --claims 5000 --rounds 1 --output json > now.json\n  \
                        claimrisk bench --compare now.json\n  claimrisk bench --only claims,raw\n\n\
                        Build with --release: other builds are several times slower. Nothing else should be running."
)]
pub(super) struct Arguments {
    /// Simulated claims that go through the pipeline.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1000..=200_000))]
    claims: u32,
    /// Each figure is the median of so many measurements.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// So many claims are stored first in a database of their own, with their remittances; then one worker and pages of
    /// the API are measured on top of them. 5,000,000 take about 40 GB of disk.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20_000_000))]
    stored: u32,
    /// Only these parts, and what they need: separated by commas.
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Only what needs no server: the same as `--only alone`.
    #[arg(long, conflicts_with_all = ["only", "stored"])]
    no_servers: bool,
    /// Show the values of an earlier run beside (a file with what `--output json` printed), and new over old.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// `table` or `json`.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Read one X12 file and print how much memory that took: how the bench measures itself in a process of its own.
    #[arg(long, hide = true, value_name = "FILE")]
    read_file: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reading X12, scoring, learning: no server.
    Alone,
    /// The broker alone, and publishing.
    Broker,
    /// One worker on claims, and its processor time.
    Claims,
    /// PostgreSQL and Redis alone, with the same rows and values.
    Raw,
    /// One worker on remittances, and its processor time.
    Remittances,
    /// One worker on both at once.
    Mixed,
    /// One worker with batches of one.
    Ones,
    /// How long after its publishing a claim is readable, at a quarter, half and three quarters of the claims' rate.
    Latency,
    /// Reads through the API and of Redis alone.
    Reads,
    /// On top of many stored claims: see `--stored`.
    Stored,
}

/// The parts that are measured.
struct Parts(Vec<Part>);

impl Parts {
    fn of(arguments: &Arguments) -> Result<Self, CommandError> {
        let mut parts = match arguments.only.as_slice() {
            _ if arguments.no_servers => vec![Part::Alone],
            [] => Part::value_variants().to_vec(),
            only => only.to_vec(),
        };
        // These need what the claims' run stored, or its rate.
        if [Part::Raw, Part::Remittances, Part::Latency, Part::Reads].iter().any(|part| parts.contains(part)) {
            parts.push(Part::Claims);
        }
        if arguments.only.contains(&Part::Stored) && arguments.stored == 0 {
            return Err(CommandError::Usage("--only stored: tell how many claims with --stored N".to_owned()));
        }
        match arguments.stored {
            0 => parts.retain(|part| *part != Part::Stored),
            _ => parts.push(Part::Stored),
        }
        Ok(Self(parts))
    }

    fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    fn need_servers(&self) -> bool {
        self.0.iter().any(|part| *part != Part::Alone)
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
    // Before anything is measured: a wrong file is told at once.
    let earlier = arguments.compare.as_deref().map(figures::read_earlier).transpose()?;
    let mut figures = tokio::select! {
        figures = measure(arguments, config) => figures?,
        // Dropping the measurement stops its servers and tells its worker to end.
        result = tokio::signal::ctrl_c() => {
            result?;
            return Err(CommandError::Failed("told to end in the middle; all that was started is stopped".to_owned()));
        }
    };
    if let Some(earlier) = &earlier {
        figures::compare(&mut figures, earlier);
    }
    match arguments.output {
        Output::Json => print_json(&figures),
        Output::Table => print(&figures::shown(&figures, earlier.is_some())),
    }
}

async fn measure(arguments: &Arguments, config: Config) -> Result<Vec<Figure>, CommandError> {
    let parts = Parts::of(arguments)?;
    let folder = Folder::create("bench")?;
    let (claims, rounds) = (arguments.claims, arguments.rounds);
    say(&format!("simulating {claims} claims"));
    let material = blocking(move || reader::Material::simulate(claims)).await??;
    let material = Arc::new(material);
    let mut samples = Samples::default();
    if parts.has(Part::Alone) {
        say("reading X12, scoring, learning and scoring with what was learned, on one core");
        let shared = Arc::clone(&material);
        samples = blocking(move || {
            reader::measure(&shared, rounds, &mut samples);
            model::measure(&shared, rounds, &mut samples);
            samples
        })
        .await?;
        let kib = reader::memory(&material, folder.path()).await?;
        samples.add_told("x12_memory", kib.map(|kib| kib as f64 / 1024.0));
    }
    if !parts.need_servers() {
        return samples.figures();
    }
    let progress: crate::servers::Progress = Arc::new(|sentence: &str| say(sentence));
    let options = Options { durability: Durability::Real, progress: Some(progress), ..Options::default() };
    let servers = Servers::start(options).await?;
    let site = Site::new(&servers, &config, folder.path());
    let measured = async {
        for round in 1..=rounds {
            rounds::round(&site, &material, &parts, round, &mut samples).await?;
        }
        if parts.has(Part::Stored) {
            stored::measure(&site, &material, arguments.stored, rounds, &mut samples).await?;
        }
        Ok::<_, CommandError>(())
    };
    let measured = measured.await;
    servers.stop().await;
    measured?;
    samples.figures()
}

/// Runs what fills a core, beside the tasks that wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| CommandError::Failed(format!("a measurement failed: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parts(line: &str) -> Result<Vec<Part>, CommandError> {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        let parts = Parts::of(&Line::try_parse_from(words).unwrap().arguments)?;
        Ok(Part::value_variants().iter().copied().filter(|part| parts.has(*part)).collect())
    }

    #[test]
    fn a_part_brings_what_it_needs_and_nothing_else() {
        assert_eq!(parts("--only alone").unwrap(), [Part::Alone]);
        assert_eq!(parts("--no-servers").unwrap(), [Part::Alone]);
        assert_eq!(parts("--only latency,broker").unwrap(), [Part::Broker, Part::Claims, Part::Latency]);
        assert_eq!(parts("--only claims --stored 9").unwrap(), [Part::Claims, Part::Stored]);
        assert_eq!(parts("").unwrap().len(), Part::value_variants().len() - 1);
        assert!(parts("--only stored").is_err());
    }
}
