//! Parts that every program with a node assembles: its identity, the peer side with its order of start and stop, the
//! way into a publisher's network, and the node's metrics.

mod identity;
mod join;
mod metrics;
mod peers;
mod transport;

pub use identity::{Identity, IdentityError, load_or_create_secret};
pub use join::{Changed, JoinError, Joined, Joining};
pub use metrics::{NodeMetrics, NodeTotals};
pub use peers::{PeerSide, PeerSideError, PeerSideParts, PeerTasks};
