//! New claims go into the cache as they were stored, without being read back: that must be what reading them back gives.

use claimrisk::simulate::{Options, simulate};

use crate::events::{claim, quiet};
use crate::harness::{Place, eventually};
use crate::truth::messages;

/// Claims with what seldom is: lists with blanks, fractions of units, amounts below zero, letters of other languages.
fn odd() -> Vec<claimrisk::broker::Outgoing> {
    let odd = |id: &str, change: &dyn Fn(&mut serde_json::Value)| {
        claim(id, &format!("PCN-{id}"), |event| change(&mut event["data"]))
    };
    vec![
        odd("units", &|data| data["serviceLines"][0]["serviceUnitCount"] = "1.250".into()),
        odd("blanks", &|data| data["serviceLines"][0]["procedureModifiers"] = serde_json::json!(["", " "])),
        odd("below", &|data| data["totalClaimChargeAmount"] = "-0.05".into()),
        odd("large", &|data| data["totalClaimChargeAmount"] = "999999999999.99".into()),
        odd("letters", &|data| data["claimControlNumber"] = "Ä\\\"č漢 ".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_claim_is_cached_as_it_would_be_read() {
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_API_REQUESTS_PER_MINUTE", "1000000")]).await;
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/x12");
    // Some files of the corpus are broken on purpose: that is told, and the rest is published.
    let published = place.run(&["publish", corpus, "--practice", "P1"]);
    assert!(matches!(published.status.code(), Some(0 | 65)), "{published:?}");
    let simulated = simulate(&Options { claims: 300, seed: 5, ..Options::default() });
    let claims = messages(&simulated).into_iter().filter(|message| message.routing_key == "claim.submitted");
    let events: Vec<_> = claims.chain(odd()).collect();
    place.publish(&events).await;
    let applied = async || place.count("SELECT count(*) FROM ingest_events").await >= events.len() as i64;
    eventually("events applied", applied, || worker.log()).await;
    quiet(&place, &[&worker]).await;

    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM claims ORDER BY id").fetch_all(&place.pool).await.expect("ids");
    let fresh = place.count("SELECT count(*) FROM claims WHERE revision = 1").await;
    assert!(fresh > 250, "only {fresh} of {} claims were stored once", ids.len());
    let paths: Vec<String> =
        ids.iter().flat_map(|id| [format!("/api/v1/claims/{id}"), format!("/api/v1/risk/{id}")]).collect();
    let mut cached = Vec::new();
    for path in &paths {
        cached.push(worker.get(path).await);
    }
    let metrics = worker.metrics().await;
    let served = metrics.iter().filter(|(name, _)| {
        name.contains(r#"result="hit""#)
            && (name.contains(r#"entity="claim""#) || name.contains(r#"entity="risk_score""#))
    });
    assert_eq!(served.map(|(_, count)| *count as usize).sum::<usize>(), paths.len(), "all were in the cache");

    let client = redis::Client::open(place.redis_url.as_str()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
    redis::cmd("FLUSHDB").query_async::<()>(&mut redis).await.expect("empty");
    for (path, (status, cached)) in paths.iter().zip(cached) {
        assert_eq!((status, &cached), (200, &worker.get(path).await.1), "{path}");
    }
}
