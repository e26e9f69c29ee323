//! `claimrisk reference`: loads the tables of payers, CMS and registries that rules look things up in, lists them, and makes
//! the one that stored claims can give.
//!
//! A file is read whole before anything is stored. Must never: store a table of which a line does not follow its format.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::Output;
use super::output::{csv_field, print, print_json, table};
use crate::config::Config;
use crate::domain::reference::{Kind, ReferenceTables};
use crate::error::CommandError;
use crate::store;

const LOAD: &str = "\
Kinds: payer-rules, authorization, attachment, enrollment, ncci-ptp, mue, procedure-codes,
diagnosis-codes, coverage, modifiers, revenue-codes, types-of-bill, npi, order-referring,
clia-certificates, taxonomy-scope, eligibility, granted-authorizations, usual-charges. Their
columns, and where the public files come from: deploy/reference/README.md.

Examples:
  claimrisk reference load payer-rules my-payers.csv
  claimrisk reference load ncci-ptp ptp-practitioner.csv

Exit code 65 when a line does not follow the format; then nothing is stored.";

const USUAL: &str = "\
One line by practice, payer and procedure: the median charge, the median absolute deviation from it
and the number of lines, eight at least. Look it over before you load it; a charge that is wrong
everywhere is usual. Load it anew when fees change.

Examples:
  claimrisk reference usual-charges > usual.csv
  claimrisk reference load usual-charges usual.csv";

/// A usual charge is made of so many lines at least.
const LEAST_LINES: i64 = 8;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Check a table line by line and store it in the place of the one of its kind.
    #[command(after_help = LOAD)]
    Load {
        /// Which table the file is.
        #[arg(value_parser = kind)]
        kind: Kind,
        /// The file (CSV with a header line).
        file: PathBuf,
        /// How the result is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print what stored claims usually charge for one unit, as the table `usual-charges` (CSV).
    #[command(after_help = USUAL)]
    UsualCharges,
    /// List the tables that are stored, with their versions.
    List {
        /// How the list is printed.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// A table as it is printed.
#[derive(Serialize)]
struct Shown {
    kind: String,
    version: String,
    rows: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_at: Option<String>,
}

/// Loads or lists.
pub(super) async fn run(action: &Action, config: &Config) -> Result<(), CommandError> {
    match action {
        Action::Load { kind, file, output } => load(*kind, file, *output, config).await,
        Action::List { output } => list(*output, config).await,
        Action::UsualCharges => usual_charges(config).await,
    }
}

async fn usual_charges(config: &Config) -> Result<(), CommandError> {
    let usual = store::reference::usual_charges(&store::pool(config)?, LEAST_LINES).await?;
    let mut lines = vec!["practice_id,payer_id,procedure_code,median,deviation,lines".to_owned()];
    lines.extend(usual.iter().map(|one| {
        let (practice, payer) = (csv_field(&one.practice), csv_field(&one.payer));
        format!("{practice},{payer},{},{},{},{}", one.procedure_code, one.median, one.deviation, one.lines)
    }));
    print(&lines.join("\n"))
}

async fn load(kind: Kind, file: &Path, output: Output, config: &Config) -> Result<(), CommandError> {
    let text = text_of(file)?;
    let loaded = load_text(&mut ReferenceTables::default(), kind, file, &text)?;
    store::reference::save(&store::pool(config)?, &loaded, &text).await?;
    let rows = i64::try_from(loaded.rows).unwrap_or(i64::MAX);
    match output {
        Output::Json => {
            print_json(&Shown { kind: kind.as_str().to_owned(), version: loaded.version, rows, loaded_at: None })
        }
        Output::Table => print(&format!("{}: {rows} rows, version {}", kind.as_str(), loaded.version)),
    }
}

async fn list(output: Output, config: &Config) -> Result<(), CommandError> {
    let stored = store::reference::versions(&store::pool(config)?).await?;
    let shown: Vec<Shown> = stored
        .into_iter()
        .map(|one| Shown {
            kind: one.kind,
            version: one.version,
            rows: one.rows,
            loaded_at: Some(one.loaded_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        })
        .collect();
    match output {
        Output::Json => print_json(&shown),
        Output::Table => {
            let mut table = table(&["Kind", "Version", "Rows", "Loaded at"]);
            for one in shown {
                table.add_row([one.kind, one.version, one.rows.to_string(), one.loaded_at.unwrap_or_default()]);
            }
            print(&table.to_string())
        }
    }
}

/// Reads the word of a kind.
fn kind(word: &str) -> Result<Kind, String> {
    let kinds = || Kind::ALL.map(Kind::as_str).join(", ");
    Kind::parse(word).ok_or_else(|| format!("no such table; there are {}", kinds()))
}

fn text_of(file: &Path) -> Result<String, CommandError> {
    let bytes = std::fs::read(file)
        .map_err(|error| CommandError::BadData(format!("{}: cannot be read: {error}", file.display())))?;
    String::from_utf8(bytes)
        .map_err(|_| CommandError::BadData(format!("{}: not UTF-8 text; save it as UTF-8", file.display())))
}

fn load_text(
    tables: &mut ReferenceTables,
    kind: Kind,
    file: &Path,
    text: &str,
) -> Result<crate::domain::reference::Loaded, CommandError> {
    tables.load(kind, text).map_err(|error| CommandError::BadData(format!("{}: {error}", file.display())))
}

/// A table given on the command line of `claimrisk score`: `KIND=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    kind: Kind,
    file: PathBuf,
}

/// Reads `KIND=FILE`.
pub(super) fn given(text: &str) -> Result<Given, String> {
    let (word, file) = text.split_once('=').ok_or("write KIND=FILE, such as payer-rules=my-payers.csv")?;
    if file.is_empty() {
        return Err("no file behind the equals sign".to_owned());
    }
    Ok(Given { kind: kind(word)?, file: PathBuf::from(file) })
}

/// The tables of files, without any server.
///
/// # Errors
/// A file that cannot be read, or a line that does not follow the format.
pub(super) fn read(given: &[Given]) -> Result<ReferenceTables, CommandError> {
    let mut tables = ReferenceTables::default();
    for Given { kind, file } in given {
        load_text(&mut tables, *kind, file, &text_of(file)?)?;
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_given_by_its_kind_and_file() {
        let one = given("mue=a=b.csv").unwrap();
        assert_eq!(one, Given { kind: Kind::Mue, file: PathBuf::from("a=b.csv") });
        for bad in ["mue", "mue=", "payers=x.csv"] {
            assert!(given(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_make_tables_and_a_faulty_line_is_bad_data_with_its_place() {
        let dir = std::env::temp_dir().join(format!("claimrisk-reference-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, text: &str| {
            let file = dir.join(name);
            std::fs::write(&file, text).unwrap();
            Given { kind: Kind::Mue, file }
        };
        let good = file("good.csv", "code,units,mai\nG0001,2,1\n");
        let bad = file("bad.csv", "code,units,mai\nG0001,2,1\nG0002,two,1\n");
        let absent = Given { kind: Kind::Mue, file: dir.join("absent.csv") };
        assert_eq!(read(std::slice::from_ref(&good)).unwrap().versions().len(), 1);
        let error = read(&[good, bad]).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        assert!(error.to_string().contains("line 3, column units"), "{error}");
        assert_eq!(read(&[absent]).unwrap_err().exit_code(), 65);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
