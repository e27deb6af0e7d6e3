//! kill -9 at any moment: what was acknowledged is there, once, and in its place.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use weir_ledger::{Store, StoreUrl};

use crate::postgres::PostgresServer;
use crate::support::{ORIGIN, audit, open, opening, redb};

const URL: &str = "WEIR_LEDGER_CRASH_URL";
const SEED: &str = "WEIR_LEDGER_CRASH_SEED";
/// Messages that children choose from: small enough that most are submitted again and again.
const MESSAGES: u64 = 4000;

/// Submits until it is killed, and prints `ack MESSAGE LEAF` for what was acknowledged.
///
/// Does nothing unless it is started as the process that the tests below kill.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut random = StdRng::seed_from_u64(std::env::var(SEED).unwrap().parse().unwrap());
    let url: StoreUrl = url.parse().unwrap();
    let store = Store::open(&url, ORIGIN).await.unwrap();
    loop {
        let count = random.random_range(1..60);
        let numbers: Vec<u64> = (0..count).map(|_| random.random_range(0..MESSAGES)).collect();
        // A database that is killed answers nothing; the parent starts it again and kills this process too.
        let Ok(placed) = store.append(numbers.iter().copied().map(opening).collect()).await else { continue };
        let mut out = std::io::stdout().lock();
        for (number, placed) in numbers.iter().zip(placed) {
            writeln!(out, "\nack {number} {}", placed.index).unwrap();
        }
        out.flush().unwrap();
    }
}

struct Running {
    child: Child,
    lines: std::thread::JoinHandle<Vec<(u64, u64)>>,
    enough: std::sync::mpsc::Receiver<()>,
}

/// Starts a child; `enough` is told when it has acknowledged that many messages.
fn start(url: &str, seed: u64, acks: usize) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(URL, url)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let (tell, enough) = std::sync::mpsc::channel();
    // Reads to the end of the pipe, so that every acknowledgement that left the child counts.
    let lines = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let mut words = line.split(' ');
            if words.next() != Some("ack") {
                continue;
            }
            // The last line may be torn by the kill.
            let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            if let [message, leaf] = numbers[..] {
                acknowledged.push((message, leaf));
            }
            if acknowledged.len() == acks {
                let _ = tell.send(());
            }
        }
        acknowledged
    });
    Running { child, lines, enough }
}

impl Running {
    fn wait(&self) {
        self.enough.recv_timeout(std::time::Duration::from_secs(120)).expect("the child acknowledges");
    }

    fn kill(mut self) -> Vec<(u64, u64)> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.join().unwrap()
    }
}

async fn check(store: &Store, acknowledged: &mut BTreeMap<u64, u64>, new: Vec<(u64, u64)>, torn: bool) {
    let places = audit(store).await;
    let count = new.len();
    for (at, (message, leaf)) in new.into_iter().enumerate() {
        // A torn last line can read as a smaller number.
        if torn && at + 1 == count && places.get(&message) != Some(&leaf) {
            continue;
        }
        let before = acknowledged.insert(message, leaf);
        assert!(before.is_none_or(|before| before == leaf), "message {message} was leaf {before:?} and is {leaf}");
    }
    for (message, leaf) in acknowledged.iter() {
        assert_eq!(places.get(message), Some(leaf), "message {message} was acknowledged as leaf {leaf}");
    }
}

async fn redb_survives(kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let url = redb(folder.path());
    let mut random = StdRng::seed_from_u64(5);
    let mut acknowledged = BTreeMap::new();
    for round in 0..kills {
        let child = start(&url.to_string(), round, random.random_range(1..300));
        child.wait();
        let new = child.kill();
        check(&open(&url).await, &mut acknowledged, new, true).await;
    }
    assert!(acknowledged.len() > 100, "only {} messages were acknowledged", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_of_redb() {
    redb_survives(6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: two hundred kills take minutes"]
async fn two_hundred_kills_lose_nothing_of_redb() {
    redb_survives(200).await;
}

/// Three processes write to one ledger; one of them, or the whole database, is killed at a random moment.
async fn postgres_survives(kills: u64) {
    let mut server = PostgresServer::start();
    let url = server.database("crash");
    let full = server.url("crash");
    let mut random = StdRng::seed_from_u64(6);
    let mut acknowledged = BTreeMap::new();
    for round in 0..kills {
        let children: Vec<Running> =
            (0..3).map(|child| start(&full, round * 3 + child, random.random_range(1..200))).collect();
        children.iter().for_each(Running::wait);
        if round % 2 == 1 {
            server.kill();
        }
        let new: Vec<_> = children.into_iter().map(Running::kill).collect();
        if round % 2 == 1 {
            server.run();
        }
        let store = open(&url).await;
        for new in new {
            check(&store, &mut acknowledged, new, true).await;
        }
    }
    assert!(acknowledged.len() > 100, "only {} messages were acknowledged", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_loses_nothing_of_three_processes() {
    postgres_survives(4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: two hundred kills take minutes"]
async fn postgres_loses_nothing_in_two_hundred_kills() {
    postgres_survives(200).await;
}
