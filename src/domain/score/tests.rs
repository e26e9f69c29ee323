//! What a score must always be: a sum of its parts, the same every time, and sensible at the start.

use super::*;
use crate::domain::claim::{ClaimType, Responsibility};
use crate::domain::rules::fixtures::{day, office_visit, stay};
use crate::domain::rules::{CATALOGUE, find};
use crate::domain::types::{Cents, Phi, Units};

fn score_of(claim: &Claim) -> Score {
    score(claim, &Facts::default(), &Snapshot::expert(), &Levels::default())
}

fn codes(score: &Score) -> Vec<&str> {
    score.contributions.iter().map(|part| part.code).collect()
}

/// SplitMix64: a small generator of the test's own, so that a failing claim can be made again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % sides
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).expect("a small number")].clone()
    }

    fn text(&mut self, of: &[&str]) -> Option<String> {
        Some(self.pick(of)).filter(|text| *text != "-").map(str::to_owned)
    }
}

/// A claim with random faults of every kind.
fn random_claim(dice: &mut Dice) -> Claim {
    let mut claim = dice.pick(&[office_visit(), stay()]);
    claim.filing_indicator = dice.text(&["CI", "MB", "MA", "16", "MC", "WC", "-", "BL"]);
    claim.claim_type =
        dice.pick(&[claim.claim_type, ClaimType::Professional, ClaimType::Institutional, ClaimType::Dental]);
    claim.responsibility = dice.pick(&[Responsibility::Primary, Responsibility::Secondary]);
    claim.billing_provider.npi = dice.text(&["1760854442", "1760854443", "-", "12"]);
    claim.billing_provider.tax_id = dice.text(&["-", "123", "999999999", "587654321"]);
    claim.frequency_code = dice.pick(&["1", "7", "8", "", "3"]).to_owned();
    claim.subscriber.member_id = dice.text(&["W1", "-", "UNKNOWN"]).map(Phi::new);
    claim.subscriber.gender = dice.text(&["F", "M", "X", "-"]).map(Phi::new);
    claim.patient_is_dependent = dice.roll(2) == 0;
    claim.submitted_at = dice.pick(&[claim.submitted_at, None, Some(day(2020, 1, 1)), Some(day(2030, 1, 1))]);
    claim.diagnosis_codes = dice
        .pick(&[vec![], vec!["E119"], vec!["W1830XA", "O80"], vec!["4019"]])
        .iter()
        .map(ToString::to_string)
        .collect();
    for _ in 0..dice.roll(6) {
        let mut line = dice.pick(&claim.lines);
        line.procedure_code = dice.text(&["99213", "99284", "64999", "80053", "00142", "9", "-"]);
        line.modifiers = dice.pick(&[vec![], vec!["50".to_owned(), "RT".to_owned()]]);
        line.units = dice.pick(&[None, Some(Units::ONE), Some(Units::default())]);
        line.charge = Cents::new(i64::try_from(dice.roll(3)).expect("small") * 100);
        line.service_from = dice.pick(&[None, Some(day(2026, 10, 30)), Some(day(2014, 1, 1))]);
        line.diagnosis_pointers = dice.pick(&[vec![], vec![1], vec![9]]);
        claim.lines.push(line);
    }
    claim
}

#[test]
fn the_parts_of_every_score_sum_to_it_exactly() {
    let (snapshot, levels) = (Snapshot::expert(), Levels::default());
    let mut dice = Dice(20_260_501);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3_000 {
        let claim = random_claim(&mut dice);
        let facts = Facts { complete: dice.roll(2) == 0, as_of: Some(day(2026, 11, 2)), ..Facts::default() };
        let scored = score(&claim, &facts, &snapshot, &levels);
        let sum: i64 = scored.contributions.iter().map(|part| part.micro_log_odds).sum();
        assert_eq!(sum, scored.logit_micro, "round {round}");
        for code in ["baseline", "calibration"] {
            assert_eq!(codes(&scored).iter().filter(|other| **other == code).count(), 1);
        }
        // A component is the sum of its group; what is in no group is baseline and calibration.
        let grouped: i64 = scored.components.iter().sum();
        let loose: i64 =
            scored.contributions.iter().filter(|part| part.component.is_none()).map(|part| part.micro_log_odds).sum();
        assert_eq!(grouped + loose, scored.logit_micro);
        // Only rounding is left for the calibration as long as it is the identity.
        let rest = scored.contributions.last().expect("calibration").micro_log_odds;
        assert!(rest.unsigned_abs() <= scored.contributions.len() as u64, "{rest}");
        assert!(scored.band.0 <= scored.overall_tenths && scored.overall_tenths <= scored.band.1);
        assert_eq!(scored.level, levels.of(scored.overall_tenths));
        seen.extend(scored.contributions.into_iter().map(|part| part.code));
    }
    assert!(seen.len() > 20, "the random claims break only {seen:?}");
}

#[test]
fn the_same_claim_gets_the_same_score() {
    let mut dice = Dice(7);
    for _ in 0..200 {
        let claim = random_claim(&mut dice);
        assert_eq!(score_of(&claim), score_of(&claim.clone()));
    }
}

#[test]
fn scores_do_not_move_between_machines() {
    // Values as computed once: they change only with the model or the rules, never with the platform.
    let mut claim = office_visit();
    let clean = score_of(&claim);
    claim.billing_provider.npi = Some("1760854443".to_owned());
    let broken = score_of(&claim);
    assert_eq!(
        (clean.logit_micro, clean.overall_tenths, broken.logit_micro, broken.overall_tenths),
        (-2_750_118, 60, 1_525_147, 821),
        "{}",
        clean.model_version
    );
}

#[test]
fn a_clean_office_visit_is_low() {
    let scored = score_of(&office_visit());
    assert_eq!(scored.level, Level::Low, "{}", scored.overall_tenths);
    assert_eq!(codes(&scored), ["baseline", "payer_class", "calibration"]);
    assert!(scored.recommendations.is_empty() && !scored.blocking);
    assert!(scored.components[0] < 0, "commercial payers deny less than the average");
}

#[test]
fn a_clean_claim_scores_the_published_rate_of_its_class() {
    // Midpoint of the published figures in log-odds, less the share that broken rules account for, in tenths.
    for (indicator, tenths) in [("MB", 57), ("16", 110), ("CI", 60), ("MC", 149), ("ZZ", 81)] {
        let claim = Claim { filing_indicator: Some(indicator.to_owned()), ..office_visit() };
        let scored = score_of(&claim).overall_tenths;
        assert!(scored.abs_diff(tenths) <= 1, "{indicator}: {scored}");
    }
}

#[test]
fn one_strong_fault_makes_a_claim_high_or_critical() {
    let mut npi = office_visit();
    npi.billing_provider.npi = Some("1760854443".to_owned());
    let mut total = office_visit();
    total.total_charge = Cents::new(1);
    let mut reference = office_visit();
    reference.frequency_code = "7".to_owned();
    for (code, claim) in [("ID01", npi), ("AM03", total), ("FQ01", reference)] {
        let scored = score_of(&claim);
        assert!(scored.level >= Level::High, "{code}: {}", scored.overall_tenths);
        assert_eq!(codes(&scored), ["baseline", "payer_class", code, "calibration"]);
        assert!(scored.blocking);
        let factors = scored.risk_factors();
        assert_eq!(factors.len(), 1);
        assert_eq!(factors[0].code, code);
        assert!(!factors[0].words.is_empty() && !factors[0].evidence.is_empty());
    }
}

#[test]
fn fixing_what_is_recommended_gains_the_points_promised() {
    let mut claim = office_visit();
    claim.billing_provider.npi = Some("1760854443".to_owned());
    claim.lines[0].modifiers = vec!["50".to_owned(), "RT".to_owned()];
    let before = score_of(&claim);
    assert_eq!(before.recommendations.len(), 2);
    assert!(before.recommendations[0].points_tenths >= before.recommendations[1].points_tenths);
    let promised = before.recommendations.iter().find(|advice| advice.code == "ID01").expect("advice").points_tenths;
    claim.billing_provider.npi = Some("1760854442".to_owned());
    let after = score_of(&claim);
    assert!(promised > 0);
    assert!((before.overall_tenths - after.overall_tenths).abs_diff(promised) <= 1);
}

#[test]
fn the_same_fault_on_many_lines_counts_once_and_says_how_often() {
    let mut claim = office_visit();
    claim.lines[0].modifiers = vec!["50".to_owned(), "RT".to_owned()];
    let one = score_of(&claim);
    for cents in [100, 200] {
        let mut line = claim.lines[0].clone();
        line.charge = Cents::new(cents);
        claim.total_charge += line.charge;
        claim.lines.push(line);
    }
    let three = score_of(&claim);
    assert_eq!(one.logit_micro, three.logit_micro);
    let part = three.risk_factors()[0];
    assert_eq!((part.code, part.line), ("CP03", Some(1)));
    assert_eq!(part.evidence, "modifier 50 with RT; 3 lines in all");
    assert_ne!(one.input_hash, three.input_hash);
}

#[test]
fn a_limit_that_has_passed_is_told_but_not_recommended_away() {
    let mut claim = office_visit();
    claim.filing_indicator = Some("MB".to_owned());
    claim.submitted_at = Some(day(2028, 1, 1));
    let scored = score_of(&claim);
    assert_eq!(scored.risk_factors()[0].code, "TM01");
    assert_eq!(scored.risk_factors()[0].carcs, ["29"]);
    assert!(scored.recommendations.is_empty());
}

#[test]
fn priors_follow_the_catalogues_formula() {
    // delta = logit(1 - (1 - .12)(1 - q)) - logit(.12), as the catalogue lists it, to a tenth: an average over payers.
    for (id, delta) in [("ID01", 4.3), ("ID02", 3.5), ("RF01", 3.0), ("CP03", 2.6), ("DU02", 1.9), ("TM02", 0.66)] {
        let cell = Snapshot::expert().cell(&format!("rule/{id}")).expect("a cell");
        let mean = cell.mean_micro as f64 / 1e6 * crate::domain::model::clean_kappa();
        assert!((mean - delta).abs() < 0.06, "{id}: {mean}");
    }
}

#[test]
fn a_model_has_a_cell_for_every_rule_and_a_version_of_its_content() {
    let (one, other) = (Snapshot::expert(), Snapshot::expert());
    assert_eq!(one.version(), other.version());
    assert_eq!(one.content(), other.content());
    assert_eq!(Snapshot::from_content(&one.content()).expect("read back").version(), one.version());
    let changed = one.content().replacen("\"labels\":0", "\"labels\":1", 1);
    assert_eq!(Snapshot::from_content(&changed).expect_err("refused"), "the content has been changed");
    assert!(one.version().starts_with("expert-"));
    for rule in CATALOGUE {
        let cell = one.cell(&format!("rule/{}", rule.id)).expect("a cell");
        assert!(cell.mean_micro > 0 && cell.variance_micro > 0);
    }
    assert!(one.cell("rule/XX99").is_none());
}

#[test]
fn levels_begin_at_their_bounds() {
    let levels = Levels::default();
    for (tenths, level) in [
        (0, Level::Low),
        (99, Level::Low),
        (100, Level::Medium),
        (299, Level::Medium),
        (300, Level::High),
        (599, Level::High),
        (600, Level::Critical),
        (1000, Level::Critical),
    ] {
        assert_eq!(levels.of(tenths), level, "{tenths}");
    }
    for level in Level::ALL {
        assert_eq!(Level::parse(level.as_str()), Some(level));
    }
    assert_eq!(Level::parse("severe"), None);
}

#[test]
fn nothing_a_score_says_names_the_patient() {
    let mut dice = Dice(99);
    let private = ["W123456789", "PCN-1112223333", "1980", "2026-", "10-30", "E119", "W1830XA", "4019"];
    for _ in 0..500 {
        let mut claim = random_claim(&mut dice);
        claim.subscriber.member_id = Some(Phi::from("W123456789"));
        for part in score_of(&claim).contributions {
            for word in private {
                assert!(!part.evidence.contains(word) && !part.words.contains(word), "{}", part.evidence);
            }
        }
    }
}

#[test]
fn the_digest_sees_what_scoring_sees_and_nothing_else() {
    let base = score_of(&office_visit()).input_hash;
    assert_eq!(base.len(), 64);
    let renumbered = Claim { patient_control_number: Phi::from("OTHER"), ..office_visit() };
    assert_eq!(score_of(&renumbered).input_hash, base);
    let changes: [fn(&mut Claim); 5] = [
        |claim| claim.total_charge = Cents::new(1),
        |claim| claim.lines[0].units = None,
        |claim| claim.rendering_provider = None,
        |claim| claim.diagnosis_codes.reverse(),
        |claim| claim.prior_authorization_number = Some(Phi::from("A1")),
    ];
    for change in changes {
        let mut claim = office_visit();
        change(&mut claim);
        assert_ne!(score_of(&claim).input_hash, base);
    }
}

#[test]
fn rules_that_nobody_can_fix_are_few() {
    let unfixable: Vec<_> = CATALOGUE.iter().filter(|rule| !rule.fixable).map(|rule| rule.id).collect();
    assert_eq!(unfixable, ["TM01", "TM02", "TM03"]);
    assert!(find("TM01").is_some_and(|rule| !rule.blocking));
}

#[test]
fn eight_scoring_workers_give_the_scores_of_one() {
    let (snapshot, mut dice) = (Snapshot::expert(), Dice(88));
    let claims: Vec<Claim> = (0..400).map(|_| random_claim(&mut dice)).collect();
    let with = |workers: usize| -> Vec<Score> {
        let of = |worker: usize| claims.iter().enumerate().skip(worker).step_by(workers);
        let one =
            |(place, claim): (usize, &Claim)| (place, score(claim, &Facts::default(), &snapshot, &Levels::default()));
        let mut scores: Vec<(usize, Score)> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || of(worker).map(one).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        scores.sort_by_key(|(place, _)| *place);
        scores.into_iter().map(|(_, score)| score).collect()
    };
    assert_eq!(with(1), with(8));
}
