//! On which days payers began to deny what they used to pay: `steps.csv`, to measure how fast a score learns it.
//!
//! Must never: be read by anything that scores.

use std::io::{self, Write};

use super::Simulation;
use super::codes::PROCEDURES;
use super::edits::{EDITS, Fault};
use super::world::{PayerWorld, World};
use crate::domain::types::Date;

/// A step of less (parts per million) is hard to tell from chance.
const LARGE: u32 = 300_000;

/// A payer that began to deny something, or does so more often by far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Payer id.
    pub payer: String,
    /// What it denies, as `truth.csv` names it.
    pub mechanism: String,
    /// The first day.
    pub from: Date,
    /// Probability of a denial before and since (parts per million).
    pub before: u32,
    /// See `before`.
    pub after: u32,
}

/// The columns of `steps.csv`.
pub const HEADER: &str = "payer_id,mechanism,from,p_before,p_after";

/// All large steps of a world after a day, by payer.
pub(super) fn of(world: &World, start: Date) -> Vec<Step> {
    let mut steps: Vec<Step> = world.payers.iter().flat_map(of_payer).collect();
    steps.retain(|step| step.from > start && step.after >= step.before.saturating_add(LARGE));
    steps
}

fn of_payer(payer: &PayerWorld) -> impl Iterator<Item = Step> {
    let step = |mechanism, from, before, after| Step { payer: payer.id.clone(), mechanism, from, before, after };
    // What is sent late is denied by every payer at all times.
    let edits = EDITS.iter().zip(&payer.edits).filter(|(edit, _)| edit.fault != Fault::Late);
    let edits =
        edits.map(move |(edit, one)| step(format!("edit:{}", edit.rule), one.turn(), one.before(), one.after()));
    let policies =
        PROCEDURES.iter().zip(&payer.policies).filter_map(|(procedure, policy)| Some((procedure, (*policy)?)));
    let policies = policies.map(move |(procedure, policy)| {
        let code = if procedure.code.is_empty() { procedure.revenue } else { procedure.code };
        step(format!("policy:{code}"), policy.from, 0, policy.q)
    });
    edits.chain(policies)
}

/// Writes one row per step.
///
/// # Errors
/// Whatever writing fails with.
pub fn steps_csv(simulation: &Simulation, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    for Step { payer, mechanism, from, before, after } in &simulation.steps {
        writeln!(out, "{payer},{mechanism},{from},{},{}", share(*before), share(*after))?;
    }
    Ok(())
}

fn share(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}
