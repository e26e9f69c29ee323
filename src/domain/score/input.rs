//! A digest of what a score was computed from, so that two scores can be told to have seen the same claim.
//!
//! Must never: hash what scoring does not look at (names, control numbers of the patient), or leave out a field without
//! saying so: the claim is taken apart by name, so that a new field does not compile until it is decided upon.

use crate::domain::claim::{Attachment, Claim, OtherPayer, Provider, ServiceLine, Subscriber};
use crate::domain::rules::{EarlierClaim, EarlierLine, Facts};
use crate::domain::types::{Date, Phi};
use chrono::Datelike;

/// The BLAKE3 digest, in hexadecimal, of a claim and the facts around it.
pub(super) fn digest(claim: &Claim, facts: &Facts) -> String {
    let mut bytes = Bytes(Vec::with_capacity(1024));
    bytes.claim(claim);
    bytes.dates_and_codes(claim);
    bytes.date(facts.as_of);
    bytes.flag(Some(facts.complete));
    bytes.around(claim, facts);
    blake3::hash(&bytes.0).to_hex().to_string()
}

/// Bytes with one reading only: every text and list carries its length, every option its presence.
struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn size(&mut self, size: usize) {
        // No list or text of a claim comes near 2^32.
        self.0.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.0.push(match flag {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        });
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(Some(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.size(values.len());
        for value in values {
            write(self, value);
        }
    }

    fn text(&mut self, text: &str) {
        self.size(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn maybe_text(&mut self, text: Option<&String>) {
        self.option(text, |bytes, text| bytes.text(text));
    }

    fn maybe_private(&mut self, text: Option<&Phi<String>>) {
        self.option(text, |bytes, text| bytes.text(text.expose()));
    }

    fn texts(&mut self, texts: &[String]) {
        self.list(texts, |bytes, text| bytes.text(text));
    }

    fn date(&mut self, date: Option<Date>) {
        self.option(date, |bytes, date| bytes.number(i64::from(date.num_days_from_ce())));
    }

    fn provider(&mut self, provider: &Provider) {
        let Provider { npi, tax_id, taxonomy_code, is_organization } = provider;
        self.maybe_text(npi.as_ref());
        self.maybe_text(tax_id.as_ref());
        self.maybe_text(taxonomy_code.as_ref());
        self.flag(*is_organization);
    }

    fn maybe_provider(&mut self, provider: Option<&Provider>) {
        self.option(provider, Self::provider);
    }

    fn other_payer(&mut self, payer: &OtherPayer) {
        let OtherPayer { id, responsibility, paid_amount, adjustments } = payer;
        self.maybe_text(id.as_ref());
        self.option(*responsibility, |bytes, place| bytes.text(place.code()));
        self.option(*paid_amount, |bytes, amount| bytes.number(amount.get()));
        self.list(adjustments, |bytes, adjustment| {
            bytes.text(&adjustment.group_code);
            bytes.text(&adjustment.reason_code);
            bytes.number(adjustment.amount.get());
        });
    }

    fn line(&mut self, line: &ServiceLine) {
        let ServiceLine {
            control_number: _,
            procedure_code,
            modifiers,
            revenue_code,
            charge,
            units,
            unit_type,
            place_of_service,
            service_from,
            service_to,
            diagnosis_pointers,
            ndc,
            description,
            ordering_provider,
        } = line;
        self.maybe_text(procedure_code.as_ref());
        self.texts(modifiers);
        self.maybe_text(revenue_code.as_ref());
        self.number(charge.get());
        self.option(*units, |bytes, units| bytes.number(units.thousandths()));
        self.maybe_text(unit_type.as_ref());
        self.maybe_text(place_of_service.as_ref());
        self.date(*service_from);
        self.date(*service_to);
        self.size(diagnosis_pointers.len());
        self.0.extend_from_slice(diagnosis_pointers);
        self.option(ndc.as_ref(), |bytes, ndc| {
            bytes.text(&ndc.code);
            bytes.maybe_text(ndc.unit.as_ref());
            bytes.option(ndc.quantity, |bytes, units| bytes.number(units.thousandths()));
        });
        self.maybe_private(description.as_ref());
        self.maybe_provider(ordering_provider.as_ref());
    }

    /// Who, to whom, and the lines.
    fn claim(&mut self, claim: &Claim) {
        let Subscriber { member_id, birth_date, gender } = &claim.subscriber;
        self.maybe_private(member_id.as_ref());
        self.date(birth_date.as_ref().map(|date| *date.expose()));
        self.maybe_private(gender.as_ref());
        self.provider(&claim.billing_provider);
        for provider in [
            &claim.rendering_provider,
            &claim.referring_provider,
            &claim.attending_provider,
            &claim.ordering_provider,
            &claim.service_facility,
        ] {
            self.maybe_provider(provider.as_ref());
        }
        self.list(&claim.other_payers, Self::other_payer);
        self.list(&claim.lines, Self::line);
    }

    /// The claim's own fields. Taken apart by name, so that none is forgotten.
    fn dates_and_codes(&mut self, claim: &Claim) {
        let Claim {
            practice_id: _,
            patient_control_number: _,
            claim_control_number: _,
            responsibility,
            frequency_code,
            payer_claim_control_number,
            filing_indicator,
            claim_type,
            facility_type_code,
            type_of_bill,
            assignment_code,
            payer,
            subscriber: _,
            patient_is_dependent,
            billing_provider: _,
            rendering_provider: _,
            referring_provider: _,
            attending_provider: _,
            ordering_provider: _,
            service_facility: _,
            prior_authorization_number,
            referral_number,
            clia_number,
            statement_date,
            statement_to_date,
            admission_date,
            discharge_date,
            accident_date,
            related_causes,
            admission_type_code,
            admission_source_code,
            discharge_status_code,
            submitted_at,
            total_charge,
            diagnosis_codes,
            condition_codes,
            other_payers: _,
            attachments,
            lines: _,
            // Hashed as one of the facts.
            complete: _,
        } = claim;
        self.text(responsibility.code());
        self.text(claim_type.as_str());
        self.text(frequency_code);
        for code in [
            filing_indicator,
            facility_type_code,
            type_of_bill,
            assignment_code,
            &payer.id,
            clia_number,
            admission_type_code,
            admission_source_code,
            discharge_status_code,
        ] {
            self.maybe_text(code.as_ref());
        }
        // Of references, only whether they are there.
        for reference in [payer_claim_control_number, prior_authorization_number, referral_number] {
            self.flag(reference.as_ref().map(|text| !text.expose().trim().is_empty()));
        }
        for date in [statement_date, statement_to_date, admission_date, discharge_date, accident_date, submitted_at] {
            self.date(*date);
        }
        self.flag(Some(*patient_is_dependent));
        self.number(total_charge.get());
        for codes in [related_causes, diagnosis_codes, condition_codes] {
            self.texts(codes);
        }
        self.list(attachments, Self::attachment);
    }

    /// The tables' version and what was sent before, where that is known: without them the digest is what it was before
    /// either. With them counts what the claim is looked up by, which is of no other use to scoring.
    fn around(&mut self, claim: &Claim, facts: &Facts) {
        if let Some(version) = facts.tables.version() {
            self.text("tables");
            self.text(version);
            self.text(claim.practice_key().unwrap_or_default());
            self.text(&claim.payer.key());
            self.maybe_private(claim.prior_authorization_number.as_ref());
        }
        if let Some(earlier) = &facts.earlier {
            self.text("earlier");
            self.text(&claim.payer.key());
            self.list(earlier, |bytes, one| bytes.earlier(claim, one));
        }
    }

    /// Of decisions, only those on the claim itself: of others it counts only whether they stand.
    fn earlier(&mut self, claim: &Claim, one: &EarlierClaim) {
        let EarlierClaim {
            payer_key,
            patient_control_number: _,
            responsibility: _,
            billing_npi,
            taxonomy_code,
            status,
            decided_on,
            lines,
        } = one;
        self.text(payer_key);
        self.maybe_text(billing_npi.as_ref());
        self.maybe_text(taxonomy_code.as_ref());
        self.flag(Some(status.stands()));
        self.option(one.is_same_claim(claim).then_some(decided_on), |bytes, decided_on| {
            bytes.flag(Some(status.is_decided()));
            bytes.date(*decided_on);
        });
        self.list(lines, |bytes, line| {
            let EarlierLine { procedure_code, modifiers, service_from, units, charge } = line;
            bytes.text(procedure_code);
            bytes.texts(modifiers);
            bytes.date(*service_from);
            bytes.option(*units, |bytes, units| bytes.number(units.thousandths()));
            bytes.number(charge.get());
        });
    }

    fn attachment(&mut self, attachment: &Attachment) {
        self.maybe_text(attachment.report_type_code.as_ref());
        self.maybe_text(attachment.transmission_code.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reference::samples;
    use crate::domain::rules::EarlierStatus;
    use crate::domain::rules::fixtures::{office_visit, sent_before};

    #[test]
    fn the_digest_follows_tables_and_earlier_claims_and_is_the_old_one_without_them() {
        let claim = office_visit();
        let bare = digest(&claim, &Facts::default());
        assert_eq!(
            bare, "a2df85b841b0059e37d10a90a03b69b2351b910978c1346cb07a6a40bb467b5e",
            "changes only when what is hashed of a claim changes"
        );
        let tables = Facts::default().with_tables(samples::all().into());
        let nothing = Facts::default().with_earlier(Some(Vec::new()));
        let sent = Facts::default().with_earlier(Some(vec![sent_before(&claim)]));
        let decided = EarlierClaim { status: EarlierStatus::Denied, ..sent_before(&claim) };
        let decided_of_another = EarlierClaim { patient_control_number: Phi::from("OTHER"), ..decided.clone() };
        let taken_back = EarlierClaim { status: EarlierStatus::Reversed, ..decided_of_another.clone() };
        let sent_of_another = EarlierClaim { status: EarlierStatus::Sent, ..decided_of_another.clone() };
        let [decided, decided_of_another, taken_back, sent_of_another] =
            [decided, decided_of_another, taken_back, sent_of_another]
                .map(|one| Facts::default().with_earlier(Some(vec![one])));
        assert_eq!(digest(&claim, &decided_of_another), digest(&claim, &sent_of_another), "no rule looks at it");
        let digests =
            [&tables, &nothing, &sent, &decided, &decided_of_another, &taken_back].map(|facts| digest(&claim, facts));
        for (place, one) in digests.iter().enumerate() {
            assert!(*one != bare && !digests.iter().skip(place + 1).any(|other| other == one), "{place}");
        }
        let mut other = claim;
        other.prior_authorization_number = Some(Phi::from("1"));
        let first = digest(&other, &tables);
        other.prior_authorization_number = Some(Phi::from("2"));
        assert_ne!(digest(&other, &tables), first);
    }
}
