//! Control numbers as payers hand them back: cut short, without specials, without leading zeros.
//!
//! X12 allows 38 characters in CLP01, yet old systems keep 17 or 20 of them. Must never: guess beyond that (no edit
//! distance, no digits swapped): what is not one of these forms is another number.

use std::collections::BTreeSet;

/// The lengths at which payers' systems cut a control number.
const CUTS: [usize; 2] = [17, 20];

/// The ASCII letters and digits of a control number in upper case, without leading zeros (the last zero stays).
///
/// Empty when it has no letter or digit.
pub fn normalise_control_number(raw: &str) -> String {
    strip_zeros(&letters_and_digits(raw))
}

/// Every normalised form in which a payer may hand a claim's control number back: whole, and cut at 17 or 20
/// characters before or after the specials and the leading zeros were dropped. At most seven; none is empty.
pub fn mangled_keys(raw: &str) -> BTreeSet<String> {
    let raw = raw.trim();
    let plain = letters_and_digits(raw);
    let whole = strip_zeros(&plain);
    let mut keys = BTreeSet::new();
    for cut in CUTS {
        keys.insert(normalise_control_number(&first(raw, cut)));
        keys.insert(strip_zeros(&first(&plain, cut)));
        keys.insert(first(&whole, cut));
    }
    keys.insert(whole);
    keys.remove("");
    keys
}

/// Whether a remittance's control number may be the claim's, mangled.
pub fn mangled_match(claim_raw: &str, remittance_raw: &str) -> bool {
    mangled_keys(claim_raw).contains(&normalise_control_number(remittance_raw))
}

fn letters_and_digits(raw: &str) -> String {
    raw.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

fn first(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

fn strip_zeros(text: &str) -> String {
    match text.trim_start_matches('0') {
        "" if !text.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normalised_number_has_only_letters_and_digits_and_no_leading_zeros() {
        for (raw, expected) in [
            ("PCN-1112223333", "PCN1112223333"),
            ("  000-ab.12 ", "AB12"),
            ("000", "0"),
            ("0", "0"),
            ("", ""),
            ("-- ", ""),
            ("\u{e9}7", "7"),
        ] {
            assert_eq!(normalise_control_number(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_number_matches_itself_cut_stripped_and_unpadded() {
        let claim = "00-AB 1234567890-CDEFGHIJ";
        for handed_back in [
            "00-AB 1234567890-CDEFGHIJ",
            "00AB1234567890CDEFGHIJ",
            "AB1234567890CDEFGHIJ",
            "00-AB 1234567890-",
            "00-AB 1234567890-CDE",
            "00AB1234567890CDE",
            "AB1234567890CDEFG",
            "00AB1234567890CDEFGH",
            "ab1234567890cdefghij",
        ] {
            assert!(mangled_match(claim, handed_back), "{handed_back}");
        }
    }

    #[test]
    fn other_numbers_do_not_match() {
        let claim = "00-AB 1234567890-CDEFGHIJ";
        for other in ["", "0", "AB123456789", "AB1234567890CDEFGHIK", "AB1234567890CDEFGHIJ1", "B1234567890CDEFGHIJ"] {
            assert!(!mangled_match(claim, other), "{other}");
        }
        assert!(!mangled_match("", ""));
        assert!(!mangled_match("--", "--"));
        assert!(!mangled_match("ABC123", "ABC12"), "a short number is not cut");
    }

    #[test]
    fn keys_are_few_and_never_empty() {
        assert_eq!(mangled_keys("--"), BTreeSet::new());
        assert_eq!(mangled_keys("007"), BTreeSet::from(["7".to_owned()]));
        // Specials enough that the first cut keeps nothing else.
        assert!(mangled_keys("--------------------A1").contains("A1"));
        for raw in ["000-111-222-333-444-555-666-777-888", "A-B-C-D-E-F-G-H-I-J-K-L-M-N-O-P", "1"] {
            let keys = mangled_keys(raw);
            assert!((1..=7).contains(&keys.len()));
            assert!(keys.iter().all(|key| !key.is_empty()));
            assert!(keys.contains(&normalise_control_number(raw)));
        }
    }
}
