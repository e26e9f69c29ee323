//! The score: how likely the first adjudication is to deny a claim, as a sum of log-odds that explains itself.
//!
//! A scorecard of cells: a baseline, the payer class, each rule that the claim breaks, and what was learned of its payer,
//! providers and procedures. Their means add up, their variances shrink the sum, and every contribution is an integer of
//! millionths, so that the parts sum exactly to the whole.
//! Must never: use a clock, a random number, the platform's mathematics, or a demographic beyond what an edit needs.

mod explain;
mod fixed;
mod input;
mod snapshot;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub use snapshot::{Cell, Snapshot};

use self::explain::{Broken, Weighed, contributions, weigh};
use self::fixed::{band_micro, kappa_ppb, points_tenths, probability, shrink, tenths, to_micro};
use super::claim::Claim;
use super::model::{Calibration, Features, Kind};
use super::rules::{Component, Facts, Hit, RULE_SET_VERSION, judge};
use super::types::Cents;

/// How much attention a claim needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Send it.
    Low,
    /// Worth a look: reviewing costs less than the rework it saves.
    Medium,
    /// Likely enough to be denied that it should be corrected first.
    High,
    /// More likely denied than not.
    Critical,
}

impl Level {
    /// All levels, from the lowest.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word used in events, tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads the word used in events and tables.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// From which score on a level holds, in tenths of points of `overall_score`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The first score that is `medium`.
    pub medium: u16,
    /// The first score that is `high`.
    pub high: u16,
    /// The first score that is `critical`.
    pub critical: u16,
}

impl Default for Levels {
    /// 10, 30 and 60 points. A review of 3 dollars against a rework of 43.84 dollars of which 70 % can be saved pays from
    /// about 10 % on.
    fn default() -> Self {
        Self { medium: 100, high: 300, critical: 600 }
    }
}

impl Levels {
    /// The level of a score in tenths of points; the highest bound that the score reaches decides.
    pub const fn of(&self, overall_tenths: u16) -> Level {
        if overall_tenths >= self.critical {
            Level::Critical
        } else if overall_tenths >= self.high {
            Level::High
        } else if overall_tenths >= self.medium {
            Level::Medium
        } else {
            Level::Low
        }
    }
}

/// One addend of the score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// `baseline`, `payer_class`, the code of a rule, a learned matter such as `payer_procedure`, or `calibration`.
    pub code: &'static str,
    /// The group it counts in; none for the baseline and the calibration.
    pub component: Option<Component>,
    /// The service line it is about, from 1.
    pub line: Option<u16>,
    /// The contribution in millionths of log-odds.
    pub micro_log_odds: i64,
    /// The same in tenths of points, of which 20 whole ones double the odds.
    pub points_tenths: i64,
    /// The adjustment reason codes it leads to, the likeliest first.
    pub carcs: &'static [&'static str],
    /// Whether such a claim is usually rejected before adjudication.
    pub blocking: bool,
    /// What it is, for billers.
    pub words: Cow<'static, str>,
    /// What was seen, without patient data.
    pub evidence: Cow<'static, str>,
}

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// The code of the rule that is broken, or `authorization`.
    pub code: &'static str,
    /// The (first) service line, from 1.
    pub line: Option<u16>,
    /// What to do.
    pub words: &'static str,
    /// Tenths of points of `overall_score` that go away when it is done.
    pub points_tenths: u16,
    /// Whether the claim is usually rejected before adjudication if it is not done.
    pub blocking: bool,
}

/// A claim's score with all that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Probability of denial in tenths of percent, 0 to 1000.
    pub overall_tenths: u16,
    /// Log-odds of the unrounded score, in millionths.
    pub logit_micro: i64,
    /// The level of the score.
    pub level: Level,
    /// Millionths of log-odds by group, in the order of [`Component::ALL`].
    pub components: [i64; 6],
    /// The addends: baseline, payer class, rules in catalogue order, what was learned, calibration last. Their sum is
    /// `logit_micro`, exactly.
    pub contributions: Vec<Contribution>,
    /// What to put right, the most useful first.
    pub recommendations: Vec<Recommendation>,
    /// The model's version.
    pub model_version: Arc<str>,
    /// The rules' version.
    pub rule_set_version: &'static str,
    /// Whether any broken rule is usually rejected before adjudication.
    pub blocking: bool,
    /// The 90 % band of the score, in tenths of percent.
    pub band: (u16, u16),
    /// BLAKE3 digest, in hexadecimal, of what the score was computed from.
    pub input_hash: String,
    /// What challengers of the model said: for the record, never for people.
    pub shadows: Vec<Shadow>,
}

/// The score of a challenger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The number of the challenger's configuration.
    pub configuration_id: i32,
    /// The challenger's version.
    pub model_version: Arc<str>,
    /// Log-odds of its score, in millionths.
    pub logit_micro: i64,
}

/// A contribution of less is not shown as a risk factor: a tenth of log-odds.
const SHOWN_FROM: i64 = 100_000;

impl Score {
    /// The addends that raise the risk, the largest first, without baseline and calibration.
    pub fn risk_factors(&self) -> Vec<&Contribution> {
        let mut factors: Vec<&Contribution> = self
            .contributions
            .iter()
            .filter(|part| part.component.is_some() && part.micro_log_odds >= SHOWN_FROM)
            .collect();
        factors.sort_by_key(|part| std::cmp::Reverse(part.micro_log_odds));
        factors
    }

    /// The probability of denial, unrounded, between 0 and 1.
    pub fn probability(&self) -> f64 {
        probability(self.logit_micro)
    }
}

/// Scores a claim: the same claim, facts and model give the same score, bit for bit.
pub fn score(claim: &Claim, facts: &Facts, snapshot: &Snapshot, levels: &Levels) -> Score {
    score_beside(claim, facts, snapshot, &[], levels)
}

/// The same, with what challengers say of the claim, each by the number of its configuration.
pub fn score_beside(
    claim: &Claim,
    facts: &Facts,
    snapshot: &Snapshot,
    challengers: &[(i32, Arc<Snapshot>)],
    levels: &Levels,
) -> Score {
    let hits = judge(claim, facts);
    let broken = merge_lines(&hits);
    let features = Features::of(claim, facts, broken.iter().map(|(hit, _)| hit.rule.id));
    let weighed = weigh(&features, snapshot);
    let sum = weighed.sum();
    let kappa = kappa_ppb(sum.variance_micro);
    let mut contributions = contributions(&weighed, &broken, kappa);
    let logit_micro = sum.logit_micro(&weighed.calibrations);
    let explained: i64 = contributions.iter().map(|part| part.micro_log_odds).sum();
    contributions.push(calibration(logit_micro - explained));

    let unrounded = probability(logit_micro);
    let overall_tenths = tenths(unrounded);
    Score {
        overall_tenths,
        logit_micro,
        level: levels.of(overall_tenths),
        components: component_sums(&contributions),
        recommendations: recommendations(&broken, &weighed, snapshot, unrounded),
        blocking: broken.iter().any(|(hit, _)| hit.rule.blocking),
        band: band(sum, &weighed.calibrations, overall_tenths),
        contributions,
        model_version: snapshot.shared_version(),
        rule_set_version: RULE_SET_VERSION,
        input_hash: input::digest(claim, facts),
        shadows: challengers
            .iter()
            .map(|(configuration_id, challenger)| Shadow {
                configuration_id: *configuration_id,
                model_version: challenger.shared_version(),
                logit_micro: log_odds(&features, challenger),
            })
            .collect(),
    }
}

/// The rules that a claim breaks, each once: what the learner takes beside the claim.
pub fn factors(claim: &Claim, facts: &Facts) -> Features {
    let hits = judge(claim, facts);
    let mut rules: Vec<&str> = hits.iter().map(|hit| hit.rule.id).collect();
    rules.dedup();
    Features::of(claim, facts, rules.into_iter())
}

/// The score of a claim whose factors are known, as log-odds in millionths: what [`score`] gives, without the explanation.
pub fn log_odds(features: &Features, snapshot: &Snapshot) -> i64 {
    let weighed = weigh(features, snapshot);
    weighed.sum().logit_micro(&weighed.calibrations)
}

/// Log-odds in millionths as `overall_score` in tenths.
pub fn overall_tenths(logit_micro: i64) -> u16 {
    tenths(probability(logit_micro))
}

/// Log-odds in millionths as a probability.
pub fn probability_of(logit_micro: i64) -> f64 {
    probability(logit_micro)
}

/// Sums of means and variances over cells.
#[derive(Clone, Copy)]
struct Sum {
    mean_micro: i64,
    variance_micro: i64,
}

impl Sum {
    /// The calibrated log-odds of a claim with these sums.
    fn logit_micro(self, calibrations: &[Calibration]) -> i64 {
        calibrated(shrink(self.mean_micro, kappa_ppb(self.variance_micro)), calibrations)
    }
}

/// Calibrates log-odds in millionths.
fn calibrated(micro: i64, calibrations: &[Calibration]) -> i64 {
    let all = calibrations.iter().filter(|one| !one.is_none());
    all.fold(micro, |micro, one| to_micro(one.apply(micro as f64 / 1e6)))
}

/// One hit per rule, so that a long claim does not add the same fault up: the first, whose evidence tells how many there are.
///
/// All places of a rule share its cell, so the first line is the one with the largest mean.
fn merge_lines(hits: &[Hit]) -> Vec<Broken<'_>> {
    hits.chunk_by(|one, other| one.place == other.place)
        .filter_map(|same| {
            let first = same.first()?;
            let evidence = match (same.len(), first.line) {
                (1, _) => first.evidence.clone(),
                (count, Some(_)) => format!("{}; {count} lines in all", first.evidence).into(),
                (count, None) => format!("{}; {count} places in all", first.evidence).into(),
            };
            Some((first, evidence))
        })
        .collect()
}

fn calibration(micro: i64) -> Contribution {
    Contribution {
        code: "calibration",
        component: None,
        line: None,
        micro_log_odds: micro,
        points_tenths: points_tenths(micro),
        carcs: &[],
        blocking: false,
        words: Cow::Borrowed("Calibration against outcomes, and rounding"),
        evidence: Cow::Borrowed(""),
    }
}

fn component_sums(contributions: &[Contribution]) -> [i64; 6] {
    Component::ALL.map(|component| {
        contributions.iter().filter(|part| part.component == Some(component)).map(|part| part.micro_log_odds).sum()
    })
}

/// The money expected to be lost: charge times score, in cents, to the nearest.
pub fn expected_loss(charge: Cents, overall_tenths: u16) -> Cents {
    let product = i128::from(charge.get()) * i128::from(overall_tenths);
    Cents::new(i64::try_from((product + 500).div_euclid(1000)).unwrap_or(Cents::MAX))
}

/// Millionths of log-odds as tenths of points, 20 whole points doubling the odds: how component sums are shown.
pub fn odds_points_tenths(micro_log_odds: i64) -> i64 {
    points_tenths(micro_log_odds)
}

/// What can be put right, ordered by what it gains; a gain is the score with the fault less the score without it.
fn recommendations(
    broken: &[Broken<'_>],
    weighed: &Weighed<'_>,
    snapshot: &Snapshot,
    unrounded: f64,
) -> Vec<Recommendation> {
    let gain = |without: Sum| (unrounded - probability(without.logit_micro(&weighed.calibrations))).max(0.0);
    let mut ranked: Vec<(f64, Recommendation)> = broken
        .iter()
        .filter(|(hit, _)| hit.rule.fixable)
        .map(|(hit, _)| {
            let gain = gain(weighed.without_rule(hit.rule.id));
            let advice = Recommendation {
                code: hit.rule.id,
                line: hit.line,
                words: hit.rule.fix,
                points_tenths: tenths(gain),
                blocking: hit.rule.blocking,
            };
            (gain, advice)
        })
        .collect();
    if let Some(gain) = weighed.with_authorization(snapshot).map(gain) {
        let advice = Recommendation {
            code: "authorization",
            line: weighed.line,
            words: "Ask this payer whether the procedure needs an authorization, and put its number on the claim",
            points_tenths: tenths(gain),
            blocking: false,
        };
        ranked.push((gain, advice));
    }
    // A stable sort: equal gains stay in catalogue order.
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    ranked.into_iter().map(|(_, advice)| advice).collect()
}

impl Weighed<'_> {
    fn sum(&self) -> Sum {
        Sum { mean_micro: self.mean_micro, variance_micro: self.variance_micro }
    }

    /// The sums without the cells of a rule.
    fn without_rule(&self, rule: &str) -> Sum {
        let mut sum = self.sum();
        let kinds = self.parts.iter().filter(|part| matches!(part.kind, Kind::Rule | Kind::RulePayer));
        for part in kinds.filter(|part| part.names[0] == rule) {
            sum.mean_micro -= part.cell.mean_micro;
            sum.variance_micro -= part.cell.variance_micro;
        }
        sum
    }

    /// The sums as they were with an authorization number, where there is none and this payer was seen to want one.
    fn with_authorization(&self, snapshot: &Snapshot) -> Option<Sum> {
        let part = self.parts.iter().find(|part| part.kind == Kind::PayerProcedureAuthorization)?;
        let [payer, code, _] = part.names;
        if part.names[2] != "without" || part.cell.seen_milli < WANTED_SEEN {
            return None;
        }
        let with = snapshot.named(part.kind, [payer, code, "with"]);
        (part.cell.mean_micro - with.mean_micro >= WANTED_MICRO).then(|| Sum {
            mean_micro: self.mean_micro - part.cell.mean_micro + with.mean_micro,
            variance_micro: self.variance_micro - part.cell.variance_micro + with.variance_micro,
        })
    }
}

/// An authorization is advised from so many answers (thousandths) and so much difference in log-odds (millionths) on.
const WANTED_SEEN: i64 = 5_000;
const WANTED_MICRO: i64 = 250_000;

/// The 90 % band around the score, wide enough to hold the score itself.
fn band(sum: Sum, calibrations: &[Calibration], overall_tenths: u16) -> (u16, u16) {
    let half = band_micro(sum.variance_micro);
    let end = |micro: i64| tenths(probability(calibrated(micro, calibrations)));
    let (low, high) = (end(sum.mean_micro.saturating_sub(half)), end(sum.mean_micro.saturating_add(half)));
    (low.min(overall_tenths), high.max(overall_tenths))
}
