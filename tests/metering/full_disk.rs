//! The ledger's disk is full: a real file system of a few MiB. Needs root, for the mount.

use rand::{SeedableRng as _, rngs::StdRng};
use std::{path::Path, process::Command};
use tempfile::TempDir;
use weir_ledger::StoreUrl;

use crate::{
    harness::{wait::until, weir::Weir as _},
    publisher::Publisher,
    submitter::Submitter,
};

/// Room for an empty ledger and some thousand leaves.
const SMALL: &str = "size=4m";
const LARGE: &str = "remount,size=64m";

/// A file system in memory; it goes with its handle.
struct Disk(TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.mount(&["-t", "tmpfs", "-o", size, "tmpfs"]);
        disk
    }

    fn mount(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(self.0.path()).status().unwrap();
        assert!(status.success(), "mount {args:?}");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still writes there keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn netns_a_full_disk_acknowledges_nothing_and_recovers_by_itself() {
    let disk = Disk::new(SMALL);
    let url = format!("redb://{}", disk.path().join("ledger.redb").display());
    let store: StoreUrl = url.parse().unwrap();
    let mut publisher = Publisher::with_store(store, &url).await;
    let mut submitting = Submitter::of(&publisher, 7).await.start();
    let mut random = StdRng::seed_from_u64(8);
    submitting.goes_on(&mut random).await;
    until("the adapter to say that the disk is full", async || {
        publisher.adapter.stderr().contains("the ledger's disk is full: nothing is acknowledged").then_some(())
    })
    .await;
    submitting.stands_still().await;
    disk.mount(&["-o", LARGE]);
    submitting.goes_on(&mut random).await;
    publisher.adapter.kill9();
    let submitter = submitting.end().await;
    submitter.check(&publisher.log(&publisher.adapter.data()).await).await;
    publisher.adapter.restart().await;
    publisher.adapter.ready().await;
    println!("a full disk: {}", submitter.settle(&mut publisher).await);
}
