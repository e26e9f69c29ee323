//! Rules by a payer's own terms: the form of its member ids, its limit for corrections, whether it takes interim bills.
//!
//! Must never: apply one payer's terms to another; a payer that the table does not name is not judged.

use super::facts::payer_id;
use super::institutional::bill_frequency;
use super::payer_class::is_injury_insurance;
use super::{Component, Facts, Judgement, Rule, Verdict};
use crate::domain::claim::{Claim, ClaimType};
use crate::domain::reference::CorrectionStart;

/// A member id that does not have the form of the payer's ids.
///
/// Source: CARC 31 and 140; the payer's own form (table `payer-rules`), such as CMS's published form of Medicare's ids.
pub(super) const MB02: Rule = Rule {
    id: "MB02",
    name: "member_id_pattern",
    component: Component::Eligibility,
    prior_permille: 700,
    blocking: false,
    carcs: &["31", "140"],
    rarc: Some("N382"),
    fixable: true,
    source: "table payer-rules: member_id_pattern; CARC 31",
    reason: "The member id does not have the form of this payer's ids",
    fix: "Compare the member id with the insurance card, or run an eligibility inquiry (270)",
    check: member_id_pattern,
};

/// A replacement or void that comes after the payer's limit for corrections.
///
/// Source: CARC 29; the payer's own limit (table `payer-rules`), counted from the last day of service or, where the payer
/// counts so, from the decision that is corrected; then the history must know that decision.
pub(super) const TM03: Rule = Rule {
    id: "TM03",
    name: "corrected_late",
    component: Component::Payer,
    prior_permille: 600,
    blocking: false,
    carcs: &["29"],
    rarc: None,
    fixable: false,
    source: "table payer-rules: corrected_claim_days; CARC 29",
    reason: "The corrected claim was sent after the payer's limit for corrections",
    fix: "Appeal with proof of the first filing instead of sending a corrected claim",
    check: corrected_late,
};

/// An interim bill to a payer that refuses them.
///
/// Source: CARC 135; the payer's own word (table `payer-rules`); type of bill frequency 2 and 3 (CMS manual 100-04 ch. 1).
pub(super) const FQ03: Rule = Rule {
    id: "FQ03",
    name: "interim",
    component: Component::Payer,
    prior_permille: 500,
    blocking: false,
    carcs: &["135"],
    rarc: None,
    fixable: true,
    source: "table payer-rules: refuses_interim; CARC 135",
    reason: "The payer does not take interim bills",
    fix: "Hold the bill until discharge and send one final bill",
    check: interim,
};

fn member_id_pattern(claim: &Claim, facts: &Facts) -> Verdict {
    let id = claim.subscriber.member_id.as_ref().map(|id| id.expose().trim()).filter(|id| !id.is_empty());
    let (Some(rule), Some(id), false) = (facts.payer_rule(claim), id, is_injury_insurance(claim)) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    match rule.fits_member_id(id) {
        Some(true) => judgement.pass(),
        Some(false) => judgement.hit(None, "the member id has none of the payer's forms"),
        None => {}
    }
    judgement.verdict()
}

/// The days since a corrected claim could first be sent; `None` when the start is unknown.
fn correction_days(claim: &Claim, facts: &Facts, start: CorrectionStart) -> Option<i64> {
    let start = match start {
        CorrectionStart::Service => claim.last_service_date()?,
        CorrectionStart::Decision => {
            let same = |earlier: &&super::EarlierClaim| earlier.is_same_claim(claim);
            facts.earlier.as_ref()?.iter().filter(same).filter_map(|earlier| earlier.decided_on).max()?
        }
    };
    Some(facts.sent_on(claim)?.signed_duration_since(start).num_days())
}

fn corrected_late(claim: &Claim, facts: &Facts) -> Verdict {
    if !claim.is_replacement() && !claim.is_void() {
        return Verdict::Abstain;
    }
    let limit = facts.payer_rule(claim).and_then(|rule| Some((rule.corrected_claim_days?, rule.corrected_claim_from)));
    let Some((allowed, start)) = limit else { return Verdict::Abstain };
    let Some(used) = correction_days(claim, facts, start) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    if used > allowed {
        judgement.hit(None, format!("{} days after the limit", used - allowed));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn interim(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Institutional || payer_id(claim).is_none() {
        return Verdict::Abstain;
    }
    let refuses = facts.payer_rule(claim).and_then(|rule| rule.refuses_interim);
    let (Some(refuses), Some(frequency)) = (refuses, bill_frequency(claim)) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    if refuses && matches!(frequency, "2" | "3") {
        judgement.hit(None, format!("an interim bill (frequency {frequency})"));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::EarlierStatus;
    use super::super::fixtures::{
        day, facts_with, is_hit, office_visit, sent_before, stay, verdict_by, verdict_of, verdict_with,
    };
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Phi;

    fn terms(columns: &str, values: &str) -> Vec<(Kind, String)> {
        vec![(Kind::PayerRules, format!("payer_id,{columns}\n60054,{values}\n"))]
    }

    fn judged(id: &str, claim: &Claim, columns: &str, values: &str) -> Verdict {
        let tables = terms(columns, values);
        let tables: Vec<(Kind, &str)> = tables.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
        verdict_by(id, claim, &tables)
    }

    #[test]
    fn a_member_id_has_the_payers_form() {
        let mut claim = office_visit();
        assert_eq!(judged("MB02", &claim, "member_id_pattern", "A999999999"), Verdict::Pass);
        assert!(is_hit(&judged("MB02", &claim, "member_id_pattern", "9AX9AX9AA99")));
        assert_eq!(judged("MB02", &claim, "member_id_pattern", ""), Verdict::Abstain);
        assert_eq!(verdict_of("MB02", &claim), Verdict::Abstain);
        claim.payer.id = Some("OTHER".to_owned());
        assert_eq!(judged("MB02", &claim, "member_id_pattern", "9"), Verdict::Abstain);
    }

    #[test]
    fn a_correction_comes_within_the_payers_limit() {
        let mut claim =
            Claim { frequency_code: "7".to_owned(), submitted_at: Some(day(2026, 12, 30)), ..office_visit() };
        claim.payer_claim_control_number = Some(Phi::from("1"));
        assert_eq!(judged("TM03", &claim, "corrected_claim_days", "61"), Verdict::Pass);
        assert!(is_hit(&judged("TM03", &claim, "corrected_claim_days", "60")));
        assert_eq!(judged("TM03", &office_visit(), "corrected_claim_days", "1"), Verdict::Abstain);
        assert_eq!(verdict_of("TM03", &claim), Verdict::Abstain);
    }

    #[test]
    fn a_correction_counted_from_the_decision_needs_to_know_it() {
        let claim = Claim { frequency_code: "7".to_owned(), submitted_at: Some(day(2026, 12, 30)), ..office_visit() };
        let text = "payer_id,corrected_claim_days,corrected_claim_from\n60054,30,decision\n";
        let facts = facts_with(&[(Kind::PayerRules, text)]);
        assert_eq!(verdict_with("TM03", &claim, &facts), Verdict::Abstain);
        for (decided, late) in [(day(2026, 11, 30), false), (day(2026, 11, 29), true)] {
            let earlier = super::super::EarlierClaim {
                status: EarlierStatus::Denied,
                decided_on: Some(decided),
                ..sent_before(&claim)
            };
            let facts = facts.clone().with_earlier(Some(vec![earlier]));
            assert_eq!(is_hit(&verdict_with("TM03", &claim, &facts)), late);
        }
    }

    #[test]
    fn an_interim_bill_goes_to_payers_that_take_them() {
        let bill = |frequency: &str| Claim {
            type_of_bill: Some(format!("011{frequency}")),
            frequency_code: frequency.to_owned(),
            ..stay()
        };
        assert!(is_hit(&judged("FQ03", &bill("2"), "refuses_interim", "yes")));
        assert_eq!(judged("FQ03", &bill("1"), "refuses_interim", "yes"), Verdict::Pass);
        assert_eq!(judged("FQ03", &bill("3"), "refuses_interim", "no"), Verdict::Pass);
        assert_eq!(judged("FQ03", &bill("2"), "refuses_interim", ""), Verdict::Abstain);
        assert_eq!(judged("FQ03", &office_visit(), "refuses_interim", "yes"), Verdict::Abstain);
    }
}
