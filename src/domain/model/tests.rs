//! What learning must always be: a function of the ledger, towards the prior without evidence, and modest.

use super::*;
use crate::domain::rules::Facts;
use crate::domain::rules::fixtures::{day, office_visit};
use crate::domain::types::Phi;
use chrono::Datelike as _;

fn features(rules: &[&'static str]) -> Features {
    Features::of(&office_visit(), &Facts::default(), rules.iter().copied())
}

fn label(decided: i32, denied: bool) -> Label {
    Label { sent: decided - 20, decided, denied, lines: vec![Some(denied)] }
}

fn start() -> i32 {
    day(2026, 1, 1).num_days_from_ce()
}

/// What was learned, by kind and name.
fn learned(learner: &Learner) -> Vec<(Kind, String, Learned)> {
    learner.learned(|cell| cell).rows().map(|(kind, name, cell)| (kind, name, *cell)).collect()
}

fn mean(learner: &Learner, kind: Kind) -> f64 {
    learned(learner).into_iter().find(|(of, ..)| *of == kind).map_or(0.0, |(.., cell)| cell.mean)
}

#[test]
fn a_claim_has_factors_of_its_own_and_of_its_lines() {
    let features = features(&["ID01"]);
    let keys: Vec<String> = features.claim().iter().map(|feature| features.key(feature)).collect();
    for key in ["bias", "rule/ID01"] {
        assert!(keys.iter().any(|one| one == key), "{keys:?}");
    }
    assert_eq!(features.lines().count(), features.line_count());
    for line in features.lines() {
        assert!(line.iter().any(|feature| features.key(feature).starts_with("payer_procedure/")));
    }
}

#[test]
fn no_factor_names_the_patient() {
    let claim = office_visit();
    let features = Features::of(&claim, &Facts::default(), std::iter::empty());
    let member = claim.subscriber.member_id.expect("a member").expose().clone();
    for private in [member.as_str(), claim.patient_control_number.expose()] {
        for feature in features.claim().iter().chain(features.lines().flatten()) {
            assert!(!features.key(feature).contains(private));
        }
    }
}

#[test]
fn repeated_denials_raise_and_payments_lower() {
    let features = features(&[]);
    let mut learner = Learner::default();
    let mut last = f64::MIN;
    for round in 0..50 {
        learner.fold(&features, &label(start() + round, true));
        let sum: f64 = learned(&learner).iter().map(|(.., cell)| cell.mean).sum();
        assert!(sum > last, "round {round}");
        last = sum;
    }
    for round in 50..100 {
        learner.fold(&features, &label(start() + round, false));
        let sum: f64 = learned(&learner).iter().map(|(.., cell)| cell.mean).sum();
        assert!(sum < last, "round {round}");
        last = sum;
    }
    assert_eq!(learner.labels(), 100);
}

#[test]
fn without_evidence_a_cell_is_its_prior_and_old_evidence_fades_towards_it() {
    let features = features(&[]);
    let mut learner = Learner::default();
    for round in 0..30 {
        learner.fold(&features, &label(start() + round, true));
    }
    let then = mean(&learner, Kind::PayerProcedure);
    let mut other = office_visit();
    other.payer.id = Some("OTHER".to_owned());
    other.billing_provider.npi = Some("1999999999".to_owned());
    other.rendering_provider = None;
    let other = Features::of(&other, &Facts::default(), std::iter::empty());
    learner.fold(&other, &label(start() + 30 + 3650, false));
    let now = mean(&learner, Kind::PayerProcedure);
    assert!(then > 0.1 && now > 0.0 && now < then / 50.0, "{then} {now}");
    // The baseline does not fade: it learned from the new label, but from where it was.
    assert!(mean(&learner, Kind::Bias) > bias_mean());
}

#[test]
fn evidence_halves_in_a_year() {
    let features = features(&[]);
    let mut learner = Learner::default();
    learner.fold(&features, &label(start(), true));
    let seen = |learner: &Learner| {
        learned(learner).into_iter().find(|(kind, ..)| *kind == Kind::Payer).map_or(0.0, |(.., one)| one.seen)
    };
    let before = seen(&learner);
    let mut other = office_visit();
    other.payer.id = Some("OTHER".to_owned());
    let other = Features::of(&other, &Facts::default(), std::iter::empty());
    learner.fold(&other, &label(start() + 365, true));
    assert!((seen(&learner) - before / 2.0).abs() < 1e-12);
}

#[test]
fn factors_that_always_come_together_share_what_they_explain() {
    let (with, without) = (features(&["ID01"]), features(&[]));
    let mut learner = Learner::default();
    for round in 0..400 {
        learner.fold(&with, &label(start() + round / 4, true));
        learner.fold(&without, &label(start() + round / 4, false));
    }
    // The rule explains the denials; the payer, who sees both kinds alike, stays in the middle.
    assert!(mean(&learner, Kind::Rule) + mean(&learner, Kind::RulePayer) > 4.0);
    assert!(mean(&learner, Kind::Payer).abs() < 1.0, "{}", mean(&learner, Kind::Payer));
}

#[test]
fn the_same_ledger_gives_the_same_bits() {
    let (one, other) = (features(&["ID01"]), features(&[]));
    let run = || {
        let mut learner = Learner::default();
        for round in 0..300 {
            let features = if round % 3 == 0 { &one } else { &other };
            learner.fold(features, &label(start() + round, round % 7 == 0));
        }
        let bits = |(.., cell): (Kind, String, Learned)| (cell.mean.to_bits(), cell.variance.to_bits());
        learned(&learner).into_iter().map(bits).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_denied_line_is_blamed_and_its_neighbours_are_not() {
    let mut claim = office_visit();
    let mut second = claim.lines[0].clone();
    second.procedure_code = Some("70553".to_owned());
    claim.lines.push(second);
    let features = Features::of(&claim, &Facts::default(), std::iter::empty());
    let mut learner = Learner::default();
    for round in 0..40 {
        let label = Label { lines: vec![Some(false), Some(true)], ..label(start() + round, true) };
        learner.fold(&features, &label);
    }
    let of = |code: &str| {
        let payer = claim.payer.key();
        let key = format!("payer_procedure/{payer}|{code}");
        learned(&learner).into_iter().find(|(_, name, _)| *name == key).map_or(0.0, |(.., cell)| cell.mean)
    };
    let first = claim.lines[0].procedure_code.clone().expect("a code");
    assert!(of("70553") > 0.2 && of(&first) < 0.0, "{} {}", of("70553"), of(&first));
}

#[test]
fn lines_are_matched_by_number_then_by_code() {
    use crate::domain::outcome::LineVerdict;
    let mut claim = office_visit();
    claim.lines[0].control_number = Some("A".into());
    let mut second = claim.lines[0].clone();
    second.control_number = Some("B".into());
    claim.lines.push(second);
    let code = claim.lines[0].procedure_code.clone();
    let line = |number: Option<&str>, verdict| LineOfRemittance {
        control_number: number.map(Phi::from),
        code: code.clone(),
        verdict,
    };
    let of: Vec<LineOfClaim> = claim.lines.iter().map(LineOfClaim::of).collect();
    let remitted = [line(Some("B"), LineVerdict::Denied), line(None, LineVerdict::Paid)];
    assert_eq!(line_labels(&of, true, &remitted), [Some(false), Some(true)]);
    assert_eq!(line_labels(&of, true, &remitted[..1]), [None, Some(true)]);
    assert_eq!(line_labels(&of, true, &[]), [Some(true), Some(true)]);
    assert_eq!(line_labels(&of, false, &remitted), [Some(false), Some(false)]);
}

#[test]
fn a_ledger_in_any_order_of_arrival_teaches_what_its_order_says() {
    let (one, other) = (features(&["ID01"]), features(&[]));
    let entry = |number: i32| {
        let name = number.to_string();
        let decided = day(2026, 1, 1) + chrono::Duration::days(i64::from(number / 3));
        let of = Answered {
            practice: "P",
            number: &name,
            place: "P",
            frequency: "1",
            predecessor: "",
            trace: "T",
            payer_number: "",
            ordinal: 1,
        };
        let features = if number % 3 == 0 { &one } else { &other };
        (OrderKey::new(decided, &of), features, label(decided.num_days_from_ce(), number % 5 == 0))
    };
    let version = |ledger: &Ledger| {
        crate::domain::score::Snapshot::of(&ledger.replay(Configuration::default())).version().to_owned()
    };
    let (mut forward, mut backward) = (Ledger::default(), Ledger::default());
    for number in 0..60 {
        let (order, features, label) = entry(number);
        forward.put(number.into(), order, features, label);
        let (order, features, label) = entry(59 - number);
        backward.put((59 - number).into(), order, features, label);
    }
    assert_eq!(version(&forward), version(&backward));
    // What is taken out leaves no trace, and what is put in again is as it was.
    let before = version(&forward);
    forward.remove(7);
    assert_ne!(version(&forward), before);
    let (order, features, label) = entry(7);
    forward.put(7, order, features, label);
    assert_eq!((version(&forward), forward.len()), (before, 60));
}
