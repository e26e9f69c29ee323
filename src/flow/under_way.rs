//! Batches of one channel that are worked on side by side, and settled one after the other in the order of their deliveries.
//!
//! While one batch waits for PostgreSQL the next is read and scored; an acknowledgement of a range covers all deliveries
//! before it, so each batch waits for its turn. Must never: let a batch settle when the one before it was not, for that one's
//! deliveries would be acknowledged with its own.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A batch's place in the order of settling.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    done: oneshot::Sender<()>,
}

impl Turn {
    /// Waits until the batch before is settled. `false` when it never will be.
    pub(super) async fn comes(&mut self) -> bool {
        match self.before.take() {
            Some(before) => before.await.is_ok(),
            None => true,
        }
    }

    /// Lets the next batch settle. A turn that is dropped instead never lets it.
    pub(super) fn pass_on(self) {
        // The next batch may not have been begun, or have ended.
        if self.done.send(()).is_err() {
            tracing::trace!("no batch waits to be settled");
        }
    }
}

/// The batches that are not settled yet.
#[derive(Default)]
pub(super) struct UnderWay {
    tasks: VecDeque<JoinHandle<bool>>,
    last: Option<oneshot::Receiver<()>>,
}

impl UnderWay {
    /// Begins a batch: `work` gets its turn and answers whether all is well. A task of its own, so that a panic is seen.
    pub(super) fn begin<F>(&mut self, work: impl FnOnce(Turn) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let (done, after) = oneshot::channel();
        let turn = Turn { before: self.last.replace(after), done };
        self.tasks.push_back(tokio::spawn(work(turn)));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until at most so many are left; when one ended badly, until none is. `false` then.
    pub(super) async fn down_to(&mut self, most: usize) -> bool {
        let (mut healthy, mut most) = (true, most);
        while self.tasks.len() > most {
            let Some(task) = self.tasks.pop_front() else { break };
            healthy &= task.await.unwrap_or_else(|error| {
                // The deliveries were dropped with the task: they come again, each counted once more by the broker.
                tracing::error!(panicked = error.is_panic(), "a batch ended without settling");
                false
            });
            if !healthy {
                most = 0;
            }
        }
        healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Begins batches that take so many milliseconds each; the second number of what is noted tells whether it settled.
    async fn settled(takes: &[(u64, bool)]) -> (bool, Vec<(usize, bool)>) {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let mut under_way = UnderWay::default();
        for (place, (millis, well)) in takes.iter().copied().enumerate() {
            let noted = Arc::clone(&noted);
            under_way.begin(move |mut turn| async move {
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
                assert!(millis != 13, "panics on purpose");
                let came = turn.comes().await;
                noted.lock().expect("not poisoned").push((place, came));
                if came && well {
                    turn.pass_on();
                }
                came && well
            });
        }
        let healthy = under_way.down_to(0).await;
        let noted = noted.lock().expect("not poisoned").clone();
        (healthy, noted)
    }

    #[tokio::test(start_paused = true)]
    async fn batches_settle_in_their_order_whatever_they_take() {
        let all = settled(&[(50, true), (1, true), (20, true)]).await;
        assert_eq!(all, (true, vec![(0, true), (1, true), (2, true)]));
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_batch_that_was_not_settled_none_is() {
        let all = settled(&[(50, true), (1, false), (20, true)]).await;
        assert_eq!(all, (false, vec![(0, true), (1, true), (2, false)]));
        let all = settled(&[(13, true), (20, true)]).await;
        assert_eq!(all, (false, vec![(1, false)]));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_left_than_may_be() {
        let mut under_way = UnderWay::default();
        for _ in 0..3 {
            under_way.begin(|mut turn| async move {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                let came = turn.comes().await;
                turn.pass_on();
                came
            });
        }
        assert!(under_way.down_to(1).await);
        assert_eq!(under_way.len(), 1);
    }
}
