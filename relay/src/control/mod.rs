//! The libp2p side of a node: who is there, under which addresses, how far away; how to come to nodes behind NATs; and
//! what everybody should hear.
//!
//! Control carries no bytes: segments travel on bulk connections of the same socket (`quic`). One driver task owns the
//! swarm; everybody else holds a [`ControlHandle`] and reads [`ControlEvent`]s.
//!
//! Invariants: connections, dials, queued commands, queued events and remembered peers are bounded by
//! [`ControlConfig`]; no event but a ping time is ever dropped while somebody reads; [`Control::join`] ends after the
//! driver and every connection task.

mod admission;
mod behaviour;
mod config;
mod driver;
mod error;
mod event;
mod gossip;
mod handle;
mod limits;
mod observed;
mod peers;
mod prober;
mod punches;
mod start;
mod transport;

pub use self::admission::Admission;
pub use self::config::ControlConfig;
pub use self::error::ControlError;
pub use self::event::ControlEvent;
pub use self::gossip::{Gossiped, Verdict};
pub use self::handle::ControlHandle;
pub use self::peers::PeerInfo;
pub use self::start::Control;
