//! One worker, and pages of the API, on a database that holds many claims already.
//!
//! The worker has no learner here: one that starts reads all labels there are, which is no part of an event. Must never:
//! count the filling as work of the worker.

use std::time::{Duration, Instant};

use super::super::load::{HttpClient, get, get_json, percentile, total};
use super::super::output::say;
use super::reader::Material;
use super::site::{BATCH, Database, Site};
use super::{Samples, messages};
use crate::broker::Outgoing;
use crate::error::CommandError;
use crate::store;

/// What the worker does.
const ROLES: [&str; 3] = ["claims", "remittances", "api"];
/// How long a page is asked for, one request after the other.
const LASTS: Duration = Duration::from_secs(3);
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Fills a database, looks at pages, and lets a worker go on, round by round.
pub(super) async fn measure(
    site: &Site<'_>,
    material: &Material,
    wanted: u32,
    rounds: u32,
    samples: &mut Samples,
) -> Result<(), CommandError> {
    let simulation = &material.simulation;
    let database = site.database("stored").await?;
    let base: Vec<Outgoing> = messages::claims(simulation, 0).collect();
    say(&format!("{} claims are stored by a worker, to be copied", base.len()));
    site.run("stored", &database, &base, BATCH, &[]).await?;
    let base: Vec<Outgoing> = messages::remittances(simulation, 0).collect();
    site.run("stored", &database, &base, BATCH, &[]).await?;
    fill(&database, wanted, samples).await?;
    for round in 1..=rounds {
        say(&format!("round {round} on top of the stored claims: pages, claims, remittances"));
        pages(site, &database, samples).await?;
        let claims: Vec<Outgoing> = messages::claims(simulation, round).collect();
        samples.add("stored_pipeline", site.run("stored", &database, &claims, BATCH, &ROLES).await?.rate);
        let answers: Vec<Outgoing> = messages::remittances(simulation, round).collect();
        samples.add("stored_pipeline_remittances", site.run("stored", &database, &answers, BATCH, &ROLES).await?.rate);
    }
    site.remove_database(database).await
}

async fn fill(database: &Database, wanted: u32, samples: &mut Samples) -> Result<(), CommandError> {
    let pool = store::pool(&database.config)?;
    let stored = store::bench::count_claims(&pool).await?;
    // As many copies as it takes to have all that are wanted.
    let copies = (i64::from(wanted) - 1) / stored.max(1);
    say(&format!("filling the database: {} claims", stored * (copies + 1)));
    let started = Instant::now();
    store::bench::fill(&pool, copies, &|sentence: &str| say(sentence)).await?;
    samples.add("stored_fill", (stored * copies) as f64 / started.elapsed().as_secs_f64());
    say(&format!("the database takes {} MB", store::bench::size(&pool).await? / 1_000_000));
    pool.close().await;
    Ok(())
}

/// The first page of the claims and of the worklist, and one in the middle of all claims.
async fn pages(site: &Site<'_>, database: &Database, samples: &mut Samples) -> Result<(), CommandError> {
    let host = site.host("stored").await?;
    site.settle().await?;
    let worker = site.worker(&host, database, BATCH, &["api"]).await?;
    let asked = async {
        let claims = get_json(&site.client, &worker.api, "/api/v1/claims?limit=1").await?;
        let middle = format!("claims?limit=100&skip={}", total(&claims) / 2);
        for (name, path) in
            [("first", "claims?limit=100"), ("worklist", "claims/at-risk?limit=50"), ("deep", middle.as_str())]
        {
            // So that the length of the list is counted anew.
            site.servers.redis.forget_all().await?;
            page(&site.client, &format!("{}/api/v1/{path}", worker.api), name, samples).await?;
        }
        Ok::<_, CommandError>(())
    };
    let asked = asked.await;
    worker.stop().await;
    site.remove_host(host).await?;
    asked
}

async fn page(client: &HttpClient, url: &str, name: &str, samples: &mut Samples) -> Result<(), CommandError> {
    samples.add(format!("stored_{name}"), micros(client, url).await? as f64 / 1000.0);
    let (started, mut all) = (Instant::now(), Vec::new());
    while started.elapsed() < LASTS {
        all.push(micros(client, url).await?);
    }
    all.sort_unstable();
    for permille in [500, 990] {
        samples.add(format!("stored_{name}_p{}", permille / 10), percentile(&all, permille) as f64 / 1000.0);
    }
    Ok(())
}

/// How long one answer took.
async fn micros(client: &HttpClient, url: &str) -> Result<u64, CommandError> {
    let asked = Instant::now();
    match get(client, url, REQUEST_LIMIT).await {
        Ok((200, _)) => Ok(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX)),
        Ok((status, _)) => Err(CommandError::Failed(format!("a page was answered with status {status}"))),
        Err(why) => Err(CommandError::Failed(format!("a page was not answered: {why}"))),
    }
}
