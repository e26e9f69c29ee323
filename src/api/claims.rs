//! `/api/v1/claims`: claims, the worklist, and the remittances that have no claim yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::access::Caller;
use super::error::{ApiError, ErrorBody};
use super::filters::{self, ClaimQuery, DecisionQuery, FilterQuery, Of};
use super::params::{self, Params, PathText};
use super::{ApiState, audit, read_through};
use crate::cache::Entity;
use crate::store::read::{self, List};
use crate::view::{ClaimView, RemittanceView, WorklistItem};

/// Part of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct ListView<T> {
    /// The rows.
    pub(super) items: Vec<T>,
    /// Length of the whole list.
    pub(super) total: i64,
    /// Rows left out at the start.
    pub(super) skip: i64,
    /// Rows asked for, at the most.
    pub(super) limit: i64,
}

/// Claims, the newest first, without their lines.
#[utoipa::path(get, path = "/api/v1/claims", tag = "claims", params(FilterQuery, ClaimQuery), responses(
    (status = 200, body = ListView<ClaimView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    params: Params,
) -> Result<Json<ListView<ClaimView>>, ApiError> {
    let (request, filter) = filters::read(&state, params, Of::Claims).await?;
    let (ids, total) = read_through::page(&state, &List::Claims(filter), request).await?;
    let items = read::load_claim_heads(&state.pool, &ids).await?;
    audit::claims_read(&state, &caller, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One claim with its lines.
#[utoipa::path(get, path = "/api/v1/claims/{id}", tag = "claims", params(("id" = i64, Path, minimum = 0, description = "Claim")),
    responses(
        (status = 200, body = ClaimView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such claim", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    PathText(id): PathText,
) -> Result<Json<ClaimView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = |pool: PgPool| async move { Ok(read::load_claims(&pool, &[id]).await?.pop()) };
    let claim = read_through::one(&state, Entity::Claim, id, load, |claim: &ClaimView| claim.revision).await?;
    let claim = claim.ok_or_else(|| ApiError::not_found("claim"))?;
    audit::claims_read(&state, &caller, &[id]).await?;
    Ok(Json(claim))
}

/// Open claims, the largest expected loss (charge x score) first, each with its reasons and what to mend.
#[utoipa::path(get, path = "/api/v1/claims/at-risk", tag = "claims", params(FilterQuery, ClaimQuery), responses(
    (status = 200, body = ListView<WorklistItem>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn at_risk(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    params: Params,
) -> Result<Json<ListView<WorklistItem>>, ApiError> {
    let (request, filter) = filters::read(&state, params, Of::Claims).await?;
    let (ids, total) = read_through::page(&state, &List::Worklist(filter), request).await?;
    let items = read::worklist(&state.pool, &ids).await?;
    audit::claims_read(&state, &caller, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// Remittances that have no claim yet, the oldest first: `link_state` tells whether no claim fits or several do.
#[utoipa::path(get, path = "/api/v1/claims/unlinked", tag = "claims", params(FilterQuery, DecisionQuery), responses(
    (status = 200, body = ListView<RemittanceView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn unlinked(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    params: Params,
) -> Result<Json<ListView<RemittanceView>>, ApiError> {
    let (request, filter) = filters::read(&state, params, Of::Remittances).await?;
    let (ids, total) = read_through::page(&state, &List::Unlinked(filter), request).await?;
    let items = read::load_remittance_heads(&state.pool, &ids).await?;
    audit::remittances_read(&state, &caller, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}
