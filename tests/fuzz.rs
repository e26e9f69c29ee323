//! Bad input of all kinds, by the million if asked (`make fuzz CASES=1000000`): mutated samples of X12, of JSON events and
//! of their headers end in a value or in a reason of the closed set, soon, the same each time, and never in a panic. What
//! was read is scored and written too: nothing behind the readers may fail on what they let through.

use std::collections::BTreeMap;

use claimrisk::domain::rules::Facts;
use claimrisk::domain::score::{Levels, Snapshot, score};
use claimrisk::domain::x12::{Item, Reader, read_all};
use claimrisk::flow::split::event_of;
use claimrisk::wire::{
    Event, MessageMeta, Payload, Reason, Rejection, X12_SOURCE, decode, decode_json, examples, is_x12, read_claim,
};
use serde_json::{Value, json};

#[path = "common/mutate.rs"]
mod mutate;
#[path = "common/x12.rs"]
mod x12;
use mutate::{Random, mutate as change, run};
use x12::{X12_WORDS, corpus};

/// Stands in every patient field of the samples.
const MARK: &str = "ZZPHI";

const JSON_WORDS: [&[u8]; 20] = [
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"1e9999",
    b"\"\"",
    b"\"\\u0000\"",
    b"\"9999-12-31\"",
    b"\"0001-01-01\"",
    b"-0",
    b"0.00000000001",
    b"\"99999999999999.99\"",
    b",",
    b":",
    b"\"data\":",
    b"\"id\":\"x\",",
    b"\"specversion\":\"2.0\",",
    b"\"serviceLines\":[{}],",
    b"\"diagnosisPointers\":[0,999],",
    b"\"memberId\":",
];

/// Events as publishers send them, marked in each patient field: the examples, and what the corpus holds.
fn events() -> Vec<Value> {
    let examples = [examples::CLAIM_SUBMITTED, examples::REMITTANCE_RECEIVED, examples::CLAIM_ACKNOWLEDGED];
    let marked = |text: &str| {
        ["PCN-1112223333", "W123456789", "94060555410000"]
            .iter()
            .fold(text.to_owned(), |text, own| text.replace(own, MARK))
    };
    let mut events: Vec<Value> =
        examples.iter().map(|text| serde_json::from_str(&marked(text)).expect("an example")).collect();
    for item in corpus().iter().flat_map(|(_, file)| read_all(file).0) {
        events.extend(event_of(item).ok().map(|event| serde_json::from_slice(&event.encode()).expect("JSON")));
    }
    assert!(events.len() > 15, "{} samples", events.len());
    events
}

/// What was read can be scored, written, and read again as the same.
fn use_event(event: &Event, snapshot: &Snapshot) {
    if let Payload::Claim(claim) = &event.payload {
        let scored = score(claim, &Facts::of(claim, event.time.date_naive()), snapshot, &Levels::default());
        assert!(scored.overall_tenths <= 1000);
        let shown = format!("{scored:?}");
        assert!(!shown.contains(MARK), "{shown}");
    }
    let again = match decode_json(&event.encode()) {
        // A file may name no practice, leave a code out, or hold an element longer than any X12 allows. Its claim is published all the same
        // and ends in the dead letters with that reason: the rest of the file goes on.
        Err(rejection) if event.source == X12_SOURCE => {
            check_rejection(&rejection);
            let bounds = rejection.detail.contains("required, but absent")
                || rejection.detail.contains("longer than")
                || rejection.detail.contains("more than");
            let nameless = rejection.reason == Reason::MissingIdentifier && event.payload.practice_key().is_none();
            return assert!(nameless || bounds && rejection.reason == Reason::SchemaInvalid, "{rejection}");
        }
        again => again.unwrap_or_else(|rejection| panic!("what was written is refused: {rejection}")),
    };
    assert!(again.payload == event.payload && again.body_hash == event.body_hash && again.time == event.time);
    assert_eq!((&again.source, &again.id), (&event.source, &event.id));
}

/// A reason of those that reading may give, in words that quote nothing.
fn check_rejection(rejection: &Rejection) {
    let expected = [
        Reason::Malformed,
        Reason::SchemaInvalid,
        Reason::UnsupportedVersion,
        Reason::UnknownType,
        Reason::MissingIdentifier,
    ];
    assert!(expected.contains(&rejection.reason), "{rejection}");
    assert!(!rejection.detail.contains(MARK) && rejection.detail.len() < 600, "{rejection}");
    for name in [&rejection.source, &rejection.id].into_iter().flatten() {
        assert!(name.chars().count() <= 256 && !name.chars().any(char::is_control));
    }
}

#[test]
fn x12_of_any_kind_is_read_or_noted() {
    let (files, snapshot) = (corpus(), Snapshot::expert());
    run("X12", 25, |random| {
        let file = &files[random.index(files.len())].1;
        let from = if random.one_in(2) { 0 } else { random.index(file.len()) };
        let mut bytes = file[from..(from + 200 + random.index(900)).min(file.len())].to_vec();
        change(&mut bytes, random, &X12_WORDS);
        let whole = read_all(&bytes);
        let (mut items, mut reader) = (Vec::new(), Reader::new());
        let size = 1 + random.index(200);
        bytes.chunks(size).for_each(|chunk| reader.push(chunk, &mut |item| items.push(item)));
        let summary = reader.finish(&mut |item| items.push(item));
        assert!((items, summary) == whole, "chunks of {size}");
        for item in whole.0 {
            match event_of(item) {
                Ok(event) => use_event(&event, &snapshot),
                Err(note) => assert!(!format!("{note} {note:?}").contains(MARK), "{note}"),
            }
        }
    });
}

/// Replaces, repeats, removes or adds a value somewhere in a document.
fn change_value(value: &mut Value, random: &mut Random) {
    let inner = match value {
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(random.index(fields.len())).cloned().unwrap_or_default();
            match random.index(12) {
                0 => return drop(fields.remove(&name)),
                1 => {
                    let moved = fields[&name].clone();
                    let other = fields.keys().nth(random.index(fields.len())).cloned().unwrap_or_default();
                    return drop(fields.insert(other, moved));
                }
                _ => fields.get_mut(&name),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = random.index(items.len());
            match random.index(8) {
                0 => return drop(items.remove(at)),
                // Past the bound of a list now and then; seldom, for lists within lists grow with each other.
                1 => {
                    let most = if random.one_in(40) { 1100 } else { 12 };
                    let more = random.index(most);
                    return items.resize(items.len() + more, items[at].clone());
                }
                _ => items.get_mut(at),
            }
        }
        _ => None,
    };
    match inner {
        Some(inner) if !random.one_in(6) => change_value(inner, random),
        Some(inner) => *inner = odd(random),
        None => *value = odd(random),
    }
}

fn odd(random: &mut Random) -> Value {
    let day = |random: &mut Random| {
        json!(format!("{:04}-{:02}-{:02}", random.index(10_000), random.index(14), random.index(33)))
    };
    match random.index(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(random.next()),
        3 => json!(i64::MIN),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!(" "),
        7 => json!("\0"),
        8 => json!("x".repeat(random.index(2000))),
        9 => (0..random.index(200)).fold(json!(1), |inner, _| json!([inner])),
        10 => json!({"a": {"b": MARK}}),
        11 => json!(MARK),
        12 => json!(format!("{}.{:02}", random.next() / 7, random.index(100))),
        13 => json!(format!("-{}", random.index(100_000))),
        14 => day(random),
        _ => json!(char::from_u32(u32::try_from(random.index(0x11_0000)).unwrap_or(0)).unwrap_or('x').to_string()),
    }
}

/// A sample, changed as a document, as bytes, or both.
fn sample(events: &[Value], random: &mut Random) -> (Value, Vec<u8>) {
    let mut event = events[random.index(events.len())].clone();
    let way = random.index(3);
    if way != 0 {
        for _ in 0..=random.index(4) {
            change_value(&mut event, random);
        }
    }
    let mut body = event.to_string().into_bytes();
    if way != 1 {
        change(&mut body, random, &JSON_WORDS);
    }
    (event, body)
}

#[test]
fn json_of_any_kind_is_an_event_or_has_a_reason() {
    let (events, snapshot) = (events(), Snapshot::expert());
    let mut good = 0_u64;
    run("JSON events", 30, |random| {
        let (event, body) = sample(&events, random);
        let read = decode_json(&body);
        assert!(read == decode_json(&body), "not the same twice");
        match read {
            Ok(event) => {
                good += 1;
                use_event(&event, &snapshot);
            }
            Err(rejection) => check_rejection(&rejection),
        }
        // The same as the body of a question to the API.
        if let Err(violation) = read_claim(event["data"].to_string().as_bytes()) {
            assert!(!violation.to_string().contains(MARK), "{violation}");
        }
    });
    assert!(good > 100, "{good} cases were events: too few reach what lies behind the readers");
}

fn odd_text(random: &mut Random, usual: &str) -> String {
    let mut bytes = usual.as_bytes().to_vec();
    if random.one_in(2) {
        change(&mut bytes, random, &[b"application/json", b"claim.submitted.v1", b"1.0", b";", b"/", b".v2", b"\r\n"]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn headers_of_any_kind_name_an_event_or_a_reason() {
    let (events, snapshot) = (events(), Snapshot::expert());
    let media = ["application/cloudevents+json", "application/json", "application/EDI-X12", "text/plain", "", "a/b"];
    run("headers", 25, |random| {
        let event = &events[random.index(events.len())];
        let mut headers = BTreeMap::new();
        for name in ["specversion", "id", "source", "type", "time", "traceparent"] {
            let prefix = random.pick(&["cloudEvents:", "cloudEvents_", "cloudEvents:", ""]);
            if !random.one_in(8) {
                let value = odd_text(random, event[name].as_str().unwrap_or("00-1-2-3"));
                headers.insert(format!("{prefix}{name}"), value);
            }
        }
        for name in ["x-attempt", "x-delivery-count", "timestamp_in_ms", "traceparent"] {
            headers.insert(name.to_owned(), odd_text(random, "17"));
        }
        let texts: [String; 5] = ["claim.submitted", "0191", "claim.submitted.v1", "urn:a", random.pick(&media)]
            .map(|usual| odd_text(random, usual));
        let [routing_key, id, kind, app, content_type] = &texts;
        let meta = MessageMeta {
            content_type: Some(content_type.as_str()).filter(|_| !random.one_in(10)),
            routing_key,
            message_id: Some(id.as_str()).filter(|_| random.one_in(2)),
            type_: Some(kind.as_str()).filter(|_| random.one_in(2)),
            app_id: Some(app.as_str()).filter(|_| random.one_in(2)),
            headers,
        };
        let mut body = if random.one_in(2) { event["data"].to_string() } else { event.to_string() }.into_bytes();
        if random.one_in(3) {
            change(&mut body, random, &JSON_WORDS);
        }
        assert_eq!(is_x12(&meta), is_x12(&meta.clone()));
        let read = decode(&body, &meta);
        assert!(read == decode(&body, &meta), "not the same twice");
        match read {
            Ok(event) => use_event(&event, &snapshot),
            Err(rejection) => check_rejection(&rejection),
        }
        let refused = Rejection::of(Reason::TooLarge, "", &body, &meta);
        assert_eq!(refused.reason, Reason::TooLarge);
    });
}

#[test]
fn deep_and_huge_bodies_are_refused_in_time() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
    let huge = format!(r#"{{"specversion":"1.0","data":{{"totalClaimChargeAmount":{}}}}}"#, "9".repeat(10_000_000));
    let bodies = [deep("[", "]"), deep("{\"data\":", "}"), huge, "\0".repeat(1_000_000), "{\"id\":\"".repeat(200_000)];
    let began = std::time::Instant::now();
    for body in &bodies {
        check_rejection(&decode_json(body.as_bytes()).expect_err("no event"));
        read_claim(body.as_bytes()).expect_err("no claim");
    }
    // As large as a claim may be.
    let mut claim: Value = serde_json::from_str(examples::CLAIM_SUBMITTED).expect("an example");
    let data = &mut claim["data"];
    data["serviceLines"] = vec![data["serviceLines"][0].clone(); 999].into();
    data["diagnosisCodes"] = (0..50).map(|n| format!("E{n:03}")).collect();
    let adjustments: Value = vec![json!({"groupCode": "CO", "reasonCode": "45", "amount": "1.00"}); 1000].into();
    data["otherPayers"] = vec![json!({"payerId": "A", "adjustments": adjustments}); 20].into();
    use_event(&decode_json(claim.to_string().as_bytes()).expect("an event"), &Snapshot::expert());
    let segments = "CLM*A*1~".repeat(500_000);
    for file in [segments.as_str(), &bodies[0], &bodies[3]] {
        let (items, _) = read_all(file.as_bytes());
        assert!(items.iter().all(|item| !matches!(item, Item::Claim(_))));
    }
    assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
}
