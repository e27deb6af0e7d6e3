//! Directories that cannot be used say why.

use crate::support::{MIB, Running, config, never};
use std::{fs, sync::Arc};
use weir_relay::store::{Store, StoreError};

fn refusal(config: weir_relay::store::StoreConfig) -> StoreError {
    match Store::open(config, never(), Arc::new(())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_directory_serves_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let error = refusal(config(dir.path(), 64 * MIB));
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    running.stop().await;
    Running::open(dir.path()).stop().await;
}

#[test]
fn what_is_no_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = refusal(config(&path, 64 * MIB));
        assert!(matches!(&error, StoreError::NotADirectory { path: named } if *named == path), "{error:?}");
    }
    fs::write(dir.path().join("bodies"), "").unwrap();
    assert!(matches!(refusal(config(dir.path(), 64 * MIB)), StoreError::NotADirectory { .. }));
}

#[test]
fn an_index_that_is_a_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("index.redb")).unwrap();
    let error = refusal(config(dir.path(), 64 * MIB));
    assert!(error.to_string().contains("index.redb"), "{error}");
}

#[test]
fn a_cap_without_room_for_bodies_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(config(dir.path(), MIB)), StoreError::TooSmall { bytes: MIB }));
}
