//! What must hold at the end.

use serde::Deserialize;

/// A bound of one figure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Which figure: a name of `weir load figures`, such as `rebuffer_ratio`.
    pub figure: String,
    /// Of which target; absent: of each.
    pub target: Option<String>,
    /// Most that is accepted.
    pub at_most: Option<f64>,
    /// Least that is accepted.
    pub at_least: Option<f64>,
}
