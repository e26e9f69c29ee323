//! Reads PromQL as far as the dashboards use it, and holds it against the catalogue of metrics.
//!
//! It takes an expression apart into selectors and grouping clauses. It is no full parser and must never be taken for
//! one: whether Prometheus accepts an expression is promtool's word.

use std::collections::BTreeSet;

use claimrisk::metrics::{CATALOGUE, Kind, Metric};

/// Words of PromQL that are neither a metric nor a function.
const KEYWORDS: [&str; 5] = ["or", "and", "unless", "bool", "offset"];
/// Words of PromQL that a list of labels follows.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Functions that a counter must pass through before it means anything.
const RATES: [&str; 3] = ["rate", "irate", "increase"];

/// One `metric{label="value"}[range]` of a query, with the function it stands in.
#[derive(Debug)]
pub struct Selector {
    /// Name of the series, with `_bucket` and the like.
    pub metric: String,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// What stands between the square brackets.
    pub range: Option<String>,
    /// The innermost function around it, empty when there is none.
    pub function: String,
}

/// What the checks need of a PromQL expression: its selectors, and the labels of its grouping clauses.
#[derive(Debug, Default)]
pub struct Query {
    /// In the order of the expression.
    pub selectors: Vec<Selector>,
    /// Labels named by `by`, `on` and their like, anywhere in the expression.
    pub grouped_by: BTreeSet<String>,
}

/// Splits off the longest prefix whose characters satisfy `wanted`.
fn take(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Reads an expression. The error says what it could not take apart.
pub fn read_query(expr: &str) -> Result<Query, String> {
    let mut query = Query::default();
    let mut open: Vec<String> = Vec::new();
    let mut pending = String::new();
    let mut rest = expr.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = take(rest, is_word);
        let after = after.trim_start();
        if let Some(variable) = rest.strip_prefix('$') {
            rest = take(variable, is_word).1;
        } else if first.is_ascii_digit() {
            rest = take(rest, |c| is_word(c) || c == '.').1;
        } else if LABEL_LISTS.contains(&word) {
            let (list, after) = after
                .strip_prefix('(')
                .and_then(|t| t.split_once(')'))
                .ok_or_else(|| format!("no list after `{word}`"))?;
            query.grouped_by.extend(list.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if KEYWORDS.contains(&word) {
            rest = after;
        } else if !word.is_empty() {
            let next = take(after, is_word).0;
            if after.starts_with('(') || LABEL_LISTS.contains(&next) {
                word.clone_into(&mut pending);
                rest = after;
            } else {
                let function = open.iter().rev().find(|name| !name.is_empty()).cloned().unwrap_or_default();
                let (selector, after) = read_selector(word, after, function)?;
                query.selectors.push(selector);
                rest = after;
            }
        } else {
            match first {
                '(' => open.push(std::mem::take(&mut pending)),
                ')' => drop(open.pop().ok_or("a `)` too many")?),
                _ => {}
            }
            rest = rest.strip_prefix(first).unwrap_or_default();
        }
        rest = rest.trim_start();
    }
    if open.is_empty() { Ok(query) } else { Err("a `(` too many".to_owned()) }
}

/// Reads the matchers and the range that follow a metric's name.
fn read_selector<'a>(metric: &str, after: &'a str, function: String) -> Result<(Selector, &'a str), String> {
    let mut rest = after;
    let mut matchers = Vec::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            inner = inner.trim_start_matches([',', ' ', '\n']);
            if let Some(after) = inner.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, tail) = take(inner, is_word);
            let (operator, tail) = take(tail.trim_start(), |c| "=!~".contains(c));
            let (value, tail) = tail
                .trim_start()
                .strip_prefix('"')
                .and_then(|t| t.split_once('"'))
                .ok_or_else(|| format!("`{metric}`: no value for `{label}`"))?;
            matchers.push((label.to_owned(), operator.to_owned(), value.to_owned()));
            inner = tail;
        }
    }
    let mut range = None;
    if let Some(inner) = rest.strip_prefix('[') {
        let (text, after) = inner.split_once(']').ok_or("a `[` without `]`")?;
        range = Some(text.to_owned());
        rest = after;
    }
    Ok((Selector { metric: metric.to_owned(), matchers, range, function }, rest))
}

const fn of_the_broker(
    name: &'static str,
    kind: Kind,
    labels: &'static [(&'static str, &'static [&'static str])],
) -> Metric {
    Metric { name, kind, help: "", labels, buckets: &[] }
}

/// Metrics of RabbitMQ that the dashboards and rules use; tests/it/observability.rs finds each at a real broker.
static BROKER: [Metric; 9] = [
    of_the_broker("rabbitmq_identity_info", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_detailed_queue_messages_ready", Kind::Gauge, &[("queue", QUEUES), ("vhost", &[])]),
    of_the_broker("rabbitmq_detailed_queue_consumers", Kind::Gauge, &[("queue", QUEUES), ("vhost", &[])]),
    of_the_broker("rabbitmq_alarms_memory_used_watermark", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_alarms_free_disk_space_watermark", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_process_resident_memory_bytes", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_resident_memory_limit_bytes", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_disk_space_available_bytes", Kind::Gauge, &[]),
    of_the_broker("rabbitmq_disk_space_available_limit_bytes", Kind::Gauge, &[]),
];
/// The queues that are declared, and what stands for all of them.
const QUEUES: &[&str] =
    &["claimrisk.claims", "claimrisk.remittances", "claimrisk.x12", "claimrisk.dead", "claimrisk.+"];

/// What Prometheus itself tells of alerts that are under way.
static ALERTS: [Metric; 1] = [Metric {
    name: "ALERTS",
    kind: Kind::Gauge,
    help: "",
    labels: &[("alertname", &[]), ("alertstate", &["pending", "firing"]), ("severity", &[])],
    buckets: &[],
}];

/// Everything that may be asked for: the catalogue, and what is known of the broker and of alerts.
pub fn known_metrics() -> impl Iterator<Item = &'static Metric> {
    CATALOGUE.iter().chain(&BROKER).chain(&ALERTS)
}

/// The catalogue's entry for a series name, and whether it is a histogram's bucket.
pub fn find_metric(name: &str) -> Option<(&'static Metric, bool)> {
    known_metrics().find_map(|metric| match metric.kind {
        Kind::Histogram => {
            let suffix = name.strip_prefix(metric.name)?;
            ["_bucket", "_sum", "_count"].contains(&suffix).then_some((metric, suffix == "_bucket"))
        }
        Kind::Counter | Kind::Gauge => (metric.name == name).then_some((metric, false)),
    })
}

/// Faults of one selector against the catalogue: its name, its labels, its labels' values.
pub fn selector_faults(selector: &Selector) -> Vec<String> {
    let Some((metric, is_bucket)) = find_metric(&selector.metric) else {
        return vec![format!("`{}` is not in the catalogue", selector.metric)];
    };
    let mut faults = Vec::new();
    for (label, _, value) in &selector.matchers {
        if label == "job" || label == "instance" || (is_bucket && label == "le") {
            continue;
        }
        match metric.labels.iter().find(|(name, _)| name == label) {
            None => faults.push(format!("`{}` has no label `{label}`", metric.name)),
            Some((_, allowed)) => faults.extend(
                value
                    .split('|')
                    .filter(|v| !v.starts_with('$') && !allowed.is_empty() && !allowed.contains(v))
                    .map(|v| format!("`{}`: `{label}` is never `{v}`", metric.name)),
            ),
        }
    }
    faults
}

/// Faults of the way a selector is used: filters by job and instance (by broker, for what the broker tells), a rate around
/// counters unless their exact values are wanted, a fitting range.
pub fn usage_faults(selector: &Selector, instant: bool, exact: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let ours = [("job", "$job"), ("instance", "$instance")];
    let filters = match selector.metric.as_str() {
        // An alert is about the fleet.
        "ALERTS" => &[][..],
        name if name.starts_with("rabbitmq_") => &[("instance", "$broker")],
        _ => &ours,
    };
    for (label, variable) in filters.iter().copied() {
        if !selector.matchers.iter().any(|(l, op, v)| l == label && op == "=~" && v == variable) {
            faults.push(format!("`{}` lacks {label}=~\"{variable}\"", selector.metric));
        }
    }
    let counts = find_metric(&selector.metric).is_some_and(|(m, _)| !matches!(m.kind, Kind::Gauge));
    let rated = RATES.contains(&selector.function.as_str());
    if counts && !exact && !(rated && selector.range.is_some()) {
        faults.push(format!("`{}` only rises: it needs rate or increase", selector.metric));
    }
    // A total over the time shown is an instant query; drawn as a line it would count everything many times.
    // A window of its own is fit for both: each point of the line is the total of the window that ends there.
    let fitting = match selector.range.as_deref() {
        Some("$__rate_interval" | "$window") | None => true,
        Some("$__range") => instant,
        Some(_) => false,
    };
    if !fitting {
        faults.push(format!("`{}` over {:?}", selector.metric, selector.range));
    }
    faults
}
