//! The HTTP client of the command line: kept connections, a token, plain or over TLS.
//!
//! Must never: believe an API by another authority than those that are named, or show the token to anyone else.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Config, Secret};
use crate::error::{CommandError, tls_cause};

/// An answer larger than this is an error.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// How long it may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// An HTTP client with a pool of kept connections, and the token that it shows.
pub(in crate::cli) struct HttpClient {
    pool: Pool,
    token: Option<Secret>,
}

enum Pool {
    Plain(Client<HttpConnector, Empty<Bytes>>),
    Tls(Box<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>>, Arc<ClientConfig>),
}

impl HttpClient {
    /// A client for the API at `base` that shows the token of the settings. Over TLS it believes the authorities of
    /// `tls_ca_file`, or the system's where none are named.
    ///
    /// # Errors
    /// The system names no authority.
    pub(in crate::cli) fn of(config: &Config, base: &str) -> Result<Self, CommandError> {
        let token = config.client_token.clone();
        if !base.starts_with("https:") {
            return Ok(Self { pool: Pool::plain(), token });
        }
        let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| CommandError::Failed(format!("tls: {error}")))?;
        let builder = match &config.amqp_url.certificates().authorities {
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities.as_bytes()).flatten());
                builder.with_root_certificates(roots)
            }
            None => builder.with_native_roots().map_err(|error| {
                CommandError::Config(format!("no authorities to believe an API by (set tls_ca_file): {error}"))
            })?,
        };
        Ok(Self { pool: Pool::tls(Arc::new(builder.with_no_client_auth())), token })
    }

    /// The same with connections of its own.
    pub(in crate::cli) fn another(&self) -> Self {
        let pool = match &self.pool {
            Pool::Plain(_) => Pool::plain(),
            Pool::Tls(_, tls) => Pool::tls(Arc::clone(tls)),
        };
        Self { pool, token: self.token.clone() }
    }
}

impl Pool {
    fn connector() -> HttpConnector {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_nodelay(true);
        connector
    }

    fn plain() -> Self {
        Self::Plain(Client::builder(TokioExecutor::new()).build(Self::connector()))
    }

    fn tls(tls: Arc<ClientConfig>) -> Self {
        let mut http = Self::connector();
        // The scheme is looked at by what wraps it.
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config((*tls).clone()).https_only().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.wrap_connector(http));
        Self::Tls(Box::new(client), tls)
    }

    async fn request(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client, _) => client.request(request).await,
        }
    }
}

/// A client over plain HTTP that shows no token: for workers of this process's own.
pub(in crate::cli) fn client() -> HttpClient {
    HttpClient { pool: Pool::plain(), token: None }
}

/// One GET request: status and body, or why there was no answer within `limit`.
pub(in crate::cli) async fn get(client: &HttpClient, url: &str, limit: Duration) -> Result<(u16, Bytes), String> {
    let uri: Uri = url.parse().map_err(|_| "the address is no URL".to_owned())?;
    let exchange = async {
        let mut request = Request::builder().uri(uri);
        if let Some(token) = &client.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Empty::new()).map_err(|_| "the token is none for a header".to_owned())?;
        let answer = client.pool.request(request).await.map_err(|error| why_unanswered(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|_| "the answer broke off or is too large".to_owned())?;
        Ok((status, body.to_bytes()))
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// What TLS says, or the operating system's word for it, where there is one below the client's own error.
fn why_unanswered(error: &Error) -> String {
    if let Some(why) = tls_cause(error) {
        return why;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return io.kind().to_string();
        }
        cause = current.source();
    }
    if error.is_connect() { "cannot connect" } else { "the connection failed" }.to_owned()
}
