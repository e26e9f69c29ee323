//! A TCP proxy inside the test that stands before Redis: it passes on, delays, and cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy before one port of `127.0.0.1`. Its tasks end with the test's runtime.
pub struct Proxy {
    pub port: u16,
    delay_ms: Arc<AtomicU64>,
    refusing: Arc<AtomicBool>,
    /// Each change cuts the connections that were made before it.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let own = listener.local_addr().expect("address").port();
        let proxy = Self { port: own, delay_ms: Arc::default(), refusing: Arc::default(), cuts: watch::Sender::new(0) };
        let (delay, refusing, cuts) = (Arc::clone(&proxy.delay_ms), Arc::clone(&proxy.refusing), proxy.cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pump(from_client, to_server, Arc::clone(&delay), cuts.subscribe()));
                tokio::spawn(pump(from_server, to_client, Arc::clone(&delay), cuts.subscribe()));
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
        self.delay_ms.store(u64::try_from(delay.as_millis()).expect("short") / 2, Ordering::SeqCst);
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>, mut cuts: watch::Receiver<u64>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let step = async {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let delay = delay.load(Ordering::SeqCst);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            read > 0 && to.write_all(&buffer[..read]).await.is_ok()
        };
        // The end of one half of a connection that is dropped ends the other side's too.
        tokio::select! {
            _ = cuts.changed() => return,
            going = step => if !going { return },
        }
    }
}
