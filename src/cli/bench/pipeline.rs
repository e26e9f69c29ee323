//! What needs servers: the broker alone, and a worker with full batches and with batches of one, on the same messages.
//!
//! Each run has a virtual host, a database and a worker of its own, and a backlog that is there before the worker starts.
//! Its rate is taken between the first messages that the worker settled and the last, so that its start does not count.
//! Must never: count a message that was dead-lettered or tried again as done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::super::demo::fleet::{Messages, Worker, default_settings};
use super::super::load::{HttpClient, client};
use super::super::output::say;
use super::reader::Material;
use crate::broker::{self, Outgoing, Publisher};
use crate::config::{Config, SecretUrl};
use crate::error::CommandError;
use crate::flow::split::message_of;
use crate::servers::Servers;
use crate::wire::{Payload, x12_event};
use crate::{store, topology};

/// Messages on their way to the broker at once.
const PUBLISHED_AT_ONCE: usize = 1000;
/// Unsettled messages of the raw consumer: as many as a worker takes.
const PREFETCH: u16 = 1500;
/// The raw consumer acknowledges so many at once: as many as a worker's batch.
const ACKNOWLEDGED_AT_ONCE: u64 = 500;
/// Between two readings of the worker's counters.
const POLL: Duration = Duration::from_millis(20);
/// How long one run may take.
const RUN_LIMIT: Duration = Duration::from_secs(600);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Events of a full batch.
    pub(super) batch: u32,
    /// Batches of one are measured with so many times fewer claims.
    pub(super) fewer: u32,
    /// Measurements of each.
    pub(super) rounds: u32,
}

/// One value per round, in claims per second.
pub(super) struct Figures {
    /// The broker alone.
    pub(super) raw: Vec<f64>,
    /// A worker with full batches.
    pub(super) batches: Vec<f64>,
    /// A worker with batches of one.
    pub(super) ones: Vec<f64>,
    /// The most memory that a worker with full batches has had.
    pub(super) peak_kib: Option<u64>,
}

/// Where and with what a run is made.
struct Run<'a> {
    servers: &'a Servers,
    config: &'a Config,
    folder: &'a Path,
    client: HttpClient,
}

/// Measures the broker alone and the worker, round by round.
pub(super) async fn measure(
    material: &Material,
    sizes: Sizes,
    config: &Config,
    servers: &Servers,
    folder: &Path,
) -> Result<Figures, CommandError> {
    let messages: Vec<Outgoing> = material
        .simulation
        .claims
        .iter()
        .map(|entry| message_of(&x12_event(Payload::Claim(Box::new(entry.claim.clone())), Some(entry.submitted))))
        .collect();
    let fewer = messages.len() / usize::try_from(sizes.fewer).unwrap_or(1).max(1);
    let few = messages.get(..fewer).unwrap_or_default();
    let mut run = Run { servers, config, folder, client: client() };
    let mut figures = Figures { raw: Vec::new(), batches: Vec::new(), ones: Vec::new(), peak_kib: None };
    for round in 1..=sizes.rounds {
        say(&format!("round {round} of {}: the broker alone, {} claims", sizes.rounds, messages.len()));
        figures.raw.push(run.broker_alone(&format!("raw{round}"), &messages).await?);
        say(&format!("round {round} of {}: one worker, batches of {}", sizes.rounds, sizes.batch));
        let (rate, peak) = run.worker(&format!("batches{round}"), &messages, sizes.batch).await?;
        figures.batches.push(rate);
        figures.peak_kib = figures.peak_kib.max(peak);
        say(&format!("round {round} of {}: one worker, batches of 1, {} claims", sizes.rounds, few.len()));
        figures.ones.push(run.worker(&format!("ones{round}"), few, 1).await?.0);
    }
    Ok(figures)
}

impl Run<'_> {
    /// A virtual host with the queues and the messages in them.
    async fn filled(&self, name: &str, messages: &[Outgoing]) -> Result<SecretUrl, CommandError> {
        let url = SecretUrl::new(self.servers.rabbitmq.add_vhost(name).await?);
        let connection = broker::connect(&url, "bench").await?;
        let channel = connection.create_channel().await?;
        topology::apply(&channel).await.map_err(|error| CommandError::Failed(error.to_string()))?;
        let publisher = Publisher::new(url.clone(), "bench publisher");
        for chunk in messages.chunks(PUBLISHED_AT_ONCE) {
            let taken: Result<(), _> = publisher.publish(chunk).await.into_iter().collect();
            taken.map_err(|error| CommandError::Failed(format!("a message was not taken: {error}")))?;
        }
        publisher.close().await;
        connection.close(200, "filled".into()).await?;
        Ok(url)
    }

    /// Takes and acknowledges the messages and does nothing with them: claims per second.
    async fn broker_alone(&mut self, name: &str, messages: &[Outgoing]) -> Result<f64, CommandError> {
        let url = self.filled(name, messages).await?;
        let connection = broker::connect(&url, "bench").await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let started = Instant::now();
        let mut consumer = channel
            .basic_consume(
                topology::CLAIMS_QUEUE.into(),
                "bench".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let (mut taken, wanted) = (0, messages.len() as u64);
        while taken < wanted {
            let next = tokio::time::timeout(RUN_LIMIT, consumer.next()).await;
            let Ok(Some(delivery)) = next else {
                return Err(CommandError::Failed(format!("the broker gave {taken} of {wanted} messages")));
            };
            let delivery = delivery?;
            taken += 1;
            if taken % ACKNOWLEDGED_AT_ONCE == 0 || taken == wanted {
                channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
            }
        }
        // Closing is answered after all acknowledgements were read.
        channel.close(200, "measured".into()).await?;
        let rate = wanted as f64 / started.elapsed().as_secs_f64();
        connection.close(200, "measured".into()).await?;
        Ok(rate)
    }

    /// One worker on a backlog of the messages: claims per second, and its peak memory in KiB.
    async fn worker(
        &mut self,
        name: &str,
        messages: &[Outgoing],
        batch: u32,
    ) -> Result<(f64, Option<u64>), CommandError> {
        let database = self.servers.postgres.create_database(name).await?;
        let config = Config {
            amqp_url: self.filled(name, messages).await?,
            database_url: SecretUrl::new(database),
            // Entries of another database are not taken: they name it.
            redis_url: SecretUrl::new(self.servers.redis.url(0)),
            ..self.config.clone()
        };
        let pool = store::pool(&config)?;
        let migrated = store::migrate(&pool).await;
        pool.close().await;
        migrated?;
        let mut settings: BTreeMap<_, _> = default_settings();
        settings.insert("CLAIMRISK_BATCH_MESSAGES", batch.to_string());
        settings.insert("CLAIMRISK_LOG", "warn".to_owned());
        let mut worker = Worker::start(name, self.folder, &config, &settings).await?;
        let rate = self.watch(&mut worker, messages.len() as u64).await;
        let peak = worker.peak_memory_kib();
        worker.stop().await;
        Ok((rate?, peak))
    }

    /// Reads the worker's counters until all is done.
    async fn watch(&self, worker: &mut Worker, wanted: u64) -> Result<f64, CommandError> {
        let deadline = Instant::now() + RUN_LIMIT;
        worker.ready(&self.client).await?;
        let mut window = Window::default();
        loop {
            let messages = worker.messages(&self.client).await?;
            window.see(Instant::now(), messages);
            if messages.not_applied > 0 {
                let count = messages.not_applied;
                return Err(CommandError::Failed(format!(
                    "{count} messages were not applied: the rate would be wrong"
                )));
            }
            if messages.settled >= wanted {
                return window.rate(wanted).ok_or_else(|| {
                    CommandError::Failed(
                        "the worker was done before its rate could be taken; give more --claims".to_owned(),
                    )
                });
            }
            if Instant::now() > deadline {
                let Messages { settled, .. } = messages;
                return Err(CommandError::TryAgain(format!("the worker settled {settled} of {wanted} in time")));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The stretch of a run over which its rate is taken.
#[derive(Debug, Default)]
struct Window {
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

impl Window {
    fn see(&mut self, at: Instant, messages: Messages) {
        if messages.settled > self.last.map_or(0, |(_, settled)| settled) {
            self.first = self.first.or(Some((at, messages.settled)));
            self.last = Some((at, messages.settled));
        }
    }

    /// Messages per second; none when they were all settled between two readings.
    fn rate(&self, wanted: u64) -> Option<f64> {
        let ((first_at, first), (last_at, last)) = (self.first?, self.last?);
        let seconds = last_at.duration_since(first_at).as_secs_f64();
        (last >= wanted && seconds > 0.0).then(|| (last - first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_starts_with_the_first_message_settled_and_ends_with_the_last() {
        let start = Instant::now();
        let mut window = Window::default();
        for (second, settled) in [(0, 0), (5, 0), (6, 500), (7, 1500), (8, 2500), (9, 2500)] {
            window.see(start + Duration::from_secs(second), Messages { received: 2500, settled, not_applied: 0 });
        }
        assert_eq!(window.rate(2500), Some(1000.0));
        assert_eq!(window.rate(3000), None);
    }

    #[test]
    fn what_was_done_between_two_readings_has_no_rate() {
        let mut window = Window::default();
        window.see(Instant::now(), Messages { received: 10, settled: 10, not_applied: 0 });
        assert_eq!(window.rate(10), None);
    }
}
