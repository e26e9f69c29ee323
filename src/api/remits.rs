//! `/api/v1/remits`: remittances.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::IntoParams;

use super::claims::ListView;
use super::error::{ApiError, ErrorBody};
use super::params::{self, Params, PathText};
use super::{ApiState, audit, read_through};
use crate::cache::Entity;
use crate::store::read::{self, List, RemittanceFilter};
use crate::view::RemittanceView;

/// Filters of `GET /api/v1/remits`, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct RemittanceQuery {
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
    /// Claim.
    claim_id: Option<i64>,
    /// Stored at this time or later: RFC 3339, or a day (UTC).
    created_from: Option<String>,
    /// Stored at this time or earlier: RFC 3339, or a day (UTC) to its end.
    created_to: Option<String>,
}

/// Remittances, the newest first, without their lines.
#[utoipa::path(get, path = "/api/v1/remits", tag = "remittances", params(RemittanceQuery), responses(
    (status = 200, body = ListView<RemittanceView>),
    (status = 400, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    mut params: Params,
) -> Result<Json<ListView<RemittanceView>>, ApiError> {
    let request = params.page()?;
    let practice = params.text("practice_id")?;
    let payer = params.text("payer_id")?;
    let mut filter = RemittanceFilter {
        claim_id: params.id("claim_id")?,
        created_from: params.created_from()?,
        created_before: params.created_before()?,
        ..RemittanceFilter::default()
    };
    params.finish()?;
    filter.practice_id = read_through::reference(&state, Entity::Practice, practice).await?;
    filter.payer_id = read_through::reference(&state, Entity::Payer, payer).await?;
    let (ids, total) = read_through::page(&state, &List::Remittances(filter), request).await?;
    let items = read::load_remittance_heads(&state.pool, &ids).await?;
    audit::remittances_read(&state, &ids).await?;
    Ok(Json(ListView { items, total, skip: request.skip, limit: request.limit }))
}

/// One remittance with its lines.
#[utoipa::path(get, path = "/api/v1/remits/{id}", tag = "remittances",
    params(("id" = i64, Path, description = "Remittance")), responses(
        (status = 200, body = RemittanceView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such remittance", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn one(
    State(state): State<Arc<ApiState>>,
    PathText(id): PathText,
) -> Result<Json<RemittanceView>, ApiError> {
    let id = params::id("id", &id)?;
    let load = async { Ok(read::load_remittances(&state.pool, &[id]).await?.pop()) };
    let version = |remittance: &RemittanceView| remittance.revision;
    let remittance = read_through::one(&state, Entity::Remittance, id, load, version).await?;
    let remittance = remittance.ok_or_else(|| ApiError::not_found("remittance"))?;
    audit::remittances_read(&state, &[id]).await?;
    Ok(Json(remittance))
}
