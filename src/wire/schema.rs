//! The JSON Schemas (draft 2020-12) of the events, generated from the wire structs, for `queues/schemas/`.
//!
//! Must never: say something that the reader does not do; `tests/schemas.rs` holds both against the same documents.

use super::envelope::MAX_ATTRIBUTE;
use super::examples;
use super::text::NO_CONTROL_CHARACTERS;
use super::{AcknowledgementData, ClaimData, EventType, RemittanceData};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

/// All schemas with the names of their files, in the order of the contract.
///
/// Each describes a whole structured event; its data alone, as binary mode and the API take it, is at
/// `#/$defs/ClaimData` and its like. Raw X12 has none.
pub fn all() -> Vec<(String, Value)> {
    vec![
        of::<ClaimData>(EventType::ClaimSubmitted, "A claim was sent to a payer", examples::CLAIM_SUBMITTED),
        of::<AcknowledgementData>(
            EventType::ClaimAcknowledged,
            "A claim was taken in, or turned away before adjudication",
            examples::CLAIM_ACKNOWLEDGED,
        ),
        of::<RemittanceData>(
            EventType::RemittanceReceived,
            "A payer adjudicated a claim",
            examples::REMITTANCE_RECEIVED,
        ),
    ]
}

/// The text of a schema file, its keys in order whatever order the JSON library was built to keep.
pub fn file_text(schema: &Value) -> String {
    let mut schema = schema.clone();
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

fn of<T: JsonSchema>(kind: EventType, title: &str, example: &str) -> (String, Value) {
    let example: Value = serde_json::from_str(example).expect("the examples are JSON, as a test knows");
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let data = generator.subschema_for::<T>();
    let mut definitions = generator.take_definitions(true);
    require_practice(&mut definitions);
    let attribute = json!({
        "type": "string",
        "maxLength": MAX_ATTRIBUTE,
        "allOf": [{"pattern": NO_CONTROL_CHARACTERS}, {"pattern": "\\S"}]
    });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{}: {title}", kind.versioned_type()),
        "description": "A structured CloudEvent. Source and id together identify the event. Unknown fields are ignored.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"type": "string", "pattern": "^1\\."},
            "id": attribute,
            "source": attribute,
            "type": {"type": "string", "pattern": format!("^{}(\\..*)?$", kind.versioned_type().replace('.', "\\."))},
            "time": {
                "type": "string",
                "format": "date-time",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
                "description": "When it happened; orders the versions of one submission."
            },
            "datacontenttype": {"type": ["string", "null"], "maxLength": MAX_ATTRIBUTE, "pattern": "^\\s*$|[Jj][Ss][Oo][Nn]"},
            "data": data
        },
        "not": {"required": ["data_base64"]},
        "examples": [example],
        "$defs": definitions
    });
    (format!("{}.json", kind.versioned_type()), schema)
}

/// Adds to each event's data what no single field can say: something must name the practice.
fn require_practice(definitions: &mut serde_json::Map<String, Value>) {
    let given = |field: &str| json!({"required": [field], "properties": {field: {"type": "string", "pattern": "\\S"}}});
    let within = |object: &str, fields: &[&str]| {
        let any: Vec<Value> = fields.iter().map(|field| given(field)).collect();
        json!({"required": [object], "properties": {object: {"type": "object", "anyOf": any}}})
    };
    let rules = [
        ("ClaimData", vec![given("practiceId"), within("billingProvider", &["npi", "taxId"])]),
        ("RemittanceData", vec![given("practiceId"), given("payeeNpi"), given("payeeTaxId")]),
        ("AcknowledgementData", vec![given("practiceId"), given("billingProviderNpi")]),
    ];
    for (name, rule) in rules {
        if let Some(Value::Object(definition)) = definitions.get_mut(name) {
            definition.insert("anyOf".to_owned(), Value::Array(rule));
        }
    }
}
