//! What the bench measures: the list of its figures with their targets, the values of all rounds, medians with their
//! spread, and the same beside those of an earlier run.
//!
//! Must never: make a figure of anything but measured values, or tell a ratio of figures that were not both measured.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::output::table;
use crate::error::CommandError;

/// A bound that a figure should keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Below(bound) => value < bound,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::Below(bound) => format!("< {bound}"),
        }
    }
}

/// What a figure is called and measured in: its stable name for comparing runs, what it is, its unit, what is wanted.
type Known = (&'static str, &'static str, &'static str, Option<Target>);

/// All figures there are, in the order in which they are shown.
const KNOWN: &[Known] = &[
    ("x12_read", "X12 837 into claims, one core", "MB/s", Some(Target::AtLeast(200.0))),
    ("x12_memory", "Peak memory, reading a 100 MB file", "MiB", Some(Target::Below(64.0))),
    ("score", "Scoring, one core", "us/claim", Some(Target::Below(50.0))),
    ("learn", "Folding labels into a model, one core", "labels/s", Some(Target::AtLeast(100_000.0))),
    ("score_six_mean", "Scoring six lines, learned model: mean", "us/claim", Some(Target::Below(15.0))),
    ("score_six_p99", "The same, 99 of 100 within", "us/claim", Some(Target::Below(50.0))),
    ("score_inexact", "Scores whose parts do not sum exactly", "scores", Some(Target::Below(1.0))),
    ("publish", "Publishing with confirms, 500 at a time", "claims/s", None),
    ("broker_raw", "RabbitMQ alone: take and acknowledge", "claims/s", None),
    ("raw_claims", "PostgreSQL alone: the same rows, 500 claims at a time", "claims/s", None),
    ("raw_remittances", "PostgreSQL alone: the same rows, 500 remittances at a time", "remittances/s", None),
    ("raw_redis", "Redis alone: values of the same size, 500 at a time", "values/s", None),
    ("pipeline", "One worker, claims, batches of 500", "claims/s", None),
    ("pipeline_remittances", "One worker, remittances, batches of 500", "remittances/s", None),
    ("pipeline_mixed", "One worker, four claims to one remittance", "events/s", None),
    ("pipeline_ones", "One worker, claims, batches of 1", "claims/s", None),
    ("claims_ratio", "Claims: one worker over PostgreSQL alone", "x", Some(Target::AtLeast(0.5))),
    ("remittances_ratio", "Remittances: one worker over PostgreSQL alone", "x", Some(Target::AtLeast(0.4))),
    ("batch_ratio", "Batches of 500 over batches of 1", "x", Some(Target::AtLeast(10.0))),
    ("broker_ratio", "One worker over RabbitMQ alone", "x", None),
    ("worker_memory", "Peak memory of the worker", "MiB", Some(Target::Below(150.0))),
    ("cpu_claim_worker", "Processor time of a claim: worker", "us", Some(Target::AtMost(60.0))),
    ("cpu_claim_postgres", "The same: PostgreSQL", "us", None),
    ("cpu_claim_rabbitmq", "The same: RabbitMQ", "us", None),
    ("cpu_claim_redis", "The same: Redis", "us", None),
    ("cpu_remittance_worker", "Processor time of a remittance: worker", "us", None),
    ("cpu_remittance_postgres", "The same: PostgreSQL", "us", None),
    ("cpu_remittance_rabbitmq", "The same: RabbitMQ", "us", None),
    ("cpu_remittance_redis", "The same: Redis", "us", None),
    ("latency_25_p50", "Published to readable at a quarter of the claims' rate: p50", "ms", None),
    ("latency_25_p95", "The same: p95", "ms", None),
    ("latency_25_p99", "The same: p99", "ms", None),
    ("latency_50_p50", "Published to readable at half of the rate: p50", "ms", None),
    ("latency_50_p95", "The same: p95", "ms", None),
    ("latency_50_p99", "The same: p99", "ms", Some(Target::Below(250.0))),
    ("latency_75_p50", "Published to readable at three quarters of the rate: p50", "ms", None),
    ("latency_75_p95", "The same: p95", "ms", None),
    ("latency_75_p99", "The same: p99", "ms", None),
    ("read_cached", "API: cached risk score, 16 connections", "requests/s", None),
    ("read_cached_p99", "The same: p99", "ms", None),
    ("read_uncached", "API: risk score that the cache does not hold", "requests/s", None),
    ("read_uncached_p99", "The same: p99", "ms", None),
    ("read_bare", "API: health route", "requests/s", None),
    ("read_bare_p99", "The same: p99", "ms", None),
    ("redis_get", "Redis alone: the same value, 16 tasks", "reads/s", None),
    ("redis_get_p99", "The same: p99", "ms", None),
    ("read_ratio", "Cached risk score over health route", "x", Some(Target::AtLeast(0.5))),
    ("stored_fill", "Filling the database with stored claims", "claims/s", None),
    ("stored_pipeline", "On top of them: one worker, claims", "claims/s", None),
    ("stored_pipeline_remittances", "The same: remittances", "remittances/s", None),
    ("stored_ratio", "Claims: on top of the stored over without", "x", None),
    ("stored_first", "First page of the claims, list not counted yet", "ms", None),
    ("stored_first_p50", "The same when it is counted: p50", "ms", None),
    ("stored_first_p99", "The same: p99", "ms", None),
    ("stored_worklist", "First page of the worklist, list not counted yet", "ms", None),
    ("stored_worklist_p50", "The same when it is counted: p50", "ms", None),
    ("stored_worklist_p99", "The same: p99", "ms", None),
    ("stored_deep", "A page in the middle of the claims, list not counted yet", "ms", None),
    ("stored_deep_p50", "The same when it is counted: p50", "ms", None),
    ("stored_deep_p99", "The same: p99", "ms", None),
];

/// Figures that are one over another, round by round.
const RATIOS: &[(&str, &str, &str)] = &[
    ("claims_ratio", "pipeline", "raw_claims"),
    ("remittances_ratio", "pipeline_remittances", "raw_remittances"),
    ("batch_ratio", "pipeline", "pipeline_ones"),
    ("broker_ratio", "pipeline", "broker_raw"),
    ("read_ratio", "read_cached", "read_bare"),
    ("stored_ratio", "stored_pipeline", "pipeline"),
];

/// The values of all rounds, by the figure's name.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds what a round measured.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// The same for what the system may not tell.
    pub(super) fn add_told(&mut self, name: impl Into<String>, value: Option<f64>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// The figures that were measured, and the ratios between them.
    ///
    /// # Errors
    /// Something was measured that [`KNOWN`] does not name.
    pub(super) fn figures(mut self) -> Result<Vec<Figure>, CommandError> {
        for (name, over, under) in RATIOS {
            for ratio in self.ratios(over, under) {
                self.add(*name, ratio);
            }
        }
        if let Some(name) = self.0.keys().find(|name| !KNOWN.iter().any(|known| known.0 == *name)) {
            return Err(CommandError::Failed(format!("no figure is called {name}")));
        }
        Ok(KNOWN.iter().filter_map(|known| Figure::of(known, self.0.get(known.0)?)).collect())
    }

    fn ratios(&self, over: &str, under: &str) -> Vec<f64> {
        let values = |name| self.0.get(name).map_or(&[] as &[f64], Vec::as_slice);
        let pairs = values(over).iter().zip(values(under));
        pairs.map(|(over, under)| over / under).filter(|ratio| ratio.is_finite()).collect()
    }
}

/// One line of the result.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    what: &'static str,
    /// Median over the rounds.
    value: f64,
    /// The lowest and the highest of the rounds.
    lowest: f64,
    highest: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    /// The value of an earlier run, and this one over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

impl Figure {
    fn of(known: &Known, values: &[f64]) -> Option<Self> {
        let (name, what, unit, target) = *known;
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        Some(Self { name, what, value: median(&sorted)?, lowest, highest, unit, target, earlier: None, ratio: None })
    }
}

/// The middle of sorted values, or the mean of the two middle ones; none of none.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

/// A figure of an earlier run, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Earlier {
    name: String,
    value: Option<f64>,
}

/// Reads the result of an earlier run.
///
/// # Errors
/// The file cannot be read, or is no such result.
pub(super) fn read_earlier(path: &Path) -> Result<Vec<Earlier>, CommandError> {
    let bad = |why: &str| CommandError::BadData(format!("{}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| bad(&format!("cannot be read: {error}")))?;
    let earlier: Vec<Earlier> = serde_json::from_slice(&text).unwrap_or_default();
    if earlier.is_empty() {
        return Err(bad("no result of `claimrisk bench --output json`"));
    }
    Ok(earlier)
}

/// Puts the values of an earlier run beside those of this one.
pub(super) fn compare(figures: &mut [Figure], earlier: &[Earlier]) {
    for figure in figures {
        figure.earlier = earlier.iter().find(|earlier| earlier.name == figure.name).and_then(|earlier| earlier.value);
        figure.ratio = figure.earlier.map(|earlier| figure.value / earlier).filter(|ratio| ratio.is_finite());
    }
}

/// The figures as a table; with the values of an earlier run, if there is one.
pub(super) fn shown(figures: &[Figure], compared: bool) -> String {
    let mut header = vec!["Figure", "Median", "Lowest..highest", "Unit", "Wanted", ""];
    if compared {
        header.extend(["Earlier", "New/old"]);
    }
    let mut table = table(&header);
    for figure in figures {
        let verdict = match figure.target {
            Some(target) if target.is_met(figure.value) => "reached",
            Some(_) => "missed",
            None => "",
        };
        let mut row = vec![
            figure.what.to_owned(),
            rounded(figure.value),
            format!("{}..{}", rounded(figure.lowest), rounded(figure.highest)),
            figure.unit.to_owned(),
            figure.target.map_or(String::new(), Target::shown),
            verdict.to_owned(),
        ];
        if compared {
            row.extend([figure.earlier, figure.ratio].map(|value| value.map_or(String::new(), rounded)));
        }
        table.add_row(row);
    }
    table.to_string()
}

/// Three digits that mean something.
fn rounded(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[(&str, &[f64])]) -> Vec<Figure> {
        let mut samples = Samples::default();
        for (name, values) in values {
            values.iter().for_each(|value| samples.add(*name, *value));
        }
        samples.figures().unwrap()
    }

    fn find<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
        figures.iter().find(|figure| figure.name == name)
    }

    #[test]
    fn a_median_is_in_the_middle_and_its_spread_around_it_whatever_the_order() {
        let figures = figures(&[("pipeline", &[3.0, 100.0, 1.0]), ("broker_raw", &[4.0, 1.0, 3.0, 2.0])]);
        let spread = |name| find(&figures, name).map(|figure| (figure.lowest, figure.value, figure.highest));
        assert_eq!(spread("pipeline"), Some((1.0, 3.0, 100.0)));
        assert_eq!(spread("broker_raw"), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread("publish"), None);
        assert!(shown(&figures, false).contains("1.00..100"), "{}", shown(&figures, false));
    }

    #[test]
    fn figures_tell_ratios_of_each_round_and_whether_targets_are_met() {
        let figures = figures(&[
            ("x12_read", &[250.0]),
            ("score", &[51.0]),
            ("cpu_claim_worker", &[60.0]),
            ("pipeline", &[4000.0, 6000.0, 5000.0]),
            ("pipeline_ones", &[400.0, 400.0, 400.0]),
            ("broker_raw", &[8000.0, 6000.0, 8000.0]),
        ]);
        let value = |name| find(&figures, name).map(|figure| figure.value);
        assert_eq!(value("batch_ratio"), Some(12.5));
        assert_eq!(value("broker_ratio"), Some(0.625));
        assert_eq!(value("claims_ratio"), None);
        let shown = shown(&figures, false);
        assert_eq!(shown.matches("reached").count(), 3, "{shown}");
        assert_eq!(shown.matches("missed").count(), 1, "{shown}");
    }

    #[test]
    fn a_ratio_to_nothing_is_not_told_and_a_figure_without_a_line_is_an_error() {
        let figures = figures(&[("pipeline", &[10.0]), ("pipeline_ones", &[0.0]), ("broker_raw", &[])]);
        assert!(figures.iter().all(|figure| !figure.name.ends_with("ratio")));
        let mut samples = Samples::default();
        samples.add("speed", 1.0);
        assert!(samples.figures().is_err());
    }

    #[test]
    fn every_figure_and_every_ratio_has_one_line() {
        let mut names: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN.len());
        for (name, over, under) in RATIOS {
            assert!([name, over, under].iter().all(|name| names.contains(name)), "{name}");
        }
    }

    #[test]
    fn an_earlier_result_stands_beside_and_a_file_that_is_none_is_refused() {
        let folder = super::super::Folder::create("compare").unwrap();
        let path = folder.path().join("earlier.json");
        std::fs::write(&path, serde_json::to_vec(&figures(&[("pipeline", &[2000.0])])).unwrap()).unwrap();
        let earlier = read_earlier(&path).unwrap();
        let mut now = figures(&[("pipeline", &[5000.0]), ("publish", &[1.0])]);
        compare(&mut now, &earlier);
        assert_eq!(
            find(&now, "pipeline").map(|figure| (figure.earlier, figure.ratio)),
            Some((Some(2000.0), Some(2.5)))
        );
        assert_eq!(find(&now, "publish").and_then(|figure| figure.ratio), None);
        assert!(shown(&now, true).contains("2.50"));
        for text in ["", "[]", "{}", "[1]", "claims.csv"] {
            std::fs::write(&path, text).unwrap();
            let error = read_earlier(&path).unwrap_err().to_string();
            assert!(error.contains("no result of"), "{error}");
        }
        assert!(read_earlier(&folder.path().join("nowhere")).is_err());
    }
}
