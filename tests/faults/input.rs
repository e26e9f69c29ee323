//! What comes in is bad, large, doubled, out of order, from the wrong time or from the future: faults 18, 19, 21 to 23, 29.

use std::time::Duration;

use claimrisk::broker::Outgoing;
use serde_json::{Value, json};

use crate::events::{claim, raw, remittance};
use crate::harness::Worker;
use crate::ledger::{Ledger, dead_letters};
use crate::matrix::play;
use crate::scene::{Scene, shuffled, world};

fn bytes(body: Vec<u8>) -> Outgoing {
    raw("claim.submitted", "application/cloudevents+json", body)
}

/// A claim event with one field changed to text that stands for itself.
fn with_raw(id: &str, from: &str, to: &str) -> Outgoing {
    let event = claim(id, &format!("PCN-{id}"), |_| {});
    let text = String::from_utf8(event.body).expect("text");
    assert!(text.contains(from), "{from}");
    bytes(text.replacen(from, to, 1).into_bytes())
}

/// Bad bodies with the reasons they must be given.
fn bad_bodies() -> Vec<(&'static str, Outgoing)> {
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut cut = claim("cut", "PCN-CUT-1", |_| {}).body;
    cut.truncate(cut.len() / 2);
    let mut not_text = claim("utf", "PCN-UTF-1", |_| {}).body;
    let middle = not_text.len() / 2;
    not_text[middle] = 0xff;
    let mut trailing = claim("trail", "PCN-TRAIL-1", |_| {}).body;
    trailing.extend_from_slice(b"}garbage");
    let charge = "\"totalClaimChargeAmount\":\"800.00\"";
    let charged = |id: &str, amount: &str| with_raw(id, charge, &format!("\"totalClaimChargeAmount\":{amount}"));
    vec![
        ("malformed", bytes(Vec::new())),
        ("malformed", bytes(vec![0; 1000])),
        ("malformed", bytes(cut)),
        ("malformed", bytes(not_text)),
        ("malformed", bytes(trailing)),
        ("malformed", bytes(nested.clone().into_bytes())),
        ("malformed", with_raw("deep", "\"diagnosisCodes\":[", &format!("\"diagnosisCodes\":[{nested},"))),
        ("malformed", charged("nan", "NaN")),
        ("schema_invalid", charged("over", "\"99999999999999999999999.00\"")),
        ("malformed", charged("exp", "1e400")),
        ("schema_invalid", charged("float", "800.0")),
        ("schema_invalid", with_raw("type", "\"diagnosisCodes\":[", "\"diagnosisCodes\":7,\"x\":[")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_18_bad_bodies() {
    play(18, async {
        let (world, scene) = (world().await, Scene::new().await);
        let worker = scene.worker(&[("CLAIMRISK_BATCH_MESSAGES", "500"), ("CLAIMRISK_BATCH_AGE_MS", "200")]).await;
        let mut all = shuffled(world, 18);
        let bad = bad_bodies();
        let count = bad.len();
        let mut expected = std::collections::BTreeMap::new();
        for (at, (reason, message)) in bad.into_iter().enumerate() {
            *expected.entry(reason).or_insert(0) += 1;
            all.insert(at * 20 + 10, message);
        }
        // What PostgreSQL refuses in a text: refused by us, with a reason, or stored without it.
        all.insert(5, with_raw("nul", "\"PCN-nul\"", "\"PCN-\\u0000nul\""));
        *expected.entry("schema_invalid").or_insert(0) += 1;
        scene.place.publish(&all).await;
        scene.wait_applied(world.messages.len() as i64).await;
        let dead: Vec<(&str, usize)> = expected.into_iter().collect();
        Ledger { dead: &dead, ..Ledger::of_world(&scene, &[&worker], &all) }.check().await;
        assert_eq!(worker.terminate(), 0);
        format!("{} bad ones, each dead alone", count + 1)
    })
    .await;
}

/// An interchange of many megabytes: the simulator's, with its claims written again and again under other numbers.
fn large_interchange(megabytes: usize) -> (Vec<u8>, usize) {
    let simulation =
        claimrisk::simulate::simulate(&claimrisk::simulate::Options { claims: 20, seed: 9, ..Default::default() });
    let folder = std::env::temp_dir().join(format!("claimrisk-faults-x12-{}", std::process::id()));
    claimrisk::simulate::write_dir(&simulation, &folder, claimrisk::simulate::Format::X12).expect("written");
    let mut files: Vec<Vec<u8>> = std::fs::read_dir(&folder)
        .expect("folder")
        .map(|entry| std::fs::read(entry.expect("entry").path()).expect("file"))
        .filter(|text| text.windows(6).any(|window| window == b"ST*837"))
        .collect();
    std::fs::remove_dir_all(folder).expect("removed");
    let text = String::from_utf8(files.swap_remove(0)).expect("text");
    // Segments that nobody asks for, within the first claim: notes.
    let at = text.find("CLM*").expect("a claim");
    let (before, after) = text.split_at(at);
    let end = after.find('~').expect("an end") + 1;
    let (clm, rest) = after.split_at(end);
    let note = format!("NTE*ADD*{}~\n", "PADDING ".repeat(9));
    let padding = note.repeat(megabytes * 1024 * 1024 / note.len());
    (format!("{before}{clm}{padding}{rest}").into_bytes(), text.matches("CLM*").count())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a gigabyte through the broker and back takes half a minute"]
async fn fault_19_huge_messages() {
    play(19, async {
        const EVENTS: usize = 8;
        let scene = Scene::new().await;
        let worker = scene.worker(&[]).await;
        let lost = worker.sum("claimrisk_broker_connections_lost_total").await;
        let huge = claim("huge", "PCN-HUGE-1", |event| event["data"]["note"] = json!("x".repeat(50 * 1024 * 1024)));
        for _ in 0..EVENTS {
            scene.place.publish(std::slice::from_ref(&huge)).await;
        }
        let (interchange, claims) = large_interchange(50);
        let interchange = raw("x12.received", "application/EDI-X12", interchange);
        scene.place.publish(std::slice::from_ref(&interchange)).await;
        let small = claim("small", "PCN-SMALL-1", |_| {});
        scene.place.publish(std::slice::from_ref(&small)).await;
        scene.wait_applied(claims as i64 + 1).await;
        crate::events::quiet(&scene.place, &[&worker]).await;
        let peak = crate::ledger::peak_memory(worker.pid());
        let letters = dead_letters(&scene).await;
        assert!(
            letters.len() >= EVENTS && letters.iter().all(|letter| letter.reason == "too_large"),
            "{}",
            letters.len()
        );
        assert!(letters.iter().all(|letter| letter.body.len() == huge.body.len()), "bodies are whole");
        assert!(peak < 600, "{peak} MiB");
        let lost = worker.sum("claimrisk_broker_connections_lost_total").await - lost;
        assert_eq!(lost, 0, "connections lost");
        assert!(worker.readiness().await.0);
        assert_eq!(scene.applied().await, claims as i64 + 1);

        assert_eq!(worker.terminate(), 0);
        format!("{EVENTS} events and one interchange of {claims} claims, 50 MB each; {peak} MiB at most")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_21_same_id_again() {
    play(21, async {
        let (world, scene) = (world().await, Scene::new().await);
        let (one, two) = (scene.worker(&[]).await, scene.worker(&[]).await);
        let mut all = shuffled(world, 21);
        let doubles: Vec<Outgoing> = all.iter().step_by(2).cloned().collect();
        all.extend(doubles);
        scene.place.publish(&all).await;
        scene.wait_applied(world.messages.len() as i64).await;
        crate::events::quiet(&scene.place, &[&one, &two]).await;
        // The same id with other bodies.
        let conflicts: Vec<Outgoing> = (0..5)
            .map(|at| {
                let mut changed = world.messages[at].clone();
                let mut event: Value = serde_json::from_slice(&changed.body).expect("JSON");
                event["data"]["totalClaimChargeAmount"] = json!("1.00");
                changed.body = event.to_string().into_bytes();
                changed
            })
            .collect();
        scene.place.publish(&conflicts).await;
        let duplicates = async || crate::crash::duplicates(&one).await + crate::crash::duplicates(&two).await;
        let dead = [("id_conflict", 5)];
        let workers = [&one, &two];
        Ledger { dead: &dead, ..Ledger::of_world(&scene, &workers, &all) }.check().await;
        let duplicates = duplicates().await;
        assert_eq!(duplicates as usize, all.len() - world.messages.len());
        // The same claim under a new id is a new version of it, not another claim: the money counts once.
        let charges = "SELECT (sum(total_charge_amount) * 100)::bigint FROM claims";
        let before = scene.place.count(charges).await;
        let mut again = world.messages[0].clone();
        let mut event: Value = serde_json::from_slice(&again.body).expect("JSON");
        event["id"] = json!("another-id");
        again.message_id = Some("another-id".to_owned());
        again.body = event.to_string().into_bytes();
        scene.place.publish(&[again]).await;
        scene.wait_applied(world.messages.len() as i64 + 1).await;
        assert_eq!(scene.place.count(charges).await, before);
        assert_eq!((one.terminate(), two.terminate()), (0, 0));
        format!("{duplicates} duplicates, 5 conflicts, one claim under a new id")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_22_any_order() {
    play(22, async {
        let (world, scene) = (world().await, Scene::new().await);
        let (one, two) = (scene.worker(&[]).await, scene.worker(&[]).await);
        // Remittances before their claims, the last before the first.
        let mut all = world.messages.clone();
        all.reverse();
        let remittances = all.iter().filter(|message| message.routing_key == "remittance.received").count();
        let (first, second) = all.split_at(remittances);
        scene.place.publish(first).await;
        scene.wait_applied(remittances as i64).await;
        let parked = scene.place.count("SELECT count(*) FROM ingest_events WHERE result = 'parked'").await;
        let linked = scene.place.count("SELECT count(*) FROM remittances WHERE claim_id IS NOT NULL").await;
        assert!(parked > 100 && linked == 0, "{parked} parked, {linked} linked to nothing");
        scene.database.delay(Duration::from_millis(6));
        let mut second = second.to_vec();
        crate::truth::shuffle(&mut second, 22);
        scene.place.publish(&second).await;
        scene.wait_applied(all.len() as i64).await;
        scene.database.pass();
        scene.place.wait_count("SELECT count(*) FROM ingest_events WHERE result = 'parked'", 0).await;
        Ledger::of_world(&scene, &[&one, &two], &all).check().await;
        assert_eq!((one.terminate(), two.terminate()), (0, 0));
        format!("{parked} remittances parked, all joined")
    })
    .await;
}

/// The claim of a number, dated and stamped as told.
fn dated(id: &str, number: &str, year: u32, stamp: Option<u64>, header: Option<&str>) -> Outgoing {
    let mut event = claim(id, number, |event| {
        event["time"] = json!(format!("{year}-11-02T05:50:21Z"));
        event["data"]["totalClaimChargeAmount"] = json!(format!("{}.00", year - 1500));
    });
    event.timestamp = stamp;
    event.headers.extend(header.map(|text| ("timestamp_in_ms".to_owned(), text.to_owned())));
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_23_wrong_clocks() {
    play(23, async {
        let scene = Scene::new().await;
        let worker = scene.worker(&[]).await;
        let stamps = [None, Some(0), Some(1_400_000_000), Some(2_200_000_000), Some(u64::MAX)];
        let headers = [None, Some("-5"), Some("9223372036854775807"), Some("2200000000000"), Some("yesterday")];
        let mut all = Vec::new();
        for (at, year) in [2016, 2036, 2026, 2006, 2046].into_iter().enumerate() {
            for (of, number) in ["PCN-CLOCK-1", "PCN-CLOCK-2"].into_iter().enumerate() {
                let header = headers[(at + of) % headers.len()];
                all.push(dated(&format!("{number}-{year}"), number, year, stamps[at], header));
            }
        }
        scene.place.publish(&all).await;
        scene.wait_applied(all.len() as i64).await;
        Ledger { whole_world: false, ..Ledger::of_world(&scene, &[&worker], &all) }.check().await;
        // The newest by its own time stands, whichever came last.
        let newest = scene.place.count("SELECT count(*) FROM claims WHERE total_charge_amount = 546.00").await;
        assert_eq!(newest, 2, "the version of 2046");
        sane_durations(&worker).await;
        let client = redis::Client::open(scene.place.redis_url.as_str()).expect("URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
        let keys: Vec<String> = redis::cmd("KEYS").arg("claimrisk:*").query_async(&mut connection).await.expect("keys");
        for key in &keys {
            let lifetime: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.expect("lifetime");
            assert!((1..=86_400 * 11 / 10).contains(&lifetime), "{key}: {lifetime}");
        }
        assert_eq!(worker.terminate(), 0);
        format!("{} events from 2006 to 2046, {} lifetimes sane", all.len(), keys.len())
    })
    .await;
}

/// No duration is negative or a number that is none.
async fn sane_durations(worker: &Worker) {
    for (name, value) in worker.metrics().await {
        assert!(value >= 0.0 || !name.contains("_seconds"), "{name} {value}");
    }
    let future = worker.metrics().await[r#"claimrisk_message_clock_total{source="future"}"#];
    assert!(future > 0.0, "times ahead of ours are counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_29_new_major_version() {
    play(29, async {
        let (world, scene) = (world().await, Scene::new().await);
        let worker = scene.worker(&[]).await;
        let mut all = shuffled(world, 29);
        let new: Vec<Outgoing> = (0..4)
            .map(|at| {
                let change = |event: &mut Value| {
                    event["type"] = json!(if at % 2 == 0 { "claim.submitted.v2" } else { "remittance.received.v2" });
                    event["data"]["fromTheFuture"] = json!({"shape": [1, 2, {"deep": true}]});
                };
                let (id, number) = (format!("new{at}"), format!("PCN-NEW-{at}"));
                if at % 2 == 0 { claim(&id, &number, change) } else { remittance(&id, &number, change) }
            })
            .collect();
        for (at, message) in new.iter().enumerate() {
            all.insert(at * 90 + 7, message.clone());
        }
        scene.place.publish(&all).await;
        scene.wait_applied(world.messages.len() as i64).await;
        let dead = [("unsupported_version", 4)];
        Ledger { dead: &dead, ..Ledger::of_world(&scene, &[&worker], &all) }.check().await;
        let letters = dead_letters(&scene).await;
        for message in &new {
            let whole = letters.iter().any(|letter| letter.body == message.body);
            assert!(whole, "a body is kept whole, byte by byte, for the worker that can read it");
        }
        assert_eq!(worker.terminate(), 0);
        format!("{} of version 2 kept whole", new.len())
    })
    .await;
}
