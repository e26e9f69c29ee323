//! The metrics listener: `/metrics`, `/livez`, `/readyz`, `/version`. For Prometheus and for whoever restarts processes;
//! nothing here is about anyone.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use sqlx::PgPool;

use super::ApiState;
use super::error;
use crate::metrics::{self, ModelInForce, Pool, PoolState};
use crate::store;

/// How long the checks of readiness may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The routes of the metrics listener.
pub fn metrics_router(handle: PrometheusHandle, state: Arc<ApiState>) -> Router {
    Router::new()
        .route("/metrics", get(async move |State(state): State<Arc<ApiState>>| rendered(&handle, &state)))
        .route("/livez", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(state)
}

/// The text format 0.0.4.
fn rendered(handle: &PrometheusHandle, state: &ApiState) -> Response {
    let pool = &state.pool;
    let (open, max) = (pool.size() as usize, pool.options().get_max_connections() as usize);
    metrics::pool(Pool::Postgres, PoolState { open, idle: pool.num_idle(), max });
    metrics::pool(Pool::Redis, state.cache.pool_state());
    metrics::cache_doubtful(state.cache.doubtful_entries());
    let model = state.model.current();
    let told = ModelInForce { version: model.snapshot.version(), labels: model.snapshot.labels(), since: model.since };
    let text = handle.render() + &metrics::written(&told);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Whether no migration is pending; none when PostgreSQL does not answer. First whether it answers at all: what stays silent
/// is given up then, with its connection.
async fn migrated(pool: &PgPool) -> Option<bool> {
    if !store::deadline::answers(pool, LIMIT).await {
        return None;
    }
    let pending = store::deadline::in_time(LIMIT, store::pending_migrations(pool)).await;
    pending?.ok().map(|pending| pending.is_empty())
}

/// Ready: PostgreSQL answers and is migrated, and the broker is connected where this process consumes. Redis may be away.
async fn ready(State(state): State<Arc<ApiState>>) -> Response {
    let (migrated, redis) = tokio::join!(migrated(&state.pool), state.cache.ping());
    let mut missing = Vec::new();
    match migrated {
        Some(true) => {}
        Some(false) => missing.push("migrations"),
        None => missing.push("postgres"),
    }
    if state.broker.as_ref().is_some_and(|probe| !probe()) {
        missing.push("rabbitmq");
    }
    let degraded: &[&str] = if redis { &[] } else { &["redis"] };
    if missing.is_empty() {
        Json(json!({ "status": "ready", "degraded": degraded })).into_response()
    } else {
        let body = json!({ "status": "not_ready", "missing": missing, "degraded": degraded });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

async fn version(State(state): State<Arc<ApiState>>) -> Response {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "model_version": state.model.current().snapshot.version().to_string() }))
        .into_response()
}
