//! Single files addressed by byte ranges.

use crate::{
    flow::{Flow, fetched_once},
    harness::{
        fetch::{Fetch, PROTOCOLS},
        ffmpeg::media,
        files,
        upstream::Upstream,
        weir::Weir,
    },
};
use std::{collections::HashMap, path::Path};

/// (path, first byte, length) of each byte range that a playlist names.
fn byte_ranges(playlist: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut range = None;
    for line in playlist.lines() {
        if let Some(text) = line.strip_prefix("#EXT-X-BYTERANGE:") {
            let (length, from) = text.split_once('@').unwrap();
            range = Some((from.parse().unwrap(), length.parse().unwrap()));
        } else if let Some((from, length)) = range.take_if(|_| !line.starts_with('#')) {
            found.push((format!("/{line}"), from, length));
        }
    }
    found
}

/// Ranges of a single file: as the playlist names them, while the edges are cold, and the odd ones of RFC 9110.
async fn ranges_are_right(flow: &Flow, folder: &Path) {
    let ranges = byte_ranges(&files::text(&folder.join("stream.m3u8")).unwrap());
    assert!(ranges.len() >= 4, "the playlist names {} ranges", ranges.len());
    let files: HashMap<&str, &[u8]> = flow.content.iter().map(|(path, bytes)| (&path[..], &bytes[..])).collect();
    // The last first: a player may seek before anything else is there.
    for (path, from, length) in ranges.iter().rev() {
        let file = files[&path[..]];
        let expected = format!("bytes {from}-{}/{}", from + length - 1, file.len());
        for edge in &flow.edges {
            for protocol in PROTOCOLS {
                let url = edge.tls(path);
                let asked = format!("bytes={from}-{}", from + length - 1);
                let reply = Fetch::new(&url).over(protocol).header("range", &asked).send().await;
                assert_eq!((reply.status, reply.header("content-range")), (206, &expected[..]), "{url} {asked}");
                assert!(reply.body == file[*from..from + length], "{url} {asked} over {protocol}");
            }
        }
    }
    let path = &ranges[0].0;
    let file = files[&path[..]];
    for edge in &flow.edges {
        let url = edge.url(path);
        let ask = async |range: &str| Fetch::new(&url).header("range", range).send().await;
        let tail = ask("bytes=-100").await;
        assert!(tail.status == 206 && tail.body == file[file.len() - 100..], "the last 100 bytes of {url}");
        let rest = ask("bytes=100-").await;
        assert!(rest.status == 206 && rest.body == file[100..], "all but the first 100 bytes of {url}");
        let beyond = ask(&format!("bytes={}-", file.len())).await;
        let size = format!("bytes */{}", file.len());
        assert_eq!((beyond.status, beyond.header("content-range")), (416, &size[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_byte_ranges_of_one_fmp4_from_a_folder() {
    let folder = media("byterange").await;
    let flow = Flow::from_folder(&folder).await;
    ranges_are_right(&flow, &folder).await;
    flow.bytes_are_the_origins().await;
    flow.plays("/stream.m3u8").await;
    flow.relays_shared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_byte_ranges_of_one_ts_over_http() {
    let folder = media("byterange-ts").await;
    let upstream = Upstream::folder(&folder).await;
    let flow = Flow::from_http(&upstream, &folder).await;
    flow.plays("/stream.m3u8").await;
    ranges_are_right(&flow, &folder).await;
    flow.bytes_are_the_origins().await;
    flow.relays_shared().await;
    fetched_once(&upstream, &flow);
}
