//! Every published sample file is read, and what is read equals what independent readers state of it.
//!
//! The files lie outside the project and are not part of it; where the folder is absent the tests say so and pass.
//! `CLAIMRISK_EDI_DIR` names another folder of the same form.

use std::collections::BTreeMap;
use std::path::PathBuf;

use claimrisk::domain::claim::{Claim, ClaimType};
use claimrisk::domain::remittance::Remittance;
use claimrisk::domain::types::Cents;
use claimrisk::domain::x12::{Item, Note, NoteReason, Parsed, Severity, Summary, read_all};
use serde_json::Value;

/// What one file gave.
struct Reading {
    claims: Vec<Parsed<Claim>>,
    remittances: Vec<Parsed<Remittance>>,
    notes: Vec<Note>,
    summary: Summary,
}

/// Where a published statement and the reader differ, and why the reader is right. `path, statement, reader, reason`.
const EXPLAINED: [(&str, &str, &str, &str); 2] = [
    (
        "imsweb+x12-parser/837_5010/x12_bad_first_line.txt",
        "errors 1, fatal",
        "errors 0, isa_not_fixed_width",
        "ISA02 is one blank short: counting separators reads it all the same, so nothing is lost and a warning is enough",
    ),
    (
        "imsweb+x12-parser/837_5010/x12_no_isa_line.txt",
        "errors 1, fatal",
        "errors 1, separators_guessed, both claims delivered",
        "the separators are plain from GS and ST; the guess is reported as an error and the claims are read",
    ),
];

/// Statements that the domain's types cannot express, by key, and why.
const NOT_EXPRESSIBLE: [(&str, &str); 1] = [("patient first names", "names of persons are not kept")];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("CLAIMRISK_EDI_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/edi"), PathBuf::from);
    if folder.join("samples").is_dir() {
        return Some(folder);
    }
    skipped(&folder);
    None
}

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn skipped(folder: &std::path::Path) {
    eprintln!("skipped: no sample files under {}", folder.display());
}

fn read(folder: &std::path::Path, path: &str) -> Reading {
    let bytes = std::fs::read(folder.join("samples").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (items, summary) = read_all(&bytes);
    let mut reading = Reading { claims: Vec::new(), remittances: Vec::new(), notes: Vec::new(), summary };
    for item in items {
        match item {
            Item::Claim(claim) => reading.claims.push(*claim),
            Item::Remittance(remittance) => reading.remittances.push(*remittance),
            Item::Note(note) => reading.notes.push(note),
        }
    }
    reading
}

impl Reading {
    fn count(&self, reason: NoteReason) -> usize {
        self.notes.iter().filter(|note| note.reason == reason).count()
    }
}

/// The rows of a tab-separated table as maps from heading to value.
fn table(folder: &std::path::Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut lines = text.lines();
    let headings: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| headings.iter().zip(line.split('\t')).map(|(h, v)| ((*h).to_owned(), v.to_owned())).collect())
        .collect()
}

fn cents(text: &str) -> Cents {
    Cents::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn cents_of(value: &Value) -> Cents {
    cents(value.as_str().unwrap_or_else(|| panic!("{value} is no text")))
}

#[test]
fn claims_remittances_and_totals_equal_the_manifest() {
    let Some(folder) = folder() else { return };
    let rows = table(&folder, "MANIFEST.tsv");
    assert!(rows.len() >= 40, "the manifest has {} rows", rows.len());
    for row in &rows {
        let path = &row["path"];
        let reading = read(&folder, path);
        let summary = &reading.summary;
        let mut status: BTreeMap<&str, usize> = BTreeMap::new();
        for remittance in &reading.remittances {
            *status.entry(&remittance.value.status_code).or_default() += 1;
        }
        let status: Vec<String> = status.iter().map(|(code, count)| format!("{code}:{count}")).collect();
        let mut stated: Vec<&str> = row["clp02"].split(',').filter(|part| !part.is_empty()).collect();
        stated.sort_unstable_by_key(|part| part.split(':').next());
        let ours = [
            ("transactions", summary.transactions.to_string()),
            ("claims", reading.claims.len().to_string()),
            ("remits", reading.remittances.len().to_string()),
            ("interchanges", summary.interchanges.to_string()),
            ("groups", summary.groups.to_string()),
            ("segments", summary.segments.to_string()),
            ("bytes", summary.bytes.to_string()),
        ];
        for (heading, value) in ours {
            assert_eq!(value, row[heading], "{path}: {heading}");
        }
        assert_eq!(summary.claim_total, cents(&row["total_clm02"]), "{path}: total CLM02");
        assert_eq!(summary.remittance_charge_total, cents(&row["total_clp03"]), "{path}: total CLP03");
        assert_eq!(summary.remittance_payment_total, cents(&row["total_clp04"]), "{path}: total CLP04");
        assert_eq!(status, stated, "{path}: statuses");
        assert_eq!((summary.withheld, summary.passed_over), (0, 0), "{path}: everything is delivered");
        check_form(&reading, &row["type"], path);
        check_adjustment_kinds(&reading, &row["cas"], path);
        if row["balance"].contains("BPR02=") {
            let unbalanced = reading.count(NoteReason::PaymentNotBalanced) > 0;
            assert_eq!(unbalanced, row["balance"].contains("BPR02=MISMATCH"), "{path}: balance of the payment");
            let good = reading.remittances.len() - reading.count(NoteReason::ClaimNotBalanced);
            assert!(row["balance"].starts_with(&format!("{good}/")), "{path}: {good} claims balance");
        }
        assert_eq!(
            reading.count(NoteReason::SegmentCountMismatch) > 0,
            row["notes"].contains("SE01="),
            "{path}: SE01 counts wrongly"
        );
    }
}

fn check_form(reading: &Reading, stated: &str, path: &str) {
    let form = match stated {
        "837P" => ClaimType::Professional,
        "837I" => ClaimType::Institutional,
        "837D" => ClaimType::Dental,
        _ => return,
    };
    assert!(reading.claims.iter().all(|claim| claim.value.claim_type == form), "{path}: form");
}

/// The manifest counts the first triplet of each CAS; all triplets are compared with the second opinion.
fn check_adjustment_kinds(reading: &Reading, stated: &str, path: &str) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let of_claims = reading.claims.iter().flat_map(|c| &c.value.other_payers).flat_map(|p| &p.adjustments);
    let of_remittances = reading.remittances.iter().flat_map(|r| r.value.all_adjustments());
    for adjustment in of_claims.chain(of_remittances) {
        *kinds.entry(format!("{}-{}", adjustment.group_code, adjustment.reason_code)).or_default() += 1;
    }
    for part in stated.split(',').filter(|part| !part.is_empty()) {
        let (kind, count) = part.split_once(':').unwrap_or((part, "0"));
        let ours = kinds.get(kind).copied().unwrap_or(0);
        assert!(count.parse().is_ok_and(|count: usize| ours >= count), "{path}: {kind} {ours} of {count}");
    }
    assert_eq!(kinds.is_empty(), stated.is_empty(), "{path}: adjustments");
}

#[test]
fn every_claim_and_adjustment_equals_the_second_opinion() {
    let Some(folder) = folder() else { return };
    let text = std::fs::read_to_string(folder.join("DERIVED.json")).expect("DERIVED.json");
    let derived: BTreeMap<String, Value> = serde_json::from_str(&text).expect("DERIVED.json");
    assert!(derived.len() >= 35, "{} files", derived.len());
    for (path, opinion) in &derived {
        let reading = read(&folder, path);
        let claims = opinion["claims"].as_array().cloned().unwrap_or_default();
        if opinion["type"] == "835" {
            check_remittances(&reading, &claims, path);
            assert_eq!(reading.summary.payment_total, cents_of(&opinion["bpr02"]), "{path}: BPR02");
            assert_eq!(reading.summary.provider_adjustment_total, cents_of(&opinion["plb_total"]), "{path}: PLB");
            let carried: Cents =
                reading.remittances.iter().flat_map(|r| &r.value.provider_adjustments).map(|a| a.amount).sum();
            assert_eq!(carried, reading.summary.provider_adjustment_total, "{path}: PLB rides on the last claim");
            continue;
        }
        assert_eq!(reading.claims.len(), claims.len(), "{path}: claims");
        for (ours, theirs) in reading.claims.iter().zip(&claims) {
            let number = ours.value.patient_control_number.expose();
            assert_eq!(Some(number.as_str()), theirs["clm01"].as_str(), "{path}: CLM01");
            assert_eq!(ours.value.total_charge, cents_of(&theirs["clm02"]), "{path}: CLM02");
        }
        let lines = |form| -> u64 {
            let of_form = reading.claims.iter().filter(|c| c.value.claim_type == form);
            of_form.map(|c| c.value.lines.len() as u64).sum()
        };
        assert_eq!(Some(lines(ClaimType::Professional)), opinion["sv1"].as_u64(), "{path}: SV1");
        assert_eq!(Some(lines(ClaimType::Institutional)), opinion["sv2"].as_u64(), "{path}: SV2");
    }
}

fn check_remittances(reading: &Reading, claims: &[Value], path: &str) {
    assert_eq!(reading.remittances.len(), claims.len(), "{path}: remitted claims");
    for (place, (ours, theirs)) in reading.remittances.iter().zip(claims).enumerate() {
        let ours = &ours.value;
        assert_eq!(ours.claim_ordinal as usize, place + 1, "{path}: place of the claim");
        assert_eq!(Some(ours.patient_control_number.expose().as_str()), theirs["clp01"].as_str(), "{path}: CLP01");
        assert_eq!(Some(ours.status_code.as_str()), theirs["clp02"].as_str(), "{path}: CLP02");
        assert_eq!(ours.total_charge, cents_of(&theirs["clp03"]), "{path}: CLP03");
        assert_eq!(ours.payment, cents_of(&theirs["clp04"]), "{path}: CLP04");
        assert_eq!(Some(ours.lines.len() as u64), theirs["services"].as_u64(), "{path}: SVC");
        let adjustments: Vec<(String, String, Cents)> =
            ours.all_adjustments().map(|a| (a.group_code.clone(), a.reason_code.clone(), a.amount)).collect();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let stated: Vec<(String, String, Cents)> = theirs["cas"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|triplet| (word(&triplet[0]), word(&triplet[1]), cents_of(&triplet[2])))
            .collect();
        assert_eq!(adjustments, stated, "{path}: CAS of claim {}", place + 1);
    }
}

#[test]
fn what_the_projects_own_tests_state_holds_or_is_explained() {
    let Some(folder) = folder() else { return };
    let rows = table(&folder, "EXPECTED.tsv");
    assert!(rows.len() >= 30, "{} statements", rows.len());
    for row in &rows {
        let (path, key, expected) = (row["path"].as_str(), row["key"].as_str(), row["expected"].as_str());
        if NOT_EXPRESSIBLE.iter().any(|(unkept, _)| *unkept == key) {
            continue;
        }
        check_statement(&folder, path, key, expected);
    }
}

fn check_statement(folder: &std::path::Path, path: &str, key: &str, expected: &str) {
    let reading = read(folder, path);
    let summary = &reading.summary;
    match key {
        "errors" => check_errors(&reading, path, expected),
        "CLM01 of claims" => {
            let numbers: Vec<&str> =
                reading.claims.iter().map(|c| c.value.patient_control_number.expose().as_str()).collect();
            assert_eq!(numbers.join(","), expected, "{path}");
        }
        "SV101 line1/line2" => {
            let lines = reading.claims.iter().flat_map(|c| &c.value.lines);
            let codes: Vec<String> = lines
                .map(|l| format!("HC:{}:{}", l.procedure_code.as_deref().unwrap_or_default(), l.modifiers.join(":")))
                .collect();
            assert_eq!(codes.join(" / "), expected, "{path}");
        }
        "DTP03 line1/line2" => {
            let lines = reading.claims.iter().flat_map(|c| &c.value.lines);
            let dates: Vec<String> = lines
                .map(|l| match (l.service_from, l.service_to) {
                    (Some(from), Some(to)) => format!("{}-{}", from.format("%Y%m%d"), to.format("%Y%m%d")),
                    other => format!("{other:?}"),
                })
                .collect();
            assert_eq!(dates.join(" / "), expected, "{path}");
        }
        "SE01 in file (wrong, tolerated)" => {
            assert_eq!(reading.count(NoteReason::SegmentCountMismatch), 1, "{path}");
            assert_eq!(summary.errors, 0, "{path}: a wrong count is no error");
        }
        "same content as x12_valid" => {
            let plain = read(folder, "imsweb+x12-parser/837_5010/x12_valid.txt");
            let values = |r: &Reading| r.claims.iter().map(|c| c.value.clone()).collect::<Vec<_>>();
            assert_eq!(values(&reading), values(&plain), "{path}");
        }
        "interchanges" => assert_eq!(summary.interchanges.to_string(), expected, "{path}"),
        "functional groups" => assert_eq!(summary.groups.to_string(), expected, "{path}"),
        "ISA loops / ST loops" => {
            assert_eq!(format!("{} / {}", summary.interchanges, summary.transactions), expected, "{path}");
        }
        "round trip" | "full parse" => assert_eq!(summary.errors, 0, "{path}: read whole"),
        // AK5*A: the transaction is accepted. AK5*R with code 4 or TA1*R*023: a trailer's count or the IEA is wrong.
        "997 outcome" => {
            assert_eq!(summary.errors, 0, "{path}: nothing is lost");
            let no_iea = expected.contains("*R*023");
            assert_eq!(reading.count(NoteReason::MissingIea) > 0, no_iea, "{path}: IEA");
            let counts = expected.contains("AK5*R*4");
            assert_eq!(reading.count(NoteReason::SegmentCountMismatch) > 0, counts, "{path}: SE01");
            assert_eq!(reading.count(NoteReason::MissingSe) > 0, expected.contains("AK5*R*2"), "{path}: SE");
        }
        other => panic!("{path}: nobody checks {other}"),
    }
}

fn check_errors(reading: &Reading, path: &str, expected: &str) {
    let errors: Vec<&Note> = reading.notes.iter().filter(|n| n.severity == Severity::Error).collect();
    if expected == "0" {
        assert!(errors.is_empty(), "{path}: {errors:?}");
        return;
    }
    if path.ends_with("x12_missing_elements.txt") {
        // The two elements it names are remarked on as such; both claims are delivered.
        let missing: Vec<(&str, Option<u8>)> = reading
            .notes
            .iter()
            .filter(|n| n.reason == NoteReason::MissingElement)
            .map(|n| (n.segment_id, n.element))
            .collect();
        assert_eq!(missing, [("NM1", Some(2)), ("CLM", Some(5))], "{path}");
        assert!(errors.is_empty() && reading.claims.len() == 2, "{path}: fatal=no");
        return;
    }
    let Some((.., reader, _)) = EXPLAINED.iter().find(|row| row.0 == path) else {
        panic!("{path}: {expected} against {errors:?}");
    };
    assert!(reader.starts_with(&format!("errors {}", errors.len())), "{path}: {reader} against {errors:?}");
    let named = reading.notes.iter().any(|note| reader.contains(note.reason.as_str()));
    assert!(named, "{path}: {reader}");
    assert_eq!(reading.claims.len(), 2, "{path}: both claims are delivered");
}

#[test]
fn payers_patients_and_providers_of_known_samples_are_read_from_their_own_loops() {
    let Some(folder) = folder() else { return };
    let both = read(&folder, "LinuxForHealth+x12/837_005010X222A2/demo.cob.example3.B.837");
    let claim = &both.claims[0].value;
    assert_eq!(claim.payer.id.as_deref(), Some("567890"));
    assert_eq!(claim.responsibility.code(), "S");
    assert!(claim.patient_is_dependent);
    let member = claim.subscriber.member_id.as_ref().map(|id| id.expose().as_str());
    assert_eq!(member, Some("222334444"), "the subscriber's, not the other insured's");
    let born = claim.subscriber.birth_date.as_ref().map(|date| date.expose().to_string());
    assert_eq!(born.as_deref(), Some("1973-05-01"), "the patient's, not the subscriber's");
    let other = &claim.other_payers[0];
    assert_eq!((other.id.as_deref(), other.paid_amount), (Some("999996666"), Some(Cents::new(3_915))));
    let kinds: Vec<&str> = other.adjustments.iter().map(|a| a.reason_code.as_str()).collect();
    assert_eq!(kinds, ["1", "2", "42"], "two of the claim, one of its first line");

    let drug = read(&folder, "LinuxForHealth+x12/837_005010X222A2/demo.drug.example10.1.837");
    let ndc = drug.claims[0].value.lines[1].ndc.as_ref().expect("the second line has a drug");
    assert_eq!((ndc.code.as_str(), ndc.unit.as_deref()), ("00026063512", Some("ML")));

    let hospital = read(&folder, "LinuxForHealth+x12/837_005010X223A3/institutional-claim.837i");
    let claim = &hospital.claims[0].value;
    assert_eq!(claim.type_of_bill.as_deref(), Some("0141"));
    assert_eq!(claim.diagnosis_codes, ["3669", "4019", "79431"]);
    assert_eq!(claim.condition_codes, ["09"]);
}
