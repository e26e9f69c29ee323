//! Fills a database with many stored claims: those that are there copied again and again, in the server.
//!
//! Each copy has ids, control numbers, members and events of its own, and lies as many days back as befits its place:
//! the copies cover two years, the last one is of today. Practices, payers and providers stay. Within the bodies the
//! numbers are new and the dates are not. Indexes are made after the rows, and must be what they were. Must never: be used
//! on a database that is not the bench's own; foreign keys are not checked meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::CONNECTIONS;
use crate::error::CommandError;

/// The tables that claims and remittances leave rows in.
const TABLES: [&str; 10] = [
    "claims",
    "claim_submissions",
    "claim_lines",
    "risk_scores",
    "remittances",
    "remittance_lines",
    "claim_episodes",
    "claim_outcomes",
    "label_scores",
    "ingest_events",
];
/// Where the rows to be copied stand meanwhile.
const BASE: &str = "bench_base";
/// Columns with ids of rows that are copied along.
const IDS: [&str; 9] = [
    "id",
    "claim_id",
    "submission_id",
    "remittance_id",
    "initial_remittance_id",
    "final_remittance_id",
    "runner_up_claim_id",
    "risk_score_id",
    "acknowledgement_id",
];
/// Columns with numbers and names that each copy has anew; an empty one stays empty.
const NAMES: [&str; 8] = [
    "patient_control_number",
    "claim_control_number",
    "payer_claim_control_number",
    "predecessor",
    "trace_number",
    "member_id",
    "event_id",
    "version_id",
];
/// What stands before the names of copy `$1`.
const MARK: &str = "concat('K', $1::bigint, 'Y')";
/// Days over which the copies are spread.
const DAYS: i64 = 720;
/// Progress is told so many times.
const TOLD: i64 = 20;

/// An index that is made anew, and the constraint that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
struct Index {
    name: String,
    of_table: String,
    definition: String,
    is_constraint: bool,
}

/// Copies what is stored so many times over; tells how far it has come.
///
/// # Errors
/// PostgreSQL cannot be reached, or refuses (a full disk); an index was not made as it was.
pub async fn fill(pool: &PgPool, copies: i64, tell: &(dyn Fn(&str) + Sync)) -> Result<(), CommandError> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = pool.acquire().await?;
        let settings =
            "SET session_replication_role = replica; SET synchronous_commit = off; SET statement_timeout = 0;
             SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET maintenance_work_mem = '512MB';
             SET max_parallel_maintenance_workers = 0; SET client_min_messages = warning";
        sqlx::raw_sql(settings).execute(&mut *connection).await?;
        // Never back to the pool with these settings.
        connections.push(connection.detach());
    }
    let Some(first) = connections.first_mut() else { return Ok(()) };
    let (stride, indexes) = prepare(first).await?;
    let mut statements = Vec::new();
    for table in TABLES {
        statements.push(statement(first, table, stride).await?);
    }
    copy_all(&mut connections, &statements, copies, tell).await?;
    tell(&format!("making {} indexes", indexes.len()));
    let made = indexes.iter().map(|index| index.definition.clone()).collect();
    side_by_side(&mut connections, made).await?;
    let Some(first) = connections.first_mut() else { return Ok(()) };
    finish(first, &indexes).await?;
    tell("cleaning and analysing");
    let cleaned = TABLES.iter().map(|table| format!("VACUUM (ANALYZE) {table}")).collect();
    side_by_side(&mut connections, cleaned).await?;
    side_by_side(&mut connections, vec!["CHECKPOINT".to_owned()]).await?;
    Ok(())
}

/// Puts the rows aside and takes the indexes away: by how much the ids of one copy and the next differ, and the indexes.
async fn prepare(connection: &mut PgConnection) -> Result<(i64, Vec<Index>), CommandError> {
    let mut stride = 0;
    run(connection, &format!("CREATE SCHEMA {BASE}")).await?;
    for table in TABLES {
        run(connection, &format!("CREATE UNLOGGED TABLE {BASE}.{table} AS TABLE {table}")).await?;
        run(connection, &format!("ANALYZE {BASE}.{table}")).await?;
        if has_own_id(table) {
            let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
            stride = stride.max(sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?);
        }
    }
    let indexes = indexes(connection).await?;
    for Index { name, of_table, is_constraint, .. } in &indexes {
        let sql = if *is_constraint {
            format!("ALTER TABLE {of_table} DROP CONSTRAINT {name}")
        } else {
            format!("DROP INDEX {name}")
        };
        run(connection, &sql).await?;
    }
    Ok((stride + 1, indexes))
}

/// Rows of this table are told apart by the submission's id.
fn has_own_id(table: &str) -> bool {
    table != "label_scores"
}

/// All indexes but those of the primary keys: these grow at their end, and foreign keys need them.
async fn indexes(connection: &mut PgConnection) -> Result<Vec<Index>, CommandError> {
    Ok(sqlx::query_as(
        "SELECT k.relname::text AS name, t.relname::text AS of_table, pg_get_indexdef(k.oid) AS definition,
             EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = k.oid AND c.contype = 'u') AS is_constraint
         FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY($1) AND NOT i.indisprimary
         ORDER BY k.relname",
    )
    .bind(TABLES.as_slice())
    .fetch_all(connection)
    .await?)
}

/// Joins the constraints to their indexes, lets new rows come after the copies, and looks whether all is as it was.
async fn finish(connection: &mut PgConnection, indexes_before: &[Index]) -> Result<(), CommandError> {
    for Index { name, of_table, .. } in indexes_before.iter().filter(|index| index.is_constraint) {
        run(connection, &format!("ALTER TABLE {of_table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")).await?;
    }
    for table in TABLES.into_iter().filter(|table| has_own_id(table)) {
        run(
            connection,
            &format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"),
        )
        .await?;
    }
    run(connection, &format!("DROP SCHEMA {BASE} CASCADE")).await?;
    if indexes(connection).await? == indexes_before {
        return Ok(());
    }
    Err(CommandError::Failed("the indexes were not made as they were".to_owned()))
}

/// The statement that copies a table's rows: `$1` is the number of the copy, `$2` how many days it lies back.
async fn statement(connection: &mut PgConnection, table: &str, stride: i64) -> Result<String, CommandError> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = columns.iter().map(|(name, kind)| copied(name, kind, stride)).collect();
    let key = if has_own_id(table) { "id" } else { "submission_id" };
    Ok(format!(
        "INSERT INTO public.{table} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {BASE}.{table} b, \
         (SELECT $1::bigint, $2::int) AS copy ORDER BY b.{key}",
        names.join(", "),
        values.join(", ")
    ))
}

/// What a column of a copy holds.
fn copied(column: &str, kind: &str, stride: i64) -> String {
    match (column, kind) {
        (id, _) if IDS.contains(&id) => format!("b.{id} + $1::bigint * {stride}"),
        (name, _) if NAMES.contains(&name) => format!("CASE WHEN b.{name} = '' THEN '' ELSE {MARK} || b.{name} END"),
        // As `normalise_control_number` makes it: the mark starts with a letter, so that no zero is in front.
        ("control_number_key", _) => {
            format!("upper(regexp_replace({MARK} || b.patient_control_number, '[^A-Za-z0-9]', '', 'g'))")
        }
        ("member_key", _) => "hashint8extended(b.member_key, $1::bigint)".to_owned(),
        ("body", _) => {
            let number = format!("to_jsonb({MARK} || (b.body ->> 'patientControlNumber'))");
            let member = format!("to_jsonb({MARK} || (b.body #>> '{{subscriber,memberId}}'))");
            format!(
                "jsonb_set(jsonb_set(b.body, '{{patientControlNumber}}', coalesce({number}, 'null'), false), \
                 '{{subscriber,memberId}}', coalesce({member}, 'null'), false)"
            )
        }
        (day, "date") => format!("b.{day} - $2::int"),
        (time, "timestamp with time zone") => format!("b.{time} - make_interval(days => $2::int)"),
        (other, _) => format!("b.{other}"),
    }
}

/// Lets each connection make one copy after the other.
async fn copy_all(
    connections: &mut [PgConnection],
    statements: &[String],
    copies: i64,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), CommandError> {
    let (begun, done) = (AtomicI64::new(0), AtomicI64::new(0));
    let work = connections.iter_mut().map(|connection| {
        let (begun, done) = (&begun, &done);
        async move {
            loop {
                let copy = begun.fetch_add(1, Ordering::Relaxed) + 1;
                if copy > copies {
                    return Ok::<_, sqlx::Error>(());
                }
                let days = i32::try_from((copies - copy) * DAYS / copies.max(1)).unwrap_or_default();
                run(connection, "BEGIN").await?;
                for statement in statements {
                    sqlx::query(AssertSqlSafe(statement.as_str()))
                        .bind(copy)
                        .bind(days)
                        .execute(&mut *connection)
                        .await?;
                }
                run(connection, "COMMIT").await?;
                let made = done.fetch_add(1, Ordering::Relaxed) + 1;
                if made * TOLD / copies != (made - 1) * TOLD / copies {
                    tell(&format!("{} % of the stored claims are there", made * 100 / copies));
                }
            }
        }
    });
    futures_util::future::try_join_all(work).await?;
    Ok(())
}

/// Runs statements, one on each connection at a time.
async fn side_by_side(connections: &mut [PgConnection], mut statements: Vec<String>) -> Result<(), CommandError> {
    statements.reverse();
    let waiting = Mutex::new(statements);
    let work = connections.iter_mut().map(|connection| {
        let waiting = &waiting;
        async move {
            let next = || waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            while let Some(statement) = next() {
                run(connection, &statement).await?;
            }
            Ok::<_, sqlx::Error>(())
        }
    });
    futures_util::future::try_join_all(work).await?;
    Ok(())
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_ids_names_and_days_of_its_own_and_the_same_payer() {
        assert_eq!(copied("claim_id", "bigint", 900), "b.claim_id + $1::bigint * 900");
        assert_eq!(copied("payer_id", "bigint", 900), "b.payer_id");
        assert_eq!(copied("payment_date", "date", 900), "b.payment_date - $2::int");
        let name = copied("member_id", "text", 900);
        assert_eq!(name, "CASE WHEN b.member_id = '' THEN '' ELSE concat('K', $1::bigint, 'Y') || b.member_id END");
        assert!(copied("created_at", "timestamp with time zone", 900).contains("make_interval(days => $2::int)"));
    }
}
