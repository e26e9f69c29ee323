//! What reading and writing events promise: each reason, each mode, ids and hashes. Fields are tested in `tests/schemas.rs`.

use super::*;
use crate::domain::claim::{ClaimType, Provider, Responsibility, ServiceLine};
use crate::domain::types::{Cents, Date, Phi, Units};

fn meta(content_type: Option<&'static str>) -> MessageMeta<'static> {
    MessageMeta { content_type, routing_key: "claim.submitted", ..MessageMeta::default() }
}

fn with_headers(headers: &[(&str, &str)]) -> MessageMeta<'static> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    MessageMeta { headers, ..meta(Some("application/json")) }
}

/// The claim example with one piece of its text replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(examples::CLAIM_SUBMITTED.contains(from), "{from}");
    examples::CLAIM_SUBMITTED.replacen(from, to, 1)
}

fn refused(body: &str) -> Rejection {
    decode_json(body.as_bytes()).expect_err("a bad event")
}

fn data_of(example: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(example).expect("an example");
    event["data"].to_string()
}

const BINARY: [(&str, &str); 5] = [
    ("cloudEvents:specversion", "1.0"),
    ("cloudEvents:id", "0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11"),
    ("cloudEvents:source", "urn:clearinghouse:acme"),
    ("cloudEvents:type", "claim.submitted.v1"),
    ("cloudEvents:time", "2026-11-02T05:50:21.482Z"),
];

#[test]
fn the_claim_of_the_contract_is_read_field_by_field() {
    let event = decode_json(examples::CLAIM_SUBMITTED.as_bytes()).expect("the contract's example");
    assert_eq!((event.source.as_str(), event.event_type), ("urn:clearinghouse:acme", EventType::ClaimSubmitted));
    assert_eq!(event.time.to_rfc3339(), "2026-11-02T05:50:21.482+00:00");
    let Payload::Claim(claim) = event.payload else { panic!("not a claim") };
    assert_eq!(claim.practice_key(), Some("PR01"));
    assert_eq!(claim.patient_control_number.expose(), "PCN-1112223333");
    assert_eq!((claim.responsibility, claim.frequency_code.as_str()), (Responsibility::Primary, "1"));
    assert_eq!(claim.total_charge, Cents::new(80_000));
    assert_eq!(claim.diagnosis_codes, ["E119", "I10"]);
    assert_eq!(claim.subscriber.birth_date.map(Phi::into_inner), Date::from_ymd_opt(1980, 1, 1));
    let line = claim.lines.first().expect("a line");
    assert_eq!((line.charge, line.units), (Cents::new(80_000), Some(Units::ONE)));
    assert_eq!((line.modifiers.as_slice(), line.diagnosis_pointers.as_slice()), (&["25".to_owned()][..], &[1][..]));
    assert_eq!(line.service_from, Date::from_ymd_opt(2026, 10, 30));
}

#[test]
fn the_remittance_of_the_contract_is_read_field_by_field() {
    let event = decode_json(examples::REMITTANCE_RECEIVED.as_bytes()).expect("the contract's example");
    let Payload::Remittance(remittance) = event.payload else { panic!("not a remittance") };
    assert_eq!((remittance.practice_key(), remittance.claim_ordinal), (Some("PR01"), 1));
    assert_eq!((remittance.status_code.as_str(), remittance.payment), ("1", Cents::ZERO));
    let line = remittance.lines.first().expect("a line");
    let adjustment = line.adjustments.first().expect("an adjustment");
    assert_eq!((adjustment.group_code.as_str(), adjustment.reason_code.as_str()), ("CO", "197"));
    assert_eq!((adjustment.amount, line.remark_codes.as_slice()), (Cents::new(80_000), &["M62".to_owned()][..]));
}

#[test]
fn the_acknowledgement_example_is_read() {
    let event = decode_json(examples::CLAIM_ACKNOWLEDGED.as_bytes()).expect("an example");
    let Payload::Acknowledgement(acknowledgement) = event.payload else { panic!("not an acknowledgement") };
    assert!(acknowledgement.accepted);
    assert_eq!(acknowledgement.category_code.as_deref(), Some("A2"));
}

#[test]
fn every_mode_of_sending_gives_the_same_event() {
    let structured = decode_json(examples::CLAIM_SUBMITTED.as_bytes()).expect("structured");
    let body = examples::CLAIM_SUBMITTED.as_bytes();
    for content_type in [
        Some("application/cloudevents+json; charset=UTF-8"),
        Some("application/json"),
        Some("APPLICATION/JSON;charset=utf-8"),
        Some("application/octet-stream"),
        Some(""),
        None,
    ] {
        assert_eq!(decode(body, &meta(content_type)).as_ref(), Ok(&structured), "{content_type:?}");
    }
    // Headers do not matter where the body says all.
    assert_eq!(decode(body, &with_headers(&[("cloudEvents:id", "another")])).as_ref(), Ok(&structured));
    let data = data_of(examples::CLAIM_SUBMITTED);
    assert_eq!(decode(data.as_bytes(), &with_headers(&BINARY)).as_ref(), Ok(&structured));
    let underscored = BINARY.map(|(name, value)| (name.replace(':', "_"), value));
    let underscored: Vec<(&str, &str)> = underscored.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(decode(data.as_bytes(), &with_headers(&underscored)).as_ref(), Ok(&structured));
    let with_bom = format!("\u{feff}{}", examples::CLAIM_SUBMITTED);
    assert_eq!(decode_json(with_bom.as_bytes()).as_ref(), Ok(&structured));
}

#[test]
fn binary_mode_takes_the_basic_properties_where_headers_are_missing() {
    let mut meta = with_headers(&[("cloudEvents_specversion", "1.0"), ("cloudEvents_time", "2026-11-02T05:50:21Z")]);
    (meta.message_id, meta.app_id, meta.type_) = (Some("m-1"), Some("urn:mirth"), Some("claim.submitted.v1"));
    let event = decode(data_of(examples::CLAIM_SUBMITTED).as_bytes(), &meta).expect("a binary event");
    assert_eq!((event.id.as_str(), event.source.as_str()), ("m-1", "urn:mirth"));
}

#[test]
fn a_bad_binary_event_names_the_header() {
    let mut headers = BINARY;
    headers[4].1 = "yesterday";
    let rejection =
        decode(data_of(examples::CLAIM_SUBMITTED).as_bytes(), &with_headers(&headers)).expect_err("no time");
    assert_eq!(rejection.reason, Reason::SchemaInvalid);
    assert!(rejection.detail.starts_with("header cloudEvents:time"), "{rejection}");
    let rejection = decode(b"[]", &with_headers(&BINARY)).expect_err("no object");
    assert_eq!(rejection.id.as_deref(), Some("0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11"));
}

#[test]
fn each_fault_has_its_reason() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (from, to, reason) in [
        ("\"1.0\"", "\"0.3\"", Reason::UnsupportedVersion),
        ("claim.submitted.v1", "claim.submitted.v2", Reason::UnsupportedVersion),
        ("claim.submitted.v1", "claim.submitted.v10", Reason::UnsupportedVersion),
        ("claim.submitted.v1", "claim.submitted", Reason::UnsupportedVersion),
        ("claim.submitted.v1", "claim.exploded.v1", Reason::UnknownType),
        ("claim.submitted.v1", "claim.submittedly.v1", Reason::UnknownType),
        ("claim.submitted.v1", "x12.received.v1", Reason::SchemaInvalid),
        ("\"source\":\"urn:clearinghouse:acme\",", "", Reason::MissingIdentifier),
        ("\"id\":\"0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11\"", "\"id\":\" \"", Reason::MissingIdentifier),
        ("\"id\":\"0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11\"", "\"id\":12", Reason::SchemaInvalid),
        ("\"patientControlNumber\":\"PCN-1112223333\"", "\"patientControlNumber\":\"\"", Reason::MissingIdentifier),
        ("\"practiceId\":\"PR01\"", "\"practiceId\":\"PR\\u0000\"", Reason::SchemaInvalid),
        ("\"totalClaimChargeAmount\":\"800.00\"", "\"totalClaimChargeAmount\":800.00", Reason::SchemaInvalid),
        ("\"totalClaimChargeAmount\":\"800.00\"", "\"totalClaimChargeAmount\":800", Reason::SchemaInvalid),
        ("\"totalClaimChargeAmount\":\"800.00\"", "\"totalClaimChargeAmount\":1e999", Reason::Malformed),
        ("\"2026-10-30\"", "\"2026-02-30\"", Reason::SchemaInvalid),
        ("\"2026-10-30\"", "\"30.10.2026\"", Reason::SchemaInvalid),
        ("\"time\":\"2026-11-02T05:50:21.482Z\",", "", Reason::SchemaInvalid),
        ("2026-11-02T05:50:21.482Z", "2026-11-02 05:50", Reason::SchemaInvalid),
        ("\"data\":{", "\"date\":{", Reason::SchemaInvalid),
        ("\"data\":{", "\"data_base64\":\"e30=\",\"data\":{", Reason::Malformed),
        ("\"practiceId\":\"PR01\"", "\"practiceId\":\"PR01\",\"practiceId\":\"PR02\"", Reason::Malformed),
        ("\"specversion\":\"1.0\"", "\"specversion\":\"1.0\",\"specversion\":\"1.0\"", Reason::Malformed),
        ("\"data\":{", &format!("\"extra\":{deep},\"data\":{{"), Reason::Malformed),
        ("application/json\"", "application/xml\"", Reason::SchemaInvalid),
        ("}]}}", "}]}", Reason::Malformed),
        ("}]}}", "}]}} {}", Reason::Malformed),
    ] {
        let rejection = refused(&changed(from, to));
        assert_eq!(rejection.reason, reason, "{from} -> {to:.60}: {rejection}");
        assert!(
            rejection.id.is_some() || reason == Reason::MissingIdentifier || to.contains("\"id\":12"),
            "{rejection}"
        );
    }
}

#[test]
fn what_is_no_json_event_at_all_is_malformed() {
    for body in ["", " ", "null", "[]", "\"text\"", "12", "ISA*00*          *00*", "{\"id\":}", "{'id':1}"] {
        assert_eq!(refused(body).reason, Reason::Malformed, "{body}");
    }
    let mut latin1 = changed("Example Health", "Exa@mple").into_bytes();
    for byte in &mut latin1 {
        if *byte == b'@' {
            *byte = 0xE9;
        }
    }
    assert_eq!(decode_json(&latin1).expect_err("not UTF-8").reason, Reason::Malformed);
    for content_type in ["application/cloudevents-batch+json", "application/xml", "application/EDI-X12"] {
        let rejection = decode(examples::CLAIM_SUBMITTED.as_bytes(), &meta(Some(content_type))).expect_err("no JSON");
        assert_eq!(rejection.reason, Reason::Malformed, "{content_type}");
        assert!(rejection.id.is_some(), "{content_type}");
    }
}

#[test]
fn a_body_cut_anywhere_is_malformed_and_keeps_what_its_head_told() {
    let body = examples::CLAIM_SUBMITTED.as_bytes();
    for end in 0..body.len() {
        let rejection = decode_json(&body[..end]).expect_err("half an event");
        assert_eq!(rejection.reason, Reason::Malformed, "cut at {end}");
        if end > 150 {
            assert_eq!(rejection.source.as_deref(), Some("urn:clearinghouse:acme"), "cut at {end}");
            assert_eq!(rejection.id.as_deref(), Some("0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11"), "cut at {end}");
        }
    }
}

#[test]
fn any_byte_changed_never_panics_and_never_quotes_the_message() {
    let body = examples::CLAIM_SUBMITTED.replace("PCN-1112223333", "CANARY").replace("W123456789", "CANARY");
    for place in 0..body.len() {
        for byte in [0, b'"', b'}', b'9', 0xFF] {
            let mut bad = body.clone().into_bytes();
            bad[place] = byte;
            if let Err(rejection) = decode_json(&bad) {
                assert!(!rejection.to_string().contains("CANARY"), "{rejection}");
            }
        }
    }
}

#[test]
fn the_type_wins_over_the_routing_key() {
    let mut wrong_key = meta(None);
    wrong_key.routing_key = "remittance.received";
    let event = decode(examples::CLAIM_SUBMITTED.as_bytes(), &wrong_key).expect("a claim");
    assert_eq!(event.event_type, EventType::ClaimSubmitted);
    let rejection = decode(changed(".v1", ".v7").as_bytes(), &wrong_key).expect_err("a later version");
    assert_eq!(rejection.event_type, Some(EventType::ClaimSubmitted));
    let rejection = decode(b"{", &wrong_key).expect_err("half an event");
    assert_eq!(rejection.event_type, Some(EventType::RemittanceReceived));
}

#[test]
fn minor_versions_and_unknown_fields_are_read() {
    assert!(decode_json(changed(".v1\"", ".v1.3\"").as_bytes()).is_ok());
    assert!(decode_json(changed("\"1.0\"", "\"1.0.2\"").as_bytes()).is_ok());
    let extended = changed("\"data\":{", "\"tenant\":[{}],\"data\":{\"patientName\":{\"first\":\"A\"},");
    assert_eq!(decode_json(extended.as_bytes()), decode_json(examples::CLAIM_SUBMITTED.as_bytes()));
}

#[test]
fn any_offset_is_read_as_utc_to_the_microsecond() {
    let event = decode_json(changed("05:50:21.482Z", "07:50:21.482000999+02:00").as_bytes()).expect("an event");
    assert_eq!(Ok(event), decode_json(examples::CLAIM_SUBMITTED.as_bytes()));
}

#[test]
fn identifiers_have_bounds_and_one_too_long_is_not_kept() {
    let long = "i".repeat(257);
    let rejection = refused(&changed("0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11", &long));
    assert_eq!((rejection.reason, rejection.id), (Reason::SchemaInvalid, None));
    assert!(decode_json(changed("0191e3c2-7f2b-7a55-9a1e-1c3d6f0b2a11", &"é".repeat(256)).as_bytes()).is_ok());
}

#[test]
fn the_hash_tells_content_from_spelling() {
    let hash = |body: String| decode_json(body.as_bytes()).expect("an event").body_hash;
    let original = hash(examples::CLAIM_SUBMITTED.to_owned());
    for (from, to) in [
        ("\"E119\"", "\"e11.9\""),
        ("\"2026-10-30\"", "\"20261030\""),
        ("\"800.00\"", "\"800\""),
        ("\"revenueCode\":null,", ""),
        ("\"serviceUnitCount\":\"1\"", "\"serviceUnitCount\":1"),
        ("\"id\":\"0191", "\"id\":\"0192"),
    ] {
        assert_eq!(hash(changed(from, to)), original, "{from} -> {to}");
    }
    for (from, to) in [("\"E119\"", "\"E118\""), ("\"800.00\"", "\"800.01\""), ("21.482Z", "21.483Z"), ("PR01", "PR02")]
    {
        assert_ne!(hash(changed(from, to)), original, "{from} -> {to}");
    }
}

#[test]
fn an_event_from_x12_has_the_same_id_whenever_it_is_made() {
    let event = decode_json(examples::REMITTANCE_RECEIVED.as_bytes()).expect("an event");
    let made = x12_event(event.payload.clone(), Some(event.time));
    assert_eq!(made, x12_event(event.payload.clone(), Some(event.time)));
    assert_eq!(made.source, X12_SOURCE);
    // Fixed: a change of this value would make every file that was read before new again.
    assert_eq!(made.id, "398d6e1a-0bac-8b39-ad12-dda2efedbb0d");
    assert_eq!(decode_json(&made.encode()).as_ref(), Ok(&made));
    let Payload::Remittance(mut second) = event.payload.clone() else { panic!("not a remittance") };
    second.claim_ordinal = 2;
    assert_ne!(x12_event(Payload::Remittance(second), Some(event.time)).id, made.id);
    assert_ne!(x12_event(event.payload.clone(), None).id, made.id);
    assert_eq!(x12_event(event.payload, None).time.timestamp(), 0);
}

#[test]
fn a_claim_with_nothing_but_its_identity_survives_the_way_there_and_back() {
    let claim = Claim {
        patient_control_number: Phi::from("PCN"),
        frequency_code: "1".to_owned(),
        claim_type: ClaimType::Dental,
        billing_provider: Provider { tax_id: Some("123456789".to_owned()), ..Provider::default() },
        rendering_provider: Some(Provider { is_organization: Some(false), ..Provider::default() }),
        lines: vec![ServiceLine::default()],
        ..Claim::default()
    };
    let event = x12_event(Payload::Claim(Box::new(claim)), None);
    assert_eq!(decode_json(&event.encode()), Ok(event));
}

#[test]
fn bare_data_is_read_without_an_envelope() {
    let event = decode_json(examples::CLAIM_SUBMITTED.as_bytes()).expect("an event");
    let claim = read_claim(data_of(examples::CLAIM_SUBMITTED).as_bytes()).expect("a claim");
    assert_eq!(event.payload, Payload::Claim(Box::new(claim)));
    let remittance = read_remittance(data_of(examples::REMITTANCE_RECEIVED).as_bytes()).expect("a remittance");
    assert_eq!(remittance.status_code, "1");
    let violation = read_claim(b"{\"practiceId\":\"1\",\"patientControlNumber\":\"1\",\"serviceLines\":[7]}");
    assert_eq!(violation.map_err(|v| v.pointer), Err("/totalClaimChargeAmount".to_owned()));
    assert!(matches!(read_claim(b"nonsense"), Err(Violation { kind: Kind::NotJson(_), .. })));
}

#[test]
fn a_trace_context_is_taken_from_the_header_or_the_body_and_only_if_well_formed() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let in_body = changed("\"data\":{", &format!("\"traceparent\":\"{trace}\",\"data\":{{"));
    assert_eq!(decode_json(in_body.as_bytes()).expect("an event").traceparent.as_deref(), Some(trace));
    let body = examples::CLAIM_SUBMITTED.as_bytes();
    let read = |text: &str| decode(body, &with_headers(&[("traceparent", text)])).expect("an event").traceparent;
    assert_eq!(read(trace).as_deref(), Some(trace));
    for bad in ["", "00-x-y-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", &trace.to_uppercase()] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn raw_x12_is_known_by_its_content_type_or_its_routing_key() {
    let of = |content_type, routing_key| is_x12(&MessageMeta { content_type, routing_key, ..MessageMeta::default() });
    assert!(of(Some("application/EDI-X12"), "claim.submitted"));
    assert!(of(Some("application/edi-x12; charset=us-ascii"), "x12.received"));
    assert!(of(None, "x12.received"));
    assert!(!of(Some("application/json"), "x12.received"));
    assert!(!of(None, "claim.submitted"));
}

#[test]
fn a_rejection_from_elsewhere_carries_what_the_envelope_or_the_properties_tell() {
    let rejection = Rejection::of(Reason::DeliveryLimit, "gave up", examples::CLAIM_SUBMITTED.as_bytes(), &meta(None));
    assert_eq!(rejection.source.as_deref(), Some("urn:clearinghouse:acme"));
    let properties = MessageMeta { message_id: Some("m-1"), app_id: Some("urn:a"), ..meta(None) };
    let rejection = Rejection::of(Reason::TooLarge, "too large", &[], &properties);
    assert_eq!((rejection.id.as_deref(), rejection.source.as_deref()), (Some("m-1"), Some("urn:a")));
    assert_eq!(rejection.event_type, Some(EventType::ClaimSubmitted));
}

#[test]
fn names_of_types_and_reasons_are_read_as_they_are_written() {
    for kind in EventType::ALL {
        assert_eq!(EventType::parse(kind.as_str()), Some(kind));
        assert_eq!(kind.versioned_type(), format!("{}.v1", kind.as_str()));
    }
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(reason));
    }
}
