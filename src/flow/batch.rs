//! Micro-batches: full by count, bytes or the age of the first delivery, whichever comes first.
//!
//! Must never: hold a delivery longer than the age limit while there is nothing more to take.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::config::BatchLimits;
use crate::metrics::{self, Closed};

/// Why no more came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The batch is full or old enough; more may come.
    No,
    /// The stream ended or failed.
    Stream,
    /// Told to stop.
    Stopped,
}

/// Something with a size that counts towards a batch.
pub trait Weighed {
    /// Bytes held.
    fn bytes(&self) -> usize;
    /// Whether it must be worked on alone.
    fn alone(&self) -> bool {
        false
    }
}

/// Takes the next batch. Waits for the first item without a limit, then for more until the batch is full or the first
/// item has reached its age. `held` carries an item over that must be alone.
pub async fn next<T: Weighed, E>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    limits: &BatchLimits,
    held: &mut Option<T>,
    stop: &CancellationToken,
) -> (Vec<T>, Ended) {
    let mut batch = Vec::new();
    let first = match held.take() {
        Some(item) => item,
        None => match wait(stream, None, stop).await {
            Ok(Some(item)) => item,
            Ok(None) => return (batch, Ended::No),
            Err(ended) => return (batch, ended),
        },
    };
    if first.alone() {
        metrics::batch_closed(Closed::Alone);
        return (vec![first], Ended::No);
    }
    batch.push(first);
    let deadline = tokio::time::Instant::now() + limits.age;
    let (closed, ended) = fill(stream, limits, &mut batch, held, stop, deadline).await;
    metrics::batch_closed(closed);
    (batch, ended)
}

/// Adds to a batch that had to wait what came meanwhile, without waiting for more.
pub async fn top_up<T: Weighed, E>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    limits: &BatchLimits,
    batch: &mut Vec<T>,
    held: &mut Option<T>,
    stop: &CancellationToken,
) -> Ended {
    if held.is_some() {
        return Ended::No;
    }
    fill(stream, limits, batch, held, stop, tokio::time::Instant::now()).await.1
}

/// Whether nothing more goes into a batch.
pub fn is_full<T: Weighed>(batch: &[T], limits: &BatchLimits) -> bool {
    batch.len() >= limits.messages || batch.iter().map(Weighed::bytes).sum::<usize>() >= limits.bytes
}

/// Adds to a batch until it is full, or there is nothing more to take and the deadline has passed.
async fn fill<T: Weighed, E>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    limits: &BatchLimits,
    batch: &mut Vec<T>,
    held: &mut Option<T>,
    stop: &CancellationToken,
    deadline: tokio::time::Instant,
) -> (Closed, Ended) {
    let mut bytes: usize = batch.iter().map(Weighed::bytes).sum();
    while batch.len() < limits.messages && bytes < limits.bytes {
        match wait(stream, Some(deadline), stop).await {
            Ok(Some(item)) if item.alone() => {
                *held = Some(item);
                return (Closed::Alone, Ended::No);
            }
            Ok(Some(item)) => {
                bytes += item.bytes();
                batch.push(item);
            }
            Ok(None) => return (Closed::Age, Ended::No),
            Err(ended) => return (Closed::Ended, ended),
        }
    }
    (Closed::Full, Ended::No)
}

/// The next item; `None` when the deadline passed first.
async fn wait<T, E>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    deadline: Option<tokio::time::Instant>,
    stop: &CancellationToken,
) -> Result<Option<T>, Ended> {
    let never = Duration::from_secs(86_400 * 365);
    let deadline = deadline.unwrap_or_else(|| tokio::time::Instant::now() + never);
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Ended::Stopped),
        item = stream.next() => match item {
            Some(Ok(item)) => Ok(Some(item)),
            Some(Err(_)) | None => Err(Ended::Stream),
        },
        () = tokio::time::sleep_until(deadline) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[derive(Debug, PartialEq)]
    struct Item(usize, bool);
    impl Weighed for Item {
        fn bytes(&self) -> usize {
            self.0
        }
        fn alone(&self) -> bool {
            self.1
        }
    }

    fn limits(messages: usize, bytes: usize) -> BatchLimits {
        BatchLimits { messages, bytes, age: Duration::from_millis(20) }
    }

    fn items(list: Vec<Item>) -> impl Stream<Item = Result<Item, ()>> + Unpin {
        stream::iter(list.into_iter().map(Ok)).chain(stream::pending())
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_by_count_or_by_bytes() {
        let mut stream = items((0..5).map(|_| Item(10, false)).collect());
        let (mut held, stop) = (None, CancellationToken::new());
        assert_eq!(next(&mut stream, &limits(3, 1000), &mut held, &stop).await.0.len(), 3);
        let mut stream = items((0..5).map(|_| Item(10, false)).collect());
        assert_eq!(next(&mut stream, &limits(100, 20), &mut held, &stop).await.0.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_batch_goes_when_its_first_item_is_old_enough() {
        let mut stream = items(vec![Item(1, false)]);
        let (mut held, stop) = (None, CancellationToken::new());
        let started = tokio::time::Instant::now();
        let (batch, ended) = next(&mut stream, &limits(3, 1000), &mut held, &stop).await;
        assert_eq!((batch.len(), ended), (1, Ended::No));
        assert_eq!(started.elapsed(), Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_waited_takes_what_is_there_and_no_suspect() {
        let mut stream = items(vec![Item(1, false), Item(1, false), Item(1, true), Item(1, false)]);
        let (mut batch, mut held, stop) = (vec![Item(1, false)], None, CancellationToken::new());
        let started = tokio::time::Instant::now();
        assert_eq!(top_up(&mut stream, &limits(9, 1000), &mut batch, &mut held, &stop).await, Ended::No);
        assert_eq!((batch.len(), &held), (3, &Some(Item(1, true))));
        assert_eq!(top_up(&mut stream, &limits(9, 1000), &mut batch, &mut held, &stop).await, Ended::No);
        assert_eq!((batch.len(), started.elapsed()), (3, Duration::ZERO), "behind a suspect nothing is taken");
        held = None;
        top_up(&mut stream, &limits(4, 1000), &mut batch, &mut held, &stop).await;
        assert!(is_full(&batch, &limits(4, 1000)) && !is_full(&batch, &limits(5, 1000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_is_worked_on_alone() {
        let mut stream = items(vec![Item(1, false), Item(1, true), Item(1, false)]);
        let (mut held, stop) = (None, CancellationToken::new());
        for expected in [vec![Item(1, false)], vec![Item(1, true)], vec![Item(1, false)]] {
            assert_eq!(next(&mut stream, &limits(3, 1000), &mut held, &stop).await.0, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_batch_and_keeps_what_was_taken() {
        let mut stream = items(vec![]);
        let (mut held, stop) = (None, CancellationToken::new());
        stop.cancel();
        let (batch, ended) = next(&mut stream, &limits(3, 1000), &mut held, &stop).await;
        assert_eq!((batch.len(), ended), (0, Ended::Stopped));
    }
}
