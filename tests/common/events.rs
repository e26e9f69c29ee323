//! Events as publishers send them, and when all of them are settled.

use claimrisk::broker::Outgoing;
use claimrisk::topology;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::harness::{Place, Worker, eventually, sum};

pub const SOURCE: &str = "urn:clearinghouse:acme";

/// A claim event as a clearinghouse would publish it.
pub fn claim(id: &str, number: &str, change: impl FnOnce(&mut Value)) -> Outgoing {
    let mut event: Value = serde_json::from_str(claimrisk::wire::examples::CLAIM_SUBMITTED).expect("example");
    event["id"] = json!(id);
    event["data"]["patientControlNumber"] = json!(number);
    change(&mut event);
    message("claim.submitted", &event)
}

/// A remittance event that answers [`claim`].
pub fn remittance(id: &str, number: &str, change: impl FnOnce(&mut Value)) -> Outgoing {
    let mut event: Value = serde_json::from_str(claimrisk::wire::examples::REMITTANCE_RECEIVED).expect("example");
    event["id"] = json!(id);
    event["data"]["patientControlNumber"] = json!(number);
    change(&mut event);
    message("remittance.received", &event)
}

pub fn message(routing_key: &str, event: &Value) -> Outgoing {
    raw(routing_key, "application/cloudevents+json", event.to_string().into_bytes())
}

pub fn raw(routing_key: &str, content_type: &str, body: Vec<u8>) -> Outgoing {
    Outgoing {
        exchange: topology::EVENTS_EXCHANGE,
        routing_key: routing_key.to_owned(),
        content_type: Some(content_type.to_owned()),
        body,
        mandatory: true,
        ..Outgoing::default()
    }
}

/// All that properties and headers tell, as text: the client prints texts of headers as lists of bytes.
pub fn told(properties: &lapin::BasicProperties) -> String {
    let mut all = format!("{properties:?}");
    for (name, value) in properties.headers().iter().flat_map(lapin::types::FieldTable::inner) {
        all.push_str(&format!(" {name}={}", value_told(value)));
    }
    all
}

fn value_told(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_told).collect::<Vec<_>>().join(" "),
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| format!("{name}={} ", value_told(value))).collect()
        }
        other => format!("{other:?}"),
    }
}

/// Waits until all that was received is settled and the queues are empty.
pub async fn quiet(place: &Place, workers: &[&Worker]) {
    let all_settled = async || {
        for queue in [topology::CLAIMS_QUEUE, topology::REMITTANCES_QUEUE, topology::X12_QUEUE] {
            if place.ready(queue).await > 0 {
                return false;
            }
        }
        for worker in workers {
            let metrics = worker.metrics().await;
            let (received, settled) =
                (sum(&metrics, "claimrisk_messages_received_total"), sum(&metrics, "claimrisk_messages_settled_total"));
            if received != settled || sum(&metrics, "claimrisk_messages_in_flight") != 0 {
                return false;
            }
        }
        true
    };
    eventually("all is settled", all_settled, || workers.iter().map(|worker| worker.log()).collect()).await;
}
