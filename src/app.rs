//! A worker process: boots in order, serves its roles, and drains in the mirrored order.
//!
//! Boot: pool, migrations, cache, model, listeners, consumers. Drain: stop taking, finish and settle, close, flush; all
//! within the grace. Must never: start on a schema that is not migrated.

use std::collections::BTreeSet;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, AuditLog, Listener, Tokens};
use crate::broker::Publisher;
use crate::cache::Cache;
use crate::config::Config;
use crate::error::CommandError;
use crate::flow::delivery::{Connected, Queue};
use crate::flow::{self, Context};
use crate::model::Model;
use crate::{learner, metrics, store, telemetry};

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Consumes claims and acknowledgements.
    Claims,
    /// Consumes remittances.
    Remittances,
    /// Splits raw X12 interchanges.
    X12,
    /// Keeps what payers deny up to date; one in the fleet is active.
    Learner,
    /// Serves the API.
    Api,
}

impl Role {
    const fn queue(self) -> Option<Queue> {
        match self {
            Self::Claims => Some(Queue::Claims),
            Self::Remittances => Some(Queue::Remittances),
            Self::X12 => Some(Queue::X12),
            Self::Learner | Self::Api => None,
        }
    }
}

/// The parts of a worker, connected and checked.
struct Parts {
    config: Arc<Config>,
    pool: PgPool,
    cache: Arc<Cache>,
    model: Arc<Model>,
    connected: Connected,
    queues: Vec<Queue>,
    handle: PrometheusHandle,
    tokens: Option<Arc<Tokens>>,
}

/// Runs a worker until a signal ends it.
///
/// # Errors
/// It cannot boot, a part of it ended by itself, or it could not finish within the grace.
pub async fn run(config: Config, roles: &BTreeSet<Role>) -> Result<(), CommandError> {
    use_small_pages();
    let handle = telemetry::init_metrics()?;
    let tokens = if roles.contains(&Role::Api) { Tokens::configured(&config)? } else { None };
    let config = Arc::new(config);
    let pool = store::pool(&config)?;
    check_schema(&pool).await?;
    let cache = Arc::new(Cache::new(&config, store::installation(&pool).await?)?);
    let model = Arc::new(Model::load(&pool).await?);
    metrics::dependency_up(metrics::Dependency::Postgres, true);
    let queues = roles.iter().filter_map(|role| role.queue()).collect();
    let parts = Parts { config, pool, cache, model, connected: Connected::default(), queues, handle, tokens };
    serve(parts, roles).await
}

/// Batches come and go in memory; in pages of two megabytes they leave holes. Measured with full batches: 116 MiB with small
/// pages, 150 with large ones, at the price of a twentieth of the processor time.
fn use_small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "large pages stay on");
    }
}

async fn check_schema(pool: &PgPool) -> Result<(), CommandError> {
    let pending = store::pending_migrations(pool).await?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(CommandError::Failed(format!("{} migrations are pending; run `claimrisk migrate` first", pending.len())))
}

async fn serve(parts: Parts, roles: &BTreeSet<Role>) -> Result<(), CommandError> {
    // Background tasks live until the end; serving tasks end the process when they end by themselves.
    let (stop, background_stop) = (CancellationToken::new(), CancellationToken::new());
    let mut serving: JoinSet<&'static str> = JoinSet::new();
    let mut background: JoinSet<()> = JoinSet::new();
    start_listeners(&parts, roles, &stop, &mut serving).await?;
    start_background(&parts, &background_stop, &mut background);
    let publishers =
        ["copies", "announcements"].map(|name| Arc::new(Publisher::new(parts.config.amqp_url.clone(), name)));
    start_consumers(&parts, roles, &publishers, &stop, &mut serving);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        model = parts.model.current().snapshot.version(),
        "worker is up"
    );

    let ended = tokio::select! {
        signal = until_signal() => { tracing::info!(signal, "stopping"); None }
        Some(ended) = serving.join_next() => Some(ended.unwrap_or("a task that panicked")),
    };
    stop.cancel();
    let drained =
        tokio::time::timeout(parts.config.shutdown_grace, async { while serving.join_next().await.is_some() {} });
    let in_time = tokio::select! {
        drained = drained => drained.is_ok(),
        signal = until_signal() => { tracing::warn!(signal, "told to stop twice; not waiting any longer"); false }
    };
    let farewell = async {
        for publisher in &publishers {
            publisher.close().await;
        }
    };
    if tokio::time::timeout(FAREWELL_LIMIT, farewell).await.is_err() {
        tracing::debug!("the broker did not say goodbye");
    }
    background_stop.cancel();
    background.shutdown().await;
    if !matches!(tokio::time::timeout(FAREWELL_LIMIT, parts.cache.stats.flush(&parts.pool)).await, Ok(Ok(()))) {
        tracing::warn!("the last cache statistics were not stored");
    }
    match (ended, in_time) {
        (Some(task), _) => Err(CommandError::Failed(format!("{task} ended by itself"))),
        (None, false) => Err(CommandError::Failed("work in flight was handed back: the grace ran out".to_owned())),
        (None, true) => Ok(()),
    }
}

/// How long a server may take to answer when all is done.
const FAREWELL_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT.
async fn until_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn bind(address: std::net::SocketAddr, setting: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| CommandError::Config(format!("{setting} = {address}: cannot listen: {error}")))
}

async fn start_listeners(
    parts: &Parts,
    roles: &BTreeSet<Role>,
    stop: &CancellationToken,
    serving: &mut JoinSet<&'static str>,
) -> Result<(), CommandError> {
    let (connected, queues) = (parts.connected.clone(), parts.queues.clone());
    let state = Arc::new(ApiState {
        pool: parts.pool.clone(),
        cache: Arc::clone(&parts.cache),
        config: Arc::clone(&parts.config),
        model: Arc::clone(&parts.model),
        broker: (!queues.is_empty()).then(|| {
            let probe: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(move || connected.all(&queues));
            probe
        }),
        audit: AuditLog::start(parts.pool.clone(), parts.config.database_timeout),
        tokens: parts.tokens.clone(),
    });
    let grace = parts.config.shutdown_grace;
    let listener = bind(parts.config.metrics_addr, "metrics_addr").await?;
    let listener = Listener::new(listener, &parts.config, None)?;
    tracing::info!(address = %parts.config.metrics_addr, "metrics listener is up");
    let router = api::metrics_router(parts.handle.clone(), Arc::clone(&state));
    let token = stop.clone();
    serving.spawn(async move {
        api::serve(listener, router, token, grace).await;
        "the metrics listener"
    });
    if roles.contains(&Role::Api) {
        let address = parts.config.http_addr;
        let identity = parts.config.api_identity.as_ref();
        let listener = Listener::new(bind(address, "http_addr").await?, &parts.config, identity)?;
        if identity.is_none() && !address.ip().is_loopback() {
            tracing::warn!("the API speaks plain HTTP to other machines: put TLS before it, or set api_cert_file");
        }
        tracing::info!(%address, tls = identity.is_some(), tokens = parts.tokens.is_some(), "API is up");
        let (router, token) = (api::router(state), stop.clone());
        serving.spawn(async move {
            api::serve(listener, router, token, grace).await;
            "the API"
        });
    }
    Ok(())
}

fn start_background(parts: &Parts, stop: &CancellationToken, background: &mut JoinSet<()>) {
    let (cache, pool, handle) = (Arc::clone(&parts.cache), parts.pool.clone(), parts.handle.clone());
    let (stopped, model, tokens) = (stop.clone(), Arc::clone(&parts.model), parts.tokens.clone());
    let limit = parts.config.database_deadline();
    background.spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = cache.stats.flush_forever(&pool, limit) => {}
            () = cache.clear_doubts() => {}
            () = model.follow(&pool, limit) => {}
            () = telemetry::upkeep(handle) => {}
            () = follow(tokens) => {}
        }
    });
}

async fn follow(tokens: Option<Arc<Tokens>>) {
    match tokens {
        Some(tokens) => tokens.follow().await,
        None => std::future::pending().await,
    }
}

fn start_consumers(
    parts: &Parts,
    roles: &BTreeSet<Role>,
    publishers: &[Arc<Publisher>; 2],
    stop: &CancellationToken,
    serving: &mut JoinSet<&'static str>,
) {
    let [copies, announcements] = publishers;
    let context = Arc::new(Context {
        config: Arc::clone(&parts.config),
        pool: parts.pool.clone(),
        cache: Arc::clone(&parts.cache),
        copies: Arc::clone(copies),
        announcements: Arc::clone(announcements),
        model: Arc::clone(&parts.model),
        connected: parts.connected.clone(),
    });
    for queue in parts.queues.iter().copied() {
        let (context, stop) = (Arc::clone(&context), stop.clone());
        serving.spawn(async move {
            flow::run(context, queue, stop).await;
            queue.name()
        });
    }
    if roles.contains(&Role::Learner) {
        let (pool, cache, stop) = (parts.pool.clone(), Arc::clone(&parts.cache), stop.clone());
        let (model, config) = (Arc::clone(&parts.model), Arc::clone(&parts.config));
        let announcements = Arc::clone(announcements);
        serving.spawn(async move {
            learner::run(&learner::Means { pool, cache, model, announcements, config }, &stop).await;
            "the learner"
        });
    }
}
