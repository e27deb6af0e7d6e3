//! The doors: listeners that speak HTTP/1.1, HTTP/2 and HTTP/3 with clients and hand every request to one
//! [`weir_relay::http::Handler`]. Invariant: whatever a client sends, a door holds at most its configured bounds of
//! connections, streams and bytes, and a body that failed is reset, never ended cleanly.

mod activity;
mod bind;
mod config;
mod dates;
mod exchange;
mod h3;
mod handshake;
mod interim;
mod run;
mod service;
mod tcp;
mod urgency;

pub use config::{DoorError, DoorsConfig, Limits, Transport};
pub use run::{Doors, LocalAddrs};
