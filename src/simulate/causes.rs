//! Why a payer might deny a claim: every hidden and visible mechanism that bears on it, and the exact probability.
//!
//! A denial is a noisy-OR: each cause strikes by itself with its own probability, and one is enough. Deliberately not
//! a logistic model, so that a scorecard cannot win by having the simulator's own form. Must never: draw the noise
//! (that is `verdict`), or look at what was decided.

use chrono::Datelike;

use super::claims::Draft;
use super::codes::{Family, PROCEDURES};
use super::edits::{EDITS, Fault};
use super::random::{MILLION, Rand, probability};
use super::world::{PayerWorld, World};
use super::{Options, Scenario};
use crate::domain::claim::Responsibility;
use crate::domain::types::Date;

/// One cause that bears on a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What it is, as the truth file names it.
    pub name: String,
    /// The line it bears on, from 0; `None`: the whole claim.
    pub line: Option<usize>,
    /// Probability that it strikes (parts per million).
    pub q: u32,
    /// Reason the payer gives (CARC); empty: drawn from the ordinary mix.
    pub carc: &'static str,
    /// Remark the payer gives (RARC), may be empty.
    pub rarc: &'static str,
}

/// All causes that bear on a claim, the ordinary rate of the payer first.
pub fn causes(options: &Options, world: &World, draft: &Draft) -> Vec<Cause> {
    if options.scenario == Scenario::Noise {
        return vec![claim_cause("base".to_owned(), 120_000, "", "")];
    }
    let Some(payer) = world.payers.get(draft.payer) else { return Vec::new() };
    let day = draft.submitted.date_naive();
    let secondary = draft.claim.responsibility != Responsibility::Primary;
    let mut found = vec![base(options, world, payer, draft)];
    found.extend(visible(payer, draft, day));
    if !secondary {
        found.extend(policies(payer, draft, day));
        found.extend(unenrolled(payer, draft));
        if options.scenario == Scenario::MisSpecified {
            found.extend(unmodelled(options, draft));
        }
    }
    found
}

/// The probability (parts per million) that at least one cause strikes.
pub fn p_denial(causes: &[Cause]) -> u32 {
    let one: u64 = 1_000_000_000_000;
    let survival =
        causes.iter().fold(one, |left, cause| left * u64::from(MILLION - cause.q.min(MILLION)) / u64::from(MILLION));
    u32::try_from((one - survival + 500_000) / 1_000_000).unwrap_or(MILLION)
}

/// The cause with the largest probability; the ordinary rate when nothing is above it.
pub fn top(causes: &[Cause]) -> String {
    causes
        .iter()
        .reduce(|best, cause| if cause.q > best.q { cause } else { best })
        .map_or_else(|| "base".to_owned(), |cause| cause.name.clone())
}

fn claim_cause(name: String, q: u32, carc: &'static str, rarc: &'static str) -> Cause {
    Cause { name, line: None, q, carc, rarc }
}

/// The ordinary rate: payer, month, provider and family together, in log-odds.
fn base(options: &Options, world: &World, payer: &PayerWorld, draft: &Draft) -> Cause {
    let day = draft.submitted.date_naive();
    let months = (day.year() - options.start.year()) * 12 + i32::try_from(day.month0()).unwrap_or(0)
        - i32::try_from(options.start.month0()).unwrap_or(0);
    let month = usize::try_from(months).unwrap_or(0).min(payer.walk.len().saturating_sub(1));
    let provider = world
        .practices
        .get(draft.practice)
        .and_then(|practice| practice.providers.get(draft.provider))
        .map_or(0, |provider| provider.effect);
    let family = family_of(draft, 0)
        .and_then(|family| Family::ALL.iter().position(|&other| other == family))
        .and_then(|place| payer.families.get(place).copied())
        .unwrap_or(0);
    let milli = payer.base + payer.walk.get(month).copied().unwrap_or(0) + provider + family;
    claim_cause("base".to_owned(), probability(milli), "", "")
}

fn family_of(draft: &Draft, line: usize) -> Option<Family> {
    draft.services.get(line).and_then(|&service| PROCEDURES.get(service)).map(|procedure| procedure.family)
}

/// Errors anyone could see.
fn visible(payer: &PayerWorld, draft: &Draft, day: Date) -> Vec<Cause> {
    draft
        .violations
        .iter()
        .filter_map(|&(place, line)| {
            let (edit, enforcement) = (EDITS.get(place)?, payer.edits.get(place)?);
            let q = if edit.fault == Fault::Late { 930_000 } else { enforcement.on(day) };
            Some(Cause { name: format!("edit:{}", edit.rule), line, q, carc: edit.carc, rarc: edit.rarc })
        })
        .collect()
}

/// Missing authorization, and what the payer hides about services and diagnoses, line by line.
fn policies(payer: &PayerWorld, draft: &Draft, day: Date) -> Vec<Cause> {
    let mut found = Vec::new();
    let category = draft.claim.diagnosis_codes.first().and_then(|code| code.get(..3));
    for (line, &service) in draft.services.iter().enumerate() {
        let Some(procedure) = PROCEDURES.get(service) else { continue };
        let code = if procedure.code.is_empty() { procedure.revenue } else { procedure.code };
        let without = payer.authorization.get(service).copied().unwrap_or(0);
        if without > 0 && draft.claim.prior_authorization_number.is_none() {
            let name = format!("auth:{code}");
            found.push(Cause { name, line: Some(line), q: without, carc: "197", rarc: "" });
        }
        if let Some(policy) = payer.policies.get(service).copied().flatten().filter(|policy| day >= policy.from) {
            let name = format!("policy:{code}");
            found.push(Cause { name, line: Some(line), q: policy.q, carc: policy.carc, rarc: policy.rarc });
        }
        let hidden = category.and_then(|category| {
            payer
                .diagnosis_policies
                .iter()
                .find(|((dx, family), _)| *dx == category && *family == procedure.family)
                .map(|(_, policy)| policy)
        });
        if let Some(policy) = hidden.filter(|policy| day >= policy.from) {
            let name = format!("dx_policy:{}:{}", category.unwrap_or_default(), procedure.family.as_str());
            found.push(Cause { name, line: Some(line), q: policy.q, carc: policy.carc, rarc: policy.rarc });
        }
    }
    found
}

/// A provider whom the payer has not enrolled on the day of the service.
fn unenrolled(payer: &PayerWorld, draft: &Draft) -> Option<Cause> {
    let day = draft.claim.service_date()?;
    let gap = payer.gaps.iter().any(|&(practice, provider, from, to)| {
        practice == draft.practice && provider == draft.provider && from <= day && day <= to
    });
    gap.then(|| claim_cause("credentialing".to_owned(), 850_000, "B7", "N570"))
}

/// Mechanisms that no cell of the scorecard describes: for the mis-specified scenario.
fn unmodelled(options: &Options, draft: &Draft) -> Vec<Cause> {
    let number = |value: usize| u64::try_from(value).unwrap_or(0);
    let mut found = Vec::new();
    let first = draft.claim.diagnosis_codes.first().map_or("", String::as_str);
    for (line, &service) in draft.services.iter().enumerate() {
        let family = family_of(draft, line).unwrap_or(Family::Visit);
        let charge = draft.claim.lines.get(line).map_or(0, |line| line.charge.get());
        let mut limit = Rand::of(options.seed, family.as_str(), number(draft.payer));
        let (reviews, above, q) = (limit.chance(250_000), limit.between(20_000, 90_000), limit.between(150, 600));
        if reviews && charge > above {
            let q = u32::try_from(q * 1000).unwrap_or(0);
            found.push(Cause { name: "charge_limit".to_owned(), line: Some(line), q, carc: "226", rarc: "M127" });
        }
        let provider = number(draft.practice) * 100 + number(draft.provider);
        let mut scope = Rand::of(options.seed, "scope", provider * 1000 + number(service));
        if scope.chance(30_000) {
            let q = u32::try_from(scope.between(200, 700) * 1000).unwrap_or(0);
            found.push(Cause { name: "scope".to_owned(), line: Some(line), q, carc: "185", rarc: "" });
        }
        let mut pair = Rand::of(options.seed, first, number(service));
        if pair.chance(25_000) {
            let q = u32::try_from(pair.between(200, 700) * 1000).unwrap_or(0);
            found.push(Cause { name: "dx_procedure".to_owned(), line: Some(line), q, carc: "11", rarc: "" });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_combine_as_a_noisy_or() {
        let causes = [claim_cause("a".into(), 500_000, "", ""), claim_cause("b".into(), 200_000, "", "")];
        assert_eq!(p_denial(&causes), 600_000);
        assert_eq!(p_denial(&[]), 0);
        assert_eq!(top(&causes), "a");
    }
}
