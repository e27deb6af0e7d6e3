//! What a closed-loop run is asked to do.

use url::Url;

use crate::client;

/// What to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL that every request gets.
    pub url: Url,
    /// How to connect.
    pub client: client::Config,
    /// Connections held open at a time, at least 1.
    pub connections: u32,
    /// Requests in flight at a time on each connection, at least 1; 1 over HTTP/1.1.
    pub streams: u32,
    /// Requests in all.
    pub requests: u64,
    /// Server processes whose CPU time is measured.
    pub server_pids: Vec<u32>,
}
