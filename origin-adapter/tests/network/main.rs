//! Whole networks in one process, on real sockets: an adapter over a scripted origin, relays, and liars among them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod adapter;
mod flow;
mod keys;
mod liar;
mod malice;
mod membership;
mod origin;
mod outages;
mod passing;
mod relay;
mod seen;
