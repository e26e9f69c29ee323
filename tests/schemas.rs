//! Holds the JSON Schemas in `queues/schemas/` against the wire types that they are made from and the reader they describe.
//!
//! Must never: pass because nothing was compared. `UPDATE_SCHEMAS=1 cargo test --test schemas` writes the files anew.

#![recursion_limit = "512"] // for the long `json!` documents

use claimrisk::wire::{EventType, Reason, decode_json, examples, schema};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("queues/schemas")
}

fn validators() -> BTreeMap<&'static str, jsonschema::Validator> {
    let all = schema::all();
    let kinds = [EventType::ClaimSubmitted, EventType::ClaimAcknowledged, EventType::RemittanceReceived];
    assert_eq!(all.len(), kinds.len());
    kinds
        .into_iter()
        .zip(all)
        .map(|(kind, (name, schema))| {
            assert_eq!(name, format!("{}.json", kind.versioned_type()));
            jsonschema::draft202012::meta::validate(&schema).expect("a schema of draft 2020-12");
            (kind.versioned_type(), jsonschema::validator_for(&schema).expect("a schema that compiles"))
        })
        .collect()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("an example is JSON")
}

/// A claim with every field that the contract names.
fn full_claim() -> Value {
    let provider =
        json!({"npi": "1942788757", "taxId": "12-3456789", "taxonomyCode": "207Q00000X", "isOrganization": true});
    let adjustment = json!({"groupCode": "PR", "reasonCode": "1", "amount": "20.00", "quantity": "1"});
    let mut event = parsed(examples::CLAIM_SUBMITTED);
    event["data"] = json!({
        "practiceId": "PR01", "patientControlNumber": "PCN-1", "claimControlNumber": "CCN-1",
        "payerResponsibilitySequence": "S", "claimFrequencyCode": "7", "payerClaimControlNumber": "9406",
        "claimFilingIndicatorCode": "CI", "claimType": "institutional", "facilityTypeCode": "11", "typeOfBill": "0111",
        "assignmentCode": "A", "payer": {"payerId": "60054", "name": "Example Health Plan"},
        "subscriber": {"memberId": "W1", "birthDate": "1980-01-01", "gender": "F"}, "patientIsDependent": true, "complete": true,
        "billingProvider": provider, "renderingProvider": provider, "referringProvider": provider,
        "attendingProvider": provider, "orderingProvider": provider, "serviceFacility": provider,
        "priorAuthorizationNumber": "AUTH1", "referralNumber": "REF1", "cliaNumber": "11D1234567",
        "statementDate": "20261030", "statementToDate": "2026-10-31", "admissionDate": "2026-10-30",
        "dischargeDate": "2026-10-31", "accidentDate": "2026-10-29", "relatedCauses": ["AA"],
        "admissionTypeCode": "1", "admissionSourceCode": "1", "dischargeStatusCode": "01",
        "submittedAt": "2026-11-02", "totalClaimChargeAmount": "800.00", "diagnosisCodes": ["E11.9", "I10"],
        "conditionCodes": ["17"],
        "otherPayers": [{"payerId": "00901", "payerResponsibilitySequence": "P", "paidAmount": "5.00",
            "adjustments": [adjustment]}],
        "attachments": [{"reportTypeCode": "OZ", "transmissionCode": "EL"}],
        "serviceLines": [{"lineItemControlNumber": "1", "procedureCode": "J1100", "procedureModifiers": ["25"],
            "revenueCode": "0450", "lineItemChargeAmount": "800.00", "serviceUnitCount": 2, "unitType": "UN",
            "placeOfServiceCode": "11", "serviceDateFrom": "2026-10-30", "serviceDateTo": "2026-10-31",
            "diagnosisPointers": [1, "2"], "ndc": {"code": "00143925001", "unit": "ML", "quantity": "0.5"},
            "description": "given by hand", "orderingProvider": provider}]
    });
    event
}

/// A remittance with every field that the contract names.
fn full_remittance() -> Value {
    let adjustment = json!({"groupCode": "CO", "reasonCode": "45", "amount": "-20.00", "quantity": "1"});
    let mut event = parsed(examples::REMITTANCE_RECEIVED);
    event["data"] = json!({
        "practiceId": "PR01", "payeeNpi": "1760854442", "payeeTaxId": "12-3456789",
        "payer": {"payerId": "60054", "name": "Example Health Plan"}, "traceNumber": "EFT1",
        "paymentDate": "2026-11-20", "patientControlNumber": "PCN-1", "payerClaimControlNumber": "9406",
        "claimOrdinal": 3, "claimStatusCode": "22", "claimFrequencyCode": "1", "claimFilingIndicatorCode": "12",
        "facilityTypeCode": "11", "totalClaimChargeAmount": "-800.00", "claimPaymentAmount": "0",
        "patientResponsibilityAmount": ".5", "subscriber": {"memberId": "W1"}, "patient": {"memberId": "W2"},
        "serviceDateFrom": "20261030", "serviceDateTo": "2026-10-31", "claimAdjustments": [adjustment],
        "remarkCodes": ["MA01"], "crossoverPayer": "SOMEONE ELSE",
        "providerAdjustments": [{"reasonCode": "WO", "amount": "12.10"}],
        "serviceLines": [{"lineItemControlNumber": "1", "procedureCode": "99213", "procedureModifiers": ["25"],
            "revenueCode": "0450", "serviceDateFrom": "2026-10-30", "serviceDateTo": "2026-10-30",
            "lineItemChargeAmount": "800.00", "lineItemPaymentAmount": "0.00", "serviceUnitCount": "1.5",
            "adjustments": [adjustment], "remarkCodes": ["M62"]}]
    });
    event
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    if !at.is_empty() {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, field)| pointers(field, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn without(document: &Value, pointer: &str) -> Option<Value> {
    let mut changed = document.clone();
    let (parent, key) = pointer.rsplit_once('/')?;
    changed.pointer_mut(parent)?.as_object_mut()?.remove(key)?;
    Some(changed)
}

fn mutants(document: &Value) -> Vec<(String, Value)> {
    let wrong = [
        json!(null),
        json!(""),
        json!("   "),
        json!("."),
        json!("CANARY"),
        json!("CANARY\u{0}"),
        json!("CANARY".repeat(200)),
        json!("1.005"),
        json!("0099"),
        json!("300"),
        json!("2026-13-01"),
        json!("0001-01-01"),
        json!("1e3"),
        json!("P"),
        json!("1234567890123.00"),
        json!(0),
        json!(7),
        json!(-1),
        json!(300),
        json!(800.5),
        json!(18_446_744_073_709_551_615_u64),
        json!(true),
        json!([]),
        json!({}),
        json!(["CANARY"]),
        json!([null]),
        json!([{"CANARY": 1}]),
        json!(vec!["1"; 1001]),
    ];
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    let mut mutants = Vec::new();
    for place in places {
        for value in &wrong {
            let mut changed = document.clone();
            *changed.pointer_mut(&place).expect("a place of this document") = value.clone();
            mutants.push((place.clone(), changed));
        }
        mutants.extend(without(document, &place).map(|changed| (place, changed)));
    }
    mutants
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::create_dir_all(folder()).expect("the folder of the schemas");
        for (name, schema) in schema::all() {
            std::fs::write(folder().join(name), schema::file_text(&schema)).expect("a schema is written");
        }
    }
    let mut committed = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("the folder of the schemas") {
        let path = entry.expect("an entry of the folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain file name").to_owned();
        committed.insert(name, std::fs::read_to_string(path).expect("a schema file"));
    }
    let generated: BTreeMap<String, String> =
        schema::all().into_iter().map(|(name, schema)| (name, schema::file_text(&schema))).collect();
    assert_eq!(committed, generated, "run UPDATE_SCHEMAS=1 cargo test --test schemas");
}

#[test]
fn the_examples_of_the_contract_validate_and_are_read() {
    let validators = validators();
    let mut documents: Vec<Value> =
        [examples::CLAIM_SUBMITTED, examples::REMITTANCE_RECEIVED, examples::CLAIM_ACKNOWLEDGED].map(parsed).into();
    documents.extend([full_claim(), full_remittance()]);
    for document in documents {
        let kind = document["type"].as_str().expect("a type");
        let errors: Vec<String> =
            validators[kind].iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}");
        let event = decode_json(document.to_string().as_bytes()).expect("an example is read");
        assert_eq!(event.event_type.versioned_type(), kind);
    }
}

#[test]
fn the_full_examples_leave_no_field_of_the_schema_out() {
    for (document, data) in [(full_claim(), "ClaimData"), (full_remittance(), "RemittanceData")] {
        let (_, schema) = schema::all()
            .into_iter()
            .find(|(name, _)| Some(name.trim_end_matches(".json")) == document["type"].as_str())
            .expect("a schema of this type");
        let named = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let mut expected = named(&schema["$defs"][data]["properties"]);
        let mut given = named(&document["data"]);
        expected.sort();
        given.sort();
        assert_eq!(given, expected);
    }
}

/// Schema and reader must be of one mind on every change of one field, and the reader must name that field.
#[test]
fn schema_and_reader_agree_on_every_change_of_one_field() {
    let validators = validators();
    let (mut accepted, mut refused) = (0, 0);
    for document in [full_claim(), full_remittance(), parsed(examples::CLAIM_ACKNOWLEDGED)] {
        let kind = document["type"].as_str().expect("a type");
        for (place, mutant) in mutants(&document) {
            let valid = validators[kind].is_valid(&mutant);
            let shown = || mutant.pointer(&place).map_or_else(|| "removed".to_owned(), |v| format!("{v:.40}"));
            match decode_json(mutant.to_string().as_bytes()) {
                Ok(event) => {
                    assert!(valid, "{place} {}: read, but against the schema", shown());
                    assert_eq!(decode_json(&event.encode()).as_ref(), Ok(&event), "{place} {}", shown());
                    accepted += 1;
                }
                Err(rejection) => {
                    assert!(!valid, "{place} {}: valid, but {rejection}", shown());
                    let told = rejection.detail.split(':').next().unwrap_or_default();
                    let within =
                        told.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                    assert!(within, "{place} {}: {rejection}", shown());
                    assert!(!rejection.to_string().contains("CANARY"), "{rejection}");
                    assert_ne!(rejection.reason, Reason::Malformed, "{place} {}", shown());
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 500 && refused > 1500, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_claim_without_any_practice_is_against_schema_and_reader() {
    let validators = validators();
    let mut event = parsed(examples::CLAIM_SUBMITTED);
    let data = event["data"].as_object_mut().expect("data");
    data.remove("practiceId");
    assert!(validators["claim.submitted.v1"].is_valid(&event), "the billing provider's NPI stands for it");
    event["data"]["billingProvider"] = json!({"taxonomyCode": "207Q00000X"});
    assert!(!validators["claim.submitted.v1"].is_valid(&event));
    let rejection = decode_json(event.to_string().as_bytes()).expect_err("nothing names the practice");
    assert_eq!(rejection.reason, Reason::MissingIdentifier);
}
