//! Bearer tokens: the file that lists them, and who may do what, how often.
//!
//! The file holds a line per token: name, scopes joined by commas, SHA-256 of the token. A token itself is kept nowhere.
//! Must never: print a token, its hash or a line of the file; tell by the time it takes how much of a guess was right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::rates::Rates;
use crate::config::{Config, private_file};
use crate::error::CommandError;

/// What a token may do. No scope holds another: a token has each that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scope {
    /// Look at claims, scores, remittances, receipts, statistics.
    Read,
    /// Score claims: what-if and calculate.
    Write,
    /// Reset statistics; reveal dead letters.
    Admin,
}

impl Scope {
    /// The word in files, headers and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Tokens in a file, at the most.
const MOST: usize = 1000;
/// Characters of a name, at the most.
const LONGEST_NAME: usize = 64;
/// A longer text is no token.
const LONGEST_TOKEN: usize = 256;
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What every token begins with, so that scanners for lost secrets know one.
const PREFIX: &str = "crisk_";

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: Arc<str>,
    scopes: Vec<Scope>,
    hash: [u8; 32],
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token.
    Missing,
    /// A token that is not in the file.
    Unknown,
    /// A token without this scope.
    Scope(Scope),
    /// Too many requests; so long until the next one is taken.
    TooMany(Duration),
}

/// The tokens in force, and how often each was used.
pub struct Tokens {
    path: PathBuf,
    known: RwLock<Arc<Vec<Known>>>,
    limits: [u32; 2],
    rates: Mutex<BTreeMap<Arc<str>, Rates>>,
}

impl Tokens {
    /// The tokens of the file that the settings name; none without one.
    ///
    /// # Errors
    /// The file cannot be read, too many may read it, or a line of it is wrong.
    pub fn configured(config: &Config) -> Result<Option<Arc<Self>>, CommandError> {
        let Some(path) = &config.api_tokens_file else { return Ok(None) };
        let tokens = Self {
            path: path.clone(),
            known: RwLock::new(Arc::new(load(path)?)),
            limits: config.api_requests,
            rates: Mutex::default(),
        };
        Ok(Some(Arc::new(tokens)))
    }

    /// The name and scopes of a token. Every known one is compared to its end, whether or not one fits.
    fn find(&self, token: &str) -> Option<Known> {
        let hash = digest(token);
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let mut found = None;
        for one in known.iter() {
            if bool::from(one.hash.ct_eq(&hash)) {
                found = Some(one);
            }
        }
        found.filter(|_| token.len() <= LONGEST_TOKEN).cloned()
    }

    /// Lets a request in, or not; answers whose token it is. Each request with a known token counts.
    ///
    /// # Errors
    /// Why it is turned away.
    pub fn admit(&self, token: Option<&str>, scope: Scope, now: Instant) -> Result<Arc<str>, Refusal> {
        let known = self.find(token.ok_or(Refusal::Missing)?).ok_or(Refusal::Unknown)?;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates
            .entry(Arc::clone(&known.name))
            .or_insert_with(|| Rates::new(self.limits, now))
            .take(now)
            .map_err(Refusal::TooMany)?;
        drop(rates);
        if known.scopes.contains(&scope) { Ok(known.name) } else { Err(Refusal::Scope(scope)) }
    }

    /// Whose token it is, when it has a scope.
    ///
    /// # Errors
    /// The token is not in the file, or has not that scope.
    pub fn owner(&self, token: &str, scope: Scope) -> Result<Arc<str>, Refusal> {
        let known = self.find(token).ok_or(Refusal::Unknown)?;
        if known.scopes.contains(&scope) { Ok(known.name) } else { Err(Refusal::Scope(scope)) }
    }

    /// Takes changes of the file; to be run as a task of its own. A file that is wrong changes nothing.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut complained = false;
        loop {
            ticks.tick().await;
            match load(&self.path) {
                Ok(tokens) => {
                    complained = false;
                    self.replace(tokens);
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::error!(%error, "the tokens stay as they were");
                }
                Err(_) => {}
            }
        }
    }

    fn replace(&self, tokens: Vec<Known>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if **known == tokens {
            return;
        }
        tracing::info!(tokens = tokens.len(), "the file of tokens has changed");
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.retain(|name, _| tokens.iter().any(|token| token.name == *name));
        *known = Arc::new(tokens);
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Makes a token of 256 random bits; answers it and the line for the file.
///
/// # Errors
/// A name that does not fit, no scope, or no random bits to be had.
pub fn make(name: &str, scopes: &[Scope]) -> Result<(String, String), CommandError> {
    if !is_name(name) {
        return Err(CommandError::Usage(format!("--name: {NAME}")));
    }
    let mut words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    words.dedup();
    let mut random = [0_u8; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| CommandError::Failed("the system gives no random numbers".to_owned()))?;
    let token = format!("{PREFIX}{}", hexadecimal(&random));
    let line = format!("{name} {} {}", words.join(","), hexadecimal(&digest(&token)));
    Ok((token, line))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const NAME: &str = "a name is up to 64 letters, digits, '.', '_', '-'";

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(plain)
}

fn load(path: &Path) -> Result<Vec<Known>, CommandError> {
    let text = private_file(path, "api_tokens_file")?;
    let mut tokens: Vec<Known> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let bad = |what: &str| {
            CommandError::Config(format!(
                "api_tokens_file: {}, line {number}: {what}; a line is NAME SCOPES HASH, as `claimrisk token new` \
                 prints it, or begins with #",
                path.display()
            ))
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let token = parse(line).map_err(&bad)?;
        if tokens.iter().any(|other| other.name == token.name) {
            return Err(bad("the name stands twice"));
        }
        if tokens.iter().any(|other| other.hash == token.hash) {
            return Err(bad("the hash stands twice"));
        }
        tokens.push(token);
        if tokens.len() > MOST {
            return Err(bad("more than 1000 tokens"));
        }
    }
    Ok(tokens)
}

fn parse(line: &str) -> Result<Known, &'static str> {
    let mut parts = line.split_whitespace();
    let (Some(name), Some(scopes), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("there must be three parts");
    };
    if !is_name(name) {
        return Err(NAME);
    }
    let scopes: Option<Vec<Scope>> = scopes.split(',').map(Scope::parse).collect();
    let scopes = scopes.ok_or("scopes are read, write, admin, joined by commas")?;
    let hash = sha256(hash).ok_or("the hash must be 64 hexadecimal digits (SHA-256), never the token itself")?;
    Ok(Known { name: name.into(), scopes, hash })
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digits.next()?? * 16 + digits.next()??).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
