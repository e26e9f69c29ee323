//! Leaves Redis alone for a moment after it was slow, so that its time-outs do not add up.
//!
//! Must never: let more than one exchange at a time find out whether Redis is well again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::BreakerState;

/// Closed: Redis is asked. Open: it is not. Half open: one exchange asks it, the others do not.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Longest wait for one exchange.
    timeout: Duration,
    /// Until when Redis is left alone; the exchange that comes after it puts this off and asks.
    open_until: Mutex<Option<Instant>>,
}

impl Breaker {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, open_until: Mutex::new(None) }
    }

    fn pause(&self) -> Duration {
        self.timeout * 4
    }

    /// How it stands, for the metrics.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match *self.open_until.lock().unwrap_or_else(PoisonError::into_inner) {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Whether an exchange may be tried now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut open_until = self.open_until.lock().unwrap_or_else(PoisonError::into_inner);
        match *open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one asks; the others wait for what comes of it.
                *open_until = Some(now + self.pause());
                true
            }
        }
    }

    /// Notes how an exchange went. A failure that took long opens the breaker; one that came at once (nothing listens)
    /// costs nothing to try again.
    pub(super) fn note(&self, now: Instant, answered: bool, took: Duration) {
        let mut open_until = self.open_until.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *open_until = None;
        } else if took * 2 >= self.timeout {
            *open_until = Some(now + self.pause());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(250);

    #[test]
    fn a_slow_failure_opens_it_and_one_exchange_at_a_time_asks_again() {
        let (breaker, now) = (Breaker::new(TIMEOUT), Instant::now());
        assert!(breaker.admits(now));
        breaker.note(now, false, TIMEOUT);
        assert!(!breaker.admits(now + TIMEOUT * 3));
        let later = now + TIMEOUT * 4;
        assert!(breaker.admits(later), "one asks");
        assert!(!breaker.admits(later), "the others do not");
        breaker.note(later, true, Duration::ZERO);
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn a_failure_that_comes_at_once_leaves_it_closed() {
        let (breaker, now) = (Breaker::new(TIMEOUT), Instant::now());
        breaker.note(now, false, Duration::from_millis(1));
        assert!(breaker.admits(now));
    }
}
