//! Logs go to standard error, so that standard output stays what the command prints. `WEIR_LOG` sets the level in
//! tracing's filter syntax (default `warn,weir=info`); `WEIR_LOG_FORMAT=json` prints one JSON object a line.

use tracing_subscriber::{EnvFilter, fmt};

/// libp2p and quinn tell much that only their developers need.
const DEFAULT: &str = "warn,weir=info,weir_relay=info,weir_edge=info,weir_origin=info,weir_load=info";

pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("WEIR_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
