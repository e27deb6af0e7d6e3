//! Whole networks in one process, on real sockets: an adapter over a scripted origin, relays, and liars among them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod adapter;
mod choosing;
mod eclipse;
mod floods;
mod flow;
mod gossip;
mod keys;
mod liar;
mod live;
mod malice;
mod membership;
mod metering;
mod observing;
mod origin;
mod outages;
mod passing;
mod relay;
mod seen;
mod selecting;
mod sent_on;
mod takedown;
mod versions;
