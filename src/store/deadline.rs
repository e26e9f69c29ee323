//! Deadlines for PostgreSQL, and what becomes of connections that let one pass.
//!
//! The server's own limits end what is slow. A network that falls silent is told by nobody: what waits for an answer waits
//! for a quarter of an hour, or for ever, and with it a place in the pool. So the client gives up by itself. What it drops
//! then stands in the middle of something, perhaps of a transaction: such a connection is closed, and so are those that lay
//! idle meanwhile, which are as silent. Must never: let a connection that was given up go back to the pool.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::error::{Cause, Failure};

/// What is dropped is released at once; whatever is released within this time is closed, to be certain.
const DROPPING: Duration = Duration::from_secs(1);

/// How long a connection that comes back may take to say that it is well.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Milliseconds from the start to the last time that something was given up; zero before the first.
static GIVEN_UP: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Must come before work that takes too long is dropped: its connection is closed then, not kept.
pub(crate) fn give_up() {
    GIVEN_UP.store(now(), Ordering::SeqCst);
    tracing::warn!("PostgreSQL stayed silent past the deadline; its connections are made anew");
}

/// Milliseconds since something was given up.
fn since() -> Option<u64> {
    let last = GIVEN_UP.load(Ordering::SeqCst);
    (last > 0).then(|| now().saturating_sub(last))
}

/// A pool that keeps no connection which was given up, or lay idle when one was.
pub(super) fn guarded(options: PgPoolOptions) -> PgPoolOptions {
    let short = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    options
        .before_acquire(move |_, about| {
            let trusted = since().is_none_or(|ago| short(about.idle_for) < ago);
            Box::pin(async move { Ok(trusted) })
        })
        .after_release(move |connection, _| {
            let trusted = since().is_none_or(|ago| ago > short(DROPPING));
            Box::pin(async move { if trusted { still_answers(connection).await } else { Ok(false) } })
        })
}

/// The pool asks every connection that comes back whether it is well, and would wait for ever: this asks first.
async fn still_answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(ANSWER_LIMIT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => {
            give_up();
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
        }
    }
}

/// Runs database work for so long at the most; none when it was given up: it may have been done nevertheless.
pub(crate) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let work = std::pin::pin!(work);
    tokio::select! {
        done = work => Some(done),
        () = tokio::time::sleep(limit) => {
            give_up();
            None
        }
    }
}

/// The same for work that can fail.
///
/// # Errors
/// Those of the work, or that it was given up.
pub(crate) async fn within<T, E: Into<Failure>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let late = || Err(Failure::Transient(Cause::DatabaseAway, "no answer in time".to_owned()));
    in_time(limit, work).await.map_or_else(late, |done| done.map_err(Into::into))
}

/// Asks whether PostgreSQL answers. To wait for a free connection is no sign of silence, to wait for its answer is.
pub(crate) async fn answers(pool: &PgPool, limit: Duration) -> bool {
    let Ok(Ok(mut connection)) = tokio::time::timeout(limit, pool.acquire()).await else { return false };
    let asked = sqlx::query("SELECT 1").execute(&mut *connection);
    within(limit, asked).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up_and_what_lay_idle_is_not_trusted() {
        let done = within(Duration::from_secs(1), async { Ok::<_, Failure>(7) }).await;
        assert!(matches!(done, Ok(7)));
        let late = within(Duration::from_secs(1), std::future::pending::<Result<(), Failure>>()).await;
        assert!(matches!(late, Err(Failure::Transient(Cause::DatabaseAway, _))));
        assert!(since().is_some_and(|ago| ago < 1000));
    }
}
