//! `/api/v1/health`: whether the service can answer, and how its servers are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::ApiState;
use super::error::ErrorBody;
use crate::broker;
use crate::config::SecretUrl;

/// How long a server may take to answer before it counts as down.
const LIMIT: Duration = Duration::from_secs(2);
/// The work queues: their consumers are the workers.
const WORK_QUEUES: [&str; 3] = ["claimrisk.claims", "claimrisk.remittances", "claimrisk.x12"];
/// The other queues: delayed retries and dead letters.
const OTHER_QUEUES: [&str; 4] = ["claimrisk.retry.5s", "claimrisk.retry.1m", "claimrisk.retry.10m", "claimrisk.dead"];

/// Whether the service can answer.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthView {
    /// `healthy`; `degraded` without Redis or RabbitMQ (answers are slower, or nothing new comes in); `unhealthy` without
    /// PostgreSQL.
    status: &'static str,
    /// Version of the program.
    version: &'static str,
}

/// How one server is.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(super) struct ServerView {
    /// `up` or `down`.
    state: &'static str,
    /// Time of the answer in milliseconds; none when there was no answer.
    latency_ms: Option<f64>,
}

/// How full a queue is.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(super) struct QueueView {
    /// Messages that wait.
    messages: u32,
    /// Consumers.
    consumers: u32,
}

/// How the service and its servers are.
#[derive(Serialize, ToSchema)]
pub(super) struct DetailedHealthView {
    /// As in `/api/v1/health`.
    status: &'static str,
    /// Version of the program.
    version: &'static str,
    /// The model that scores.
    model_version: String,
    /// `postgres`, `rabbitmq` and `redis`.
    servers: BTreeMap<&'static str, ServerView>,
    /// Processes that consume, by the consumers of the work queues; none when the broker does not answer.
    workers_alive: Option<u32>,
    /// The queues; none when the broker does not answer, and without those that are not declared.
    queues: Option<BTreeMap<&'static str, QueueView>>,
}

/// Whether PostgreSQL answers within the limit.
pub(super) async fn postgres_answers(pool: &PgPool) -> bool {
    crate::store::deadline::answers(pool, LIMIT).await
}

/// Whether the service can answer: it can as long as PostgreSQL does.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", responses(
    (status = 200, body = HealthView),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn health(State(state): State<Arc<ApiState>>) -> Response {
    let (postgres, redis) = tokio::join!(postgres_answers(&state.pool), state.cache.ping());
    let broker = state.broker.as_ref().is_none_or(|probe| probe());
    let status = status(postgres, redis && broker);
    if postgres {
        return Json(HealthView { status, version: env!("CARGO_PKG_VERSION") }).into_response();
    }
    let error = ErrorBody {
        message: "PostgreSQL cannot be reached".to_owned(),
        code: "unavailable".to_owned(),
        status_code: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        details: serde_json::json!({ "status": status, "version": env!("CARGO_PKG_VERSION") }),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
}

const fn status(postgres: bool, others: bool) -> &'static str {
    match (postgres, others) {
        (false, _) => "unhealthy",
        (true, false) => "degraded",
        (true, true) => "healthy",
    }
}

/// How each server is and how fast it answers, how many workers there are, how full the queues are. Answers whatever is
/// down.
#[utoipa::path(get, path = "/api/v1/health/detailed", tag = "health", responses((status = 200, body = DetailedHealthView)))]
pub(super) async fn detailed(State(state): State<Arc<ApiState>>) -> Json<DetailedHealthView> {
    let (postgres, redis, (rabbitmq, queues)) = tokio::join!(
        timed(postgres_answers(&state.pool)),
        timed(state.cache.ping()),
        rabbitmq(state.config.amqp_url.clone())
    );
    let others_up = [redis, rabbitmq].iter().all(|server| server.state == "up");
    let workers_alive = queues.as_ref().map(|queues| {
        let consumers = WORK_QUEUES.iter().filter_map(|name| queues.get(name)).map(|queue| queue.consumers);
        consumers.max().unwrap_or(0)
    });
    Json(DetailedHealthView {
        status: status(postgres.state == "up", others_up),
        version: env!("CARGO_PKG_VERSION"),
        model_version: state.model.current().snapshot.version().to_string(),
        servers: BTreeMap::from([("postgres", postgres), ("rabbitmq", rabbitmq), ("redis", redis)]),
        workers_alive,
        queues,
    })
}

async fn timed(answers: impl Future<Output = bool>) -> ServerView {
    let started = Instant::now();
    let up = answers.await;
    ServerView { state: if up { "up" } else { "down" }, latency_ms: up.then(|| millis(started)) }
}

/// Milliseconds since then, to the microsecond.
fn millis(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Asks the broker for its queues, over a connection made for that; its latency is that of the first answer on it.
async fn rabbitmq(url: SecretUrl) -> (ServerView, Option<BTreeMap<&'static str, QueueView>>) {
    let asked = tokio::spawn(async move { tokio::time::timeout(LIMIT, queues(&url)).await });
    match asked.await {
        Ok(Ok(Ok((latency_ms, queues)))) => (ServerView { state: "up", latency_ms: Some(latency_ms) }, Some(queues)),
        _ => (ServerView { state: "down", latency_ms: None }, None),
    }
}

async fn queues(url: &SecretUrl) -> Result<(f64, BTreeMap<&'static str, QueueView>), lapin::Error> {
    let connection = broker::connect(url, "health").await?;
    let started = Instant::now();
    let mut channel = connection.create_channel().await?;
    let latency = millis(started);
    let mut queues = BTreeMap::new();
    for name in WORK_QUEUES.into_iter().chain(OTHER_QUEUES) {
        // Passive: asks, and never makes a queue. For one that is not there the broker closes the channel.
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name.into(), options, FieldTable::default()).await {
            Ok(queue) => {
                queues.insert(name, QueueView { messages: queue.message_count(), consumers: queue.consumer_count() });
            }
            Err(_) => channel = connection.create_channel().await?,
        }
    }
    connection.close(200, "done".into()).await?;
    Ok((latency, queues))
}
