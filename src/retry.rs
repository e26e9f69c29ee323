//! Delays between attempts: the only file that names the `backoff` crate, so that it can be exchanged in one place.
//!
//! Must never: give up on its own (the crate's default gives up after 15 minutes). Who waits decides when to stop.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::error::{Cause, Failure};

/// How often a transaction is tried that meets other workers.
const RACES: usize = 8;

/// Runs a transaction, anew when it met another worker: eight times at most, then it fails as the last one did.
///
/// # Errors
/// Those of the transaction.
pub(crate) async fn while_busy<T, F>(transaction: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut delays = Delays::new(Duration::from_millis(20), Duration::from_secs(1));
    for _ in 1..RACES {
        match transaction().await {
            Err(Failure::Transient(Cause::DatabaseBusy, _)) => tokio::time::sleep(delays.next_delay()).await,
            result => return result,
        }
    }
    transaction().await
}

/// Growing, jittered delays without an end.
#[derive(Debug)]
pub struct Delays(ExponentialBackoff);

impl Delays {
    /// Delays that start near `first`, grow by half each time, and stay near `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            max_interval: longest,
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The usual delays for reconnecting to a server: never so long that its return is noticed late.
    pub fn reconnect() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(3))
    }

    /// Those between attempts to store a batch, while PostgreSQL is away or busy.
    pub fn database() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let longest = self.0.max_interval;
        self.0.next_backoff().unwrap_or(longest)
    }

    /// Starts again with short delays, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_never_end() {
        let mut delays = Delays::new(Duration::from_millis(10), Duration::from_secs(1));
        for _ in 0..1000 {
            assert!(delays.next_delay() <= Duration::from_millis(1500));
        }
        assert!(delays.next_delay() >= Duration::from_millis(500));
        delays.reset();
        assert!(delays.next_delay() <= Duration::from_millis(15));
    }
}
