//! Where runs are made: virtual hosts with messages in them, databases, and workers on a backlog.
//!
//! A backlog is there before its worker starts, and its rate is taken between the first messages that the worker settled
//! and the last, so that the start does not count. Must never: count a message that was dead-lettered or tried again as
//! done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::demo::fleet::{Messages, Worker, default_settings};
use super::super::load::{HttpClient, client};
use super::processor::{self, Used};
use crate::broker::{self, Outgoing, Publisher};
use crate::config::{Config, SecretUrl};
use crate::error::CommandError;
use crate::servers::Servers;
use crate::{store, topology};

/// Messages on their way to the broker at once.
const PUBLISHED_AT_ONCE: usize = 500;
/// Events of a full batch.
pub(super) const BATCH: u32 = 500;
/// Between two readings of the worker's counters: each costs the worker as much as a few claims.
const POLL: Duration = Duration::from_millis(200);
/// How long one run may take.
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(600);

/// Where and with what runs are made.
pub(super) struct Site<'a> {
    pub(super) servers: &'a Servers,
    config: &'a Config,
    folder: &'a Path,
    pub(super) client: HttpClient,
}

/// What a run came to.
pub(super) struct Done {
    /// Messages per second.
    pub(super) rate: f64,
    /// The most memory that the worker has had.
    pub(super) peak_kib: Option<u64>,
    /// Processor time per message, of each that [`processor::NAMES`] names.
    pub(super) micros: [Option<f64>; 4],
}

/// A virtual host with our queues.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) url: SecretUrl,
}

/// A migrated database, as the settings of who works on it.
pub(super) struct Database {
    name: String,
    pub(super) config: Config,
}

impl<'a> Site<'a> {
    pub(super) fn new(servers: &'a Servers, config: &'a Config, folder: &'a Path) -> Self {
        Self { servers, config, folder, client: client() }
    }

    /// A virtual host with empty queues.
    pub(super) async fn host(&self, name: &str) -> Result<Host, CommandError> {
        let url = SecretUrl::new(self.servers.rabbitmq.add_vhost(name).await?);
        let connection = broker::connect(&url, "bench").await?;
        let channel = connection.create_channel().await?;
        topology::apply(&channel).await.map_err(|error| CommandError::Failed(error.to_string()))?;
        connection.close(200, "declared".into()).await?;
        Ok(Host { name: name.to_owned(), url })
    }

    /// Removes it: queues cost the broker something also when nobody uses them.
    pub(super) async fn remove_host(&self, host: Host) -> Result<(), CommandError> {
        Ok(self.servers.rabbitmq.remove_vhost(&host.name).await?)
    }

    /// An empty, migrated database.
    pub(super) async fn database(&self, name: &str) -> Result<Database, CommandError> {
        let database = self.servers.postgres.create_database(name).await?;
        let config = Config {
            database_url: SecretUrl::new(database),
            // Entries of another database are not taken: they name it.
            redis_url: SecretUrl::new(self.servers.redis.url(0)),
            ..self.config.clone()
        };
        let pool = store::pool(&config)?;
        let migrated = store::migrate(&pool).await;
        pool.close().await;
        migrated?;
        Ok(Database { name: name.to_owned(), config })
    }

    /// Removes it, so that the disk holds the databases of one round only.
    pub(super) async fn remove_database(&self, database: Database) -> Result<(), CommandError> {
        Ok(self.servers.postgres.drop_database(&database.name).await?)
    }

    /// Begins alike for every run: nothing in Redis, and nothing that PostgreSQL still has to write.
    pub(super) async fn settle(&self) -> Result<(), CommandError> {
        self.servers.redis.forget_all().await?;
        Ok(self.servers.postgres.checkpoint().await?)
    }

    /// A worker on a database and a virtual host; with no roles named it has all. It is ready.
    pub(super) async fn worker(
        &self,
        host: &Host,
        database: &Database,
        batch: u32,
        roles: &[&str],
    ) -> Result<Worker, CommandError> {
        let mut settings: BTreeMap<_, _> = default_settings();
        settings.insert("CLAIMRISK_BATCH_MESSAGES", batch.to_string());
        settings.insert("CLAIMRISK_LOG", "warn".to_owned());
        let config = Config { amqp_url: host.url.clone(), ..database.config.clone() };
        let mut worker = Worker::start_roles(&host.name, self.folder, &config, &settings, roles).await?;
        worker.ready(&self.client).await?;
        Ok(worker)
    }

    /// One worker on a backlog of the messages.
    pub(super) async fn run(
        &self,
        name: &str,
        database: &Database,
        messages: &[Outgoing],
        batch: u32,
        roles: &[&str],
    ) -> Result<Done, CommandError> {
        let host = self.host(name).await?;
        publish(&host, messages).await?;
        self.settle().await?;
        let mut worker = self.worker(&host, database, batch, roles).await?;
        let watched = self.watch(&mut worker, messages.len() as u64).await;
        let peak_kib = worker.peak_memory_kib();
        worker.stop().await;
        self.remove_host(host).await?;
        let (rate, micros) = watched?;
        Ok(Done { rate, peak_kib, micros })
    }

    /// Reads the worker's counters until all is done: messages per second, and processor time per message.
    async fn watch(&self, worker: &mut Worker, wanted: u64) -> Result<(f64, [Option<f64>; 4]), CommandError> {
        let deadline = Instant::now() + RUN_LIMIT;
        let mut window = Window::default();
        let mut used: Option<(Used, u64)> = None;
        loop {
            let messages = worker.messages(&self.client).await?;
            window.see(Instant::now(), messages);
            if messages.not_applied > 0 {
                let count = messages.not_applied;
                return Err(CommandError::Failed(format!(
                    "{count} messages were not applied: the rate would be wrong"
                )));
            }
            if used.is_none() && messages.settled > 0 {
                used = Some((self.used(worker), messages.settled));
            }
            if messages.settled >= wanted {
                let rate = window.rate(wanted).ok_or_else(|| {
                    CommandError::Failed(
                        "the worker was done before its rate could be taken; give more --claims".to_owned(),
                    )
                })?;
                let (before, first) = used.unwrap_or_default();
                return Ok((rate, processor::per_event(&before, &self.used(worker), wanted - first.min(wanted))));
            }
            if Instant::now() > deadline {
                let Messages { settled, .. } = messages;
                return Err(CommandError::TryAgain(format!("the worker settled {settled} of {wanted} in time")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn used(&self, worker: &Worker) -> Used {
        let Servers { postgres, rabbitmq, redis, .. } = self.servers;
        processor::used([worker.pid, postgres.pid(), rabbitmq.pid(), redis.pid()])
    }
}

/// Puts messages into the queues of a virtual host: how many per second were confirmed.
pub(super) async fn publish(host: &Host, messages: &[Outgoing]) -> Result<f64, CommandError> {
    let publisher = Publisher::new(host.url.clone(), "bench publisher");
    publisher.check().await?;
    let started = Instant::now();
    for chunk in messages.chunks(PUBLISHED_AT_ONCE) {
        confirmed(publisher.publish(chunk).await)?;
    }
    let rate = messages.len() as f64 / started.elapsed().as_secs_f64();
    publisher.close().await;
    Ok(rate)
}

/// Insists that each message was taken.
pub(super) fn confirmed(answers: Vec<Result<(), broker::PublishError>>) -> Result<(), CommandError> {
    let taken: Result<(), _> = answers.into_iter().collect();
    taken.map_err(|error| CommandError::Failed(format!("a message was not taken: {error}")))
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
