//! What the tests stand on: servers, a fleet of worker processes, publishing, reading.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use claimrisk::broker::{Outgoing, Publisher};
use claimrisk::config::SecretUrl;
use claimrisk::servers::{Options, Servers};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::OnceCell;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);

static SERVERS: OnceCell<Servers> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// The servers of this test run. Each test runs in a runtime of its own, but the servers are processes: any may use them.
pub async fn servers() -> &'static Servers {
    SERVERS.get_or_init(|| async { Servers::start(Options::default()).await.expect("servers start") }).await
}

/// A private place on the servers, migrated and declared.
pub struct Place {
    pub amqp_url: String,
    pub database_url: String,
    pub redis_url: String,
    pub vhost: String,
    pub pool: PgPool,
    pub publisher: Publisher,
}

/// The binary under test.
pub fn claimrisk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimrisk"));
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

impl Place {
    pub async fn new() -> Self {
        Self::on(servers().await).await
    }

    /// A place on these servers.
    pub async fn on(servers: &Servers) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        let amqp_url = servers.rabbitmq.add_vhost(&name).await.expect("vhost");
        let database_url = servers.postgres.create_database(&name).await.expect("database");
        let redis_url = servers.redis.url(u8::try_from(number % 64).expect("below 64"));
        Self::prepare(amqp_url, database_url, redis_url, name).await
    }

    pub async fn prepare(amqp_url: String, database_url: String, redis_url: String, vhost: String) -> Self {
        let pool = PgPool::connect(&database_url).await.expect("connects");
        let publisher = Publisher::new(SecretUrl::new(amqp_url.clone()), "tests");
        let place = Self { amqp_url, database_url, redis_url, vhost, pool, publisher };
        assert_success(&place.run(&["migrate"]));
        assert_success(&place.run(&["topology", "apply"]));
        place
    }

    /// A command of the binary with this place's addresses.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = claimrisk();
        command
            .args(arguments)
            .env("AMQP_URL", &self.amqp_url)
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", &self.redis_url);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("runs")
    }

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self, extra: &[(&str, &str)]) -> Worker {
        let worker = self.worker_not_ready(extra);
        worker.wait_ready().await;
        worker
    }

    pub fn worker_not_ready(&self, extra: &[(&str, &str)]) -> Worker {
        self.start(&["worker"], extra)
    }

    /// Starts a process that serves the API alone, and waits until it is ready.
    pub async fn api(&self, extra: &[(&str, &str)]) -> Worker {
        let api = self.start(&["worker", "--role", "api"], extra);
        api.wait_ready().await;
        api
    }

    fn start(&self, arguments: &[&str], extra: &[(&str, &str)]) -> Worker {
        self.launch(self.command(arguments), extra)
    }

    /// Starts a process of the binary from a command of this place; its log goes to a file of its own.
    pub fn launch(&self, mut command: Command, extra: &[(&str, &str)]) -> Worker {
        // Both at once: asked for one after the other they may be the same.
        let [http, metrics] = claimrisk::servers::free_ports().expect("free ports");
        let log = std::env::temp_dir().join(format!("claimrisk-it-{}-{metrics}.log", std::process::id()));
        let stderr = std::fs::File::create(&log).expect("log file");
        command
            .env("CLAIMRISK_HTTP_ADDR", format!("127.0.0.1:{http}"))
            .env("CLAIMRISK_METRICS_ADDR", format!("127.0.0.1:{metrics}"))
            .envs(extra.iter().copied())
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = command.spawn().expect("worker starts");
        Worker { child, http, metrics, log }
    }

    /// Publishes, and insists that all was taken.
    pub async fn publish(&self, messages: &[Outgoing]) {
        for part in messages.chunks(500) {
            for answer in self.publisher.publish(part).await {
                answer.expect("the broker takes it");
            }
        }
    }

    /// Messages ready in a queue, exactly and at once (the management interface lags by seconds).
    pub async fn ready(&self, queue: &str) -> u32 {
        let connection =
            claimrisk::broker::connect(&SecretUrl::new(self.amqp_url.clone()), "depth").await.expect("connects");
        let channel = connection.create_channel().await.expect("channel");
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = channel.queue_declare(queue.into(), options, Default::default()).await.expect("queue");
        let count = queue.message_count();
        connection.close(200, "done".into()).await.ok();
        count
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("counts")
    }

    /// Waits until a count has a value.
    pub async fn wait_count(&self, sql: &'static str, expected: i64) {
        let mut last = -1;
        let began = Instant::now();
        while began.elapsed() < PATIENCE * 3 {
            last = self.count(sql).await;
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql}: {last}, expected {expected}");
    }

    pub async fn dead_reasons(&self) -> BTreeMap<String, usize> {
        let output = self.run(&["dead-letters", "list", "--limit", "1000", "--output", "json"]);
        assert_success(&output);
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = value["dead_letters"].as_array().or_else(|| value.as_array()).expect("rows");
        let mut reasons = BTreeMap::new();
        for row in rows {
            *reasons.entry(row["reason"].as_str().expect("reason").to_owned()).or_insert(0) += 1;
        }
        reasons
    }
}

/// A worker process.
pub struct Worker {
    child: Child,
    pub http: u16,
    pub metrics: u16,
    log: PathBuf,
}

impl Worker {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn wait_ready(&self) {
        eventually("worker is ready", async || self.readiness().await.0, || self.log()).await;
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = try_get(&format!("http://127.0.0.1:{}{path}", self.http)).await.expect("API answers");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (status, body) =
            request("POST", &format!("http://127.0.0.1:{}{path}", self.http), body).await.expect("API answers");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// The samples of /metrics: `name{labels}` to value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) =
            try_get(&format!("http://127.0.0.1:{}/metrics", self.metrics)).await.expect("metrics answer");
        assert_eq!(status, 200);
        String::from_utf8(body)
            .expect("text")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Sum of all samples of a metric.
    pub async fn sum(&self, name: &str) -> u64 {
        sum(&self.metrics().await, name)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().expect("kill");
        assert!(status.success());
    }

    /// Kills it the hard way and waits for its end; its log.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        self.log()
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Whether it says that it is ready, and what it says.
    pub async fn readiness(&self) -> (bool, String) {
        match try_get(&format!("http://127.0.0.1:{}/readyz", self.metrics)).await {
            Ok((status, body)) => (status == 200, String::from_utf8_lossy(&body).into_owned()),
            Err(error) => (false, error),
        }
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> i32 {
        self.signal("TERM");
        self.child.wait().expect("wait").code().unwrap_or(-1)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if !std::thread::panicking() {
            std::fs::remove_file(&self.log).ok();
        }
    }
}

pub fn sum(metrics: &BTreeMap<String, f64>, name: &str) -> u64 {
    let of_metric = |key: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    let total: f64 = metrics.iter().filter(|(key, _)| of_metric(key)).map(|(_, value)| value).sum();
    total as u64
}

/// A number from the environment of the test run.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name)?.into_string().ok()?.parse().ok()
}

pub fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Waits until something holds; `context` explains a failure.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool, context: impl Fn() -> String) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("in {PATIENCE:?} it did not come about: {what}\n{}", context());
}

pub async fn try_get(url: &str) -> Result<(u16, Vec<u8>), String> {
    request("GET", url, "").await
}

async fn request(method: &str, url: &str, body: &str) -> Result<(u16, Vec<u8>), String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = axum::http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::new(axum::body::Bytes::from(body.to_owned())))
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(Duration::from_secs(40), client.request(request))
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes().to_vec()))
}
