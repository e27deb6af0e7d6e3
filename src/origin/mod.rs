//! `weir origin`: the adapter in front of a platform's origin.

mod args;
mod assembly;
mod document;
mod evidence;
mod ledger;
mod probe;
mod status;
mod takedown;

pub(crate) use args::OriginArgs;
pub(crate) use assembly::run;
pub(crate) use ledger::FOLDER as LOG_FOLDER;

use std::sync::{Arc, RwLock};
use weir_protocol::keys::KeyRing;

/// The keys that verify what this adapter has signed.
type Ring = Arc<RwLock<KeyRing>>;
