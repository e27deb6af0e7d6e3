//! What both stores do.

use std::collections::BTreeSet;

use weir_ledger::merkle::{TreeSize, verify_consistency, verify_inclusion};
use weir_ledger::store::MAX_APPEND;
use weir_ledger::tile::{Resolver, TileKind, TilePlace};
use weir_ledger::{Store, StoreError, StoreUrl};

use crate::postgres::PostgresServer;
use crate::support::{ORIGIN, audit, open, opening, redb};

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(redb(folder.path())).await;
            }
        )*

        /// One server for all: starting one takes longer than the tests.
        #[tokio::test(flavor = "multi_thread")]
        async fn postgres_does_all_that_redb_does() {
            let server = PostgresServer::start();
            $( super::$name(server.database(stringify!($name))).await; )*
        }
    };
}

mod both {
    use super::*;

    suite![
        a_message_is_one_leaf,
        proofs_hold_at_every_size,
        openings_can_be_forgotten,
        the_largest_checkpoint_is_kept,
        a_store_belongs_to_one_log,
        many_submitters_share_a_store,
        an_append_has_a_bound,
        time_never_goes_backwards,
    ];
}

async fn a_message_is_one_leaf(url: StoreUrl) {
    let store = open(&url).await;
    let first = store.append(vec![opening(1), opening(2), opening(1)]).await.unwrap();
    assert_eq!(
        first.iter().map(|placed| (placed.index, placed.fresh)).collect::<Vec<_>>(),
        [(0, true), (1, true), (0, false)]
    );
    assert_eq!(first[2].opening, first[0].opening, "the salt of the first time counts");
    let again = store.append(vec![opening(3), opening(2)]).await.unwrap();
    assert_eq!(again.iter().map(|placed| (placed.index, placed.fresh)).collect::<Vec<_>>(), [(2, true), (1, false)]);
    assert_eq!(again[1].opening, first[1].opening);
    drop(store);
    let store = open(&url).await;
    let later = store.append(vec![opening(2), opening(4)]).await.unwrap();
    assert_eq!(later[0].opening, first[1].opening, "also after a restart");
    assert_eq!(later[1].index, 3);
    assert_eq!(store.find(opening(4).id()).await.unwrap(), Some(3));
    assert_eq!(store.find(opening(5).id()).await.unwrap(), None);
    assert_eq!(store.append(vec![]).await.unwrap(), []);
    assert_eq!(audit(&store).await.len(), 4);
}

async fn proofs_hold_at_every_size(url: StoreUrl) {
    let store = open(&url).await;
    assert_eq!(store.head().await.unwrap().size, TreeSize::EMPTY);
    let mut heads = Vec::new();
    let mut added = 0;
    for batch in [1, 2, 253, 1, 300, 700, 3] {
        store.append((added..added + batch).map(opening).collect()).await.unwrap();
        added += batch;
        heads.push(store.head().await.unwrap());
        // Every few batches the store forgets what it knew of the right edge.
        if added == 557 {
            store.append(vec![opening(0)]).await.unwrap();
        }
    }
    let new = *heads.last().unwrap();
    assert_eq!(new.size.get(), added);
    for old in heads {
        assert_eq!(store.head_at(old.size).await.unwrap(), old, "a root that was signed can be computed later");
        let proof = store.fill(Resolver::consistency(old.size, new.size).unwrap()).await.unwrap().proof().unwrap();
        verify_consistency(old.size, old.root, new.size, new.root, &proof).unwrap();
    }
    for index in [0, 255, 256, 511, 512, 1023, added - 1] {
        let proof = store.fill(Resolver::inclusion(index, new.size).unwrap()).await.unwrap().proof().unwrap();
        let entry = store.entries(index..index + 1).await.unwrap()[0];
        verify_inclusion(entry.leaf_hash(), index, new.size, new.root, &proof).unwrap();
    }
    let tile = TilePlace::in_tree(TileKind::Hashes(1), 0, new.size).unwrap();
    assert_eq!(store.hashes(&tile).await.unwrap().len(), 4);
    assert!(matches!(store.entries(added..added + 1).await, Err(StoreError::Damaged(_))), "there is no such leaf");
}

async fn openings_can_be_forgotten(url: StoreUrl) {
    let store = open(&url).await;
    store.append((0..10).map(opening).collect()).await.unwrap();
    let before = store.head().await.unwrap();
    assert_eq!(store.forget(vec![3, 4, 99]).await.unwrap(), 2);
    assert_eq!(store.forget(vec![3]).await.unwrap(), 0);
    let openings = store.openings(2..6).await.unwrap();
    assert_eq!(openings.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(store.head().await.unwrap(), before, "the log itself does not change");
    assert_eq!(store.find(opening(3).id()).await.unwrap(), None, "nobody can ask whether a message was there");
    let again = store.append(vec![opening(3)]).await.unwrap();
    assert_eq!((again[0].index, again[0].fresh), (10, true));
}

async fn the_largest_checkpoint_is_kept(url: StoreUrl) {
    let store = open(&url).await;
    assert_eq!(store.checkpoint().await.unwrap(), None);
    for (size, note) in [(5, "five"), (4, "four"), (5, "five, cosigned")] {
        store.keep_checkpoint(TreeSize::new(size), note.into()).await.unwrap();
    }
    assert_eq!(store.checkpoint().await.unwrap().as_deref(), Some("five, cosigned"));
}

async fn a_store_belongs_to_one_log(url: StoreUrl) {
    drop(open(&url).await);
    let refused = Store::open(&url, "another.example").await.unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { found, .. } if found == ORIGIN), "{refused}");
}

async fn many_submitters_share_a_store(url: StoreUrl) {
    let store = open(&url).await;
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..10_u64 {
                    // Each message comes from two tasks.
                    let first = (task / 2) * 1000 + round * 20;
                    let placed = store.append((first..first + 20).map(opening).collect()).await.unwrap();
                    assert_eq!(placed.len(), 20);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let places = audit(&store).await;
    let expected: BTreeSet<u64> = (0..4).flat_map(|pair| pair * 1000..pair * 1000 + 200).collect();
    assert_eq!(places.keys().copied().collect::<BTreeSet<_>>(), expected, "none lost, none twice");
}

async fn an_append_has_a_bound(url: StoreUrl) {
    let store = open(&url).await;
    let refused = store.append((0..=MAX_APPEND as u64).map(opening).collect()).await;
    assert!(matches!(refused, Err(StoreError::TooMany(4097))));
    assert_eq!(store.head().await.unwrap().size, TreeSize::EMPTY);
}

async fn time_never_goes_backwards(url: StoreUrl) {
    let store = open(&url).await;
    let at = |number: u64, received: u64| {
        let mut opening = opening(number);
        opening.received = weir_protocol::UnixMillis(received);
        opening
    };
    let hour = 3_600_000;
    store.append(vec![at(1, hour)]).await.unwrap();
    let placed = store.append(vec![at(2, hour - 1000), at(3, hour + 5)]).await.unwrap();
    assert_eq!(
        [placed[0].opening.received.0, placed[1].opening.received.0],
        [hour, hour + 5],
        "another adapter's clock"
    );
    let refused = store.append(vec![at(4, hour - 600_000)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Clock { behind_ms: 600_005 }), "{refused}");
    assert_eq!(store.head().await.unwrap().size.get(), 3);
}

#[tokio::test]
async fn a_file_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = redb(folder.path());
    let _first = open(&url).await;
    let refused = Store::open(&url, ORIGIN).await.unwrap_err();
    assert!(matches!(refused, StoreError::InUse(_)) && refused.to_string().contains("PostgreSQL"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_said_to_be_damaged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.redb"), vec![7; 100_000]).unwrap();
    let refused = Store::open(&redb(folder.path()), ORIGIN).await.unwrap_err();
    assert!(matches!(refused, StoreError::Damaged(_) | StoreError::Unavailable(_)), "{refused:?}");
}
