//! Finds the claim of each remittance of a history, by the same ladder as the workers.
//!
//! Must never: depend on the order in which files were read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gathering, Remitted};
use crate::domain::claim::Claim;
use crate::domain::link::{Candidate, Link, RemittanceKey, link, mangled_keys, normalise_control_number};
use crate::domain::remittance::Remittance;
use crate::domain::types::{Date, Phi};

/// What a claim can be found by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Handle {
    Exact(String),
    Mangled(String),
    PayerNumber(String),
    Member(String, Date),
}

impl Gathering {
    /// The claim of each remittance, by its place.
    pub(super) fn linked(&self) -> Vec<Option<usize>> {
        let handles = self.handles();
        let find =
            |practice: &str, handle: Handle| handles.get(&(practice.to_owned(), handle)).map_or(&[][..], Vec::as_slice);
        let exact = |remitted: &Remitted| {
            find(&remitted.practice, Handle::Exact(remitted.key.patient_control_number.expose().clone()))
        };
        let mut siblings: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
        for remitted in &self.remittances {
            if let Some(number) = &remitted.key.payer_claim_control_number {
                let named = siblings.entry((&remitted.practice, number.expose())).or_default();
                named.extend(exact(remitted));
            }
        }
        let of = |remitted: &Remitted| {
            let mut places: BTreeSet<(usize, bool)> = exact(remitted).iter().map(|place| (*place, false)).collect();
            if places.is_empty() {
                let key = &remitted.key;
                let number = normalise_control_number(key.patient_control_number.expose());
                let mut lower = vec![Handle::Mangled(number)];
                if let Some(number) = &key.payer_claim_control_number {
                    lower.push(Handle::PayerNumber(number.expose().clone()));
                    let named = siblings.get(&(remitted.practice.as_str(), number.expose().as_str()));
                    places.extend(named.into_iter().flatten().map(|place| (*place, true)));
                }
                if let (Some(member), Some(day)) = (&key.member_id, key.service_from) {
                    lower.push(Handle::Member(normalise_control_number(member.expose()), day));
                }
                for handle in lower {
                    places.extend(find(&remitted.practice, handle).iter().map(|place| (*place, false)));
                }
            }
            let candidates: Vec<Candidate> = places
                .into_iter()
                .filter_map(|(place, sibling)| Some(Candidate { sibling, ..self.claims.get(place)?.candidate.clone() }))
                .collect();
            match link(&remitted.key, &candidates) {
                Link::Linked { claim_id, .. } => usize::try_from(claim_id).ok(),
                Link::Ambiguous { .. } | Link::None => None,
            }
        };
        self.remittances.iter().map(of).collect()
    }

    fn handles(&self) -> BTreeMap<(String, Handle), Vec<usize>> {
        let mut handles: BTreeMap<(String, Handle), Vec<usize>> = BTreeMap::new();
        for ((practice, number, _), place) in &self.places {
            let Some(known) = self.claims.get(*place) else { continue };
            let candidate = &known.candidate;
            let mut own = vec![Handle::Exact(number.clone())];
            own.extend(mangled_keys(number).into_iter().map(Handle::Mangled));
            own.extend(
                candidate.payer_claim_control_number.iter().map(|one| Handle::PayerNumber(one.expose().clone())),
            );
            if let (Some(member), Some(day)) = (&candidate.member_id, candidate.service_from) {
                own.push(Handle::Member(normalise_control_number(member.expose()), day));
            }
            for handle in own {
                handles.entry((practice.clone(), handle)).or_default().push(*place);
            }
        }
        handles
    }
}

fn filled(text: Option<&Phi<String>>) -> Option<Phi<String>> {
    text.filter(|text| !text.expose().is_empty()).cloned()
}

pub(super) fn candidate(claim: &Claim, id: i64) -> Candidate {
    Candidate {
        claim_id: id,
        patient_control_number: claim.patient_control_number.clone(),
        responsibility: claim.responsibility,
        payer_key: Some(claim.payer.key()),
        frequency_code: claim.frequency_code.clone(),
        payer_claim_control_number: filled(claim.payer_claim_control_number.as_ref()),
        member_id: filled(claim.subscriber.member_id.as_ref()),
        service_from: claim.service_date(),
        service_to: claim.last_service_date(),
        total_charge: claim.total_charge,
        sibling: false,
        submitted_at: claim.submitted_at,
    }
}

pub(super) fn remittance_key(remittance: &Remittance) -> RemittanceKey {
    let last = remittance.lines.iter().filter_map(|line| line.service_to.or(line.service_from)).max();
    RemittanceKey {
        patient_control_number: remittance.patient_control_number.clone(),
        payer_key: Some(remittance.payer.key()),
        payer_claim_control_number: filled(remittance.payer_claim_control_number.as_ref()),
        status_code: remittance.status_code.clone(),
        frequency_code: remittance.frequency_code.clone(),
        member_id: filled(remittance.member_id.as_ref()),
        service_from: remittance.service_date(),
        service_to: last.or(remittance.service_to),
        total_charge: remittance.total_charge,
        payment_date: remittance.payment_date,
    }
}
