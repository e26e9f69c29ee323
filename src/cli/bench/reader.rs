//! What needs no server: reading X12 into claims, the memory that takes, and scoring.
//!
//! Must never: measure the making of its own material.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::super::demo::fleet::peak_memory_kib;
use super::Samples;
use crate::domain::claim::ClaimType;
use crate::domain::rules::Facts;
use crate::domain::score::{Levels, Snapshot, score};
use crate::domain::x12::{Item, Reader, Summary};
use crate::error::CommandError;
use crate::simulate::{self, SimClaim, Simulation};

/// Bytes read per round, at the least.
const BYTES: usize = 100_000_000;
/// Bytes handed to the reader at once.
const PIECE: usize = 64 * 1024;

/// Simulated claims, and the same as X12.
pub(super) struct Material {
    /// The claims.
    pub(super) simulation: Simulation,
    /// Their interchanges, one after the other.
    x12: Vec<u8>,
}

impl Material {
    /// Simulates claims and writes them as 837 interchanges.
    pub(super) fn simulate(claims: u32) -> Result<Self, CommandError> {
        let simulation = simulate::simulate(&simulate::Options { claims, ..simulate::Options::default() });
        let mut interchanges: BTreeMap<(usize, ClaimType), Vec<&SimClaim>> = BTreeMap::new();
        for entry in &simulation.claims {
            interchanges.entry((entry.practice, entry.claim.claim_type)).or_default().push(entry);
        }
        let mut x12 = Vec::new();
        for entries in interchanges.values() {
            simulate::write_837(entries, &mut x12)?;
        }
        Ok(Self { simulation, x12 })
    }

    /// How often the interchanges are repeated to come to [`BYTES`].
    fn repetitions(&self) -> usize {
        BYTES.div_ceil(self.x12.len().max(1))
    }
}

/// Reads and scores in this thread.
pub(super) fn measure(material: &Material, rounds: u32, samples: &mut Samples) {
    let snapshot = Snapshot::expert();
    for _ in 0..rounds {
        samples.add("x12_read", read(material));
        samples.add("score", score_all(material, &snapshot));
    }
}

fn read(material: &Material) -> f64 {
    let started = Instant::now();
    let mut reader = Reader::new();
    let mut take = |item: Item| drop(black_box(item));
    for _ in 0..material.repetitions() {
        for piece in material.x12.chunks(PIECE) {
            reader.push(piece, &mut take);
        }
    }
    let summary: Summary = reader.finish(&mut take);
    black_box(summary).bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn score_all(material: &Material, snapshot: &Snapshot) -> f64 {
    let (facts, levels) = (Facts::default(), Levels::default());
    let claims = &material.simulation.claims;
    let started = Instant::now();
    for entry in claims {
        black_box(score(black_box(&entry.claim), &facts, snapshot, &levels));
    }
    started.elapsed().as_secs_f64() * 1e6 / claims.len().max(1) as f64
}

/// What reading one file took.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileRead {
    bytes: u64,
    claims: u64,
    peak_kib: Option<u64>,
}

/// Reads a file piece by piece, as `claimrisk publish` does, and tells the peak memory of this process.
pub(super) fn read_file(path: &Path) -> Result<FileRead, CommandError> {
    let mut file = File::open(path)?;
    let mut reader = Reader::new();
    let mut take = |item: Item| drop(black_box(item));
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => reader.push(piece.get(..length).unwrap_or_default(), &mut take),
        }
    }
    let summary = reader.finish(&mut take);
    Ok(FileRead { bytes: summary.bytes, claims: summary.claims, peak_kib: peak_memory_kib("self") })
}

/// Peak memory, in KiB, of a process of its own that reads a file of 100 MB.
pub(super) async fn memory(material: &Material, folder: &Path) -> Result<Option<u64>, CommandError> {
    let path = folder.join("bench.837");
    let mut file = BufWriter::new(File::create(&path)?);
    for _ in 0..material.repetitions() {
        file.write_all(&material.x12)?;
    }
    file.flush()?;
    drop(file);
    let output = Command::new(std::env::current_exe()?)
        .args(["bench", "--read-file"])
        .arg(&path)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    std::fs::remove_file(&path)?;
    let read: FileRead = serde_json::from_slice(&output.stdout)
        .map_err(|_| CommandError::Failed(format!("reading the file ended with {}", output.status)))?;
    if read.claims == 0 || read.bytes < BYTES as u64 {
        return Err(CommandError::Failed(format!("only {} claims in {} bytes were read", read.claims, read.bytes)));
    }
    Ok(read.peak_kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_material_reads_back_as_the_claims_it_was_made_of() {
        let material = Material::simulate(60).unwrap();
        let mut reader = Reader::new();
        reader.push(&material.x12, &mut |_| {});
        let summary = reader.finish(&mut |_| {});
        assert_eq!((summary.claims, summary.errors), (60, 0));
        assert!(material.repetitions() * material.x12.len() >= BYTES);
    }
}
