//! Worker processes of this program, as the demo and the bench start, watch and stop them.
//!
//! Each runs under a small shell that sends it SIGTERM as soon as the pipe from this process closes, whatever closes it:
//! an orderly stop, a panic, `kill -9`. Must never: signal a process it did not start, pass a URL as an argument
//! (arguments are readable by every user of the machine), or print a log that is not a worker's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::cli::load::{HttpClient, get};
use crate::config::{Config, SETTINGS};
use crate::error::CommandError;
use crate::metrics::{RECEIVED, SETTLED_TOTAL};
use crate::servers::{ServerError, free_ports};

/// Arguments: the log file, then the worker's command. Prints the worker's process id, ends with the worker's status.
const WATCHDOG: &str = r#"
log=$1
shift
exec 3<&0
"$@" </dev/null >/dev/null 2>>"$log" 3<&- &
worker=$!
echo "$worker"
exec >/dev/null 2>&1
{ read -r _ <&3; kill -s TERM "$worker"; } &
watcher=$!
exec 3<&-
wait "$worker"
status=$?
kill -s TERM "$watcher"
exit "$status"
"#;

/// How long a worker may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a worker may take to end: its own grace, and some.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Between two questions.
const POLL: Duration = Duration::from_millis(100);
/// Lines of a worker's log shown when it ended too early.
const LOG_LINES: usize = 15;

impl From<ServerError> for CommandError {
    /// With what the operating system said, where it said anything.
    fn from(error: ServerError) -> Self {
        match &error {
            ServerError::Io { source, .. } => Self::Failed(format!("{error}: {source}")),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A folder that only its owner may read, removed when dropped.
#[derive(Debug)]
pub(in crate::cli) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder for the run of a command in the system's folder for temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub(in crate::cli) fn create(command: &str) -> Result<Self, CommandError> {
        let path = std::env::temp_dir().join(format!("claimrisk-{command}-{}", uuid::Uuid::now_v7().simple()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| CommandError::Failed(format!("cannot make the folder {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(in crate::cli) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is no reason to fail a run that is over.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// One worker process.
#[derive(Debug)]
pub(in crate::cli) struct Worker {
    name: String,
    shell: Child,
    /// Open as long as the worker shall run.
    lifeline: Option<ChildStdin>,
    /// The worker's own process id.
    pub(in crate::cli) pid: u32,
    log: PathBuf,
    /// Base address of its API.
    pub(in crate::cli) api: String,
    /// Base address of its metrics listener.
    pub(in crate::cli) metrics: String,
}

impl Worker {
    /// Starts `claimrisk worker` with the servers of `config` and ports of its own. `settings` (variable, value) go
    /// into its environment; an empty value means the default. It is not ready yet: see [`Worker::ready`].
    ///
    /// # Errors
    /// The process could not be started.
    pub(in crate::cli) async fn start(
        name: &str,
        folder: &Path,
        config: &Config,
        settings: &BTreeMap<&'static str, String>,
    ) -> Result<Self, CommandError> {
        Self::start_roles(name, folder, config, settings, &[]).await
    }

    /// The same with the roles that are named only; with none it has all.
    ///
    /// # Errors
    /// The process could not be started.
    pub(in crate::cli) async fn start_roles(
        name: &str,
        folder: &Path,
        config: &Config,
        settings: &BTreeMap<&'static str, String>,
        roles: &[&str],
    ) -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| CommandError::Failed(format!("{name} could not be started: {error}"));
        let [http, metrics] = free_ports::<2>()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let log = folder.join(format!("{name}.log"));
        let mut shell = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "claimrisk-watchdog"])
            .arg(&log)
            .arg(std::env::current_exe().map_err(failed)?)
            .arg("worker")
            .args(roles.iter().flat_map(|role| ["--role", role]))
            .envs(settings)
            .env("AMQP_URL", config.amqp_url.expose())
            .env("DATABASE_URL", config.database_url.expose())
            .env("REDIS_URL", config.redis_url.expose())
            .env("CLAIMRISK_HTTP_ADDR", http.to_string())
            .env("CLAIMRISK_METRICS_ADDR", metrics.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal is for this process; it stops the workers in its own order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let lifeline = shell.stdin.take();
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut line).await.map_err(failed)?;
        }
        let pid = line.trim().parse().map_err(|_| CommandError::Failed(format!("{name} could not be started")))?;
        let (api, metrics) = (format!("http://{http}"), format!("http://{metrics}"));
        Ok(Self { name: name.to_owned(), shell, lifeline, pid, log, api, metrics })
    }

    /// Fails when the worker has ended, with the last lines of its log, which hold no patient data.
    ///
    /// # Errors
    /// It has.
    pub(in crate::cli) fn check(&mut self) -> Result<(), CommandError> {
        let status = match self.shell.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(CommandError::Failed(format!("{} ended ({status}); the end of its log:\n{}", self.name, self.last_lines())))
    }

    fn last_lines(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }

    /// Waits until the worker says that it is ready.
    ///
    /// # Errors
    /// It ended, or is not ready after a minute; both with the last lines of its log.
    pub(in crate::cli) async fn ready(&mut self, client: &HttpClient) -> Result<(), CommandError> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            // In this order, so that the answer of a stranger on the same port is not taken for the worker's.
            let answer = get(client, &format!("{}/readyz", self.metrics), Duration::from_secs(3)).await;
            self.check()?;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CommandError::Failed(format!(
                    "{} was not ready after {} s; the end of its log:\n{}",
                    self.name,
                    READY_LIMIT.as_secs(),
                    self.last_lines()
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Messages the worker has taken from the queues, and settled.
    ///
    /// # Errors
    /// It ended, or its metrics listener does not answer.
    pub(in crate::cli) async fn messages(&mut self, client: &HttpClient) -> Result<Messages, CommandError> {
        Ok(Messages::read(&self.scrape(client).await?))
    }

    /// All that the worker has measured, in the text format of Prometheus.
    ///
    /// # Errors
    /// It ended, or its metrics listener does not answer.
    pub(in crate::cli) async fn scrape(&mut self, client: &HttpClient) -> Result<String, CommandError> {
        let answer = get(client, &format!("{}/metrics", self.metrics), Duration::from_secs(5)).await;
        self.check()?;
        match answer {
            Ok((200, body)) => Ok(String::from_utf8_lossy(&body).into_owned()),
            Ok((status, _)) => {
                Err(CommandError::Failed(format!("{}: /metrics answers with status {status}", self.name)))
            }
            Err(why) => Err(CommandError::Failed(format!("{}: /metrics: {why}", self.name))),
        }
    }

    /// The most memory the worker has had, in KiB; none where the system does not tell.
    pub(in crate::cli) fn peak_memory_kib(&self) -> Option<u64> {
        peak_memory_kib(&self.pid.to_string())
    }

    /// Tells the worker to finish, without waiting.
    fn begin_stop(&mut self) {
        self.lifeline = None;
    }

    /// Tells the worker to finish what it has taken, and waits for its end.
    pub(in crate::cli) async fn stop(mut self) {
        self.begin_stop();
        if tokio::time::timeout(END_LIMIT, self.shell.wait()).await.is_err() {
            self.kill_group();
            drop(self.shell.wait().await);
        }
    }

    /// The shell leads a process group of its own, which holds the worker and nothing else. As long as the shell is not
    /// waited for, its id cannot belong to another process.
    fn kill_group(&self) {
        if let Some(group) = self.shell.id().and_then(|id| i32::try_from(id).ok()) {
            // The only possible failure is that all have just ended.
            kill(Pid::from_raw(-group), Signal::SIGKILL).ok();
        }
    }
}

/// Stops workers side by side.
pub(in crate::cli) async fn stop_all(workers: Vec<Worker>) {
    let mut stopping = tokio::task::JoinSet::new();
    for worker in workers {
        stopping.spawn(worker.stop());
    }
    while stopping.join_next().await.is_some() {}
}

/// What a worker has counted of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Messages {
    /// Taken from a queue.
    pub(in crate::cli) received: u64,
    /// Settled, in whichever way.
    pub(in crate::cli) settled: u64,
    /// Of these, settled without being applied: tried again later, handed back, or dead-lettered.
    pub(in crate::cli) not_applied: u64,
}

impl Messages {
    /// Taken and not yet settled.
    pub(in crate::cli) fn in_flight(self) -> u64 {
        self.received.saturating_sub(self.settled)
    }

    /// Both workers together.
    pub(in crate::cli) fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            settled: self.settled + other.settled,
            not_applied: self.not_applied + other.not_applied,
        }
    }

    fn read(exposition: &str) -> Self {
        Self {
            received: sum(exposition, RECEIVED, |_| true),
            settled: sum(exposition, SETTLED_TOTAL, |_| true),
            not_applied: sum(exposition, SETTLED_TOTAL, |labels| {
                NOT_APPLIED.iter().any(|outcome| labels.contains(&format!("outcome=\"{outcome}\"")))
            }),
        }
    }
}

const NOT_APPLIED: [&str; 3] = ["retried", "requeued", "dead_lettered"];

/// The sum of a counter over the labels that are wanted, in the text format of Prometheus.
fn sum(exposition: &str, name: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    exposition
        .lines()
        .filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']) && wanted(rest)))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The most memory a process has had, in KiB (`VmHWM`); `process` is its id, or `self`.
pub(in crate::cli) fn peak_memory_kib(process: &str) -> Option<u64> {
    crate::metrics::status_kib(process, "VmHWM").map(u64::from)
}

/// Every setting's variable with an empty value, which means its default: for measurements that the settings of the
/// person who measures must not change.
pub(in crate::cli) fn default_settings() -> BTreeMap<&'static str, String> {
    SETTINGS.iter().map(|setting| (setting.env, String::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels_and_not_with_their_namesakes() {
        let exposition = "# TYPE claimrisk_messages_received_total counter\n\
            claimrisk_messages_received_total{event_type=\"claim.submitted\"} 40\n\
            claimrisk_messages_received_total{event_type=\"x12.received\"} 2\n\
            claimrisk_messages_received_total_other 7\n\
            claimrisk_messages_settled_total{event_type=\"claim.submitted\",outcome=\"scored\"} 39\n\
            claimrisk_messages_settled_total{event_type=\"claim.submitted\",outcome=\"retried\"} 1\n";
        let messages = Messages::read(exposition);
        assert_eq!(messages, Messages { received: 42, settled: 40, not_applied: 1 });
        assert_eq!(messages.in_flight(), 2);
    }

    #[test]
    fn a_folder_goes_when_it_is_dropped() {
        let folder = Folder::create("test").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "content").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(peak_memory_kib("self").unwrap() > 1000);
    }
}
