//! Deliveries whose copies the broker has not taken: a delayed queue or the dead letters are missing, full, or an alarm
//! keeps publishers waiting.
//!
//! They stay unacknowledged and are tried again and again by themselves, while other deliveries go their way. To give them
//! back would count against them, and a fault of the broker's would make dead letters of events that have none. There are
//! never more of them than the prefetch allows. Must never: acknowledge a range while something waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::delivery::{Alive, Delivery};
use super::settle::{self, Copied};
use super::{Context, outbound};
use crate::broker::PublishError;
use crate::retry::Delays;

/// How long one copy may take to be confirmed.
const LIMIT: Duration = Duration::from_secs(5);

/// What waits in one epoch.
#[derive(Default)]
pub struct Waiting {
    queue: Mutex<VecDeque<(Delivery, Copied)>>,
    /// Those in the queue, and the one that is being tried.
    count: AtomicUsize,
    added: Notify,
}

impl Waiting {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Lets a delivery wait for its copy.
    pub(super) fn add(&self, delivery: Delivery, copied: Copied) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.lock().push_back((delivery, copied));
        self.added.notify_one();
    }

    fn take(&self) -> Option<(Delivery, Copied)> {
        self.lock().pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Delivery, Copied)>> {
        // A queue is whole between two calls, so a poisoned lock is as good as any.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries copies until told to stop or the channel is gone; what waits then comes again. One at a time: when one of several
/// comes back unroutable, it cannot be told for certain which.
pub(super) async fn copy(context: Arc<Context>, alive: Alive) {
    let waiting = Arc::clone(&alive.waiting);
    let mut delays = Delays::reconnect();
    loop {
        let Some((delivery, copied)) = waiting.take() else {
            waiting.added.notified().await;
            alive.pause(delays.next_delay()).await;
            continue;
        };
        if alive.is_over() {
            return;
        }
        let answer = context.copies.publish_within(std::slice::from_ref(&copied.copy), LIMIT).await.pop();
        match answer.unwrap_or_else(|| Err(PublishError::Unknown("no answer".to_owned()))) {
            Ok(()) => {
                delays.reset();
                let told = settle::acknowledge(delivery, copied.outcome()).await;
                waiting.count.fetch_sub(1, Ordering::SeqCst);
                outbound::send(&context, copied.taken().as_slice()).await;
                if !told {
                    return;
                }
            }
            Err(error) => {
                copied.not_taken(&error);
                waiting.lock().push_back((delivery, copied));
                alive.pause(delays.next_delay()).await;
            }
        }
    }
}
