//! Relays talking to relays and to the adapter over `weir/1`: links, requests, answers, and the control stream that
//! carries membership, grants, takedowns and key lists. Invariant: nothing received here reaches the fetcher before it
//! has been verified against the publisher's keys, and nobody outside a publisher's network is served from it.

mod admission;
mod answer;
mod class;
mod client;
mod directory;
mod frames;
mod gate;
mod limits;
mod links;
mod members;
mod network;
mod networks;
mod observer;
mod orders;
mod purge;
mod send;
mod server;
mod session;
mod statuses;
mod transfer;
mod transport;
mod trees;
mod ways;

pub use admission::Granted;
pub(crate) use answer::Answering;
pub use class::{CONTROL_PRIORITY, stream_priority};
pub(crate) use client::PeerSource;
pub use directory::{Directory, Door, REPORT_EVERY, REPORT_HOLDS};
pub(crate) use frames::{FrameError, ReplyReader, read_frame, write_reply};
pub use limits::PeerLimits;
pub use links::{Dialled, How, LinkError, LinkInfo, Links};
pub use members::Listed;
pub use network::Network;
pub use networks::Networks;
pub(crate) use networks::object_of;
pub use observer::PeerObserver;
pub(crate) use send::{BROKEN_OFF, refuse};
pub use server::PeerServer;
pub use statuses::Statuses;
pub(crate) use transfer::Reply;
pub use transport::{TransportNow, TransportTotals};
pub use trees::TreeDoor;
pub use ways::{Guide, Way, Ways};
