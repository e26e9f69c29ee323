//! A private Redis without persistence, with a password made for the run.
//!
//! It must never write its data to disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::{self, RunFolder, Spec, Supervised};
use super::{Options, Restart, ServerError, TlsFiles, find_program, run_folder};

const SERVER: &str = "Redis";

/// A private Redis. Dropping it stops the server; there are no data to keep.
#[derive(Debug)]
pub struct Redis {
    // Dropped before the folder: the order of the fields matters.
    process: Supervised,
    folder: RunFolder,
    program: PathBuf,
    port: u16,
    tls_port: u16,
    password: String,
}

impl Redis {
    /// Starts a server and returns when it answers (well under a second).
    ///
    /// # Errors
    /// [`ServerError`]: the package is missing, or the server did not come up.
    pub async fn start(options: &Options) -> Result<Self, ServerError> {
        let program = Self::find()?;
        options.report("starting Redis");
        let redis = super::with_fresh_ports(|[port, tls_port]| {
            let program = program.clone();
            async move {
                let folder = run_folder(options, "redis")?;
                let password = process::random_hex(16)?;
                let tls = match &options.tls {
                    Some(tls) => tls_settings(&TlsFiles::write(&folder, tls)?, tls_port),
                    None => String::new(),
                };
                // In a file and not on the command line, which every user of the machine can read.
                folder.write(
                    "redis.conf",
                    &format!(
                        "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly no\n\
                         daemonize no\ndatabases 64\ndir {}\n{tls}",
                        quoted(folder.path())
                    ),
                )?;
                let redis = Self {
                    process: Supervised::spawn(&spec(&program, folder.path()), folder.path())?,
                    folder,
                    program,
                    port,
                    tls_port,
                    password,
                };
                redis.wait_until_ready().await?;
                Ok(redis)
            }
        })
        .await?;
        options.report("Redis is ready");
        Ok(redis)
    }

    /// Looks for the program.
    pub(super) fn find() -> Result<PathBuf, ServerError> {
        find_program("redis-server", "redis-server")
    }

    /// Logs in and sends one command, in Redis's inline protocol; whether it was answered as expected.
    async fn answers(&self, command: &str, expected: &str) -> std::io::Result<bool> {
        let expected = format!("+OK\r\n+{expected}\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("AUTH {}\r\n{command}\r\n", self.password).as_bytes()).await?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer == expected.as_bytes())
    }

    /// Forgets all values of all databases.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the server does not answer, [`ServerError::Command`] when it refuses.
    pub async fn forget_all(&self) -> Result<(), ServerError> {
        let done = self.answers("FLUSHALL", "OK").await.map_err(ServerError::io("tell Redis to forget all values"))?;
        let refused = || ServerError::Command { program: "FLUSHALL".to_owned(), message: "refused".to_owned() };
        if done { Ok(()) } else { Err(refused()) }
    }

    /// The URL of one of the 64 numbered databases, with the password.
    #[must_use]
    pub fn url(&self, database: u8) -> String {
        format!("redis://:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The same over TLS, for a server that was started with certificates; `host` is a name of this machine.
    #[must_use]
    pub fn tls_url(&self, host: &str, database: u8) -> String {
        format!("rediss://:{}@{host}:{}/{database}", self.password, self.tls_port)
    }

    /// The port on `127.0.0.1`, for a proxy to stand in front of.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the server's process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// The folder of this server's settings and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server and returns when it is down. All values are lost.
    ///
    /// # Errors
    /// [`ServerError::TimedOut`] when the process does not go away.
    pub async fn stop(&self) -> Result<(), ServerError> {
        self.process.signal_and_wait(Signal::SIGTERM).await
    }

    /// Kills the server and returns when it is gone. All values are lost.
    ///
    /// # Errors
    /// [`ServerError::TimedOut`] when the process does not go away.
    pub async fn kill9(&self) -> Result<(), ServerError> {
        self.process.signal_and_wait(Signal::SIGKILL).await
    }

    /// Starts the server again, empty, on the same port and with the same password.
    ///
    /// # Errors
    /// [`ServerError`]: the server did not come up.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        super::start_again(self).await
    }

    /// [`Redis::stop`] and [`Redis::start_again`].
    ///
    /// # Errors
    /// [`ServerError`]: the server did not end, or did not come up.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        self.start_again().await
    }

    /// Freezes the server: its connections stay open and silent.
    pub fn pause(&self) {
        self.process.freeze();
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    pub(super) fn begin_stop(&mut self) {
        self.process.begin_stop();
    }
}

impl Restart for Redis {
    async fn spawn_again(&mut self) -> Result<(), ServerError> {
        self.process.end_and_keep_data().await?;
        let spec = spec(&self.program, self.folder.path());
        self.process = Supervised::spawn(&spec, self.folder.path())?;
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<(), ServerError> {
        self.process.ready(|| async { self.answers("PING", "PONG").await.is_ok_and(|answered| answered) }).await
    }
}

fn tls_settings(files: &TlsFiles, port: u16) -> String {
    let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|path| quoted(path));
    format!("tls-port {port}\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-auth-clients yes\n")
}

fn spec(program: &Path, folder: &Path) -> Spec {
    Spec {
        server: SERVER,
        command: vec![program.into(), folder.join("redis.conf").into()],
        environment: Vec::new(),
        stop_signal: "TERM",
        grace: Duration::from_secs(10),
    }
}

/// A path in Redis's configuration syntax.
fn quoted(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
