//! Errors that practices make and that anyone could see on the claim; payers deny some of them.
//!
//! Each is named after the edit of the catalogue it violates. Must never: touch the billing provider or the control
//! number, which say whose claim it is.

use chrono::TimeDelta;

use super::claims::Draft;
use super::codes::{Family, PROCEDURES};
use super::random::Rand;
use super::world::PayerWorld;
use crate::domain::claim::ClaimType;
use crate::domain::types::{Cents, Phi, Units};

/// A visible error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A rendering or attending NPI whose check digit is wrong.
    NpiCheckDigit,
    /// No rendering or attending provider.
    NpiMissing,
    /// No member id.
    MemberIdMissing,
    /// No birth date.
    BirthDateMissing,
    /// A diagnosis pointer beyond the list, or none.
    Pointer,
    /// A line of zero units.
    UnitsZero,
    /// A service after the day of submission.
    FutureService,
    /// A service that ends before it begins.
    DateOrder,
    /// Lines that do not add up to the claim's charge.
    Total,
    /// A test or drug without the provider who ordered it.
    OrderingMissing,
    /// Laboratory work without a CLIA number.
    CliaMissing,
    /// A drug without its NDC, where the payer wants one.
    NdcMissing,
    /// An inpatient claim without admission data.
    AdmissionMissing,
    /// Therapy without its modifier.
    ModifierMissing,
    /// A claim sent after the payer's limit.
    Late,
    /// A replacement that does not name what it replaces.
    ReplacementReference,
    /// A secondary claim without the first payer's decision.
    PrimaryDecision,
    /// The same service sent again under another control number.
    Duplicate,
}

/// A visible error, how often it is made, and what payers make of it.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The error.
    pub fault: Fault,
    /// Name of the edit in the catalogue.
    pub rule: &'static str,
    /// How often it is made where it can be (parts per million of claims); 0 where the simulator makes it elsewhere.
    pub rate: u32,
    /// Mean probability of a denial over the payers (parts per million).
    pub mean: u32,
    /// Reason given (CARC).
    pub carc: &'static str,
    /// Remark given (RARC), may be empty.
    pub rarc: &'static str,
}

const fn edit(fault: Fault, rule: &'static str, rate: u32, mean: u32, carc: &'static str, rarc: &'static str) -> Edit {
    Edit { fault, rule, rate, mean, carc, rarc }
}

/// All visible errors. Payers' enforcement is kept by the place in this list.
pub static EDITS: &[Edit] = &[
    edit(Fault::NpiCheckDigit, "ID01", 4_000, 850_000, "16", "N290"),
    edit(Fault::NpiMissing, "ID02", 3_000, 700_000, "206", ""),
    edit(Fault::MemberIdMissing, "MB01", 4_500, 880_000, "31", ""),
    edit(Fault::BirthDateMissing, "MB03", 3_500, 600_000, "16", "N329"),
    edit(Fault::Pointer, "DX01", 6_000, 800_000, "16", "M76"),
    edit(Fault::UnitsZero, "AM01", 3_500, 800_000, "16", "M53"),
    edit(Fault::FutureService, "DT01", 2_500, 880_000, "110", ""),
    edit(Fault::DateOrder, "DT02", 2_500, 780_000, "16", "M52"),
    edit(Fault::Total, "AM03", 2_500, 850_000, "16", "M54"),
    edit(Fault::OrderingMissing, "RF01", 25_000, 680_000, "16", "N264"),
    edit(Fault::CliaMissing, "LB01", 20_000, 780_000, "16", "MA120"),
    edit(Fault::NdcMissing, "DR01", 60_000, 680_000, "16", "M119"),
    edit(Fault::AdmissionMissing, "IN02", 15_000, 780_000, "16", "MA40"),
    edit(Fault::ModifierMissing, "CP04", 30_000, 500_000, "4", "N519"),
    edit(Fault::Late, "TM01", 5_000, 880_000, "29", ""),
    edit(Fault::ReplacementReference, "FQ01", 0, 780_000, "16", "M47"),
    edit(Fault::PrimaryDecision, "CB02", 0, 700_000, "22", "MA04"),
    edit(Fault::Duplicate, "DU01", 0, 800_000, "18", "N522"),
];

/// Which edit a draft violates, and on which line (`None`: the whole claim).
pub type Violation = (usize, Option<usize>);

/// The place of an error in [`EDITS`].
pub fn place_of(fault: Fault) -> usize {
    EDITS.iter().position(|edit| edit.fault == fault).unwrap_or(0)
}

/// Makes errors on a draft as often as this practice and provider make them; `sloppiness` in percent of the ordinary.
pub fn make_errors(draft: &mut Draft, sloppiness: u32, payer: &PayerWorld, rand: &mut Rand) {
    for (place, edit) in EDITS.iter().enumerate() {
        // The chance is asked first, so that a claim that cannot carry the error shifts nothing.
        if !rand.chance(edit.rate.saturating_mul(sloppiness) / 100) {
            continue;
        }
        if edit.fault == Fault::NdcMissing && !payer.wants_ndc {
            continue;
        }
        if edit.fault == Fault::Late {
            let days = payer.timely_limit + rand.between(5, 60);
            shift_service(draft, -days);
            draft.violations.push((place, None));
        } else if let Some(line) = make(draft, edit.fault, rand) {
            draft.violations.push((place, line));
        }
    }
}

/// Makes one error; `None` when this claim cannot carry it, else the line it is on.
fn make(draft: &mut Draft, fault: Fault, rand: &mut Rand) -> Option<Option<usize>> {
    match fault {
        Fault::NpiCheckDigit => break_npi(draft).then_some(None),
        Fault::NpiMissing => drop_provider(draft).then_some(None),
        Fault::MemberIdMissing => {
            draft.claim.subscriber.member_id = None;
            Some(None)
        }
        Fault::BirthDateMissing => {
            draft.claim.subscriber.birth_date = None;
            draft.claim.subscriber.gender = None;
            Some(None)
        }
        Fault::Total => {
            draft.claim.total_charge += Cents::new(rand.between(1, 40) * 100);
            Some(None)
        }
        Fault::CliaMissing => draft.claim.clia_number.take().map(|_| None),
        Fault::AdmissionMissing => draft.claim.admission_date.take().map(|_| None),
        Fault::Late | Fault::ReplacementReference | Fault::PrimaryDecision | Fault::Duplicate => None,
        Fault::OrderingMissing => {
            let line = first_line(draft, &[Family::Imaging, Family::Lab, Family::Drug])?;
            draft.claim.referring_provider.take()?;
            Some(Some(line))
        }
        _ => break_line(draft, fault, rand).map(Some),
    }
}

/// Moves the services and the stay by days.
fn shift_service(draft: &mut Draft, days: i64) {
    let by = TimeDelta::days(days);
    let claim = &mut draft.claim;
    let stay = [&mut claim.statement_date, &mut claim.statement_to_date, &mut claim.admission_date];
    let lines = claim.lines.iter_mut().flat_map(|line| [&mut line.service_from, &mut line.service_to]);
    for day in stay.into_iter().chain(lines) {
        *day = day.map(|day| day + by);
    }
}

fn first_line(draft: &Draft, families: &[Family]) -> Option<usize> {
    draft.services.iter().position(|&service| PROCEDURES.get(service).is_some_and(|p| families.contains(&p.family)))
}

/// Errors of one line: returns the line they are on.
fn break_line(draft: &mut Draft, fault: Fault, rand: &mut Rand) -> Option<usize> {
    let professional = draft.claim.claim_type == ClaimType::Professional;
    let line = match fault {
        Fault::NdcMissing => first_line(draft, &[Family::Drug])?,
        Fault::ModifierMissing => first_line(draft, &[Family::Therapy])?,
        _ => rand.index(draft.claim.lines.len()),
    };
    let known = u8::try_from(draft.claim.diagnosis_codes.len()).unwrap_or(12);
    let submitted = draft.submitted.date_naive();
    let target = draft.claim.lines.get_mut(line)?;
    match fault {
        Fault::NdcMissing => {
            target.ndc.take()?;
        }
        Fault::ModifierMissing if professional => target.modifiers.clear(),
        Fault::Pointer if professional && known > 0 => {
            target.diagnosis_pointers = vec![(known + 1).min(12)];
        }
        Fault::UnitsZero if professional => target.units = Some(Units::from_thousandths(0)),
        Fault::FutureService if professional => {
            target.service_from = Some(submitted + TimeDelta::days(rand.between(3, 40)));
            target.service_to = None;
        }
        Fault::DateOrder if professional => {
            let from = target.service_from?;
            target.service_to = Some(from - TimeDelta::days(rand.between(1, 9)));
        }
        _ => return None,
    }
    Some(line)
}

/// Breaks the check digit of the provider who gave the care.
fn break_npi(draft: &mut Draft) -> bool {
    let provider = match draft.claim.claim_type {
        ClaimType::Institutional => draft.claim.attending_provider.as_mut(),
        _ => draft.claim.rendering_provider.as_mut(),
    };
    let Some(npi) = provider.and_then(|provider| provider.npi.as_mut()) else { return false };
    let last = npi.pop().and_then(|digit| digit.to_digit(10)).unwrap_or(0);
    npi.push(char::from_digit((last + 1) % 10, 10).unwrap_or('0'));
    true
}

fn drop_provider(draft: &mut Draft) -> bool {
    match draft.claim.claim_type {
        ClaimType::Institutional => draft.claim.attending_provider.take().is_some(),
        _ => draft.claim.rendering_provider.take().is_some(),
    }
}

/// Puts right what a practice puts right before it sends a claim again.
pub fn mend(draft: &mut Draft, whole: &Draft) {
    let keep = (draft.claim.frequency_code.clone(), draft.claim.payer_claim_control_number.clone());
    draft.claim = whole.claim.clone();
    (draft.claim.frequency_code, draft.claim.payer_claim_control_number) = keep;
    draft.claim.submitted_at = Some(draft.submitted.date_naive());
    draft.violations.clear();
}

/// Gives the claim an authorization number, as a practice does that has asked for it late.
pub fn authorize(draft: &mut Draft, rand: &mut Rand) {
    draft.claim.prior_authorization_number = Some(Phi::new(format!("AU{}", rand.digits(8))));
}
