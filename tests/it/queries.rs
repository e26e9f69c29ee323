//! Every query that the worker and the API send is planned with an index on tables of 100,000 rows: PostgreSQL itself
//! writes each plan to its log, and the log is read.

use std::time::Duration;

use claimrisk::simulate::{Options, simulate};
use claimrisk::wire::{Payload, x12_event};

use crate::events::quiet;
use crate::harness::{Place, assert_success, servers};

/// Tables that grow with the claims.
const LARGE: &[&str] = &[
    "claims",
    "claim_submissions",
    "claim_lines",
    "remittances",
    "remittance_lines",
    "claim_episodes",
    "claim_outcomes",
    "label_changes",
    "claim_acknowledgements",
    "risk_scores",
    "label_scores",
    "ingest_events",
    "audit_log",
];

const FILL: &[&str] = &[
    "INSERT INTO payers (payer_key, name) SELECT 'P' || n, 'Payer ' || n FROM generate_series(1, 50) n",
    "INSERT INTO practices (practice_key) SELECT 'PR' || n FROM generate_series(1, 40) n",
    "INSERT INTO providers (provider_key) SELECT '1' || lpad(n::text, 9, '0') FROM generate_series(1, 200) n",
    "INSERT INTO claims (practice_id, payer_id, provider_id, patient_control_number, control_number_key, responsibility,
         claim_control_number, payer_claim_control_number, claim_frequency_type, claim_type, total_charge_amount,
         service_date, member_id, overall_score, risk_level, expected_loss, status, version_time, version_id, created_at)
     SELECT 1 + n % 40, 1 + n % 50, 1 + n % 200, 'F' || n, 'F' || n, 'P', 'CCN' || n, 'ICN' || n, '1', 'professional',
         n % 1000, date '2025-01-01' + n % 500, 'M' || n % 30000, n % 100,
         (ARRAY['low', 'medium', 'high', 'critical'])[1 + n % 4], n % 900,
         (ARRAY['submitted', 'accepted', 'paid', 'paid', 'paid', 'denied'])[1 + n % 6],
         timestamptz '2025-01-01' + n * interval '1 minute', 'v' || n, timestamptz '2025-01-01' + n * interval '1 minute'
     FROM generate_series(1, 100000) n",
    "INSERT INTO claim_submissions (claim_id, frequency_code, body, member_key, version_time, version_id, first_time)
     SELECT id, '1', '{}', id % 30000, version_time, version_id, version_time FROM claims",
    "INSERT INTO claim_lines (claim_id, line_number, procedure_code, charge_amount) SELECT id, 1, '99213', 10 FROM claims",
    "INSERT INTO remittances (practice_id, payer_id, claim_id, trace_number, patient_control_number, control_number_key,
         payer_claim_control_number, claim_ordinal, claim_status_code, payment_date, total_charge_amount, payment_amount,
         member_id, service_date, adjudication, denied_amount, denial_count, adjustment_count, link_state, version_time,
         version_id, created_at, updated_at)
     SELECT practice_id, payer_id, id, 'T' || id % 5000, patient_control_number, control_number_key, 'R' || id, 1, '1',
         date '2025-06-01' + (id % 300)::int, total_charge_amount, 1, member_id, service_date, 'paid', 0, 0, 1, 'linked',
         version_time, version_id, created_at, created_at FROM claims",
    "UPDATE remittances SET claim_id = NULL, link_state = 'unlinked' WHERE id % 500 = 0",
    "INSERT INTO remittance_lines (remittance_id, line_number, procedure_code, charge_amount, payment_amount, outcome)
     SELECT id, 1, '99213', 10, 5, 'paid' FROM remittances",
    "INSERT INTO claim_episodes (claim_id, remittance_id, status, payment_amount, denial_count, adjustment_count,
         link_method, link_confidence, created_at)
     SELECT claim_id, id, 'paid', 1, 0, 1, 'control_number', 1, created_at FROM remittances WHERE claim_id IS NOT NULL",
    "INSERT INTO claim_outcomes (claim_id, submission_id, initial_outcome, final_outcome, net_payment_amount, overturned)
     SELECT claim_id, id, 'paid', 'paid', 1, false FROM claim_submissions WHERE claim_id % 6 IN (2, 3, 4, 5)",
    "INSERT INTO claim_acknowledgements (practice_id, patient_control_number, accepted, version_time, version_id)
     SELECT practice_id, patient_control_number, true, version_time, version_id FROM claims WHERE id % 6 = 1",
    "INSERT INTO risk_scores (claim_id, submission_id, overall_score, risk_level, log_odds_micro, component_scores,
         risk_factors, recommendations, blocking, model_version, rule_set_version, input_hash, calculated_at)
     SELECT s.claim_id, s.id, c.overall_score, c.risk_level, 0,
         '{\"payer\":0,\"coding\":0,\"documentation\":0,\"eligibility\":0,\"provider\":0,\"historical\":0}', '[]', '[]', false,
         'm', 'r', 'h', c.created_at FROM claim_submissions s JOIN claims c ON c.id = s.claim_id",
    "INSERT INTO label_scores (submission_id, risk_score_id, probability_micro, denied, labelled_at)
     SELECT o.submission_id, r.id, r.id % 1000000, r.id % 8 = 0, r.calculated_at
     FROM claim_outcomes o JOIN risk_scores r ON r.submission_id = o.submission_id",
    "INSERT INTO ingest_events (source, event_id, event_type, event_time, body_hash, result, claim_id)
     SELECT 'urn:fill', 'e' || id, 'claim.submitted', version_time, '\\x00', 'accepted', id FROM claims",
    "INSERT INTO audit_log (actor, action, entity, entity_id) SELECT 'api', 'read', 'claim', id FROM claims",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_uses_an_index_on_large_tables() {
    let place = Place::new().await;
    for statement in FILL.iter().copied() {
        sqlx::query(statement).execute(&place.pool).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    sqlx::query("VACUUM ANALYZE").execute(&place.pool).await.expect("analyzed");
    let name = &place.vhost;
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_level = 'log'",
    ] {
        let statement = format!("ALTER DATABASE \"{name}\" SET {setting}");
        servers().await.postgres.sql("postgres", &statement).await.expect("set");
    }
    exercise(&place).await;
    let plans = plans();
    assert!(plans.len() > 40, "only {} plans were logged", plans.len());
    let offending: Vec<&String> = plans.iter().filter(|plan| scans_a_large_table(plan)).collect();
    assert!(
        offending.is_empty(),
        "{} of {} plans:\n{}",
        offending.len(),
        plans.len(),
        offending.iter().map(|p| p.as_str()).collect::<Vec<_>>().join("\n----\n")
    );
}

/// Sends what publishers send and asks what people ask.
async fn exercise(place: &Place) {
    let worker = place.worker(&[]).await;
    let simulation = simulate(&Options { claims: 150, seed: 9, ..Options::default() });
    let events = simulation
        .claims
        .iter()
        .map(|claim| x12_event(Payload::Claim(Box::new(claim.claim.clone())), Some(claim.submitted)))
        .chain(simulation.remittances.iter().map(|remittance| {
            x12_event(Payload::Remittance(Box::new(remittance.remittance.clone())), Some(remittance.time))
        }));
    let messages: Vec<_> = events.map(|event| claimrisk::flow::split::message_of(&event)).collect();
    // In both directions, and some twice: inserts, updates, duplicates, links from either side.
    let mut all: Vec<_> = messages.iter().rev().cloned().collect();
    all.extend(messages.iter().take(100).cloned());
    place.publish(&all).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE source <> 'urn:fill'", messages.len() as i64).await;
    quiet(place, &[&worker]).await;
    for path in [
        "/api/v1/health/detailed",
        "/api/v1/claims",
        "/api/v1/claims?skip=100&limit=50",
        "/api/v1/claims?practice_id=PR3",
        "/api/v1/claims?payer_id=P7",
        "/api/v1/claims?payer_id=P7&status=paid",
        "/api/v1/claims?provider_id=1000000005",
        "/api/v1/claims?status=denied",
        "/api/v1/claims?risk_level=critical",
        "/api/v1/claims?claim_control_number=CCN77",
        "/api/v1/claims?created_from=2025-02-01T00:00:00Z&created_to=2025-02-02T00:00:00Z",
        "/api/v1/claims/77",
        "/api/v1/claims/unlinked",
        "/api/v1/claims/at-risk",
        "/api/v1/claims/at-risk?payer_id=P7",
        "/api/v1/claims/at-risk?practice_id=PR3",
        "/api/v1/claims/at-risk?risk_level=critical",
        "/api/v1/remits",
        "/api/v1/remits?payer_id=P7",
        "/api/v1/remits?practice_id=PR3",
        "/api/v1/claims?claim_control_number=F77",
        "/api/v1/remits?claim_control_number=F77",
        "/api/v1/remits?status=denied",
        "/api/v1/episodes?payer_id=P7",
        "/api/v1/episodes?provider_id=1000000005&status=paid",
        "/api/v1/claims/at-risk?provider_id=1000000005",
        "/api/v1/remits/77",
        "/api/v1/episodes",
        "/api/v1/episodes?status=denied",
        "/api/v1/episodes/77",
        "/api/v1/risk/77",
        "/api/v1/risk/77/history",
        "/api/v1/patterns/payer/P7",
        "/api/v1/events/urn:fill/e77",
        "/api/v1/cache/stats",
    ] {
        let (status, body) = worker.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let id = place.count("SELECT max(claim_id) FROM claim_submissions WHERE body <> '{}'").await;
    let (status, body) = worker.post(&format!("/api/v1/risk/{id}/calculate"), "").await;
    assert!(matches!(status, 200 | 201), "{status} {body}");
    assert_success(&place.run(&["model", "calibration", "--since", "2026-01-01"]));
    // The learner looks once every ten seconds.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(worker.terminate(), 0);
}

/// The plans of all sessions that log them, from the server's log: each begins at `plan:` and ends at the next log line.
fn plans() -> Vec<String> {
    let log = std::fs::read_to_string(log_file()).expect("server log");
    let mut plans = Vec::new();
    let mut current: Option<String> = None;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("plan:") {
            plans.extend(current.take());
            current = Some(rest.to_owned());
        } else if line.starts_with(char::is_whitespace) {
            if let Some(plan) = &mut current {
                plan.push('\n');
                plan.push_str(line);
            }
        } else {
            plans.extend(current.take());
        }
    }
    plans.extend(current);
    plans
}

fn log_file() -> std::path::PathBuf {
    let folder = futures_util::FutureExt::now_or_never(servers()).expect("servers run").postgres.folder().to_owned();
    let mut logs: Vec<_> =
        walk(&folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs.pop().unwrap_or_else(|| panic!("no log in {}", folder.display()))
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

fn scans_a_large_table(plan: &str) -> bool {
    plan.lines().any(|line| {
        line.split_once("Seq Scan on ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .is_some_and(|table| LARGE.contains(&table))
    })
}
