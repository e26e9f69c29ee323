//! The committed description of the API is the one that the code makes.

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/openapi.json");

#[expect(clippy::disallowed_methods, reason = "a test's own switch, no setting of the product")]
fn blessing() -> bool {
    std::env::var("CLAIMRISK_BLESS").is_ok()
}

#[test]
fn the_committed_description_is_the_generated_one() {
    let mut generated = claimrisk::api::openapi().to_pretty_json().expect("the description is JSON");
    generated.push('\n');
    if blessing() {
        std::fs::write(COMMITTED, &generated).expect("deploy/openapi.json can be written");
    }
    let committed = std::fs::read_to_string(COMMITTED).expect("deploy/openapi.json is there");
    assert_eq!(committed, generated, "run CLAIMRISK_BLESS=1 cargo test --test openapi");
}

#[test]
fn every_route_of_the_contract_is_described() {
    let description = claimrisk::api::openapi();
    for (method, path) in [
        ("get", "/api/v1/health"),
        ("get", "/api/v1/health/detailed"),
        ("get", "/api/v1/claims"),
        ("get", "/api/v1/claims/{id}"),
        ("get", "/api/v1/claims/unlinked"),
        ("get", "/api/v1/claims/at-risk"),
        ("get", "/api/v1/remits"),
        ("get", "/api/v1/remits/{id}"),
        ("get", "/api/v1/episodes"),
        ("get", "/api/v1/episodes/{id}"),
        ("get", "/api/v1/risk/{claim_id}"),
        ("get", "/api/v1/risk/{claim_id}/history"),
        ("post", "/api/v1/risk/{claim_id}/calculate"),
        ("post", "/api/v1/risk/what-if"),
        ("get", "/api/v1/patterns/payer/{payer_id}"),
        ("get", "/api/v1/events/{source}/{id}"),
        ("get", "/api/v1/cache/stats"),
        ("post", "/api/v1/cache/stats/reset"),
    ] {
        let item = description.paths.paths.get(path).unwrap_or_else(|| panic!("{path} is not described"));
        let operation = if method == "get" { &item.get } else { &item.post };
        assert!(operation.is_some(), "{method} {path} is not described");
    }
}
