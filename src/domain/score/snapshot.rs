//! The model that a score is computed with: cells of log-odds in fixed point, immutable, named by their content.
//!
//! Must never: change after it was made, or depend on the order in which its cells were put in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fixed::to_micro;
use crate::domain::model::{Calibration, Kind, Learner, prior};
use crate::domain::rules::{CATALOGUE, PayerClass, RULE_SET_VERSION};

/// The form of the arithmetic in `score`; part of a model's content, so that a change of it makes a new version.
const FORM: &str = "scorecard-2";

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

/// A model: every cell it knows, and a version that is a digest of them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: Arc<str>,
    labels: u64,
    /// The last day on which a label was decided, counted from the beginning of the calendar.
    day: Option<i32>,
    calibration: Calibration,
    // Only ever asked by key; what is written out is sorted first.
    cells: HashMap<Arc<str>, Cell>,
}

/// A snapshot as it is stored.
#[derive(Serialize, Deserialize)]
struct Content {
    form: String,
    rule_set_version: String,
    version: String,
    labels: u64,
    day: Option<i32>,
    /// The calibration's parameters in millionths.
    calibration: Vec<i64>,
    /// Mean, variance (both in millionths), seen and denied (both in thousandths).
    cells: BTreeMap<String, [i64; 4]>,
}

impl Snapshot {
    /// The model before any learning: published base rates and the catalogue's expert priors.
    pub fn expert() -> Self {
        Self::of(&Learner::new())
    }

    /// What a learner knows, as of its last label.
    pub fn of(learner: &Learner) -> Self {
        let mut cells = HashMap::new();
        for (kind, key) in always() {
            let (mean, variance_micro) = prior(kind, &key);
            cells.insert(Arc::from(key), Cell { mean_micro: to_micro(mean), variance_micro, ..Cell::default() });
        }
        let milli = |value: f64| libm::round(value * 1e3) as i64;
        cells.extend(learner.learned().map(|learned| {
            let cell = Cell {
                mean_micro: to_micro(learned.mean),
                variance_micro: to_micro(learned.variance),
                seen_milli: milli(learned.seen),
                denied_milli: milli(learned.denied),
            };
            (learned.key, cell)
        }));
        Self::from_parts(learner.labels(), learner.day(), learner.calibration(), cells)
    }

    fn from_parts(labels: u64, day: Option<i32>, calibration: Calibration, cells: HashMap<Arc<str>, Cell>) -> Self {
        let mut keys: Vec<&Arc<str>> = cells.keys().collect();
        keys.sort_unstable();
        let mut digest = blake3::Hasher::new();
        let bend = calibration.parameters();
        digest.update(format!("{FORM} {RULE_SET_VERSION} {labels} {day:?} {bend:?}").as_bytes());
        for key in keys {
            // Keys hold no line breaks, so that this has one reading only.
            digest.update(key.as_bytes()).update(b"\n");
            if let Some(cell) = cells.get(key) {
                for number in numbers(*cell) {
                    digest.update(&number.to_le_bytes());
                }
            }
        }
        let hex = digest.finalize().to_hex();
        let kind = if labels == 0 { "expert" } else { "learned" };
        let short: String = hex.chars().take(16).collect();
        Self { version: Arc::from(format!("{kind}-{short}")), labels, day, calibration, cells }
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
        let cells = read.cells.into_iter().map(|(key, [mean_micro, variance_micro, seen_milli, denied_milli])| {
            (Arc::from(key), Cell { mean_micro, variance_micro, seen_milli, denied_milli })
        });
        let calibration = Calibration::of_parameters(&read.calibration).ok_or("no such calibration")?;
        let snapshot = Self::from_parts(read.labels, read.day, calibration, cells.collect());
        if *snapshot.version == *read.version { Ok(snapshot) } else { Err("the content has been changed".to_owned()) }
    }

    /// The version: the kind of model and the start of a digest (BLAKE3) of its content.
    pub fn version(&self) -> &str {
        &self.version
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
            labels: self.labels,
            day: self.day,
            calibration: self.calibration.parameters(),
            cells: self.cells.iter().map(|(key, cell)| (key.to_string(), numbers(*cell))).collect(),
        };
        // Numbers and texts only: this cannot fail.
        serde_json::to_string(&content).unwrap_or_default()
    }

    /// A cell by its key, such as `bias`, `payer_class/medicare` or `rule/ID01`, if the model has it.
    pub fn cell(&self, key: &str) -> Option<Cell> {
        self.cells.get(key).copied()
    }

    /// A cell by its kind and key; one that was never seen is its prior.
    pub(super) fn find(&self, kind: Kind, key: &str) -> Cell {
        self.cells.get(key).copied().unwrap_or_else(|| {
            let (mean, variance_micro) = prior(kind, key);
            Cell { mean_micro: to_micro(mean), variance_micro, ..Cell::default() }
        })
    }

    /// The calibration.
    pub(super) const fn calibration(&self) -> &Calibration {
        &self.calibration
    }
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
