//! `/api/v1/risk`: the score of a claim, all of its scores, scoring it again, and scoring a claim that is not stored.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use chrono::SubsecRound as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

use super::access::Caller;
use super::error::{ApiError, ErrorBody};
use super::params::{self, Params, PathText};
use super::{ApiState, audit, guard, read_through};
use crate::cache::Entity;
use crate::domain::claim::Claim;
use crate::domain::earlier::Moment;
use crate::domain::types::Instant;
use crate::flow::rescore::{New, Rescoring};
use crate::store::earlier;
use crate::store::read;
use crate::view::{RiskScoreView, ScoreChanges, ScoreView, changes};
use crate::wire::{self, Violation};

/// A score with what tells it from the one before.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryItem {
    #[serde(flatten)]
    score: RiskScoreView,
    /// What is different from the score before; absent in the first score of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<ScoreChanges>,
}

/// The scores of a claim.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryView {
    /// The claim.
    claim_id: i64,
    /// Its scores, the newest first.
    items: Vec<HistoryItem>,
    /// How many there are in all.
    total: i64,
    /// Scores left out at the start.
    skip: i64,
    /// Scores asked for, at the most.
    limit: i64,
}

/// Parameters of the history, as the documentation lists them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the documentation; requests are read by `Params`")]
pub(super) struct HistoryQuery {
    /// Scores to leave out at the start.
    #[param(minimum = 0, maximum = 1_000_000_000, default = 0)]
    skip: Option<i64>,
    /// Scores wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// The current score of a claim, with its reasons.
#[utoipa::path(get, path = "/api/v1/risk/{claim_id}", tag = "risk",
    params(("claim_id" = i64, Path, minimum = 0, description = "Claim")), responses(
        (status = 200, body = RiskScoreView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such claim", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn current(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    PathText(claim_id): PathText,
) -> Result<Json<RiskScoreView>, ApiError> {
    let id = params::id("claim_id", &claim_id)?;
    let load = |pool: PgPool| async move { Ok(read::load_scores(&pool, &[id]).await?.pop()) };
    let score = read_through::one(&state, Entity::RiskScore, id, load, |score: &RiskScoreView| score.id).await?;
    let score = score.ok_or_else(|| ApiError::not_found("claim"))?;
    audit::claims_read(&state, &caller, &[id]).await?;
    Ok(Json(score))
}

/// All scores of a claim, the newest first, each with what changed since the one before.
#[utoipa::path(get, path = "/api/v1/risk/{claim_id}/history", tag = "risk",
    params(("claim_id" = i64, Path, minimum = 0, description = "Claim"), HistoryQuery), responses(
        (status = 200, body = HistoryView),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "There is no such claim", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn history(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    PathText(claim_id): PathText,
    mut params: Params,
) -> Result<Json<HistoryView>, ApiError> {
    let claim_id = params::id("claim_id", &claim_id)?;
    let request = params.page()?;
    params.finish()?;
    // One more than asked for: the last of the page is compared with the one before it.
    let scores = read::history(&state.pool, claim_id, request.skip, request.limit.saturating_add(1)).await?;
    let total = read::history_length(&state.pool, claim_id).await?;
    // A stored claim has a score.
    if total == 0 {
        return Err(ApiError::not_found("claim"));
    }
    audit::claims_read(&state, &caller, &[claim_id]).await?;
    let items = with_changes(scores, request.limit);
    Ok(Json(HistoryView { claim_id, items, total, skip: request.skip, limit: request.limit }))
}

/// Scores, the newest first, with what tells each from the next of the list, up to a number of them.
fn with_changes(scores: Vec<RiskScoreView>, limit: i64) -> Vec<HistoryItem> {
    let mut items: Vec<HistoryItem> = Vec::with_capacity(scores.len());
    for score in scores {
        if let Some(newer) = items.last_mut() {
            newer.changes = Some(changes(&score.score, &newer.score.score));
        }
        items.push(HistoryItem { score, changes: None });
    }
    items.truncate(usize::try_from(limit).unwrap_or(0));
    items
}

/// Scores the newest submission of a claim again, with the model of now, and answers the new score.
#[utoipa::path(post, path = "/api/v1/risk/{claim_id}/calculate", tag = "risk",
    params(("claim_id" = i64, Path, minimum = 0, description = "Claim")), responses(
        (status = 200, body = RiskScoreView),
        (status = 400, description = "The id is no number", body = ErrorBody),
        (status = 404, description = "There is no such claim", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away or busy", body = ErrorBody)))]
pub(super) async fn calculate(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    PathText(claim_id): PathText,
) -> Result<Json<RiskScoreView>, ApiError> {
    let id = params::id("claim_id", &claim_id)?;
    let (pool, model, levels) = (&state.pool, &state.model.current(), &state.config.levels);
    let moved = Rescoring { pool, model, levels, new: New::Any }.run(&[id]).await?;
    if moved.claims.is_empty() {
        return Err(ApiError::not_found("claim"));
    }
    state.cache.put_many(&read::cache_entries(&state.pool, &[id], &[id], &[], &[]).await?).await;
    let score = read::load_scores(&state.pool, &[id]).await?.pop().ok_or_else(|| ApiError::not_found("claim"))?;
    audit::claim_scored(&state, &caller, id).await?;
    Ok(Json(score))
}

/// Scores a claim as events carry it in `data`, without storing anything of it. A whole event counts as sent at its time,
/// anything else as sent now.
#[utoipa::path(post, path = "/api/v1/risk/what-if", tag = "risk",
    request_body(content = Object, description = "A claim as in the `data` of claim.submitted.v1"), responses(
        (status = 200, body = ScoreView),
        (status = 413, description = "The body is over 1 MiB", body = ErrorBody),
        (status = 422, description = "The body is no claim; details.pointer tells where", body = ErrorBody)))]
pub(super) async fn what_if(
    State(state): State<Arc<ApiState>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScoreView>, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => guard::too_large(),
        _ => ApiError::new(StatusCode::BAD_REQUEST, "invalid_body", "the body did not arrive whole"),
    })?;
    let supposed = supposed(&body);
    let claim = wire::read_claim(&supposed.claim).map_err(|violation| unreadable(&violation))?;
    let (time, id) = supposed.moment.unwrap_or_else(|| (chrono::Utc::now(), String::new()));
    Ok(Json(score_claim(&state, &claim, (time, &id)).await?))
}

/// Scores a claim with what was sent before a moment; its day counts where the claim does not say when it was sent.
async fn score_claim(state: &ApiState, claim: &Claim, moment: Moment<'_>) -> Result<ScoreView, ApiError> {
    let mut connection = state.pool.acquire().await?;
    let earlier = earlier::of_stored(&mut connection, &[(claim, moment)]).await?.pop().flatten();
    let day = moment.0.date_naive();
    Ok(ScoreView::of(&state.model.current().score(claim, day, earlier, &state.config.levels)))
}

/// A claim that is supposed, and when it would be sent, where the body is an event that says so.
struct Supposed {
    claim: Bytes,
    moment: Option<(Instant, String)>,
}

/// The claim in a body: the data alone, or a whole event, or `{"claim": ...}`. What names a claim is not needed where
/// nothing is stored, so a name is supposed where there is none. What is no such JSON is left to the reader to refuse.
fn supposed(body: &Bytes) -> Supposed {
    let Ok(Value::Object(mut whole)) = serde_json::from_slice::<Value>(body) else {
        return Supposed { claim: body.clone(), moment: None };
    };
    let moment = event_moment(&whole);
    let inner = if whole.contains_key("specversion") { whole.remove("data") } else { whole.remove("claim") };
    let mut claim = match inner {
        Some(Value::Object(claim)) => claim,
        _ => whole,
    };
    let billing = claim.get("billingProvider");
    let told = |name: &str| billing.and_then(|one| one[name].as_str()).is_some_and(|text| !text.trim().is_empty());
    // The billing provider names the practice where the claim does not.
    let names: &[&str] =
        if told("npi") || told("taxId") { &["patientControlNumber"] } else { &["patientControlNumber", "practiceId"] };
    for name in names.iter().copied() {
        let slot = claim.entry(name).or_insert(Value::Null);
        if slot.is_null() {
            *slot = json!("WHAT-IF");
        }
    }
    Supposed { claim: Bytes::from(Value::Object(claim).to_string()), moment }
}

/// Time and id of an event, as its envelope tells them.
fn event_moment(event: &Map<String, Value>) -> Option<(Instant, String)> {
    event.get("specversion")?;
    let time = event.get("time")?.as_str()?.parse::<Instant>().ok()?;
    Some((time.trunc_subsecs(6), event.get("id")?.as_str()?.to_owned()))
}

/// What is wrong with a body: the place by our own field names and the kind, never a value.
fn unreadable(violation: &Violation) -> ApiError {
    let kind = violation.kind.to_string();
    let (place, message) = if violation.pointer.is_empty() {
        ("the body", format!("the body: {kind}"))
    } else {
        (violation.pointer.as_str(), violation.to_string())
    };
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", message)
        .with_details(json!({ "pointer": violation.pointer, "problem": kind, "place": place }))
}
