//! How fast the model learns that a payer began to deny something: the truth of a simulated world tells when and what.
//!
//! Must never: take noise for a mistake; the distance to the truth is what an endless number of such claims would cost.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::{Truths, truth_of};
use crate::backtest::{Replay, Row};
use crate::domain::types::Date;
use crate::error::CommandError;

/// First days by payer and what it denies since.
pub(super) type Steps = HashMap<(String, String), Date>;

/// Where the ranges of labels begin that are told apart.
const RANGES: [usize; 9] = [0, 1, 5, 10, 20, 40, 80, 160, 300];

/// The distance to the truth after so many labels of the same payer and matter since the step.
#[derive(Debug, Serialize)]
struct Range {
    /// Labels learned since the step, at the least.
    labels: usize,
    claims: usize,
    /// Mean log-loss above that of the true probability.
    excess_log_loss: f64,
}

/// How the model recovers from steps.
#[derive(Debug, Serialize)]
pub(super) struct Recovery {
    steps: usize,
    ranges: Vec<Range>,
    /// With so many labels half of the distance is gone; none while it is not.
    half_gone_after_labels: Option<usize>,
}

impl Recovery {
    pub(super) fn sentence(&self) -> String {
        let first = self.ranges.first().map_or(0.0, |range| range.excess_log_loss);
        let half = self.half_gone_after_labels.map_or_else(
            || "not gone at the end".to_owned(),
            |labels| format!("gone once {labels} labels of that payer and matter were learned"),
        );
        let told: Vec<String> = self
            .ranges
            .iter()
            .map(|range| format!("{}+: {:.3} ({})", range.labels, range.excess_log_loss, range.claims))
            .collect();
        format!(
            "After {} steps of payers' rules: log-loss {first:.3} above the truth's at first, half of it {half}\n  by labels \
             (claims): {}",
            self.steps,
            told.join(", ")
        )
    }
}

/// Measures the recovery over all steps; none where no claim came after any.
pub(super) fn recover(replay: &Replay, truths: &Truths, steps: &Steps) -> Option<Recovery> {
    let mut groups: HashMap<(&str, &str), Vec<(&Row, f64)>> = HashMap::new();
    for row in &replay.rows {
        let (Some(truth), Some(payer)) = (truth_of(truths, row), replay.payers.get(row.payer as usize)) else {
            continue;
        };
        let from = steps.get(&(payer.clone(), truth.mechanism.clone()));
        if from.is_some_and(|from| row.submitted.date_naive() >= *from) {
            groups.entry((payer, &truth.mechanism)).or_default().push((row, truth.p));
        }
    }
    let mut sums = [(0usize, 0.0); RANGES.len()];
    // In the order of their names: sums of floats depend on it.
    let mut sorted: Vec<_> = groups.iter().collect();
    sorted.sort_by_key(|(name, _)| **name);
    for (_, rows) in &sorted {
        for (row, truth) in rows.iter() {
            let known =
                |other: &&(&Row, f64)| other.0.arrived.is_some_and(|at| at.date_naive() < row.submitted.date_naive());
            let labels = rows.iter().filter(known).count();
            let range = RANGES.iter().rposition(|from| labels >= *from).unwrap_or(0);
            if let Some(sum) = sums.get_mut(range) {
                *sum = (sum.0 + 1, sum.1 + distance(*truth, row.p));
            }
        }
    }
    let range =
        |(labels, (claims, sum)): (usize, (usize, f64))| Range { labels, claims, excess_log_loss: sum / claims as f64 };
    let ranges: Vec<Range> = RANGES.into_iter().zip(sums).filter(|(_, (claims, _))| *claims > 0).map(range).collect();
    let first = ranges.first().filter(|range| range.labels == 0)?.excess_log_loss;
    let half = ranges.iter().find(|range| range.excess_log_loss <= first / 2.0).map(|range| range.labels);
    Some(Recovery { steps: groups.len(), ranges, half_gone_after_labels: half })
}

/// The log-loss of a probability above that of the true one, over endless claims (Kullback and Leibler 1951).
fn distance(truth: f64, p: f64) -> f64 {
    let part = |truth: f64, p: f64| if truth > 0.0 { truth * (truth / p.max(1e-9)).ln() } else { 0.0 };
    part(truth, p) + part(1.0 - truth, 1.0 - p)
}

/// Reads the `steps.csv` of a simulation.
pub(super) fn read(path: &Path) -> Result<Steps, CommandError> {
    let bad = |what: String| CommandError::BadData(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let mut lines = text.lines();
    if lines.next() != Some(crate::simulate::STEPS_HEADER) {
        return Err(bad("line 1: not the steps.csv of `claimrisk simulate`".to_owned()));
    }
    let row = |(place, line): (usize, &str)| {
        let mut fields = line.split(',');
        let (payer, mechanism, from) = (fields.next(), fields.next(), fields.next().and_then(|day| day.parse().ok()));
        match (payer, mechanism, from) {
            (Some(payer), Some(mechanism), Some(from)) => Ok(((payer.to_owned(), mechanism.to_owned()), from)),
            _ => Err(bad(format!("line {}: not a payer, what it denies and a day", place + 2))),
        }
    };
    lines.enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_at_no_distance_from_itself_and_all_else_is() {
        for truth in [0.0, 0.2, 0.9] {
            assert!(distance(truth, truth).abs() < 1e-8);
            for p in [0.01, 0.5, 0.99] {
                assert!(distance(truth, p) > 0.0, "{truth} {p}");
            }
        }
    }
}
