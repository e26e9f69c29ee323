//! The shipped roles (`deploy/roles.sql`, `deploy/rabbitmq/users.json`, `deploy/redis/users.acl`) are enough for the whole
//! fleet, and for nothing else.

use std::path::Path;
use std::process::Command;

use claimrisk::broker::{self, Publisher};
use claimrisk::config::SecretUrl;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use serde_json::Value;
use sqlx::PgPool;

use crate::events::{claim, quiet, raw, remittance};
use crate::harness::{Place, assert_success, eventually, servers};

const NAME: &str = "least";
const PASSWORD: &str = "of-this-test";

fn shipped(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).expect("shipped")
}

/// Makes the roles, or gives them their rights where the tables are there.
fn roles(database: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/roles.sql");
    let psql =
        Command::new("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-f"]).arg(file).output();
    assert_success(&psql.expect("psql runs"));
}

/// A URL with another user.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("URL");
    format!("{scheme}://{user}:{PASSWORD}@{}", rest.split_once('@').expect("user").1)
}

async fn rabbitmq_users() -> String {
    let rabbitmq = &servers().await.rabbitmq;
    let url = rabbitmq.add_vhost(NAME).await.expect("vhost");
    let definitions = shipped("rabbitmq/users.json").replace("\"vhost\": \"/\"", &format!("\"vhost\": \"{NAME}\""));
    rabbitmq.management("POST", "/api/definitions", Some(&definitions)).await.expect("imported");
    let definitions: Value = serde_json::from_str(&definitions).expect("JSON");
    for user in definitions["users"].as_array().expect("users") {
        let path = format!("/api/users/{}", user["name"].as_str().expect("name"));
        let body = serde_json::json!({ "password": PASSWORD, "tags": user["tags"] }).to_string();
        rabbitmq.management("PUT", &path, Some(&body)).await.expect("password set");
    }
    url
}

/// Makes the users of the file but for `default`, who is the other tests' way in.
async fn redis_users() -> String {
    let url = servers().await.redis.url(63);
    let client = redis::Client::open(url.as_str()).expect("URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connects");
    let file = shipped("redis/users.acl");
    assert!(file.contains("user default off"));
    for line in file.lines().filter(|line| line.starts_with("user ") && !line.starts_with("user default")) {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER");
        for word in line.split_whitespace().skip(1) {
            let password = word.starts_with('#');
            command.arg(if password { format!(">{PASSWORD}") } else { word.to_owned() });
        }
        command.exec_async(&mut connection).await.expect("user made");
    }
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_roles_are_enough_for_the_fleet_and_for_nothing_else() {
    let postgres = &servers().await.postgres;
    let database = postgres.create_database(NAME).await.expect("database");
    roles(&database);
    for role in ["migrator", "app", "auditor"] {
        let set = format!("ALTER ROLE claimrisk_{role} PASSWORD '{PASSWORD}'");
        postgres.sql(NAME, &set).await.expect("password set");
    }
    let (amqp, redis) = (rabbitmq_users().await, redis_users().await);
    let role = |name: &str| as_user(&database, &format!("claimrisk_{name}"));
    let user = |name: &str| as_user(&amqp, &format!("claimrisk-{name}"));
    let place = Place {
        amqp_url: user("worker"),
        database_url: role("app"),
        redis_url: as_user(&redis, "claimrisk"),
        vhost: NAME.to_owned(),
        pool: PgPool::connect(&database).await.expect("connects"),
        publisher: Publisher::new(SecretUrl::new(user("publisher")), "tests"),
    };
    let run = |arguments: &[&str], variable: &str, url: &str| {
        place.command(arguments).env(variable, url).output().expect("runs")
    };
    assert!(!run(&["migrate"], "DATABASE_URL", &role("app")).status.success(), "the workers' role makes no tables");
    assert_success(&run(&["migrate"], "DATABASE_URL", &role("migrator")));
    roles(&database);
    assert!(!run(&["topology", "apply"], "AMQP_URL", &user("worker")).status.success(), "a worker declares nothing");
    assert_success(&run(&["topology", "apply"], "AMQP_URL", &user("operator")));
    works(&place).await;
    assert_success(&run(&["dead-letters", "list"], "AMQP_URL", &user("operator")));
    assert!(!run(&["dead-letters", "list"], "AMQP_URL", &user("worker")).status.success());
    assert!(
        !run(&["audit", "verify"], "DATABASE_URL", &role("app")).status.success(),
        "the log is not the workers' to read"
    );
    assert_success(&run(&["audit", "verify"], "DATABASE_URL", &role("auditor")));
    assert_success(&run(&["audit", "retention", "--days", "30", "--yes"], "DATABASE_URL", &role("auditor")));
    postgres_refuses(&place.database_url).await;
    rabbitmq_refuses(&user("worker"), &user("publisher")).await;
    redis_refuses(&place.redis_url).await;
}

/// Claims, an answer to one, raw X12, an event that is none; read back through the cache.
async fn works(place: &Place) {
    let worker = place.worker(&[]).await;
    let x12 = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/x12/professional_newlines.837"));
    place
        .publish(&[
            claim("e1", "PCN-1", |_| ()),
            claim("e2", "PCN-1", |event| event["time"] = "2026-11-03T00:00:00Z".into()),
            remittance("r1", "PCN-1", |_| ()),
            raw("x12.received", "application/EDI-X12", x12.expect("corpus")),
            raw("claim.submitted", "application/json", b"{".to_vec()),
        ])
        .await;
    place.wait_count("SELECT count(*) FROM claim_episodes", 1).await;
    let claims = async || place.count("SELECT count(*) FROM claims").await > 1;
    eventually("the interchange is split", claims, || worker.log()).await;
    quiet(place, &[&worker]).await;
    for path in
        ["/api/v1/claims/1", "/api/v1/risk/1", "/api/v1/remits/1", "/api/v1/episodes/1", "/api/v1/claims?limit=5"]
    {
        for _ in 0..2 {
            assert_eq!(worker.get(path).await.0, 200, "{path}\n{}", worker.log());
        }
    }
    assert_eq!(worker.post("/api/v1/risk/1/calculate", "").await.0, 200, "{}", worker.log());
    let health = worker.get("/api/v1/health/detailed").await.1;
    assert_eq!(
        (&health["status"], health["queues"].as_object().map(serde_json::Map::len)),
        (&"healthy".into(), Some(7))
    );
    let stats = worker.get("/api/v1/cache/stats").await.1;
    assert!(stats["overall"]["hits"].as_u64() > Some(3), "{stats}");
    assert_eq!(stats["overall"]["errors"].as_u64(), Some(0), "{stats}");
    assert_eq!(worker.post("/api/v1/cache/stats/reset", "").await.0, 200);
    assert!(place.count("SELECT count(*) FROM audit_log").await > 8);
    let log = worker.log();
    assert!(!log.contains("42501") && !log.contains("NOPERM"), "{log}");
    assert_eq!(worker.terminate(), 0);
}

async fn postgres_refuses(url: &str) {
    let pool = PgPool::connect(url).await.expect("connects");
    for statement in [
        "DELETE FROM audit_log",
        "UPDATE audit_log SET actor = 'nobody'",
        "INSERT INTO audit_log (actor, action, entity) VALUES ('a', 'read', 'claim')",
        "SELECT count(*) FROM audit_log",
        "UPDATE audit_chain SET row_count = 0",
        "TRUNCATE audit_log",
        "SELECT audit_retain(now(), 'me')",
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        "DELETE FROM claims",
        "DELETE FROM ingest_events",
        "TRUNCATE claims",
        "DROP TABLE payers",
        "CREATE TABLE mine (x integer)",
        "CREATE TEMP TABLE mine (x integer)",
        "CREATE ROLE other",
    ] {
        let refused = sqlx::query(statement).execute(&pool).await.expect_err(statement);
        let code = refused.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
    }
}

async fn rabbitmq_refuses(worker: &str, publisher: &str) {
    let channel = async |url: &str| {
        let connection = broker::connect(&SecretUrl::new(url), "refused").await.expect("connects");
        let channel = connection.create_channel().await.expect("channel");
        (connection, channel)
    };
    let (_held, other) = channel(worker).await;
    let declared = other.queue_declare("claimrisk.mine".into(), QueueDeclareOptions::default(), Default::default());
    assert!(declared.await.is_err(), "a worker declares nothing");
    let (_held, other) = channel(worker).await;
    let taken = other.basic_get("claimrisk.dead".into(), BasicGetOptions::default()).await;
    assert!(taken.is_err(), "a worker takes no dead letter back");
    let (_held, other) = channel(publisher).await;
    assert!(
        other.basic_get("claimrisk.claims".into(), BasicGetOptions::default()).await.is_err(),
        "a publisher reads nothing"
    );
    let (_held, other) = channel(publisher).await;
    other.confirm_select(Default::default()).await.expect("confirms");
    let options = BasicPublishOptions::default();
    let sent = other.basic_publish("claimrisk.out".into(), "risk.scored.low".into(), options, b"x", Default::default());
    let confirmed = match sent.await {
        Ok(confirm) => confirm.await.is_ok(),
        Err(_) => false,
    };
    assert!(!confirmed, "a publisher announces no scores");
}

async fn redis_refuses(url: &str) {
    let client = redis::Client::open(url).expect("URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connects");
    for words in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["GET", "others:1"],
        &["SET", "others:1", "x"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["SHUTDOWN"],
    ] {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let refused = command.exec_async(&mut connection).await.expect_err(words[0]);
        assert!(refused.to_string().contains("permission"), "{words:?}: {refused}");
    }
}
