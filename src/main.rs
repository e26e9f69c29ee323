//! The binary: parses the command line, hands it over, and exits with the code that tells what happened.

use std::process::ExitCode;

/// Claims are many small texts: how fast memory is given out decides how fast they are read and scored.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    claimrisk::cli::main()
}
