//! What an edge counts about its HTTP side, registered in a registry that is passed in. Invariant: label values come
//! from closed sets, so no request can add a time series.

mod edge;
mod process;

pub use edge::{ByteSource, ConnectionGuard, EdgeMetrics, InFlightGuard, Kind};
pub use process::ProcessMetrics;
