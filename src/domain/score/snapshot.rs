//! The model that a score is computed with: cells of log-odds in fixed point, immutable, named by their content.
//!
//! Must never: change after it was made, or depend on the order in which its cells were put in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fixed::to_micro;
use crate::domain::model::{
    Calibration, Calibrations, Configuration, Feature, Features, Kind, Learner, Numbers, Table, WORDS,
};
use crate::domain::rules::{CATALOGUE, PayerClass, RULE_SET_VERSION};

/// The form of the arithmetic in `score`; part of a model's content, so that a change of it makes a new version.
const FORM: &str = "scorecard-4";

/// A belief about one factor's effect: a normal distribution over its log-odds, and the labels it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cell {
    /// The mean, in millionths of log-odds.
    pub mean_micro: i64,
    /// The variance, in millionths of squared log-odds.
    pub variance_micro: i64,
    /// Labels seen, decayed, in thousandths.
    pub seen_milli: i64,
    /// Denials among them, decayed, in thousandths.
    pub denied_milli: i64,
}

impl Cell {
    /// What is believed of a factor before anything was seen of it.
    fn prior(configuration: Configuration, kind: Kind, name: &str) -> Self {
        let (mean, variance_micro) = configuration.prior(kind, name);
        // Of most kinds the prior mean is nothing, which needs no rounding.
        let mean_micro = if mean == 0.0 { 0 } else { to_micro(mean) };
        Self { mean_micro, variance_micro, ..Self::default() }
    }
}

/// A model: every cell it knows, and a version that is a digest of them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: Arc<str>,
    configuration: Configuration,
    labels: u64,
    /// The last day on which a label was decided, counted from the beginning of the calendar.
    day: Option<i32>,
    calibrations: Calibrations,
    cells: Table<Cell>,
}

/// A snapshot as it is stored.
#[derive(Serialize, Deserialize)]
struct Content {
    form: String,
    rule_set_version: String,
    version: String,
    configuration: String,
    labels: u64,
    day: Option<i32>,
    /// The calibration's parameters in millionths.
    calibration: Vec<i64>,
    /// Those of payers' own calibrations.
    payer_calibrations: BTreeMap<String, Vec<i64>>,
    /// Mean, variance (both in millionths), seen and denied (both in thousandths).
    cells: BTreeMap<String, [i64; 4]>,
}

impl Snapshot {
    /// The model before any learning: published base rates and the catalogue's expert priors.
    pub fn expert() -> Self {
        Self::of(&Learner::default())
    }

    /// What a learner knows, as of its last label.
    pub fn of(learner: &Learner) -> Self {
        let milli = |value: f64| libm::round(value * 1e3) as i64;
        let mut cells = learner.learned(|learned| Cell {
            mean_micro: to_micro(learned.mean),
            variance_micro: to_micro(learned.variance),
            seen_milli: milli(learned.seen),
            denied_milli: milli(learned.denied),
        });
        for (kind, key) in always() {
            if cells.get(&key).is_none() {
                let name = key.split_once('/').map_or("", |(_, name)| name);
                cells.put(&key, Cell::prior(learner.configuration(), kind, name));
            }
        }
        Self::from_parts(learner.configuration(), (learner.labels(), learner.day()), learner.calibrations(), cells)
    }

    fn from_parts(
        configuration: Configuration,
        (labels, day): (u64, Option<i32>),
        calibrations: Calibrations,
        cells: Table<Cell>,
    ) -> Self {
        let mut digest = blake3::Hasher::new();
        let bend = (calibrations.all.parameters(), of_payers(&calibrations));
        digest.update(format!("{FORM} {RULE_SET_VERSION} {configuration} {labels} {day:?} {bend:?}").as_bytes());
        for (key, cell) in cells.sorted() {
            // Keys hold no line breaks, so that this has one reading only.
            digest.update(key.as_bytes()).update(b"\n");
            for number in numbers(*cell) {
                digest.update(&number.to_le_bytes());
            }
        }
        let hex = digest.finalize().to_hex();
        let kind = if labels == 0 { "expert" } else { "learned" };
        let short: String = hex.chars().take(16).collect();
        Self { version: Arc::from(format!("{kind}-{short}")), configuration, labels, day, calibrations, cells }
    }

    /// Reads a stored model back.
    ///
    /// # Errors
    /// What is not as this release writes it: another form, other rules, or a content that does not make its version.
    pub fn from_content(content: &str) -> Result<Self, String> {
        let read: Content = serde_json::from_str(content).map_err(|error| error.to_string())?;
        if read.form != FORM || read.rule_set_version != RULE_SET_VERSION {
            return Err(format!("written as {} with rules {}", read.form, read.rule_set_version));
        }
        let mut cells = Table::default();
        for (key, [mean_micro, variance_micro, seen_milli, denied_milli]) in read.cells {
            let cell = Cell { mean_micro, variance_micro, seen_milli, denied_milli };
            cells.put(&key, cell).ok_or("a cell of no known kind")?;
        }
        let calibration = |parameters: &[i64]| Calibration::of_parameters(parameters).ok_or("no such calibration");
        let payers = read.payer_calibrations.into_iter().map(|(payer, own)| Ok((payer, calibration(&own)?)));
        let payers = payers.collect::<Result<_, &str>>()?;
        let calibrations = Calibrations { all: calibration(&read.calibration)?, payers };
        let snapshot = Self::from_parts(read.configuration.parse()?, (read.labels, read.day), calibrations, cells);
        if *snapshot.version == *read.version { Ok(snapshot) } else { Err("the content has been changed".to_owned()) }
    }

    /// The version: the kind of model and the start of a digest (BLAKE3) of its content.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How it learned.
    pub const fn configuration(&self) -> Configuration {
        self.configuration
    }

    /// Labels it was learned from.
    pub const fn labels(&self) -> u64 {
        self.labels
    }

    /// The version, shared.
    pub(super) fn shared_version(&self) -> Arc<str> {
        Arc::clone(&self.version)
    }

    /// The content to store beside the version, as JSON text: each cell by its key, in the order of the keys.
    pub fn content(&self) -> String {
        let content = Content {
            form: FORM.to_owned(),
            rule_set_version: RULE_SET_VERSION.to_owned(),
            version: self.version().to_owned(),
            configuration: self.configuration.to_string(),
            labels: self.labels,
            day: self.day,
            calibration: self.calibrations.all.parameters(),
            payer_calibrations: of_payers(&self.calibrations),
            cells: self.cells.rows().map(|(_, key, cell)| (key, numbers(*cell))).collect(),
        };
        // Numbers and texts only: this cannot fail.
        serde_json::to_string(&content).unwrap_or_default()
    }

    /// A cell by its key, such as `bias`, `payer_class/medicare` or `rule/ID01`, if the model has it.
    pub fn cell(&self, key: &str) -> Option<Cell> {
        self.cells.get(key).copied()
    }

    /// The numbers of a claim's words, for [`Self::find`].
    pub(super) fn numbers(&self, features: &Features) -> Numbers {
        self.cells.numbers(features)
    }

    /// The cell of a factor; one that was never seen is its prior.
    pub(super) fn find(&self, features: &Features, feature: &Feature, numbers: &Numbers) -> Cell {
        let place = self.cells.place(feature, numbers);
        let cell = place.and_then(|place| self.cells.at(place)).copied();
        cell.unwrap_or_else(|| Cell::prior(self.configuration, feature.kind, features.names(feature)[0]))
    }

    /// A cell by its kind and words; one that was never seen is its prior.
    pub(super) fn named(&self, kind: Kind, names: [&str; WORDS]) -> Cell {
        self.cells.named(kind, names).copied().unwrap_or_else(|| Cell::prior(self.configuration, kind, names[0]))
    }

    /// What is done to the log-odds of a payer's claims, one after the other.
    pub(super) fn calibrations(&self, payer: &str) -> [Calibration; 2] {
        self.calibrations.of_payer(payer)
    }
}

fn of_payers(calibrations: &Calibrations) -> BTreeMap<String, Vec<i64>> {
    calibrations.payers.iter().map(|(payer, own)| (payer.clone(), own.parameters())).collect()
}

const fn numbers(cell: Cell) -> [i64; 4] {
    [cell.mean_micro, cell.variance_micro, cell.seen_milli, cell.denied_milli]
}

/// The cells that a model has before it has learned anything.
fn always() -> impl Iterator<Item = (Kind, String)> {
    let key = |kind: Kind, name: &str| (kind, format!("{}/{name}", kind.word()));
    let classes = PayerClass::ALL.into_iter().map(move |class| key(Kind::PayerClass, class.as_str()));
    let rules = CATALOGUE.iter().map(move |rule| key(Kind::Rule, rule.id));
    [(Kind::Bias, Kind::Bias.word().to_owned())].into_iter().chain(classes).chain(rules)
}
