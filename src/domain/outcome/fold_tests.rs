//! Histories with reversals, corrections, replacements and voids; each in every order of arrival.

use super::*;

fn day(number: u32) -> Date {
    Date::from_ymd_opt(2026, 3, number).expect("a day of March")
}

fn submission(id: i64, frequency: &str, sent: u32) -> Submission {
    Submission {
        id,
        frequency_code: frequency.to_owned(),
        payer_claim_control_number: None,
        submitted_at: Some(day(sent)),
        version_time: day(sent).and_hms_opt(12, 0, 0).expect("noon").and_utc(),
    }
}

/// A submission that names the payer's number of its predecessor.
fn replacing(id: i64, frequency: &str, sent: u32, predecessor: &str) -> Submission {
    Submission { payer_claim_control_number: Some(predecessor.into()), ..submission(id, frequency, sent) }
}

const PAID: Adjudication = Adjudication::Label(Outcome::Paid);
const PARTIAL: Adjudication = Adjudication::Label(Outcome::Partial);
const DENIED: Adjudication = Adjudication::Label(Outcome::Denied);
use Adjudication::{Pending, Predetermination, Reversal, Routed};

fn answer(id: i64, adjudication: Adjudication, on: u32, dollars: i64) -> Adjudicated {
    Adjudicated {
        remittance_id: id,
        adjudication,
        payment_date: Some(day(on)),
        trace_number: Some(format!("EFT{on}")),
        ordinal: 1,
        payment: Cents::new(dollars * 100),
        frequency_code: None,
        payer_claim_control_number: None,
    }
}

impl Adjudicated {
    fn frequency(self, code: &str) -> Self {
        Self { frequency_code: Some(code.to_owned()), ..self }
    }
    fn number(self, number: &str) -> Self {
        Self { payer_claim_control_number: Some(number.into()), ..self }
    }
    fn ordinal(self, ordinal: u32) -> Self {
        Self { ordinal, ..self }
    }
    fn trace(self, trace: &str) -> Self {
        Self { trace_number: Some(trace.to_owned()), ..self }
    }
}

/// All orders of the items.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(place, first.clone());
            all.push(longer);
        }
    }
    all
}

/// Folds in every order of both sets, proves that all agree, and gives (submission, initial, final) of each outcome.
fn folded(submissions: &[Submission], answers: &[Adjudicated]) -> Vec<SubmissionOutcome> {
    let expected = fold(submissions, answers);
    for submissions in orders(submissions) {
        for answers in orders(answers) {
            assert_eq!(fold(&submissions, &answers), expected, "order of {answers:?}");
        }
    }
    expected
}

type Labels = (i64, Option<Outcome>, Option<Outcome>);

fn labels(submissions: &[Submission], answers: &[Adjudicated]) -> Vec<Labels> {
    folded(submissions, answers).into_iter().map(|o| (o.submission_id, o.initial, o.r#final)).collect()
}

/// The labels of a claim submitted once, on the first of March.
fn once(answers: &[Adjudicated]) -> Option<(Option<Outcome>, Option<Outcome>)> {
    let labels = labels(&[submission(1, "1", 1)], answers);
    assert!(labels.len() <= 1);
    labels.first().map(|(_, initial, last)| (*initial, *last))
}

const NO_LABEL: Option<(Option<Outcome>, Option<Outcome>)> = None;

fn both(initial: Outcome, last: Outcome) -> Option<(Option<Outcome>, Option<Outcome>)> {
    Some((Some(initial), Some(last)))
}

#[test]
fn one_decision_is_the_initial_and_the_final_outcome() {
    let outcomes = folded(&[submission(7, "1", 1)], &[answer(70, DENIED, 9, 0)]);
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((outcome.initial, outcome.initial_remittance_id), (Some(Outcome::Denied), Some(70)));
    assert_eq!((outcome.r#final, outcome.final_remittance_id), (Some(Outcome::Denied), Some(70)));
    assert_eq!((outcome.initial_date, outcome.overturned, outcome.reversal_count), (Some(day(9)), false, 0));
}

#[test]
fn no_decision_is_no_outcome() {
    assert_eq!(once(&[]), NO_LABEL);
    assert_eq!(once(&[answer(1, Pending, 5, 0), answer(2, Routed, 6, 0), answer(3, Predetermination, 7, 0)]), NO_LABEL);
    assert_eq!(labels(&[], &[answer(1, DENIED, 5, 0)]), []);
}

#[test]
fn a_reversal_and_its_correction_change_only_the_final_outcome() {
    let answers = [answer(1, DENIED, 5, 0), answer(2, Reversal, 20, 0).ordinal(1), answer(3, PAID, 20, 80).ordinal(2)];
    assert_eq!(once(&answers), both(Outcome::Denied, Outcome::Paid));
    let outcomes = folded(&[submission(1, "1", 1)], &answers);
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(outcome.overturned);
    assert_eq!((outcome.net_payment, outcome.reversal_count), (Cents::new(8_000), 1));
    assert_eq!((outcome.initial_remittance_id, outcome.final_remittance_id), (Some(1), Some(3)));
}

#[test]
fn a_correction_listed_before_its_reversal_is_still_the_correction() {
    let answers =
        [answer(1, PAID, 5, 100), answer(2, PARTIAL, 20, 60).ordinal(1), answer(3, Reversal, 20, -100).ordinal(2)];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Partial));
}

#[test]
fn a_payment_reversed_and_corrected_in_its_own_835_keeps_its_label() {
    let answers = [
        answer(1, PAID, 5, 100).ordinal(1),
        answer(2, Reversal, 5, -100).ordinal(2),
        answer(3, PARTIAL, 5, 60).ordinal(3),
    ];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Partial));
}

#[test]
fn on_the_same_day_the_835_with_the_reversal_comes_last() {
    let answers = [
        answer(1, PAID, 5, 100).trace("Z"),
        answer(2, Reversal, 5, -100).trace("A").ordinal(1),
        answer(3, DENIED, 5, 0).trace("A").ordinal(2),
    ];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Denied));
}

#[test]
fn a_correction_in_another_835_of_the_day_outlives_the_reversal_of_the_first_payment() {
    let answers =
        [answer(1, PAID, 5, 100), answer(2, Reversal, 20, -100).trace("A"), answer(3, PARTIAL, 20, 60).trace("B")];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Partial));
}

#[test]
fn a_lone_reversal_recoups() {
    let outcomes = folded(&[submission(1, "1", 1)], &[answer(1, PAID, 5, 100), answer(2, Reversal, 20, -100)]);
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((outcome.initial, outcome.r#final), (Some(Outcome::Paid), Some(Outcome::Recouped)));
    assert_eq!((outcome.net_payment, outcome.final_remittance_id), (Cents::ZERO, Some(2)));
    assert!(!outcome.overturned);
}

#[test]
fn a_reversal_before_anything_else_leaves_the_initial_outcome_unknown() {
    assert_eq!(once(&[answer(1, Reversal, 5, -100)]), Some((None, Some(Outcome::Recouped))));
    let corrected = [answer(1, Reversal, 5, -100).ordinal(1), answer(2, PARTIAL, 5, 60).ordinal(2)];
    assert_eq!(once(&corrected), Some((None, Some(Outcome::Partial))));
}

#[test]
fn a_second_reversal_of_the_same_payment_keeps_it_recouped() {
    let answers = [answer(1, PAID, 5, 100), answer(2, Reversal, 20, -100), answer(3, Reversal, 21, -100)];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Recouped));
}

#[test]
fn the_decision_after_a_pending_answer_is_the_initial_outcome() {
    assert_eq!(once(&[answer(1, Pending, 5, 0), answer(2, DENIED, 9, 0)]), both(Outcome::Denied, Outcome::Denied));
    let reversed =
        [answer(1, Pending, 5, 10), answer(2, Reversal, 9, -10).ordinal(1), answer(3, PAID, 9, 80).ordinal(2)];
    assert_eq!(once(&reversed), both(Outcome::Paid, Outcome::Paid));
}

#[test]
fn a_pending_answer_that_is_only_reversed_is_no_outcome() {
    assert_eq!(once(&[answer(1, Pending, 5, 10), answer(2, Reversal, 9, -10)]), NO_LABEL);
}

#[test]
fn a_decision_ends_what_was_pending() {
    let answers = [
        answer(1, Pending, 5, 0).number("A"),
        answer(2, PAID, 9, 80).number("B"),
        answer(3, Reversal, 12, -75).number("A"),
    ];
    assert_eq!(once(&answers), both(Outcome::Paid, Outcome::Recouped));
}

#[test]
fn a_later_decision_without_reversal_is_final() {
    let answers = [answer(1, DENIED, 5, 0), answer(2, PARTIAL, 9, 40), answer(3, PAID, 12, 80)];
    assert_eq!(once(&answers), both(Outcome::Denied, Outcome::Paid));
}

#[test]
fn a_denial_that_stands_beside_a_recouped_payment_does_not_hide_the_takeback() {
    let answers = [answer(1, DENIED, 5, 0), answer(2, PAID, 9, 80), answer(3, Reversal, 12, -80)];
    assert_eq!(once(&answers), both(Outcome::Denied, Outcome::Recouped));
}

#[test]
fn a_part_of_a_split_claim_stands_when_the_other_is_taken_back() {
    let answers = [
        answer(1, PAID, 5, 60).number("A"),
        answer(2, PAID, 5, 40).number("B").ordinal(2),
        answer(3, Reversal, 12, -40).number("B"),
    ];
    let outcomes = folded(&[submission(1, "1", 1)], &answers);
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((outcome.r#final, outcome.final_remittance_id), (Some(Outcome::Paid), Some(1)));
    assert_eq!(outcome.net_payment, Cents::new(6_000));
}

#[test]
fn an_undated_remittance_comes_last() {
    let undated = Adjudicated { payment_date: None, ..answer(1, PAID, 1, 80) };
    assert_eq!(once(&[undated, answer(2, DENIED, 30, 0)]), both(Outcome::Denied, Outcome::Paid));
}

#[test]
fn a_replacement_is_labelled_on_its_own() {
    let submissions = [submission(1, "1", 1), submission(2, "7", 10)];
    let answers = [
        answer(1, DENIED, 5, 0).frequency("1").number("A"),
        answer(2, Reversal, 20, 0).frequency("1").number("A"),
        answer(3, PAID, 20, 80).frequency("7").number("B").ordinal(2),
    ];
    let expected = [(1, Some(Outcome::Denied), Some(Outcome::Recouped)), (2, Some(Outcome::Paid), Some(Outcome::Paid))];
    assert_eq!(labels(&submissions, &answers), expected);
}

#[test]
fn a_payer_that_keeps_one_number_still_answers_the_replacement() {
    let submissions = [submission(1, "1", 1), replacing(2, "7", 10, "A")];
    for reversal_frequency in ["1", "7"] {
        let answers = [
            answer(1, DENIED, 5, 0).frequency("1").number("A"),
            answer(2, Reversal, 20, 0).frequency(reversal_frequency).number("A"),
            answer(3, PAID, 20, 80).frequency("7").number("A").ordinal(2),
        ];
        let expected =
            [(1, Some(Outcome::Denied), Some(Outcome::Recouped)), (2, Some(Outcome::Paid), Some(Outcome::Paid))];
        assert_eq!(labels(&submissions, &answers), expected, "{reversal_frequency}");
    }
}

#[test]
fn a_reversal_of_the_original_after_the_replacement_follows_the_payers_number() {
    let submissions = [submission(1, "1", 1), submission(2, "7", 10)];
    let answers = [
        answer(1, PAID, 5, 100).frequency("1").number("A"),
        answer(2, PAID, 15, 120).frequency("7").number("B"),
        // Frequency as the payer's system has it now; the number says what is taken back.
        answer(3, Reversal, 20, -100).frequency("7").number("A"),
    ];
    let expected = [(1, Some(Outcome::Paid), Some(Outcome::Recouped)), (2, Some(Outcome::Paid), Some(Outcome::Paid))];
    assert_eq!(labels(&submissions, &answers), expected);
}

#[test]
fn without_frequencies_the_payers_number_and_the_day_tell_the_submission() {
    let submissions = [submission(1, "1", 1), submission(2, "7", 10)];
    let answers = [
        answer(1, DENIED, 5, 0).number("A"),
        answer(2, PAID, 15, 120).number("B"),
        answer(3, Reversal, 20, 0).number("A"),
        answer(4, PARTIAL, 20, 50).number("A").ordinal(2),
    ];
    let expected = [(1, Some(Outcome::Denied), Some(Outcome::Partial)), (2, Some(Outcome::Paid), Some(Outcome::Paid))];
    assert_eq!(labels(&submissions, &answers), expected);
}

#[test]
fn an_answer_under_a_predecessors_number_is_not_the_replacements() {
    let submissions = [submission(1, "1", 1), replacing(2, "7", 10, "A")];
    assert_eq!(
        labels(&submissions, &[answer(1, DENIED, 15, 0).number("A")]),
        [(1, Some(Outcome::Denied), Some(Outcome::Denied))]
    );
}

#[test]
fn of_two_replacements_the_latest_sent_by_the_day_of_payment_is_meant() {
    let submissions = [submission(1, "1", 1), submission(2, "7", 10), submission(3, "7", 20)];
    let answers = [
        answer(1, DENIED, 5, 0).frequency("1"),
        answer(2, DENIED, 15, 0).frequency("7"),
        answer(3, PAID, 25, 80).frequency("7"),
    ];
    let initial: Vec<_> = labels(&submissions, &answers).into_iter().map(|(id, initial, _)| (id, initial)).collect();
    assert_eq!(initial, [(1, Some(Outcome::Denied)), (2, Some(Outcome::Denied)), (3, Some(Outcome::Paid))]);
}

#[test]
fn an_answer_older_than_every_submission_is_the_earliest_ones() {
    let submissions = [submission(1, "1", 10), submission(2, "7", 20)];
    assert_eq!(labels(&submissions, &[answer(1, PAID, 5, 1)]), [(1, Some(Outcome::Paid), Some(Outcome::Paid))]);
}

#[test]
fn a_void_has_no_label_and_the_original_keeps_its_own() {
    let submissions = [submission(1, "1", 1), submission(2, "8", 10)];
    let answers =
        [answer(1, DENIED, 5, 0).frequency("1").number("A"), answer(2, PAID, 20, 0).frequency("8").number("B")];
    assert_eq!(labels(&submissions, &answers), [(1, Some(Outcome::Denied), Some(Outcome::Denied))]);
    assert_eq!(labels(&[submission(2, "8", 10)], &answers), []);
}

#[test]
fn the_reversal_that_a_void_brings_takes_back_the_original() {
    let submissions = [submission(1, "1", 1), submission(2, "8", 10)];
    let answers =
        [answer(1, PAID, 5, 100).frequency("1").number("A"), answer(2, Reversal, 20, -100).frequency("8").number("A")];
    assert_eq!(labels(&submissions, &answers), [(1, Some(Outcome::Paid), Some(Outcome::Recouped))]);
}

#[test]
fn a_submission_without_a_day_counts_from_its_event() {
    let mut undated = submission(2, "7", 10);
    undated.submitted_at = None;
    let submissions = [submission(1, "1", 1), undated];
    let answers = [answer(1, DENIED, 9, 0), answer(2, PAID, 11, 80)];
    let expected = [(1, Some(Outcome::Denied), Some(Outcome::Denied)), (2, Some(Outcome::Paid), Some(Outcome::Paid))];
    assert_eq!(labels(&submissions, &answers), expected);
}

/// Six remittances with every kind of answer, drawn from a seed; what comes out may not depend on their order.
#[test]
fn any_history_is_the_same_in_all_orders() {
    let mut seed: u64 = 1;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) % below
    };
    let kinds = [PAID, PARTIAL, DENIED, Pending, Reversal, Reversal, Routed];
    let numbers = [None, Some("A"), Some("B")];
    let frequencies = [None, Some("1"), Some("7"), Some("8")];
    let submissions = [submission(1, "1", 1), submission(2, "7", 8), replacing(3, "7", 14, "B")];
    let mut labelled = 0;
    for _ in 0..60 {
        let answers: Vec<Adjudicated> = (1..=6)
            .map(|id| {
                let pick = |index: u64| usize::try_from(index).expect("small");
                let kind = *kinds.get(pick(draw(7))).expect("in range");
                let on = u32::try_from(draw(4) * 7 + 2).expect("small");
                let dollars = i64::try_from(draw(3) * 50).expect("small");
                let mut made = answer(id, kind, on, if kind == Reversal { -dollars } else { dollars });
                made.ordinal = u32::try_from(draw(3)).expect("small");
                made.trace_number = if draw(2) == 0 { Some("T".to_owned()) } else { None };
                made.frequency_code = frequencies.get(pick(draw(4))).expect("in range").map(str::to_owned);
                made.payer_claim_control_number = numbers.get(pick(draw(3))).expect("in range").map(Phi::from);
                made
            })
            .collect();
        let expected = fold(&submissions, &answers);
        labelled += expected.len();
        for order in orders(&answers) {
            assert_eq!(fold(&submissions, &order), expected);
        }
        let total: Cents = expected.iter().map(|outcome| outcome.net_payment).sum();
        let most: Cents = answers.iter().map(|a| a.payment.abs()).sum();
        assert!(total.abs() <= most);
    }
    assert!(labelled > 60, "{labelled}");
}
