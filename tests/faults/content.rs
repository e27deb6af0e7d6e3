//! What the scripted upstream serves in these tests. Invariant: no two pieces of a body are alike, so that bytes in the
//! wrong place are seen.

use bytes::Bytes;
use std::fmt::Write;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    resource::ResourceKey,
};
use weir_relay::mesh::rank;

use super::harness::{
    upstream::{Script, Upstream},
    weir::{Adapter, Edge, Weir},
};

/// Bytes of a transport stream packet (ISO/IEC 13818-1).
const PACKET: usize = 188;

/// `length` bytes, different for each seed.
pub(crate) fn bytes(length: usize, seed: u8) -> Bytes {
    let mut state = u64::from(seed) | 1 << 32;
    let mut next = || {
        // xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    (0..length).map(|_| next()).collect()
}

/// A transport stream of null packets (PID 0x1fff), which viewers check and never decode.
pub(crate) fn segment(packets: usize, seed: u8) -> Bytes {
    let filling = bytes(packets * (PACKET - 4), seed);
    let packets = filling.chunks(PACKET - 4);
    packets.flat_map(|filling| [0x47, 0x1f, 0xff, 0x10].into_iter().chain(filling.iter().copied())).collect()
}

/// A media playlist of one-second segments `NAME-n.ts` from `first` on; it ends unless it is live.
pub(crate) fn playlist(name: &str, first: usize, count: usize, live: bool) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for n in first..first + count {
        writeln!(text, "#EXTINF:1.0,\n{name}-{n}.ts").unwrap();
    }
    text + if live { "" } else { "#EXT-X-ENDLIST\n" }
}

/// A film of so many seconds at `/NAME.m3u8`.
pub(crate) fn film(upstream: &Upstream, name: &str, seconds: usize) {
    let kind = "application/vnd.apple.mpegurl";
    let text = playlist(name, 0, seconds, false);
    upstream.put(&format!("/{name}.m3u8"), Script::body(text).header("content-type", kind));
    for n in 0..seconds {
        upstream.put(&format!("/{name}-{n}.ts"), Script::body(segment(400, n as u8)));
    }
}

/// A path whose owners rank like `edges`.
pub(crate) async fn owned_by(adapter: &Adapter, edges: &[&Edge]) -> String {
    let publisher: PublisherId = adapter.report()["publisher"].as_str().unwrap().parse().unwrap();
    let mut ranked: Vec<RelayId> = Vec::new();
    for edge in edges {
        ranked.push(edge.status().await["relay"].as_str().unwrap().parse().unwrap());
    }
    let owned = |path: &String| rank(&ResourceKey::parse(publisher, path).unwrap().hash(), ranked.iter()) == ranked;
    (0..10_000).map(|n| format!("/owned-{n}.ts")).find(owned).unwrap()
}
