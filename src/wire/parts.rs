//! The parts that claims and remittances share: payer, subscriber, provider, adjustment; read and written.
//!
//! Must never: make up a part that was not sent. A provider without a single fact is read as none.

use super::reading::{
    At, List, Object, Violation, list, object, objects, optional, private, put, put_private, required, required_text,
    take, text, wire,
};
use super::text::{Checked, Code, Day, Flag, Identifier, Money, Name, Quantity};
use crate::domain::claim::{Payer, Provider, Subscriber};
use crate::domain::remittance::Adjustment;
use crate::domain::types::Phi;

wire! {
    /// A payer.
    pub(super) struct PayerData {
        /// Payer id (NM109, N104).
        payer_id: Option<Identifier>,
        /// Payer name.
        name: Option<Name>,
    }
}

wire! {
    /// The insured, and the patient's birth date and gender.
    pub(super) struct SubscriberData {
        /// Member id (NM109).
        pub(super) member_id: Option<Identifier>,
        /// Birth date of the patient (DMG02).
        birth_date: Option<Checked<Day>>,
        /// F, M or U (DMG03).
        gender: Option<Code>,
    }
}

wire! {
    /// A provider in one of its parts.
    pub(super) struct ProviderData {
        /// National Provider Identifier.
        npi: Option<Identifier>,
        /// Tax id, with or without hyphens.
        tax_id: Option<Identifier>,
        /// Taxonomy code (PRV03).
        taxonomy_code: Option<Code>,
        /// Whether it is an organisation (NM102 = 2) rather than a person.
        is_organization: Option<Checked<Flag>>,
    }
}

wire! {
    /// One adjustment (a triplet of CAS).
    pub(super) struct AdjustmentData {
        /// Who bears it: CO, PR, OA, PI, CR (CAS01).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        group_code: Option<Code>,
        /// Claim adjustment reason code (CAS02).
        #[schemars(required, extend("allOf" = [{"pattern": "\\S"}]))]
        reason_code: Option<Code>,
        /// Amount; positive reduces what is paid (CAS03).
        #[schemars(required)]
        amount: Option<Checked<Money>>,
        /// Units adjusted (CAS04).
        quantity: Option<Checked<Quantity>>,
    }
}

/// Reads a payer; an absent one is one of which nothing is known.
pub(super) fn payer(field: Option<Object<PayerData>>, at: &At<'_>) -> Result<Payer, Violation> {
    let Some(data) = object(field, at)? else { return Ok(Payer::default()) };
    Ok(Payer { id: take!(text, data.payer_id, at), name: take!(text, data.name, at) })
}

/// Reads a subscriber; an absent one is one of which nothing is known.
pub(super) fn subscriber(field: Option<Object<SubscriberData>>, at: &At<'_>) -> Result<Subscriber, Violation> {
    let Some(data) = object(field, at)? else { return Ok(Subscriber::default()) };
    Ok(Subscriber {
        member_id: take!(private, data.member_id, at),
        birth_date: take!(optional, data.birth_date, at).map(Phi::new),
        gender: take!(private, data.gender, at),
    })
}

/// Reads a provider. One without a single fact is no provider: publishers send such objects for nothing.
pub(super) fn provider(field: Option<Object<ProviderData>>, at: &At<'_>) -> Result<Option<Provider>, Violation> {
    let Some(data) = object(field, at)? else { return Ok(None) };
    let provider = Provider {
        npi: take!(text, data.npi, at),
        tax_id: take!(text, data.tax_id, at).map(without_hyphens),
        taxonomy_code: take!(text, data.taxonomy_code, at),
        is_organization: take!(optional, data.is_organization, at),
    };
    Ok(Some(provider).filter(|provider| *provider != Provider::default()))
}

/// A tax id as the domain holds it; written both `12-3456789` and `123456789`.
pub(super) fn without_hyphens(tax_id: String) -> String {
    if tax_id.contains('-') { tax_id.replace('-', "") } else { tax_id }
}

/// Reads a list of adjustments.
pub(super) fn adjustments<const MAX: usize>(
    field: Option<List<Object<AdjustmentData>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<Adjustment>, Violation> {
    objects(list(field, at)?, at, |data, at| {
        Ok(Adjustment {
            group_code: take!(required_text, data.group_code, at),
            reason_code: take!(required_text, data.reason_code, at),
            amount: take!(required, data.amount, at),
            quantity: take!(optional, data.quantity, at),
        })
    })
}

/// Writes a payer unless nothing is known of it.
pub(super) fn put_payer(payer: &Payer) -> Option<Object<PayerData>> {
    if *payer == Payer::default() {
        return None;
    }
    Object::some(PayerData { payer_id: put(payer.id.as_ref()), name: put(payer.name.as_ref()) })
}

/// Writes a subscriber unless nothing is known of it.
pub(super) fn put_subscriber(subscriber: &Subscriber) -> Option<Object<SubscriberData>> {
    if *subscriber == Subscriber::default() {
        return None;
    }
    Object::some(SubscriberData {
        member_id: put_private(subscriber.member_id.as_ref()),
        birth_date: subscriber.birth_date.as_ref().and_then(|day| Checked::some(*day.expose())),
        gender: put_private(subscriber.gender.as_ref()),
    })
}

/// Writes the member id alone, as a remittance carries it.
pub(super) fn put_member(member_id: Option<&Phi<String>>) -> Option<Object<SubscriberData>> {
    let member_id = put_private(member_id)?;
    Object::some(SubscriberData { member_id: Some(member_id), birth_date: None, gender: None })
}

/// Writes a provider unless nothing is known of it.
pub(super) fn put_provider(provider: &Provider) -> Option<Object<ProviderData>> {
    if *provider == Provider::default() {
        return None;
    }
    Object::some(ProviderData {
        npi: put(provider.npi.as_ref()),
        tax_id: put(provider.tax_id.as_ref()),
        taxonomy_code: put(provider.taxonomy_code.as_ref()),
        is_organization: provider.is_organization.and_then(Checked::some),
    })
}

/// Writes adjustments unless there are none.
pub(super) fn put_adjustments<const MAX: usize>(
    adjustments: &[Adjustment],
) -> Option<List<Object<AdjustmentData>, MAX>> {
    let write = |adjustment: &Adjustment| {
        Object(Ok(AdjustmentData {
            group_code: put(Some(&adjustment.group_code)),
            reason_code: put(Some(&adjustment.reason_code)),
            amount: Checked::some(adjustment.amount),
            quantity: adjustment.quantity.and_then(Checked::some),
        }))
    };
    List::unless_empty(adjustments.iter().map(write).collect())
}
