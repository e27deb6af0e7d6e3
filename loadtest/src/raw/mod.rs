//! Closed-loop GETs against one URL: each stream of each connection sends its next request when the last one ended.
//!
//! Invariants: exactly as many requests are finished as were asked for, unless the run is cancelled; handshakes happen
//! inside the measured time; a connection that broke is replaced and the request that suffered is counted as failed,
//! never repeated.

mod config;
pub(crate) mod cpu;
pub(crate) mod report;
mod run;
mod single;

pub use config::Config;
pub use cpu::{CpuError, ServerCpu};
pub use report::{Report, Requests, Times};
pub use run::{RunError, run, run_on_threads};
