//! Films in segments: MPEG-TS, and fMP4 in three renditions.

use crate::{
    flow::{Flow, fetched_once},
    harness::{ffmpeg::media, upstream::Upstream},
};

#[tokio::test(flavor = "multi_thread")]
async fn media_ts_vod_from_a_folder() {
    let flow = Flow::from_folder(&media("ts-vod").await).await;
    flow.bytes_are_the_origins().await;
    flow.bytes_are_there_by_name_and_at_the_adapter().await;
    flow.plays("/stream.m3u8").await;
    flow.relays_shared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_ts_vod_over_http() {
    let folder = media("ts-vod").await;
    let upstream = Upstream::folder(&folder).await;
    let flow = Flow::from_http(&upstream, &folder).await;
    flow.bytes_are_the_origins().await;
    flow.bytes_are_there_by_name_and_at_the_adapter().await;
    flow.plays("/stream.m3u8").await;
    let name = flow.adapter.report()["name"].as_str().unwrap();
    flow.plays(&format!("/{name}/stream.m3u8")).await;
    flow.relays_shared().await;
    fetched_once(&upstream, &flow);
}

#[tokio::test(flavor = "multi_thread")]
async fn media_fmp4_renditions_from_a_folder() {
    let flow = Flow::from_folder(&media("abr").await).await;
    flow.bytes_are_the_origins().await;
    flow.bytes_are_there_by_name_and_at_the_adapter().await;
    for playlist in ["/master.m3u8", "/low/stream.m3u8", "/mid/stream.m3u8", "/high/stream.m3u8"] {
        flow.plays(playlist).await;
    }
    flow.relays_shared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_fmp4_renditions_over_http() {
    let folder = media("abr").await;
    let upstream = Upstream::folder(&folder).await;
    let flow = Flow::from_http(&upstream, &folder).await;
    // The player comes first here, to cold edges.
    flow.plays("/master.m3u8").await;
    flow.bytes_are_the_origins().await;
    flow.bytes_are_there_by_name_and_at_the_adapter().await;
    flow.relays_shared().await;
    fetched_once(&upstream, &flow);
}
