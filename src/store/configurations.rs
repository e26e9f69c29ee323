//! How models learn: the configuration in force, its challengers, and how they did beside each other.
//!
//! Must never: leave the fleet without a configuration in force, or with two.

use sqlx::{PgExecutor, PgPool};

use crate::domain::types::Instant;

/// A stored configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its number.
    pub id: i32,
    /// Its settings, as `Configuration` writes them.
    pub settings: String,
    /// `champion`, `challenger` or `retired`.
    pub role: String,
    /// Since when it has this role.
    pub since: Instant,
}

/// All configurations, the champion first.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<Configured>, sqlx::Error> {
    sqlx::query_as!(Configured, "SELECT id, settings, role, since FROM model_configurations ORDER BY role, id")
        .fetch_all(executor)
        .await
}

/// Lets a configuration score beside the champion from now on.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn challenge(pool: &PgPool, settings: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO model_configurations AS c (settings, role) VALUES ($1, 'challenger')
         ON CONFLICT (settings) DO UPDATE SET role = 'challenger', since = now() WHERE c.role = 'retired'",
        settings
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends a challenger's scoring; what it scored stays. Answers whether there was such a challenger.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn retire(pool: &PgPool, settings: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE model_configurations SET role = 'retired', since = now() WHERE settings = $1 AND role = 'challenger'",
        settings
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a challenger in force; the champion goes on as a challenger, so that this can be undone. Answers whether there was
/// such a challenger.
///
/// # Errors
/// PostgreSQL cannot be reached; nothing is changed then.
pub async fn promote(pool: &PgPool, settings: &str) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("UPDATE model_configurations SET role = 'challenger', since = now() WHERE role = 'champion'")
        .execute(&mut *transaction)
        .await?;
    let done = sqlx::query!(
        "UPDATE model_configurations SET role = 'champion', since = now() WHERE settings = $1 AND role = 'challenger'",
        settings
    )
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() != 1 {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// A labelled claim that both scored before its label came.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Log-odds of the score that was shown, in millionths.
    pub shown: i64,
    /// Log-odds of the challenger's.
    pub shadow: i64,
    /// What came of it.
    pub denied: bool,
    /// The payer.
    pub payer_id: i64,
    /// The billing provider, 0 where there is none.
    pub provider_id: i64,
    /// Days since the label came.
    pub age_days: i32,
}

/// What a challenger scored beside the champion, of claims that are old enough for both answers to have come.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn pairs(pool: &PgPool, configuration_id: i32, matured_days: i32) -> Result<Vec<Pair>, sqlx::Error> {
    sqlx::query_as!(
        Pair,
        r#"SELECT r.log_odds_micro AS shown, w.log_odds_micro AS shadow, l.denied, c.payer_id,
               coalesce(c.provider_id, 0) AS "provider_id!", extract(day FROM now() - l.labelled_at)::int AS "age_days!"
           FROM label_scores l JOIN risk_scores r ON r.id = l.risk_score_id
           JOIN shadow_scores w ON w.risk_score_id = r.id AND w.configuration_id = $1
           JOIN claims c ON c.id = r.claim_id JOIN claim_submissions s ON s.id = l.submission_id
           WHERE s.version_time < now() - make_interval(days => $2)
           ORDER BY l.submission_id"#,
        configuration_id,
        matured_days
    )
    .fetch_all(pool)
    .await
}
