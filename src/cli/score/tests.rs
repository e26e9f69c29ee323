//! The worklist of files, read as the command reads them.

use clap::Parser;

use super::*;
use crate::cli::publish::input::Source;
use crate::config::collect;
use crate::wire::decode_json;
use crate::wire::examples::{CLAIM_SUBMITTED, REMITTANCE_RECEIVED};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn config() -> Config {
    Config::from_raw(&collect(&std::collections::BTreeMap::new(), None).unwrap()).unwrap()
}

/// The list that these events make.
fn worklist(events: &[String], limit: usize, history: Option<&History>) -> Worklist {
    let snapshot = history.map_or_else(Snapshot::expert, |history| Snapshot::of(&history.learn()));
    let (config, mut worklist) = (config(), Worklist::new(limit));
    for text in events {
        let event = decode_json(text.as_bytes()).unwrap();
        let Payload::Claim(claim) = &event.payload else { continue };
        let facts = Facts { as_of: claim.submitted_at, ..Facts::default() };
        worklist.take(&event, claim, &score(claim, &facts, &snapshot, &config.levels), "file", history);
    }
    worklist
}

fn claim(number: &str, id: &str, charge: &str) -> String {
    CLAIM_SUBMITTED.replace("PCN-1112223333", number).replace("2a11", id).replace("800.00", charge)
}

#[test]
fn history_takes_several_paths_after_the_claims() {
    let line = ["score", "a.837", "--history", "b", "c", "--limit", "0"];
    let arguments = Line::try_parse_from(line).unwrap().arguments;
    assert_eq!(arguments.paths.paths, [PathBuf::from("a.837")]);
    assert_eq!((arguments.history, arguments.limit), (["b", "c"].map(PathBuf::from).to_vec(), 0));
    assert!(Line::try_parse_from(["score"]).is_err());
}

#[test]
fn the_largest_expected_loss_comes_first_and_the_limit_holds() {
    let events: Vec<String> =
        (1..=9).map(|n| claim(&format!("PCN-{n}"), &format!("2b{n:02}"), &format!("{n}00.00"))).collect();
    let mut list = worklist(&events, 3, None);
    let numbers: Vec<String> = list.rows().into_iter().map(|row| row.patient_control_number).collect();
    assert_eq!(numbers, ["PCN-9", "PCN-8", "PCN-7"]);
    assert_eq!((list.claims(), list.sums().charge.to_string()), (9, "4500.00".to_owned()), "sums are over all claims");
    assert_eq!(worklist(&events, 0, None).rows().len(), 9);
}

#[test]
fn the_order_of_the_files_changes_nothing_and_only_the_newest_version_is_listed() {
    let old = claim("PCN-1", "2b01", "900.00");
    let new = claim("PCN-1", "2b02", "100.00").replace("05:50:21", "05:50:22");
    let other = claim("PCN-2", "2b03", "500.00");
    let lists = [[&old, &new, &other, &old], [&other, &new, &old, &new]];
    for list in lists {
        let events: Vec<String> = list.into_iter().cloned().collect();
        let mut list = worklist(&events, 50, None);
        let charges: Vec<String> = list.rows().into_iter().map(|row| row.total_charge_amount).collect();
        assert_eq!(charges, ["500.00", "100.00"]);
        assert_eq!((list.read(), list.claims()), (4, 2));
        assert_eq!(list.sums().charge.to_string(), "600.00");
    }
}

#[test]
fn the_history_is_shown_and_teaches() {
    let mut gathering = Gathering::default();
    for text in [CLAIM_SUBMITTED, REMITTANCE_RECEIVED] {
        gathering.take(decode_json(text.as_bytes()).unwrap());
    }
    let history = gathering.finish();
    let events = [claim("PCN-NEW", "2b01", "300.00")];
    let (with, without) = (worklist(&events, 5, Some(&history)).rows(), worklist(&events, 5, None).rows());
    assert_eq!(with[0].earlier(), "99213: 1 of 1 denied");
    assert!(with[0].score.log_odds_micro > without[0].score.log_odds_micro, "it was denied before");
    let json = serde_json::to_value(&with).unwrap();
    for field in ["patient_control_number", "payer", "overall_score", "risk_factors", "recommendations", "history"] {
        assert!(!json[0][field].is_null(), "{field}");
    }
    assert!(serde_json::to_value(&without).unwrap()[0].get("history").is_none());
}

fn read(files: &[(&str, &str)], named: bool) -> (usize, Result<(), CommandError>) {
    let dir = std::env::temp_dir().join(format!("claimrisk-score-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let sources: Vec<Source> = files.iter().map(|(name, _)| Source { path: dir.join(name), named }).collect();
    let (mut read, mut claims) = (Read::default(), 0);
    let result = read.all(&sources, &config(), &mut |event, _| {
        let is_claim = matches!(event.payload, Payload::Claim(_));
        claims += usize::from(is_claim);
        is_claim
    });
    std::fs::remove_dir_all(&dir).unwrap();
    result.unwrap();
    (claims, read.verdict(claims))
}

#[test]
fn noise_is_bad_data_when_it_is_named_and_passed_over_in_a_folder() {
    let (event, noise) = (CLAIM_SUBMITTED.replace('\n', ""), "a,b\n1,2\n");
    let files = [("truth.csv", noise), ("events", event.as_str())];
    assert!(matches!(read(&files, false), (1, Ok(()))));
    assert!(matches!(read(&files, true), (1, Err(CommandError::BadData(_)))));
    assert!(matches!(read(&[("noise", noise)], false), (0, Err(CommandError::BadData(_)))));
}

#[test]
fn remittances_alone_are_nothing_to_score() {
    let (claims, verdict) = read(&[("events", &REMITTANCE_RECEIVED.replace('\n', ""))], true);
    assert_eq!(claims, 0);
    assert!(verdict.unwrap_err().to_string().contains("remittances"));
}
