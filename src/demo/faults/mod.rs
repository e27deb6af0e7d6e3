//! A relay of the demo that does wrong when it is told to. The relay itself is `weir edge` and knows nothing of this:
//! the faults stand around it, between its doors and its routes and in front of its peer socket.
//!
//! Invariant: only `weir demo-relay` can do wrong, and only on orders from whoever started it, which come on its standard
//! input; a relay without an order is exactly `weir edge`.

mod body;
mod door;
mod order;
mod run;

pub(super) use order::Order;
pub(crate) use run::run;
