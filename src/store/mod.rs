//! All SQL: what the flow writes and what the API reads. Every statement is checked against the schema when compiling.
//!
//! Must never: touch the cache (that is done after the commit, by the caller) or let work that was given up leave its
//! connection in the pool (see `deadline`).

pub mod apply;
pub mod audit;
pub mod bench;
mod claims;
pub mod configurations;
pub(crate) mod deadline;
pub mod earlier;
pub mod label_scores;
pub mod labels;
pub mod ledger;
mod links;
mod outcomes;
pub mod patterns;
pub mod read;
pub mod reconcile;
pub mod reference;
pub mod refs;
mod remittances;
mod scores;
pub mod snapshots;

use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Postgres};

use crate::config::{Config, is_loopback};
use crate::error::CommandError;
use crate::metrics::{self, Pool};

/// The migrations, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Where the database is and how it is spoken to: on another machine over TLS, with its certificate and name checked,
/// unless the settings allow plain text.
///
/// # Errors
/// A URL that does not parse, or whose `sslmode` would trust anybody who answers.
pub fn connect_options(config: &Config) -> Result<PgConnectOptions, CommandError> {
    let url = &config.database_url;
    let options: PgConnectOptions =
        url.expose().parse().map_err(|_| CommandError::Config("database_url: not understood".to_owned()))?;
    let near = options.get_socket().is_some() || is_loopback(options.get_host());
    let options = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => options,
        _ if near || config.allow_plaintext => options,
        // What a URL that says nothing asks for: TLS if the server likes. Here it must.
        PgSslMode::Prefer => options.ssl_mode(PgSslMode::VerifyFull),
        _ => {
            return Err(CommandError::Config(
                "database_url leads to another machine without TLS that checks who answers; use sslmode=verify-full, or \
                 set allow_plaintext = true where nobody can listen"
                    .to_owned(),
            ));
        }
    };
    let certificates = url.certificates();
    let options = match &certificates.authorities {
        Some(authorities) => options.ssl_root_cert_from_pem(authorities.as_bytes().to_vec()),
        None => options,
    };
    Ok(match &certificates.identity {
        Some(identity) => options
            .ssl_client_cert_from_pem(identity.chain.as_bytes())
            .ssl_client_key_from_pem(identity.key.expose().as_bytes()),
        None => options,
    })
}

/// A pool that connects on first use. Every session has a limit on statements, locks and idle transactions, so that a
/// server that stops answering cannot hold a worker for ever.
///
/// # Errors
/// A URL that does not parse.
pub fn pool(config: &Config) -> Result<PgPool, CommandError> {
    let millis = config.database_timeout.as_millis().to_string();
    let options = connect_options(config)?
        .application_name("claimrisk")
        .options([
            ("statement_timeout", millis.as_str()),
            ("lock_timeout", millis.as_str()),
            ("idle_in_transaction_session_timeout", millis.as_str()),
            ("timezone", "UTC"),
            // Small statements over indexed tables: compiling them costs more than it gains.
            ("jit", "off"),
        ])
        .disable_statement_logging();
    Ok(deadline::guarded(PgPoolOptions::new())
        .max_connections(config.database_connections)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .connect_lazy_with(options))
}

/// Statements that look many rows up by their keys: one plan for all calls, made once per session, whose every step is an
/// index probe per key. Left to itself the planner goes by tables that were small when it looked, reads them whole, and
/// plans anew for each batch; a third of PostgreSQL's time went there.
macro_rules! by_key {
    ($begin:literal) => {
        concat!(
            $begin,
            "; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; ",
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        )
    };
}

/// A transaction of statements that look rows up by their keys. One that is dropped before its end takes its connection with
/// it: the pool would first write to it, and where nobody reads (a silent network) the place in the pool would be lost.
pub(crate) struct Transaction(Option<PoolConnection<Postgres>>);

/// Begins a transaction, and measures how long the pool let it wait.
pub(crate) async fn begin(pool: &PgPool) -> Result<Transaction, sqlx::Error> {
    let started = Instant::now();
    let begun = boxed(Transaction::begin(pool, by_key!("BEGIN"))).await;
    metrics::pool_wait(Pool::Postgres, started);
    begun
}

/// The same for reading alone: all statements see the database as it is at the first. To be cut short by a deadline
/// of `store::deadline` alone.
pub(crate) async fn snapshot(pool: &PgPool) -> Result<Transaction, sqlx::Error> {
    boxed(Transaction::begin(pool, by_key!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))).await
}

impl Transaction {
    async fn begin(pool: &PgPool, statement: &'static str) -> Result<Self, sqlx::Error> {
        let mut transaction = Self(Some(pool.acquire().await?));
        sqlx::raw_sql(statement).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Keeps what was done.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes what was done.
    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(&mut *self).await?;
        // Only a connection whose transaction has ended goes back to the pool.
        drop(self.0.take());
        Ok(())
    }
}

impl std::ops::Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("there until the end")
    }
}

impl std::ops::DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("there until the end")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

/// What waits for a connection holds four kilobytes, and each layer that a future is handed through may hold it twice: nine
/// layers up, a request to the API once took 1.8 MB of the stack.
fn boxed<T>(future: impl Future<Output = T>) -> std::pin::Pin<Box<impl Future<Output = T>>> {
    Box::pin(future)
}

/// Separates the elements of a list inside one text value; no code or identifier contains it.
pub(crate) const UNIT_SEPARATOR: &str = "\u{1f}";

/// The versions of migrations that are not applied yet.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn pending_migrations(pool: &PgPool) -> Result<Vec<i64>, CommandError> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(pool).await?;
    let applied: Vec<i64> = if known {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(pool).await?
    } else {
        Vec::new()
    };
    Ok(MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| migration.version)
        .filter(|version| !applied.contains(version))
        .collect())
}

/// Applies the migrations that are pending.
///
/// # Errors
/// PostgreSQL cannot be reached, or refuses; nothing of the failed migration is kept.
pub async fn migrate(pool: &PgPool) -> Result<(), CommandError> {
    MIGRATOR.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => CommandError::from(error),
        other => CommandError::Failed(format!("a migration failed: {other}; nothing of it was kept")),
    })
}

/// This database's own id, which marks the cache entries that are made from it.
///
/// # Errors
/// PostgreSQL cannot be reached, or is not migrated.
pub async fn installation(pool: &PgPool) -> Result<uuid::Uuid, sqlx::Error> {
    sqlx::query_scalar!("SELECT installation FROM cache_epoch").fetch_one(pool).await
}
