//! `claimrisk model calibration`: how well the scores that stood agree with the labels that came, from the database: the
//! same numbers that the metrics of the fleet add up to.

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use serde::Serialize;
use sqlx::PgPool;

use super::Output;
use super::output::{print, print_json, table};
use crate::domain::drift::{BIN_NAMES, BinSum, Drift};
use crate::error::CommandError;
use crate::store::label_scores;

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Arguments {
    /// Count only labels that came on this day (UTC) or later.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<NaiveDate>,
    /// `table` or `json`.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// One bin, or all of them.
#[derive(Serialize)]
struct Row {
    /// The lower end of the bin.
    #[serde(skip_serializing_if = "Option::is_none")]
    bin: Option<&'static str>,
    labels: u64,
    denied: u64,
    /// Sum of the probabilities, in millionths.
    predicted_micro: u64,
    /// Sum of the squared distances, in millionths.
    loss_micro: u64,
    predicted_mean: Option<f64>,
    denied_share: Option<f64>,
    brier: Option<f64>,
}

impl Row {
    fn of(bin: Option<&'static str>, sum: &BinSum) -> Self {
        Self {
            bin,
            labels: sum.labels(),
            denied: sum.denied,
            predicted_micro: sum.predicted_micro,
            loss_micro: sum.loss_micro,
            predicted_mean: sum.predicted_mean(),
            denied_share: sum.denied_share(),
            brier: sum.brier(),
        }
    }
}

#[derive(Serialize)]
struct Report {
    since: Option<NaiveDate>,
    #[serde(flatten)]
    total: Row,
    calibration_error: Option<f64>,
    bins: Vec<Row>,
}

/// Counts the stored labels and prints them.
pub(super) async fn run(pool: &PgPool, arguments: Arguments) -> Result<(), CommandError> {
    let since = arguments.since.map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let drift = label_scores::drift(pool, since).await?;
    match arguments.output {
        Output::Json => print_json(&report(arguments.since, &drift)),
        Output::Table => print(&shown(&drift)),
    }
}

fn report(since: Option<NaiveDate>, drift: &Drift) -> Report {
    let bins = BIN_NAMES.iter().zip(&drift.bins).map(|(name, bin)| Row::of(Some(name), bin));
    let total = Row::of(None, &drift.total());
    Report { since, total, calibration_error: drift.calibration_error(), bins: bins.collect() }
}

fn shown(drift: &Drift) -> String {
    let percent = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", value * 100.0));
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let total = drift.total();
    let mut table = table(&["Probability from", "Predicted", "Denied", "Labels"]);
    for (name, sum) in BIN_NAMES.into_iter().zip(&drift.bins).chain([("all", &total)]) {
        table.add_row([
            name.to_owned(),
            percent(sum.predicted_mean()),
            percent(sum.denied_share()),
            sum.labels().to_string(),
        ]);
    }
    let (error, brier) = (number(drift.calibration_error()), number(total.brier()));
    format!("{table}\nExpected calibration error {error}, Brier score {brier}; 0 is perfect for both")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drift::Labelled;

    #[test]
    fn a_bin_without_labels_shows_no_share_and_all_of_them_stand_last() {
        let mut drift = Drift::default();
        drift.bins[2].add(Labelled { probability_micro: 250_000, denied: true });
        drift.bins[2].add(Labelled { probability_micro: 250_000, denied: false });
        let text = shown(&drift);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert!(lines.contains(&vec!["0.1", "-", "-", "0"]), "{text}");
        assert!(lines.contains(&vec!["0.2", "25.0 %", "50.0 %", "2"]), "{text}");
        assert!(lines.contains(&vec!["all", "25.0 %", "50.0 %", "2"]), "{text}");
        assert!(text.contains("error 0.2500, Brier score 0.3125"), "{text}");
    }
}
