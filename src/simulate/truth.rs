//! What the simulator knows and a scorer must find out: `truth.csv`.
//!
//! Must never: be read by anything that scores.

use std::io::{self, Write};

use super::Simulation;
use crate::domain::types::{Cents, Phi};

/// The truth about one submission of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The practice: the billing provider's NPI.
    pub practice: String,
    /// Patient control number as submitted.
    pub patient_control_number: Phi<String>,
    /// `P` or `S`.
    pub responsibility: &'static str,
    /// Claim frequency of the submission: `1`, `7` or `8`.
    pub frequency: String,
    /// Probability (parts per million) that the first final adjudication denies the claim, a line or a material part,
    /// given that there is one. The noise was drawn after it.
    pub p_denial_ppm: u32,
    /// `paid`, `partial` or `denied`; `None` while nothing final came, and on voids.
    pub initial_outcome: Option<&'static str>,
    /// As above, or `recouped`; after reversals and corrections.
    pub final_outcome: Option<&'static str>,
    /// The cause with the largest probability, whether it struck or not: `base`, `edit:ID01`, `auth:70553`,
    /// `policy:72148`, `dx_policy:M54:imaging`, `credentialing`, `void` ...
    pub mechanism: String,
    /// How many remittances belong to the submission.
    pub remittances: u32,
    /// Sum of their payments.
    pub paid_total: Cents,
    /// How its remittances are to be linked: `control_number` or `mangled_control_number`.
    pub link_method: &'static str,
}

/// The columns of `truth.csv`.
pub const HEADER: &str = "practice_id,patient_control_number,responsibility,frequency,submitted_at,p_denial,\
initial_outcome,final_outcome,mechanism,remittances,paid_total,link_method";

/// Writes one row per submission, in the order of submission; outcomes are empty where there is none.
///
/// # Errors
/// Whatever writing fails with.
pub fn truth_csv(simulation: &Simulation, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    for entry in &simulation.claims {
        let truth = &entry.truth;
        writeln!(
            out,
            "{},{},{},{},{},{}.{:06},{},{},{},{},{},{}",
            truth.practice,
            truth.patient_control_number.expose(),
            truth.responsibility,
            truth.frequency,
            entry.submitted.format("%Y-%m-%dT%H:%M:%SZ"),
            truth.p_denial_ppm / 1_000_000,
            truth.p_denial_ppm % 1_000_000,
            truth.initial_outcome.unwrap_or_default(),
            truth.final_outcome.unwrap_or_default(),
            truth.mechanism,
            truth.remittances,
            truth.paid_total,
            truth.link_method,
        )?;
    }
    Ok(())
}
