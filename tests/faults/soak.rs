//! Full load with faults by chance, for `CLAIMRISK_SOAK_MINUTES` (`make soak MINUTES=n`): two workers, every fault that a
//! seed chooses, and at the end every event in exactly one place and every cent once. `CLAIMRISK_SOAK_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use claimrisk::broker::{Outgoing, Publisher};
use claimrisk::config::SecretUrl;
use claimrisk::servers::{Servers, StopMode};
use claimrisk::simulate::{Options, simulate};
use claimrisk::topology;
use serde_json::{Value, json};

use crate::crash::duplicates;
use crate::harness::{Worker, setting};
use crate::ledger::{Ledger, identity};
use crate::proxy::{Then, Trigger, Way};
use crate::random::Random;
use crate::scene::{Scene, rough, wake_queues};
use crate::truth::{messages, shuffle};

/// Messages that may wait in a queue before no more are sent.
const BACKLOG: u32 = 3000;

/// What the tables must come to.
#[derive(Default)]
struct Expected {
    claims: i64,
    submissions: i64,
    remittances: i64,
    paid_cents: i64,
}

/// A part of the load: a simulated world of practices of its own, shuffled, a third of it twice.
fn part(number: u64, expected: &mut Expected) -> Vec<Outgoing> {
    let simulation = simulate(&Options { claims: 500, seed: number, practices: 4, ..Options::default() });
    let keys: BTreeSet<_> = simulation
        .claims
        .iter()
        .map(|claim| {
            let truth = &claim.truth;
            (truth.practice.clone(), truth.patient_control_number.expose().clone(), truth.responsibility.to_owned())
        })
        .collect();
    expected.claims += keys.len() as i64;
    expected.submissions += simulation.claims.len() as i64;
    expected.remittances += simulation.remittances.len() as i64;
    expected.paid_cents +=
        simulation.remittances.iter().map(|remittance| remittance.remittance.payment.get()).sum::<i64>();
    let mut all: Vec<Outgoing> = messages(&simulation).into_iter().map(|message| moved(message, number)).collect();
    let again: Vec<Outgoing> = all.iter().step_by(3).cloned().collect();
    all.extend(again);
    shuffle(&mut all, number);
    all
}

/// The same event of practices that no other part has.
fn moved(mut message: Outgoing, number: u64) -> Outgoing {
    let mut event: Value = serde_json::from_slice(&message.body).expect("JSON");
    let data = &event["data"];
    let named = [&data["practiceId"], &data["billingProvider"]["npi"], &data["payeeNpi"]];
    let practice = named.iter().find_map(|name| name.as_str()).expect("a practice").to_owned();
    event["data"]["practiceId"] = json!(format!("{practice}-{number}"));
    let id = format!("{}-{number}", event["id"].as_str().expect("id"));
    event["id"] = json!(id);
    message.message_id = Some(id);
    message.body = event.to_string().into_bytes();
    message
}

/// The fleet under load.
struct Soak {
    scene: Scene,
    workers: Vec<Worker>,
    publisher: Publisher,
    random: Random,
    sent: Vec<Outgoing>,
    /// Confirmed messages, repetitions included.
    confirmed: u64,
    duplicates: u64,
    done: BTreeMap<&'static str, u64>,
}

impl Soak {
    async fn start_worker(&self) -> Worker {
        self.scene.worker(&[("CLAIMRISK_DATABASE_TIMEOUT_MS", "2500"), ("CLAIMRISK_BATCH_MESSAGES", "200")]).await
    }

    /// Publishes until everything is confirmed; what is not, is published again.
    async fn publish(&mut self, messages: &[Outgoing]) {
        for part in messages.chunks(200) {
            let mut left: Vec<Outgoing> = part.to_vec();
            while !left.is_empty() {
                let answers = self.publisher.publish_within(&left, Duration::from_secs(5)).await;
                let failed: Vec<Outgoing> =
                    left.iter().zip(&answers).filter(|(_, answer)| answer.is_err()).map(|(m, _)| m.clone()).collect();
                self.confirmed += (left.len() - failed.len()) as u64;
                if !failed.is_empty() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                left = failed;
            }
        }
        // Their names are enough to look for them.
        self.sent.extend(messages.iter().map(|message| Outgoing { body: Vec::new(), ..message.clone() }));
    }

    async fn replace(&mut self, at: usize) {
        let metrics_port = self.workers[at].metrics;
        if crate::harness::try_get(&format!("http://127.0.0.1:{metrics_port}/livez")).await.is_ok() {
            self.duplicates += duplicates(&self.workers[at]).await;
        }
        let worker = self.workers.remove(at);
        self.scene.kill(worker);
        let worker = self.scene.worker_not_ready(&[("CLAIMRISK_DATABASE_TIMEOUT_MS", "2500")]);
        self.workers.insert(at, worker);
    }

    async fn fault(&mut self, servers: &mut Servers) {
        let at = self.random.below(2) as usize;
        let for_a_while = Duration::from_millis(200 + self.random.below(4000));
        let what = match self.random.below(100) {
            0..=24 => {
                self.replace(at).await;
                "workers killed"
            }
            25..=34 => {
                self.scene.broker.reset();
                "broker connections reset"
            }
            35..=44 => {
                self.scene.database.reset();
                "database connections reset"
            }
            45..=52 => {
                self.scene.database.trap(Way::Down, Trigger::Pattern(b"COMMIT\0".to_vec()), Then::Reset, 3);
                tokio::time::sleep(for_a_while).await;
                self.scene.database.pass();
                "answers to COMMIT lost"
            }
            53..=60 => {
                let bytes = self.random.below(200_000);
                self.scene.broker.trap(Way::Down, Trigger::Bytes(bytes), Then::Reset, 0);
                tokio::time::sleep(for_a_while).await;
                self.scene.broker.pass();
                "broker connections cut in mid-frame"
            }
            61..=68 => {
                self.scene.broker.hold(&[Way::Up, Way::Down]);
                tokio::time::sleep(for_a_while).await;
                self.scene.broker.pass();
                "silences of the broker"
            }
            69..=75 => {
                self.scene.database.lose();
                "database connections lost in silence"
            }
            76..=82 => {
                self.workers[at].signal("STOP");
                tokio::time::sleep(for_a_while).await;
                self.workers[at].signal("CONT");
                "workers that stood still"
            }
            83..=88 => {
                servers.redis.kill9().await.expect("killed");
                servers.redis.start_again().await.expect("started");
                "Redis killed"
            }
            89..=93 => {
                servers.postgres.restart(StopMode::Immediate).await.expect("restarted");
                "PostgreSQL restarted"
            }
            94..=96 => {
                servers.rabbitmq.kill9().await.expect("killed");
                servers.rabbitmq.start_again().await.expect("started");
                wake_queues(servers, &self.scene).await;
                "broker killed"
            }
            _ => {
                self.scene.redis.delay(Duration::from_millis(600));
                tokio::time::sleep(for_a_while).await;
                self.scene.redis.pass();
                "Redis slow"
            }
        };
        *self.done.entry(what).or_default() += 1;
    }

    /// Waits while there is more than enough to do.
    async fn backlog(&self) -> bool {
        for queue in [topology::CLAIMS_QUEUE, topology::REMITTANCES_QUEUE] {
            if self.scene.place.ready(queue).await > BACKLOG {
                return true;
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "runs for minutes: `make soak MINUTES=n`"]
async fn soak_with_faults_by_chance() {
    let seed = setting("CLAIMRISK_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    let length = Duration::from_secs(60 * setting("CLAIMRISK_SOAK_MINUTES").unwrap_or(2));
    say(&format!("seed {seed}; CLAIMRISK_SOAK_SEED={seed} repeats the choices"));
    let mut servers = rough().await;
    let scene = Scene::on(&servers).await;
    let publisher = Publisher::new(SecretUrl::new(scene.place.amqp_url.clone()), "soak");
    let random = Random(seed);
    let (workers, sent, done) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut soak = Soak { scene, workers, publisher, random, sent, confirmed: 0, duplicates: 0, done };
    for _ in 0..2 {
        let worker = soak.start_worker().await;
        soak.workers.push(worker);
    }
    let (began, mut expected, mut number) = (Instant::now(), Expected::default(), 1000);
    while began.elapsed() < length {
        if !soak.backlog().await {
            number += 1;
            let messages = part(number, &mut expected);
            soak.publish(&messages).await;
        }
        tokio::time::sleep(Duration::from_millis(soak.random.below(1500))).await;
        soak.fault(&mut servers).await;
    }
    finish(&mut soak, &servers, &expected, began).await;
}

async fn finish(soak: &mut Soak, servers: &Servers, expected: &Expected, began: Instant) {
    for proxy in [&soak.scene.broker, &soak.scene.database, &soak.scene.redis] {
        proxy.pass();
    }
    let ids: BTreeSet<_> = soak.sent.iter().filter_map(identity).collect();
    let (mut applied, waiting) = (0, Instant::now());
    while waiting.elapsed() < Duration::from_secs(600) {
        applied = soak.scene.applied().await;
        if applied >= ids.len() as i64 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let workers: Vec<&Worker> = soak.workers.iter().collect();
    let lost = ids.len() as i64 - applied;
    let place = &soak.scene.place;
    let counted = [
        place.count("SELECT count(*) FROM claims").await - expected.claims,
        place.count("SELECT count(*) FROM claim_submissions").await - expected.submissions,
        place.count("SELECT count(*) FROM remittances").await - expected.remittances,
    ];
    let paid = place.count("SELECT coalesce(sum(payment_amount) * 100, 0)::bigint FROM remittances").await;
    for worker in &workers {
        soak.duplicates += duplicates(worker).await;
    }
    let doubled: i64 = counted.iter().map(|more| (*more).max(0)).sum();
    say(&format!(
        "{:.0} s: {} events sent in {} confirmed messages, {applied} applied, {} duplicates suppressed (at least), lost {lost}, \
         doubled {doubled}, money off by {} cents; faults: {:?}",
        began.elapsed().as_secs_f64(),
        ids.len(),
        soak.confirmed,
        soak.duplicates,
        paid - expected.paid_cents,
        soak.done,
    ));
    assert_eq!((lost, doubled, paid), (0, 0, expected.paid_cents));
    let memory = 400;
    let ledger = Ledger { whole_world: false, memory, ..Ledger::of_world(&soak.scene, &workers, &soak.sent) };
    ledger.check_on(servers).await;
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("stdout");
}
