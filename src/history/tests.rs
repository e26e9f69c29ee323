//! What a history counts, links and labels.

use super::*;
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
