//! A private PostgreSQL cluster on TCP over the loopback interface, with a password made for the run.
//!
//! It must never run as root (PostgreSQL refuses it): under root the package's own user `postgres` is taken.

use std::ffi::OsString;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

use super::process::{self, RunFolder, Spec, Supervised};
use super::{Options, Restart, ServerError, TlsFiles, check_name, find_versions, run_folder};

const SERVER: &str = "PostgreSQL";
const PACKAGE: &str = "postgresql";
const INSTALLED_IN: &str = "/usr/lib/postgresql";

/// The cluster's only user.
const USER: &str = "claimrisk";

/// The file in the cluster's folder that `initdb` reads the password from.
const PASSWORD_FILE: &str = "password";

/// Who may come in when there are certificates: over TLS only with one, without TLS as ever.
const HBA: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n\
                   hostnossl all all 127.0.0.1/32 scram-sha-256\n";

/// The file of these rules.
const HBA_FILE: &str = "pg_hba.conf";

/// Makes the cluster at the first start, and becomes the server. Both run under the watchdog, so that neither outlives us.
/// When told to end, it first lets `initdb` finish (a second), which would leave shared memory behind if it were stopped.
/// Arguments: the folder of the programs, the data folder, the password file, the user, then settings for the server.
const LAUNCHER: &str = r#"
programs=$1; data=$2; password=$3; user=$4
shift 4
if [ -e "$password" ]; then
    trap 'exit 1' TERM
    rm -rf "$data"
    "$programs/initdb" --no-sync --locale=C --encoding=UTF8 --auth=scram-sha-256 --username="$user" \
        --pwfile="$password" --pgdata="$data" || exit 1
    rm "$password"
fi
trap - TERM
exec "$programs/postgres" -D "$data" "$@"
"#;

/// How long one of PostgreSQL's own tools may take.
const TOOL_DEADLINE: Duration = Duration::from_secs(60);

/// Whether PostgreSQL waits for the disk before it reports a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// No: for tests and the demo. A commit still survives any end of the server's process, but not of the machine.
    #[default]
    Fast,
    /// Yes, as in production: for measurements.
    Real,
}

/// How PostgreSQL is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Open transactions are rolled back, clients disconnected, data written.
    Fast,
    /// At once, with recovery at the next start.
    Immediate,
}

/// A private PostgreSQL cluster. Dropping it stops the cluster and removes its data.
#[derive(Debug)]
pub struct Postgres {
    // Dropped before the folder: the order of the fields matters.
    process: Supervised,
    folder: RunFolder,
    programs: PathBuf,
    port: u16,
    password: String,
    durability: Durability,
    tls: bool,
}

impl Postgres {
    /// Makes a cluster, starts it and returns when it answers (about 3 seconds).
    ///
    /// # Errors
    /// [`ServerError`]: the package is missing, or the cluster did not come up.
    pub async fn start(options: &Options) -> Result<Self, ServerError> {
        let programs = Self::find()?;
        options.report("starting PostgreSQL");
        let postgres = super::with_fresh_ports(|[port]| {
            let programs = programs.clone();
            async move {
                let (folder, password) = prepare(options)?;
                let tls = options.tls.is_some();
                let spec = spec(&programs, folder.path(), port, options.durability, tls);
                let postgres = Self {
                    process: Supervised::spawn(&spec, folder.path())?,
                    folder,
                    programs,
                    port,
                    password,
                    durability: options.durability,
                    tls,
                };
                postgres.wait_until_ready().await?;
                Ok(postgres)
            }
        })
        .await?;
        options.report("PostgreSQL is ready");
        Ok(postgres)
    }

    /// Looks for the programs of the newest installed version.
    pub(super) fn find() -> Result<PathBuf, ServerError> {
        find_versions(Path::new(INSTALLED_IN), "", "bin/postgres")
            .pop()
            .map(|version| version.join("bin"))
            .ok_or(ServerError::MissingPackage { program: "postgres", package: PACKAGE })
    }

    /// The URL of a database in this cluster, with user and password.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The port on `127.0.0.1`, for a proxy to stand in front of.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Errors
    /// [`ServerError::Name`] for a name with other than letters, digits, `_`, `-`, `.`; [`ServerError::Command`] when the
    /// server refuses.
    pub async fn create_database(&self, name: &str) -> Result<String, ServerError> {
        check_name(name)?;
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\"")).await?;
        Ok(self.database_url(name))
    }

    /// Removes a database, also one that somebody is still connected to.
    ///
    /// # Errors
    /// [`ServerError::Name`] as above; [`ServerError::Command`] when the server refuses.
    pub async fn drop_database(&self, name: &str) -> Result<(), ServerError> {
        check_name(name)?;
        self.sql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await.map(drop)
    }

    /// Writes everything to the disk that still has to be written, so that what is measured next does not pay for it.
    ///
    /// # Errors
    /// [`ServerError::Command`] when the server refuses.
    pub async fn checkpoint(&self) -> Result<(), ServerError> {
        self.sql("postgres", "CHECKPOINT").await.map(drop)
    }

    /// Runs one statement through `psql` and returns its rows as text, columns separated by `|`.
    ///
    /// # Errors
    /// [`ServerError::Command`] with the server's message when the statement fails.
    pub async fn sql(&self, database: &str, statement: &str) -> Result<String, ServerError> {
        let port = self.port.to_string();
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            USER,
            "-d",
            database,
            "-c",
            statement,
        ];
        let mut command = std::process::Command::new(self.programs.join("psql"));
        process::forget_settings_of_other_servers(&mut command);
        command.args(arguments).env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10");
        run_tool(command, self.folder.path()).await
    }

    /// The process id of the cluster's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the cluster's first process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// The folder of this cluster's data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the cluster, keeps its data, and returns when it is down.
    ///
    /// # Errors
    /// [`ServerError::TimedOut`] when the process does not go away.
    pub async fn stop(&self, mode: StopMode) -> Result<(), ServerError> {
        let signal = match mode {
            StopMode::Fast => Signal::SIGINT,
            StopMode::Immediate => Signal::SIGQUIT,
        };
        self.process.signal_and_wait(signal).await
    }

    /// Starts the cluster again on the same data and port, after [`Postgres::stop`].
    ///
    /// # Errors
    /// [`ServerError`]: the cluster did not come up.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        super::start_again(self).await
    }

    /// [`Postgres::stop`] and [`Postgres::start_again`].
    ///
    /// # Errors
    /// [`ServerError`]: the cluster did not end, or did not come up.
    pub async fn restart(&mut self, mode: StopMode) -> Result<(), ServerError> {
        self.stop(mode).await?;
        self.start_again().await
    }

    pub(super) fn begin_stop(&mut self) {
        self.process.begin_stop();
    }
}

impl Restart for Postgres {
    async fn spawn_again(&mut self) -> Result<(), ServerError> {
        self.process.end_and_keep_data().await?;
        let spec = spec(&self.programs, self.folder.path(), self.port, self.durability, self.tls);
        self.process = Supervised::spawn(&spec, self.folder.path())?;
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<(), ServerError> {
        self.process.ready(|| async { self.sql("postgres", "SELECT 1").await.is_ok() }).await
    }
}

/// Makes the folder of the cluster, with the password of its user in a file for `initdb`; returns both.
fn prepare(options: &Options) -> Result<(RunFolder, String), ServerError> {
    let folder = run_folder(options, "postgres")?;
    let password = process::random_hex(16)?;
    let password_file = folder.write(PASSWORD_FILE, &format!("{password}\n"))?;
    let mut owned = vec![folder.path().to_path_buf(), password_file];
    if let Some(tls) = &options.tls {
        let TlsFiles { ca, cert, key } = TlsFiles::write(&folder, tls)?;
        owned.extend([ca, cert, key, folder.write(HBA_FILE, HBA)?]);
    }
    if let Some(user) = unprivileged_user() {
        for path in &owned {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(ServerError::io(format!(
                "give {} to {}",
                path.display(),
                user.name
            )))?;
        }
    }
    Ok((folder, password))
}

fn spec(programs: &Path, folder: &Path, port: u16, durability: Durability, tls: bool) -> Spec {
    let mut command = as_unprivileged_user("/bin/sh".into());
    command.extend(["-c".into(), LAUNCHER.into(), "claimrisk-postgres".into()]);
    command.extend([programs.into(), folder.join("data").into(), folder.join(PASSWORD_FILE).into(), USER.into()]);
    let waits = match durability {
        Durability::Fast => "off",
        Durability::Real => "on",
    };
    let file = |name: &str| folder.join(name).display().to_string();
    let encrypted = if tls {
        vec![
            "ssl=on".to_owned(),
            format!("ssl_ca_file={}", file("ca.pem")),
            format!("ssl_cert_file={}", file("cert.pem")),
            format!("ssl_key_file={}", file("key.pem")),
            format!("hba_file={}", file(HBA_FILE)),
        ]
    } else {
        Vec::new()
    };
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // No socket file: the folder's name may be longer than a socket's may be, and TCP is what is tested.
        "unix_socket_directories=".to_owned(),
        // Shared memory as files in the data folder: nothing is left in /dev/shm after a kill.
        "dynamic_shared_memory_type=mmap".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "max_wal_size=1GB".to_owned(),
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
        // Parameters and row values may be patient data.
        "log_parameter_max_length=0".to_owned(),
        "log_parameter_max_length_on_error=0".to_owned(),
        "log_error_verbosity=terse".to_owned(),
        format!("fsync={waits}"),
        format!("full_page_writes={waits}"),
    ];
    for setting in settings.into_iter().chain(encrypted) {
        command.extend(["-c".into(), setting.into()]);
    }
    Spec {
        server: SERVER,
        command,
        environment: Vec::new(),
        // "Immediate": nothing is written any more, but shared memory is given back, which after KILL it is not.
        stop_signal: "QUIT",
        grace: Duration::from_secs(20),
    }
}

/// The user to run PostgreSQL as, when we are root.
fn unprivileged_user() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten())
}

/// The command that runs `program` as that user: `setpriv` replaces itself by it, so that its process id is the server's.
fn as_unprivileged_user(program: PathBuf) -> Vec<OsString> {
    let mut command: Vec<OsString> = Vec::new();
    if let Some(user) = unprivileged_user() {
        command.push("setpriv".into());
        command.push(format!("--reuid={}", user.uid).into());
        command.push(format!("--regid={}", user.gid).into());
        command.push("--clear-groups".into());
        command.push("--".into());
    }
    command.push(program.into());
    command
}

/// Runs one of PostgreSQL's tools and returns what it printed.
async fn run_tool(command: std::process::Command, folder: &Path) -> Result<String, ServerError> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    let run = command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(TOOL_DEADLINE, run)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(ServerError::io(format!("run {program}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(ServerError::Command { program, message: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}
