//! The short commands: migrate, topology, check-config, health, completions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap_complete::Shell;
use serde::Serialize;

use super::output::{print, print_json, say, table};
use super::{ModelAction, Output, TopologyAction};
use crate::api::Tokens;
use crate::config::{Config, Raw, SETTINGS, SecretUrl};
use crate::error::CommandError;
use crate::store::snapshots;
use crate::{broker, learner, store, topology};

/// Prints completions for a shell.
pub(super) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "claimrisk", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

#[derive(Serialize)]
struct InForce<'a> {
    key: &'a str,
    value: String,
    origin: String,
    help: &'a str,
}

/// Prints the settings with their origin, then checks them.
pub(super) fn check_config(raw: &Raw, output: Output) -> Result<(), CommandError> {
    let rows: Vec<InForce<'_>> = SETTINGS
        .iter()
        .filter_map(|setting| {
            let (value, origin) = raw.get(setting.key)?;
            let hidden = setting.secret && !value.is_empty();
            let value = if hidden { SecretUrl::new(value).redacted() } else { value.clone() };
            Some(InForce { key: setting.key, value, origin: origin.to_string(), help: setting.help })
        })
        .collect();
    match output {
        Output::Json => print_json(&rows)?,
        Output::Table => {
            let mut table = table(&["Setting", "Value", "From", "What it does"]);
            for row in &rows {
                table.add_row([row.key, &row.value, &row.origin, row.help]);
            }
            print(&table.to_string())?;
        }
    }
    let config = Config::from_raw(raw)?;
    Tokens::configured(&config).map(drop)
}

/// Shows the newest model or how well it does, or learns it anew and publishes it.
pub(super) async fn model(config: &Config, action: ModelAction) -> Result<(), CommandError> {
    let pool = store::pool(config)?;
    match action {
        ModelAction::Show => match newest(&pool).await? {
            Some(version) => print(&version),
            None => Err(CommandError::Failed("no model is stored: start a worker first".to_owned())),
        },
        ModelAction::Learning(action) => super::challengers::run(&pool, action).await,
        ModelAction::Calibration(arguments) => super::calibration::run(&pool, arguments).await,
        ModelAction::Rebuild => {
            let tables = std::sync::Arc::new(store::reference::load_all(&pool).await?);
            let mut connection = pool.acquire().await?.detach();
            let snapshot = learner::rebuild(&mut connection, tables, config.database_deadline())
                .await
                .map_err(|failure| CommandError::Failed(format!("the stored labels could not be read: {failure}")))?;
            if newest(&pool).await?.as_deref() == Some(snapshot.version()) {
                say(&format!("{} labels; the newest model is this one", snapshot.labels()));
            } else {
                snapshots::publish(&pool, &snapshot).await?;
                say(&format!("{} labels; published, workers take it within seconds", snapshot.labels()));
            }
            print(snapshot.version())
        }
    }
}

/// The version of the newest model that is in force.
async fn newest(pool: &sqlx::PgPool) -> Result<Option<String>, CommandError> {
    let newest = snapshots::newest(pool).await?.into_iter().find(|one| one.champion);
    Ok(newest.map(|one| one.model_version))
}

/// Applies the migrations, or tells how many are pending.
pub(super) async fn migrate(config: &Config, check: bool) -> Result<(), CommandError> {
    let pool = store::pool(config)?;
    let pending = store::pending_migrations(&pool).await?;
    if check {
        return if pending.is_empty() {
            print("no migration is pending")
        } else {
            Err(CommandError::Failed(format!("{} migrations are pending; run `claimrisk migrate`", pending.len())))
        };
    }
    store::migrate(&pool).await?;
    print(&format!("{} migrations applied", pending.len()))
}

/// Declares or compares the topology.
pub(super) async fn topology(config: &Config, action: TopologyAction) -> Result<(), CommandError> {
    let failed = |error: topology::TopologyError| CommandError::Failed(error.to_string());
    let connection = broker::connect(&config.amqp_url, "topology").await?;
    match action {
        TopologyAction::Apply => {
            let channel = connection.create_channel().await?;
            let report = topology::apply(&channel).await.map_err(failed)?;
            print(&report.to_string())
        }
        TopologyAction::Check => {
            let differences = topology::check(&connection).await.map_err(failed)?;
            for difference in &differences {
                print(&difference.to_string())?;
            }
            if differences.is_empty() {
                print(
                    "exchanges and queues are as the definitions say; bindings cannot be seen over AMQP, `claimrisk topology apply` makes sure of them",
                )
            } else {
                let count = differences.len();
                Err(CommandError::Failed(format!(
                    "{count} differences; `claimrisk topology apply` adds what is missing"
                )))
            }
        }
        TopologyAction::Print => print(topology::print()),
    }
}

/// Asks the metrics listener of this machine's worker whether it is ready.
pub(super) async fn health(config: &Config) -> Result<(), CommandError> {
    let mut address = config.metrics_addr;
    if address.ip().is_unspecified() {
        address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    let client = super::load::client();
    let answer = super::load::get(&client, &format!("http://{address}/readyz"), Duration::from_secs(3)).await;
    match answer {
        Ok((200, body)) => print(&String::from_utf8_lossy(&body)),
        Ok((status, body)) => {
            say(&String::from_utf8_lossy(&body));
            Err(CommandError::Failed(format!("not ready (status {status})")))
        }
        Err(error) => Err(CommandError::Failed(format!("no worker answers at {address}: {error}"))),
    }
}
