//! Reads the documented CSV of a reference table: a header line, then one record per line, RFC 4180 quotes.
//!
//! Blank lines and lines that begin with `#` are passed over. Must never: accept a column it does not know, since a
//! mistyped name would silently switch a rule off; or repeat a value of a table that holds patient data in an error.

use std::borrow::Cow;
use std::fmt;

use super::code::Code;
use crate::domain::types::{Cents, Date, Units};

/// Why a table was refused: the line and column, what is wrong there, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Line of the file, from 1.
    pub line: usize,
    /// Name of the column, where one is to blame.
    pub column: Option<&'static str>,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.problem),
            None => write!(f, "line {}: {}", self.line, self.problem),
        }
    }
}

impl std::error::Error for TableError {}

/// A column of a table's format.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the header line.
    pub name: &'static str,
    /// Whether the header must have it. A value may still be left empty where the table's format says so.
    pub required: bool,
}

impl Column {
    pub(super) const fn required(name: &'static str) -> Self {
        Self { name, required: true }
    }

    pub(super) const fn optional(name: &'static str) -> Self {
        Self { name, required: false }
    }
}

/// The fields of one line.
type Fields<'a> = Vec<Cow<'a, str>>;

/// The records of a file, one after the other.
pub(crate) struct Reader<'a> {
    rest: &'a str,
    line: usize,
    columns: &'static [Column],
    /// For each column of the format, its place in the file.
    places: Vec<Option<usize>>,
    width: usize,
    records: usize,
    private: bool,
}

/// One record.
pub(crate) struct Record<'a> {
    line: usize,
    private: bool,
    columns: &'static [Column],
    places: Vec<Option<usize>>,
    fields: Fields<'a>,
}

impl<'a> Reader<'a> {
    /// Reads the header line. No error repeats a value of a `private` table.
    pub(super) fn new(text: &'a str, columns: &'static [Column], private: bool) -> Result<Self, TableError> {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Self { rest, line: 1, columns, places: Vec::new(), width: 0, records: 0, private };
        let Some((line, header)) = reader.fields()? else {
            return Err(error(1, None, format!("the file is empty; begin with the header line {}", names(columns))));
        };
        let known = |name: &str| columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        let mut places = vec![None; columns.len()];
        for (place, name) in header.iter().enumerate() {
            let name = name.trim();
            let Some(slot) = known(name).and_then(|column| places.get_mut(column)) else {
                let problem = format!("unknown column {}; the columns are {}", shown(name, private), names(columns));
                return Err(error(line, None, problem));
            };
            if slot.replace(place).is_some() {
                return Err(error(line, None, format!("column {name:?} stands there twice; remove one")));
            }
        }
        for (column, place) in columns.iter().zip(&places) {
            if column.required && place.is_none() {
                return Err(error(
                    line,
                    Some(column.name),
                    "the column is missing; add it to the header and every line",
                ));
            }
        }
        reader.width = header.len();
        reader.places = places;
        Ok(reader)
    }

    /// The next record; `None` at the end of the file.
    pub(super) fn record(&mut self) -> Result<Option<Record<'a>>, TableError> {
        let Some((line, fields)) = self.fields()? else { return Ok(None) };
        if fields.len() != self.width {
            let (found, wanted) = (fields.len(), self.width);
            let problem = format!("{found} fields where the header has {wanted}; quote fields that hold commas");
            return Err(error(line, None, problem));
        }
        self.records += 1;
        Ok(Some(Record { line, private: self.private, columns: self.columns, places: self.places.clone(), fields }))
    }

    /// The records that were read.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// The fields of the next line that holds any, with its number.
    fn fields(&mut self) -> Result<Option<(usize, Fields<'a>)>, TableError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let (first, after) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            if !first.trim().is_empty() && !first.starts_with('#') {
                break;
            }
            self.rest = after;
            self.line += 1;
        }
        let line = self.line;
        let mut fields = Vec::with_capacity(self.width.max(8));
        loop {
            let (field, last) = self.field(line)?;
            fields.push(field);
            if last {
                self.line += 1;
                return Ok(Some((line, fields)));
            }
        }
    }

    /// One field, and whether it ends its record.
    fn field(&mut self, line: usize) -> Result<(Cow<'a, str>, bool), TableError> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            return self.quoted(line);
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        let last = !rest.starts_with(',');
        self.rest = rest.get(1..).unwrap_or_default();
        if field.contains('"') {
            return Err(error(
                line,
                None,
                "a quote inside a field; put the whole field in quotes and double those within",
            ));
        }
        Ok((Cow::Borrowed(field.trim_end_matches('\r')), last))
    }

    fn quoted(&mut self, line: usize) -> Result<(Cow<'a, str>, bool), TableError> {
        let mut value = String::new();
        loop {
            let Some((part, rest)) = self.rest.split_once('"') else {
                return Err(error(line, None, "a quote is not closed; end the field with a quote"));
            };
            value.push_str(part);
            self.line += part.matches('\n').count();
            self.rest = rest;
            match rest.strip_prefix('"') {
                Some(more) => {
                    value.push('"');
                    self.rest = more;
                }
                None => break,
            }
        }
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        let last = match rest.bytes().next() {
            Some(b',') => false,
            Some(b'\n') | None => true,
            Some(_) => return Err(error(line, None, "text after a closing quote; double the quotes within a field")),
        };
        self.rest = rest.get(1..).unwrap_or_default();
        Ok((Cow::Owned(value), last))
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
}

/// A value as an error may repeat it.
fn shown(text: &str, private: bool) -> String {
    if private { "(not shown)".to_owned() } else { format!("{text:?}") }
}

fn error(line: usize, column: Option<&'static str>, problem: impl Into<String>) -> TableError {
    TableError { line, column, problem: problem.into() }
}

impl Record<'_> {
    fn name(&self, column: usize) -> Option<&'static str> {
        self.columns.get(column).map(|column| column.name)
    }

    /// An error at one column of this record.
    pub(super) fn wrong(&self, column: usize, problem: impl Into<String>) -> TableError {
        error(self.line, self.name(column), problem)
    }

    fn not(&self, column: usize, text: &str, what: &str) -> TableError {
        self.wrong(column, format!("{} is not {what}", shown(text, self.private)))
    }

    /// The value of a column, trimmed; empty also where the file leaves the column out.
    pub(super) fn text(&self, column: usize) -> &str {
        let place = self.places.get(column).copied().flatten();
        place.and_then(|place| self.fields.get(place)).map_or("", |field| field.trim())
    }

    /// A value that must be there.
    pub(super) fn filled(&self, column: usize) -> Result<&str, TableError> {
        match self.text(column) {
            "" => Err(self.wrong(column, "the value is missing; fill it in")),
            text => Ok(text),
        }
    }

    /// A code that must be there.
    pub(super) fn code(&self, column: usize) -> Result<Code, TableError> {
        let text = self.filled(column)?;
        Code::of(text).ok_or_else(|| self.not(column, text, "a code; give at most 8 letters or digits"))
    }

    /// Codes separated by blanks; none when empty.
    pub(super) fn codes(&self, column: usize) -> Result<Vec<Code>, TableError> {
        let one = |text: &str| Code::of(text).ok_or_else(|| self.not(column, text, "a code; separate codes by blanks"));
        self.text(column).split_whitespace().map(one).collect()
    }

    /// A number; `None` when empty.
    pub(super) fn number<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>, TableError> {
        match self.text(column) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.not(column, text, "a whole number that fits; write digits only")),
            },
        }
    }

    /// A number that must be there.
    pub(super) fn must_number<T: std::str::FromStr>(&self, column: usize) -> Result<T, TableError> {
        self.filled(column)?;
        self.number(column)?.ok_or_else(|| self.wrong(column, "the value is missing; fill it in"))
    }

    /// An amount of dollars that must be there, not below zero.
    pub(super) fn amount(&self, column: usize) -> Result<Cents, TableError> {
        let text = self.filled(column)?;
        let amount = Cents::parse(text).ok().filter(|amount| *amount >= Cents::ZERO);
        amount.ok_or_else(|| self.not(column, text, "an amount; write it as 120.00"))
    }

    /// A count of units; `None` when empty.
    pub(super) fn units(&self, column: usize) -> Result<Option<Units>, TableError> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        Units::parse(text).map(Some).map_err(|_| self.not(column, text, "a count of units; write it as 12 or 0.5"))
    }

    /// A day, `YYYY-MM-DD` or `CCYYMMDD`; `None` when empty or `*` (as CMS writes "no deletion").
    pub(super) fn date(&self, column: usize) -> Result<Option<Date>, TableError> {
        let text = self.text(column);
        if matches!(text, "" | "*") {
            return Ok(None);
        }
        let form = if text.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
        match Date::parse_from_str(text, form) {
            Ok(day) => Ok(Some(day)),
            Err(_) => Err(self.not(column, text, "a day; write it as 2026-01-31 or 20260131")),
        }
    }

    /// `yes` or `no` (also `y`, `n`, `1`, `0`); `None`, unknown, when empty.
    pub(super) fn flag(&self, column: usize) -> Result<Option<bool>, TableError> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is(["yes", "y", "1"]) {
            Ok(Some(true))
        } else if is(["no", "n", "0"]) {
            Ok(Some(false))
        } else {
            Err(self.not(column, text, "yes or no; leave it empty when it is not known"))
        }
    }

    /// A National Provider Identifier that must be there: ten digits.
    pub(super) fn npi(&self, column: usize) -> Result<u64, TableError> {
        let text = self.filled(column)?;
        npi(text).ok_or_else(|| self.wrong(column, "not an NPI; give its ten digits"))
    }
}

/// The number of ten digits that a text is.
pub(crate) fn npi(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::required("code"), Column::optional("from"), Column::optional("flag")];

    fn rows(text: &str) -> Result<Vec<Vec<String>>, TableError> {
        let mut reader = Reader::new(text, COLUMNS, false)?;
        let mut rows = Vec::new();
        while let Some(record) = reader.record()? {
            rows.push((0..COLUMNS.len()).map(|column| record.text(column).to_owned()).collect());
        }
        Ok(rows)
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_with_any_line_ends() {
        for text in [
            "code,from,flag\nA,B,C\n",
            "\u{feff}# note\r\n\r\nflag,CODE,from\r\nC,\"A\",B\r\n",
            "code,from,flag\nA , B,C",
        ] {
            assert_eq!(rows(text), Ok(vec![vec!["A".to_owned(), "B".to_owned(), "C".to_owned()]]), "{text:?}");
        }
        assert_eq!(rows("code\nA\n"), Ok(vec![vec!["A".to_owned(), String::new(), String::new()]]));
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_ends() {
        let text = "code,from\n\"a,b\",\"say \"\"x\"\"\nmore\"\nz,\n";
        let found = rows(text).unwrap();
        assert_eq!(found[0][..2], ["a,b".to_owned(), "say \"x\"\nmore".to_owned()]);
        assert_eq!(found[1][0], "z");
    }

    #[test]
    fn an_error_names_its_line_and_says_what_to_do() {
        for (text, line, word) in [
            ("", 1, "header"),
            ("code,colour\n", 1, "colour"),
            ("from\nx\n", 1, "missing"),
            ("code,code\n", 1, "twice"),
            ("code\nA\nA,B\n", 3, "2 fields"),
            ("code\n\"A\n", 2, "not closed"),
            ("code\n\"A\"B\n", 2, "closing quote"),
            ("code\nA\"B\n", 2, "quote"),
            ("code,from\n\"a\nb\",c\nx\n", 4, "1 fields"),
        ] {
            let error = rows(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.to_string().contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn values_are_days_numbers_flags_and_codes() {
        let mut reader =
            Reader::new("code,from,flag\n99213,20260131,Y\nI10 J1,2026-02-30,maybe\n", COLUMNS, false).unwrap();
        let good = reader.record().unwrap().unwrap();
        assert_eq!(good.date(1).unwrap(), Date::from_ymd_opt(2026, 1, 31));
        assert_eq!((good.flag(2).unwrap(), good.number::<u32>(0).unwrap()), (Some(true), Some(99_213)));
        assert_eq!(good.code(0).ok(), Code::of("99213"));
        let bad = reader.record().unwrap().unwrap();
        assert_eq!(bad.codes(0).unwrap().len(), 2);
        for error in [bad.date(1).unwrap_err(), bad.flag(2).unwrap_err(), bad.npi(0).unwrap_err()] {
            assert_eq!(error.line, 3, "{error}");
            assert!(error.column.is_some());
        }
    }

    #[test]
    fn no_error_repeats_a_value_of_a_private_table() {
        for text in [
            "SECRET,from\n",
            "code,from\n\"SECRET CODE\",2026-01-01\n",
            "code,from\nA,SECRET\n",
            "code,flag\nA,SECRET\n",
        ] {
            let read = |private| -> Result<(), TableError> {
                let mut reader = Reader::new(text, COLUMNS, private)?;
                while let Some(record) = reader.record()? {
                    record.code(0)?;
                    record.date(1)?;
                    record.flag(2)?;
                }
                Ok(())
            };
            assert!(read(false).unwrap_err().to_string().contains("SECRET"), "{text}");
            let told = read(true).unwrap_err().to_string();
            assert!(!told.contains("SECRET") && told.contains("line "), "{told}");
        }
    }
}
