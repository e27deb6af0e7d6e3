//! What goes wrong on purpose.

use std::net::SocketAddr;

use serde::Deserialize;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A relay's process is killed; after `for_seconds` it is started again.
    Kill,
    /// A relay's process is stopped where it stands, and goes on after `for_seconds`. Works on any process named `pid:N`.
    Pause,
    /// A relay's door sends no faster than `mbps`; a line gets that rate.
    Slow,
    /// Nothing passes.
    Partition,
    /// A relay's door sends other bytes than it holds.
    Corrupt,
    /// A relay's clock is `skew_seconds` fast, or slow if negative.
    Skew,
    /// A line gets `delay_ms`, `jitter_ms`, `loss_percent` and `mbps`.
    Impair,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins, in seconds of the round.
    pub at_seconds: f64,
    /// How long it lasts; absent: to the end of the round. It is always undone at the end.
    pub for_seconds: Option<f64>,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
    /// To whom: a relay of the demo by its name, a line by its name, or `pid:N`.
    pub on: String,
    /// Rate, in Mbit/s.
    pub mbps: Option<f64>,
    /// Delay in each direction, in milliseconds.
    pub delay_ms: Option<f64>,
    /// Most that is added to a packet's delay, in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Datagrams lost in each direction, in percent.
    pub loss_percent: Option<f64>,
    /// How far a clock is set forward, or back.
    pub skew_seconds: Option<i64>,
}

/// An impairment proxy between viewers and a server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its name, for faults.
    pub name: String,
    /// The server it leads to. Viewers that would connect to this address go through the line.
    pub to: SocketAddr,
    /// Delay in each direction, in milliseconds.
    #[serde(default)]
    pub delay_ms: f64,
    /// Most that is added to a packet's delay, in milliseconds.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Datagrams lost in each direction, in percent. TCP is not lost.
    #[serde(default)]
    pub loss_percent: f64,
    /// Rate of each direction of a flow, in Mbit/s; absent: unlimited.
    pub mbps: Option<f64>,
}
