//! From a work queue to deliveries: connecting, prefetch, epochs, and the ticket that each delivery must hand in.
//!
//! The client library's own recovery stays off: a lost connection or channel ends the epoch, everything is made anew, and
//! whatever was not settled comes again. Must never: acknowledge a delivery of an earlier epoch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;

use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Acker, Channel, Connection, Consumer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::batch::{self, Ended, Weighed};
use super::under_way::UnderWay;
use super::waiting::{self, Waiting};
use super::{Context, counted_type, settle, split};
use crate::broker::{connect, describe, within_limit};
use crate::domain::types::Instant;
use crate::metrics::{self, Dependency, Settled};
use crate::retry::Delays;
use crate::store::deadline;
use crate::topology;
use crate::wire::{EventType, MessageMeta};

/// Batches of one queue that are worked on at a time: one in PostgreSQL, one getting ready for it, one on its way out.
const SIDE_BY_SIDE: usize = 3;

/// A work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Claims and acknowledgements.
    Claims,
    /// Remittances.
    Remittances,
    /// Raw X12 interchanges.
    X12,
}

impl Queue {
    /// Its name at the broker.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claims => topology::CLAIMS_QUEUE,
            Self::Remittances => topology::REMITTANCES_QUEUE,
            Self::X12 => topology::X12_QUEUE,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Claims => 1,
            Self::Remittances => 2,
            Self::X12 => 4,
        }
    }
}

/// Which consumers are connected.
#[derive(Clone, Debug, Default)]
pub struct Connected(Arc<AtomicU8>);

impl Connected {
    fn set(&self, queue: Queue, up: bool) {
        let all = if up {
            self.0.fetch_or(queue.bit(), Ordering::Relaxed) | queue.bit()
        } else {
            self.0.fetch_and(!queue.bit(), Ordering::Relaxed) & !queue.bit()
        };
        metrics::dependency_up(Dependency::RabbitMq, all != 0);
    }

    /// Whether the consumers of all these queues are connected.
    pub fn all(&self, queues: &[Queue]) -> bool {
        let wanted = queues.iter().fold(0, |bits, queue| bits | queue.bit());
        self.0.load(Ordering::Relaxed) & wanted == wanted
    }
}

/// One message taken from a work queue.
#[derive(Debug)]
pub struct Delivery {
    /// Body.
    pub body: Vec<u8>,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Content type.
    pub content_type: Option<String>,
    /// Message id.
    pub message_id: Option<String>,
    /// Type.
    pub kind: Option<String>,
    /// Publishing application.
    pub app_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// When it was taken from the queue.
    pub taken_at: Instant,
    /// Headers that hold text or a number.
    pub headers: BTreeMap<String, String>,
    /// Must be handed in.
    pub ticket: Ticket,
}

/// The right to settle a delivery, once. Dropped unsettled, the delivery comes again, and is counted as handed back.
#[derive(Debug)]
pub struct Ticket {
    /// What settles it.
    pub(super) acker: Acker,
    event_type: Option<EventType>,
    taken: std::time::Instant,
    settled: bool,
}

impl Ticket {
    /// Counts the delivery as settled; to be called when the broker has been told.
    pub(super) fn mark(&mut self, outcome: Settled) {
        if !self.settled {
            self.settled = true;
            metrics::settled(self.event_type, outcome, self.taken);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.mark(Settled::Requeued);
    }
}

impl Delivery {
    /// Takes a delivery and counts it as received.
    fn take(delivery: lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
        let event_type = counted_type(delivery.routing_key.as_str());
        metrics::received(event_type);
        if delivery.redelivered {
            metrics::redelivered();
        }
        Self {
            routing_key: delivery.routing_key.as_str().to_owned(),
            content_type: text(properties.content_type()),
            message_id: text(properties.message_id()),
            kind: text(properties.kind()),
            app_id: text(properties.app_id()),
            timestamp: *properties.timestamp(),
            taken_at: chrono::Utc::now(),
            headers: properties.headers().as_ref().map(readable_headers).unwrap_or_default(),
            body: delivery.data,
            ticket: Ticket { acker: delivery.acker, event_type, taken: std::time::Instant::now(), settled: false },
        }
    }

    /// How often it was delivered before, as quorum queues count.
    pub fn earlier_deliveries(&self) -> u32 {
        self.headers.get("x-delivery-count").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// How often it went through the delayed queues.
    pub fn attempts(&self) -> u32 {
        self.headers.get("x-attempt").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What reading it needs of its properties.
    pub fn meta(&self) -> MessageMeta<'_> {
        MessageMeta {
            content_type: self.content_type.as_deref(),
            routing_key: &self.routing_key,
            message_id: self.message_id.as_deref(),
            type_: self.kind.as_deref(),
            app_id: self.app_id.as_deref(),
            headers: self.headers.clone(),
        }
    }
}

impl Weighed for Delivery {
    fn bytes(&self) -> usize {
        self.body.len()
    }

    /// What came back more than once may be what kills the process: alone, it takes no neighbour with it.
    fn alone(&self) -> bool {
        self.earlier_deliveries() > 1
    }
}

fn readable_headers(table: &FieldTable) -> BTreeMap<String, String> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongUInt(number) => Some(number.to_string()),
        AMQPValue::ShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortUInt(number) => Some(number.to_string()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortShortUInt(number) => Some(number.to_string()),
        AMQPValue::Timestamp(seconds) => Some(seconds.to_string()),
        _ => None,
    };
    table.inner().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
}

/// Whether a batch may still be worked on.
#[derive(Clone)]
pub struct Alive {
    stop: CancellationToken,
    channel: Channel,
    /// Deliveries that wait for their copies to be taken.
    pub(super) waiting: Arc<Waiting>,
}

impl Alive {
    /// The process stops, or the channel is gone and the batch will come again.
    pub fn is_over(&self) -> bool {
        self.stop.is_cancelled() || !self.channel.status().connected()
    }

    /// Waits, or returns early when told to stop.
    pub async fn pause(&self, delay: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// Consumes a queue until told to stop, connecting anew whenever the connection or the channel is lost.
pub(super) async fn consume(context: &Arc<Context>, queue: Queue, stop: &CancellationToken) {
    let mut delays = Delays::reconnect();
    // The first deliveries of an epoch are taken one by one: what ended the last epoch may be among them, and the broker
    // counts a lost channel against every delivery that is under way.
    let mut cautious = true;
    while !stop.is_cancelled() {
        until_database_answers(context, stop).await;
        let mut lost = true;
        match within_limit(open(context, queue, cautious)).await {
            Ok((connection, channel, consumer)) => {
                tracing::info!(queue = queue.name(), "consuming");
                context.connected.set(queue, true);
                delays.reset();
                let end = epoch(context, queue, &channel, consumer, cautious, stop).await;
                cautious = end != EpochEnd::Trusted;
                lost = end == EpochEnd::Over;
                if lost && !stop.is_cancelled() {
                    metrics::broker_connection_lost(true);
                }
                context.connected.set(queue, !stop.is_cancelled() && !lost);
                if let Err(error) = within_limit(connection.close(200, "done".into())).await {
                    tracing::debug!(error = describe(&error), "connection was gone already");
                }
            }
            Err(error) => {
                cautious = true;
                metrics::broker_connection_lost(true);
                context.connected.set(queue, false);
                tracing::warn!(queue = queue.name(), error = describe(&error), "cannot consume yet");
            }
        }
        if !lost {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
}

/// Waits until PostgreSQL answers: to take deliveries before would only count against them.
async fn until_database_answers(context: &Context, stop: &CancellationToken) {
    let mut delays = Delays::reconnect();
    while !stop.is_cancelled() {
        let up = deadline::answers(&context.pool, context.config.database_timeout).await;
        metrics::dependency_up(Dependency::Postgres, up);
        if up {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
}

/// How an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EpochEnd {
    /// The channel is lost, or told to stop.
    Over,
    /// A cautious epoch went well: the next one may take whole batches.
    Trusted,
    /// There are events far too large: the next epoch takes them one by one. The broker can be told how many events may be
    /// under way, not how many bytes.
    Large,
}

async fn open(
    context: &Context,
    queue: Queue,
    cautious: bool,
) -> Result<(Connection, Channel, Consumer), lapin::Error> {
    let connection = connect(&context.config.amqp_url, queue.name()).await?;
    let channel = connection.create_channel().await?;
    // Interchanges are large: one at a time bounds the memory they take.
    let prefetch = if queue == Queue::X12 || cautious { 1 } else { context.config.prefetch_messages };
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consumer = channel
        .basic_consume(queue.name().into(), "claimrisk".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    Ok((connection, channel, consumer))
}

/// Works on what one channel delivers, batch by batch, until the channel is lost or told to stop. Nothing is under way when
/// it ends.
async fn epoch(
    context: &Arc<Context>,
    queue: Queue,
    channel: &Channel,
    consumer: Consumer,
    cautious: bool,
    stop: &CancellationToken,
) -> EpochEnd {
    let tag = consumer.tag();
    let mut stream = consumer.map(|delivery| delivery.map(Delivery::take));
    let alive = Alive { stop: stop.clone(), channel: channel.clone(), waiting: Arc::default() };
    // Ends with the epoch: what waits then comes again.
    let _copying = AbortOnDropHandle::new(tokio::spawn(waiting::copy(Arc::clone(context), alive.clone())));
    let (mut held, mut under_way) = (None, UnderWay::default());
    loop {
        let limits = &context.config.batch;
        let (mut batch, mut ended) = batch::next(&mut stream, limits, &mut held, stop).await;
        // Many small batches cost more than few large ones: only a full one joins more than one other.
        if ended == Ended::No
            && !batch.iter().any(Weighed::alone)
            && !batch::is_full(&batch, limits)
            && under_way.len() > 1
        {
            if !under_way.down_to(1).await {
                return EpochEnd::Over;
            }
            ended = batch::top_up(&mut stream, limits, &mut batch, &mut held, stop).await;
        }
        let (taken, suspects) = (batch.len(), batch.iter().any(Weighed::alone));
        let large = batch.iter().any(|delivery| delivery.bytes() > context.config.max_event_bytes);
        if large && !cautious && queue != Queue::X12 {
            drop(batch);
            return if under_way.down_to(0).await { EpochEnd::Large } else { EpochEnd::Over };
        }
        // A suspect has no neighbours, neither before it nor behind it.
        if suspects && !under_way.down_to(0).await {
            return EpochEnd::Over;
        }
        if taken > 0 {
            begin(&mut under_way, context, queue, batch, &alive);
        }
        let alone = suspects || cautious || queue == Queue::X12 || ended != Ended::No;
        if !under_way.down_to(if alone { 0 } else { SIDE_BY_SIDE - 1 }).await {
            return EpochEnd::Over;
        }
        if cautious && queue != Queue::X12 && taken > 0 && !suspects && !large && ended == Ended::No {
            cancel(channel, tag).await;
            return EpochEnd::Trusted;
        }
        match ended {
            Ended::No => {}
            Ended::Stream => {
                tracing::warn!(queue = queue.name(), "the broker ended the deliveries; connecting anew");
                return EpochEnd::Over;
            }
            Ended::Stopped => {
                cancel(channel, tag).await;
                return EpochEnd::Over;
            }
        }
    }
}

async fn cancel(channel: &Channel, tag: ShortString) {
    if let Err(error) = within_limit(channel.basic_cancel(tag, BasicCancelOptions::default())).await {
        tracing::debug!(error = describe(&error), "consumer was gone already");
    }
}

/// Begins to work on a batch.
fn begin(under_way: &mut UnderWay, context: &Arc<Context>, queue: Queue, batch: Vec<Delivery>, alive: &Alive) {
    let (context, alive) = (Arc::clone(context), alive.clone());
    under_way.begin(move |mut turn| async move {
        let healthy = if queue == Queue::X12 {
            split::split(&context, batch, &alive).await
        } else {
            let verdicts = super::process(&context, &batch, &alive).await;
            turn.comes().await && settle::settle(&context, batch, verdicts, &alive).await
        };
        if healthy {
            turn.pass_on();
        }
        healthy
    });
}
