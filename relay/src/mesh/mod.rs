//! Whom to ask, decided without I/O: events in, a plan out, the time an argument. The same code runs in the node and
//! in tests. Here: owners by rendezvous hashing, standing after failures, and the rule that only the first live owner
//! asks the adapter.

mod owners;
mod plan;
mod standing;

pub use owners::rank;
pub use plan::{Mesh, Step};
pub use standing::{Failure, Standing};
