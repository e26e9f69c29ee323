//! Cuts a stream of bytes into segments, across chunks of any size, without copying what lies whole in a chunk.
//!
//! Must never: hold more than one partial segment, or let the place of a cut between chunks change what comes out.

use memchr::{memchr, memchr3};

use super::note::{NoteReason, Position};
use super::segment::{Delimiters, Segment};
use super::separators::{Start, separates, start};

/// The longest segment that is read, in bytes. The longest that the standard allows for one used here is far below.
pub(super) const MAX_SEGMENT: usize = 65_536;

/// What the tokenizer found.
pub(super) enum Framed<'a> {
    /// A whole segment.
    Segment(Segment<'a>, Position),
    /// Bytes at the very end without a terminator.
    Tail(Segment<'a>, Position),
    /// A remark on bytes that make no segment.
    Note(NoteReason, Position),
}

#[derive(Clone, Copy)]
enum State {
    /// Outside any interchange: looking for ISA, or GS or ST.
    Seeking,
    /// Inside one: segments end where the terminator stands.
    Framing(Delimiters),
    /// Inside a segment that is too long: until its terminator.
    Skipping(Delimiters),
}

/// How far a step came.
struct Step {
    used: usize,
    /// Whether more bytes are needed to go on.
    blocked: bool,
}

/// The cutter. Holds a partial segment between chunks.
pub(super) struct Tokenizer {
    state: State,
    carry: Vec<u8>,
    /// Used for the rare segment with line ends inside.
    scratch: Vec<u8>,
    /// Offset of the next byte to use.
    offset: u64,
    segments: u64,
    interchanges: u32,
    last: Option<Delimiters>,
    after_word: bool,
    in_noise: bool,
    begun: bool,
}

impl Tokenizer {
    pub fn new() -> Self {
        Self {
            state: State::Seeking,
            carry: Vec::new(),
            scratch: Vec::new(),
            offset: 0,
            segments: 0,
            interchanges: 0,
            last: None,
            after_word: false,
            in_noise: false,
            begun: false,
        }
    }

    /// Segments cut so far.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// Takes the next bytes of the stream and hands out what they complete.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Framed<'_>)) {
        let mut rest = bytes;
        while !self.carry.is_empty() && !rest.is_empty() {
            let (take, complete) = self.wanted(rest);
            let (head, tail) = rest.split_at(take);
            self.carry.extend_from_slice(head);
            rest = tail;
            if !complete && (4..=MAX_SEGMENT).contains(&self.carry.len()) {
                continue;
            }
            let mut carry = std::mem::take(&mut self.carry);
            let used = self.consume(&carry, false, emit);
            carry.drain(..used);
            self.carry = carry;
        }
        if self.carry.is_empty() {
            let used = self.consume(rest, false, emit);
            self.carry.extend_from_slice(rest.get(used..).unwrap_or_default());
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, emit: &mut impl FnMut(Framed<'_>)) {
        let carry = std::mem::take(&mut self.carry);
        let used = self.consume(&carry, true, emit);
        debug_assert_eq!(used, carry.len(), "at the end every byte is used");
        if !self.begun && !self.in_noise {
            emit(Framed::Note(NoteReason::NotX12, Position::default()));
        }
    }

    /// How many of the new bytes to join to those carried over, and whether they may complete something.
    fn wanted(&self, rest: &[u8]) -> (usize, bool) {
        match self.state {
            State::Seeking => (rest.len().min(512), true),
            State::Framing(d) | State::Skipping(d) => {
                let window = rest.get(..MAX_SEGMENT).unwrap_or(rest);
                match memchr(d.terminator, window) {
                    Some(found) => (found + 1, true),
                    None => (window.len(), false),
                }
            }
        }
    }

    fn consume(&mut self, bytes: &[u8], at_end: bool, emit: &mut impl FnMut(Framed<'_>)) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
        {
            let step = match self.state {
                State::Seeking => self.seek(rest, at_end, emit),
                State::Framing(d) => self.frame(rest, d, at_end, emit),
                State::Skipping(d) => self.skip(rest, d),
            };
            used += step.used;
            self.offset += step.used as u64;
            if step.blocked {
                break;
            }
        }
        used
    }

    fn position(&self, ahead: usize) -> Position {
        Position { interchange: self.interchanges, segment: self.segments, byte: self.offset + ahead as u64 }
    }

    /// Looks for the next interchange; whatever else stands there is remarked on once.
    fn seek(&mut self, rest: &[u8], at_end: bool, emit: &mut impl FnMut(Framed<'_>)) -> Step {
        let mut index = 0;
        while let Some(here) = rest.get(index..)
            && let Some(&byte) = here.first()
        {
            if is_filler(byte) || (self.offset + (index as u64) < 3 && b"\xef\xbb\xbf".contains(&byte)) {
                self.after_word = false;
                index += 1;
                continue;
            }
            match if self.after_word { Start::No } else { start(here, self.last, at_end) } {
                Start::Wait => return Step { used: index, blocked: true },
                Start::Isa { delimiters, length, used, fixed_width } => {
                    self.open(delimiters);
                    self.interchanges += 1;
                    self.segments += 1;
                    let at = self.position(index);
                    if !fixed_width {
                        emit(Framed::Note(NoteReason::IsaNotFixedWidth, at));
                    }
                    let raw = here.get(..length).unwrap_or(here);
                    self.scratch.clear();
                    self.scratch.extend(raw.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
                    emit(Framed::Segment(Segment { raw: &self.scratch, delimiters }, at));
                    return Step { used: index + used, blocked: false };
                }
                Start::Guessed(delimiters) => {
                    emit(Framed::Note(NoteReason::SeparatorsGuessed, self.position(index)));
                    self.open(delimiters);
                    return Step { used: index, blocked: false };
                }
                Start::BadIsa => {
                    emit(Framed::Note(NoteReason::IsaUnreadable, self.position(index)));
                    self.in_noise = true;
                }
                Start::No => {
                    if !self.in_noise {
                        let reason = if self.begun { NoteReason::TrailingBytes } else { NoteReason::NotX12 };
                        emit(Framed::Note(reason, self.position(index)));
                        self.in_noise = true;
                    }
                }
            }
            index = self.next_candidate(rest, index + 1);
        }
        Step { used: index, blocked: false }
    }

    /// The next place where an identifier that opens something may stand.
    fn next_candidate(&mut self, rest: &[u8], from: usize) -> usize {
        let found = memchr3(b'I', b'G', b'S', rest.get(from..).unwrap_or_default());
        let index = found.map_or(rest.len(), |ahead| from + ahead);
        self.after_word = rest.get(index - 1).is_some_and(u8::is_ascii_alphanumeric);
        index
    }

    fn open(&mut self, delimiters: Delimiters) {
        self.state = State::Framing(delimiters);
        self.last = Some(delimiters);
        self.begun = true;
        self.in_noise = false;
    }

    /// Cuts segments off for as long as there are whole ones.
    fn frame(&mut self, rest: &[u8], d: Delimiters, at_end: bool, emit: &mut impl FnMut(Framed<'_>)) -> Step {
        let mut index = 0;
        while let Some(here) = rest.get(index..)
            && let Some(&byte) = here.first()
        {
            if byte == d.terminator || is_filler(byte) {
                index += 1;
                continue;
            }
            match if byte == b'I' { opens_interchange(here) } else { Some(false) } {
                Some(false) => {}
                Some(true) => {
                    self.state = State::Seeking;
                    self.after_word = false;
                    return Step { used: index, blocked: false };
                }
                None if !at_end => return Step { used: index, blocked: true },
                None => {}
            }
            let limit = here.get(..=MAX_SEGMENT).unwrap_or(here);
            let Some((length, clean)) = segment_end(limit, d) else {
                if here.len() > MAX_SEGMENT {
                    self.segments += 1;
                    emit(Framed::Note(NoteReason::SegmentTooLong, self.position(index)));
                    self.state = State::Skipping(d);
                    return Step { used: index, blocked: false };
                }
                if !at_end {
                    return Step { used: index, blocked: true };
                }
                self.segments += 1;
                let at = self.position(index);
                let segment = Segment { raw: tidy(&mut self.scratch, here, false), delimiters: d };
                emit(Framed::Tail(segment, at));
                return Step { used: rest.len(), blocked: false };
            };
            self.segments += 1;
            let at = self.position(index);
            let raw = tidy(&mut self.scratch, here.get(..length).unwrap_or(here), clean);
            let closes = raw.starts_with(b"IEA") && raw.get(3).is_none_or(|&b| b == d.element);
            emit(Framed::Segment(Segment { raw, delimiters: d }, at));
            index += length + 1;
            if closes {
                self.state = State::Seeking;
                self.after_word = false;
                return Step { used: index, blocked: false };
            }
        }
        Step { used: index, blocked: false }
    }

    fn skip(&mut self, rest: &[u8], d: Delimiters) -> Step {
        match memchr(d.terminator, rest) {
            Some(found) => {
                self.state = State::Framing(d);
                Step { used: found + 1, blocked: false }
            }
            None => Step { used: rest.len(), blocked: false },
        }
    }
}

/// Bytes that may stand between segments: blanks, line ends, padding, the end-of-file sign of old systems.
const fn is_filler(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0 | 0x1a)
}

/// Whether a segment begins here that opens an interchange, whatever its separators; `None` where more bytes must tell.
fn opens_interchange(here: &[u8]) -> Option<bool> {
    match here {
        [b'I', b'S', b'A', separator, ..] => Some(separates(*separator)),
        [b'I'] | [b'I', b'S'] | [b'I', b'S', b'A'] => None,
        _ => Some(false),
    }
}

/// Where the segment ends, and whether it is free of line ends.
fn segment_end(limit: &[u8], d: Delimiters) -> Option<(usize, bool)> {
    if matches!(d.terminator, b'\r' | b'\n') {
        return memchr(d.terminator, limit).map(|found| (found, true));
    }
    let first = memchr3(d.terminator, b'\r', b'\n', limit)?;
    if limit.get(first) == Some(&d.terminator) {
        return Some((first, true));
    }
    let more = memchr(d.terminator, limit.get(first..).unwrap_or_default())?;
    Some((first + more, false))
}

/// The segment without blanks at its end and, where lines are wrapped inside it, without line ends.
fn tidy<'a>(scratch: &'a mut Vec<u8>, raw: &'a [u8], clean: bool) -> &'a [u8] {
    if clean || memchr::memchr2(b'\r', b'\n', raw).is_none() {
        return match raw.last() {
            Some(last) if last.is_ascii_whitespace() => raw.trim_ascii_end(),
            _ => raw,
        };
    }
    scratch.clear();
    scratch.extend(raw.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
    scratch.trim_ascii_end()
}
