//! The hit rates that clinics at work get: 200,000 claims stored, a Redis of 256 MB, default lifetimes, and
//! `claimrisk load --profile clinic`; as the cache stands after the claims came in, and once more after it was emptied.
//! Run by `make hit-rates`.

use claimrisk::servers::{Options as ServerOptions, Servers};
use claimrisk::simulate::{Options, simulate};
use serde_json::Value;

use crate::events::quiet;
use crate::harness::{Place, Worker, assert_success, setting};
use crate::truth::messages;

/// Entities that have a target.
const WITH_TARGET: usize = 5;
const REDIS_MEMORY: &str = "256mb";

/// One run of the load: entity, hit rate and target, between 0 and 1, of the entities that have a target.
fn hit_rates(place: &Place, worker: &Worker, seed: &str) -> Vec<(String, f64, f64)> {
    let url = format!("http://127.0.0.1:{}", worker.http);
    let requests = setting("CLAIMRISK_CLINIC_REQUESTS").unwrap_or(50_000).to_string();
    let load = ["load", "--profile", "clinic", "--requests", &requests, "--seed", seed, "--url", &url];
    let output = place.run(&[&load[..], &["--concurrent", "20", "--output", "json"]].concat());
    assert_success(&output);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = told["cache"].as_array().expect("rows").iter();
    let with_target = rows.filter(|row| row["target"].is_number());
    with_target
        .map(|row| {
            let rate = row["hit_rate"].as_f64().unwrap_or_else(|| panic!("no look-ups: {row}"));
            (row["entity"].as_str().expect("a name").to_owned(), rate, row["target"].as_f64().expect("a number"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run by `make hit-rates`"]
#[expect(clippy::print_stdout, reason = "the rates are what is asked for")]
async fn clinics_get_the_hit_rates_that_are_promised() {
    let servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let amqp = servers.rabbitmq.add_vhost("own").await.expect("vhost");
    let database = servers.postgres.create_database("own").await.expect("database");
    let place = Place::prepare(amqp, database, servers.redis.url(0), "own".to_owned()).await;
    let redis = redis::Client::open(place.redis_url.clone()).expect("URL");
    let mut redis = redis.get_multiplexed_async_connection().await.expect("Redis");
    for (name, value) in [("maxmemory", REDIS_MEMORY), ("maxmemory-policy", "allkeys-lru")] {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec_async(&mut redis).await.expect("set");
    }
    let worker = place.worker(&[]).await;
    let claims = setting("CLAIMRISK_CLINIC_CLAIMS").unwrap_or(200_000);
    let options = Options { claims: u32::try_from(claims).expect("a number of claims"), seed: 5, ..Options::default() };
    let all = messages(&simulate(&options));
    let mut sent = 0;
    for part in all.chunks(10_000) {
        place.publish(part).await;
        sent += i64::try_from(part.len()).expect("a number of events");
        place.wait_count("SELECT count(*) FROM ingest_events", sent).await;
    }
    drop(all);
    quiet(&place, &[&worker]).await;

    let mut told = Vec::new();
    for state in ["as the claims left it", "emptied"] {
        if state == "emptied" {
            redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("emptied");
        }
        told.push((state, hit_rates(&place, &worker, if state == "emptied" { "2" } else { "1" })));
    }
    println!("{claims} claims, Redis of {REDIS_MEMORY}; hit rates in percent:");
    for (state, rates) in &told {
        assert_eq!(rates.len(), WITH_TARGET, "{rates:?}");
        for (entity, rate, target) in rates {
            println!("cache {state}, {entity}: {:.1}, wanted {:.0}", rate * 100.0, target * 100.0);
        }
    }
    let missed = told.iter().flat_map(|(_, rates)| rates).find(|(_, rate, target)| rate < target);
    assert!(missed.is_none(), "{missed:?}");
    assert_eq!(worker.terminate(), 0);
    servers.stop().await;
}
