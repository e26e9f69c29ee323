//! How wire structs become domain types: where in the document we are, what can be wrong, and the few readers.
//!
//! Must never: put a value of the document into a [`Violation`]. Its pointer is made of our own field names and indices.

use super::text::{Checked, Scalar, Text};
use crate::domain::types::Phi;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A required field is absent, null or empty.
    Missing,
    /// A field that tells which claim or practice it is, is absent, null or empty.
    NoIdentifier(&'static str),
    /// Of another JSON type, or not readable as what is expected.
    Expected(&'static str),
    /// More characters than the bound.
    TooLong(usize),
    /// Holds a control character, such as U+0000.
    ControlCharacter,
    /// More items than the bound.
    TooMany(usize),
    /// Not a JSON document of the needed shape at all.
    NotJson(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("required, but absent, null or empty"),
            Self::NoIdentifier(which) => write!(f, "no identifier: {which}"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::TooLong(max) => write!(f, "longer than {max} characters"),
            Self::ControlCharacter => f.write_str("holds a control character; remove it"),
            Self::TooMany(max) => write!(f, "more than {max} items"),
            Self::NotJson(what) => f.write_str(what),
        }
    }
}

/// A field that breaks its rule: where and how, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {kind}")]
pub struct Violation {
    /// JSON pointer (RFC 6901) of the field.
    pub pointer: String,
    /// What is wrong with it.
    pub kind: Kind,
}

/// A place in the document, as a chain on the stack that is only written out for an error.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// The object that the reading began with, as a JSON pointer.
    Root(&'a str),
    /// A field, by the name of our struct's field.
    Field(&'a At<'a>, &'static str),
    /// An item of a list.
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    /// The violation of a rule at this place.
    pub(super) fn violation(&self, kind: Kind) -> Violation {
        let mut pointer = String::new();
        self.write(&mut pointer);
        Violation { pointer, kind }
    }

    fn write(&self, pointer: &mut String) {
        match self {
            Self::Root(root) => pointer.push_str(root),
            Self::Field(parent, name) => {
                parent.write(pointer);
                pointer.push('/');
                push_camel_case(pointer, name);
            }
            Self::Item(parent, index) => {
                parent.write(pointer);
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
    }
}

/// Writes a field's name as serde's `camelCase` does.
fn push_camel_case(out: &mut String, snake_case: &str) {
    let mut upper = false;
    for letter in snake_case.chars() {
        if letter == '_' {
            upper = true;
        } else {
            out.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
    }
}

/// Reads one field of a wire struct with one of the readers below; the place carries the field's own name.
macro_rules! take {
    ($reader:ident, $data:ident . $field:ident, $at:expr) => {
        $reader($data.$field, &$crate::wire::reading::At::Field($at, stringify!($field)))?
    };
}
pub(super) use take;

/// Declares a wire struct: camelCase names, every field left out when absent, its doc comments the schema's words.
///
/// None of them prints itself: they hold patient data outside of `Phi` for as long as reading or writing takes.
macro_rules! wire {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $kind:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        $visibility struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Option::is_none")] $field_visibility $field: $kind,)*
        }
    };
}
pub(super) use wire;

/// A JSON object as read, or what was wrong with it. (Serde's own structs would take an array in its place.)
pub(super) struct Object<T>(pub(super) Result<T, Kind>);

impl<T> Object<T> {
    /// Wraps what is to be written.
    pub(super) const fn some(value: T) -> Option<Self> {
        Some(Self(Ok(value)))
    }
}

/// A JSON array of at most `MAX` items as read, or what was wrong with it.
pub(super) struct List<T, const MAX: usize>(pub(super) Result<Vec<T>, Kind>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Wraps what is to be written; an empty list is left out.
    pub(super) fn unless_empty(items: Vec<T>) -> Option<Self> {
        if items.is_empty() { None } else { Some(Self(Ok(items))) }
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<W: Serializer>(&self, writer: W) -> Result<W::Ok, W::Error> {
        self.0.as_ref().map_err(serde::ser::Error::custom)?.serialize(writer)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<W: Serializer>(&self, writer: W) -> Result<W::Ok, W::Error> {
        self.0.as_ref().map_err(serde::ser::Error::custom)?.serialize(writer)
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema, const MAX: usize> JsonSchema for List<T, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "items": generator.subschema_for::<T>(), "maxItems": MAX})
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor::<T, MAX>(PhantomData)).map(Self)
    }
}

const AN_OBJECT: Kind = Kind::Expected("an object");
const AN_ARRAY: Kind = Kind::Expected("an array");

/// Answers every JSON scalar with the same kind of violation.
macro_rules! refuse_scalars {
    ($kind:expr) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Err($kind))
        }
    };
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Result<T, Kind>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    refuse_scalars!(AN_OBJECT);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(AN_OBJECT))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Ok)
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Result<Vec<T>, Kind>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    refuse_scalars!(AN_ARRAY);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
            if items.len() > MAX {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(Kind::TooMany(MAX)));
            }
        }
        Ok(Ok(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(AN_ARRAY))
    }
}

/// A scalar that may be absent.
pub(super) fn optional<S: Scalar>(field: Option<Checked<S>>, at: &At<'_>) -> Result<Option<S::Value>, Violation> {
    field.map(|checked| checked.0.map_err(|kind| at.violation(kind))).transpose()
}

/// A scalar that must be there.
pub(super) fn required<S: Scalar>(field: Option<Checked<S>>, at: &At<'_>) -> Result<S::Value, Violation> {
    optional(field, at)?.ok_or_else(|| at.violation(Kind::Missing))
}

/// A text that may be absent; a blank one counts as absent, because many publishers send empty strings for nothing.
pub(super) fn text<const MAX: usize>(
    field: Option<Checked<Text<MAX>>>,
    at: &At<'_>,
) -> Result<Option<String>, Violation> {
    Ok(optional(field, at)?.filter(|text| !text.trim().is_empty()))
}

/// A text that must be there and not be blank.
pub(super) fn required_text<const MAX: usize>(
    field: Option<Checked<Text<MAX>>>,
    at: &At<'_>,
) -> Result<String, Violation> {
    text(field, at)?.ok_or_else(|| at.violation(Kind::Missing))
}

/// A text of a patient's that may be absent.
pub(super) fn private<const MAX: usize>(
    field: Option<Checked<Text<MAX>>>,
    at: &At<'_>,
) -> Result<Option<Phi<String>>, Violation> {
    Ok(text(field, at)?.map(Phi::new))
}

/// The patient control number, without which nothing can be linked (CLM01, CLP01).
pub(super) fn control_number<const MAX: usize>(
    field: Option<Checked<Text<MAX>>>,
    at: &At<'_>,
) -> Result<Phi<String>, Violation> {
    private(field, at)?.ok_or_else(|| at.violation(Kind::NoIdentifier("the patient control number is required")))
}

/// An object that may be absent.
pub(super) fn object<T>(field: Option<Object<T>>, at: &At<'_>) -> Result<Option<T>, Violation> {
    field.map(|object| object.0.map_err(|kind| at.violation(kind))).transpose()
}

/// A list that may be absent, which is the same as empty.
pub(super) fn list<T, const MAX: usize>(field: Option<List<T, MAX>>, at: &At<'_>) -> Result<Vec<T>, Violation> {
    field.map_or(Ok(Vec::new()), |list| list.0.map_err(|kind| at.violation(kind)))
}

/// A list that must be there; it may be empty.
pub(super) fn required_list<T, const MAX: usize>(
    field: Option<List<T, MAX>>,
    at: &At<'_>,
) -> Result<Vec<T>, Violation> {
    if field.is_none() {
        return Err(at.violation(Kind::Missing));
    }
    list(field, at)
}

/// A list of codes; blank ones are left out.
pub(super) fn codes<const LENGTH: usize, const MAX: usize>(
    field: Option<List<Checked<Text<LENGTH>>, MAX>>,
    at: &At<'_>,
) -> Result<Vec<String>, Violation> {
    let read = each(list(field, at)?, at, |code, at| optional(Some(code), at))?;
    Ok(read.into_iter().flatten().filter(|code| !code.trim().is_empty()).collect())
}

/// Reads every item with its place.
pub(super) fn each<T, U>(
    items: Vec<T>,
    at: &At<'_>,
    read: impl Fn(T, &At<'_>) -> Result<U, Violation>,
) -> Result<Vec<U>, Violation> {
    items.into_iter().enumerate().map(|(index, item)| read(item, &At::Item(at, index))).collect()
}

/// Reads every object of a list with its place.
pub(super) fn objects<T, U>(
    items: Vec<Object<T>>,
    at: &At<'_>,
    read: impl Fn(T, &At<'_>) -> Result<U, Violation>,
) -> Result<Vec<U>, Violation> {
    each(items, at, |item, at| read(item.0.map_err(|kind| at.violation(kind))?, at))
}

/// Writes a text unless it is absent or blank.
pub(super) fn put<const MAX: usize>(value: Option<&String>) -> Option<Checked<Text<MAX>>> {
    value.filter(|text| !text.trim().is_empty()).and_then(|text| Checked::some(text.clone()))
}

/// Writes a patient's text unless it is absent or blank.
pub(super) fn put_private<const MAX: usize>(value: Option<&Phi<String>>) -> Option<Checked<Text<MAX>>> {
    put(value.map(Phi::expose))
}

/// Writes a list of codes, without the blank ones, unless it is empty.
pub(super) fn put_codes<const LENGTH: usize, const MAX: usize>(
    codes: &[String],
) -> Option<List<Checked<Text<LENGTH>>, MAX>> {
    List::unless_empty(codes.iter().filter(|code| !code.trim().is_empty()).map(|c| Checked(Ok(c.clone()))).collect())
}

/// Writes every item of a list whose places count, unless it is empty.
pub(super) fn put_all<S, const MAX: usize>(items: &[S::Value]) -> Option<List<Checked<S>, MAX>>
where
    S: Scalar<Value: Clone>,
{
    List::unless_empty(items.iter().map(|item| Checked(Ok(item.clone()))).collect())
}
