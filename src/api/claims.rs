//! `/api/v1/claims`: claims, the worklist, and the remittances that have no claim yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::params::{self, LEVELS, Params, PathText, STATUSES};
use super::{ApiState, audit, read_through};
use crate::cache::Entity;
use crate::store::read::{self, ClaimFilter, List, RemittanceFilter};
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

/// Filters of `GET /api/v1/claims`, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct ClaimQuery {
    /// Rows to leave out at the start.
    #[param(minimum = 0, default = 0)]
    skip: Option<i64>,
    /// Rows wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Practice: the id that events use, or the table id.
    practice_id: Option<String>,
    /// Payer: the id that events use, or the table id.
    payer_id: Option<String>,
    /// Billing provider: NPI or tax id, or the table id.
    provider_id: Option<String>,
    /// `submitted`, `accepted`, `rejected`, `paid`, `partial`, `denied`, `recouped` or `voided`.
    status: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    risk_level: Option<String>,
    /// Clearinghouse's claim number.
    claim_control_number: Option<String>,
    /// Stored at this time or later: RFC 3339, or a day (UTC).
    created_from: Option<String>,
    /// Stored at this time or earlier: RFC 3339, or a day (UTC) to its end.
    created_to: Option<String>,
}

/// Filters of `GET /api/v1/claims/at-risk`, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct WorklistQuery {
    /// Rows to leave out at the start.
    #[param(minimum = 0, default = 0)]
    skip: Option<i64>,
    /// Rows wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Practice: the id that events use, or the table id.
    practice_id: Option<String>,
    /// Payer: the id that events use, or the table id.
    payer_id: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    risk_level: Option<String>,
}

/// Claims, the newest first, without their lines.
#[utoipa::path(get, path = "/api/v1/claims", tag = "claims", params(ClaimQuery), responses(
    (status = 200, body = ListView<ClaimView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    mut params: Params,
) -> Result<Json<ListView<ClaimView>>, ApiError> {
    let request = params.page()?;
    let practice = params.text("practice_id")?;
    let payer = params.text("payer_id")?;
    let provider = params.text("provider_id")?;
    let mut filter = ClaimFilter {
        status: params.word("status", STATUSES)?,
        risk_level: params.word("risk_level", LEVELS)?,
        claim_control_number: params.text("claim_control_number")?,
        created_from: params.created_from()?,
        created_before: params.created_before()?,
        ..ClaimFilter::default()
    };
    params.finish()?;
    filter.practice_id = read_through::reference(&state, Entity::Practice, practice).await?;
    filter.payer_id = read_through::reference(&state, Entity::Payer, payer).await?;
    filter.provider_id = read_through::reference(&state, Entity::Provider, provider).await?;
    let (ids, total) = read_through::page(&state, &List::Claims(filter), request).await?;
    let items = read::load_claim_heads(&state.pool, &ids).await?;
    audit::claims_read(&state, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One claim with its lines.
#[utoipa::path(get, path = "/api/v1/claims/{id}", tag = "claims", params(("id" = i64, Path, description = "Claim")),
    responses(
        (status = 200, body = ClaimView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such claim", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    PathText(id): PathText,
) -> Result<Json<ClaimView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = async { Ok(read::load_claims(&state.pool, &[id]).await?.pop()) };
    let claim = read_through::one(&state, Entity::Claim, id, load, |claim: &ClaimView| claim.revision).await?;
    let claim = claim.ok_or_else(|| ApiError::not_found("claim"))?;
    audit::claims_read(&state, &[id]).await?;
    Ok(Json(claim))
}

/// Open claims, the largest expected loss (charge x score) first, each with its reasons and what to mend.
#[utoipa::path(get, path = "/api/v1/claims/at-risk", tag = "claims", params(WorklistQuery), responses(
    (status = 200, body = ListView<WorklistItem>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn at_risk(
    State(state): State<Arc<ApiState>>,
    mut params: Params,
) -> Result<Json<ListView<WorklistItem>>, ApiError> {
    let request = params.page()?;
    let practice = params.text("practice_id")?;
    let payer = params.text("payer_id")?;
    let mut filter = ClaimFilter { risk_level: params.word("risk_level", LEVELS)?, ..ClaimFilter::default() };
    params.finish()?;
    filter.practice_id = read_through::reference(&state, Entity::Practice, practice).await?;
    filter.payer_id = read_through::reference(&state, Entity::Payer, payer).await?;
    let (ids, total) = read_through::page(&state, &List::Worklist(filter), request).await?;
    let items = read::worklist(&state.pool, &ids).await?;
    audit::claims_read(&state, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// Filters of `GET /api/v1/claims/unlinked`, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct UnlinkedQuery {
    /// Rows to leave out at the start.
    #[param(minimum = 0, default = 0)]
    skip: Option<i64>,
    /// Rows wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Practice: the id that events use, or the table id.
    practice_id: Option<String>,
    /// Payer: the id that events use, or the table id.
    payer_id: Option<String>,
}

/// Remittances that have no claim yet, the oldest first: `link_state` tells whether no claim fits or several do.
#[utoipa::path(get, path = "/api/v1/claims/unlinked", tag = "claims", params(UnlinkedQuery), responses(
    (status = 200, body = ListView<RemittanceView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn unlinked(
    State(state): State<Arc<ApiState>>,
    mut params: Params,
) -> Result<Json<ListView<RemittanceView>>, ApiError> {
    let request = params.page()?;
    let practice = params.text("practice_id")?;
    let payer = params.text("payer_id")?;
    params.finish()?;
    let filter = RemittanceFilter {
        practice_id: read_through::reference(&state, Entity::Practice, practice).await?,
        payer_id: read_through::reference(&state, Entity::Payer, payer).await?,
        ..RemittanceFilter::default()
    };
    let (ids, total) = read_through::page(&state, &List::Unlinked(filter), request).await?;
    let items = read::load_remittance_heads(&state.pool, &ids).await?;
    audit::remittances_read(&state, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}
