//! Reads an 835: payer, payee and payment once, then one remittance for each claim paid (CLP).
//!
//! Must never: lose a provider adjustment (PLB). They follow the claims, so the last claim is held back until the
//! transaction ends and carries them all.

use std::sync::Arc;

use super::envelope::instant;
use super::note::{NoteReason, Position};
use super::output::{Out, Parsed, Site, Transaction};
use super::remittance_line::{adjustments, remark_elements, service_line};
use super::segment::{Elements, MAX_TEXT, Segment, tax_id, text};
use crate::domain::claim::{Payer, Provider};
use crate::domain::remittance::{ProviderAdjustment, Remittance, RemittanceLine};
use crate::domain::types::{Cents, Date};

/// The most service lines of a remitted claim: what the guide allows.
const MAX_LINES: usize = 999;

/// The most entries of all lists of a remitted claim together.
const MAX_ENTRIES: u32 = 20_000;

/// The most provider adjustments of one 835.
const MAX_PROVIDER_ADJUSTMENTS: usize = 9_999;

/// Whom the last N1 names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Nobody,
    Payer,
    Payee,
}

struct OpenRemittance {
    parsed: Box<Parsed<Remittance>>,
    entries: u32,
    broken: bool,
    /// Whether the service lines have begun: then CAS and LQ are the line's.
    in_lines: bool,
    member_is_insured: bool,
}

/// The reader of one 835 transaction.
pub(super) struct RemittanceReader {
    transaction: Arc<Transaction>,
    payer: Payer,
    payee: Provider,
    trace_number: Option<String>,
    payment_date: Option<Date>,
    named: Named,
    ordinal: u32,
    open: Option<OpenRemittance>,
    provider_adjustments: Vec<ProviderAdjustment>,
    payment: Option<(Cents, Position)>,
    claims_paid: Cents,
    /// Whether an amount of the balance could not be read: then it is not checked.
    unbalanceable: bool,
}

impl RemittanceReader {
    pub fn new(transaction: Arc<Transaction>) -> Self {
        Self {
            transaction,
            payer: Payer::default(),
            payee: Provider::default(),
            trace_number: None,
            payment_date: None,
            named: Named::Nobody,
            ordinal: 0,
            open: None,
            provider_adjustments: Vec::new(),
            payment: None,
            claims_paid: Cents::ZERO,
            unbalanceable: false,
        }
    }

    /// Takes a segment between ST and SE; tells whether it is one the reader uses.
    pub fn segment(&mut self, id: &[u8], segment: &Segment<'_>, at: Position, out: &mut Out<'_>) -> bool {
        let mut site = Site { out, at, segment_id: id };
        match id {
            b"CLP" => {
                self.close(Vec::new(), site.out);
                self.claim(&segment.elements(), at, &mut site);
                true
            }
            b"PLB" => {
                self.provider_level(&segment.elements(), &mut site);
                true
            }
            _ => match &mut self.open {
                Some(open) => open.segment(id, &segment.elements(), &mut site),
                None => self.header(id, segment, &mut site),
            },
        }
    }

    /// Ends the transaction: hands out the claim held back, with the provider adjustments, and checks the balance:
    /// BPR02 is the sum of CLP04 less that of PLB.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        let adjusted: Cents = self.provider_adjustments.iter().map(|a| a.amount).sum();
        if self.open.is_none() && !self.provider_adjustments.is_empty() {
            let at = self.payment.map_or_else(Position::default, |p| p.1);
            out.note(NoteReason::AdjustmentsWithoutClaim, at, "PLB", None);
        }
        let carried = std::mem::take(&mut self.provider_adjustments);
        self.close(carried, out);
        if let Some((payment, at)) = self.payment
            && !self.unbalanceable
            && payment != self.claims_paid - adjusted
        {
            out.note(NoteReason::PaymentNotBalanced, at, "BPR", Some(2));
        }
    }

    /// The bytes end inside the claim at hand: it is not delivered.
    pub fn abandon(&mut self, out: &mut Out<'_>) {
        self.unbalanceable = true;
        if self.open.take().is_some() {
            out.summary.withheld += 1;
        }
    }

    fn close(&mut self, carried: Vec<ProviderAdjustment>, out: &mut Out<'_>) {
        let Some(mut open) = self.open.take() else { return };
        if open.broken {
            out.summary.withheld += 1;
            if !carried.is_empty() {
                out.note(NoteReason::AdjustmentsWithoutClaim, open.parsed.at, "PLB", None);
            }
            return;
        }
        open.parsed.value.provider_adjustments = carried;
        if !open.parsed.value.balances() {
            out.note(NoteReason::ClaimNotBalanced, open.parsed.at, "CLP", Some(4));
        }
        out.remittance(open.parsed);
    }

    /// Segments before the first claim: BPR, TRN, DTM*405, N1 of payer and payee with their REF.
    fn header(&mut self, id: &[u8], segment: &Segment<'_>, site: &mut Site<'_, '_>) -> bool {
        match id {
            b"BPR" => self.payment(&segment.elements(), site),
            b"TRN" => self.trace_number = segment.elements().text(2),
            b"DTM" => {
                let dtm = segment.elements();
                if dtm.get(1) == b"405" && self.payment_date.is_none() {
                    let day = dtm.date(2, site);
                    self.set_time(day);
                }
            }
            b"N1" => {
                let n1 = segment.elements();
                self.named = match n1.get(1) {
                    b"PR" => {
                        self.payer = Payer { id: n1.text(4), name: n1.text(2) };
                        Named::Payer
                    }
                    b"PE" => {
                        self.payee = payee(&n1);
                        Named::Payee
                    }
                    _ => Named::Nobody,
                };
            }
            b"REF" => {
                let reference = segment.elements();
                match (self.named, reference.get(1)) {
                    // The payer's id where N104 has none (loop 1000A REF*2U).
                    (Named::Payer, b"2U") if self.payer.id.is_none() => self.payer.id = reference.text(2),
                    (Named::Payee, b"TJ") if self.payee.tax_id.is_none() => {
                        self.payee.tax_id = tax_id(reference.get(2));
                    }
                    _ => {}
                }
            }
            _ => return false,
        }
        true
    }

    /// BPR: 02 the payment (03 = D takes money back), 16 its day.
    fn payment(&mut self, bpr: &Elements<'_>, site: &mut Site<'_, '_>) {
        match bpr.required_amount(2, site) {
            Some(amount) => {
                let amount = if bpr.get(3) == b"D" { -amount } else { amount };
                site.out.summary.payment_total += amount;
                self.payment = Some((amount, site.at));
            }
            None => self.unbalanceable = true,
        }
        self.payment_date = bpr.date(16, site);
        let day = self.payment_date;
        self.set_time(day);
    }

    fn set_time(&mut self, day: Option<Date>) {
        if let Some(time) = day.and_then(|day| instant(day, b"")) {
            Arc::make_mut(&mut self.transaction).time = Some(time);
        }
    }

    /// PLB: from 03 on, pairs of reason and amount.
    fn provider_level(&mut self, plb: &Elements<'_>, site: &mut Site<'_, '_>) {
        for index in (3..=13).step_by(2) {
            if plb.get(index).is_empty() && plb.get(index + 1).is_empty() {
                continue;
            }
            let reason_code = plb.composite(index, site).text(1).unwrap_or_default();
            let Some(amount) = plb.amount_or_zero(index + 1, site) else {
                self.unbalanceable = true;
                continue;
            };
            if self.provider_adjustments.len() >= MAX_PROVIDER_ADJUSTMENTS {
                if !self.unbalanceable {
                    site.note(NoteReason::TooManyEntries, index);
                }
                self.unbalanceable = true;
                return;
            }
            site.out.summary.provider_adjustment_total += amount;
            self.provider_adjustments.push(ProviderAdjustment { reason_code, amount });
        }
    }

    /// CLP: 01 control number, 02 status, 03 charge, 04 paid, 05 patient's share, 06 kind of insurance, 07 the payer's
    /// number, 08 facility type, 09 frequency.
    fn claim(&mut self, clp: &Elements<'_>, at: Position, site: &mut Site<'_, '_>) {
        self.ordinal = self.ordinal.saturating_add(1);
        let mut broken = false;
        let number = clp.phi(1).filter(|_| clp.get(1).len() <= MAX_TEXT);
        if number.is_none() {
            site.note(NoteReason::MissingIdentifier, 1);
            broken = true;
        }
        let (charge, payment) = (clp.required_amount(3, site), clp.required_amount(4, site));
        let share = clp.amount(5, site);
        broken |= charge.is_none() || payment.is_none() || share.is_err();
        match payment {
            Some(payment) => self.claims_paid += payment,
            None => self.unbalanceable = true,
        }
        if clp.get(2).is_empty() {
            site.note(NoteReason::MissingElement, 2);
        }
        let value = Remittance {
            payee: self.payee.clone(),
            payer: self.payer.clone(),
            trace_number: self.trace_number.clone(),
            payment_date: self.payment_date,
            patient_control_number: number.unwrap_or_default(),
            payer_claim_control_number: clp.phi(7),
            claim_ordinal: self.ordinal,
            status_code: clp.text(2).unwrap_or_default(),
            frequency_code: clp.text(9),
            filing_indicator: clp.text(6),
            facility_type_code: clp.text(8),
            total_charge: charge.unwrap_or_default(),
            payment: payment.unwrap_or_default(),
            patient_responsibility: share.ok().flatten(),
            ..Remittance::default()
        };
        let parsed = Box::new(Parsed { value, at, transaction: Arc::clone(&self.transaction) });
        self.open = Some(OpenRemittance { parsed, entries: 0, broken, in_lines: false, member_is_insured: false });
    }
}

/// The payee of N1*PE: an NPI where N103 is XX, a tax id where it is FI.
fn payee(n1: &Elements<'_>) -> Provider {
    let (npi, tax) = match n1.get(3) {
        b"XX" => (n1.text(4), None),
        b"FI" | b"24" | b"34" => (None, tax_id(n1.get(4))),
        _ => (None, None),
    };
    Provider { npi, tax_id: tax, ..Provider::default() }
}

impl OpenRemittance {
    fn segment(&mut self, id: &[u8], elements: &Elements<'_>, site: &mut Site<'_, '_>) -> bool {
        match id {
            b"SVC" => self.next_line(elements, site),
            b"CAS" => self.adjust(elements, site),
            b"DTM" => self.date(elements, site),
            b"REF" => {
                if elements.get(1) == b"6R"
                    && let Some(line) = self.line()
                {
                    line.control_number = elements.phi(2);
                }
            }
            b"NM1" => self.name(elements),
            b"MIA" | b"MOA" => {
                for &index in remark_elements(id) {
                    self.remark(elements.get(index), false, site);
                }
            }
            b"LQ" => {
                if elements.get(1) == b"HE" {
                    self.remark(elements.get(2), true, site);
                }
            }
            _ => return false,
        }
        true
    }

    fn has_room(&mut self, more: usize, site: &mut Site<'_, '_>) -> bool {
        self.entries = self.entries.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        if self.entries <= MAX_ENTRIES {
            return true;
        }
        self.give_up(site);
        false
    }

    /// Gives the claim up for a bound, with one note.
    fn give_up(&mut self, site: &mut Site<'_, '_>) {
        if !self.broken {
            site.note(NoteReason::TooManyEntries, 0);
        }
        self.broken = true;
    }

    fn line(&mut self) -> Option<&mut RemittanceLine> {
        if self.in_lines { self.parsed.value.lines.last_mut() } else { None }
    }

    fn next_line(&mut self, svc: &Elements<'_>, site: &mut Site<'_, '_>) {
        self.in_lines = true;
        if self.parsed.value.lines.len() >= MAX_LINES {
            return self.give_up(site);
        }
        match service_line(svc, site) {
            Some(line) => {
                if self.has_room(1 + line.modifiers.len(), site) {
                    self.parsed.value.lines.push(line);
                }
            }
            None => self.broken = true,
        }
    }

    fn adjust(&mut self, cas: &Elements<'_>, site: &mut Site<'_, '_>) {
        let Some(found) = adjustments(cas, site) else {
            self.broken = true;
            return;
        };
        if !self.has_room(found.len(), site) {
            return;
        }
        match self.line() {
            Some(line) => line.adjustments.extend(found),
            None => self.parsed.value.adjustments.extend(found),
        }
    }

    /// DTM: 232 and 233 of the claim; 472, or 150 and 151, of the line.
    fn date(&mut self, dtm: &Elements<'_>, site: &mut Site<'_, '_>) {
        let day = match dtm.get(1) {
            b"232" | b"233" | b"472" | b"150" | b"151" => dtm.date(2, site),
            _ => return,
        };
        let value = &mut self.parsed.value;
        match dtm.get(1) {
            b"232" => value.service_from = day,
            b"233" => value.service_to = day,
            b"151" => {
                if let Some(line) = self.line() {
                    line.service_to = day;
                }
            }
            _ => {
                if let Some(line) = self.line() {
                    line.service_from = day;
                }
            }
        }
    }

    /// NM1: the member's id from the insured (IL), else from the patient (QC) where it is a member id and not a social
    /// security number; the payer the claim went on to (TT). The corrected name (74) is the payer's view, not the claim's.
    fn name(&mut self, nm1: &Elements<'_>) {
        let value = &mut self.parsed.value;
        match nm1.get(1) {
            b"IL" => {
                if let Some(id) = nm1.phi(9) {
                    value.member_id = Some(id);
                    self.member_is_insured = true;
                }
            }
            b"QC" if !self.member_is_insured && nm1.get(8) != b"34" => value.member_id = nm1.phi(9),
            b"TT" => value.crossover_payer = nm1.text(9).or_else(|| nm1.text(3)),
            _ => {}
        }
    }

    fn remark(&mut self, code: &[u8], of_line: bool, site: &mut Site<'_, '_>) {
        let Some(code) = text(code) else { return };
        if !self.has_room(1, site) {
            return;
        }
        match self.line().filter(|_| of_line) {
            Some(line) => line.remark_codes.push(code),
            None => self.parsed.value.remark_codes.push(code),
        }
    }
}
