//! The private servers, and the broker topology on a real one: they start, serve, survive what the fault tests do to them,
//! and leave neither a process nor a folder behind, however their owner ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test by panicking")]
#![expect(clippy::print_stdout, reason = "the owner that is killed tells the test its folders")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claimrisk::servers::{Options, Postgres, Prometheus, RabbitMq, Redis, Servers, StopMode};
use claimrisk::topology::{
    self, CLAIM_ACKNOWLEDGED, CLAIM_SUBMITTED, CLAIMS_QUEUE, DEAD_EXCHANGE, DEAD_QUEUE, Difference, EVENTS_EXCHANGE,
    REMITTANCE_RECEIVED, REMITTANCES_QUEUE, RETRY_DELAY_HEADER, RETRY_EXCHANGE, RetryDelay, X12_QUEUE, X12_RECEIVED,
};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::OnceCell;

/// Tells the test program that it is the owner that is going to be killed, and which servers to start.
const OWNER_ROLE: &str = "CLAIMRISK_TEST_SERVER_OWNER";

/// The folder of the run that a server's own folder is in; its name is on every process of the run.
fn run_folder(server_folder: &Path) -> PathBuf {
    server_folder.parent().unwrap().to_path_buf()
}

/// The processes that have the folder in their command line, environment or working directory.
fn processes_of(folder: &Path) -> Vec<String> {
    let needle = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry.file_name().into_string().unwrap_or_default();
        if id.parse::<u32>().is_err() {
            continue;
        }
        let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let directory = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if command.contains(needle) || environment.contains(needle) || directory.starts_with(folder) {
            found.push(format!("{id} {command}"));
        }
    }
    found
}

/// Waits until no process of the run and no folder is left.
fn assert_nothing_left(folders: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    for folder in folders {
        loop {
            let left = processes_of(folder);
            if left.is_empty() && !folder.exists() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{} exists: {}, processes: {left:#?}",
                folder.display(),
                folder.exists()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The local addresses (hexadecimal, as the kernel prints them) on which processes of the folder listen.
fn listening_addresses(folder: &Path) -> Vec<String> {
    let mut sockets = Vec::new();
    for process in processes_of(folder) {
        let id = process.split_whitespace().next().unwrap();
        for descriptor in fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(descriptor.path()) {
                sockets.push(target.to_string_lossy().into_owned());
            }
        }
    }
    let mut addresses = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // Column 3 is the state, 0A = listening; column 9 the socket's number.
            if columns[3] == "0A" && sockets.contains(&format!("socket:[{}]", columns[9])) {
                addresses.push(columns[1].split(':').next().unwrap().to_owned());
            }
        }
    }
    addresses
}

/// Starts this test program as the owner of servers and returns it with the folders of their runs.
fn start_owner(servers: &str) -> (Child, Vec<PathBuf>) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_is_killed", "--nocapture"])
        .env(OWNER_ROLE, servers)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let told = |line: String| Some(line.split_once("folders=")?.1.split(',').map(PathBuf::from).collect::<Vec<_>>());
    let folders = output.lines().map(Result::unwrap).find_map(told).expect("the owner did not start its servers");
    (owner, folders)
}

/// Not a test of its own: what [`start_owner`] runs. Without its role it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn owner_that_is_killed() {
    let Some(role) = std::env::var_os(OWNER_ROLE) else {
        return;
    };
    let print = |folders: &[&Path]| {
        let folders: Vec<String> = folders.iter().map(|folder| run_folder(folder).display().to_string()).collect();
        println!("folders={}", folders.join(","));
    };
    let options = Options::default();
    if role == "all" {
        let servers = Servers::start(options).await.unwrap();
        print(&[servers.rabbitmq.folder(), servers.postgres.folder(), servers.redis.folder()]);
        std::future::pending::<()>().await;
    } else {
        let redis = Redis::start(&options).await.unwrap();
        print(&[redis.folder()]);
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_servers_serve_on_loopback_only_and_stop_without_a_trace() {
    let servers = Servers::start(Options::default()).await.unwrap();
    let folders = [
        run_folder(servers.rabbitmq.folder()),
        run_folder(servers.postgres.folder()),
        run_folder(servers.redis.folder()),
    ];
    for folder in &folders {
        let addresses = listening_addresses(folder);
        assert!(!addresses.is_empty(), "nothing listens for {}", folder.display());
        for address in addresses {
            // 127.0.0.1 and ::1 in the kernel's byte order.
            assert!(address == "0100007F" || address == "00000000000000000000000001000000", "listens on {address}");
        }
    }

    let url = servers.rabbitmq.add_vhost("one").await.unwrap();
    let connection = connect(&url).await;
    assert!(connection.status().connected());
    let overview = servers.rabbitmq.management("GET", "/api/vhosts", None).await.unwrap();
    assert!(overview.contains("\"one\""));
    let listed = servers.rabbitmq.ctl(&["list_vhosts", "--silent"]).await.unwrap();
    assert!(listed.lines().any(|line| line == "one"), "{listed}");

    servers.postgres.create_database("one").await.unwrap();
    let version = servers.postgres.sql("one", "SHOW server_version_num").await.unwrap();
    assert!(version.parse::<u32>().unwrap() >= 150_000, "{version}");
    let twice = servers.postgres.create_database("one").await.unwrap_err();
    assert!(twice.to_string().contains("already exists"), "{twice}");

    servers.stop().await;
    assert_nothing_left(&folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_no_server_behind() {
    let (mut owner, folders) = start_owner("all");
    assert_eq!(folders.len(), 3);
    for folder in &folders {
        assert!(!processes_of(folder).is_empty(), "nothing runs for {}", folder.display());
    }
    owner.kill().unwrap();
    assert_eq!(owner.wait().unwrap().signal(), Some(9));
    assert_nothing_left(&folders);
}

/// Whether whoever started the tests (`nohup`, a shell's background) made them, and so their children, ignore a signal.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal as u64 - 1) & 1 == 1
}

#[test]
fn an_interrupted_owner_leaves_no_server_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter(|one| !is_ignored(*one)) {
        let (mut owner, folders) = start_owner("redis");
        kill(Pid::from_raw(owner.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(owner.wait().unwrap().signal(), Some(signal as i32));
        assert_nothing_left(&folders);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_server_even_when_it_is_frozen() {
    let redis = Redis::start(&Options::default()).await.unwrap();
    let folders = [run_folder(redis.folder())];
    redis.pause();
    let panicked = tokio::spawn(async move {
        let _held = redis;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_nothing_left(&folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_is_told_to_end_takes_its_server_along() {
    let redis = Redis::start(&Options::default()).await.unwrap();
    let folders = [run_folder(redis.folder())];
    let status = fs::read_to_string(format!("/proc/{}/status", redis.pid())).unwrap();
    let watchdog =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|id| id.trim().parse().ok()).unwrap();
    kill(Pid::from_raw(watchdog), Signal::SIGTERM).unwrap();
    assert_nothing_left(&folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_back_empty_on_the_same_port() {
    let mut redis = Redis::start(&Options::default()).await.unwrap();
    let folders = [run_folder(redis.folder())];
    let (url, first) = (redis.url(0), redis.pid());
    redis.kill9().await.unwrap();
    assert!(!redis.is_running());
    redis.start_again().await.unwrap();
    redis.restart().await.unwrap();
    assert!(redis.is_running());
    assert_eq!(redis.url(0), url);
    assert_ne!(redis.pid(), first);
    redis.kill9().await.unwrap();
    drop(redis);
    assert_nothing_left(&folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_its_data_over_both_ways_of_stopping() {
    let mut postgres = Postgres::start(&Options::default()).await.unwrap();
    let folders = [run_folder(postgres.folder())];
    postgres.create_database("kept").await.unwrap();
    postgres.sql("kept", "CREATE TABLE t (n int)").await.unwrap();
    for (mode, expected) in [(StopMode::Fast, "1"), (StopMode::Immediate, "2")] {
        postgres.sql("kept", "INSERT INTO t VALUES (1)").await.unwrap();
        postgres.restart(mode).await.unwrap();
        assert_eq!(postgres.sql("kept", "SELECT count(*) FROM t").await.unwrap(), expected);
    }
    drop(postgres);
    assert_nothing_left(&folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_and_answers() {
    let prometheus = Prometheus::start(&Options::default(), &[]).await.unwrap();
    let folders = [run_folder(prometheus.folder())];
    let answer = prometheus.query("sum(vector(40)) + 2").await.unwrap();
    assert!(answer.contains("\"42\""), "{answer}");
    let error = prometheus.query("sum(").await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
    drop(prometheus);
    assert_nothing_left(&folders);
}

/// One broker for all tests of the topology, each in a virtual host of its own. Nobody drops it: the end of this process
/// ends it, as the tests above show.
async fn shared_broker() -> &'static RabbitMq {
    static BROKER: OnceCell<RabbitMq> = OnceCell::const_new();
    BROKER.get_or_init(|| async { RabbitMq::start(&Options::default()).await.unwrap() }).await
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

/// A connection to a new virtual host with the topology in it, and a channel with confirms.
async fn connect_with_topology(vhost: &str) -> (Connection, Channel) {
    let connection = connect(&shared_broker().await.add_vhost(vhost).await.unwrap()).await;
    let channel = connection.create_channel().await.unwrap();
    topology::apply(&channel).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

/// Publishes a persistent message with `mandatory`; whether the broker confirmed it and had a queue for it.
async fn publish(channel: &Channel, exchange: &str, key: &str, headers: FieldTable, body: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
    matches!(sent.await.unwrap().await.unwrap(), Confirmation::Ack(None))
}

/// The `retry-delay` header.
fn delay_header(delay: RetryDelay) -> FieldTable {
    let mut headers = FieldTable::default();
    let value = AMQPValue::LongString(delay.header_value().into());
    headers.insert(RETRY_DELAY_HEADER.into(), value);
    headers
}

/// Takes one message, waiting for it.
async fn take(channel: &Channel, queue: &str, deadline: Duration) -> BasicGetMessage {
    let end = Instant::now() + deadline;
    loop {
        if let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap() {
            return message;
        }
        assert!(Instant::now() < end, "no message in {queue} within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn text(message: &BasicGetMessage) -> &str {
    std::str::from_utf8(&message.data).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_missing_and_makes_nothing() {
    let connection = connect(&shared_broker().await.add_vhost("empty").await.unwrap()).await;
    for _ in 0..2 {
        let differences = topology::check(&connection).await.unwrap();
        assert_eq!(differences.len(), 11, "{differences:#?}");
        assert_eq!(differences[0].to_string(), "exchange claimrisk.events is missing");
        assert!(differences.iter().all(|difference| matches!(difference, Difference::Missing { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_twice_changes_nothing_and_checks_clean() {
    let (connection, channel) = connect_with_topology("twice").await;
    let report = topology::apply(&channel).await.unwrap();
    assert_eq!(report.to_string(), "4 exchanges, 7 queues and 8 bindings are declared");
    assert_eq!(topology::check(&connection).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_another_limit_is_named_by_check_and_refused_by_apply() {
    let connection = connect(&shared_broker().await.add_vhost("drift").await.unwrap()).await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(3));
    channel.queue_declare(CLAIMS_QUEUE.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let differences = topology::check(&connection).await.unwrap();
    let found = differences.iter().find(|difference| matches!(difference, Difference::Differs { .. })).unwrap();
    let words = found.to_string();
    assert!(words.starts_with("queue claimrisk.claims differs: ") && words.contains("x-de"), "{words}");
    let error = topology::apply(&channel).await.unwrap_err();
    assert_eq!(error.to_string(), "the broker refused queue claimrisk.claims");
    assert!(connection.status().connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_imports_as_it_is_and_equals_what_apply_declares() {
    let broker = shared_broker().await;
    let file = broker.folder().join("definitions.json");
    fs::write(&file, topology::print()).unwrap();
    broker.ctl(&["import_definitions", file.to_str().unwrap()]).await.unwrap();
    let connection = connect(&broker.amqp_url()).await;
    assert_eq!(topology::check(&connection).await.unwrap(), []);
    connect_with_topology("compared").await;
    let bindings = async |vhost: &str| -> BTreeSet<String> {
        let answer = broker.management("GET", &format!("/api/bindings/{vhost}"), None).await.unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_str(&answer).unwrap();
        list.iter()
            .filter(|binding| binding["source"] != "")
            .map(|b| format!("{} {} {} {}", b["source"], b["destination"], b["routing_key"], b["arguments"]))
            .collect()
    };
    assert_eq!(bindings("%2f").await.len(), 8);
    assert_eq!(bindings("%2f").await, bindings("compared").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_type_reaches_its_work_queue_and_an_unknown_one_comes_back() {
    let (_connection, channel) = connect_with_topology("routing").await;
    for (key, queue) in [
        (CLAIM_SUBMITTED, CLAIMS_QUEUE),
        (CLAIM_ACKNOWLEDGED, CLAIMS_QUEUE),
        (REMITTANCE_RECEIVED, REMITTANCES_QUEUE),
        (X12_RECEIVED, X12_QUEUE),
    ] {
        assert!(publish(&channel, EVENTS_EXCHANGE, key, FieldTable::default(), key).await);
        let message = take(&channel, queue, Duration::from_secs(10)).await;
        assert_eq!(text(&message), key);
        message.ack(BasicAckOptions::default()).await.unwrap();
    }
    assert!(!publish(&channel, EVENTS_EXCHANGE, "claim.eaten", FieldTable::default(), "x").await);
    assert!(!publish(&channel, RETRY_EXCHANGE, CLAIM_SUBMITTED, FieldTable::default(), "no delay").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_event_comes_back_under_its_own_routing_key_again_and_again() {
    let (_connection, channel) = connect_with_topology("retry").await;
    let mut headers = delay_header(RetryDelay::FiveSeconds);
    for round in 1..=2 {
        let start = Instant::now();
        assert!(publish(&channel, RETRY_EXCHANGE, REMITTANCE_RECEIVED, headers, "again").await);
        let message = take(&channel, REMITTANCES_QUEUE, Duration::from_secs(30)).await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(4_900), "round {round}: back after {waited:?}");
        assert_eq!(text(&message), "again");
        assert_eq!(message.routing_key.as_str(), REMITTANCE_RECEIVED);
        message.ack(BasicAckOptions::default()).await.unwrap();
        // The second round carries the broker's own history of the first: no cycle to be broken.
        headers = message.properties.headers().clone().unwrap();
        assert!(headers.contains_key("x-death"));
    }
    for delay in [RetryDelay::OneMinute, RetryDelay::TenMinutes] {
        assert!(publish(&channel, RETRY_EXCHANGE, CLAIM_SUBMITTED, delay_header(delay), delay.queue()).await);
        let message = take(&channel, delay.queue(), Duration::from_secs(10)).await;
        assert_eq!(text(&message), delay.queue());
    }
}

/// The lines of the broker's log that say a queue dead-letters at most once; waits for the first.
async fn weaker_dead_lettering(folder: &Path) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let logs = fs::read_dir(folder.join("log")).unwrap().flatten();
        let log: String = logs.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect();
        let lines = log.lines().filter(|line| line.contains("at-most-once"));
        let found: Vec<String> = lines.map(str::to_owned).collect();
        if !found.is_empty() || Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_handed_back_too_often_is_dead_lettered_by_the_broker_at_least_once() {
    let (_connection, channel) = connect_with_topology("poison").await;
    assert!(publish(&channel, EVENTS_EXCHANGE, CLAIM_SUBMITTED, FieldTable::default(), "poison").await);
    for _ in 0..21 {
        let message = take(&channel, CLAIMS_QUEUE, Duration::from_secs(10)).await;
        message.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    }
    // Looking at a dead letter and putting it back, as the tools do, never uses up its own limit.
    for _ in 0..25 {
        let message = take(&channel, DEAD_QUEUE, Duration::from_secs(10)).await;
        assert_eq!((text(&message), message.routing_key.as_str()), ("poison", CLAIM_SUBMITTED));
        message.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    }
    take(&channel, DEAD_QUEUE, Duration::from_secs(10)).await;

    // The broker only warns when it takes the weaker strategy. A queue that misses an argument shows what that looks like.
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", DEAD_EXCHANGE),
        ("x-dead-letter-strategy", "at-least-once"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    channel.queue_declare("weaker".into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let warnings = weaker_dead_lettering(shared_broker().await.folder()).await;
    assert!(!warnings.is_empty() && warnings.iter().all(|line| line.contains("'weaker'")), "{warnings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_messages_survive_a_power_cut_of_the_broker_and_a_pause_keeps_it() {
    let mut broker = RabbitMq::start(&Options::default()).await.unwrap();
    let folders = [run_folder(broker.folder())];
    let connection = connect(&broker.amqp_url()).await;
    let channel = connection.create_channel().await.unwrap();
    topology::apply(&channel).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for number in 0..100 {
        assert!(publish(&channel, EVENTS_EXCHANGE, X12_RECEIVED, FieldTable::default(), &number.to_string()).await);
    }
    let first = broker.pid();
    broker.kill9().await.unwrap();
    assert!(!broker.is_running());
    assert!(broker.ctl(&["status"]).await.unwrap_err().to_string().contains("not running"));
    broker.start_again().await.unwrap();
    assert_ne!(broker.pid(), first);
    let connection = connect(&broker.amqp_url()).await;
    let channel = connection.create_channel().await.unwrap();
    broker.pause();
    let silent = channel.basic_get(X12_QUEUE.into(), BasicGetOptions { no_ack: true });
    assert!(tokio::time::timeout(Duration::from_millis(500), silent).await.is_err());
    broker.resume();
    for number in 1..100 {
        let message = take(&channel, X12_QUEUE, Duration::from_secs(10)).await;
        assert_eq!(text(&message), number.to_string());
    }
    drop(broker);
    assert_nothing_left(&folders);
}
