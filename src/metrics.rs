//! Every metric has one function that records it, here or below; [`CATALOGUE`] says what there is.
//!
//! Must never: take a label from outside of its closed set, or a claim, a patient, a member or free text as one.

mod catalogue;
mod denied;
mod drift;
mod learning;
mod process;
mod servers;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::domain::drift::{BIN_NAMES, Labelled, bin, probability_micro};
use crate::domain::rules::Component;
use crate::domain::score::Score;
use crate::wire::{EventType, Reason};
use catalogue::*;
pub use catalogue::{CATALOGUE, ENTITIES, EVENT_TYPES, GET_RESULTS, Kind, Metric, READABLE, RECEIVED, SETTLED_TOTAL};
pub use denied::denied_amount;
pub use learning::{Learning, linked};
pub use process::status_kib;
pub use servers::*;

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

    pub(super) fn build_info(name: &'static str, version: &'static str, revision: &'static str) {
        metrics::gauge!(name, "version" => version, "revision" => revision).set(1.0);
    }
}

/// Handles of the hot metrics, made once the recorder is installed.
struct Handles {
    gets: Vec<Vec<Counter>>,
    get_seconds: Vec<Histogram>,
    value_bytes: Vec<Histogram>,
    served_age: Vec<Histogram>,
    received: Vec<Counter>,
    settled: Vec<Vec<Counter>>,
    in_flight: Gauge,
    stages: Vec<Histogram>,
    process: Vec<Histogram>,
    readable: Vec<Histogram>,
    batch: Histogram,
    scores: Vec<Counter>,
    risk_factors: Vec<Counter>,
    score_bins: Vec<Counter>,
    labels: Vec<Vec<Counter>>,
    last_success: Vec<Gauge>,
    clocks: Vec<Counter>,
    batches: Vec<Counter>,
}

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    gets: pairs(CACHE_GETS, ("entity", ENTITIES), ("result", GET_RESULTS)),
    get_seconds: each_histogram(CACHE_GET_SECONDS, "entity", ENTITIES),
    value_bytes: each_histogram(CACHE_VALUE_BYTES, "entity", ENTITIES),
    served_age: each_histogram(SERVED_AGE, "entity", ENTITIES),
    received: each_counter(RECEIVED, "event_type", EVENT_TYPES),
    settled: pairs(SETTLED_TOTAL, ("event_type", EVENT_TYPES), ("outcome", SETTLED)),
    in_flight: registered::gauge(IN_FLIGHT, &[]),
    stages: each_histogram(STAGE, "stage", STAGES),
    process: each_histogram(PROCESS, "event_type", EVENT_TYPES),
    readable: each_histogram(READABLE, "event_type", EVENT_TYPES),
    batch: registered::histogram(BATCH_MESSAGES, &[]),
    scores: each_counter(SCORES, "level", LEVELS),
    risk_factors: each_counter(RISK_FACTORS, "component", COMPONENTS),
    score_bins: each_counter(SCORE_BINS, "bin", &BIN_NAMES),
    labels: drift::outcomes(),
    last_success: EVENT_TYPES.iter().map(|name| registered::gauge(LAST_SUCCESS, &[("event_type", name)])).collect(),
    clocks: each_counter(CLOCK, "source", CLOCKS),
    batches: each_counter(BATCHES, "reason", CLOSED),
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

/// What was built, as whoever builds a release tells it.
const REVISION: &str = match option_env!("CLAIMRISK_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

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
    CATALOGUE.iter().filter(|metric| !WRITTEN.contains(&metric.name)).for_each(start_at_zero);
    breaker(BreakerState::Closed);
    registered::build_info(BUILD_INFO, env!("CARGO_PKG_VERSION"), REVISION);
}

/// Registers every combination of a metric's labels; a free label has none.
fn start_at_zero(metric: &Metric) {
    let mut combinations: Vec<Vec<(&'static str, &'static str)>> = vec![Vec::new()];
    for (label, values) in metric.labels {
        let with = |known: &Vec<_>| -> Vec<_> {
            values.iter().map(|value| known.iter().copied().chain([(*label, *value)]).collect()).collect()
        };
        combinations = combinations.iter().flat_map(with).collect();
    }
    for labels in &combinations {
        match metric.kind {
            Kind::Counter => registered::counter(metric.name, labels).increment(0),
            Kind::Gauge => registered::gauge(metric.name, labels).set(0.0),
            Kind::Histogram => drop(registered::histogram(metric.name, labels)),
        }
    }
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

/// A message that was taken at that time is settled.
pub fn settled(event_type: Option<EventType>, outcome: Settled, taken: Instant) {
    HANDLES.settled[event_index(event_type)][outcome as usize].increment(1);
    HANDLES.process[event_index(event_type)].record(taken.elapsed().as_secs_f64());
    HANDLES.in_flight.decrement(1.0);
    if !matches!(outcome, Settled::Retried | Settled::Requeued | Settled::DeadLettered) {
        HANDLES.last_success[event_index(event_type)].set(now_seconds());
    }
}

/// A message that was taken had been delivered before.
pub fn redelivered() {
    registered::counter(REDELIVERED, &[]).increment(1);
}

/// Where the time of publishing of an event was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The header with milliseconds.
    HeaderMillis,
    /// The property with seconds.
    AmqpSeconds,
    /// The event's own time.
    EventTime,
    /// Nowhere.
    None,
    /// Somewhere, but it lies ahead.
    Future,
}

/// An event was read whose time of publishing was found there.
pub fn clock(source: Clock) {
    HANDLES.clocks[source as usize].increment(1);
}

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It reached its count or its bytes.
    Full,
    /// Its first message was old enough.
    Age,
    /// Its message is worked on alone.
    Alone,
    /// The deliveries ended.
    Ended,
}

/// A batch was closed.
pub fn batch_closed(why: Closed) {
    HANDLES.batches[why as usize].increment(1);
}

/// Seconds since 1970, as Prometheus counts them.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit for a hundred thousand years")]
pub fn now_seconds() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1000.0
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

/// A claim event was scored, and that is committed.
pub fn scored(score: &Score) {
    HANDLES.score_bins[bin(probability_micro(score.logit_micro))].increment(1);
    if let Some(index) = LEVELS.iter().position(|known| *known == score.level.as_str()) {
        HANDLES.scores[index].increment(1);
    }
    let shown: BTreeSet<Component> = score.risk_factors().iter().filter_map(|factor| factor.component).collect();
    for component in shown {
        HANDLES.risk_factors[component as usize].increment(1);
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

/// A value that was written so many milliseconds ago was served.
pub fn cache_served_age(entity: usize, age_ms: u32) {
    HANDLES.served_age[entity].record(f64::from(age_ms) / 1000.0);
}

/// A value of so many bytes was sent to the cache.
pub fn cache_value_bytes(entity: usize, bytes: usize) {
    HANDLES.value_bytes[entity].record(u32::try_from(bytes).map_or(f64::INFINITY, f64::from));
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

/// What is written at each scrape, in the text format: sums of fractions, the process, and the model that scores. That
/// one is not kept: a gauge per model would leave a series behind with every model that is learned.
pub fn written(model: &ModelInForce<'_>) -> String {
    let info = format!("{MODEL_INFO}{{model_version=\"{}\"}}", model.version);
    let labels = u32::try_from(model.labels).unwrap_or(u32::MAX);
    [
        drift::text(),
        denied::text(),
        gauge_text(MODEL_INFO, &info, 1.0),
        gauge_text(MODEL_LABELS, MODEL_LABELS, f64::from(labels)),
        gauge_text(MODEL_SINCE, MODEL_SINCE, model.since),
        process::text(),
    ]
    .concat()
}

/// The model that scores, as it is told at each scrape.
#[derive(Debug)]
pub struct ModelInForce<'a> {
    /// Its version.
    pub version: &'a str,
    /// Labels that taught it.
    pub labels: u64,
    /// Since when it scores here, in seconds since 1970.
    pub since: f64,
}

fn gauge_text(name: &str, series: &str, value: f64) -> String {
    format!("{}{series} {value}\n", head(name, "gauge"))
}

/// What stands before the series of a metric.
fn head(name: &str, kind: &str) -> String {
    format!("# HELP {name} {}\n# TYPE {name} {kind}\n", help(name))
}

/// A series whose value is kept in millionths, digit by digit.
fn micro_text(series: &str, micro: u64) -> String {
    format!("{series} {}.{:06}\n", micro / 1_000_000, micro % 1_000_000)
}

fn help(name: &str) -> &'static str {
    CATALOGUE.iter().find(|metric| metric.name == name).map_or("", |metric| metric.help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    #[test]
    fn memory_stays_bounded_when_nobody_scrapes() {
        // Kept, fifteen million samples would be 120 MB; between two rounds of upkeep there are 5 000 of them. Other tests of
        // this process use memory meanwhile, tens of megabytes.
        let matcher = Matcher::Full(STAGE.to_owned());
        let recorder =
            PrometheusBuilder::new().set_buckets_for_metric(matcher, STAGE_SECONDS).expect("buckets").build_recorder();
        let handle = recorder.handle();
        let histogram = metrics::with_local_recorder(&recorder, || registered::histogram(STAGE, &[("stage", "link")]));
        let record = |rounds: u32| {
            for _ in 0..rounds {
                (0..5_000).for_each(|_| histogram.record(0.003));
                handle.run_upkeep();
            }
        };
        record(10);
        let resident = || status_kib("self", "VmRSS").expect("Linux");
        let before = resident();
        record(3_000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 60_000, "{grown} kB more");
        assert!(handle.render().contains(&format!("{STAGE}_count{{stage=\"link\"}} 15050000")));
    }

    #[test]
    fn every_enum_of_the_flow_has_a_label_for_each_of_its_values() {
        assert_eq!(CLOCKS[Clock::Future as usize], "future");
        assert_eq!(CLOCKS[Clock::AmqpSeconds as usize], "amqp_seconds");
        assert_eq!(COMPONENTS[Component::Historical as usize], Component::Historical.as_str());
        assert_eq!(CLOSED[Closed::Ended as usize], "ended");
        assert_eq!(CLOSED[Closed::Age as usize], "age");
    }

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
