//! The backtest: a history played again in time order, each claim scored with what was known the day it was submitted.
//!
//! Must never: let a label into a model before its remittance came, or measure on claims whose answers had no time to come.

mod baselines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Duration;

pub use baselines::{BASELINES, Baseline};

use crate::domain::model::Features;
use crate::domain::outcome::Outcome;
use crate::domain::score::{Level, Levels, Snapshot, log_odds, overall_tenths, probability_of};
use crate::domain::types::{Date, Instant};
use crate::evaluate::Scored;
use crate::history::{Answer, History, SubmissionKey, Told};

/// A model is published when so many days have passed since the last one ...
const EVERY_DAYS: i64 = 7;
/// ... or on the next day, when one label in so many is new.
const NEW_LABELS: u64 = 50;

/// One claim as it was scored when it was submitted.
#[derive(Clone, Debug)]
pub struct Row {
    /// What names the submission.
    pub key: SubmissionKey,
    /// When it was submitted.
    pub submitted: Instant,
    /// The payer, by its place among all payers.
    pub payer: u32,
    /// The billing provider, by its place among all.
    pub provider: u32,
    /// What it charges, in cents.
    pub charge_cents: i64,
    /// Probability of a denial.
    pub p: f64,
    /// The same in tenths of percent.
    pub overall_tenths: u16,
    /// Its level.
    pub level: Level,
    /// The model that scored it.
    pub model_version: Arc<str>,
    /// What simpler methods said, in the order of [`BASELINES`].
    pub baselines: [f64; BASELINES.len()],
    /// The first answer, when there is one.
    pub outcome: Option<Outcome>,
    /// When it came.
    pub arrived: Option<Instant>,
}

/// A history played to its end.
#[derive(Debug, Default)]
pub struct Replay {
    /// All submissions in the order in which they were sent.
    pub rows: Vec<Row>,
    /// Names of the payers, by place.
    pub payers: Vec<String>,
    /// When the last event happened.
    pub end: Option<Instant>,
    /// Labels learned.
    pub labels: u64,
    /// Models published.
    pub models: u32,
}

/// Names and their places, in the order of first sight.
#[derive(Default)]
struct Places {
    of: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Places {
    fn place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.of.get(name) {
            return *place;
        }
        let place = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.of.insert(name.to_owned(), place);
        self.names.push(name.to_owned());
        place
    }
}

/// Plays a history again; `progress` is told how many claims are done.
pub fn replay(history: &History, levels: &Levels, mut progress: impl FnMut(usize)) -> Replay {
    let mut coming: Vec<(&Features, &Answer)> = history.submissions.iter().filter_map(Told::taught).collect();
    coming.sort_by(|one, other| (one.1.arrived, &one.1.order).cmp(&(other.1.arrived, &other.1.order)));
    let mut coming = coming.into_iter().peekable();
    let mut learner = crate::domain::model::Learner::default();
    let (mut payers, mut providers) = (Places::default(), Places::default());
    let mut replay = Replay { models: 1, ..Replay::default() };
    let mut snapshot = Snapshot::expert();
    let mut published: Option<Date> = None;
    for (count, told) in history.submissions.iter().enumerate() {
        let day = told.version.0.date_naive();
        // What came before this day is known; what came on it is not, whatever the hour.
        while let Some((features, answer)) = coming.next_if(|(_, answer)| answer.arrived.date_naive() < day) {
            learner.fold(features, &answer.label);
        }
        let new = learner.labels() - snapshot.labels();
        let due = published.is_none_or(|last| day - last >= Duration::days(EVERY_DAYS));
        if published != Some(day) && new > 0 && (due || new * NEW_LABELS > learner.labels()) {
            snapshot = Snapshot::of(&learner);
            published = Some(day);
            replay.models += 1;
        }
        replay.rows.push(row(told, &snapshot, levels, &mut payers, &mut providers));
        progress(count + 1);
    }
    replay.end = history
        .submissions
        .iter()
        .flat_map(|told| [Some(told.version.0), told.answer.as_ref().map(|answer| answer.arrived)])
        .flatten()
        .max();
    replay.labels = learner.labels() + u64::try_from(coming.count()).unwrap_or(0);
    replay.payers = payers.names;
    replay
}

fn row(told: &Told, snapshot: &Snapshot, levels: &Levels, payers: &mut Places, providers: &mut Places) -> Row {
    let logit_micro = log_odds(&told.features, snapshot);
    let overall_tenths = overall_tenths(logit_micro);
    Row {
        key: told.key.clone(),
        submitted: told.version.0,
        payer: payers.place(&told.payer),
        provider: providers.place(&told.provider),
        charge_cents: told.charge.get(),
        p: probability_of(logit_micro),
        overall_tenths,
        level: levels.of(overall_tenths),
        model_version: Arc::from(snapshot.version()),
        baselines: BASELINES.map(|baseline| baseline.score(&told.features, snapshot)),
        outcome: told.answer.as_ref().map(|answer| answer.outcome),
        arrived: told.answer.as_ref().map(|answer| answer.arrived),
    }
}

/// Which claims are measured.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Submitted on this day or later: before, the model was still young.
    pub from: Date,
    /// Submitted before this day: later ones had no time to be answered.
    pub before: Date,
}

impl Replay {
    /// The claims to measure on: from the given day (else from the middle of the history), and so many days old.
    pub fn window(&self, from: Option<Date>, matured_days: u32) -> Option<Window> {
        let (first, last) = (self.rows.first()?.submitted, self.rows.last()?.submitted);
        let middle = first + (last - first) / 2;
        let before = self.end? - Duration::days(matured_days.into());
        Some(Window { from: from.unwrap_or_else(|| middle.date_naive()), before: before.date_naive() })
    }

    /// The answered claims of a window, as they are measured; `p` picks the score.
    pub fn scored(&self, window: Window, p: impl Fn(&Row) -> f64) -> Vec<Scored> {
        self.measured(window)
            .map(|row| Scored {
                p: p(row),
                denied: row.outcome.is_some_and(Outcome::is_denial),
                charge_cents: row.charge_cents,
                payer: row.payer,
                cluster: row.provider,
                truth: None,
            })
            .collect()
    }

    /// The answered claims of a window.
    pub fn measured(&self, window: Window) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| {
            let day = row.submitted.date_naive();
            row.outcome.is_some() && window.from <= day && day < window.before
        })
    }
}
