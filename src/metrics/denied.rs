//! The money that remittances deny, by who bears it. Kept in cents and written out at each scrape, digit by digit, so that
//! the sum over the fleet is exact.
//!
//! Must never: go through a float.

use std::sync::atomic::{AtomicU64, Ordering};

use super::catalogue::{DENIED_DOLLARS, GROUP_CODES};
use super::head;
use crate::domain::types::Cents;

static DENIED_CENTS: [AtomicU64; GROUP_CODES.len()] = [const { AtomicU64::new(0) }; GROUP_CODES.len()];

/// A remittance denied so much under a group code (CAS01), and that is committed.
pub fn denied_amount(group_code: &str, amount: Cents) {
    let at = GROUP_CODES.iter().position(|known| *known == group_code).unwrap_or(GROUP_CODES.len() - 1);
    DENIED_CENTS[at].fetch_add(u64::try_from(amount.get()).unwrap_or(0), Ordering::Relaxed);
}

/// The sums in the text format.
pub(super) fn text() -> String {
    let line = |(code, cents): (&&str, &AtomicU64)| {
        let cents = cents.load(Ordering::Relaxed);
        format!("{DENIED_DOLLARS}{{group_code=\"{code}\"}} {}.{:02}\n", cents / 100, cents % 100)
    };
    let lines = GROUP_CODES.iter().zip(&DENIED_CENTS).map(line);
    [head(DENIED_DOLLARS, "counter")].into_iter().chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_add_up_to_dollars_and_what_has_no_name_is_other() {
        for _ in 0..10 {
            denied_amount("PI", Cents::new(1_234_567_891_011));
        }
        denied_amount("XX", Cents::new(7));
        denied_amount("XX", Cents::new(-900));
        let text = text();
        assert!(text.contains("dollars_total{group_code=\"PI\"} 123456789101.10\n"), "{text}");
        assert!(text.contains("dollars_total{group_code=\"other\"} 0.07\n"), "{text}");
    }
}
