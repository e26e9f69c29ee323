//! The load of clinics at work: claims and remittances come in through the broker while people look up how the recent
//! ones fare, and work through worklists.
//!
//! What comes in is simulated, from practices of its own, so that nothing that is stored changes. Must never: publish an
//! event that is not made up.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::{Found, HttpClient, Kind, PAGE, REQUEST_LIMIT, get, get_json, ids, number, rows, skewed};
use crate::broker::{Outgoing, Publisher};
use crate::config::Config;
use crate::error::CommandError;
use crate::flow::split::message_of;
use crate::simulate::{Options, simulate};
use crate::wire::{Payload, x12_event};

/// Pages of each list that are known at the start: as far back as people look.
const PAGES: usize = 20;
/// How often the newest ids are asked for.
const REFRESH: Duration = Duration::from_secs(2);
/// Each kind with its share, in percent.
const SHARES: [(Kind, u64); 7] = [
    (Kind::Event, 16),
    (Kind::Risk, 32),
    (Kind::Claim, 20),
    (Kind::Remittance, 12),
    (Kind::Episode, 8),
    (Kind::Worklist, 6),
    (Kind::Patterns, 6),
];
/// One of so many look-ups of a claim is of one that stands on a worklist.
const FROM_WORKLIST: u64 = 4;

/// A load under way.
pub(super) struct Clinic {
    found: RwLock<Found>,
    /// Claims that stood on the worklist that was read last.
    worklist: RwLock<Vec<i64>>,
    events: Vec<Outgoing>,
    next_event: AtomicUsize,
    publisher: Publisher,
}

impl Clinic {
    /// Finds what is stored, and makes up what will come in.
    pub(super) async fn new(
        client: &HttpClient,
        base: &str,
        found: Found,
        requests: u32,
        seed: u64,
        config: &Config,
    ) -> Result<Self, CommandError> {
        let clinic = Self {
            found: RwLock::new(found),
            worklist: RwLock::new(Vec::new()),
            events: events(requests, seed),
            next_event: AtomicUsize::new(0),
            publisher: Publisher::new(config.amqp_url.clone(), "load"),
        };
        for page in (1..PAGES).rev() {
            clinic.look(client, base, PAGE, page * PAGE).await?;
        }
        Ok(clinic)
    }

    /// Adds the rows of one page of each list to what is known.
    async fn look(&self, client: &HttpClient, base: &str, limit: usize, skip: usize) -> Result<(), CommandError> {
        for list in ["claims", "remits", "episodes"] {
            let path = format!("/api/v1/{list}?limit={limit}&skip={skip}");
            let new = ids(&get_json(client, base, &path).await?, "id");
            let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
            let known = match list {
                "claims" => &mut found.claims,
                "remits" => &mut found.remittances,
                _ => &mut found.episodes,
            };
            let all: BTreeSet<i64> = known.iter().copied().chain(new).collect();
            *known = all.into_iter().rev().take(PAGES * PAGE).collect();
        }
        Ok(())
    }

    /// Keeps up with what comes in; to be run beside the load.
    pub(super) async fn follow(&self, client: &HttpClient, base: &str) {
        loop {
            tokio::time::sleep(REFRESH).await;
            if let Err(error) = self.look(client, base, 200, 0).await {
                tracing::debug!(%error, "the newest ids are asked for later");
            }
        }
    }

    /// Does the `index`th thing: what kind it was, and the status or why there was none.
    pub(super) async fn act(
        &self,
        client: &HttpClient,
        base: &str,
        seed: u64,
        index: u32,
    ) -> (Kind, Result<u16, String>) {
        let index = u64::from(index) * 2;
        let (share, random) = (number(seed, index) % 100, number(seed, index + 1));
        let kind = kind(share);
        let path = match kind {
            Kind::Event => match self.publish().await {
                Some(answer) => return (kind, answer),
                None => self.found().request(seed, u32::MAX).1,
            },
            Kind::Worklist => return (kind, self.read_worklist(client, base, random).await),
            Kind::Risk | Kind::Claim if random.is_multiple_of(FROM_WORKLIST) => self.listed(kind, random),
            _ => self.found().path(kind, random).1,
        };
        (kind, get(client, &format!("{base}{path}"), REQUEST_LIMIT).await.map(|(status, _)| status))
    }

    fn found(&self) -> std::sync::RwLockReadGuard<'_, Found> {
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the next event; `None` when all are.
    async fn publish(&self) -> Option<Result<u16, String>> {
        let event = self.events.get(self.next_event.fetch_add(1, Ordering::Relaxed))?;
        let answer = self.publisher.publish_one(event.clone()).await;
        Some(answer.map(|()| 202).map_err(|error| format!("not published: {error}")))
    }

    /// The worklist of everybody, or of one payer.
    async fn read_worklist(&self, client: &HttpClient, base: &str, random: u64) -> Result<u16, String> {
        let payer = {
            let payers = &self.found().payers;
            payers.get(skewed(random, payers.len())).cloned().filter(|_| random.is_multiple_of(2))
        };
        let filter = payer.map_or(String::new(), |payer| format!("&payer_id={payer}"));
        let answer = get(client, &format!("{base}/api/v1/claims/at-risk?limit=50{filter}"), REQUEST_LIMIT).await;
        let (status, body) = answer?;
        if let Ok(list) = serde_json::from_slice::<serde_json::Value>(&body) {
            let shown = rows(&list).iter().filter_map(|row| row.get("claim_id")?.as_i64()).collect();
            *self.worklist.write().unwrap_or_else(PoisonError::into_inner) = shown;
        }
        Ok(status)
    }

    /// A claim that stood on the worklist.
    fn listed(&self, kind: Kind, random: u64) -> String {
        let worklist = self.worklist.read().unwrap_or_else(PoisonError::into_inner);
        match worklist.get(skewed(random, worklist.len())) {
            Some(id) if kind == Kind::Risk => format!("/api/v1/risk/{id}"),
            Some(id) => format!("/api/v1/claims/{id}"),
            None => self.found().path(kind, random).1,
        }
    }
}

fn kind(mut share: u64) -> Kind {
    for (candidate, percent) in SHARES {
        if share < percent {
            return candidate;
        }
        share -= percent;
    }
    Kind::Risk
}

/// Events for so many requests, in the order of their times: claims, and what payers answered weeks later.
fn events(requests: u32, seed: u64) -> Vec<Outgoing> {
    let wanted = usize::try_from(requests).unwrap_or(usize::MAX) * 16 / 100 + 1;
    // About as many remittances as claims come; another seed gives other practices than a stored simulation's.
    let claims = u32::try_from(wanted / 2 + 1).unwrap_or(u32::MAX);
    let simulation = simulate(&Options { claims, seed: number(seed, 0), ..Options::default() });
    let claims = simulation.claims.into_iter().map(|claim| (claim.submitted, Payload::Claim(Box::new(claim.claim))));
    let remittances = simulation
        .remittances
        .into_iter()
        .map(|remittance| (remittance.time, Payload::Remittance(Box::new(remittance.remittance))));
    let mut all: Vec<_> = claims.chain(remittances).collect();
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(time, payload)| message_of(&x12_event(payload, Some(time)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_whole_and_there_are_events_enough() {
        assert_eq!(SHARES.iter().map(|(_, percent)| percent).sum::<u64>(), 100);
        assert!((0..100).all(|share| (share < 16) == (kind(share) == Kind::Event)));
        let events = events(2000, 1);
        assert!(events.len() > 300, "{}", events.len());
        let kinds: BTreeSet<&str> = events.iter().map(|event| event.routing_key.as_str()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["claim.submitted", "remittance.received"]);
    }
}
