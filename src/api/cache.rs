//! `/api/v1/cache/stats`: how the cache fares, over the whole fleet.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use crate::cache::stats::{self, FleetStats};

/// Hits, misses and hit rate per entity, of all processes, since the last reset.
#[utoipa::path(get, path = "/api/v1/cache/stats", tag = "cache", responses(
    (status = 200, body = FleetStats),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn stats(State(state): State<Arc<ApiState>>) -> Result<Json<FleetStats>, ApiError> {
    // The other processes write theirs four times a second; this one's are up to date.
    state.cache.stats.flush(&state.pool).await?;
    Ok(Json(stats::fleet(&state.pool).await?))
}

/// Starts counting anew; the counters of Prometheus go on.
#[utoipa::path(post, path = "/api/v1/cache/stats/reset", tag = "cache", responses(
    (status = 200, body = FleetStats),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn reset(State(state): State<Arc<ApiState>>) -> Result<Json<FleetStats>, ApiError> {
    state.cache.stats.flush(&state.pool).await?;
    stats::reset(&state.pool).await?;
    Ok(Json(stats::fleet(&state.pool).await?))
}
