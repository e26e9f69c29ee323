//! The dashboards on a real Prometheus that scrapes a real worker and the real broker: every query of every panel,
//! annotation and variable is asked, under load and under faults, and must have an answer.
//!
//! A panel that nothing ever moved may be broken and look healthy: each has to show something other than zero in one of
//! the two runs, but for those named here.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use claimrisk::broker::{Outgoing, Publisher};
use claimrisk::config::SecretUrl;
use claimrisk::flow::split::message_of;
use claimrisk::metrics::{CATALOGUE, Kind};
use claimrisk::servers::{Options as ServerOptions, Prometheus, Servers};
use claimrisk::simulate::{Options, simulate};
use claimrisk::wire::{Event, Payload, x12_event};
use serde_json::Value;

use crate::files::{Placed, all_queries, dashboards, list, substituted, text};
use crate::harness::{Place, Worker, eventually, try_get};

/// Queries that these runs leave at zero, and why.
const ZERO: [(&str, &str); 5] = [
    ("Confirms", "a scrape seldom falls into the milliseconds of a confirm"),
    ("Messages unaccounted for", "must be zero"),
    ("Alarms of the broker", "would need a full disk"),
    ("Waiting", "the broker tells it every five seconds only, and workers take what is there"),
    ("Errors of PostgreSQL, B", "nobody waits for a connection that long here"),
];

/// What has an answer only once something went wrong.
const SILENT_WHILE_WELL: [&str; 1] = [", Alerts, "];

/// So many claims with their remittances, each claim before what was paid for it.
pub fn events(claims: u32) -> Vec<Event> {
    let simulation = simulate(&Options { claims, seed: 11, ..Options::default() });
    let claims = simulation.claims.iter().map(|c| (c.submitted, Payload::Claim(Box::new(c.claim.clone()))));
    let remittances =
        simulation.remittances.iter().map(|r| (r.time, Payload::Remittance(Box::new(r.remittance.clone()))));
    let mut all: Vec<_> = claims.chain(remittances).collect();
    all.sort_by_key(|(time, _)| *time);
    // The last payments come first, and wait for claims that are not sent here.
    all.rotate_right(5);
    all.into_iter().map(|(time, payload)| x12_event(payload, Some(time))).collect()
}

/// Publishes a part of the events every fifth of a second, and reads through the API, for so many rounds.
async fn load(place: &Place, worker: &Worker, events: &mut std::vec::IntoIter<Event>, rounds: u32) {
    for round in 0..rounds {
        let part: Vec<Outgoing> = events.by_ref().take(12).map(|event| message_of(&event)).collect();
        place.publish(&part).await;
        for path in [
            format!("/api/v1/risk/{}", round % 40 + 1),
            format!("/api/v1/claims/{}", round % 40 + 1),
            format!("/api/v1/remits/{}", round % 10 + 1),
            format!("/api/v1/episodes/{}", round % 10 + 1),
            "/api/v1/claims?limit=5".to_owned(),
        ] {
            worker.get(&path).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A Prometheus that scrapes the workers and the broker every second and evaluates the rules.
pub async fn prometheus(servers: &Servers, workers: &[&Worker]) -> Prometheus {
    let targets: Vec<String> = workers.iter().map(|worker| format!("\"127.0.0.1:{}\"", worker.metrics)).collect();
    let targets = targets.join(", ");
    let broker = servers.rabbitmq.prometheus_url();
    let broker = broker.trim_start_matches("http://").trim_end_matches("/metrics");
    let rules = format!("{}/deploy/prometheus/rules/claimrisk.yml", env!("CARGO_MANIFEST_DIR"));
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [\"{rules}\"]\n\
         scrape_configs:\n\
         - {{job_name: claimrisk, static_configs: [{{targets: [{targets}]}}]}}\n\
         - {{job_name: rabbitmq, static_configs: [{{targets: [\"{broker}\"]}}]}}\n\
         - {{job_name: rabbitmq-queues, metrics_path: /metrics/detailed, \
             params: {{family: [queue_coarse_metrics, queue_consumer_count]}}, \
             static_configs: [{{targets: [\"{broker}\"]}}]}}\n",
    );
    Prometheus::start_with_configuration(&ServerOptions::default(), &configuration).await.expect("Prometheus starts")
}

/// A text as a part of an address.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Largest distance from zero in the answers of a query over the last seconds; none when there is no finite answer.
async fn answer(prometheus: &Prometheus, placed: &Placed) -> Option<f64> {
    let expr = encoded(&substituted(&placed.expr, "10s", "30s", "8s"));
    let now = chrono::Utc::now().timestamp();
    let path = match placed.instant {
        true => format!("/api/v1/query?query={expr}&time={now}"),
        false => format!("/api/v1/query_range?query={expr}&start={}&end={now}&step=1", now - 6),
    };
    let body = prometheus.get(&path).await.unwrap_or_else(|error| panic!("{}: {error}", placed.place));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let mut largest: Option<f64> = None;
    for series in list(&body, "/data/result") {
        let points = list(series, "/values").iter().chain(series.get("value"));
        for value in points.map(|point| text(point, "/1").parse::<f64>().expect("a number")) {
            assert!(!value.is_infinite(), "{}: infinite", placed.place);
            if value.is_finite() {
                largest = Some(largest.unwrap_or(0.0).max(value.abs()));
            }
        }
    }
    largest
}

/// Asks every query; the answers by place.
async fn ask_all(prometheus: &Prometheus) -> BTreeMap<String, Option<f64>> {
    let mut answers = BTreeMap::new();
    for placed in all_queries() {
        answers.insert(placed.place.clone(), answer(prometheus, &placed).await);
    }
    answers
}

/// Asks for the values of every variable.
async fn ask_variables(prometheus: &Prometheus) -> usize {
    let mut asked = 0;
    for (name, dashboard) in dashboards() {
        for variable in list(&dashboard, "/templating/list") {
            let Some(call) = text(variable, "/query/query").strip_prefix("label_values(") else { continue };
            let (selector, label) = call.trim_end_matches(')').rsplit_once(", ").expect("label_values(metric, label)");
            let selector = encoded(&substituted(selector, "10s", "30s", "8s"));
            let body =
                prometheus.get(&format!("/api/v1/label/{label}/values?match[]={selector}")).await.expect("values");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert!(!list(&body, "/data").is_empty(), "{name}: {label} has no values");
            asked += 1;
        }
    }
    asked
}

/// The scrape itself: everything that is in the catalogue, nothing that is not, in good form, and not too much.
#[expect(clippy::print_stderr, reason = "the number is what people ask for")]
async fn check_scrape(worker: &Worker) {
    let (_, body) = try_get(&format!("http://127.0.0.1:{}/metrics", worker.metrics)).await.expect("metrics");
    let body = String::from_utf8(body).expect("text");
    let types: BTreeMap<&str, &str> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let expected: BTreeMap<&str, &str> = CATALOGUE
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (metric.name, kind)
        })
        .collect();
    assert_eq!(types, expected, "what is scraped and the catalogue");
    let series = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    assert!(series < 2000, "{series} series");
    eprintln!("{series} series of {} metrics in one scrape", types.len());
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool comes with Debian's package prometheus");
    promtool.stdin.take().expect("stdin").write_all(body.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Rules that Prometheus could not evaluate.
async fn check_rules(prometheus: &Prometheus) {
    let body: Value = serde_json::from_str(&prometheus.get("/api/v1/rules").await.expect("rules")).expect("JSON");
    let rules: Vec<&Value> = list(&body, "/data/groups").iter().flat_map(|group| list(group, "/rules")).collect();
    assert!(rules.len() > 20, "{} rules", rules.len());
    for rule in rules {
        assert_eq!(text(rule, "/health"), "ok", "{}: {}", text(rule, "/name"), text(rule, "/lastError"));
    }
}

#[expect(clippy::print_stderr, reason = "the numbers are what people ask for")]
#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_is_answered_and_moves() {
    let servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let amqp = servers.rabbitmq.add_vhost("own").await.expect("vhost");
    let database = servers.postgres.create_database("own").await.expect("database");
    let place = Place::prepare(amqp, database, servers.redis.url(0), "own".to_owned()).await;
    let worker = place.worker(&[("CLAIMRISK_MODEL_PUBLISH_LABELS", "1")]).await;
    let prometheus = prometheus(&servers, &[&worker]).await;
    let mut events = events(1500).into_iter();

    load(&place, &worker, &mut events, 100).await;
    check_scrape(&worker).await;
    let variables = ask_variables(&prometheus).await;
    let healthy = ask_all(&prometheus).await;
    check_rules(&prometheus).await;
    let silent = |place: &str| SILENT_WHILE_WELL.iter().any(|name| place.contains(name));
    let empty: Vec<&String> =
        healthy.iter().filter(|(place, value)| value.is_none() && !silent(place)).map(|(place, _)| place).collect();
    assert!(empty.is_empty(), "no answer under load: {empty:#?}");

    let place =
        break_servers(&servers, place, events.by_ref().take(60).map(|event| message_of(&event)).collect()).await;
    load(&place, &worker, &mut events, 10).await;
    let mut faulty = ask_all(&prometheus).await;
    servers.redis.pause();
    load(&place, &worker, &mut events, 20).await;
    for (place, value) in ask_all(&prometheus).await {
        let known = faulty.entry(place).or_default();
        *known = Some(known.unwrap_or(0.0).max(value.unwrap_or(0.0)));
    }
    servers.redis.resume();
    let settled = async || worker.sum("claimrisk_cache_doubtful_entries").await == 0;
    eventually("no entry is in doubt", settled, || worker.log()).await;
    assert!(worker.sum("claimrisk_cache_removed_later_total").await > 0, "old values were removed later");

    let moved = |place: &str| healthy[place].unwrap_or(0.0) > 0.0 || faulty[place].unwrap_or(0.0) > 0.0;
    let is_zero = |place: &str| ZERO.iter().any(|(name, _)| place.contains(name));
    let still: Vec<&String> = healthy.keys().filter(|place| !moved(place) && !is_zero(place)).collect();
    assert!(still.is_empty(), "at zero under load and under faults: {still:#?}");
    let panels = dashboards().values().map(|dashboard| crate::files::drawn(dashboard).count()).sum::<usize>();
    eprintln!("{panels} panels, {} queries, {variables} variables: all answered", healthy.len());
    drop(prometheus);
    assert_eq!(worker.terminate(), 0);
    servers.stop().await;
}

/// An empty cache, values that are none of ours, a bad event, sessions that PostgreSQL ends, and events whose connection is cut while they are worked on.
pub async fn break_servers(servers: &Servers, place: Place, messages: Vec<Outgoing>) -> Place {
    let redis = redis::Client::open(place.redis_url.clone()).expect("URL");
    let mut redis = redis.get_multiplexed_async_connection().await.expect("Redis");
    redis::cmd("FLUSHDB").exec_async(&mut redis).await.expect("flushed");
    for claim in 1..=10 {
        let key = format!("claimrisk:claim:{claim}");
        redis::cmd("SET").arg(key).arg("garbage").exec_async(&mut redis).await.expect("poisoned");
    }
    let bad = Outgoing { body: b"{".to_vec(), ..messages[0].clone() };
    place.publish(&[bad]).await;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'claimrisk' AND datname = current_database()",
    )
    .execute(&place.pool)
    .await
    .expect("terminated");
    let mut blocker = place.pool.begin().await.expect("transaction");
    sqlx::query("LOCK TABLE claim_submissions, remittances IN EXCLUSIVE MODE")
        .execute(&mut *blocker)
        .await
        .expect("locked");
    place.publish(&messages).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    servers.rabbitmq.ctl(&["close_all_connections", "--vhost", &place.vhost, "test"]).await.expect("closed");
    blocker.rollback().await.expect("released");
    let publisher = Publisher::new(SecretUrl::new(place.amqp_url.clone()), "tests");
    Place { publisher, ..place }
}
