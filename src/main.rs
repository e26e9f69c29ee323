//! The binary: parses the command line, hands it over, and exits with the code that tells what happened.

use std::process::ExitCode;

fn main() -> ExitCode {
    claimrisk::cli::main()
}
