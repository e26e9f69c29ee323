//! A simulated world as messages, and what the tables must hold when all of it is applied: the simulator's truth, and the
//! state that another order of the same events ends in.

use std::collections::BTreeMap;

use claimrisk::broker::Outgoing;
use claimrisk::flow::split::message_of;
use claimrisk::simulate::{SimClaim, SimRemittance, Simulation};
use sqlx::Row as _;

use crate::harness::Place;

/// All events of a simulation, as messages.
pub fn messages(simulation: &Simulation) -> Vec<Outgoing> {
    let claims = simulation.claims.iter().map(SimClaim::event);
    let remittances = simulation.remittances.iter().map(SimRemittance::event);
    claims.chain(remittances).map(|event| message_of(&event)).collect()
}

/// A fixed shuffle: the same seed gives the same order.
pub fn shuffle(messages: &mut [Outgoing], mut seed: u64) {
    for place in (1..messages.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        messages.swap(place, (seed >> 33) as usize % (place + 1));
    }
}

/// The business state: everything but surrogate ids and times of arrival.
pub async fn state(place: &Place) -> Vec<String> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, y.payer_key, c.total_charge_amount,
             c.status, c.claim_frequency_type, c.overall_score, c.risk_level, c.service_date, c.diagnosis_codes::text,
             (SELECT count(*) FROM claim_lines l WHERE l.claim_id = c.id), (SELECT sum(charge_amount) FROM claim_lines l WHERE l.claim_id = c.id))
         FROM claims c JOIN practices p ON p.id = c.practice_id JOIN payers y ON y.id = c.payer_id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, r.patient_control_number, r.trace_number, r.claim_ordinal, r.payment_amount,
             r.adjudication, r.link_state, c.patient_control_number, c.responsibility, e.link_method, e.link_confidence, e.status,
             (SELECT sum(payment_amount) FROM remittance_lines l WHERE l.remittance_id = r.id))
         FROM remittances r JOIN practices p ON p.id = r.practice_id LEFT JOIN claims c ON c.id = r.claim_id
         LEFT JOIN claim_episodes e ON e.remittance_id = r.id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, s.frequency_code, s.predecessor,
             o.initial_outcome, o.final_outcome, o.net_payment_amount, o.overturned, o.initial_date)
         FROM claim_outcomes o JOIN claim_submissions s ON s.id = o.submission_id JOIN claims c ON c.id = o.claim_id
         JOIN practices p ON p.id = c.practice_id ORDER BY 1",
        "SELECT concat_ws('|', p.practice_key, c.patient_control_number, c.responsibility, n.overall_score, n.model_version, n.input_hash)
         FROM claims c JOIN practices p ON p.id = c.practice_id
         CROSS JOIN LATERAL (SELECT * FROM risk_scores r WHERE r.claim_id = c.id ORDER BY r.id DESC LIMIT 1) n ORDER BY 1",
        "SELECT concat_ws('|', source, event_id, event_type, result = 'parked') FROM ingest_events WHERE result <> 'rejected'
         ORDER BY 1",
    ] {
        let found = sqlx::query(sql).fetch_all(&place.pool).await.expect("state");
        rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
    }
    rows
}

/// Practice, control number, responsibility.
type Key = (String, String, String);
/// By claim and frequency: initial outcome, final outcome, net payment in cents.
type Outcomes = BTreeMap<(Key, String), (Option<String>, Option<String>, i64)>;

/// Compares tables with the simulator's truth: claims, money, links, outcomes.
pub async fn assert_truth(place: &Place, simulation: &Simulation) {
    let mut claims: BTreeMap<Key, ()> = BTreeMap::new();
    let mut outcomes = Outcomes::new();
    for claim in &simulation.claims {
        let truth = &claim.truth;
        let key =
            (truth.practice.clone(), truth.patient_control_number.expose().clone(), truth.responsibility.to_owned());
        claims.insert(key.clone(), ());
        if truth.initial_outcome.is_some() || truth.final_outcome.is_some() {
            let words = |word: Option<&str>| word.map(str::to_owned);
            let outcome = (words(truth.initial_outcome), words(truth.final_outcome), truth.paid_total.get());
            outcomes.insert((key, truth.frequency.clone()), outcome);
        }
    }
    assert_eq!(place.count("SELECT count(*) FROM claims").await, claims.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM claim_submissions").await, simulation.claims.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM remittances").await, simulation.remittances.len() as i64);
    assert_eq!(place.count("SELECT count(*) FROM remittances WHERE claim_id IS NULL").await, 0);
    assert_eq!(place.count("SELECT count(*) FROM claim_episodes").await, simulation.remittances.len() as i64);
    let paid: i64 = simulation.remittances.iter().map(|remittance| remittance.remittance.payment.get()).sum();
    assert_eq!(place.count("SELECT (sum(payment_amount) * 100)::bigint FROM remittances").await, paid);
    assert_eq!(place.count("SELECT (sum(payment_amount) * 100)::bigint FROM claim_episodes").await, paid);

    let rows = sqlx::query(
        "SELECT p.practice_key, c.patient_control_number, c.responsibility, s.frequency_code, o.initial_outcome,
             o.final_outcome, (o.net_payment_amount * 100)::bigint
         FROM claim_outcomes o JOIN claim_submissions s ON s.id = o.submission_id JOIN claims c ON c.id = o.claim_id
         JOIN practices p ON p.id = c.practice_id",
    )
    .fetch_all(&place.pool)
    .await
    .expect("outcomes");
    let stored: Outcomes = rows
        .iter()
        .map(|row| (((row.get(0), row.get(1), row.get(2)), row.get(3)), (row.get(4), row.get(5), row.get(6))))
        .collect();
    for (key, truth) in &outcomes {
        assert_eq!(stored.get(key), Some(truth), "{key:?}");
    }
    assert_eq!(stored.len(), outcomes.len());
}
