//! A map that is filled once and then only searched: by hash, without allocating, the same on every machine.
//!
//! Must never: be walked through in the order of its slots; entries keep the order of their keys.

/// Entries by a number of 64 bits, such as a code or an NPI.
pub(super) struct Index<T> {
    /// In the order of their keys.
    entries: Vec<(u64, T)>,
    /// Place of an entry plus one, by hash; zero where there is none. At most half of the slots are taken.
    slots: Vec<u32>,
    /// How far a hash is shifted to the right to be a slot.
    shift: u32,
}

impl<T> Index<T> {
    /// Makes an index of entries whose keys differ.
    pub(super) fn new(entries: impl IntoIterator<Item = (u64, T)>) -> Self {
        let mut entries: Vec<(u64, T)> = entries.into_iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        // Places that do not fit into 32 bits are not found; no file comes near four thousand million lines.
        let size = entries.len().max(1).saturating_mul(2).next_power_of_two();
        let mut index = Self { slots: vec![0; size], shift: 64 - size.trailing_zeros(), entries: Vec::new() };
        for (place, (key, _)) in (1_u32..).zip(&entries) {
            let mut slot = index.slot(*key);
            while index.slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) & (size - 1);
            }
            if let Some(free) = index.slots.get_mut(slot) {
                *free = place;
            }
        }
        index.entries = entries;
        index
    }

    /// The entry of a key.
    pub(super) fn get(&self, key: u64) -> Option<&T> {
        let mut slot = self.slot(key);
        loop {
            let place = self.slots.get(slot)?.checked_sub(1)?;
            let (found, entry) = self.entries.get(place as usize)?;
            if *found == key {
                return Some(entry);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// Fibonacci hashing: the high bits of a product with the golden ratio spread codes that differ in few places.
    fn slot(&self, key: u64) -> usize {
        let hash = (key ^ (key >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(hash >> self.shift).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_and_no_other() {
        for size in [0, 1, 2, 3, 1000] {
            let keys = |number: u64| (number * 7919 + 10_000) << 24;
            let index = Index::new((0..size).rev().map(|number| (keys(number), number)));
            assert!((0..size).all(|number| index.get(keys(number)) == Some(&number)), "{size}");
            assert!((size..size + 1000).all(|number| index.get(keys(number)).is_none()), "{size}");
        }
    }
}
