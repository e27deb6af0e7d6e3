//! Trees that live renditions are pushed down, decided without I/O: where a relay hangs (`shape`, `coordinator`), what a
//! relay does when its parent fails (`branch`), and what a new parent must send so that nothing is missed (`window`).
//! Names of nodes are a parameter and times are milliseconds of any one clock, so the same code runs in the adapter,
//! in relays, in property tests and in a simulation.
//!
//! Invariants: a tree has no circle; a relay has no more children than it said it can feed; with `n` relays of which
//! enough can feed two, nobody is deeper than `log2(n) + 3`; whoever cannot be placed is told so and pulls.

mod branch;
mod capacity;
mod coordinator;
mod place;
mod shape;
#[cfg(test)]
mod trial;
mod window;

pub use branch::{Branch, Heard, Step};
pub use capacity::{LEAST_CHILDREN, MOST_CHILDREN, children};
pub use coordinator::{Coordinator, Moved, TreeConfig};
pub use place::{Parent, Place, Why};
pub use window::{Position, Window};
