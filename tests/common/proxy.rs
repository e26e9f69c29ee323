//! A TCP proxy inside the test that stands before one server: it passes on, delays, throttles, refuses, cuts, falls
//! silent, loses connections for good, and does so when a number of bytes or a pattern passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What sets a trap off, in one connection.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// So many bytes.
    Bytes(u64),
    /// These bytes, wherever they are cut into packets.
    Pattern(Vec<u8>),
}

/// What happens to the connection whose bytes set the trap off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is reset; what set the trap off is not passed on (of bytes counted: not beyond their number).
    Reset,
    /// It falls silent both ways for good; what set the trap off is not passed on.
    Lose,
    /// It falls silent both ways for good after what set the trap off was passed on: the answer is lost.
    LoseAnswer,
    /// Nothing: whoever waits for it knows.
    Tell,
}

#[derive(Clone, Debug)]
struct Trap {
    way: Way,
    trigger: Trigger,
    then: Then,
}

/// What is done to all connections.
#[derive(Clone, Debug, Default)]
struct Mode {
    held: [bool; 2],
    delay: Duration,
    bytes_per_second: Option<u64>,
    refusing: bool,
    trap: Option<Trap>,
    /// Changes end the connections made before: orderly, or by a reset.
    cuts: u64,
    reset: bool,
    /// Changes make the connections made before silent for good.
    losses: u64,
}

#[derive(Default)]
struct Counts {
    traps: AtomicU64,
    /// Times that a trap's trigger is to be let through first.
    skip: AtomicU64,
}

/// A proxy before one port of `127.0.0.1`. Its tasks end with the test's runtime.
pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let own = listener.local_addr().expect("address").port();
        let proxy = Self { port: own, mode: watch::Sender::default(), counts: Arc::default() };
        let (mode, counts) = (proxy.mode.clone(), Arc::clone(&proxy.counts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if mode.borrow().refusing {
                    client.set_zero_linger().ok();
                    continue;
                }
                tokio::spawn(serve(client, port, mode.subscribe(), Arc::clone(&counts)));
            }
        });
        proxy
    }

    /// The same URL through this proxy.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replace(&format!(":{port}/"), &format!(":{}/", self.port))
    }

    /// Holds every part of an exchange up, in both directions together, for this long.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay / 2);
    }

    /// Passes so many bytes in a second, in each direction of each connection.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        self.mode.send_modify(|mode| mode.bytes_per_second = bytes_per_second);
    }

    /// Holds everything back: connections stay open and silent, as in a network that is parted. What is held back is
    /// passed on by [`Proxy::pass`], as a network that heals would send it again.
    pub fn hold(&self, ways: &[Way]) {
        self.mode.send_modify(|mode| ways.iter().for_each(|way| mode.held[*way as usize] = true));
    }

    /// Ends all that was done to bytes: what was held back goes on its way, traps are gone.
    pub fn pass(&self) {
        self.mode.send_modify(|mode| *mode = Mode { cuts: mode.cuts, losses: mode.losses, ..Mode::default() });
    }

    /// Makes all connections silent for good: they stay open, nothing passes, nobody is told. New ones are fine.
    pub fn lose(&self) {
        self.mode.send_modify(|mode| mode.losses += 1);
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| (mode.cuts, mode.reset) = (mode.cuts + 1, false));
    }

    /// Resets all connections; new ones are taken.
    pub fn reset(&self) {
        self.mode.send_modify(|mode| (mode.cuts, mode.reset) = (mode.cuts + 1, true));
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.mode.send_modify(|mode| mode.refusing = refuse);
    }

    /// Sets a trap, which every connection goes into until [`Proxy::pass`]; the first `skip` times do not count.
    pub fn trap(&self, way: Way, trigger: Trigger, then: Then, skip: u64) {
        self.counts.skip.store(skip, Ordering::SeqCst);
        self.counts.traps.store(0, Ordering::SeqCst);
        self.mode.send_modify(|mode| mode.trap = Some(Trap { way, trigger, then }));
    }

    /// How often the trap was set off.
    pub fn trapped(&self) -> u64 {
        self.counts.traps.load(Ordering::SeqCst)
    }

    /// Waits until the trap was set off; whether it was in time.
    pub async fn wait_trapped(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.trapped() == 0 && began.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.trapped() > 0
    }
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    Orderly,
    Reset,
    Lost,
}

async fn serve(mut client: TcpStream, port: u16, mode: watch::Receiver<Mode>, counts: Arc<Counts>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (cuts, losses) = (mode.borrow().cuts, mode.borrow().losses);
    let mut changes = mode.clone();
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            end = pump(from_client, to_server, Way::Up, mode.clone(), &counts) => end,
            end = pump(from_server, to_client, Way::Down, mode.clone(), &counts) => end,
            end = async {
                let changed = changes.wait_for(|mode| mode.cuts != cuts || mode.losses != losses).await;
                changed.map_or(End::Orderly, |mode| match (mode.cuts != cuts, mode.reset) {
                    (false, _) => End::Lost,
                    (true, true) => End::Reset,
                    (true, false) => End::Orderly,
                })
            } => end,
        }
    };
    match end {
        End::Orderly => {}
        End::Reset => {
            client.set_zero_linger().ok();
            server.set_zero_linger().ok();
        }
        // Open and silent: what is sent is swallowed.
        End::Lost => {
            let ((client, _to_client), (server, _to_server)) = (client.split(), server.split());
            tokio::join!(swallow(client), swallow(server));
        }
    }
}

/// Reads what comes and passes nothing on, until the side that sends hangs up.
async fn swallow(mut from: ReadHalf<'_>) {
    let mut buffer = vec![0; 64 * 1024];
    while from.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

/// Passes one direction on until it ends; the end of one direction is the end of the connection.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut mode: watch::Receiver<Mode>,
    counts: &Counts,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    let (mut passed, mut tail) = (0_u64, Vec::new());
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) if length > 0 => length,
            _ => return End::Orderly,
        };
        let bytes = &buffer[..length];
        let Ok(now) = mode.wait_for(|mode| !mode.held[way as usize]).await.map(|mode| mode.clone()) else {
            return End::Orderly;
        };
        let pause = now
            .bytes_per_second
            .map_or(now.delay, |rate| now.delay + Duration::from_secs_f64(length as f64 / rate.max(1) as f64));
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if let Some(trap) = now.trap.as_ref().filter(|trap| trap.way == way)
            && let Some(before) = goes_into(trap, bytes, passed, &mut tail)
            && counts.skip.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        {
            let part = if trap.then == Then::LoseAnswer { bytes } else { &bytes[..before] };
            if trap.then != Then::Tell && to.write_all(part).await.is_err() {
                return End::Orderly;
            }
            counts.traps.fetch_add(1, Ordering::SeqCst);
            match trap.then {
                Then::Reset => return End::Reset,
                Then::Lose | Then::LoseAnswer => return End::Lost,
                Then::Tell => {}
            }
        }
        passed += length as u64;
        if to.write_all(bytes).await.is_err() {
            return End::Orderly;
        }
    }
}

/// Whether these bytes set the trap off, and how many of them come before.
fn goes_into(trap: &Trap, bytes: &[u8], passed: u64, tail: &mut Vec<u8>) -> Option<usize> {
    match &trap.trigger {
        Trigger::Bytes(limit) => (passed + bytes.len() as u64 >= *limit)
            .then(|| usize::try_from(limit.saturating_sub(passed)).expect("short")),
        Trigger::Pattern(pattern) => {
            let kept = tail.len();
            tail.extend_from_slice(bytes);
            let found = tail.windows(pattern.len()).position(|window| window == pattern);
            let last = tail.len().saturating_sub(pattern.len() - 1);
            *tail = tail.split_off(last);
            found.map(|at| at.saturating_sub(kept))
        }
    }
}
