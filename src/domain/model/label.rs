//! What a remittance teaches: the label of a submission, and which of its lines were denied.
//!
//! Must never: make a label of anything but the first final adjudication.

use crate::domain::claim::ServiceLine;
use crate::domain::outcome::LineVerdict;
use crate::domain::types::{Date, Phi};
use chrono::Datelike as _;

/// What a submission's first adjudication said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Day the claim was sent, counted from the beginning of the calendar.
    pub sent: i32,
    /// Day of the payment that decided it, counted likewise.
    pub decided: i32,
    /// Whether it was denied: wholly, a line of it, or a material part.
    pub denied: bool,
    /// Of each service line of the claim, whether it was denied or reduced; `None` where the remittance does not say.
    pub lines: Vec<Option<bool>>,
}

impl Label {
    /// The label of a claim sent and decided on these days.
    pub fn new(sent: Date, decided: Date, denied: bool, lines: Vec<Option<bool>>) -> Self {
        Self { sent: sent.num_days_from_ce(), decided: decided.num_days_from_ce(), denied, lines }
    }
}

/// The place of a label in the ledger: the payer's order, made of what the remittance itself says, so that it is the same
/// whatever the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// Day of payment.
    pub decided: Date,
    /// Digest of what names remittance and submission; orders the labels of one day.
    pub digest: [u8; 16],
}

/// What names a submission and the remittance that decided it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The practice's key.
    pub practice: &'a str,
    /// Patient control number.
    pub number: &'a str,
    /// The payer's place (SBR01).
    pub place: &'a str,
    /// Claim frequency.
    pub frequency: &'a str,
    /// The payer's number of the claim that a replacement or void names; empty for others.
    pub predecessor: &'a str,
    /// Trace number of the 835.
    pub trace: &'a str,
    /// The payer's claim number (CLP07).
    pub payer_number: &'a str,
    /// Place of the claim in its 835.
    pub ordinal: u32,
}

impl OrderKey {
    /// The key of a label: the day, then a digest of what names the remittance and the submission.
    pub fn new(decided: Date, of: &Answered<'_>) -> Self {
        let Answered { practice, number, place, frequency, predecessor, trace, payer_number, ordinal } = *of;
        let ordinal = ordinal.to_string();
        let mut hasher = blake3::Hasher::new();
        for name in [practice, number, place, frequency, predecessor, trace, payer_number, &ordinal] {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }
        let hash = hasher.finalize();
        let digest = std::array::from_fn(|place| hash.as_bytes().get(place).copied().unwrap_or_default());
        Self { decided, digest }
    }
}

/// A line of a claim, as far as a remittance may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOfClaim {
    /// The submitter's line number (REF*6R).
    pub control_number: Option<Phi<String>>,
    /// The procedure or revenue code.
    pub code: Option<String>,
}

impl LineOfClaim {
    /// What a remittance may name of a service line.
    pub fn of(line: &ServiceLine) -> Self {
        let code = line.procedure_code.as_ref().or(line.revenue_code.as_ref());
        Self { control_number: line.control_number.clone(), code: code.cloned() }
    }
}

/// A line of a remittance, as far as it names and decides a line of the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOfRemittance {
    /// The submitter's line number (REF*6R), if the payer returned it.
    pub control_number: Option<Phi<String>>,
    /// The procedure or revenue code that was adjudicated.
    pub code: Option<String>,
    /// What was decided.
    pub verdict: LineVerdict,
}

/// Finds what was decided of each line of a claim: by the submitter's line number, else by the code in order.
///
/// A claim of one line is decided as a whole. Lines that the remittance does not name share the claim's decision when it
/// names no line at all; else they are unknown.
pub fn line_labels(claim: &[LineOfClaim], denied: bool, remitted: &[LineOfRemittance]) -> Vec<Option<bool>> {
    if claim.len() == 1 || remitted.is_empty() || !denied {
        return vec![Some(denied); claim.len()];
    }
    let mut used = vec![false; remitted.len()];
    let mut labels: Vec<Option<bool>> = vec![None; claim.len()];
    for by_number in [true, false] {
        for (line, label) in claim.iter().zip(&mut labels).filter(|(_, label)| label.is_none()) {
            let found = remitted.iter().zip(&mut used).find(|(one, used)| {
                let named = one.control_number.is_some() && one.control_number == line.control_number;
                !**used && if by_number { named } else { one.code.is_some() && one.code == line.code }
            });
            if let Some((one, used)) = found {
                *used = true;
                *label = match one.verdict {
                    LineVerdict::Denied | LineVerdict::Reduced => Some(true),
                    LineVerdict::Paid => Some(false),
                    LineVerdict::NoDecision => None,
                };
            }
        }
    }
    labels
}
