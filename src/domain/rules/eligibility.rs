//! Rules on coverage: whether the payer covered the member on the days of service, and whether another one comes first.
//!
//! Must never: name a day in an evidence text, or judge without an eligibility answer.

use super::{Component, Facts, Judgement, PayerClass, Rule, Span, Verdict};
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::types::Date;

/// Service before the coverage began.
///
/// Source: CARC 26; the eligibility answer (271) for this payer.
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
/// Source: CARC 27, 200 and 13; the eligibility answer (271) for this payer.
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
/// Source: CARC 109; the eligibility answer (271): a member of a Medicare Advantage plan is billed to the plan, not to
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
/// Source: CARC 239 and 238; the eligibility answer (271) for this payer.
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
/// Source: CARC 22 and RARC MA04; the eligibility answer (271), which names another payer as the first and this one as a
/// later one, while the claim says nothing of another payer.
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
        let spans = facts.history.as_ref()?.eligibility.as_deref()?;
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
        if answer.own().all(|span| span.from.is_some_and(|from| answer.first < from)) {
            judgement.hit(None, "service before the first day of coverage");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn after_termination(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    let died = facts.history.as_ref().and_then(|history| history.died_on.as_ref());
    if let (Some(died), Some(first)) = (died, claim.service_date()) {
        if first > *died.expose() {
            judgement.hit(None, "service after the member's death");
            return judgement.verdict();
        }
        judgement.pass();
    }
    let Some(answer) = Answer::of(claim, facts) else { return judgement.verdict() };
    if answer.own().next().is_some() {
        let ended = answer.own().any(|span| span.to.is_some_and(|to| to < answer.first));
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
    use super::super::History;
    use super::super::fixtures::{day, is_hit, office_visit, stay, verdict_after, verdict_of};
    use super::*;
    use crate::domain::types::Phi;

    fn span(payer: &str, from: Option<Date>, to: Option<Date>) -> Span {
        Span { payer_key: payer.to_owned(), from, to, ..Span::default() }
    }

    fn judged(id: &str, claim: &Claim, spans: &[Span]) -> Verdict {
        verdict_after(id, claim, &History { eligibility: Some(spans.to_vec()), ..History::default() })
    }

    #[test]
    fn service_lies_within_the_coverage() {
        let (before, after) = (Some(day(2026, 10, 29)), Some(day(2026, 10, 31)));
        let claim = office_visit();
        for (spans, early, late) in [
            (vec![span("60054", before, after)], false, false),
            (vec![span("60054", None, None)], false, false),
            (vec![span("60054", after, None)], true, false),
            (vec![span("60054", None, before)], false, true),
            (vec![span("60054", None, before), span("60054", after, None)], false, true),
            (vec![span("60054", None, before), span("60054", before, None)], false, false),
        ] {
            assert_eq!(is_hit(&judged("EL01", &claim, &spans)), early, "{spans:?}");
            assert_eq!(is_hit(&judged("EL02", &claim, &spans)), late, "{spans:?}");
        }
        for id in ["EL01", "EL02", "EL03", "EL04", "CB01"] {
            assert_eq!(verdict_of(id, &claim), Verdict::Abstain, "{id}");
            assert_eq!(judged(id, &claim, &[span("OTHER", None, None)]), Verdict::Abstain, "{id}");
        }
    }

    #[test]
    fn nobody_is_treated_after_death() {
        for (died, hit) in [(day(2026, 10, 29), true), (day(2026, 10, 30), false)] {
            let history = History { died_on: Some(Phi::new(died)), ..History::default() };
            assert_eq!(is_hit(&verdict_after("EL02", &office_visit(), &history)), hit);
        }
    }

    #[test]
    fn a_plans_member_is_billed_to_the_plan() {
        let of = |payer: &str, class| Span { class: Some(class), ..span(payer, None, None) };
        let claim = |filing: &str| Claim { filing_indicator: Some(filing.to_owned()), ..office_visit() };
        let medicare = of("60054", PayerClass::Medicare);
        let plan = of("PLAN", PayerClass::MedicareAdvantage);
        assert!(is_hit(&judged("EL03", &claim("MB"), &[medicare.clone(), plan.clone()])));
        assert_eq!(judged("EL03", &claim("MB"), &[medicare]), Verdict::Pass);
        assert!(is_hit(&judged("EL03", &claim("16"), &[plan])));
        let medicaid = [of("60054", PayerClass::Medicaid), of("OTHER", PayerClass::Medicaid)];
        assert_eq!(judged("EL03", &claim("MC"), &medicaid), Verdict::Pass);
        assert!(is_hit(&judged("EL03", &claim("MC"), &medicaid[1..])));
        assert_eq!(judged("EL03", &claim("CI"), &medicaid[1..]), Verdict::Abstain);
    }

    #[test]
    fn a_stay_ends_within_the_coverage_it_began_in() {
        let claim = stay();
        assert_eq!(judged("EL04", &claim, &[span("60054", None, Some(day(2026, 10, 5)))]), Verdict::Pass);
        assert!(is_hit(&judged("EL04", &claim, &[span("60054", None, Some(day(2026, 10, 4)))])));
        assert_eq!(judged("EL04", &claim, &[span("60054", None, Some(day(2026, 9, 4)))]), Verdict::Abstain);
    }

    #[test]
    fn the_first_payer_is_billed_first() {
        let at = |payer: &str, place| Span { responsibility: Some(place), ..span(payer, None, None) };
        let later = [at("60054", Responsibility::Secondary), at("FIRST", Responsibility::Primary)];
        assert!(is_hit(&judged("CB01", &office_visit(), &later)));
        let first = [at("60054", Responsibility::Primary), at("SECOND", Responsibility::Secondary)];
        assert_eq!(judged("CB01", &office_visit(), &first), Verdict::Pass);
        let secondary = Claim { responsibility: Responsibility::Secondary, ..office_visit() };
        assert_eq!(judged("CB01", &secondary, &later), Verdict::Abstain);
    }
}
