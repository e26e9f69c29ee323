//! What a practice sent before for the same patient, as it stood when a claim was sent: a function of the ledger alone.
//!
//! The ledger holds the newest version of each submission, remittance and acknowledgement, so that any order of arrival
//! ends in the same answer. Must never: count what happened after the claim was sent, take one patient for another, or take
//! a claim without a usable member id for one before which nothing was sent.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;

use super::claim::{Claim, Responsibility, Subscriber};
use super::member::MemberKey;
use super::outcome::{Adjudicated, Outcome, Submission, fold};
use super::rules::{EarlierClaim, EarlierStatus};
use super::types::{Date, Instant, Phi};

/// How far back earlier claims are looked at, in days: three years.
pub const DAYS_BACK: i32 = 1096;
/// So many newest submissions for the member are read: one of them may be a version of the claim itself ...
pub const MOST_READ: usize = MOST + 1;
/// ... and of the others, so many count at the most ...
const MOST: usize = 50;
/// ... or as many, from the newest on, as have fewer lines together than this.
const MOST_LINES: usize = 2000;

/// A place in the order of events: the time of an event, then its id.
pub type Moment<'a> = (Instant, &'a str);

/// What names a claim: practice, patient control number, payer's place.
pub type ClaimKey = (String, Phi<String>, Responsibility);

/// The key of a claim.
pub fn claim_key(claim: &Claim) -> ClaimKey {
    let practice = claim.practice_key().unwrap_or_default().to_owned();
    (practice, claim.patient_control_number.clone(), claim.responsibility)
}

/// A submission as the ledger holds it: its newest version.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What names it, and when it was sent.
    pub submission: Submission,
    /// Id of the newest version's event.
    pub version_id: String,
    /// Time of its first version.
    pub first_time: Instant,
    /// What later claims find of it; none where it was not read, or names no member.
    pub found: Option<Found>,
}

/// What later claims find of a submission.
#[derive(Clone, Debug)]
pub struct Found {
    member: MemberKey,
    patient: Patient,
    claim: EarlierClaim,
}

/// What tells the patients of one member id apart: the members of a family often share it.
#[derive(Clone, Debug)]
struct Patient {
    birth_date: Option<Phi<Date>>,
    gender: Option<Phi<String>>,
}

impl Found {
    /// What later claims find of a claim; `None` without a usable member id.
    pub fn of(claim: &Claim) -> Option<Self> {
        let Subscriber { birth_date, gender, .. } = &claim.subscriber;
        let patient = Patient { birth_date: birth_date.clone(), gender: gender.clone() };
        Some(Self { member: claim.member_key()?, patient, claim: EarlierClaim::of(claim) })
    }

    /// The member it is about.
    pub const fn member(&self) -> MemberKey {
        self.member
    }
}

impl Patient {
    /// Whether nothing that is told of both speaks against it.
    fn may_be(&self, other: &Subscriber) -> bool {
        let agree = sex(self.gender.as_ref()).zip(sex(other.gender.as_ref())).is_none_or(|(one, other)| one == other);
        agree && self.birth_date.as_ref().zip(other.birth_date.as_ref()).is_none_or(|(one, other)| one == other)
    }
}

/// The sex, where it is told.
fn sex(gender: Option<&Phi<String>>) -> Option<&str> {
    gender.map(|one| one.expose().trim()).filter(|one| matches!(*one, "F" | "M"))
}

impl Sent {
    /// A submission whose only version so far is this claim; `id` differs from those of the claim's other submissions.
    pub fn of(claim: &Claim, (time, version_id): Moment<'_>, id: i64) -> Self {
        let submission = Submission {
            id,
            frequency_code: frequency(claim).to_owned(),
            payer_claim_control_number: predecessor(claim).cloned(),
            submitted_at: claim.submitted_at,
            version_time: time,
        };
        Self { submission, version_id: version_id.to_owned(), first_time: time, found: Found::of(claim) }
    }

    fn moment(&self) -> Moment<'_> {
        (self.submission.version_time, &self.version_id)
    }

    fn is_void(&self) -> bool {
        self.submission.frequency_code == "8"
    }
}

/// The frequency code, `1` when none was given.
pub fn frequency(claim: &Claim) -> &str {
    if claim.frequency_code.is_empty() { "1" } else { &claim.frequency_code }
}

/// What a replacement or void names; an original names nothing.
pub fn predecessor(claim: &Claim) -> Option<&Phi<String>> {
    let number = claim.payer_claim_control_number.as_ref().filter(|number| !number.expose().is_empty());
    number.filter(|_| claim.is_replacement() || claim.is_void())
}

/// The moment of whose knowledge an answer teaches, where it is not that of the newest version: an answer that came
/// before it was given to the first version, and must not be among the facts it teaches of.
pub fn taught_at(sent_at: Instant, first_time: Instant, answered_at: Instant) -> Option<Moment<'static>> {
    (first_time < sent_at && answered_at < sent_at).then_some((first_time, ""))
}

/// A claim with its submissions and all that was answered to it.
#[derive(Clone, Debug)]
pub struct Known {
    /// What names it.
    pub key: ClaimKey,
    /// Its submissions, in any order.
    pub submissions: Vec<Sent>,
    /// The remittances linked to it, with the times of their events, in any order.
    pub answers: Vec<(Instant, Adjudicated)>,
    /// The newest acknowledgement: when it came, and whether the claim was taken in.
    pub acknowledged: Option<(Instant, bool)>,
}

impl Known {
    /// A claim of which nothing is known yet.
    pub const fn new(key: ClaimKey) -> Self {
        Self { key, submissions: Vec::new(), answers: Vec::new(), acknowledged: None }
    }

    /// Adds a submission, or a version of one.
    pub fn take(&mut self, sent: Sent) {
        let same = |one: &&mut Sent| {
            one.submission.frequency_code == sent.submission.frequency_code
                && one.submission.payer_claim_control_number == sent.submission.payer_claim_control_number
        };
        let Some(old) = self.submissions.iter_mut().find(same) else {
            self.submissions.push(sent);
            return;
        };
        let first_time = old.first_time.min(sent.first_time);
        if old.moment() < sent.moment() {
            *old = sent;
        }
        old.first_time = first_time;
    }

    /// How far a submission had got at a moment, and the day of the payer's first decision. `since` leaves out what was
    /// answered up to then.
    fn standing(&self, sent: &Sent, since: Option<Instant>, moment: Moment<'_>) -> (EarlierStatus, Option<Date>) {
        let before: Vec<&Sent> = self.submissions.iter().filter(|one| one.moment() < moment).collect();
        let counts = |at: Instant| at < moment.0 && since.is_none_or(|since| since < at);
        let answers: Vec<Adjudicated> =
            self.answers.iter().filter(|(at, _)| counts(*at)).map(|(_, answer)| answer.clone()).collect();
        let mut outcome = None;
        if !answers.is_empty() {
            let others = before.iter().filter(|one| one.submission.id != sent.submission.id);
            let mut submissions: Vec<Submission> = others.map(|one| one.submission.clone()).collect();
            submissions.push(sent.submission.clone());
            let folded = fold(&submissions, &answers).into_iter();
            outcome = folded.into_iter().find(|one| one.submission_id == sent.submission.id);
        }
        let decided_on = outcome.as_ref().and_then(|outcome| outcome.initial_date);
        let status = match outcome.and_then(|outcome| outcome.r#final) {
            _ if before.iter().any(|one| one.is_void() && sent.moment() < one.moment()) => EarlierStatus::Reversed,
            Some(Outcome::Paid | Outcome::Partial) => EarlierStatus::Paid,
            Some(Outcome::Denied) => EarlierStatus::Denied,
            Some(Outcome::Recouped) => EarlierStatus::Reversed,
            None if self.was_rejected(sent, &before, moment) => EarlierStatus::Rejected,
            None => EarlierStatus::Sent,
        };
        (status, decided_on)
    }

    /// Whether the newest acknowledgement turned the submission back: it is about the one that was sent last before it.
    fn was_rejected(&self, sent: &Sent, before: &[&Sent], moment: Moment<'_>) -> bool {
        let Some((at, false)) = self.acknowledged.filter(|(at, _)| *at < moment.0) else { return false };
        let last = before.iter().filter(|one| one.submission.version_time <= at).max_by_key(|one| one.moment());
        last.is_some_and(|last| last.submission.id == sent.submission.id)
    }

    /// Whether a payer had given one of these numbers to the claim.
    fn carries(&self, numbers: &BTreeSet<&Phi<String>>, moment: Moment<'_>) -> bool {
        let mut answers = self.answers.iter().filter(|(at, _)| *at < moment.0);
        answers.any(|(_, answer)| answer.payer_claim_control_number.as_ref().is_some_and(|one| numbers.contains(one)))
    }
}

/// Claims of a ledger, to be searched by member.
#[derive(Clone, Debug, Default)]
pub struct Past {
    claims: Vec<Known>,
    /// Places of claim and submission, by member, the oldest first.
    members: BTreeMap<MemberKey, Vec<(usize, usize)>>,
}

impl Past {
    /// The claims of a ledger, or as many of them as concern the members that are asked for.
    pub fn new(claims: Vec<Known>) -> Self {
        let mut members: BTreeMap<MemberKey, Vec<(usize, usize)>> = BTreeMap::new();
        for (place, known) in claims.iter().enumerate() {
            for (at, sent) in known.submissions.iter().enumerate() {
                if let Some(found) = &sent.found {
                    members.entry(found.member).or_default().push((place, at));
                }
            }
        }
        let mut past = Self { claims, members: BTreeMap::new() };
        for places in members.values_mut() {
            places.sort_by(|one, other| past.at(*one).map(order).cmp(&past.at(*other).map(order)));
        }
        past.members = members;
        past
    }

    fn at(&self, (place, at): (usize, usize)) -> Option<(&Known, &Sent)> {
        let known = self.claims.get(place)?;
        Some((known, known.submissions.get(at)?))
    }

    /// What was sent for the claim's patient before a moment, and how far it had got by then, the newest first. An earlier
    /// version of the claim itself stands there too, without lines, when it is an original that the payer had decided.
    ///
    /// `None` when the claim has no usable member id.
    pub fn earlier(&self, claim: &Claim, moment: Moment<'_>) -> Option<Vec<EarlierClaim>> {
        let Some(places) = self.members.get(&claim.member_key()?) else { return Some(Vec::new()) };
        let until = places.partition_point(|place| self.at(*place).is_some_and(|(_, sent)| sent.moment() <= moment));
        let since = moment.0 - Duration::days(DAYS_BACK.into());
        let newest = places.get(..until).unwrap_or_default().iter().rev().filter_map(|place| self.at(*place));
        let newest = newest.take_while(|(_, sent)| sent.submission.version_time >= since).take(MOST_READ);
        let key = claim_key(claim);
        let is_own = |known: &Known, sent: &Sent| {
            known.key == key
                && sent.submission.frequency_code == frequency(claim)
                && sent.submission.payer_claim_control_number.as_ref() == predecessor(claim)
        };
        let (own, mut others): (Vec<_>, Vec<_>) = newest.partition(|(known, sent)| is_own(known, sent));
        others.retain(|(_, sent)| sent.moment() < moment);
        others.truncate(MOST);
        let mut earlier = of_others(&others, claim, moment);
        earlier.extend(own.first().and_then(|(known, sent)| own_version(known, sent, moment)));
        Some(earlier)
    }
}

fn order<'a>((known, sent): (&'a Known, &'a Sent)) -> (Moment<'a>, &'a ClaimKey) {
    (sent.moment(), &known.key)
}

fn of_others(others: &[(&Known, &Sent)], claim: &Claim, moment: Moment<'_>) -> Vec<EarlierClaim> {
    // A void may have a control number of its own, and names what it voids by the payer's.
    let voids = others.iter().filter(|(_, sent)| sent.is_void());
    let voided: BTreeSet<&Phi<String>> =
        voids.filter_map(|(_, sent)| sent.submission.payer_claim_control_number.as_ref()).collect();
    let mut lines = 0;
    let same = others.iter().filter(|(_, sent)| !sent.is_void()).filter_map(|(known, sent)| {
        let found = sent.found.as_ref().filter(|found| found.patient.may_be(&claim.subscriber))?;
        Some((*known, *sent, &found.claim))
    });
    let fit = same.take_while(|(_, _, found)| {
        lines += found.lines.len();
        lines < MOST_LINES
    });
    fit.map(|(known, sent, found)| {
        let (mut status, decided_on) = known.standing(sent, None, moment);
        if !voided.is_empty() && known.carries(&voided, moment) {
            status = EarlierStatus::Reversed;
        }
        EarlierClaim { status, decided_on, ..found.clone() }
    })
    .collect()
}

/// The claim's own first version, when it is an original that the payer had decided before the claim was sent again. What
/// it said is not kept, so it has no lines.
fn own_version(known: &Known, sent: &Sent, moment: Moment<'_>) -> Option<EarlierClaim> {
    let found = sent.found.as_ref().filter(|_| sent.submission.frequency_code == "1")?;
    let submission = Submission { version_time: sent.first_time, submitted_at: None, ..sent.submission.clone() };
    let first = Sent { submission, version_id: String::new(), ..sent.clone() };
    let (status, decided_on) = known.standing(&first, Some(sent.first_time), moment);
    let decided = matches!(status, EarlierStatus::Paid | EarlierStatus::Denied);
    decided.then(|| EarlierClaim { status, decided_on, lines: Vec::new(), ..found.claim.clone() })
}
