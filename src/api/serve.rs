//! How routers are served: connections at once, time for the head of a request, its size, TLS.
//!
//! A client that sends its head slowly, or nothing, loses its connection; so no number of such clients keeps others out for
//! longer than that. Must never: fall back from TLS to plain text.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Identity};
use crate::error::CommandError;

/// Headers of a request, at the most; with more the answer is 431.
const MOST_HEADERS: usize = 64;
/// Bytes of a request's head, at the most; with more the answer is 431.
const LONGEST_HEAD: usize = 32 * 1024;
/// Pause when the system gives no connection (no file handle is left).
const PAUSE: Duration = Duration::from_secs(1);

/// A socket to serve on, and how.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    header_limit: Duration,
    connections: usize,
}

impl Listener {
    /// A listener with the limits of the settings; over TLS when there is an identity to show.
    ///
    /// # Errors
    /// The certificate and the key do not belong together.
    pub fn new(socket: TcpListener, config: &Config, identity: Option<&Identity>) -> Result<Self, CommandError> {
        let tls = identity.map(acceptor).transpose()?;
        Ok(Self { socket, tls, header_limit: config.http_header, connections: config.http_connections })
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        // A place first: whoever is too many waits in the system's queue.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::error!(kind = %error.kind(), "no connection can be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether only the one client that was about to connect failed.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

fn acceptor(identity: &Identity) -> Result<TlsAcceptor, CommandError> {
    let bad = |what: &dyn std::fmt::Display| CommandError::Config(format!("api_cert_file and api_key_file: {what}"));
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes());
    let (chain, key) = (chain.map_err(|error| bad(&error))?, key.map_err(|error| bad(&error))?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| bad(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until told to stop, then finishes the requests that are running, within the grace.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken, grace: Duration) {
    let places = Arc::new(Semaphore::new(listener.connections));
    let running = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(&places) => accepted,
        };
        let Some((stream, place)) = accepted else { break };
        let (router, stop, tls, limit) = (router.clone(), stop.clone(), listener.tls.clone(), listener.header_limit);
        running.spawn(async move {
            one(stream, router, tls, limit, stop).await;
            drop(place);
        });
    }
    drop(listener);
    running.close();
    if tokio::time::timeout(grace, running.wait()).await.is_err() {
        tracing::warn!("requests were cut off: the grace ran out");
    }
}

/// Serves one connection to its end.
async fn one(stream: TcpStream, router: Router, tls: Option<TlsAcceptor>, limit: Duration, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(kind = %error.kind(), "small answers may be delayed");
    }
    let Some(tls) = tls else { return talk(stream, router, limit, &stop).await };
    match tokio::time::timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, router, limit, &stop).await,
        Ok(Err(error)) => tracing::debug!(kind = %error.kind(), "no TLS with a client"),
        Err(_) => tracing::debug!("a client took too long over TLS"),
    }
}

async fn talk<S>(stream: S, router: Router, limit: Duration, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(timeout = error.is_timeout(), "a connection ended early");
    }
}
