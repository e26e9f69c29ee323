//! Rules on the order of payers and of submissions: secondary claims, accidents, replacements and voids.
//!
//! Must never: judge whether a patient has another insurance; that needs an eligibility answer.

use super::{Component, Facts, Judgement, Rule, Verdict, told};
use crate::domain::claim::{Claim, ClaimType, OtherPayer, Responsibility};
use crate::domain::types::{Cents, Phi};

/// A secondary claim without what the first payer decided.
///
/// Source: CARC 22, MA04; 837 loops 2320 and 2430: charge less adjustments is what the earlier payer paid.
/// No other payer at all counts only when the claim was read whole.
pub(super) const CB02: Rule = Rule {
    id: "CB02",
    name: "secondary_without_primary_eob",
    component: Component::Eligibility,
    prior_permille: 700,
    blocking: true,
    carcs: &["22", "16"],
    rarc: Some("MA04"),
    fixable: true,
    source: "CARC 22, RARC MA04; 837 loops 2320, 2430",
    reason: "A secondary claim lacks the earlier payer's decision, or it does not add up",
    fix: "Add the earlier payer's paid amount and adjustments from its remittance",
    check: secondary_without_primary_eob,
};

/// An accident without its date.
///
/// Source: 837P/D CLM11 and DTP*439: an auto or other accident needs the date. Institutional claims carry the date as an
/// occurrence code and are not judged.
pub(super) const CB03: Rule = Rule {
    id: "CB03",
    name: "accident",
    component: Component::Eligibility,
    prior_permille: 300,
    blocking: false,
    carcs: &["19", "20", "21", "16"],
    rarc: Some("N305"),
    fixable: true,
    source: "837 CLM11, DTP*439",
    reason: "The claim speaks of an accident but gives no accident date",
    fix: "Add the accident date, or bill the liable insurer first",
    check: accident,
};

/// A replacement or void that does not say of what.
///
/// Source: X12 RFI 1538: frequency 7 and 8 need REF*F8, the payer's own number of the earlier claim.
pub(super) const FQ01: Rule = Rule {
    id: "FQ01",
    name: "replacement_without_ref",
    component: Component::Documentation,
    prior_permille: 800,
    blocking: true,
    carcs: &["16", "18"],
    rarc: Some("M47"),
    fixable: true,
    source: "X12 RFI 1538: REF*F8 with frequency 7 and 8",
    reason: "A replacement or void does not name the claim it changes",
    fix: "Add the payer's claim control number from the earlier remittance",
    check: replacement_without_ref,
};

fn secondary_without_primary_eob(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    // `Primary` is also what a claim is that does not say, so that there is nothing to be sure of. A claim without any
    // charge is an encounter, of which nobody paid anything.
    if claim.responsibility == Responsibility::Primary || !claim.total_charge.is_positive() {
        return Verdict::Abstain;
    }
    let earlier: Vec<&OtherPayer> = claim
        .other_payers
        .iter()
        .filter(|payer| payer.responsibility.is_none_or(|place| place < claim.responsibility))
        .collect();
    let decided = |payer: &&OtherPayer| payer.paid_amount.is_some() || !payer.adjustments.is_empty();
    match earlier.as_slice() {
        [] if facts.complete => judgement.hit(None, "no earlier payer on the claim"),
        [] => {}
        payers if !payers.iter().any(decided) => {
            judgement.hit(None, "the earlier payer has neither payment nor adjustments");
        }
        [only] => match unexplained(claim, only) {
            Some(rest) => judgement.hit(None, format!("charge less adjustments and the earlier payment leaves {rest}")),
            None => judgement.pass(),
        },
        _ => judgement.pass(),
    }
    judgement.verdict()
}

/// What is left of the charge after an earlier payer's payment and adjustments, when both are told and it is not zero.
fn unexplained(claim: &Claim, payer: &OtherPayer) -> Option<Cents> {
    let paid = payer.paid_amount?;
    if payer.adjustments.is_empty() {
        // Adjustments may be unknown; a full payment needs none.
        return None;
    }
    let adjusted: Cents = payer.adjustments.iter().map(|adjustment| adjustment.amount).sum();
    let rest = claim.total_charge - adjusted - paid;
    (rest != Cents::ZERO).then_some(rest)
}

fn accident(claim: &Claim, _: &Facts) -> Verdict {
    if claim.related_causes.is_empty() || claim.claim_type == ClaimType::Institutional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    match claim.related_causes.iter().find(|cause| matches!(cause.trim(), "AA" | "OA")) {
        Some(cause) if claim.accident_date.is_none() => {
            judgement.hit(None, format!("related cause {} without an accident date", cause.trim()));
        }
        _ => judgement.pass(),
    }
    judgement.verdict()
}

fn replacement_without_ref(claim: &Claim, _: &Facts) -> Verdict {
    let frequency = claim.frequency_code.trim();
    if frequency.is_empty() {
        return Verdict::Abstain;
    }
    let reference = claim.payer_claim_control_number.as_ref().map(Phi::expose);
    let mut judgement = Judgement::default();
    if matches!(frequency, "7" | "8") && told(reference).is_none() {
        judgement.hit(None, format!("frequency {frequency} without the payer's claim number"));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{day, lines_hit, office_visit, stay, verdict_of, verdict_with};
    use super::*;
    use crate::domain::remittance::Adjustment;

    fn secondary(other_payers: Vec<OtherPayer>) -> Claim {
        Claim { responsibility: Responsibility::Secondary, other_payers, ..office_visit() }
    }

    fn payer(paid: Option<i64>, adjustments: &[i64]) -> OtherPayer {
        OtherPayer {
            responsibility: Some(Responsibility::Primary),
            paid_amount: paid.map(Cents::new),
            adjustments: adjustments
                .iter()
                .map(|&cents| Adjustment { amount: Cents::new(cents), ..Adjustment::default() })
                .collect(),
            ..OtherPayer::default()
        }
    }

    #[test]
    fn a_secondary_claim_brings_the_first_payers_decision() {
        let good = secondary(vec![payer(Some(50_000), &[20_000, 10_000])]);
        assert_eq!(verdict_of("CB02", &good), Verdict::Pass);
        assert_eq!(verdict_of("CB02", &secondary(vec![payer(Some(0), &[])])), Verdict::Pass);
        assert_eq!(lines_hit("CB02", &secondary(vec![payer(None, &[])])), vec![None]);
        let unbalanced = secondary(vec![payer(Some(50_000), &[20_000, 9_000])]);
        assert_eq!(lines_hit("CB02", &unbalanced), vec![None]);
    }

    #[test]
    fn other_payers_that_may_be_unknown_are_not_missed() {
        let bare = secondary(Vec::new());
        assert_eq!(lines_hit("CB02", &bare), vec![None]);
        assert_eq!(verdict_with("CB02", &bare, &Facts::default()), Verdict::Abstain);
        assert_eq!(verdict_of("CB02", &office_visit()), Verdict::Abstain);
        let encounter = Claim { total_charge: Cents::ZERO, ..bare };
        assert_eq!(verdict_of("CB02", &encounter), Verdict::Abstain);
        // A later payer is no earlier decision.
        let later = OtherPayer { responsibility: Some(Responsibility::Tertiary), ..payer(None, &[]) };
        assert_eq!(verdict_with("CB02", &secondary(vec![later]), &Facts::default()), Verdict::Abstain);
    }

    #[test]
    fn an_accident_has_a_date() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("CB03", &claim), Verdict::Abstain);
        claim.related_causes = vec!["EM".to_owned()];
        assert_eq!(verdict_of("CB03", &claim), Verdict::Pass);
        claim.related_causes = vec!["AA".to_owned()];
        assert_eq!(lines_hit("CB03", &claim), vec![None]);
        claim.accident_date = Some(day(2026, 10, 1));
        assert_eq!(verdict_of("CB03", &claim), Verdict::Pass);
        let hospital = Claim { related_causes: vec!["AA".to_owned()], ..stay() };
        assert_eq!(verdict_of("CB03", &hospital), Verdict::Abstain);
    }

    #[test]
    fn a_replacement_names_what_it_replaces() {
        for frequency in ["7", "8"] {
            let mut claim = Claim { frequency_code: frequency.to_owned(), ..office_visit() };
            assert_eq!(lines_hit("FQ01", &claim), vec![None]);
            claim.payer_claim_control_number = Some(Phi::from(" "));
            assert_eq!(lines_hit("FQ01", &claim), vec![None]);
            claim.payer_claim_control_number = Some(Phi::from("94060555410000"));
            assert_eq!(verdict_of("FQ01", &claim), Verdict::Pass);
        }
        assert_eq!(verdict_of("FQ01", &office_visit()), Verdict::Pass);
        let unknown = Claim { frequency_code: String::new(), ..office_visit() };
        assert_eq!(verdict_of("FQ01", &unknown), Verdict::Abstain);
    }
}
