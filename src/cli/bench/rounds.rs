//! What needs servers, round by round: raw limits, then one worker on the same messages.
//!
//! Must never: let one run work on what another left behind, but where the second is to find what the first stored.

use super::super::output::say;
use super::messages;
use super::raw::{self, Rows};
use super::reader::Material;
use super::site::{BATCH, Database, Done, Site};
use super::{Part, Parts, Samples};
use super::{latency, reads};
use crate::broker::Outgoing;
use crate::error::CommandError;

/// Batches of one are measured over so many fewer claims: they take longer.
const FEWER: usize = 10;

/// Measures the parts that are wanted, one round.
pub(super) async fn round(
    site: &Site<'_>,
    material: &Material,
    parts: &Parts,
    round: u32,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let simulation = &material.simulation;
    let claims: Vec<Outgoing> = messages::claims(simulation, 0).collect();
    if parts.has(Part::Broker) {
        say(&format!("round {round}: the broker alone, {} claims", claims.len()));
        broker(site, round, &claims, samples).await?;
    }
    if parts.has(Part::Claims) {
        let rate = stored(site, material, parts, round, &claims, samples).await?;
        if parts.has(Part::Latency) {
            latency::measure(site, material, &format!("latency{round}"), rate, samples).await?;
        }
    }
    if parts.has(Part::Mixed) {
        let mixed = messages::mixed(simulation);
        say(&format!("round {round}: one worker, {} claims and remittances", mixed.len()));
        let done = on_empty(site, &format!("mixed{round}"), &mixed, BATCH).await?;
        samples.add("pipeline_mixed", done.rate);
    }
    if parts.has(Part::Ones) {
        let few = claims.get(..claims.len() / FEWER).unwrap_or_default();
        say(&format!("round {round}: one worker, batches of 1, {} claims", few.len()));
        let done = on_empty(site, &format!("ones{round}"), few, 1).await?;
        samples.add("pipeline_ones", done.rate);
    }
    Ok(())
}

async fn broker(site: &Site<'_>, round: u32, claims: &[Outgoing], samples: &mut Samples) -> Result<(), CommandError> {
    let host = site.host(&format!("broker{round}")).await?;
    samples.add("publish", super::site::publish(&host, claims).await?);
    samples.add("broker_raw", raw::drain(&host, claims.len()).await?);
    site.remove_host(host).await
}

/// A worker on a database of its own.
async fn on_empty(site: &Site<'_>, name: &str, messages: &[Outgoing], batch: u32) -> Result<Done, CommandError> {
    let database = site.database(name).await?;
    let done = site.run(name, &database, messages, batch, &[]).await?;
    site.remove_database(database).await?;
    Ok(done)
}

/// The claims' run, and whatever needs what it stored; answers its rate.
async fn stored(
    site: &Site<'_>,
    material: &Material,
    parts: &Parts,
    round: u32,
    claims: &[Outgoing],
    samples: &mut Samples,
) -> Result<f64, CommandError> {
    say(&format!("round {round}: one worker, {} claims, batches of {BATCH}", claims.len()));
    let database = site.database(&format!("claims{round}")).await?;
    let done = site.run(&format!("claims{round}"), &database, claims, BATCH, &[]).await?;
    samples.add("pipeline", done.rate);
    samples.add_told("worker_memory", done.peak_kib.map(|kib| kib as f64 / 1024.0));
    used(samples, "claim", &done);
    let mut copy = None;
    if parts.has(Part::Raw) {
        say(&format!("round {round}: Redis alone, PostgreSQL alone"));
        samples.add("raw_redis", raw::redis(site).await?);
        let empty = site.database(&format!("raw{round}")).await?;
        site.settle().await?;
        samples.add("raw_claims", raw::bulk(&database, &empty, Rows::Claims).await?);
        copy = Some(empty);
    }
    // Before the remittances: of labels the learner makes models, and those write to the cache meanwhile.
    if parts.has(Part::Reads) {
        say(&format!("round {round}: reads"));
        reads::measure(site, &database, &format!("reads{round}"), samples).await?;
    }
    if parts.has(Part::Remittances) {
        remittances(site, material, round, &database, copy.as_ref(), samples).await?;
    }
    if let Some(copy) = copy {
        site.remove_database(copy).await?;
    }
    site.remove_database(database).await?;
    Ok(done.rate)
}

/// The remittances' run where the claims are, and the same rows in bulk where the claims' rows are.
async fn remittances(
    site: &Site<'_>,
    material: &Material,
    round: u32,
    database: &Database,
    copy: Option<&Database>,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let answers: Vec<Outgoing> = messages::remittances(&material.simulation, 0).collect();
    say(&format!("round {round}: one worker, {} remittances", answers.len()));
    let done = site.run(&format!("remittances{round}"), database, &answers, BATCH, &[]).await?;
    samples.add("pipeline_remittances", done.rate);
    used(samples, "remittance", &done);
    if let Some(copy) = copy {
        say(&format!("round {round}: PostgreSQL alone, remittances"));
        site.settle().await?;
        samples.add("raw_remittances", raw::bulk(database, copy, Rows::Remittances).await?);
    }
    Ok(())
}

/// Notes the processor time of an event.
fn used(samples: &mut Samples, what: &str, done: &Done) {
    for (name, micros) in super::processor::NAMES.into_iter().zip(done.micros) {
        samples.add_told(format!("cpu_{what}_{name}"), micros);
    }
}
