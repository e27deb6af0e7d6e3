//! Encrypted segments are cached like any others; their key passes through and is kept nowhere.

use crate::{
    flow::{Flow, KEY_PATH, fetched_once, same},
    harness::{
        fetch::{Fetch, PROTOCOLS},
        ffmpeg::media,
        files,
        upstream::Upstream,
        weir::Weir,
    },
};
use std::path::Path;

/// What `make.sh` makes the key of.
const KEY: &[u8] = b"weir-test-aes128";

#[tokio::test(flavor = "multi_thread")]
async fn media_aes_keys_pass_through_and_are_not_kept() {
    let folder = media("aes").await;
    let upstream = Upstream::folder(&folder).await;
    let mut flow = Flow::from_http(&upstream, &folder).await;
    flow.bytes_are_the_origins().await;

    let mut asked = 0;
    for _ in 0..2 {
        for edge in &flow.edges {
            let mut replies = vec![edge.get(KEY_PATH).await];
            for protocol in PROTOCOLS {
                replies.push(Fetch::new(&edge.tls(KEY_PATH)).over(protocol).send().await);
            }
            for reply in replies {
                asked += 1;
                same(&reply, KEY, KEY_PATH);
                let cached = reply.header("cache-status");
                let passed = cached.contains("fwd=") && !cached.contains("stored");
                assert!(passed, "the key's Cache-Status: {cached}");
            }
            let requests = upstream.requests(KEY_PATH);
            assert_eq!(requests, asked, "each request for the key is the origin's to answer");
        }
    }
    flow.plays("/stream.m3u8").await;
    let requests = upstream.requests(KEY_PATH);
    assert!(requests >= asked + flow.edges.len(), "players got the key from the origin");
    flow.relays_shared().await;
    fetched_once(&upstream, &flow);

    let (_, segment) = flow.media().find(|(path, _)| path.ends_with(".ts")).unwrap();
    let sample = segment[1000..1032].to_vec();
    for edge in &mut flow.edges {
        assert_eq!(edge.terminate().await, Some(0));
        keeps_segments_but_no_key(&edge.data(), &sample);
    }
    assert_eq!(flow.adapter.terminate().await, Some(0));
    keeps_segments_but_no_key(&flow.adapter.data(), &sample);
}

fn keeps_segments_but_no_key(data: &Path, sample: &[u8]) {
    // Finding the segment shows that the key would be found as well.
    assert!(!files::containing(data, sample).is_empty(), "no segment is among what is kept");
    let with_key = files::containing(data, KEY);
    assert!(with_key.is_empty(), "the key is in {with_key:?}");
}
