//! Rules on what a provider must be to be paid: known by a taxonomy, enrolled with the payer, allowed to order.
//!
//! Must never: judge a provider whom no table knows.

use super::facts::payer_id;
use super::orders::needs_order;
use super::payer_class::is_medicare;
use super::{Component, Facts, Judgement, Rule, Verdict, line_number, told};
use crate::domain::claim::{Claim, ClaimType, Provider};
use crate::domain::reference::npi;

/// No taxonomy for a payer that finds its providers by it.
///
/// Source: CARC 8 and 16; 837 PRV of billing and rendering provider; the payer's own word (table `payer-rules`).
pub(super) const ID04: Rule = Rule {
    id: "ID04",
    name: "taxonomy_missing",
    component: Component::Provider,
    prior_permille: 400,
    blocking: false,
    carcs: &["16", "8"],
    rarc: Some("N255"),
    fixable: true,
    source: "table payer-rules: requires_taxonomy; 837 PRV",
    reason: "The payer finds providers by taxonomy, and the claim has none",
    fix: "Add the taxonomy code under which the provider is enrolled with the payer",
    check: taxonomy_missing,
};

/// A provider who was not enrolled with the payer on the day of service.
///
/// Source: CARC B7, 185, 242; the practice's own list of enrolments (table `enrollment`).
pub(super) const ID06: Rule = Rule {
    id: "ID06",
    name: "not_credentialed",
    component: Component::Provider,
    prior_permille: 700,
    blocking: false,
    carcs: &["B7", "185", "242"],
    rarc: None,
    fixable: true,
    source: "table enrollment; CARC B7",
    reason: "The provider was not enrolled with this payer on the day of service",
    fix: "Check the enrolment's first day; hold the claim until it is confirmed",
    check: not_credentialed,
};

/// An order by someone who may not order for Medicare.
///
/// Source: 42 CFR 424.507; CMS's Order and Referring file (table `order-referring`), which lists all who may.
pub(super) const RF02: Rule = Rule {
    id: "RF02",
    name: "ordering_not_eligible",
    component: Component::Provider,
    prior_permille: 700,
    blocking: false,
    carcs: &["183", "184"],
    rarc: Some("N574"),
    fixable: true,
    source: "42 CFR 424.507; table order-referring",
    reason: "The provider who ordered the service is not on Medicare's list of those who may",
    fix: "Check the ordering provider's enrolment in PECOS, or name the one who may order",
    check: ordering_not_eligible,
};

/// The provider's number.
pub(super) fn npi_of(provider: &Provider) -> Option<u64> {
    provider.npi.as_deref().and_then(npi)
}

fn taxonomy_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(requires) = facts.payer_rule(claim).and_then(|rule| rule.requires_taxonomy) else {
        return Verdict::Abstain;
    };
    let has = |provider: &Provider| told(provider.taxonomy_code.as_ref()).is_some();
    let mut judgement = Judgement::default();
    if requires && !has(&claim.billing_provider) && !claim.rendering_provider.as_ref().is_some_and(has) {
        judgement.hit(None, "neither the billing nor the rendering provider has a taxonomy");
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn not_credentialed(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(payer), Some(day)) = (&facts.tables.enrollment, payer_id(claim), claim.service_date())
    else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    for (part, provider) in
        [("billing", Some(&claim.billing_provider)), ("rendering", claim.rendering_provider.as_ref())]
    {
        match provider.and_then(npi_of).and_then(|npi| table.covers(payer, npi, day)) {
            Some(true) => judgement.pass(),
            Some(false) => judgement.hit(None, format!("{part} provider not enrolled on the first day of service")),
            None => {}
        }
    }
    judgement.verdict()
}

fn ordering_not_eligible(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.order_referring.as_ref() else { return Verdict::Abstain };
    if claim.claim_type != ClaimType::Professional || !is_medicare(claim) {
        return Verdict::Abstain;
    }
    let for_claim = claim.ordering_provider.as_ref().or(claim.referring_provider.as_ref());
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate().filter(|(_, line)| needs_order(line)) {
        match line.ordering_provider.as_ref().or(for_claim).and_then(npi_of) {
            Some(npi) if table.allows(npi) => judgement.pass(),
            Some(_) => judgement.hit(line_number(index), "the ordering provider is not on the list"),
            None => {}
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{is_hit, office_visit, provider, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;

    #[test]
    fn a_taxonomy_is_missed_where_the_payer_needs_one() {
        let table = |flag: &str| format!("payer_id,requires_taxonomy\n60054,{flag}\n");
        let judged = |claim: &Claim, flag: &str| verdict_by("ID04", claim, &[(Kind::PayerRules, &table(flag))]);
        let mut claim = office_visit();
        assert_eq!(judged(&claim, "yes"), Verdict::Pass);
        claim.billing_provider.taxonomy_code = None;
        assert!(is_hit(&judged(&claim, "yes")));
        assert_eq!(judged(&claim, "no"), Verdict::Pass);
        assert_eq!(judged(&claim, ""), Verdict::Abstain);
        assert_eq!(verdict_of("ID04", &claim), Verdict::Abstain);
        claim.rendering_provider =
            Some(Provider { taxonomy_code: Some("207R00000X".to_owned()), ..Provider::default() });
        assert_eq!(judged(&claim, "yes"), Verdict::Pass);
    }

    #[test]
    fn a_provider_is_enrolled_on_the_day_of_service() {
        let judged = |rows: &str| {
            verdict_by("ID06", &office_visit(), &[(Kind::Enrollment, &format!("payer_id,npi,from,to\n{rows}\n"))])
        };
        assert_eq!(judged("60054,1942788757,2026-10-30,"), Verdict::Pass);
        assert!(is_hit(&judged("60054,1942788757,2026-10-31,")));
        assert!(is_hit(&judged("60054,1234567893,,\nOTHER,1942788757,,")));
        assert_eq!(judged("60054,1234567893,,"), Verdict::Abstain);
        assert_eq!(judged("OTHER,1942788757,,"), Verdict::Abstain);
        assert_eq!(verdict_of("ID06", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn who_orders_for_medicare_is_on_the_list() {
        let mut claim = office_visit();
        claim.filing_indicator = Some("MB".to_owned());
        claim.lines[0].procedure_code = Some("80053".to_owned());
        let judged = |claim: &Claim| verdict_by("RF02", claim, &[(Kind::OrderReferring, "npi\n1942788757\n")]);
        assert_eq!(judged(&claim), Verdict::Abstain);
        claim.referring_provider = Some(provider("1942788757"));
        assert_eq!(judged(&claim), Verdict::Pass);
        claim.lines[0].ordering_provider = Some(provider("1760854442"));
        assert!(is_hit(&judged(&claim)));
        assert_eq!(verdict_of("RF02", &claim), Verdict::Abstain);
        claim.filing_indicator = Some("CI".to_owned());
        assert_eq!(judged(&claim), Verdict::Abstain);
    }
}
