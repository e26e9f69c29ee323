//! The API's description, made from the routes and shapes themselves. `deploy/openapi.json` is a copy of it, which a test
//! compares.

use axum::http::Method;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::access::scope_of;
use super::{cache, claims, episodes, events, health, patterns, remits, risk};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "claimrisk",
        description = "Denial risk of health-insurance claims: scores with reasons, worklist, remittances, labels. \
                       Money is a decimal string; errors are {message, code, status_code, details}. Where the server has \
                       a file of tokens, each operation asks for a bearer token with the scope that it names."
    ),
    modifiers(&Tokens),
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

/// Adds what the file of tokens brings: the scheme, and for each operation its scope and the answers without it.
struct Tokens;

/// The name of the scheme.
const SCHEME: &str = "token";

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token with scopes read, write, admin; `claimrisk token new` makes one."))
            .build();
        if let Some(components) = &mut openapi.components {
            components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
        }
        for (route, item) in &mut openapi.paths.paths {
            for (method, operation) in [(Method::GET, &mut item.get), (Method::POST, &mut item.post)] {
                if let Some(operation) = operation
                    && let Some(scope) = scope_of(&method, route)
                {
                    secure(operation, scope.as_str());
                }
            }
        }
    }
}

fn secure(operation: &mut Operation, scope: &str) {
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope])]);
    for (status, why) in [
        ("401", "No token, or one that is not known".to_owned()),
        ("403", format!("The token lacks the scope {scope}")),
        ("429", "Too many requests with this token; Retry-After tells when".to_owned()),
    ] {
        let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        let response = ResponseBuilder::new().description(why).content("application/json", body).build();
        operation.responses.responses.insert(status.to_owned(), response.into());
    }
}

/// The OpenAPI description of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
