//! Private servers for the demo, the tests and the bench: RabbitMQ, PostgreSQL and Redis (and Prometheus for the tests of
//! the dashboards), started from Debian's packages with data folders and loopback ports of their own.
//!
//! It must never touch a server that it did not start, never leave a process or a data folder behind (not even when this
//! process is killed: see `process`), never listen anywhere but on the loopback interface, and never be used in production.

mod http;
mod postgres;
mod process;

pub use process::free_ports;
mod prometheus;
mod rabbitmq;
mod redis;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use postgres::{Durability, Postgres, StopMode};
pub use prometheus::Prometheus;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;

use process::RunFolder;

/// Why a private server could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error("{program} is not installed; install it with: sudo apt-get install {package}")]
    MissingPackage {
        /// The program that was looked for.
        program: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io {
        /// What was being done, as a verb phrase.
        action: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The server's process ended before it was ready.
    #[error("{server} ended while it was starting; the end of its log:\n{log}")]
    Ended {
        /// Which server.
        server: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// Something took longer than its deadline.
    #[error("{server} did not {action} within {seconds} s; the end of its log:\n{log}")]
    TimedOut {
        /// Which server.
        server: &'static str,
        /// What was waited for.
        action: &'static str,
        /// The deadline, in seconds.
        seconds: u64,
        /// The last lines of the server's log.
        log: String,
    },
    /// The server is not running, so it cannot be asked.
    #[error("{server} is not running")]
    NotRunning {
        /// Which server.
        server: &'static str,
    },
    /// An HTTP request was answered with an error status.
    #[error("{method} {path} was answered with status {status}: {body}")]
    Http {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// The answer's status, 0 when the answer was no HTTP.
        status: u16,
        /// The start of the answer's body.
        body: String,
    },
    /// A tool of the server's package failed.
    #[error("{program} failed: {message}")]
    Command {
        /// The tool.
        program: String,
        /// What it printed.
        message: String,
    },
    /// A name that this module does not accept (letters, digits, `_`, `-` and `.` only).
    #[error("{0:?} is no name for a database or virtual host here: use letters, digits, '_', '-' and '.'")]
    Name(String),
    /// No free port was found on the loopback interface.
    #[error("found no free port on 127.0.0.1")]
    NoFreePort,
}

impl ServerError {
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// Receives one plain sentence per step while servers start.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// How the private servers are started.
#[derive(Clone, Default)]
pub struct Options {
    /// The folder in which a folder of this run is made; the system's folder for temporary files when `None`. The folder
    /// of the run is removed at the end, the given one is not.
    pub parent_folder: Option<PathBuf>,
    /// Whether PostgreSQL waits for the disk.
    pub durability: Durability,
    /// Told what is happening, for a person who waits.
    pub progress: Option<Progress>,
    /// What the servers show of themselves, beside taking plain connections: then each takes TLS, too, and asks for a
    /// client certificate of the same authority.
    pub tls: Option<ServerTls>,
}

/// The certificates of private servers, as PEM.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The authority that client certificates must come from.
    pub ca: String,
    /// The servers' certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

/// The files that a server finds its certificates in.
struct TlsFiles {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    fn write(folder: &RunFolder, tls: &ServerTls) -> Result<Self, ServerError> {
        Ok(Self {
            ca: folder.write("ca.pem", &tls.ca)?,
            cert: folder.write("cert.pem", &tls.cert)?,
            key: folder.write("key.pem", &tls.key)?,
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("parent_folder", &self.parent_folder)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(super) fn report(&self, sentence: &str) {
        if let Some(progress) = &self.progress {
            progress(sentence);
        }
    }
}

/// The three servers of one run. Dropping it stops them and removes their data, whatever the reason for the drop.
#[derive(Debug)]
pub struct Servers {
    /// The broker, with its management and Prometheus plugins.
    pub rabbitmq: RabbitMq,
    /// The database cluster.
    pub postgres: Postgres,
    /// The cache.
    pub redis: Redis,
}

impl Servers {
    /// Starts RabbitMQ, PostgreSQL and Redis at once and returns when each of them answers. About 8 seconds.
    ///
    /// # Errors
    /// [`ServerError`]: a package is missing (all three are looked for before anything starts), or a server did not come
    /// up; what had been started by then is stopped again.
    pub async fn start(options: Options) -> Result<Self, ServerError> {
        check_installed()?;
        let (rabbitmq, postgres, redis) =
            tokio::join!(RabbitMq::start(&options), Postgres::start(&options), Redis::start(&options));
        Ok(Self { rabbitmq: rabbitmq?, postgres: postgres?, redis: redis? })
    }

    /// Stops the three servers and removes their data; returns when no process of theirs is left.
    pub async fn stop(mut self) {
        self.begin_stop();
        // Dropping waits for processes to end, which must not hold up other tasks. A join error would mean that the drop
        // panicked; there is nothing left to stop then.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    fn begin_stop(&mut self) {
        self.rabbitmq.begin_stop();
        self.postgres.begin_stop();
        self.redis.begin_stop();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // All three are told first and waited for by their own drops, so that they end side by side.
        self.begin_stop();
    }
}

/// Says whether RabbitMQ, PostgreSQL and Redis are installed, without starting anything.
///
/// # Errors
/// [`ServerError::MissingPackage`] for the first that is missing.
pub fn check_installed() -> Result<(), ServerError> {
    RabbitMq::find()?;
    Postgres::find()?;
    Redis::find()?;
    Ok(())
}

/// How often a start is tried with new ports: another program may take a port between our look and the server's bind.
const START_ATTEMPTS: usize = 3;

/// How long a server may take until it answers: generous, for a busy machine with slow disks.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Pause before a server that ended while it started is started again on its old ports.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Pause between two questions whether a server is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Finds an executable by its name, in the folders of `PATH` and the usual system folders (which an unprivileged user's
/// `PATH` may lack).
fn find_program(program: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(ServerError::MissingPackage { program, package })
}

/// The sub-folders of `parent` whose names start with `prefix` and that hold `inner`, newest version last.
fn find_versions(parent: &Path, prefix: &str, inner: &str) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version =
                name.strip_prefix(prefix)?.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
            let folder = entry.path();
            folder.join(inner).is_file().then_some((version, folder))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Names go into SQL, URLs and node names as they are; so only harmless ones pass.
fn check_name(name: &str) -> Result<(), ServerError> {
    let harmless = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    if !name.is_empty() && name.len() <= 63 && name.chars().all(harmless) {
        Ok(())
    } else {
        Err(ServerError::Name(name.to_owned()))
    }
}

/// Tries `start` with fresh ports until it gets past the server's first seconds, or the attempts are used up.
async fn with_fresh_ports<T, const PORTS: usize, F>(mut start: impl FnMut([u16; PORTS]) -> F) -> Result<T, ServerError>
where
    F: Future<Output = Result<T, ServerError>>,
{
    let mut attempt = 1;
    loop {
        match start(process::free_ports()?).await {
            Err(ServerError::Ended { .. }) if attempt < START_ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

/// A server that can come back on the data and ports that it had.
trait Restart {
    /// Ends what is left of the old process and starts a new one.
    async fn spawn_again(&mut self) -> Result<(), ServerError>;
    /// Returns when the server answers.
    async fn wait_until_ready(&self) -> Result<(), ServerError>;
}

/// Starts a server again. Tried more than once: the old process's helpers and sockets may outlive it for a moment.
async fn start_again(server: &mut impl Restart) -> Result<(), ServerError> {
    let mut attempt = 1;
    loop {
        server.spawn_again().await?;
        match server.wait_until_ready().await {
            Err(ServerError::Ended { .. }) if attempt < START_ATTEMPTS => attempt += 1,
            other => return other,
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Makes the folder of one server of this run.
fn run_folder(options: &Options, server: &str) -> Result<RunFolder, ServerError> {
    RunFolder::create(options.parent_folder.as_deref(), server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = find_program("no-such-program-anywhere", "some-package").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-program-anywhere is not installed; install it with: sudo apt-get install some-package"
        );
    }

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for name in ["", "a b", "a\"b", "a/b", "a;b", "é"] {
            assert!(check_name(name).is_err(), "{name:?} passed");
        }
        check_name("claimrisk-test_1.x").unwrap();
    }
}
