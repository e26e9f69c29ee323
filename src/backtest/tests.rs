//! The backtest on simulated worlds: it learns, it does not look ahead, and it stays modest where nothing can be learned.

use super::*;
use crate::evaluate::metrics;
use crate::history::Gathering;
use crate::simulate::{Options, Scenario, simulate};
use crate::wire::{Payload, x12_event};

fn history(options: &Options, answers: bool) -> (History, Vec<f64>) {
    let simulation = simulate(options);
    let mut gathering = Gathering::default();
    for claim in &simulation.claims {
        gathering.take(x12_event(Payload::Claim(Box::new(claim.claim.clone())), Some(claim.submitted)));
    }
    for remittance in simulation.remittances.iter().filter(|_| answers) {
        let payload = Payload::Remittance(Box::new(remittance.remittance.clone()));
        gathering.take(x12_event(payload, Some(remittance.time)));
    }
    let truth = simulation.claims.iter().map(|claim| f64::from(claim.truth.p_denial_ppm) / 1e6).collect();
    (gathering.finish(), truth)
}

fn options(scenario: Scenario) -> Options {
    Options { claims: 6000, seed: 301, months: 18, scenario, ..Options::default() }
}

#[test]
fn the_model_learns_what_payers_hide() {
    let (history, _) = history(&options(Scenario::Base), true);
    let replay = replay(&history, &Levels::default(), |_| {});
    let window = replay.window(None, 90).expect("a window");
    let model = metrics(&replay.scored(window, |row| row.p));
    let fixed = metrics(&replay.scored(window, |row| row.baselines[2]));
    let (model_auc, fixed_auc) = (model.auc.expect("both"), fixed.auc.expect("both"));
    assert!(model_auc > 0.72 && model_auc > fixed_auc + 0.02, "{model_auc} {fixed_auc}");
    assert!(model.brier < fixed.brier && model.calibration_error < 0.05, "{model:?}");
}

#[test]
fn no_label_reaches_a_score_before_its_remittance() {
    let options = options(Scenario::Base);
    let (with, without) = (history(&options, true).0, history(&options, false).0);
    let (with, without) = (replay(&with, &Levels::default(), |_| {}), replay(&without, &Levels::default(), |_| {}));
    let first = with.rows.iter().position(|row| row.model_version != without.rows[0].model_version).expect("it learns");
    let (history, _) = history(&options, true);
    let arrived = history.submissions.iter().filter_map(|told| Some(told.answer.as_ref()?.arrived)).min().expect("one");
    assert!(with.rows[first].submitted.date_naive() > arrived.date_naive());
    for (one, other) in with.rows.iter().zip(&without.rows).take(first) {
        assert_eq!(one.p.to_bits(), other.p.to_bits());
    }
}

#[test]
fn pure_noise_gives_scores_near_the_base_rate() {
    let (history, _) = history(&options(Scenario::Noise), true);
    let replay = replay(&history, &Levels::default(), |_| {});
    let window = replay.window(None, 90).expect("a window");
    let scored = replay.scored(window, |row| row.p);
    let found = metrics(&scored);
    let auc = found.auc.expect("both");
    assert!((auc - 0.5).abs() < 0.06, "{auc}");
    assert!((found.mean_score - found.base_rate).abs() < 0.02, "{found:?}");
    let far = scored.iter().filter(|one| (one.p - found.base_rate).abs() > 0.15).count();
    assert!(far * 20 < scored.len(), "{far} of {}", scored.len());
}
