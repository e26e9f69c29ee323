//! What is measured of linking and of the learner.
//!
//! Must never: tell which claim or remittance it was.

use super::catalogue::*;
use super::{now_seconds, registered};
use crate::domain::link::Link;

/// A remittance got this link, or lost the one it had, and that is committed.
pub fn linked(link: &Link) {
    let method = match link {
        Link::Linked { method, .. } => method.as_str(),
        Link::Ambiguous { .. } => "ambiguous",
        Link::None => "none",
    };
    if let Some(known) = LINKS.iter().find(|known| **known == method) {
        registered::counter(LINKS_TOTAL, &[("method", known)]).increment(1);
    }
}

/// Says that this process is the one that learns, for as long as it is kept.
#[derive(Debug)]
pub struct Learning(());

impl Learning {
    /// This process learns from now on.
    pub fn begin() -> Self {
        registered::gauge(LEARNER_ACTIVE, &[]).set(1.0);
        Self(())
    }

    /// A turn is over: labels held, and remittances that have no claim.
    pub fn turn(&self, labels: usize, unlinked: i64) {
        registered::gauge(LEARNER_LABELS, &[]).set(f64::from(u32::try_from(labels).unwrap_or(u32::MAX)));
        registered::gauge(UNLINKED, &[]).set(f64::from(u32::try_from(unlinked).unwrap_or(u32::MAX)));
        registered::gauge(LEARNER_TURN, &[]).set(now_seconds());
    }
}

impl Drop for Learning {
    fn drop(&mut self) {
        // Another process may learn next: what is summed over the fleet must not count this one too.
        for name in [LEARNER_ACTIVE, LEARNER_LABELS, UNLINKED, LEARNER_TURN] {
            registered::gauge(name, &[]).set(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::link::Method;

    #[test]
    fn every_method_of_linking_has_its_label() {
        for method in [
            Method::ControlNumber,
            Method::PayerClaimControlNumber,
            Method::MangledControlNumber,
            Method::MemberDatesCharge,
        ] {
            assert!(LINKS.contains(&method.as_str()), "{}", method.as_str());
        }
    }
}
