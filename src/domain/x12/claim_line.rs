//! Service lines of an 837: loop 2400 (LX, SV1, SV2, SV3, DTP, REF, NTE), 2410 (the drug) and 2430 (other payers' words).
//!
//! Must never: give a segment to the line before when the line at hand has no SV segment.

use super::claim_parts::{OpenClaim, Place};
use super::note::NoteReason;
use super::output::Site;
use super::segment::{Composite, Elements, text};
use crate::domain::claim::{ClaimType, Ndc, OtherPayer, ServiceLine};
use crate::domain::types::{Phi, Units};

/// The most service lines of a claim: what the institutional guide allows (the professional and dental ones allow 50).
const MAX_LINES: usize = 999;

impl OpenClaim {
    /// LX: the next line begins.
    pub(super) fn next_line(&mut self, lx: &Elements<'_>) {
        self.place = Place::Line;
        self.name_nobody();
        self.line_number = lx.phi(1);
        self.line_open = false;
        self.adjudicator = None;
    }

    fn line(&mut self) -> Option<&mut ServiceLine> {
        if self.line_open { self.claim_mut().lines.last_mut() } else { None }
    }

    /// SV1 (professional), SV2 (institutional) or SV3 (dental).
    pub(super) fn service_line(&mut self, id: &[u8], sv: &Elements<'_>, site: &mut Site<'_, '_>) {
        self.place = Place::Line;
        self.line_open = false;
        self.adjudicator = None;
        self.name_nobody();
        if self.claim_mut().lines.len() >= MAX_LINES {
            return self.give_up(NoteReason::TooManyEntries, site);
        }
        let (form, mut line) = match id {
            b"SV2" => (ClaimType::Institutional, self.institutional(sv, site)),
            b"SV3" => (ClaimType::Dental, self.dental(sv, site)),
            _ => (ClaimType::Professional, self.professional(sv, site)),
        };
        line.control_number = self.line_number.take();
        if !self.has_room(1 + line.modifiers.len() + line.diagnosis_pointers.len(), site) {
            return;
        }
        self.form.get_or_insert(form);
        self.line_open = true;
        self.claim_mut().lines.push(line);
    }

    /// SV1: 01 procedure, 02 charge, 03 unit type, 04 units, 05 place of service, 07 diagnosis pointers.
    fn professional(&mut self, sv1: &Elements<'_>, site: &mut Site<'_, '_>) -> ServiceLine {
        let procedure = sv1.composite(1, site);
        ServiceLine {
            charge: self.line_charge(sv1, 2, site),
            units: sv1.units(4, site),
            unit_type: sv1.text(3),
            place_of_service: sv1.text(5),
            diagnosis_pointers: pointers(sv1, 7, site),
            ..procedure_line(&procedure)
        }
    }

    /// SV2: 01 revenue code, 02 procedure (may be empty), 03 charge, 04 unit type, 05 units.
    fn institutional(&mut self, sv2: &Elements<'_>, site: &mut Site<'_, '_>) -> ServiceLine {
        let procedure = sv2.composite(2, site);
        ServiceLine {
            revenue_code: sv2.text(1),
            charge: self.line_charge(sv2, 3, site),
            units: sv2.units(5, site),
            unit_type: sv2.text(4),
            ..procedure_line(&procedure)
        }
    }

    /// SV3: 01 procedure, 02 charge, 03 place of service, 06 units, 11 diagnosis pointers (5010).
    fn dental(&mut self, sv3: &Elements<'_>, site: &mut Site<'_, '_>) -> ServiceLine {
        let procedure = sv3.composite(1, site);
        ServiceLine {
            charge: self.line_charge(sv3, 2, site),
            units: sv3.units(6, site),
            place_of_service: sv3.text(3),
            diagnosis_pointers: pointers(sv3, 11, site),
            ..procedure_line(&procedure)
        }
    }

    /// DTP*472 of the line.
    pub(super) fn line_date(&mut self, dtp: &Elements<'_>, site: &mut Site<'_, '_>) {
        if dtp.get(1) == b"472"
            && let Some(line) = self.line()
        {
            (line.service_from, line.service_to) = dtp.period(3, site);
        }
    }

    /// REF of the line: 6R is the submitter's line number. An authorization, referral or CLIA number of a line counts for
    /// the claim where it has none, unless REF04 says that it is another payer's.
    pub(super) fn line_reference(&mut self, reference: &Elements<'_>) {
        match reference.get(1) {
            b"6R" => {
                let number = reference.phi(2);
                if let Some(line) = self.line()
                    && number.is_some()
                {
                    line.control_number = number;
                }
            }
            kind @ (b"G1" | b"9F" | b"X4") if reference.get(4).is_empty() => {
                self.fill_reference(kind, reference.phi(2));
            }
            b"EI" | b"SY" => self.tax_reference(reference),
            _ => {}
        }
    }

    /// LIN: the drug, where a pair of LIN02 and LIN03 or of the following has qualifier N4.
    pub(super) fn drug(&mut self, lin: &Elements<'_>) {
        let code = (2..=30).step_by(2).find(|&index| lin.get(index) == b"N4").and_then(|index| lin.text(index + 1));
        if let (Some(line), Some(code)) = (self.line(), code) {
            line.ndc = Some(Ndc { code, unit: None, quantity: None });
        }
    }

    /// CTP: 04 quantity and 05-1 unit of the drug.
    pub(super) fn drug_quantity(&mut self, ctp: &Elements<'_>, site: &mut Site<'_, '_>) {
        let (quantity, unit) = (ctp.units(4, site), ctp.composite(5, site).text(1));
        if let Some(ndc) = self.line().and_then(|line| line.ndc.as_mut()) {
            (ndc.quantity, ndc.unit) = (quantity, unit);
        }
    }

    /// NTE: free text on what was done, where the procedure itself has none.
    pub(super) fn line_note(&mut self, nte: &Elements<'_>) {
        if let Some(line) = self.line()
            && line.description.is_none()
        {
            line.description = nte.phi(2);
        }
    }

    /// SVD: another payer's word on the line; SVD01 is that payer's id (2330B NM109). Where no payer has the id, the only
    /// one there is meant; else one is added that is known by its id alone.
    pub(super) fn adjudication(&mut self, svd: &Elements<'_>, site: &mut Site<'_, '_>) {
        let id = svd.text(1);
        let payers = &self.claim_mut().other_payers;
        let found = payers.iter().position(|payer| id.is_some() && payer.id == id);
        self.adjudicator = match (found, payers.len()) {
            (Some(index), _) => Some(index),
            (None, 1) => Some(0),
            (None, count) => {
                let room = id.is_some() && self.has_room(1, site);
                if room {
                    self.claim_mut().other_payers.push(OtherPayer { id, ..OtherPayer::default() });
                }
                room.then_some(count)
            }
        };
    }
}

/// A line with what its procedure composite says: 2 code, 3 to 6 modifiers, 7 description.
fn procedure_line(procedure: &Composite<'_>) -> ServiceLine {
    ServiceLine {
        procedure_code: procedure.text(2),
        modifiers: procedure.modifiers(),
        description: procedure.text(7).map(Phi::new),
        ..ServiceLine::default()
    }
}

/// Diagnosis pointers, from 1; one that is no small whole number is left out. Some files write `1.00`.
fn pointers(sv: &Elements<'_>, index: usize, site: &mut Site<'_, '_>) -> Vec<u8> {
    if sv.get(index).is_empty() {
        return Vec::new();
    }
    let composite = sv.composite(index, site);
    let mut pointers = Vec::with_capacity(4);
    for part in composite.iter() {
        let pointer = match part {
            [digit @ b'1'..=b'9'] => Some(digit - b'0'),
            other => text(other)
                .and_then(|t| Units::parse(&t).ok())
                .and_then(|units| if units.is_whole() { u8::try_from(units.thousandths() / 1000).ok() } else { None }),
        };
        match pointer.filter(|&p| p > 0) {
            Some(pointer) => pointers.push(pointer),
            None => site.note(NoteReason::UnreadableQuantity, index),
        }
    }
    pointers
}
