//! The second transaction: links remittances to claims and computes what follows from it, from committed rows alone.
//!
//! Links, outcomes and status are functions of the stored claims, remittances and acknowledgements, computed anew under
//! row locks whenever one of them changes. So the order of arrival, repetitions and crashes leave no trace. Locks are
//! taken in one order everywhere: remittances by id, then claims by id.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, PgPool};

use super::earlier::{self, News, Scored};
pub use super::scores::Fresh;
use super::{links, outcomes};
use crate::domain::link::{Link, mangled_keys};
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::metrics;

/// Rows that a batch touched, and from which to start.
#[derive(Debug, Default)]
pub struct Touched {
    /// Claims.
    pub claims: Vec<i64>,
    /// Those of them that were known before: of the others nobody can have decided anything without seeing all of them.
    pub known: Vec<i64>,
    /// How those of them were scored that were stored just now.
    pub scored: Scored,
    /// Remittances.
    pub remittances: Vec<i64>,
    /// Acknowledgements.
    pub acknowledgements: Vec<i64>,
    /// Members whom claims named before, and since when.
    pub left: Vec<(i64, Instant)>,
}

/// Rows that changed, and what the batch's events found.
#[derive(Debug, Default)]
pub struct Changes {
    /// Claims with another status, and those that were stored and are to be read anew.
    pub claims: BTreeSet<i64>,
    /// Claims among them that may have another score.
    pub scored: BTreeSet<i64>,
    /// Claims that were stored for the first time, and that nothing changed since.
    pub fresh: Vec<Fresh>,
    /// Remittances with another link.
    pub remittances: BTreeSet<i64>,
    /// Episodes made or changed.
    pub episodes: BTreeSet<i64>,
    /// Episodes removed.
    pub removed_episodes: BTreeSet<i64>,
    /// Payers whose denials may have changed.
    pub payers: BTreeSet<i64>,
    /// The claim of each remittance looked at.
    pub links: BTreeMap<i64, Option<i64>>,
    /// The claim of each acknowledgement looked at.
    pub acknowledged: BTreeMap<i64, i64>,
    /// Claims that were scored before something that bears on them was known.
    pub late: BTreeSet<i64>,
    /// Labels that are new or changed, by outcome.
    pub outcomes: Vec<&'static str>,
}

/// What may bear on other claims.
#[derive(Debug, Default)]
pub struct Bearing {
    /// Claims that may have come to stand or fall for others.
    unsteady: Vec<i64>,
    /// Claims with answers.
    answered: Vec<i64>,
}

impl Changes {
    /// Adds the changes of another part of the same batch.
    pub fn merge(&mut self, other: Self) {
        self.claims.extend(other.claims);
        self.scored.extend(other.scored);
        self.fresh.extend(other.fresh);
        self.remittances.extend(other.remittances);
        self.episodes.extend(other.episodes);
        self.removed_episodes.extend(other.removed_episodes);
        self.payers.extend(other.payers);
        self.links.extend(other.links);
        self.acknowledged.extend(other.acknowledged);
        self.late.extend(other.late);
        self.outcomes.extend(other.outcomes);
    }
}

/// Brings links, outcomes and status up to date around the rows touched. May be run again at any time: what is up to
/// date already does not change.
///
/// # Errors
/// PostgreSQL is away or busy; nothing is kept then.
pub async fn reconcile(pool: &PgPool, touched: &Touched) -> Result<(Changes, Bearing), Failure> {
    let mut changes = Changes::default();
    let mut transaction = super::begin(pool).await?;
    let connection = &mut *transaction;
    let acknowledgements = lock_acknowledgements(connection, touched).await?;
    let acknowledged = acknowledged_claims(connection, &touched.acknowledgements).await?;
    let reached = links::reachable(connection, &touched.claims, &touched.remittances).await?;
    let remittances = links::lock(connection, &reached).await?;
    // Every claim that may be decided for is locked before the decision: a claim that changes its keys meanwhile waits,
    // and one that is new brings its own second transaction, which waits for the remittances. Most new claims have nothing
    // that could decide anything; whatever comes for them later looks for them itself.
    let mut claims: BTreeSet<i64> = touched.known.iter().copied().collect();
    claims.extend(outcomes::with_answers(connection, &touched.claims).await?);
    claims.extend(acknowledged.iter().map(|(_, claim_id)| *claim_id));
    claims.extend(remittances.iter().filter_map(|remittance| remittance.claim_id));
    let first = links::candidates(connection, &remittances).await?;
    claims.extend(first.values().flatten().map(|candidate| candidate.claim_id));
    let ids: Vec<i64> = claims.iter().copied().collect();
    outcomes::lock(connection, &ids).await?;
    let mut candidates = links::candidates(connection, &remittances).await?;
    candidates.values_mut().for_each(|list| list.retain(|candidate| claims.contains(&candidate.claim_id)));
    let decided: Vec<Link> = remittances
        .iter()
        .map(|remittance| {
            let candidates = candidates.get(&remittance.id).map_or(&[][..], Vec::as_slice);
            crate::domain::link::link(&remittance.key, candidates)
        })
        .collect();
    let claims = ids;
    links::write(connection, &remittances, &decided, &mut changes).await?;
    let answered = outcomes::update(connection, &claims, &mut changes).await?;
    let mut unsteady = answered.unsteady;
    let moved = remittances.iter().filter(|row| row.claim_id != changes.links.get(&row.id).copied().flatten());
    unsteady.extend(moved.filter_map(|row| row.claim_id));
    settle_parked(connection, &remittances, &acknowledged, &changes, touched, &acknowledgements).await?;
    transaction.commit().await?;
    // Here and not by the caller, who may have stopped waiting: what is in the table has to be counted.
    answered.labelled.into_iter().for_each(metrics::labelled);
    let relinked = remittances.iter().zip(&decided).filter(|(row, _)| changes.remittances.contains(&row.id));
    relinked.for_each(|(_, link)| metrics::linked(link));
    for (acknowledgement, claim_id) in acknowledged {
        changes.acknowledged.insert(acknowledgement, claim_id);
    }
    Ok((changes, Bearing { unsteady, answered: answered.claims }))
}

/// The claims that were scored before something that bears on them was known. To be asked after the commit: of two batches that
/// bear on each other's claims the one that asks last sees both.
///
/// # Errors
/// PostgreSQL is away or busy; nothing is kept then.
pub async fn late(pool: &PgPool, touched: &Touched, bearing: &Bearing) -> Result<Vec<i64>, Failure> {
    let news = News {
        sent: &touched.claims,
        scored: &touched.scored,
        left: &touched.left,
        unsteady: &bearing.unsteady,
        answered: &bearing.answered,
    };
    let mut transaction = super::begin(pool).await?;
    let late = earlier::late(&mut transaction, &news).await?;
    transaction.commit().await?;
    Ok(late)
}

/// Locks the acknowledgements in question in the order of their ids, so that a claim and its acknowledgement, applied by
/// two workers at once, are looked at one after the other; answers them.
async fn lock_acknowledgements(connection: &mut PgConnection, touched: &Touched) -> Result<Vec<i64>, Failure> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM claim_acknowledgements WHERE id = ANY($1) OR id = ANY(ARRAY(
             SELECT a.id FROM claims c CROSS JOIN LATERAL (SELECT a.id FROM claim_acknowledgements a
                 WHERE a.practice_id = c.practice_id AND a.patient_control_number = c.patient_control_number
                 LIMIT 1) AS a
             WHERE c.id = ANY($2)))
         ORDER BY id FOR NO KEY UPDATE",
        &touched.acknowledgements,
        &touched.claims
    )
    .fetch_all(connection)
    .await?)
}

/// The claims that acknowledgements are about. One acknowledgement may be about a claim to several payers.
async fn acknowledged_claims(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<(i64, i64)>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "SELECT a.id, c.id AS claim_id FROM claim_acknowledgements a
         JOIN claims c ON c.practice_id = a.practice_id AND c.patient_control_number = a.patient_control_number
         WHERE a.id = ANY($1)",
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.claim_id)).collect())
}

/// Receipts: an event is parked while its remittance or acknowledgement has no claim, and accepted once it has.
async fn settle_parked(
    connection: &mut PgConnection,
    remittances: &[links::Remitted],
    acknowledged: &[(i64, i64)],
    changes: &Changes,
    touched: &Touched,
    locked: &[i64],
) -> Result<(), Failure> {
    let is_linked = |id: &i64| changes.links.get(id).is_some_and(Option::is_some);
    let linked: Vec<i64> = remittances.iter().map(|row| row.id).filter(is_linked).collect();
    let waiting: Vec<i64> = remittances.iter().map(|row| row.id).filter(|id| !is_linked(id)).collect();
    if !linked.is_empty() {
        sqlx::query!(
            "UPDATE ingest_events SET result = 'accepted', updated_at = now()
             WHERE result = 'parked' AND remittance_id = ANY($1)",
            &linked
        )
        .execute(&mut *connection)
        .await?;
    }
    // Of the acknowledgements that are locked those that were not touched themselves have a claim: they were found by it.
    let found: Vec<i64> = locked
        .iter()
        .copied()
        .filter(|id| !touched.acknowledgements.contains(id) || acknowledged.iter().any(|(known, _)| known == id))
        .collect();
    if !found.is_empty() {
        sqlx::query!(
            "UPDATE ingest_events SET result = 'accepted', updated_at = now()
             WHERE result = 'parked' AND acknowledgement_id = ANY($1)",
            &found
        )
        .execute(&mut *connection)
        .await?;
    }
    let unmatched: Vec<i64> = touched
        .acknowledgements
        .iter()
        .copied()
        .filter(|id| !acknowledged.iter().any(|(known, _)| known == id))
        .collect();
    if !waiting.is_empty() {
        sqlx::query!(
            "UPDATE ingest_events SET result = 'parked', updated_at = now()
             WHERE result = 'accepted' AND remittance_id = ANY($1)",
            &waiting
        )
        .execute(&mut *connection)
        .await?;
    }
    if !unmatched.is_empty() {
        sqlx::query!(
            "UPDATE ingest_events SET result = 'parked', updated_at = now()
             WHERE result = 'accepted' AND acknowledgement_id = ANY($1)",
            &unmatched
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Remittances that have no claim, counted up to a hundred thousand.
///
/// # Errors
/// PostgreSQL is away.
pub async fn unlinked(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT FROM remittances WHERE claim_id IS NULL LIMIT 100000) AS waiting"#
    )
    .fetch_one(connection)
    .await
}

/// The normalised forms under which a payer may hand a claim's control number back.
pub(super) fn forms_of(control_number: &str) -> BTreeSet<String> {
    mangled_keys(control_number)
}
