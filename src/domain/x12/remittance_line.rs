//! The parts of an 835 claim: adjustments (CAS), service lines (SVC), remark codes (MIA, MOA, LQ).
//!
//! Must never: judge what an adjustment means, or guess an amount that cannot be read.

use super::note::NoteReason;
use super::output::Site;
use super::segment::Elements;
use crate::domain::remittance::{Adjustment, RemittanceLine};

/// Triplets of reason, amount and quantity that a CAS may carry.
const MAX_TRIPLETS: usize = 6;

/// Reads a CAS: a group code, then up to six triplets, any of them with an empty quantity.
///
/// An empty amount counts as zero, with a warning; `None`, after an error note, where one cannot be read.
pub(super) fn adjustments(cas: &Elements<'_>, site: &mut Site<'_, '_>) -> Option<Vec<Adjustment>> {
    let mut found = Vec::with_capacity(1);
    let mut readable = true;
    let Some(group) = cas.text(1) else {
        site.note(NoteReason::MissingElement, 1);
        return Some(found);
    };
    for triplet in 0..MAX_TRIPLETS {
        let index = 2 + 3 * triplet;
        let Some(reason_code) = cas.text(index) else {
            if !cas.get(index + 1).is_empty() {
                site.note(NoteReason::MissingElement, index);
            }
            continue;
        };
        let Some(amount) = cas.amount_or_zero(index + 1, site) else {
            readable = false;
            continue;
        };
        let quantity = cas.units(index + 2, site);
        found.push(Adjustment { group_code: group.clone(), reason_code, amount, quantity });
    }
    readable.then_some(found)
}

/// Reads an SVC: 01 procedure, 02 charge, 03 paid, 04 revenue code, 05 units paid. Where SVC01 has qualifier NU its code
/// is the revenue code; where it has N4 it names a drug, and no procedure.
///
/// `None`, after an error note, where an amount cannot be read.
pub(super) fn service_line(svc: &Elements<'_>, site: &mut Site<'_, '_>) -> Option<RemittanceLine> {
    let procedure = svc.composite(1, site);
    let (charge, payment) = (svc.amount_or_zero(2, site), svc.amount_or_zero(3, site));
    let mut line = RemittanceLine {
        modifiers: procedure.modifiers(),
        charge: charge?,
        payment: payment?,
        units: svc.units(5, site),
        ..RemittanceLine::default()
    };
    // A revenue code has at most four characters; what is longer there is another element, shifted.
    line.revenue_code = svc.text(4).filter(|code| code.len() <= 4);
    match procedure.get(1) {
        b"NU" => line.revenue_code = procedure.text(2).or(line.revenue_code),
        b"N4" => {}
        _ => line.procedure_code = procedure.text(2),
    }
    if procedure.get(2).is_empty() {
        site.note(NoteReason::MissingElement, 1);
    }
    Some(line)
}

/// The elements of MIA (05, 20 to 23) and MOA (03 to 07) that hold remark codes.
pub(super) fn remark_elements(id: &[u8]) -> &'static [usize] {
    match id {
        b"MIA" => &[5, 20, 21, 22, 23],
        b"MOA" => &[3, 4, 5, 6, 7],
        _ => &[],
    }
}
