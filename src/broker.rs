//! Connections to RabbitMQ: how they are made, and publishing with confirms.
//!
//! Consuming and publishing never share a connection: a broker alarm blocks the connections that publish, and
//! acknowledgements must still get through. Must never: log a URL (it holds a password) or trust a confirm whose
//! message came back unroutable.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::Mutex;

use crate::config::SecretUrl;
use crate::error::tls_cause;
use crate::metrics::{self, Confirm, Publishing};

/// How long one publish, with its confirm, may take.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// How long the broker may take for any other answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What went wrong with the broker, without any value a message or a URL holds.
pub fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(protocol) => format!("protocol error {}", protocol.get_id()),
        lapin::ErrorKind::IOError(io) => tls_cause(&**io).unwrap_or_else(|| format!("i/o: {}", io.kind())),
        lapin::ErrorKind::MissingHeartbeatError => "heartbeats missing".to_owned(),
        lapin::ErrorKind::InvalidConnectionState(state) => format!("connection is {state:?}"),
        lapin::ErrorKind::InvalidChannelState(..) => "channel is closed".to_owned(),
        lapin::ErrorKind::ParsingError(_) => "unreadable answer".to_owned(),
        _ => "connection failed".to_owned(),
    }
}

/// Connects within a time limit. The heartbeat, where the URL names none, is 10 seconds: a silent network is noticed
/// within 20.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub async fn connect(url: &SecretUrl, name: &str) -> Result<Connection, lapin::Error> {
    let mut address = url.expose().to_owned();
    if !address.contains("heartbeat=") {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str("heartbeat=10");
    }
    let properties =
        ConnectionProperties::default().with_connection_name(LongString::from(format!("claimrisk {name}")));
    let uri: AMQPUri = address.parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    let certificates = url.certificates();
    let tls = OwnedTLSConfig {
        identity: certificates.identity.as_ref().map(|identity| OwnedIdentity::PKCS8 {
            pem: identity.chain.clone().into_bytes(),
            key: identity.key.expose().as_bytes().to_vec(),
        }),
        cert_chain: certificates.authorities.as_deref().map(str::to_owned),
    };
    let runtime = lapin::runtime::default_runtime()?;
    within_limit(Connection::connect_uri_with_config(uri, properties, tls, runtime)).await
}

/// Waits for the broker, but not for ever: the client library may never answer on a connection that was lost meanwhile.
///
/// # Errors
/// What the broker answered, or that it did not in time.
pub async fn within_limit<T>(answer: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, lapin::Error> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Exchange.
    pub exchange: &'static str,
    /// Routing key.
    pub routing_key: String,
    /// Body.
    pub body: Vec<u8>,
    /// Content type.
    pub content_type: Option<String>,
    /// Message id: the event's id, where it is known.
    pub message_id: Option<String>,
    /// Type: the event's type, where it is known.
    pub kind: Option<String>,
    /// Publishing application: the event's source, where it is known.
    pub app_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Whether it must reach a queue: then a message that no queue takes counts as failed.
    pub mandatory: bool,
}

impl Outgoing {
    fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            headers.insert(ShortString::from(name.as_str()), AMQPValue::LongString(LongString::from(value.as_str())));
        }
        let short = |text: &str| ShortString::from(text);
        let mut properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        if let Some(text) = &self.content_type {
            properties = properties.with_content_type(short(text));
        }
        if let Some(text) = &self.message_id {
            properties = properties.with_message_id(short(text));
        }
        if let Some(text) = &self.kind {
            properties = properties.with_type(short(text));
        }
        if let Some(text) = &self.app_id {
            properties = properties.with_app_id(short(text));
        }
        if let Some(seconds) = self.timestamp {
            properties = properties.with_timestamp(seconds);
        }
        properties
    }
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// No queue is bound for it.
    Unroutable,
    /// The broker refused it (a full queue).
    Refused,
    /// The connection failed, or no confirm came in time: it may have been taken.
    Unknown(String),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unroutable => f.write_str("no queue is bound for it; run `claimrisk topology apply`"),
            Self::Refused => f.write_str("the broker refused it: the queue is full"),
            Self::Unknown(why) => write!(f, "no confirm: {why}"),
        }
    }
}

/// Publishes with confirms, on a connection of its own that is made anew when it fails.
pub struct Publisher {
    url: SecretUrl,
    name: String,
    link: Mutex<Option<(Connection, Channel)>>,
    /// Held by the call that publishes: the client library gives a returned message to whichever confirm comes next, so
    /// confirms of two calls must never mix.
    turn: Mutex<()>,
}

impl Publisher {
    /// Prepares a publisher; connects on first use.
    pub fn new(url: SecretUrl, name: impl Into<String>) -> Self {
        Self { url, name: name.into(), link: Mutex::new(None), turn: Mutex::new(()) }
    }

    async fn channel(&self) -> Result<Channel, lapin::Error> {
        let mut link = self.link.lock().await;
        if let Some((connection, channel)) = link.as_ref()
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        *link = None;
        let connection = connect(&self.url, &self.name).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        *link = Some((connection, channel.clone()));
        Ok(channel)
    }

    /// Connects, so that a wrong address is told before any work is done.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn check(&self) -> Result<(), lapin::Error> {
        self.channel().await.map(drop)
    }

    /// Publishes messages, all on their way at once; the answers have the messages' order.
    pub async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        self.publish_within(messages, CONFIRM_LIMIT).await
    }

    /// The same with a time limit of the caller's.
    pub async fn publish_within(&self, messages: &[Outgoing], limit: Duration) -> Vec<Result<(), PublishError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let publishing = Publishing::begin(&self.name, messages.len());
        let _turn = self.turn.lock().await;
        let answers = match tokio::time::timeout(limit, self.publish_all(messages)).await {
            Ok(answers) => answers,
            Err(_) => Err("no confirm in time".to_owned()),
        };
        let refused = answers.as_ref().is_ok_and(|answers| answers.contains(&Err(PublishError::Refused)));
        if refused {
            // A channel that a full queue refused may not learn that there is room again.
            *self.link.lock().await = None;
        }
        if answers.is_err() {
            // Confirms and returns still under way belong to this call: the next one gets a channel of its own.
            *self.link.lock().await = None;
            publishing.as_ref().inspect(|_| metrics::broker_connection_lost(false));
        }
        let answers =
            answers.unwrap_or_else(|why| messages.iter().map(|_| Err(PublishError::Unknown(why.clone()))).collect());
        if let Some(publishing) = publishing {
            answers.iter().for_each(|answer| publishing.answered(counted(answer)));
        }
        answers
    }

    async fn publish_all(&self, messages: &[Outgoing]) -> Result<Vec<Result<(), PublishError>>, String> {
        let channel = self.channel().await.map_err(|error| describe(&error))?;
        let sending = messages.iter().map(|message| {
            channel.basic_publish(
                message.exchange.into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() },
                &message.body,
                message.properties(),
            )
        });
        // All at once: one by one, each would wait until the client library's thread has written the one before.
        let confirms = join_all(sending).await;
        let mut answers = Vec::with_capacity(confirms.len());
        for sent in confirms {
            answers.push(match sent {
                Ok(confirm) => confirmed(confirm.await),
                Err(error) => Err(PublishError::Unknown(describe(&error))),
            });
        }
        distrust_neighbours(&mut answers);
        Ok(answers)
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// It was not taken, or nobody knows.
    pub async fn publish_one(&self, message: Outgoing) -> Result<(), PublishError> {
        self.publish(&[message]).await.pop().unwrap_or(Err(PublishError::Unknown("no answer".to_owned())))
    }

    /// Closes the connection.
    pub async fn close(&self) {
        if let Some((connection, _)) = self.link.lock().await.take()
            && let Err(error) = connection.close(200, "done".into()).await
        {
            tracing::debug!(error = describe(&error), "publishing connection was gone already");
        }
    }
}

/// The label of an answer.
const fn counted(answer: &Result<(), PublishError>) -> Confirm {
    match answer {
        Ok(()) => Confirm::Confirmed,
        Err(PublishError::Unroutable) => Confirm::Unroutable,
        Err(PublishError::Refused) => Confirm::Refused,
        Err(PublishError::Unknown(_)) => Confirm::Unknown,
    }
}

/// When one message came back, it cannot be told for certain which: none that was sent along counts as taken.
fn distrust_neighbours(answers: &mut [Result<(), PublishError>]) {
    if answers.contains(&Err(PublishError::Unroutable)) {
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = Err(PublishError::Unknown("a message sent along came back".to_owned()));
        }
    }
}

/// A confirm with a returned message means that nothing took it.
fn confirmed(confirmation: Result<Confirmation, lapin::Error>) -> Result<(), PublishError> {
    match confirmation {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(_))) => Err(PublishError::Unroutable),
        Ok(Confirmation::Nack(_)) => Err(PublishError::Refused),
        Ok(Confirmation::NotRequested) => Err(PublishError::Unknown("confirms are off".to_owned())),
        Err(error) => Err(PublishError::Unknown(describe(&error))),
    }
}
