//! Rules by the National Correct Coding Initiative: procedures that exclude each other, units that are unlikely.
//!
//! Must never: judge a claim by the other setting's table.

use super::institutional::bill_class;
use super::{Component, Facts, Judgement, Rule, Verdict, line_number, procedure};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::reference::{Adjudication, Code, Indicator, Setting};
use crate::domain::types::Date;

/// Two procedures of one day that are never paid together.
///
/// Source: CMS's NCCI procedure-to-procedure edits (table `ncci-ptp`), modifier indicator 0.
pub(super) const CP05: Rule = Rule {
    id: "CP05",
    name: "ptp_no_modifier_allowed",
    component: Component::Coding,
    prior_permille: 800,
    blocking: false,
    carcs: &["236", "97"],
    rarc: None,
    fixable: true,
    source: "NCCI PTP edits, indicator 0",
    reason: "Two procedures of one day are never paid together",
    fix: "Remove the procedure that is part of the other one",
    check: never_together,
};

/// Two procedures of one day that are paid together only with a modifier.
///
/// Source: CMS's NCCI procedure-to-procedure edits (table `ncci-ptp`), modifier indicator 1; the modifiers are those of the
/// NCCI policy manual ch. 1, which may stand on either code.
pub(super) const CP06: Rule = Rule {
    id: "CP06",
    name: "ptp_modifier_needed",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["236", "97"],
    rarc: None,
    fixable: true,
    source: "NCCI PTP edits, indicator 1; NCCI policy manual ch. 1",
    reason: "Two procedures of one day need a modifier that tells them apart",
    fix: "Add the modifier only if the record shows separate services; else remove the included procedure",
    check: together_with_modifier,
};

/// More units on a line than are likely.
///
/// Source: CMS's medically unlikely edits (table `mue`), adjudication indicator 1; a line over several days counts by day.
pub(super) const CP07: Rule = Rule {
    id: "CP07",
    name: "mue_line",
    component: Component::Coding,
    prior_permille: 700,
    blocking: false,
    carcs: &["151", "222"],
    rarc: Some("N362"),
    fixable: true,
    source: "NCCI MUE, indicator 1",
    reason: "A line has more units than are medically likely",
    fix: "Correct the units, or split the line with modifiers (76, 77, anatomic) that say why",
    check: mue_line,
};

/// More units on a day than are likely.
///
/// Source: CMS's medically unlikely edits (table `mue`), adjudication indicators 2 and 3. The prior is that of indicator 3
/// (0.6) and 2 (0.8) between them.
pub(super) const CP08: Rule = Rule {
    id: "CP08",
    name: "mue_day",
    component: Component::Coding,
    prior_permille: 700,
    blocking: false,
    carcs: &["151"],
    rarc: Some("N362"),
    fixable: true,
    source: "NCCI MUE, indicators 2, 3",
    reason: "The lines of one day have more units than are medically likely",
    fix: "Correct the units; send the record with an appeal where more were given",
    check: mue_day,
};

/// Modifiers that let both codes of a pair be paid: separate services, and parts of the body.
const SEPARATE: [&str; 37] = [
    "24", "25", "27", "57", "58", "59", "78", "79", "91", "XE", "XP", "XS", "XU", "E1", "E2", "E3", "E4", "FA", "F1",
    "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "LC", "LD", "LM", "LT", "RC", "RI", "RT", "TA", "T1", "T2",
];
/// The other toes; apart, so that the list above stays one block.
const TOES: [&str; 7] = ["T3", "T4", "T5", "T6", "T7", "T8", "T9"];

/// Which table a claim is judged by; `None` for those that have none (dental claims, inpatient stays).
fn setting(claim: &Claim) -> Option<Setting> {
    match claim.claim_type {
        ClaimType::Professional => Some(Setting::Practitioner),
        ClaimType::Institutional if !matches!(bill_class(claim), Some("11" | "18" | "21" | "41") | None) => {
            Some(Setting::Hospital)
        }
        ClaimType::Institutional | ClaimType::Dental => None,
    }
}

/// A line with what pairs are judged by.
struct Service<'a> {
    index: usize,
    line: &'a ServiceLine,
    code: Code,
    day: Date,
}

fn services(claim: &Claim) -> Vec<Service<'_>> {
    let service = |(index, line): (usize, &'_ ServiceLine)| -> Option<(usize, Code, Date)> {
        Some((index, procedure(line)?, line.service_from?))
    };
    let lines = claim.lines.iter().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (index, code, day) = service((index, line))?;
            Some(Service { index, line, code, day })
        })
        .collect()
}

fn tells_apart(line: &ServiceLine) -> bool {
    line.modifiers.iter().any(|modifier| SEPARATE.contains(&modifier.trim()) || TOES.contains(&modifier.trim()))
}

/// Looks at all pairs of lines of one day, and hands each that the table has to `judge`.
fn pairs(claim: &Claim, facts: &Facts, wanted: Indicator) -> Verdict {
    let (Some(table), Some(setting)) = (&facts.tables.pairs, setting(claim)) else { return Verdict::Abstain };
    let services = services(claim);
    let mut judgement = Judgement::default();
    for first in &services {
        judgement.pass();
        let Some(of_first) = table.of(first.code) else { continue };
        for second in services.iter().filter(|second| second.day == first.day && second.code != first.code) {
            let apart = wanted == Indicator::WithModifier && (tells_apart(first.line) || tells_apart(second.line));
            if !apart && of_first.with(second.code, setting, first.day) == Some(wanted) {
                judgement.hit(line_number(second.index), format!("{} with {}", second.code, first.code));
            }
        }
    }
    judgement.verdict()
}

fn never_together(claim: &Claim, facts: &Facts) -> Verdict {
    pairs(claim, facts, Indicator::Never)
}

fn together_with_modifier(claim: &Claim, facts: &Facts) -> Verdict {
    pairs(claim, facts, Indicator::WithModifier)
}

/// The units of a line in thousandths, by day where it goes over several.
fn units_a_day(line: &ServiceLine) -> Option<i64> {
    let units = line.units?.thousandths();
    let days = match (line.service_from, line.service_to) {
        (Some(first), Some(last)) if last > first => last.signed_duration_since(first).num_days() + 1,
        _ => 1,
    };
    Some(units / days)
}

fn mue_line(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(setting)) = (&facts.tables.mue, setting(claim)) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let limit = procedure(line).and_then(|code| table.of(code, setting));
        let (Some(limit), Some(units)) = (limit, units_a_day(line)) else { continue };
        if limit.adjudication != Adjudication::Line {
            continue;
        }
        if units > limit.units * 1000 {
            judgement.hit(line_number(index), format!("more than {} units", limit.units));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn mue_day(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), Some(setting)) = (&facts.tables.mue, setting(claim)) else { return Verdict::Abstain };
    let mut services: Vec<_> = services(claim)
        .into_iter()
        .filter_map(|one| {
            let limit = table.of(one.code, setting).filter(|limit| limit.adjudication != Adjudication::Line)?;
            Some(((one.code, one.day), one.index, units_a_day(one.line)?, limit))
        })
        .collect();
    services.sort_unstable_by_key(|&(key, index, _, _)| (key, index));
    let mut judgement = Judgement::default();
    for day in services.chunk_by(|one, other| one.0 == other.0) {
        let Some(&((code, _), _, _, limit)) = day.first() else { continue };
        let mut sum = 0_i64;
        // The line at which the sum goes over is the one that is denied.
        let over = day.iter().find(|(_, _, units, _)| {
            sum = sum.saturating_add(*units);
            sum > limit.units * 1000
        });
        match over {
            Some(&(_, index, _, _)) => {
                let how = match limit.adjudication {
                    Adjudication::DayByPolicy => "by policy",
                    Adjudication::DayByClinic | Adjudication::Line => "by clinical sense",
                };
                judgement.hit(line_number(index), format!("{code}: more than {} units on a day, {how}", limit.units));
            }
            None => judgement.pass(),
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{day, office_visit, stay, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Units;

    const PAIRS: &str = "column_1,column_2,effective_date,deletion_date,modifier_indicator\n\
                         G0001,G0002,20200101,*,0\nG0001,G0003,20200101,*,1\nG0001,G0004,20200101,20201231,0\n";
    const LIMITS: &str = "code,units,mai\nG0001,2,1\nG0002,2,2\nG0003,2,3\n";

    fn lines(codes: &[(&str, i64)]) -> Claim {
        let mut claim = office_visit();
        let line = ServiceLine { modifiers: Vec::new(), ..claim.lines[0].clone() };
        claim.lines = codes
            .iter()
            .map(|(code, units)| ServiceLine {
                procedure_code: Some((*code).to_owned()),
                units: Some(Units::from_thousandths(units * 1000)),
                ..line.clone()
            })
            .collect();
        claim
    }

    fn hits(id: &str, claim: &Claim) -> Vec<Option<u16>> {
        match verdict_by(id, claim, &[(Kind::NcciPtp, PAIRS), (Kind::Mue, LIMITS)]) {
            Verdict::Hit(findings) => findings.into_iter().map(|finding| finding.line).collect(),
            Verdict::Abstain | Verdict::Pass => Vec::new(),
        }
    }

    #[test]
    fn a_pair_that_is_never_paid_is_found_in_any_order() {
        assert_eq!(hits("CP05", &lines(&[("G0001", 1), ("G0002", 1)])), [Some(2)]);
        assert_eq!(hits("CP05", &lines(&[("G0002", 1), ("G0001", 1)])), [Some(1)]);
        assert_eq!(hits("CP05", &lines(&[("G0001", 1), ("G0004", 1)])), [], "deleted before the service");
        let mut apart = lines(&[("G0001", 1), ("G0002", 1)]);
        apart.lines[1].modifiers = vec!["59".to_owned()];
        assert_eq!(hits("CP05", &apart), [Some(2)], "no modifier helps");
        apart.lines[1].service_from = Some(day(2026, 10, 31));
        assert_eq!(hits("CP05", &apart), []);
        assert_eq!(verdict_by("CP05", &apart, &[(Kind::NcciPtp, PAIRS)]), Verdict::Pass);
    }

    #[test]
    fn a_pair_is_told_apart_by_a_modifier_on_either_code() {
        let bare = lines(&[("G0001", 1), ("G0003", 1)]);
        assert_eq!(hits("CP06", &bare), [Some(2)]);
        assert_eq!(hits("CP05", &bare), []);
        for (place, modifier) in [(0, "59"), (1, "XU"), (1, "T9")] {
            let mut apart = bare.clone();
            apart.lines[place].modifiers = vec![modifier.to_owned()];
            assert_eq!(hits("CP06", &apart), [], "{modifier}");
        }
    }

    #[test]
    fn a_line_has_likely_units_for_each_of_its_days() {
        assert_eq!(hits("CP07", &lines(&[("G0001", 2)])), []);
        let mut many = lines(&[("G0001", 4)]);
        assert_eq!(hits("CP07", &many), [Some(1)]);
        many.lines[0].service_to = Some(day(2026, 10, 31));
        assert_eq!(hits("CP07", &many), []);
        assert_eq!(verdict_by("CP07", &many, &[(Kind::Mue, LIMITS)]), Verdict::Pass);
    }

    #[test]
    fn the_lines_of_a_day_have_likely_units_together() {
        assert_eq!(hits("CP08", &lines(&[("G0002", 1), ("G0003", 2), ("G0002", 1)])), []);
        assert_eq!(hits("CP08", &lines(&[("G0002", 1), ("G0003", 2), ("G0002", 2)])), [Some(3)]);
        assert_eq!(hits("CP08", &lines(&[("G0001", 1), ("G0001", 2)])), []);
        let mut days = lines(&[("G0003", 2), ("G0003", 2)]);
        assert_eq!(hits("CP08", &days), [Some(2)]);
        days.lines[1].service_from = Some(day(2026, 10, 31));
        assert_eq!(verdict_by("CP08", &days, &[(Kind::Mue, LIMITS)]), Verdict::Pass);
    }

    #[test]
    fn without_a_table_or_for_a_stay_nothing_is_judged() {
        for id in ["CP05", "CP06", "CP07", "CP08"] {
            assert_eq!(verdict_of(id, &office_visit()), Verdict::Abstain, "{id}");
            let tables = [(Kind::NcciPtp, PAIRS), (Kind::Mue, LIMITS)];
            assert_eq!(verdict_by(id, &stay(), &tables), Verdict::Abstain, "{id}");
        }
    }
}
