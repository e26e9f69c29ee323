//! A short code (procedure, diagnosis, modifier, revenue code) as one number, so that tables are searched without
//! allocating.
//!
//! Must never: hold more than a code; free text does not fit.

/// Up to eight ASCII letters and digits, in capitals, without dots. The order is that of the texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u64);

impl Code {
    /// What every code begins with.
    pub(crate) const EMPTY: Self = Self(0);

    /// Reads a code; blanks around it and dots are passed over. `None` when it is empty, too long or has other characters.
    pub fn of(text: &str) -> Option<Self> {
        let mut packed = 0_u64;
        let mut shift = 64_u32;
        for byte in text.trim_ascii().bytes() {
            if byte == b'.' {
                continue;
            }
            if !byte.is_ascii_alphanumeric() || shift == 0 {
                return None;
            }
            shift -= 8;
            packed |= u64::from(byte.to_ascii_uppercase()) << shift;
        }
        (packed != 0).then_some(Self(packed))
    }

    /// The number that the code is.
    pub(super) const fn packed(self) -> u64 {
        self.0
    }

    /// Whether the code begins with another one.
    pub fn starts_with(self, prefix: Self) -> bool {
        let mask = if prefix.0 == 0 { 0 } else { u64::MAX << (prefix.0.trailing_zeros() / 8 * 8) };
        self.0 & mask == prefix.0
    }

    /// All beginnings of the code, itself first, the empty one left out.
    pub fn beginnings(self) -> impl Iterator<Item = Self> {
        (8 - self.length()..8).map(move |cut| Self(self.0 & (u64::MAX << (cut * 8))))
    }

    /// How many characters it has.
    pub fn length(self) -> u32 {
        8 - self.0.trailing_zeros() / 8
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_be_bytes().iter().filter(|&&byte| byte != 0).try_for_each(|&byte| write!(f, "{}", char::from(byte)))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_it_is_written() {
        for (text, code) in [("e11.9", "E119"), (" 99213 ", "99213"), ("S72001AX", "S72001AX"), ("0", "0")] {
            assert_eq!(Code::of(text).map(|code| code.to_string()), Some(code.to_owned()));
        }
        for text in ["", " ", "A-B", "123456789", "Ä1", "A B"] {
            assert_eq!(Code::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_order_and_the_beginnings_are_those_of_the_texts() {
        let code = |text| Code::of(text).unwrap();
        assert!(code("E11") < code("E119") && code("E119") < code("F1"));
        assert!(code("E119").starts_with(code("E11")) && code("E119").starts_with(code("E119")));
        assert!(code("E119").starts_with(Code::EMPTY));
        assert!(!code("E11").starts_with(code("E119")) && !code("E119").starts_with(code("F")));
        assert_eq!((code("E119").length(), code("A").length(), code("S72001AX").length()), (4, 1, 8));
    }
}
