//! Reads what commands are given: X12 files, NDJSON event files, folders of them, standard input; piece by piece.
//!
//! The kind of a file is told by its content, not by its name. Must never: hold a file whole, or put a value of a file
//! into a message: what could not be read is named by its place and its reason.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::domain::x12::{Item, Note, NoteReason, Position, Reader, Severity, Summary};
use crate::error::CommandError;
use crate::flow::split::event_of;
use crate::wire::{Event, Reason, decode_json};

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Troubles of one file that are kept to be shown; the others are counted.
const KEPT: usize = 50;
/// What some systems put before the first sign of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The path that stands for standard input.
const STDIN: &str = "-";

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Source {
    /// The path as it is shown; `-` is standard input.
    pub(in crate::cli) path: PathBuf,
    /// Whether it was named on the command line, not found in a folder: then it has to be readable.
    pub(in crate::cli) named: bool,
}

impl Source {
    fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }

    /// The path for messages.
    pub(in crate::cli) fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Its size in bytes, where that is known.
    pub(in crate::cli) fn size(&self) -> Option<u64> {
        if self.is_stdin() { None } else { std::fs::metadata(&self.path).ok().map(|data| data.len()) }
    }
}

/// Lists the files behind paths: folders whole and sorted, without hidden entries.
///
/// # Errors
/// Bad data: a path that is not there or cannot be listed, or folders without a single file.
pub(in crate::cli) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, CommandError> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() != STDIN && metadata(path)?.is_dir() {
            folder(path, &mut found)?;
        } else {
            found.push(Source { path: path.clone(), named: true });
        }
    }
    if found.is_empty() {
        return Err(CommandError::BadData("there is no file in the folders given".to_owned()));
    }
    Ok(found)
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, CommandError> {
    std::fs::metadata(path).map_err(|error| unreadable(&path.display().to_string(), &error))
}

fn unreadable(name: &str, error: &io::Error) -> CommandError {
    CommandError::BadData(format!("{name}: {error}"))
}

/// Links to folders are not followed, so that no circle of them is walked for ever.
fn folder(path: &Path, found: &mut Vec<Source>) -> Result<(), CommandError> {
    let failed = |error: io::Error| unreadable(&path.display().to_string(), &error);
    let mut entries = std::fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() {
            folder(&path, found)?;
        } else if kind.is_file() || (kind.is_symlink() && metadata(&path)?.is_file()) {
            found.push(Source { path, named: false });
        }
    }
    Ok(())
}

/// What a file turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Format {
    /// X12 interchanges.
    X12,
    /// One CloudEvent per line.
    Events,
    /// Nothing that can be read.
    Unknown,
}

impl Format {
    /// The word for tables.
    pub(in crate::cli) const fn as_str(self) -> &'static str {
        match self {
            Self::X12 => "x12",
            Self::Events => "events",
            Self::Unknown => "unknown",
        }
    }
}

/// Where in a file something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// A segment of an X12 file.
    Segment(Position),
    /// A line of an event file, from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(at) if at.segment == 0 => write!(f, "byte {}", at.byte),
            Self::Segment(at) => write!(f, "segment {} (interchange {})", at.segment, at.interchange),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// An event, and the line that held it if it came as one.
#[derive(Debug)]
pub(in crate::cli) struct Found {
    /// The event.
    pub(in crate::cli) event: Event,
    /// Its bytes as they stood in the file, without the line end.
    pub(in crate::cli) line: Option<Vec<u8>>,
    /// Where it stood.
    pub(in crate::cli) place: Place,
}

/// What could not be read of a file, and how much there was.
#[derive(Debug, Default)]
pub(in crate::cli) struct Findings {
    /// The first troubles, as text: place, reason, sentence.
    pub(in crate::cli) troubles: Vec<String>,
    /// Number of all troubles.
    pub(in crate::cli) errors: u64,
    /// Number of oddities that kept nothing back.
    pub(in crate::cli) warnings: u64,
    /// Claims, remitted claims and events that were found but could not be read.
    pub(in crate::cli) withheld: u64,
    /// Bytes read.
    pub(in crate::cli) bytes: u64,
    /// Events handed out.
    pub(in crate::cli) events: u64,
    /// Errors that were told while reading; the others are known only at the end.
    told: u64,
}

impl Findings {
    /// Counts a trouble, and keeps its text while there are few.
    pub(in crate::cli) fn trouble(&mut self, text: impl FnOnce() -> String) {
        self.errors += 1;
        if self.troubles.len() < KEPT {
            self.troubles.push(text());
        }
    }

    fn note(&mut self, note: &Note) {
        if note.severity == Severity::Error {
            self.told += 1;
            self.trouble(|| told(note));
        }
    }

    /// Adds what the reader counted and no longer told.
    fn sum(&mut self, summary: &Summary) {
        self.errors += summary.errors.saturating_sub(self.told);
        self.warnings += summary.warnings;
        self.withheld += summary.withheld;
    }
}

/// `segment 12 (interchange 1) CLM element 2: unreadable_amount: ...`.
fn told(note: &Note) -> String {
    let mut text = Place::Segment(note.at).to_string();
    if !note.segment_id.is_empty() {
        text.push(' ');
        text.push_str(note.segment_id);
    }
    let element = note.element.map(|element| format!(" element {element}")).unwrap_or_default();
    format!("{text}{element}: {}: {}", note.reason.as_str(), note.reason.sentence())
}

/// How the bytes are taken apart, once the first of them are known.
enum Parser {
    /// Only blanks so far, with this many line ends.
    Undecided(u64),
    X12(Box<Reader>),
    Lines(Lines),
}

/// Reads one file to its end, a piece at a time.
pub(in crate::cli) struct Reading {
    name: String,
    input: Box<dyn Read>,
    buffer: Vec<u8>,
    parser: Parser,
    max_event_bytes: usize,
    /// What there is to say of it so far.
    pub(in crate::cli) findings: Findings,
    format: Format,
}

impl Reading {
    /// Opens a file.
    ///
    /// # Errors
    /// Bad data: it cannot be opened.
    pub(in crate::cli) fn open(source: &Source, max_event_bytes: usize) -> Result<Self, CommandError> {
        let name = source.name();
        let input: Box<dyn Read> = if source.is_stdin() {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&source.path).map_err(|error| unreadable(&name, &error))?)
        };
        Ok(Self::new(name, input, max_event_bytes))
    }

    fn new(name: String, input: Box<dyn Read>, max_event_bytes: usize) -> Self {
        Self {
            name,
            input,
            buffer: vec![0; PIECE],
            parser: Parser::Undecided(0),
            max_event_bytes,
            findings: Findings::default(),
            format: Format::Unknown,
        }
    }

    /// What the file holds; settled when it was read to its end.
    pub(in crate::cli) fn format(&self) -> Format {
        self.format
    }

    /// Reads the next piece and hands out what it completes. `false` at the end, when all was handed out.
    ///
    /// # Errors
    /// Bad data: the file cannot be read.
    pub(in crate::cli) fn step(&mut self, found: &mut Vec<Found>) -> Result<bool, CommandError> {
        let read = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(|error| unreadable(&self.name, &error))?,
            }
        };
        let before = found.len();
        if read == 0 {
            self.finish(found);
        } else {
            let buffer = std::mem::take(&mut self.buffer);
            self.push(buffer.get(..read).unwrap_or_default(), found);
            self.buffer = buffer;
        }
        self.findings.events += (found.len() - before) as u64;
        Ok(read > 0)
    }

    fn push(&mut self, bytes: &[u8], found: &mut Vec<Found>) {
        self.findings.bytes += bytes.len() as u64;
        let findings = &mut self.findings;
        if let Parser::Undecided(ended) = self.parser {
            self.parser = match first_sign(bytes) {
                None => Parser::Undecided(ended + memchr::memchr_iter(b'\n', bytes).count() as u64),
                Some(b'{') => Parser::Lines(Lines { carry: Vec::new(), ended }),
                Some(_) => Parser::X12(Box::default()),
            };
        }
        match &mut self.parser {
            Parser::X12(reader) => reader.push(bytes, &mut |item| sort(item, found, findings)),
            Parser::Lines(lines) => lines.push(bytes, self.max_event_bytes, found, findings),
            Parser::Undecided(_) => {}
        }
    }

    fn finish(&mut self, found: &mut Vec<Found>) {
        let findings = &mut self.findings;
        self.format = match std::mem::replace(&mut self.parser, Parser::Undecided(0)) {
            Parser::X12(reader) => {
                let summary = reader.finish(&mut |item| sort(item, found, findings));
                findings.sum(&summary);
                let delivered = summary.claims + summary.remittances + summary.withheld;
                let is_x12 = summary.interchanges > 0 || summary.transactions > 0 || delivered > 0;
                if is_x12 { Format::X12 } else { Format::Unknown }
            }
            Parser::Lines(mut lines) => {
                lines.finish(self.max_event_bytes, found, findings);
                Format::Events
            }
            Parser::Undecided(_) => {
                let reason = NoteReason::NotX12.as_str();
                findings.trouble(|| format!("byte 0: {reason}: The file is empty."));
                Format::Unknown
            }
        };
    }
}

/// The first byte that is neither blank nor part of a byte-order mark.
fn first_sign(bytes: &[u8]) -> Option<u8> {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn sort(item: Item, found: &mut Vec<Found>, findings: &mut Findings) {
    let at = match &item {
        Item::Claim(parsed) => parsed.at,
        Item::Remittance(parsed) => parsed.at,
        Item::Note(note) => note.at,
    };
    match event_of(item) {
        Ok(event) => found.push(Found { event, line: None, place: Place::Segment(at) }),
        Err(note) => findings.note(&note),
    }
}

/// Lines of events; a line that is cut by the end of a piece waits for its rest.
#[derive(Default)]
struct Lines {
    /// The beginning of the line at hand, at most one byte more than an event may have.
    carry: Vec<u8>,
    /// Lines ended so far.
    ended: u64,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], max: usize, found: &mut Vec<Found>, findings: &mut Findings) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.keep(line, max);
            self.end_line(max, found, findings);
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest, max);
    }

    fn finish(&mut self, max: usize, found: &mut Vec<Found>, findings: &mut Findings) {
        if !self.carry.is_empty() {
            self.end_line(max, found, findings);
        }
    }

    /// Keeps no more than is needed to see that a line is too long.
    fn keep(&mut self, part: &[u8], max: usize) {
        let room = (max + 1).saturating_sub(self.carry.len());
        self.carry.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn end_line(&mut self, max: usize, found: &mut Vec<Found>, findings: &mut Findings) {
        self.ended += 1;
        let line = std::mem::take(&mut self.carry);
        let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            return;
        }
        let place = Place::Line(self.ended);
        let mut refuse = |reason: Reason, detail: &str| {
            findings.withheld += 1;
            findings.trouble(|| format!("{place}: {}: {detail}", reason.as_str()));
        };
        if line.len() > max {
            refuse(Reason::TooLarge, &format!("more than {max} bytes; each line holds one event"));
            return;
        }
        match decode_json(text) {
            Ok(event) => found.push(Found { event, line: Some(text.to_vec()), place }),
            Err(rejection) => refuse(rejection.reason, &rejection.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::examples::{CLAIM_SUBMITTED, REMITTANCE_RECEIVED};
    use std::io::Cursor;

    fn one_line(event: &str) -> String {
        event.replace('\n', "")
    }

    fn read(bytes: &[u8], max: usize) -> (Vec<Found>, Findings, Format) {
        let mut reading = Reading::new("test".to_owned(), Box::new(Cursor::new(bytes.to_vec())), max);
        let mut found = Vec::new();
        while reading.step(&mut found).unwrap() {}
        let format = reading.format();
        (found, reading.findings, format)
    }

    #[test]
    fn events_are_told_by_their_first_sign_whatever_stands_before_it() {
        let text = format!("\u{feff}\r\n  {}\n\n{}", one_line(CLAIM_SUBMITTED), one_line(REMITTANCE_RECEIVED));
        let (found, findings, format) = read(text.as_bytes(), 1 << 20);
        assert_eq!((found.len(), findings.errors, format), (2, 0, Format::Events));
        assert_eq!(findings.bytes, text.len() as u64);
        assert_eq!(found[0].line.as_deref(), Some(one_line(CLAIM_SUBMITTED).as_bytes()), "bytes are kept as they are");
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let text = format!("{}\n{{\"type\":7}}\n{}\n", one_line(CLAIM_SUBMITTED), one_line(REMITTANCE_RECEIVED));
        let (found, findings, _) = read(text.as_bytes(), 1 << 20);
        assert_eq!((found.len(), findings.errors, findings.withheld), (2, 1, 1));
        assert!(findings.troubles[0].starts_with("line 2: "), "{}", findings.troubles[0]);
    }

    #[test]
    fn a_line_over_the_limit_is_refused_without_being_held() {
        let long = format!("{{\"a\":\"{}\"}}\n{}\n", "x".repeat(300_000), one_line(CLAIM_SUBMITTED));
        let (found, findings, _) = read(long.as_bytes(), 4096);
        assert_eq!((found.len(), findings.withheld), (1, 1));
        assert_eq!(findings.troubles, ["line 1: too_large: more than 4096 bytes; each line holds one event"]);
        let mut lines = Lines::default();
        lines.keep(&[b'x'; 10_000], 4096);
        lines.keep(&[b'x'; 10_000], 4096);
        assert_eq!(lines.carry.len(), 4097);
    }

    #[test]
    fn noise_and_empty_files_hold_nothing() {
        for bytes in [&b""[..], b" \n ", b"practice_id,score\nPR01,3\n", b"\x00\x01\x02\xff"] {
            let (found, findings, format) = read(bytes, 1 << 20);
            assert_eq!((found.len(), format), (0, Format::Unknown), "{bytes:?}");
            assert!(findings.errors > 0 && !findings.troubles.is_empty());
        }
    }

    #[test]
    fn folders_are_read_whole_and_sorted_without_hidden_files() {
        let dir = std::env::temp_dir().join(format!("claimrisk-input-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(dir.join("b")).unwrap();
        for name in ["c.837", ".hidden", "b/2", "a.835", "b/1"] {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        let found = sources(std::slice::from_ref(&dir)).unwrap();
        let names: Vec<_> = found.iter().map(|one| one.path.strip_prefix(&dir).unwrap().to_owned()).collect();
        let named = sources(&[dir.join("c.837")]).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["a.835", "b/1", "b/2", "c.837"].map(PathBuf::from));
        assert!(found.iter().all(|one| !one.named) && named[0].named);
        assert!(matches!(sources(&[dir]), Err(CommandError::BadData(_))), "a missing path is bad data");
    }

    #[test]
    fn a_note_is_told_by_its_place_in_words() {
        let note = Note {
            severity: Severity::Error,
            reason: NoteReason::UnreadableAmount,
            at: Position { interchange: 1, segment: 12, byte: 640 },
            segment_id: "CLM",
            element: Some(2),
        };
        let text = told(&note);
        assert!(text.starts_with("segment 12 (interchange 1) CLM element 2: unreadable_amount: The amount"), "{text}");
    }
}
