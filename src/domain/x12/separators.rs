//! Finds the separators: from an ISA by counting its 16 element separators, or, without one, from what follows.
//!
//! Must never: trust the ISA to be 106 bytes long, or look further than a fixed window.

use super::segment::{Delimiters, known_id};

/// How far an ISA is looked at. The standard's is 106 bytes.
const ISA_WINDOW: usize = 512;

/// How far segments are looked at to guess separators.
const GUESS_WINDOW: usize = 4096;

/// What the bytes at a possible beginning turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Not the beginning of anything.
    No,
    /// More bytes are needed to tell.
    Wait,
    /// An ISA whose elements cannot be made out.
    BadIsa,
    /// An ISA.
    Isa {
        delimiters: Delimiters,
        /// Bytes of the segment without its terminator.
        length: usize,
        /// Bytes up to and with the terminator.
        used: usize,
        /// Whether it has the standard's 106 bytes.
        fixed_width: bool,
    },
    /// GS or ST without ISA, and the separators that the next segments show.
    Guessed(Delimiters),
}

/// Judges the bytes at a possible beginning. `last` are the separators of the interchange before, if there was one.
pub(super) fn start(here: &[u8], last: Option<Delimiters>, at_end: bool) -> Start {
    match here.first() {
        Some(b'I') => match shape(here, b"ISA?", at_end) {
            Start::Wait => Start::Wait,
            Start::Guessed(_) => isa(here, at_end),
            _ => Start::No,
        },
        Some(b'G') => match shape(here, b"GS?AA?", at_end) {
            Start::Guessed(found) => guess(here, found.element, last, at_end),
            other => other,
        },
        Some(b'S') => match shape(here, b"ST?ddd?", at_end) {
            Start::Guessed(found) => guess(here, found.element, last, at_end),
            other => other,
        },
        _ => Start::No,
    }
}

/// Whether a byte can separate: no letter, digit, blank or line end.
pub(super) const fn separates(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && !byte.is_ascii_whitespace() && byte.is_ascii() || byte == b'\t'
}

/// Compares with a pattern: `?` is a separator (always the same), `A` a capital letter, `d` a digit.
fn shape(here: &[u8], pattern: &[u8], at_end: bool) -> Start {
    let mut separator = None;
    // The leading identifier is literal, so that the `A` of ISA is no class.
    let literal = pattern.iter().position(|&b| b == b'?').unwrap_or(0);
    for (index, &want) in pattern.iter().enumerate() {
        let Some(&byte) = here.get(index) else {
            return if at_end { Start::No } else { Start::Wait };
        };
        let fits = match want {
            b'?' => separates(byte) && *separator.get_or_insert(byte) == byte,
            b'A' if index > literal => byte.is_ascii_uppercase(),
            b'd' if index > literal => byte.is_ascii_digit(),
            exact => byte == exact,
        };
        if !fits {
            return Start::No;
        }
    }
    let element = separator.unwrap_or(b'*');
    Start::Guessed(Delimiters { element, component: b':', repetition: 0, terminator: b'~' })
}

/// Reads the separators of an ISA: its fourth byte separates elements; after the 16th of these come the component
/// separator and the terminator (X12.5).
fn isa(here: &[u8], at_end: bool) -> Start {
    let Some(&element) = here.get(3) else { return Start::Wait };
    let window = here.get(..ISA_WINDOW).unwrap_or(here);
    let (mut count, mut begin, mut line_ends, mut repetition) = (0, 0, 0, 0);
    let mut last = None;
    for (index, &byte) in window.iter().enumerate().skip(3) {
        if matches!(byte, b'\r' | b'\n') {
            line_ends += 1;
        }
        if byte != element {
            continue;
        }
        let value = window.get(begin..index).unwrap_or_default();
        if count > 1 && opens_group(value) {
            return Start::BadIsa;
        }
        if let ([sign], 11) = (value, count)
            && separates(*sign)
        {
            repetition = *sign;
        }
        count += 1;
        begin = index + 1;
        if count == 16 {
            last = Some(index);
            break;
        }
    }
    let Some(last) = last else {
        return if at_end || here.len() >= ISA_WINDOW { Start::BadIsa } else { Start::Wait };
    };
    if here.len() < last + 4 && !at_end {
        return Start::Wait;
    }
    let tail = (here.get(last + 1).copied(), here.get(last + 2).copied(), here.get(last + 3).copied());
    let Some((component, terminator, length)) = end_of_isa(tail, element) else { return Start::BadIsa };
    Start::Isa {
        delimiters: Delimiters { element, component, repetition, terminator },
        length: last + 1 + length,
        used: (last + 2 + length).min(here.len()),
        fixed_width: last - line_ends == 103 && length == 1,
    }
}

/// Whether an element of a would-be ISA holds a terminator and the GS of the next segment.
fn opens_group(value: &[u8]) -> bool {
    match value {
        [.., before, b'G', b'S'] => !before.is_ascii_alphanumeric() && *before != b' ',
        _ => false,
    }
}

/// Component separator, terminator, and how many bytes ISA16 has (1, or 0 where it is left empty).
fn end_of_isa(tail: (Option<u8>, Option<u8>, Option<u8>), element: u8) -> Option<(u8, u8, usize)> {
    let line_end = |first: u8, second: Option<u8>| if first == b'\r' && second != Some(b'\n') { b'\r' } else { b'\n' };
    let first = tail.0?;
    if matches!(first, b'\r' | b'\n') {
        return Some((b':', line_end(first, tail.1), 0));
    }
    if first == element || !separates(first) {
        return None;
    }
    match tail.1 {
        // ISA16 left empty: what stands there is the terminator.
        None => Some((b':', first, 0)),
        Some(second) if second.is_ascii_alphanumeric() || second == first => Some((b':', first, 0)),
        Some(b'\r' | b'\n') if first == b'~' => Some((b':', first, 0)),
        Some(second @ (b'\r' | b'\n')) => Some((first, line_end(second, tail.2), 1)),
        Some(second) if second == element || !separates(second) => None,
        Some(second) => Some((first, second, 1)),
    }
}

/// Guesses the terminator: what stands before the next segment with a known identifier.
fn guess(here: &[u8], element: u8, last: Option<Delimiters>, at_end: bool) -> Start {
    let window = here.get(..GUESS_WINDOW).unwrap_or(here);
    let component = last.filter(|d| d.element == element).map_or(b':', |d| d.component);
    for (index, _) in window.iter().enumerate().skip(4).filter(|&(_, &b)| b == element) {
        for length in [3, 2] {
            let Some(begin) = index.checked_sub(length) else { continue };
            if known_id(window.get(begin..index).unwrap_or_default()).is_empty() {
                continue;
            }
            let before = window.get(..begin).unwrap_or_default();
            if let Some(terminator) = terminator_before(before, element) {
                return Start::Guessed(Delimiters { element, component, repetition: 0, terminator });
            }
        }
    }
    if at_end || here.len() >= GUESS_WINDOW { Start::No } else { Start::Wait }
}

/// The terminator that ends these bytes: a separating byte, line ends after it or not; else the line end itself.
fn terminator_before(before: &[u8], element: u8) -> Option<u8> {
    let kept = before.iter().rposition(|b| !b.is_ascii_whitespace())?;
    let blanks = before.get(kept + 1..).unwrap_or_default();
    match before.get(kept) {
        Some(&byte) if separates(byte) && byte != element => Some(byte),
        _ if blanks.contains(&b'\n') => Some(b'\n'),
        _ if blanks.contains(&b'\r') => Some(b'\r'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *030101*1253*^*00501*000000905*1*T*";

    fn read(text: &str) -> Option<(char, char, char)> {
        match start(text.as_bytes(), None, true) {
            Start::Isa { delimiters: d, .. } => Some((d.element.into(), d.component.into(), d.terminator.into())),
            _ => None,
        }
    }

    #[test]
    fn separators_are_what_follows_the_sixteenth_element_separator() {
        for (end, component, terminator) in [
            (":~GS*", ':', '~'),
            (":~\r\nGS*", ':', '~'),
            (">\nGS*", '>', '\n'),
            (">\r\nGS*", '>', '\n'),
            (":\rGS*", ':', '\r'),
            ("!+GS*", '!', '+'),
            ("~GS*", ':', '~'),
            ("~\nGS*", ':', '~'),
        ] {
            assert_eq!(read(&format!("{BODY}{end}")), Some(('*', component, terminator)), "{end:?}");
        }
        let tilde = format!("{}^_", BODY.replace('^', "U").replace('*', "~"));
        assert_eq!(read(&tilde), Some(('~', '^', '_')));
    }

    #[test]
    fn an_isa_of_another_width_is_read_and_said_to_be() {
        let narrow = BODY.replace("          ", " ");
        let found = start(format!("{narrow}:~GS*").as_bytes(), None, true);
        assert!(matches!(found, Start::Isa { fixed_width: false, .. }), "{found:?}");
        let standard = start(format!("{BODY}:~GS*").as_bytes(), None, true);
        assert!(matches!(standard, Start::Isa { fixed_width: true, length: 105, used: 106, .. }), "{standard:?}");
    }

    #[test]
    fn an_isa_that_lacks_an_element_is_refused_and_waits_for_no_more() {
        let short = BODY.replacen("*00*", "*", 1);
        assert_eq!(start(format!("{short}:~GS*HC*A*B*20200101*").as_bytes(), None, true), Start::BadIsa);
        assert_eq!(start(b"ISA*00*", None, true), Start::BadIsa);
        assert_eq!(start(b"ISA*00*", None, false), Start::Wait);
        assert_eq!(start(&[b"ISA*".as_slice(), &[b'x'; 600]].concat(), None, false), Start::BadIsa);
        assert_eq!(start(b"ISAAC NEWTON", None, false), Start::No);
    }

    #[test]
    fn without_isa_the_next_segments_show_the_separators() {
        for (text, element, terminator) in [
            ("GS*HC*A*B*20200101*1200*1*X*005010X222A1~\nST*837*1~", b'*', b'~'),
            ("GS|HP|A|B|20200101|1200|1|X|005010X221A1\nST|835|1\n", b'|', b'\n'),
            ("ST*837*0001*005010X222A1'BHT*0019*00*1'", b'*', b'\''),
        ] {
            let found = start(text.as_bytes(), None, true);
            assert!(
                matches!(found, Start::Guessed(d) if d.element == element && d.terminator == terminator),
                "{text:?}: {found:?}"
            );
        }
        assert_eq!(start(b"GS*HC*nothing else", None, true), Start::No);
    }
}
