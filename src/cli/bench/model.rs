//! What learning and scoring with a learned model take, on one core.
//!
//! Must never: measure the making of its own material, or a model that has learned nothing.

use std::hint::black_box;
use std::time::Instant;

use super::Samples;
use super::reader::Material;
use crate::domain::claim::Claim;
use crate::domain::model::{Configuration, Ledger};
use crate::domain::rules::Facts;
use crate::domain::score::{Levels, Snapshot, score};
use crate::history::Gathering;
use crate::simulate::SimClaim;

/// Service lines of the claims that are scored one by one.
const LINES: usize = 6;

/// Learns and scores in this thread.
pub(super) fn measure(material: &Material, rounds: u32, samples: &mut Samples) {
    let ledger = ledger(material);
    for _ in 0..rounds {
        let started = Instant::now();
        let learner = black_box(&ledger).replay(Configuration::default());
        samples.add("learn", learner.labels() as f64 / started.elapsed().as_secs_f64());
        score_all(material, &Snapshot::of(&learner), samples);
    }
}

fn ledger(material: &Material) -> Ledger {
    let mut gathering = Gathering::default();
    material.simulation.claims.iter().for_each(|sent| gathering.take(sent.event()));
    material.simulation.remittances.iter().for_each(|answer| gathering.take(answer.event()));
    gathering.finish().ledger()
}

/// The simulated claims, each with six lines: its own and those of the claims after it.
fn of_six_lines(claims: &[SimClaim]) -> impl Iterator<Item = (Claim, Facts)> {
    claims.iter().enumerate().map(move |(place, sent)| {
        let following = claims.iter().skip(place).chain(claims);
        let lines = following.flat_map(|other| &other.claim.lines).take(LINES).cloned().collect();
        let claim = Claim { lines, ..sent.claim.clone() };
        let facts = Facts::of(&claim, sent.submitted.date_naive());
        (claim, facts)
    })
}

/// Scores claim by claim: the mean, what 99 of 100 stay within, and how many scores are not the sum of their parts.
fn score_all(material: &Material, snapshot: &Snapshot, samples: &mut Samples) {
    let (levels, mut inexact) = (Levels::default(), 0_u32);
    let mut micros = Vec::with_capacity(material.simulation.claims.len());
    for (claim, facts) in of_six_lines(&material.simulation.claims) {
        let started = Instant::now();
        let scored = black_box(score(black_box(&claim), &facts, snapshot, &levels));
        micros.push(started.elapsed().as_secs_f64() * 1e6);
        let sum: i64 = scored.contributions.iter().map(|part| part.micro_log_odds).sum();
        inexact += u32::from(sum != scored.logit_micro);
    }
    micros.sort_by(f64::total_cmp);
    samples.add("score_six_mean", micros.iter().sum::<f64>() / micros.len().max(1) as f64);
    samples.add_told("score_six_p99", micros.get(micros.len().saturating_sub(1) * 99 / 100).copied());
    samples.add("score_inexact", f64::from(inexact));
}
