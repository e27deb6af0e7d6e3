//! What can be changed over the private address.

use http::StatusCode;
use serde_json::Value;

/// One thing that can be looked at and changed. Called on a thread of its own: it may block.
pub trait Command: Send + Sync + 'static {
    /// Its path, such as `/api/v1/takedowns`.
    fn path(&self) -> &'static str;

    /// The state now (GET).
    fn state(&self) -> Value;

    /// A change (POST, JSON); what has come of it, or a status with a text that says what to do.
    fn change(&self, wanted: Value) -> Result<Value, (StatusCode, String)>;
}
