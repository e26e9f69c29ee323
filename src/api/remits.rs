//! `/api/v1/remits`: remittances.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sqlx::PgPool;

use super::access::Caller;
use super::claims::ListView;
use super::error::{ApiError, ErrorBody};
use super::filters::{self, DecisionQuery, FilterQuery, Of};
use super::params::{self, Params, PathText};
use super::{ApiState, audit, read_through};
use crate::cache::Entity;
use crate::store::read::{self, List};
use crate::view::RemittanceView;

/// Remittances, the newest first, without their lines.
#[utoipa::path(get, path = "/api/v1/remits", tag = "remittances", params(FilterQuery, DecisionQuery), responses(
    (status = 200, body = ListView<RemittanceView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    params: Params,
) -> Result<Json<ListView<RemittanceView>>, ApiError> {
    let (request, filter) = filters::read(&state, params, Of::Remittances).await?;
    let (ids, total) = read_through::page(&state, &List::Remittances(filter), request).await?;
    let items = read::load_remittance_heads(&state.pool, &ids).await?;
    audit::remittances_read(&state, &caller, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One remittance with its lines.
#[utoipa::path(get, path = "/api/v1/remits/{id}", tag = "remittances",
    params(("id" = i64, Path, minimum = 0, description = "Remittance")), responses(
        (status = 200, body = RemittanceView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such remittance", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    PathText(id): PathText,
) -> Result<Json<RemittanceView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = |pool: PgPool| async move { Ok(read::load_remittances(&pool, &[id]).await?.pop()) };
    let version = |remittance: &RemittanceView| remittance.revision;
    let remittance = read_through::one(&state, Entity::Remittance, id, load, version).await?;
    let remittance = remittance.ok_or_else(|| ApiError::not_found("remittance"))?;
    audit::remittances_read(&state, &caller, &[id]).await?;
    Ok(Json(remittance))
}
