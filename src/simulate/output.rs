//! Writes a simulation to a folder: X12 files or events, and the truth beside them.
//!
//! Must never: overwrite anything but its own file names, or write in an order that depends on the machine.

use std::collections::BTreeMap;
use std::fs::{File, create_dir_all};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{SimClaim, SimRemittance, Simulation, steps_csv, truth_csv, write_835, write_837};
use crate::domain::claim::ClaimType;
use crate::domain::types::Instant;
use crate::wire::{Payload, encode, event_id_from_content};

/// The CloudEvents `source` of simulated events.
pub const SOURCE: &str = "urn:claimrisk:simulate";

/// How claims and remittances are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// 837 and 835 files.
    #[default]
    X12,
    /// CloudEvents, one per line: `claims.ndjson` and `remittances.ndjson`.
    Ndjson,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Written {
    /// File names, in order.
    pub files: Vec<String>,
    /// Claims.
    pub claims: usize,
    /// Remitted claims.
    pub remittances: usize,
}

/// Writes `claims-*.837` and `remittances-*.835`, or the two event files, and `truth.csv`. Makes the folder.
///
/// # Errors
/// Whatever making the folder or writing fails with.
pub fn write_dir(simulation: &Simulation, dir: &Path, format: Format) -> io::Result<Written> {
    create_dir_all(dir)?;
    let mut written =
        Written { files: Vec::new(), claims: simulation.claims.len(), remittances: simulation.remittances.len() };
    match format {
        Format::X12 => x12(simulation, dir, &mut written)?,
        Format::Ndjson => {
            file(dir, "claims.ndjson", &mut written, |out| claim_events(simulation, out))?;
            file(dir, "remittances.ndjson", &mut written, |out| remittance_events(simulation, out))?;
        }
    }
    file(dir, "truth.csv", &mut written, |out| truth_csv(simulation, out))?;
    file(dir, "steps.csv", &mut written, |out| steps_csv(simulation, out))?;
    Ok(written)
}

fn file(
    dir: &Path,
    name: &str,
    written: &mut Written,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(dir.join(name))?);
    write(&mut out)?;
    out.flush()?;
    written.files.push(name.to_owned());
    Ok(())
}

/// One file per practice and claim type, one per payer.
fn x12(simulation: &Simulation, dir: &Path, written: &mut Written) -> io::Result<()> {
    let mut claims: BTreeMap<(usize, ClaimType), Vec<&SimClaim>> = BTreeMap::new();
    for entry in &simulation.claims {
        claims.entry((entry.practice, entry.claim.claim_type)).or_default().push(entry);
    }
    for ((practice, claim_type), entries) in claims {
        let name = format!("claims-{:02}-{}.837", practice + 1, claim_type.as_str());
        file(dir, &name, written, |out| write_837(&entries, out))?;
    }
    let mut remittances: BTreeMap<usize, Vec<&SimRemittance>> = BTreeMap::new();
    for entry in &simulation.remittances {
        remittances.entry(entry.payer).or_default().push(entry);
    }
    for (payer, entries) in remittances {
        let name = format!("remittances-{:02}.835", payer + 1);
        file(dir, &name, written, |out| write_835(&entries, out))?;
    }
    Ok(())
}

fn event(payload: &Payload, time: Instant, out: &mut impl Write) -> io::Result<()> {
    let id = event_id_from_content(payload, time);
    out.write_all(&encode(SOURCE, &id, time, payload))?;
    out.write_all(b"\n")
}

/// Writes the claims as `claim.submitted` events, one per line; ids are made from the content.
///
/// # Errors
/// Whatever writing fails with.
pub fn claim_events(simulation: &Simulation, out: &mut impl Write) -> io::Result<()> {
    for entry in &simulation.claims {
        event(&Payload::Claim(Box::new(entry.claim.clone())), entry.submitted, out)?;
    }
    Ok(())
}

/// Writes the remittances as `remittance.received` events, one per line; ids are made from the content.
///
/// # Errors
/// Whatever writing fails with.
pub fn remittance_events(simulation: &Simulation, out: &mut impl Write) -> io::Result<()> {
    for entry in &simulation.remittances {
        event(&Payload::Remittance(Box::new(entry.remittance.clone())), entry.time, out)?;
    }
    Ok(())
}
