//! Chance by a seed. The generator is our own, so that a failure repeats itself on every machine.

/// SplitMix64: the same seed makes the same choices.
#[derive(Clone)]
pub struct Random(pub u64);

#[allow(dead_code, reason = "some tests use this, some that")]
impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A place among so many; 0 among none.
    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end.max(1) as u64)).unwrap_or(0)
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.index(many) == 0
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.index(from.len())]
    }
}
