//! Where the status page's facts come from.

use serde_json::Value;

/// Tells the process' state as JSON. Called for each request to `/api/v1/status`; must not block.
pub trait StatusSource: Send + Sync + 'static {
    /// The state now. Holds no secrets: everything here may be shown on a screen.
    fn status(&self) -> Value;
}
