//! The pure parts by themselves, for watching one of them while it is changed: `cargo bench --bench pure`.
//!
//! `claimrisk bench` measures the whole. Must never: measure the making of its own material.

use std::hint::black_box;

use claimrisk::domain::claim::Claim;
use claimrisk::domain::link::{Candidate, RemittanceKey, link};
use claimrisk::domain::model::{Configuration, Ledger};
use claimrisk::domain::rules::Facts;
use claimrisk::domain::score::{Levels, Snapshot, score};
use claimrisk::domain::x12::Reader;
use claimrisk::history::Gathering;
use claimrisk::simulate::{Options, Simulation, simulate, write_837};
use claimrisk::wire::decode_json;
use criterion::{Criterion, Throughput};

/// Claims of the material.
const CLAIMS: u32 = 2000;
/// Service lines of the claims that are scored.
const LINES: usize = 6;
/// Claims that one remittance is compared with.
const CANDIDATES: usize = 20;

fn main() {
    let simulation = simulate(&Options { claims: CLAIMS, ..Options::default() });
    let mut criterion = Criterion::default().configure_from_args();
    x12(&mut criterion, &simulation);
    json(&mut criterion, &simulation);
    model(&mut criterion, &simulation);
    ladder(&mut criterion, &simulation);
    criterion.final_summary();
}

fn x12(criterion: &mut Criterion, simulation: &Simulation) {
    let first = simulation.claims.first().expect("a claim");
    let alike: Vec<_> = simulation
        .claims
        .iter()
        .filter(|entry| (entry.practice, entry.claim.claim_type) == (first.practice, first.claim.claim_type))
        .collect();
    let mut text = Vec::new();
    write_837(&alike, &mut text).expect("written");
    let mut group = criterion.benchmark_group("x12");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read 837", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new();
            reader.push(black_box(&text), &mut |item| drop(black_box(item)));
            reader.finish(&mut |item| drop(black_box(item)))
        });
    });
    group.finish();
}

fn json(criterion: &mut Criterion, simulation: &Simulation) {
    let claim = simulation.claims.first().expect("a claim");
    let claim = claim.event().encode();
    let answer = simulation.remittances.first().expect("a remittance");
    let answer = answer.event().encode();
    let mut group = criterion.benchmark_group("decode");
    for (name, body) in [("claim", &claim), ("remittance", &answer)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| decode_json(black_box(body))));
    }
    group.finish();
}

fn model(criterion: &mut Criterion, simulation: &Simulation) {
    let ledger = ledger(simulation);
    let mut group = criterion.benchmark_group("model");
    group.throughput(Throughput::Elements(ledger.len() as u64));
    group.bench_function("fold labels", |bencher| {
        bencher.iter(|| black_box(&ledger).replay(Configuration::default()));
    });
    group.throughput(Throughput::Elements(1));
    let snapshot = Snapshot::of(&ledger.replay(Configuration::default()));
    let (claim, levels) = (of_six_lines(simulation), Levels::default());
    let facts = Facts::of(&claim, claim.submitted_at.expect("a day"));
    group.bench_function("score six lines", |bencher| {
        bencher.iter(|| score(black_box(&claim), &facts, &snapshot, &levels));
    });
    group.finish();
}

fn ledger(simulation: &Simulation) -> Ledger {
    let mut gathering = Gathering::default();
    simulation.claims.iter().for_each(|sent| gathering.take(sent.event()));
    simulation.remittances.iter().for_each(|answer| gathering.take(answer.event()));
    gathering.finish().ledger()
}

fn of_six_lines(simulation: &Simulation) -> Claim {
    let lines = simulation.claims.iter().flat_map(|entry| &entry.claim.lines).take(LINES).cloned().collect();
    Claim { lines, ..simulation.claims.first().expect("a claim").claim.clone() }
}

fn ladder(criterion: &mut Criterion, simulation: &Simulation) {
    let answer = &simulation.remittances.first().expect("a remittance").remittance;
    let named = |claim: &Claim| claim.patient_control_number == answer.patient_control_number;
    let meant = simulation.claims.iter().map(|entry| &entry.claim).filter(|claim| named(claim));
    let others = simulation.claims.iter().map(|entry| &entry.claim).filter(|claim| !named(claim));
    let candidates: Vec<Candidate> = (0..)
        .zip(others.clone().take(CANDIDATES - 1).chain(meant))
        .map(|(id, claim)| Candidate::of(claim, id))
        .collect();
    let strangers: Vec<Candidate> =
        (0..).zip(others.take(CANDIDATES)).map(|(id, claim)| Candidate::of(claim, id)).collect();
    let key = RemittanceKey::of(answer);
    let mut group = criterion.benchmark_group("link");
    for (name, candidates) in [("first rung", &candidates), ("all rungs, no claim", &strangers)] {
        group.bench_function(name, |bencher| bencher.iter(|| link(black_box(&key), black_box(candidates))));
    }
    group.finish();
}
