//! A private RabbitMQ node with its management and Prometheus plugins, and an Erlang port mapper (epmd) of its own.
//!
//! It must never start the shared epmd daemon, join or look at another node, or use the machine's Erlang cookie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::process::{self, RunFolder, Spec, Supervised};
use super::{Options, Restart, ServerError, TlsFiles, check_name, find_program, find_versions, http, run_folder};

const SERVER: &str = "RabbitMQ";
const PACKAGE: &str = "rabbitmq-server";

/// Where Debian keeps the server, one folder per version. Its `rabbitmq-server` in `/usr/sbin` is of no use here: it
/// changes to the user `rabbitmq` and to that user's folders.
const INSTALLED_IN: &str = "/usr/lib/rabbitmq/lib";

/// `guest:guest`, the user of a fresh node, who may log in over the loopback interface only.
const AUTHORIZATION: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// How long `rabbitmqctl` may take: it starts an Erlang machine of its own each time.
const CTL_DEADLINE: Duration = Duration::from_secs(60);

/// Starts epmd, waits until it listens, and becomes the server. If epmd were not there first, the server would start one
/// as a daemon that nobody ends. Arguments: epmd, its port, then the server's command.
const LAUNCHER: &str = r#"
epmd=$1; port=$2
shift 2
"$epmd" -address 127.0.0.1 -port "$port" &
tries=0
until "$epmd" -port "$port" -names; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    sleep 0.05
done
exec "$@"
"#;

/// A private RabbitMQ node. Dropping it stops the node and removes its data.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped before the folder: the order of the fields matters.
    process: Supervised,
    folder: RunFolder,
    programs: Programs,
    ports: Ports,
    node: String,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// The folder of `rabbitmq-server` and `rabbitmqctl`.
    scripts: PathBuf,
    epmd: PathBuf,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    amqps: u16,
    management: u16,
    prometheus: u16,
    epmd: u16,
    distribution: u16,
    ctl: u16,
}

impl RabbitMq {
    /// Starts a node and returns when it takes connections and its management interface answers (about 8 seconds).
    ///
    /// # Errors
    /// [`ServerError`]: the package is missing, or the node did not come up.
    pub async fn start(options: &Options) -> Result<Self, ServerError> {
        let programs = Self::find()?;
        options.report("starting RabbitMQ");
        let rabbitmq = super::with_fresh_ports(|ports| {
            let programs = programs.clone();
            async move {
                let rabbitmq = Self::spawn(options, programs, ports)?;
                rabbitmq.wait_until_ready().await?;
                Ok(rabbitmq)
            }
        })
        .await?;
        options.report("RabbitMQ is ready");
        Ok(rabbitmq)
    }

    /// Looks for the programs.
    pub(super) fn find() -> Result<Programs, ServerError> {
        let server = find_versions(Path::new(INSTALLED_IN), "rabbitmq_server-", "sbin/rabbitmq-server")
            .pop()
            .ok_or(ServerError::MissingPackage { program: "rabbitmq-server", package: PACKAGE })?;
        Ok(Programs { scripts: server.join("sbin"), epmd: find_program("epmd", PACKAGE)? })
    }

    fn spawn(
        options: &Options,
        programs: Programs,
        [amqp, amqps, management, prometheus, epmd, distribution, ctl]: [u16; 7],
    ) -> Result<Self, ServerError> {
        let ports = Ports { amqp, amqps, management, prometheus, epmd, distribution, ctl };
        let folder = run_folder(options, "rabbitmq")?;
        let node = format!("claimrisk-{}@localhost", process::random_hex(6)?);
        let tls = options.tls.as_ref().map(|tls| TlsFiles::write(&folder, tls)).transpose()?;
        write_configuration(&folder, ports, tls.as_ref())?;
        let process = Supervised::spawn(&Self::spec(&programs, &folder, ports, &node), folder.path())?;
        Ok(Self { process, folder, programs, ports, node })
    }

    fn spec(programs: &Programs, folder: &RunFolder, ports: Ports, node: &str) -> Spec {
        Spec {
            server: SERVER,
            command: vec![
                "/bin/sh".into(),
                "-c".into(),
                LAUNCHER.into(),
                "claimrisk-rabbitmq".into(),
                programs.epmd.clone().into(),
                ports.epmd.to_string().into(),
                programs.scripts.join("rabbitmq-server").into(),
            ],
            environment: environment(folder.path(), ports, node),
            // An orderly stop takes 8 seconds, for data that are thrown away.
            stop_signal: "KILL",
            grace: Duration::from_secs(30),
        }
    }

    /// The AMQP URL of the default virtual host, with user and password.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        self.vhost_url("%2f")
    }

    fn vhost_url(&self, encoded_vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{encoded_vhost}", self.ports.amqp)
    }

    /// The AMQP URL of the default virtual host over TLS, for a node that was started with certificates; `host` is a name
    /// of this machine.
    #[must_use]
    pub fn amqps_url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2f", self.ports.amqps)
    }

    /// The port for AMQP connections on `127.0.0.1`, for a proxy to stand in front of.
    #[must_use]
    pub fn amqp_port(&self) -> u16 {
        self.ports.amqp
    }

    /// The management interface's address, for a browser (user and password `guest`).
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.management)
    }

    /// Where the node's own metrics are.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ports.prometheus)
    }

    /// Makes a virtual host that the user `guest` may do everything in, and returns its AMQP URL.
    ///
    /// # Errors
    /// [`ServerError::Name`] for a name with other than letters, digits, `_`, `-`, `.`; [`ServerError::Http`] when the
    /// node refuses.
    pub async fn add_vhost(&self, name: &str) -> Result<String, ServerError> {
        check_name(name)?;
        self.management("PUT", &format!("/api/vhosts/{name}"), Some("{}")).await?;
        self.management(
            "PUT",
            &format!("/api/permissions/{name}/guest"),
            Some(r#"{"configure":".*","write":".*","read":".*"}"#),
        )
        .await?;
        Ok(self.vhost_url(name))
    }

    /// Removes a virtual host with all that is in it.
    ///
    /// # Errors
    /// [`ServerError::Name`] and [`ServerError::Http`] as above.
    pub async fn remove_vhost(&self, name: &str) -> Result<(), ServerError> {
        check_name(name)?;
        self.management("DELETE", &format!("/api/vhosts/{name}"), None).await.map(drop)
    }

    /// One request to the management HTTP interface; returns the answer's body (JSON, or nothing).
    ///
    /// # Errors
    /// [`ServerError::Http`] for any status but 2xx, [`ServerError::Io`] when the node does not answer within 30 s.
    pub async fn management(&self, method: &str, path: &str, body: Option<&str>) -> Result<String, ServerError> {
        http::request(self.ports.management, method, path, Some(AUTHORIZATION), body).await
    }

    /// Runs `rabbitmqctl` against this node and returns what it printed. Takes one to two seconds each.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`] when the node is down, [`ServerError::Command`] with the tool's message when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, ServerError> {
        if !self.is_running() {
            return Err(ServerError::NotRunning { server: SERVER });
        }
        let mut command = std::process::Command::new(self.programs.scripts.join("rabbitmqctl"));
        process::forget_settings_of_other_servers(&mut command);
        let mut command = tokio::process::Command::from(command);
        let run = command
            .args(arguments)
            .envs(environment(self.folder.path(), self.ports, &self.node))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(CTL_DEADLINE, run)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(ServerError::io("run rabbitmqctl"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(ServerError::Command {
                program: format!("rabbitmqctl {}", arguments.first().unwrap_or(&"")),
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })
        }
    }

    /// The process id of the node.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the node's process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// The folder of this node's data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the node as a power cut would, and returns when it is gone. [`RabbitMq::start_again`] brings it back.
    ///
    /// # Errors
    /// [`ServerError::TimedOut`] when the process does not go away.
    pub async fn kill9(&self) -> Result<(), ServerError> {
        self.process.signal_and_wait(Signal::SIGKILL).await
    }

    /// Stops the node in an orderly way (about 8 seconds) and keeps its data.
    ///
    /// # Errors
    /// [`ServerError::TimedOut`] when the process does not go away.
    pub async fn stop(&self) -> Result<(), ServerError> {
        self.process.signal_and_wait(Signal::SIGTERM).await
    }

    /// Starts the node again on the same data and ports, after [`RabbitMq::kill9`] or [`RabbitMq::stop`].
    ///
    /// # Errors
    /// [`ServerError`]: the node did not come up.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        super::start_again(self).await
    }

    /// [`RabbitMq::stop`] and [`RabbitMq::start_again`].
    ///
    /// # Errors
    /// [`ServerError`]: the node did not end, or did not come up.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        self.start_again().await
    }

    /// Freezes the node: its connections stay open and silent.
    pub fn pause(&self) {
        self.process.freeze();
    }

    /// Lets a frozen node go on.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    pub(super) fn begin_stop(&mut self) {
        self.process.begin_stop();
    }
}

impl Restart for RabbitMq {
    async fn spawn_again(&mut self) -> Result<(), ServerError> {
        self.process.end_and_keep_data().await?;
        let spec = Self::spec(&self.programs, &self.folder, self.ports, &self.node);
        self.process = Supervised::spawn(&spec, self.folder.path())?;
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<(), ServerError> {
        let Ports { amqp, management, .. } = self.ports;
        self.process
            .ready(|| async move {
                // The management plugin starts last, and AMQP listeners open after all plugins have started.
                TcpStream::connect(("127.0.0.1", amqp)).await.is_ok()
                    && http::request(management, "GET", "/api/healthchecks/node", Some(AUTHORIZATION), None)
                        .await
                        .is_ok()
            })
            .await
    }
}

/// The node's settings. The disk limit is far below what a real node should have (the broker would block publishers on a
/// small machine for no reason of ours); the write-ahead log is kept small, since it is memory, too.
fn write_configuration(folder: &RunFolder, ports: Ports, tls: Option<&TlsFiles>) -> Result<(), ServerError> {
    let tls = tls.map_or(String::new(), |files| tls_settings(files, ports.amqps));
    folder.write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {}\n\
             prometheus.tcp.ip = 127.0.0.1\n\
             prometheus.tcp.port = {}\n\
             disk_free_limit.absolute = 50MB\n\
             vm_memory_high_watermark.relative = 0.4\n\
             raft.wal_max_size_bytes = 67108864\n\
             log.console = false\n\
             log.file.level = info\n{tls}",
            ports.amqp, ports.management, ports.prometheus
        ),
    )?;
    let login = if tls.is_empty() { "" } else { ",rabbitmq_auth_mechanism_ssl" };
    folder.write("enabled_plugins", &format!("[rabbitmq_management,rabbitmq_prometheus{login}].\n"))?;
    // An empty file in the place of the machine's /etc/rabbitmq/rabbitmq-env.conf, which would win over our variables.
    folder.write("rabbitmq-env.conf", "")?;
    Ok(())
}

fn tls_settings(files: &TlsFiles, port: u16) -> String {
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = EXTERNAL\n",
        files.ca.display(),
        files.cert.display(),
        files.key.display()
    )
}

/// What the node and `rabbitmqctl` are told. `HOME` is where Erlang keeps the cookie that protects the node.
fn environment(folder: &Path, ports: Ports, node: &str) -> Vec<(String, OsString)> {
    const LOOPBACK_ONLY: &str = "-kernel inet_dist_use_interface {127,0,0,1}";
    let path = |name: &str| OsString::from(folder.join(name));
    let text = |value: &str| OsString::from(value);
    let port = |port: u16| OsString::from(port.to_string());
    [
        ("HOME", OsString::from(folder)),
        ("ERL_EPMD_PORT", port(ports.epmd)),
        ("ERL_EPMD_ADDRESS", text("127.0.0.1")),
        // A dump of a killed node would hold message bodies.
        ("ERL_CRASH_DUMP_SECONDS", text("0")),
        ("RABBITMQ_NODENAME", text(node)),
        ("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf")),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_PID_FILE", path("pid")),
        ("RABBITMQ_DIST_PORT", port(ports.distribution)),
        // With input "allowed" the script becomes the server instead of a shell beside it; -noinput takes the input away
        // again, and `+B i` makes the server deaf to Ctrl-C.
        ("RABBITMQ_ALLOW_INPUT", text("1")),
        ("RABBITMQ_SERVER_START_ARGS", text("-noinput +B i")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", text(LOOPBACK_ONLY)),
        ("RABBITMQ_CTL_DIST_PORT_MIN", port(ports.ctl)),
        ("RABBITMQ_CTL_DIST_PORT_MAX", port(ports.ctl + 20)),
        ("RABBITMQ_CTL_ERL_ARGS", OsString::from(format!("{LOOPBACK_ONLY} -start_epmd false"))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
