//! The four rungs, and the choice among the claims that one rung finds.
//!
//! Must never: depend on the order of the candidates.

use std::collections::BTreeMap;

use super::super::claim::Responsibility;
use super::super::types::{Cents, Phi};
use super::{Candidate, Evidence, Link, Method, RemittanceKey};
use super::{mangled_match, normalise_control_number};

/// A mangled number shorter than this is too common to stand without an equal charge.
const SHORT_NUMBER: usize = 4;

/// Links a remittance to the one claim it answers, among candidates of its own practice in any order.
///
/// The same claim may stand among the candidates more than once (its best fit counts). See the module for the rungs and
/// the confidence. Within a rung, of several claims under one control number (a patient with several payers) the one
/// wins that agrees in, most weighty first: payer, payer's place by CLP02, payer's claim number, charge, dates, member.
pub fn link(remittance: &RemittanceKey, candidates: &[Candidate]) -> Link {
    let compared: Vec<Compared<'_>> = candidates.iter().map(|claim| Compared::new(remittance, claim)).collect();
    // A rung that finds several claims and cannot tell them apart does not keep a lower one from finding the one.
    let mut undecided = Link::None;
    for rung in [by_control_number, by_payer_number, by_mangled_number, by_member_dates_charge] {
        match rung(remittance, &compared) {
            linked @ Link::Linked { .. } => return linked,
            found => undecided = if undecided == Link::None { found } else { undecided },
        }
    }
    undecided
}

/// A fact of both sides: equal, different, or unknown on one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    Equal,
    Differs,
    Unknown,
}

impl Fact {
    fn of<T: PartialEq>(left: Option<T>, right: Option<T>) -> Self {
        match (left, right) {
            (Some(left), Some(right)) if left == right => Self::Equal,
            (Some(_), Some(_)) => Self::Differs,
            _ => Self::Unknown,
        }
    }

    fn equal(self) -> bool {
        self == Self::Equal
    }

    /// The first value when equal, the second when different, else nothing.
    const fn weigh(self, equal: i32, differs: i32) -> i32 {
        match self {
            Self::Equal => equal,
            Self::Differs => differs,
            Self::Unknown => 0,
        }
    }
}

/// A claim and what it has in common with the remittance.
struct Compared<'a> {
    claim: &'a Candidate,
    payer: Fact,
    responsibility: Fact,
    payer_number: Fact,
    charge: Fact,
    dates: Fact,
    member: Fact,
}

impl<'a> Compared<'a> {
    fn new(remittance: &RemittanceKey, claim: &'a Candidate) -> Self {
        let charge = |amount: Cents| Some(amount.abs()).filter(|amount| amount.is_positive());
        let member = |id: &Option<Phi<String>>| {
            id.as_ref().map(|id| normalise_control_number(id.expose())).filter(|id| !id.is_empty())
        };
        let last_day = Fact::of(claim.service_to, remittance.service_to);
        let dates = match Fact::of(claim.service_from, remittance.service_from) {
            Fact::Equal if last_day == Fact::Differs => Fact::Differs,
            first_day => first_day,
        };
        Self {
            claim,
            payer: Fact::of(filled(claim.payer_key.as_deref()), filled(remittance.payer_key.as_deref())),
            responsibility: Fact::of(Some(claim.responsibility), responsibility_of(&remittance.status_code)),
            payer_number: Fact::of(number(&claim.payer_claim_control_number), payer_number(remittance)),
            charge: Fact::of(charge(claim.total_charge), charge(remittance.total_charge)),
            dates,
            member: Fact::of(member(&claim.member_id), member(&remittance.member_id)),
        }
    }

    /// What tells claims of one rung apart, most weighty first.
    fn preference(&self) -> u32 {
        [self.payer, self.responsibility, self.payer_number, self.charge, self.dates, self.member]
            .iter()
            .fold(0, |rank, fact| rank << 1 | u32::from(fact.equal()))
    }

    /// What the facts that differ take off; not more than 40.
    const fn deduction(&self) -> i32 {
        self.charge.weigh(0, 10)
            + self.dates.weigh(0, 10)
            + self.payer.weigh(0, 10)
            + self.responsibility.weigh(0, 5)
            + self.member.weigh(0, 5)
    }

    fn found(&self, rank: u32, confidence: i32) -> Found<'a> {
        let sibling = if self.claim.sibling { Fact::Equal } else { Fact::Unknown };
        let evidence = [
            (self.charge, Evidence::ChargeEqual),
            (self.dates, Evidence::DatesEqual),
            (self.payer, Evidence::PayerEqual),
            (self.member, Evidence::MemberEqual),
            (self.responsibility, Evidence::ResponsibilityEqual),
            (self.payer_number, Evidence::PayerClaimControlNumberEqual),
            (sibling, Evidence::SiblingRemittance),
        ];
        Found {
            claim: self.claim,
            rank,
            // The table of the module stays between 0 and 1000.
            confidence: u16::try_from(confidence).unwrap_or(0),
            evidence: evidence.into_iter().filter(|(fact, _)| fact.equal()).map(|(_, evidence)| evidence).collect(),
        }
    }
}

/// A claim that a rung found.
#[derive(PartialEq, Eq)]
struct Found<'a> {
    claim: &'a Candidate,
    rank: u32,
    confidence: u16,
    evidence: Vec<Evidence>,
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn number(number: &Option<Phi<String>>) -> Option<&str> {
    filled(number.as_ref().map(|number| number.expose().as_str()))
}

fn payer_number(remittance: &RemittanceKey) -> Option<&str> {
    number(&remittance.payer_claim_control_number)
}

/// The payer's place as CLP02 tells it; statuses such as 4 and 22 tell nothing.
fn responsibility_of(status: &str) -> Option<Responsibility> {
    match status.trim().trim_start_matches('0') {
        "1" | "19" => Some(Responsibility::Primary),
        "2" | "20" => Some(Responsibility::Secondary),
        "3" | "21" => Some(Responsibility::Tertiary),
        _ => None,
    }
}

/// Rung 1: the control number, exactly (blanks around it apart).
fn by_control_number(remittance: &RemittanceKey, compared: &[Compared<'_>]) -> Link {
    let handed_back = remittance.patient_control_number.expose().trim();
    if handed_back.is_empty() {
        return Link::None;
    }
    let found = compared
        .iter()
        .filter(|one| one.claim.patient_control_number.expose().trim() == handed_back)
        .map(|one| one.found(one.preference(), 1000 - one.deduction()));
    decide(Method::ControlNumber, found.collect())
}

/// Rung 2: the payer's claim number.
///
/// A replacement or void carries the number of its predecessor, so an answer under that number is the predecessor's,
/// unless the payer says it answers a replacement or void (CLP09), or says nothing of the frequency. A number means
/// something within one payer only, so a claim of another payer with another charge is not meant.
fn by_payer_number(remittance: &RemittanceKey, compared: &[Compared<'_>]) -> Link {
    if payer_number(remittance).is_none() {
        return Link::None;
    }
    let frequency = filled(remittance.frequency_code.as_deref());
    let whole_fit = compared.iter().any(|one| is_mangled(remittance, one) && one.charge.equal() && one.dates.equal());
    let found = compared.iter().filter_map(|one| {
        let successor = matches!(one.claim.frequency_code.trim(), "7" | "8");
        let (strength, confidence) = match (one.claim.sibling, one.payer_number.equal(), successor, frequency) {
            (true, ..) => (3, 950),
            (_, false, ..) => return None,
            (_, _, false, _) => (2, 940),
            (_, _, true, Some("7" | "8")) => (1, 920),
            (_, _, true, None) => (0, 870),
            (_, _, true, Some(_)) => return None,
        };
        // A payer that reuses a number gives it to claims of other charges: then a claim that fits whole is meant.
        let mangled = is_mangled(remittance, one);
        let elsewhere = one.charge == Fact::Differs
            && if one.claim.sibling { whole_fit && !mangled } else { one.payer == Fact::Differs };
        let mangled = u32::from(mangled);
        let rank = strength << 7 | mangled << 6 | one.preference();
        (!elsewhere).then(|| one.found(rank, confidence - one.deduction()))
    });
    decide(Method::PayerClaimControlNumber, found.collect())
}

fn is_mangled(remittance: &RemittanceKey, one: &Compared<'_>) -> bool {
    mangled_match(one.claim.patient_control_number.expose(), remittance.patient_control_number.expose())
}

/// Rung 3: the control number as payers mangle it.
///
/// Two numbers may be cut to the same one, so a claim with another charge and other dates is not meant, and neither is
/// one with a very short number and no equal charge. Of claims under several numbers only the one with equal charge and
/// dates can be told.
fn by_mangled_number(remittance: &RemittanceKey, compared: &[Compared<'_>]) -> Link {
    let short = normalise_control_number(remittance.patient_control_number.expose()).len() < SHORT_NUMBER;
    let mut found: Vec<Found<'_>> = compared
        .iter()
        .filter(|one| is_mangled(remittance, one))
        .filter(|one| !(one.charge == Fact::Differs && one.dates == Fact::Differs))
        .filter(|one| !short || one.charge.equal())
        .map(|one| {
            let confidence = 800 + one.charge.weigh(20, -100) + one.dates.weigh(10, -10)
                - one.responsibility.weigh(0, 5)
                + one.payer.weigh(5, -10)
                + one.member.weigh(5, -5);
            let whole_fit = u32::from(one.charge.equal() && one.dates.equal());
            one.found(whole_fit << 6 | one.preference(), confidence)
        })
        .collect();
    if several_numbers(found.iter()) {
        let whole_fit = |one: &Found<'_>| one.rank >> 6 == 1;
        let any = found.iter().any(whole_fit);
        if !any || several_numbers(found.iter().filter(|one| whole_fit(one))) {
            found.retain(|one| !any || whole_fit(one));
            return ambiguous(&best_of_each_claim(found));
        }
    }
    decide(Method::MangledControlNumber, found)
}

/// Rung 4: member, dates of service and charge, all known and equal.
///
/// An original that was sent after the day of payment cannot be meant (a later submission of it may have been).
fn by_member_dates_charge(remittance: &RemittanceKey, compared: &[Compared<'_>]) -> Link {
    let too_late = |one: &Compared<'_>| {
        let sent_after = one.claim.submitted_at.zip(remittance.payment_date).is_some_and(|(sent, paid)| sent > paid);
        sent_after && one.claim.frequency_code.trim() == "1"
    };
    let found: Vec<Found<'_>> = compared
        .iter()
        .filter(|one| one.member.equal() && one.dates.equal() && one.charge.equal() && !too_late(one))
        .map(|one| one.found(one.preference(), 700 + one.payer.weigh(10, -10) - one.responsibility.weigh(0, 5)))
        .collect();
    if several_numbers(found.iter()) {
        return ambiguous(&best_of_each_claim(found));
    }
    decide(Method::MemberDatesCharge, found)
}

/// Whether the claims stand under more than one control number.
fn several_numbers<'a>(mut found: impl Iterator<Item = &'a Found<'a>>) -> bool {
    let first = found.next();
    found.any(|one| Some(&one.claim.patient_control_number) != first.map(|first| &first.claim.patient_control_number))
}

/// One entry per claim, its best, by id.
fn best_of_each_claim(found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let mut best: BTreeMap<i64, Found<'_>> = BTreeMap::new();
    for one in found {
        let key = |one: &Found<'_>| (one.rank, one.confidence, one.evidence.clone());
        let better = best.get(&one.claim.claim_id).is_none_or(|known| key(known) < key(&one));
        if better {
            best.insert(one.claim.claim_id, one);
        }
    }
    best.into_values().collect()
}

fn ambiguous(found: &[Found<'_>]) -> Link {
    Link::Ambiguous { candidates: found.iter().map(|one| (one.claim.claim_id, one.confidence)).collect() }
}

/// The claim with the highest rank, unless two share it.
fn decide(method: Method, found: Vec<Found<'_>>) -> Link {
    let mut best = best_of_each_claim(found);
    // Stable: claims of equal rank stay ordered by id.
    best.sort_by_key(|one| std::cmp::Reverse(one.rank));
    let Some(top) = best.first().map(|one| one.rank) else { return Link::None };
    let equals = best.partition_point(|one| one.rank == top);
    if equals > 1 {
        best.truncate(equals);
        return ambiguous(&best);
    }
    let runner_up = best.get(1).map(|one| (one.claim.claim_id, one.confidence));
    best.into_iter().next().map_or(Link::None, |one| Link::Linked {
        claim_id: one.claim.claim_id,
        method,
        confidence_permille: one.confidence,
        evidence: one.evidence,
        runner_up,
    })
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
