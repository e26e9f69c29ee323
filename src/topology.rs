//! The broker's exchanges, queues and bindings, as `queues/definitions.json` says: declared, compared, printed.
//!
//! The file is the only source; nothing here adds to it. It must never delete or change what a broker already has: a
//! difference is reported, and resolving it is a person's decision, since a queue's arguments change only by deleting it.

use std::collections::BTreeMap;
use std::fmt;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use serde::Deserialize;

/// Inbound events; the routing key is the event's type without its version.
pub const EVENTS_EXCHANGE: &str = "claimrisk.events";
/// Events that wait before they are tried again. A headers exchange, so that the routing key stays the event's:
/// [`RETRY_DELAY_HEADER`] chooses the queue.
pub const RETRY_EXCHANGE: &str = "claimrisk.retry";
/// Events that were given up.
pub const DEAD_EXCHANGE: &str = "claimrisk.dead";
/// Scores and receipts for publishers.
pub const OUT_EXCHANGE: &str = "claimrisk.out";

/// Work: submitted and acknowledged claims.
pub const CLAIMS_QUEUE: &str = "claimrisk.claims";
/// Work: received remittances.
pub const REMITTANCES_QUEUE: &str = "claimrisk.remittances";
/// Work: raw X12 interchanges.
pub const X12_QUEUE: &str = "claimrisk.x12";
/// Events that were given up, kept until a person replays or discards them.
pub const DEAD_QUEUE: &str = "claimrisk.dead";

/// Routing key of a submitted claim.
pub const CLAIM_SUBMITTED: &str = "claim.submitted";
/// Routing key of a claim's acknowledgement (277CA).
pub const CLAIM_ACKNOWLEDGED: &str = "claim.acknowledged";
/// Routing key of a remittance.
pub const REMITTANCE_RECEIVED: &str = "remittance.received";
/// Routing key of a raw X12 interchange.
pub const X12_RECEIVED: &str = "x12.received";

/// The header that chooses a retry queue. Its name must not start with `x-`: RabbitMQ ignores such headers when it matches.
pub const RETRY_DELAY_HEADER: &str = "retry-delay";

/// The header that counts how often a person has sent a dead letter again.
pub const REPLAYED_HEADER: &str = "x-replayed";

/// The fixed delays before an event is tried again; one queue each, because messages expire only at a queue's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryDelay {
    /// Five seconds.
    FiveSeconds,
    /// One minute.
    OneMinute,
    /// Ten minutes.
    TenMinutes,
}

impl RetryDelay {
    /// All delays, shortest first.
    pub const ALL: [Self; 3] = [Self::FiveSeconds, Self::OneMinute, Self::TenMinutes];

    /// The value of [`RETRY_DELAY_HEADER`].
    #[must_use]
    pub const fn header_value(self) -> &'static str {
        match self {
            Self::FiveSeconds => "5s",
            Self::OneMinute => "1m",
            Self::TenMinutes => "10m",
        }
    }

    /// The queue in which events wait this long.
    #[must_use]
    pub const fn queue(self) -> &'static str {
        match self {
            Self::FiveSeconds => "claimrisk.retry.5s",
            Self::OneMinute => "claimrisk.retry.1m",
            Self::TenMinutes => "claimrisk.retry.10m",
        }
    }

    /// The delay in milliseconds.
    #[must_use]
    pub const fn milliseconds(self) -> i64 {
        match self {
            Self::FiveSeconds => 5_000,
            Self::OneMinute => 60_000,
            Self::TenMinutes => 600_000,
        }
    }
}

const SOURCE: &str = include_str!("../queues/definitions.json");

/// Why the topology could not be read, declared or compared.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The embedded file is no topology: a defect of the build.
    #[error("queues/definitions.json is wrong")]
    Definitions(#[from] serde_json::Error),
    /// A name in the file is longer than AMQP allows (255 bytes).
    #[error("the name {0:?} is longer than 255 bytes")]
    NameTooLong(String),
    /// The broker refused one object.
    #[error("the broker refused {object}")]
    Refused {
        /// The object, as [`Report`] would name it.
        object: String,
        /// What the broker said.
        #[source]
        source: lapin::Error,
    },
    /// The connection or channel failed.
    #[error("the connection to the broker failed")]
    Broker(#[from] lapin::Error),
}

/// `queues/definitions.json` in RabbitMQ's own format for definitions, limited to what claimrisk uses of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The virtual hosts that an import makes sure of. Over AMQP the connection's own virtual host is used instead.
    pub vhosts: Vec<Vhost>,
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues.
    pub queues: Vec<Queue>,
    /// What is routed where.
    pub bindings: Vec<Binding>,
}

/// A virtual host of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vhost {
    /// Its name, `/`.
    pub name: String,
}

/// An exchange of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// The virtual host an import puts it in.
    pub vhost: String,
    /// How it routes.
    #[serde(rename = "type")]
    pub kind: Routing,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether publishers are kept out.
    pub internal: bool,
    /// Further arguments.
    pub arguments: Arguments,
}

/// How an exchange of the file routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// By patterns of the routing key.
    Topic,
    /// By message headers.
    Headers,
}

/// A queue of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The virtual host an import puts it in.
    pub vhost: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its type and limits.
    pub arguments: Arguments,
}

/// A binding of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The exchange.
    pub source: String,
    /// The virtual host an import puts it in.
    pub vhost: String,
    /// The queue.
    pub destination: String,
    /// Always `queue` here.
    pub destination_type: DestinationType,
    /// The pattern of routing keys; empty for a headers exchange.
    pub routing_key: String,
    /// The headers to match, for a headers exchange.
    pub arguments: Arguments,
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationType {
    /// A queue.
    Queue,
}

/// The arguments of an object, by name.
pub type Arguments = BTreeMap<String, Argument>;

/// The kinds of value that arguments have in the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// A number: a limit, or milliseconds.
    Number(i64),
    /// A word.
    Text(String),
}

/// What [`apply`] declared. Displays as one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Exchanges declared, whether they had been there or not.
    pub exchanges: usize,
    /// Queues declared.
    pub queues: usize,
    /// Bindings declared.
    pub bindings: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchanges, queues, bindings } = self;
        write!(formatter, "{exchanges} exchanges, {queues} queues and {bindings} bindings are declared")
    }
}

/// One way in which a broker differs from the file. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The object is not there.
    #[error("{object} is missing")]
    Missing {
        /// `exchange NAME` or `queue NAME`.
        object: String,
    },
    /// The object is there with other properties, which only deleting it can change.
    #[error("{object} differs: {reason}")]
    Differs {
        /// `exchange NAME` or `queue NAME`.
        object: String,
        /// The broker's words: which argument, what it is, what the file says.
        reason: String,
    },
}

/// The topology of the embedded file.
///
/// # Errors
/// [`TopologyError::Definitions`] when the file does not parse, which a test excludes.
pub fn definitions() -> Result<Topology, TopologyError> {
    Ok(serde_json::from_str(SOURCE)?)
}

/// The file as it is, ready for `rabbitmqctl import_definitions`.
#[must_use]
pub fn print() -> &'static str {
    SOURCE
}

/// Declares everything in the virtual host of the channel's connection. Doing it again changes nothing.
///
/// # Errors
/// [`TopologyError::Refused`] names the first object that the broker has with other properties (or that the user may not
/// declare); the channel is closed then, and what came before it in the file is declared.
pub async fn apply(channel: &Channel) -> Result<Report, TopologyError> {
    let topology = definitions()?;
    let refused = |object: String| move |source| TopologyError::Refused { object, source };
    for exchange in &topology.exchanges {
        declare_exchange(channel, exchange, false).await?.map_err(refused(exchange.label()))?;
    }
    for queue in &topology.queues {
        declare_queue(channel, queue, false).await?.map_err(refused(queue.label()))?;
    }
    for binding in &topology.bindings {
        channel
            .queue_bind(
                short(&binding.destination)?,
                short(&binding.source)?,
                short(&binding.routing_key)?,
                QueueBindOptions::default(),
                table(&binding.arguments)?,
            )
            .await
            .map_err(refused(format!("the binding from {} to {}", binding.source, binding.destination)))?;
    }
    Ok(Report { exchanges: topology.exchanges.len(), queues: topology.queues.len(), bindings: topology.bindings.len() })
}

/// Compares exchanges and queues of the connection's virtual host with the file, and changes nothing. An empty answer means
/// that all are there with the file's properties.
///
/// AMQP has no question for bindings, so they are not compared; [`apply`] makes sure of them. Policies of the broker that
/// override arguments are not seen either.
///
/// # Errors
/// [`TopologyError::Refused`] when the user may not ask, [`TopologyError::Broker`] when the connection fails.
pub async fn check(connection: &Connection) -> Result<Vec<Difference>, TopologyError> {
    let topology = definitions()?;
    let mut differences = Vec::new();
    for exchange in &topology.exchanges {
        // A refused declaration closes its channel, so each object has a channel of its own. The passive question comes
        // first: a declaration of something that is missing would make it.
        let channel = connection.create_channel().await?;
        let mut answer = declare_exchange(&channel, exchange, true).await?;
        if answer.is_ok() {
            answer = declare_exchange(&channel, exchange, false).await?;
        }
        finish(&channel, exchange.label(), answer, &mut differences).await?;
    }
    for queue in &topology.queues {
        let channel = connection.create_channel().await?;
        let mut answer = declare_queue(&channel, queue, true).await?;
        if answer.is_ok() {
            answer = declare_queue(&channel, queue, false).await?;
        }
        finish(&channel, queue.label(), answer, &mut differences).await?;
    }
    Ok(differences)
}

/// Closes the channel of one comparison and turns the broker's refusal into a difference.
async fn finish(
    channel: &Channel,
    object: String,
    answer: lapin::Result<()>,
    differences: &mut Vec<Difference>,
) -> Result<(), TopologyError> {
    let Err(source) = answer else {
        return Ok(channel.close(200, short("compared")?).await?);
    };
    let refusal = match source.kind() {
        lapin::ErrorKind::ProtocolError(refusal) => refusal.clone(),
        _ => return Err(TopologyError::Broker(source)),
    };
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
            differences.push(Difference::Missing { object });
        }
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            differences.push(Difference::Differs { object, reason: refusal.get_message().to_string() });
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => {
            return Err(TopologyError::Refused { object, source });
        }
    }
    Ok(())
}

/// The outer error is ours (a name too long), the inner result the broker's answer.
async fn declare_exchange(
    channel: &Channel,
    exchange: &Exchange,
    passive: bool,
) -> Result<lapin::Result<()>, TopologyError> {
    let kind = match exchange.kind {
        Routing::Topic => ExchangeKind::Topic,
        Routing::Headers => ExchangeKind::Headers,
    };
    let options = ExchangeDeclareOptions {
        passive,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        nowait: false,
    };
    let name = short(&exchange.name)?;
    let arguments = table(&exchange.arguments)?;
    Ok(channel.exchange_declare(name, kind, options, arguments).await)
}

async fn declare_queue(channel: &Channel, queue: &Queue, passive: bool) -> Result<lapin::Result<()>, TopologyError> {
    let options = QueueDeclareOptions {
        passive,
        durable: queue.durable,
        exclusive: false,
        auto_delete: queue.auto_delete,
        nowait: false,
    };
    let name = short(&queue.name)?;
    let arguments = table(&queue.arguments)?;
    Ok(channel.queue_declare(name, options, arguments).await.map(drop))
}

impl Exchange {
    fn label(&self) -> String {
        format!("exchange {}", self.name)
    }
}

impl Queue {
    fn label(&self) -> String {
        format!("queue {}", self.name)
    }
}

fn short(name: &str) -> Result<ShortString, TopologyError> {
    ShortString::try_new(name).map_err(|_| TopologyError::NameTooLong(name.to_owned()))
}

/// Numbers go as 64-bit integers, as an import of the file stores them.
fn table(arguments: &Arguments) -> Result<FieldTable, TopologyError> {
    let mut table = FieldTable::default();
    for (name, argument) in arguments {
        let value = match argument {
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        };
        table.insert(short(name)?, value);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_code_is_in_the_file() {
        let topology = definitions().unwrap();
        let exchanges: Vec<_> = topology.exchanges.iter().map(|e| e.name.as_str()).collect();
        let expected = [EVENTS_EXCHANGE, RETRY_EXCHANGE, DEAD_EXCHANGE, OUT_EXCHANGE];
        assert_eq!(exchanges, expected);
        let queues: Vec<_> = topology.queues.iter().map(|q| q.name.as_str()).collect();
        let mut expected = vec![CLAIMS_QUEUE, REMITTANCES_QUEUE, X12_QUEUE];
        expected.extend(RetryDelay::ALL.map(RetryDelay::queue));
        expected.push(DEAD_QUEUE);
        assert_eq!(queues, expected);
        for key in [CLAIM_SUBMITTED, CLAIM_ACKNOWLEDGED, REMITTANCE_RECEIVED, X12_RECEIVED] {
            assert!(topology.bindings.iter().any(|b| b.source == EVENTS_EXCHANGE && b.routing_key == key), "{key}");
        }
    }

    #[test]
    fn each_retry_delay_has_a_queue_that_holds_messages_exactly_as_long() {
        let topology = definitions().unwrap();
        for delay in RetryDelay::ALL {
            let queue = topology.queues.iter().find(|q| q.name == delay.queue()).unwrap();
            assert_eq!(queue.arguments["x-message-ttl"], Argument::Number(delay.milliseconds()));
            let text = Argument::Text(delay.header_value().to_owned());
            assert!(topology.bindings.iter().any(|binding| binding.source == RETRY_EXCHANGE
                && binding.destination == delay.queue()
                && binding.arguments[RETRY_DELAY_HEADER] == text));
        }
    }
}
