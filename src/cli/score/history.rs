//! What payers did with earlier claims: counts of denied lines by payer and procedure, from 837 and 835 files in memory.
//!
//! Links remittances to claims and labels them by the same rules as the workers. Only the first decision on a submission
//! counts, so that reversals and corrections do not count a line twice. Must never: change a score.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::domain::claim::{Claim, Responsibility};
use crate::domain::link::{Candidate, Link, RemittanceKey, link, mangled_keys, normalise_control_number};
use crate::domain::outcome::{Adjudicated, LineVerdict, Outcome, Submission, fold, judge};
use crate::domain::remittance::Remittance;
use crate::domain::types::{Date, Instant, Phi};
use crate::wire::{Event, Payload};

/// Lines with a decision, and those of them that were denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) denied: u64,
    pub(super) decided: u64,
}

/// What names one submission: practice, control number, payer's place, frequency.
type SubmissionKey = (String, String, Responsibility, String);

/// What was learned; a look-up table.
#[derive(Default)]
pub(super) struct History {
    lines: BTreeMap<(String, String), Count>,
    outcomes: BTreeMap<SubmissionKey, Outcome>,
    /// Claims read.
    pub(super) claims: usize,
    /// Remittances read.
    pub(super) remittances: usize,
    /// Remittances that belong to one of the claims.
    pub(super) linked: usize,
}

impl History {
    /// What the claim's payer did with lines of the claim's procedures, by procedure; none that was never decided.
    pub(super) fn of(&self, claim: &Claim) -> Vec<(String, Count)> {
        let payer = claim.payer.key();
        let codes: BTreeSet<&String> = claim.lines.iter().filter_map(|line| line.procedure_code.as_ref()).collect();
        let count = |code: &String| Some((code.clone(), *self.lines.get(&(payer.clone(), code.clone()))?));
        codes.into_iter().filter_map(count).collect()
    }

    /// What became of this very submission, if the history has its answer.
    pub(super) fn outcome(&self, claim: &Claim) -> Option<Outcome> {
        self.outcomes.get(&submission_key(claim)).copied()
    }
}

fn practice(key: Option<&str>) -> String {
    key.unwrap_or_default().to_owned()
}

fn submission_key(claim: &Claim) -> SubmissionKey {
    (
        practice(claim.practice_key()),
        claim.patient_control_number.expose().clone(),
        claim.responsibility,
        claim.frequency_code.clone(),
    )
}

/// A claim of the history with its submissions.
struct Known {
    candidate: Candidate,
    newest: Instant,
    submissions: Vec<(Submission, SubmissionKey, String)>,
}

/// A remittance of the history.
struct Remitted {
    practice: String,
    key: RemittanceKey,
    adjudicated: Adjudicated,
    lines: Vec<(String, LineVerdict)>,
}

/// What a claim can be found by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Handle {
    Exact(String),
    Mangled(String),
    PayerNumber(String),
    Member(String, Date),
}

/// Takes events in any order, any number of times each.
#[derive(Default)]
pub(super) struct Gathering {
    seen: HashSet<(String, String)>,
    claims: Vec<Known>,
    places: BTreeMap<(String, String, Responsibility), usize>,
    remittances: Vec<Remitted>,
    /// Submissions get numbers that are their own over all claims.
    submissions: i64,
}

impl Gathering {
    /// Takes an event; acknowledgements decide nothing.
    pub(super) fn take(&mut self, event: Event) {
        if !self.seen.insert((event.source, event.id)) {
            return;
        }
        match &event.payload {
            Payload::Claim(claim) => self.claim(claim, event.time),
            Payload::Remittance(remittance) => self.remittance(remittance),
            Payload::Acknowledgement(_) => {}
        }
    }

    fn claim(&mut self, claim: &Claim, time: Instant) {
        let key = submission_key(claim);
        let identity = (key.0.clone(), key.1.clone(), key.2);
        let place = *self.places.entry(identity).or_insert(self.claims.len());
        let candidate = candidate(claim, i64::try_from(place).unwrap_or(i64::MAX));
        if place == self.claims.len() {
            self.claims.push(Known { candidate, newest: time, submissions: Vec::new() });
        } else if let Some(known) = self.claims.get_mut(place).filter(|known| known.newest < time) {
            (known.candidate, known.newest) = (candidate, time);
        }
        let Some(known) = self.claims.get_mut(place) else { return };
        let predecessor =
            claim.payer_claim_control_number.clone().filter(|_| claim.is_replacement() || claim.is_void());
        let same = known.submissions.iter_mut().find(|(one, _, _)| {
            one.frequency_code == claim.frequency_code && one.payer_claim_control_number == predecessor
        });
        let id = same.as_ref().map_or(self.submissions, |(one, _, _)| one.id);
        let submission = Submission {
            id,
            frequency_code: claim.frequency_code.clone(),
            payer_claim_control_number: predecessor,
            submitted_at: claim.submitted_at,
            version_time: time,
        };
        let entry = (submission, key, claim.payer.key());
        match same {
            Some(old) if old.0.version_time < time => *old = entry,
            Some(_) => {}
            None => {
                known.submissions.push(entry);
                self.submissions += 1;
            }
        }
    }

    fn remittance(&mut self, remittance: &Remittance) {
        let judged = judge(remittance);
        let id = i64::try_from(self.remittances.len()).unwrap_or(i64::MAX);
        let codes = remittance.lines.iter().map(|line| line.procedure_code.clone().unwrap_or_default());
        self.remittances.push(Remitted {
            practice: practice(remittance.practice_key()),
            key: remittance_key(remittance),
            adjudicated: Adjudicated {
                remittance_id: id,
                adjudication: judged.adjudication,
                payment_date: remittance.payment_date,
                trace_number: remittance.trace_number.clone(),
                ordinal: remittance.claim_ordinal,
                payment: remittance.payment,
                frequency_code: remittance.frequency_code.clone(),
                payer_claim_control_number: remittance.payer_claim_control_number.clone(),
            },
            lines: codes.zip(judged.lines.iter().map(|line| line.verdict)).collect(),
        });
    }

    /// Links, labels, counts.
    pub(super) fn finish(self) -> History {
        let mut history =
            History { claims: self.claims.len(), remittances: self.remittances.len(), ..History::default() };
        let mut answers: BTreeMap<usize, Vec<Adjudicated>> = BTreeMap::new();
        for (place, remitted) in self.linked().into_iter().zip(&self.remittances) {
            if let Some(place) = place {
                history.linked += 1;
                answers.entry(place).or_default().push(remitted.adjudicated.clone());
            }
        }
        for (place, adjudicated) in answers {
            let Some(known) = self.claims.get(place) else { continue };
            let submissions: Vec<Submission> = known.submissions.iter().map(|(one, _, _)| one.clone()).collect();
            for outcome in fold(&submissions, &adjudicated) {
                let of = known.submissions.iter().find(|(one, _, _)| one.id == outcome.submission_id);
                let (Some((_, key, payer)), Some(initial)) = (of, outcome.initial) else { continue };
                history.outcomes.insert(key.clone(), initial);
                let remitted =
                    outcome.initial_remittance_id.and_then(|id| self.remittances.get(usize::try_from(id).ok()?));
                remitted.into_iter().for_each(|remitted| history.count(payer, remitted));
            }
        }
        history
    }

    /// The claim of each remittance, by its place.
    fn linked(&self) -> Vec<Option<usize>> {
        let handles = self.handles();
        let find =
            |practice: &str, handle: Handle| handles.get(&(practice.to_owned(), handle)).map_or(&[][..], Vec::as_slice);
        let exact = |remitted: &Remitted| {
            find(&remitted.practice, Handle::Exact(remitted.key.patient_control_number.expose().clone()))
        };
        let mut siblings: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
        for remitted in &self.remittances {
            if let Some(number) = &remitted.key.payer_claim_control_number {
                let named = siblings.entry((&remitted.practice, number.expose())).or_default();
                named.extend(exact(remitted));
            }
        }
        let of = |remitted: &Remitted| {
            let mut places: BTreeSet<(usize, bool)> = exact(remitted).iter().map(|place| (*place, false)).collect();
            if places.is_empty() {
                let key = &remitted.key;
                let number = normalise_control_number(key.patient_control_number.expose());
                let mut lower = vec![Handle::Mangled(number)];
                if let Some(number) = &key.payer_claim_control_number {
                    lower.push(Handle::PayerNumber(number.expose().clone()));
                    let named = siblings.get(&(remitted.practice.as_str(), number.expose().as_str()));
                    places.extend(named.into_iter().flatten().map(|place| (*place, true)));
                }
                if let (Some(member), Some(day)) = (&key.member_id, key.service_from) {
                    lower.push(Handle::Member(normalise_control_number(member.expose()), day));
                }
                for handle in lower {
                    places.extend(find(&remitted.practice, handle).iter().map(|place| (*place, false)));
                }
            }
            let candidates: Vec<Candidate> = places
                .into_iter()
                .filter_map(|(place, sibling)| Some(Candidate { sibling, ..self.claims.get(place)?.candidate.clone() }))
                .collect();
            match link(&remitted.key, &candidates) {
                Link::Linked { claim_id, .. } => usize::try_from(claim_id).ok(),
                Link::Ambiguous { .. } | Link::None => None,
            }
        };
        self.remittances.iter().map(of).collect()
    }

    fn handles(&self) -> BTreeMap<(String, Handle), Vec<usize>> {
        let mut handles: BTreeMap<(String, Handle), Vec<usize>> = BTreeMap::new();
        for ((practice, number, _), place) in &self.places {
            let Some(known) = self.claims.get(*place) else { continue };
            let candidate = &known.candidate;
            let mut own = vec![Handle::Exact(number.clone())];
            own.extend(mangled_keys(number).into_iter().map(Handle::Mangled));
            own.extend(
                candidate.payer_claim_control_number.iter().map(|one| Handle::PayerNumber(one.expose().clone())),
            );
            if let (Some(member), Some(day)) = (&candidate.member_id, candidate.service_from) {
                own.push(Handle::Member(normalise_control_number(member.expose()), day));
            }
            for handle in own {
                handles.entry((practice.clone(), handle)).or_default().push(*place);
            }
        }
        handles
    }
}

impl History {
    fn count(&mut self, payer: &str, remitted: &Remitted) {
        for (code, verdict) in &remitted.lines {
            if code.is_empty() || *verdict == LineVerdict::NoDecision {
                continue;
            }
            let count = self.lines.entry((payer.to_owned(), code.clone())).or_default();
            count.decided += 1;
            count.denied += u64::from(*verdict == LineVerdict::Denied);
        }
    }
}

fn filled(text: Option<&Phi<String>>) -> Option<Phi<String>> {
    text.filter(|text| !text.expose().is_empty()).cloned()
}

fn candidate(claim: &Claim, id: i64) -> Candidate {
    Candidate {
        claim_id: id,
        patient_control_number: claim.patient_control_number.clone(),
        responsibility: claim.responsibility,
        payer_key: Some(claim.payer.key()),
        frequency_code: claim.frequency_code.clone(),
        payer_claim_control_number: filled(claim.payer_claim_control_number.as_ref()),
        member_id: filled(claim.subscriber.member_id.as_ref()),
        service_from: claim.service_date(),
        service_to: claim.last_service_date(),
        total_charge: claim.total_charge,
        sibling: false,
        submitted_at: claim.submitted_at,
    }
}

fn remittance_key(remittance: &Remittance) -> RemittanceKey {
    let last = remittance.lines.iter().filter_map(|line| line.service_to.or(line.service_from)).max();
    RemittanceKey {
        patient_control_number: remittance.patient_control_number.clone(),
        payer_key: Some(remittance.payer.key()),
        payer_claim_control_number: filled(remittance.payer_claim_control_number.as_ref()),
        status_code: remittance.status_code.clone(),
        frequency_code: remittance.frequency_code.clone(),
        member_id: filled(remittance.member_id.as_ref()),
        service_from: remittance.service_date(),
        service_to: last.or(remittance.service_to),
        total_charge: remittance.total_charge,
        payment_date: remittance.payment_date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode_json;
    use crate::wire::examples::{CLAIM_SUBMITTED, REMITTANCE_RECEIVED};

    fn event(text: &str) -> Event {
        decode_json(text.as_bytes()).unwrap()
    }

    fn gather(events: &[&str]) -> History {
        let mut gathering = Gathering::default();
        for text in events {
            gathering.take(event(text));
        }
        gathering.finish()
    }

    fn claim() -> Claim {
        match event(CLAIM_SUBMITTED).payload {
            Payload::Claim(claim) => *claim,
            _ => unreachable!("the example is a claim"),
        }
    }

    #[test]
    fn a_denied_line_counts_for_its_payer_and_procedure_and_settles_its_claim() {
        for events in [[CLAIM_SUBMITTED, REMITTANCE_RECEIVED], [REMITTANCE_RECEIVED, CLAIM_SUBMITTED]] {
            let history = gather(&events);
            assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
            assert_eq!(history.outcome(&claim()), Some(Outcome::Denied));
            assert_eq!((history.claims, history.remittances, history.linked), (1, 1, 1));
        }
    }

    #[test]
    fn the_same_event_twice_counts_once() {
        let history = gather(&[CLAIM_SUBMITTED, REMITTANCE_RECEIVED, REMITTANCE_RECEIVED, CLAIM_SUBMITTED]);
        assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
    }

    #[test]
    fn a_remittance_with_a_mangled_control_number_is_linked_too() {
        let mangled = REMITTANCE_RECEIVED.replace("PCN-1112223333", "PCN1112223333");
        assert_eq!(gather(&[CLAIM_SUBMITTED, &mangled]).linked, 1);
    }

    #[test]
    fn another_payer_and_an_unlinked_remittance_count_nothing() {
        let history = gather(&[REMITTANCE_RECEIVED]);
        assert!(history.of(&claim()).is_empty() && history.linked == 0);
        let mut other = claim();
        other.payer.id = Some("99999".to_owned());
        assert!(gather(&[CLAIM_SUBMITTED, REMITTANCE_RECEIVED]).of(&other).is_empty());
    }

    #[test]
    fn a_correction_after_the_first_decision_is_not_counted_again() {
        let later = REMITTANCE_RECEIVED
            .replace("2026-11-20", "2026-12-20")
            .replace("1c3d6f0b2a12", "1c3d6f0b2a99")
            .replace("EFT00012345", "EFT00099999");
        let history = gather(&[CLAIM_SUBMITTED, &later, REMITTANCE_RECEIVED]);
        assert_eq!(history.linked, 2);
        assert_eq!(history.of(&claim()), [("99213".to_owned(), Count { denied: 1, decided: 1 })]);
    }
}
