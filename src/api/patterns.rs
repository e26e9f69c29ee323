//! `/api/v1/patterns`: what payers deny.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sqlx::PgPool;

use super::error::{ApiError, ErrorBody};
use super::params::PathText;
use super::{ApiState, read_through};
use crate::cache::Entity;
use crate::store::patterns;
use crate::view::PayerPatternsView;

/// What a payer denies: by reason, by procedure, and both, with counts, sums and 95 % intervals.
#[utoipa::path(get, path = "/api/v1/patterns/payer/{payer_id}", tag = "patterns",
    params(("payer_id" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        description = "Payer: the id that events use, or the table id")), responses(
        (status = 200, body = PayerPatternsView),
        (status = 400, description = "The id is too long, or holds control characters", body = ErrorBody),
        (status = 404, description = "There is no such payer", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn of_payer(
    State(state): State<Arc<ApiState>>,
    PathText(payer_id): PathText,
) -> Result<Json<PayerPatternsView>, ApiError> {
    let id = read_through::reference(&state, Entity::Payer, Some(payer_id)).await?.unwrap_or(-1);
    let load = |pool: PgPool| async move { Ok(patterns::load(&pool, id).await?) };
    let view = read_through::one(&state, Entity::Pattern, id, load, patterns::version).await?;
    view.map(Json).ok_or_else(|| ApiError::not_found("payer"))
}
