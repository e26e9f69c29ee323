//! The audit log on a real PostgreSQL: nothing in it can be changed unnoticed, retention leaves a chain that holds, and
//! writing it costs a reader at most half of his speed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use claimrisk::api::{self, ApiState, AuditLog, Listener};
use claimrisk::cache::Cache;
use claimrisk::config::{Config, SETTINGS, collect};
use claimrisk::model::Model;
use claimrisk::servers::{Durability, Options, Postgres};
use claimrisk::store::{self, audit};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::claim;
use crate::harness::{Place, assert_success, servers};

async fn notes(pool: &PgPool, actor: &str, ids: std::ops::Range<i64>) {
    let actor: Arc<str> = actor.into();
    let notes: Vec<_> = ids.map(|id| audit::Note::new(&actor, "read", "claim", Some(id))).collect();
    audit::append(pool, &notes, Duration::from_secs(10)).await.expect("written");
}

async fn broken(pool: &PgPool, tamper: &str) -> String {
    // What only the owner of the tables can do: the triggers off, the deed, the triggers on.
    for table in ["audit_log", "audit_chain"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("ALTER TABLE {table} DISABLE TRIGGER USER")))
            .execute(pool)
            .await
            .expect("off");
    }
    sqlx::query(sqlx::AssertSqlSafe(tamper.to_owned())).execute(pool).await.expect(tamper);
    audit::verify(pool).await.expect("answers").expect_err(tamper)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_added_or_removed_is_found() {
    for (tamper, found) in [
        ("UPDATE audit_log SET actor = 'nobody' WHERE id = 7", "group 3 or one of its rows was changed"),
        (
            "UPDATE audit_log SET at = at + interval '1 microsecond' WHERE id = 1",
            "group 1 or one of its rows was changed",
        ),
        ("UPDATE audit_log SET entity_id = NULL WHERE id = 2", "group 1 or one of its rows was changed"),
        ("UPDATE audit_chain SET hash = sha256('x') WHERE id = 2", "group 2 or one of its rows was changed"),
        ("DELETE FROM audit_log WHERE id = 5", "group 2 had 3 rows and has 2"),
        ("DELETE FROM audit_chain WHERE id = 2", "group 3 does not follow group 1"),
        ("DELETE FROM audit_chain WHERE id = 1", "group 2 does not follow group 0"),
        ("DELETE FROM audit_log WHERE id <= 3", "no entry tells that retention removed them"),
        ("INSERT INTO audit_log (actor, action, entity) VALUES ('x', 'read', 'claim')", "row 11 belongs to no group"),
    ] {
        let place = Place::new().await;
        for ids in [0..3, 3..6, 6..10] {
            notes(&place.pool, "reader", ids).await;
        }
        let whole = audit::verify(&place.pool).await.expect("answers").expect("whole");
        assert_eq!((whole.rows, whole.groups), (10, 3));
        assert_eq!(broken(&place.pool, tamper).await.split_once(found).map(|_| ()), Some(()), "{tamper}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_as_they_are_and_many_writers_make_one_chain() {
    let place = Place::new().await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let pool = place.pool.clone();
        writers.spawn(async move {
            for group in 0..20 {
                notes(&pool, &format!("writer-{writer} \"ä\""), group..group + 2).await;
            }
        });
    }
    writers.join_all().await;
    let whole = audit::verify(&place.pool).await.expect("answers").expect("whole");
    assert_eq!((whole.rows, whole.groups), (320, 160));
    for statement in [
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_chain SET row_count = 0",
        "DELETE FROM audit_chain",
        "TRUNCATE audit_chain",
    ] {
        let refused = sqlx::query(statement).execute(&place.pool).await.unwrap_err();
        assert!(refused.to_string().contains("only added to"), "{statement}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_what_is_old_and_the_chain_goes_on() {
    let place = Place::new().await;
    for ids in [0..3, 3..6] {
        notes(&place.pool, "reader", ids).await;
    }
    for table in ["audit_log", "audit_chain"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("ALTER TABLE {table} DISABLE TRIGGER USER")))
            .execute(&place.pool)
            .await
            .expect("off");
    }
    sqlx::query("UPDATE audit_chain SET at = at - interval '100 days'").execute(&place.pool).await.expect("aged");
    sqlx::query("ALTER TABLE audit_log ENABLE TRIGGER USER").execute(&place.pool).await.expect("on");
    sqlx::query("ALTER TABLE audit_chain ENABLE TRIGGER USER").execute(&place.pool).await.expect("on");
    notes(&place.pool, "reader", 6..10).await;

    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert_success(&output);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let head = run(&["audit", "verify"]);
    assert!(head.contains("whole: 10 rows in 3 groups; head 3:"), "{head}");
    let head = head.split_whitespace().last().expect("head").to_owned();
    assert!(run(&["audit", "retention", "--days", "90"]).starts_with("6 rows older than 90 days would be removed"));
    assert_eq!(place.count("SELECT count(*) FROM audit_log").await, 10, "nothing goes without --yes");
    assert!(run(&["audit", "retention", "--days", "90", "--yes"]).starts_with("6 rows older than 90 days removed"));
    let whole = run(&["audit", "verify", "--since", &head]);
    assert!(whole.contains("whole: 5 rows in 2 groups") && whole.contains("removed up to group 2"), "{whole}");
    assert!(run(&["audit", "retention", "--days", "90", "--yes"]).starts_with("0 rows"));
    assert_eq!(
        place.count("SELECT count(*) FROM audit_log WHERE action = 'retention' AND actor LIKE 'user:%'").await,
        1
    );

    let other = place.run(&["audit", "verify", "--since", &head.replace("3:", "2:")]);
    assert_eq!(other.status.code(), Some(1), "another head is not in it");
    assert!(broken(&place.pool, "DELETE FROM audit_log WHERE id <= 10").await.contains("group 3 had 4 rows"));
}

/// Serves one score from the cache to many at once for a while; answers per second.
async fn rate(state: ApiState, config: &Config, readers: usize, duration: Duration) -> f64 {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let listener = Listener::new(socket, config, None).expect("listener");
    let stop = CancellationToken::new();
    let served = tokio::spawn(api::serve(listener, api::router(Arc::new(state)), stop.clone(), Duration::from_secs(5)));
    let (answers, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    let began = Instant::now();
    for _ in 0..readers {
        let (answers, over) = (Arc::clone(&answers), Arc::clone(&over));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.set_nodelay(true).expect("nodelay");
            let mut buffer = vec![0; 64 * 1024];
            while !over.load(Ordering::Relaxed) {
                stream.write_all(b"GET /api/v1/risk/1 HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
                let mut read = 0;
                loop {
                    read += stream.read(&mut buffer[read..]).await.expect("answered");
                    let text = String::from_utf8_lossy(&buffer[..read]);
                    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    let Some(Ok(length)) = length.map(str::parse::<usize>) else { continue };
                    if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length) {
                        break;
                    }
                }
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(duration).await;
    over.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let rate = answers.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stop.cancel();
    served.await.expect("served");
    rate
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
#[tokio::test(flavor = "multi_thread")]
async fn audited_cached_reads_keep_at_least_half_of_the_rate() {
    // A database that waits for its disk: what the log costs is the wait for its commits.
    let postgres =
        Postgres::start(&Options { durability: Durability::Real, ..Options::default() }).await.expect("starts");
    let amqp = servers().await.rabbitmq.add_vhost("audit-rate").await.expect("vhost");
    let database = postgres.create_database("rate").await.expect("database");
    let redis = servers().await.redis.url(0);
    let place = Place::prepare(amqp, database, redis, "audit-rate".to_owned()).await;
    let worker = place.worker(&[]).await;
    place.publish(&[claim("e1", "PCN-1", |_| ())]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 1).await;
    assert_eq!(worker.terminate(), 0);

    let urls = [("database_url", &place.database_url), ("redis_url", &place.redis_url)];
    let flags: BTreeMap<String, String> = SETTINGS
        .iter()
        .map(|setting| (setting.key.to_owned(), setting.default.to_owned()))
        .chain(urls.map(|(key, url)| (key.to_owned(), url.clone())))
        .collect();
    let config = Arc::new(Config::from_raw(&collect(&flags, None).expect("settings")).expect("settings"));
    let pool = store::pool(&config).expect("pool");
    let installation = store::installation(&pool).await.expect("installation");
    let cache = Arc::new(Cache::new(&config, installation).expect("cache"));
    let model = Arc::new(Model::load(&pool).await.expect("model"));
    let state = |audit: AuditLog| ApiState {
        pool: pool.clone(),
        cache: Arc::clone(&cache),
        config: Arc::clone(&config),
        model: Arc::clone(&model),
        broker: None,
        audit,
        tokens: None,
    };
    let audited = || AuditLog::start(pool.clone(), Duration::from_secs(10));
    rate(state(audited()), &config, 8, Duration::from_millis(500)).await;
    for readers in [8, 32, 128] {
        let (mut with, mut without) = (0.0, 0.0);
        // In turns, so that what else the machine does meets both alike.
        for _ in 0..3 {
            without += rate(state(AuditLog::none()), &config, readers, Duration::from_secs(1)).await / 3.0;
            with += rate(state(audited()), &config, readers, Duration::from_secs(1)).await / 3.0;
        }
        let share = with / without;
        println!(
            "{readers} readers: {without:.0} reads/s without the audit log, {with:.0} with it: {:.0} %",
            share * 100.0
        );
        assert!(readers < 32 || share >= 0.5, "{readers} readers: {share}");
    }
    let answered = audit::verify(&pool).await.expect("answers").expect("whole");
    assert!(answered.rows > answered.groups * 2, "{answered:?}: reads share groups");
}
