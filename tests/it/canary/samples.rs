//! What goes in, with a word in every patient field: files of X12 and events, good ones and one of each way to be bad.

use std::path::PathBuf;

use claimrisk::broker::Outgoing;
use serde_json::{Value, json};

use crate::events::{claim, message, raw, remittance};

/// Stands in every patient field of text.
pub const WORD: &str = "ZQCANARY7K";
/// A day of birth, as events and as X12 write it.
pub const BORN: [&str; 2] = ["1893-07-19", "18930719"];
/// A file of the corpus with the word in each field that says something of a patient.
pub fn x12(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/x12").join(name);
    let mut text = std::fs::read_to_string(path).expect("a file of the corpus");
    for own in ["ZZPHI", "AUTH1", "NOTMINE", "PAYERNO1", "PAYERNO2", "111223333"] {
        text = text.replace(own, WORD);
    }
    for name in ["ANN", "BOB", "CID", "DOT", "EVE"] {
        text = text.replace(&format!("*{name}"), &format!("*{WORD}*{WORD}"));
    }
    for day in ["19800101", "19500505", "20100606"] {
        text = text.replace(day, BORN[1]);
    }
    let more = [
        (
            "DMG*D8*",
            format!("N3*{WORD} STREET*{WORD}~\nN4*{WORD}*NY*10001~\nREF*SY*{WORD}~\nPER*IC*{WORD}*TE*{WORD}~\nDMG*D8*"),
        ),
        ("REF*X4*", format!("REF*9F*{WORD}~\nREF*D9*{WORD}~\nREF*EA*{WORD}~\nK3*{WORD}~\nREF*X4*")),
        ("PWK*OZ*EL~", format!("PWK*OZ*EL***AC*{WORD}~")),
        ("SV1*HC:99213:25*", format!("SV1*HC:99213:25::::{WORD} DONE*")),
        ("MOA***", format!("REF*EA*{WORD}~\nNM1*74*1*{WORD}*{WORD}****C*{WORD}~\nMOA***")),
    ];
    for (place, with) in more {
        text = text.replace(place, &with);
    }
    let segments = text.lines().skip_while(|line| !line.starts_with("ST*")).take_while(|line| !line.starts_with("GE*"));
    let count = segments.count();
    text.lines()
        .map(|line| if line.starts_with("SE*") { format!("SE*{count}*0001~") } else { line.to_owned() })
        .collect()
}

/// Interchanges that are not read whole: cut, and with the word where it makes no sense.
pub fn bad_x12() -> Vec<String> {
    let good = x12("professional_hierarchy.837");
    let odd = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let word = format!("*{WORD}*");
    vec![
        good.chars().take(good.len() - 400).collect(),
        odd("*150***", &format!("*{WORD}***")),
        odd("*D8*20261030", &format!("*D8*{WORD}")),
        odd("HI*ABK:E11.9", &format!("HI*{WORD}:{WORD}")),
        odd("*100*UN*1*", &format!("{word}UN{word}")),
        odd("~LX*1", &format!("~{WORD}*{WORD}~LX*{WORD}")),
        odd("ST*837*0001", &format!("ST*837*{WORD}")),
        format!("{WORD} no interchange at all"),
        x12("remittance.835").replace("*150*100*", &format!("*{WORD}*{WORD}*")),
    ]
}

/// Puts the word into each patient field of a claim.
pub fn mark_claim(event: &mut Value) {
    let data = &mut event["data"];
    for name in ["claimControlNumber", "payerClaimControlNumber", "priorAuthorizationNumber", "referralNumber"] {
        data[name] = json!(format!("{WORD}-{}", name.len()));
    }
    data["subscriber"] =
        json!({"memberId": WORD, "birthDate": BORN[0], "gender": "F", "name": WORD, "address": [WORD]});
    data["serviceLines"][0]["description"] = json!(format!("as {WORD} wished"));
    data["serviceLines"][0]["lineItemControlNumber"] = json!(format!("{WORD}-6R"));
    data["patientName"] = json!({"first": WORD, "last": WORD});
    data[WORD] = json!(WORD);
    event["subject"] = json!(WORD);
}

fn mark_remittance(event: &mut Value) {
    let data = &mut event["data"];
    data["payerClaimControlNumber"] = json!(WORD);
    data["claimControlNumber"] = json!(WORD);
    data["subscriber"] = json!({"memberId": WORD, "birthDate": BORN[0]});
    data["patient"] = json!({"name": WORD});
    data["serviceLines"][0]["lineItemControlNumber"] = json!(format!("{WORD}-6R"));
}

/// Events that are applied, of each type and mode.
pub fn good() -> Vec<Outgoing> {
    let number = |n: u32| format!("{WORD}-{n}");
    let mut acknowledgement: Value =
        serde_json::from_str(claimrisk::wire::examples::CLAIM_ACKNOWLEDGED).expect("an example");
    acknowledgement["data"]["patientControlNumber"] = json!(number(1));
    acknowledgement["data"]["message"] = json!(WORD);
    let mut all: Vec<Outgoing> = (1..=8).map(|n| claim(&format!("c{n}"), &number(n), mark_claim)).collect();
    all.extend((1..=4).map(|n| remittance(&format!("r{n}"), &number(n), mark_remittance)));
    all.push(remittance("r99", &number(99), mark_remittance));
    all.push(message("claim.acknowledged", &acknowledgement));
    for file in ["professional_hierarchy.837", "remittance.835"] {
        all.push(raw("x12.received", "application/EDI-X12", x12(file).into_bytes()));
    }
    // What publishers add of their own.
    for one in &mut all {
        one.headers.insert("x-patient".to_owned(), WORD.to_owned());
        one.headers.insert("cloudEvents:subject".to_owned(), WORD.to_owned());
    }
    all
}

/// Events that end in the dead letters, of each reason.
pub fn bad() -> Vec<Outgoing> {
    let changed = |id: &str, change: &dyn Fn(&mut Value)| {
        claim(id, WORD, |event| {
            mark_claim(event);
            change(event);
        })
    };
    let json = |body: String| raw("claim.submitted", "application/cloudevents+json", body.into_bytes());
    let mut all = vec![
        json(format!(r#"{{"specversion":"1.0","id":"m1","source":"urn:a","data":{{"memberId":"{WORD}"#)),
        json(format!(r#"{{"specversion":"1.0","id":"m2","source":"urn:a","{WORD}":1,"id":"m3"}}"#)),
        json(format!("{WORD} is no JSON")),
        raw("claim.submitted", "application/json", [WORD.as_bytes(), b"\xff\xfe"].concat()),
        changed("s1", &|event| event["data"]["totalClaimChargeAmount"] = json!(WORD)),
        changed("s2", &|event| event["data"]["serviceLines"] = json!(WORD)),
        changed("s3", &|event| event["data"]["subscriber"]["birthDate"] = json!(WORD)),
        changed("s4", &|event| event["data"]["subscriber"]["memberId"] = json!(format!("{WORD}\0"))),
        changed("s5", &|event| event["data"]["patientControlNumber"] = json!(WORD.repeat(40))),
        changed("s6", &|event| event["time"] = json!(WORD)),
        changed("s7", &|event| event["data"]["subscriber"] = json!({"memberId": {WORD: WORD}})),
        changed("v1", &|event| event["type"] = json!("claim.submitted.v2")),
        changed("u1", &|event| event["type"] = json!(format!("patient.{WORD}"))),
        changed("i1", &|event| event["data"]["patientControlNumber"] = json!(null)),
        changed("l1", &|event| event["data"]["note"] = json!(WORD.repeat(20_000))),
        // The same id as a good one, with another body.
        changed("c1", &|event| event["data"]["totalClaimChargeAmount"] = json!("123.45")),
        // PostgreSQL refuses this one, and quotes it: see `quoting_trigger`.
        changed("d1", &|event| event["data"]["totalClaimChargeAmount"] = json!("666.66")),
    ];
    let mut tried = changed("t1", &|_| {});
    tried.headers.insert("x-attempt".to_owned(), "99".to_owned());
    all.push(tried);
    all.extend(bad_x12().into_iter().map(|text| raw("x12.received", "application/EDI-X12", text.into_bytes())));
    for one in &mut all {
        one.headers.insert("x-patient".to_owned(), WORD.to_owned());
        one.headers.insert("cloudEvents_subject".to_owned(), WORD.to_owned());
    }
    all
}
