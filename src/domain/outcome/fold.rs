//! The history of a claim: which remittance answers which submission, and what became of each.
//!
//! A function of the two sets alone, so that any order of arrival ends in the same rows. Must never: let a reversal or
//! a correction change an initial outcome, or label a void (frequency 8).
//!
//! Which submission a remittance answers ([`Assigner`]):
//! 1. A claim submitted once (voids apart): that submission. An answer that carries frequency 8 answers the void and
//!    labels nothing, unless it is a reversal: that takes back the payment of what was voided.
//! 2. An answer that is no reversal goes by the frequency handed back (CLP09), before the payer's claim number (CLP07):
//!    X12 has the payer echo what was submitted, while some payers keep one number for the original and all its
//!    replacements. Where the frequency is absent, unknown, or fits several submissions, the number decides: first
//!    whose earlier answers carry it, then who names it as its predecessor's (REF*F8) and so is not meant. Then the
//!    latest submission sent by the day of payment, else the earliest.
//! 3. A reversal goes by CLP07 first: it takes back what was decided under that number, though a replacement came
//!    since. Where several submissions share the number: those answered before the reversal, among them the frequency,
//!    then the latest. Where none has it: not one that names the number as its predecessor's; the frequency; the latest
//!    that was answered before; then the day as above.

use std::collections::BTreeMap;

use super::super::types::{Cents, Date, Instant, Phi};
use super::{Adjudication, Outcome};

/// One submission of a claim: the original, a replacement or a void under the same control number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Surrogate id.
    pub id: i64,
    /// Claim frequency (CLM05-3).
    pub frequency_code: String,
    /// The payer's number of the claim that this one replaces or voids (REF*F8).
    pub payer_claim_control_number: Option<Phi<String>>,
    /// Day it was sent.
    pub submitted_at: Option<Date>,
    /// Time of its event, which orders submissions of the same day and those without one.
    pub version_time: Instant,
}

/// What the fold needs of a linked remittance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjudicated {
    /// Surrogate id. It depends on arrival, so it only orders remittances that are equal in all else.
    pub remittance_id: i64,
    /// What the remittance is, from [`super::judge()`].
    pub adjudication: Adjudication,
    /// Day of payment (BPR16).
    pub payment_date: Option<Date>,
    /// Check or transfer trace number (TRN02).
    pub trace_number: Option<String>,
    /// Place of the claim in its 835, from 1.
    pub ordinal: u32,
    /// Paid (CLP04); negative on most reversals.
    pub payment: Cents,
    /// Frequency handed back (CLP09).
    pub frequency_code: Option<String>,
    /// The payer's claim number (CLP07).
    pub payer_claim_control_number: Option<Phi<String>>,
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionOutcome {
    /// The submission.
    pub submission_id: i64,
    /// The first final adjudication in the payer's order: the training target. `None` when its remittance was never
    /// seen, that is when the first thing seen is its reversal.
    pub initial: Option<Outcome>,
    /// The remittance that gave it.
    pub initial_remittance_id: Option<i64>,
    /// That remittance's day of payment.
    pub initial_date: Option<Date>,
    /// The outcome after reversals and corrections.
    pub r#final: Option<Outcome>,
    /// The remittance that settled it: a decision, or the reversal of the last one.
    pub final_remittance_id: Option<i64>,
    /// Whether a denial was changed in the practice's favour: denied to partial or paid, partial to paid.
    pub overturned: bool,
    /// Sum of all payments and takebacks (estimates apart).
    pub net_payment: Cents,
    /// Number of reversals.
    pub reversal_count: u32,
}

/// Folds a claim's remittances into one outcome per submission that has an initial or a final one, by submission id.
///
/// Order of the payer: day of payment (unknown last); on the same day 835s (traces) without a reversal of this claim
/// before those with one; trace; then within an 835 the reversals first, whatever the ordinal, since X12 recommends
/// but does not require that place (a decision listed before the reversal that negates it, with nothing before, is the
/// one exception: original and reversal in the same 835); then the ordinal.
pub fn fold(submissions: &[Submission], remittances: &[Adjudicated]) -> Vec<SubmissionOutcome> {
    let ordered = in_payer_order(remittances);
    let assigner = Assigner::new(submissions);
    let assigned = assigner.assign_all(&ordered);
    let mut outcomes: Vec<SubmissionOutcome> = Vec::new();
    for (place, submission) in assigner.submissions.iter().enumerate() {
        let own: Vec<Placed<'_>> =
            ordered.iter().zip(&assigned).filter(|(_, to)| **to == Some(place)).map(|(placed, _)| *placed).collect();
        let mut history = History::new(submission.id);
        for group in own.chunk_by(|a, b| a.group == b.group) {
            history.apply_group(group);
        }
        outcomes.extend(history.finish());
    }
    outcomes.sort_by_key(|outcome| outcome.submission_id);
    outcomes
}

/// A remittance and the number of its 835 in the payer's order.
#[derive(Clone, Copy)]
struct Placed<'a> {
    group: usize,
    remittance: &'a Adjudicated,
}

/// The remittances in the payer's order, numbered by 835 (same day, same trace).
fn in_payer_order(remittances: &[Adjudicated]) -> Vec<Placed<'_>> {
    type Key<'a> = (bool, Option<Date>, Option<&'a str>);
    fn key(remittance: &Adjudicated) -> Key<'_> {
        (remittance.payment_date.is_none(), remittance.payment_date, remittance.trace_number.as_deref())
    }
    let mut with_reversal: BTreeMap<Key<'_>, bool> = BTreeMap::new();
    for remittance in remittances {
        *with_reversal.entry(key(remittance)).or_default() |= remittance.adjudication == Adjudication::Reversal;
    }
    let mut keyed: Vec<_> = remittances
        .iter()
        .map(|remittance| {
            let (undated, date, trace) = key(remittance);
            let reversal = with_reversal.get(&key(remittance)).copied().unwrap_or(false);
            ((undated, date, reversal, trace), remittance)
        })
        .collect();
    keyed.sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| tie_break(left).cmp(&tie_break(right))));
    let mut placed = Vec::with_capacity(keyed.len());
    for (group, chunk) in keyed.chunk_by(|(a, _), (b, _)| a == b).enumerate() {
        placed.extend(chunk.iter().map(|(_, remittance)| Placed { group, remittance }));
    }
    placed
}

/// Order within an 835: the ordinal, then all that tells two remittances apart, arrival last.
fn tie_break(remittance: &Adjudicated) -> (u32, Option<&Phi<String>>, Adjudication, Cents, Option<&str>, i64) {
    (
        remittance.ordinal,
        remittance.payer_claim_control_number.as_ref(),
        remittance.adjudication,
        remittance.payment,
        remittance.frequency_code.as_deref(),
        remittance.remittance_id,
    )
}

/// The number, unless it is empty.
fn filled(number: Option<&Phi<String>>) -> Option<&str> {
    number.map(|number| number.expose().as_str()).filter(|number| !number.is_empty())
}

/// Finds the submission that a remittance answers. Places are indices into `submissions`.
struct Assigner<'a> {
    /// All but the voids, earliest first.
    submissions: Vec<&'a Submission>,
}

impl<'a> Assigner<'a> {
    fn new(all: &'a [Submission]) -> Self {
        let mut submissions: Vec<&Submission> = all.iter().filter(|s| s.frequency_code != "8").collect();
        submissions.sort_by(|a, b| {
            let key = |s: &'a Submission| {
                let predecessor = filled(s.payer_claim_control_number.as_ref());
                (sent_on(s), s.version_time, s.frequency_code.as_str(), predecessor, s.id)
            };
            key(a).cmp(&key(b))
        });
        Self { submissions }
    }

    /// The place of each remittance, in the given (the payer's) order; `None` answers a void, or nothing known.
    fn assign_all(&self, ordered: &[Placed<'_>]) -> Vec<Option<usize>> {
        let mut assigned = vec![None; ordered.len()];
        let is_reversal = |placed: &Placed<'_>| placed.remittance.adjudication == Adjudication::Reversal;
        // Decisions first: a reversal is told by the decisions that carry its number, earlier or later.
        for (index, placed) in ordered.iter().enumerate().filter(|(_, placed)| !is_reversal(placed)) {
            let earlier = earlier_answers(ordered, &assigned, index);
            if let Some(slot) = assigned.get_mut(index) {
                *slot = self.of_decision(placed.remittance, &earlier);
            }
        }
        let decisions = earlier_answers(ordered, &assigned, ordered.len());
        for (slot, placed) in assigned.iter_mut().zip(ordered).filter(|(_, placed)| is_reversal(placed)) {
            *slot = self.of_reversal(placed, &decisions);
        }
        assigned
    }

    fn of_decision(&self, remittance: &Adjudicated, earlier: &[(Placed<'_>, usize)]) -> Option<usize> {
        let frequency = remittance.frequency_code.as_deref().map(str::trim);
        if frequency == Some("8") {
            return None;
        }
        let mut places: Vec<usize> = (0..self.submissions.len()).collect();
        narrow(&mut places, |place| self.has_frequency(place, frequency));
        if let Some(number) = filled(remittance.payer_claim_control_number.as_ref()) {
            let carries = |place: usize| earlier.iter().any(|(other, to)| *to == place && carries(other, number));
            if narrow(&mut places, carries) {
                return places.last().copied();
            }
            narrow(&mut places, |place| !self.names_predecessor(place, number));
        }
        self.by_day(&places, remittance.payment_date)
    }

    fn of_reversal(&self, reversal: &Placed<'_>, decisions: &[(Placed<'_>, usize)]) -> Option<usize> {
        let remittance = reversal.remittance;
        let frequency = remittance.frequency_code.as_deref().map(str::trim);
        let mut places: Vec<usize> = (0..self.submissions.len()).collect();
        let number = filled(remittance.payer_claim_control_number.as_ref());
        let carries_it = |place| decisions.iter().any(|(d, to)| *to == place && number.is_some_and(|n| carries(d, n)));
        let answered = |place| decisions.iter().any(|(d, to)| *to == place && d.group < reversal.group);
        let submitted_so = |place| self.has_frequency(place, frequency);
        let answered_before = if narrow(&mut places, carries_it) {
            let answered_before = narrow(&mut places, answered);
            narrow(&mut places, submitted_so);
            answered_before
        } else {
            narrow(&mut places, |place| number.is_none_or(|n| !self.names_predecessor(place, n)));
            narrow(&mut places, submitted_so);
            narrow(&mut places, answered)
        };
        if answered_before {
            return places.last().copied();
        }
        self.by_day(&places, remittance.payment_date)
    }

    fn has_frequency(&self, place: usize, frequency: Option<&str>) -> bool {
        self.submissions.get(place).is_some_and(|s| Some(s.frequency_code.as_str()) == frequency)
    }

    fn names_predecessor(&self, place: usize, number: &str) -> bool {
        self.submissions.get(place).is_some_and(|s| filled(s.payer_claim_control_number.as_ref()) == Some(number))
    }

    /// The latest of the places sent by that day, else the earliest; without a day the latest.
    fn by_day(&self, places: &[usize], day: Option<Date>) -> Option<usize> {
        let Some(day) = day else { return places.last().copied() };
        let sent = |place: &&usize| self.submissions.get(**place).is_some_and(|s| sent_on(s) <= day);
        places.iter().rfind(sent).or(places.first()).copied()
    }
}

/// The day a submission was sent, as far as known.
fn sent_on(submission: &Submission) -> Date {
    submission.submitted_at.unwrap_or_else(|| submission.version_time.date_naive())
}

/// The assigned remittances among the first `end`.
fn earlier_answers<'a>(ordered: &[Placed<'a>], assigned: &[Option<usize>], end: usize) -> Vec<(Placed<'a>, usize)> {
    ordered.iter().zip(assigned).take(end).filter_map(|(placed, to)| to.map(|to| (*placed, to))).collect()
}

fn carries(placed: &Placed<'_>, number: &str) -> bool {
    filled(placed.remittance.payer_claim_control_number.as_ref()) == Some(number)
}

/// Keeps the places for which the test holds, unless there are none. Says whether there were any.
fn narrow(places: &mut Vec<usize>, test: impl Fn(usize) -> bool) -> bool {
    let some = places.iter().any(|place| test(*place));
    if some {
        places.retain(|place| test(*place));
    }
    some
}

/// A decision that stands, or an interim answer (`outcome` is `None`) that a reversal may take back.
struct Open<'a> {
    outcome: Option<Outcome>,
    remittance: &'a Adjudicated,
}

/// The state of one submission while its remittances pass by.
struct History<'a> {
    outcome: SubmissionOutcome,
    /// What stands, in order. Several decisions may: payers split claims, and correct without reversing.
    open: Vec<Open<'a>>,
    /// A reversal came before any answer: the first adjudication was never seen.
    first_unseen: bool,
}

impl<'a> History<'a> {
    const fn new(submission_id: i64) -> Self {
        let outcome = SubmissionOutcome {
            submission_id,
            initial: None,
            initial_remittance_id: None,
            initial_date: None,
            r#final: None,
            final_remittance_id: None,
            overturned: false,
            net_payment: Cents::ZERO,
            reversal_count: 0,
        };
        Self { outcome, open: Vec::new(), first_unseen: false }
    }

    /// Applies what one 835 says of the submission, reversals first but for the exception told at [`fold()`].
    fn apply_group(&mut self, group: &[Placed<'a>]) {
        let reversals: Vec<&Adjudicated> = group
            .iter()
            .map(|placed| placed.remittance)
            .filter(|remittance| remittance.adjudication == Adjudication::Reversal)
            .collect();
        let nothing_open = self.open.is_empty();
        let reversed_below = |remittance: &Adjudicated| {
            let negates = |r: &&Adjudicated| r.ordinal > remittance.ordinal && r.payment == -remittance.payment;
            nothing_open && reversals.iter().any(negates)
        };
        let rank = |remittance: &Adjudicated| match remittance.adjudication {
            Adjudication::Reversal => 1,
            _ if reversed_below(remittance) => 0,
            _ => 2,
        };
        let mut ranked: Vec<(u8, &Adjudicated)> = group.iter().map(|p| (rank(p.remittance), p.remittance)).collect();
        // Stable: within a rank the payer's order stays.
        ranked.sort_by_key(|(rank, _)| *rank);
        for (_, remittance) in ranked {
            self.apply(remittance);
        }
    }

    fn apply(&mut self, remittance: &'a Adjudicated) {
        match remittance.adjudication {
            Adjudication::Predetermination => return,
            Adjudication::Pending | Adjudication::Routed => self.open.push(Open { outcome: None, remittance }),
            Adjudication::Label(outcome) => self.decide(outcome, remittance),
            Adjudication::Reversal => self.reverse(remittance),
        }
        self.outcome.net_payment += remittance.payment;
    }

    fn decide(&mut self, outcome: Outcome, remittance: &'a Adjudicated) {
        if self.outcome.initial.is_none() && !self.first_unseen {
            self.outcome.initial = Some(outcome);
            self.outcome.initial_remittance_id = Some(remittance.remittance_id);
            self.outcome.initial_date = remittance.payment_date;
        }
        // A decision ends what was pending.
        self.open.retain(|open| open.outcome.is_some());
        self.open.push(Open { outcome: Some(outcome), remittance });
        self.settle(outcome, remittance);
    }

    /// Takes back the open answer that fits best: negated payment and same number, negated payment, same number, last.
    fn reverse(&mut self, reversal: &'a Adjudicated) {
        self.outcome.reversal_count += 1;
        let fit = |open: &Open<'_>| {
            let number = open.remittance.payer_claim_control_number == reversal.payer_claim_control_number;
            (open.remittance.payment == -reversal.payment, number)
        };
        let best = self.open.iter().enumerate().max_by_key(|(place, open)| (fit(open), *place)).map(|(place, _)| place);
        let Some(place) = best else {
            self.first_unseen |= self.outcome.initial.is_none();
            self.settle(Outcome::Recouped, reversal);
            return;
        };
        let reversed = self.open.remove(place);
        let Some(taken_back) = reversed.outcome else {
            // Only an interim answer went: what stands still stands, and no label is lost.
            return;
        };
        // What else stands is final again; but a denial beside it does not stand in for money taken back.
        let stands = self.open.iter().rev().find_map(|open| {
            let outcome = open.outcome.filter(|o| *o != Outcome::Denied || taken_back == Outcome::Denied)?;
            Some((outcome, open.remittance))
        });
        match stands {
            Some((outcome, remittance)) => self.settle(outcome, remittance),
            None => self.settle(Outcome::Recouped, reversal),
        }
    }

    const fn settle(&mut self, outcome: Outcome, by: &Adjudicated) {
        self.outcome.r#final = Some(outcome);
        self.outcome.final_remittance_id = Some(by.remittance_id);
    }

    /// The outcome, if there is any label.
    fn finish(mut self) -> Option<SubmissionOutcome> {
        self.outcome.overturned = matches!(
            (self.outcome.initial, self.outcome.r#final),
            (Some(Outcome::Denied), Some(Outcome::Paid | Outcome::Partial))
                | (Some(Outcome::Partial), Some(Outcome::Paid))
        );
        (self.outcome.initial.is_some() || self.outcome.r#final.is_some()).then_some(self.outcome)
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
