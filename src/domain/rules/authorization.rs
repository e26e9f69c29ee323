//! Rules on what a payer wants before or beside a claim: authorizations, referrals, documents.
//!
//! Must never: put an authorization's number into an evidence text.

use super::facts::payer_id;
use super::procedures::place_of_service;
use super::{Component, Facts, Judgement, Rule, Verdict, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType};
use crate::domain::reference::{Code, GrantedAuthorization, Listed, npi};
use crate::domain::types::{Phi, Units};

/// A service that needs an authorization, without one.
///
/// Source: CARC 197; the payer's own list (table `authorization`); 837 REF*G1.
pub(super) const AU01: Rule = Rule {
    id: "AU01",
    name: "auth_missing",
    component: Component::Documentation,
    prior_permille: 700,
    blocking: false,
    carcs: &["197"],
    rarc: Some("M62"),
    fixable: true,
    source: "table authorization; CARC 197",
    reason: "The payer wants a prior authorization for this service, and the claim has none",
    fix: "Obtain the authorization, afterwards where the payer allows it, and add its number",
    check: auth_missing,
};

/// An authorization that does not fit the claim.
///
/// Source: CARC 198, 15 and 210; the authorizations that payers granted for the member, as the practice recorded them (table
/// `granted-authorizations`).
pub(super) const AU02: Rule = Rule {
    id: "AU02",
    name: "auth_mismatch",
    component: Component::Documentation,
    prior_permille: 600,
    blocking: false,
    carcs: &["198", "15", "210"],
    rarc: None,
    fixable: true,
    source: "table granted-authorizations; CARC 198, 15",
    reason: "The authorization does not fit the service, its day, its units or its provider",
    fix: "Correct the number, or have the authorization extended",
    check: auth_mismatch,
};

/// A specialist's service without a referral, for a payer that wants one.
///
/// Source: CARC 288 and 243; the payer's own word (table `payer-rules`); 837 REF*9F. Primary care and the emergency
/// department need none; a claim that names no specialty is not judged.
pub(super) const AU03: Rule = Rule {
    id: "AU03",
    name: "referral_missing",
    component: Component::Documentation,
    prior_permille: 500,
    blocking: false,
    carcs: &["288", "243"],
    rarc: None,
    fixable: true,
    source: "table payer-rules: requires_referral; CARC 288",
    reason: "The payer wants a referral for a specialist, and the claim has none",
    fix: "Get the referral from the primary care physician and add its number",
    check: referral_missing,
};

/// A service that the payer wants records for, without any.
///
/// Source: CARC 252, 163 and 226; the payer's own list (table `attachment`); 837 PWK. Only when the claim was read whole,
/// since attachments are optional.
pub(super) const AT01: Rule = Rule {
    id: "AT01",
    name: "attachment",
    component: Component::Documentation,
    prior_permille: 500,
    blocking: false,
    carcs: &["252", "163", "226"],
    rarc: Some("N706"),
    fixable: true,
    source: "table attachment; CARC 252; 837 PWK",
    reason: "The payer wants records for this service, and the claim announces none",
    fix: "Send the records and announce them on the claim (PWK)",
    check: attachment,
};

/// Beginnings of the specialties that refer, and need no referral themselves: general practice, family and internal
/// medicine, paediatrics.
const PRIMARY_CARE: [&str; 4] = ["208D", "207Q", "207R00000X", "208000000X"];

fn number(reference: Option<&Phi<String>>) -> Option<&str> {
    told(reference.map(Phi::expose))
}

fn auth_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(payer)) = (&facts.tables.authorization, payer_id(claim)) else { return Verdict::Abstain };
    let has_number = number(claim.prior_authorization_number.as_ref()).is_some();
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = procedure(line) else { continue };
        let place = match claim.claim_type {
            ClaimType::Institutional => None,
            ClaimType::Professional | ClaimType::Dental => place_of_service(claim, line),
        };
        match table.wants(payer, code, place) {
            Listed::Unknown => return Verdict::Abstain,
            Listed::Yes if !has_number => judgement.hit(line_number(index), format!("{code} without authorization")),
            Listed::Yes | Listed::No => judgement.pass(),
        }
    }
    judgement.verdict()
}

/// What does not fit, if anything.
fn mismatch(claim: &Claim, granted: &GrantedAuthorization) -> Option<&'static str> {
    let starts_early = claim.service_date().zip(granted.from).is_some_and(|(day, from)| day < from);
    let ends_late = claim.last_service_date().zip(granted.to).is_some_and(|(day, to)| day > to);
    if starts_early || ends_late {
        return Some("the authorization does not hold on the days of service");
    }
    let is_for = |code: Code| granted.procedures.contains(&code);
    let meant: Vec<_> = claim.lines.iter().filter(|line| procedure(line).is_some_and(is_for)).collect();
    if !granted.procedures.is_empty() && meant.is_empty() {
        return Some("the authorization is for other procedures");
    }
    let npis = [Some(&claim.billing_provider), claim.rendering_provider.as_ref()];
    let same = |number: u64| npis.iter().flatten().any(|one| told(one.npi.as_ref()).and_then(npi) == Some(number));
    if granted.npi.is_some_and(|number| !same(number)) {
        return Some("the authorization is for another provider");
    }
    let used: i64 = meant.iter().filter_map(|line| line.units).map(Units::thousandths).sum();
    if granted.units.is_some_and(|left| used > left.thousandths()) {
        return Some("the claim has more units than are left of the authorization");
    }
    None
}

fn auth_mismatch(claim: &Claim, facts: &Facts) -> Verdict {
    let number = number(claim.prior_authorization_number.as_ref());
    let (Some(granted), Some(number)) = (facts.authorizations(claim), number) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    match granted.iter().find(|one| one.number.expose().trim() == number) {
        Some(one) => match mismatch(claim, one) {
            Some(what) => judgement.hit(None, what),
            None => judgement.pass(),
        },
        None => judgement.hit(None, "no authorization of that number was recorded"),
    }
    judgement.verdict()
}

fn referral_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let requires = facts.payer_rule(claim).and_then(|rule| rule.requires_referral);
    let (Some(requires), ClaimType::Professional) = (requires, claim.claim_type) else { return Verdict::Abstain };
    let rendering = claim.rendering_provider.as_ref().and_then(|provider| told(provider.taxonomy_code.as_ref()));
    let Some(specialty) = rendering.or_else(|| told(claim.billing_provider.taxonomy_code.as_ref())) else {
        return Verdict::Abstain;
    };
    let emergency = claim.lines.iter().any(|line| place_of_service(claim, line) == Some("23"));
    let exempt = emergency || PRIMARY_CARE.iter().any(|prefix| specialty.starts_with(prefix));
    let mut judgement = Judgement::default();
    if requires && !exempt && number(claim.referral_number.as_ref()).is_none() {
        judgement.hit(None, "a specialist's claim without referral number");
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn attachment(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(payer)) = (&facts.tables.attachments, payer_id(claim)) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = procedure(line) else { continue };
        match table.wants(payer, code) {
            Listed::Unknown => return Verdict::Abstain,
            Listed::Yes if claim.attachments.is_empty() => {
                if facts.complete {
                    judgement.hit(line_number(index), format!("{code} without attachment"));
                }
            }
            Listed::Yes | Listed::No => judgement.pass(),
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{facts_with, is_hit, office_visit, verdict_by, verdict_of, verdict_with};
    use super::*;
    use crate::domain::claim::Attachment;
    use crate::domain::reference::Kind;

    #[test]
    fn a_listed_service_has_an_authorization() {
        let judged = |claim: &Claim, rows: &str| {
            let text = format!("payer_id,procedure_code,place_of_service\n{rows}\n");
            verdict_by("AU01", claim, &[(Kind::Authorization, &text)])
        };
        let mut claim = office_visit();
        assert!(is_hit(&judged(&claim, "60054,99213,")));
        assert!(is_hit(&judged(&claim, "60054,99213,11")));
        assert_eq!(judged(&claim, "60054,99213,22"), Verdict::Pass);
        assert_eq!(judged(&claim, "60054,G0001,"), Verdict::Pass);
        assert_eq!(judged(&claim, "OTHER,99213,"), Verdict::Abstain);
        assert_eq!(verdict_of("AU01", &claim), Verdict::Abstain);
        claim.prior_authorization_number = Some(Phi::from("A1"));
        assert_eq!(judged(&claim, "60054,99213,"), Verdict::Pass);
    }

    #[test]
    fn an_authorization_fits_its_claim() {
        let claim = Claim { prior_authorization_number: Some(Phi::from("A1")), ..office_visit() };
        // Number, procedures, provider, units, from, to.
        let judged = |granted: &str| {
            let head = "practice_id,member_id,number,procedure_codes,npi,units,from,to\n";
            let text = format!("{head}PR01,W123456789,{granted}\n");
            verdict_by("AU02", &claim, &[(Kind::GrantedAuthorizations, &text)])
        };
        assert_eq!(judged("A1,99213,1942788757,1,2026-10-01,2026-10-30"), Verdict::Pass);
        assert_eq!(judged("A1,,,,,"), Verdict::Pass);
        for bad in [
            "A2,99213,1942788757,1,2026-10-01,2026-10-30",
            "A1,G0001,1942788757,1,2026-10-01,2026-10-30",
            "A1,99213,1234567893,1,2026-10-01,2026-10-30",
            "A1,99213,1942788757,0,2026-10-01,2026-10-30",
            "A1,99213,1942788757,1,2026-10-31,",
            "A1,99213,1942788757,1,,2026-10-29",
        ] {
            assert!(is_hit(&judged(bad)), "{bad}");
        }
        let other = "practice_id,member_id,number\nPR01,OTHER,A2\n";
        assert_eq!(verdict_by("AU02", &claim, &[(Kind::GrantedAuthorizations, other)]), Verdict::Abstain);
        assert_eq!(verdict_of("AU02", &claim), Verdict::Abstain);
    }

    #[test]
    fn a_specialist_needs_a_referral_where_the_payer_wants_one() {
        let judged = |claim: &Claim, flag: &str| {
            let text = format!("payer_id,requires_referral\n60054,{flag}\n");
            verdict_by("AU03", claim, &[(Kind::PayerRules, &text)])
        };
        let mut claim = office_visit();
        assert_eq!(judged(&claim, "yes"), Verdict::Pass, "family medicine");
        claim.billing_provider.taxonomy_code = Some("207RC0000X".to_owned());
        assert!(is_hit(&judged(&claim, "yes")));
        assert_eq!(judged(&claim, "no"), Verdict::Pass);
        assert_eq!(judged(&claim, ""), Verdict::Abstain);
        let referred = Claim { referral_number: Some(Phi::from("R1")), ..claim.clone() };
        assert_eq!(judged(&referred, "yes"), Verdict::Pass);
        claim.lines[0].place_of_service = Some("23".to_owned());
        assert_eq!(judged(&claim, "yes"), Verdict::Pass);
        claim.billing_provider.taxonomy_code = None;
        assert_eq!(judged(&claim, "yes"), Verdict::Abstain);
    }

    #[test]
    fn records_are_announced_where_the_payer_wants_them() {
        let tables = [(Kind::Attachment, "payer_id,procedure_code\n60054,99213\n")];
        let mut claim = office_visit();
        assert!(is_hit(&verdict_by("AT01", &claim, &tables)));
        let unsure = Facts { complete: false, ..facts_with(&tables) };
        assert_eq!(verdict_with("AT01", &claim, &unsure), Verdict::Abstain);
        assert_eq!(verdict_of("AT01", &claim), Verdict::Abstain);
        claim.attachments.push(Attachment::default());
        assert_eq!(verdict_by("AT01", &claim, &tables), Verdict::Pass);
    }
}
