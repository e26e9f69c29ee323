//! What the servers can do with the same data and nothing else: the broker, PostgreSQL and Redis alone.
//!
//! Must never: give a server less to do than the worker does for the same events.

use std::time::Instant;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use redis::AsyncCommands as _;

use super::site::{BATCH, Database, Host, RUN_LIMIT, Site};
use crate::error::CommandError;
pub(super) use crate::store::bench::Rows;
use crate::{broker, store, topology};

/// Unsettled messages of the raw consumer: as many as a worker takes.
const PREFETCH: u16 = 1500;
/// The raw consumer acknowledges so many at once: as many as a worker's batch.
const ACKNOWLEDGED_AT_ONCE: u64 = BATCH as u64;
/// Values that are read from Redis, to be written again.
const SAMPLE: usize = 5000;
/// Exchanges of [`BATCH`] values each.
const EXCHANGES: usize = 100;

/// Takes the messages from the claims' queue, acknowledges them and does nothing with them: messages per second.
pub(super) async fn drain(host: &Host, messages: usize) -> Result<f64, CommandError> {
    let connection = broker::connect(&host.url, "bench").await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let started = Instant::now();
    let mut consumer = channel
        .basic_consume(
            topology::CLAIMS_QUEUE.into(),
            "bench".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let (mut taken, wanted) = (0, messages as u64);
    while taken < wanted {
        let next = tokio::time::timeout(RUN_LIMIT, consumer.next()).await;
        let Ok(Some(delivery)) = next else {
            return Err(CommandError::Failed(format!("the broker gave {taken} of {wanted} messages")));
        };
        let delivery = delivery?;
        taken += 1;
        if taken % ACKNOWLEDGED_AT_ONCE == 0 || taken == wanted {
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
    }
    // Closing is answered after all acknowledgements were read.
    channel.close(200, "measured".into()).await?;
    let rate = wanted as f64 / started.elapsed().as_secs_f64();
    connection.close(200, "measured".into()).await?;
    Ok(rate)
}

/// Writes the rows that a worker stored in one database into another, in chunks of a batch's events on two connections:
/// events per second.
pub(super) async fn bulk(from: &Database, to: &Database, rows: Rows) -> Result<f64, CommandError> {
    let (from, to) = (store::pool(&from.config)?, store::pool(&to.config)?);
    let copied = async {
        if rows == Rows::Claims {
            store::bench::copy_references(&from, &to).await?;
        }
        let chunks = store::bench::chunks(&from, rows, i64::from(BATCH)).await?;
        store::bench::write(&to, rows, &chunks).await
    };
    let copied = copied.await;
    from.close().await;
    to.close().await;
    let (events, elapsed) = copied?;
    Ok(events as f64 / elapsed.as_secs_f64())
}

/// Writes values like those that the last run left in Redis into another of its databases: values per second.
pub(super) async fn redis(site: &Site<'_>) -> Result<f64, CommandError> {
    let values = cached_values(site).await.map_err(refused)?;
    if values.is_empty() {
        return Err(CommandError::Failed("the run left nothing in Redis".to_owned()));
    }
    let mut connection = connect(site, 1).await.map_err(refused)?;
    let mut values = values.iter().cycle();
    let started = Instant::now();
    for exchange in 0..EXCHANGES {
        let mut pipe = redis::pipe();
        for (place, value) in values.by_ref().take(BATCH as usize).enumerate() {
            pipe.set(format!("claimrisk:bench:{}", exchange * BATCH as usize + place), value.as_slice()).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.map_err(refused)?;
    }
    Ok((EXCHANGES * BATCH as usize) as f64 / started.elapsed().as_secs_f64())
}

async fn cached_values(site: &Site<'_>) -> redis::RedisResult<Vec<Vec<u8>>> {
    let mut connection = connect(site, 0).await?;
    let mut keys: Vec<String> = Vec::new();
    let mut scan = connection.scan_match::<_, String>("claimrisk:*").await?;
    while let Some(key) = scan.next_item().await {
        keys.push(key?);
        if keys.len() >= SAMPLE {
            break;
        }
    }
    drop(scan);
    connection.mget(keys).await
}

pub(super) async fn connect(site: &Site<'_>, database: u8) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    redis::Client::open(site.servers.redis.url(database))?.get_multiplexed_async_connection().await
}

/// What Redis' client says holds no value of ours.
#[expect(clippy::needless_pass_by_value, reason = "to stand in map_err")]
pub(super) fn refused(error: redis::RedisError) -> CommandError {
    CommandError::Unavailable(format!("Redis: {}", error.category()))
}
