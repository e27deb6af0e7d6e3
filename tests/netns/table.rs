//! What connected how, and in what time: printed, and kept as an artefact.

use super::node::{Bytes, Node, PATIENCE};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Bytes of a segment.
pub(crate) const SEGMENT: usize = 300_000;
/// Segments that are tried until one comes from the other relay: half of them have that one as their owner, and for a
/// while after its address has changed none comes from there. Each serves for one try: then both relays hold it.
pub(crate) const SEGMENTS: usize = 64;
/// Ranges of them.
const RANGES: usize = 4;
/// Between two tries.
const PACE: Duration = Duration::from_millis(250);

/// A folder of segments, all different.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("weirnat-").tempdir().unwrap();
    for n in 0..RANGES * SEGMENTS {
        fs::write(folder.path().join(format!("s{n}.ts")), segment(n)).unwrap();
    }
    folder
}

fn segment(n: usize) -> Vec<u8> {
    (0..SEGMENT).map(|at| (at * 31 + n * 7 + at / 251) as u8).collect()
}

/// Adds a line to the table.
pub(crate) fn row(scenario: &str, line: &str) {
    let line = format!("{scenario:<22} {line}");
    println!("{line}");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let artifacts = target.join("test-artifacts");
    fs::create_dir_all(&artifacts).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(artifacts.join("netns.txt")).unwrap();
    // One write for one line: tests beside this one write too.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What a transfer between two relays showed.
pub(crate) struct Transfer {
    /// How the asking relay's connection came about.
    pub(crate) how: String,
    /// From the wish for the connection to the open connection.
    pub(crate) connected: Duration,
    /// The whole segment, from the request at the door.
    pub(crate) segment: Duration,
}

/// `holder` fetches segments first, from its range of numbers; after each of them `asker` asks for the same one, until one
/// comes from `holder` directly: counted at both ends, and nothing of it from the adapter.
pub(crate) fn from_peer(holder: &Node, asker: &Node, range: usize) -> Transfer {
    let deadline = Instant::now() + PATIENCE;
    for n in range * SEGMENTS..(range + 1) * SEGMENTS {
        let path = format!("/s{n}.ts");
        assert_eq!(holder.get(&path).unwrap_or_default(), segment(n), "{path} at {}", holder.label);
        let (given, before) = (holder.bytes(), asker.bytes());
        let began = Instant::now();
        let got = asker.get(&path);
        let took = began.elapsed();
        assert_eq!(got.unwrap_or_default(), segment(n), "{path} at {}", asker.label);
        let after = asker.bytes();
        let from_relays =
            after.from_peers - before.from_peers >= SEGMENT as u64 && after.from_origin == before.from_origin;
        // With a third relay the bytes may have come from there; then the next segment may do.
        if from_relays && sent_a_segment(holder, given) {
            // It may have gone from the holder over the third relay: then there is no connection to speak of.
            let Some(mut link) = asker.link_to(holder) else {
                std::thread::sleep(PACE);
                continue;
            };
            if link["how"] == "accepted" {
                // The other side made it, and knows how.
                link = holder.link_to(asker).expect("the other end of the connection");
            }
            return Transfer {
                how: link["how"].as_str().unwrap().to_owned(),
                connected: Duration::from_secs_f64(link["took_seconds"].as_f64().unwrap()),
                segment: took,
            };
        }
        if Instant::now() > deadline {
            break;
        }
        std::thread::sleep(PACE);
    }
    panic!("nothing came from {} to {}: {:?}", holder.label, asker.label, asker.status());
}

/// Whether a relay has sent a segment to a relay since it had sent `before`; it counts when a reply has ended.
fn sent_a_segment(holder: &Node, before: Bytes) -> bool {
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        if holder.bytes().to_peers - before.to_peers >= SEGMENT as u64 {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// The line of a transfer.
pub(crate) fn transfer(scenario: &str, from: &str, to: &str, done: &Transfer) {
    row(
        scenario,
        &format!(
            "{from} → {to}: {}, connected in {} ms, segment of {} kB in {} ms",
            done.how,
            done.connected.as_millis(),
            SEGMENT / 1000,
            done.segment.as_millis()
        ),
    );
}
