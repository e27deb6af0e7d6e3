//! What the demo can be told.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags of `weir demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Play with built-in viewers for so many seconds and end with a summary; the exit code is 0 only if everything flowed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: Option<u64>,
    /// Print the summary as one JSON object on standard output, and all else on standard error.
    #[arg(long, requires = "seconds")]
    pub(super) json: bool,
    /// Print the command that starts Chromium so that it plays over HTTP/3.
    #[arg(long)]
    pub(super) h3: bool,
    /// Open the player page in the default browser.
    #[arg(long)]
    pub(super) open: bool,
    /// Keep stores, keys and logs in this directory, instead of a temporary one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Serve nothing but the demo's origin at this address (a film, a live channel, and the same as Low-Latency HLS), to put
    /// an adapter or a pull-through relay in front of it. Prints the base URL.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["seconds", "json", "h3", "open", "data", "free_ports"])]
    pub(super) origin_only: Option<SocketAddr>,
    /// Take any free ports instead of the usual ones.
    #[arg(long)]
    pub(super) free_ports: bool,
}
