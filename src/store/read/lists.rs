//! The lists of the API: which ids are on a page, and how many there are in all.
//!
//! A query is composed of the filters given and nothing else, so that each finds its index. Filters are always bound,
//! never written into the SQL.

use serde::Serialize;
use sqlx::{PgPool, Postgres, QueryBuilder};

use crate::domain::types::Instant;

/// What a list is narrowed to; ids are those of the tables. On lists of remittances and episodes, what only a claim has
/// is asked of the claim they belong to.
///
/// It has no `Debug`: a claim control number belongs to a patient.
#[derive(Clone, Default, Serialize)]
pub struct Filter {
    /// Practice.
    pub practice_id: Option<i64>,
    /// Payer.
    pub payer_id: Option<i64>,
    /// Billing provider.
    pub provider_id: Option<i64>,
    /// Status of a claim; what a remittance decided.
    pub status: Option<String>,
    /// Risk level.
    pub risk_level: Option<String>,
    /// Clearinghouse's claim number, or the patient control number.
    pub claim_control_number: Option<String>,
    /// Claim.
    pub claim_id: Option<i64>,
    /// Remittance.
    pub remittance_id: Option<i64>,
    /// Stored at this time or later.
    pub created_from: Option<Instant>,
    /// Stored before this time.
    pub created_before: Option<Instant>,
}

/// A list with its filters.
#[derive(Clone, Serialize)]
pub enum List {
    /// Claims, the newest first.
    Claims(Filter),
    /// Open claims, the largest expected loss first.
    Worklist(Filter),
    /// Remittances, the newest first.
    Remittances(Filter),
    /// Remittances that have no claim yet, the oldest first.
    Unlinked(Filter),
    /// Episodes, the newest first.
    Episodes(Filter),
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows to leave out at the start.
    pub skip: i64,
    /// Rows wanted, at the most.
    pub limit: i64,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Ids of the rows, in the order of the list.
    pub ids: Vec<i64>,
    /// Length of the whole list, where it was asked for.
    pub total: Option<i64>,
}

/// Joins conditions: `WHERE` before the first, `AND` before the others.
struct Conditions {
    builder: QueryBuilder<Postgres>,
    word: &'static str,
}

impl Conditions {
    fn new(start: &'static str) -> Self {
        Self { builder: QueryBuilder::new(start), word: " WHERE " }
    }

    fn always(&mut self, condition: &'static str) {
        self.builder.push(self.word).push(condition);
        self.word = " AND ";
    }

    /// `comparison` is a column and an operator; without a value there is no condition.
    fn when<T>(&mut self, comparison: &'static str, value: Option<T>)
    where
        T: sqlx::Encode<'static, Postgres> + sqlx::Type<Postgres> + Send + 'static,
    {
        if let Some(value) = value {
            self.builder.push(self.word).push(comparison).push_bind(value);
            self.word = " AND ";
        }
    }

    fn created(&mut self, from: Option<Instant>, before: Option<Instant>) {
        self.when("created_at >= ", from);
        self.when("created_at < ", before);
    }

    /// What a claim's own columns tell.
    fn claim_columns(&mut self, filter: &Filter) {
        self.when("provider_id = ", filter.provider_id);
        self.when("risk_level = ", filter.risk_level.clone());
        if let Some(number) = &filter.claim_control_number {
            self.builder.push(self.word).push("(claim_control_number = ").push_bind(number.clone());
            self.builder.push(" OR patient_control_number = ").push_bind(number.clone()).push(")");
            self.word = " AND ";
        }
    }

    fn claims(&mut self, filter: &Filter) {
        self.when("practice_id = ", filter.practice_id);
        self.when("payer_id = ", filter.payer_id);
        self.when("status = ", filter.status.clone());
        self.claim_columns(filter);
        self.created(filter.created_from, filter.created_before);
    }

    fn remittances(&mut self, filter: &Filter) {
        self.when("practice_id = ", filter.practice_id);
        self.when("payer_id = ", filter.payer_id);
        self.when("claim_id = ", filter.claim_id);
        self.when("adjudication = ", filter.status.clone());
        self.of_claims(&Filter { practice_id: None, payer_id: None, ..filter.clone() });
        self.created(filter.created_from, filter.created_before);
    }

    fn episodes(&mut self, filter: &Filter) {
        self.when("claim_id = ", filter.claim_id);
        self.when("remittance_id = ", filter.remittance_id);
        self.when("status = ", filter.status.clone());
        self.of_claims(filter);
        self.created(filter.created_from, filter.created_before);
    }

    /// Narrows rows to those of certain claims, if the filter says anything of claims.
    fn of_claims(&mut self, filter: &Filter) {
        let ids = filter.practice_id.or(filter.payer_id).or(filter.provider_id);
        if ids.is_none() && filter.risk_level.is_none() && filter.claim_control_number.is_none() {
            return;
        }
        self.builder.push(self.word).push("claim_id IN (SELECT id FROM claims");
        self.word = " WHERE ";
        self.when("practice_id = ", filter.practice_id);
        self.when("payer_id = ", filter.payer_id);
        self.claim_columns(filter);
        self.builder.push(")");
        self.word = " AND ";
    }
}

impl List {
    /// A key for its length in the cache: a hash, because filters may name a patient's claim.
    pub fn key(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex().to_string()
    }

    const fn order(&self) -> &'static str {
        match self {
            Self::Claims(_) | Self::Remittances(_) | Self::Episodes(_) => " ORDER BY id DESC",
            Self::Worklist(_) => " ORDER BY expected_loss DESC, id",
            Self::Unlinked(_) => " ORDER BY id",
        }
    }

    /// The query without its order: `SELECT what FROM table WHERE filters`.
    fn select(&self, count: bool) -> QueryBuilder<Postgres> {
        let start = match (self, count) {
            (Self::Claims(_) | Self::Worklist(_), false) => "SELECT id FROM claims",
            (Self::Claims(_) | Self::Worklist(_), true) => "SELECT count(*) FROM claims",
            (Self::Remittances(_) | Self::Unlinked(_), false) => "SELECT id FROM remittances",
            (Self::Remittances(_) | Self::Unlinked(_), true) => "SELECT count(*) FROM remittances",
            (Self::Episodes(_), false) => "SELECT id FROM claim_episodes",
            (Self::Episodes(_), true) => "SELECT count(*) FROM claim_episodes",
        };
        let mut conditions = Conditions::new(start);
        match self {
            Self::Claims(filter) => conditions.claims(filter),
            Self::Worklist(filter) => {
                // Word for word as in the partial index that keeps the worklist in its order.
                conditions.always("status IN ('submitted', 'accepted', 'rejected')");
                conditions.claims(filter);
            }
            Self::Remittances(filter) => conditions.remittances(filter),
            Self::Unlinked(filter) => {
                conditions.always("claim_id IS NULL");
                conditions.remittances(filter);
            }
            Self::Episodes(filter) => conditions.episodes(filter),
        }
        conditions.builder
    }
}

/// Reads a page, and the length of the whole list if `count` is set, both of one moment. To be cut short by a
/// deadline of `store::deadline` alone, as all transactions.
///
/// # Errors
/// PostgreSQL is away.
pub async fn page(pool: &PgPool, list: &List, request: PageRequest, count: bool) -> Result<Page, sqlx::Error> {
    // A filter that most rows pass would make the planner read the whole table; an index keeps that bounded.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_seqscan = off";
    let mut transaction = pool.begin_with(begin).await?;
    let mut query = list.select(false);
    query.push(list.order()).push(" OFFSET ").push_bind(request.skip).push(" LIMIT ").push_bind(request.limit);
    let ids = query.build_query_scalar().fetch_all(&mut *transaction).await?;
    let total =
        if count { Some(list.select(true).build_query_scalar().fetch_one(&mut *transaction).await?) } else { None };
    transaction.commit().await?;
    Ok(Page { ids, total })
}

/// What is known of how new the lists are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Grows with every event that is applied and every score: a length counted under a smaller one is out of date.
    pub version: i64,
    /// Whether the last event is seconds old. Before that its effects may still be on their way (links and labels follow
    /// in a transaction of their own), and a length is not to be kept.
    pub quiet: bool,
}

/// Reads the fence; to be read before the list is.
///
/// # Errors
/// PostgreSQL is away.
pub async fn fence(pool: &PgPool) -> Result<Fence, sqlx::Error> {
    sqlx::query_as!(
        Fence,
        r#"SELECT coalesce((SELECT max(id) FROM ingest_events), 0) + coalesce((SELECT max(id) FROM risk_scores), 0)
               AS "version!",
               coalesce((SELECT received_at FROM ingest_events ORDER BY id DESC LIMIT 1) < now() - interval '3 seconds',
                        true) AS "quiet!""#
    )
    .fetch_one(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_the_given_filters_only_and_binds_their_values() {
        let filter = Filter {
            payer_id: Some(7),
            claim_control_number: Some("'; DROP TABLE claims".to_owned()),
            ..Filter::default()
        };
        let query = List::Claims(filter.clone()).select(false);
        assert_eq!(
            query.sql().as_str(),
            "SELECT id FROM claims WHERE payer_id = $1 AND (claim_control_number = $2 OR patient_control_number = $3)"
        );
        let query = List::Episodes(filter).select(false);
        assert_eq!(
            query.sql().as_str(),
            "SELECT id FROM claim_episodes WHERE claim_id IN (SELECT id FROM claims WHERE payer_id = $1 \
             AND (claim_control_number = $2 OR patient_control_number = $3))"
        );
        let provider = Filter { provider_id: Some(3), status: Some("denied".to_owned()), ..Filter::default() };
        let query = List::Remittances(provider).select(true);
        assert_eq!(
            query.sql().as_str(),
            "SELECT count(*) FROM remittances WHERE adjudication = $1 \
             AND claim_id IN (SELECT id FROM claims WHERE provider_id = $2)"
        );
        let query = List::Worklist(Filter::default()).select(true);
        let worklist = "SELECT count(*) FROM claims WHERE status IN ('submitted', 'accepted', 'rejected')";
        assert_eq!(query.sql().as_str(), worklist);
    }

    #[test]
    fn lists_with_other_filters_have_other_keys_and_no_key_shows_a_filter() {
        let with = |number: &str| {
            List::Claims(Filter { claim_control_number: Some(number.to_owned()), ..Filter::default() }).key()
        };
        assert_ne!(with("A1"), with("A2"));
        assert_ne!(List::Claims(Filter::default()).key(), List::Worklist(Filter::default()).key());
        assert!(!with("PCN-1112223333").contains("1112223333"));
    }
}
