//! Every setting: flags over environment over `--config FILE` (TOML) over defaults, checked together before anything
//! starts.
//!
//! This is the only file that reads the environment. Must never print a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::domain::score::Levels;
use crate::error::CommandError;

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
    fn is_called(&self, key: &str) -> bool {
        key.eq_ignore_ascii_case(self.key) || key.eq_ignore_ascii_case(self.env)
    }

    /// Whether a key of the settings file names the file that holds this secret.
    fn is_file(&self, key: &str) -> bool {
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
        "bearer tokens; not asked for by this release, so it must stay unset",
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

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag.
    Flag,
    /// An environment variable.
    Environment(String),
    /// The file given with `--config`.
    File,
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File => f.write_str("file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A URL with a password in it: never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL itself, to connect with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL without user, password and query.
    pub fn redacted(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", self.0.as_str()));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// The settings of a process, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// RabbitMQ.
    pub amqp_url: SecretUrl,
    /// PostgreSQL.
    pub database_url: SecretUrl,
    /// Redis.
    pub redis_url: SecretUrl,
    /// Where the API listens.
    pub http_addr: SocketAddr,
    /// Where the metrics listen.
    pub metrics_addr: SocketAddr,
    /// File of bearer tokens.
    pub api_tokens_file: Option<PathBuf>,
    /// How long labels are gathered before a model is published.
    pub model_publish: Duration,
    /// Changed labels that publish a model at once.
    pub model_publish_labels: usize,
    /// Log filter.
    pub log: String,
    /// Limits of a batch.
    pub batch: BatchLimits,
    /// Unsettled messages per queue.
    pub prefetch_messages: u16,
    /// Larger events are refused.
    pub max_event_bytes: usize,
    /// Deliveries before an event is given up.
    pub delivery_attempts: u32,
    /// Time to finish at the end.
    pub shutdown_grace: Duration,
    /// PostgreSQL connections.
    pub database_connections: u32,
    /// Longest wait for a statement.
    pub database_timeout: Duration,
    /// Redis connections.
    pub redis_connections: usize,
    /// Longest wait for the cache.
    pub redis_timeout: Duration,
    /// Bounds of the risk levels.
    pub levels: Levels,
    /// Lifetimes in the cache, in the order of `metrics::ENTITIES`.
    pub cache_ttls: [Duration; 9],
}

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Events.
    pub messages: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Age of the first one.
    pub age: Duration,
}

/// Values by key with their origin, before they are checked.
pub type Raw = BTreeMap<&'static str, (String, Origin)>;

/// Collects the settings from `flags` (key to value), the environment and a TOML file.
///
/// # Errors
/// A file that cannot be read or has an unknown key (named, with the nearest known one).
pub fn collect(flags: &BTreeMap<String, String>, file: Option<&Path>) -> Result<Raw, CommandError> {
    let in_file = file.map(read_file).transpose()?.unwrap_or_default();
    refuse_mistyped(&environment_names())?;
    let mut raw = Raw::new();
    for setting in SETTINGS {
        let value = if let Some(value) = flags.get(setting.key) {
            (value.clone(), Origin::Flag)
        } else if let Some(found) = from_environment(setting)? {
            found
        } else if let Some(value) = in_file.get(setting.key) {
            (value.clone(), Origin::File)
        } else {
            (setting.default.to_owned(), Origin::Default)
        };
        raw.insert(setting.key, value);
    }
    Ok(raw)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn environment_names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// Refuses names that are one or two letters away from a setting's. Others belong to somebody else: the environment,
/// unlike the file, is shared.
fn refuse_mistyped(names: &[String]) -> Result<(), CommandError> {
    let prefixes = ["CLAIMRISK_", "CACHE_TTL_"];
    for name in names.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))) {
        let near = |setting: &&Setting| (1..=2).contains(&distance(name, setting.env));
        let known = SETTINGS.iter().any(|setting| setting.env == name);
        if let Some(setting) = SETTINGS.iter().find(near).filter(|_| !known) {
            return Err(CommandError::Config(format!("environment {name}: unknown; did you mean {}?", setting.env)));
        }
    }
    Ok(())
}

/// How many letters must be put in, left out or changed to make one name the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Whether a setting's environment variable (or its `_FILE`) is set: `demo` then uses that server.
pub fn is_in_environment(env: &str) -> bool {
    environment(env).is_some() || environment(&format!("{env}_FILE")).is_some()
}

fn from_environment(setting: &Setting) -> Result<Option<(String, Origin)>, CommandError> {
    if let Some(value) = environment(setting.env) {
        return Ok(Some((value, Origin::Environment(setting.env.to_owned()))));
    }
    let file_name = format!("{}_FILE", setting.env);
    if !setting.secret {
        return Ok(None);
    }
    let Some(path) = environment(&file_name) else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CommandError::Config(format!("{file_name}: cannot read {path}: {error}")))?;
    Ok(Some((text.trim().to_owned(), Origin::Environment(file_name))))
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, CommandError> {
    let bad = |what: String| CommandError::Config(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot read: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| bad(error.message().to_owned()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            _ => return Err(bad(format!("`{key}` must be a string or a whole number"))),
        };
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.is_called(&key)) {
            values.insert(setting.key.to_owned(), text);
        } else if let Some(setting) = SETTINGS.iter().find(|setting| setting.secret && setting.is_file(&key)) {
            let secret =
                std::fs::read_to_string(&text).map_err(|error| bad(format!("`{key}`: cannot read {text}: {error}")))?;
            values.insert(setting.key.to_owned(), secret.trim().to_owned());
        } else {
            let hint = nearest(&key).map_or(String::new(), |known| format!("; did you mean `{known}`?"));
            return Err(bad(format!("unknown key `{key}`{hint}")));
        }
    }
    Ok(values)
}

/// The known key that is nearest to a mistyped one, if it is near at all.
fn nearest(key: &str) -> Option<&'static str> {
    let apart = |known: &&str| distance(&key.to_lowercase(), known);
    SETTINGS.iter().map(|setting| setting.key).min_by_key(apart).filter(|known| apart(known) * 2 < key.len())
}

impl Config {
    /// How long database work may take before it is given up: the server's own limit comes first, unless it is silent.
    pub fn database_deadline(&self) -> Duration {
        self.database_timeout * 2
    }

    /// Checks the collected values, each alone and then together.
    ///
    /// # Errors
    /// The first setting that is wrong, with its origin and how to mend it.
    pub fn from_raw(raw: &Raw) -> Result<Self, CommandError> {
        let ttl = |key| Ok::<_, CommandError>(Duration::from_secs(number::<u32>(raw, key, 1)?.into()));
        let config = Self {
            amqp_url: url(raw, "amqp_url", &["amqp://", "amqps://"])?,
            database_url: url(raw, "database_url", &["postgres://", "postgresql://"])?,
            redis_url: url(raw, "redis_url", &["redis://", "rediss://"])?,
            http_addr: parse(raw, "http_addr", "an address such as 127.0.0.1:8000")?,
            metrics_addr: parse(raw, "metrics_addr", "an address such as 127.0.0.1:9464")?,
            api_tokens_file: Some(text(raw, "api_tokens_file")).filter(|path| !path.is_empty()).map(PathBuf::from),
            model_publish: Duration::from_secs(number(raw, "model_publish_seconds", 1)?),
            model_publish_labels: number(raw, "model_publish_labels", 1)?,
            log: text(raw, "log").to_owned(),
            batch: BatchLimits {
                messages: number(raw, "batch_messages", 1)?,
                bytes: number(raw, "batch_bytes", 1)?,
                age: Duration::from_millis(number(raw, "batch_age_ms", 0)?),
            },
            prefetch_messages: number(raw, "prefetch_messages", 1)?,
            max_event_bytes: number(raw, "max_event_bytes", 1024)?,
            delivery_attempts: number(raw, "delivery_attempts", 1)?,
            shutdown_grace: Duration::from_secs(number(raw, "shutdown_grace_seconds", 1)?),
            database_connections: number(raw, "database_connections", 2)?,
            database_timeout: Duration::from_millis(number(raw, "database_timeout_ms", 100)?),
            redis_connections: number(raw, "redis_connections", 1)?,
            redis_timeout: Duration::from_millis(number(raw, "redis_timeout_ms", 1)?),
            levels: levels(raw)?,
            cache_ttls: [
                ttl("cache_ttl_claim")?,
                ttl("cache_ttl_risk_score")?,
                ttl("cache_ttl_remittance")?,
                ttl("cache_ttl_episode")?,
                ttl("cache_ttl_payer")?,
                ttl("cache_ttl_provider")?,
                ttl("cache_ttl_practice")?,
                ttl("cache_ttl_pattern")?,
                ttl("cache_ttl_count")?,
            ],
        };
        config.check_together()?;
        Ok(config)
    }

    fn check_together(&self) -> Result<(), CommandError> {
        if usize::from(self.prefetch_messages) < self.batch.messages {
            return Err(CommandError::Config(format!(
                "prefetch_messages ({}) is below batch_messages ({}): a batch could never fill; raise the first",
                self.prefetch_messages, self.batch.messages
            )));
        }
        // A file of tokens that nothing asks for would look like protection.
        if self.api_tokens_file.is_some() {
            return Err(CommandError::Config(
                "api_tokens_file is set, but this release does not ask for tokens yet; unset it, keep the API on a \
                 loopback address and put a proxy that authenticates in front of it"
                    .to_owned(),
            ));
        }
        if !self.http_addr.ip().is_loopback() {
            return Err(CommandError::Config(format!(
                "http_addr = {} is not a loopback address: without tokens anyone could read claims; use 127.0.0.1",
                self.http_addr
            )));
        }
        Ok(())
    }
}

fn text<'a>(raw: &'a Raw, key: &str) -> &'a str {
    raw.get(key).map_or("", |(value, _)| value.as_str())
}

fn wrong(raw: &Raw, key: &str, expected: &str) -> CommandError {
    let origin = raw.get(key).map_or(Origin::Default, |(_, origin)| origin.clone());
    let secret = SETTINGS.iter().any(|setting| setting.key == key && setting.secret);
    let shown = if secret { "<hidden>" } else { text(raw, key) };
    CommandError::Config(format!("{key} = {shown} (from {origin}): expected {expected}"))
}

fn parse<T: FromStr>(raw: &Raw, key: &str, expected: &str) -> Result<T, CommandError> {
    text(raw, key).parse().map_err(|_| wrong(raw, key, expected))
}

fn number<T: FromStr + PartialOrd + Copy + fmt::Display>(raw: &Raw, key: &str, least: T) -> Result<T, CommandError> {
    let value: T = parse(raw, key, "a whole number within range")?;
    if value < least { Err(wrong(raw, key, &format!("at least {least}"))) } else { Ok(value) }
}

fn url(raw: &Raw, key: &str, schemes: &[&str]) -> Result<SecretUrl, CommandError> {
    let value = text(raw, key);
    if schemes.iter().any(|scheme| value.starts_with(scheme)) {
        Ok(SecretUrl::new(value))
    } else {
        Err(wrong(raw, key, &format!("a URL that starts with {}", schemes.join(" or "))))
    }
}

/// Reads `10,30,60`: scores (0 to 100) from which a claim is medium, high, critical.
fn levels(raw: &Raw) -> Result<Levels, CommandError> {
    let expected = "three growing numbers between 0 and 100, such as 10,30,60";
    let bounds: Vec<u16> = text(raw, "risk_levels")
        .split(',')
        .map(|part| part.trim().parse::<u16>().map_err(|_| wrong(raw, "risk_levels", expected)))
        .collect::<Result<_, _>>()?;
    match bounds[..] {
        [medium, high, critical] if 0 < medium && medium < high && high < critical && critical <= 100 => {
            Ok(Levels { medium: medium * 10, high: high * 10, critical: critical * 10 })
        }
        _ => Err(wrong(raw, "risk_levels", expected)),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
