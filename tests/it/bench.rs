//! What the bench writes by itself: the same rows in bulk are the same rows, and copies of stored claims are whole.

use claimrisk::domain::link::normalise_control_number;
use claimrisk::simulate::{Options, simulate};
use claimrisk::store::bench::{Rows, chunks, copy_references, count_claims, fill, write};
use sqlx::PgPool;

use crate::events::quiet;
use crate::harness::Place;
use crate::truth::messages;

const TABLES: [&str; 9] = [
    "claims",
    "claim_submissions",
    "claim_lines",
    "risk_scores",
    "remittances",
    "remittance_lines",
    "claim_episodes",
    "claim_outcomes",
    "ingest_events",
];

/// How many rows a table has, and a digest of them.
async fn content(pool: &PgPool, table: &str) -> (i64, Option<String>) {
    let sql = format!("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t.id)) FROM {table} t");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.expect("read")
}

/// Insists that a query finds nothing.
async fn none(pool: &PgPool, sql: &'static str) {
    let found: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect("read");
    assert_eq!(found, 0, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_bulk_are_the_same_rows_and_copies_of_claims_are_whole() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    let events = messages(&simulate(&Options { claims: 600, seed: 5, ..Options::default() }));
    place.publish(&events).await;
    place.wait_count("SELECT count(*) FROM ingest_events", events.len() as i64).await;
    quiet(&place, &[&worker]).await;
    assert_eq!(worker.terminate(), 0);

    let other = Place::new().await;
    copy_references(&place.pool, &other.pool).await.expect("copied");
    let mut written = 0;
    for rows in [Rows::Claims, Rows::Remittances] {
        let chunks = chunks(&place.pool, rows, 100).await.expect("read");
        assert!(chunks.len() >= 5, "{} chunks", chunks.len());
        written += write(&other.pool, rows, &chunks).await.expect("written").0;
    }
    assert_eq!(written, events.len() as u64);
    let mut before = Vec::new();
    for table in TABLES {
        let (rows, digest) = content(&place.pool, table).await;
        assert!(rows > 0, "{table}");
        assert_eq!(content(&other.pool, table).await, (rows, digest), "{table}");
        before.push(rows);
    }
    copies(&place.pool, &before).await;
}

async fn copies(pool: &PgPool, before: &[i64]) {
    let claims = count_claims(pool).await.expect("counted");
    fill(pool, 3, &|_| ()).await.expect("filled");
    assert_eq!(count_claims(pool).await.expect("counted"), claims * 4);
    for (table, rows) in TABLES.iter().zip(before) {
        assert_eq!(content(pool, table).await.0, rows * 4, "{table}");
    }
    // Foreign keys were not checked meanwhile.
    for orphans in [
        "SELECT count(*) FROM claim_submissions s LEFT JOIN claims c ON c.id = s.claim_id WHERE c.id IS NULL",
        "SELECT count(*) FROM risk_scores r LEFT JOIN claim_submissions s ON s.id = r.submission_id AND s.claim_id = r.claim_id
         WHERE s.id IS NULL",
        "SELECT count(*) FROM label_scores l LEFT JOIN risk_scores r ON r.id = l.risk_score_id
         AND r.submission_id = l.submission_id WHERE r.id IS NULL",
        "SELECT count(*) FROM claim_episodes e LEFT JOIN remittances r ON r.id = e.remittance_id AND r.claim_id = e.claim_id
         WHERE r.id IS NULL",
        "SELECT count(*) FROM claim_outcomes o LEFT JOIN remittances r ON r.id = o.final_remittance_id
         AND r.claim_id = o.claim_id WHERE r.id IS NULL AND o.final_remittance_id IS NOT NULL",
        "SELECT count(*) FROM remittance_lines l LEFT JOIN remittances r ON r.id = l.remittance_id WHERE r.id IS NULL",
        "SELECT count(*) FROM ingest_events i LEFT JOIN claims c ON c.id = i.claim_id
         WHERE c.id IS NULL AND i.claim_id IS NOT NULL",
        // What the events said is what the rows say, and new rows come after the copies.
        "SELECT count(*) FROM claim_submissions s JOIN claims c ON c.id = s.claim_id
         WHERE s.body ->> 'patientControlNumber' IS DISTINCT FROM c.patient_control_number
            OR (s.version_id = c.version_id AND s.body #>> '{subscriber,memberId}' IS DISTINCT FROM c.member_id)",
        "SELECT count(*) FROM claims WHERE id > (SELECT last_value FROM claims_id_seq)",
    ] {
        none(pool, orphans).await;
    }
    let numbers: Vec<(String, String)> =
        sqlx::query_as("SELECT patient_control_number, control_number_key FROM claims")
            .fetch_all(pool)
            .await
            .expect("read");
    assert!(numbers.iter().all(|(number, key)| normalise_control_number(number) == *key));
}
