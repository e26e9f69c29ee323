//! The life of one claim: sent, answered, and at times taken back, corrected, replaced, voided, sent to a second payer.
//!
//! Must never: let a follow-up depend on anything but the episode's own streams and the world.

use std::collections::BTreeMap;

use chrono::{Datelike, TimeDelta};

use super::causes::{Cause, causes, p_denial, top};
use super::claims::{Draft, at, control_number, draft, working_day};
use super::edits::{Fault, authorize, make_errors, mend, place_of};
use super::random::Rand;
use super::truth::Truth;
use super::verdict::{Decision, Told, decide, pending, reversal, tell};
use super::world::{Class, PayerWorld, World};
use super::{Options, SimClaim};
use crate::domain::claim::{Claim, OtherPayer, Payer, Responsibility};
use crate::domain::remittance::{Adjustment, Remittance, RemittanceLine};
use crate::domain::types::{Cents, Date, Phi};

/// A remittance that has no place in an 835 yet.
#[derive(Clone, Debug)]
pub struct Loose {
    /// The remittance.
    pub remittance: Remittance,
    /// Day of payment.
    pub day: Date,
    /// Place of the payer in the world.
    pub payer: usize,
    /// Place of the practice in the world.
    pub practice: usize,
    /// Number of the patient.
    pub patient: u32,
}

/// What an episode brings forth.
#[derive(Clone, Debug, Default)]
pub struct Episode {
    /// The claims, in the order in which they are sent.
    pub claims: Vec<SimClaim>,
    /// Their remittances, in the payer's order.
    pub remittances: Vec<Loose>,
}

/// How the first final answer came out, for what follows from it.
struct Answer {
    told: Told,
    decision: Decision,
    number: String,
    day: Date,
    corrected: bool,
}

struct Teller<'a> {
    options: &'a Options,
    world: &'a World,
    index: u32,
    /// How many more claims there is room for.
    room: usize,
    episode: Episode,
}

/// Plays the episode of this number, of at most `room` claims (at least one).
pub fn play(options: &Options, world: &World, index: u32, room: usize) -> Episode {
    let mut teller = Teller { options, world, index, room, episode: Episode::default() };
    let mut rand = Rand::of(options.seed, "claim", u64::from(index));
    if let Some(whole) = draft(options, world, index, &mut rand) {
        teller.live(&whole, &mut rand);
    }
    teller.episode
}

impl Teller<'_> {
    fn has_room(&self) -> bool {
        self.episode.claims.len() < self.room
    }

    fn live(&mut self, whole: &Draft, rand: &mut Rand) {
        let Some(payer) = self.world.payers.get(whole.payer) else { return };
        let mut first = whole.clone();
        let sloppiness = self
            .world
            .practices
            .get(whole.practice)
            .and_then(|practice| practice.providers.get(whole.provider))
            .map_or(100, |provider| provider.sloppiness);
        make_errors(&mut first, sloppiness, payer, rand);
        // Drawn in any case and in this order, so that no follow-up shifts the others' chances.
        let again = rand.chance(10_000);
        let replaces = rand.chance(560_000);
        let voids = rand.chance(7_000);
        let follows_up = replaces || voids;
        let answer = self.submit(payer, first.clone(), 0, follows_up);
        if let Some(answer) = &answer {
            if replaces && answer.told.label == "denied" && self.has_room() {
                self.replace(payer, whole, first, answer, rand);
            } else if voids && answer.told.label == "paid" && !answer.corrected && self.has_room() {
                self.void(payer, &first, answer, rand);
            } else if let Some(second) = whole.second_payer
                && answer.told.label != "denied"
                && answer.told.cost_share.is_positive()
                && self.has_room()
            {
                self.second(whole, second, answer, rand);
            }
        }
        if again && self.has_room() {
            self.duplicate(payer, whole, rand);
        }
        let mangles = rand.chance(60_000);
        if mangles && self.episode.claims.len() == 1 {
            self.mangle(payer.mangling);
        }
    }

    /// Puts the claim on the list, its type of bill ending in its frequency.
    fn list(&mut self, draft: Draft, truth: Truth) {
        let mut claim = draft.claim;
        if claim.type_of_bill.is_some() {
            let facility = claim.facility_type_code.as_deref().unwrap_or_default();
            claim.type_of_bill = Some(format!("0{facility}{}", claim.frequency_code));
        }
        let (practice, patient, submitted) = (draft.practice, draft.patient, draft.submitted);
        self.episode.claims.push(SimClaim { claim, submitted, truth, practice, patient });
    }

    /// Sends a claim and lets the payer answer; `None` when it never does.
    fn submit(&mut self, payer: &PayerWorld, draft: Draft, step: u32, quiet: bool) -> Option<Answer> {
        let causes = causes(self.options, self.world, &draft);
        let mut rand = Rand::of(self.options.seed, "answer", u64::from(self.index) * 8 + u64::from(step));
        let mut truth = self.truth(&draft, &causes);
        let answered = !rand.chance(30_000);
        let decision = decide(&causes, draft.claim.lines.len(), &mut rand);
        let told = tell(payer, &draft, &decision, &mut rand);
        let number = format!("{:02}{}{:07}{step}", draft.payer, draft.submitted.year() % 100, self.index);
        let mut answer = None;
        if answered {
            answer = Some(self.answer(payer, &draft, &mut truth, told, decision, number, quiet, &mut rand));
        }
        self.list(draft, truth);
        answer
    }

    fn truth(&self, draft: &Draft, causes: &[Cause]) -> Truth {
        Truth {
            practice: draft.claim.practice_key().unwrap_or_default().to_owned(),
            patient_control_number: draft.claim.patient_control_number.clone(),
            responsibility: draft.claim.responsibility.code(),
            frequency: draft.claim.frequency_code.clone(),
            p_denial_ppm: p_denial(causes),
            initial_outcome: None,
            final_outcome: None,
            mechanism: top(causes),
            remittances: 0,
            paid_total: Cents::ZERO,
            link_method: "control_number",
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one answer, used once")]
    fn answer(
        &mut self,
        payer: &PayerWorld,
        draft: &Draft,
        truth: &mut Truth,
        told: Told,
        decision: Decision,
        number: String,
        quiet: bool,
        rand: &mut Rand,
    ) -> Answer {
        let mut day = working_day(draft.submitted.date_naive() + TimeDelta::days(delay(payer.class, &decision, rand)));
        let mut send = Sender { teller: self, draft, truth, payer, number: number.clone(), named: quiet };
        if rand.chance(8_000) {
            // Waiting first: a pending answer is no label; then the same claim decided.
            let waiting = pending(&told.remittance);
            send.send(waiting.clone(), day);
            day = working_day(day + TimeDelta::days(rand.between(20, 45)));
            if rand.chance(700_000) {
                send.send(reversal(&waiting), day);
            }
        }
        send.send(told.remittance.clone(), day);
        send.truth.initial_outcome = Some(told.label);
        send.truth.final_outcome = Some(told.label);
        let secondary = draft.claim.responsibility != Responsibility::Primary;
        let corrected = !quiet && !secondary && send.second_thoughts(&told, day, rand);
        Answer { told, decision, number, day, corrected }
    }

    /// The practice mends a denied claim and sends it again under the same control number (frequency 7).
    fn replace(&mut self, payer: &PayerWorld, whole: &Draft, first: Draft, answer: &Answer, rand: &mut Rand) {
        let mut next = first;
        next.submitted = at(working_day(answer.day + TimeDelta::days(rand.between(3, 20))), self.minute(next.practice));
        "7".clone_into(&mut next.claim.frequency_code);
        next.claim.payer_claim_control_number = Some(Phi::new(answer.number.clone()));
        mend(&mut next, whole);
        if answer.decision.carc() == "197" {
            authorize(&mut next, rand);
        }
        if rand.chance(80_000) {
            next.claim.payer_claim_control_number = None;
            next.violations.push((place_of(Fault::ReplacementReference), None));
        }
        self.submit(payer, next, 1, true);
    }

    /// The practice voids a paid claim (frequency 8); the payer takes its payment back.
    fn void(&mut self, payer: &PayerWorld, first: &Draft, answer: &Answer, rand: &mut Rand) {
        let mut next = first.clone();
        next.submitted =
            at(working_day(answer.day + TimeDelta::days(rand.between(10, 40))), self.minute(next.practice));
        next.claim.submitted_at = Some(next.submitted.date_naive());
        "8".clone_into(&mut next.claim.frequency_code);
        next.claim.payer_claim_control_number = Some(Phi::new(answer.number.clone()));
        let mut truth = self.truth(&next, &[]);
        "void".clone_into(&mut truth.mechanism);
        let day = working_day(next.submitted.date_naive() + TimeDelta::days(rand.between(8, 20)));
        if let Some(mut of) = self.episode.claims.pop() {
            let back = reversal(&answer.told.remittance);
            let number = answer.number.clone();
            let mut send = Sender { teller: self, draft: first, truth: &mut of.truth, payer, number, named: true };
            send.send(back, day);
            of.truth.final_outcome = Some("recouped");
            self.episode.claims.push(of);
        }
        self.list(next, truth);
    }

    /// The patient's second payer gets the claim with what the first one decided.
    fn second(&mut self, whole: &Draft, second: usize, answer: &Answer, rand: &mut Rand) {
        let Some(payer) = self.world.payers.get(second) else { return };
        let mut next = whole.clone();
        next.payer = second;
        next.submitted = at(working_day(answer.day + TimeDelta::days(rand.between(3, 10))), self.minute(next.practice));
        let first = std::mem::take(&mut next.claim.payer);
        next.owed = owed(&answer.told.remittance);
        next.owed.resize(next.claim.lines.len(), 0);
        let claim: &mut Claim = &mut next.claim;
        claim.responsibility = Responsibility::Secondary;
        claim.submitted_at = Some(next.submitted.date_naive());
        claim.payer = Payer { id: Some(payer.id.clone()), name: Some(payer.name.clone()) };
        claim.filing_indicator = Some(payer.class.filing_indicator(second, claim.claim_type).to_owned());
        claim.subscriber.member_id = Some(Phi::new(format!("S{:09}", u64::from(next.patient) * 7 + 11)));
        claim.prior_authorization_number = None;
        let told = &answer.told.remittance;
        claim.other_payers = vec![OtherPayer {
            id: first.id,
            responsibility: Some(Responsibility::Primary),
            paid_amount: Some(told.payment),
            adjustments: summed(told),
        }];
        if rand.chance(60_000)
            && let Some(other) = claim.other_payers.first_mut()
        {
            (other.paid_amount, other.adjustments) = (None, Vec::new());
            next.violations.push((place_of(Fault::PrimaryDecision), None));
        }
        self.submit(payer, next, 2, true);
    }

    /// The same claim once more, by mistake, under another control number.
    fn duplicate(&mut self, payer: &PayerWorld, whole: &Draft, rand: &mut Rand) {
        let mut next = whole.clone();
        let day = working_day(whole.submitted.date_naive() + TimeDelta::days(rand.between(1, 12)));
        next.submitted = at(day, self.minute(next.practice));
        next.claim.submitted_at = Some(day);
        let numbering = self.world.practices.get(next.practice).map_or(0, |practice| practice.numbering);
        next.claim.patient_control_number =
            Phi::new(control_number(numbering, u64::from(self.index) * 2 + 2, next.patient));
        next.claim.claim_control_number = None;
        next.violations = vec![(place_of(Fault::Duplicate), None)];
        self.submit(payer, next, 3, true);
    }

    fn minute(&self, practice: usize) -> u32 {
        self.world.practices.get(practice).map_or(600, |practice| practice.minute)
    }

    /// The payer's system mangles the control number it hands back.
    fn mangle(&mut self, habit: u64) {
        let Some(entry) = self.episode.claims.first_mut() else { return };
        let whole = entry.claim.patient_control_number.expose().clone();
        let mangled: String = match habit {
            0 => whole.chars().take(17).collect(),
            1 => whole.chars().take(20).collect(),
            2 => whole.chars().filter(char::is_ascii_alphanumeric).collect(),
            _ => whole.trim_start_matches('0').to_owned(),
        };
        if mangled == whole || entry.truth.remittances == 0 {
            return;
        }
        entry.truth.link_method = "mangled_control_number";
        for loose in &mut self.episode.remittances {
            loose.remittance.patient_control_number = Phi::new(mangled.clone());
        }
    }
}

/// Sends the remittances of one submission.
struct Sender<'a, 'b> {
    teller: &'a mut Teller<'b>,
    draft: &'a Draft,
    truth: &'a mut Truth,
    payer: &'a PayerWorld,
    number: String,
    /// Whether the frequency is handed back in any case, because the claim may be sent more than once.
    named: bool,
}

impl Sender<'_, '_> {
    fn send(&mut self, mut remittance: Remittance, day: Date) {
        remittance.payer_claim_control_number = Some(Phi::new(self.number.clone()));
        remittance.payment_date = Some(day);
        if !self.named && !self.payer.hands_frequency_back {
            remittance.frequency_code = None;
        }
        self.truth.remittances += 1;
        self.truth.paid_total += remittance.payment;
        self.teller.episode.remittances.push(Loose {
            remittance,
            day,
            payer: self.draft.payer,
            practice: self.draft.practice,
            patient: self.draft.patient,
        });
    }

    /// Denials overturned, payments taken back or corrected. Returns whether anything changed.
    fn second_thoughts(&mut self, told: &Told, day: Date, rand: &mut Rand) -> bool {
        let lines = self.draft.claim.lines.len();
        let overturned = told.label != "paid" && rand.chance(550_000);
        let (taken, changed) = (rand.chance(7_000), rand.chance(7_000));
        let apart = rand.chance(250_000);
        let after = working_day(day + TimeDelta::days(rand.between(30, 90)));
        if !(overturned || (told.label == "paid" && (taken || changed))) {
            return false;
        }
        self.send(reversal(&told.remittance), after);
        self.truth.final_outcome = Some("recouped");
        if !overturned && taken {
            return true;
        }
        let correction = tell(self.payer, self.draft, &Decision::pay(lines), rand);
        if !self.payer.keeps_number {
            self.number.push('R');
        }
        let then = if apart { working_day(after + TimeDelta::days(rand.between(1, 9))) } else { after };
        self.send(correction.remittance, then);
        self.truth.final_outcome = Some(correction.label);
        true
    }
}

/// The first payer's adjustments of the whole claim, one sum per group and reason, as loop 2320 carries them.
fn summed(told: &Remittance) -> Vec<Adjustment> {
    let mut sums: BTreeMap<(&str, &str), Cents> = BTreeMap::new();
    for adjustment in told.all_adjustments() {
        *sums.entry((&adjustment.group_code, &adjustment.reason_code)).or_default() += adjustment.amount;
    }
    sums.into_iter()
        .map(|((group, reason), amount)| Adjustment {
            group_code: group.to_owned(),
            reason_code: reason.to_owned(),
            amount,
            quantity: None,
        })
        .collect()
}

/// What the first payer left of each line to the patient.
fn owed(told: &Remittance) -> Vec<i64> {
    let share =
        |line: &RemittanceLine| line.adjustments.iter().filter(|a| a.group_code == "PR").map(|a| a.amount.get()).sum();
    told.lines.iter().map(share).collect()
}

/// Days from submission to payment: Medicare pays from day 14 and denies earlier; reviews take longer elsewhere.
fn delay(class: Class, decision: &Decision, rand: &mut Rand) -> i64 {
    let review = matches!(decision.carc(), "50" | "252" | "226" | "11" | "55" | "151");
    match (class, decision.denies()) {
        (Class::Medicare, true) => rand.between(3, 13),
        (Class::Medicare, false) => rand.between(14, 30),
        (_, true) if review => rand.between(30, 60),
        (Class::Commercial | Class::Advantage, _) => rand.between(15, 45),
        (Class::Medicaid | Class::ManagedMedicaid, _) => rand.between(10, 35),
    }
}
