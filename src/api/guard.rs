//! What stands before every route: a limit on requests at once, a limit on time, and one line in the log.
//!
//! The work runs in a task of its own, so that a client that goes away never cancels a database transaction half-way: the
//! task goes on to its end. What passes the time limit is given up, with its connection to the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use super::error::ApiError;
use super::{BODY_LIMIT, linger};
use crate::metrics;
use crate::store::deadline;

/// Requests worked on at once; more of them wait.
const AT_ONCE: usize = 256;
/// How long a request may take, waiting included.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Puts the guard before routes.
pub(super) fn guarded(routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), guard))
}

async fn guard(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    // The pattern, such as `/api/v1/claims/{id}`: the path itself may name a patient.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let (request, rest) = linger::lend(request);
    let mut response = run(places, request, next).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics::http_answer(response.status().as_u16(), started);
    let (status, ms) = (response.status(), u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    if status.is_server_error() {
        tracing::warn!(%method, route, status = status.as_u16(), ms, "request");
    } else {
        tracing::debug!(%method, route, status = status.as_u16(), ms, "request");
    }
    rest.take_in().await;
    response
}

async fn run(places: Arc<Semaphore>, request: Request, next: Next) -> Response {
    if declared_length(&request).is_some_and(|length| length > BODY_LIMIT as u64) {
        return too_large().into_response();
    }
    let too_late = tokio::time::Instant::now() + TIME_LIMIT;
    let Ok(place) = tokio::time::timeout_at(too_late, places.acquire_owned()).await else { return timed_out() };
    let mut task = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(place);
        response
    });
    match tokio::time::timeout_at(too_late, &mut task).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a request's task panicked");
            ApiError::internal().into_response()
        }
        Err(_) => {
            deadline::give_up();
            task.abort();
            timed_out()
        }
    }
}

fn timed_out() -> Response {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "no answer within 30 seconds; try again").into_response()
}

fn declared_length(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The error for a body over the limit.
pub(super) fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "the body is over the limit of 1 MiB")
}
