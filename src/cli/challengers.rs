//! `claimrisk model challengers|challenge|retire|promote|roll-back`: other ways to learn, tried beside the one in force.
//!
//! A challenger scores every claim; its scores are stored and never shown. Must never: put one in force that the rules
//! speak against, unless told to.

use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgPool;

use super::Output;
use super::output::{print, print_json, say, table};
use crate::domain::model::Configuration;
use crate::domain::score::probability_of;
use crate::error::CommandError;
use crate::evaluate::{Comparison, Lately, Scored, compare, lately};
use crate::store::configurations::{self, Configured, Pair};

/// Claims sent so many days ago or earlier are compared, so that slow answers are in.
const MATURED_DAYS: u16 = 45;
/// Each challenger costs a model in memory and a score per claim.
const MOST: usize = 3;

/// What to do.
#[derive(Clone, Subcommand)]
pub(super) enum Action {
    /// Show how challengers did beside the model in force, and whether one may take over.
    Challengers(Arguments),
    /// Let another way to learn score beside the model in force.
    #[command(after_help = "Example:\n  claimrisk model challenge \"half-life=180 prior=140\"")]
    Challenge {
        /// `half-life=DAYS` and `prior=PERCENT`; what is not named is as usual (365, 100).
        settings: Configuration,
    },
    /// End a challenger's scoring; what it scored stays.
    Retire {
        /// Its settings.
        settings: Configuration,
    },
    /// Put a challenger in force, if the rules say so; the model in force goes on as a challenger.
    Promote {
        /// Its settings.
        settings: Configuration,
        /// Although the rules speak against it.
        #[arg(long)]
        force: bool,
    },
    /// Undo the last promotion.
    RollBack,
}

/// How to show challengers.
#[derive(Args, Clone)]
pub(super) struct Arguments {
    /// Compare claims that were sent so many days ago or earlier, so that slow answers are in.
    #[arg(long, value_name = "N", default_value_t = MATURED_DAYS)]
    matured_days: u16,
    /// `table` or `json`.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Does it.
pub(super) async fn run(pool: &PgPool, action: Action) -> Result<(), CommandError> {
    let all = configurations::all(pool).await?;
    let missing = |settings: Configuration| CommandError::Failed(format!("no challenger learns with `{settings}`"));
    match action {
        Action::Challengers(arguments) => show(pool, &all, &arguments).await,
        Action::Challenge { settings } => {
            if all.iter().filter(|one| one.role == "challenger").count() >= MOST {
                return Err(CommandError::Failed(format!("{MOST} challengers at the most; retire one first")));
            }
            configurations::challenge(pool, &settings.to_string()).await?;
            print(&format!("`{settings}` scores beside the model in force from the learner's next model on"))
        }
        Action::Retire { settings } => match configurations::retire(pool, &settings.to_string()).await? {
            true => print(&format!("`{settings}` scores no more")),
            false => Err(missing(settings)),
        },
        Action::Promote { settings, force } => {
            let found = all.iter().find(|one| one.settings == settings.to_string() && one.role == "challenger");
            let judged = judge(pool, found.ok_or_else(|| missing(settings))?, MATURED_DAYS).await?;
            if !judged.comparison.against.is_empty() && !force {
                let against = judged.comparison.against.join("; ");
                return Err(CommandError::Failed(format!("not put in force: {against} (--force does it anyway)")));
            }
            promote(pool, &settings.to_string()).await
        }
        Action::RollBack => {
            let champion = all.iter().find(|one| one.role == "champion");
            // The former one became a challenger in the same transaction, at the same time.
            let former =
                all.iter().find(|one| one.role == "challenger" && champion.is_some_and(|now| now.since == one.since));
            let former =
                former.ok_or_else(|| CommandError::Failed("nothing was promoted that could be undone".to_owned()))?;
            promote(pool, &former.settings).await
        }
    }
}

async fn promote(pool: &PgPool, settings: &str) -> Result<(), CommandError> {
    if !configurations::promote(pool, settings).await? {
        return Err(CommandError::Failed(format!("no challenger learns with `{settings}` any more")));
    }
    say("workers take its newest model within seconds, and open claims are scored again");
    print(&format!("`{settings}` is in force; what was goes on as a challenger"))
}

/// A challenger and how it did.
struct Judged {
    comparison: Comparison,
    lately: Option<Lately>,
}

fn scored(pair: &Pair, micro: i64) -> Scored {
    let small = |id: i64| u32::try_from(id).unwrap_or(u32::MAX);
    Scored {
        p: probability_of(micro),
        denied: pair.denied,
        charge_cents: 0,
        payer: small(pair.payer_id),
        cluster: small(pair.provider_id),
        truth: None,
    }
}

async fn judge(pool: &PgPool, challenger: &Configured, matured_days: u16) -> Result<Judged, CommandError> {
    let pairs = configurations::pairs(pool, challenger.id, matured_days.into()).await?;
    let shown: Vec<Scored> = pairs.iter().map(|pair| scored(pair, pair.shown)).collect();
    let shadow: Vec<Scored> = pairs.iter().map(|pair| scored(pair, pair.shadow)).collect();
    let by_day: Vec<(i32, Scored)> = pairs.iter().map(|pair| pair.age_days).zip(shown.iter().cloned()).collect();
    Ok(Judged { comparison: compare(&shown, &shadow), lately: lately(&by_day) })
}

#[derive(Serialize)]
struct Row {
    settings: String,
    role: String,
    labels: Option<u64>,
    denials: Option<u64>,
    /// Log-loss less the champion's.
    log_loss_gain: Option<f64>,
    interval: Option<[f64; 2]>,
    calibration_errors: Option<[f64; 2]>,
    may_take_over: Option<bool>,
    against: Vec<String>,
}

async fn show(pool: &PgPool, all: &[Configured], arguments: &Arguments) -> Result<(), CommandError> {
    let (mut rows, mut worse) = (Vec::new(), None);
    for one in all {
        let judged = match one.role.as_str() {
            "challenger" => Some(judge(pool, one, arguments.matured_days).await?),
            _ => None,
        };
        worse = worse.or(judged.as_ref().and_then(|judged| judged.lately));
        rows.push(row(one, judged));
    }
    match arguments.output {
        Output::Json => print_json(&rows),
        Output::Table => {
            print(&shown(&rows))?;
            match worse {
                Some(lately) if lately.is_worse() => print(&format!(
                    "The model in force has got worse: log-loss {:.4} in the last 7 days, usually {:.4} ({:.1} standard \
                     deviations). Consider `claimrisk model roll-back`.",
                    lately.recent, lately.usual, lately.deviations
                )),
                _ => Ok(()),
            }
        }
    }
}

fn row(one: &Configured, judged: Option<Judged>) -> Row {
    let found = judged.map(|judged| judged.comparison);
    Row {
        settings: one.settings.clone(),
        role: one.role.clone(),
        labels: found.as_ref().map(|found| found.labels),
        denials: found.as_ref().map(|found| found.denials),
        log_loss_gain: found.as_ref().map(|found| found.log_loss_gain).filter(|gain| gain.is_finite()),
        interval: found.as_ref().and_then(|found| found.interval.as_ref()).map(|one| [one.low, one.high]),
        calibration_errors: found.as_ref().map(|found| [found.calibration_errors.0, found.calibration_errors.1]),
        may_take_over: found.as_ref().map(|found| found.against.is_empty()),
        against: found.map(|found| found.against).unwrap_or_default(),
    }
}

fn shown(rows: &[Row]) -> String {
    let mut table = table(&["Learns with", "Role", "Answers", "Log-loss gain", "95 %", "May take over"]);
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:+.5}"));
        let verdict = match row.may_take_over {
            Some(true) => "yes".to_owned(),
            Some(false) => format!("no: {}", row.against.join("; ")),
            None => String::new(),
        };
        table.add_row([
            row.settings.clone(),
            row.role.clone(),
            row.labels.map_or_else(|| "-".to_owned(), |labels| labels.to_string()),
            number(row.log_loss_gain),
            row.interval.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:+.5} to {high:+.5}")),
            verdict,
        ]);
    }
    table.to_string()
}
