//! The audit log: rows that are only ever added, in groups, each group sealed with a hash over its rows and the hash of
//! the group before it.
//!
//! PostgreSQL's function `audit_append` writes and seals, under a lock that all processes share; [`verify`] computes the
//! hashes again from what the rows hold. Must never: change a row, or remove one but by [`retain`], which leaves the last
//! removed group's hash behind and writes down that it did.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgPool};

use crate::domain::types::Instant;

/// What was done, to be written down.
#[derive(Clone, Debug)]
pub struct Note {
    /// Who did it: a token's name.
    pub actor: Arc<str>,
    /// What.
    pub action: &'static str,
    /// To what kind of thing.
    pub entity: &'static str,
    /// Its id, where it has one.
    pub entity_id: Option<i64>,
    /// More; never patient data.
    pub details: Value,
}

impl Note {
    /// A note without details.
    pub fn new(actor: &Arc<str>, action: &'static str, entity: &'static str, entity_id: Option<i64>) -> Self {
        Self { actor: Arc::clone(actor), action, entity, entity_id, details: json!({}) }
    }
}

/// Writes notes as one group. When it fails they are not written, or, where the connection was lost, perhaps are.
///
/// # Errors
/// PostgreSQL is away, or does not answer within the limit.
pub async fn append(pool: &PgPool, notes: &[Note], limit: Duration) -> Result<(), sqlx::Error> {
    if notes.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Note) -> &str| notes.iter().map(|note| of(note).to_owned()).collect::<Vec<_>>();
    let (actors, actions, entities) = (text(|note| &note.actor), text(|note| note.action), text(|note| note.entity));
    let ids: Vec<Option<i64>> = notes.iter().map(|note| note.entity_id).collect();
    let details: Vec<Value> = notes.iter().map(|note| note.details.clone()).collect();
    let mut connection = pool.acquire().await?;
    let written = sqlx::query_scalar!(
        "SELECT audit_append($1, $2, $3, $4, $5)",
        &actors,
        &actions,
        &entities,
        &ids as &[Option<i64>],
        &details
    )
    .fetch_one(&mut *connection);
    match tokio::time::timeout(limit, written).await {
        Ok(written) => written.map(drop),
        Err(_) => {
            // A late answer must not meet the next statement.
            connection.close_on_drop();
            Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        }
    }
}

/// Removes the groups that are older than a time, but for the hash of the last of them; answers the rows removed.
///
/// # Errors
/// PostgreSQL is away, or this user may not.
pub async fn retain(pool: &PgPool, before: Instant, actor: &str) -> Result<i64, sqlx::Error> {
    // A large log takes longer than a statement of the worker may.
    let mut transaction = pool.begin().await?;
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
    let removed =
        sqlx::query_scalar!(r#"SELECT audit_retain($1, $2) AS "removed!""#, before, actor).fetch_one(&mut *transaction);
    let removed = removed.await?;
    transaction.commit().await?;
    Ok(removed)
}

/// How many rows [`retain`] would remove.
///
/// # Errors
/// PostgreSQL is away.
pub async fn removable(pool: &PgPool, before: Instant) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM audit_log WHERE id <=
               (SELECT last_row FROM audit_chain WHERE at < $1 ORDER BY id DESC LIMIT 1)"#,
        before
    )
    .fetch_one(pool)
    .await
}

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Rows that are there.
    pub rows: u64,
    /// Groups that are there.
    pub groups: u64,
    /// The newest group: its number and hash. To be kept elsewhere, so that a log that lost its end is noticed.
    pub head: Option<(i64, String)>,
    /// The number of the last group that retention removed, if it removed any.
    pub removed_to: Option<i64>,
}

/// Groups looked at in one step.
const STEP: i64 = 50;

#[derive(Debug)]
struct Link {
    id: i64,
    last_row: i64,
    row_count: i32,
    hash: Vec<u8>,
}

/// One row as it is hashed.
struct Row {
    id: i64,
    at: Instant,
    actor: String,
    action: String,
    entity: String,
    entity_id: Option<i64>,
    details: String,
}

impl Row {
    /// The same text as the function `audit_text` makes. No field but the last may hold the sign that parts them: the
    /// table refuses control characters, and JSON escapes them.
    fn text(&self) -> String {
        let entity_id = self.entity_id.map(|id| id.to_string()).unwrap_or_default();
        [
            &self.id.to_string(),
            &self.at.timestamp_micros().to_string(),
            &self.actor,
            &self.action,
            &self.entity,
            &entity_id,
            &self.details,
        ]
        .map(String::as_str)
        .join("\u{1f}")
    }
}

/// Walks through the whole log and computes each group's hash again.
///
/// # Errors
/// The inner one: which group is not what it was, or what is missing. The outer one: PostgreSQL is away.
pub async fn verify(pool: &PgPool) -> Result<Result<Verified, String>, sqlx::Error> {
    let mut walk = Walk::default();
    // One snapshot: what is added meanwhile is not looked at.
    let mut connection = pool.acquire().await?.detach();
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    loop {
        let links = sqlx::query_as!(
            Link,
            "SELECT id, last_row, row_count, hash FROM audit_chain WHERE id > $1 ORDER BY id LIMIT $2",
            walk.group,
            STEP
        )
        .fetch_all(&mut *snapshot)
        .await?;
        // Rows after the last group belong to none, and are asked for once, at the end.
        let to = links.last().map_or(i64::MAX, |link| link.last_row);
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id, at, actor, action, entity, entity_id, details::text AS "details!" FROM audit_log
               WHERE id > $1 AND id <= $2 ORDER BY id"#,
            walk.last_row,
            to
        )
        .fetch_all(&mut *snapshot)
        .await?;
        if let Err(broken) = walk.step(&links, rows) {
            return Ok(Err(broken));
        }
        if links.is_empty() {
            return Ok(walk.end());
        }
    }
}

#[derive(Default)]
struct Walk {
    group: i64,
    last_row: i64,
    hash: Vec<u8>,
    rows: u64,
    groups: u64,
    /// The last group that retention removed, by what stands at the beginning of the chain: number and hash.
    anchor: Option<(i64, String)>,
    /// Whether the log itself tells of that removal.
    anchored: bool,
}

impl Walk {
    fn step(&mut self, links: &[Link], rows: Vec<Row>) -> Result<(), String> {
        let mut rows = rows.into_iter().peekable();
        for link in links {
            let mut members = Vec::new();
            while let Some(row) = rows.next_if(|row| row.id <= link.last_row) {
                members.push(row);
            }
            self.take(link, &members)?;
        }
        match rows.next() {
            Some(row) => Err(format!("row {} belongs to no group", row.id)),
            None => Ok(()),
        }
    }

    fn take(&mut self, link: &Link, members: &[Row]) -> Result<(), String> {
        let first = self.group == 0;
        if first && members.is_empty() {
            // Only retention leaves a group without rows, and only at the beginning.
            self.anchor = Some((link.id, hexadecimal(&link.hash)));
        } else if link.id != self.group + 1 {
            return Err(format!("group {} does not follow group {}: what was between is gone", link.id, self.group));
        } else if usize::try_from(link.row_count) != Ok(members.len()) {
            return Err(format!("group {} had {} rows and has {}", link.id, link.row_count, members.len()));
        } else {
            let text: Vec<String> = members.iter().map(Row::text).collect();
            let mut hasher = Sha256::new();
            hasher.update(&self.hash);
            hasher.update(format!("{}\n{}", link.id, text.join("\n")).as_bytes());
            if hasher.finalize().as_slice() != link.hash {
                return Err(format!("group {} or one of its rows was changed", link.id));
            }
            self.groups += 1;
            self.rows += members.len() as u64;
        }
        self.anchored |= self.anchor.as_ref().is_some_and(|(group, hash)| {
            members.iter().filter(|row| row.action == "retention").any(|row| {
                let details: Value = serde_json::from_str(&row.details).unwrap_or_default();
                details["through_group"] == json!(group) && details["anchor"] == json!(hash)
            })
        });
        (self.group, self.last_row, self.hash) = (link.id, link.last_row, link.hash.clone());
        Ok(())
    }

    fn end(self) -> Result<Verified, String> {
        if let Some((group, _)) = &self.anchor
            && !self.anchored
        {
            return Err(format!("the groups up to {group} are gone, and no entry tells that retention removed them"));
        }
        Ok(Verified {
            rows: self.rows,
            groups: self.groups,
            head: (self.group > 0).then(|| (self.group, hexadecimal(&self.hash))),
            removed_to: self.anchor.map(|(group, _)| group),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of a group, if it is still there.
///
/// # Errors
/// PostgreSQL is away.
pub async fn hash_of(pool: &PgPool, group: i64) -> Result<Option<String>, sqlx::Error> {
    let hash = sqlx::query_scalar!("SELECT hash FROM audit_chain WHERE id = $1", group).fetch_optional(pool).await?;
    Ok(hash.map(|hash| hexadecimal(&hash)))
}
