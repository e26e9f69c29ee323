//! Printing: data to stdout, complaints to stderr. The only file of the library that writes to either.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::CommandError;

/// Prints text and a line end to stdout. A closed pipe (`| head`) ends quietly.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(CommandError::from),
    }
}

/// Prints a value as JSON to stdout.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::Failed(error.to_string()))?;
    print(&text)
}

/// A table of plain lines, as wide as the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// A text as a field of a CSV file (RFC 4180).
pub(super) fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Tells what is going on, on stderr.
pub(super) fn say(text: &str) {
    // Nothing is to be done when even stderr is closed.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Tells what went wrong, on stderr.
pub(super) fn complain(error: &CommandError) {
    say(&format!("claimrisk: {error}"));
}
