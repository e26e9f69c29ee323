//! The model that a score is computed with: cells of log-odds in fixed point, immutable, named by their content.
//!
//! Must never: change after it was made, or depend on the order in which its cells were put in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fixed::{MICRO, kappa_ppb, logit, to_micro};
use crate::domain::rules::{CATALOGUE, PayerClass, RULE_SET_VERSION, Rule};

/// The form of the arithmetic in `score`; part of a model's content, so that a change of it makes a new version.
const FORM: &str = "scorecard-1";

/// A belief about one factor's effect: a normal distribution over its log-odds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cell {
    /// The mean, in millionths of log-odds.
    pub mean_micro: i64,
    /// The variance, in millionths of squared log-odds.
    pub variance_micro: i64,
}

/// A model: every cell it knows, and a version that is a digest of them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: Arc<str>,
    cells: BTreeMap<String, Cell>,
    // The cells that every claim asks for, found once: scoring never looks a text key up.
    bias: Cell,
    classes: [Cell; PayerClass::ALL.len()],
    rules: Vec<Cell>,
}

/// The base probability at which a rule's prior is turned into log-odds.
const PRIOR_BASE: f64 = 0.12;

/// The share of initial denials that the rules of this catalogue account for, and that a claim without a hit is spared.
///
/// Change Healthcare 2020 (102 million hospital transactions): missing or invalid data 17.2 %, untimely 5.4 %, coding 4.8 %.
const RULE_LOAD: f64 = 0.274;

/// Published initial denial rates in thousandths, hospital figure and physician figure.
///
/// Hospitals: Premier survey of 516 hospitals, 2022 (the first adjudication denies). Physicians: Dunn et al., 90 million
/// visits 2013-15 (at least one service denied at first); Medicare Advantage: Vabson et al., 2019, physician claims. The
/// commercial figures differ most (13.9 and 4.8 %), so a class's rate is their midpoint in log-odds. `Other`, and the
/// common baseline, is Change Healthcare's 11.1 % over all payers.
const fn published_permille(class: PayerClass) -> (u16, u16) {
    match class {
        PayerClass::Medicare => (84, 73),
        PayerClass::MedicareAdvantage => (157, 146),
        PayerClass::Commercial => (139, 48),
        PayerClass::Medicaid => (167, 250),
        PayerClass::Other => (111, 111),
    }
}

/// Prior variances (tau squared): baseline 1.0, payer class as a payer 0.5, rules 0.7, and 0.4 for blocking ones, whose
/// unfixed hits are a biased sample and should be learned slowly.
const BIAS_VARIANCE: i64 = MICRO;
const CLASS_VARIANCE: i64 = 250_000;
const RULE_VARIANCE: i64 = 490_000;
const BLOCKING_VARIANCE: i64 = 160_000;

/// The log-odds of a clean claim of a class: the published rate without the share that rules account for.
fn clean_log_odds(class: PayerClass) -> f64 {
    let (hospital, physician) = published_permille(class);
    let midpoint = f64::midpoint(logit(f64::from(hospital) / 1000.0), logit(f64::from(physician) / 1000.0));
    let rate = 1.0 / (1.0 + libm::exp(-midpoint));
    logit(rate * (1.0 - RULE_LOAD))
}

/// A rule's prior in log-odds: what lifts the base to `1 - (1 - base)(1 - q)`.
fn rule_mean_micro(rule: &Rule) -> i64 {
    let q = f64::from(rule.prior_permille) / 1000.0;
    to_micro(logit(1.0 - (1.0 - PRIOR_BASE) * (1.0 - q)) - logit(PRIOR_BASE))
}

fn class_key(class: PayerClass) -> String {
    format!("payer_class/{}", class.as_str())
}

fn rule_key(rule: &Rule) -> String {
    format!("rule/{}", rule.id)
}

const BIAS_KEY: &str = "bias";

impl Snapshot {
    /// The model before any learning: published base rates and the catalogue's expert priors.
    ///
    /// A published rate is an average over payers and practices, which is what `kappa * z` of a clean claim means too. So
    /// the means of baseline and class are divided by the kappa of a clean claim, and a clean claim scores its rate.
    /// Rule priors are guesses, and are left to be shrunk by their own uncertainty.
    pub fn expert() -> Self {
        let clean_kappa = kappa_ppb(BIAS_VARIANCE + CLASS_VARIANCE) as f64 / 1e9;
        let common = clean_log_odds(PayerClass::Other);
        let mut cells = BTreeMap::new();
        let bias = Cell { mean_micro: to_micro(common / clean_kappa), variance_micro: BIAS_VARIANCE };
        cells.insert(BIAS_KEY.to_owned(), bias);
        for class in PayerClass::ALL {
            let deviation = (clean_log_odds(class) - common) / clean_kappa;
            let cell = Cell { mean_micro: to_micro(deviation), variance_micro: CLASS_VARIANCE };
            cells.insert(class_key(class), cell);
        }
        for rule in CATALOGUE {
            let variance_micro = if rule.blocking { BLOCKING_VARIANCE } else { RULE_VARIANCE };
            cells.insert(rule_key(rule), Cell { mean_micro: rule_mean_micro(rule), variance_micro });
        }
        Self::from_cells("expert", cells)
    }

    /// Makes a model of cells; a cell that scoring asks for and that is not among them counts as zero, and certain.
    fn from_cells(kind: &str, cells: BTreeMap<String, Cell>) -> Self {
        let get = |key: &str| cells.get(key).copied().unwrap_or_default();
        let bias = get(BIAS_KEY);
        let classes = PayerClass::ALL.map(|class| get(&class_key(class)));
        let rules = CATALOGUE.iter().map(|rule| get(&rule_key(rule))).collect();
        let mut digest = blake3::Hasher::new();
        digest.update(FORM.as_bytes());
        for (key, cell) in &cells {
            // Keys hold no line breaks or blanks, so that this text has one reading only.
            let line = format!("\n{key} {} {}", cell.mean_micro, cell.variance_micro);
            digest.update(line.as_bytes());
        }
        let hex = digest.finalize().to_hex();
        let short: String = hex.chars().take(16).collect();
        Self { version: Arc::from(format!("{kind}-{short}")), cells, bias, classes, rules }
    }

    /// The version: the kind of model and the start of a digest (BLAKE3) of its content.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version, shared.
    pub(super) fn shared_version(&self) -> Arc<str> {
        Arc::clone(&self.version)
    }

    /// The content to store beside the version: the form, and each cell by its key, in the order of the keys.
    pub fn content(&self) -> Value {
        let cells: serde_json::Map<String, Value> = self
            .cells
            .iter()
            .map(|(key, cell)| {
                let value = json!({"mean_micro": cell.mean_micro, "variance_micro": cell.variance_micro});
                (key.clone(), value)
            })
            .collect();
        json!({
            "cells": cells,
            "form": FORM,
            "rule_set_version": RULE_SET_VERSION,
            "version": self.version(),
        })
    }

    /// A cell by its key, such as `bias`, `payer_class/medicare` or `rule/ID01`.
    pub fn cell(&self, key: &str) -> Option<Cell> {
        self.cells.get(key).copied()
    }

    /// The baseline.
    pub(super) const fn bias(&self) -> Cell {
        self.bias
    }

    /// The deviation of a payer class from the baseline.
    pub(super) fn class(&self, class: PayerClass) -> Cell {
        PayerClass::ALL
            .iter()
            .zip(&self.classes)
            .find(|(known, _)| **known == class)
            .map(|(_, cell)| *cell)
            .unwrap_or_default()
    }

    /// The cell of a rule, by its place in the catalogue.
    pub(super) fn rule(&self, place: usize) -> Cell {
        self.rules.get(place).copied().unwrap_or_default()
    }
}
