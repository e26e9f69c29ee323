//! The matrix of results in `docs/reliability.md`: with `CLAIMRISK_FAULTS_REPORT` naming that file, each fault that ends
//! writes its line there; lines of faults that did not run stay as they are.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use crate::list::{FAULTS, Fault};
use crate::scene::world;

const BEGIN: &str = "<!-- written by `make faults`: do not change by hand -->";
const END: &str = "<!-- end of what `make faults` writes -->";
const HEAD: &str =
    "| # | fault | how it is made | checked besides the ledger | result | s |\n| --- | --- | --- | --- | --- | --- |\n";

static WRITING: Mutex<()> = Mutex::new(());

/// A fault that runs; dropped in a panic, it failed.
struct Run {
    fault: &'static Fault,
    began: Instant,
    result: Option<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| "**failed**".to_owned());
        let (fault, seconds) = (self.fault, self.began.elapsed().as_secs());
        let said = writeln!(std::io::stdout(), "fault {}, {}: {result}; {seconds} s", fault.number, fault.name);
        said.ok();
        if let Some(path) = std::env::var_os("CLAIMRISK_FAULTS_REPORT") {
            write_line(Path::new(&path), fault, &result, seconds);
        }
    }
}

/// Plays a fault; what it answers stands in the matrix beside "passed".
pub async fn play(number: u8, fault: impl Future<Output = String>) {
    // Made once, and no fault's own time.
    world().await;
    let fault_of_list = &FAULTS[usize::from(number) - 1];
    let mut run = Run { fault: fault_of_list, began: Instant::now(), result: None };
    let told = fault.await;
    run.result = Some(format!("passed: {told}"));
}

fn row(fault: &Fault, result: &str, seconds: &str) -> String {
    format!("| {} | {} | {} | {} | {result} | {seconds} |", fault.number, fault.name, fault.how, fault.checked)
}

/// Replaces the fault's line in the table.
fn write_line(path: &Path, fault: &Fault, result: &str, seconds: u64) {
    let _one = WRITING.lock();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Some((before, rest)) = text.split_once(BEGIN) else { return };
    let Some((table, after)) = rest.split_once(END) else { return };
    let mut lines = String::from(HEAD);
    for other in &FAULTS {
        let kept = table.lines().find(|line| line.starts_with(&format!("| {} |", other.number)));
        let line = if other.number == fault.number {
            row(fault, result, &seconds.to_string())
        } else {
            kept.map_or_else(|| row(other, "did not run", "-"), str::to_owned)
        };
        writeln!(lines, "{line}").expect("text");
    }
    std::fs::write(path, format!("{before}{BEGIN}\n{lines}{END}{after}")).expect("written");
}

#[test]
fn the_document_tells_each_as_it_is_played_and_that_none_failed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = std::fs::read_to_string(path).expect("docs/reliability.md");
    for fault in &FAULTS {
        let begin = row(fault, "", "");
        let begin = begin.trim_end_matches([' ', '|']);
        let line = text.lines().find(|line| line.starts_with(begin));
        let line = line.unwrap_or_else(|| panic!("`make faults` is to be run again: no line begins with {begin}"));
        assert!(!line.contains("**failed**"), "{line}");
    }
}
