//! What one remittance decided, line by line and as a whole, in integer cents.
//!
//! The definition is that of the label section of the scoring design; the codes' meaning comes from `carc`. Must
//! never: look at other remittances of the claim (that is `fold`), or take CLP02 or a payment of zero for a denial
//! where the adjustments say otherwise. CLP02 = 4 is the one status that denies, since X12 keeps it for a patient the
//! payer does not know (RFI 1423).

use std::collections::{BTreeMap, BTreeSet};

use super::super::carc::{AdjustmentClass, DenialGroup, canonical, classify, denial_group};
use super::super::remittance::{Adjustment, Remittance};
use super::super::types::Cents;
use super::{Adjudication, Outcome};

/// What is denied counts as material from five dollars ...
const MATERIAL_CENTS: i64 = 500;
/// ... and from one part in twenty (5 %) of what was paid, shared by the patient and denied together.
const MATERIAL_PARTS: i128 = 20;

/// What happened to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineVerdict {
    /// Nothing was allowed.
    Denied,
    /// Something was denied and something allowed.
    Reduced,
    /// Nothing was denied.
    Paid,
    /// No decision on it: pending, reporting only, or without a charge.
    NoDecision,
}

impl LineVerdict {
    /// The word used in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Reduced => "reduced",
            Self::Paid => "paid",
            Self::NoDecision => "no_decision",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Denied, Self::Reduced, Self::Paid, Self::NoDecision].into_iter().find(|one| one.as_str() == text)
    }
}

/// One line's share of the judgement; adjustments of the claim are spread over the lines by charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOutcome {
    /// What happened.
    pub verdict: LineVerdict,
    /// Denied: the sum of the positive denial amounts.
    pub denied_amount: Cents,
    /// Paid (SVC03).
    pub paid: Cents,
    /// The patient's share, net.
    pub cost_share: Cents,
    /// Contractual and other payers' part, net.
    pub contractual: Cents,
    /// Denials on it: group, reason, amount; sorted, one entry per pair, positive amounts only.
    pub denial_carcs: Vec<(String, String, Cents)>,
}

/// What is odd about a remittance. Nothing here drops it or changes its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DataQuality {
    /// Charge less adjustments is not what was paid, on the claim or on a line (by more than a cent).
    pub unbalanced: bool,
    /// CLP02 = 4 although no adjustment denies anything (RFI 954).
    pub status4_without_denial: bool,
    /// A group or reason code that the table does not know; it counted as a denial.
    pub unclassified_code: bool,
}

/// The judgement of one remittance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is for the claim.
    pub adjudication: Adjudication,
    /// Denied: the sum of the positive denial amounts.
    pub denied_amount: Cents,
    /// Paid (CLP04).
    pub paid: Cents,
    /// The patient's share, net.
    pub cost_share: Cents,
    /// Contractual and other payers' part, net.
    pub contractual: Cents,
    /// Number of denial adjustments with a positive amount, claim and lines together.
    pub denial_count: u32,
    /// Number of all adjustments, claim and lines together.
    pub adjustment_count: u32,
    /// The groups of the denials.
    pub denial_groups: BTreeSet<DenialGroup>,
    /// The denials: group, reason, amount; sorted, one entry per pair, positive amounts only.
    pub denial_carcs: Vec<(String, String, Cents)>,
    /// Whether the patient is liable for a denial (group PR).
    pub patient_liable: bool,
    /// Whether the payer came second or later (CLP02 2, 3, 20, 21): a stratum of its own when learning.
    pub secondary: bool,
    /// What is odd about the sums and codes.
    pub data_quality: DataQuality,
    /// One entry per remitted line, in the remittance's order; empty when it has none.
    pub lines: Vec<LineOutcome>,
}

/// Judges one remittance.
///
/// A secondary payer's remittance needs no rule of its own: what the first payer did (OA-23) is never a denial, so it
/// is labelled denied or partial only for a denial beyond that.
pub fn judge(remittance: &Remittance) -> Judged {
    let shares = spread_over_lines(remittance);
    let mut flags = Flags::default();
    let mut sums = Sums::default();
    let mut lines = Vec::with_capacity(remittance.lines.len());
    for (index, line) in remittance.lines.iter().enumerate() {
        flags.read(&line.adjustments);
        let share = shares.get(index).into_iter().flatten().copied();
        let tally = Tally::of(line.adjustments.iter().map(|a| (a, a.amount)).chain(share));
        lines.push(sums.add_part(tally, line.charge, line.payment));
    }
    flags.read(&remittance.adjustments);
    // Without lines, or with lines that all charge nothing, the claim's own adjustments are judged as one part.
    if shares.is_empty() {
        let tally = Tally::of(remittance.adjustments.iter().map(|a| (a, a.amount)));
        sums.add_part(tally, remittance.total_charge, remittance.payment);
    }
    let adjudication = adjudicate(remittance, &sums);
    Judged {
        adjudication,
        denied_amount: sums.denied,
        paid: remittance.payment,
        cost_share: sums.cost_share,
        contractual: sums.contractual,
        denial_count: flags.denial_count,
        adjustment_count: flags.adjustment_count,
        denial_groups: flags.denials.keys().map(|(_, reason)| denial_group(reason)).collect(),
        denial_carcs: sorted(flags.denials),
        patient_liable: flags.patient_liable,
        secondary: matches!(status(remittance), "2" | "3" | "20" | "21"),
        data_quality: DataQuality {
            unbalanced: !balances_everywhere(remittance),
            status4_without_denial: status(remittance) == "4" && flags.denial_count == 0,
            unclassified_code: flags.unclassified,
        },
        lines,
    }
}

/// CLP02 without blanks and leading zeros (`04` is `4`).
fn status(remittance: &Remittance) -> &str {
    remittance.status_code.trim().trim_start_matches('0')
}

/// What the whole is, from CLP02 where it settles the matter, else from the sums.
fn adjudicate(remittance: &Remittance, sums: &Sums) -> Adjudication {
    match status(remittance) {
        "22" => return Adjudication::Reversal,
        "23" => return Adjudication::Routed,
        "25" => return Adjudication::Predetermination,
        // 4010 only: pended, received, suspended, awaiting review.
        "5" | "10" | "13" | "15" | "16" | "17" => return Adjudication::Pending,
        _ => {}
    }
    // One pending line keeps the whole open: the payer will reverse and correct it.
    if sums.pending {
        return Adjudication::Pending;
    }
    if status(remittance) == "4" {
        return Adjudication::Label(Outcome::Denied);
    }
    if sums.decided_parts > 0 || remittance.payment.is_positive() {
        Adjudication::Label(sums.outcome(remittance.payment))
    } else if sums.predetermination {
        Adjudication::Predetermination
    } else if sums.routed {
        Adjudication::Routed
    } else {
        Adjudication::Pending
    }
}

/// Whether the claim and each of its lines balance to the cent.
fn balances_everywhere(remittance: &Remittance) -> bool {
    remittance.balances()
        && remittance.lines.iter().all(|line| {
            let adjusted: Cents = line.adjustments.iter().map(|a| a.amount).sum();
            (line.charge - adjusted - line.payment).abs() <= Cents::new(1)
        })
}

/// Amounts by group and reason.
type Denials = BTreeMap<(String, String), Cents>;

/// The map as the list that `Judged` and `LineOutcome` show.
fn sorted(denials: Denials) -> Vec<(String, String, Cents)> {
    denials.into_iter().map(|((group, reason), amount)| (group, reason, amount)).collect()
}

/// Group and reason as they are listed: upper case, no blanks, no leading zeros.
fn denial_key(adjustment: &Adjustment) -> (String, String) {
    (adjustment.group_code.trim().to_ascii_uppercase(), canonical(&adjustment.reason_code).into_owned())
}

/// Facts of the adjustments as the payer wrote them, before any spreading.
#[derive(Default)]
struct Flags {
    denials: Denials,
    denial_count: u32,
    adjustment_count: u32,
    patient_liable: bool,
    unclassified: bool,
}

impl Flags {
    fn read(&mut self, adjustments: &[Adjustment]) {
        for adjustment in adjustments {
            self.adjustment_count += 1;
            let found = classify(&adjustment.group_code, &adjustment.reason_code);
            self.unclassified |= found.unclassified;
            if found.class == AdjustmentClass::Denial && adjustment.amount.is_positive() {
                self.denial_count += 1;
                self.patient_liable |= found.patient_liable;
                *self.denials.entry(denial_key(adjustment)).or_default() += adjustment.amount;
            }
        }
    }
}

/// The money of one line (or of a claim without lines) by what happened to it.
#[derive(Default)]
struct Tally {
    denied: Cents,
    cost_share: Cents,
    contractual: Cents,
    pending: bool,
    predetermination: bool,
    not_decided: bool,
    routed: bool,
    denials: Denials,
}

impl Tally {
    fn of<'a>(adjustments: impl Iterator<Item = (&'a Adjustment, Cents)>) -> Self {
        let mut tally = Self::default();
        for (adjustment, amount) in adjustments {
            match classify(&adjustment.group_code, &adjustment.reason_code).class {
                AdjustmentClass::Denial if amount.is_positive() => {
                    tally.denied += amount;
                    *tally.denials.entry(denial_key(adjustment)).or_default() += amount;
                }
                AdjustmentClass::Denial => {}
                AdjustmentClass::CostShare => tally.cost_share += amount,
                AdjustmentClass::Contractual | AdjustmentClass::Cob => tally.contractual += amount,
                // An amount of zero only mentions the code.
                AdjustmentClass::NotFinal | AdjustmentClass::Routed if amount == Cents::ZERO => {}
                AdjustmentClass::Routed => tally.routed = true,
                AdjustmentClass::NotFinal => match &*canonical(&adjustment.reason_code) {
                    "101" => tally.predetermination = true,
                    // Reporting only, or a code invented by whoever keyed a paper remittance: nothing was decided on
                    // this line, and nothing will be.
                    "192" | "246" => tally.not_decided = true,
                    _ => tally.pending = true,
                },
            }
        }
        tally
    }
}

/// Sums over the parts (lines, or the claim when it has none).
#[derive(Default)]
struct Sums {
    denied: Cents,
    cost_share: Cents,
    contractual: Cents,
    some_part_denied: bool,
    pending: bool,
    predetermination: bool,
    routed: bool,
    /// Parts with a verdict other than `NoDecision`.
    decided_parts: u32,
}

impl Sums {
    /// Judges one part and adds it. What is denied on a part without decision does not count.
    fn add_part(&mut self, tally: Tally, charge: Cents, paid: Cents) -> LineOutcome {
        let no_charge = charge == Cents::ZERO && paid == Cents::ZERO;
        let undecided = tally.pending || tally.predetermination || tally.not_decided || tally.routed;
        let allowed = paid.is_positive() || tally.cost_share.is_positive();
        let verdict = match (tally.denied.is_positive(), allowed) {
            _ if no_charge => LineVerdict::NoDecision,
            (true, false) => LineVerdict::Denied,
            (true, true) => LineVerdict::Reduced,
            (false, false) if undecided => LineVerdict::NoDecision,
            (false, _) => LineVerdict::Paid,
        };
        let (denied, denials) = if verdict == LineVerdict::NoDecision {
            (Cents::ZERO, Denials::new())
        } else {
            (tally.denied, tally.denials)
        };
        self.denied += denied;
        self.cost_share += tally.cost_share;
        self.contractual += tally.contractual;
        self.some_part_denied |= verdict == LineVerdict::Denied;
        // A zero-charge line is no part of the decision, whatever codes stand on it.
        self.pending |= tally.pending && !no_charge;
        self.predetermination |= tally.predetermination && !no_charge;
        self.routed |= tally.routed && !no_charge;
        self.decided_parts += u32::from(verdict != LineVerdict::NoDecision);
        LineOutcome {
            verdict,
            denied_amount: denied,
            paid,
            cost_share: tally.cost_share,
            contractual: tally.contractual,
            denial_carcs: sorted(denials),
        }
    }

    /// The label of the whole.
    fn outcome(&self, payment: Cents) -> Outcome {
        if !payment.is_positive() && !self.cost_share.is_positive() && self.denied.is_positive() {
            Outcome::Denied
        } else if self.some_part_denied || self.is_material(payment) {
            Outcome::Partial
        } else {
            Outcome::Paid
        }
    }

    /// Whether the denied sum reaches five dollars and a twentieth of paid, cost share and denied together.
    fn is_material(&self, payment: Cents) -> bool {
        let part = |amount: Cents| i128::from(amount.get().max(0));
        let total = part(payment) + part(self.cost_share) + part(self.denied);
        self.denied.get() >= MATERIAL_CENTS && MATERIAL_PARTS * part(self.denied) >= total
    }
}

/// Each line's share of each adjustment of the claim; empty when no line has a charge to share by.
fn spread_over_lines(remittance: &Remittance) -> Vec<Vec<(&Adjustment, Cents)>> {
    let weights: Vec<i64> = remittance.lines.iter().map(|line| line.charge.get().saturating_abs()).collect();
    if weights.iter().all(|weight| *weight == 0) {
        return Vec::new();
    }
    let mut shares = vec![Vec::new(); weights.len()];
    for adjustment in &remittance.adjustments {
        for (share, part) in shares.iter_mut().zip(prorate(adjustment.amount, &weights)) {
            if part != Cents::ZERO {
                share.push((adjustment, part));
            }
        }
    }
    shares
}

/// Splits an amount by weights so that the parts sum to it exactly: whole cents first, then one cent each to the
/// largest remainders, the earlier line first among equals. Without any weight there is nothing to split by: all zero.
fn prorate(amount: Cents, weights: &[i64]) -> Vec<Cents> {
    let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if total == 0 {
        return vec![Cents::ZERO; weights.len()];
    }
    let magnitude = i128::from(amount.get().unsigned_abs());
    // (whole cents, remainder, index): 10^14 cents times 10^14 cents stays far below the bounds of i128.
    let mut parts: Vec<(i128, i128, usize)> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            let product = magnitude * i128::from(*weight);
            (product / total, product % total, index)
        })
        .collect();
    let mut left = magnitude - parts.iter().map(|(whole, ..)| whole).sum::<i128>();
    parts.sort_by_key(|(_, remainder, index)| (-remainder, *index));
    for (whole, ..) in &mut parts {
        if left > 0 {
            *whole += 1;
            left -= 1;
        }
    }
    parts.sort_by_key(|(.., index)| *index);
    let sign = amount.get().signum();
    // A part is never more than the amount, so it fits; `Cents::new` would clamp it anyway.
    parts.into_iter().map(|(whole, ..)| Cents::new(i64::try_from(whole).unwrap_or(i64::MAX) * sign)).collect()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
