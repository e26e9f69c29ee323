//! One claim of an 837 while it is being read: loops 2300 (claim), 2310 (its providers) and 2320/2330 (other payers).
//!
//! Must never: take another payer's AMT, CAS, REF or NM1 for the claim's own: after an SBR, everything up to LX is the
//! other payer's.

use std::sync::Arc;

use super::claim::provider;
use super::note::{NoteReason, Position};
use super::output::{Out, Parsed, Site, Transaction};
use super::remittance_line::adjustments;
use super::segment::{Elements, MAX_TEXT, Segment, tax_id, text};
use crate::domain::claim::{Attachment, Claim, ClaimType, OtherPayer, Provider, Responsibility};
use crate::domain::types::{Cents, Date, Phi};

/// The most entries of all lists of a claim together (lines, diagnoses, adjustments ...): some hundred times what the
/// guides allow, and little enough to hold.
const MAX_ENTRIES: u32 = 20_000;

/// Which loop of the claim the segments belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Claim,
    OtherPayer,
    Line,
}

/// Which provider the last NM1 names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Nobody,
    Rendering,
    Referring,
    Attending,
    Ordering,
    Facility,
    LineRendering,
    LineReferring,
    LineOrdering,
}

/// A claim with what is needed to finish it.
pub(super) struct OpenClaim {
    parsed: Box<Parsed<Claim>>,
    pub(super) place: Place,
    named: Named,
    entries: u32,
    /// Something required could not be read: an error note says what, and the claim is not delivered.
    pub(super) broken: bool,
    /// Date of service given for the whole claim (dental, and some professional files).
    service: (Option<Date>, Option<Date>),
    discharge_hour_given: bool,
    /// CLM05-2 = A: the code list of the uniform bill, that is of institutions.
    uniform_bill: bool,
    principal_given: bool,
    line_rendering: Option<Provider>,
    line_referring: Option<Provider>,
    /// The form its service lines show.
    pub(super) form: Option<ClaimType>,
    /// LX01 of the line at hand.
    pub(super) line_number: Option<Phi<String>>,
    /// Whether the line at hand has its SV segment.
    pub(super) line_open: bool,
    /// The other payer whose SVD was the last.
    pub(super) adjudicator: Option<usize>,
}

impl OpenClaim {
    pub fn new(transaction: Arc<Transaction>, at: Position) -> Self {
        Self {
            parsed: Box::new(Parsed { value: Claim { complete: true, ..Claim::default() }, at, transaction }),
            place: Place::Claim,
            named: Named::Nobody,
            entries: 0,
            broken: false,
            service: (None, None),
            discharge_hour_given: false,
            uniform_bill: false,
            principal_given: false,
            line_rendering: None,
            line_referring: None,
            form: None,
            line_number: None,
            line_open: false,
            adjudicator: None,
        }
    }

    pub fn claim_mut(&mut self) -> &mut Claim {
        &mut self.parsed.value
    }

    /// Whether the service lines have begun.
    pub fn is_in_lines(&self) -> bool {
        self.place == Place::Line
    }

    /// Counts entries about to be added; past the bound the claim is given up, with one note.
    pub fn has_room(&mut self, more: usize, site: &mut Site<'_, '_>) -> bool {
        self.entries = self.entries.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        if self.entries <= MAX_ENTRIES {
            return true;
        }
        self.give_up(NoteReason::TooManyEntries, site);
        false
    }

    /// Gives the claim up for a bound, with one note.
    pub fn give_up(&mut self, reason: NoteReason, site: &mut Site<'_, '_>) {
        if !self.broken {
            site.note(reason, 0);
        }
        self.broken = true;
    }

    /// Reads CLM.
    pub fn begin(&mut self, clm: &Elements<'_>, site: &mut Site<'_, '_>) {
        match clm.phi(1).filter(|_| clm.get(1).len() <= MAX_TEXT) {
            Some(number) => self.claim_mut().patient_control_number = number,
            None => {
                site.note(NoteReason::MissingIdentifier, 1);
                self.broken = true;
            }
        }
        match clm.required_amount(2, site) {
            Some(total) => self.claim_mut().total_charge = total,
            None => self.broken = true,
        }
        if clm.get(5).is_empty() {
            site.note(NoteReason::MissingElement, 5);
        }
        let place = clm.composite(5, site);
        let causes = clm.composite(11, site);
        self.uniform_bill = place.get(2) == b"A";
        let claim = self.claim_mut();
        claim.facility_type_code = place.text(1);
        claim.frequency_code = place.text(3).unwrap_or_else(|| "1".to_owned());
        claim.assignment_code = clm.text(7);
        claim.related_causes = (1..=3).filter_map(|number| causes.text(number)).collect();
    }

    /// Takes a segment of the claim; tells whether it is one the reader uses.
    pub fn segment(&mut self, id: &[u8], segment: &Segment<'_>, at: Position, out: &mut Out<'_>) -> bool {
        let mut site = Site { out, at, segment_id: id };
        let site = &mut site;
        match (id, self.place) {
            (b"SV1" | b"SV2" | b"SV3", _) => self.service_line(id, &segment.elements(), site),
            (b"LX", _) => self.next_line(&segment.elements()),
            (b"DTP", Place::Line) => self.line_date(&segment.elements(), site),
            (b"DTP", Place::Claim) => self.date(&segment.elements(), site),
            (b"REF", Place::Line) => self.line_reference(&segment.elements()),
            (b"REF", Place::Claim) => self.reference(&segment.elements()),
            (b"HI", Place::Claim | Place::OtherPayer) => self.diagnoses(&segment.elements(), site),
            (b"NM1", _) => self.name(&segment.elements(), site),
            (b"PRV", _) => {
                let code = segment.elements().text(3);
                if let Some(provider) = self.named_provider() {
                    provider.taxonomy_code = code;
                }
            }
            (b"SBR", Place::Claim | Place::OtherPayer) => self.other_payer(&segment.elements(), site),
            (b"CAS", Place::OtherPayer | Place::Line) => self.adjust(&segment.elements(), site),
            (b"AMT", Place::OtherPayer) => self.other_payer_amount(&segment.elements(), site),
            (b"SVD", Place::Line) => self.adjudication(&segment.elements(), site),
            (b"LIN", Place::Line) => self.drug(&segment.elements()),
            (b"CTP", Place::Line) => self.drug_quantity(&segment.elements(), site),
            (b"NTE", Place::Line) => self.line_note(&segment.elements()),
            (b"PWK", Place::Claim | Place::Line) => self.attachment(&segment.elements(), site),
            (b"CL1", Place::Claim) => {
                let cl1 = segment.elements();
                let claim = self.claim_mut();
                claim.admission_type_code = cl1.text(1);
                claim.admission_source_code = cl1.text(2);
                claim.discharge_status_code = cl1.text(3);
            }
            _ => return false,
        }
        true
    }

    /// DTP of loop 2300: 434 statement, 435 admission, 096 discharge, 439 accident, 472 service (dental).
    fn date(&mut self, dtp: &Elements<'_>, site: &mut Site<'_, '_>) {
        match (dtp.get(1), dtp.get(2)) {
            // An institutional claim gives the hour; the day is the end of the statement.
            (b"096", b"TM") => self.discharge_hour_given = true,
            (_, b"TM") => {}
            (b"434", _) => {
                let (from, to) = dtp.period(3, site);
                let claim = self.claim_mut();
                (claim.statement_date, claim.statement_to_date) = (from, to);
            }
            (b"435", _) => self.claim_mut().admission_date = dtp.period(3, site).0,
            (b"096", _) => self.claim_mut().discharge_date = dtp.period(3, site).0,
            (b"439", _) => self.claim_mut().accident_date = dtp.period(3, site).0,
            (b"472", _) => self.service = dtp.period(3, site),
            _ => {}
        }
    }

    /// REF of loop 2300, or of 2310 where it names a provider's tax id.
    fn reference(&mut self, reference: &Elements<'_>) {
        match reference.get(1) {
            b"G1" => self.claim_mut().prior_authorization_number = reference.phi(2),
            b"9F" => self.claim_mut().referral_number = reference.phi(2),
            b"F8" => self.claim_mut().payer_claim_control_number = reference.phi(2),
            b"D9" => self.claim_mut().claim_control_number = reference.phi(2),
            b"X4" => self.claim_mut().clia_number = reference.text(2),
            b"EI" | b"SY" | b"TJ" => self.tax_reference(reference),
            _ => {}
        }
    }

    pub(super) fn tax_reference(&mut self, reference: &Elements<'_>) {
        if let Some(provider) = self.named_provider().filter(|p| p.tax_id.is_none()) {
            provider.tax_id = tax_id(reference.get(2));
        }
    }

    /// HI: principal (BK, ABK) and other diagnoses (BF, ABF), and condition codes (BG). Admitting diagnoses, reasons for
    /// the visit, external causes, procedures, occurrences and values are none of the claim's diagnoses.
    fn diagnoses(&mut self, hi: &Elements<'_>, site: &mut Site<'_, '_>) {
        let mut index = 1;
        while index <= 12 {
            if hi.get(index).is_empty() {
                index += 1;
                continue;
            }
            let code = hi.composite(index, site);
            let (kind, mut value) = (code.get(1), code.get(2));
            let known = matches!(kind, b"BK" | b"ABK" | b"BF" | b"ABF" | b"BG");
            index += 1;
            if known && value.is_empty() {
                // Published files write `HI*BK*8901` for `HI*BK:8901`.
                value = hi.composite(index, site).get(1);
                if value.is_empty() || matches!(value, b"BK" | b"ABK" | b"BF" | b"ABF" | b"BG") {
                    continue;
                }
                site.note(NoteReason::CompositeSplit, index - 1);
                index += 1;
            }
            if !known || !self.has_room(1, site) {
                continue;
            }
            let Some(mut value) = text(value) else { continue };
            if kind == b"BG" {
                self.claim_mut().condition_codes.push(value);
                continue;
            }
            // As in events, so that the same claim scores the same from either.
            value.retain(|c| c != '.' && !c.is_whitespace());
            value.make_ascii_uppercase();
            if value.is_empty() {
                continue;
            }
            // Principal first, also where it was written later.
            let principal = matches!(kind, b"BK" | b"ABK") && !self.principal_given;
            let codes = &mut self.parsed.value.diagnosis_codes;
            codes.insert(if principal { 0 } else { codes.len() }, value);
            self.principal_given |= principal;
        }
    }

    /// NM1: of 2310 and 2420 the providers that rules ask for, each the first time it is named; of 2330 the payer.
    fn name(&mut self, nm1: &Elements<'_>, site: &mut Site<'_, '_>) {
        if nm1.get(2).is_empty() {
            site.note(NoteReason::MissingElement, 2);
        }
        self.named = Named::Nobody;
        let code = nm1.get(1);
        let named = match (self.place, code) {
            (Place::OtherPayer, b"PR") => {
                if let Some(payer) = self.claim_mut().other_payers.last_mut() {
                    payer.id = nm1.text(9);
                }
                return;
            }
            (Place::Claim, b"82") => Named::Rendering,
            (Place::Claim, b"DN") => Named::Referring,
            (Place::Claim, b"71") => Named::Attending,
            (Place::Claim, b"DK") => Named::Ordering,
            // Codes of 4010: FA facility, LI independent laboratory, TL testing laboratory.
            (Place::Claim, b"77" | b"FA" | b"LI" | b"TL") => Named::Facility,
            (Place::Line, b"82") => Named::LineRendering,
            (Place::Line, b"DN") => Named::LineReferring,
            (Place::Line, b"DK") if self.line_open => Named::LineOrdering,
            _ => return,
        };
        if let Some(slot) = self.slot(named)
            && slot.is_none()
        {
            *slot = Some(provider(nm1));
            self.named = named;
        }
    }

    fn slot(&mut self, named: Named) -> Option<&mut Option<Provider>> {
        let claim = &mut self.parsed.value;
        Some(match named {
            Named::Nobody => return None,
            Named::Rendering => &mut claim.rendering_provider,
            Named::Referring => &mut claim.referring_provider,
            Named::Attending => &mut claim.attending_provider,
            Named::Ordering => &mut claim.ordering_provider,
            Named::Facility => &mut claim.service_facility,
            Named::LineRendering => &mut self.line_rendering,
            Named::LineReferring => &mut self.line_referring,
            Named::LineOrdering => &mut claim.lines.last_mut()?.ordering_provider,
        })
    }

    fn named_provider(&mut self) -> Option<&mut Provider> {
        self.slot(self.named)?.as_mut()
    }

    /// Leaves the loop at hand: the provider named last has no more to say.
    pub(super) fn name_nobody(&mut self) {
        self.named = Named::Nobody;
    }

    fn attachment(&mut self, pwk: &Elements<'_>, site: &mut Site<'_, '_>) {
        if self.has_room(1, site) {
            let attachment = Attachment { report_type_code: pwk.text(1), transmission_code: pwk.text(2) };
            self.claim_mut().attachments.push(attachment);
        }
    }

    /// SBR of loop 2320: another payer begins.
    fn other_payer(&mut self, sbr: &Elements<'_>, site: &mut Site<'_, '_>) {
        self.place = Place::OtherPayer;
        self.named = Named::Nobody;
        if self.has_room(1, site) {
            let responsibility = std::str::from_utf8(sbr.get(1)).ok().and_then(Responsibility::parse);
            self.claim_mut().other_payers.push(OtherPayer { responsibility, ..OtherPayer::default() });
        }
    }

    /// AMT of loop 2320: D is what the payer paid; the institutional guide of 4010 writes C4 for it.
    fn other_payer_amount(&mut self, amt: &Elements<'_>, site: &mut Site<'_, '_>) {
        let kind = amt.get(1);
        if !matches!(kind, b"D" | b"C4") {
            return;
        }
        match amt.amount(2, site) {
            Ok(amount) => {
                if let Some(payer) = self.claim_mut().other_payers.last_mut()
                    && (kind == b"D" || payer.paid_amount.is_none())
                {
                    payer.paid_amount = amount;
                }
            }
            Err(_) => self.broken = true,
        }
    }

    /// CAS of loop 2320, or of 2430 behind an SVD: the other payer's adjustments.
    fn adjust(&mut self, cas: &Elements<'_>, site: &mut Site<'_, '_>) {
        let payer = match self.place {
            Place::OtherPayer => self.parsed.value.other_payers.len().checked_sub(1),
            Place::Line => self.adjudicator,
            Place::Claim => None,
        };
        let Some(found) = adjustments(cas, site) else {
            self.broken = true;
            return;
        };
        if self.has_room(found.len(), site)
            && let Some(payer) = payer.and_then(|index| self.parsed.value.other_payers.get_mut(index))
        {
            payer.adjustments.extend(found);
        }
    }

    /// Completes the claim and hands it out, unless something required could not be read.
    pub fn finish(mut self, form: Option<ClaimType>, out: &mut Out<'_>) {
        if self.broken {
            out.summary.withheld += 1;
            return;
        }
        // The lines tell the form best: some files name another guide than they follow, or none.
        let fallback = if self.uniform_bill { ClaimType::Institutional } else { ClaimType::Professional };
        let form = self.form.or(form).unwrap_or(fallback);
        let claim = &mut self.parsed.value;
        claim.claim_type = form;
        if form == ClaimType::Institutional {
            claim.type_of_bill =
                claim.facility_type_code.as_deref().and_then(|f| type_of_bill(f, &claim.frequency_code));
            if self.discharge_hour_given && claim.discharge_date.is_none() {
                claim.discharge_date = claim.statement_to_date.or(claim.statement_date);
            }
        }
        forget_nameless(claim);
        if claim.rendering_provider.is_none() {
            claim.rendering_provider = self.line_rendering;
        }
        if claim.referring_provider.is_none() {
            claim.referring_provider = self.line_referring;
        }
        forget_nameless(claim);
        for line in &mut claim.lines {
            if line.service_from.is_none() {
                (line.service_from, line.service_to) = self.service;
            }
        }
        out.claim(self.parsed);
    }

    /// Sets what a line says for the whole claim where the claim itself is silent (REF of loop 2400).
    pub(super) fn fill_reference(&mut self, kind: &[u8], value: Option<Phi<String>>) {
        let claim = self.claim_mut();
        match kind {
            b"G1" if claim.prior_authorization_number.is_none() => claim.prior_authorization_number = value,
            b"9F" if claim.referral_number.is_none() => claim.referral_number = value,
            b"X4" if claim.clia_number.is_none() => claim.clia_number = value.map(Phi::into_inner),
            _ => {}
        }
    }

    /// The charge of a line; unreadable gives the claim up.
    pub(super) fn line_charge(&mut self, sv: &Elements<'_>, index: usize, site: &mut Site<'_, '_>) -> Cents {
        sv.amount_or_zero(index, site).unwrap_or_else(|| {
            self.broken = true;
            Cents::ZERO
        })
    }
}

/// A provider without a single fact is none, as in events: else the same claim would score differently from file and event.
fn forget_nameless(claim: &mut Claim) {
    let own = [
        &mut claim.rendering_provider,
        &mut claim.referring_provider,
        &mut claim.attending_provider,
        &mut claim.ordering_provider,
        &mut claim.service_facility,
    ];
    for slot in own.into_iter().chain(claim.lines.iter_mut().map(|line| &mut line.ordering_provider)) {
        slot.take_if(|provider| *provider == Provider::default());
    }
}

/// Type of bill, four characters: a zero, facility type (two), frequency (one).
fn type_of_bill(facility: &str, frequency: &str) -> Option<String> {
    let bill = format!("{facility}{frequency}");
    (2..=4).contains(&bill.len()).then(|| format!("{bill:0>4}"))
}
