//! The answers of the database that compiling relies on without one (`.sqlx`) are those that the migrations give today.
//!
//! A private PostgreSQL is migrated, the library is checked against it, and what the macros learn is compared with what
//! is committed. `UPDATE_SQLX=1 cargo test --test sql` writes it anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use claimrisk::servers::{Options, Postgres};

#[tokio::test]
async fn committed_answers_of_the_database_are_those_of_the_migrations() {
    let postgres = Postgres::start(&Options::default()).await.expect("PostgreSQL starts");
    let url = postgres.create_database("sqlx").await.expect("database");
    let pool = sqlx::PgPool::connect(&url).await.expect("connects");
    claimrisk::store::MIGRATOR.run(&pool).await.expect("migrations apply");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let learned = std::env::temp_dir().join(format!("claimrisk-sqlx-{}", std::process::id()));
    std::fs::create_dir_all(&learned).expect("folder");
    check_against(&url, &learned, root);

    let (learned_files, committed) = (read(&learned), root.join(".sqlx"));
    std::fs::remove_dir_all(&learned).expect("removed");
    assert!(learned_files.len() > 20, "only {} queries were seen", learned_files.len());
    if std::env::var_os("UPDATE_SQLX").is_some() {
        write(&committed, &learned_files);
    }
    let committed_files = read(&committed);
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed_files), names(&learned_files), "run UPDATE_SQLX=1 cargo test --test sql");
    for (name, text) in &learned_files {
        assert_eq!(committed_files.get(name), Some(text), "{name}: run UPDATE_SQLX=1 cargo test --test sql");
    }
}

/// Checks the library with a database at hand; the macros then write down what it answers.
fn check_against(url: &str, learned: &Path, root: &Path) {
    // The macros run only when the library is compiled: a newer time makes it so.
    let library = std::fs::File::options().append(true).open(root.join("src/lib.rs")).expect("library");
    library.set_modified(std::time::SystemTime::now()).expect("touched");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--lib", "--locked", "--quiet"])
        .current_dir(root)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", learned)
        .env("DATABASE_URL", url)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

fn write(folder: &Path, files: &BTreeMap<String, String>) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("removed");
    }
    std::fs::create_dir_all(folder).expect("folder");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("written");
    }
}
