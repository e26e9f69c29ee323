//! Where a fault is played: servers, a proxy before each of them, a world of events, and what it must end in.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claimrisk::broker::{Outgoing, Publisher};
use claimrisk::config::SecretUrl;
use claimrisk::servers::{Options as ServerOptions, Servers};
use claimrisk::simulate::{Options, Simulation, simulate};
use tokio::sync::{MutexGuard, OnceCell};

use crate::events::quiet;
use crate::harness::{Place, Worker, servers};
use crate::ledger::SHORT_RETRIES;
use crate::proxy::Proxy;
use crate::truth::{messages, shuffle, state};

/// A simulated world, and the state that one worker ends in that takes its events one by one, in their order, undisturbed.
pub struct World {
    pub simulation: Simulation,
    pub messages: Vec<Outgoing>,
    pub state: Vec<String>,
    /// Texts that name a patient or a claim: they may stand in no log, no metric, no header.
    pub markers: Vec<String>,
}

static WORLD: OnceCell<World> = OnceCell::const_new();
static ROUGH: OnceCell<tokio::sync::Mutex<Servers>> = OnceCell::const_new();

/// The world of all faults; the reference is made once.
pub async fn world() -> &'static World {
    WORLD.get_or_init(make_world).await
}

async fn make_world() -> World {
    // Few practices, so that patients come again and claims bear on each other.
    let simulation = simulate(&Options { claims: 300, seed: 77, practices: 4, ..Options::default() });
    let once = messages(&simulation);
    let place = Place::new().await;
    let worker = place.worker(&[("CLAIMRISK_BATCH_MESSAGES", "1"), ("CLAIMRISK_PREFETCH_MESSAGES", "1")]).await;
    place.publish(&once).await;
    place.wait_count("SELECT count(*) FROM ingest_events", once.len() as i64).await;
    quiet(&place, &[&worker]).await;
    let state = state(&place).await;
    let mut markers: Vec<String> = simulation
        .claims
        .iter()
        .flat_map(|claim| {
            let number = claim.truth.patient_control_number.expose().clone();
            [Some(number), claim.claim.subscriber.member_id.as_ref().map(|id| id.expose().clone())]
        })
        .flatten()
        .filter(|marker| marker.len() >= 8)
        .collect();
    // And those of the events that faults make themselves.
    markers.extend(["PCN-".to_owned(), "W123456789".to_owned()]);
    markers.sort_unstable();
    markers.dedup();
    assert!(markers.len() > 100, "{} markers", markers.len());
    World { simulation, messages: once, state, markers }
}

/// Servers that may be killed, starved and silenced; one fault has them at a time.
pub struct Rough(MutexGuard<'static, Servers>);

/// Whether the fault before failed, and may have left the servers in whatever state.
static LEFT: AtomicBool = AtomicBool::new(false);

impl Drop for Rough {
    fn drop(&mut self) {
        LEFT.store(std::thread::panicking(), Ordering::SeqCst);
    }
}

impl std::ops::Deref for Rough {
    type Target = Servers;
    fn deref(&self) -> &Servers {
        &self.0
    }
}

impl std::ops::DerefMut for Rough {
    fn deref_mut(&mut self) -> &mut Servers {
        &mut self.0
    }
}

/// The servers that may be harmed, in good order.
pub async fn rough() -> Rough {
    let start =
        async || tokio::sync::Mutex::new(Servers::start(ServerOptions::default()).await.expect("servers start"));
    let mut servers = ROUGH.get_or_init(start).await.lock().await;
    if LEFT.swap(false, Ordering::SeqCst) {
        servers.redis.resume();
        servers.redis.restart().await.expect("Redis");
        if !servers.postgres.is_running() {
            servers.postgres.start_again().await.expect("PostgreSQL");
        }
        servers.rabbitmq.resume();
        servers.rabbitmq.kill9().await.expect("RabbitMQ");
        servers.rabbitmq.start_again().await.expect("RabbitMQ");
    }
    Rough(servers)
}

/// Lets queues without a leader elect one. RabbitMQ 3.10, killed and started again, now and then leaves a queue without a
/// leader for good, though it has one member: what is published there is never confirmed (the worker waits, as it should),
/// and nothing can be read. Operators do the same.
pub async fn wake_queues(servers: &Servers, scene: &Scene) {
    let wake = format!(
        "[ra:trigger_election({{N, node()}}) || Q <- rabbit_amqqueue:list(<<\"{}\">>), {{N, _}} <- [amqqueue:get_pid(Q)], \
         ra_leaderboard:lookup_leader(N) =:= undefined].",
        scene.place.vhost
    );
    servers.rabbitmq.ctl(&["eval", &wake]).await.expect("elections");
}

/// A place with a proxy before each server. Workers go through the proxies, publishing and checking go past them.
pub struct Scene {
    pub place: Place,
    pub broker: Proxy,
    pub database: Proxy,
    pub redis: Proxy,
    urls: [(&'static str, String); 3],
    /// Logs of workers that are gone.
    pub logs: Mutex<Vec<String>>,
}

impl Scene {
    /// On the servers that nobody harms.
    pub async fn new() -> Self {
        Self::on(servers().await).await
    }

    pub async fn on(servers: &Servers) -> Self {
        let place = Place::on(servers).await;
        let policy = format!("/api/policies/{}/short", place.vhost);
        servers.rabbitmq.management("PUT", &policy, Some(SHORT_RETRIES)).await.expect("policy");
        let ports = [servers.rabbitmq.amqp_port(), servers.postgres.port(), servers.redis.port()];
        let [broker, database, redis] =
            [Proxy::before(ports[0]).await, Proxy::before(ports[1]).await, Proxy::before(ports[2]).await];
        let urls = [
            ("AMQP_URL", broker.url(&place.amqp_url, ports[0]) + "?heartbeat=2"),
            ("DATABASE_URL", database.url(&place.database_url, ports[1])),
            ("REDIS_URL", redis.url(&place.redis_url, ports[2])),
        ];
        Self { place, broker, database, redis, urls, logs: Mutex::default() }
    }

    /// A worker with small batches, behind the proxies; it is ready.
    pub async fn worker(&self, extra: &[(&str, &str)]) -> Worker {
        let worker = self.worker_not_ready(extra);
        worker.wait_ready().await;
        worker
    }

    pub fn worker_not_ready(&self, extra: &[(&str, &str)]) -> Worker {
        self.launch(self.place.command(&["worker"]), extra)
    }

    /// A worker from a command that runs the binary, such as one that limits it.
    pub fn launch(&self, command: Command, extra: &[(&str, &str)]) -> Worker {
        let mut all = vec![("CLAIMRISK_BATCH_MESSAGES", "40")];
        all.extend(self.urls.iter().map(|(name, url)| (*name, url.as_str())));
        all.extend(extra);
        self.place.launch(command, &all)
    }

    /// Kills a worker and keeps its log.
    pub fn kill(&self, worker: Worker) {
        self.logs.lock().expect("lock").push(worker.kill());
    }

    /// Publishes anew on a connection of its own: the one before it may be gone with its server.
    pub async fn publish_anew(&self, messages: &[Outgoing]) {
        let publisher = Publisher::new(SecretUrl::new(self.place.amqp_url.clone()), "tests");
        for part in messages.chunks(500) {
            for answer in publisher.publish(part).await {
                answer.expect("the broker takes it");
            }
        }
        publisher.close().await;
    }

    pub async fn applied(&self) -> i64 {
        self.place.count("SELECT count(*) FROM ingest_events WHERE result <> 'rejected'").await
    }

    /// Waits until so many events are applied.
    pub async fn wait_applied(&self, least: i64) {
        let began = Instant::now();
        while self.applied().await < least {
            assert!(began.elapsed() < Duration::from_secs(90), "{} of {least} events applied", self.applied().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The world's events in an order that a seed chooses.
pub fn shuffled(world: &World, seed: u64) -> Vec<Outgoing> {
    let mut all = world.messages.clone();
    shuffle(&mut all, seed);
    all
}

/// How long something took, told in a result.
pub async fn seconds_until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> f64 {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "in {limit:?} it did not come about: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed().as_secs_f64()
}
