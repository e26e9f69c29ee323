//! How often a token may be used: a count for the last minute and one for the last hour, in memory that does not grow.
//!
//! Counts are kept in sixty parts of each window and one more, so that no window of any beginning holds more than the
//! limit; what is refused may be up to one part early, never late.

use std::time::{Duration, Instant};

/// Parts that are looked at: those of the window, and the one that is under way.
const PARTS: usize = 61;

/// The minute and the hour of one token.
pub(super) struct Rates {
    began: Instant,
    windows: [Window; 2],
}

struct Window {
    limit: u32,
    part: Duration,
    /// The newest part that was counted, since the beginning.
    newest: u64,
    counts: [u32; PARTS],
}

impl Rates {
    /// Starts at zero; limits per minute and per hour.
    pub(super) fn new([minute, hour]: [u32; 2], now: Instant) -> Self {
        let window = |limit, part| Window { limit, part, newest: 0, counts: [0; PARTS] };
        Self { began: now, windows: [window(minute, Duration::from_secs(1)), window(hour, Duration::from_secs(60))] }
    }

    /// Counts a request, unless it is one too many: then so long until one is free. What is refused does not count.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let age = now.saturating_duration_since(self.began);
        let wait = self.windows.iter_mut().filter_map(|window| window.wait(age)).max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for window in &mut self.windows {
            *window.count(window.newest) += 1;
        }
        Ok(())
    }
}

impl Window {
    fn count(&mut self, part: u64) -> &mut u32 {
        let place = usize::try_from(part % PARTS as u64).unwrap_or(0);
        &mut self.counts[place]
    }

    /// Moves on to now; how long until the window has a place, where it has none.
    fn wait(&mut self, age: Duration) -> Option<Duration> {
        let current = age.as_secs() / self.part.as_secs();
        let passed = current.saturating_sub(self.newest).min(PARTS as u64);
        for part in 1..=passed {
            *self.count(current + 1 - part) = 0;
        }
        self.newest = self.newest.max(current);
        let mut held: u32 = self.counts.iter().sum();
        if held < self.limit {
            return None;
        }
        // The oldest part that must leave, counted from the one that leaves next.
        let oldest = (self.newest + 1).saturating_sub(PARTS as u64);
        let mut leaves = self.newest;
        for part in oldest..=self.newest {
            held -= *self.count(part);
            if held < self.limit {
                leaves = part;
                break;
            }
        }
        let free = self.part * u32::try_from(leaves + PARTS as u64).unwrap_or(u32::MAX);
        Some(free.saturating_sub(age).max(Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_of_any_beginning_holds_more_than_the_limit() {
        let began = Instant::now();
        let mut rates = Rates::new([60, 1000], began);
        let mut taken: Vec<u64> = Vec::new();
        // Three hours in steps that meet no part's edge.
        for step in 0..30_000_u64 {
            let millis = step * 367;
            if rates.take(began + Duration::from_millis(millis)).is_ok() {
                taken.push(millis);
            }
        }
        for (limit, span) in [(60, 60_000), (1000, 3_600_000)] {
            let most =
                taken.iter().enumerate().map(|(i, at)| taken[i..].iter().take_while(|t| **t < at + span).count());
            assert_eq!(most.max(), Some(limit), "in {span} ms");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut now = Instant::now();
        let mut rates = Rates::new([60, 100], now);
        let (mut taken, mut waited) = (0, Vec::new());
        for _ in 0..300 {
            match rates.take(now) {
                Ok(()) => taken += 1,
                Err(wait) => {
                    waited.push(wait.as_secs());
                    now += wait;
                    assert!(rates.take(now).is_ok(), "after {waited:?}");
                    taken += 1;
                }
            }
        }
        assert_eq!(waited[0], 61, "the minute is full first: {waited:?}");
        assert!(waited.iter().any(|wait| *wait > 3000), "then the hour: {waited:?}");
        assert!(taken >= 300, "{taken}");
    }

    #[test]
    fn a_limit_that_is_idle_for_long_starts_anew() {
        let began = Instant::now();
        let mut rates = Rates::new([2, 1000], began);
        for _ in 0..5 {
            rates.take(began).ok();
        }
        let later = began + Duration::from_secs(1_000_000);
        assert!(rates.take(later).is_ok() && rates.take(later).is_ok());
        assert!(rates.take(later).is_err());
    }
}
