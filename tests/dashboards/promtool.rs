//! Runs promtool, which comes with Debian's package prometheus.
//!
//! Must never: pass for a check that was not made; a skipped one is told on stderr.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs promtool on a file. `None`, with a word on stderr, where it is not installed.
#[expect(clippy::print_stderr, reason = "a skipped check has to be seen in the test's output")]
pub fn promtool(arguments: &[&str], file: &Path) -> Option<Result<(), String>> {
    match Command::new("promtool").args(arguments).arg(file).output() {
        Ok(output) if output.status.success() => Some(Ok(())),
        Ok(output) => {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            Some(Err(format!("{out}{err}")))
        }
        Err(error) => {
            eprintln!("SKIPPED promtool {}: {error}; it comes with Debian's package prometheus", arguments.join(" "));
            None
        }
    }
}

/// Writes a file for promtool: JSON, which is YAML too.
pub fn scratch(name: &str, content: &Value) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
