//! A process that is killed while it writes leaves a store that opens, and every indexed object loads verified.

use crate::support::{MIB, NOW, Running, config, du, entry, files, never, noise, tagged};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

const CHILD: &str = "WEIR_STORE_CRASH_DIR";
const SEED: &str = "WEIR_STORE_CRASH_SEED";
const CAP: u64 = 32 * MIB;
const NAMES: u64 = 400;
const KILLS: u64 = 12;

/// The body that version `version` of a name has; some names share theirs.
fn body(name: u64, version: u64) -> Vec<u8> {
    let seed = if name.is_multiple_of(5) { version } else { name * 1_000_003 + version };
    let length = StdRng::seed_from_u64(seed).random_range(0..400_000);
    noise(seed, length)
}

/// Inserts, replaces, revalidates and removes until it is killed, and says so line by line.
///
/// Does nothing unless it is started as the process that the tests below kill.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let mut random = StdRng::seed_from_u64(std::env::var(SEED).unwrap().parse().unwrap());
    let running = Running::with(config(Path::new(&dir), CAP), never());
    for at in 0..1_000_000_u64 {
        let (name, version) = (random.random_range(0..NAMES), random.random_range(0..4));
        let kept = tagged(&format!("/{name}"), body(name, version), &format!("\"{version}\""));
        match random.random_range(0..10) {
            0 => running.store.remove(&kept.hash),
            1 => running.store.flush().await,
            _ => running.store.insert(kept),
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nstep {at}").unwrap();
        out.flush().unwrap();
    }
}

fn kill_after(dir: &Path, seed: u64, steps: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open until the child is dead, so that it does not end of a failed write instead.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen = lines.by_ref().filter(|line| line.starts_with("step ")).take(steps).count();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    assert_eq!(seen, steps, "the child ended by itself");
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_a_store_that_serves_what_it_lists() {
    survives(KILLS).await;
}

#[tokio::test]
#[ignore = "long: two hundred kills take minutes"]
async fn two_hundred_kills_leave_a_store_that_serves_what_it_lists() {
    survives(200).await;
}

async fn survives(kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(9);
    let mut served = 0;
    for round in 0..kills {
        kill_after(dir.path(), round, random.random_range(1..400));
        assert!(du(dir.path()) <= CAP);
        let running = Running::with(config(dir.path(), CAP), never());
        let listed = running.store.usage().disk_entries;
        assert!(files(dir.path()).len() as u64 <= listed, "orphans are left");
        let mut loaded = 0;
        for name in 0..NAMES {
            let hash = entry(&format!("/{name}"), "").hash;
            let Some(found) = running.store.load(&hash, NOW).await else {
                continue;
            };
            let version = found.head.validators.etag.as_deref().unwrap().trim_matches('"').parse().unwrap();
            assert_eq!(found.body.joined().unwrap(), body(name, version), "name {name}, version {version}");
            loaded += 1;
        }
        assert_eq!(running.events.integrity_failures(), 0);
        assert_eq!(loaded, listed, "{:?}", running);
        served += loaded;
        running.stop().await;
    }
    assert!(served > kills * 10, "only {served} entries were ever kept");
}
