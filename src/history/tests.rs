//! What a history counts, links and labels.

use super::*;
use crate::domain::model::Kind;
use crate::wire::decode_json;
use crate::wire::examples::{CLAIM_SUBMITTED, REMITTANCE_RECEIVED};

fn event(text: &str) -> Event {
    decode_json(text.as_bytes()).unwrap()
}

fn gather(events: &[&str]) -> History {
    let mut gathering = Gathering::default();
    for text in events {
        gathering.take(event(text));
    }
    gathering.finish()
}

fn claim() -> Claim {
    match event(CLAIM_SUBMITTED).payload {
        Payload::Claim(claim) => *claim,
        _ => unreachable!("the example is a claim"),
    }
}

#[test]
fn a_denied_line_counts_for_its_payer_and_procedure_and_settles_its_claim() {
    for events in [[CLAIM_SUBMITTED, REMITTANCE_RECEIVED], [REMITTANCE_RECEIVED, CLAIM_SUBMITTED]] {
        let history = gather(&events);
        assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
        assert_eq!(history.outcome(&claim()), Some(Outcome::Denied));
        assert_eq!((history.claims, history.remittances, history.linked), (1, 1, 1));
    }
}

#[test]
fn the_same_event_twice_counts_once() {
    let history = gather(&[CLAIM_SUBMITTED, REMITTANCE_RECEIVED, REMITTANCE_RECEIVED, CLAIM_SUBMITTED]);
    assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
}

#[test]
fn a_remittance_with_a_mangled_control_number_is_linked_too() {
    let mangled = REMITTANCE_RECEIVED.replace("PCN-1112223333", "PCN1112223333");
    assert_eq!(gather(&[CLAIM_SUBMITTED, &mangled]).linked, 1);
}

#[test]
fn another_payer_and_an_unlinked_remittance_count_nothing() {
    let history = gather(&[REMITTANCE_RECEIVED]);
    assert!(history.of(&claim()).is_empty() && history.linked == 0);
    let mut other = claim();
    other.payer.id = Some("99999".to_owned());
    assert!(gather(&[CLAIM_SUBMITTED, REMITTANCE_RECEIVED]).of(&other).is_empty());
}

#[test]
fn a_correction_after_the_first_decision_is_not_counted_again() {
    let later = REMITTANCE_RECEIVED
        .replace("2026-11-20", "2026-12-20")
        .replace("1c3d6f0b2a12", "1c3d6f0b2a99")
        .replace("EFT00012345", "EFT00099999");
    let history = gather(&[CLAIM_SUBMITTED, &later, REMITTANCE_RECEIVED]);
    assert_eq!(history.linked, 2);
    assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
}

/// The rules that a claim was found to break.
fn rules(told: &Told) -> Vec<&str> {
    let of_rules = told.features.claim().iter().filter(|feature| feature.kind == Kind::Rule);
    of_rules.map(|feature| told.features.names(feature)[0]).collect()
}

/// The example's claim, sent again under another number at that time of that day of November.
fn again(number: &str, time: &str) -> String {
    let changed = CLAIM_SUBMITTED.replace("PCN-1112223333", number).replace("1c3d6f0b2a11", time);
    changed.replace("2026-11-02T05:50", time)
}

#[test]
fn the_second_of_two_equal_claims_is_a_duplicate_in_any_order_of_reading() {
    let second = again("PCN-2", "2026-11-05T05:50");
    for events in [[CLAIM_SUBMITTED, &second], [&second, CLAIM_SUBMITTED]] {
        let history = gather(&events);
        let found: Vec<_> = history.submissions.iter().map(rules).collect();
        assert!(!found[0].contains(&"DU01") && found[1].contains(&"DU01"), "{found:?}");
    }
    // Turned back, the first one counts as never sent.
    let rejected = crate::wire::examples::CLAIM_ACKNOWLEDGED.replace("\"accepted\":true", "\"accepted\":false");
    let history = gather(&[CLAIM_SUBMITTED, &second, &rejected]);
    assert_eq!(history.submissions.iter().filter(|told| rules(told).contains(&"DU01")).count(), 0);
    let new = claim();
    let new = Claim { patient_control_number: crate::domain::types::Phi::from("PCN-3"), ..new };
    let at = |text: &str| text.parse::<Instant>().unwrap();
    let earlier = |time| history.earlier(&new, (at(time), "")).map(|earlier| earlier.len());
    assert_eq!(earlier("2026-11-02T00:00:00Z"), Some(0));
    assert_eq!(earlier("2026-11-04T00:00:00Z"), Some(1));
    assert_eq!(earlier("2026-11-06T00:00:00Z"), Some(2));
}

#[test]
fn a_claim_sent_again_after_its_decision_is_told_so_and_teaches_nothing_of_it() {
    let later = again("PCN-1112223333", "2026-12-05T05:50");
    let sooner = again("PCN-1112223333", "2026-11-05T05:50");
    for (second, told_so) in [(&later, true), (&sooner, false)] {
        for events in [[CLAIM_SUBMITTED, second, REMITTANCE_RECEIVED], [REMITTANCE_RECEIVED, second, CLAIM_SUBMITTED]] {
            let history = gather(&events);
            assert_eq!(history.submissions.len(), 1);
            let told = &history.submissions[0];
            assert_eq!(rules(told).contains(&"FQ02"), told_so);
            let (features, _) = told.taught().expect("an answer");
            assert!(features.claim().iter().all(|feature| !features.key(feature).contains("FQ02")));
        }
    }
}
