//! What outlives the process.

use crate::{
    edge::{Edge, Setup, noise},
    upstream::Reply,
};
use std::{fs, path::PathBuf};

fn bodies(directory: &std::path::Path) -> Vec<PathBuf> {
    let fans = fs::read_dir(directory.join("bodies")).unwrap();
    fans.flat_map(|fan| fs::read_dir(fan.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

/// An edge on this directory that has written `bytes` there as `/1.ts`, 5 s old, and ended.
async fn wrote(directory: &std::path::Path, bytes: &[u8]) -> Edge {
    let edge = Edge::with(Setup::on_disk(directory)).await;
    let reply = Reply::ok(bytes.to_vec()).with("age", "5").with("etag", "\"1\"").with("cache-control", "max-age=60");
    edge.origin.always("/1.ts", reply);
    edge.get("/1.ts").await.is("fwd=uri-miss; stored", bytes);
    edge.idle().await;
    edge.store.flush().await;
    let (origin, time) = edge.stop().await;
    Edge::over(origin, time, Setup::on_disk(directory))
}

#[tokio::test]
async fn after_a_restart_the_disk_answers_and_the_age_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = noise(300_000);
    let edge = wrote(directory.path(), &bytes).await;
    edge.advance(20_000);
    let got = edge.get("/1.ts").await;
    got.is("hit; ttl=35; detail=disk", &bytes);
    assert_eq!((got.field("age"), got.field("etag"), got.field("content-type")), ("25", "\"1\"", "video/mp2t"));
    edge.idle().await;
    edge.get("/1.ts").await.is("hit; ttl=35; detail=memory", &bytes);
    let part = edge.ask("/1.ts", &[("range", "bytes=299999-")]).await;
    assert!(part.body == bytes[299_999..]);
    assert_eq!(edge.origin.count("/1.ts"), 1);
}

#[tokio::test]
async fn what_is_stale_on_disk_is_revalidated() {
    let directory = tempfile::tempdir().unwrap();
    let edge = wrote(directory.path(), b"on disk").await;
    edge.origin.on("/1.ts", |seen, _| {
        assert_eq!(seen.field("if-none-match"), Some("\"1\""));
        Reply::not_modified().with("cache-control", "max-age=60")
    });
    edge.advance(100_000);
    edge.get("/1.ts").await.is("fwd=stale; fwd-status=304; ttl=60", "on disk");
    edge.idle().await;
    edge.get("/1.ts").await.is("hit", "on disk");
}

#[tokio::test]
async fn a_damaged_file_is_fetched_again_and_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = noise(300_000);
    for damage in ["flipped", "cut", "gone"] {
        let place = directory.path().join(damage);
        let edge = wrote(&place, &bytes).await;
        let files = bodies(&place);
        assert_eq!(files.len(), 1);
        let mut content = fs::read(&files[0]).unwrap();
        match damage {
            "flipped" => content[150_000] ^= 1,
            "cut" => content.truncate(299_999),
            _ => {}
        }
        if damage == "gone" {
            fs::remove_file(&files[0]).unwrap()
        } else {
            fs::write(&files[0], content).unwrap()
        }
        edge.get("/1.ts").await.is("fwd=uri-miss; stored", &bytes);
        assert_eq!(edge.origin.count("/1.ts"), 2, "{damage}");
        edge.idle().await;
        edge.get("/1.ts").await.is("hit", &bytes);
    }
}

#[tokio::test]
async fn what_may_not_be_kept_leaves_no_trace_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::with(Setup::on_disk(directory.path())).await;
    edge.origin.always("/k.key", Reply::ok("0123456789abcdef"));
    edge.origin.always("/p.ts", Reply::ok("private").with("cache-control", "private"));
    for path in ["/k.key", "/p.ts"] {
        edge.get(path).await.is_status(200);
    }
    edge.idle().await;
    edge.store.flush().await;
    assert_eq!((bodies(directory.path()).len(), edge.store.usage().disk_entries), (0, 0));
}
