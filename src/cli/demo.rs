//! Everything at once: private servers, two workers, simulated claims and remittances, the worklist they make, hit rates,
//! and the addresses to look at.
//!
//! What it starts it stops, whether it ends well, fails, or is told to end in the middle. Must never: touch a server that
//! neither it nor the person's own settings named, or leave a process behind.

pub(super) mod fleet;
mod show;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::load;
use super::output::say;
use crate::broker::{self, Outgoing, Publisher};
use crate::config::{self, Config, SecretUrl};
use crate::error::CommandError;
use crate::servers::{self, Options, Postgres, RabbitMq, Redis};
use crate::simulate::{self, Format};
use crate::topology::{self, RetryDelay};
use crate::{domain::types, store};
use fleet::{Folder, Messages, Worker};

/// Workers of the demo: two, to show that they share queues and cache.
const WORKERS: usize = 2;
/// Requests by which some of it is read back.
const READS: load::Plan = load::Plan { concurrent: 8, requests: 300, seed: 1, time_limit: Duration::from_secs(30) };
/// Months over which the simulated claims are sent: few, so that many of them are still open on the last day.
const MONTHS: u32 = 2;
/// How long the workers may take for the samples: this, and a second for so many messages.
const PROCESS_LIMIT: Duration = Duration::from_secs(120);
const MESSAGES_PER_SECOND: u64 = 50;
/// Exit code of `claimrisk publish` when parts of the files could not be read and the rest was published.
const BAD_DATA: i32 = 65;

/// `claimrisk demo`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  claimrisk demo\n  claimrisk demo --once\n  claimrisk demo --claims 20000 FILE.837\n\n\
                        RabbitMQ, PostgreSQL and Redis are started from the system's packages, with data folders and ports \
                        of their own, and stopped at the end. Where AMQP_URL, DATABASE_URL or REDIS_URL is set in the \
                        environment, that server is used instead, and keeps what the demo has put there."
)]
pub(super) struct Arguments {
    /// End by itself. Without it, and on a terminal, the demo keeps serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Simulated claims.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(50..=200_000))]
    claims: u32,
    /// Files or folders to publish after the simulated ones (X12 or NDJSON events).
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// What has been started. The order of the fields is the order in which they end when this is dropped.
#[derive(Default)]
struct Stage {
    workers: Vec<Worker>,
    rabbitmq: Option<RabbitMq>,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    folder: Option<Folder>,
    /// All is shown; only somebody's sign to end is waited for.
    serving: bool,
}

impl Stage {
    /// Stops the workers, then the servers side by side, then removes the files.
    async fn stop(self) {
        let Self { workers, rabbitmq, postgres, redis, folder, .. } = self;
        fleet::stop_all(workers).await;
        let mut stopping = JoinSet::new();
        // Dropping a server waits for its end, which must not hold up the others.
        stopping.spawn_blocking(move || drop(rabbitmq));
        stopping.spawn_blocking(move || drop(postgres));
        stopping.spawn_blocking(move || drop(redis));
        while stopping.join_next().await.is_some() {}
        drop(folder);
    }
}

/// Runs the demo and stops whatever it has started.
pub(super) async fn run(arguments: &Arguments, config: Config) -> Result<(), CommandError> {
    let mut stage = Stage::default();
    let keep_serving = !arguments.once && std::io::stdout().is_terminal();
    let ended = tokio::select! {
        result = play(arguments, config, keep_serving, &mut stage) => Some(result),
        () = told_to_end() => None,
    };
    say("stopping workers and servers");
    let serving = stage.serving;
    stage.stop().await;
    match ended {
        Some(result) => result,
        None if serving => Ok(()),
        None => Err(CommandError::Failed("told to end in the middle; all that was started is stopped".to_owned())),
    }
}

/// Waits for Ctrl-C, SIGTERM, or the end of the terminal.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        say("signals cannot be received here");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// The demo from the first server to the last line printed.
async fn play(
    arguments: &Arguments,
    mut config: Config,
    keep_serving: bool,
    stage: &mut Stage,
) -> Result<(), CommandError> {
    let started = Instant::now();
    let step = |text: &str| say(&format!("[{:>5.1} s] {text}", started.elapsed().as_secs_f64()));
    let folder = stage.folder.insert(Folder::create("demo")?).path().to_owned();
    start_servers(stage, &mut config).await?;
    step("the servers are up; preparing schema, queues and samples");
    let simulating = simulate_samples(folder.join("samples"), arguments.claims);
    let (samples, prepared) = tokio::join!(simulating, prepare(&config));
    let (samples, connection) = (samples?, prepared?);
    step(&format!("starting {WORKERS} workers"));
    let client = load::client();
    start_workers(stage, &folder, &config, &client).await?;

    step(&format!("publishing {} claims and {} remittances as X12", samples.claims, samples.remittances));
    let publishing = Instant::now();
    publish_raw(&config, &samples.raw).await?;
    publish_files(&config, samples.files.iter().chain(&arguments.paths)).await?;
    let messages = processed(stage, &connection, &client, samples.events()).await?;
    let seconds = publishing.elapsed().as_secs_f64();
    let dead_letters = waiting(&connection, &[topology::DEAD_QUEUE]).await?;
    step("all is processed; reading some of it back");
    let api = stage.workers.first().map(|worker| worker.api.clone()).unwrap_or_default();
    let report = load::drive(&client, &api, READS).await?;

    show::processed(&client, &api, &show::Flow { messages, seconds, dead_letters }).await?;
    show::worklist(&client, &api).await?;
    show::report(&report)?;
    let management = stage.rabbitmq.as_ref().map(RabbitMq::management_url);
    show::addresses(&stage.workers, management.as_deref())?;
    step("done");
    if keep_serving {
        stage.serving = true;
        say("serving until Ctrl-C");
        loop {
            stage.workers.iter_mut().try_for_each(Worker::check)?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// Starts the servers that the environment does not name, all at once, and puts their URLs into the settings.
async fn start_servers(stage: &mut Stage, config: &mut Config) -> Result<(), CommandError> {
    let [amqp, database, redis] = ["AMQP_URL", "DATABASE_URL", "REDIS_URL"].map(config::is_in_environment);
    if !(amqp || database || redis) {
        // All three are looked for before any starts.
        servers::check_installed()?;
    }
    let options = Options { progress: Some(Arc::new(|sentence: &str| say(sentence))), ..Options::default() };
    let Stage { rabbitmq, postgres, redis: cache, .. } = stage;
    // Each is kept as soon as it is up: when another fails, it is stopped in order.
    let start_rabbitmq = async {
        if !amqp {
            let server = rabbitmq.insert(RabbitMq::start(&options).await?);
            config.amqp_url = SecretUrl::new(server.amqp_url());
        }
        Ok::<(), CommandError>(())
    };
    let start_postgres = async {
        if !database {
            let server = postgres.insert(Postgres::start(&options).await?);
            config.database_url = SecretUrl::new(server.create_database("claimrisk").await?);
        }
        Ok::<(), CommandError>(())
    };
    let start_redis = async {
        if !redis {
            let server = cache.insert(Redis::start(&options).await?);
            config.redis_url = SecretUrl::new(server.url(0));
        }
        Ok::<(), CommandError>(())
    };
    let (first, second, third) = tokio::join!(start_rabbitmq, start_postgres, start_redis);
    first.and(second).and(third)
}

/// Migrates the database and declares the queues; returns a connection for looking at these.
async fn prepare(config: &Config) -> Result<Connection, CommandError> {
    let pool = store::pool(config)?;
    let migrated = store::migrate(&pool).await;
    pool.close().await;
    migrated?;
    let connection = broker::connect(&config.amqp_url, "demo").await?;
    let channel = connection.create_channel().await?;
    topology::apply(&channel).await.map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(connection)
}

async fn start_workers(
    stage: &mut Stage,
    folder: &Path,
    config: &Config,
    client: &load::HttpClient,
) -> Result<(), CommandError> {
    // Tokens would keep the demo out of its own API, which listens on the loopback interface only.
    let settings = BTreeMap::from([("CLAIMRISK_API_TOKENS_FILE", String::new())]);
    for number in 1..=WORKERS {
        stage.workers.push(Worker::start(&format!("worker-{number}"), folder, config, &settings).await?);
    }
    for worker in &mut stage.workers {
        worker.ready(client).await?;
    }
    Ok(())
}

/// Sample interchanges: most as files, two as messages for the splitter.
struct Samples {
    claims: usize,
    remittances: usize,
    files: Vec<PathBuf>,
    raw: Vec<Vec<u8>>,
}

impl Samples {
    /// Messages that the workers will settle for them, at the least.
    fn events(&self) -> u64 {
        (self.claims + self.remittances + self.raw.len()) as u64
    }
}

/// Simulates and writes the samples; remittances end with the last day on which a claim was sent, so that the newest claims
/// are open, as they are in life.
async fn simulate_samples(folder: PathBuf, claims: u32) -> Result<Samples, CommandError> {
    let written = tokio::task::spawn_blocking(move || {
        let options = simulate::Options { claims, months: MONTHS, ..simulate::Options::default() };
        let mut simulation = simulate::simulate(&options);
        let today: Option<types::Instant> = simulation.claims.iter().map(|entry| entry.submitted).max();
        simulation.remittances.retain(|entry| Some(entry.time) <= today);
        let written = simulate::write_dir(&simulation, &folder, Format::X12)?;
        let mut samples =
            Samples { claims: written.claims, remittances: written.remittances, files: Vec::new(), raw: Vec::new() };
        for extension in [".837", ".835"] {
            let mut names = written.files.iter().filter(|name| name.ends_with(extension)).map(|name| folder.join(name));
            if let Some(first) = names.next() {
                samples.raw.push(std::fs::read(first)?);
            }
            samples.files.extend(names);
        }
        Ok(samples)
    });
    let samples: std::io::Result<Samples> =
        written.await.map_err(|error| CommandError::Failed(format!("the simulation failed: {error}")))?;
    samples.map_err(|error| CommandError::Failed(format!("the samples could not be written: {error}")))
}

/// Publishes whole interchanges, for the workers to split.
async fn publish_raw(config: &Config, interchanges: &[Vec<u8>]) -> Result<(), CommandError> {
    let publisher = Publisher::new(config.amqp_url.clone(), "demo publisher");
    publisher.check().await?;
    let messages: Vec<Outgoing> = interchanges
        .iter()
        .map(|body| Outgoing {
            exchange: topology::EVENTS_EXCHANGE,
            routing_key: topology::X12_RECEIVED.to_owned(),
            body: body.clone(),
            content_type: Some("application/EDI-X12".to_owned()),
            message_id: None,
            kind: None,
            app_id: None,
            timestamp: None,
            headers: BTreeMap::new(),
            mandatory: true,
        })
        .collect();
    let answers: Result<(), _> = publisher.publish(&messages).await.into_iter().collect();
    publisher.close().await;
    answers.map_err(|error| CommandError::Failed(format!("an interchange was not taken: {error}")))
}

/// Publishes files as a person would: with `claimrisk publish`.
async fn publish_files(config: &Config, files: impl Iterator<Item = &PathBuf>) -> Result<(), CommandError> {
    let status = Command::new(std::env::current_exe()?)
        .arg("publish")
        .args(files)
        .env("AMQP_URL", config.amqp_url.expose())
        .stdin(Stdio::null())
        // Its table of files would hide the worklist; its progress and what it complains of stay.
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .status()
        .await?;
    match status.code() {
        Some(0) => Ok(()),
        Some(BAD_DATA) => {
            say("some parts could not be read; the demo goes on with the others");
            Ok(())
        }
        _ => Err(CommandError::Failed(format!("publishing the samples ended with {status}"))),
    }
}

/// Waits until no message waits in a queue or is worked on, and at least `expected` were settled.
async fn processed(
    stage: &mut Stage,
    connection: &Connection,
    client: &load::HttpClient,
    expected: u64,
) -> Result<Messages, CommandError> {
    let mut queues = vec![topology::CLAIMS_QUEUE, topology::REMITTANCES_QUEUE, topology::X12_QUEUE];
    queues.extend(RetryDelay::ALL.map(RetryDelay::queue));
    let deadline = Instant::now() + PROCESS_LIMIT + Duration::from_secs(expected / MESSAGES_PER_SECOND);
    let (mut quiet, mut told) = (0, Instant::now());
    loop {
        let waiting = waiting(connection, &queues).await?;
        let mut all = Messages::default();
        for worker in &mut stage.workers {
            all = all.plus(worker.messages(client).await?);
        }
        let done = waiting == 0 && all.received == all.settled && all.settled >= expected;
        // Twice in a row: a message may have been between a queue and a worker when each was looked at.
        quiet = if done { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(all);
        }
        let sums = format!("{} messages settled, {waiting} waiting, {} in flight", all.settled, all.in_flight());
        if Instant::now() > deadline {
            return Err(CommandError::TryAgain(format!("the workers did not finish in time: {sums}")));
        }
        if told.elapsed() > Duration::from_secs(2) {
            say(&sums);
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Messages that wait in queues, by asking for each queue without declaring it.
async fn waiting(connection: &Connection, queues: &[&str]) -> Result<u64, CommandError> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let mut waiting = 0;
    for queue in queues {
        let answer = channel.queue_declare((*queue).into(), options, FieldTable::default()).await?;
        waiting += u64::from(answer.message_count());
    }
    channel.close(200, "counted".into()).await?;
    Ok(waiting)
}
