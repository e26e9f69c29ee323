//! Rules on dates: timely filing, service in the future, dates in the wrong order.
//!
//! Must never: name a date in an evidence text; dates of service belong to a patient.

use super::payer_class::is_medicare;
use super::{Component, Facts, Judgement, Rule, Verdict, line_number};
use crate::domain::claim::{Claim, ClaimType, Responsibility, ServiceLine};
use crate::domain::types::Date;
use chrono::Months;

/// Sent after the payer's limit.
///
/// Source: 42 CFR 424.44: one calendar year after the date of service, for service from 2010 on. Medicare counts from the
/// line's first day (professional) or the statement's last day (institutional). Other payers' limits are in contracts, and
/// come from the table `payer-rules`; they count from the last day of service.
pub(super) const TM01: Rule = Rule {
    id: "TM01",
    name: "timely_filing",
    component: Component::Payer,
    prior_permille: 900,
    blocking: false,
    carcs: &["29"],
    rarc: None,
    fixable: false,
    source: "42 CFR 424.44",
    reason: "The claim was sent after the payer's limit for filing",
    fix: "Attach proof of earlier filing (277CA) or an exception, else do not bill",
    check: timely_filing,
};

/// Sent shortly before the payer's limit, so that a correction may come too late.
///
/// Source: 42 CFR 424.44; the bound of 85 % of the year is a convention.
pub(super) const TM02: Rule = Rule {
    id: "TM02",
    name: "timely_near",
    component: Component::Payer,
    prior_permille: 100,
    blocking: false,
    carcs: &["29"],
    rarc: None,
    fixable: false,
    source: "42 CFR 424.44",
    reason: "Most of the payer's filing limit is used up; a correction could come too late",
    fix: "Send the claim today and watch its acknowledgement",
    check: timely_near,
};

/// Service on a day after the claim was sent.
///
/// Source: CARC 110. The end of a range is not judged: supplies are billed for a coming period (CMS manual 100-04 ch. 20).
pub(super) const DT01: Rule = Rule {
    id: "DT01",
    name: "future_dos",
    component: Component::Documentation,
    prior_permille: 900,
    blocking: true,
    carcs: &["110", "16"],
    rarc: Some("M52"),
    fixable: true,
    source: "CARC 110",
    reason: "A service is dated after the claim was sent",
    fix: "Correct the date of service, or send the claim after the service",
    check: future_service,
};

/// Dates in the wrong order: a range that ends before it begins, a line outside the statement, a discharge before admission.
///
/// Source: 837 DTP*472, DTP*434, DTP*435, DTP*096.
pub(super) const DT02: Rule = Rule {
    id: "DT02",
    name: "date_order",
    component: Component::Documentation,
    prior_permille: 800,
    blocking: true,
    carcs: &["16"],
    rarc: Some("M59"),
    fixable: true,
    source: "837 DTP*434, 435, 096, 472",
    reason: "The dates of the claim contradict each other",
    fix: "Correct the dates of service, statement or stay",
    check: date_order,
};

/// The rule of one calendar year holds for service from this day on.
const ONE_YEAR_RULE: Option<Date> = Date::from_ymd_opt(2010, 1, 1);

/// The days used and the days allowed of the payer's limit; `None` when the claim cannot be judged.
fn filing_limit(claim: &Claim, facts: &Facts) -> Option<(i64, i64)> {
    // Replacements and voids follow limits of their own; so do claims that wait for an earlier payer.
    if claim.is_replacement() || claim.is_void() {
        return None;
    }
    let sent = facts.sent_on(claim)?;
    if let Some(allowed) = facts.payer_rule(claim).and_then(|rule| rule.timely_filing_days) {
        let later = claim.responsibility != Responsibility::Primary;
        let start = claim.last_service_date().filter(|_| !later)?;
        return Some((sent.signed_duration_since(start).num_days(), allowed));
    }
    if !is_medicare(claim) {
        return None;
    }
    let start = match claim.claim_type {
        ClaimType::Institutional => claim.last_service_date()?,
        // The oldest line runs out first.
        ClaimType::Professional | ClaimType::Dental => claim.service_date()?,
    };
    if ONE_YEAR_RULE.is_none_or(|since| start < since) {
        return None;
    }
    // From 29 February this gives 28 February, as Medicare counts.
    let limit = start.checked_add_months(Months::new(12))?;
    Some((sent.signed_duration_since(start).num_days(), limit.signed_duration_since(start).num_days()))
}

fn timely_filing(claim: &Claim, facts: &Facts) -> Verdict {
    let Some((used, allowed)) = filing_limit(claim, facts) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    if used > allowed {
        judgement.hit(None, format!("{} days after the limit", used - allowed));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn timely_near(claim: &Claim, facts: &Facts) -> Verdict {
    let Some((used, allowed)) = filing_limit(claim, facts) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    if used <= allowed && used * 100 > allowed * 85 {
        judgement.hit(None, format!("{} days left", allowed - used));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

fn future_service(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(sent) = facts.sent_on(claim) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        match line.service_from {
            Some(day) if day > sent => judgement.hit(line_number(index), "service after the day of sending"),
            Some(_) => judgement.pass(),
            None => {}
        }
    }
    for (day, evidence) in [
        (claim.statement_date, "statement begins after the day of sending"),
        (claim.discharge_date, "discharge after the day of sending"),
    ] {
        match day {
            Some(day) if day > sent => judgement.hit(None, evidence),
            Some(_) => judgement.pass(),
            None => {}
        }
    }
    judgement.verdict()
}

/// Notes whether two days stand in order, when both are told.
fn ordered(
    judgement: &mut Judgement,
    line: Option<u16>,
    (first, last): (Option<Date>, Option<Date>),
    evidence: &'static str,
) {
    match (first, last) {
        (Some(first), Some(last)) if first > last => judgement.hit(line, evidence),
        (Some(_), Some(_)) => judgement.pass(),
        _ => {}
    }
}

fn date_order(claim: &Claim, _: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    let statement = (claim.statement_date, claim.statement_to_date);
    ordered(&mut judgement, None, statement, "the statement ends before it begins");
    let stay = (claim.admission_date, claim.discharge_date);
    ordered(&mut judgement, None, stay, "discharge before admission");
    for (index, line) in claim.lines.iter().enumerate() {
        let number = line_number(index);
        let range = (line.service_from, line.service_to);
        ordered(&mut judgement, number, range, "the service ends before it begins");
        if claim.claim_type == ClaimType::Institutional {
            within_statement(&mut judgement, claim, line, number);
        }
    }
    judgement.verdict()
}

fn within_statement(judgement: &mut Judgement, claim: &Claim, line: &ServiceLine, number: Option<u16>) {
    let before = (claim.statement_date, line.service_from);
    ordered(judgement, number, before, "the service begins before the statement");
    let after = (line.service_to.or(line.service_from), claim.statement_to_date);
    ordered(judgement, number, after, "the service ends after the statement");
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{day, is_hit, lines_hit, office_visit, stay, verdict_by, verdict_of, verdict_with};
    use super::*;
    use crate::domain::reference::Kind;

    fn medicare_visit(service: Date, sent: Option<Date>) -> Claim {
        let mut claim = office_visit();
        claim.filing_indicator = Some("MB".to_owned());
        claim.lines[0].service_from = Some(service);
        claim.submitted_at = sent;
        claim
    }

    #[test]
    fn medicare_takes_claims_for_one_calendar_year() {
        let service = day(2025, 3, 10);
        let on_time = medicare_visit(service, Some(day(2026, 3, 10)));
        assert_eq!(verdict_of("TM01", &on_time), Verdict::Pass);
        assert_eq!(lines_hit("TM02", &on_time), vec![None]);
        let late = medicare_visit(service, Some(day(2026, 3, 11)));
        assert_eq!(lines_hit("TM01", &late), vec![None]);
        assert_eq!(verdict_of("TM02", &late), Verdict::Pass);
        let leap = medicare_visit(day(2024, 2, 29), Some(day(2025, 3, 1)));
        assert_eq!(lines_hit("TM01", &leap), vec![None]);
        let soon = medicare_visit(service, Some(day(2025, 4, 1)));
        assert_eq!(verdict_of("TM01", &soon), Verdict::Pass);
        assert_eq!(verdict_of("TM02", &soon), Verdict::Pass);
    }

    #[test]
    fn a_stay_counts_from_its_last_day() {
        let mut claim = stay();
        claim.submitted_at = Some(day(2027, 10, 5));
        assert_eq!(verdict_of("TM01", &claim), Verdict::Pass);
        claim.submitted_at = Some(day(2027, 10, 6));
        assert_eq!(lines_hit("TM01", &claim), vec![None]);
    }

    #[test]
    fn timely_filing_is_not_judged_where_the_limit_is_unknown() {
        let late = day(2029, 1, 1);
        let commercial = Claim { submitted_at: Some(late), ..office_visit() };
        let unsent = medicare_visit(day(2025, 3, 10), None);
        let old = medicare_visit(day(2009, 12, 31), Some(late));
        let replacement = Claim { frequency_code: "7".to_owned(), ..medicare_visit(day(2025, 3, 10), Some(late)) };
        for claim in [commercial, unsent.clone(), old, replacement] {
            assert_eq!(verdict_of("TM01", &claim), Verdict::Abstain);
            assert_eq!(verdict_of("TM02", &claim), Verdict::Abstain);
        }
        let facts = Facts { as_of: Some(late), ..Facts::default() };
        assert!(matches!(verdict_with("TM01", &unsent, &facts), Verdict::Hit(_)));
    }

    #[test]
    fn a_payers_own_limit_comes_from_its_terms() {
        let judged = |id: &str, claim: &Claim, days: &str| {
            let text = format!("payer_id,timely_filing_days\n60054,{days}\n");
            verdict_by(id, claim, &[(Kind::PayerRules, &text)])
        };
        let claim = Claim { submitted_at: Some(day(2027, 1, 28)), ..office_visit() };
        assert_eq!(judged("TM01", &claim, "90"), Verdict::Pass);
        assert!(is_hit(&judged("TM02", &claim, "90")));
        assert!(is_hit(&judged("TM01", &claim, "89")));
        assert_eq!(judged("TM02", &claim, "180"), Verdict::Pass);
        assert_eq!(judged("TM01", &claim, ""), Verdict::Abstain);
        let secondary = Claim { responsibility: Responsibility::Secondary, ..claim };
        assert_eq!(judged("TM01", &secondary, "1"), Verdict::Abstain);
    }

    #[test]
    fn a_service_cannot_lie_ahead() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("DT01", &claim), Verdict::Pass);
        claim.lines[0].service_to = Some(day(2026, 11, 30));
        assert_eq!(verdict_of("DT01", &claim), Verdict::Pass);
        claim.lines[0].service_from = Some(day(2026, 11, 3));
        assert_eq!(lines_hit("DT01", &claim), vec![Some(1)]);
        claim.submitted_at = None;
        assert_eq!(verdict_of("DT01", &claim), Verdict::Abstain);
        let facts = Facts { as_of: Some(day(2026, 11, 1)), ..Facts::default() };
        assert!(matches!(verdict_with("DT01", &claim, &facts), Verdict::Hit(_)));
        let discharged_ahead = Claim { discharge_date: Some(day(2026, 11, 9)), ..stay() };
        assert_eq!(lines_hit("DT01", &discharged_ahead), vec![None]);
    }

    #[test]
    fn dates_stand_in_order() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("DT02", &claim), Verdict::Abstain);
        claim.lines[0].service_to = claim.lines[0].service_from;
        assert_eq!(verdict_of("DT02", &claim), Verdict::Pass);
        claim.lines[0].service_to = Some(day(2026, 10, 29));
        assert_eq!(lines_hit("DT02", &claim), vec![Some(1)]);
        let backwards = Claim { discharge_date: Some(day(2026, 9, 30)), ..stay() };
        assert_eq!(lines_hit("DT02", &backwards), vec![None]);
    }

    #[test]
    fn a_hospitals_line_lies_within_its_statement() {
        let mut claim = stay();
        claim.lines[1].service_from = Some(day(2026, 10, 5));
        assert_eq!(verdict_of("DT02", &claim), Verdict::Pass);
        claim.lines[1].service_from = Some(day(2026, 10, 6));
        claim.lines[2].service_from = Some(day(2026, 9, 30));
        assert_eq!(lines_hit("DT02", &claim), vec![Some(2), Some(3)]);
    }
}
