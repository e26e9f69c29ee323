//! Finds the claim of each remittance of a history, by the same ladder as the workers.
//!
//! Must never: depend on the order in which files were read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gathering, Remitted};
use crate::domain::link::{Candidate, Link, link, mangled_keys, normalise_control_number};
use crate::domain::types::Date;

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
