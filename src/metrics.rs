//! Every metric: its name, help, labels and buckets, and the one function that records it.
//!
//! Labels are closed sets, written down in [`CATALOGUE`]; must never carry a claim, a patient, a member or free text.
//! No other file names a metric.

mod drift;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::domain::drift::{BIN_NAMES, Labelled, bin};
use crate::wire::{EventType, Reason};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name as scraped (histograms add `_bucket`, `_sum`, `_count`).
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Help text as scraped.
    pub help: &'static str,
    /// Label names, each with its closed set of values; an empty set is free (a version).
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// Upper bounds of the buckets, for histograms.
    pub buckets: &'static [f64],
}

/// Event types as labels; the last one is for messages whose type could not be told.
pub const EVENT_TYPES: &[&str] =
    &["claim.submitted", "claim.acknowledged", "remittance.received", "x12.received", "unknown"];
/// Cached entities.
pub const ENTITIES: &[&str] =
    &["claim", "risk_score", "remittance", "episode", "payer", "provider", "practice", "pattern", "count"];
/// What a cache look-up came to; each look-up is exactly one of these.
pub const GET_RESULTS: &[&str] = &["hit", "miss", "stale", "error", "bypass"];
const WRITE_OUTCOMES: &[&str] = &["both", "db_only_invalidated", "db_only_not_invalidated", "skipped_older"];
const SETTLED: &[&str] =
    &["scored", "recorded", "duplicate", "superseded", "parked", "retried", "requeued", "dead_lettered"];
const REASONS: &[&str] = &[
    "malformed",
    "schema_invalid",
    "unsupported_version",
    "unknown_type",
    "missing_identifier",
    "too_large",
    "id_conflict",
    "delivery_limit",
    "internal",
];
const STAGES: &[&str] = &["decode", "read", "link", "score", "persist", "cache", "settle"];
const LEVELS: &[&str] = &["low", "medium", "high", "critical"];
const OUTCOMES: &[&str] = &["paid", "partial", "denied", "recouped"];
/// What a label says in the calibration: a partial denial is one.
const LABELS: &[&str] = &["denied", "paid"];
const DEPENDENCIES: &[&str] = &["rabbitmq", "postgres", "redis"];

const FAST: &[f64] = &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
const STAGE_SECONDS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const READABLE_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels, buckets: &[] }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
    buckets: &'static [f64],
) -> Metric {
    Metric { name, kind: Kind::Histogram, help, labels, buckets }
}

const CACHE_GETS: &str = "claimrisk_cache_gets_total";
const CACHE_GET_SECONDS: &str = "claimrisk_cache_get_duration_seconds";
const CACHE_WRITES: &str = "claimrisk_cache_write_throughs_total";
/// Messages taken from a work queue, by event type.
pub const RECEIVED: &str = "claimrisk_messages_received_total";
/// Messages settled, by event type and outcome.
pub const SETTLED_TOTAL: &str = "claimrisk_messages_settled_total";
const IN_FLIGHT: &str = "claimrisk_messages_in_flight";
const DEAD_LETTERS: &str = "claimrisk_dead_letters_total";
const STAGE: &str = "claimrisk_stage_duration_seconds";
const READABLE: &str = "claimrisk_publish_to_readable_seconds";
const BATCH_MESSAGES: &str = "claimrisk_batch_messages";
const SCORES: &str = "claimrisk_scores_total";
const SCORE_BINS: &str = "claimrisk_score_bins_total";
const PREDICTED: &str = "claimrisk_calibration_predicted_total";
const CALIBRATION_OUTCOMES: &str = "claimrisk_calibration_outcomes_total";
const BRIER: &str = "claimrisk_brier_loss_total";
const OUTCOMES_TOTAL: &str = "claimrisk_outcomes_total";
const DEPENDENCY_UP: &str = "claimrisk_dependency_up";
const BUILD_INFO: &str = "claimrisk_build_info";
const MODEL_INFO: &str = "claimrisk_model_info";

/// All metrics there are.
pub const CATALOGUE: &[Metric] = &[
    counter(
        CACHE_GETS,
        "Cache look-ups by entity and result; hit rate = hit / (hit + miss + stale)",
        &[("entity", ENTITIES), ("result", GET_RESULTS)],
    ),
    histogram(CACHE_GET_SECONDS, "Time of a cache look-up", &[("entity", ENTITIES)], FAST),
    counter(
        CACHE_WRITES,
        "Writes to the cache after a commit, by what became of them",
        &[("entity", ENTITIES), ("outcome", WRITE_OUTCOMES)],
    ),
    counter(RECEIVED, "Messages taken from a work queue", &[("event_type", EVENT_TYPES)]),
    counter(
        SETTLED_TOTAL,
        "Messages settled, by what became of them; received = settled + in flight",
        &[("event_type", EVENT_TYPES), ("outcome", SETTLED)],
    ),
    gauge(IN_FLIGHT, "Messages taken from a work queue and not yet settled", &[]),
    counter(DEAD_LETTERS, "Messages put into the dead-letter queue, by reason", &[("reason", REASONS)]),
    histogram(STAGE, "Time a batch spends in a stage of the flow", &[("stage", STAGES)], STAGE_SECONDS),
    histogram(
        READABLE,
        "From publishing to the effect being readable",
        &[("event_type", EVENT_TYPES)],
        READABLE_SECONDS,
    ),
    histogram(BATCH_MESSAGES, "Messages in a batch", &[], BATCH),
    counter(SCORES, "Scores computed for events, by level", &[("level", LEVELS)]),
    counter(
        SCORE_BINS,
        "Scores computed for events, by the lower end of their tenth of the probability",
        &[("bin", &BIN_NAMES)],
    ),
    counter(
        PREDICTED,
        "Sum of the probabilities of denial that stood when first labels came, by bin",
        &[("bin", &BIN_NAMES)],
    ),
    counter(
        CALIBRATION_OUTCOMES,
        "First labels by the bin of the probability that stood when they came; a partial denial is denied",
        &[("bin", &BIN_NAMES), ("outcome", LABELS)],
    ),
    counter(BRIER, "Sum of the squared distances of the probability that stood and the first label", &[]),
    counter(OUTCOMES_TOTAL, "Submissions that got their first label, or a new final one", &[("outcome", OUTCOMES)]),
    gauge(DEPENDENCY_UP, "Whether a server answered when last used", &[("dependency", DEPENDENCIES)]),
    gauge(BUILD_INFO, "Always 1; tells the version", &[("version", &[])]),
    gauge(MODEL_INFO, "Always 1; tells the model that scores", &[("model_version", &[])]),
];

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// A claim was stored and scored.
    Scored,
    /// A remittance or an acknowledgement was stored.
    Recorded,
    /// The event had been applied before.
    Duplicate,
    /// A newer version had been applied before.
    Superseded,
    /// Stored, and waiting for its claim.
    Parked,
    /// Put into a delayed queue, to be tried again.
    Retried,
    /// Handed back to the queue, or lost with its channel.
    Requeued,
    /// Put into the dead-letter queue.
    DeadLettered,
}

impl Settled {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        SETTLED[self as usize]
    }
}

/// A stage of the flow.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Bytes to events.
    Decode,
    /// Look-ups before the work.
    Read,
    /// Remittances to claims.
    Link,
    /// Claims to scores.
    Score,
    /// Into the database.
    Persist,
    /// Into the cache.
    Cache,
    /// Acknowledge, retry or dead-letter.
    Settle,
}

/// A server the worker needs.
#[derive(Clone, Copy, Debug)]
pub enum Dependency {
    /// The broker.
    RabbitMq,
    /// The database.
    Postgres,
    /// The cache.
    Redis,
}

#[expect(clippy::disallowed_macros, reason = "the one place where metrics are registered")]
mod registered {
    use super::{Counter, Gauge, Histogram};

    pub(super) fn counter(name: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
        metrics::counter!(name, labels)
    }

    pub(super) fn gauge(name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        metrics::gauge!(name, labels)
    }

    pub(super) fn histogram(name: &'static str, labels: &[(&'static str, &'static str)]) -> Histogram {
        metrics::histogram!(name, labels)
    }

    pub(super) fn info(name: &'static str, label: &'static str, value: String) {
        metrics::gauge!(name, label => value).set(1.0);
    }
}

/// Handles of the hot metrics, made once the recorder is installed.
struct Handles {
    gets: Vec<Vec<Counter>>,
    get_seconds: Vec<Histogram>,
    received: Vec<Counter>,
    settled: Vec<Vec<Counter>>,
    in_flight: Gauge,
    stages: Vec<Histogram>,
    readable: Vec<Histogram>,
    batch: Histogram,
    scores: Vec<Counter>,
    score_bins: Vec<Counter>,
    labels: Vec<Vec<Counter>>,
}

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    gets: pairs(CACHE_GETS, ("entity", ENTITIES), ("result", GET_RESULTS)),
    get_seconds: each_histogram(CACHE_GET_SECONDS, "entity", ENTITIES),
    received: each_counter(RECEIVED, "event_type", EVENT_TYPES),
    settled: pairs(SETTLED_TOTAL, ("event_type", EVENT_TYPES), ("outcome", SETTLED)),
    in_flight: registered::gauge(IN_FLIGHT, &[]),
    stages: each_histogram(STAGE, "stage", STAGES),
    readable: each_histogram(READABLE, "event_type", EVENT_TYPES),
    batch: registered::histogram(BATCH_MESSAGES, &[]),
    scores: each_counter(SCORES, "level", LEVELS),
    score_bins: each_counter(SCORE_BINS, "bin", &BIN_NAMES),
    labels: drift::outcomes(),
});

fn each_counter(name: &'static str, label: &'static str, values: &[&'static str]) -> Vec<Counter> {
    values.iter().map(|value| registered::counter(name, &[(label, value)])).collect()
}

fn each_histogram(name: &'static str, label: &'static str, values: &[&'static str]) -> Vec<Histogram> {
    values.iter().map(|value| registered::histogram(name, &[(label, value)])).collect()
}

type LabelSet = (&'static str, &'static [&'static str]);

fn pairs(name: &'static str, first: LabelSet, second: LabelSet) -> Vec<Vec<Counter>> {
    let row =
        |a: &'static str| second.1.iter().map(|b| registered::counter(name, &[(first.0, a), (second.0, b)])).collect();
    first.1.iter().map(|a| row(a)).collect()
}

/// Describes every metric and sets every label combination to zero, so that a rate never starts from nothing.
/// To be called once, after the recorder is installed.
pub fn initialise() {
    for metric in CATALOGUE {
        let help = metrics::SharedString::const_str(metric.help);
        metrics::with_recorder(|recorder| match metric.kind {
            Kind::Counter => recorder.describe_counter(metric.name.into(), Some(Unit::Count), help),
            Kind::Gauge => recorder.describe_gauge(metric.name.into(), Some(Unit::Count), help),
            Kind::Histogram => recorder.describe_histogram(metric.name.into(), Some(Unit::Seconds), help),
        });
    }
    LazyLock::force(&HANDLES);
    pairs(CACHE_WRITES, ("entity", ENTITIES), ("outcome", WRITE_OUTCOMES))
        .iter()
        .flatten()
        .for_each(|c| c.increment(0));
    for (name, label, values) in [(DEAD_LETTERS, "reason", REASONS), (OUTCOMES_TOTAL, "outcome", OUTCOMES)] {
        each_counter(name, label, values).iter().for_each(|counter| counter.increment(0));
    }
    let pairs = HANDLES.gets.iter().chain(&HANDLES.settled).chain(&HANDLES.labels).flatten();
    let single = HANDLES.received.iter().chain(&HANDLES.scores).chain(&HANDLES.score_bins);
    pairs.chain(single).for_each(|counter| counter.increment(0));
    HANDLES.in_flight.set(0.0);
    for dependency in DEPENDENCIES {
        registered::gauge(DEPENDENCY_UP, &[("dependency", dependency)]).set(0.0);
    }
    registered::info(BUILD_INFO, "version", env!("CARGO_PKG_VERSION").to_owned());
}

fn event_index(event_type: Option<EventType>) -> usize {
    let name = event_type.map_or("unknown", EventType::as_str);
    EVENT_TYPES.iter().position(|known| *known == name).unwrap_or(EVENT_TYPES.len() - 1)
}

/// A message was taken from a work queue.
pub fn received(event_type: Option<EventType>) {
    HANDLES.received[event_index(event_type)].increment(1);
    HANDLES.in_flight.increment(1.0);
}

/// A message that was taken is settled.
pub fn settled(event_type: Option<EventType>, outcome: Settled) {
    HANDLES.settled[event_index(event_type)][outcome as usize].increment(1);
    HANDLES.in_flight.decrement(1.0);
}

/// A message is in the dead-letter queue, confirmed.
pub fn dead_lettered(reason: Reason) {
    registered::counter(DEAD_LETTERS, &[("reason", reason.as_str())]).increment(1);
}

/// A stage took this long for a batch.
pub fn stage(stage: Stage, since: Instant) {
    HANDLES.stages[stage as usize].record(since.elapsed().as_secs_f64());
}

/// The effect of an event became readable this long after its publishing.
pub fn readable(event_type: EventType, after: Duration) {
    HANDLES.readable[event_index(Some(event_type))].record(after.as_secs_f64());
}

/// A batch of this many messages is worked on.
pub fn batch(messages: usize) {
    HANDLES.batch.record(f64::from(u32::try_from(messages).unwrap_or(u32::MAX)));
}

/// A claim event was scored; the probability is in millionths.
pub fn scored(level: &str, probability_micro: u32) {
    HANDLES.score_bins[bin(probability_micro)].increment(1);
    if let Some(index) = LEVELS.iter().position(|known| *known == level) {
        HANDLES.scores[index].increment(1);
    }
}

/// A submission got its first label, or another final one.
pub fn outcome(outcome: &str) {
    if let Some(known) = OUTCOMES.iter().find(|known| **known == outcome) {
        registered::counter(OUTCOMES_TOTAL, &[("outcome", known)]).increment(1);
    }
}

/// A submission got its first label, and that is committed.
pub fn labelled(labelled: Labelled) {
    HANDLES.labels[bin(labelled.probability_micro)][usize::from(!labelled.denied)].increment(1);
    drift::add(labelled);
}

/// Cache look-ups: indexes into [`ENTITIES`] and [`GET_RESULTS`].
pub fn cache_gets(entity: usize, result: usize, count: u64) {
    HANDLES.gets[entity][result].increment(count);
}

/// A look-up (one key or a batch of keys of one entity) took this long.
pub fn cache_get_seconds(entity: usize, since: Instant) {
    HANDLES.get_seconds[entity].record(since.elapsed().as_secs_f64());
}

/// What became of a write to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheWrite {
    /// Database and cache agree.
    Both,
    /// The cache could not take it, and its older entry is gone.
    Invalidated,
    /// The cache could not be reached: it may hold an older entry until the removal succeeds.
    NotInvalidated,
    /// The cache held a newer one.
    SkippedOlder,
}

/// Writes to the cache; `entity` indexes [`ENTITIES`].
pub fn cache_writes(entity: usize, outcome: CacheWrite, count: u64) {
    registered::counter(CACHE_WRITES, &[("entity", ENTITIES[entity]), ("outcome", WRITE_OUTCOMES[outcome as usize])])
        .increment(count);
}

/// Whether a server answered.
pub fn dependency_up(dependency: Dependency, up: bool) {
    registered::gauge(DEPENDENCY_UP, &[("dependency", DEPENDENCIES[dependency as usize])]).set(if up {
        1.0
    } else {
        0.0
    });
}

/// What is written at each scrape, in the text format: sums of fractions, and the model that scores. That one is not kept:
/// a gauge per model would leave a series behind with every model that is learned.
pub fn written(model_version: &str) -> String {
    let help = help(MODEL_INFO);
    let model = format!("{MODEL_INFO}{{model_version=\"{model_version}\"}} 1");
    format!("{}# HELP {MODEL_INFO} {help}\n# TYPE {MODEL_INFO} gauge\n{model}\n", drift::text())
}

fn help(name: &str) -> &'static str {
    CATALOGUE.iter().find(|metric| metric.name == name).map_or("", |metric| metric.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_enums_are_those_of_the_catalogue() {
        assert_eq!(Settled::Scored.as_str(), "scored");
        assert_eq!(Settled::DeadLettered.as_str(), "dead_lettered");
        for reason in Reason::ALL {
            assert!(REASONS.contains(&reason.as_str()), "{}", reason.as_str());
        }
        for event_type in EventType::ALL {
            assert!(EVENT_TYPES.contains(&event_type.as_str()), "{}", event_type.as_str());
        }
        assert_eq!(STAGES.len(), Stage::Settle as usize + 1);
        assert_eq!(WRITE_OUTCOMES.len(), CacheWrite::SkippedOlder as usize + 1);
    }

    #[test]
    fn every_histogram_has_buckets_and_no_name_comes_twice() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        for metric in CATALOGUE {
            assert_eq!(metric.kind == Kind::Histogram, !metric.buckets.is_empty(), "{}", metric.name);
        }
    }
}
