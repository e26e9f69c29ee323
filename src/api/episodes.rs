//! `/api/v1/episodes`: which remittance belongs to which claim, and why. These rows hold ids and sums, no patient data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sqlx::PgPool;

use super::claims::ListView;
use super::error::{ApiError, ErrorBody};
use super::filters::{self, DecisionQuery, FilterQuery, Of, RemittanceQuery};
use super::params::{self, Params, PathText};
use super::{ApiState, read_through};
use crate::cache::Entity;
use crate::store::read::{self, List};
use crate::view::EpisodeView;

/// Episodes, the newest first.
#[utoipa::path(get, path = "/api/v1/episodes", tag = "episodes", params(FilterQuery, DecisionQuery, RemittanceQuery), responses(
    (status = 200, body = ListView<EpisodeView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    params: Params,
) -> Result<Json<ListView<EpisodeView>>, ApiError> {
    let (request, filter) = filters::read(&state, params, Of::Episodes).await?;
    let (ids, total) = read_through::page(&state, &List::Episodes(filter), request).await?;
    let items = read::load_episodes(&state.pool, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One episode.
#[utoipa::path(get, path = "/api/v1/episodes/{id}", tag = "episodes",
    params(("id" = i64, Path, minimum = 0, description = "Episode")), responses(
        (status = 200, body = EpisodeView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such episode", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    PathText(id): PathText,
) -> Result<Json<EpisodeView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = |pool: PgPool| async move { Ok(read::load_episodes(&pool, &[id]).await?.pop()) };
    let episode =
        read_through::one(&state, Entity::Episode, id, load, |episode: &EpisodeView| episode.revision).await?;
    episode.map(Json).ok_or_else(|| ApiError::not_found("episode"))
}
