//! `claimrisk audit`: is the audit log whole, and may its oldest part go.
//!
//! Must never remove anything that was not asked for, or without writing down who did.

use std::sync::Arc;

use chrono::{DateTime, Days, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::Output;
use super::output::{print, print_json};
use crate::config::Config;
use crate::error::CommandError;
use crate::store::{self, audit};

/// Days that rows are kept at the least: whoever asks for less has mistaken the unit.
const LEAST_DAYS: u32 = 30;

/// What to do with the audit log.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Compute every hash of the log again; exit 1 when a row was changed, added or removed.
    #[command(
        after_help = "The head (number and hash of the newest group) is printed. A log whose end was cut off is whole \
                            in itself: keep the head elsewhere and hand it in next time.\n\n\
                            Examples:\n  claimrisk audit verify\n  claimrisk audit verify --since 4711:9f86d081..."
    )]
    Verify {
        /// A head that was printed earlier: it must still be in the log.
        #[arg(long, value_name = "NUMBER:HASH", value_parser = head)]
        since: Option<(i64, String)>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Remove the rows that are older than so many days; the chain goes on from the last one removed.
    #[command(
        after_help = "Without --yes it only tells how many rows would go. It needs the right to run audit_retain, which \
                            the workers' role does not have (deploy/roles.sql). HIPAA asks for six years of documents.\n\n\
                            Example:\n  claimrisk audit retention --days 2200 --yes"
    )]
    Retention {
        /// Age from which rows go.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(i64::from(LEAST_DAYS)..))]
        days: u32,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

fn head(text: &str) -> Result<(i64, String), String> {
    let (number, hash) = text.split_once(':').ok_or("NUMBER:HASH, as printed by an earlier run")?;
    let number = number.parse().map_err(|_| "NUMBER must be a whole number")?;
    Ok((number, hash.to_ascii_lowercase()))
}

#[derive(Serialize)]
struct Report {
    rows: u64,
    groups: u64,
    head: Option<String>,
    removed_to_group: Option<i64>,
}

/// Runs an action.
///
/// # Errors
/// PostgreSQL is away; the log is not whole.
pub(super) async fn run(action: &Action, config: &Config) -> Result<(), CommandError> {
    let pool = store::pool(config)?;
    match action {
        Action::Verify { since, output } => {
            let broken = |why: String| CommandError::Failed(format!("the audit log is not whole: {why}"));
            let found = audit::verify(&pool).await?.map_err(broken)?;
            if let Some((number, hash)) = since {
                let now = audit::hash_of(&pool, *number).await?;
                if now.as_ref() != Some(hash) {
                    return Err(broken(format!("group {number} is not the one of that head, or is gone")));
                }
            }
            let report = Report {
                rows: found.rows,
                groups: found.groups,
                head: found.head.map(|(number, hash)| format!("{number}:{hash}")),
                removed_to_group: found.removed_to,
            };
            match output {
                Output::Json => print_json(&report),
                Output::Table => print(&format!(
                    "whole: {} rows in {} groups; head {}{}",
                    report.rows,
                    report.groups,
                    report.head.as_deref().unwrap_or("none"),
                    report.removed_to_group.map(|to| format!("; removed up to group {to}")).unwrap_or_default()
                )),
            }
        }
        Action::Retention { days, yes } => {
            let before: DateTime<Utc> = Utc::now()
                .checked_sub_days(Days::new((*days).into()))
                .ok_or_else(|| CommandError::Usage("--days: too many".to_owned()))?;
            let actor = operator();
            let (rows, what) = if *yes {
                (audit::retain(&pool, before, &actor).await?, "removed")
            } else {
                (audit::removable(&pool, before).await?, "would be removed; say --yes to remove them")
            };
            print(&format!("{rows} rows older than {days} days {what}"))
        }
    }
}

/// Who runs a command, for the audit log: this machine's user.
pub(super) fn operator() -> Arc<str> {
    let uid = nix::unistd::Uid::effective();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let name = name.filter(|name| !name.contains(char::is_control)).unwrap_or_else(|| uid.to_string());
    format!("user:{name}").into()
}
