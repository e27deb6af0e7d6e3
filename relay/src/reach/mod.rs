//! How this node can be reached, and how it reaches nodes that cannot be dialled.
//!
//! One task (`relay`, in an adapter `adapter`) watches the machine's interfaces, asks routers for port mappings, hears
//! what others observe and test, draws its conclusion (`class`), and acts on it: reservations at nodes that carry
//! circuits, control connections to a few members, status by gossip, the list of members kept for a start without the
//! adapter. `Links` asks the `Way`s here when a dial alone does not do.
//!
//! Invariant: nothing here carries a segment; every memory and every wait is bounded by a named constant.

mod adapter;
mod cache;
mod carriers;
mod class;
mod guide;
mod interfaces;
mod neighbours;
mod portmap;
mod relay;
mod report;
mod status;

pub use self::adapter::AdapterReach;
pub use self::class::{Conclusion, Evidence};
pub use self::interfaces::machine_addresses;
pub use self::portmap::{Mapped, PortMaps, Ports};
pub use self::relay::{RelayReach, RelayReachParts};
pub use self::report::ReachReport;
