//! The HTTP API: routes, limits, and how it is served. What is asked for is answered from the cache where it is fresh,
//! else from PostgreSQL, in the shapes of [`crate::view`].
//!
//! Must never: log a path, a query string or a body (they name patients), answer with a claim whose reading is not in the
//! audit log, or leave a transaction to be cancelled when a client goes away.

mod access;
mod audit;
mod cache;
mod claims;
mod episodes;
mod error;
mod events;
mod filters;
mod guard;
mod health;
mod linger;
mod metrics_listener;
mod openapi;
mod params;
mod patterns;
mod rates;
mod read_through;
mod remits;
mod risk;
mod serve;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use sqlx::PgPool;
use utoipa_swagger_ui::SwaggerUi;

pub use audit::AuditLog;
pub use error::{ApiError, ErrorBody};
pub use metrics_listener::metrics_router;
pub use openapi::openapi;
pub use serve::{Listener, serve};
pub use tokens::{Refusal, Scope, Tokens, make as make_token};

use crate::cache::Cache;
use crate::config::Config;
use crate::model::Model;

/// The largest body taken.
const BODY_LIMIT: usize = 1 << 20;

/// Tells whether the broker is connected.
pub type BrokerProbe = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the routes need.
pub struct ApiState {
    /// The truth.
    pub pool: PgPool,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Settings.
    pub config: Arc<Config>,
    /// The model.
    pub model: Arc<Model>,
    /// Whether the consumers of this process are connected; `None` for a process that consumes nothing.
    pub broker: Option<BrokerProbe>,
    /// Where it is written down who looked at what.
    pub audit: AuditLog,
    /// Who may ask; everybody without it.
    pub tokens: Option<Arc<Tokens>>,
}

/// The API's routes, with their documentation at `/docs` and `/openapi.json`.
pub fn router(state: Arc<ApiState>) -> Router {
    let routes = Router::new()
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/health/detailed", get(health::detailed))
        .route("/api/v1/claims", get(claims::list))
        .route("/api/v1/claims/unlinked", get(claims::unlinked))
        .route("/api/v1/claims/at-risk", get(claims::at_risk))
        .route("/api/v1/claims/{id}", get(claims::one))
        .route("/api/v1/remits", get(remits::list))
        .route("/api/v1/remits/{id}", get(remits::one))
        .route("/api/v1/episodes", get(episodes::list))
        .route("/api/v1/episodes/{id}", get(episodes::one))
        .route("/api/v1/risk/what-if", post(risk::what_if))
        .route("/api/v1/risk/{claim_id}", get(risk::current))
        .route("/api/v1/risk/{claim_id}/history", get(risk::history))
        .route("/api/v1/risk/{claim_id}/calculate", post(risk::calculate))
        .route("/api/v1/patterns/payer/{payer_id}", get(patterns::of_payer))
        .route("/api/v1/events/{*rest}", get(events::receipt))
        .route("/api/v1/cache/stats", get(cache::stats))
        .route("/api/v1/cache/stats/reset", post(cache::reset))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&state), access::check))
        .with_state(state);
    // The documentation's own assets stay outside of the guard: they need no server and hold nothing of anyone.
    let documentation: Router = SwaggerUi::new("/docs").url("/openapi.json", openapi()).into();
    guard::guarded(routes.fallback(error::no_such_route).method_not_allowed_fallback(error::method_not_allowed))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .merge(documentation)
}
