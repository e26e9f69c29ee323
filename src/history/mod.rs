//! A history of claims and remittances in memory: linked and labelled by the same rules as the workers, without servers.
//!
//! It answers what payers did with earlier lines and what was sent before for the same patient, and it is the ledger that
//! the learner folds when there is no database.
//! Only the first decision on a submission counts, so that reversals and corrections do not count a line twice. Must never:
//! give a label an earlier place than the remittance that made it.

mod linking;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::claim::{Claim, Responsibility};
use crate::domain::earlier::{self, Known, Moment, Past, claim_key, frequency, predecessor, taught_at};
use crate::domain::link::{Candidate, RemittanceKey};
use crate::domain::model::{
    Answered, Features, Label, Learner, Ledger, LineOfClaim, LineOfRemittance, OrderKey, line_labels,
};
use crate::domain::outcome::{Adjudicated, LineVerdict, Outcome, Submission, fold, judge};
use crate::domain::reference::ReferenceTables;
use crate::domain::remittance::{Acknowledgement, Remittance};
use crate::domain::rules::{EarlierClaim, Facts};
use crate::domain::score::factors;
use crate::domain::types::{Cents, Instant};
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
    /// What bore on the claim when it was first sent, where the answer came before its newest version.
    pub features: Option<Features>,
}

/// A gathered history.
#[derive(Default)]
pub struct History {
    lines: BTreeMap<(String, String), Count>,
    outcomes: BTreeMap<SubmissionKey, Outcome>,
    past: Past,
    /// All submissions, in the order in which they were sent.
    pub submissions: Vec<Told>,
    /// Claims read.
    pub claims: usize,
    /// Remittances read.
    pub remittances: usize,
    /// Remittances that belong to one of the claims.
    pub linked: usize,
}

impl History {
    /// What the payers' answers teach, each under the place of its submission.
    pub fn ledger(self) -> Ledger {
        let mut ledger = Ledger::default();
        for (place, told) in (0_i64..).zip(self.submissions) {
            if let Some(answer) = told.answer {
                ledger.put(place, answer.order, &told.features, answer.label);
            }
        }
        ledger
    }
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

    /// The answer, if there is one, with the factors that it teaches of.
    pub fn taught(&self) -> Option<(&Features, &Answer)> {
        let answer = self.answer.as_ref()?;
        Some((answer.features.as_ref().unwrap_or(&self.features), answer))
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

    /// What was sent for the claim's patient before a moment; `None` when the claim has no usable member id.
    pub fn earlier(&self, claim: &Claim, moment: Moment<'_>) -> Option<Vec<EarlierClaim>> {
        self.past.earlier(claim, moment)
    }

    /// A learner that has folded every answer, in the ledger's order.
    pub fn learn(&self) -> Learner {
        let mut answers: Vec<(&Features, &Answer)> = self.submissions.iter().filter_map(Told::taught).collect();
        answers.sort_by_key(|(_, answer)| &answer.order);
        let mut learner = Learner::default();
        for (features, answer) in answers {
            learner.fold(features, &answer.label);
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
struct Gathered {
    candidate: Candidate,
    newest: Version,
    submissions: Vec<Sent>,
}

/// The newest version of a submission. The claim is kept whole: what bears on it is known only when all is gathered.
struct Sent {
    id: i64,
    claim: Box<Claim>,
    version: Version,
    first_time: Instant,
}

impl Sent {
    fn moment(&self) -> Moment<'_> {
        (self.version.0, &self.version.1)
    }

    fn submission(&self) -> earlier::Sent {
        earlier::Sent { first_time: self.first_time, ..earlier::Sent::of(&self.claim, self.moment(), self.id) }
    }
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
    claims: Vec<Gathered>,
    places: BTreeMap<(String, String, Responsibility), usize>,
    remittances: Vec<Remitted>,
    remitted: HashMap<RemittanceIdentity, usize>,
    /// The newest acknowledgement by practice and control number, and whether the claim was taken in.
    acknowledged: BTreeMap<(String, String), (Version, bool)>,
    /// Submissions get numbers that are their own over all claims.
    submissions: i64,
    tables: Arc<ReferenceTables>,
}

impl Gathering {
    /// Gathers claims as rules with these reference tables see them.
    pub fn with_tables(tables: Arc<ReferenceTables>) -> Self {
        Self { tables, ..Self::default() }
    }

    /// Takes an event.
    pub fn take(&mut self, event: Event) {
        if !self.seen.insert((event.source, event.id.clone())) {
            return;
        }
        let version = (event.time, event.id);
        match event.payload {
            Payload::Claim(claim) => self.claim(claim, version),
            Payload::Remittance(remittance) => self.remittance(&remittance, version),
            Payload::Acknowledgement(acknowledgement) => self.acknowledgement(&acknowledgement, version),
        }
    }

    fn claim(&mut self, claim: Box<Claim>, version: Version) {
        let key = submission_key(&claim);
        let place = *self.places.entry((key.0, key.1, key.2)).or_insert(self.claims.len());
        let candidate = Candidate::of(&claim, i64::try_from(place).unwrap_or(i64::MAX));
        if place == self.claims.len() {
            self.claims.push(Gathered { candidate, newest: version.clone(), submissions: Vec::new() });
        } else if let Some(known) = self.claims.get_mut(place).filter(|known| known.newest < version) {
            (known.candidate, known.newest) = (candidate, version.clone());
        }
        let Some(known) = self.claims.get_mut(place) else { return };
        let same = known
            .submissions
            .iter_mut()
            .find(|one| frequency(&one.claim) == frequency(&claim) && predecessor(&one.claim) == predecessor(&claim));
        let Some(old) = same else {
            known.submissions.push(Sent { id: self.submissions, claim, first_time: version.0, version });
            self.submissions += 1;
            return;
        };
        old.first_time = old.first_time.min(version.0);
        if old.version < version {
            (old.claim, old.version) = (claim, version);
        }
    }

    fn acknowledgement(&mut self, acknowledgement: &Acknowledgement, version: Version) {
        let number = acknowledgement.patient_control_number.expose().clone();
        let newest = (version, acknowledgement.accepted);
        let known = self.acknowledged.entry((practice(acknowledgement.practice_key()), number));
        let known = known.or_insert_with(|| newest.clone());
        if known.0 < newest.0 {
            *known = newest;
        }
    }

    fn remittance(&mut self, remittance: &Remittance, version: Version) {
        let key = RemittanceKey::of(remittance);
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

    /// Links, labels, counts, and looks at each submission with what had been sent and answered before it.
    pub fn finish(mut self) -> History {
        let mut history =
            History { claims: self.claims.len(), remittances: self.remittances.len(), ..History::default() };
        let mut answers: Vec<Vec<(Instant, Adjudicated)>> = self.claims.iter().map(|_| Vec::new()).collect();
        for (place, remitted) in self.linked().into_iter().zip(&self.remittances) {
            if let Some(of_claim) = place.and_then(|place| answers.get_mut(place)) {
                history.linked += 1;
                of_claim.push((remitted.version.0, remitted.adjudicated.clone()));
            }
        }
        history.past = self.past(&answers);
        for (gathered, answers) in std::mem::take(&mut self.claims).into_iter().zip(answers) {
            let submissions: Vec<Submission> =
                gathered.submissions.iter().map(|sent| sent.submission().submission).collect();
            let adjudicated: Vec<Adjudicated> = answers.into_iter().map(|(_, adjudicated)| adjudicated).collect();
            let outcomes = fold(&submissions, &adjudicated);
            // Each claim goes as soon as its factors are known, so that not all of both are held at once.
            for (sent, submission) in gathered.submissions.into_iter().zip(&submissions) {
                let facts = self.facts(&sent, &history.past, sent.moment());
                let mut told = Told::of(&sent.claim, &facts, sent.version.clone(), None);
                let outcome = outcomes.iter().find(|outcome| outcome.submission_id == sent.id);
                let by = outcome.and_then(|outcome| {
                    let place = usize::try_from(outcome.initial_remittance_id?).ok()?;
                    Some((self.remittances.get(place)?, outcome.initial?))
                });
                if let Some((remitted, initial)) = by {
                    history.outcomes.insert(told.key.clone(), initial);
                    history.count(&told.payer, remitted);
                    let first = taught_at(sent.version.0, sent.first_time, remitted.version.0);
                    let features = first.map(|moment| factors(&sent.claim, &self.facts(&sent, &history.past, moment)));
                    let answer = answer(&sent, submission, &facts, remitted, initial);
                    told.answer = Some(Answer { features, ..answer });
                }
                history.submissions.push(told);
            }
        }
        history.sort();
        history
    }

    fn facts(&self, sent: &Sent, past: &Past, moment: Moment<'_>) -> Facts {
        Facts::of(&sent.claim, sent.version.0.date_naive())
            .with_tables(Arc::clone(&self.tables))
            .with_earlier(past.earlier(&sent.claim, moment))
    }

    /// The ledger that the events make, to be searched by member.
    fn past(&self, answers: &[Vec<(Instant, Adjudicated)>]) -> Past {
        let known = |(gathered, answers): (&Gathered, &Vec<(Instant, Adjudicated)>)| {
            let key = claim_key(&gathered.submissions.first()?.claim);
            let acknowledged = self.acknowledged.get(&(key.0.clone(), key.1.expose().clone()));
            Some(Known {
                submissions: gathered.submissions.iter().map(Sent::submission).collect(),
                answers: answers.clone(),
                acknowledged: acknowledged.map(|((at, _), accepted)| (*at, *accepted)),
                key,
            })
        };
        Past::new(self.claims.iter().zip(answers).filter_map(known).collect())
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

fn answer(sent: &Sent, submission: &Submission, facts: &Facts, remitted: &Remitted, outcome: Outcome) -> Answer {
    let decided = remitted.adjudicated.payment_date.unwrap_or_else(|| remitted.version.0.date_naive());
    let denied = outcome.is_denial();
    let text = |number: &Option<crate::domain::types::Phi<String>>| {
        number.as_ref().map(|number| number.expose().clone()).unwrap_or_default()
    };
    let (practice, number, place, frequency) = submission_key(&sent.claim);
    let order = OrderKey::new(
        decided,
        &Answered {
            practice: &practice,
            number: &number,
            place: place.code(),
            frequency: &frequency,
            predecessor: &text(&submission.payer_claim_control_number),
            trace: remitted.adjudicated.trace_number.as_deref().unwrap_or_default(),
            payer_number: &text(&remitted.adjudicated.payer_claim_control_number),
            ordinal: remitted.adjudicated.ordinal,
        },
    );
    let of_claim: Vec<LineOfClaim> = sent.claim.lines.iter().map(LineOfClaim::of).collect();
    let lines = line_labels(&of_claim, denied, &remitted.lines);
    let day = facts.as_of.unwrap_or_else(|| sent.version.0.date_naive());
    let label = Label::new(day, decided, denied, lines);
    Answer { outcome, label, order, arrived: remitted.version.0, features: None }
}
