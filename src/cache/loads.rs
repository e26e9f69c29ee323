//! Loads from PostgreSQL of what the cache did not have: the same value is loaded once for all who ask for it at that
//! moment, and only so many values at a time, so that a cache that is away leaves the database to the events.
//!
//! Must never: give out a value that was loaded before the one who asks knew a newer one to be committed; the caller
//! checks that by the version.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};

use super::{Entity, Entry};
use crate::error::{Cause, Failure};
use crate::metrics::{self, Load};

/// How long a load may wait for others to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a load: the value, unless there is none.
pub type Loaded = Option<Arc<Entry>>;

/// Loads by what is loaded; who comes second waits at the same cell.
type UnderWay = BTreeMap<(Entity, String), Arc<OnceCell<Loaded>>>;

/// The loads of one process.
#[derive(Debug)]
pub(super) struct Loads {
    under_way: Mutex<UnderWay>,
    places: Semaphore,
}

impl Loads {
    pub(super) fn new(at_once: usize) -> Self {
        Self { under_way: Mutex::new(BTreeMap::new()), places: Semaphore::new(at_once) }
    }

    /// Loads a value, or waits for the load of it that is under way.
    pub(super) async fn once(
        &self,
        entity: Entity,
        id: &str,
        load: impl Future<Output = Result<Option<Entry>, Failure>>,
    ) -> Result<Loaded, Failure> {
        let key = (entity, id.to_owned());
        let cell = Arc::clone(self.lock().entry(key.clone()).or_default());
        let (started, own) = (Instant::now(), AtomicBool::new(false));
        let load = async {
            own.store(true, Ordering::Relaxed);
            let busy = || Failure::Transient(Cause::DatabaseBusy, "too many values are being loaded".to_owned());
            let _place = tokio::time::timeout(PATIENCE, self.places.acquire())
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or_else(busy)?;
            Ok(load.await?.map(Arc::new))
        };
        let loaded = cell.get_or_try_init(|| load).await.cloned();
        let outcome = match &loaded {
            _ if !own.load(Ordering::Relaxed) => Load::Coalesced,
            Ok(Some(_)) => Load::Found,
            Ok(None) => Load::Absent,
            Err(_) => Load::Error,
        };
        metrics::cache_load(entity as usize, outcome, started);
        // Who comes from now on loads anew.
        let mut under_way = self.lock();
        if under_way.get(&key).is_some_and(|there| Arc::ptr_eq(there, &cell)) {
            under_way.remove(&key);
        }
        loaded
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    async fn slow(calls: &AtomicU32, most: &AtomicU32, now: &AtomicU32) -> Result<Option<Entry>, Failure> {
        calls.fetch_add(1, Ordering::SeqCst);
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(Entry::new(Entity::Claim, 1, 1, &1))
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_is_loaded_once_and_only_so_many_keys_at_a_time() {
        let (loads, calls, most, now) = (Loads::new(3), AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let all = (0..100).map(|at| {
            let (loads, calls, most, now) = (&loads, &calls, &most, &now);
            async move { loads.once(Entity::Claim, &(at % 10).to_string(), slow(calls, most, now)).await }
        });
        let loaded = futures_util::future::join_all(all).await;
        assert!(loaded.iter().all(|loaded| matches!(loaded, Ok(Some(_)))));
        assert_eq!(calls.load(Ordering::SeqCst), 10);
        assert_eq!(most.load(Ordering::SeqCst), 3);
        loads.once(Entity::Claim, "1", slow(&calls, &most, &now)).await.expect("loads");
        assert_eq!(calls.load(Ordering::SeqCst), 11, "what comes later is loaded anew");
        assert!(loads.lock().is_empty());
    }
}
