//! Puts remittances into 835 transactions: one per payer, practice and day of payment.
//!
//! Must never: let a transaction pay a negative amount. What is missing is carried forward (PLB reason FB).

use std::collections::BTreeMap;

use super::episode::Loose;
use super::random::Rand;
use super::{Options, SimRemittance};
use crate::domain::remittance::ProviderAdjustment;
use crate::domain::types::{Cents, Date};

/// Gives each remittance its trace number and its place, and the last of each 835 the provider adjustments.
pub fn into_835s(options: &Options, loose: Vec<Loose>) -> Vec<SimRemittance> {
    let mut groups: BTreeMap<(Date, usize, usize), Vec<Loose>> = BTreeMap::new();
    for one in loose {
        groups.entry((one.day, one.payer, one.practice)).or_default().push(one);
    }
    let mut found = Vec::new();
    for ((day, payer, practice), mut group) in groups {
        let serial = day.format("%y%m%d").to_string();
        let trace = format!("EFT{payer:02}{practice:03}{serial}");
        let stream = number(payer) * 1_000 + number(practice);
        let mut rand = Rand::of(options.seed, &serial, stream);
        shuffle_pairs(&mut group, &mut rand);
        let adjustments = provider_adjustments(&group, &mut rand);
        let last = group.len().saturating_sub(1);
        for (place, one) in group.into_iter().enumerate() {
            let mut remittance = one.remittance;
            remittance.trace_number = Some(trace.clone());
            remittance.claim_ordinal = u32::try_from(place + 1).unwrap_or(u32::MAX);
            if place == last {
                remittance.provider_adjustments.clone_from(&adjustments);
            }
            let time = super::claims::at(day, 0);
            found.push(SimRemittance { remittance, time, payer, practice, patient: one.patient });
        }
    }
    found
}

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// A reversal before its correction is recommended, not guaranteed: one pair in ten stands the other way round.
fn shuffle_pairs(group: &mut [Loose], rand: &mut Rand) {
    for place in 1..group.len() {
        let Some([first, second]) = group.get_mut(place - 1..=place) else { continue };
        let pair = first.remittance.is_reversal()
            && !second.remittance.is_reversal()
            && first.remittance.patient_control_number == second.remittance.patient_control_number;
        if pair && rand.chance(100_000) {
            std::mem::swap(first, second);
        }
    }
}

/// Interest, recoveries and what is carried forward; the sum never exceeds what the claims pay.
fn provider_adjustments(group: &[Loose], rand: &mut Rand) -> Vec<ProviderAdjustment> {
    let paid: Cents = group.iter().map(|one| one.remittance.payment).sum();
    let (interest, recovery) = (rand.chance(30_000), rand.chance(20_000));
    let amount = rand.between(5, 900);
    let adjustment =
        |reason: &str, cents: i64| ProviderAdjustment { reason_code: reason.to_owned(), amount: Cents::new(cents) };
    let mut found = Vec::new();
    if paid < Cents::ZERO {
        // Takes nothing from the practice today: BPR02 becomes zero.
        found.push(adjustment("FB", paid.get()));
    } else {
        if recovery && paid.get() > amount * 10 {
            found.push(adjustment("WO", amount * 10));
        }
        if interest {
            found.push(adjustment("L6", -amount));
        }
    }
    found
}
