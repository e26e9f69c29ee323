//! Payers, providers and practices: from the keys that events use to the ids of the tables, through the cache.
//!
//! These rows are only ever added, so an id once known stays true.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::cache::{Cache, Entity, Entry};
use crate::domain::claim::{Payer, Provider};

/// What is cached of a payer, provider or practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Id in its table.
    pub id: i64,
    /// The key that events use.
    pub key: String,
    /// Name, for payers.
    pub name: Option<String>,
}

/// Keys to be resolved; names ride along for payers seen for the first time.
#[derive(Debug, Default)]
pub struct Wanted {
    payers: BTreeMap<String, Option<String>>,
    providers: BTreeSet<String>,
    practices: BTreeSet<String>,
}

/// Keys with their ids.
#[derive(Debug, Default)]
pub struct Refs {
    payers: BTreeMap<String, Reference>,
    providers: BTreeMap<String, Reference>,
    practices: BTreeMap<String, Reference>,
}

/// The key of a provider: its NPI, else its tax id.
pub fn provider_key(provider: &Provider) -> Option<&str> {
    provider.npi.as_deref().or(provider.tax_id.as_deref()).filter(|key| !key.is_empty())
}

impl Wanted {
    /// Adds a payer.
    pub fn payer(&mut self, payer: &Payer) {
        self.payers.entry(payer.key()).or_insert_with(|| payer.name.clone());
    }

    /// Adds a provider.
    pub fn provider(&mut self, provider: &Provider) {
        self.providers.extend(provider_key(provider).map(str::to_owned));
    }

    /// Adds a practice.
    pub fn practice(&mut self, key: &str) {
        self.practices.insert(key.to_owned());
    }
}

impl Refs {
    /// What is known of a payer.
    pub fn payer(&self, payer: &Payer) -> Option<&Reference> {
        self.payers.get(&payer.key())
    }

    /// The id of a provider.
    pub fn provider(&self, provider: &Provider) -> Option<i64> {
        self.providers.get(provider_key(provider)?).map(|provider| provider.id)
    }

    /// The id of a practice.
    pub fn practice(&self, key: &str) -> Option<i64> {
        self.practices.get(key).map(|practice| practice.id)
    }
}

/// Resolves all keys, adding rows for those that are new.
///
/// # Errors
/// PostgreSQL is away.
pub async fn resolve(pool: &PgPool, cache: &Cache, wanted: &Wanted) -> Result<Refs, sqlx::Error> {
    let payers = wanted.payers.iter().map(|(key, name)| (key.clone(), name.clone())).collect();
    let bare = |keys: &BTreeSet<String>| keys.iter().map(|key| (key.clone(), None)).collect();
    Ok(Refs {
        payers: ids(pool, cache, Entity::Payer, payers).await?,
        providers: ids(pool, cache, Entity::Provider, bare(&wanted.providers)).await?,
        practices: ids(pool, cache, Entity::Practice, bare(&wanted.practices)).await?,
    })
}

/// These rows never change once they are committed.
const VERSION: i64 = 1;

fn entry_of(entity: Entity, found: &Reference) -> Option<Entry> {
    Entry::new(entity, &found.key, VERSION, found)
}

type Named = Vec<(String, Option<String>)>;

async fn ids(
    pool: &PgPool,
    cache: &Cache,
    entity: Entity,
    wanted: Named,
) -> Result<BTreeMap<String, Reference>, sqlx::Error> {
    let keys: Vec<String> = wanted.iter().map(|(key, _)| key.clone()).collect();
    let cached: Vec<Option<Reference>> = cache.get_many(entity, &keys, VERSION).await;
    let by_key = |reference: Reference| (reference.key.clone(), reference);
    let mut known: BTreeMap<String, Reference> = cached.into_iter().flatten().map(by_key).collect();
    let missing: Named = wanted.into_iter().filter(|(key, _)| !known.contains_key(key)).collect();
    if missing.is_empty() {
        return Ok(known);
    }
    let mut found = select(pool, entity, &missing).await?;
    let absent: Named =
        missing.iter().filter(|(key, _)| !found.iter().any(|reference| &reference.key == key)).cloned().collect();
    if !absent.is_empty() {
        insert(pool, entity, &absent).await?;
        found.extend(select(pool, entity, &absent).await?);
    }
    let entries: Vec<Entry> = found.iter().filter_map(|found| entry_of(entity, found)).collect();
    cache.keep_many(&entries).await;
    known.extend(found.into_iter().map(by_key));
    Ok(known)
}

async fn select(pool: &PgPool, entity: Entity, wanted: &Named) -> Result<Vec<Reference>, sqlx::Error> {
    let keys: Vec<String> = wanted.iter().map(|(key, _)| key.clone()).collect();
    match entity {
        Entity::Payer => {
            sqlx::query_as!(Reference, "SELECT id, payer_key AS key, name FROM payers WHERE payer_key = ANY($1)", &keys)
                .fetch_all(pool)
                .await
        }
        Entity::Provider => {
            sqlx::query_as!(
                Reference,
                r#"SELECT id, provider_key AS key, NULL::text AS name FROM providers WHERE provider_key = ANY($1)"#,
                &keys
            )
            .fetch_all(pool)
            .await
        }
        _ => {
            sqlx::query_as!(
                Reference,
                r#"SELECT id, practice_key AS key, NULL::text AS name FROM practices WHERE practice_key = ANY($1)"#,
                &keys
            )
            .fetch_all(pool)
            .await
        }
    }
}

async fn insert(pool: &PgPool, entity: Entity, absent: &Named) -> Result<(), sqlx::Error> {
    let keys: Vec<String> = absent.iter().map(|(key, _)| key.clone()).collect();
    let names: Vec<Option<String>> = absent.iter().map(|(_, name)| name.clone()).collect();
    // Two workers may meet the same newcomer: the second one's insert does nothing.
    match entity {
        Entity::Payer => sqlx::query!(
            "INSERT INTO payers (payer_key, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
            &keys,
            &names as _
        )
        .execute(pool)
        .await?,
        Entity::Provider => {
            sqlx::query!("INSERT INTO providers (provider_key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", &keys)
                .execute(pool)
                .await?
        }
        _ => {
            sqlx::query!("INSERT INTO practices (practice_key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", &keys)
                .execute(pool)
                .await?
        }
    };
    Ok(())
}

/// One reference by the key that events use, through the cache.
///
/// # Errors
/// PostgreSQL is away.
pub async fn find(pool: &PgPool, cache: &Cache, entity: Entity, key: &str) -> Result<Option<Reference>, sqlx::Error> {
    if let Some(reference) = cache.get::<Reference>(entity, key, VERSION).await {
        return Ok(Some(reference));
    }
    let found = select(pool, entity, &vec![(key.to_owned(), None)]).await?.pop();
    cache.keep_many(found.as_ref().and_then(|found| entry_of(entity, found)).as_slice()).await;
    Ok(found)
}
