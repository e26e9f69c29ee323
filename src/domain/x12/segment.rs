//! One segment and its elements, as borrowed slices of the buffer, and the readers of X12's data types.
//!
//! Must never: allocate before a value is asked for, or panic on an element that is not there.

use super::note::NoteReason;
use super::output::Site;
use crate::domain::types::{Cents, Date, Phi, Units};

/// The longest text kept of one element, in bytes. The standard's own limit for any element used here is 80.
pub(super) const MAX_TEXT: usize = 512;

/// Elements looked at in one segment, the identifier included. The longest segment used (MIA) has 24.
const MAX_ELEMENTS: usize = 32;

/// Parts looked at in one composite. The longest one used (HI01) has 9.
const MAX_COMPONENTS: usize = 10;

/// The separators in force (X12.5: ISA position 4, ISA11, ISA16 and the byte after it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimiters {
    pub element: u8,
    pub component: u8,
    pub repetition: u8,
    pub terminator: u8,
}

/// A segment between two terminators, newlines and indentation removed.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    pub raw: &'a [u8],
    pub delimiters: Delimiters,
}

impl<'a> Segment<'a> {
    /// The identifier: the bytes before the first element separator.
    pub fn id(&self) -> &'a [u8] {
        // An identifier has two or three bytes, so a search over four is enough and cheaper than one over all.
        let end = self.raw.iter().take(4).position(|&b| b == self.delimiters.element);
        match end {
            Some(end) => self.raw.get(..end).unwrap_or_default(),
            None => self.raw.get(..self.raw.len().min(4)).unwrap_or_default().trim_ascii_end(),
        }
    }

    /// Cuts the segment into its elements.
    pub fn elements(&self) -> Elements<'a> {
        Elements { parts: cut(self.raw, self.delimiters.element), delimiters: self.delimiters }
    }
}

/// Cuts bytes at a separator; parts beyond the last place are left out.
fn cut<const PLACES: usize>(bytes: &[u8], separator: u8) -> [&[u8]; PLACES] {
    let mut parts = [&[][..]; PLACES];
    let (mut begin, mut place) = (0, 0);
    for (index, &byte) in bytes.iter().enumerate() {
        if byte == separator {
            let (Some(slot), Some(part)) = (parts.get_mut(place), bytes.get(begin..index)) else { return parts };
            *slot = part;
            place += 1;
            begin = index + 1;
        }
    }
    if let (Some(slot), Some(part)) = (parts.get_mut(place), bytes.get(begin..)) {
        *slot = part;
    }
    parts
}

/// The elements of a segment; number 0 is the identifier, as in the standard's own numbering. One that is not there is empty.
pub(super) struct Elements<'a> {
    parts: [&'a [u8]; MAX_ELEMENTS],
    delimiters: Delimiters,
}

impl<'a> Elements<'a> {
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.parts.get(index).copied().unwrap_or_default().trim_ascii()
    }

    pub fn text(&self, index: usize) -> Option<String> {
        text(self.get(index))
    }

    pub fn phi(&self, index: usize) -> Option<Phi<String>> {
        self.text(index).map(Phi::new)
    }

    /// The parts of a composite element. Where the declared separator does not occur but another usual one does, that
    /// one is taken: published files mix them.
    pub fn composite(&self, index: usize, site: &mut Site<'_, '_>) -> Composite<'a> {
        let element = self.get(index);
        let mut separator = self.delimiters.component;
        if !element.contains(&separator)
            && let Some(&other) = element.iter().find(|&&b| b":>|^!<\\".contains(&b) && b != self.delimiters.repetition)
        {
            separator = other;
            site.note_separator(index);
        }
        Composite { parts: cut(element, separator) }
    }

    /// A required amount. Empty or unreadable gives `None` and an error note.
    pub fn required_amount(&self, index: usize, site: &mut Site<'_, '_>) -> Option<Cents> {
        if self.get(index).is_empty() {
            site.note(NoteReason::MissingAmount, index);
            return None;
        }
        self.amount(index, site).ok().flatten()
    }

    /// An amount that counts as zero where it is empty. Unreadable gives `None` and an error note.
    pub fn amount_or_zero(&self, index: usize, site: &mut Site<'_, '_>) -> Option<Cents> {
        if self.get(index).is_empty() {
            site.note(NoteReason::LineAmountMissing, index);
            return Some(Cents::ZERO);
        }
        self.amount(index, site).ok().flatten()
    }

    /// An amount that may be absent.
    ///
    /// # Errors
    /// One that is there and unreadable, after an error note.
    pub fn amount(&self, index: usize, site: &mut Site<'_, '_>) -> Result<Option<Cents>, Unreadable> {
        let element = self.get(index);
        if element.is_empty() {
            return Ok(None);
        }
        match std::str::from_utf8(element).ok().map(Cents::parse) {
            Some(Ok(amount)) => Ok(Some(amount)),
            Some(Err(_)) | None => {
                site.note(NoteReason::UnreadableAmount, index);
                Err(Unreadable)
            }
        }
    }

    /// A quantity; unreadable counts as unknown, with a warning.
    pub fn units(&self, index: usize, site: &mut Site<'_, '_>) -> Option<Units> {
        let element = self.get(index);
        if element.is_empty() {
            return None;
        }
        let units = std::str::from_utf8(element).ok().and_then(|t| Units::parse(t).ok());
        if units.is_none() {
            site.note(NoteReason::UnreadableQuantity, index);
        }
        units
    }

    /// A date of the form CCYYMMDD, with or without a time behind it; unreadable counts as unknown, with a warning.
    pub fn date(&self, index: usize, site: &mut Site<'_, '_>) -> Option<Date> {
        let element = self.get(index);
        if element.is_empty() {
            return None;
        }
        let date = date(element);
        if date.is_none() {
            site.note(NoteReason::UnreadableDate, index);
        }
        date
    }

    /// A date or a range of dates (format D8, DT or RD8): first day, and last day where it is a range.
    pub fn period(&self, index: usize, site: &mut Site<'_, '_>) -> (Option<Date>, Option<Date>) {
        let element = self.get(index);
        let Some(dash) = element.iter().position(|&b| b == b'-') else {
            return (self.date(index, site), None);
        };
        let (from, to) = (element.get(..dash).and_then(date), element.get(dash + 1..).and_then(date));
        if from.is_none() || to.is_none() {
            site.note(NoteReason::UnreadableDate, index);
        }
        (from, to)
    }
}

/// An element that is there but cannot be read; the note about it is already made.
pub(super) struct Unreadable;

/// The parts of a composite element; number 1 is the first, as in the standard's own numbering.
pub(super) struct Composite<'a> {
    parts: [&'a [u8]; MAX_COMPONENTS],
}

impl<'a> Composite<'a> {
    pub fn get(&self, number: usize) -> &'a [u8] {
        self.parts.get(number.wrapping_sub(1)).copied().unwrap_or_default().trim_ascii()
    }

    pub fn text(&self, number: usize) -> Option<String> {
        text(self.get(number))
    }

    /// Procedure modifiers: parts 3 to 6 of SV101, SV202, SV301 and SVC01.
    pub fn modifiers(&self) -> Vec<String> {
        (3..=6).filter_map(|number| self.text(number)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.parts.into_iter().map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
    }
}

/// The text of an element: trimmed, bounded, without control characters (PostgreSQL stores no NUL); bytes that are no
/// UTF-8 are read as Latin-1, which is what older systems send.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.trim_ascii();
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(valid) => Some(valid),
        // A character cut in two by the bound: keep those before it.
        Err(error) if error.error_len().is_none() && bytes.len() == MAX_TEXT => {
            bytes.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok())
        }
        Err(_) => None,
    };
    let text = match valid {
        // A fold without early exit: short texts without control characters are the rule.
        Some(valid) if !bytes.iter().fold(false, |found, b| found | b.is_ascii_control()) => valid.to_owned(),
        Some(valid) => valid.chars().filter(|c| !c.is_control()).collect(),
        None => bytes.iter().map(|&b| char::from(b)).filter(|c| !c.is_control()).collect(),
    };
    if text.is_empty() { None } else { Some(text) }
}

/// A tax id as one word: letters and digits only, so that `12-3456789` and `123456789` are the same practice.
pub(super) fn tax_id(bytes: &[u8]) -> Option<String> {
    let word: String = bytes
        .iter()
        .filter(|b| b.is_ascii_alphanumeric())
        .take(MAX_TEXT)
        .map(|&b| char::from(b.to_ascii_uppercase()))
        .collect();
    if word.is_empty() { None } else { Some(word) }
}

/// The date in the first eight bytes, CCYYMMDD; years far from any living patient are refused.
pub(super) fn date(bytes: &[u8]) -> Option<Date> {
    let digits = bytes.trim_ascii();
    let day = digits.get(..8)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    let (year, month, day) = (number(day.get(..4)?), number(day.get(4..6)?), number(day.get(6..8)?));
    if !(1800..=2200).contains(&year) {
        return None;
    }
    Date::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

/// The identifiers the reader knows. Only these are ever repeated in a note.
pub(super) fn known_id(id: &[u8]) -> &'static str {
    const KNOWN: [&str; 64] = [
        "AMT", "BHT", "BPR", "CAS", "CL1", "CLM", "CLP", "CN1", "CR1", "CR2", "CR3", "CRC", "CTP", "CUR", "DMG", "DN1",
        "DN2", "DSB", "DTM", "DTP", "FRM", "GE", "GS", "HCP", "HI", "HL", "IEA", "ISA", "K3", "LIN", "LQ", "LX", "MEA",
        "MIA", "MOA", "N1", "N2", "N3", "N4", "NM1", "NTE", "OI", "PAT", "PER", "PLB", "PRV", "PS1", "PWK", "QTY",
        "RAS", "RDM", "REF", "SBR", "SE", "ST", "SV1", "SV2", "SV3", "SV5", "SVC", "SVD", "TOO", "TRN", "TS3",
    ];
    KNOWN.iter().find(|known| known.as_bytes() == id).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_trimmed_bounded_and_free_of_control_characters() {
        assert_eq!(text(b"  A B "), Some("A B".to_owned()));
        assert_eq!(text(b" \x00 "), None);
        assert_eq!(text(b"M\xdcLLER"), Some("M\u{dc}LLER".to_owned()));
        assert_eq!(text("MÜLLER".as_bytes()), Some("MÜLLER".to_owned()));
        assert_eq!(text(&[b'x'; 2000]).map(|t| t.len()), Some(MAX_TEXT));
        let long = format!("x{}", "é".repeat(400));
        assert_eq!(text(long.as_bytes()).map(|t| t.len()), Some(MAX_TEXT - 1));
    }

    #[test]
    fn a_date_outside_the_calendar_is_unknown() {
        assert_eq!(date(b"20240229"), Date::from_ymd_opt(2024, 2, 29));
        assert_eq!(date(b"202604011030"), Date::from_ymd_opt(2026, 4, 1));
        for bad in [&b"20002316"[..], b"20230229", b"2024", b"00000000", b"2024-1-1", b"9999123", b""] {
            assert_eq!(date(bad), None);
        }
    }

    #[test]
    fn unknown_bytes_are_never_repeated_as_an_identifier() {
        assert_eq!(known_id(b"CLM"), "CLM");
        assert_eq!(known_id(b"DOE"), "");
    }

    #[test]
    fn a_tax_id_is_the_same_with_and_without_its_hyphen() {
        assert_eq!(tax_id(b"12-3456789"), tax_id(b"123456789"));
        assert_eq!(tax_id(b" - "), None);
    }
}
