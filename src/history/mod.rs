//! A history of claims and remittances in memory: linked and labelled by the same rules as the workers, without servers.
//!
//! It answers what payers did with earlier lines, and it is the ledger that the learner folds when there is no database.
//! Only the first decision on a submission counts, so that reversals and corrections do not count a line twice. Must never:
//! give a label an earlier place than the remittance that made it.

mod linking;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use self::linking::{candidate, remittance_key};
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::link::{Candidate, RemittanceKey};
use crate::domain::model::{Answered, Features, Label, Learner, LineOfClaim, LineOfRemittance, OrderKey, line_labels};
use crate::domain::outcome::{Adjudicated, LineVerdict, Outcome, Submission, fold, judge};
use crate::domain::reference::ReferenceTables;
use crate::domain::remittance::Remittance;
use crate::domain::rules::Facts;
use crate::domain::score::factors;
use crate::domain::types::{Cents, Date, Instant};
use crate::wire::{Event, Payload};

/// Lines with a decision, and those of them that were denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Denied.
    pub denied: u64,
    /// Decided at all.
    pub decided: u64,
}

/// What names one submission: practice, control number, payer's place, frequency.
pub type SubmissionKey = (String, String, Responsibility, String);

/// When an event happened, and its id: orders versions of the same thing.
pub type Version = (Instant, String);

/// One submission of a claim, and what became of it.
#[derive(Clone, Debug)]
pub struct Told {
    /// What names it.
    pub key: SubmissionKey,
    /// The payer it went to.
    pub payer: String,
    /// The billing provider.
    pub provider: String,
    /// What it charges.
    pub charge: Cents,
    /// When it was submitted.
    pub version: Version,
    /// What bears on it.
    pub features: Features,
    /// The first answer, if there is one.
    pub answer: Option<Answer>,
}

/// The payer's first answer to a submission.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it said.
    pub outcome: Outcome,
    /// What it teaches.
    pub label: Label,
    /// Its place in the ledger.
    pub order: OrderKey,
    /// When its remittance came.
    pub arrived: Instant,
}

/// A gathered history.
#[derive(Default)]
pub struct History {
    lines: BTreeMap<(String, String), Count>,
    outcomes: BTreeMap<SubmissionKey, Outcome>,
    /// All submissions, in the order in which they were sent.
    pub submissions: Vec<Told>,
    /// Claims read.
    pub claims: usize,
    /// Remittances read.
    pub remittances: usize,
    /// Remittances that belong to one of the claims.
    pub linked: usize,
}

impl Told {
    /// A submission of a claim, as the facts around it make it.
    pub fn of(claim: &Claim, facts: &Facts, version: Version, answer: Option<Answer>) -> Self {
        let billing = claim.billing_provider.npi.as_deref().or(claim.practice_key());
        Self {
            key: submission_key(claim),
            payer: claim.payer.key(),
            provider: practice(billing),
            charge: claim.total_charge,
            version,
            features: factors(claim, facts),
            answer,
        }
    }
}

impl History {
    /// A history of submissions whose answers are known already.
    pub fn of_submissions(submissions: Vec<Told>) -> Self {
        let linked = submissions.iter().filter(|told| told.answer.is_some()).count();
        let mut history =
            Self { claims: submissions.len(), remittances: linked, linked, submissions, ..Self::default() };
        history.sort();
        history
    }

    fn sort(&mut self) {
        self.submissions.sort_by(|one, other| (&one.version, &one.key).cmp(&(&other.version, &other.key)));
    }

    /// What the claim's payer did with lines of the claim's procedures, by procedure; none that was never decided.
    pub fn of(&self, claim: &Claim) -> Vec<(String, Count)> {
        let payer = claim.payer.key();
        let codes: BTreeSet<&String> = claim.lines.iter().filter_map(|line| line.procedure_code.as_ref()).collect();
        let count = |code: &String| Some((code.clone(), *self.lines.get(&(payer.clone(), code.clone()))?));
        codes.into_iter().filter_map(count).collect()
    }

    /// What became of this very submission, if the history has its answer.
    pub fn outcome(&self, claim: &Claim) -> Option<Outcome> {
        self.outcomes.get(&submission_key(claim)).copied()
    }

    /// A learner that has folded every answer, in the ledger's order.
    pub fn learn(&self) -> Learner {
        let mut answers: Vec<(&OrderKey, &Told, &Answer)> = self
            .submissions
            .iter()
            .filter_map(|told| told.answer.as_ref().map(|answer| (&answer.order, told, answer)))
            .collect();
        answers.sort_by_key(|(order, _, _)| *order);
        let mut learner = Learner::default();
        for (_, told, answer) in answers {
            learner.fold(&told.features, &answer.label);
        }
        learner
    }

    fn count(&mut self, payer: &str, remitted: &Remitted) {
        for (code, verdict) in &remitted.procedures {
            if code.is_empty() || *verdict == LineVerdict::NoDecision {
                continue;
            }
            let count = self.lines.entry((payer.to_owned(), code.clone())).or_default();
            count.decided += 1;
            count.denied += u64::from(*verdict == LineVerdict::Denied);
        }
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
    newest: Version,
    submissions: Vec<Sent>,
}

/// A submission.
struct Sent {
    submission: Submission,
    lines: Vec<LineOfClaim>,
    /// The day it was sent, by its own word or by its event.
    day: Date,
    told: Told,
}

/// A remittance of the history.
struct Remitted {
    practice: String,
    key: RemittanceKey,
    adjudicated: Adjudicated,
    procedures: Vec<(String, LineVerdict)>,
    lines: Vec<LineOfRemittance>,
    version: Version,
}

/// Practice, payer, trace, control number, the payer's number, place in its 835.
type RemittanceIdentity = (String, String, String, String, String, u32);

/// Takes events in any order, any number of times each.
#[derive(Default)]
pub struct Gathering {
    seen: HashSet<(String, String)>,
    claims: Vec<Known>,
    places: BTreeMap<(String, String, Responsibility), usize>,
    remittances: Vec<Remitted>,
    remitted: HashMap<RemittanceIdentity, usize>,
    /// Submissions get numbers that are their own over all claims.
    submissions: i64,
    tables: Arc<ReferenceTables>,
}

impl Gathering {
    /// Gathers claims as rules with these reference tables see them.
    pub fn with_tables(tables: Arc<ReferenceTables>) -> Self {
        Self { tables, ..Self::default() }
    }

    /// Takes an event; acknowledgements decide nothing.
    pub fn take(&mut self, event: Event) {
        if !self.seen.insert((event.source, event.id.clone())) {
            return;
        }
        let version = (event.time, event.id);
        match &event.payload {
            Payload::Claim(claim) => self.claim(claim, version),
            Payload::Remittance(remittance) => self.remittance(remittance, version),
            Payload::Acknowledgement(_) => {}
        }
    }

    fn claim(&mut self, claim: &Claim, version: Version) {
        let key = submission_key(claim);
        let identity = (key.0.clone(), key.1.clone(), key.2);
        let place = *self.places.entry(identity).or_insert(self.claims.len());
        let candidate = candidate(claim, i64::try_from(place).unwrap_or(i64::MAX));
        if place == self.claims.len() {
            self.claims.push(Known { candidate, newest: version.clone(), submissions: Vec::new() });
        } else if let Some(known) = self.claims.get_mut(place).filter(|known| known.newest < version) {
            (known.candidate, known.newest) = (candidate, version.clone());
        }
        let Some(known) = self.claims.get_mut(place) else { return };
        let predecessor =
            claim.payer_claim_control_number.clone().filter(|_| claim.is_replacement() || claim.is_void());
        let same = known.submissions.iter_mut().find(|one| {
            one.submission.frequency_code == claim.frequency_code
                && one.submission.payer_claim_control_number == predecessor
        });
        let id = same.as_ref().map_or(self.submissions, |one| one.submission.id);
        if same.as_ref().is_some_and(|old| old.told.version >= version) {
            return;
        }
        let submission = Submission {
            id,
            frequency_code: claim.frequency_code.clone(),
            payer_claim_control_number: predecessor,
            submitted_at: claim.submitted_at,
            version_time: version.0,
        };
        let facts = Facts::of(claim, version.0.date_naive()).with_tables(Arc::clone(&self.tables));
        let sent = sent(claim, &facts, version, submission);
        match same {
            Some(old) => *old = sent,
            None => {
                known.submissions.push(sent);
                self.submissions += 1;
            }
        }
    }

    fn remittance(&mut self, remittance: &Remittance, version: Version) {
        let key = remittance_key(remittance);
        let identity = (
            practice(remittance.practice_key()),
            remittance.payer.key(),
            remittance.trace_number.clone().unwrap_or_default(),
            key.patient_control_number.expose().clone(),
            key.payer_claim_control_number.as_ref().map(|number| number.expose().clone()).unwrap_or_default(),
            remittance.claim_ordinal,
        );
        let place = *self.remitted.entry(identity).or_insert(self.remittances.len());
        if self.remittances.get(place).is_some_and(|old| old.version >= version) {
            return;
        }
        let remitted = remitted(remittance, key, version, place);
        match self.remittances.get_mut(place) {
            Some(old) => *old = remitted,
            None => self.remittances.push(remitted),
        }
    }

    /// Links, labels, counts.
    pub fn finish(mut self) -> History {
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
            let Some(known) = self.claims.get_mut(place) else { continue };
            let submissions: Vec<Submission> = known.submissions.iter().map(|one| one.submission.clone()).collect();
            for outcome in fold(&submissions, &adjudicated) {
                let of = known.submissions.iter_mut().find(|one| one.submission.id == outcome.submission_id);
                let (Some(sent), Some(initial)) = (of, outcome.initial) else { continue };
                history.outcomes.insert(sent.told.key.clone(), initial);
                let by = outcome.initial_remittance_id.and_then(|id| self.remittances.get(usize::try_from(id).ok()?));
                if let Some(remitted) = by {
                    history.count(&sent.told.payer, remitted);
                    sent.told.answer = Some(answer(sent, remitted, initial));
                }
            }
        }
        history.submissions =
            self.claims.into_iter().flat_map(|known| known.submissions).map(|sent| sent.told).collect();
        history.sort();
        history
    }
}

fn sent(claim: &Claim, facts: &Facts, version: Version, submission: Submission) -> Sent {
    Sent {
        submission,
        lines: claim.lines.iter().map(LineOfClaim::of).collect(),
        day: facts.as_of.unwrap_or_else(|| version.0.date_naive()),
        told: Told::of(claim, facts, version, None),
    }
}

fn remitted(remittance: &Remittance, key: RemittanceKey, version: Version, place: usize) -> Remitted {
    let judged = judge(remittance);
    let verdicts = || remittance.lines.iter().zip(judged.lines.iter().map(|line| line.verdict));
    Remitted {
        practice: practice(remittance.practice_key()),
        key,
        procedures: verdicts()
            .map(|(line, verdict)| (line.procedure_code.clone().unwrap_or_default(), verdict))
            .collect(),
        lines: verdicts()
            .map(|(line, verdict)| LineOfRemittance {
                control_number: line.control_number.clone(),
                code: line.procedure_code.clone().or_else(|| line.revenue_code.clone()),
                verdict,
            })
            .collect(),
        adjudicated: Adjudicated {
            remittance_id: i64::try_from(place).unwrap_or(i64::MAX),
            adjudication: judged.adjudication,
            payment_date: remittance.payment_date,
            trace_number: remittance.trace_number.clone(),
            ordinal: remittance.claim_ordinal,
            payment: remittance.payment,
            frequency_code: remittance.frequency_code.clone(),
            payer_claim_control_number: remittance.payer_claim_control_number.clone(),
        },
        version,
    }
}

fn answer(sent: &Sent, remitted: &Remitted, outcome: Outcome) -> Answer {
    let decided = remitted.adjudicated.payment_date.unwrap_or_else(|| remitted.version.0.date_naive());
    let denied = outcome.is_denial();
    let text = |number: &Option<crate::domain::types::Phi<String>>| {
        number.as_ref().map(|number| number.expose().clone()).unwrap_or_default()
    };
    let (practice, number, place, frequency) = &sent.told.key;
    let order = OrderKey::new(
        decided,
        &Answered {
            practice,
            number,
            place: place.code(),
            frequency,
            predecessor: &text(&sent.submission.payer_claim_control_number),
            trace: remitted.adjudicated.trace_number.as_deref().unwrap_or_default(),
            payer_number: &text(&remitted.adjudicated.payer_claim_control_number),
            ordinal: remitted.adjudicated.ordinal,
        },
    );
    let lines = line_labels(&sent.lines, denied, &remitted.lines);
    Answer { outcome, label: Label::new(sent.day, decided, denied, lines), order, arrived: remitted.version.0 }
}
