//! How things fail: two kinds of failure for an event, one error for a command, and the exit codes.
//!
//! Must never: decide by the text of a message, or carry patient data.

use crate::metrics;
use crate::wire::Reason;

/// Why an event could not be applied.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Something around the event failed; the same event may succeed later.
    Transient(Cause, String),
    /// The event itself is at fault; it will never succeed as it is.
    Permanent(Reason, String),
}

/// What was not to be had, for a transient failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// PostgreSQL is unreachable or shutting down: nothing can be applied now, whichever event it is.
    DatabaseAway,
    /// PostgreSQL refused this work for the moment: deadlock, lock time-out, statement time-out.
    DatabaseBusy,
    /// RabbitMQ did not take a message.
    Broker,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transient(cause, what) => write!(f, "{cause:?}: {what}"),
            Self::Permanent(reason, what) => write!(f, "{}: {what}", reason.as_str()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    /// Counts a database error and sorts it by its type and SQLSTATE class; the row values that a server error may quote are dropped.
    fn from(error: sqlx::Error) -> Self {
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
        metrics::db_error(code.as_deref());
        if matches!(error, sqlx::Error::PoolTimedOut) {
            metrics::pool_timeout();
        }
        match (&error, code.as_deref()) {
            (_, Some(code)) => by_sqlstate(code),
            (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_)
                | sqlx::Error::BeginFailed,
                None,
            ) => Self::Transient(Cause::DatabaseAway, kind_of(&error)),
            (_, None) => Self::Permanent(Reason::Internal, kind_of(&error)),
        }
    }
}

/// Classes as in the PostgreSQL manual, appendix A. Only what a value can cause is the event's own fault; everything else
/// (server away, read-only standby, missing rights, no disk) would fail any event and must not send one to the dead letters.
fn by_sqlstate(code: &str) -> Failure {
    let what = format!("sqlstate {code}");
    match code.get(..2) {
        // Deadlock, serialisation, lock not available, statement cancelled by its time limit.
        Some("40" | "55") => Failure::Transient(Cause::DatabaseBusy, what),
        Some("57") if code == "57014" => Failure::Transient(Cause::DatabaseBusy, what),
        // Cardinality, data, integrity, program limits.
        Some("21" | "22" | "23" | "54") => Failure::Permanent(Reason::Internal, what),
        _ => Failure::Transient(Cause::DatabaseAway, what),
    }
}

/// Why a TLS connection was not made, if that is what went wrong: certificates and protocol only, no value of ours.
pub fn tls_cause(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Some(format!("tls: {tls}"));
        }
        // An i/o error hides what it wraps from `source`.
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| current.source());
    }
    None
}

/// The kind of a client-side error, without any value it may quote.
fn kind_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(io) => tls_cause(io).unwrap_or_else(|| format!("i/o: {}", io.kind())),
        sqlx::Error::Tls(cause) => {
            tls_cause(&**cause).unwrap_or_else(|| "tls: the server does not offer it".to_owned())
        }
        sqlx::Error::PoolTimedOut => "no free database connection in time".to_owned(),
        sqlx::Error::PoolClosed => "database pool closed".to_owned(),
        sqlx::Error::WorkerCrashed => "database driver stopped".to_owned(),
        sqlx::Error::Protocol(_) => "database protocol".to_owned(),
        sqlx::Error::ColumnDecode { index, .. } => format!("cannot decode column {index}"),
        _ => "database driver".to_owned(),
    }
}

/// An error that ends a command, with the exit code that tells scripts what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Exit 1: it did not work.
    #[error("{0}")]
    Failed(String),
    /// Exit 2: the command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Exit 65: the input is not what it should be.
    #[error("{0}")]
    BadData(String),
    /// Exit 69: a server cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// Exit 75: it may work later.
    #[error("{0}")]
    TryAgain(String),
    /// Exit 78: a setting is wrong.
    #[error("{0}")]
    Config(String),
}

impl CommandError {
    /// The exit code (sysexits.h where it has one).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::BadData(_) => 65,
            Self::Unavailable(_) => 69,
            Self::TryAgain(_) => 75,
            Self::Config(_) => 78,
        }
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        match Failure::from(error) {
            Failure::Transient(Cause::DatabaseAway, what) => {
                Self::Unavailable(format!("PostgreSQL cannot be reached ({what}); check DATABASE_URL"))
            }
            Failure::Transient(_, what) => Self::TryAgain(format!("PostgreSQL is busy ({what})")),
            Failure::Permanent(_, what) => Self::Failed(format!("PostgreSQL refused ({what})")),
        }
    }
}

impl From<lapin::Error> for CommandError {
    fn from(error: lapin::Error) -> Self {
        Self::Unavailable(format!("RabbitMQ: {}; check AMQP_URL", crate::broker::describe(&error)))
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_value_can_cause_is_the_events_own_fault() {
        for code in ["22003", "23505", "21000", "54000"] {
            assert!(matches!(by_sqlstate(code), Failure::Permanent(..)), "{code}");
        }
        for code in ["40P01", "55P03", "57014"] {
            assert!(matches!(by_sqlstate(code), Failure::Transient(Cause::DatabaseBusy, _)), "{code}");
        }
        // A standby after a failover, a server that stops, a revoked right, a full disk.
        for code in ["25006", "57P01", "42501", "53100", "08006", "XX000"] {
            assert!(matches!(by_sqlstate(code), Failure::Transient(Cause::DatabaseAway, _)), "{code}");
        }
    }
}
