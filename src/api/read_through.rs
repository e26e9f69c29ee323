//! Reading through the cache: what is there is answered, else PostgreSQL is asked and the answer kept for the next.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgPool;

use super::ApiState;
use super::error::ApiError;
use crate::cache::{Entity, Entry};
use crate::error::Failure;
use crate::metrics::{self, Query};
use crate::store::read::{self, List, Page, PageRequest};
use crate::store::refs;

/// Loads of one value before giving up: each finds the one before it outdated.
const ATTEMPTS: usize = 8;

/// A value by id. `load` reads it from PostgreSQL, `version` tells how new it is. What is answered is never older than
/// what was committed when the request came.
pub(super) async fn one<T, L>(
    state: &ApiState,
    entity: Entity,
    id: i64,
    load: impl Fn(PgPool) -> L,
    version: impl Fn(&T) -> i64,
) -> Result<Option<T>, ApiError>
where
    T: Serialize + DeserializeOwned,
    L: Future<Output = Result<Option<T>, Failure>>,
{
    // What is not there is told by PostgreSQL, at the price of what a hit costs it: the cache keeps no absences.
    let committed = metrics::queried(Query::Version, read::version(&state.pool, entity, id)).await?;
    let Some(committed) = committed else { return Ok(None) };
    let key = id.to_string();
    if let Some(value) = state.cache.get::<T>(entity, &key, committed).await {
        return Ok(Some(value));
    }
    for _ in 0..ATTEMPTS {
        // A load that others wait for may have begun before this request: its value is good if it is new enough.
        let loaded = load(state.pool.clone());
        // In a box: each layer that it is handed through would hold it twice.
        let entry =
            Box::pin(async { Ok(loaded.await?.and_then(|value| Entry::new(entity, &key, version(&value), &value))) });
        match state.cache.load(entity, &key, entry).await? {
            None => return Ok(None),
            Some(entry) if entry.version >= committed => {
                return serde_json::from_str(&entry.json).map(Some).map_err(|_| ApiError::internal());
            }
            Some(_) => {}
        }
    }
    Err(ApiError::unavailable("the value changes faster than it can be read; try again"))
}

/// A page of a list with the list's length, which the cache keeps while nothing new has come.
pub(super) async fn page(state: &ApiState, list: &List, request: PageRequest) -> Result<(Vec<i64>, i64), ApiError> {
    let fence = read::fence(&state.pool).await?;
    let key = list.key();
    let kept: Option<i64> = state.cache.get(Entity::Count, &key, fence.version).await;
    let page = read::page(&state.pool, list, request, kept.is_none());
    let Page { ids, total } = metrics::queried(Query::Page, page).await?;
    if fence.quiet
        && let Some(entry) = total.and_then(|total| Entry::new(Entity::Count, &key, fence.version, &total))
    {
        state.cache.keep_many(&[entry]).await;
    }
    Ok((ids, kept.or(total).unwrap_or_default()))
}

/// The table id of a payer, provider or practice that a request names by the id events use, or else by its table id.
/// What is known by neither is -1, the id of no row.
pub(super) async fn reference(state: &ApiState, entity: Entity, name: Option<String>) -> Result<Option<i64>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let found = refs::find(&state.pool, &state.cache, entity, &name).await?;
    Ok(Some(found.map_or_else(|| name.parse().unwrap_or(-1), |reference| reference.id)))
}
