//! The data of `claim.acknowledged.v1` (277CA), read into and written from the domain's [`Acknowledgement`].
//!
//! Must never: derive acceptance from a status code; the publisher says it.

use super::reading::{At, Kind, Violation, control_number, put, put_private, required, take, text, wire};
use super::text::{Checked, Code, Flag, Identifier};
use crate::domain::remittance::Acknowledgement;

wire! {
    /// Whether a claim was taken in (277CA). Unknown fields are ignored; null is the same as absent.
    pub struct AcknowledgementData {
        /// Practice, as the publisher names it; absent, the billing provider's NPI stands for it.
        practice_id: Option<Identifier>,
        /// NPI of the billing provider.
        billing_provider_npi: Option<Identifier>,
        /// Patient control number of the claim (TRN02).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        patient_control_number: Option<Identifier>,
        /// Whether it was taken in.
        #[schemars(required)]
        accepted: Option<Checked<Flag>>,
        /// Category, such as A2 or A7 (STC01-1).
        claim_status_category_code: Option<Code>,
        /// Status (STC01-2).
        claim_status_code: Option<Code>,
    }
}

impl AcknowledgementData {
    /// Turns what was read into an acknowledgement; `at` is the place of the data in the document.
    pub(super) fn read(self, at: &At<'_>) -> Result<Acknowledgement, Violation> {
        let data = self;
        let acknowledgement = Acknowledgement {
            practice_id: take!(text, data.practice_id, at),
            billing_provider_npi: take!(text, data.billing_provider_npi, at),
            patient_control_number: take!(control_number, data.patient_control_number, at),
            accepted: take!(required, data.accepted, at),
            category_code: take!(text, data.claim_status_category_code, at),
            status_code: take!(text, data.claim_status_code, at),
        };
        if acknowledgement.practice_key().is_none() {
            let kind = Kind::NoIdentifier("practiceId or billingProviderNpi is required");
            return Err(At::Field(at, "practice_id").violation(kind));
        }
        Ok(acknowledgement)
    }
}

impl From<&Acknowledgement> for AcknowledgementData {
    /// Writes an acknowledgement; what is unknown is left out.
    fn from(acknowledgement: &Acknowledgement) -> Self {
        Self {
            practice_id: put(acknowledgement.practice_id.as_ref()),
            billing_provider_npi: put(acknowledgement.billing_provider_npi.as_ref()),
            patient_control_number: put_private(Some(&acknowledgement.patient_control_number)),
            accepted: Checked::some(acknowledgement.accepted),
            claim_status_category_code: put(acknowledgement.category_code.as_ref()),
            claim_status_code: put(acknowledgement.status_code.as_ref()),
        }
    }
}
