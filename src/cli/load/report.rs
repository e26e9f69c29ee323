//! What came of a load: percentiles of latency, hit rates against their targets, statuses and errors.
//!
//! Must never: hold an id, or count a request twice.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::output::{say, table};
use super::{Kind, Plan};

/// Hit rates wanted, in percent; entities without a target are shown without one.
const TARGETS: &[(&str, f64)] =
    &[("risk_score", 80.0), ("claim", 60.0), ("payer", 90.0), ("remittance", 60.0), ("episode", 60.0)];

/// One request that was made.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    /// Time to the whole answer.
    pub(super) micros: u64,
    /// Status, or why there was no answer.
    pub(super) answer: Result<u16, String>,
}

/// The fleet's cache statistics, as far as they are compared.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Counts {
    entities: BTreeMap<String, EntityCounts>,
    since: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct EntityCounts {
    hits: u64,
    misses: u64,
    errors: u64,
    bypasses: u64,
}

/// Latencies of one kind of request, in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    kind: &'static str,
    requests: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Latency {
    fn of(kind: &'static str, mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |permille: usize| percentile(&micros, permille) as f64 / 1000.0;
        Self { kind, requests: micros.len(), p50_ms: at(500), p90_ms: at(900), p99_ms: at(990), max_ms: at(1000) }
    }
}

/// The smallest value that at least `permille` thousandths of the sorted values do not exceed; 0 of none.
pub(in super::super) fn percentile(sorted: &[u64], permille: usize) -> u64 {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// How an entity's look-ups fared during the load, over the whole fleet.
#[derive(Debug, Serialize)]
struct HitRate {
    entity: String,
    hits: u64,
    misses: u64,
    errors: u64,
    bypasses: u64,
    /// hits / (hits + misses), between 0 and 1; none without look-ups.
    hit_rate: Option<f64>,
    target: Option<f64>,
}

/// What came of a load.
#[derive(Debug, Serialize)]
pub(in super::super) struct Report {
    requests: usize,
    concurrent: u16,
    seconds: f64,
    requests_per_second: f64,
    /// Answers of status 5xx, requests without an answer, and requests not sent in time.
    pub(in super::super) failed: usize,
    statuses: BTreeMap<u16, usize>,
    errors: BTreeMap<String, usize>,
    latencies: Vec<Latency>,
    cache: Vec<HitRate>,
}

impl Report {
    /// Counts the samples, and what the cache did between the two readings.
    pub(super) fn new(plan: Plan, elapsed: Duration, samples: &[Sample], before: &Counts, after: &Counts) -> Self {
        let (mut statuses, mut errors) = (BTreeMap::new(), BTreeMap::new());
        let mut by_kind: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for sample in samples {
            match &sample.answer {
                Ok(status) => *statuses.entry(*status).or_default() += 1,
                Err(why) => *errors.entry(why.clone()).or_default() += 1,
            }
            by_kind.entry(sample.kind).or_default().push(sample.micros);
        }
        let unsent = usize::try_from(plan.requests).unwrap_or(usize::MAX).saturating_sub(samples.len());
        if unsent > 0 {
            errors.insert("not sent in time".to_owned(), unsent);
        }
        let refused: usize = statuses.iter().filter(|(status, _)| **status >= 500).map(|(_, count)| count).sum();
        let mut latencies = vec![Latency::of("all", samples.iter().map(|sample| sample.micros).collect())];
        latencies.extend(by_kind.into_iter().map(|(kind, micros)| Latency::of(kind.label(), micros)));
        let seconds = elapsed.as_secs_f64();
        Self {
            requests: samples.len(),
            concurrent: plan.concurrent,
            seconds,
            requests_per_second: if seconds > 0.0 { samples.len() as f64 / seconds } else { 0.0 },
            failed: refused + errors.values().sum::<usize>(),
            statuses,
            errors,
            latencies,
            cache: hit_rates(before, after),
        }
    }

    /// Latencies, for people.
    pub(in super::super) fn latencies(&self) -> String {
        let mut table = table(&["Request", "Count", "p50 ms", "p90 ms", "p99 ms", "max ms"]);
        for row in &self.latencies {
            let mut cells = vec![row.kind.to_owned(), row.requests.to_string()];
            cells.extend([row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms].map(|ms| format!("{ms:.2}")));
            table.add_row(cells);
        }
        table.to_string()
    }

    /// Hit rates, for people.
    pub(in super::super) fn hit_rates(&self) -> String {
        let mut table = table(&["Cached entity", "Hits", "Misses", "Errors", "Hit rate", "Target", ""]);
        for row in &self.cache {
            let percent = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
            let verdict = match (row.hit_rate, row.target) {
                (Some(rate), Some(target)) if rate >= target => "reached",
                (Some(_), Some(_)) => "below",
                _ => "",
            };
            table.add_row([
                row.entity.clone(),
                row.hits.to_string(),
                row.misses.to_string(),
                (row.errors + row.bypasses).to_string(),
                percent(row.hit_rate),
                percent(row.target),
                verdict.to_owned(),
            ]);
        }
        table.to_string()
    }

    /// Requests per second, statuses and errors in one line, for people.
    pub(in super::super) fn sums(&self) -> String {
        let statuses = self.statuses.iter().map(|(status, count)| format!("{count} x status {status}"));
        let errors = self.errors.iter().map(|(why, count)| format!("{count} x {why}"));
        format!(
            "{} requests over {} connections in {:.2} s: {:.0} per second; {}",
            self.requests,
            self.concurrent,
            self.seconds,
            self.requests_per_second,
            statuses.chain(errors).collect::<Vec<_>>().join(", ")
        )
    }
}

/// The increases between two readings; a reset in between makes the second one count alone.
fn hit_rates(before: &Counts, after: &Counts) -> Vec<HitRate> {
    let reset = before.since != after.since;
    if reset {
        say("the cache statistics were reset meanwhile: the hit rates count from then");
    }
    let target = |entity: &str| TARGETS.iter().find(|(name, _)| *name == entity).map(|(_, percent)| percent / 100.0);
    after
        .entities
        .iter()
        .map(|(entity, now)| {
            let then = before.entities.get(entity).copied().filter(|_| !reset).unwrap_or_default();
            let (hits, misses) = (now.hits.saturating_sub(then.hits), now.misses.saturating_sub(then.misses));
            let looked = hits + misses;
            HitRate {
                entity: entity.clone(),
                hits,
                misses,
                errors: now.errors.saturating_sub(then.errors),
                bypasses: now.bypasses.saturating_sub(then.bypasses),
                hit_rate: (looked > 0).then(|| hits as f64 / looked as f64),
                target: target(entity),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!([500, 900, 990, 1000].map(|permille| percentile(&sorted, permille)), [100, 180, 198, 200]);
        assert_eq!(percentile(&[7], 500), 7);
        assert_eq!(percentile(&[], 990), 0);
    }

    #[test]
    fn hit_rates_are_of_the_increase_and_of_it_alone() {
        let counts = |hits, misses, since: &str| Counts {
            entities: [("claim".to_owned(), EntityCounts { hits, misses, errors: 0, bypasses: 0 })].into(),
            since: since.to_owned(),
        };
        let rates = hit_rates(&counts(10, 90, "a"), &counts(40, 100, "a"));
        assert_eq!(rates.first().and_then(|rate| rate.hit_rate), Some(0.75));
        let rates = hit_rates(&counts(10, 90, "a"), &counts(1, 1, "b"));
        assert_eq!(rates.first().and_then(|rate| rate.hit_rate), Some(0.5));
    }

    #[test]
    fn a_5xx_and_a_request_not_sent_fail_a_4xx_does_not() {
        let plan = Plan { concurrent: 1, requests: 4, seed: 1, time_limit: Duration::from_secs(1) };
        let samples = [200, 404, 503].map(|status| Sample { kind: Kind::Claim, micros: 1000, answer: Ok(status) });
        let report = Report::new(plan, Duration::from_secs(1), &samples, &Counts::default(), &Counts::default());
        assert_eq!(report.failed, 2);
        assert!(report.sums().contains("1 x not sent in time"), "{}", report.sums());
    }
}
