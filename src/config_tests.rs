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
    assert!(with(&[("http_addr", "0.0.0.0:8000"), ("api_tokens_file", "tokens")]).is_ok());
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
    let error = refused("CLAIMRISK_API_TOKEN_FILE").unwrap_err();
    assert!(error.ends_with("did you mean CLAIMRISK_API_TOKENS_FILE?"), "{error}");
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

#[test]
fn servers_on_other_machines_are_spoken_to_over_tls_unless_a_setting_allows_plain_text() {
    for (key, plain, encrypted) in [
        ("amqp_url", "amqp://u:p@broker/%2f", "amqps://u:p@broker/%2f"),
        ("amqp_url", "amqp://u:p@127.0.0.1.example:5672", "amqps://[2001:db8::1]:5671"),
        ("redis_url", "redis://:p@10.0.0.1:6379/0", "rediss://:p@10.0.0.1:6379/0"),
        ("database_url", "postgres://db/c?sslmode=disable", "postgres://db/c?sslmode=verify-full"),
        ("database_url", "postgres://db/c?sslmode=require", "postgres://db/c"),
        ("database_url", "postgres://127.0.0.1/c?host=db&sslmode=disable", "postgres://127.0.0.1/c?host=db"),
    ] {
        let error = with(&[(key, plain)]).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains(&format!("{key} leads to another machine")), "{error}");
        assert!(with(&[(key, encrypted)]).is_ok(), "{encrypted}");
        assert!(with(&[(key, plain), ("allow_plaintext", "true")]).is_ok(), "{plain}");
    }
    for (key, near) in [
        ("amqp_url", "amqp://u:p@localhost:5672/%2f"),
        ("amqp_url", "amqp://127.0.0.1"),
        ("redis_url", "redis://:p@[::1]:6379/0"),
        ("redis_url", "redis://127.0.0.1"),
        ("database_url", "postgres://127.8.9.1:5432/c"),
        ("database_url", "postgres://c?host=/run/postgresql"),
    ] {
        assert!(with(&[(key, near)]).is_ok(), "{near}");
    }
    let options = |url: &str| crate::store::connect_options(&with(&[("database_url", url)]).unwrap()).unwrap();
    assert!(matches!(options("postgres://db/c").get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
}

#[test]
fn a_certificate_comes_with_its_key_and_from_a_file_that_is_not_open_to_all() {
    let error = with(&[("api_cert_file", "cert.pem")]).unwrap_err();
    assert!(error.to_string().contains("api_cert_file is set without api_key_file"), "{error}");
    let error = with(&[("tls_key_file", "key.pem")]).unwrap_err();
    assert!(error.to_string().contains("tls_key_file is set without tls_cert_file"), "{error}");
    let error = with(&[("tls_ca_file", "Cargo.toml")]).unwrap_err();
    assert_eq!(error.to_string(), "tls_ca_file: Cargo.toml holds no certificate (PEM)");
    let error = private_file(Path::new("Cargo.toml"), "tls_key_file").unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}
