//! How long after its publishing a claim is readable, at a steady rate below the worker's full one.
//!
//! The times are the worker's own: each claim is stamped when it is published, and counted in a bucket of
//! `claimrisk_publish_to_readable_seconds` when it is committed and in the cache. A percentile is taken between two
//! scrapes, as if the claims of a bucket were spread evenly over it. Must never: count a claim that was published before
//! the pace began.

use std::time::{Duration, Instant};

use super::super::demo::fleet::Worker;
use super::super::load::HttpClient;
use super::super::output::say;
use super::reader::Material;
use super::site::{BATCH, Host, RUN_LIMIT, Site, confirmed};
use super::{Samples, messages};
use crate::broker::{Outgoing, Publisher};
use crate::error::CommandError;
use crate::flow::split::stamp;
use crate::metrics::READABLE;

/// The paces, in percent of the worker's full rate.
const PACES: [u32; 3] = [25, 50, 75];
/// How long claims are published at one pace.
const LASTS: Duration = Duration::from_secs(8);
/// Claims that are published before, so that connections and statements are made.
const WARMING: usize = 500;
/// Messages that are published in one go, at the most.
const AT_ONCE: usize = 500;
/// Between two looks at the clock.
const TURN: Duration = Duration::from_millis(2);

/// Measures at each pace; `full` is the rate of a worker with a backlog, in claims per second.
pub(super) async fn measure(
    site: &Site<'_>,
    material: &Material,
    name: &str,
    full: f64,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let database = site.database(name).await?;
    let host = site.host(name).await?;
    site.settle().await?;
    let mut worker = site.worker(&host, &database, BATCH, &[]).await?;
    let measured = at_all_paces(&site.client, material, &host, &mut worker, full, samples).await;
    worker.stop().await;
    site.remove_host(host).await?;
    site.remove_database(database).await?;
    measured
}

async fn at_all_paces(
    client: &HttpClient,
    material: &Material,
    host: &Host,
    worker: &mut Worker,
    full: f64,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let publisher = Publisher::new(host.url.clone(), "bench publisher");
    // As many claims as it takes, each of them new.
    let mut claims = (0..).flat_map(|copy| messages::claims(&material.simulation, copy));
    let warming: Vec<Outgoing> = claims.by_ref().take(WARMING).collect();
    confirmed(publisher.publish(&warming).await)?;
    until_settled(client, worker, WARMING as u64).await?;
    let mut published = WARMING as u64;
    for percent in PACES {
        let pace = full * f64::from(percent) / 100.0;
        let mut paced: Vec<Outgoing> = claims.by_ref().take((pace * LASTS.as_secs_f64()) as usize).collect();
        say(&format!("published to readable: {pace:.0} claims a second for {} s", LASTS.as_secs()));
        let before = Buckets::read(&worker.scrape(client).await?);
        let reached = publish_at(&publisher, &mut paced, pace).await?;
        if reached < pace * 0.95 {
            say(&format!("the pace was not kept: {reached:.0} claims a second were confirmed"));
        }
        published += paced.len() as u64;
        until_settled(client, worker, published).await?;
        let grown = Buckets::read(&worker.scrape(client).await?).since(&before);
        for permille in [500, 950, 990] {
            let millis = grown.within(permille).map(|seconds| seconds * 1000.0);
            samples.add_told(format!("latency_{percent}_p{}", permille / 10), millis);
        }
    }
    publisher.close().await;
    Ok(())
}

/// Publishes at this many messages per second, each stamped in the moment in which it goes out: the rate that was reached.
async fn publish_at(publisher: &Publisher, messages: &mut [Outgoing], pace: f64) -> Result<f64, CommandError> {
    let started = Instant::now();
    let (count, mut rest) = (messages.len() as f64, messages);
    let mut sent = 0;
    while !rest.is_empty() {
        let due = (started.elapsed().as_secs_f64() * pace) as usize;
        let ready = due.saturating_sub(sent).min(AT_ONCE).min(rest.len());
        if ready == 0 {
            tokio::time::sleep(TURN).await;
            continue;
        }
        let (now, later) = rest.split_at_mut(ready);
        now.iter_mut().for_each(stamp);
        confirmed(publisher.publish(now).await)?;
        sent += ready;
        rest = later;
    }
    Ok(count / started.elapsed().as_secs_f64())
}

async fn until_settled(client: &HttpClient, worker: &mut Worker, wanted: u64) -> Result<(), CommandError> {
    let deadline = Instant::now() + RUN_LIMIT;
    while worker.messages(client).await?.settled < wanted {
        if Instant::now() > deadline {
            return Err(CommandError::TryAgain(format!("the worker did not settle {wanted} claims in time")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The worker's counts of claims by how long they took: upper bound in seconds, claims up to it.
#[derive(Debug, PartialEq)]
struct Buckets(Vec<(f64, u64)>);

impl Buckets {
    fn read(exposition: &str) -> Self {
        let start = format!("{READABLE}_bucket{{event_type=\"claim.submitted\",le=\"");
        let bucket = |line: &str| {
            let (bound, count) = line.strip_prefix(&start)?.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        };
        Self(exposition.lines().filter_map(bucket).collect())
    }

    fn since(&self, before: &Self) -> Self {
        let count = |bound: f64| before.0.iter().find(|(other, _)| *other == bound).map_or(0, |(_, count)| *count);
        Self(self.0.iter().map(|(bound, now)| (*bound, now.saturating_sub(count(*bound)))).collect())
    }

    /// The seconds that `permille` thousandths of the claims stayed within; none of none. In the last bucket, which has
    /// no end, its beginning.
    fn within(&self, permille: u32) -> Option<f64> {
        let all = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let wanted = all as f64 * f64::from(permille) / 1000.0;
        let (mut from, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let count = *count as f64;
            if count >= wanted {
                let part = (wanted - below) / (count - below);
                return Some(if bound.is_infinite() { from } else { from + (bound - from) * part });
            }
            (from, below) = (*bound, count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_claims_alone() {
        let exposition = format!(
            "{READABLE}_bucket{{event_type=\"claim.submitted\",le=\"0.01\"}} 3\n\
             {READABLE}_bucket{{event_type=\"remittance.received\",le=\"0.01\"}} 9\n\
             {READABLE}_bucket{{event_type=\"claim.submitted\",le=\"+Inf\"}} 4\n\
             {READABLE}_count{{event_type=\"claim.submitted\"}} 4\n"
        );
        assert_eq!(Buckets::read(&exposition), Buckets(vec![(0.01, 3), (f64::INFINITY, 4)]));
    }

    #[test]
    fn a_percentile_is_of_the_increase_and_lies_within_its_bucket() {
        let buckets = |counts: [u64; 4]| Buckets([0.01, 0.05, 0.1, f64::INFINITY].into_iter().zip(counts).collect());
        let grown = buckets([150, 250, 300, 300]).since(&buckets([100, 100, 100, 100]));
        assert_eq!(grown, buckets([50, 150, 200, 200]));
        let close = |permille, seconds: f64| (grown.within(permille).unwrap() - seconds).abs() < 1e-12;
        assert!(close(250, 0.01) && close(500, 0.03) && close(950, 0.09), "{grown:?}");
        assert_eq!(buckets([0, 0, 5, 100]).within(990), Some(0.1));
        assert_eq!(buckets([0; 4]).within(500), None);
    }
}
