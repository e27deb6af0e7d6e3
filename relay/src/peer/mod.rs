//! Relays talking to relays and to the adapter over `weir/1`: links, requests, answers, and the control stream that
//! carries membership and key lists. Invariant: nothing received here reaches the fetcher before it has been verified
//! against the publisher's keys, and nobody outside a publisher's network is served from it.

mod answer;
mod client;
mod directory;
mod frames;
mod links;
mod network;
mod networks;
mod observer;
mod server;
mod session;

pub use directory::Directory;
pub use links::{Dialled, LinkError, Links};
pub use network::Network;
pub use networks::Networks;
pub use observer::PeerObserver;
pub use server::PeerServer;
