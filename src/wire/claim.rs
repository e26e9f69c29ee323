//! The data of `claim.submitted.v1`: the JSON of a claim, read into and written from the domain's [`Claim`].
//!
//! Must never: judge a claim. A field that is absent stays unknown; sums that do not balance are no concern of this file.

use super::parts::{
    AdjustmentData, PayerData, ProviderData, SubscriberData, adjustments, payer, provider, put_adjustments, put_payer,
    put_provider, put_subscriber, subscriber,
};
use super::reading::{
    At, Kind, List, Object, Violation, codes, control_number, each, list, object, objects, optional, private, put,
    put_all, put_codes, put_private, required, required_list, required_text, take, text, wire,
};
use super::text::{
    Checked, Code, Day, Diagnosis, Flag, Form, FreeText, Identifier, Money, Pointer, Quantity, Sequence,
};
use crate::domain::claim::{Attachment, Claim, Ndc, OtherPayer, ServiceLine};

wire! {
    /// A claim as it was submitted (X12 837). Unknown fields are ignored; null is the same as absent.
    ///
    /// The order of the fields is the order in which they are written, and with it part of the ids made from content.
    pub struct ClaimData {
        /// Practice, as the publisher names it; absent, the billing provider's NPI or tax id stands for it.
        practice_id: Option<Identifier>,
        /// Patient control number (CLM01).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        patient_control_number: Option<Identifier>,
        /// Claim number given by the clearinghouse (REF*D9).
        claim_control_number: Option<Identifier>,
        /// Which of the patient's payers this goes to (SBR01); `P` when absent.
        payer_responsibility_sequence: Option<Checked<Sequence>>,
        /// Claim frequency (CLM05-3): 1 original, 7 replacement, 8 void; 1 when absent.
        claim_frequency_code: Option<Code>,
        /// The payer's number of the claim that this one replaces or voids (REF*F8).
        payer_claim_control_number: Option<Identifier>,
        /// Kind of insurance (SBR09).
        claim_filing_indicator_code: Option<Code>,
        /// Which 837; professional when absent.
        claim_type: Option<Checked<Form>>,
        /// Place of service, or the first two digits of the type of bill (CLM05-1).
        facility_type_code: Option<Code>,
        /// Whole type of bill of an institutional claim.
        type_of_bill: Option<Code>,
        /// Whether the provider takes assignment (CLM07).
        assignment_code: Option<Code>,
        /// The payer.
        payer: Option<Object<PayerData>>,
        /// The patient's insurance.
        subscriber: Option<Object<SubscriberData>>,
        /// Whether the patient is a dependent of the subscriber; false when absent.
        patient_is_dependent: Option<Checked<Flag>>,
        /// Billing provider.
        billing_provider: Option<Object<ProviderData>>,
        /// Rendering provider.
        rendering_provider: Option<Object<ProviderData>>,
        /// Referring provider.
        referring_provider: Option<Object<ProviderData>>,
        /// Attending provider of an institutional claim.
        attending_provider: Option<Object<ProviderData>>,
        /// Ordering provider.
        ordering_provider: Option<Object<ProviderData>>,
        /// Service facility.
        service_facility: Option<Object<ProviderData>>,
        /// Prior authorization number (REF*G1).
        prior_authorization_number: Option<Identifier>,
        /// Referral number (REF*9F).
        referral_number: Option<Identifier>,
        /// CLIA number of the laboratory (REF*X4).
        clia_number: Option<Identifier>,
        /// Statement from-date (DTP*434).
        statement_date: Option<Checked<Day>>,
        /// Statement through-date (DTP*434).
        statement_to_date: Option<Checked<Day>>,
        /// Admission date (DTP*435).
        admission_date: Option<Checked<Day>>,
        /// Discharge date (DTP*096).
        discharge_date: Option<Checked<Day>>,
        /// Accident date (DTP*439).
        accident_date: Option<Checked<Day>>,
        /// Related causes such as AA, EM, OA (CLM11).
        related_causes: Option<List<Code, 10>>,
        /// Admission type (CL101).
        admission_type_code: Option<Code>,
        /// Admission source (CL102).
        admission_source_code: Option<Code>,
        /// Patient status at discharge (CL103).
        discharge_status_code: Option<Code>,
        /// Day on which the claim was sent.
        submitted_at: Option<Checked<Day>>,
        /// Total charge (CLM02).
        #[schemars(required)]
        total_claim_charge_amount: Option<Checked<Money>>,
        /// Diagnosis codes, principal first, with or without dots (HI).
        diagnosis_codes: Option<List<Checked<Diagnosis>, 50>>,
        /// Condition codes (HI*BG).
        condition_codes: Option<List<Code, 50>>,
        /// The patient's other payers and what they did.
        other_payers: Option<List<Object<OtherPayerData>, 20>>,
        /// Documents sent along or held (PWK).
        attachments: Option<List<Object<AttachmentData>, 50>>,
        /// Service lines; may be empty, must be there.
        #[schemars(required)]
        service_lines: Option<List<Object<ServiceLineData>, 999>>,
        /// Whether all that the 837 said is here, so that an optional field that is absent was not sent; false when absent.
        complete: Option<Checked<Flag>>,
    }
}

wire! {
    /// Another payer of the same patient (loops 2320, 2330, 2430).
    struct OtherPayerData {
        /// Payer id.
        payer_id: Option<Identifier>,
        /// Its place among the payers (SBR01).
        payer_responsibility_sequence: Option<Checked<Sequence>>,
        /// What it paid (AMT*D).
        paid_amount: Option<Checked<Money>>,
        /// What it adjusted (CAS).
        adjustments: Option<List<Object<AdjustmentData>, 1000>>,
    }
}

wire! {
    /// A document of the claim (PWK).
    struct AttachmentData {
        /// Report type code (PWK01).
        report_type_code: Option<Code>,
        /// How it is sent (PWK02).
        transmission_code: Option<Code>,
    }
}

wire! {
    /// A drug on a service line (LIN, CTP).
    struct NdcData {
        /// National Drug Code.
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        code: Option<Code>,
        /// Unit of measure (CTP05).
        unit: Option<Code>,
        /// Quantity (CTP04).
        quantity: Option<Checked<Quantity>>,
    }
}

wire! {
    /// One service line (SV1, SV2, SV3).
    struct ServiceLineData {
        /// The submitter's own line number (REF*6R).
        line_item_control_number: Option<Identifier>,
        /// HCPCS, CPT or CDT code.
        procedure_code: Option<Code>,
        /// Modifiers, in order.
        procedure_modifiers: Option<List<Code, 8>>,
        /// Revenue code (SV201).
        revenue_code: Option<Code>,
        /// Charge.
        #[schemars(required)]
        line_item_charge_amount: Option<Checked<Money>>,
        /// Units.
        service_unit_count: Option<Checked<Quantity>>,
        /// What the units are: UN, MJ, DA.
        unit_type: Option<Code>,
        /// Place of service, where it differs from the claim's (SV105).
        place_of_service_code: Option<Code>,
        /// First day of service (DTP*472).
        service_date_from: Option<Checked<Day>>,
        /// Last day of service, when it is a range.
        service_date_to: Option<Checked<Day>>,
        /// Places in the claim's list of diagnoses, from 1 (SV107).
        diagnosis_pointers: Option<List<Checked<Pointer>, 12>>,
        /// The drug given.
        ndc: Option<Object<NdcData>>,
        /// Free text on what was done.
        description: Option<FreeText>,
        /// Ordering provider (loop 2420E).
        ordering_provider: Option<Object<ProviderData>>,
    }
}

/// Reads a bare claim, without envelope, as the HTTP API takes it.
///
/// # Errors
/// The first field that breaks a rule, with its JSON pointer; the pointer is empty when the body is not JSON.
pub fn read_claim(body: &[u8]) -> Result<Claim, Violation> {
    super::envelope::read_bare(body, ClaimData::read)
}

impl ClaimData {
    /// Turns what was read into a claim; `at` is the place of the data in the document.
    pub(super) fn read(self, at: &At<'_>) -> Result<Claim, Violation> {
        let data = self;
        let service_lines = At::Field(at, "service_lines");
        let claim = Claim {
            practice_id: take!(text, data.practice_id, at),
            patient_control_number: take!(control_number, data.patient_control_number, at),
            claim_control_number: take!(private, data.claim_control_number, at),
            responsibility: take!(optional, data.payer_responsibility_sequence, at).unwrap_or_default(),
            frequency_code: take!(text, data.claim_frequency_code, at).unwrap_or_else(|| "1".to_owned()),
            payer_claim_control_number: take!(private, data.payer_claim_control_number, at),
            filing_indicator: take!(text, data.claim_filing_indicator_code, at),
            claim_type: take!(optional, data.claim_type, at).unwrap_or_default(),
            facility_type_code: take!(text, data.facility_type_code, at),
            type_of_bill: take!(text, data.type_of_bill, at),
            assignment_code: take!(text, data.assignment_code, at),
            payer: take!(payer, data.payer, at),
            subscriber: take!(subscriber, data.subscriber, at),
            patient_is_dependent: take!(optional, data.patient_is_dependent, at).unwrap_or_default(),
            billing_provider: take!(provider, data.billing_provider, at).unwrap_or_default(),
            rendering_provider: take!(provider, data.rendering_provider, at),
            referring_provider: take!(provider, data.referring_provider, at),
            attending_provider: take!(provider, data.attending_provider, at),
            ordering_provider: take!(provider, data.ordering_provider, at),
            service_facility: take!(provider, data.service_facility, at),
            prior_authorization_number: take!(private, data.prior_authorization_number, at),
            referral_number: take!(private, data.referral_number, at),
            clia_number: take!(text, data.clia_number, at),
            statement_date: take!(optional, data.statement_date, at),
            statement_to_date: take!(optional, data.statement_to_date, at),
            admission_date: take!(optional, data.admission_date, at),
            discharge_date: take!(optional, data.discharge_date, at),
            accident_date: take!(optional, data.accident_date, at),
            related_causes: take!(codes, data.related_causes, at),
            admission_type_code: take!(text, data.admission_type_code, at),
            admission_source_code: take!(text, data.admission_source_code, at),
            discharge_status_code: take!(text, data.discharge_status_code, at),
            submitted_at: take!(optional, data.submitted_at, at),
            total_charge: take!(required, data.total_claim_charge_amount, at),
            diagnosis_codes: take!(diagnoses, data.diagnosis_codes, at),
            condition_codes: take!(codes, data.condition_codes, at),
            other_payers: take!(other_payers, data.other_payers, at),
            attachments: take!(attachments, data.attachments, at),
            lines: objects(required_list(data.service_lines, &service_lines)?, &service_lines, service_line)?,
            complete: take!(optional, data.complete, at).unwrap_or_default(),
        };
        if claim.practice_key().is_none() {
            let kind = Kind::NoIdentifier("practiceId, or npi or taxId of billingProvider, is required");
            return Err(At::Field(at, "practice_id").violation(kind));
        }
        Ok(claim)
    }
}

fn diagnoses<const MAX: usize>(
    field: Option<List<Checked<Diagnosis>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<String>, Violation> {
    each(list(field, at)?, at, |code, at| required(Some(code), at))
}

fn other_payers<const MAX: usize>(
    field: Option<List<Object<OtherPayerData>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<OtherPayer>, Violation> {
    objects(list(field, at)?, at, |data, at| {
        Ok(OtherPayer {
            id: take!(text, data.payer_id, at),
            responsibility: take!(optional, data.payer_responsibility_sequence, at),
            paid_amount: take!(optional, data.paid_amount, at),
            adjustments: take!(adjustments, data.adjustments, at),
        })
    })
}

fn attachments<const MAX: usize>(
    field: Option<List<Object<AttachmentData>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<Attachment>, Violation> {
    objects(list(field, at)?, at, |data, at| {
        Ok(Attachment {
            report_type_code: take!(text, data.report_type_code, at),
            transmission_code: take!(text, data.transmission_code, at),
        })
    })
}

fn ndc(field: Option<Object<NdcData>>, at: &At<'_>) -> Result<Option<Ndc>, Violation> {
    let Some(data) = object(field, at)? else { return Ok(None) };
    Ok(Some(Ndc {
        code: take!(required_text, data.code, at),
        unit: take!(text, data.unit, at),
        quantity: take!(optional, data.quantity, at),
    }))
}

fn pointers<const MAX: usize>(field: Option<List<Checked<Pointer>, MAX>>, at: &At<'_>) -> Result<Vec<u8>, Violation> {
    each(list(field, at)?, at, |pointer, at| required(Some(pointer), at))
}

fn service_line(data: ServiceLineData, at: &At<'_>) -> Result<ServiceLine, Violation> {
    Ok(ServiceLine {
        control_number: take!(private, data.line_item_control_number, at),
        procedure_code: take!(text, data.procedure_code, at),
        modifiers: take!(codes, data.procedure_modifiers, at),
        revenue_code: take!(text, data.revenue_code, at),
        charge: take!(required, data.line_item_charge_amount, at),
        units: take!(optional, data.service_unit_count, at),
        unit_type: take!(text, data.unit_type, at),
        place_of_service: take!(text, data.place_of_service_code, at),
        service_from: take!(optional, data.service_date_from, at),
        service_to: take!(optional, data.service_date_to, at),
        diagnosis_pointers: take!(pointers, data.diagnosis_pointers, at),
        ndc: take!(ndc, data.ndc, at),
        description: take!(private, data.description, at),
        ordering_provider: take!(provider, data.ordering_provider, at),
    })
}

impl From<&Claim> for ClaimData {
    /// Writes a claim; what is unknown or empty is left out, so that equal claims give equal bytes.
    fn from(claim: &Claim) -> Self {
        Self {
            practice_id: put(claim.practice_id.as_ref()),
            patient_control_number: put_private(Some(&claim.patient_control_number)),
            claim_control_number: put_private(claim.claim_control_number.as_ref()),
            payer_responsibility_sequence: Checked::some(claim.responsibility),
            claim_frequency_code: put(Some(&claim.frequency_code)),
            payer_claim_control_number: put_private(claim.payer_claim_control_number.as_ref()),
            claim_filing_indicator_code: put(claim.filing_indicator.as_ref()),
            claim_type: Checked::some(claim.claim_type),
            facility_type_code: put(claim.facility_type_code.as_ref()),
            type_of_bill: put(claim.type_of_bill.as_ref()),
            assignment_code: put(claim.assignment_code.as_ref()),
            payer: put_payer(&claim.payer),
            subscriber: put_subscriber(&claim.subscriber),
            patient_is_dependent: Some(true).filter(|_| claim.patient_is_dependent).and_then(Checked::some),
            billing_provider: put_provider(&claim.billing_provider),
            rendering_provider: claim.rendering_provider.as_ref().and_then(put_provider),
            referring_provider: claim.referring_provider.as_ref().and_then(put_provider),
            attending_provider: claim.attending_provider.as_ref().and_then(put_provider),
            ordering_provider: claim.ordering_provider.as_ref().and_then(put_provider),
            service_facility: claim.service_facility.as_ref().and_then(put_provider),
            prior_authorization_number: put_private(claim.prior_authorization_number.as_ref()),
            referral_number: put_private(claim.referral_number.as_ref()),
            clia_number: put(claim.clia_number.as_ref()),
            statement_date: claim.statement_date.and_then(Checked::some),
            statement_to_date: claim.statement_to_date.and_then(Checked::some),
            admission_date: claim.admission_date.and_then(Checked::some),
            discharge_date: claim.discharge_date.and_then(Checked::some),
            accident_date: claim.accident_date.and_then(Checked::some),
            related_causes: put_codes(&claim.related_causes),
            admission_type_code: put(claim.admission_type_code.as_ref()),
            admission_source_code: put(claim.admission_source_code.as_ref()),
            discharge_status_code: put(claim.discharge_status_code.as_ref()),
            submitted_at: claim.submitted_at.and_then(Checked::some),
            total_claim_charge_amount: Checked::some(claim.total_charge),
            diagnosis_codes: put_all(&claim.diagnosis_codes),
            condition_codes: put_codes(&claim.condition_codes),
            other_payers: List::unless_empty(claim.other_payers.iter().map(put_other_payer).collect()),
            attachments: List::unless_empty(claim.attachments.iter().map(put_attachment).collect()),
            service_lines: Some(List(Ok(claim.lines.iter().map(put_service_line).collect()))),
            complete: Some(true).filter(|_| claim.complete).and_then(Checked::some),
        }
    }
}

fn put_other_payer(other: &OtherPayer) -> Object<OtherPayerData> {
    Object(Ok(OtherPayerData {
        payer_id: put(other.id.as_ref()),
        payer_responsibility_sequence: other.responsibility.and_then(Checked::some),
        paid_amount: other.paid_amount.and_then(Checked::some),
        adjustments: put_adjustments(&other.adjustments),
    }))
}

fn put_attachment(attachment: &Attachment) -> Object<AttachmentData> {
    Object(Ok(AttachmentData {
        report_type_code: put(attachment.report_type_code.as_ref()),
        transmission_code: put(attachment.transmission_code.as_ref()),
    }))
}

fn put_ndc(ndc: &Ndc) -> Option<Object<NdcData>> {
    Object::some(NdcData {
        code: put(Some(&ndc.code)),
        unit: put(ndc.unit.as_ref()),
        quantity: ndc.quantity.and_then(Checked::some),
    })
}

fn put_service_line(line: &ServiceLine) -> Object<ServiceLineData> {
    Object(Ok(ServiceLineData {
        line_item_control_number: put_private(line.control_number.as_ref()),
        procedure_code: put(line.procedure_code.as_ref()),
        procedure_modifiers: put_codes(&line.modifiers),
        revenue_code: put(line.revenue_code.as_ref()),
        line_item_charge_amount: Checked::some(line.charge),
        service_unit_count: line.units.and_then(Checked::some),
        unit_type: put(line.unit_type.as_ref()),
        place_of_service_code: put(line.place_of_service.as_ref()),
        service_date_from: line.service_from.and_then(Checked::some),
        service_date_to: line.service_to.and_then(Checked::some),
        diagnosis_pointers: put_all(&line.diagnosis_pointers),
        ndc: line.ndc.as_ref().and_then(put_ndc),
        description: put_private(line.description.as_ref()),
        ordering_provider: line.ordering_provider.as_ref().and_then(put_provider),
    }))
}
