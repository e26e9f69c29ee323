//! The table of all settings: their names, defaults and what they do.
//!
//! Nothing here reads or checks a value.

/// One setting as users name it.
pub struct Setting {
    /// Key in the TOML file, and the flag's name with dashes.
    pub key: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// Default, as text.
    pub default: &'static str,
    /// Whether it may hold a password; then `NAME_FILE` is read too and nothing prints it.
    pub secret: bool,
    /// What it does, in one line.
    pub help: &'static str,
}

impl Setting {
    /// Whether a key of the settings file means this setting: its own name, or that of the environment variable.
    pub(super) fn is_called(&self, key: &str) -> bool {
        key.eq_ignore_ascii_case(self.key) || key.eq_ignore_ascii_case(self.env)
    }

    /// Whether a key of the settings file names the file that holds this secret.
    pub(super) fn is_file(&self, key: &str) -> bool {
        let (name, end) = key.split_at_checked(key.len().saturating_sub(5)).unwrap_or((key, ""));
        end.eq_ignore_ascii_case("_file") && self.is_called(name)
    }
}

const fn plain(key: &'static str, env: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, env, default, secret: false, help }
}

const fn secret(key: &'static str, env: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, env, default, secret: true, help }
}

/// All settings there are.
pub const SETTINGS: &[Setting] = &[
    secret("amqp_url", "AMQP_URL", "amqp://127.0.0.1:5672/%2f", "RabbitMQ, as amqp:// or amqps://"),
    secret("database_url", "DATABASE_URL", "postgres://127.0.0.1:5432/claimrisk", "PostgreSQL"),
    secret("redis_url", "REDIS_URL", "redis://127.0.0.1:6379/0", "Redis, as redis:// or rediss://"),
    plain("http_addr", "CLAIMRISK_HTTP_ADDR", "127.0.0.1:8000", "where the API listens"),
    plain("metrics_addr", "CLAIMRISK_METRICS_ADDR", "127.0.0.1:9464", "where /metrics, /livez, /readyz listen"),
    plain(
        "api_tokens_file",
        "CLAIMRISK_API_TOKENS_FILE",
        "",
        "bearer tokens of the API; without it the API listens on loopback only",
    ),
    plain(
        "api_requests_per_minute",
        "CLAIMRISK_API_REQUESTS_PER_MINUTE",
        "60",
        "requests of one token per minute, in each process",
    ),
    plain(
        "api_requests_per_hour",
        "CLAIMRISK_API_REQUESTS_PER_HOUR",
        "1000",
        "requests of one token per hour, in each process",
    ),
    plain("api_cert_file", "CLAIMRISK_API_CERT_FILE", "", "certificate chain (PEM) of the API, which then speaks TLS"),
    plain("api_key_file", "CLAIMRISK_API_KEY_FILE", "", "private key (PEM) to it"),
    secret(
        "client_token",
        "CLAIMRISK_CLIENT_TOKEN",
        "",
        "token that this command shows: `load` to the API, `dead-letters`",
    ),
    plain("http_header_seconds", "CLAIMRISK_HTTP_HEADER_SECONDS", "15", "longest wait for the head of a request"),
    plain("http_connections", "CLAIMRISK_HTTP_CONNECTIONS", "1024", "connections of a listener at once; others wait"),
    plain("tls_ca_file", "CLAIMRISK_TLS_CA_FILE", "", "authorities (PEM) that vouch for the three servers"),
    plain("tls_cert_file", "CLAIMRISK_TLS_CERT_FILE", "", "certificate chain (PEM) shown to the three servers"),
    plain("tls_key_file", "CLAIMRISK_TLS_KEY_FILE", "", "private key (PEM) to it"),
    plain(
        "allow_plaintext",
        "CLAIMRISK_ALLOW_PLAINTEXT",
        "false",
        "true: servers on other machines may be spoken to without TLS",
    ),
    plain(
        "model_publish_seconds",
        "CLAIMRISK_MODEL_PUBLISH_SECONDS",
        "900",
        "how long the learner gathers labels before it publishes a model",
    ),
    plain(
        "model_publish_labels",
        "CLAIMRISK_MODEL_PUBLISH_LABELS",
        "5000",
        "so many changed labels publish a model at once",
    ),
    plain("log", "CLAIMRISK_LOG", "info", "log filter, such as info or claimrisk=debug"),
    plain("batch_messages", "CLAIMRISK_BATCH_MESSAGES", "500", "events worked on together, at the most"),
    plain("batch_bytes", "CLAIMRISK_BATCH_BYTES", "8388608", "bytes of events worked on together, at the most"),
    plain("batch_age_ms", "CLAIMRISK_BATCH_AGE_MS", "20", "how long the first event of a batch waits for more"),
    plain("prefetch_messages", "CLAIMRISK_PREFETCH_MESSAGES", "1500", "unsettled messages per queue, at the most"),
    plain("max_event_bytes", "CLAIMRISK_MAX_EVENT_BYTES", "1048576", "a larger event is dead-lettered as too_large"),
    plain(
        "delivery_attempts",
        "CLAIMRISK_DELIVERY_ATTEMPTS",
        "10",
        "deliveries before the worker gives up on an event",
    ),
    plain("shutdown_grace_seconds", "CLAIMRISK_SHUTDOWN_GRACE_SECONDS", "20", "time to finish and settle at the end"),
    plain("database_connections", "CLAIMRISK_DATABASE_CONNECTIONS", "8", "PostgreSQL connections of this process"),
    plain("database_timeout_ms", "CLAIMRISK_DATABASE_TIMEOUT_MS", "30000", "longest wait for one database statement"),
    plain("redis_connections", "CLAIMRISK_REDIS_CONNECTIONS", "8", "Redis connections of this process"),
    plain(
        "redis_timeout_ms",
        "CLAIMRISK_REDIS_TIMEOUT_MS",
        "250",
        "longest wait for the cache, before going on without",
    ),
    plain("risk_levels", "CLAIMRISK_RISK_LEVELS", "10,30,60", "scores from which a claim is medium, high, critical"),
    plain("cache_ttl_claim", "CACHE_TTL_CLAIM", "1800", "seconds a claim stays in the cache"),
    plain("cache_ttl_risk_score", "CACHE_TTL_RISK_SCORE", "3600", "seconds a risk score stays in the cache"),
    plain("cache_ttl_remittance", "CACHE_TTL_REMITTANCE", "1800", "seconds a remittance stays in the cache"),
    plain("cache_ttl_episode", "CACHE_TTL_EPISODE", "1800", "seconds an episode stays in the cache"),
    plain("cache_ttl_payer", "CACHE_TTL_PAYER", "86400", "seconds a payer stays in the cache"),
    plain("cache_ttl_provider", "CACHE_TTL_PROVIDER", "3600", "seconds a provider stays in the cache"),
    plain("cache_ttl_practice", "CACHE_TTL_PRACTICE", "86400", "seconds a practice stays in the cache"),
    plain("cache_ttl_pattern", "CACHE_TTL_PATTERN", "86400", "seconds a payer's denial patterns stay in the cache"),
    plain("cache_ttl_count", "CACHE_TTL_COUNT", "300", "seconds the total of a list stays in the cache"),
];
