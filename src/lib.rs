//! claimrisk: scores insurance claims for their risk of denial, and learns from the remittances that come back.
//!
//! The way of an event: delivery, batch, decode, read, score, persist, link, cache, settle ([`flow`]). What is decided on
//! that way is decided by pure functions ([`domain`]); PostgreSQL ([`store`]) holds the truth, Redis ([`cache`]) a copy.
//! In reading order: the domain, the events as they travel, the flow and what it stands on, the API, the commands.

#![forbid(unsafe_code)]

pub mod domain;
pub mod wire;

pub mod flow;

pub mod broker;
pub mod cache;
pub mod store;
pub mod topology;

pub mod api;
pub mod view;

pub mod config;
pub mod error;
pub mod metrics;
pub mod retry;
pub mod telemetry;

pub mod app;
pub mod cli;
pub mod learner;
pub mod model;

pub mod backtest;
pub mod evaluate;
pub mod history;
pub mod servers;
pub mod simulate;
