//! Tokens, limits and TLS of the API, on the running binary: who is let in, who is not, and what is written down of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::events::claim;
use crate::harness::{Place, Worker, assert_success, claimrisk, eventually};

/// A file of tokens, with a token of each scope alone.
struct Tokens {
    path: PathBuf,
    lines: Vec<String>,
}

impl Tokens {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("claimrisk-it-tokens-{}", uuid::Uuid::now_v7().simple()));
        Self { path, lines: vec!["# tokens of a test".to_owned()] }
    }

    /// Makes a token with the command that people use.
    fn add(&mut self, name: &str, scopes: &[&str]) -> String {
        let mut arguments = vec!["token", "new", "--name", name, "--output", "json"];
        scopes.iter().for_each(|scope| arguments.extend(["--scope", scope]));
        let output = claimrisk().args(&arguments).output().expect("runs");
        assert_success(&output);
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        self.lines.push(made["line"].as_str().expect("line").to_owned());
        self.write(0o600);
        made["token"].as_str().expect("token").to_owned()
    }

    fn write(&self, mode: u32) {
        std::fs::write(&self.path, self.lines.join("\n")).expect("written");
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    }

    fn setting(&self) -> (&'static str, &str) {
        ("CLAIMRISK_API_TOKENS_FILE", self.path.to_str().expect("text"))
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// One request over a connection of its own: status, head, body.
async fn ask(api: &Worker, method: &str, path: &str, token: Option<&str>) -> (u16, String, Value) {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: x\r\n{authorization}Content-Length: 0\r\n\r\n");
    let (head, body) = exchange(api, request.as_bytes()).await;
    (status(&head), head, serde_json::from_str(&body).unwrap_or(Value::Null))
}

async fn exchange(api: &Worker, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", api.http)).await.expect("connects");
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_ascii_lowercase(), body.to_owned())
}

fn status(head: &str) -> u16 {
    head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Every route with the scope that it asks for.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/health/detailed", "read"),
    ("GET", "/api/v1/claims", "read"),
    ("GET", "/api/v1/claims/1", "read"),
    ("GET", "/api/v1/claims/unlinked", "read"),
    ("GET", "/api/v1/claims/at-risk", "read"),
    ("GET", "/api/v1/remits", "read"),
    ("GET", "/api/v1/remits/1", "read"),
    ("GET", "/api/v1/episodes", "read"),
    ("GET", "/api/v1/episodes/1", "read"),
    ("GET", "/api/v1/risk/1", "read"),
    ("GET", "/api/v1/risk/1/history", "read"),
    ("GET", "/api/v1/patterns/payer/1", "read"),
    ("GET", "/api/v1/events/urn:x/1", "read"),
    ("GET", "/api/v1/cache/stats", "read"),
    ("POST", "/api/v1/risk/what-if", "write"),
    ("POST", "/api/v1/risk/1/calculate", "write"),
    ("POST", "/api/v1/cache/stats/reset", "admin"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_routes_and_no_other() {
    let place = Place::new().await;
    let mut tokens = Tokens::new();
    let scopes = ["read", "write", "admin"];
    let made = scopes.map(|scope| tokens.add(scope, &[scope]));
    let api = place.api(&[tokens.setting(), ("CLAIMRISK_API_REQUESTS_PER_MINUTE", "1000")]).await;
    for (method, path, needed) in ROUTES {
        for (scope, token) in scopes.iter().zip(&made) {
            let (status, head, body) = ask(&api, method, path, Some(token)).await;
            if scope == needed {
                assert!(![401, 403, 429].contains(&status), "{method} {path} with {scope}: {status} {body}");
            } else {
                assert_eq!((status, &body["code"]), (403, &Value::from("forbidden")), "{method} {path} with {scope}");
                assert!(head.contains(&format!("error=\"insufficient_scope\", scope=\"{needed}\"")), "{head}");
            }
        }
        for token in [None, Some("claimrisk_0000")] {
            let (status, head, body) = ask(&api, method, path, token).await;
            assert_eq!((status, body["status_code"].as_u64()), (401, Some(401)), "{method} {path}: {body}");
            assert!(head.contains("www-authenticate: bearer realm=\"claimrisk\""), "{head}");
        }
    }
    for path in ["/api/v1/health", "/docs/", "/openapi.json"] {
        assert_eq!(ask(&api, "GET", path, None).await.0, 200, "{path} is open");
    }
    let log = api.log();
    assert!(made.iter().all(|token| !log.contains(token.as_str())), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_limited_by_the_minute_named_in_the_audit_log_and_ends_with_its_line() {
    let place = Place::new().await;
    let mut tokens = Tokens::new();
    let token = tokens.add("front-desk", &["read"]);
    let worker = place.worker(&[tokens.setting()]).await;
    place.publish(&[claim("e1", "PCN-1", |_| ())]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 1).await;
    let mut statuses = Vec::new();
    for _ in 0..61 {
        statuses.push(ask(&worker, "GET", "/api/v1/claims/1", Some(&token)).await);
    }
    let (last, head, body) = statuses.pop().expect("asked");
    assert!(statuses.iter().all(|(status, ..)| *status == 200), "60 a minute are let in");
    assert_eq!((last, &body["code"]), (429, &Value::from("too_many_requests")));
    let wait: u64 =
        head.split("retry-after: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).expect("told");
    assert!((1..=61).contains(&wait), "{head}");
    let reads = place.count("SELECT count(*) FROM audit_log WHERE actor = 'front-desk' AND entity_id = 1").await;
    assert_eq!(reads, 60, "one row for each answer that was given");

    let other = tokens.add("back-office", &["read"]);
    tokens.lines.retain(|line| !line.starts_with("front-desk"));
    tokens.write(0o600);
    let open = async |token| ask(&worker, "GET", "/api/v1/claims/1", Some(token)).await.0;
    eventually("the file is read again", async || open(&other).await == 200, || worker.log()).await;
    assert_eq!(open(&token).await, 401, "its line is gone");
    tokens.lines.push("nonsense".to_owned());
    tokens.write(0o600);
    eventually("the wrong line is told", async || worker.log().contains("line 3"), || worker.log()).await;
    assert_eq!(open(&other).await, 200, "a wrong file changes nothing");
}

fn failed(output: &Output, code: i32, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(part), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_not_start_open_to_others_without_tokens_or_with_a_file_that_all_may_read() {
    let place = Place::new().await;
    let start = |settings: &[(&str, &str)]| {
        let mut command: Command = place.command(&["worker", "--role", "api"]);
        command.env("CLAIMRISK_METRICS_ADDR", "127.0.0.1:0").envs(settings.iter().copied());
        command.output().expect("runs")
    };
    failed(&start(&[("CLAIMRISK_HTTP_ADDR", "0.0.0.0:0")]), 78, "claimrisk token new");
    let mut tokens = Tokens::new();
    tokens.add("a", &["read"]);
    tokens.write(0o644);
    failed(&start(&[tokens.setting()]), 78, "chmod 600");
    tokens.lines.push("b read".to_owned());
    tokens.write(0o600);
    failed(&start(&[tokens.setting()]), 78, "line 3: there must be three parts");
    let output = place.command(&["check-config"]).envs([tokens.setting()]).output().expect("runs");
    failed(&output, 78, "line 3");
    failed(&start(&[("AMQP_URL", "amqp://u:hunter2@broker.example/%2f")]), 78, "allow_plaintext");
    let output =
        place.command(&["check-config"]).env("CLAIMRISK_CLIENT_TOKEN", "claimrisk_secret").output().expect("runs");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("claimrisk_secret"), "a token is not printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_head_slowly_or_too_much_of_it_loses_its_connection() {
    let place = Place::new().await;
    let api = place.api(&[("CLAIMRISK_HTTP_HEADER_SECONDS", "1"), ("CLAIMRISK_HTTP_CONNECTIONS", "8")]).await;
    for port in [api.http, api.metrics] {
        let began = Instant::now();
        // More than there are places, each with half a head.
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.expect("sent");
            slow.push(stream);
        }
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
        stream.write_all(b"GET /api/v1/health HTTP/1.0\r\nHost: x\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        assert!(answer.starts_with(b"HTTP/1.0 "), "{}", String::from_utf8_lossy(&answer));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let mut rest = Vec::new();
        slow[0].read_to_end(&mut rest).await.ok();
    }
    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(64 * 1024));
    for headers in [many, long] {
        let (head, _) =
            exchange(&api, format!("GET /api/v1/health HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        assert_eq!(status(&head), 431, "{head}");
    }
    assert_eq!(api.get("/api/v1/health").await.0, 200);
}
