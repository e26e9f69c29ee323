//! HTTP load on a running API: latencies, and the hit rate of each cached entity against its target.
//!
//! Ids are discovered through the lists of the API itself; the mix of requests depends on the seed alone, not on how fast
//! the answers come. Must never: print an id or an answer's body, run without an end, or change anything but by the clinic
//! profile, which sends simulated claims and remittances.

mod clinic;
mod http;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Output;
use super::output::{print, print_json};
use crate::config::Config;
use crate::error::CommandError;
use clinic::Clinic;
pub(super) use http::{HttpClient, client, get};
use report::{Counts, Sample};
pub(super) use report::{Report, percentile};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Ids taken from each list: what one page of the API holds.
const PAGE: usize = 1000;
/// Workers write their cache statistics four times a second.
const FLUSHED: Duration = Duration::from_millis(1500);

/// `claimrisk load`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  claimrisk load --concurrent 10 --requests 100\n  \
                        claimrisk load --concurrent 50 --requests 500 --output json\n  \
                        claimrisk load --profile clinic --requests 50000\n  \
                        claimrisk load --url https://claims.example:8000   # believed by tls_ca_file, else by the system\n\n\
                        Exit 69 when no API answers, 1 when a request failed (status 5xx, or no answer).")]
pub(super) struct Arguments {
    /// Connections, each with one request at a time.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrent: u16,
    /// Requests altogether.
    #[arg(long, value_name = "M", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests: u32,
    /// Address of the API; default: the one in the settings.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The same seed asks for the same things in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop sending after this many seconds; requests not sent by then count as failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time_limit: u64,
    /// `read`: reads alone. `clinic`: simulated claims and remittances come in meanwhile, through the broker.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// `table` or `json`.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// Reads of what is there.
    #[default]
    Read,
    /// What clinics do: send claims, look up the recent ones, work through worklists.
    Clinic,
}

/// What load to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Connections.
    pub(super) concurrent: u16,
    /// Requests altogether.
    pub(super) requests: u32,
    /// Chooses what is asked for.
    pub(super) seed: u64,
    /// When to stop sending.
    pub(super) time_limit: Duration,
}

/// One GET request for JSON.
///
/// # Errors
/// Exit 69: nothing answers. Exit 1: another status than 200, or no JSON.
pub(super) async fn get_json(client: &HttpClient, base: &str, path: &str) -> Result<Value, CommandError> {
    let answer = get(client, &format!("{base}{path}"), REQUEST_LIMIT).await;
    let (status, body) = answer.map_err(|why| {
        CommandError::Unavailable(format!("no API answers at {base}: {why}; start `claimrisk worker`, or give --url"))
    })?;
    let route = path.split('?').next().unwrap_or_default();
    if status != 200 {
        return Err(CommandError::Failed(format!("{base} answers {route} with status {status}")));
    }
    serde_json::from_slice(&body).map_err(|_| CommandError::Failed(format!("{base} answers {route} with no JSON")))
}

/// The rows of a list's answer: its only array.
pub(super) fn rows(list: &Value) -> &[Value] {
    list.as_object().and_then(|object| object.values().find_map(Value::as_array)).map_or(&[], Vec::as_slice)
}

/// How many rows a list has altogether.
pub(super) fn total(list: &Value) -> u64 {
    list.get("total").and_then(Value::as_u64).unwrap_or_default()
}

/// Puts load on the API and prints what came of it.
pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<(), CommandError> {
    let scheme = if config.api_identity.is_some() { "https" } else { "http" };
    let base = arguments.url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.http_addr));
    let plan = Plan {
        concurrent: arguments.concurrent,
        requests: arguments.requests,
        seed: arguments.seed,
        time_limit: Duration::from_secs(arguments.time_limit),
    };
    let base = base.trim_end_matches('/');
    let client = HttpClient::of(config, base)?;
    let report = match arguments.profile {
        Profile::Read => drive(&client, base, plan).await?,
        Profile::Clinic => drive_clinic(&client, base, plan, config).await?,
    };
    match arguments.output {
        Output::Json => print_json(&report)?,
        Output::Table => {
            print(&report.latencies())?;
            print(&report.hit_rates())?;
            print(&report.sums())?;
        }
    }
    match report.failed {
        0 => Ok(()),
        failed => Err(CommandError::Failed(format!("{failed} of {} requests failed", plan.requests))),
    }
}

/// Discovers ids, makes the load, and compares the cache statistics before and after.
///
/// # Errors
/// Exit 69: no API answers. Exit 1: it holds no claims yet. Failed requests are no error here: see [`Report::failed`].
pub(super) async fn drive(client: &HttpClient, base: &str, plan: Plan) -> Result<Report, CommandError> {
    let found = discover(client, base).await?;
    measure(client, base, plan, Source::Read(found)).await
}

/// The same with the clinic profile.
async fn drive_clinic(client: &HttpClient, base: &str, plan: Plan, config: &Config) -> Result<Report, CommandError> {
    let found = discover(client, base).await?;
    let clinic = Clinic::new(client, base, found, plan.requests, plan.seed, config).await?;
    measure(client, base, plan, Source::Clinic(Box::new(clinic))).await
}

/// Where requests come from.
enum Source {
    Read(Found),
    Clinic(Box<Clinic>),
}

async fn measure(client: &HttpClient, base: &str, plan: Plan, source: Source) -> Result<Report, CommandError> {
    tokio::time::sleep(FLUSHED).await;
    let before = counts(client, base).await?;
    let started = Instant::now();
    let samples = send(client, base, plan, source).await?;
    let elapsed = started.elapsed();
    tokio::time::sleep(FLUSHED).await;
    let after = counts(client, base).await?;
    Ok(Report::new(plan, elapsed, &samples, &before, &after))
}

/// Ids to ask for, the newest first.
#[derive(Debug, Default)]
struct Found {
    claims: Vec<i64>,
    remittances: Vec<i64>,
    episodes: Vec<i64>,
    /// As events name them, fit for a path.
    payers: Vec<String>,
}

async fn discover(client: &HttpClient, base: &str) -> Result<Found, CommandError> {
    let list = async |path: &str| get_json(client, base, &format!("/api/v1/{path}?limit={PAGE}")).await;
    let claims = list("claims").await?;
    let found = Found {
        claims: ids(&claims, "id"),
        remittances: ids(&list("remits").await?, "id"),
        episodes: ids(&list("episodes").await?, "id"),
        payers: payers(&claims),
    };
    if found.claims.is_empty() {
        return Err(CommandError::Failed(
            "the API holds no claims yet; publish some with `claimrisk publish`".to_owned(),
        ));
    }
    Ok(found)
}

fn ids(list: &Value, field: &str) -> Vec<i64> {
    let mut ids: Vec<i64> = rows(list).iter().filter_map(|row| row.get(field)?.as_i64()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids
}

/// The payers of a list of claims, those of the newest claims first.
fn payers(claims: &Value) -> Vec<String> {
    let mut payers: Vec<String> = Vec::new();
    for name in rows(claims).iter().filter_map(|row| row.get("payer")?.get("payer_id")?.as_str()) {
        let name = path_segment(name);
        if !payers.contains(&name) {
            payers.push(name);
        }
    }
    payers
}

/// Percent-encodes what RFC 3986 does not leave alone in a part of a path.
fn path_segment(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Risk,
    Claim,
    Remittance,
    Episode,
    Worklist,
    Patterns,
    Event,
}

impl Kind {
    /// Each kind with its share, in percent: a worklist is opened, then its claims and what came back for them.
    const SHARES: [(Self, u64); 6] = [
        (Self::Risk, 40),
        (Self::Claim, 22),
        (Self::Remittance, 14),
        (Self::Episode, 12),
        (Self::Worklist, 4),
        (Self::Patterns, 8),
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Risk => "risk score",
            Self::Claim => "claim",
            Self::Remittance => "remittance",
            Self::Episode => "episode",
            Self::Worklist => "worklist",
            Self::Patterns => "payer patterns",
            Self::Event => "event published",
        }
    }
}

/// The `index`th number of a sequence that the seed names (SplitMix64): any place of it without the places before.
fn number(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A place in a list of `length`, the first ones far more often: log-uniform, which is close to Zipf's law.
fn skewed(random: u64, length: usize) -> usize {
    let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
    let place = libm::pow(length as f64 + 1.0, unit) as usize;
    place.clamp(1, length.max(1)) - 1
}

impl Found {
    /// The `index`th request: what kind, and its path. A kind of which there is nothing yet becomes the claim's score.
    fn request(&self, seed: u64, index: u32) -> (Kind, String) {
        let index = u64::from(index) * 2;
        let (mut share, random) = (number(seed, index) % 100, number(seed, index + 1));
        let mut kind = Kind::Risk;
        for (candidate, percent) in Kind::SHARES {
            if share < percent {
                kind = candidate;
                break;
            }
            share -= percent;
        }
        self.path(kind, random)
    }

    fn path(&self, kind: Kind, random: u64) -> (Kind, String) {
        let pick = |ids: &[i64]| ids.get(skewed(random, ids.len())).map(i64::to_string);
        let (path, id) = match kind {
            Kind::Worklist => return (kind, "/api/v1/claims/at-risk?limit=50".to_owned()),
            Kind::Risk | Kind::Event => ("risk", pick(&self.claims)),
            Kind::Claim => ("claims", pick(&self.claims)),
            Kind::Remittance => ("remits", pick(&self.remittances)),
            Kind::Episode => ("episodes", pick(&self.episodes)),
            Kind::Patterns => ("patterns/payer", self.payers.get(skewed(random, self.payers.len())).cloned()),
        };
        match (id, pick(&self.claims)) {
            (Some(id), _) => (kind, format!("/api/v1/{path}/{id}")),
            (None, claim) => (Kind::Risk, format!("/api/v1/risk/{}", claim.unwrap_or_default())),
        }
    }
}

async fn send(client: &HttpClient, base: &str, plan: Plan, source: Source) -> Result<Vec<Sample>, CommandError> {
    let deadline = Instant::now() + plan.time_limit;
    let (source, next, base): (_, _, Arc<str>) = (Arc::new(source), Arc::new(AtomicU32::new(0)), base.into());
    let (following, at) = (Arc::clone(&source), Arc::clone(&base));
    let follows = client.another();
    let follower = tokio::spawn(async move {
        if let Source::Clinic(clinic) = &*following {
            clinic.follow(&follows, &at).await;
        }
    });
    let mut connections = JoinSet::new();
    for _ in 0..plan.concurrent {
        let (source, next, base) = (Arc::clone(&source), Arc::clone(&next), Arc::clone(&base));
        // A client of its own, so that there are as many connections as was asked for.
        let client = client.another();
        connections.spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < deadline {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= plan.requests {
                    break;
                }
                let started = Instant::now();
                let (kind, answer) = match &*source {
                    Source::Read(found) => {
                        let (kind, path) = found.request(plan.seed, index);
                        let answer = get(&client, &format!("{base}{path}"), REQUEST_LIMIT).await;
                        (kind, answer.map(|(status, _)| status))
                    }
                    Source::Clinic(clinic) => clinic.act(&client, &base, plan.seed, index).await,
                };
                samples.push(Sample { kind, micros: micros(started.elapsed()), answer });
            }
            samples
        });
    }
    let mut samples = Vec::new();
    while let Some(joined) = connections.join_next().await {
        samples.extend(joined.map_err(|error| CommandError::Failed(format!("a connection's task ended: {error}")))?);
    }
    follower.abort();
    Ok(samples)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn counts(client: &HttpClient, base: &str) -> Result<Counts, CommandError> {
    let path = "/api/v1/cache/stats";
    serde_json::from_value(get_json(client, base, path).await?)
        .map_err(|error| CommandError::Failed(format!("{path} has another shape than expected: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found() -> Found {
        Found {
            claims: (0..500).rev().collect(),
            remittances: vec![3, 2],
            episodes: vec![9],
            payers: vec!["60054".to_owned()],
        }
    }

    #[test]
    fn the_mix_depends_on_the_seed_alone() {
        let asked = |seed| (0..300).map(|index| found().request(seed, index)).collect::<Vec<_>>();
        assert_eq!(asked(1), asked(1));
        assert_ne!(asked(1), asked(2));
    }

    #[test]
    fn every_kind_is_asked_for_in_about_its_share() {
        assert_eq!(Kind::SHARES.iter().map(|(_, percent)| percent).sum::<u64>(), 100);
        let found = found();
        let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
        for index in 0..10_000 {
            *counts.entry(found.request(1, index).0).or_default() += 1;
        }
        for (kind, percent) in Kind::SHARES {
            let wanted = percent * 100;
            assert!(counts[&kind].abs_diff(wanted) < 150, "{kind:?}: {} of {wanted}", counts[&kind]);
        }
    }

    #[test]
    fn recent_claims_are_asked_for_more_often() {
        let places: Vec<usize> = (0..10_000).map(|index| skewed(number(1, index), 1000)).collect();
        assert!(places.iter().all(|place| *place < 1000));
        let first_tenth = places.iter().filter(|place| **place < 100).count();
        assert!((6_000..7_500).contains(&first_tenth), "{first_tenth}");
        assert!(places.contains(&0) && places.iter().any(|place| *place > 950));
    }

    #[test]
    fn payers_are_asked_for_as_events_name_them() {
        let row = |name: &str| serde_json::json!({"id": 1, "payer_id": 2, "payer": {"payer_id": name}});
        let claims = serde_json::json!({"items": [row("60054"), row("name:A & B"), row("60054")], "total": 3});
        assert_eq!(payers(&claims), ["60054", "name%3AA%20%26%20B"]);
    }

    #[test]
    fn what_is_not_there_yet_is_replaced_by_a_score() {
        let found = Found { claims: vec![5], ..Found::default() };
        for index in 0..200 {
            let (kind, path) = found.request(1, index);
            assert!(matches!(kind, Kind::Risk | Kind::Claim | Kind::Worklist), "{path}");
        }
    }
}
