//! One server process under a watchdog: a small shell in a process group of its own that starts the server, and ends it and
//! removes its folder as soon as its standard input closes. The other end of that pipe is held by this process alone, so
//! it closes whatever happens here: a normal drop, a panic, Ctrl-C, or `kill -9`.
//!
//! It must never signal a process that it did not start: the watchdog does not collect the server's exit status before it is
//! told to end, so that the server's process id cannot be given to another process while we hold it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{POLL_INTERVAL, READY_DEADLINE, ServerError};

/// The watchdog. Arguments: the signal that ends the server, seconds until `KILL` follows it, the folder to remove, the log
/// file, then the server's command. Prints the server's process id. A line `keep` on standard input ends the server and
/// leaves the folder; end of input ends the server and removes the folder, and its parent when that is then empty.
///
/// The server is sent `TERM` and then its own stop signal, which is repeated: a launcher that is still making a data folder
/// ends on `TERM` when it is done, and does not see the others (a shell's background processes ignore them). In the end
/// what is left of the process group (epmd, the timer's sleep) is told to end, and the last line makes sure of it, the
/// watchdog included.
const WATCHDOG: &str = r#"
signal=$1; grace=$2; folder=$3; log=$4
shift 4
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
server=$!
echo "$server"
exec >/dev/null
keep=
finish() {
    trap '' HUP INT TERM
    kill -s TERM "$server"
    kill -s "$signal" "$server"
    kill -s CONT "$server"
    (
        while [ "$grace" -gt 0 ]; do
            sleep 1
            kill -s "$signal" "$server"
            grace=$((grace - 1))
        done
        kill -s KILL "$server"
    ) &
    timer=$!
    wait "$server"
    kill -s KILL "$timer"
    kill -s TERM -- "-$$"
    if [ -z "$keep" ]; then
        for pause in 0.2 0.5 2; do
            rm -rf "$folder"
            [ -e "$folder" ] || break
            sleep "$pause"
        done
        rmdir "${folder%/*}"
    fi
    kill -s KILL -- "-$$"
}
trap finish HUP INT TERM
read -r order <&3
[ "$order" = keep ] && keep=yes
finish
"#;

/// How a server process is started and ended.
#[derive(Debug)]
pub(super) struct Spec {
    /// The server's name in messages.
    pub server: &'static str,
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Environment variables on top of the inherited ones.
    pub environment: Vec<(String, OsString)>,
    /// The signal that ends the server (`TERM`, `QUIT`, `KILL`).
    pub stop_signal: &'static str,
    /// How long the server may take to end before it is killed.
    pub grace: Duration,
}

/// The folder of one server in one run. It is removed by the watchdog; when no watchdog was ever started, by the drop.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `PARENT/claimrisk-XXXXXXXXXXXX/SERVER`, the latter for its owner only.
    pub fn create(parent: Option<&Path>, server: &str) -> Result<Self, ServerError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let action = format!("make a data folder in {}", parent.display());
        fs::create_dir_all(&parent).map_err(ServerError::io(action.clone()))?;
        let parent = parent.canonicalize().map_err(ServerError::io(action.clone()))?;
        let run = parent.join(format!("claimrisk-{}", random_hex(6)?));
        // Others may pass through but not list: PostgreSQL runs as another user when we are root.
        make_folder(&run, 0o711).map_err(ServerError::io(action.clone()))?;
        let path = run.join(server);
        make_folder(&path, 0o700).map_err(ServerError::io(action))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner may read.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, ServerError> {
        let path = self.path.join(name);
        let action = format!("write {}", path.display());
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(ServerError::io(action))?;
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Usually both are gone already. A folder that cannot be removed is no reason to fail a run that is over.
        fs::remove_dir_all(&self.path).ok();
        if let Some(run) = self.path.parent() {
            fs::remove_dir(run).ok();
        }
    }
}

fn make_folder(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    // The process's umask may have taken bits away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A running (or ended) server process with its watchdog. Dropping it ends the server and removes its folder.
#[derive(Debug)]
pub(super) struct Supervised {
    server: &'static str,
    watchdog: Child,
    orders: Option<ChildStdin>,
    pid: Pid,
    grace: Duration,
    log: PathBuf,
}

impl Supervised {
    /// Starts the server. It is not ready yet: see [`Supervised::ready`].
    pub fn spawn(spec: &Spec, folder: &Path) -> Result<Self, ServerError> {
        let log = folder.join("output.log");
        let mut shell = Command::new("/bin/sh");
        forget_settings_of_other_servers(&mut shell);
        let mut watchdog = shell
            .args(["-c", WATCHDOG, "claimrisk-watchdog", spec.stop_signal])
            .arg(spec.grace.as_secs().to_string())
            .args([folder, &log])
            .args(&spec.command)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(ServerError::io(format!("start {}", spec.server)))?;
        let orders = watchdog.stdin.take();
        let mut line = String::new();
        if let Some(output) = watchdog.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(ServerError::io(format!("start {}", spec.server)))?;
        }
        let Ok(pid) = line.trim().parse::<i32>() else {
            drop(orders);
            watchdog.wait().ok();
            return Err(ServerError::Ended { server: spec.server, log: tail(&log) });
        };
        Ok(Self { server: spec.server, watchdog, orders, pid: Pid::from_raw(pid), grace: spec.grace, log })
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Whether the server's process runs (a stopped one does, an ended one that nobody collected does not).
    pub fn is_alive(&self) -> bool {
        state(Path::new(&format!("/proc/{}", self.pid))).is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal to the server's process; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.orders.is_some() && self.is_alive() {
            // The only possible failure is that the process has just ended, which is what the caller will find anyway.
            kill(self.pid, signal).ok();
        }
    }

    /// Stops the process in its tracks and returns when each of its threads stands still (or a second has passed).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline && !self.stands_still() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stands_still(&self) -> bool {
        fs::read_dir(format!("/proc/{}/task", self.pid)).is_ok_and(|threads| {
            threads.flatten().all(|thread| !matches!(state(&thread.path()), Some('R' | 'S' | 'D')))
        })
    }

    /// Sends a signal and returns when the process has ended.
    pub async fn signal_and_wait(&self, signal: Signal) -> Result<(), ServerError> {
        self.signal(signal);
        let deadline = Instant::now() + self.grace + Duration::from_secs(5);
        while self.is_alive() {
            if Instant::now() > deadline {
                return Err(self.timed_out("end", self.grace + Duration::from_secs(5)));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends the server (by its stop signal, if it still runs) and its watchdog, and leaves the data folder.
    pub async fn end_and_keep_data(&mut self) -> Result<(), ServerError> {
        if let Some(mut orders) = self.orders.take() {
            orders.write_all(b"keep\n").map_err(ServerError::io(format!("stop {}", self.server)))?;
        }
        let deadline = Instant::now() + self.grace + Duration::from_secs(5);
        while !matches!(self.watchdog.try_wait(), Ok(Some(_)) | Err(_)) {
            if Instant::now() > deadline {
                return Err(self.timed_out("end", self.grace + Duration::from_secs(5)));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Polls `question` until it says yes.
    ///
    /// # Errors
    /// [`ServerError::Ended`] as soon as the process is gone, [`ServerError::TimedOut`] after two minutes.
    pub async fn ready<F>(&self, mut question: impl FnMut() -> F) -> Result<(), ServerError>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            // Asked in this order so that an answer from a stranger on the same port is not taken for ours.
            let answered = tokio::time::timeout(Duration::from_secs(5), question()).await.unwrap_or(false);
            if !self.is_alive() {
                return Err(ServerError::Ended { server: self.server, log: tail(&self.log) });
            }
            if answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.timed_out("answer", READY_DEADLINE));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Tells the watchdog to end the server and remove its folder, without waiting.
    pub fn begin_stop(&mut self) {
        self.orders = None;
    }

    fn timed_out(&self, action: &'static str, deadline: Duration) -> ServerError {
        ServerError::TimedOut { server: self.server, action, seconds: deadline.as_secs(), log: tail(&self.log) }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.begin_stop();
        let deadline = Instant::now() + self.grace + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.watchdog.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // The watchdog itself hangs (a full disk, a stopped process): end its group, the server with it.
        if let Ok(id) = i32::try_from(self.watchdog.id()) {
            kill(Pid::from_raw(-id), Signal::SIGKILL).ok();
        }
        self.watchdog.wait().ok();
    }
}

/// The state letter of a process or thread, by its folder in `/proc`; `None` when it is gone.
fn state(folder: &Path) -> Option<char> {
    // The file is "PID (NAME) STATE ...", and the name may hold spaces and brackets.
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The person's own settings for these servers must not leak into ours.
pub(super) fn forget_settings_of_other_servers(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let foreign = name
            .to_str()
            .is_some_and(|name| ["RABBITMQ_", "ERL_", "PG", "REDIS"].iter().any(|prefix| name.starts_with(prefix)));
        if foreign {
            command.env_remove(name);
        }
    }
}

/// The last lines of a log file, for an error message; empty when there is none.
pub(super) fn tail(log: &Path) -> String {
    const MOST_BYTES: u64 = 2_000;
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}

/// `bytes` random bytes from the operating system, in hexadecimal: for folder names, node names and passwords.
pub(super) fn random_hex(bytes: usize) -> Result<String, ServerError> {
    let mut buffer = vec![0_u8; bytes];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut buffer))
        .map_err(ServerError::io("read /dev/urandom"))?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The lowest port that is tried.
const LOWEST_PORT: u16 = 15_000;
/// The end of the range when the system does not say where its own ports start.
const DEFAULT_HIGHEST_PORT: u16 = 32_767;

/// Different ports on the loopback interface that nobody listens on now.
///
/// They are taken from below the range that the system gives to outgoing connections: a client that keeps trying to
/// reconnect to a stopped server could otherwise be given the server's own port and connect to itself.
///
/// # Errors
/// [`ServerError::NoFreePort`] when none is found.
pub fn free_ports<const PORTS: usize>() -> Result<[u16; PORTS], ServerError> {
    let highest = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .map_or(DEFAULT_HIGHEST_PORT, |first| first.saturating_sub(1));
    let mut held = Vec::new();
    let mut ports = [0; PORTS];
    for port in &mut ports {
        let listener = if highest >= LOWEST_PORT + 1_000 {
            listen_at_random(LOWEST_PORT, highest)?
        } else {
            TcpListener::bind(("127.0.0.1", 0)).map_err(|_| ServerError::NoFreePort)?
        };
        *port = listener.local_addr().map_err(|_| ServerError::NoFreePort)?.port();
        // Held until all are found, so that they differ.
        held.push(listener);
    }
    Ok(ports)
}

fn listen_at_random(lowest: u16, highest: u16) -> Result<TcpListener, ServerError> {
    for _ in 0..200 {
        let random = u16::from_str_radix(&random_hex(2)?, 16).unwrap_or(0);
        let port = lowest + random % (highest - lowest + 1);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener);
        }
    }
    Err(ServerError::NoFreePort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let ports: [u16; 8] = free_ports().unwrap();
        let mut sorted = ports.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), ports.len());
        for port in ports {
            TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }

    #[test]
    fn the_tail_of_a_long_log_is_its_end() {
        let folder = RunFolder::create(None, "log").unwrap();
        let path = folder.write("long.log", &format!("{}the end\n", "x".repeat(10_000))).unwrap();
        let tail = tail(&path);
        assert!(tail.ends_with("the end"));
        assert!(tail.len() <= 2_000);
    }

    #[test]
    fn a_folder_without_a_server_is_removed_with_its_parent() {
        let folder = RunFolder::create(None, "nothing").unwrap();
        let run = folder.path().parent().unwrap().to_path_buf();
        assert!(run.is_dir());
        drop(folder);
        assert!(!run.exists());
    }
}
