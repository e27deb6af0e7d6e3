//! How the demo's ledger is settled: a policy of short epochs and windows, and the commands.

use super::network::EPOCH_MS;
use crate::exit::{DATA_DIRECTORY, Failure};
use std::path::Path;

/// The policy's file in the demo's directory.
const POLICY: &str = "policy.toml";
/// Evidence is accepted so long after an epoch: relays claim every second.
const CLAIM_WINDOW_MS: u64 = 6_000;

/// Writes the policy that the demo is settled by.
pub(super) fn write_policy(home: &Path) -> Result<(), Failure> {
    let text = format!(
        "# Pays for what the demo's relays deliver. Epochs and windows are short, so that nobody waits.\n\
         version = 1\n\
         currency = \"EUR\"\n\
         epoch_ms = {EPOCH_MS}\n\
         claim_window_ms = {CLAIM_WINDOW_MS}\n\n\
         [[price]]\n\
         kind = \"viewer\"\n\
         micro_per_gb = 4000000\n\n\
         [[price]]\n\
         kind = \"peer\"\n\
         micro_per_gb = 1000000\n\n\
         [[split]]\n\
         path = \"/film/\"\n\
         creator = \"Ada\"\n\
         creator_permille = 100\n\
         platform_permille = 50\n\n\
         [hold_epochs]\n\
         e0 = 2\n\
         e1 = 2\n\
         e2 = 1\n\
         e3 = 1\n"
    );
    let path = home.join(POLICY);
    let failed = |error| Failure::new(DATA_DIRECTORY, format!("cannot write {}: {error}", path.display()));
    std::fs::write(&path, text).map_err(failed)
}

/// What can be done with a ledger that was kept.
pub(super) fn advice(home: &Path) -> String {
    let home = home.display();
    format!(
        "  settle it with: weir settle run --data {home}/adapter --policy {home}/{POLICY} --out {home}/settlement\n  \
         (an epoch is settled {} s after its end)",
        CLAIM_WINDOW_MS / 1000
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_one() {
        let home = tempfile::tempdir().unwrap();
        write_policy(home.path()).unwrap();
        let policy = std::fs::read(home.path().join(POLICY)).unwrap();
        weir_ledger::settle::Policy::read(&policy).unwrap();
    }
}
