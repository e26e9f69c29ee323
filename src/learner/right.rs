//! The right to learn: an advisory lock, which the session that took it holds until it ends.
//!
//! A process that dies takes its session with it. A network that falls silent does not: so the server ends the session
//! itself when it has heard nothing for long, and another process takes over. Must never: be kept by who does not use it.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::Means;
use crate::error::Failure;
use crate::store::deadline;

/// Any number, the same in all processes: `claimris` in ASCII.
const LOCK: i64 = 0x636c_6169_6d72_6973;

/// A session that may hold the right to learn.
pub(super) struct Right {
    session: PgConnection,
    limit: Duration,
}

impl Right {
    /// Opens a session and takes the right if nobody has it; whether it did.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub(super) async fn take(means: &Means) -> Result<(Self, bool), Failure> {
        let limit = means.config.database_deadline();
        // Twice what may lie between two questions: a turn's pause, and one piece of work.
        let idle = (means.period() + limit).as_millis() * 2;
        // A connection of its own, not one of the pool: closing it is what gives the lock back.
        let mut session = means.pool.acquire().await?.detach();
        let lock = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_lock($1) AS "taken!" FROM set_config('idle_session_timeout', $2, false)"#,
            LOCK,
            idle.to_string()
        );
        let taken = deadline::within(limit, lock.fetch_one(&mut session)).await?;
        Ok((Self { session, limit }, taken))
    }

    /// Nothing when the session is alive, and with it the right.
    ///
    /// # Errors
    /// It is gone, or silent.
    pub(super) async fn is_held(&mut self) -> Result<(), Failure> {
        deadline::within(self.limit, self.session.ping()).await
    }

    /// The session, for what only its holder may read; how long one question may take.
    pub(super) fn session(&mut self) -> (&mut PgConnection, Duration) {
        (&mut self.session, self.limit)
    }

    /// Gives the right back.
    ///
    /// # Errors
    /// The session is gone, and so is the right.
    pub(super) async fn give_back(self) -> Result<(), Failure> {
        deadline::within(self.limit, self.session.close()).await
    }
}
