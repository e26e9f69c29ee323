//! Counters of labels beside the probabilities that stood when they came. What is a fraction is kept in millionths and
//! written out at each scrape, digit by digit, so that the sum over the fleet is exact.
//!
//! Must never: go through a float.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

use super::catalogue::{BRIER, CALIBRATION_OUTCOMES, LABELS, PREDICTED};
use super::{head, micro_text, pairs};
use crate::domain::drift::{BIN_NAMES, BINS, Labelled, bin};

static PREDICTED_MICRO: [AtomicU64; BINS] = [const { AtomicU64::new(0) }; BINS];
static LOSS_MICRO: AtomicU64 = AtomicU64::new(0);

/// The handles of the whole counters, by bin and label.
pub(super) fn outcomes() -> Vec<Vec<Counter>> {
    pairs(CALIBRATION_OUTCOMES, ("bin", &BIN_NAMES), ("outcome", LABELS))
}

/// Adds to the fractions.
pub(super) fn add(labelled: Labelled) {
    PREDICTED_MICRO[bin(labelled.probability_micro)]
        .fetch_add(u64::from(labelled.probability_micro), Ordering::Relaxed);
    LOSS_MICRO.fetch_add(labelled.loss_micro(), Ordering::Relaxed);
}

/// The fractions in the text format.
pub(super) fn text() -> String {
    let bins = BIN_NAMES.iter().zip(&PREDICTED_MICRO);
    let predicted = bins.map(|(name, sum)| line(&format!("{PREDICTED}{{bin=\"{name}\"}}"), sum));
    let brier = [head(BRIER, "counter"), line(BRIER, &LOSS_MICRO)];
    [head(PREDICTED, "counter")].into_iter().chain(predicted).chain(brier).collect()
}

fn line(series: &str, sum: &AtomicU64) -> String {
    micro_text(series, sum.load(Ordering::Relaxed))
}
