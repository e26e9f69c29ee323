//! The data of `remittance.received.v1`: one remitted claim, read into and written from the domain's [`Remittance`].
//!
//! Must never: judge an adjustment or check a sum; a remittance that does not balance is read like any other.

use super::parts::{
    AdjustmentData, PayerData, SubscriberData, adjustments, payer, put_adjustments, put_member, put_payer,
    without_hyphens,
};
use super::reading::{
    At, Kind, List, Object, Violation, codes, control_number, list, object, objects, optional, private, put, put_codes,
    put_private, required, required_text, take, text, wire,
};
use super::text::{Checked, Code, Day, Identifier, Money, Name, Ordinal, Quantity};
use crate::domain::claim::Provider;
use crate::domain::remittance::{ProviderAdjustment, Remittance, RemittanceLine};
use crate::domain::types::Phi;

wire! {
    /// What a payer said on one claim (one CLP of an X12 835). Unknown fields are ignored; null is the same as absent.
    pub struct RemittanceData {
        /// Practice, as the publisher names it; absent, the payee's NPI or tax id stands for it.
        practice_id: Option<Identifier>,
        /// NPI of the payee (loop 1000B).
        payee_npi: Option<Identifier>,
        /// Tax id of the payee, with or without hyphens.
        payee_tax_id: Option<Identifier>,
        /// The payer (loop 1000A).
        payer: Option<Object<PayerData>>,
        /// Check or transfer trace number (TRN02).
        trace_number: Option<Identifier>,
        /// Day of payment (BPR16).
        payment_date: Option<Checked<Day>>,
        /// Patient control number as the payer hands it back (CLP01).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        patient_control_number: Option<Identifier>,
        /// The payer's own claim number (CLP07).
        payer_claim_control_number: Option<Identifier>,
        /// Place of the claim in its 835, from 1; 1 when absent.
        claim_ordinal: Option<Checked<Ordinal>>,
        /// Claim status (CLP02).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        claim_status_code: Option<Code>,
        /// Claim frequency (CLP09).
        claim_frequency_code: Option<Code>,
        /// Kind of insurance (CLP06).
        claim_filing_indicator_code: Option<Code>,
        /// Facility type (CLP08).
        facility_type_code: Option<Code>,
        /// Charge (CLP03).
        #[schemars(required)]
        total_claim_charge_amount: Option<Checked<Money>>,
        /// Paid (CLP04).
        #[schemars(required)]
        claim_payment_amount: Option<Checked<Money>>,
        /// Patient responsibility (CLP05).
        patient_responsibility_amount: Option<Checked<Money>>,
        /// The insured; only the member id is read.
        subscriber: Option<Object<SubscriberData>>,
        /// The patient; its member id is read where the subscriber's is absent.
        patient: Option<Object<SubscriberData>>,
        /// First day of service of the claim (DTM*232).
        service_date_from: Option<Checked<Day>>,
        /// Last day of service of the claim (DTM*233).
        service_date_to: Option<Checked<Day>>,
        /// Adjustments of the claim as a whole (CAS before the first SVC).
        claim_adjustments: Option<List<Object<AdjustmentData>, 1000>>,
        /// Remark codes of the claim (MIA, MOA).
        remark_codes: Option<List<Code, 200>>,
        /// Payer to which the claim was forwarded (NM1*TT).
        crossover_payer: Option<Name>,
        /// Provider-level adjustments of the same 835 (PLB).
        provider_adjustments: Option<List<Object<ProviderAdjustmentData>, 1000>>,
        /// The remitted lines; none where the payer tells of the claim alone.
        service_lines: Option<List<Object<RemittanceLineData>, 999>>,
    }
}

wire! {
    /// One provider-level adjustment (a pair of PLB).
    struct ProviderAdjustmentData {
        /// Reason (PLB03-1).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        reason_code: Option<Code>,
        /// Amount; positive reduces the payment (PLB04).
        #[schemars(required)]
        amount: Option<Checked<Money>>,
    }
}

wire! {
    /// One remitted service line (SVC).
    struct RemittanceLineData {
        /// The submitter's own line number, handed back (REF*6R).
        line_item_control_number: Option<Identifier>,
        /// Procedure code as adjudicated (SVC01).
        procedure_code: Option<Code>,
        /// Modifiers (SVC01).
        procedure_modifiers: Option<List<Code, 8>>,
        /// Revenue code (SVC04).
        revenue_code: Option<Code>,
        /// First day of service (DTM*472, DTM*150).
        service_date_from: Option<Checked<Day>>,
        /// Last day of service (DTM*151).
        service_date_to: Option<Checked<Day>>,
        /// Charge (SVC02).
        #[schemars(required)]
        line_item_charge_amount: Option<Checked<Money>>,
        /// Paid (SVC03).
        #[schemars(required)]
        line_item_payment_amount: Option<Checked<Money>>,
        /// Units paid (SVC05).
        service_unit_count: Option<Checked<Quantity>>,
        /// Adjustments of the line (CAS).
        adjustments: Option<List<Object<AdjustmentData>, 1000>>,
        /// Remark codes of the line (LQ*HE).
        remark_codes: Option<List<Code, 200>>,
    }
}

/// Reads a bare remittance, without envelope.
///
/// # Errors
/// The first field that breaks a rule, with its JSON pointer; the pointer is empty when the body is not JSON.
pub fn read_remittance(body: &[u8]) -> Result<Remittance, Violation> {
    super::envelope::read_bare(body, RemittanceData::read)
}

impl RemittanceData {
    /// Turns what was read into a remittance; `at` is the place of the data in the document.
    pub(super) fn read(self, at: &At<'_>) -> Result<Remittance, Violation> {
        let data = self;
        let payee = Provider {
            npi: take!(text, data.payee_npi, at),
            tax_id: take!(text, data.payee_tax_id, at).map(without_hyphens),
            ..Provider::default()
        };
        let subscriber_member = take!(member, data.subscriber, at);
        let patient_member = take!(member, data.patient, at);
        let remittance = Remittance {
            practice_id: take!(text, data.practice_id, at),
            payee,
            payer: take!(payer, data.payer, at),
            trace_number: take!(text, data.trace_number, at),
            payment_date: take!(optional, data.payment_date, at),
            patient_control_number: take!(control_number, data.patient_control_number, at),
            payer_claim_control_number: take!(private, data.payer_claim_control_number, at),
            claim_ordinal: take!(optional, data.claim_ordinal, at).unwrap_or(1),
            status_code: take!(required_text, data.claim_status_code, at),
            frequency_code: take!(text, data.claim_frequency_code, at),
            filing_indicator: take!(text, data.claim_filing_indicator_code, at),
            facility_type_code: take!(text, data.facility_type_code, at),
            total_charge: take!(required, data.total_claim_charge_amount, at),
            payment: take!(required, data.claim_payment_amount, at),
            patient_responsibility: take!(optional, data.patient_responsibility_amount, at),
            member_id: subscriber_member.or(patient_member),
            service_from: take!(optional, data.service_date_from, at),
            service_to: take!(optional, data.service_date_to, at),
            adjustments: take!(adjustments, data.claim_adjustments, at),
            remark_codes: take!(codes, data.remark_codes, at),
            crossover_payer: take!(text, data.crossover_payer, at),
            provider_adjustments: take!(provider_adjustments, data.provider_adjustments, at),
            lines: take!(lines, data.service_lines, at),
        };
        if remittance.practice_key().is_none() {
            let kind = Kind::NoIdentifier("practiceId, payeeNpi or payeeTaxId is required");
            return Err(At::Field(at, "practice_id").violation(kind));
        }
        Ok(remittance)
    }
}

fn member(field: Option<Object<SubscriberData>>, at: &At<'_>) -> Result<Option<Phi<String>>, Violation> {
    let Some(data) = object(field, at)? else { return Ok(None) };
    Ok(take!(private, data.member_id, at))
}

fn provider_adjustments<const MAX: usize>(
    field: Option<List<Object<ProviderAdjustmentData>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<ProviderAdjustment>, Violation> {
    objects(list(field, at)?, at, |data, at| {
        Ok(ProviderAdjustment {
            reason_code: take!(required_text, data.reason_code, at),
            amount: take!(required, data.amount, at),
        })
    })
}

fn lines<const MAX: usize>(
    field: Option<List<Object<RemittanceLineData>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<RemittanceLine>, Violation> {
    objects(list(field, at)?, at, |data, at| {
        Ok(RemittanceLine {
            control_number: take!(private, data.line_item_control_number, at),
            procedure_code: take!(text, data.procedure_code, at),
            modifiers: take!(codes, data.procedure_modifiers, at),
            revenue_code: take!(text, data.revenue_code, at),
            service_from: take!(optional, data.service_date_from, at),
            service_to: take!(optional, data.service_date_to, at),
            charge: take!(required, data.line_item_charge_amount, at),
            payment: take!(required, data.line_item_payment_amount, at),
            units: take!(optional, data.service_unit_count, at),
            adjustments: take!(adjustments, data.adjustments, at),
            remark_codes: take!(codes, data.remark_codes, at),
        })
    })
}

impl From<&Remittance> for RemittanceData {
    /// Writes a remittance; what is unknown or empty is left out, so that equal remittances give equal bytes.
    fn from(remittance: &Remittance) -> Self {
        Self {
            practice_id: put(remittance.practice_id.as_ref()),
            payee_npi: put(remittance.payee.npi.as_ref()),
            payee_tax_id: put(remittance.payee.tax_id.as_ref()),
            payer: put_payer(&remittance.payer),
            trace_number: put(remittance.trace_number.as_ref()),
            payment_date: remittance.payment_date.and_then(Checked::some),
            patient_control_number: put_private(Some(&remittance.patient_control_number)),
            payer_claim_control_number: put_private(remittance.payer_claim_control_number.as_ref()),
            claim_ordinal: Checked::some(remittance.claim_ordinal.max(1)),
            claim_status_code: put(Some(&remittance.status_code)),
            claim_frequency_code: put(remittance.frequency_code.as_ref()),
            claim_filing_indicator_code: put(remittance.filing_indicator.as_ref()),
            facility_type_code: put(remittance.facility_type_code.as_ref()),
            total_claim_charge_amount: Checked::some(remittance.total_charge),
            claim_payment_amount: Checked::some(remittance.payment),
            patient_responsibility_amount: remittance.patient_responsibility.and_then(Checked::some),
            subscriber: put_member(remittance.member_id.as_ref()),
            patient: None,
            service_date_from: remittance.service_from.and_then(Checked::some),
            service_date_to: remittance.service_to.and_then(Checked::some),
            claim_adjustments: put_adjustments(&remittance.adjustments),
            remark_codes: put_codes(&remittance.remark_codes),
            crossover_payer: put(remittance.crossover_payer.as_ref()),
            provider_adjustments: List::unless_empty(
                remittance.provider_adjustments.iter().map(put_provider_adjustment).collect(),
            ),
            service_lines: List::unless_empty(remittance.lines.iter().map(put_line).collect()),
        }
    }
}

fn put_provider_adjustment(adjustment: &ProviderAdjustment) -> Object<ProviderAdjustmentData> {
    Object(Ok(ProviderAdjustmentData {
        reason_code: put(Some(&adjustment.reason_code)),
        amount: Checked::some(adjustment.amount),
    }))
}

fn put_line(line: &RemittanceLine) -> Object<RemittanceLineData> {
    Object(Ok(RemittanceLineData {
        line_item_control_number: put_private(line.control_number.as_ref()),
        procedure_code: put(line.procedure_code.as_ref()),
        procedure_modifiers: put_codes(&line.modifiers),
        revenue_code: put(line.revenue_code.as_ref()),
        service_date_from: line.service_from.and_then(Checked::some),
        service_date_to: line.service_to.and_then(Checked::some),
        line_item_charge_amount: Checked::some(line.charge),
        line_item_payment_amount: Checked::some(line.payment),
        service_unit_count: line.units.and_then(Checked::some),
        adjustments: put_adjustments(&line.adjustments),
        remark_codes: put_codes(&line.remark_codes),
    }))
}
