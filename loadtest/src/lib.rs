//! Load tools for Weir, usable against any HTTP server:
//!
//! * [`client`]: one explicit HTTP/1.1, HTTP/2 or HTTP/3 connection per connection asked for;
//! * [`raw`]: closed-loop GETs with latency percentiles and the server's CPU time;
//! * [`impair`]: a UDP and TCP proxy that adds delay and loss per direction;
//! * [`viewer`]: an HLS viewer that plays, measures and checks what it plays;
//! * [`run`]: virtual viewers by the hundred, from a scenario file, with faults and a report;
//! * [`sim`]: ten thousand simulated relays that run the real decisions of `weir-relay`.
//!
//! Everything here measures: nothing retries, caches or repairs silently. What failed is counted by class.

pub mod client;
pub mod impair;
pub mod raw;
pub mod run;
pub mod sim;
mod sockets;
pub mod viewer;
