//! What counts as sent before, when, for whom, and how far it had got.

use super::*;
use crate::domain::outcome::Adjudication;
use crate::domain::rules::fixtures::{day, office_visit};
use crate::domain::types::Cents;

/// Noon of a day of 2026.
fn at(month: u32, date: u32) -> Instant {
    day(2026, month, date).and_hms_opt(12, 0, 0).expect("a time").and_utc()
}

fn claim(number: &str) -> Claim {
    Claim { patient_control_number: Phi::from(number), submitted_at: None, ..office_visit() }
}

fn sent(claim: &Claim, when: Instant) -> Known {
    let mut known = Known::new(claim_key(claim));
    known.take(Sent::of(claim, (when, "e"), 1));
    known
}

fn answer(outcome: Outcome, number: &str, when: Instant) -> (Instant, Adjudicated) {
    let adjudicated = Adjudicated {
        remittance_id: when.timestamp(),
        adjudication: Adjudication::Label(outcome),
        payment_date: Some(when.date_naive()),
        trace_number: Some(when.to_string()),
        ordinal: 1,
        payment: Cents::new(100),
        frequency_code: None,
        payer_claim_control_number: Some(Phi::from(number)),
    };
    (when, adjudicated)
}

/// What a claim of `PCN-NEW`, sent at noon of June the tenth, finds.
fn found(known: Vec<Known>) -> Vec<EarlierClaim> {
    Past::new(known).earlier(&claim("PCN-NEW"), (at(6, 10), "e")).expect("it names a member")
}

fn status(known: Known) -> (EarlierStatus, Option<Date>) {
    let found = found(vec![known]);
    assert_eq!(found.len(), 1);
    (found[0].status, found[0].decided_on)
}

#[test]
fn only_what_was_sent_before_counts_and_the_newest_comes_first() {
    let numbers = |found: Vec<EarlierClaim>| {
        let number = |one: &EarlierClaim| one.patient_control_number.expose().clone();
        found.iter().map(number).collect::<Vec<_>>()
    };
    let mut same_time = sent(&claim("PCN-SMALLER-ID"), at(6, 10));
    same_time.submissions[0].version_id = "d".to_owned();
    let known = vec![
        sent(&claim("PCN-OLD"), at(6, 1)),
        sent(&claim("PCN-LATER"), at(6, 11)),
        sent(&claim("PCN-SAME"), at(6, 10)),
        same_time,
        sent(&claim("PCN-OLDER"), at(5, 1)),
        sent(&claim("PCN-OVER"), at(6, 10) - Duration::days(1097)),
    ];
    let expected = ["PCN-SMALLER-ID", "PCN-OLD", "PCN-OLDER"];
    assert_eq!(numbers(found(known.clone())), expected);
    assert_eq!(numbers(found(known.into_iter().rev().collect())), expected);
}

#[test]
fn another_member_practice_or_patient_is_nobody_of_ours() {
    let member = |id: &str| Subscriber { member_id: Some(Phi::from(id)), ..office_visit().subscriber };
    let other = [
        Claim { subscriber: member("W987"), ..claim("PCN-1") },
        Claim { practice_id: Some("PR02".to_owned()), ..claim("PCN-1") },
        Claim {
            subscriber: Subscriber { birth_date: Some(Phi::new(day(2010, 5, 5))), ..member("W123456789") },
            ..claim("PCN-1")
        },
        Claim { subscriber: Subscriber { gender: Some(Phi::from("M")), ..member("W123456789") }, ..claim("PCN-1") },
    ];
    for one in &other {
        assert_eq!(found(vec![sent(one, at(6, 1))]), Vec::new());
    }
    let untold = Subscriber { birth_date: None, gender: Some(Phi::from("U")), ..member(" w123456789 ") };
    assert_eq!(found(vec![sent(&Claim { subscriber: untold, ..claim("PCN-1") }, at(6, 1))]).len(), 1);
    for filler in ["", "UNKNOWN", "000000000"] {
        let stranger = Claim { subscriber: member(filler), ..claim("PCN-1") };
        let past = Past::new(vec![sent(&stranger, at(6, 1))]);
        assert_eq!(past.earlier(&stranger, (at(6, 10), "e")), None, "unknown, and not none");
    }
}

#[test]
fn a_status_is_that_of_the_moment_and_never_of_what_came_later() {
    let known = |when: Instant, outcome| Known {
        answers: vec![answer(outcome, "N1", when)],
        ..sent(&claim("PCN-1"), at(5, 1))
    };
    assert_eq!(status(sent(&claim("PCN-1"), at(5, 1))), (EarlierStatus::Sent, None));
    assert_eq!(status(known(at(6, 1), Outcome::Paid)), (EarlierStatus::Paid, Some(day(2026, 6, 1))));
    assert_eq!(status(known(at(6, 1), Outcome::Partial)).0, EarlierStatus::Paid);
    assert_eq!(status(known(at(6, 1), Outcome::Denied)).0, EarlierStatus::Denied);
    for later in [at(6, 10), at(6, 11)] {
        assert_eq!(status(known(later, Outcome::Denied)), (EarlierStatus::Sent, None));
    }
    let mut reversed = known(at(6, 1), Outcome::Paid);
    let mut back = answer(Outcome::Paid, "N1", at(6, 5));
    (back.1.adjudication, back.1.payment) = (Adjudication::Reversal, Cents::new(-100));
    reversed.answers.push(back);
    assert_eq!(status(reversed.clone()), (EarlierStatus::Reversed, Some(day(2026, 6, 1))));
    reversed.answers[1].0 = at(6, 10);
    assert_eq!(status(reversed).0, EarlierStatus::Paid);
}

#[test]
fn an_acknowledgement_turns_back_what_was_sent_last_before_it() {
    let known = |when, accepted| Known { acknowledged: Some((when, accepted)), ..sent(&claim("PCN-1"), at(5, 1)) };
    assert_eq!(status(known(at(5, 2), false)).0, EarlierStatus::Rejected);
    for (when, accepted) in [(at(5, 2), true), (at(6, 10), false), (at(4, 30), false)] {
        assert_eq!(status(known(when, accepted)).0, EarlierStatus::Sent);
    }
    let mut replaced = known(at(5, 20), false);
    let replacement = Claim { frequency_code: "7".to_owned(), ..claim("PCN-1") };
    replaced.take(Sent::of(&replacement, (at(5, 10), "f"), 2));
    let both: Vec<EarlierStatus> = found(vec![replaced]).iter().map(|one| one.status).collect();
    assert_eq!(both, [EarlierStatus::Rejected, EarlierStatus::Sent]);
}

#[test]
fn a_void_takes_back_what_it_names_from_then_on_and_is_no_service_itself() {
    let void = |number: &str| Claim {
        frequency_code: "8".to_owned(),
        payer_claim_control_number: Some(Phi::from("N1")),
        ..claim(number)
    };
    let paid = Known { answers: vec![answer(Outcome::Paid, "N1", at(5, 20))], ..sent(&claim("PCN-1"), at(5, 1)) };
    for (when, expected) in [(at(6, 1), EarlierStatus::Reversed), (at(6, 11), EarlierStatus::Paid)] {
        let mut under_its_number = paid.clone();
        under_its_number.take(Sent::of(&void("PCN-1"), (when, "v"), 2));
        assert_eq!(status(under_its_number).0, expected);
        let found = found(vec![paid.clone(), sent(&void("PCN-VOID"), when)]);
        assert_eq!(found.iter().map(|one| one.status).collect::<Vec<_>>(), [expected]);
    }
    let other = Known { answers: vec![answer(Outcome::Paid, "N2", at(5, 20))], ..sent(&claim("PCN-2"), at(5, 1)) };
    assert_eq!(found(vec![other, sent(&void("PCN-VOID"), at(6, 1))])[0].status, EarlierStatus::Paid);
}

#[test]
fn the_original_of_a_replacement_is_found_with_its_decision() {
    let mut known =
        Known { answers: vec![answer(Outcome::Denied, "N1", at(5, 20))], ..sent(&claim("PCN-1"), at(5, 1)) };
    let replacement =
        Claim { frequency_code: "7".to_owned(), payer_claim_control_number: Some(Phi::from("N1")), ..claim("PCN-1") };
    known.take(Sent::of(&replacement, (at(6, 1), "f"), 2));
    let found = Past::new(vec![known]).earlier(&replacement, (at(6, 1), "f")).expect("it names a member");
    assert_eq!(found.len(), 1, "not itself");
    assert_eq!((found[0].status, found[0].decided_on), (EarlierStatus::Denied, Some(day(2026, 5, 20))));
    assert_eq!(found[0].lines.len(), 1);
}

#[test]
fn an_original_that_was_decided_finds_its_own_first_version_without_lines() {
    let again = claim("PCN-1");
    let own = |answered: Instant, times: &[Instant]| {
        let mut known = Known::new(claim_key(&again));
        known.answers.push(answer(Outcome::Denied, "N1", answered));
        for time in times {
            known.take(Sent::of(&again, (*time, "e"), 1));
        }
        Past::new(vec![known]).earlier(&again, (at(6, 10), "e")).expect("it names a member")
    };
    // Stored in either order, or the later version just about to be.
    for times in [vec![at(5, 1), at(6, 10)], vec![at(6, 10), at(5, 1)], vec![at(5, 1)]] {
        let found = own(at(5, 20), &times);
        assert_eq!((found.len(), found[0].status), (1, EarlierStatus::Denied), "{times:?}");
        assert!(found[0].lines.is_empty());
        assert_eq!(own(at(6, 11), &times), Vec::new(), "decided later");
        assert_eq!(own(at(4, 1), &times), Vec::new(), "the times of one or the other are not right");
    }
    assert_eq!(own(at(5, 20), &[at(6, 10)]), Vec::new(), "there was no earlier version");
    assert_eq!(taught_at(at(6, 10), at(5, 1), at(5, 20)), Some((at(5, 1), "")));
    for (sent, first, answered) in [(at(6, 10), at(5, 1), at(6, 11)), (at(6, 10), at(6, 10), at(5, 20))] {
        assert_eq!(taught_at(sent, first, answered), None);
    }
}

#[test]
fn fifty_claims_or_two_thousand_lines_are_looked_at() {
    let many = |lines: usize| {
        let numbers = (0..70).map(|number| claim(&format!("PCN-{number}")));
        let known = numbers.enumerate().map(|(place, mut one)| {
            one.lines = vec![one.lines[0].clone(); lines];
            sent(&one, at(1, 1) + Duration::days(i64::try_from(place).expect("small")))
        });
        found(known.collect())
    };
    let found = many(1);
    assert_eq!((found.len(), found[0].patient_control_number.expose().as_str()), (50, "PCN-69"));
    assert_eq!(found[49].patient_control_number.expose(), "PCN-20");
    assert_eq!(many(100).len(), 19);
}
