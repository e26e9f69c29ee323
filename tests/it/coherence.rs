//! The cache tells the truth: two workers and an API change and read the same few claims while workers are killed,
//! connections to Redis are cut and delayed, and Redis is killed and comes back empty or with old data.
//!
//! PostgreSQL itself keeps the history (a trigger writes each committed row down), and every answer is checked against it:
//! it must be a version that was committed at some moment, never older than one that was answered to anybody before the
//! question was asked, and at rest the newest. `CLAIMRISK_SOAK_MINUTES` makes it longer, `CLAIMRISK_SOAK_SEED` repeats a
//! run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use claimrisk::servers::{Options as ServerOptions, Servers};
use claimrisk::topology;
use serde_json::{Value, json};
use sqlx::{PgPool, Row as _};

use crate::events::{claim, quiet, remittance};
use crate::harness::{Place, Worker, eventually, setting, try_get};
use crate::proxy::Proxy;
use crate::random::Random;

/// Claims that are sent again and again.
const CLAIMS: u64 = 24;
/// Tasks that read.
const READERS: u64 = 6;

/// Every committed row of what is cached. What a transaction overwrites of its own was never to be seen.
const HISTORY: &[&str] = &[
    "CREATE TABLE seen (kind text, id bigint, version bigint, txid bigint DEFAULT txid_current(), content jsonb)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         IF TG_TABLE_NAME = 'risk_scores' THEN
             INSERT INTO seen (kind, id, version, content) VALUES ('risk', NEW.claim_id, NEW.id, to_jsonb(NEW));
         ELSE
             INSERT INTO seen (kind, id, version, content) VALUES (TG_ARGV[0], NEW.id, NEW.revision, to_jsonb(NEW));
         END IF;
         RETURN NULL;
     END $$",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON claims FOR EACH ROW EXECUTE FUNCTION note('claims')",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON remittances FOR EACH ROW EXECUTE FUNCTION note('remits')",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON claim_episodes FOR EACH ROW EXECUTE FUNCTION note('episodes')",
    "CREATE TRIGGER note AFTER INSERT ON risk_scores FOR EACH ROW EXECUTE FUNCTION note('risk')",
];

/// Tells the seed when the test fails, whatever it fails by.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            writeln!(std::io::stderr(), "to repeat: CLAIMRISK_SOAK_SEED={}", self.0).expect("stderr");
        }
    }
}

/// What a reader was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    kind: &'static str,
    id: i64,
    version: i64,
    /// Fields of the row, as far as the answer shows them.
    shown: String,
}

/// What all readers know together.
#[derive(Default)]
struct Seen {
    /// The newest version answered to anybody, by kind and id.
    newest: Mutex<BTreeMap<(&'static str, i64), i64>>,
    answers: Mutex<BTreeSet<Answer>>,
    count: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Seen {
    fn newest(&self) -> BTreeMap<(&'static str, i64), i64> {
        self.newest.lock().expect("lock").clone()
    }

    /// Notes an answer to a question that was asked when `before` was known.
    fn note(&self, answer: Answer, before: &BTreeMap<(&'static str, i64), i64>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let key = (answer.kind, answer.id);
        if before.get(&key).is_some_and(|known| answer.version < *known) {
            let fault = format!("{answer:?} after version {} had been answered", before[&key]);
            self.faults.lock().expect("lock").push(fault);
        }
        let mut newest = self.newest.lock().expect("lock");
        let known = newest.entry(key).or_insert(answer.version);
        *known = answer.version.max(*known);
        drop(newest);
        self.answers.lock().expect("lock").insert(answer);
    }
}

/// The fields by which an answer is compared with a row: the answer's names, then the row's.
fn fields(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "claims" => {
            &[("total_charge_amount", "total_charge_amount"), ("status", "status"), ("risk_level", "risk_level")]
        }
        "remits" => &[("payment_amount", "payment_amount"), ("claim_id", "claim_id"), ("link_state", "link_state")],
        "episodes" => &[("payment_amount", "payment_amount"), ("claim_id", "claim_id"), ("status", "status")],
        _ => &[("risk_level", "risk_level"), ("model_version", "model_version"), ("submission_id", "submission_id")],
    }
}

fn shown(values: impl Iterator<Item = Value>) -> String {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    values.map(text).collect::<Vec<_>>().join("|")
}

/// Reads an answer's row of this kind.
fn answer(kind: &'static str, body: &Value) -> Answer {
    let (id, version) = if kind == "risk" { ("claim_id", "id") } else { ("id", "revision") };
    let number = |name: &str| body[name].as_i64().unwrap_or_else(|| panic!("{name} of {kind}: {body}"));
    let shown = shown(fields(kind).iter().map(|(name, _)| body[*name].clone()));
    // A claim's lines are of the same version as the claim: their sum is its charge.
    if kind == "claims" && body["lines"].is_array() {
        assert_eq!(body["lines"][0]["line_item_charge_amount"], body["total_charge_amount"], "torn: {body}");
    }
    Answer { kind, id: number(id), version: number(version), shown }
}

/// The processes of the fleet, with a proxy to Redis each; the last one serves the API alone.
struct Fleet {
    place: Place,
    port: u16,
    proxies: Vec<Proxy>,
    ports: RwLock<Vec<Option<u16>>>,
}

impl Fleet {
    async fn start(&self, at: usize) -> Worker {
        let url = self.proxies[at].url(&self.place.redis_url, self.port);
        let extra = [("REDIS_URL", url.as_str()), ("CLAIMRISK_MODEL_PUBLISH_SECONDS", "2")];
        let worker = if at == 2 { self.place.api(&extra).await } else { self.place.worker(&extra).await };
        self.ports.write().expect("lock")[at] = Some(worker.http);
        worker
    }

    fn heal(&self) {
        for proxy in &self.proxies {
            proxy.refuse(false);
            proxy.delay(Duration::ZERO);
        }
    }
}

/// Asks one process one thing, and notes what comes. No answer is no fault: the process may be gone.
async fn ask(port: u16, kind: &'static str, id: Option<i64>, seen: &Seen) {
    let before = seen.newest();
    let path = id.map_or_else(|| format!("{kind}?limit=40"), |id| format!("{kind}/{id}"));
    let Ok((status, body)) = try_get(&format!("http://127.0.0.1:{port}/api/v1/{path}")).await else { return };
    if status == 404 && kind == "episodes" {
        return; // Its remittance was linked anew.
    }
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    match id {
        Some(_) => seen.note(answer(kind, &body), &before),
        None => {
            for row in body["items"].as_array().expect("items") {
                seen.note(answer(kind, row), &before);
            }
        }
    }
}

/// Reads until told to stop, what was changed last far more often.
async fn read(fleet: Arc<Fleet>, mut random: Random, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let kind = ["claims", "risk", "remits", "episodes"][random.below(4) as usize];
        let port = fleet.ports.read().expect("lock")[random.below(3) as usize];
        let Some(port) = port else { continue };
        if kind != "risk" && random.below(8) == 0 {
            ask(port, kind, None, &seen).await;
            continue;
        }
        let list = if kind == "risk" { "claims" } else { kind };
        let known: Vec<i64> = seen.newest().keys().filter(|(of, _)| *of == list).map(|(_, id)| *id).collect();
        match known.len() as u64 {
            0 => ask(port, list, None, &seen).await,
            count => {
                let back = random.below(CLAIMS.min(count)) as usize;
                ask(port, kind, Some(known[known.len() - 1 - back]), &seen).await;
            }
        }
    }
}

/// What is done to the fleet and its servers, by chance.
struct Chaos {
    fleet: Arc<Fleet>,
    servers: Servers,
    workers: Vec<Worker>,
    random: Random,
    events: u64,
    old_dump: Option<Vec<u8>>,
    done: BTreeMap<&'static str, u64>,
}

impl Chaos {
    async fn act(&mut self) {
        let at = self.random.below(3) as usize;
        let what = match self.random.below(1000) {
            0..=499 => self.publish_claim().await,
            500..=699 => self.publish_remittance().await,
            700..=739 => self.calculate().await,
            740..=859 => {
                self.fleet.proxies.iter().for_each(Proxy::cut);
                "connections cut"
            }
            860..=899 => {
                let refuse = self.random.below(2) == 0;
                self.fleet.proxies[at].refuse(refuse);
                if refuse { "Redis out of reach" } else { "Redis within reach" }
            }
            900..=939 => {
                let delay = [0, 0, 5, 40, 300, 1000][self.random.below(6) as usize];
                self.fleet.proxies[at].delay(Duration::from_millis(delay));
                "delays set"
            }
            940..=969 => {
                self.fleet.heal();
                "all healed"
            }
            970..=979 => self.save_dump().await,
            980..=986 => self.restart_redis().await,
            987..=993 => self.old_data().await,
            _ => self.kill_worker().await,
        };
        *self.done.entry(what).or_default() += 1;
    }

    fn number(&mut self) -> String {
        format!("PCN-{:03}", self.random.below(CLAIMS))
    }

    /// Events have times of their own, so that each is a newer version than all before.
    fn stamp(&mut self) -> (String, String) {
        self.events += 1;
        let time = chrono::DateTime::from_timestamp(1_790_000_000 + i64::try_from(self.events).expect("few"), 0);
        (format!("event-{}", self.events), time.expect("time").to_rfc3339())
    }

    async fn publish_claim(&mut self) -> &'static str {
        let (number, (id, time)) = (self.number(), self.stamp());
        let charge = format!("{}.00", 100 + self.random.below(900));
        let event = claim(&id, &number, |event| {
            event["time"] = json!(time);
            event["data"]["totalClaimChargeAmount"] = json!(charge);
            event["data"]["serviceLines"][0]["lineItemChargeAmount"] = json!(charge);
        });
        self.fleet.place.publish(&[event]).await;
        "claims published"
    }

    async fn publish_remittance(&mut self) -> &'static str {
        let (number, (id, time)) = (self.number(), self.stamp());
        let (trace, paid) = (self.random.below(2), self.random.below(100));
        let event = remittance(&id, &number, |event| {
            event["time"] = json!(time);
            event["data"]["traceNumber"] = json!(format!("EFT{trace}"));
            event["data"]["claimPaymentAmount"] = json!(format!("{paid}.00"));
        });
        self.fleet.place.publish(&[event]).await;
        "remittances published"
    }

    async fn calculate(&mut self) -> &'static str {
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM claims ORDER BY random() LIMIT 1")
            .fetch_optional(&self.fleet.place.pool)
            .await
            .expect("claims");
        if let Some(id) = id {
            let (status, body) = self.workers[2].post(&format!("/api/v1/risk/{id}/calculate"), "").await;
            assert!(status == 200 || status == 503, "{body}");
        }
        "claims scored again"
    }

    fn dump(&self) -> PathBuf {
        self.servers.redis.folder().join("dump.rdb")
    }

    async fn save_dump(&mut self) -> &'static str {
        let client = redis::Client::open(self.fleet.place.redis_url.as_str()).expect("URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("connects");
        redis::cmd("SAVE").query_async::<()>(&mut connection).await.expect("saved");
        self.old_dump = Some(std::fs::read(self.dump()).expect("dump"));
        remove(&self.dump());
        "dumps of Redis kept"
    }

    async fn restart_redis(&mut self) -> &'static str {
        self.servers.redis.kill9().await.expect("killed");
        self.servers.redis.start_again().await.expect("started");
        "Redis restarted empty"
    }

    async fn old_data(&mut self) -> &'static str {
        let Some(dump) = self.old_dump.clone() else { return "no old dump yet" };
        self.servers.redis.kill9().await.expect("killed");
        std::fs::write(self.dump(), dump).expect("written");
        self.servers.redis.start_again().await.expect("started");
        remove(&self.dump());
        "Redis restarted with old data"
    }

    async fn kill_worker(&mut self) -> &'static str {
        let at = self.random.below(2) as usize;
        self.fleet.ports.write().expect("lock")[at] = None;
        self.workers.remove(at).kill();
        self.workers.insert(at, self.fleet.start(at).await);
        "workers killed"
    }
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("removed");
}

/// Compares all answers with what PostgreSQL wrote down.
async fn check_history(pool: &PgPool, answers: &BTreeSet<Answer>) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (kind, id, txid) kind, id, version, content FROM seen ORDER BY kind, id, txid, version DESC",
    )
    .fetch_all(pool)
    .await
    .expect("history");
    let mut committed: BTreeMap<(String, i64, i64), String> = BTreeMap::new();
    for row in rows {
        let (kind, mut content): (String, Value) = (row.get(0), row.get(3));
        for amount in ["total_charge_amount", "payment_amount"] {
            if let Some(number) = content[amount].as_f64() {
                content[amount] = json!(format!("{number:.2}"));
            }
        }
        let shown = shown(fields(&kind).iter().map(|(_, name)| content[*name].clone()));
        committed.insert((kind, row.get(1), row.get(2)), shown);
    }
    let wrong = answers.iter().filter(|answer| {
        committed.get(&(answer.kind.to_owned(), answer.id, answer.version)).is_none_or(|shown| *shown != answer.shown)
    });
    wrong.map(|answer| format!("{answer:?} was never committed")).collect()
}

/// The newest versions there are.
async fn newest(pool: &PgPool) -> Vec<(String, i64, i64)> {
    sqlx::query_as(
        "SELECT 'claims', id, revision FROM claims UNION ALL SELECT 'remits', id, revision FROM remittances
         UNION ALL SELECT 'episodes', id, revision FROM claim_episodes
         UNION ALL SELECT 'risk', claim_id, max(id) FROM risk_scores GROUP BY claim_id ORDER BY 1, 2",
    )
    .fetch_all(pool)
    .await
    .expect("newest")
}

/// At rest every process answers the newest version, and Redis holds nothing else. Models are learned at rest, too, and
/// claims scored anew: `false` when something changed meanwhile.
async fn check_rest(fleet: &Fleet, seen: &Seen) -> bool {
    let before = newest(&fleet.place.pool).await;
    let ports: Vec<u16> = fleet.ports.read().expect("lock").iter().flatten().copied().collect();
    let names = [("claims", "claim"), ("remits", "remittance"), ("episodes", "episode"), ("risk", "risk_score")];
    let client = redis::Client::open(fleet.place.redis_url.as_str()).expect("URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connects");
    let mut wrong = Vec::new();
    for (kind, id, version) in &before {
        let (kind, name) = names.into_iter().find(|(known, _)| known == kind).expect("kind");
        for port in &ports {
            ask(*port, kind, Some(*id), seen).await;
        }
        let answered = seen.newest().get(&(kind, *id)).copied();
        let key = format!("claimrisk:{name}:{id}");
        let cached: Option<String> = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("value");
        let cached: Option<i64> = cached.and_then(|value| value.split('|').next()?.parse().ok());
        if (answered, cached) != (Some(*version), Some(*version)) {
            wrong.push(format!("{kind} {id} is at {version}: answered {answered:?}, cached {cached:?}"));
        }
    }
    if newest(&fleet.place.pool).await != before {
        return false;
    }
    assert!(wrong.is_empty(), "at rest:\n{}", wrong.join("\n"));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_is_ever_older_than_one_before_it_or_was_never_committed() {
    let seed = Seed(setting("CLAIMRISK_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1));
    let length = setting("CLAIMRISK_SOAK_MINUTES").map_or(Duration::from_secs(30), |n| Duration::from_secs(n * 60));
    let servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    for statement in HISTORY.iter().copied() {
        sqlx::query(statement).execute(&place.pool).await.expect("history");
    }
    let port = servers.redis.port();
    let proxies = vec![Proxy::before(port).await, Proxy::before(port).await, Proxy::before(port).await];
    let fleet = Arc::new(Fleet { place, port, proxies, ports: RwLock::new(vec![None; 3]) });
    let mut workers = Vec::new();
    for at in 0..3 {
        workers.push(fleet.start(at).await);
    }
    let (seen, stop, mut random) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default(), Random(seed.0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let random = Random(random.below(u64::MAX));
        readers.spawn(read(Arc::clone(&fleet), random, Arc::clone(&seen), Arc::clone(&stop)));
    }
    let (events, old_dump, done) = (0, None, BTreeMap::new());
    let mut chaos = Chaos { fleet: Arc::clone(&fleet), servers, workers, random, events, old_dump, done };
    let began = Instant::now();
    while began.elapsed() < length && seen.faults.lock().expect("lock").is_empty() {
        chaos.act().await;
        tokio::time::sleep(Duration::from_millis(chaos.random.below(12))).await;
    }
    // Redis comes back a last time with what it knew long ago; what is cached now goes for good.
    chaos.old_data().await;
    fleet.heal();
    stop.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.expect("reader");
    }
    fleet.place.wait_count("SELECT count(*) FROM ingest_events", i64::try_from(chaos.events).expect("few")).await;
    quiet(&fleet.place, &chaos.workers.iter().take(2).collect::<Vec<_>>()).await;
    assert_eq!(fleet.place.ready(topology::DEAD_QUEUE).await, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let at_rest = async || check_rest(&fleet, &seen).await;
    eventually("nothing changes for a while", at_rest, String::new).await;
    let mut faults = std::mem::take(&mut *seen.faults.lock().expect("lock"));
    let answers = seen.answers.lock().expect("lock").clone();
    faults.extend(check_history(&fleet.place.pool, &answers).await);
    assert!(faults.is_empty(), "seed {}: {} wrong answers:\n{}", seed.0, faults.len(), faults.join("\n"));
    let (count, versions) = (seen.count.load(Ordering::Relaxed), answers.len());
    writeln!(
        std::io::stdout(),
        "seed {}, {:.0?}: {count} answers of {versions} versions, none wrong; {:?}",
        seed.0,
        began.elapsed(),
        chaos.done
    )
    .expect("stdout");
    assert!(count > 500 && versions > 100, "{count} answers of {versions} versions tell too little");
    chaos.servers.stop().await;
}
