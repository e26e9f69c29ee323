//! Rules on coverage: whether the payer covered the member on the days of service, and whether another one comes first.
//!
//! Must never: name a day in an evidence text, or judge without an eligibility answer.

use super::{Component, Facts, Judgement, PayerClass, Rule, Verdict};
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::reference::Span;
use crate::domain::types::Date;

/// Service before the coverage began.
///
/// Source: CARC 26; the eligibility answer (271) for this payer (table `eligibility`).
pub(super) const EL01: Rule = Rule {
    id: "EL01",
    name: "before_effective",
    component: Component::Eligibility,
    prior_permille: 800,
    blocking: false,
    carcs: &["26"],
    rarc: None,
    fixable: true,
    source: "eligibility answer (271); CARC 26",
    reason: "The service was before the member's coverage began",
    fix: "Find the payer that covered the member on the day of service",
    check: before_effective,
};

/// Service after the coverage ended, in a gap of it, or after the member's death.
///
/// Source: CARC 27, 200 and 13; the eligibility answer (271) for this payer (table `eligibility`).
pub(super) const EL02: Rule = Rule {
    id: "EL02",
    name: "after_termination",
    component: Component::Eligibility,
    prior_permille: 800,
    blocking: false,
    carcs: &["27", "200", "13"],
    rarc: None,
    fixable: true,
    source: "eligibility answer (271); CARC 27, 200, 13",
    reason: "The service was after the member's coverage ended, or in a gap of it",
    fix: "Find the payer that covered the member on the day of service",
    check: after_termination,
};

/// A claim to the wrong one of several payers of the same programme.
///
/// Source: CARC 109; the eligibility answer (271; table `eligibility`): a member of a Medicare Advantage plan is billed to the plan, not to
/// Medicare; a Medicaid member of a plan is billed to that plan.
pub(super) const EL03: Rule = Rule {
    id: "EL03",
    name: "wrong_payer",
    component: Component::Eligibility,
    prior_permille: 800,
    blocking: false,
    carcs: &["109"],
    rarc: None,
    fixable: true,
    source: "eligibility answer (271); CARC 109",
    reason: "Eligibility names another plan of the same programme for that day",
    fix: "Send the claim to the plan that eligibility names",
    check: wrong_payer,
};

/// Service that goes on after the coverage ended.
///
/// Source: CARC 239 and 238; the eligibility answer (271) for this payer (table `eligibility`).
pub(super) const EL04: Rule = Rule {
    id: "EL04",
    name: "service_spans_coverage",
    component: Component::Eligibility,
    prior_permille: 600,
    blocking: false,
    carcs: &["239", "238"],
    rarc: None,
    fixable: true,
    source: "eligibility answer (271); CARC 239",
    reason: "The service begins within the member's coverage and ends outside it",
    fix: "Split the claim at the day on which the coverage ends",
    check: service_spans_coverage,
};

/// A claim to a payer as the first, although another one comes before it.
///
/// Source: CARC 22 and RARC MA04; the eligibility answer (271; table `eligibility`), which names another payer as the first
/// and this one as a later one, while the claim says nothing of another payer.
pub(super) const CB01: Rule = Rule {
    id: "CB01",
    name: "other_coverage",
    component: Component::Eligibility,
    prior_permille: 600,
    blocking: false,
    carcs: &["22"],
    rarc: Some("MA04"),
    fixable: true,
    source: "eligibility answer (271); CARC 22",
    reason: "Another payer comes before this one, and the claim does not name it",
    fix: "Bill the first payer, then send this claim with its decision",
    check: other_coverage,
};

/// The eligibility answer, the payer's key and the first day of service.
struct Answer<'a> {
    spans: &'a [Span],
    payer: String,
    first: Date,
}

impl<'a> Answer<'a> {
    fn of(claim: &Claim, facts: &'a Facts) -> Option<Self> {
        let spans = facts.member(claim)?.spans.as_slice();
        Some(Self { spans, payer: claim.payer.key(), first: claim.service_date()? })
    }

    /// The spans of the claim's payer.
    fn own(&self) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().filter(|span| span.payer_key == self.payer)
    }

    /// The spans of other payers that have the first day of service.
    fn others(&self) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().filter(|span| span.payer_key != self.payer && span.covers(self.first))
    }

    fn is_covered(&self, day: Date) -> bool {
        self.own().any(|span| span.covers(day))
    }
}

fn before_effective(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(answer) = Answer::of(claim, facts) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    if answer.own().next().is_some() {
        if answer.own().all(|span| span.begins_after(answer.first)) {
            judgement.hit(None, "service before the first day of coverage");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn after_termination(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    let died = facts.member(claim).and_then(|member| member.died_on.as_ref());
    if let (Some(died), Some(first)) = (died, claim.service_date()) {
        if first > *died.expose() {
            judgement.hit(None, "service after the member's death");
            return judgement.verdict();
        }
        judgement.pass();
    }
    let Some(answer) = Answer::of(claim, facts) else { return judgement.verdict() };
    if answer.own().next().is_some() {
        let ended = answer.own().any(|span| span.ended_before(answer.first));
        if answer.is_covered(answer.first) || !ended {
            judgement.pass();
        } else {
            judgement.hit(None, "service after the last day of coverage, or in a gap");
        }
    }
    judgement.verdict()
}

/// The programme that a class of insurance belongs to, where several payers share one.
fn programme(class: PayerClass) -> Option<&'static str> {
    match class {
        PayerClass::Medicare | PayerClass::MedicareAdvantage => Some("Medicare"),
        PayerClass::Medicaid => Some("Medicaid"),
        PayerClass::Commercial | PayerClass::Other => None,
    }
}

fn wrong_payer(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(answer) = Answer::of(claim, facts) else { return Verdict::Abstain };
    let class = PayerClass::of(claim);
    let Some(same) = programme(class) else { return Verdict::Abstain };
    let covers = |span: &Span| span.covers(answer.first);
    let known = answer.spans.iter().any(|span| covers(span) && span.class.and_then(programme) == Some(same));
    if !known {
        return Verdict::Abstain;
    }
    let wrong = if class == PayerClass::Medicare {
        // A plan's members keep their entitlement to Medicare, so that a span of Medicare itself proves nothing.
        answer.others().any(|span| span.class == Some(PayerClass::MedicareAdvantage))
    } else {
        !answer.is_covered(answer.first) && answer.others().any(|span| span.class.and_then(programme) == Some(same))
    };
    let mut judgement = Judgement::default();
    if wrong {
        judgement.hit(None, format!("another payer of {same} covers the member on that day"));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn service_spans_coverage(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(answer) = Answer::of(claim, facts) else { return Verdict::Abstain };
    let Some(last) = claim.last_service_date().filter(|_| answer.is_covered(answer.first)) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    if answer.is_covered(last) {
        judgement.pass();
    } else {
        judgement.hit(None, "the last day of service is outside the coverage");
    }
    judgement.verdict()
}

fn other_coverage(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(answer) = Answer::of(claim, facts) else { return Verdict::Abstain };
    if claim.responsibility != Responsibility::Primary || !claim.other_payers.is_empty() {
        return Verdict::Abstain;
    }
    let own = answer.own().filter(|span| span.covers(answer.first)).filter_map(|span| span.responsibility).min();
    let Some(own) = own else { return Verdict::Abstain };
    let first = answer.others().any(|span| span.responsibility.is_some_and(|place| place < own));
    let mut judgement = Judgement::default();
    if own > Responsibility::Primary && first {
        judgement.hit(None, "another payer covers the member before this one");
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{is_hit, office_visit, stay, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;

    /// Judges a claim of the examples' member, whom eligibility told these rows of: payer, class, place, from, to, death.
    fn judged(id: &str, claim: &Claim, rows: &[&str]) -> Verdict {
        let head = "practice_id,member_id,payer_id,class,place,from,to,died_on\n";
        let rows: String = rows.iter().map(|row| format!("PR01,W123456789,{row}\n")).collect();
        verdict_by(id, claim, &[(Kind::Eligibility, &format!("{head}{rows}"))])
    }

    #[test]
    fn service_lies_within_the_coverage() {
        let (until, since) = ("60054,,,,2026-10-29,", "60054,,,2026-10-31,,");
        let claim = office_visit();
        for (rows, early, late) in [
            (vec!["60054,,,2026-10-29,2026-10-31,"], false, false),
            (vec!["60054,,,,,"], false, false),
            (vec![since], true, false),
            (vec![until], false, true),
            (vec![until, since], false, true),
            (vec![until, "60054,,,2026-10-29,,"], false, false),
        ] {
            assert_eq!(is_hit(&judged("EL01", &claim, &rows)), early, "{rows:?}");
            assert_eq!(is_hit(&judged("EL02", &claim, &rows)), late, "{rows:?}");
        }
        let stranger = Claim { practice_id: Some("PR02".to_owned()), ..claim.clone() };
        for id in ["EL01", "EL02", "EL03", "EL04", "CB01"] {
            assert_eq!(verdict_of(id, &claim), Verdict::Abstain, "{id}");
            assert_eq!(judged(id, &claim, &["OTHER,,,,,"]), Verdict::Abstain, "{id}");
            assert_eq!(judged(id, &stranger, &[until]), Verdict::Abstain, "{id}");
        }
    }

    #[test]
    fn nobody_is_treated_after_death() {
        for (died, hit) in [("2026-10-29", true), ("2026-10-30", false)] {
            assert_eq!(is_hit(&judged("EL02", &office_visit(), &[&format!("OTHER,,,,,{died}")])), hit);
        }
    }

    #[test]
    fn a_plans_member_is_billed_to_the_plan() {
        let claim = |filing: &str| Claim { filing_indicator: Some(filing.to_owned()), ..office_visit() };
        let (medicare, plan) = ("60054,medicare,,,,", "PLAN,medicare_advantage,,,,");
        assert!(is_hit(&judged("EL03", &claim("MB"), &[medicare, plan])));
        assert_eq!(judged("EL03", &claim("MB"), &[medicare]), Verdict::Pass);
        assert!(is_hit(&judged("EL03", &claim("16"), &[plan])));
        let medicaid = ["60054,medicaid,,,,", "OTHER,medicaid,,,,"];
        assert_eq!(judged("EL03", &claim("MC"), &medicaid), Verdict::Pass);
        assert!(is_hit(&judged("EL03", &claim("MC"), &medicaid[1..])));
        assert_eq!(judged("EL03", &claim("CI"), &medicaid[1..]), Verdict::Abstain);
    }

    #[test]
    fn a_stay_ends_within_the_coverage_it_began_in() {
        let claim = stay();
        assert_eq!(judged("EL04", &claim, &["60054,,,,2026-10-05,"]), Verdict::Pass);
        assert!(is_hit(&judged("EL04", &claim, &["60054,,,,2026-10-04,"])));
        assert_eq!(judged("EL04", &claim, &["60054,,,,2026-09-04,"]), Verdict::Abstain);
    }

    #[test]
    fn the_first_payer_is_billed_first() {
        let later = ["60054,,S,,,", "FIRST,,P,,,"];
        assert!(is_hit(&judged("CB01", &office_visit(), &later)));
        assert_eq!(judged("CB01", &office_visit(), &["60054,,P,,,", "SECOND,,S,,,"]), Verdict::Pass);
        let secondary = Claim { responsibility: Responsibility::Secondary, ..office_visit() };
        assert_eq!(judged("CB01", &secondary, &later), Verdict::Abstain);
    }
}
