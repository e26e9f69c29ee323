//! Who may use which route. With a file of tokens every route but the health check asks for one; without it the API
//! listens on the loopback interface only, and asks for none.
//!
//! Must never: let a route through that nobody has thought of (it takes the scope `admin`), or repeat a token.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::ApiState;
use super::error::ApiError;
use super::tokens::{Refusal, Scope};

/// The scope that a route asks for; none where everybody may look.
pub(super) fn scope_of(method: &Method, route: &str) -> Option<Scope> {
    let reads = method == Method::GET || method == Method::HEAD;
    match route {
        "/api/v1/health" if reads => None,
        _ if reads => Some(Scope::Read),
        "/api/v1/risk/what-if" | "/api/v1/risk/{claim_id}/calculate" => Some(Scope::Write),
        _ => Some(Scope::Admin),
    }
}

/// Who asks: the name of the token, for the audit log.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<str>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Where no tokens are asked for, nobody has a name.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self("api".into())))
    }
}

/// Lets a request through to its route, or not.
pub(super) async fn check(State(state): State<Arc<ApiState>>, mut request: Request, next: Next) -> Response {
    let Some(tokens) = &state.tokens else { return next.run(request).await };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(scope) = scope_of(request.method(), route) else { return next.run(request).await };
    match tokens.admit(bearer(request.headers()), scope, Instant::now()) {
        Ok(name) => {
            request.extensions_mut().insert(Caller(name));
            next.run(request).await
        }
        Err(refusal) => refused(refusal),
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn refused(refusal: Refusal) -> Response {
    let (error, challenge) = match refusal {
        Refusal::Missing => (
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "send a token: Authorization: Bearer TOKEN"),
            Some("Bearer realm=\"claimrisk\"".to_owned()),
        ),
        Refusal::Unknown => (
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token is not known here"),
            Some("Bearer realm=\"claimrisk\", error=\"invalid_token\"".to_owned()),
        ),
        Refusal::Scope(scope) => {
            let scope = scope.as_str();
            let message = format!("the token lacks the scope {scope}");
            let error =
                ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).with_details(json!({ "scope": scope }));
            (error, Some(format!("Bearer realm=\"claimrisk\", error=\"insufficient_scope\", scope=\"{scope}\"")))
        }
        Refusal::TooMany(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let message = format!("too many requests with this token; try again in {seconds} s");
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
                .with_details(json!({ "retry_after_seconds": seconds }));
            let mut response = error.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
    };
    let mut response = error.into_response();
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_thought_of_takes_the_scope_admin() {
        assert_eq!(scope_of(&Method::DELETE, "/api/v1/claims/{id}"), Some(Scope::Admin));
        assert_eq!(scope_of(&Method::POST, "/api/v1/health"), Some(Scope::Admin));
        assert_eq!(scope_of(&Method::GET, "/api/v1/health/detailed"), Some(Scope::Read));
        assert_eq!(scope_of(&Method::HEAD, "/api/v1/claims"), Some(Scope::Read));
        assert_eq!(scope_of(&Method::GET, "/api/v1/health"), None);
    }

    #[test]
    fn a_token_is_read_from_its_own_header_only() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(read("bearer  abc"), Some("abc".to_owned()));
        for value in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
