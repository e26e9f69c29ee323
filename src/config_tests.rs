//! Tests of the settings: where values come from, what is refused and how that is said.

use super::*;

fn with(changes: &[(&str, &str)]) -> Result<Config, CommandError> {
    let flags = changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut raw = collect(&flags, None)?;
    // Only the defaults and the changes count here, whatever this machine's environment holds.
    for setting in SETTINGS {
        if !changes.iter().any(|(key, _)| *key == setting.key) {
            raw.insert(setting.key, (setting.default.to_owned(), Origin::Default));
        }
    }
    Config::from_raw(&raw)
}

#[test]
fn the_defaults_are_a_valid_configuration() {
    let config = with(&[]).unwrap();
    assert_eq!(config.cache_ttls[1], Duration::from_secs(3600));
    assert_eq!(config.http_addr.port(), 8000);
}

#[test]
fn a_wrong_setting_is_named_with_its_origin_and_a_mend() {
    let error = with(&[("cache_ttl_claim", "soon")]).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("cache_ttl_claim = soon (from flag)"), "{error}");
    let error = with(&[("prefetch_messages", "10")]).unwrap_err();
    assert!(error.to_string().contains("raise the first"), "{error}");
}

#[test]
fn the_api_without_tokens_binds_to_loopback_only() {
    assert!(with(&[("http_addr", "0.0.0.0:8000")]).is_err());
    assert!(with(&[("http_addr", "0.0.0.0:8000"), ("api_tokens_file", "tokens")]).is_err());
    assert!(with(&[("http_addr", "[::1]:8000")]).is_ok());
}

#[test]
fn a_url_never_prints_its_password() {
    let url = SecretUrl::new("amqp://user:hunter2@broker:5672/v?heartbeat=5");
    assert_eq!(format!("{url:?}"), "amqp://broker:5672/v");
    let error = with(&[("redis_url", "http://hunter2@x")]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn an_unknown_key_in_the_file_is_an_error_with_a_suggestion() {
    let path = std::env::temp_dir().join(format!("claimrisk-config-{}.toml", std::process::id()));
    std::fs::write(&path, "cache_ttl_clam = 5\n").unwrap();
    let error = collect(&BTreeMap::new(), Some(&path)).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(error.to_string().contains("did you mean `cache_ttl_cla"), "{error}");
}

#[test]
fn a_mistyped_name_in_the_environment_is_an_error_and_a_strangers_is_not() {
    let refused = |name: &str| refuse_mistyped(&[name.to_owned()]).map_err(|error| error.to_string());
    let error = refused("CACHE_TTL_CLAIMS").unwrap_err();
    assert_eq!(error, "environment CACHE_TTL_CLAIMS: unknown; did you mean CACHE_TTL_CLAIM?");
    assert!(refused("CLAIMRISK_HTP_ADDR").is_err());
    assert!(SETTINGS.iter().all(|setting| refused(setting.env).is_ok()));
    assert!(refused("CLAIMRISK_BLESS").is_ok());
}

#[test]
fn the_file_knows_both_names_of_a_setting_and_reads_secrets_from_files() {
    let folder = std::env::temp_dir().join(format!("claimrisk-config-names-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, secret) = (folder.join("settings.toml"), folder.join("secret"));
    std::fs::write(&secret, "redis://:hunter2@cache\n").unwrap();
    let named = format!("CACHE_TTL_CLAIM = 5\ncache_ttl_payer = \"6\"\nREDIS_URL_FILE = {secret:?}\n");
    std::fs::write(&path, named).unwrap();
    let values = read_file(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let expected = [("cache_ttl_claim", "5"), ("cache_ttl_payer", "6"), ("redis_url", "redis://:hunter2@cache")];
    assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}
