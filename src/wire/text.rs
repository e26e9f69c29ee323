//! The scalar fields of events: texts, money, dates, counts and codes, each with its reader, writer and schema.
//!
//! Must never: fail while JSON is being read. A wrong value is kept as its [`Kind`] until the reader knows its place.
//! The bounds keep what arrives within what the database takes: PostgreSQL refuses U+0000 in a text.

use super::reading::Kind;
use crate::domain::claim::{ClaimType, Responsibility};
use crate::domain::types::{Cents, Date, Units};
use chrono::Datelike;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// What one kind of scalar takes from JSON and writes to it.
pub(super) trait Scalar {
    /// What the domain holds.
    type Value;
    /// What a publisher should send, in words.
    const EXPECTED: &'static str;

    /// Reads a JSON string.
    fn from_text(text: &str) -> Result<Self::Value, Kind>;

    /// Reads a JSON integer; refused unless the kind says otherwise.
    fn from_integer(_: i64) -> Result<Self::Value, Kind> {
        Err(Kind::Expected(Self::EXPECTED))
    }

    /// Reads a JSON boolean; refused unless the kind says otherwise.
    fn from_bool(_: bool) -> Result<Self::Value, Kind> {
        Err(Kind::Expected(Self::EXPECTED))
    }

    /// Writes the value in its one canonical form.
    fn write<W: Serializer>(value: &Self::Value, writer: W) -> Result<W::Ok, W::Error>;

    /// The JSON Schema of what is taken.
    fn schema() -> Schema;
}

/// A scalar as read: its value, or what was wrong with it.
pub(super) struct Checked<S: Scalar>(pub(super) Result<S::Value, Kind>);

impl<S: Scalar> Checked<S> {
    /// Wraps a value of the domain for writing.
    pub(super) const fn some(value: S::Value) -> Option<Self> {
        Some(Self(Ok(value)))
    }
}

impl<S: Scalar> Serialize for Checked<S> {
    fn serialize<W: Serializer>(&self, writer: W) -> Result<W::Ok, W::Error> {
        match &self.0 {
            Ok(value) => S::write(value, writer),
            Err(kind) => Err(W::Error::custom(kind)),
        }
    }
}

impl<S: Scalar> JsonSchema for Checked<S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        S::schema()
    }
}

impl<'de, S: Scalar> Deserialize<'de> for Checked<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor::<S>(PhantomData)).map(Self)
    }
}

/// Takes any JSON value, so that a wrong one is remembered with its kind rather than ending the reading.
struct ScalarVisitor<S>(PhantomData<S>);

impl<'de, S: Scalar> Visitor<'de> for ScalarVisitor<S> {
    type Value = Result<S::Value, Kind>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTED)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(S::from_text(text))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(S::from_integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_err(|_| Kind::Expected(S::EXPECTED)).and_then(S::from_integer))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(S::from_bool(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err(Kind::Expected(S::EXPECTED)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(Kind::Expected(S::EXPECTED)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Kind::Expected(S::EXPECTED)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(Kind::Expected(S::EXPECTED)))
    }
}

/// A text of at most `MAX` characters without control characters.
pub(super) enum Text<const MAX: usize> {}
/// A code of one of the code sets.
pub(super) type Code = Checked<Text<30>>;
/// An identifier or number of someone's.
pub(super) type Identifier = Checked<Text<80>>;
/// A name.
pub(super) type Name = Checked<Text<256>>;
/// Free text.
pub(super) type FreeText = Checked<Text<500>>;

impl<const MAX: usize> Scalar for Text<MAX> {
    type Value = String;
    const EXPECTED: &'static str = "a string";

    fn from_text(text: &str) -> Result<String, Kind> {
        // Counted in characters, as JSON Schema does; the byte length is a cheap first look.
        if text.len() > MAX && text.chars().count() > MAX {
            return Err(Kind::TooLong(MAX));
        }
        if text.chars().any(char::is_control) {
            return Err(Kind::ControlCharacter);
        }
        Ok(text.to_owned())
    }

    fn write<W: Serializer>(value: &String, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_str(value)
    }

    fn schema() -> Schema {
        json_schema!({"type": "string", "maxLength": MAX, "pattern": NO_CONTROL_CHARACTERS})
    }
}

/// Pattern of a text without control characters (Unicode category Cc, as [`char::is_control`]).
pub(super) const NO_CONTROL_CHARACTERS: &str = r"^[^\x00-\x1F\x7F-\x9F]*$";

/// A diagnosis code, with or without its dot. A blank one is an error, because pointers count the places of the list.
pub(super) enum Diagnosis {}

impl Scalar for Diagnosis {
    type Value = String;
    const EXPECTED: &'static str = "a diagnosis code";

    fn from_text(text: &str) -> Result<String, Kind> {
        let mut code = Text::<30>::from_text(text)?;
        code.retain(|letter| letter != '.' && !letter.is_whitespace());
        code.make_ascii_uppercase();
        if code.is_empty() { Err(Kind::Expected(Self::EXPECTED)) } else { Ok(code) }
    }

    fn write<W: Serializer>(value: &String, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_str(value)
    }

    fn schema() -> Schema {
        let mut schema = Text::<30>::schema();
        schema.insert("allOf".to_owned(), serde_json::json!([{"pattern": r"[^.\s]"}]));
        schema
    }
}

/// An amount of money.
pub(super) enum Money {}

impl Scalar for Money {
    type Value = Cents;
    const EXPECTED: &'static str =
        "an amount of money as a decimal string such as \"12.30\", at most 2 decimals and 12 digits before the point";

    fn from_text(text: &str) -> Result<Cents, Kind> {
        Cents::parse(text).map_err(|_| Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &Cents, writer: W) -> Result<W::Ok, W::Error> {
        writer.collect_str(value)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[+-]?(0*[0-9]{1,12}(\.[0-9]{0,2}0*)?|\.[0-9]{1,2}0*)$",
            "examples": ["800.00"]
        })
    }
}

/// A count of units.
pub(super) enum Quantity {}

impl Scalar for Quantity {
    type Value = Units;
    const EXPECTED: &'static str = "a count as a decimal string such as \"1\" or \"2.5\", or an integer";

    fn from_text(text: &str) -> Result<Units, Kind> {
        Units::parse(text).map_err(|_| Kind::Expected(Self::EXPECTED))
    }

    fn from_integer(value: i64) -> Result<Units, Kind> {
        if value.unsigned_abs() > 999_999_999 {
            return Err(Kind::Expected(Self::EXPECTED));
        }
        Ok(Units::from_thousandths(value * 1000))
    }

    fn write<W: Serializer>(value: &Units, writer: W) -> Result<W::Ok, W::Error> {
        writer.collect_str(value)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[+-]?(0*[0-9]{1,9}(\.[0-9]{0,3}0*)?|\.[0-9]{1,3}0*)$",
            "minimum": -999_999_999,
            "maximum": 999_999_999
        })
    }
}

/// A calendar date.
pub(super) enum Day {}

impl Scalar for Day {
    type Value = Date;
    const EXPECTED: &'static str = "a date as YYYY-MM-DD or CCYYMMDD, from the year 1800 on";

    fn from_text(text: &str) -> Result<Date, Kind> {
        read_day(text.as_bytes()).ok_or(Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &Date, writer: W) -> Result<W::Ok, W::Error> {
        writer.collect_str(&value.format("%Y-%m-%d"))
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^((1[89]|[2-9][0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])|(1[89]|[2-9][0-9])[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01]))$",
            "examples": ["2026-10-30", "20261030"]
        })
    }
}

/// Reads either form of a date. Years before 1800 are the empty dates of other systems, not days in a life.
fn read_day(text: &[u8]) -> Option<Date> {
    let (year, month, day) = match text {
        [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => (y, [*m1, *m2], [*d1, *d2]),
        [y @ .., m1, m2, d1, d2] if y.len() == 4 => (y, [*m1, *m2], [*d1, *d2]),
        _ => return None,
    };
    let date = Date::from_ymd_opt(i32::try_from(digits(year)?).ok()?, digits(&month)?, digits(&day)?)?;
    (date.year() >= 1800).then_some(date)
}

/// Reads a few ASCII digits.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// A place in a list, from 1 to 255.
pub(super) enum Pointer {}

impl Scalar for Pointer {
    type Value = u8;
    const EXPECTED: &'static str = "a place in the list of diagnoses as an integer from 1";

    fn from_text(text: &str) -> Result<u8, Kind> {
        // Three digits at most: enough for 255, and no overflow.
        let number = Some(text.as_bytes()).filter(|t| (1..=3).contains(&t.len())).and_then(digits);
        number.map_or(Err(Kind::Expected(Self::EXPECTED)), |n| Self::from_integer(i64::from(n)))
    }

    fn from_integer(value: i64) -> Result<u8, Kind> {
        u8::try_from(value).ok().filter(|place| *place > 0).ok_or(Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &u8, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_u8(*value)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 255,
            "pattern": "^(0{0,2}[1-9]|0?[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])$"
        })
    }
}

/// The place of a claim in its 835, from 1.
pub(super) enum Ordinal {}

impl Scalar for Ordinal {
    type Value = u32;
    const EXPECTED: &'static str = "an integer from 1";

    fn from_text(text: &str) -> Result<u32, Kind> {
        let number = Some(text.as_bytes()).filter(|t| (1..=9).contains(&t.len())).and_then(digits);
        number.map_or(Err(Kind::Expected(Self::EXPECTED)), |n| Self::from_integer(i64::from(n)))
    }

    fn from_integer(value: i64) -> Result<u32, Kind> {
        // Stored as a PostgreSQL integer, which is signed.
        i32::try_from(value)
            .ok()
            .and_then(|place| u32::try_from(place).ok())
            .filter(|place| *place > 0)
            .ok_or(Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &u32, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_u32(*value)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 2_147_483_647,
            "pattern": "^0{0,8}[1-9][0-9]{0,8}$",
            "maxLength": 9
        })
    }
}

/// A truth value.
pub(super) enum Flag {}

impl Scalar for Flag {
    type Value = bool;
    const EXPECTED: &'static str = "true or false";

    fn from_text(_: &str) -> Result<bool, Kind> {
        Err(Kind::Expected(Self::EXPECTED))
    }

    fn from_bool(value: bool) -> Result<bool, Kind> {
        Ok(value)
    }

    fn write<W: Serializer>(value: &bool, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_bool(*value)
    }

    fn schema() -> Schema {
        json_schema!({"type": "boolean"})
    }
}

/// Which 837 a claim is.
pub(super) enum Form {}

impl Scalar for Form {
    type Value = ClaimType;
    const EXPECTED: &'static str = "one of professional, institutional, dental";

    fn from_text(text: &str) -> Result<ClaimType, Kind> {
        ClaimType::parse(text).ok_or(Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &ClaimType, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_str(value.as_str())
    }

    fn schema() -> Schema {
        json_schema!({"type": "string", "enum": ["professional", "institutional", "dental"]})
    }
}

/// The place of a payer among the patient's payers (X12 SBR01).
pub(super) enum Sequence {}

impl Scalar for Sequence {
    type Value = Responsibility;
    const EXPECTED: &'static str = "one of P, S, T, or A to H for a fourth payer and later ones";

    fn from_text(text: &str) -> Result<Responsibility, Kind> {
        Responsibility::parse(text).ok_or(Kind::Expected(Self::EXPECTED))
    }

    fn write<W: Serializer>(value: &Responsibility, writer: W) -> Result<W::Ok, W::Error> {
        writer.serialize_str(value.code())
    }

    fn schema() -> Schema {
        json_schema!({"type": "string", "pattern": "^[PSTA-H]$"})
    }
}
