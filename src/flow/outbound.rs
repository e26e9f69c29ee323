//! What goes out after the commit: cache entries, scores, receipts.
//!
//! None of it can fail an event: the database holds the truth, the cache removes what it could not write, and an
//! announcement that was not taken is counted in the log. Must never: put patient data into a message.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::delivery::Alive;
use super::rescore::{New, Rescoring};
use super::{Context, Persisted, Verdict};
use crate::broker::Outgoing;
use crate::cache::{Entity, Entry};
use crate::error::Failure;
use crate::metrics::{self, Query, Settled};
use crate::model::InForce;
use crate::retry::Delays;
use crate::store::apply::{Applied, BatchResult, Computed, Work};
use crate::store::reconcile::Fresh;
use crate::store::{deadline, read};
use crate::topology;
use crate::view::ScoreView;
use crate::wire::{Event, EventType};

/// How long announcements may hold a batch up.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(2);
/// Source of the events that go out.
const SOURCE: &str = "urn:claimrisk";

/// Scores claims again that were scored before something was known that bears on them: an earlier claim, a void, an answer.
/// It is tried until it is done; when there is no time left the batch's events are handed back, and as duplicates they
/// bring it about again.
pub(super) async fn rescore_late(context: &Context, model: &InForce, persisted: &mut Persisted, alive: &Alive) {
    let late: Vec<i64> = persisted.result.changes.late.iter().copied().collect();
    if late.is_empty() {
        return;
    }
    let (pool, levels) = (&context.pool, &context.config.levels);
    let rescoring = Rescoring { pool, model, levels, new: New::Differing };
    let mut delays = Delays::database();
    loop {
        match deadline::within(context.config.database_deadline(), rescoring.run(&late)).await {
            Ok(moved) => {
                persisted.result.changes.scored.extend(moved.claims.iter().copied());
                persisted.result.changes.claims.extend(moved.claims);
                return send(context, &moved.messages).await;
            }
            Err(failure @ Failure::Permanent(..)) => {
                return tracing::error!(error = %failure, claims = late.len(), "claims were not scored again");
            }
            Err(failure) => tracing::warn!(error = %failure, claims = late.len(), "claims wait to be scored again"),
        }
        if alive.is_over() {
            let done = persisted.verdicts.iter_mut().filter(|(_, verdict)| matches!(verdict, Verdict::Done(_)));
            return done.for_each(|(_, verdict)| *verdict = Verdict::HandBack);
        }
        alive.pause(delays.next_delay()).await;
    }
}

/// Writes what changed through to the cache: claims that are new as they were stored, all else read anew from the committed
/// rows.
pub(super) async fn write_cache(context: &Arc<Context>, result: &BatchResult) {
    let changes = &result.changes;
    for outcome in &changes.outcomes {
        metrics::outcome(outcome);
    }
    let list = |ids: &BTreeSet<i64>| ids.iter().copied().collect::<Vec<i64>>();
    let (claims, scored) = (list(&changes.claims), list(&changes.scored));
    let (remittances, episodes) = (list(&changes.remittances), list(&changes.episodes));
    // What changed since, or was scored again, is read.
    let fresh = changes.fresh.iter().flat_map(|Fresh { claim, score }| {
        let claim = Some(claim).filter(|claim| !changes.claims.contains(&claim.id));
        let claim = claim.and_then(|claim| Entry::new(Entity::Claim, claim.id, claim.revision, claim));
        let score = Some(score).filter(|score| !changes.scored.contains(&score.claim_id));
        claim.into_iter().chain(score.and_then(|score| Entry::new(Entity::RiskScore, score.claim_id, score.id, score)))
    });
    let changed = read::cache_entries(&context.pool, &claims, &scored, &remittances, &episodes);
    let changed = metrics::queried(Query::ChangedRows, changed);
    match deadline::within(context.config.database_deadline(), changed).await {
        Ok(mut entries) => {
            entries.extend(fresh);
            context.cache.put_many(&entries).await;
        }
        Err(error) => {
            tracing::warn!(%error, "changed rows were not read; their entries go");
            let stale = |entity: Entity, ids: &[i64]| ids.iter().map(|id| (entity, id.to_string())).collect::<Vec<_>>();
            let keys = [
                stale(Entity::Claim, &claims),
                stale(Entity::RiskScore, &scored),
                stale(Entity::Remittance, &remittances),
                stale(Entity::Episode, &episodes),
            ];
            context.cache.remove_many(&keys.concat()).await;
            context.cache.put_many(&fresh.collect::<Vec<_>>()).await;
        }
    }
    let removed: Vec<(Entity, String)> =
        changes.removed_episodes.iter().map(|id| (Entity::Episode, id.to_string())).collect();
    context.cache.remove_many(&removed).await;
}

/// Tells the world: a score per scored claim, a receipt per event.
pub(super) async fn announce(context: &Context, persisted: &Persisted) {
    let mut messages = Vec::new();
    for (at, applied) in &persisted.applied {
        let (Some(work), Applied::Settled { outcome, claim_id }) = (persisted.work.get(*at), applied) else { continue };
        measure_latency(work, *outcome);
        messages.push(receipt(&work.event, *outcome, *claim_id));
        let computed = persisted.computed.get(*at);
        if let (Some(Computed::Score(score)), Settled::Scored, Some(claim_id)) = (computed, outcome, claim_id) {
            messages.push(scored(&work.event, *claim_id, score));
        }
    }
    send(context, &messages).await;
}

/// Publishes announcements within a time limit; what is not taken is told in the log.
pub(super) async fn send(context: &Context, messages: &[Outgoing]) {
    let answers = context.announcements.publish_within(messages, ANNOUNCE_LIMIT).await;
    let lost = answers.iter().filter(|answer| answer.is_err()).count();
    if lost > 0 {
        tracing::warn!(lost, "announcements were not taken");
    }
}

/// From the time of publishing to now, when its effect is readable; never negative, whatever the publisher's clock says.
fn measure_latency(work: &Work, outcome: Settled) {
    if !matches!(outcome, Settled::Scored | Settled::Recorded | Settled::Parked) {
        return;
    }
    let after = (chrono::Utc::now() - work.published).to_std().unwrap_or(Duration::ZERO);
    metrics::readable(work.event.event_type, after);
}

/// A CloudEvent that goes out.
#[derive(Serialize)]
struct Announced<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    r#type: &'static str,
    time: String,
    datacontenttype: &'static str,
    data: &'a D,
}

fn outgoing(routing_key: String, id: String, kind: &'static str, data: &impl Serialize) -> Outgoing {
    let announced = Announced {
        specversion: "1.0",
        id: &id,
        source: SOURCE,
        r#type: kind,
        time: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        datacontenttype: "application/json",
        data,
    };
    Outgoing {
        exchange: topology::OUT_EXCHANGE,
        routing_key,
        body: serde_json::to_vec(&announced).expect("texts, numbers and names of fields can always be written"),
        content_type: Some("application/cloudevents+json".to_owned()),
        message_id: Some(id),
        kind: Some(kind.to_owned()),
        app_id: Some(SOURCE.to_owned()),
        ..Outgoing::default()
    }
}

/// The data of `event.receipt.v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt<'a> {
    event_source: &'a str,
    event_id: &'a str,
    event_type: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_id: Option<Option<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// The data of `risk.scored.v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    claim_id: i64,
    overall_score: f64,
    risk_level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_level: Option<&'a str>,
    blocking: bool,
    reasons: Vec<&'a str>,
    model_version: &'a str,
}

/// The id of what is announced of an event: the same event gives the same announcement again.
fn announcement_id(event: &Event, what: &str) -> String {
    let name = format!("{what} {} {}", event.source, event.id);
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

fn receipt(event: &Event, outcome: Settled, claim_id: Option<i64>) -> Outgoing {
    let result = match outcome {
        Settled::Duplicate => "duplicate",
        Settled::Superseded => "superseded",
        Settled::Parked => "parked",
        _ => "accepted",
    };
    let data = Receipt {
        event_source: &event.source,
        event_id: &event.id,
        event_type: event.event_type.as_str(),
        result,
        claim_id: Some(claim_id),
        reason: None,
        detail: None,
    };
    let id = announcement_id(event, &format!("receipt {result}"));
    outgoing(format!("event.receipt.{result}"), id, "event.receipt.v1", &data)
}

fn scored(event: &Event, claim_id: i64, score: &crate::domain::score::Score) -> Outgoing {
    let level = score.level.as_str();
    let reasons: Vec<&str> = score
        .contributions
        .iter()
        .filter(|reason| reason.component.is_some() && reason.micro_log_odds > 0)
        .map(|reason| reason.code)
        .collect();
    let data = Scored {
        event_source: Some(&event.source),
        event_id: Some(&event.id),
        claim_id,
        overall_score: f64::from(score.overall_tenths) / 10.0,
        risk_level: level,
        previous_score: None,
        previous_level: None,
        blocking: score.blocking,
        reasons,
        model_version: &score.model_version,
    };
    let id = announcement_id(event, "scored");
    outgoing(format!("risk.scored.{level}"), id, "risk.scored.v1", &data)
}

/// What is announced when another model, or what came late, moves a claim to another level.
pub(crate) fn rescored(claim_id: i64, score: &ScoreView, previous_tenths: u16, previous_level: &str) -> Outgoing {
    let level = &score.risk_level;
    let reasons: Vec<&str> = score.reasons().map(|reason| reason.code.as_str()).collect();
    let data = Scored {
        event_source: None,
        event_id: None,
        claim_id,
        overall_score: score.overall_score,
        risk_level: level,
        previous_score: Some(f64::from(previous_tenths) / 10.0),
        previous_level: Some(previous_level),
        blocking: score.blocking,
        reasons,
        model_version: &score.model_version,
    };
    let name = format!("rescored {claim_id} {} {}", score.model_version, score.input_hash);
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
    outgoing(format!("risk.scored.{level}"), id, "risk.scored.v1", &data)
}

/// The receipt of a refused event, once its dead letter is confirmed.
pub(super) fn refused(rejection: &crate::wire::Rejection) -> Option<Outgoing> {
    let (source, id) = (rejection.source.as_deref()?, rejection.id.as_deref()?);
    let data = Receipt {
        event_source: source,
        event_id: id,
        event_type: rejection.event_type.map_or("unknown", EventType::as_str),
        result: "rejected",
        claim_id: None,
        reason: Some(rejection.reason.as_str()),
        detail: Some(&rejection.detail),
    };
    let name = format!("receipt rejected {source} {id}");
    let own = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
    Some(outgoing("event.receipt.rejected".to_owned(), own, "event.receipt.v1", &data))
}
