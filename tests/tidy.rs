//! The house rules that a machine can see: what the pure core may not name, one home for things, sizes of files.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension below a folder.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} below {folder}");
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}

/// The lines of a source file that are code.
fn code(path: &Path) -> Vec<String> {
    text(path).lines().map(str::trim).filter(|line| !line.starts_with("//")).map(str::to_owned).collect()
}

/// Insists that none of the words stands in the code of the files, but in those named.
fn absent(folder: &str, words: &[&str], but: &[&str]) {
    let mut seen = Vec::new();
    for path in files(folder, "rs") {
        let name = path.strip_prefix(root()).expect("below").display().to_string();
        if but.contains(&name.as_str()) {
            continue;
        }
        for line in code(&path) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                seen.push(format!("{name}: {word}: {line}"));
            }
        }
    }
    assert!(seen.is_empty(), "{}", seen.join("\n"));
}

#[test]
fn the_core_does_no_io_and_asks_no_clock() {
    let forbidden = [
        "tokio",
        "sqlx",
        "lapin",
        "redis::",
        "axum",
        "hyper",
        "metrics::",
        "tracing",
        "std::fs",
        "std::net",
        "std::env",
        "SystemTime",
        "Instant::now",
        "Utc::now",
        "Local::now",
        "static mut",
        "thread_local",
    ];
    absent("src/domain", &forbidden, &[]);
    // The order of a hash map differs from run to run; this file never gives it out.
    absent("src/domain", &["HashMap", "HashSet"], &["src/domain/model/table.rs"]);
}

#[test]
fn backoff_is_named_in_one_file_only() {
    absent("src", &["backoff::"], &["src/retry.rs"]);
}

#[test]
fn metrics_are_named_in_one_file_only() {
    absent("src", &["\"claimrisk_"], &["src/metrics/catalogue.rs"]);
}

#[test]
fn money_is_never_a_float() {
    absent("src/domain", &["amount: f64", "charge: f64", "payment: f64", "Cents) -> f64"], &[]);
    for path in files("migrations", "sql") {
        let sql = text(&path);
        for kind in ["double precision", " real", " money", "float"] {
            assert!(!sql.contains(kind), "{}: {kind}", path.display());
        }
    }
}

#[test]
fn files_stay_under_500_lines_and_say_what_they_are() {
    for folder in ["src", "tests", "benches"] {
        for path in files(folder, "rs") {
            let text = text(&path);
            let lines = text.lines().count();
            assert!(lines < 500, "{}: {lines} lines", path.display());
            assert!(text.starts_with("//!"), "{} does not say what it does", path.display());
        }
    }
}

#[test]
fn every_migration_can_be_undone() {
    for path in files("migrations", "sql") {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let other = if let Some(stem) = name.strip_suffix(".up.sql") {
            format!("{stem}.down.sql")
        } else {
            format!("{}.up.sql", name.strip_suffix(".down.sql").expect("a migration goes up or down"))
        };
        assert!(path.with_file_name(&other).exists(), "{name} has no {other}");
    }
}

#[test]
fn no_code_is_unsafe_and_tls_is_one_implementation() {
    assert!(text(&root().join("src/lib.rs")).contains("#![forbid(unsafe_code)]"));
    assert!(text(&root().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
    absent("src", &["allow(unsafe_code)", "unsafe {"], &[]);
    let lock = text(&root().join("Cargo.lock"));
    // What deny.toml bans, held where cargo-deny is not installed, too.
    for banned in ["openssl-sys", "openssl", "native-tls", "aws-lc-sys", "aws-lc-rs", "async-std", "rustls-pemfile"] {
        assert!(!lock.contains(&format!("name = \"{banned}\"")), "{banned}");
        assert!(text(&root().join("deny.toml")).contains(&format!("\"{banned}\"")), "{banned} is not in deny.toml");
    }
    for source in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(source, "source = \"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}
