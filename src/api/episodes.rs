//! `/api/v1/episodes`: which remittance belongs to which claim, and why. These rows hold ids and sums, no patient data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::IntoParams;

use super::claims::ListView;
use super::error::{ApiError, ErrorBody};
use super::params::{self, Params, PathText};
use super::{ApiState, read_through};
use crate::cache::Entity;
use crate::store::read::{self, EpisodeFilter, List};
use crate::view::EpisodeView;

/// Filters of `GET /api/v1/episodes`, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct EpisodeQuery {
    /// Rows to leave out at the start.
    #[param(minimum = 0, default = 0)]
    skip: Option<i64>,
    /// Rows wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Claim.
    claim_id: Option<i64>,
    /// Remittance.
    remittance_id: Option<i64>,
    /// Stored at this time or later: RFC 3339, or a day (UTC).
    created_from: Option<String>,
    /// Stored at this time or earlier: RFC 3339, or a day (UTC) to its end.
    created_to: Option<String>,
}

/// Episodes, the newest first.
#[utoipa::path(get, path = "/api/v1/episodes", tag = "episodes", params(EpisodeQuery), responses(
    (status = 200, body = ListView<EpisodeView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    mut params: Params,
) -> Result<Json<ListView<EpisodeView>>, ApiError> {
    let request = params.page()?;
    let filter = EpisodeFilter {
        claim_id: params.id("claim_id")?,
        remittance_id: params.id("remittance_id")?,
        created_from: params.created_from()?,
        created_before: params.created_before()?,
    };
    params.finish()?;
    let (ids, total) = read_through::page(&state, &List::Episodes(filter), request).await?;
    let items = read::load_episodes(&state.pool, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One episode.
#[utoipa::path(get, path = "/api/v1/episodes/{id}", tag = "episodes",
    params(("id" = i64, Path, description = "Episode")), responses(
        (status = 200, body = EpisodeView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such episode", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    PathText(id): PathText,
) -> Result<Json<EpisodeView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = async { Ok(read::load_episodes(&state.pool, &[id]).await?.pop()) };
    let episode =
        read_through::one(&state, Entity::Episode, id, load, |episode: &EpisodeView| episode.revision).await?;
    episode.map(Json).ok_or_else(|| ApiError::not_found("episode"))
}
