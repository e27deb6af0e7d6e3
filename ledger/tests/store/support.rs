//! Messages with numbers, and checks of a whole store.

use std::collections::BTreeMap;
use std::path::Path;

use weir_ledger::merkle::{Frontier, LeafHash};
use weir_ledger::{Opening, Salt, Store, StoreUrl};
use weir_protocol::UnixMillis;
use weir_protocol::statement::Kind;

pub(crate) const ORIGIN: &str = "ledger.example/weir";

/// Message number `number`, with a salt of its own at every call.
pub(crate) fn opening(number: u64) -> Opening {
    let salt = Salt(rand::random());
    let mut message = number.to_be_bytes().to_vec();
    message.resize(8 + (number % 400) as usize, 7);
    Opening { salt, received: UnixMillis(1_800_000_000_000 + number % 1000), kind: Kind::EdgeClaim, message }
}

pub(crate) fn number(opening: &Opening) -> u64 {
    u64::from_be_bytes(opening.message[..8].try_into().unwrap())
}

pub(crate) fn redb(folder: &Path) -> StoreUrl {
    StoreUrl::Redb(folder.join("ledger.redb"))
}

pub(crate) async fn open(url: &StoreUrl) -> Store {
    Store::open(url, ORIGIN).await.unwrap()
}

/// Reads everything, checks that it fits together, and returns which leaf each message is.
pub(crate) async fn audit(store: &Store) -> BTreeMap<u64, u64> {
    let head = store.head().await.unwrap();
    let size = head.size.get();
    let entries = store.entries(0..size).await.unwrap();
    let openings = store.openings(0..size).await.unwrap();
    let mut frontier = Frontier::new();
    let mut places = BTreeMap::new();
    for (index, (entry, opening)) in (0..).zip(entries.iter().zip(openings)) {
        frontier.append(LeafHash::of(&entry.entry())).unwrap();
        let opening = opening.expect("nothing was forgotten");
        assert_eq!(opening.commitment(), *entry, "leaf {index}");
        // A look-up for each of many thousand leaves would take the test's time.
        if number(&opening).is_multiple_of(97) {
            assert_eq!(store.find(opening.id()).await.unwrap(), Some(index));
        }
        assert_eq!(places.insert(number(&opening), index), None, "message {} is two leaves", number(&opening));
    }
    assert_eq!(frontier.root(), head.root, "the tiles' root is not the leaves' root");
    places
}
