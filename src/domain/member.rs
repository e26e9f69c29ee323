//! What names a patient's insurance within a practice, without naming anybody: a digest of practice and member id.
//!
//! Must never: be printed; who knows a practice's member ids can tell whose digest it is.

use std::fmt;

/// A practice and a member id, as a digest (BLAKE3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey([u8; 16]);

impl MemberKey {
    /// The key of a practice's member. Blanks around the id and its case do not count.
    pub fn of(practice: &str, member_id: &str) -> Self {
        let mut digest = blake3::Hasher::new();
        for part in [practice, &member_id.trim().to_ascii_uppercase()] {
            digest.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let hash = digest.finalize();
        Self(std::array::from_fn(|index| hash.as_bytes().get(index).copied().unwrap_or_default()))
    }

    /// The first half of it, as a number to search rows by; two members may share it.
    pub fn number(self) -> i64 {
        self.0.first_chunk().map_or(0, |first| i64::from_le_bytes(*first))
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn practice_and_member_both_make_the_key_and_it_prints_nothing() {
        let key = MemberKey::of("PR01", "W123");
        assert_eq!(key, MemberKey::of("PR01", " w123 "));
        for other in [MemberKey::of("PR02", "W123"), MemberKey::of("PR01", "W124"), MemberKey::of("PR0", "1W123")] {
            assert!(other != key && other.number() != key.number());
        }
        assert_eq!(format!("{key:?}"), "<redacted>");
    }
}
