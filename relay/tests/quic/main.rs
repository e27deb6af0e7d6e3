//! The peer socket and the control swarm between real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod bulk;
mod circuits;
mod common;
mod control;
mod gossip;
mod lifetime;
mod listener;
mod punch;
