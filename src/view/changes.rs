//! What tells a score from the one before it: how far it moved, why, and which factors came, went or moved.
//!
//! Must never: show a difference that the two scores, as they are shown, do not have.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RiskFactor, ScoreView, tenths};

/// Why a score may differ from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// Another model scored.
    Model,
    /// Another rule set judged.
    Rules,
    /// Something else was scored: the claim was sent with other content, or the tables it is looked up in changed.
    Input,
}

/// A factor that came, went or moved.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactorChange {
    /// As in `risk_factors`.
    pub code: String,
    /// Service line, from 1.
    pub line: Option<u16>,
    /// In plain words; of the newer score where both have the factor.
    pub description: String,
    /// Odds points in the score before; none: the factor came.
    pub points_before: Option<f64>,
    /// Odds points now; none: the factor went.
    pub points_after: Option<f64>,
}

/// What tells a score from the one before it.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreChanges {
    /// How far `overall_score` moved, in its own points.
    pub score_change: f64,
    /// All that differs in what was scored and by what; empty when the same was scored again.
    pub reasons: Vec<ChangeReason>,
    /// Factors that came, went or moved, those that moved furthest first.
    pub factors: Vec<FactorChange>,
}

/// Compares a score with the one before it.
pub fn changes(before: &ScoreView, after: &ScoreView) -> ScoreChanges {
    let reasons = [
        (ChangeReason::Model, before.model_version != after.model_version),
        (ChangeReason::Rules, before.rule_set_version != after.rule_set_version),
        (ChangeReason::Input, before.input_hash != after.input_hash),
    ];
    ScoreChanges {
        score_change: tenths(i64::from(after.overall_tenths()) - i64::from(before.overall_tenths())),
        reasons: reasons.into_iter().filter(|(_, differs)| *differs).map(|(reason, _)| reason).collect(),
        factors: factors(&before.risk_factors, &after.risk_factors),
    }
}

/// A factor with its points before and after, in tenths.
struct Moved<'a> {
    factor: &'a RiskFactor,
    before: Option<i64>,
    after: Option<i64>,
}

impl Moved<'_> {
    fn size(&self) -> u64 {
        self.after.unwrap_or(0).abs_diff(self.before.unwrap_or(0))
    }
}

fn factors(before: &[RiskFactor], after: &[RiskFactor]) -> Vec<FactorChange> {
    let mut all: BTreeMap<(&str, Option<u16>), Moved<'_>> = BTreeMap::new();
    for factor in before {
        let moved = Moved { factor, before: Some(factor.points_tenths()), after: None };
        all.insert((&factor.code, factor.line), moved);
    }
    for factor in after {
        let moved = all.entry((&factor.code, factor.line)).or_insert(Moved { factor, before: None, after: None });
        (moved.factor, moved.after) = (factor, Some(factor.points_tenths()));
    }
    let mut moved: Vec<((&str, Option<u16>), Moved<'_>)> =
        all.into_iter().filter(|(_, moved)| moved.before != moved.after).collect();
    // Of equal size by code and line, the order of the map.
    moved.sort_by_key(|(_, moved)| Reverse(moved.size()));
    moved
        .into_iter()
        .map(|((code, line), moved)| FactorChange {
            code: code.to_owned(),
            line,
            description: moved.factor.description.clone(),
            points_before: moved.before.map(tenths),
            points_after: moved.after.map(tenths),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(code: &str, line: Option<u16>, points: f64) -> RiskFactor {
        RiskFactor {
            code: code.to_owned(),
            component: None,
            line,
            contribution_micro: 0,
            points,
            carc: Vec::new(),
            blocking: false,
            description: format!("{code} {points}"),
            evidence: String::new(),
        }
    }

    fn score(overall_score: f64, versions: [&str; 3], risk_factors: Vec<RiskFactor>) -> ScoreView {
        ScoreView {
            overall_score,
            risk_level: "low".to_owned(),
            log_odds_micro: 0,
            component_scores: super::super::ComponentScores::default(),
            risk_factors,
            recommendations: Vec::new(),
            blocking: false,
            model_version: versions[0].to_owned(),
            rule_set_version: versions[1].to_owned(),
            input_hash: versions[2].to_owned(),
            shadows: Vec::new(),
        }
    }

    /// Code, line, points before and after.
    type Told = (String, Option<u16>, Option<f64>, Option<f64>);

    fn told(before: Vec<RiskFactor>, after: Vec<RiskFactor>) -> Vec<Told> {
        let versions = ["m", "r", "i"];
        let changes = changes(&score(1.0, versions, before), &score(1.0, versions, after));
        let told = |factor: FactorChange| (factor.code, factor.line, factor.points_before, factor.points_after);
        changes.factors.into_iter().map(told).collect()
    }

    #[test]
    fn factors_that_came_went_or_moved_are_told_the_largest_first() {
        let before = vec![factor("stays", None, 5.0), factor("went", None, -8.0), factor("moved", Some(1), 12.4)];
        let after = vec![factor("came", None, 30.1), factor("moved", Some(1), 12.3), factor("stays", None, 5.0)];
        let expected = [
            ("came".to_owned(), None, None, Some(30.1)),
            ("went".to_owned(), None, Some(-8.0), None),
            ("moved".to_owned(), Some(1), Some(12.4), Some(12.3)),
        ];
        assert_eq!(told(before, after), expected);
    }

    #[test]
    fn the_same_factor_on_another_line_is_another_one_and_equal_sizes_stand_by_name() {
        let expected = [
            ("same".to_owned(), Some(1), Some(3.0), None),
            ("same".to_owned(), Some(2), None, Some(3.0)),
            ("smaller".to_owned(), None, None, Some(-2.9)),
        ];
        let after = vec![factor("smaller", None, -2.9), factor("same", Some(2), 3.0)];
        assert_eq!(told(vec![factor("same", Some(1), 3.0)], after), expected);
    }

    #[test]
    fn a_factor_of_no_points_that_comes_is_told_and_one_that_stays_is_not() {
        assert_eq!(told(vec![], vec![factor("rule", None, 0.0)]), [("rule".to_owned(), None, None, Some(0.0))]);
        assert_eq!(told(vec![factor("rule", None, 0.0)], vec![factor("rule", None, -0.0)]), []);
    }

    #[test]
    fn words_are_those_of_the_newer_score_that_has_the_factor() {
        let versions = ["m", "r", "i"];
        let before = score(1.0, versions, vec![factor("moved", None, 1.0), factor("went", None, 0.5)]);
        let after = score(1.0, versions, vec![factor("moved", None, 2.0)]);
        let words: Vec<String> = changes(&before, &after).factors.into_iter().map(|one| one.description).collect();
        assert_eq!(words, ["moved 2", "went 0.5"]);
    }

    #[test]
    fn all_reasons_that_hold_are_told_and_none_when_the_same_was_scored_again() {
        let reasons = |versions| changes(&score(10.1, ["m", "r", "i"], vec![]), &score(10.4, versions, vec![])).reasons;
        assert_eq!(reasons(["m", "r", "i"]), []);
        assert_eq!(reasons(["n", "r", "i"]), [ChangeReason::Model]);
        assert_eq!(reasons(["m", "s", "i"]), [ChangeReason::Rules]);
        assert_eq!(reasons(["m", "r", "j"]), [ChangeReason::Input]);
        assert_eq!(reasons(["n", "s", "j"]), [ChangeReason::Model, ChangeReason::Rules, ChangeReason::Input]);
    }

    #[test]
    fn the_move_of_the_score_is_exact_to_its_tenths() {
        let moved = |from, to| changes(&score(from, ["m"; 3], vec![]), &score(to, ["m"; 3], vec![])).score_change;
        assert_eq!([moved(10.1, 10.4), moved(99.9, 0.1), moved(7.0, 7.0)], [0.3, -99.8, 0.0]);
    }
}
