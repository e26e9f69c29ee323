//! A word that stands in every patient field of everything that goes in: X12, events good and bad, parameters of the API,
//! files of commands; while servers go away. Then it is looked for wherever no patient may be named.
//!
//! The state tables and the answers of the API hold patient data by their purpose; nothing else may.

mod samples;

use std::process::Output;
use std::time::Duration;

use axum::body::Bytes;
use claimrisk::broker::{Outgoing, connect};
use claimrisk::config::SecretUrl;
use claimrisk::servers::{Options as ServerOptions, Servers, StopMode};
use claimrisk::topology;
use claimrisk::wire::{MessageMeta, Reason, decode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use sqlx::Row as _;

use self::samples::{BORN, WORD, bad, bad_x12, good, mark_claim, x12};
use crate::events::{claim, quiet, told};
use crate::harness::{Place, Worker, assert_success, eventually, try_get};

/// Where the announcements are gathered.
const HEARD: &str = "canary.heard";
/// Tables that hold patient data by their purpose.
const STATE: [&str; 6] =
    ["claims", "claim_submissions", "claim_lines", "remittances", "remittance_lines", "claim_acknowledgements"];

/// Whether a text names the patient.
fn named(text: &str) -> bool {
    text.to_ascii_uppercase().contains(WORD) || BORN.iter().any(|day| text.contains(day))
}

/// Where a text names the patient; the text around the first place.
fn shown(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    let at = [WORD, BORN[0], BORN[1]].iter().filter_map(|word| upper.find(word)).min().unwrap_or(0);
    String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(300)..(at + 200).min(text.len())]).into_owned()
}

/// Texts that name nobody, each with where it comes from.
#[derive(Default)]
struct Looked {
    texts: usize,
    found: Vec<String>,
}

impl Looked {
    fn at(&mut self, place: &str, text: &str) {
        self.texts += 1;
        if named(text) {
            self.found.push(format!("{place}: {}", shown(text)));
        }
    }

    fn at_output(&mut self, place: &str, output: &Output) {
        self.at(&format!("{place}, stderr"), &String::from_utf8_lossy(&output.stderr));
        self.at(&format!("{place}, stdout"), &String::from_utf8_lossy(&output.stdout));
    }
}

/// Makes PostgreSQL refuse one claim with an error that quotes its row.
async fn quoting_trigger(place: &Place) {
    sqlx::raw_sql(
        "CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW::text LIKE '%666.66%' THEN
                 RAISE EXCEPTION 'refused: %', NEW::text USING ERRCODE = '23514', DETAIL = NEW::text, HINT = NEW::text;
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER quoting BEFORE INSERT ON claim_submissions FOR EACH ROW EXECUTE FUNCTION quote()",
    )
    .execute(&place.pool)
    .await
    .expect("trigger");
}

/// One request; the status and all that the answer tells.
async fn ask(worker: &Worker, method: &str, path: &str, body: String) -> (u16, String) {
    let request = axum::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{}{path}", worker.http))
        .header("authorization", format!("Bearer {WORD}"))
        .header("x-request-id", WORD)
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let answer = Client::builder(TokioExecutor::new()).build_http().request(request).await.expect("an answer");
    let (status, head) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, format!("{head}\n{}", String::from_utf8_lossy(&body)))
}

/// Asks every route with the word in each place; what is refused quotes nothing.
async fn ask_everything(worker: &Worker, looked: &mut Looked) {
    let description = serde_json::to_value(claimrisk::api::openapi()).expect("JSON");
    let mut refused = 0;
    for (route, operations) in description["paths"].as_object().expect("paths") {
        let path = |with: &str| {
            route.split('/').map(|part| if part.starts_with('{') { with } else { part }).collect::<Vec<_>>().join("/")
        };
        let (word, one) = (path(WORD), path("1"));
        let mut paths =
            vec![word.clone(), one.clone(), format!("{one}?{WORD}=1"), format!("{one}?{WORD}"), format!("{word}%ff")];
        for name in [
            "skip",
            "limit",
            "status",
            "risk_level",
            "practice_id",
            "payer_id",
            "provider_id",
            "claim_id",
            "created_from",
            "created_to",
            "claim_control_number",
        ] {
            paths.push(format!("{one}?{name}={WORD}"));
            paths.push(format!("{one}?{name}={WORD}%00&{name}={}", BORN[0]));
        }
        for path in &paths {
            for method in ["GET", "POST", "DELETE"] {
                // A reset leaves nothing to look at.
                if operations["post"].is_object() && route.ends_with("reset") {
                    continue;
                }
                let (status, told) = ask(worker, method, path, format!(r#"{{"{WORD}": "{WORD}"}}"#)).await;
                assert!(status != 500 && status != 503, "{method} {route}: {status}");
                if status >= 400 {
                    refused += 1;
                    looked.at(&format!("{method} {route}: {status}"), &told);
                }
            }
        }
    }
    assert!(refused > 500, "{refused} refused");
    for message in bad() {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let (status, told) = ask(worker, "POST", "/api/v1/risk/what-if", body).await;
        if status >= 400 {
            looked.at("what-if", &told);
        }
    }
    for path in [
        format!("/{WORD}"),
        format!("/api/v1/{WORD}"),
        format!("/docs/{WORD}"),
        format!("/api/v1/events/{WORD}/{WORD}"),
    ] {
        looked.at("no route", &ask(worker, "GET", &path, String::new()).await.1);
    }
    let (_, told) = ask(worker, "POST", "/api/v1/risk/what-if", WORD.repeat(200_000)).await;
    looked.at("a body too large", &told);
}

/// Cuts and stops servers while events flow.
async fn break_servers(servers: &mut Servers, place: &Place, worker: &Worker) {
    let all: Vec<Outgoing> = (100..160).map(|n| claim(&format!("c{n}"), &format!("{WORD}-{n}"), mark_claim)).collect();
    servers.redis.kill9().await.expect("killed");
    place.publish(&all[..20]).await;
    place.wait_count("SELECT count(*) FROM ingest_events WHERE event_id ~ '^c1..$'", 20).await;
    servers.redis.start_again().await.expect("started");
    place.publish(&all[20..40]).await;
    servers.postgres.stop(StopMode::Immediate).await.expect("stopped");
    let (status, _) = ask(worker, "GET", &format!("/api/v1/claims?payer_id={WORD}"), String::new()).await;
    assert_eq!(status, 503);
    servers.postgres.start_again().await.expect("started");
    place.wait_count("SELECT count(*) FROM ingest_events WHERE event_id ~ '^c1..$'", 40).await;
    place.publish(&all[40..]).await;
    servers.rabbitmq.ctl(&["close_all_connections", "--vhost", &place.vhost, WORD]).await.expect("closed");
    place.wait_count("SELECT count(*) FROM ingest_events WHERE event_id ~ '^c1..$'", 60).await;
    worker.wait_ready().await;
}

/// Runs the commands that read files or dead letters. What scores and lists names claims on stdout, as it is asked to.
fn run_commands(place: &Place, letters: usize, looked: &mut Looked) {
    let folder = std::env::temp_dir().join(format!("claimrisk-it-files-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir(&folder).expect("folder");
    let mut files = vec![("good.837".to_owned(), x12("professional_hierarchy.837").into_bytes())];
    files.extend(bad_x12().into_iter().enumerate().map(|(at, text)| (format!("bad{at}.837"), text.into_bytes())));
    let lines: Vec<Vec<u8>> =
        bad().into_iter().filter(|one| one.routing_key != "x12.received").map(|one| one.body).collect();
    files.push(("bad.ndjson".to_owned(), lines.join(b"\n".as_slice())));
    files.push((
        "eligibility.csv".to_owned(),
        format!("practice_id,member_id,payer_id,class,place,from,to,died_on\nP,{WORD},A,commercial,P,{WORD},,\n")
            .into_bytes(),
    ));
    for (name, bytes) in &files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("written");
        let path = path.to_str().expect("text");
        let commands: &[&[&str]] = match name.ends_with("csv") {
            true => &[&["reference", "load", "eligibility"]],
            false => {
                &[&["publish", "--dry-run"], &["publish", "--dry-run", "--output", "json"], &["score"], &["backtest"]]
            }
        };
        for command in commands {
            let output = place
                .command(&[command, [path].as_slice()].concat())
                .env("CLAIMRISK_LOG", "trace")
                .output()
                .expect("runs");
            assert_ne!(output.status.code(), Some(2), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            looked.at(&format!("{} {name}, stderr", command.join(" ")), &String::from_utf8_lossy(&output.stderr));
            if command[0] == "publish" || command[0] == "reference" {
                looked.at_output(&format!("{} {name}", command.join(" ")), &output);
            }
        }
    }
    std::fs::remove_dir_all(&folder).ok();
    for form in ["json", "table"] {
        let listed = place.run(&["dead-letters", "list", "--limit", "1000", "--output", form]);
        assert_success(&listed);
        looked.at_output("dead-letters list", &listed);
    }
    for number in 1..=letters {
        let output = place.run(&["dead-letters", "show", &number.to_string()]);
        assert_success(&output);
        looked.at_output("dead-letters show", &output);
    }
}

/// All messages of a queue: properties, headers and routing key, and the body where asked for.
async fn look_at_queue(place: &Place, queue: &str, bodies: bool, looked: &mut Looked) -> usize {
    let connection = connect(&SecretUrl::new(place.amqp_url.clone()), "tests look").await.expect("connects");
    let channel = connection.create_channel().await.expect("channel");
    let mut count = 0;
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await.expect("get") {
        count += 1;
        let message = &got.delivery;
        looked.at(queue, &format!("{} {}", message.routing_key, told(&message.properties)));
        if bodies {
            looked.at(queue, &String::from_utf8_lossy(&message.data));
        }
    }
    connection.close(200, "done".into()).await.ok();
    count
}

async fn listen(place: &Place) {
    let connection = connect(&SecretUrl::new(place.amqp_url.clone()), "tests look").await.expect("connects");
    let channel = connection.create_channel().await.expect("channel");
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(HEARD.into(), options, Default::default()).await.expect("queue");
    let all = QueueBindOptions::default();
    channel
        .queue_bind(HEARD.into(), topology::OUT_EXCHANGE.into(), "#".into(), all, Default::default())
        .await
        .expect("bound");
    connection.close(200, "done".into()).await.ok();
}

/// Rows of every table but those that hold patient data by their purpose.
async fn look_at_tables(place: &Place, looked: &mut Looked) {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
            .fetch_all(&place.pool)
            .await
            .expect("tables");
    assert!(tables.len() > 20, "{} tables", tables.len());
    for table in tables.iter().filter(|table| !STATE.contains(&table.as_str())) {
        let sql = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        for row in sqlx::query(sql).fetch_all(&place.pool).await.expect("rows") {
            looked.at(&format!("table {table}"), &row.get::<String, _>(0));
        }
    }
    for table in STATE {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{WORD}%'"));
        let marked: i64 = sqlx::query_scalar(sql).fetch_one(&place.pool).await.expect("count");
        assert!(marked > 0, "{table} holds the word: it went in");
    }
}

async fn look_at_redis(place: &Place, looked: &mut Looked) {
    let client = redis::Client::open(place.redis_url.as_str()).expect("URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    assert!(keys.len() > 20, "{} keys", keys.len());
    for key in &keys {
        looked.at("a key of Redis", key);
        // Claims and remittances hold patient data by their purpose, as the API answers them.
        if !["claim:", "remittance:", "episode:"].iter().any(|kind| key.contains(kind)) {
            let value: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap_or_default();
            looked.at(&format!("the value of {key}"), &String::from_utf8_lossy(&value));
        }
    }
}

#[test]
fn what_a_panic_would_print_of_an_event_names_nobody() {
    let mut read = 0;
    for message in good().iter().chain(&bad()) {
        let meta = MessageMeta {
            content_type: message.content_type.as_deref(),
            routing_key: &message.routing_key,
            headers: message.headers.clone(),
            ..MessageMeta::default()
        };
        let printed = match decode(&message.body, &meta) {
            Ok(event) => {
                read += 1;
                format!("{event:?} {event:#?}")
            }
            Err(rejection) => format!("{} {rejection:?}", rejection.detail),
        };
        assert!(!named(&printed), "{}", shown(&printed));
    }
    assert!(read >= 14, "{read} were read");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the number is what people ask for")]
async fn no_patient_is_named_where_nobody_may_be() {
    let mut servers = Servers::start(ServerOptions::default()).await.expect("servers start");
    let place = Place::on(&servers).await;
    quoting_trigger(&place).await;
    listen(&place).await;
    let worker = place.worker(&[("CLAIMRISK_LOG", "trace"), ("CLAIMRISK_MAX_EVENT_BYTES", "65536")]).await;
    let mut looked = Looked::default();

    place.publish(&good()).await;
    quiet(&place, &[&worker]).await;
    place.publish(&bad()).await;
    quiet(&place, &[&worker]).await;
    let reasons = place.dead_reasons().await;
    for reason in Reason::ALL {
        assert!(reasons.contains_key(reason.as_str()), "{} is among {reasons:?}", reason.as_str());
    }
    ask_everything(&worker, &mut looked).await;
    break_servers(&mut servers, &place, &worker).await;
    quiet(&place, &[&worker]).await;
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM claims").fetch_all(&place.pool).await.expect("ids");
    for id in ids {
        for path in [format!("/api/v1/claims/{id}"), format!("/api/v1/risk/{id}"), format!("/api/v1/remits/{id}")] {
            worker.get(&path).await;
        }
    }

    let letters = place.dead_reasons().await.values().sum();
    run_commands(&place, letters, &mut looked);
    assert_eq!(look_at_queue(&place, topology::DEAD_QUEUE, false, &mut looked).await, letters);
    assert!(look_at_queue(&place, HEARD, true, &mut looked).await > 50, "announcements were heard");
    look_at_tables(&place, &mut looked).await;
    look_at_redis(&place, &mut looked).await;
    for path in ["metrics", "readyz", "livez"] {
        let (_, told) = try_get(&format!("http://127.0.0.1:{}/{path}", worker.metrics)).await.expect("an answer");
        looked.at(path, &String::from_utf8_lossy(&told));
    }
    eventually("the worker is well", async || worker.readiness().await.0, String::new).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = worker.log();
    assert!(log.contains("TRACE") && log.contains("dead-lettered"), "the log tells all it can");
    log.lines().for_each(|line| looked.at("the worker's log", line));
    eprintln!("{} texts looked at, {} lines of log", looked.texts, log.lines().count());
    assert!(
        looked.found.is_empty(),
        "{} times: {:#?}",
        looked.found.len(),
        &looked.found[..looked.found.len().min(12)]
    );
    assert_eq!(worker.terminate(), 0);
    servers.stop().await;
}
