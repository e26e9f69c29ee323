//! Every setting: flags over environment over `--config FILE` (TOML) over defaults, checked together before anything
//! starts.
//!
//! This is the only file that reads the environment. Must never print a secret.

mod secrets;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::domain::score::Levels;
use crate::error::CommandError;
pub use secrets::{Certificates, Identity, Secret, SecretUrl, is_loopback, private_file};
pub use settings::{SETTINGS, Setting};

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
    /// Requests of one token, per minute and per hour.
    pub api_requests: [u32; 2],
    /// What the API shows of itself, over TLS then.
    pub api_identity: Option<Identity>,
    /// The token of whoever runs a command.
    pub client_token: Option<Secret>,
    /// Longest wait for the head of a request.
    pub http_header: Duration,
    /// Connections of a listener at once.
    pub http_connections: usize,
    /// Whether servers on other machines may be spoken to without TLS.
    pub allow_plaintext: bool,
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
        let certificates =
            Certificates::read(file(raw, "tls_ca_file"), file(raw, "tls_cert_file"), file(raw, "tls_key_file"))?;
        let server = |key, schemes| Ok::<_, CommandError>(url(raw, key, schemes)?.with_certificates(&certificates));
        let (api_cert, api_key) = (file(raw, "api_cert_file"), file(raw, "api_key_file"));
        let config = Self {
            amqp_url: server("amqp_url", &["amqp://", "amqps://"])?,
            database_url: server("database_url", &["postgres://", "postgresql://"])?,
            redis_url: server("redis_url", &["redis://", "rediss://"])?,
            http_addr: parse(raw, "http_addr", "an address such as 127.0.0.1:8000")?,
            metrics_addr: parse(raw, "metrics_addr", "an address such as 127.0.0.1:9464")?,
            api_tokens_file: file(raw, "api_tokens_file").map(PathBuf::from),
            api_requests: [number(raw, "api_requests_per_minute", 1)?, number(raw, "api_requests_per_hour", 1)?],
            api_identity: Identity::read(api_cert, api_key, ["api_cert_file", "api_key_file"])?,
            client_token: Some(text(raw, "client_token")).filter(|token| !token.is_empty()).map(Secret::new),
            http_header: Duration::from_secs(number(raw, "http_header_seconds", 1)?),
            http_connections: number(raw, "http_connections", 1)?,
            allow_plaintext: parse(raw, "allow_plaintext", "true or false")?,
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
        if self.api_tokens_file.is_none() && !self.http_addr.ip().is_loopback() {
            return Err(CommandError::Config(format!(
                "http_addr = {} is not a loopback address: without tokens anyone could read claims; set \
                 api_tokens_file (`claimrisk token new` makes tokens), or use 127.0.0.1",
                self.http_addr
            )));
        }
        self.refuse_plaintext()
    }

    /// Claims and passwords leave this machine over TLS only, unless a setting says otherwise.
    fn refuse_plaintext(&self) -> Result<(), CommandError> {
        let refused = |key: &str, mend: &str| {
            CommandError::Config(format!(
                "{key} leads to another machine without TLS; {mend}, or set allow_plaintext = true where nobody can \
                 listen"
            ))
        };
        crate::store::connect_options(self)?;
        if self.allow_plaintext {
            return Ok(());
        }
        if !encrypted_or_near(&self.amqp_url, "amqps://") {
            return Err(refused("amqp_url", "use amqps://"));
        }
        if !encrypted_or_near(&self.redis_url, "rediss://") {
            return Err(refused("redis_url", "use rediss://"));
        }
        Ok(())
    }
}

/// Whether a URL speaks TLS, or leads no farther than this machine.
fn encrypted_or_near(url: &SecretUrl, encrypted: &str) -> bool {
    let redacted = url.redacted();
    let (scheme, rest) = redacted.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    encrypted.strip_suffix("://") == Some(scheme) || is_loopback(host)
}

/// The path that a setting names, if any.
fn file<'a>(raw: &'a Raw, key: &str) -> Option<&'a Path> {
    Some(text(raw, key)).filter(|path| !path.is_empty()).map(Path::new)
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
