//! The simulator: practices, payers with hidden rules, their claims and remittances, and the truth about each.
//!
//! A pure function of its options: the same options give the same bytes on every machine. Must never: ask a clock or
//! the operating system's randomness, iterate a hash map, or use a real person's or company's name or number.

mod causes;
mod claims;
mod codes;
mod edits;
mod episode;
mod group;
mod output;
mod random;
mod segments;
mod steps;
mod truth;
mod verdict;
mod world;
mod write_835;
mod write_837;

#[cfg(test)]
mod tests;

pub use output::{Format, SOURCE, Written, claim_events, remittance_events, write_dir};
pub use steps::{HEADER as STEPS_HEADER, Step, steps_csv};
pub use truth::{HEADER as TRUTH_HEADER, Truth, truth_csv};
pub use write_835::write_835;
pub use write_837::write_837;

use crate::domain::claim::Claim;
use crate::domain::remittance::Remittance;
use crate::domain::types::{Date, Instant};
use crate::wire::{Event, Payload, x12_event};

/// What kind of world is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scenario {
    /// Hidden rules of every kind.
    #[default]
    Base,
    /// As the base, with further mechanisms that no cell of the scorecard describes.
    MisSpecified,
    /// Denials are independent of everything, 12 % of the claims: nothing can be learned.
    Noise,
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of claims, all submissions counted (replacements, voids, secondary claims, duplicates).
    pub claims: u32,
    /// Seed: another one gives another world.
    pub seed: u64,
    /// First day of submission; years before 1980 or after 2100 count as these.
    pub start: Date,
    /// Months over which claims are sent, 1 to 24; others count as the nearest of these.
    pub months: u32,
    /// Number of practices; at most 999; three or more, so that each claim type has one.
    pub practices: u32,
    /// Number of payers; at most 99; four or more, so that most kinds are there.
    pub payers: u32,
    /// Whether the payers' rules change over time: policies that start, enforcement that jumps, a random walk.
    pub drift: bool,
    /// Kind of world.
    pub scenario: Scenario,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            claims: 1000,
            seed: 1,
            start: Date::from_ymd_opt(2025, 1, 1).unwrap_or_default(),
            months: 12,
            practices: 16,
            payers: 14,
            drift: true,
            scenario: Scenario::Base,
        }
    }
}

impl Options {
    /// The options within their bounds, so that no date leaves the calendar and no list is empty.
    fn bounded(&self) -> Self {
        let year = |year| Date::from_ymd_opt(year, 1, 1).unwrap_or_default();
        Self {
            start: self.start.clamp(year(1980), year(2100)),
            months: self.months.clamp(1, 24),
            practices: self.practices.clamp(1, 999),
            payers: self.payers.clamp(1, 99),
            ..self.clone()
        }
    }
}

/// One submission of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimClaim {
    /// The claim as a reader of its 837 sees it.
    pub claim: Claim,
    /// When it was sent (BHT04, BHT05).
    pub submitted: Instant,
    /// What is true of it.
    pub truth: Truth,
    /// Place of the practice in the simulated world.
    pub practice: usize,
    /// Number of the patient, who has no other name.
    pub patient: u32,
}

impl SimClaim {
    /// It as an event, as a publisher of X12 sends it.
    pub fn event(&self) -> Event {
        x12_event(Payload::Claim(Box::new(self.claim.clone())), Some(self.submitted))
    }
}

/// One remitted claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimRemittance {
    /// The remittance as a reader of its 835 sees it.
    pub remittance: Remittance,
    /// Day of payment at midnight UTC (BPR16).
    pub time: Instant,
    /// Place of the payer in the simulated world.
    pub payer: usize,
    /// Place of the practice in the simulated world.
    pub practice: usize,
    /// Number of the patient, who has no other name.
    pub patient: u32,
}

impl SimRemittance {
    /// It as an event, as a publisher of X12 sends it.
    pub fn event(&self) -> Event {
        x12_event(Payload::Remittance(Box::new(self.remittance.clone())), Some(self.time))
    }
}

/// A simulated history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Simulation {
    /// The claims, by time of submission.
    pub claims: Vec<SimClaim>,
    /// The remittances, by day of payment, then 835, then place in it.
    pub remittances: Vec<SimRemittance>,
    /// When payers began to deny what they used to pay.
    pub steps: Vec<Step>,
}

/// Simulates: exactly as many claims as asked for, and the remittances that answer them.
pub fn simulate(options: &Options) -> Simulation {
    let options = &options.bounded();
    let world = world::World::new(options);
    let wanted = usize::try_from(options.claims).unwrap_or(usize::MAX);
    let mut simulation = Simulation { steps: steps::of(&world, options.start), ..Simulation::default() };
    let mut loose = Vec::new();
    for index in 0..options.claims {
        let room = wanted - simulation.claims.len();
        if room == 0 {
            break;
        }
        let episode = episode::play(options, &world, index, room);
        simulation.claims.extend(episode.claims);
        loose.extend(episode.remittances);
    }
    // Stable: claims of one batch stay in the order of their episodes.
    simulation.claims.sort_by_key(|entry| (entry.submitted, entry.practice, entry.claim.claim_type));
    simulation.remittances = group::into_835s(options, loose);
    simulation
}
