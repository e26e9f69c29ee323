//! Parameters of any kind: each is taken or refused with 400 that quotes none of it; never a panic.

use axum::extract::FromRequestParts as _;
use axum::http::{Request, Uri};
use axum::response::IntoResponse as _;

use super::*;
use crate::api::events;

#[path = "../../tests/common/mutate.rs"]
mod mutate;
use mutate::{mutate as change, run};

/// Stands in for what names a patient.
const MARK: &str = "ZZPHI123";

const WORDS: [&[u8]; 16] = [
    b"limit=",
    b"skip=",
    b"status=",
    b"payer_id=",
    b"claim_id=",
    b"created_from=",
    b"created_to=",
    b"%C3%A9",
    b"%ff",
    b"%",
    b"+",
    b"2026-02-30",
    b"T24:61:61Z",
    b"9223372036854775808",
    b"ZZPHI123",
    b"=",
];
const QUERIES: [&str; 5] = [
    "skip=0&limit=100&status=denied&risk_level=high",
    "practice_id=ZZPHI123&payer_id=60054&provider_id=1760854442",
    "claim_control_number=ZZPHI123&created_from=2026-11-02&created_to=2026-11-02T05:50:21%2B01:00",
    "claim_id=17&remittance_id=18",
    "ZZPHI123",
];

/// What each route does with a query, in one.
async fn read(uri: &Uri) -> Result<(), ApiError> {
    let (mut parts, ()) = Request::builder().uri(uri.clone()).body(()).expect("a request").into_parts();
    let mut params = Params::from_request_parts(&mut parts, &()).await?;
    let page = params.page()?;
    assert!((0..=MAX_SKIP).contains(&page.skip) && (1..=MAX_LIMIT).contains(&page.limit));
    for name in ["practice_id", "payer_id", "provider_id", "claim_control_number"] {
        let text = params.text(name)?.unwrap_or_default();
        assert!(text.chars().count() <= MAX_TEXT && !text.contains('\0'));
    }
    params.word("status", STATUSES)?;
    params.word("risk_level", LEVELS)?;
    assert!(params.id("claim_id")?.is_none_or(|id| id >= 0) && params.id("remittance_id")?.is_none_or(|id| id >= 0));
    params.created_from()?;
    params.created_before()?;
    params.finish()
}

fn check(error: ApiError) {
    let told = format!("{error:?}");
    assert!(!told.contains(MARK) && told.len() < 1000, "{told}");
    assert_eq!(error.into_response().status(), 400, "{told}");
}

#[test]
fn parameters_of_any_kind_are_taken_or_refused_and_never_quoted() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (mut taken, mut refused) = (0_u64, 0_u64);
    run("HTTP parameters", 20, |random| {
        let mut query = random.pick(&QUERIES).as_bytes().to_vec();
        change(&mut query, random, &WORDS);
        let path = [b"/api/v1/events/urn:a/".as_slice(), &query].concat();
        // What is no address at all is refused before any route.
        if let Ok(uri) = Uri::try_from([b"/api/v1/claims?".as_slice(), &query].concat()) {
            match runtime.block_on(read(&uri)) {
                Ok(()) => taken += 1,
                Err(error) => {
                    refused += 1;
                    check(error);
                }
            }
        }
        let Ok(uri) = Uri::try_from(path) else { return };
        if let Some((source, id)) = events::source_and_id(uri.path()) {
            for text in [source, id] {
                plain_text("id", text).map_or_else(check, drop);
            }
        }
    });
    assert!(taken > 50 && refused > 50, "{taken} taken, {refused} refused");
}
