//! The command line: what commands there are, how settings reach them, and which exit code tells what happened.
//!
//! Data goes to stdout, logs and progress to stderr. One file per command that is more than a few lines.

mod admin;
mod audit;
mod backtest;
mod bench;
mod calibration;
mod challengers;
mod dead_letters;
mod demo;
mod load;
mod output;
mod publish;
mod read;
mod reference;
mod score;
mod simulate;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::app::{self, Role};
use crate::config::{self, Config, SETTINGS};
use crate::error::CommandError;
use crate::telemetry;

/// Scores insurance claims for their risk of denial, and learns from the remittances that come back.
///
/// First steps: `claimrisk demo` shows everything at once on servers of its own; `claimrisk score FILE.837` needs no
/// server at all. Settings are flags, environment variables, or keys of a TOML file; `claimrisk check-config` shows what
/// is in force and where it came from.
#[derive(Parser)]
#[command(name = "claimrisk", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// Settings file (TOML). Flags and environment variables win over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Action,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 65 bad input data, 69 a server is unreachable, \
75 try again later, 78 bad configuration.";

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[derive(Subcommand)]
enum Action {
    /// Consume events, score, store, cache; serve the API and the metrics.
    ///
    /// Needs RabbitMQ, PostgreSQL (migrated) and Redis. Ends on SIGTERM or Ctrl-C after finishing what it has taken.
    #[command(after_help = "Examples:\n  claimrisk worker\n  claimrisk worker --role claims --role remittances\n  \
                            claimrisk worker --role api --http-addr 127.0.0.1:8001")]
    Worker {
        /// Do only this; may be given several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<Role>,
    },
    /// Apply the database migrations.
    #[command(
        after_help = "Examples:\n  claimrisk migrate\n  claimrisk migrate --check   # exit 1 when some are pending"
    )]
    Migrate {
        /// Only tell whether some are pending (exit 1).
        #[arg(long)]
        check: bool,
    },
    /// Declare, compare or print the exchanges and queues.
    Topology {
        #[command(subcommand)]
        action: TopologyAction,
    },
    /// Publish X12 files (837, 835), NDJSON event files, or folders of them.
    Publish(publish::Arguments),
    /// Score the claims of 837 files on the spot, without any server.
    Score(score::Arguments),
    /// Load and list the reference tables: payers' terms, NCCI edits, MUE, code lists.
    Reference {
        #[command(subcommand)]
        action: reference::Action,
    },
    /// Look at the model that scores and at its calibration, or learn it anew from the stored labels.
    Model {
        #[command(subcommand)]
        action: ModelAction,
    },
    /// Play a history again in time order and measure how well each claim's score foretold its first answer.
    Backtest(backtest::Arguments),
    /// Look at the dead letters; nothing printed identifies a person.
    DeadLetters {
        #[command(subcommand)]
        action: dead_letters::Action,
    },
    /// Make bearer tokens for the API.
    Token {
        #[command(subcommand)]
        action: token::Action,
    },
    /// Tell whether the audit log is whole; remove what is old enough.
    Audit {
        #[command(subcommand)]
        action: audit::Action,
    },
    /// Write matched 837 and 835 files of simulated payers with hidden rules, and the truth about them.
    Simulate(simulate::Arguments),
    /// Put HTTP load on a running API; print latencies and hit rates.
    Load(load::Arguments),
    /// Measure the pipeline against the raw limits of its servers, in one run.
    Bench(bench::Arguments),
    /// Show everything at once: private servers, sample claims, worklist, hit rates, addresses to look at.
    Demo(demo::Arguments),
    /// Print the settings in force and where each came from; secrets are hidden.
    CheckConfig {
        /// `table` or `json`.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Tell whether the worker on this machine is ready (exit 0) or not (exit 1); for container health checks.
    Health,
    /// Print shell completions.
    #[command(after_help = "Example:\n  claimrisk completions bash > /etc/bash_completion.d/claimrisk")]
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Subcommand)]
enum ModelAction {
    /// Print the version of the newest stored model.
    Show,
    /// Fold all stored labels from the start, and publish the model if it is not the newest one already.
    #[command(
        after_help = "A model is a function of the stored labels: unless something was missed, the version is the \
                            one that the learner publishes at the end of its next turn."
    )]
    Rebuild,
    /// Compare the probabilities that stood with the first labels that came: per bin, expected calibration error, Brier.
    ///
    /// The same numbers that the fleet's metrics claimrisk_calibration_* and claimrisk_brier_loss_total add up to.
    #[command(
        after_help = "Examples:\n  claimrisk model calibration\n  claimrisk model calibration --since 2026-01-01 --output json"
    )]
    Calibration(calibration::Arguments),
    #[command(flatten)]
    Learning(challengers::Action),
}

#[derive(Clone, Copy, Subcommand)]
enum TopologyAction {
    /// Declare what is missing.
    Apply,
    /// Compare the broker with the definitions; exit 1 when they differ.
    Check,
    /// Print the definitions.
    Print,
}

/// Parses the command line, runs the command, prints its error.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // The last resort for TLS: one provider, named here, used by all three clients.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    match run(cli, &flags(&matches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line with a flag for each setting.
fn command() -> Command {
    SETTINGS.iter().fold(Cli::command(), |command, setting| {
        let default = if setting.default.is_empty() { String::new() } else { format!(", default {}", setting.default) };
        command.arg(
            Arg::new(setting.key)
                .long(setting.key.replace('_', "-"))
                .global(true)
                .action(ArgAction::Set)
                .hide_short_help(true)
                .value_name("VALUE")
                .help_heading("Settings")
                .help(format!("{} [{}{default}]", setting.help, setting.env)),
        )
    })
}

fn flags(matches: &clap::ArgMatches) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        for setting in SETTINGS {
            if let Ok(Some(value)) = matches.try_get_one::<String>(setting.key) {
                flags.insert(setting.key.to_owned(), value.clone());
            }
        }
        level = matches.subcommand().map(|(_, inner)| inner);
    }
    flags
}

fn run(cli: Cli, flags: &BTreeMap<String, String>) -> Result<(), CommandError> {
    let raw = config::collect(flags, cli.config.as_deref())?;
    let load = || Config::from_raw(&raw);
    match cli.command {
        Action::Completions { shell } => admin::completions(shell),
        Action::CheckConfig { output } => admin::check_config(&raw, output),
        Action::Topology { action: TopologyAction::Print } => output::print(crate::topology::print()),
        Action::Score(arguments) => score::run(&arguments, &load()?),
        Action::Simulate(arguments) => simulate::run(&arguments),
        Action::Token { action } => token::run(&action),
        Action::Backtest(arguments) => backtest::run(&arguments, &load()?),
        served => {
            let config = load()?;
            telemetry::init_logs(&config.log)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let result = runtime.block_on(run_served(served, config));
            // A task that still waits for a server that is gone must not keep the process.
            runtime.shutdown_background();
            result
        }
    }
}

async fn run_served(action: Action, config: Config) -> Result<(), CommandError> {
    match action {
        Action::Worker { roles } => app::run(config, &roles_or_all(&roles)).await,
        Action::Migrate { check } => admin::migrate(&config, check).await,
        Action::Topology { action } => admin::topology(&config, action).await,
        Action::Model { action } => admin::model(&config, action).await,
        Action::Publish(arguments) => publish::run(&arguments, &config).await,
        Action::Audit { action } => audit::run(&action, &config).await,
        Action::DeadLetters { action } => dead_letters::run(&action, &config).await,
        Action::Reference { action } => reference::run(&action, &config).await,
        Action::Load(arguments) => load::run(&arguments, &config).await,
        Action::Bench(arguments) => bench::run(&arguments, config).await,
        Action::Demo(arguments) => demo::run(&arguments, config).await,
        Action::Health => admin::health(&config).await,
        Action::Score(_)
        | Action::Simulate(_)
        | Action::Backtest(_)
        | Action::Token { .. }
        | Action::CheckConfig { .. }
        | Action::Completions { .. } => Ok(()),
    }
}

fn roles_or_all(roles: &[Role]) -> BTreeSet<Role> {
    if roles.is_empty() { Role::value_variants().iter().copied().collect() } else { roles.iter().copied().collect() }
}

/// Paths that several commands take.
#[derive(Args, Clone, Debug)]
struct Paths {
    /// Files or folders; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_explains_itself() {
        let mut command = command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
        }
    }

    #[test]
    fn settings_are_flags_of_every_command() {
        let matches = command().try_get_matches_from(["claimrisk", "check-config", "--cache-ttl-claim", "60"]).unwrap();
        assert_eq!(flags(&matches).get("cache_ttl_claim").map(String::as_str), Some("60"));
    }
}
