//! A publisher's keys, and what happens when they change.

use super::{
    adapter::Adapter,
    origin::{Origin, Page, bytes},
    relay::Relay,
    seen::until,
};
use weir_protocol::{
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    time::UnixMillis,
};
use weir_relay::clock::Clock;

const HOUR_MS: u64 = 3_600_000;

/// A publisher.
pub(crate) struct Publisher {
    pub(crate) root: RootKey,
    pub(crate) signing: SigningKey,
}

impl Publisher {
    pub(crate) fn new(seed: u8) -> Self {
        Self { root: RootKey::from_bytes(&[seed; 32]), signing: SigningKey::from_bytes(&[seed ^ 0xff; 32]) }
    }

    pub(crate) fn list_of(&self, keys: &[&SigningKey], issued: UnixMillis) -> Vec<u8> {
        let (from, to) = (issued.minus_ms(HOUR_MS), issued.plus_ms(HOUR_MS));
        let keys = keys.iter().map(|key| KeyEntry::new(key, from, to)).collect();
        SigningKeyList { publisher: self.root.publisher_id(), issued, expires: to, keys }.sign(&self.root).unwrap()
    }

    pub(crate) fn list(&self) -> Vec<u8> {
        self.list_of(&[&self.signing], Clock::System.now())
    }

    pub(crate) fn ring(&self) -> KeyRing {
        KeyRing::verify(self.root.publisher_id(), &self.list(), Clock::System.now()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_list_reaches_relays_over_the_control_stream() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    adapter.knows(1).await;
    let next = SigningKey::from_bytes(&[77; 32]);
    let issued = Clock::System.now().plus_ms(1);
    adapter.directory.set_keys(adapter.publisher.list_of(&[&next], issued));
    until("the new list", || relay.network.ring().issued() == issued).await;
    assert!(relay.network.ring().key(&next.key_id(), issued).is_some());
    // Nothing that the old key signs is taken any more, and the sender is not blamed: its list may be the older one.
    adapter.origin.put("/a.ts", Page::new(bytes(1000, 1)));
    let refused = relay.try_get("/a.ts").await.err().unwrap();
    assert!(refused.to_string().contains("key"), "{refused}");
    assert_eq!(relay.seen.answered("adapter", "refused"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_list_of_another_root_or_an_older_one_changes_nothing() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let before = relay.network.ring().issued();
    let forged = Publisher::new(9).list();
    let older = adapter.publisher.list_of(&[&SigningKey::from_bytes(&[5; 32])], before.minus_ms(1));
    for list in [forged, older] {
        assert!(!relay.network.offer_keys(&list, Clock::System.now()));
    }
    assert_eq!(relay.network.ring().issued(), before);
}
