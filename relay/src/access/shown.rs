//! Grants that other relays have shown. Invariant: a grant is held exactly as long as a connection of its relay lives,
//! so that there are never more than connections.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use weir_protocol::{grant::SignedGrant, ids::RelayId};

struct Held {
    grant: SignedGrant,
    connections: usize,
}

/// The grants of one network that are shown at open connections.
#[derive(Default)]
pub(crate) struct Shown(Mutex<HashMap<RelayId, Held>>);

impl Shown {
    fn held(&self) -> MutexGuard<'_, HashMap<RelayId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection's first grant; to be paired with [`Shown::gone`].
    pub(crate) fn come(&self, grant: SignedGrant) {
        let mut held = self.held();
        match held.get_mut(&grant.grant().relay) {
            Some(former) => {
                former.connections += 1;
                former.renew(grant);
            }
            None => {
                held.insert(grant.grant().relay, Held { grant, connections: 1 });
            }
        }
    }

    /// A further grant at a connection that has shown one.
    pub(crate) fn renewed(&self, grant: SignedGrant) {
        if let Some(former) = self.held().get_mut(&grant.grant().relay) {
            former.renew(grant);
        }
    }

    /// A connection that had shown a grant is over.
    pub(crate) fn gone(&self, relay: &RelayId) {
        let mut held = self.held();
        if let Some(former) = held.get_mut(relay) {
            former.connections -= 1;
            if former.connections == 0 {
                held.remove(relay);
            }
        }
    }

    /// Asks about a relay's grant, if it has shown one.
    pub(crate) fn with<T>(&self, relay: &RelayId, ask: impl FnOnce(&SignedGrant) -> T) -> Option<T> {
        self.held().get(relay).map(|held| ask(&held.grant))
    }

    /// Every grant that is shown now, in no order.
    pub(crate) fn all(&self) -> Vec<SignedGrant> {
        self.held().values().map(|held| held.grant.clone()).collect()
    }

    /// Relays that have shown one.
    pub(crate) fn len(&self) -> usize {
        self.held().len()
    }
}

impl Held {
    /// Of two grants the one that was issued later counts: a narrower one must not be undone by an older one.
    fn renew(&mut self, grant: SignedGrant) {
        if grant.grant().issued >= self.grant.grant().issued {
            self.grant = grant;
        }
    }
}
