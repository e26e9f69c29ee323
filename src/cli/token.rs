//! `claimrisk token`: makes bearer tokens for the API.
//!
//! A token is printed once and kept nowhere. Must never read or write the file of tokens: putting a line there is a
//! person's decision.

use clap::Subcommand;
use serde::Serialize;

use super::Output;
use super::output::{print, print_json, say};
use crate::api::{Scope, make_token};
use crate::error::CommandError;

/// What to do with tokens.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Make a token; print it and the line for the file of tokens.
    #[command(
        after_help = "The first line printed is the token: give it to whoever shall use it, over a safe way. The \
                            second goes into the file that CLAIMRISK_API_TOKENS_FILE names (chmod 600); workers take it \
                            within seconds. To end a token, remove its line.\n\n\
                            Examples:\n  claimrisk token new --name dashboard --scope read\n  \
                            claimrisk token new --name billing --scope read --scope write"
    )]
    New {
        /// Who shall use it: the name stands in the audit log.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do; may be given several times.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Serialize)]
struct New {
    token: String,
    line: String,
}

/// Runs an action.
pub(super) fn run(action: &Action) -> Result<(), CommandError> {
    let Action::New { name, scopes, output } = action;
    let (token, line) = make_token(name, scopes)?;
    match output {
        Output::Json => print_json(&New { token, line }),
        Output::Table => {
            print(&token)?;
            print(&line)?;
            say("the first line is the token and is not shown again; the second is for the file of tokens");
            Ok(())
        }
    }
}
