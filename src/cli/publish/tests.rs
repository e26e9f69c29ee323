//! What is published of what was read: dry runs of the command's inner parts, without a broker.

use std::path::PathBuf;

use clap::Parser;

use super::*;
use crate::config::collect;
use crate::wire::examples::{CLAIM_ACKNOWLEDGED, CLAIM_SUBMITTED, REMITTANCE_RECEIVED};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &[&str]) -> Arguments {
    Line::try_parse_from([&["publish"], line].concat()).unwrap().arguments
}

fn config() -> Config {
    Config::from_raw(&collect(&std::collections::BTreeMap::new(), None).unwrap()).unwrap()
}

fn publishing<'a>(arguments: &'a Arguments, config: &'a Config) -> Publishing<'a> {
    Publishing {
        arguments,
        config,
        publisher: None,
        messages: Vec::new(),
        owners: Vec::new(),
        bytes: 0,
        reports: Vec::new(),
        published: 0,
        progress: Progress::new(None),
    }
}

fn found(text: &str) -> Found {
    let line = text.replace('\n', "");
    Found { event: decode_json(line.as_bytes()).unwrap(), line: Some(line.into_bytes()), place: input::Place::Line(1) }
}

#[test]
fn arguments_are_read_and_a_practice_without_text_is_refused() {
    let read = arguments(&["a", "b", "--practice", " PR01 ", "--dry-run"]);
    assert_eq!(read.paths.paths, ["a", "b"].map(PathBuf::from));
    assert_eq!((read.practice.as_deref(), read.dry_run), (Some("PR01"), true));
    assert!(Line::try_parse_from(["publish", "a", "--practice", " "]).is_err());
    assert!(Line::try_parse_from(["publish"]).is_err(), "a path is needed");
}

#[test]
fn a_line_travels_as_it_is() {
    let (arguments, config) = (arguments(&["a"]), config());
    let (message, _) = publishing(&arguments, &config).message(found(CLAIM_SUBMITTED)).unwrap();
    assert_eq!(message.body, CLAIM_SUBMITTED.replace('\n', "").into_bytes());
    assert_eq!(message.routing_key, "claim.submitted");
    assert!(message.mandatory && message.headers.contains_key("timestamp_in_ms"));
    assert_eq!(message.content_type.as_deref(), Some("application/cloudevents+json"));
}

#[test]
fn another_practice_changes_the_id_of_every_kind_of_event() {
    let (arguments, config) = (arguments(&["a", "--practice", "NEW"]), config());
    for text in [CLAIM_SUBMITTED, REMITTANCE_RECEIVED, CLAIM_ACKNOWLEDGED] {
        let before = found(text).event;
        let (message, payload) = publishing(&arguments, &config).message(found(text)).unwrap();
        let after = decode_json(&message.body).unwrap();
        assert_eq!(payload.practice_key(), Some("NEW"));
        assert_eq!((after.payload.practice_key(), &after.source), (Some("NEW"), &before.source));
        assert_eq!(message.message_id, Some(after.id.clone()));
        assert_ne!(after.id, before.id);
        let (again, _) = publishing(&arguments, &config).message(found(text)).unwrap();
        assert_eq!(again.message_id, message.message_id, "the same change gives the same id");
    }
}

#[test]
fn an_event_that_no_worker_could_read_is_kept_back() {
    let (arguments, mut config) = (arguments(&["a"]), config());
    let mut nobody = found(CLAIM_SUBMITTED);
    if let Payload::Claim(claim) = &mut nobody.event.payload {
        claim.practice_id = None;
        claim.billing_provider = Default::default();
    }
    nobody.line = None;
    let refused = publishing(&arguments, &config).message(nobody).unwrap_err();
    assert_eq!(refused.reason, Reason::MissingIdentifier);
    config.max_event_bytes = 200;
    let refused = publishing(&arguments, &config).message(found(CLAIM_SUBMITTED)).unwrap_err();
    assert_eq!(refused.reason, Reason::TooLarge);
}

/// Runs the files through, without a broker, and gives the reports and the verdict.
async fn dry_run(files: &[(&str, &str)], named: bool) -> (Vec<Report>, Result<(), CommandError>) {
    let dir = std::env::temp_dir().join(format!("claimrisk-publish-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let (arguments, config) = (arguments(&["a", "--dry-run"]), config());
    let mut run = publishing(&arguments, &config);
    let sources: Vec<Source> = files.iter().map(|(name, _)| Source { path: dir.join(name), named }).collect();
    let result = run.all(&sources).await;
    std::fs::remove_dir_all(&dir).unwrap();
    result.unwrap();
    let verdict = run.verdict();
    (run.reports, verdict)
}

#[tokio::test]
async fn files_of_other_kinds_are_passed_over_in_folders_and_refused_by_name() {
    let event = CLAIM_SUBMITTED.replace('\n', "");
    let files = [("truth.csv", "a,b\n1,2\n"), ("events", event.as_str())];
    let (reports, verdict) = dry_run(&files, false).await;
    assert_eq!((reports[0].format, reports[0].errors, reports[1].claims), (Format::Unknown, 0, 1));
    assert!(verdict.is_ok());
    let (reports, verdict) = dry_run(&files, true).await;
    assert!(reports[0].errors > 0 && reports[1].claims == 1);
    assert!(matches!(verdict, Err(CommandError::BadData(_))));
}

#[tokio::test]
async fn nothing_readable_is_bad_data_even_in_folders() {
    let (_, verdict) = dry_run(&[("noise", "no claims here")], false).await;
    assert!(matches!(verdict, Err(CommandError::BadData(_))));
}

#[tokio::test]
async fn a_bad_line_is_counted_and_the_rest_goes_on() {
    let text = format!("{}\n{{}}\n{}\n", CLAIM_SUBMITTED.replace('\n', ""), REMITTANCE_RECEIVED.replace('\n', ""));
    let (reports, verdict) = dry_run(&[("events", &text)], true).await;
    let report = &reports[0];
    assert_eq!((report.claims, report.remittances, report.withheld, report.errors), (1, 1, 1, 1));
    assert_eq!(report.published, 0, "a dry run publishes nothing");
    assert!(matches!(verdict, Err(CommandError::BadData(_))));
}
