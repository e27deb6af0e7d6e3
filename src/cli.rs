//! What can be typed.

use crate::{
    demo::DemoArgs, edge::EdgeArgs, ledger::LedgerArgs, load::LoadArgs, origin::OriginArgs, settle::SettleArgs,
    token::TokenArgs,
};
use clap::{Parser, Subcommand};

/// A decentralised video CDN relay: signed HLS over HTTP/3, HTTP/2 and HTTP/1.1, spread by a QUIC peer layer.
#[derive(Parser)]
#[command(name = "weir", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: an origin, the adapter, three relays and a player page.
    Demo(DemoArgs),
    /// One relay of the demo, which can be told to do wrong.
    #[command(name = "demo-relay", hide = true)]
    DemoRelay(Box<EdgeArgs>),
    /// Run an edge relay: join a publisher's network, or be a plain pull-through cache.
    Edge(Box<EdgeArgs>),
    /// Stand in front of a platform's HLS origin: sign what it answers and feed relays.
    Origin(Box<OriginArgs>),
    /// Load tools: raw GETs, a network of delay and loss, a simulation of the mesh.
    Load(LoadArgs),
    /// The transparency log that payouts are computed from: make, publish, serve, cosign, check.
    Ledger(LedgerArgs),
    /// Payouts: compute them, show them, check somebody else's, export them.
    Settle(SettleArgs),
    /// Issue a session token for a viewer, or for a CDN that pulls.
    Token(TokenArgs),
}

pub(crate) fn parse() -> Cli {
    Cli::parse()
}
