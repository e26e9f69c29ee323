//! The worked cases of the label definition, and the edges around them.

use super::super::super::remittance::RemittanceLine;
use super::*;

/// `"CO-45 60"`: group, reason, dollars.
fn adjustments(list: &[&str]) -> Vec<Adjustment> {
    list.iter()
        .map(|text| {
            let (pair, amount) = text.split_once(' ').expect("a pair and an amount");
            let (group, reason) = pair.split_once('-').expect("a group and a reason");
            Adjustment {
                group_code: group.to_owned(),
                reason_code: reason.to_owned(),
                amount: Cents::parse(amount).expect("an amount"),
                quantity: None,
            }
        })
        .collect()
}

fn dollars(text: &str) -> Cents {
    Cents::parse(text).expect("an amount")
}

fn line(charge: &str, paid: &str, list: &[&str]) -> RemittanceLine {
    RemittanceLine {
        charge: dollars(charge),
        payment: dollars(paid),
        adjustments: adjustments(list),
        ..RemittanceLine::default()
    }
}

/// A remittance of these lines; its totals are theirs less the adjustments of the claim.
fn remittance(status: &str, lines: Vec<RemittanceLine>, claim_level: &[&str]) -> Remittance {
    let adjustments = adjustments(claim_level);
    let off: Cents = adjustments.iter().map(|a| a.amount).sum();
    Remittance {
        status_code: status.to_owned(),
        total_charge: lines.iter().map(|l| l.charge).sum(),
        payment: lines.iter().map(|l| l.payment).sum::<Cents>() - off,
        adjustments,
        lines,
        ..Remittance::default()
    }
}

/// A remittance without service lines.
fn whole(status: &str, charge: &str, paid: &str, list: &[&str]) -> Remittance {
    Remittance {
        status_code: status.to_owned(),
        total_charge: dollars(charge),
        payment: dollars(paid),
        adjustments: adjustments(list),
        ..Remittance::default()
    }
}

fn one_line(status: &str, charge: &str, paid: &str, list: &[&str]) -> Judged {
    judge(&remittance(status, vec![line(charge, paid, list)], &[]))
}

const PAID: Adjudication = Adjudication::Label(Outcome::Paid);
const PARTIAL: Adjudication = Adjudication::Label(Outcome::Partial);
const DENIED: Adjudication = Adjudication::Label(Outcome::Denied);

#[test]
fn price_and_deductible_with_nothing_paid_is_paid() {
    let judged = one_line("1", "100", "0", &["CO-45 60", "PR-1 40"]);
    assert_eq!(judged.adjudication, PAID);
    assert_eq!((judged.cost_share, judged.contractual), (dollars("40"), dollars("60")));
    assert_eq!((judged.denial_count, judged.adjustment_count), (0, 2));
    assert_eq!(judged.lines.first().map(|l| l.verdict), Some(LineVerdict::Paid));
    assert_eq!(judged.data_quality, DataQuality::default());
}

#[test]
fn price_and_necessity_with_nothing_paid_is_denied() {
    let judged = one_line("1", "100", "0", &["CO-45 60", "CO-50 40"]);
    assert_eq!(judged.adjudication, DENIED);
    assert_eq!(judged.denied_amount, dollars("40"));
    assert_eq!(judged.denial_groups, BTreeSet::from([DenialGroup::Necessity]));
    assert_eq!(judged.denial_carcs, [("CO".to_owned(), "50".to_owned(), dollars("40"))]);
    assert!(!judged.patient_liable);
}

#[test]
fn one_line_paid_and_one_bundled_is_partial() {
    let judged = judge(&remittance("1", vec![line("400", "400", &[]), line("10", "0", &["CO-97 10"])], &[]));
    assert_eq!(judged.adjudication, PARTIAL);
    let verdicts: Vec<_> = judged.lines.iter().map(|l| l.verdict).collect();
    assert_eq!(verdicts, [LineVerdict::Paid, LineVerdict::Denied]);
}

#[test]
fn non_covered_at_the_patients_cost_is_a_denial_and_says_so() {
    let judged = one_line("1", "100", "0", &["PR-96 100"]);
    assert_eq!(judged.adjudication, DENIED);
    assert!(judged.patient_liable);
}

#[test]
fn a_secondary_payer_that_leaves_all_to_the_first_is_paid() {
    let judged = one_line("2", "100", "0", &["OA-23 100"]);
    assert_eq!(judged.adjudication, PAID);
    assert!(judged.secondary);
    let beyond = one_line("20", "100", "0", &["OA-23 60", "CO-50 40"]);
    assert_eq!(beyond.adjudication, DENIED);
    assert!(beyond.secondary);
    assert!(!one_line("1", "100", "100", &[]).secondary);
}

#[test]
fn status_4_with_price_alone_is_denied_and_flagged() {
    let odd = one_line("4", "100", "0", &["CO-45 100"]);
    assert_eq!(odd.adjudication, DENIED);
    assert!(odd.data_quality.status4_without_denial);
    let plain = one_line("04", "100", "0", &["CO-31 100"]);
    assert_eq!(plain.adjudication, DENIED);
    assert!(!plain.data_quality.status4_without_denial);
}

#[test]
fn status_1_does_not_hide_a_denial() {
    assert_eq!(one_line("1", "100", "0", &["CO-29 100"]).adjudication, DENIED);
    assert_eq!(one_line("19", "100", "0", &["CO-29 100"]).adjudication, DENIED);
}

#[test]
fn sequestration_is_paid() {
    assert_eq!(one_line("1", "100", "98", &["CO-253 2"]).adjudication, PAID);
}

#[test]
fn a_pending_line_leaves_the_claim_without_label() {
    assert_eq!(one_line("1", "100", "0", &["CO-133 100"]).adjudication, Adjudication::Pending);
    let mixed = judge(&remittance("1", vec![line("50", "50", &[]), line("50", "0", &["OA-133 50"])], &[]));
    assert_eq!(mixed.adjudication, Adjudication::Pending);
    assert_eq!(whole("4", "100", "0", &["OA-133 100"]).lines.len(), 0);
    assert_eq!(judge(&whole("4", "100", "0", &["OA-133 100"])).adjudication, Adjudication::Pending);
}

#[test]
fn a_reversal_a_forwarded_claim_and_an_estimate_have_no_label() {
    assert_eq!(one_line("22", "-100", "-40", &["CO-50 -60"]).adjudication, Adjudication::Reversal);
    assert_eq!(one_line("23", "100", "0", &["CO-109 100"]).adjudication, Adjudication::Routed);
    assert_eq!(one_line("1", "100", "0", &["OA-B11 100"]).adjudication, Adjudication::Routed);
    assert_eq!(one_line("25", "100", "0", &["PI-104 100"]).adjudication, Adjudication::Predetermination);
    assert_eq!(one_line("1", "100", "0", &["OA-101 100"]).adjudication, Adjudication::Predetermination);
}

#[test]
fn a_reversal_denies_nothing() {
    let judged = one_line("22", "-100", "-40", &["CO-50 -60"]);
    assert_eq!((judged.denied_amount, judged.denial_count), (Cents::ZERO, 0));
    assert!(!judged.data_quality.unbalanced);
}

#[test]
fn units_cut_from_a_line_are_a_partial_denial() {
    let judged = one_line("1", "500", "300", &["CO-151 200"]);
    assert_eq!(judged.adjudication, PARTIAL);
    assert_eq!(judged.lines.first().map(|l| l.verdict), Some(LineVerdict::Reduced));
    assert_eq!(judged.denial_groups, BTreeSet::from([DenialGroup::Units]));
}

#[test]
fn a_duplicate_is_denied_in_its_own_group() {
    for pair in ["CO-18 100", "OA-18 100"] {
        let judged = one_line("1", "100", "0", &[pair]);
        assert_eq!(judged.adjudication, DENIED, "{pair}");
        assert_eq!(judged.denial_groups, BTreeSet::from([DenialGroup::Duplicate]));
    }
}

#[test]
fn a_reduced_line_counts_from_five_dollars_and_five_percent() {
    let reduced = |charge, paid, off: &str| one_line("1", charge, paid, &[off]).adjudication;
    assert_eq!(reduced("104.99", "100", "CO-59 4.99"), PAID, "pricing is never material");
    assert_eq!(reduced("99.99", "95", "CO-119 4.99"), PAID, "under five dollars");
    assert_eq!(reduced("100", "95", "CO-119 5"), PARTIAL, "exactly both");
    assert_eq!(reduced("100.01", "95.01", "CO-119 5"), PAID, "one cent too much was paid");
    assert_eq!(reduced("1000", "950.01", "CO-119 49.99"), PAID, "under five percent");
    assert_eq!(reduced("1000", "950", "CO-119 50"), PARTIAL);
}

#[test]
fn price_is_no_part_of_the_five_percent() {
    let judged = one_line("1", "1000", "95", &["CO-45 900", "CO-119 5"]);
    assert_eq!(judged.adjudication, PARTIAL);
}

#[test]
fn a_denial_beside_a_deductible_is_not_a_full_denial() {
    let judged = one_line("1", "100", "0", &["PR-1 40", "CO-50 60"]);
    assert_eq!(judged.adjudication, PARTIAL);
    assert_eq!(judged.lines.first().map(|l| l.verdict), Some(LineVerdict::Reduced));
}

#[test]
fn a_claim_without_lines_is_judged_by_its_own_adjustments() {
    assert_eq!(judge(&whole("1", "100", "0", &["CO-50 100"])).adjudication, DENIED);
    assert_eq!(judge(&whole("1", "100", "26.65", &["CO-45 73.35"])).adjudication, PAID);
    assert_eq!(judge(&whole("1", "100", "50", &["CO-50 50"])).adjudication, PARTIAL);
    assert!(judge(&whole("1", "100", "0", &["CO-50 100"])).lines.is_empty());
}

#[test]
fn adjustments_of_the_claim_reach_lines_that_charge_nothing() {
    let mut remittance = whole("1", "100", "0", &["CO-50 100"]);
    remittance.lines = vec![line("0", "0", &[])];
    let judged = judge(&remittance);
    assert_eq!((judged.adjudication, judged.denied_amount), (DENIED, dollars("100")));
}

#[test]
fn adjustments_of_the_claim_are_spread_by_charge_to_the_cent() {
    let lines = vec![line("10", "10", &[]), line("10", "10", &[]), line("10", "10", &[])];
    let judged = judge(&remittance("1", lines, &["CO-16 10"]));
    let denied: Vec<_> = judged.lines.iter().map(|l| l.denied_amount.get()).collect();
    assert_eq!(denied, [334, 333, 333]);
    assert_eq!((judged.denied_amount, judged.denial_count), (dollars("10"), 1));
    assert_eq!(judged.adjudication, PARTIAL);
    assert!(!judged.data_quality.unbalanced);
}

#[test]
fn spread_parts_always_sum_to_the_amount() {
    let mut seed: u64 = 7;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 34).expect("thirty bits fit")
    };
    for round in 0..2_000_usize {
        let weights: Vec<i64> = (0..=round % 9).map(|_| next() % 100_000 + 1).collect();
        let amount = Cents::new(next() % 10_000_000 - 5_000_000);
        let parts = prorate(amount, &weights);
        assert_eq!(parts.iter().copied().sum::<Cents>(), amount);
        assert!(parts.iter().all(|part| part.get().signum() * amount.get().signum() >= 0));
    }
    let cents = |parts: Vec<Cents>| parts.into_iter().map(Cents::get).collect::<Vec<_>>();
    assert_eq!(cents(prorate(Cents::new(10), &[3, 3, 5])), [3, 3, 4], "the largest remainders get the cents left");
    assert_eq!(cents(prorate(Cents::new(-10), &[3, 3, 5])), [-3, -3, -4]);
    let large = prorate(Cents::new(Cents::MAX), &[Cents::MAX, Cents::MAX]);
    assert_eq!(large.iter().map(|part| part.get()).collect::<Vec<_>>(), [Cents::MAX / 2 + 1, Cents::MAX / 2]);
}

#[test]
fn reporting_lines_and_lines_without_charge_do_not_decide() {
    let lines = vec![line("100", "80", &["CO-45 20"]), line("0.01", "0", &["CO-246 0.01"]), line("0", "0", &[])];
    let judged = judge(&remittance("1", lines, &[]));
    assert_eq!(judged.adjudication, PAID);
    let verdicts: Vec<_> = judged.lines.iter().map(|l| l.verdict).collect();
    assert_eq!(verdicts, [LineVerdict::Paid, LineVerdict::NoDecision, LineVerdict::NoDecision]);
    let nothing = judge(&remittance("1", vec![line("0.01", "0", &["CO-246 0.01"])], &[]));
    assert_eq!(nothing.adjudication, Adjudication::Pending);
}

#[test]
fn a_pending_code_without_amount_is_only_mentioned() {
    assert_eq!(one_line("1", "100", "60", &["CO-45 40", "OA-133 0"]).adjudication, PAID);
}

#[test]
fn sums_that_do_not_balance_are_flagged_and_still_labelled() {
    let judged = one_line("1", "100", "0", &["CO-50 60"]);
    assert_eq!(judged.adjudication, DENIED);
    assert!(judged.data_quality.unbalanced);
    assert!(!one_line("1", "100", "0", &["CO-50 99.99"]).data_quality.unbalanced, "a cent is rounding");
    let mut swapped = remittance("1", vec![line("50", "40", &[]), line("50", "60", &[])], &[]);
    swapped.payment = dollars("100");
    assert!(judge(&swapped).data_quality.unbalanced, "the claim balances, its lines do not");
}

#[test]
fn an_unknown_code_denies_and_is_flagged() {
    let judged = one_line("1", "100", "0", &["CO-777 100"]);
    assert_eq!(judged.adjudication, DENIED);
    assert!(judged.data_quality.unclassified_code);
    assert_eq!(judged.denial_groups, BTreeSet::from([DenialGroup::Other]));
}

#[test]
fn negative_denial_amounts_do_not_make_up_for_positive_ones() {
    let judged = one_line("1", "100", "20", &["CO-50 100", "CO-97 -20"]);
    assert_eq!((judged.denied_amount, judged.denial_count), (dollars("100"), 1));
}

#[test]
fn the_same_code_on_several_lines_is_listed_once() {
    let lines = vec![line("10", "0", &["CO-16 10"]), line("20", "0", &["co-016 20"]), line("5", "0", &["CO-11 5"])];
    let judged = judge(&remittance("1", lines, &[]));
    let expected =
        [("CO".to_owned(), "11".to_owned(), dollars("5")), ("CO".to_owned(), "16".to_owned(), dollars("30"))];
    assert_eq!(judged.denial_carcs, expected);
    assert_eq!(judged.denial_count, 3);
}

#[test]
fn the_4010_group_of_corrections_counts_by_its_reason() {
    assert_eq!(
        one_line("4", "25.95", "0", &["CR-18 25.95", "CO-42 0"]).denial_groups,
        BTreeSet::from([DenialGroup::Duplicate])
    );
    assert_eq!(one_line("1", "300", "200", &["CR-45 100"]).adjudication, PAID);
}
