//! The simulator against the project's own labels, events and reader.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::link::{Candidate, Link, RemittanceKey, link};
use crate::domain::outcome::{Adjudicated, Outcome, Submission, fold, judge};
use crate::domain::types::Cents;
use crate::domain::x12::{Item, Summary, read_all};
use crate::wire::{Payload, decode_json};

fn simulation(claims: u32, seed: u64) -> Simulation {
    simulate(&Options { claims, seed, ..Options::default() })
}

fn x12_bytes(simulation: &Simulation) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut claims: BTreeMap<_, Vec<&SimClaim>> = BTreeMap::new();
    for entry in &simulation.claims {
        claims.entry((entry.practice, entry.claim.claim_type)).or_default().push(entry);
    }
    for entries in claims.values() {
        write_837(entries, &mut bytes).unwrap();
    }
    let mut remittances: BTreeMap<_, Vec<&SimRemittance>> = BTreeMap::new();
    for entry in &simulation.remittances {
        remittances.entry(entry.payer).or_default().push(entry);
    }
    for entries in remittances.values() {
        write_835(entries, &mut bytes).unwrap();
    }
    bytes
}

/// The submissions and remittances of each claim, by what identifies it; the payer tells a second payer's remittance.
type Claims<'a> = BTreeMap<(String, String, &'static str), (Vec<&'a SimClaim>, Vec<&'a SimRemittance>)>;

/// Control numbers without what payers drop or cut, unique within a practice.
fn stem(number: &str) -> String {
    number
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .trim_start_matches('0')
        .chars()
        .take(10)
        .collect()
}

fn by_claim(simulation: &Simulation) -> Claims<'_> {
    let mut claims: Claims<'_> = BTreeMap::new();
    let mut payers = BTreeMap::new();
    for entry in &simulation.claims {
        let key = (entry.truth.practice.clone(), stem(entry.truth.patient_control_number.expose()));
        payers.insert((key.clone(), entry.claim.payer.id.clone()), entry.truth.responsibility);
        claims.entry((key.0, key.1, entry.truth.responsibility)).or_default().0.push(entry);
    }
    for entry in &simulation.remittances {
        let practice = entry.remittance.practice_key().unwrap().to_owned();
        let key = (practice, stem(entry.remittance.patient_control_number.expose()));
        let responsibility = payers[&(key.clone(), entry.remittance.payer.id.clone())];
        claims.get_mut(&(key.0, key.1, responsibility)).unwrap().1.push(entry);
    }
    claims
}

fn adjudicated(entry: &SimRemittance, id: i64) -> Adjudicated {
    let told = &entry.remittance;
    Adjudicated {
        remittance_id: id,
        adjudication: judge(told).adjudication,
        payment_date: told.payment_date,
        trace_number: told.trace_number.clone(),
        ordinal: told.claim_ordinal,
        payment: told.payment,
        frequency_code: told.frequency_code.clone(),
        payer_claim_control_number: told.payer_claim_control_number.clone(),
    }
}

#[test]
fn the_projects_labels_equal_the_truth() {
    for seed in 1..=3 {
        let simulation = simulation(5000, seed);
        let mut wrong = Vec::new();
        for (key, (submissions, remittances)) in by_claim(&simulation) {
            let known: Vec<Submission> = (0_i64..)
                .zip(&submissions)
                .map(|(id, entry)| Submission {
                    id,
                    frequency_code: entry.claim.frequency_code.clone(),
                    payer_claim_control_number: entry.claim.payer_claim_control_number.clone(),
                    submitted_at: entry.claim.submitted_at,
                    version_time: entry.submitted,
                })
                .collect();
            let answers: Vec<Adjudicated> =
                (0_i64..).zip(&remittances).map(|(id, entry)| adjudicated(entry, id)).collect();
            let outcomes = fold(&known, &answers);
            for (id, entry) in (0_i64..).zip(&submissions) {
                let found = outcomes.iter().find(|outcome| outcome.submission_id == id);
                let initial = found.and_then(|o| o.initial).map(Outcome::as_str);
                let last = found.and_then(|o| o.r#final).map(Outcome::as_str);
                let paid = found.map_or(Cents::ZERO, |o| o.net_payment);
                let truth = &entry.truth;
                if (initial, last, paid) != (truth.initial_outcome, truth.final_outcome, truth.paid_total) {
                    wrong.push((key.clone(), initial, last, paid, truth.clone(), remittances.clone()));
                }
            }
        }
        assert!(wrong.is_empty(), "seed {seed}: {} differ, first {:?}", wrong.len(), wrong.first());
    }
}

#[test]
fn every_remittance_balances_and_belongs_to_one_submission() {
    let simulation = simulation(3000, 4);
    for entry in &simulation.remittances {
        assert!(!judge(&entry.remittance).data_quality.unbalanced, "{:?}", entry.remittance);
        assert!(!judge(&entry.remittance).data_quality.unclassified_code, "{:?}", entry.remittance);
    }
    let counted: u32 = simulation.claims.iter().map(|entry| entry.truth.remittances).sum();
    assert_eq!(usize::try_from(counted).unwrap(), simulation.remittances.len());
    let paid: Cents = simulation.claims.iter().map(|entry| entry.truth.paid_total).sum();
    let remitted: Cents = simulation.remittances.iter().map(|entry| entry.remittance.payment).sum();
    assert_eq!(paid, remitted);
}

#[test]
fn the_same_options_give_the_same_bytes_and_another_seed_others() {
    let (first, again, other) = (simulation(400, 9), simulation(400, 9), simulation(400, 10));
    assert_eq!(x12_bytes(&first), x12_bytes(&again));
    assert_ne!(x12_bytes(&first), x12_bytes(&other));
    let truth = |simulation: &Simulation| {
        let mut bytes = Vec::new();
        truth_csv(simulation, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(truth(&first), truth(&again));
    assert_eq!(truth(&first).iter().filter(|&&byte| byte == b'\n').count(), 401);
}

#[test]
fn denials_come_as_often_as_their_probability_says() {
    for scenario in [Scenario::Base, Scenario::MisSpecified, Scenario::Noise] {
        let simulation = simulate(&Options { claims: 20_000, seed: 5, scenario, ..Options::default() });
        let labelled: Vec<&Truth> =
            simulation.claims.iter().map(|e| &e.truth).filter(|t| t.initial_outcome.is_some()).collect();
        // In bins of the probability: observed within four standard errors of expected.
        for (low, high) in [(0, 30_000), (30_000, 60_000), (60_000, 200_000), (200_000, 600_000), (600_000, 1_000_001)]
        {
            let bin: Vec<&&Truth> = labelled.iter().filter(|t| (low..high).contains(&t.p_denial_ppm)).collect();
            let expected: f64 = bin.iter().map(|t| f64::from(t.p_denial_ppm) / 1e6).sum();
            let variance: f64 = bin.iter().map(|t| f64::from(t.p_denial_ppm) / 1e6).map(|p| p * (1.0 - p)).sum();
            let denied = bin.iter().filter(|t| t.initial_outcome != Some("paid")).count();
            let off = (f64::from(u32::try_from(denied).unwrap()) - expected).abs();
            assert!(off <= 4.0 * variance.sqrt() + 1.0, "{scenario:?} {low}: {denied} of {}, {expected}", bin.len());
        }
    }
}

#[test]
fn denial_rates_are_those_of_the_field() {
    let simulation = simulation(20_000, 6);
    let share = |outcomes: &[&str]| {
        let labelled = simulation.claims.iter().filter(|e| e.truth.initial_outcome.is_some()).count();
        let such =
            simulation.claims.iter().filter(|e| e.truth.initial_outcome.is_some_and(|o| outcomes.contains(&o))).count();
        such * 1000 / labelled
    };
    let (any, partial) = (share(&["partial", "denied"]), share(&["partial"]));
    assert!((100..=160).contains(&any), "{any} per mille");
    assert!((any / 5..=any / 2).contains(&partial), "{partial} of {any} per mille");
    let count = |test: fn(&SimClaim) -> bool| simulation.claims.iter().filter(|entry| test(entry)).count();
    assert!((400..=1200).contains(&count(|e| e.claim.is_replacement())));
    assert!(count(|e| e.claim.is_void()) > 20);
    assert!(count(|e| e.truth.responsibility == "S") > 200);
    assert!((400..=900).contains(&count(|e| e.truth.remittances == 0 && !e.claim.is_void())));
    assert!(count(|e| e.truth.final_outcome == Some("recouped")) > 50);
    assert!(count(|e| e.truth.initial_outcome == Some("denied") && e.truth.final_outcome == Some("paid")) > 200);
    assert!(count(|e| e.truth.link_method != "control_number") > 50);
}

#[test]
fn submissions_of_one_claim_are_told_apart_by_their_time() {
    let simulation = simulation(3000, 7);
    let mut seen = BTreeSet::new();
    for entry in &simulation.claims {
        let truth = &entry.truth;
        let claim = (truth.practice.clone(), truth.patient_control_number.clone(), truth.responsibility);
        assert!(seen.insert((claim, entry.submitted)), "two submissions at one time");
        assert_eq!(entry.claim.submitted_at, Some(entry.submitted.date_naive()));
    }
}

#[test]
fn transactions_never_pay_a_negative_amount() {
    let simulation = simulation(5000, 8);
    let mut sums: BTreeMap<_, Cents> = BTreeMap::new();
    for entry in &simulation.remittances {
        let sum = sums.entry(entry.remittance.trace_number.clone()).or_default();
        *sum += entry.remittance.payment;
        for adjustment in &entry.remittance.provider_adjustments {
            *sum = *sum - adjustment.amount;
        }
    }
    assert!(sums.values().all(|sum| *sum >= Cents::ZERO));
}

#[test]
fn events_read_back_as_the_same_claims_and_remittances() {
    let simulation = simulation(1500, 11);
    let mut claims = Vec::new();
    output::claim_events(&simulation, &mut claims).unwrap();
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines(&claims), simulation.claims.len());
    for (line, entry) in claims.split(|&b| b == b'\n').zip(&simulation.claims) {
        let event = decode_json(line).unwrap();
        assert_eq!((event.source.as_str(), event.time), (SOURCE, entry.submitted));
        let Payload::Claim(claim) = event.payload else { panic!("no claim") };
        assert!(*claim == entry.claim, "{claim:?}\n{:?}", entry.claim);
    }
    let mut remittances = Vec::new();
    output::remittance_events(&simulation, &mut remittances).unwrap();
    assert_eq!(lines(&remittances), simulation.remittances.len());
    for (line, entry) in remittances.split(|&b| b == b'\n').zip(&simulation.remittances) {
        let event = decode_json(line).unwrap();
        assert_eq!(event.time, entry.time);
        let Payload::Remittance(told) = event.payload else { panic!("no remittance") };
        assert!(*told == entry.remittance, "{told:?}\n{:?}", entry.remittance);
    }
}

/// Reads what was written and counts the remarks that are not mere information.
fn read(bytes: &[u8]) -> (Vec<Item>, Summary) {
    let (items, summary) = read_all(bytes);
    assert_eq!((summary.errors, summary.withheld), (0, 0));
    (items, summary)
}

#[test]
fn claims_written_as_837_read_back_the_same() {
    let simulation = simulation(3000, 12);
    let mut files: BTreeMap<_, Vec<&SimClaim>> = BTreeMap::new();
    for entry in &simulation.claims {
        files.entry((entry.practice, entry.claim.claim_type)).or_default().push(entry);
    }
    for entries in files.values() {
        let mut bytes = Vec::new();
        write_837(entries, &mut bytes).unwrap();
        let (items, summary) = read(&bytes);
        assert_eq!((summary.claims, summary.warnings), (u64::try_from(entries.len()).unwrap(), 0), "{items:?}");
        let claims = items.iter().filter_map(|item| match item {
            Item::Claim(parsed) => Some(parsed),
            _ => None,
        });
        for (parsed, entry) in claims.zip(entries) {
            assert!(parsed.value == entry.claim, "read {:?}\nwritten {:?}", parsed.value, entry.claim);
            assert_eq!(parsed.transaction.time, Some(entry.submitted));
        }
    }
}

#[test]
fn remittances_written_as_835_read_back_the_same_and_balance() {
    let simulation = simulation(3000, 13);
    let mut files: BTreeMap<_, Vec<&SimRemittance>> = BTreeMap::new();
    for entry in &simulation.remittances {
        files.entry(entry.payer).or_default().push(entry);
    }
    for entries in files.values() {
        let mut bytes = Vec::new();
        write_835(entries, &mut bytes).unwrap();
        let (items, summary) = read(&bytes);
        // No warning: segment counts are right, claims balance, BPR02 is what was paid less PLB.
        assert_eq!((summary.remittances, summary.warnings), (u64::try_from(entries.len()).unwrap(), 0), "{items:?}");
        assert_eq!(summary.payment_total, summary.remittance_payment_total - summary.provider_adjustment_total);
        let remittances = items.iter().filter_map(|item| match item {
            Item::Remittance(parsed) => Some(parsed),
            _ => None,
        });
        for (parsed, entry) in remittances.zip(entries) {
            assert!(parsed.value == entry.remittance, "read {:?}\nwritten {:?}", parsed.value, entry.remittance);
            assert_eq!(parsed.transaction.time, Some(entry.time));
        }
    }
}

#[test]
fn odd_options_still_give_as_many_claims_as_asked_for() {
    for (claims, practices, payers, months) in [(0, 16, 14, 12), (1, 1, 1, 0), (300, 1, 1, 1), (300, 2, 3, 99)] {
        let options = Options { claims, practices, payers, months, start: Date::MAX, ..Options::default() };
        let simulation = simulate(&options);
        assert_eq!(simulation.claims.len(), usize::try_from(claims).unwrap());
    }
}

#[test]
fn a_folder_gets_its_files_and_the_truth() {
    let dir = std::env::temp_dir().join(format!("claimrisk-simulate-{}", std::process::id()));
    let simulation = simulation(200, 14);
    let x12 = write_dir(&simulation, &dir.join("x12"), Format::X12).unwrap();
    let events = write_dir(&simulation, &dir.join("ndjson"), Format::Ndjson).unwrap();
    let mut found: Vec<String> = std::fs::read_dir(dir.join("x12"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut told = x12.files.clone();
    found.sort();
    told.sort();
    assert_eq!(found, told);
    assert_eq!(events.files, ["claims.ndjson", "remittances.ndjson", "truth.csv", "steps.csv"]);
    assert_eq!((x12.claims, x12.remittances), (200, simulation.remittances.len()));
    let read = |folder: &str| std::fs::read(dir.join(folder).join("truth.csv")).unwrap();
    assert_eq!(read("x12"), read("ndjson"));
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The claims of the remittance's practice as the linking ladder sees them: one per claim, its latest submission.
fn candidates(claims: &Claims<'_>, entry: &SimRemittance) -> Vec<Candidate> {
    let practice = entry.remittance.practice_key().unwrap();
    (0_i64..)
        .zip(claims)
        .filter(|(_, ((own, _, _), _))| own == practice)
        .map(|(claim_id, (_, (submissions, _)))| {
            let latest = &submissions.last().unwrap().claim;
            Candidate {
                claim_id,
                patient_control_number: latest.patient_control_number.clone(),
                responsibility: latest.responsibility,
                payer_key: latest.payer.id.clone(),
                frequency_code: latest.frequency_code.clone(),
                payer_claim_control_number: latest.payer_claim_control_number.clone(),
                member_id: latest.subscriber.member_id.clone(),
                service_from: latest.service_date(),
                service_to: latest.last_service_date(),
                total_charge: latest.total_charge,
                sibling: false,
                submitted_at: latest.submitted_at,
            }
        })
        .collect()
}

#[test]
fn the_projects_links_equal_the_truth() {
    let simulation = simulation(3000, 15);
    let claims = by_claim(&simulation);
    let mut mangled = 0;
    for (claim_id, (key, (submissions, remittances))) in (0_i64..).zip(&claims) {
        let expected = submissions.first().unwrap().truth.link_method;
        for entry in remittances {
            let told = &entry.remittance;
            let wanted = RemittanceKey {
                patient_control_number: told.patient_control_number.clone(),
                payer_key: told.payer.id.clone(),
                payer_claim_control_number: told.payer_claim_control_number.clone(),
                status_code: told.status_code.clone(),
                frequency_code: told.frequency_code.clone(),
                member_id: told.member_id.clone(),
                service_from: told.service_date(),
                service_to: told.service_to,
                total_charge: told.total_charge,
                payment_date: told.payment_date,
            };
            let Link::Linked { claim_id: found, method, .. } = link(&wanted, &candidates(&claims, entry)) else {
                panic!("not linked: {key:?}")
            };
            assert_eq!((found, method.as_str()), (claim_id, expected), "{key:?}");
            mangled += u32::from(expected == "mangled_control_number");
        }
    }
    assert!(mangled > 10, "{mangled}");
}
