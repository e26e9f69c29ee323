//! What is measured: every metric's name, help, labels and buckets.
//!
//! No other file names a metric. Must never: give a label values that are not a closed set, a claim, a patient, a member
//! or free text; a version is the one exception.

use crate::domain::drift::BIN_NAMES;
use crate::domain::rules::Component;

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
pub(super) const WRITE_OUTCOMES: &[&str] = &["both", "db_only_invalidated", "db_only_not_invalidated", "skipped_older"];
/// What came of asking PostgreSQL for what the cache did not have; `coalesced` waited for another's load.
pub(super) const LOADS: &[&str] = &["found", "absent", "error", "coalesced"];
pub(super) const SETTLED: &[&str] =
    &["scored", "recorded", "duplicate", "superseded", "parked", "retried", "requeued", "dead_lettered"];
pub(super) const REASONS: &[&str] = &[
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
pub(super) const STAGES: &[&str] = &["decode", "read", "link", "score", "persist", "cache", "settle"];
pub(super) const LEVELS: &[&str] = &["low", "medium", "high", "critical"];
pub(super) const OUTCOMES: &[&str] = &["paid", "partial", "denied", "recouped"];
/// What a label says in the calibration: a partial denial is one.
pub(super) const LABELS: &[&str] = &["denied", "paid"];
pub(super) const DEPENDENCIES: &[&str] = &["rabbitmq", "postgres", "redis"];
/// Where the time of publishing was found; `future` when it lies ahead, `none` when nothing told it.
pub(super) const CLOCKS: &[&str] = &["header_ms", "amqp_seconds", "event_time", "none", "future"];
/// Why a batch was closed.
pub(super) const CLOSED: &[&str] = &["full", "age", "alone", "ended"];
/// Who publishes.
pub(super) const PUBLISHERS: &[&str] = &["copies", "announcements"];
pub(super) const CONFIRMS: &[&str] = &["confirmed", "unroutable", "refused", "unknown"];
/// Connections to the broker that can be lost.
pub(super) const CONNECTIONS: &[&str] = &["consumer", "publisher"];
pub(super) const LINKS: &[&str] = &[
    "control_number",
    "payer_claim_control_number",
    "mangled_control_number",
    "member_dates_charge",
    "ambiguous",
    "none",
];
pub(super) const POOLS: &[&str] = &["postgres", "redis"];
pub(super) const POOL_STATES: &[&str] = &["idle", "used"];
/// Classes of SQLSTATE; `client` is an error without one (no connection, no answer).
pub(super) const SQL_CLASSES: &[&str] = &["08", "22", "23", "40", "53", "55", "57", "client", "other"];
pub(super) const BREAKER_STATES: &[&str] = &["closed", "half_open", "open"];
/// What is asked of PostgreSQL, by its purpose.
pub(super) const QUERIES: &[&str] =
    &["references", "earlier_claims", "store", "changed_rows", "version", "page", "audit"];
/// Groups that the reasons of a score belong to.
pub(super) const COMPONENTS: &[&str] = &Component::NAMES;
/// Who bears an adjustment (X12 CAS01), `other` for what X12 has no name for.
pub(super) const GROUP_CODES: &[&str] = &["CO", "PR", "OA", "PI", "other"];
pub(super) const STATUSES: &[&str] = &["2xx", "3xx", "4xx", "5xx"];

pub(super) const FAST: &[f64] = &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
pub(super) const STAGE_SECONDS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
pub(super) const READABLE_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
pub(super) const ANSWER_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
pub(super) const PROCESS_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
pub(super) const AGE_SECONDS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
pub(super) const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
pub(super) const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

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

pub(super) const CACHE_GETS: &str = "claimrisk_cache_gets_total";
pub(super) const CACHE_GET_SECONDS: &str = "claimrisk_cache_get_duration_seconds";
pub(super) const CACHE_WRITES: &str = "claimrisk_cache_write_throughs_total";
/// Messages taken from a work queue, by event type.
pub const RECEIVED: &str = "claimrisk_messages_received_total";
/// Messages settled, by event type and outcome.
pub const SETTLED_TOTAL: &str = "claimrisk_messages_settled_total";
pub(super) const IN_FLIGHT: &str = "claimrisk_messages_in_flight";
pub(super) const DEAD_LETTERS: &str = "claimrisk_dead_letters_total";
pub(super) const STAGE: &str = "claimrisk_stage_duration_seconds";
/// From publishing to readable, by event type.
pub const READABLE: &str = "claimrisk_publish_to_readable_seconds";
pub(super) const BATCH_MESSAGES: &str = "claimrisk_batch_messages";
pub(super) const SCORES: &str = "claimrisk_scores_total";
pub(super) const SCORE_BINS: &str = "claimrisk_score_bins_total";
pub(super) const PREDICTED: &str = "claimrisk_calibration_predicted_total";
pub(super) const CALIBRATION_OUTCOMES: &str = "claimrisk_calibration_outcomes_total";
pub(super) const BRIER: &str = "claimrisk_brier_loss_total";
pub(super) const OUTCOMES_TOTAL: &str = "claimrisk_outcomes_total";
pub(super) const REDELIVERED: &str = "claimrisk_messages_redelivered_total";
pub(super) const CLOCK: &str = "claimrisk_message_clock_total";
pub(super) const BATCHES: &str = "claimrisk_batches_total";
pub(super) const LAST_SUCCESS: &str = "claimrisk_last_success_timestamp_seconds";
pub(super) const CONNECTIONS_LOST: &str = "claimrisk_broker_connections_lost_total";
pub(super) const PUBLISHED: &str = "claimrisk_published_total";
pub(super) const CONFIRMS_PENDING: &str = "claimrisk_confirms_pending";
pub(super) const CONFIRM_SECONDS: &str = "claimrisk_confirm_duration_seconds";
pub(super) const LINKS_TOTAL: &str = "claimrisk_links_total";
pub(super) const UNLINKED: &str = "claimrisk_remittances_unlinked";
pub(super) const LEARNER_ACTIVE: &str = "claimrisk_learner_active";
pub(super) const LEARNER_LABELS: &str = "claimrisk_learner_labels";
pub(super) const LEARNER_TURN: &str = "claimrisk_learner_last_turn_timestamp_seconds";
pub(super) const MODEL_LABELS: &str = "claimrisk_model_labels";
pub(super) const MODEL_SINCE: &str = "claimrisk_model_since_timestamp_seconds";
pub(super) const POOL_CONNECTIONS: &str = "claimrisk_pool_connections";
pub(super) const POOL_MAX: &str = "claimrisk_pool_connections_max";
pub(super) const POOL_WAIT: &str = "claimrisk_pool_wait_seconds";
pub(super) const POOL_TIMEOUTS: &str = "claimrisk_db_pool_timeouts_total";
pub(super) const DB_ERRORS: &str = "claimrisk_db_errors_total";
pub(super) const BREAKER: &str = "claimrisk_cache_breaker_state";
pub(super) const CACHE_PUT_SECONDS: &str = "claimrisk_cache_put_duration_seconds";
pub(super) const CACHE_LOADS: &str = "claimrisk_cache_loads_total";
pub(super) const CACHE_LOAD_SECONDS: &str = "claimrisk_cache_load_duration_seconds";
pub(super) const CACHE_VALUE_BYTES: &str = "claimrisk_cache_value_bytes";
pub(super) const DOUBTFUL: &str = "claimrisk_cache_doubtful_entries";
pub(super) const REMOVED_LATER: &str = "claimrisk_cache_removed_later_total";
pub(super) const HTTP_SECONDS: &str = "claimrisk_http_request_duration_seconds";
pub(super) const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
pub(super) const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub(super) const PROCESS_FDS: &str = "process_open_fds";
pub(super) const PROCESS_FDS_MAX: &str = "process_max_fds";
pub(super) const PROCESS: &str = "claimrisk_process_duration_seconds";
pub(super) const SERVED_AGE: &str = "claimrisk_cache_served_age_seconds";
pub(super) const QUERY: &str = "claimrisk_db_query_duration_seconds";
pub(super) const RISK_FACTORS: &str = "claimrisk_risk_factors_total";
pub(super) const DENIED_DOLLARS: &str = "claimrisk_denied_amount_dollars_total";
pub(super) const DEPENDENCY_UP: &str = "claimrisk_dependency_up";
pub(super) const BUILD_INFO: &str = "claimrisk_build_info";
pub(super) const MODEL_INFO: &str = "claimrisk_model_info";

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
    histogram(
        PROCESS,
        "From taking a message to settling it, however it was settled",
        &[("event_type", EVENT_TYPES)],
        PROCESS_SECONDS,
    ),
    histogram(BATCH_MESSAGES, "Messages in a batch", &[], BATCH),
    counter(SCORES, "Scores stored for events, by level", &[("level", LEVELS)]),
    counter(
        RISK_FACTORS,
        "Scores stored for events that show a risk factor of this group",
        &[("component", COMPONENTS)],
    ),
    counter(
        DENIED_DOLLARS,
        "Dollars that stored remittances denied, by group code; a corrected remittance counts anew",
        &[("group_code", GROUP_CODES)],
    ),
    counter(
        SCORE_BINS,
        "Scores stored for events, by the lower end of their tenth of the probability",
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
    counter(REDELIVERED, "Messages that the broker had delivered before, to this worker or another", &[]),
    counter(CLOCK, "Events by where the time of their publishing was found", &[("source", CLOCKS)]),
    counter(BATCHES, "Batches by why they were closed", &[("reason", CLOSED)]),
    gauge(LAST_SUCCESS, "When a message of this type last took effect; 0 for never", &[("event_type", EVENT_TYPES)]),
    counter(CONNECTIONS_LOST, "Connections to the broker that failed or were lost", &[("connection", CONNECTIONS)]),
    counter(
        PUBLISHED,
        "Messages published, by the broker's answer",
        &[("publisher", PUBLISHERS), ("answer", CONFIRMS)],
    ),
    gauge(CONFIRMS_PENDING, "Messages published and not yet answered by the broker", &[("publisher", PUBLISHERS)]),
    histogram(
        CONFIRM_SECONDS,
        "Time until the broker answered for all messages published together",
        &[("publisher", PUBLISHERS)],
        ANSWER_SECONDS,
    ),
    counter(LINKS_TOTAL, "Remittances that got a link or lost it, by how the claim was found", &[("method", LINKS)]),
    gauge(UNLINKED, "Stored remittances without a claim, counted up to 100000 by the active learner; 0 elsewhere", &[]),
    gauge(LEARNER_ACTIVE, "1 in the one process of the fleet that learns", &[]),
    gauge(LEARNER_LABELS, "Labels that the active learner holds; 0 elsewhere", &[]),
    gauge(LEARNER_TURN, "When the active learner last finished a turn; 0 elsewhere", &[]),
    gauge(MODEL_LABELS, "Labels that taught the model that scores here", &[]),
    gauge(MODEL_SINCE, "When this process took the model that scores here", &[]),
    gauge(POOL_CONNECTIONS, "Connections of this process by state", &[("pool", POOLS), ("state", POOL_STATES)]),
    gauge(POOL_MAX, "Connections that the pool may hold at the most", &[("pool", POOLS)]),
    histogram(
        POOL_WAIT,
        "Time until a connection was at hand; with PostgreSQL its BEGIN too",
        &[("pool", POOLS)],
        ANSWER_SECONDS,
    ),
    counter(POOL_TIMEOUTS, "Waits for a connection to PostgreSQL that were given up", &[]),
    histogram(QUERY, "Time of asking PostgreSQL, by purpose", &[("query", QUERIES)], STAGE_SECONDS),
    counter(DB_ERRORS, "Errors of PostgreSQL by class of SQLSTATE; client has none", &[("class", SQL_CLASSES)]),
    gauge(
        BREAKER,
        "1 for the state of the cache's breaker; open asks Redis nothing for a while",
        &[("state", BREAKER_STATES)],
    ),
    histogram(CACHE_PUT_SECONDS, "Time of writing up to 500 values to the cache", &[], FAST),
    counter(
        CACHE_LOADS,
        "Loads from PostgreSQL of values that the cache did not serve, by what came of them",
        &[("entity", ENTITIES), ("outcome", LOADS)],
    ),
    histogram(CACHE_LOAD_SECONDS, "Time of a load from PostgreSQL", &[("entity", ENTITIES)], ANSWER_SECONDS),
    histogram(CACHE_VALUE_BYTES, "Size of a value written to the cache", &[("entity", ENTITIES)], BYTES),
    histogram(
        SERVED_AGE,
        "How long ago a value that the cache served had been written",
        &[("entity", ENTITIES)],
        AGE_SECONDS,
    ),
    gauge(DOUBTFUL, "Cache entries that may be older than the database and wait for their removal", &[]),
    counter(
        REMOVED_LATER,
        "Cache entries that could not be written at first, and were then removed or written",
        &[("entity", ENTITIES)],
    ),
    histogram(HTTP_SECONDS, "Time of an answer of the API by class of status", &[("status", STATUSES)], ANSWER_SECONDS),
    gauge(PROCESS_MEMORY, "Memory in use", &[]),
    counter(PROCESS_CPU, "Processor time used, user and system", &[]),
    gauge(PROCESS_FDS, "Files and sockets open", &[]),
    gauge(PROCESS_FDS_MAX, "Files and sockets that may be open", &[]),
    gauge(DEPENDENCY_UP, "Whether a server answered when last used", &[("dependency", DEPENDENCIES)]),
    gauge(BUILD_INFO, "Always 1; tells what was built", &[("version", &[]), ("revision", &[])]),
    gauge(MODEL_INFO, "Always 1; tells the model that scores", &[("model_version", &[])]),
];

/// Metrics that are written as text at each scrape, not registered with the recorder.
pub(super) const WRITTEN: &[&str] = &[
    PREDICTED,
    BRIER,
    DENIED_DOLLARS,
    MODEL_INFO,
    MODEL_LABELS,
    MODEL_SINCE,
    PROCESS_MEMORY,
    PROCESS_CPU,
    PROCESS_FDS,
    PROCESS_FDS_MAX,
];
