//! Rules on the providers that a claim names: their NPIs, their kind, the tax id.
//!
//! Must never: take an NPI that the registry's table does not have for a wrong one; the table may be a part.

use super::{Component, Facts, Judgement, Rule, Verdict, is_digits, line_number, told};
use crate::domain::claim::{Claim, ClaimType, Provider};
use crate::domain::reference::npi;
use crate::domain::types::Date;

/// The first day on which HIPAA transactions had to carry NPIs (45 CFR 162.404, after CMS's contingency year).
pub(super) const NPI_REQUIRED: Option<Date> = Date::from_ymd_opt(2008, 5, 23);

/// An NPI that is no NPI.
///
/// Source: 69 FR 3434 (the NPI final rule): ten digits, the first 1 or 2, the last a Luhn check digit over the number
/// with 80840 put before it. 837 loops 2010AA, 2310A-E, 2420E, NM109 where NM108 = XX.
pub(super) const ID01: Rule = Rule {
    id: "ID01",
    name: "npi_check_digit",
    component: Component::Provider,
    prior_permille: 900,
    blocking: true,
    carcs: &["207", "16"],
    rarc: None,
    fixable: true,
    source: "69 FR 3434: NPI format and check digit",
    reason: "A provider's NPI is not a valid number",
    fix: "Correct the NPI; look it up in the NPI registry",
    check: npi_check_digit,
};

/// A claim without the NPI it must have.
///
/// Source: 45 CFR 162.410 and CARC 206. Professional and dental claims need a rendering or a billing NPI, institutional
/// ones a billing NPI and, when the claim was read whole, an attending provider's. Not judged for service before 23 May 2008.
pub(super) const ID02: Rule = Rule {
    id: "ID02",
    name: "npi_missing",
    component: Component::Provider,
    prior_permille: 800,
    blocking: true,
    carcs: &["206", "16"],
    rarc: Some("N290"),
    fixable: true,
    source: "45 CFR 162.410; CARC 206",
    reason: "The claim names no NPI where one is required",
    fix: "Add the missing provider's NPI",
    check: npi_missing,
};

/// An organisation where the payer expects a person.
///
/// Source: 837 loops 2310A (referring; attending on institutional claims) and 2420E (ordering): NM102 must say person.
/// Whether an
/// NPI belongs to a person (rendering providers too), and whether it is still active, the table `npi` tells.
pub(super) const ID03: Rule = Rule {
    id: "ID03",
    name: "npi_type_mismatch",
    component: Component::Provider,
    prior_permille: 600,
    blocking: false,
    carcs: &["208", "16"],
    rarc: None,
    fixable: true,
    source: "837 NM102 of referring, ordering and attending providers",
    reason: "An organisation, or a number that was given up, is named where the payer needs a person",
    fix: "Name the individual clinician with their own NPI",
    check: npi_type_mismatch,
};

/// A tax id that cannot be one.
///
/// Source: IRS: an EIN or SSN has nine digits; the same digit nine times is a filler. 837 loop 2010AA REF*EI or REF*SY.
pub(super) const ID05: Rule = Rule {
    id: "ID05",
    name: "tax_id_format",
    component: Component::Provider,
    prior_permille: 700,
    blocking: true,
    carcs: &["16"],
    rarc: Some("N209"),
    fixable: true,
    source: "IRS employer identification number format",
    reason: "The billing provider's tax id does not have nine proper digits",
    fix: "Correct the tax id of the billing provider",
    check: tax_id_format,
};

/// Whether ten characters make an NPI: digits, first 1 or 2, Luhn sum with prefix 80840 divisible by ten.
pub(super) fn is_npi(text: &str) -> bool {
    if !is_digits(text, 10) || !(text.starts_with('1') || text.starts_with('2')) {
        return false;
    }
    // The prefix 80840 adds the constant 24 to the sum. From the right, every second digit is doubled; of ten digits
    // those are the ones at even places from the left.
    let sum = text.bytes().enumerate().fold(24_u32, |sum, (place, byte)| {
        let digit = u32::from(byte - b'0');
        sum + match (place % 2 == 0, digit * 2) {
            (false, _) => digit,
            (true, twice) if twice > 9 => twice - 9,
            (true, twice) => twice,
        }
    });
    sum.is_multiple_of(10)
}

/// The providers of a claim with what they are called and the line that names them.
fn named_providers(claim: &Claim) -> impl Iterator<Item = (&'static str, Option<u16>, &Provider)> {
    let of_claim = [
        ("billing", Some(&claim.billing_provider)),
        ("rendering", claim.rendering_provider.as_ref()),
        ("referring", claim.referring_provider.as_ref()),
        ("attending", claim.attending_provider.as_ref()),
        ("ordering", claim.ordering_provider.as_ref()),
        ("facility", claim.service_facility.as_ref()),
    ];
    let of_lines = claim.lines.iter().enumerate().filter_map(|(index, line)| {
        line.ordering_provider.as_ref().map(|provider| ("ordering", line_number(index), provider))
    });
    of_claim.into_iter().filter_map(|(part, provider)| provider.map(|provider| (part, None, provider))).chain(of_lines)
}

fn npi_check_digit(claim: &Claim, _: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    for (part, line, provider) in named_providers(claim) {
        match told(provider.npi.as_ref()) {
            Some(npi) if is_npi(npi) => judgement.pass(),
            // Eleven characters at most: a number typed into the wrong field is not carried on.
            Some(npi) if npi.len() <= 11 && npi.bytes().all(|b| b.is_ascii_digit()) => {
                judgement.hit(line, format!("{part} provider's NPI {npi} fails the check"));
            }
            Some(_) => judgement.hit(line, format!("{part} provider's NPI is not ten digits")),
            None => {}
        }
    }
    judgement.verdict()
}

fn npi_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(first_day) = claim.service_date() else {
        return Verdict::Abstain;
    };
    if NPI_REQUIRED.is_some_and(|required| first_day < required) {
        return Verdict::Abstain;
    }
    let has_npi = |provider: &Provider| told(provider.npi.as_ref()).is_some();
    let mut judgement = Judgement::default();
    let rendering = claim.rendering_provider.as_ref().is_some_and(has_npi);
    if has_npi(&claim.billing_provider) || rendering {
        judgement.pass();
    } else {
        judgement.hit(None, "neither the billing nor the rendering provider has an NPI");
    }
    if claim.claim_type == ClaimType::Institutional {
        match &claim.attending_provider {
            Some(attending) if has_npi(attending) => judgement.pass(),
            Some(_) => judgement.hit(None, "the attending provider has no NPI"),
            None if facts.complete => judgement.hit(None, "no attending provider"),
            None => {}
        }
    }
    judgement.verdict()
}

fn npi_type_mismatch(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    for (part, line, provider) in named_providers(claim) {
        let registered = facts.tables.registry.as_ref().and_then(|table| table.of(npi(provider.npi.as_deref()?)?));
        let first_day = claim.service_date();
        if registered.and_then(|one| one.deactivated_on).is_some_and(|ended| first_day.is_some_and(|day| day >= ended))
        {
            judgement.hit(line, format!("{part} provider's NPI was deactivated before the service"));
            continue;
        }
        let known = registered.map(|one| one.is_organization);
        let organization = match part {
            "referring" | "ordering" | "attending" => known.or(provider.is_organization),
            // An organisation may be told as rendering by mistake of the publisher; the registry knows.
            "rendering" => known,
            _ => known.map(|_| false),
        };
        match organization {
            Some(true) => judgement.hit(line, format!("{part} provider is an organisation")),
            Some(false) => judgement.pass(),
            None => {}
        }
    }
    judgement.verdict()
}

fn tax_id_format(claim: &Claim, _: &Facts) -> Verdict {
    let Some(text) = told(claim.billing_provider.tax_id.as_ref()) else {
        return Verdict::Abstain;
    };
    let mut digits = text.bytes().filter(|&byte| byte != b'-');
    let count = digits.clone().count();
    let all_digits = digits.clone().all(|byte| byte.is_ascii_digit());
    let first = digits.next();
    let mut judgement = Judgement::default();
    if count != 9 || !all_digits {
        judgement.hit(None, "the tax id is not nine digits");
    } else if digits.all(|byte| Some(byte) == first) {
        judgement.hit(None, "the tax id repeats one digit nine times");
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        day, is_hit, lines_hit, office_visit, provider, stay, verdict_by, verdict_of, verdict_with,
    };
    use super::*;
    use crate::domain::reference::Kind;

    #[test]
    fn the_check_digit_counts_with_the_card_prefix() {
        // 1234567893 is the worked example of the NPI standard.
        for good in ["1234567893", "1760854442", "1942788757"] {
            assert!(is_npi(good), "{good}");
        }
        for bad in ["1234567890", "1760854443", "3234567893", "123456789", "12345678931", "12345678X3", ""] {
            assert!(!is_npi(bad), "{bad}");
        }
    }

    #[test]
    fn a_wrong_npi_is_found_wherever_it_stands() {
        let parts: [fn(&mut Claim, Provider); 6] = [
            |claim, p| claim.billing_provider = p,
            |claim, p| claim.rendering_provider = Some(p),
            |claim, p| claim.referring_provider = Some(p),
            |claim, p| claim.attending_provider = Some(p),
            |claim, p| claim.ordering_provider = Some(p),
            |claim, p| claim.service_facility = Some(p),
        ];
        for put in parts {
            let mut claim = office_visit();
            put(&mut claim, provider("1234567890"));
            assert_eq!(lines_hit("ID01", &claim), vec![None]);
            put(&mut claim, provider("1234567893"));
            assert_eq!(verdict_of("ID01", &claim), Verdict::Pass);
        }
        let mut claim = office_visit();
        claim.lines[0].ordering_provider = Some(provider("9999999999"));
        assert_eq!(lines_hit("ID01", &claim), vec![Some(1)]);
    }

    #[test]
    fn an_npi_that_is_not_told_is_not_checked() {
        let claim = Claim { rendering_provider: None, billing_provider: Provider::default(), ..office_visit() };
        assert_eq!(verdict_of("ID01", &claim), Verdict::Abstain);
    }

    #[test]
    fn a_long_text_in_the_npi_field_is_not_repeated() {
        let claim = Claim { billing_provider: provider("JANE EXAMPLE"), ..office_visit() };
        let Verdict::Hit(findings) = verdict_of("ID01", &claim) else { panic!("no hit") };
        assert!(!findings[0].evidence.contains("JANE"), "{findings:?}");
    }

    #[test]
    fn one_npi_of_billing_or_rendering_is_enough() {
        let mut claim = office_visit();
        claim.billing_provider.npi = None;
        assert_eq!(verdict_of("ID02", &claim), Verdict::Pass);
        claim.rendering_provider = None;
        assert_eq!(lines_hit("ID02", &claim), vec![None]);
        claim.billing_provider = provider("1760854442");
        assert_eq!(verdict_of("ID02", &claim), Verdict::Pass);
    }

    #[test]
    fn npis_are_not_asked_of_claims_from_before_them() {
        let mut claim = office_visit();
        claim.billing_provider.npi = None;
        claim.rendering_provider = None;
        claim.lines[0].service_from = Some(day(2008, 5, 22));
        assert_eq!(verdict_of("ID02", &claim), Verdict::Abstain);
        claim.lines[0].service_from = Some(day(2008, 5, 23));
        assert_eq!(lines_hit("ID02", &claim), vec![None]);
        claim.lines[0].service_from = None;
        assert_eq!(verdict_of("ID02", &claim), Verdict::Abstain);
    }

    #[test]
    fn an_absent_attending_provider_counts_only_in_a_whole_claim() {
        let claim = Claim { attending_provider: None, ..stay() };
        assert_eq!(lines_hit("ID02", &claim), vec![None]);
        assert_eq!(verdict_with("ID02", &claim, &Facts::default()), Verdict::Pass);
        let nameless = Claim { attending_provider: Some(Provider::default()), ..stay() };
        assert!(matches!(verdict_with("ID02", &nameless, &Facts::default()), Verdict::Hit(_)));
    }

    #[test]
    fn an_organisation_cannot_refer() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("ID03", &claim), Verdict::Abstain);
        let person = Provider { is_organization: Some(false), ..provider("1942788757") };
        claim.referring_provider = Some(person.clone());
        assert_eq!(verdict_of("ID03", &claim), Verdict::Pass);
        let group = Provider { is_organization: Some(true), ..person };
        claim.rendering_provider = Some(group.clone());
        assert_eq!(verdict_of("ID03", &claim), Verdict::Pass);
        claim.referring_provider = Some(group);
        assert_eq!(lines_hit("ID03", &claim), vec![None]);
    }

    #[test]
    fn a_tax_id_has_nine_digits_that_differ() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("ID05", &claim), Verdict::Abstain);
        for (text, good) in
            [("587654321", true), ("58-7654321", true), ("58765432", false), ("999999999", false), ("58765432A", false)]
        {
            claim.billing_provider.tax_id = Some(text.to_owned());
            assert_eq!(verdict_of("ID05", &claim) == Verdict::Pass, good, "{text}");
        }
    }

    #[test]
    fn the_registry_tells_persons_and_active_numbers() {
        let judged = |rows: &str| {
            let text = format!("npi,entity_type,deactivated_on\n{rows}\n");
            verdict_by("ID03", &office_visit(), &[(Kind::Npi, &text)])
        };
        assert_eq!(judged("1942788757,1,\n1760854442,2,"), Verdict::Pass);
        assert!(is_hit(&judged("1942788757,2,")), "the rendering provider");
        assert!(is_hit(&judged("1760854442,2,2026-10-30")));
        assert_eq!(judged("1760854442,2,2026-10-31"), Verdict::Pass);
        assert_eq!(judged("1234567893,2,"), Verdict::Abstain);
    }
}
