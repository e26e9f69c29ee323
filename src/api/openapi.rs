//! The API's description, made from the routes and shapes themselves. `deploy/openapi.json` is a copy of it, which a test
//! compares.

use utoipa::OpenApi;

use super::{cache, claims, episodes, events, health, patterns, remits, risk};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "claimrisk",
        description = "Denial risk of health-insurance claims: scores with reasons, worklist, remittances, labels. \
                       Money is a decimal string; errors are {message, code, status_code, details}."
    ),
    paths(
        health::health,
        health::detailed,
        claims::list,
        claims::one,
        claims::unlinked,
        claims::at_risk,
        remits::list,
        remits::one,
        episodes::list,
        episodes::one,
        risk::current,
        risk::history,
        risk::calculate,
        risk::what_if,
        patterns::of_payer,
        events::receipt,
        cache::stats,
        cache::reset,
    )
)]
struct Description;

/// The OpenAPI description of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
