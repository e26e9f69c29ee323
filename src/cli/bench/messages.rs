//! The simulated claims and remittances as messages for the broker, as often as they are wanted.
//!
//! Must never: send the same event twice to one database: a duplicate is little work.

use crate::broker::Outgoing;
use crate::domain::types::Phi;
use crate::flow::split::message_of;
use crate::simulate::{SimClaim, SimRemittance, Simulation};
use crate::wire::{Payload, x12_event};

/// Claims to each remittance of the mixed run.
const CLAIMS_TO_A_REMITTANCE: usize = 4;

/// The claims, by time of submission. `copy` 0 is as simulated; another is the same of other patients.
pub(super) fn claims(simulation: &Simulation, copy: u32) -> impl Iterator<Item = Outgoing> {
    simulation.claims.iter().map(move |sent| claim(sent, copy))
}

/// The remittances, by day of payment, for the claims of the same copy.
pub(super) fn remittances(simulation: &Simulation, copy: u32) -> impl Iterator<Item = Outgoing> {
    simulation.remittances.iter().map(move |answer| remittance(answer, copy))
}

/// Claims, and a remittance after each few of them.
pub(super) fn mixed(simulation: &Simulation) -> Vec<Outgoing> {
    let mut answers = remittances(simulation, 0);
    let mut messages = Vec::new();
    for (place, message) in claims(simulation, 0).enumerate() {
        messages.push(message);
        if (place + 1) % CLAIMS_TO_A_REMITTANCE == 0 {
            messages.extend(answers.next());
        }
    }
    messages
}

fn claim(sent: &SimClaim, copy: u32) -> Outgoing {
    let mut claim = sent.claim.clone();
    claim.patient_control_number = renamed(&claim.patient_control_number, copy);
    for number in
        [&mut claim.claim_control_number, &mut claim.payer_claim_control_number, &mut claim.subscriber.member_id]
    {
        *number = number.as_ref().map(|number| renamed(number, copy));
    }
    message_of(&x12_event(Payload::Claim(Box::new(claim)), Some(sent.submitted)))
}

fn remittance(answer: &SimRemittance, copy: u32) -> Outgoing {
    let mut remittance = answer.remittance.clone();
    remittance.patient_control_number = renamed(&remittance.patient_control_number, copy);
    for number in [&mut remittance.payer_claim_control_number, &mut remittance.member_id] {
        *number = number.as_ref().map(|number| renamed(number, copy));
    }
    message_of(&x12_event(Payload::Remittance(Box::new(remittance)), Some(answer.time)))
}

/// In front, so that numbers that were cut short at the end still fit.
fn renamed(number: &Phi<String>, copy: u32) -> Phi<String> {
    if copy == 0 { number.clone() } else { Phi::new(format!("R{copy}{}", number.expose())) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::simulate::{Options, simulate};

    #[test]
    fn no_event_comes_twice_and_answers_stand_among_the_claims() {
        let simulation = simulate(&Options { claims: 60, ..Options::default() });
        let all: Vec<Outgoing> = (0..3).flat_map(|copy| claims(&simulation, copy)).collect();
        let ids: BTreeSet<_> = all.iter().map(|message| message.message_id.clone()).collect();
        assert_eq!((all.len(), ids.len()), (180, 180));
        let mixed = mixed(&simulation);
        let is_answer = |message: &Outgoing| message.routing_key == "remittance.received";
        assert_eq!(mixed.len(), 75);
        assert_eq!(mixed.iter().skip(4).step_by(5).filter(|message| is_answer(message)).count(), 15);
    }
}
