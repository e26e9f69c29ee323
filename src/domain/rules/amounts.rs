//! Rules on units and money: units above zero, charges above zero, lines that add up to the claim.
//!
//! Must never: use a float for money.

use super::{Component, Facts, Judgement, Rule, Verdict, five_digits, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::types::Cents;

/// Units that no service can have.
///
/// Source: 837 SV104, SV205, SV306; RARC M53. Lines that carry a summary or a payment group (revenue codes 0001, 0022, 0023,
/// 0024) may have none. Visits cannot be fractions; other services may.
pub(super) const AM01: Rule = Rule {
    id: "AM01",
    name: "units_zero",
    component: Component::Coding,
    prior_permille: 800,
    blocking: true,
    carcs: &["16"],
    rarc: Some("M53"),
    fixable: true,
    source: "837 SV104, SV205; RARC M53",
    reason: "A service line has no units, or units that cannot be",
    fix: "Enter the number of units that were given",
    check: units_zero,
};

/// A line without a charge.
///
/// Source: 837 SV102, SV203; RARC M79. Reporting codes, free vaccines and products, encounters with no charge at all and
/// hospital lines may be zero; a negative charge never may.
pub(super) const AM02: Rule = Rule {
    id: "AM02",
    name: "charge_zero",
    component: Component::Documentation,
    prior_permille: 600,
    blocking: false,
    carcs: &["16"],
    rarc: Some("M79"),
    fixable: true,
    source: "837 SV102, SV203; RARC M79",
    reason: "A service line has no charge",
    fix: "Enter the charge of the line, or remove the line",
    check: charge_zero,
};

/// Lines that do not add up to the claim's charge.
///
/// Source: 837 balancing: CLM02 is the sum of the lines' charges. A hospital's total line (revenue code 0001) is not counted.
pub(super) const AM03: Rule = Rule {
    id: "AM03",
    name: "total_mismatch",
    component: Component::Documentation,
    prior_permille: 900,
    blocking: true,
    carcs: &["16"],
    rarc: Some("M54"),
    fixable: true,
    source: "837 balancing of CLM02",
    reason: "The service lines do not add up to the claim's total charge",
    fix: "Correct the total charge or the charges of the lines",
    check: total_mismatch,
};

/// A charge far above what the practice usually bills.
///
/// Source: a convention: more than five median absolute deviations above the practice's own median for the procedure and
/// payer (table `usual-charges`), of at least twenty lines. A deviation of less than a twentieth of the median counts as that much.
pub(super) const AM04: Rule = Rule {
    id: "AM04",
    name: "charge_outlier",
    component: Component::Historical,
    prior_permille: 100,
    blocking: false,
    carcs: &["16", "45"],
    rarc: None,
    fixable: true,
    source: "table usual-charges; five median absolute deviations",
    reason: "A charge is far above what the practice usually bills this payer for the service",
    fix: "Check the units and the decimal point of the charge",
    check: charge_outlier,
};

/// A usual charge is made of so many lines at least.
const ENOUGH_LINES: u32 = 20;

/// A revenue code as a number, leading zeros or not.
fn revenue_number(line: &ServiceLine) -> Option<u32> {
    told(line.revenue_code.as_ref()).and_then(|code| code.parse().ok())
}

fn units_zero(claim: &Claim, _: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(units) = line.units else {
            continue;
        };
        let code = told(line.procedure_code.as_ref()).and_then(five_digits);
        let is_visit = matches!(code, Some(99_202..=99_499));
        if units.thousandths() < 0 {
            judgement.hit(line_number(index), "units below zero");
        } else if units.thousandths() == 0 && !matches!(revenue_number(line), Some(1 | 22 | 23 | 24)) {
            judgement.hit(line_number(index), "zero units");
        } else if is_visit && !units.is_whole() {
            judgement.hit(line_number(index), "a visit in fractions");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

/// Whether a line may go without a charge: reported only, or given to the provider for free.
fn may_be_free(line: &ServiceLine) -> bool {
    let Some(code) = told(line.procedure_code.as_ref()) else {
        return true;
    };
    let vaccine_or_follow_up =
        matches!(five_digits(code), Some(90_281..=90_399 | 90_460..=90_759 | 91_300..=91_399 | 99_024));
    // CPT category II ends in F; G, M and Q codes hold quality reports and government-bought products.
    let reported = code.ends_with('F') || matches!(code.bytes().next(), Some(b'G' | b'M' | b'Q'));
    vaccine_or_follow_up || reported || line.modifiers.iter().any(|modifier| matches!(modifier.trim(), "SL" | "FB"))
}

fn charge_zero(claim: &Claim, _: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    // A claim with no charge anywhere is an encounter, reported and not billed.
    let billed = claim.lines.iter().any(|line| line.charge.is_positive());
    for (index, line) in claim.lines.iter().enumerate() {
        if line.charge < Cents::ZERO {
            judgement.hit(line_number(index), "a charge below zero");
        } else if line.charge.is_positive() {
            judgement.pass();
        } else if billed && claim.claim_type != ClaimType::Institutional {
            if may_be_free(line) {
                judgement.pass();
            } else {
                judgement.hit(line_number(index), "no charge");
            }
        }
    }
    judgement.verdict()
}

fn total_mismatch(claim: &Claim, _: &Facts) -> Verdict {
    if claim.lines.is_empty() {
        return Verdict::Abstain;
    }
    let is_total =
        |line: &&ServiceLine| claim.claim_type == ClaimType::Institutional && revenue_number(line) == Some(1);
    let sum: Cents = claim.lines.iter().filter(|line| !is_total(line)).map(|line| line.charge).sum();
    let mut judgement = Judgement::default();
    let difference = sum - claim.total_charge;
    if difference == Cents::ZERO {
        judgement.pass();
    } else {
        let side = if difference.is_positive() { "more" } else { "less" };
        judgement.hit(None, format!("the lines add up to {} {side} than the total", difference.abs()));
    }
    judgement.verdict()
}

fn charge_outlier(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(practice)) = (&facts.tables.usual_charges, claim.practice_key()) else {
        return Verdict::Abstain;
    };
    let payer = claim.payer.key();
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let units = line.units.filter(|units| units.thousandths() > 0);
        let (Some(code), Some(units)) = (procedure(line), units) else { continue };
        let usual = table.of(practice, &payer, code).filter(|usual| usual.lines >= ENOUGH_LINES);
        let Some(usual) = usual else { continue };
        let deviation = usual.deviation.get().max(usual.median.get() / 20);
        let limit = usual.median.get().saturating_add(deviation.saturating_mul(5));
        // The charge of one unit, compared without dividing.
        let is_far = i128::from(line.charge.get()) * 1000 > i128::from(limit) * i128::from(units.thousandths());
        if is_far {
            judgement.hit(line_number(index), format!("{code}: more than {} a unit", Cents::new(limit)));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{is_hit, lines_hit, office_visit, stay, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Units;

    #[test]
    fn a_service_has_units() {
        let mut claim = office_visit();
        for thousandths in [0, -1000, 1500] {
            claim.lines[0].units = Some(Units::from_thousandths(thousandths));
            assert_eq!(lines_hit("AM01", &claim), vec![Some(1)], "{thousandths}");
        }
        claim.lines[0].procedure_code = Some("J1885".to_owned());
        assert_eq!(verdict_of("AM01", &claim), Verdict::Pass);
        claim.lines[0].units = None;
        assert_eq!(verdict_of("AM01", &claim), Verdict::Abstain);
        let mut group = stay();
        group.lines[0].revenue_code = Some("0023".to_owned());
        group.lines[0].units = Some(Units::default());
        assert_eq!(verdict_of("AM01", &group), Verdict::Pass);
    }

    fn two_lines(second_code: &str, second_cents: i64) -> Claim {
        let mut claim = office_visit();
        claim.lines.push(claim.lines[0].clone());
        claim.lines[1].procedure_code = Some(second_code.to_owned());
        claim.lines[1].charge = Cents::new(second_cents);
        claim
    }

    #[test]
    fn a_billed_line_has_a_charge() {
        assert_eq!(lines_hit("AM02", &two_lines("93000", 0)), vec![Some(2)]);
        assert_eq!(verdict_of("AM02", &two_lines("93000", 1)), Verdict::Pass);
        for free in ["3074F", "G8427", "90686", "99024"] {
            assert_eq!(verdict_of("AM02", &two_lines(free, 0)), Verdict::Pass, "{free}");
        }
        let mut state_vaccine = two_lines("93000", 0);
        state_vaccine.lines[1].modifiers = vec!["SL".to_owned()];
        assert_eq!(verdict_of("AM02", &state_vaccine), Verdict::Pass);
    }

    #[test]
    fn encounters_and_hospital_lines_may_be_free_but_never_negative() {
        assert_eq!(verdict_of("AM02", &stay()), Verdict::Pass);
        let mut encounter = office_visit();
        encounter.lines[0].charge = Cents::ZERO;
        encounter.total_charge = Cents::ZERO;
        assert_eq!(verdict_of("AM02", &encounter), Verdict::Abstain);
        let mut credit = stay();
        credit.lines[1].charge = Cents::new(-1);
        assert_eq!(lines_hit("AM02", &credit), vec![Some(2)]);
    }

    #[test]
    fn the_lines_add_up_to_the_claim() {
        let mut claim = stay();
        assert_eq!(verdict_of("AM03", &claim), Verdict::Pass);
        claim.lines.push(claim.lines[0].clone());
        assert_eq!(lines_hit("AM03", &claim), vec![None]);
        claim.lines[3].revenue_code = Some("0001".to_owned());
        assert_eq!(verdict_of("AM03", &claim), Verdict::Pass);
        claim.lines.clear();
        assert_eq!(verdict_of("AM03", &claim), Verdict::Abstain);
        let off = Claim { total_charge: Cents::new(80_001), ..office_visit() };
        let Verdict::Hit(findings) = verdict_of("AM03", &off) else { panic!("no hit") };
        assert_eq!(findings[0].evidence, "the lines add up to 0.01 less than the total");
    }

    #[test]
    fn a_charge_is_near_what_is_usual_for_a_unit() {
        let judged = |median: i64, deviation: i64, lines: u32, units: i64| {
            let mut claim = office_visit();
            claim.lines[0].units = Some(Units::from_thousandths(units * 1000));
            let (median, deviation) = (Cents::new(median), Cents::new(deviation));
            let head = "practice_id,payer_id,procedure_code,median,deviation,lines\n";
            let text = format!("{head}PR01,60054,99213,{median},{deviation},{lines}\n");
            verdict_by("AM04", &claim, &[(Kind::UsualCharges, &text)])
        };
        assert_eq!(judged(70_000, 2_000, 20, 1), Verdict::Pass);
        assert!(is_hit(&judged(20_000, 2_000, 20, 1)));
        assert_eq!(judged(20_000, 2_000, 20, 4), Verdict::Pass);
        assert_eq!(judged(20_000, 2_000, 19, 1), Verdict::Abstain);
        assert_eq!(verdict_of("AM04", &office_visit()), Verdict::Abstain);
    }
}
