//! Errors as the API tells them: `{"message","code","status_code","details"}`.
//!
//! Must never: repeat a value of the request, or tell what the database said.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::Failure;

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong and how to mend it, for people.
    pub message: String,
    /// What went wrong, for programs.
    pub code: String,
    /// The HTTP status.
    pub status_code: u16,
    /// More, by the code: `parameter` of a wrong parameter, `pointer` into a wrong body.
    #[schema(value_type = Object)]
    pub details: Value,
}

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Value,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: json!({}) }
    }

    /// Adds details; they must not hold a value of the request.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// There is no such row.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// A parameter of the path or the query is wrong.
    pub fn parameter(name: &str, expected: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", format!("{name}: expected {expected}"))
            .with_details(json!({ "parameter": name, "expected": expected }))
    }

    /// The server cannot answer now.
    pub fn unavailable(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The server is at fault.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request failed; the log tells why")
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Transient(..) => {
                tracing::warn!(%failure, "a request could not be answered");
                Self::unavailable("PostgreSQL is away or busy; try again")
            }
            Failure::Permanent(..) => {
                tracing::error!(%failure, "a request failed");
                Self::internal()
            }
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Failure::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            message: self.message,
            code: self.code.to_owned(),
            status_code: self.status.as_u16(),
            details: self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Answers for paths that lead nowhere.
pub(super) async fn no_such_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such route; GET /openapi.json lists them")
}

/// Answers for methods that a path does not take.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this route does not take that method")
}
