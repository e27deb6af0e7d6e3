//! Whom to ask, decided without I/O: events in, decisions out, time an argument. The same code runs in the node, in
//! property tests and in the simulation of ten thousand nodes, which share one [`Membership`].
//!
//! [`Mesh`] is one node's view: owners by weighted rendezvous hashing, how many of them an object needs, peers' standing,
//! hedged requests, what a node serves and keeps. [`tree`] plans the trees that live renditions are pushed down.

mod admission;
mod demand;
mod formers;
mod hedge;
mod holders;
mod membership;
mod owners;
mod peers;
mod plan;
mod quantile;
mod sketch;
mod standing;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tree;
mod uploads;
mod weigh;

pub use admission::{Admission, Class};
pub use demand::{MAX_OWNERS, Object};
pub use hedge::Asking;
pub use holders::{Holders, Named};
pub use membership::{DEFAULT_WEIGHT, MAX_WEIGHT, Member, Membership, PROVEN_MS, Place, Region};
pub use owners::rank;
pub use plan::{LAST_STAGE, Plan, Step, may_wait};
pub use standing::{Failure, MAX_IN_FLIGHT, MAX_OWED_BYTES, Standing};
pub use state::{Denied, Effect, Mesh, MeshConfig};
pub use weigh::Seed;
