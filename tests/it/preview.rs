//! Answers of a real Prometheus to every panel of every dashboard, as files that `make dashboards-preview` draws: some
//! minutes of two workers under load, with a fault in the middle.
//!
//! Must never: make up a number, or touch any server but its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use claimrisk::broker::Outgoing;
use claimrisk::flow::split::message_of;
use claimrisk::servers::{Options as ServerOptions, Prometheus, Servers};
use claimrisk::wire::Event;
use serde_json::{Value, json};

use crate::files::{dashboards, drawn, list, substituted, text};
use crate::harness::{Place, Worker, eventually};
use crate::observability::{break_servers, encoded, events, prometheus};

/// Seconds between two points of a chart.
const STEP: i64 = 2;
/// What stands for `$__rate_interval`: the broker renews its own numbers every five seconds.
const RATE_INTERVAL: &str = "12s";
/// What stands for `$window`, which people set to a day or more.
const WINDOW: &str = "1m";

/// Publishes in waves and reads what people would look at, newer claims more than older ones, for so many seconds.
async fn load(place: &Place, worker: &Worker, events: &mut std::vec::IntoIter<Event>, seconds: u64) {
    let began = Instant::now();
    let mut turn = 0_u32;
    while began.elapsed() < Duration::from_secs(seconds) {
        turn += 1;
        let wave = (began.elapsed().as_secs_f64() / 9.0).sin();
        let part: Vec<Outgoing> =
            events.by_ref().take((11.0 + 6.0 * wave) as usize).map(|event| message_of(&event)).collect();
        place.publish(&part).await;
        let claims = place.count("SELECT coalesce(max(id), 1) FROM claims").await as f64;
        for look in 0..6 {
            let place = (f64::from(turn * 6 + look) * 0.618_034).fract();
            let id = (claims * (1.0 - 0.7 * place * place)).max(1.0) as u64;
            worker.get(&format!("/api/v1/risk/{id}")).await;
            worker.get(&format!("/api/v1/claims/{id}")).await;
            if look % 3 == 0 {
                worker.get(&format!("/api/v1/remits/{}", id / 2 + 1)).await;
                worker.get(&format!("/api/v1/episodes/{id}")).await;
                worker.get(&format!("/api/v1/patterns/payer/{}", id % 12 + 1)).await;
            }
        }
        worker.get("/api/v1/claims?limit=5").await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// The period that is drawn.
struct Shown {
    from: i64,
    to: i64,
}

impl Shown {
    /// What Prometheus answers to a query.
    async fn answer(&self, prometheus: &Prometheus, expr: &str, instant: bool) -> Value {
        let expr = encoded(&substituted(expr, RATE_INTERVAL, &format!("{}s", self.to - self.from), WINDOW));
        let path = match instant {
            true => format!("/api/v1/query?query={expr}&time={}", self.to),
            false => format!("/api/v1/query_range?query={expr}&start={}&end={}&step={STEP}", self.from, self.to),
        };
        let body = prometheus.get(&path).await.unwrap_or_else(|error| panic!("{expr}: {error}"));
        serde_json::from_str::<Value>(&body).expect("JSON")["data"]["result"].take()
    }

    /// The values of a variable over which a panel is repeated; one empty value for a panel that is not.
    async fn values(&self, prometheus: &Prometheus, dashboard: &Value, panel: &Value) -> Vec<String> {
        let name = text(panel, "/repeat");
        let Some(variable) = list(dashboard, "/templating/list").iter().find(|found| text(found, "/name") == name)
        else {
            return vec![String::new()];
        };
        let call = text(variable, "/query/query").strip_prefix("label_values(").expect("label_values(metric, label)");
        let (selector, label) = call.trim_end_matches(')').rsplit_once(", ").expect("metric, label");
        let selector = encoded(&substituted(selector, RATE_INTERVAL, WINDOW, WINDOW));
        let path = format!("/api/v1/label/{label}/values?match[]={selector}");
        let body: Value = serde_json::from_str(&prometheus.get(&path).await.expect("values")).expect("JSON");
        list(&body, "/data").iter().map(|value| text(value, "").to_owned()).collect()
    }

    /// All that a dashboard asks, answered.
    async fn dashboard(&self, prometheus: &Prometheus, dashboard: &Value) -> Value {
        let mut answers = Vec::new();
        for panel in drawn(dashboard) {
            for value in self.values(prometheus, dashboard, panel).await {
                for target in list(panel, "/targets") {
                    let expr = match text(panel, "/repeat") {
                        "" => text(target, "/expr").to_owned(),
                        name => text(target, "/expr").replace(&format!("${name}"), &value),
                    };
                    let result = self.answer(prometheus, &expr, target["instant"] == json!(true)).await;
                    let place = json!({"panel": panel["id"], "value": value, "refId": target["refId"]});
                    answers.push(json!({"place": place, "result": result}));
                }
            }
        }
        json!({"from": self.from, "to": self.to, "step": STEP, "window": WINDOW, "answers": answers})
    }
}

/// The load and the fault; returns when all is well again.
async fn play(servers: &Servers, place: Place, workers: [&Worker; 2], mut events: std::vec::IntoIter<Event>) -> Place {
    load(&place, workers[0], &mut events, 110).await;
    let messages = events.by_ref().take(60).map(|event| message_of(&event)).collect();
    let place = break_servers(servers, place, messages).await;
    load(&place, workers[1], &mut events, 40).await;
    servers.redis.pause();
    load(&place, workers[0], &mut events, 12).await;
    servers.redis.resume();
    load(&place, workers[1], &mut events, 90).await;
    let settled = async || workers[0].sum("claimrisk_cache_doubtful_entries").await == 0;
    eventually("no entry is in doubt", settled, || workers[0].log()).await;
    place
}

#[ignore = "takes five minutes; run by `make dashboards-preview`"]
#[tokio::test(flavor = "multi_thread")]
async fn answers_for_the_pictures_of_the_dashboards() {
    let folder = std::env::var_os("CLAIMRISK_PREVIEW_DIR").map(PathBuf::from).expect("CLAIMRISK_PREVIEW_DIR");
    let servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    let learner = [("CLAIMRISK_MODEL_PUBLISH_LABELS", "1200")];
    let workers = [place.worker(&learner).await, place.worker(&learner).await];
    let prometheus = prometheus(&servers, &[&workers[0], &workers[1]]).await;
    let events = events(9000).into_iter();
    let from = chrono::Utc::now().timestamp();
    let place = play(&servers, place, [&workers[0], &workers[1]], events).await;
    let shown = Shown { from, to: chrono::Utc::now().timestamp() };

    fs::create_dir_all(&folder).expect("folder");
    for (name, dashboard) in dashboards() {
        let answers = shown.dashboard(&prometheus, &dashboard).await;
        let empty = |answer: &&Value| list(answer, "/result").is_empty();
        assert!(list(&answers, "/answers").iter().any(|answer| !empty(&answer)), "{name}: no answer");
        fs::write(Path::new(&folder).join(name), answers.to_string()).expect("written");
    }
    drop(prometheus);
    for worker in workers {
        assert_eq!(worker.terminate(), 0);
    }
    drop(place);
    servers.stop().await;
}
