//! Who is let into one publisher's network, and what this relay itself was granted there. Invariant: a node is served
//! if it is the adapter, or the adapter lists it, or it shows a grant that verifies and holds; a grant that covers some
//! paths only counts for those, whatever the list says.

use super::members::Roll;
use crate::access::{Shown, Withdrawn, Withheld};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use weir_protocol::{
    grant::{GrantError, SignedGrant, UnverifiedGrant},
    ids::{PublisherId, RelayId},
    keys::KeyRing,
    resource::{CanonicalPath, ResourceKey},
    time::UnixMillis,
    wire::RefusalReason,
};

/// What this relay knows of its own place in a network.
#[derive(Debug, Clone, Default)]
pub enum Granted {
    /// Nothing was said: an adapter that grants nothing, or one that has not answered yet.
    #[default]
    Unknown,
    /// The publisher's grant, perhaps of the past: while the adapter is away, viewers get what is held.
    Yes(SignedGrant),
    /// The adapter refuses this relay, and why.
    Refused(String),
}

/// Who is let in.
pub(super) struct Admission {
    me: RelayId,
    adapter: RelayId,
    own: ArcSwap<Granted>,
    shown: Shown,
    roll: Mutex<Roll>,
    withdrawn: Withdrawn,
    /// Counts changes of the grant and of takedowns.
    news: watch::Sender<u64>,
}

impl Admission {
    pub(super) fn new(me: RelayId, adapter: RelayId, publisher: PublisherId) -> Self {
        Self {
            me,
            adapter,
            own: ArcSwap::from_pointee(Granted::Unknown),
            shown: Shown::default(),
            roll: Mutex::new(Roll::default()),
            withdrawn: Withdrawn::new(publisher),
            news: watch::Sender::new(0),
        }
    }

    pub(super) fn roll(&self) -> MutexGuard<'_, Roll> {
        // Nothing panics between related changes of the roll.
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    pub(super) fn withdrawn(&self) -> &Withdrawn {
        &self.withdrawn
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub(super) fn own(&self) -> Arc<Granted> {
        self.own.load_full()
    }

    /// A grant for this relay has come; true when it is news.
    pub(super) fn granted(&self, bytes: &Bytes, ring: &KeyRing, now: UnixMillis) -> Result<bool, GrantError> {
        let signed = UnverifiedGrant(bytes.clone()).verify(ring, &self.me, now)?;
        Ok(self.take(signed))
    }

    /// A grant that was kept over a restart: one that has ended still says which paths may be served.
    pub(super) fn restore(&self, bytes: &Bytes, ring: &KeyRing, now: UnixMillis) -> Result<bool, GrantError> {
        let signed = UnverifiedGrant(bytes.clone()).verify_of_any_time(ring, &self.me, now)?;
        Ok(self.take(signed))
    }

    fn take(&self, signed: SignedGrant) -> bool {
        let newer = match &**self.own.load() {
            Granted::Yes(held) => signed.grant().issued > held.grant().issued,
            Granted::Unknown | Granted::Refused(_) => true,
        };
        if newer {
            self.own.store(Arc::new(Granted::Yes(signed)));
            self.tell();
        }
        newer
    }

    /// The adapter refuses this relay.
    pub(super) fn refused(&self, why: String) {
        self.own.store(Arc::new(Granted::Refused(why)));
        self.tell();
    }

    /// Whether a node is let in at all.
    pub(super) fn admits(&self, node: &RelayId, now: UnixMillis) -> bool {
        *node == self.adapter
            || self.grant_of(node, |grant| grant.grant().holds_at(now)) == Some(true)
            || self.listed(node)
    }

    /// Whether a node may have what is at a path.
    pub(super) fn refuses(&self, node: &RelayId, path: &CanonicalPath, now: UnixMillis) -> Option<RefusalReason> {
        if *node == self.adapter {
            return None;
        }
        // A grant that is shown decides; without one the adapter's list does.
        let by_grant = |signed: &SignedGrant| signed.grant().holds_at(now).then(|| signed.grant().covers(path));
        match self.grant_of(node, by_grant).flatten() {
            Some(true) => None,
            Some(false) => Some(RefusalReason::OutOfScope),
            None if self.listed(node) => None,
            None => Some(RefusalReason::NotMember),
        }
    }

    fn grant_of<T>(&self, node: &RelayId, ask: impl FnOnce(&SignedGrant) -> T) -> Option<T> {
        if self.roll().is_revoked(node) { None } else { self.shown.with(node, ask) }
    }

    /// In the adapter's list, and not only for some paths.
    fn listed(&self, node: &RelayId) -> bool {
        self.roll().admits(node)
    }

    /// Why this relay serves a resource to nobody.
    pub(super) fn withheld(&self, key: &ResourceKey, now: UnixMillis) -> Option<Withheld> {
        if self.withdrawn.covers(key, now) {
            return Some(Withheld::TakenDown);
        }
        match &**self.own.load() {
            Granted::Yes(grant) if !grant.grant().covers(&key.path) => Some(Withheld::NotGranted),
            Granted::Refused(_) => Some(Withheld::NotGranted),
            Granted::Unknown | Granted::Yes(_) => None,
        }
    }
}
