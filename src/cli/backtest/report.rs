//! What a backtest found: the measures of the model and of simpler methods, as a table, as JSON and as a page.
//!
//! Must never: show a figure without the claims it rests on.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::output::table;
use super::steps::{Recovery, Steps, recover};
use super::{Truths, truth_of};
use crate::backtest::{BASELINES, Replay, Row, Window};
use crate::domain::types::Date;
use crate::evaluate::{
    Differences, Interval, Intervals, Metrics, Scored, bootstrap, lift_curve, metrics, paired, reliability, report_html,
};

/// Seed of the bootstrap: the same history gives the same intervals.
const SEED: u64 = 20_260;
/// Bins of the reliability diagram.
const BINS: usize = 15;
/// Payers with so many measured claims are shown one by one.
const PAYER_CLAIMS: u64 = 500;

/// What is measured, and how.
pub(super) struct Options<'a> {
    pub(super) from: Option<Date>,
    pub(super) matured_days: u32,
    pub(super) rounds: u32,
    pub(super) truth: Option<&'a Truths>,
    pub(super) steps: Option<&'a Steps>,
}

/// An interval in JSON.
#[derive(Serialize)]
struct Between {
    low: f64,
    high: f64,
}

/// The measures of one method, or of the model at one payer.
#[derive(Serialize)]
struct Measures {
    name: String,
    claims: u64,
    denials: u64,
    base_rate: f64,
    mean_score: f64,
    auc: Option<f64>,
    pr_auc: Option<f64>,
    brier: f64,
    log_loss: f64,
    calibration_error: f64,
    calibration_slope: Option<f64>,
    lift_top_decile: Option<f64>,
    recall_top_fifth: Option<f64>,
    dollar_recall_top_fifth: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auc_interval: Option<Between>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brier_interval: Option<Between>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_loss_interval: Option<Between>,
    /// The model's log-loss less this method's, on the same claims: below zero the model is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_loss_gain: Option<Between>,
}

/// How near the model comes to the best possible, in a simulated world.
#[derive(Serialize)]
struct AgainstTruth {
    oracle_auc: Option<f64>,
    /// `(AUC - 0.5) / (oracle's AUC - 0.5)`.
    share_of_auc: Option<f64>,
    brier_excess: f64,
    share_of_lift: Option<f64>,
    mean_error: Option<f64>,
}

/// All that was found.
#[derive(Serialize)]
pub(super) struct Measured {
    from: Date,
    before: Date,
    models: u32,
    labels: u64,
    methods: Vec<Measures>,
    payers: Vec<Measures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<AgainstTruth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    #[serde(skip)]
    page: String,
}

/// Measures; none when there is no claim to measure on.
pub(super) fn measure(replay: &Replay, options: &Options<'_>) -> Option<Measured> {
    let window = replay.window(options.from, options.matured_days)?;
    let of_model = |row: &Row| row.p;
    let model = replay.scored(window, of_model);
    if model.is_empty() {
        return None;
    }
    let mut methods = vec![with_intervals("claimrisk", &model, &bootstrap(&model, options.rounds, SEED), None)];
    let mut samples = vec![("claimrisk".to_owned(), model.clone())];
    for (place, baseline) in BASELINES.iter().enumerate() {
        let scored = replay.scored(window, |row| row.baselines.get(place).copied().unwrap_or_default());
        let intervals = bootstrap(&scored, options.rounds, SEED);
        let gain = paired(&model, &scored, options.rounds, SEED);
        methods.push(with_intervals(baseline.as_str(), &scored, &intervals, gain.as_ref()));
        samples.push((baseline.as_str().to_owned(), scored));
    }
    let truth = options.truth.map(|truths| {
        let oracle = replay.scored(window, |row| truth_of(truths, row).map_or(f64::NAN, |truth| truth.p));
        methods.push(plain("oracle (true probability)", &metrics(&oracle)));
        against(&model, &oracle)
    });
    Some(Measured {
        from: window.from,
        before: window.before,
        models: replay.models,
        labels: replay.labels,
        payers: payers(replay, window, &model),
        methods,
        truth,
        recovery: options.truth.zip(options.steps).and_then(|(truths, steps)| recover(replay, truths, steps)),
        page: page(&samples),
    })
}

fn payers(replay: &Replay, window: Window, model: &[Scored]) -> Vec<Measures> {
    let rows: Vec<&Row> = replay.measured(window).collect();
    let of = |place: u32| -> Vec<Scored> {
        rows.iter().zip(model).filter(|(row, _)| row.payer == place).map(|(_, scored)| scored.clone()).collect()
    };
    let names = replay.payers.iter().enumerate();
    let measured = names.map(|(place, name)| (name, metrics(&of(u32::try_from(place).unwrap_or(u32::MAX)))));
    measured.filter(|(_, found)| found.claims >= PAYER_CLAIMS).map(|(name, found)| plain(name, &found)).collect()
}

fn against(model: &[Scored], oracle: &[Scored]) -> AgainstTruth {
    let (found, best) = (metrics(model), metrics(oracle));
    let share = |one: Option<f64>, other: Option<f64>, from: f64| Some((one? - from) / (other? - from));
    let errors: Vec<f64> = model.iter().zip(oracle).map(|(one, other)| (one.p - other.p).abs()).collect();
    AgainstTruth {
        oracle_auc: best.auc,
        share_of_auc: share(found.auc, best.auc, 0.5),
        brier_excess: found.brier - best.brier,
        share_of_lift: share(found.lift_top_decile, best.lift_top_decile, 0.0),
        mean_error: mean(&errors),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of claims are far below 2^53")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn plain(name: &str, found: &Metrics) -> Measures {
    Measures {
        name: name.to_owned(),
        claims: found.claims,
        denials: found.denials,
        base_rate: found.base_rate,
        mean_score: found.mean_score,
        auc: found.auc,
        pr_auc: found.pr_auc,
        brier: found.brier,
        log_loss: found.log_loss,
        calibration_error: found.calibration_error,
        calibration_slope: found.calibration_slope,
        lift_top_decile: found.lift_top_decile,
        recall_top_fifth: found.recall_top_fifth,
        dollar_recall_top_fifth: found.dollar_recall_top_fifth,
        auc_interval: None,
        brier_interval: None,
        log_loss_interval: None,
        log_loss_gain: None,
    }
}

fn with_intervals(name: &str, scored: &[Scored], intervals: &Intervals, gain: Option<&Differences>) -> Measures {
    let between = |interval: &Interval| Between { low: interval.low, high: interval.high };
    Measures {
        auc_interval: intervals.auc.as_ref().map(between),
        brier_interval: intervals.brier.as_ref().map(between),
        log_loss_interval: intervals.log_loss.as_ref().map(between),
        log_loss_gain: gain.map(|gain| between(&gain.log_loss.interval)),
        ..plain(name, &metrics(scored))
    }
}

fn page(samples: &[(String, Vec<Scored>)]) -> String {
    let models: Vec<_> = samples
        .iter()
        .map(|(name, scored)| (name.clone(), metrics(scored), reliability(scored, BINS), lift_curve(scored)))
        .collect();
    report_html("claimrisk backtest", &models)
}

impl Measured {
    /// The page: diagrams and measures, complete in itself.
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// The measures for people.
    pub(super) fn table(&self) -> String {
        let header =
            ["Method", "Claims", "Denied", "AUC", "95 %", "PR AUC", "Brier", "Log-loss", "Calib. error", "Lift 10 %"];
        let mut methods = table(&header);
        for one in self.methods.iter().chain(&self.payers) {
            let interval =
                one.auc_interval.as_ref().map(|one| format!("{:.3}-{:.3}", one.low, one.high)).unwrap_or_default();
            methods.add_row(vec![
                one.name.clone(),
                one.claims.to_string(),
                format!("{:.1} %", one.base_rate * 100.0),
                number(one.auc, 3),
                interval,
                number(one.pr_auc, 3),
                format!("{:.4}", one.brier),
                format!("{:.4}", one.log_loss),
                format!("{:.4}", one.calibration_error),
                number(one.lift_top_decile, 2),
            ]);
        }
        let mut text = format!("Answered claims submitted from {} to before {}\n{methods}", self.from, self.before);
        if let Some(truth) = &self.truth {
            let written = write!(
                text,
                "\nOf the oracle's AUC above 0.5: {}; of its lift: {}; Brier above the oracle's: {:.4}; mean distance \
                 from the true probability: {}",
                number(truth.share_of_auc, 3),
                number(truth.share_of_lift, 3),
                truth.brier_excess,
                number(truth.mean_error, 4),
            );
            debug_assert!(written.is_ok(), "a text takes all that is written to it");
        }
        if let Some(recovery) = &self.recovery {
            text.push('\n');
            text.push_str(&recovery.sentence());
        }
        text
    }
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
}
