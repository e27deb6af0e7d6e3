//! Receipts verified and durably appended per second and core.
//!
//! `cargo bench -p weir-ledger --bench append` prints, for one thread: signatures verified one by one and in batches,
//! leaves appended durably to redb and (if it is installed) to PostgreSQL, and both together as a collector does it. CPU
//! time is that of this process; the database server's stands beside it.
#![expect(clippy::unwrap_used, reason = "a measurement")]

#[path = "../tests/support/postgres.rs"]
#[expect(dead_code, reason = "tests also kill the server")]
mod postgres;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_ledger::log::{Log, LogKeys, Submission};
use weir_ledger::note::{KeyKind, NoteKey};
use weir_ledger::{Salt, Store, StoreUrl};
use weir_protocol::statement::{Kind, ReceivedDigest, Unverified, Verified, verify_batch};
use weir_protocol::{Epoch, EvidenceKey, PeerReceipt, RootKey, SigningKey, UnixMillis};

const ORIGIN: &str = "ledger.example/bench";
const RECEIPTS: usize = 100_000;
/// Receipts in one submission, as a relay's journal sends them.
const SUBMISSION: usize = 256;
/// Submissions that wait for the same commit.
const GROUP: usize = 16;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn receipts(seed: u8, count: usize) -> Vec<(Kind, Bytes)> {
    let publisher = RootKey::from_bytes(&[0x11; 32]).publisher_id();
    let receivers: Vec<EvidenceKey> = (0..50).map(|at| EvidenceKey::from_bytes(&[seed.wrapping_add(at); 32])).collect();
    let sender = EvidenceKey::from_bytes(&[0xee; 32]).relay_id();
    let made = (0..count).map(|at| {
        let receiver = &receivers[at % receivers.len()];
        let receipt = PeerReceipt {
            publisher,
            sender,
            receiver: receiver.relay_id(),
            epoch: Epoch(500_000),
            counter: at as u64 + 1,
            bytes: at as u64 * 1_000_000,
            unique_bytes: at as u64 * 900_000,
            objects: at as u64,
            received: ReceivedDigest([7; 32]),
            time: NOW,
        };
        (Kind::PeerReceipt, Verified::sign(receipt, receiver).unwrap().bytes().clone())
    });
    made.collect()
}

struct Measured {
    wall: Duration,
    cpu: Duration,
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let (wall, before) = (Instant::now(), cpu());
    let value = work();
    (value, Measured { wall: wall.elapsed(), cpu: cpu().saturating_sub(before) })
}

fn report(what: &str, count: usize, measured: &Measured) {
    let per = |time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "{what:<58} {:>9.0} per second, {:>9.0} per second of CPU",
        per(measured.wall),
        per(measured.cpu.max(Duration::from_nanos(1)))
    );
}

fn log(store: Store) -> Log {
    let keys = LogKeys {
        publisher: RootKey::from_bytes(&[0x11; 32]).publisher_id(),
        note: NoteKey::new(ORIGIN, KeyKind::Log, &[0x66; 32]).unwrap(),
        promises: SigningKey::from_bytes(&[0x22; 32]),
    };
    Log::new(store, keys)
}

/// Verifies and keeps, as a collector does: many submissions at once, each with its promise.
async fn collect(log: &Log, messages: &[(Kind, Bytes)]) {
    for group in messages.chunks(SUBMISSION * GROUP) {
        let submissions: Vec<Vec<Submission>> = group
            .chunks(SUBMISSION)
            .map(|part| {
                verify_batch(part).into_iter().map(|evidence| Submission::evidence(&evidence.unwrap())).collect()
            })
            .collect();
        log.record_all(submissions, NOW, || Salt(rand::random())).await.unwrap();
    }
}

fn stores(runtime: &tokio::runtime::Runtime, name: &str, url: &StoreUrl, seed: u8) {
    let messages = receipts(seed, RECEIPTS);
    let log = log(runtime.block_on(Store::open(url, ORIGIN)).unwrap());
    let ((), measured) = measure(|| runtime.block_on(collect(&log, &messages)));
    report(&format!("{name}: verified, appended durably, promised"), messages.len(), &measured);
    let ((), measured) = measure(|| runtime.block_on(collect(&log, &messages[..20_000])));
    report(&format!("{name}: the same again (every one known)"), 20_000, &measured);
    let ((), measured) = measure(|| {
        runtime.block_on(async {
            for _ in 0..20 {
                log.record(vec![Submission::own(Kind::Mark, &rand::random::<[u8; 16]>()).unwrap()], NOW, || {
                    Salt(rand::random())
                })
                .await
                .unwrap();
            }
        });
    });
    report(&format!("{name}: commits one after the other"), 20, &measured);
}

fn main() {
    let messages = receipts(1, 20_000);
    let (verified, measured) = measure(|| {
        messages.iter().filter(|(_, bytes)| Unverified::<PeerReceipt>::new(bytes.clone()).verify().is_ok()).count()
    });
    report("verified one by one", verified, &measured);
    let (verified, measured) = measure(|| {
        messages.chunks(SUBMISSION).map(|part| verify_batch(part).iter().filter(|e| e.is_ok()).count()).sum()
    });
    report("verified in batches of 256", verified, &measured);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    stores(&runtime, "redb", &StoreUrl::Redb(folder.path().join("ledger.redb")), 60);
    if Path::new("/usr/lib/postgresql").exists() {
        let server = postgres::PostgresServer::start();
        stores(&runtime, "PostgreSQL", &server.database("bench"), 120);
    } else {
        println!("PostgreSQL is not installed");
    }
}
