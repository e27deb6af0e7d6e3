//! What an operator may set about the store.

use serde::Deserialize;
use std::path::PathBuf;

/// Smallest disk tier in bytes: below it, the index and its room to grow would leave no space for bodies.
pub const MIN_DISK_BYTES: u64 = 32 << 20;

/// Sizes of both tiers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Bytes of memory for bodies, their trees and heads. 256 MiB.
    pub memory_bytes: u64,
    /// Longest body that is kept, in bytes; in any case at most a quarter of `memory_bytes`. 64 MiB.
    pub max_object_bytes: u64,
    /// The disk tier; without it, nothing outlives the process.
    pub disk: Option<DiskConfig>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, max_object_bytes: 64 << 20, disk: None }
    }
}

/// The disk tier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// Directory of this store alone; created when it is missing.
    pub dir: PathBuf,
    /// Bytes the directory may take as `du` counts them, at least [`MIN_DISK_BYTES`]. 10 GiB.
    #[serde(default = "default_disk_bytes")]
    pub bytes: u64,
}

impl DiskConfig {
    /// A disk tier of 10 GiB in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), bytes: default_disk_bytes() }
    }
}

const fn default_disk_bytes() -> u64 {
    10 << 30
}
