//! A payer's decision on a claim, and the remittance that tells it: amounts that balance to the cent.
//!
//! The noise is drawn here, after the probability is known. Must never: let a decision to deny come out as a label
//! other than denied or partial, or a decision to pay as one: the truth file's probability would be wrong.

use super::causes::Cause;
use super::claims::Draft;
use super::random::Rand;
use super::world::{Class, PayerWorld};
use crate::domain::claim::{ClaimType, Responsibility, ServiceLine};
use crate::domain::remittance::{Adjustment, Remittance, RemittanceLine};
use crate::domain::types::Cents;

/// Why a line, or the claim, is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    group: &'static str,
    /// The reason (CARC).
    pub carc: &'static str,
    rarc: &'static str,
    /// Only some of the units are denied.
    part: bool,
}

/// What the payer decides: per line a denial or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// One entry per line.
    pub lines: Vec<Option<Denial>>,
    /// Whether the whole is denied in one stroke, told on the claim instead of the lines.
    on_claim: bool,
}

impl Decision {
    /// The decision to pay everything.
    pub fn pay(lines: usize) -> Self {
        Self { lines: vec![None; lines], on_claim: false }
    }

    /// Whether something is denied.
    pub fn denies(&self) -> bool {
        self.lines.iter().any(Option::is_some)
    }

    /// The first reason.
    pub fn carc(&self) -> &'static str {
        self.lines.iter().flatten().next().map_or("", |denial| denial.carc)
    }
}

/// The ordinary mix of reasons: weight, CARC, RARC (eligibility first, after Change Healthcare's 2020 index).
const MIX: [(u32, &str, &str); 14] = [
    (170, "27", "N30"),
    (90, "26", ""),
    (90, "22", "MA04"),
    (130, "16", "M51"),
    (60, "96", "N130"),
    (46, "204", "N130"),
    (60, "252", "M127"),
    (32, "226", "N706"),
    (66, "50", "N115"),
    (54, "197", ""),
    (48, "97", "M15"),
    (30, "11", "M76"),
    (20, "119", "N362"),
    (64, "A1", "N480"),
];

/// Lets each cause strike or not, and says what follows from those that struck.
pub fn decide(causes: &[Cause], lines: usize, rand: &mut Rand) -> Decision {
    let struck: Vec<&Cause> = causes.iter().filter(|cause| rand.chance(cause.q)).collect();
    let mut decision = Decision::pay(lines);
    for cause in struck {
        let denial = denial(cause, rand);
        // What bears on the claim hits all of it, except that the ordinary rate is often about one line only.
        let alone = match cause.line {
            Some(line) => (!rand.chance(330_000)).then_some(line),
            None if cause.name == "base" && rand.chance(360_000) => Some(rand.index(lines)),
            None => None,
        };
        let part = alone.is_some() && denial.carc != "31" && rand.chance(120_000);
        let denial = if part { Denial { group: "CO", carc: "151", rarc: "N362", part } } else { denial };
        match alone {
            Some(line) => {
                if let Some(slot) = decision.lines.get_mut(line) {
                    slot.get_or_insert(denial);
                }
            }
            None => decision.lines = vec![Some(denial); lines],
        }
    }
    let whole = decision.lines.iter().all(|line| line.is_some_and(|denial| !denial.part));
    decision.on_claim = whole && rand.chance(80_000);
    decision
}

fn denial(cause: &Cause, rand: &mut Rand) -> Denial {
    let weights: Vec<u32> = MIX.iter().map(|entry| entry.0).collect();
    let drawn = MIX.get(rand.weighted(&weights)).copied().unwrap_or((0, "16", "M51"));
    let (carc, rarc) = if cause.carc.is_empty() { (drawn.1, drawn.2) } else { (cause.carc, cause.rarc) };
    let group = match carc {
        "18" => "OA",
        "26" | "27" | "31" | "96" | "204" if rand.chance(450_000) => "PR",
        "22" if rand.chance(300_000) => "OA",
        _ if rand.chance(40_000) => "PI",
        _ => "CO",
    };
    Denial { group, carc, rarc, part: false }
}

/// The label of a decision as it was carried out, or of none: see [`Told`].
pub type Label = &'static str;

/// A remittance and the label its decision makes.
#[derive(Clone, Debug)]
pub struct Told {
    /// The remittance, without trace number, date and place in its 835.
    pub remittance: Remittance,
    /// `paid`, `partial` or `denied`, by the definition of the label.
    pub label: Label,
    /// What the patient owes of what was allowed.
    pub cost_share: Cents,
}

/// How the patient shares the cost of one claim.
#[derive(Clone, Copy)]
enum Sharing {
    Nothing,
    Copay(i64),
    Percent(i64),
    Deductible,
}

fn sharing(payer: &PayerWorld, rand: &mut Rand) -> Sharing {
    let draw = rand.below(100);
    let copay = rand.between(4, 9) * 500;
    match payer.class {
        Class::Medicaid | Class::ManagedMedicaid => Sharing::Nothing,
        Class::Medicare if draw < 8 => Sharing::Deductible,
        Class::Medicare => Sharing::Percent(20),
        _ if draw < 30 => Sharing::Copay(copay),
        _ if draw < 55 => Sharing::Percent(20),
        _ if draw < 67 => Sharing::Deductible,
        _ => Sharing::Nothing,
    }
}

fn adjustment(group: &str, reason: &str, amount: Cents) -> Adjustment {
    Adjustment { group_code: group.to_owned(), reason_code: reason.to_owned(), amount, quantity: None }
}

/// Money of one line by what became of it.
#[derive(Clone, Copy, Default)]
struct Split {
    paid: i64,
    shared: i64,
    denied: i64,
}

/// Carries a decision out.
pub fn tell(payer: &PayerWorld, draft: &Draft, decision: &Decision, rand: &mut Rand) -> Told {
    let secondary = draft.claim.responsibility != Responsibility::Primary;
    let sharing = sharing(payer, rand);
    let allowed_first = rand.chance(200_000);
    let fully = rand.chance(750_000);
    let all: i64 = draft.claim.lines.iter().map(|line| line.charge.get()).sum();
    let mut splits = Vec::with_capacity(draft.claim.lines.len());
    let mut lines = Vec::with_capacity(draft.claim.lines.len());
    for (place, line) in draft.claim.lines.iter().enumerate() {
        let denial = decision.lines.get(place).copied().flatten();
        let (adjustments, split) = match denial {
            Some(denial) if !denial.part || secondary || line.charge.get() * 8 < all || line.charge.get() < 4000 => {
                denied(payer, line, denial, allowed_first && !secondary)
            }
            Some(denial) => reduced(payer, line, denial),
            None if secondary => second(draft, place, line, fully),
            None => allowed(payer, line, sharing, place == 0),
        };
        splits.push(split);
        lines.push(remitted_line(line, adjustments, split.paid, denial));
    }
    if !decision.denies() && !secondary && rand.chance(10_000) {
        shave(lines.first_mut(), splits.first_mut());
    }
    let remittance = remittance(payer, draft, decision, lines);
    let shared = splits.iter().map(|split| split.shared).sum();
    Told { label: label(&remittance, &splits), remittance, cost_share: Cents::new(shared) }
}

/// A line of which nothing is allowed.
fn denied(payer: &PayerWorld, line: &ServiceLine, denial: Denial, after_contract: bool) -> (Vec<Adjustment>, Split) {
    let charge = line.charge.get();
    let refused = if after_contract { (charge * payer.allowed / 100).max(1) } else { charge };
    let mut adjustments = Vec::new();
    if refused < charge {
        adjustments.push(adjustment("CO", "45", Cents::new(charge - refused)));
    }
    adjustments.push(adjustment(denial.group, denial.carc, Cents::new(refused)));
    (adjustments, Split { denied: refused, ..Split::default() })
}

/// A line of which half is denied: a material part of the claim, since the line is.
fn reduced(payer: &PayerWorld, line: &ServiceLine, denial: Denial) -> (Vec<Adjustment>, Split) {
    let charge = line.charge.get();
    let allowed = (charge * payer.allowed / 100).max(2);
    let refused = (allowed / 2).max(500).min(allowed - 1);
    let adjustments = vec![
        adjustment("CO", "45", Cents::new(charge - allowed)),
        adjustment(denial.group, denial.carc, Cents::new(refused)),
    ];
    (adjustments, Split { paid: allowed - refused, shared: 0, denied: refused })
}

/// Denies less than five dollars of the first line: too little to make the claim partial.
fn shave(line: Option<&mut RemittanceLine>, split: Option<&mut Split>) {
    let (Some(line), Some(split)) = (line, split) else { return };
    if split.paid > 400 {
        let cents = Cents::new(299);
        split.paid -= cents.get();
        split.denied += cents.get();
        line.payment = line.payment - cents;
        line.adjustments.push(adjustment("CO", "151", cents));
    }
}

/// A line that the first payer allows: contract, Medicare's sequestration, the patient's share.
fn allowed(payer: &PayerWorld, line: &ServiceLine, sharing: Sharing, first: bool) -> (Vec<Adjustment>, Split) {
    let charge = line.charge.get();
    let allowed = (charge * payer.allowed / 100).max(1);
    let (reason, shared) = match sharing {
        Sharing::Copay(copay) if first => ("3", copay.min(allowed)),
        Sharing::Percent(percent) => ("2", allowed * percent / 100),
        Sharing::Deductible => ("1", allowed),
        Sharing::Nothing | Sharing::Copay(_) => ("", 0),
    };
    let sequestered = if payer.class == Class::Medicare { (allowed - shared) * 2 / 100 } else { 0 };
    let mut adjustments = vec![adjustment("CO", "45", Cents::new(charge - allowed))];
    if sequestered > 0 {
        adjustments.push(adjustment("CO", "253", Cents::new(sequestered)));
    }
    if shared > 0 {
        adjustments.push(adjustment("PR", reason, Cents::new(shared)));
    }
    adjustments.retain(|adjustment| adjustment.amount != Cents::ZERO);
    (adjustments, Split { paid: allowed - shared - sequestered, shared, denied: 0 })
}

/// A line that comes to a second payer: what the first one did is OA-23, the rest it pays or leaves to the patient.
fn second(draft: &Draft, place: usize, line: &ServiceLine, fully: bool) -> (Vec<Adjustment>, Split) {
    let charge = line.charge.get();
    let owed = draft.owed.get(place).copied().unwrap_or(0).clamp(0, charge);
    let mut adjustments = vec![adjustment("OA", "23", Cents::new(charge - owed))];
    let paid = if fully { owed } else { owed / 2 };
    if owed > paid {
        adjustments.push(adjustment("PR", "2", Cents::new(owed - paid)));
    }
    adjustments.retain(|adjustment| adjustment.amount != Cents::ZERO);
    (adjustments, Split { paid, shared: owed - paid, denied: 0 })
}

fn remitted_line(
    line: &ServiceLine,
    adjustments: Vec<Adjustment>,
    paid: i64,
    denial: Option<Denial>,
) -> RemittanceLine {
    RemittanceLine {
        control_number: line.control_number.clone(),
        procedure_code: line.procedure_code.clone(),
        modifiers: line.modifiers.clone(),
        revenue_code: line.revenue_code.clone(),
        service_from: line.service_from,
        service_to: line.service_to,
        charge: line.charge,
        payment: Cents::new(paid),
        units: line.units,
        adjustments,
        remark_codes: denial.map(|d| d.rarc).filter(|rarc| !rarc.is_empty()).map(str::to_owned).into_iter().collect(),
    }
}

/// The claim part of the remittance.
fn remittance(payer: &PayerWorld, draft: &Draft, decision: &Decision, lines: Vec<RemittanceLine>) -> Remittance {
    let claim = &draft.claim;
    let whole = decision.lines.iter().all(|line| line.is_some_and(|denial| !denial.part));
    let status = match claim.responsibility {
        Responsibility::Secondary => "2",
        Responsibility::Tertiary => "3",
        Responsibility::Primary if whole && (payer.status_four || decision.carc() == "31") => "4",
        Responsibility::Primary => "1",
    };
    let charge: Cents = lines.iter().map(|line| line.charge).sum();
    let mut told = Remittance {
        payee: claim.billing_provider.clone(),
        payer: claim.payer.clone(),
        patient_control_number: claim.patient_control_number.clone(),
        status_code: status.to_owned(),
        filing_indicator: claim.filing_indicator.clone(),
        facility_type_code: claim.facility_type_code.clone(),
        frequency_code: Some(claim.frequency_code.clone()),
        total_charge: charge,
        payment: lines.iter().map(|line| line.payment).sum(),
        member_id: claim.subscriber.member_id.clone(),
        lines,
        ..Remittance::default()
    };
    (told.payee.taxonomy_code, told.payee.is_organization) = (None, None);
    if claim.claim_type == ClaimType::Institutional {
        (told.service_from, told.service_to) = (claim.statement_date, claim.statement_to_date);
    }
    if let (true, Some(denial)) = (decision.on_claim, decision.lines.first().copied().flatten()) {
        told.adjustments = vec![adjustment(denial.group, denial.carc, charge)];
        told.lines.clear();
        told.remark_codes = vec![if denial.rarc.is_empty() { "MA130" } else { denial.rarc }.to_owned()];
    }
    let owed: Cents = told.all_adjustments().filter(|a| a.group_code == "PR").map(|a| a.amount).sum();
    told.patient_responsibility = owed.is_positive().then_some(owed);
    told
}

/// The label by its definition (payment, cost share and denied sums), from what was meant, not from the codes.
fn label(remittance: &Remittance, splits: &[Split]) -> Label {
    let sum = |part: fn(&Split) -> i64| splits.iter().map(part).sum::<i64>();
    let (paid, shared, refused) = (sum(|s| s.paid), sum(|s| s.shared), sum(|s| s.denied));
    let line_denied = splits.iter().any(|s| s.paid == 0 && s.shared == 0 && s.denied > 0);
    if remittance.status_code == "4" || (paid == 0 && shared == 0 && refused > 0) {
        "denied"
    } else if line_denied || (refused >= 500 && refused * 20 >= paid + shared + refused) {
        "partial"
    } else {
        "paid"
    }
}

/// The remittance that takes another one back: every amount negated (CLP02 = 22).
pub fn reversal(of: &Remittance) -> Remittance {
    let negated = |adjustments: &[Adjustment]| -> Vec<Adjustment> {
        adjustments.iter().map(|a| Adjustment { amount: -a.amount, ..a.clone() }).collect()
    };
    Remittance {
        status_code: "22".to_owned(),
        total_charge: -of.total_charge,
        payment: -of.payment,
        patient_responsibility: None,
        adjustments: negated(&of.adjustments),
        remark_codes: Vec::new(),
        lines: of
            .lines
            .iter()
            .map(|line| RemittanceLine {
                charge: -line.charge,
                payment: -line.payment,
                adjustments: negated(&line.adjustments),
                remark_codes: Vec::new(),
                ..line.clone()
            })
            .collect(),
        ..of.clone()
    }
}

/// The remittance of a claim that waits: nothing decided, everything under OA-133.
pub fn pending(told: &Remittance) -> Remittance {
    let mut waiting = told.clone();
    if waiting.status_code == "4" {
        waiting.status_code = "1".to_owned();
    }
    waiting.payment = Cents::ZERO;
    waiting.patient_responsibility = None;
    waiting.remark_codes.clear();
    for line in &mut waiting.lines {
        line.payment = Cents::ZERO;
        line.adjustments = vec![adjustment("OA", "133", line.charge)];
        line.remark_codes.clear();
    }
    if waiting.lines.is_empty() {
        waiting.adjustments = vec![adjustment("OA", "133", waiting.total_charge)];
    }
    waiting
}
