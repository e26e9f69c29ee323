//! `/api/v1/events/{source}/{id}`: what became of an event, for its publisher.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::error::{ApiError, ErrorBody};
use super::{ApiState, params};
use crate::store::read;
use crate::view::ReceiptView;

const PREFIX: &str = "/api/v1/events/";

/// The receipt of an event. Colons and slashes of `source` may be written as they are or percent-encoded; a slash in `id`
/// must be encoded.
#[utoipa::path(get, path = "/api/v1/events/{source}/{id}", tag = "events", params(
        ("source" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
            description = "CloudEvents `source`"),
        ("id" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
            description = "CloudEvents `id`")), responses(
        (status = 200, body = ReceiptView),
        (status = 400, description = "The path names no event", body = ErrorBody),
        (status = 404, description = "No such event has been seen", body = ErrorBody),
        (status = 503, description = "PostgreSQL is away", body = ErrorBody)))]
pub(super) async fn receipt(State(state): State<Arc<ApiState>>, uri: Uri) -> Result<Json<ReceiptView>, ApiError> {
    let (source, id) = source_and_id(uri.path())
        .ok_or_else(|| ApiError::parameter("source", "/api/v1/events/{source}/{id}, percent-encoded"))?;
    let source = params::plain_text("source", source)?;
    let id = params::plain_text("id", id)?;
    let receipt = read::receipt(&state.pool, &source, &id).await?;
    receipt.map(Json).ok_or_else(|| ApiError::not_found("event"))
}

/// Splits the path as it was sent, before decoding: an encoded slash is part of a name.
pub(super) fn source_and_id(path: &str) -> Option<(String, String)> {
    let (source, id) = path.strip_prefix(PREFIX)?.rsplit_once('/')?;
    let (source, id) = (percent_decoded(source)?, percent_decoded(id)?);
    (!source.is_empty() && !id.is_empty()).then_some((source, id))
}

/// Decodes `%41` to `A` (RFC 3986); `None` for broken escapes and for what is no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Option<(String, String)> {
        source_and_id(&format!("{PREFIX}{path}"))
    }

    #[test]
    fn a_source_may_hold_colons_and_slashes_written_either_way() {
        let pair = |source: &str, id: &str| Some((source.to_owned(), id.to_owned()));
        assert_eq!(split("urn:clearinghouse:acme/0191e3c2"), pair("urn:clearinghouse:acme", "0191e3c2"));
        assert_eq!(split("urn%3Aclearinghouse%3Aacme/0191e3c2"), pair("urn:clearinghouse:acme", "0191e3c2"));
        assert_eq!(split("https%3A%2F%2Facme.example%2Ffeed/a"), pair("https://acme.example/feed", "a"));
        assert_eq!(split("https://acme.example/feed/a"), pair("https://acme.example/feed", "a"));
        assert_eq!(split("acme/batch%2F7"), pair("acme", "batch/7"));
        assert_eq!(split("%C3%A9/%E2%82%AC+1"), pair("é", "€+1"));
    }

    #[test]
    fn a_path_without_both_parts_or_with_broken_escapes_names_no_event() {
        for path in ["", "acme", "acme/", "/a", "acme/%4", "acme/%zz", "acme/%ff", "acme/%"] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
