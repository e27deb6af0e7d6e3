//! Which relay a player means: by the pathway that its steering list named, or by the address that it has content from.
//!
//! Invariant: a name or address that has meant a relay means it on after the relay is gone, until another one has it:
//! what was delivered before a relay died is still its own. At most [`MAX_KNOWN`] of each are remembered.

use super::book::From;
use crate::steering::{FIRST, Proofs, canonical, relay_of_pathway};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use weir_hls::steering::is_pathway_id;
use weir_protocol::ids::RelayId;
use weir_relay::peer::Directory;

/// Names and addresses that are remembered.
const MAX_KNOWN: usize = 8192;

#[derive(Default)]
struct Known {
    names: HashMap<String, RelayId>,
    addresses: HashMap<String, RelayId>,
}

/// Finds relays.
pub struct Whom {
    directory: Arc<Directory>,
    proofs: Arc<Proofs>,
    known: Mutex<Known>,
}

impl Whom {
    /// Among the relays of `directory`; an address counts when its door has proven whose it is.
    pub fn new(directory: Arc<Directory>, proofs: Arc<Proofs>) -> Self {
        Self { directory, proofs, known: Mutex::default() }
    }

    /// The relay of a pathway; `base` is where the player has its playlist from, which is what the first pathway means. A
    /// relay's door that has not proven yet whose it is says nothing; the fall-back, and a pathway of the platform's own,
    /// are no relay.
    pub(super) fn plays(&self, pathway: Option<&str>, base: Option<&str>) -> From {
        let found = match pathway.filter(|id| is_pathway_id(id)) {
            Some(id) if id == FIRST => base.and_then(|base| self.at(base)),
            Some(id) => match relay_of_pathway(id) {
                Some(name) => self.named(name),
                None => return From::Elsewhere,
            },
            None => base.and_then(|base| self.at(base)),
        };
        found.map_or(From::Unsaid, From::Relay)
    }

    /// The relay whose door has this address; what stands behind the authority may be anything.
    pub(super) fn at(&self, url: &str) -> Option<RelayId> {
        let wanted = authority(url)?;
        let doors = self.directory.doors();
        let found = doors.iter().find(|door| {
            authority(&door.report.url).as_deref() == Some(&wanted) && self.proofs.holds(&door.relay, &door.report.url)
        });
        let found = found.map(|door| door.relay);
        self.remember(wanted, found, |known| &mut known.addresses)
    }

    fn named(&self, name: &str) -> Option<RelayId> {
        let grants = self.directory.grants();
        let relays = || grants.iter().map(|signed| signed.grant().relay);
        let mut found = relays().filter(|relay| relay.to_string().ends_with(name));
        // Two relays of one name are told apart by nobody.
        let found = found.next().filter(|_| found.next().is_none());
        self.remember(name.to_owned(), found, |known| &mut known.names)
    }

    fn remember(
        &self,
        key: String,
        found: Option<RelayId>,
        of: impl FnOnce(&mut Known) -> &mut HashMap<String, RelayId>,
    ) -> Option<RelayId> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = of(&mut known);
        let Some(relay) = found else { return known.get(&key).copied() };
        if known.len() >= MAX_KNOWN && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, relay);
        Some(relay)
    }
}

/// Scheme, host and port.
fn authority(url: &str) -> Option<String> {
    let mut url = url::Url::parse(url).ok()?;
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    canonical(url.as_str())
}
