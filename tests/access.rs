//! What operators and publishers decide, with real programs: who joins, what is refused, what is taken down.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{
    fetch::{get, request},
    process::{Options, Process},
    upstream::{Script, Upstream},
    wait::until,
    weir::{Adapter, Edge, Weir},
};
use http::Method;
use serde_json::Value;
use std::{path::Path, process::Stdio};

/// What `weir origin takedown` says: success, and its output or its complaint.
async fn takedown(adapter: &Adapter, args: &[&str]) -> (bool, String) {
    let admin = adapter.address("admin");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["origin", "takedown", "--admin", &admin])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.success(), String::from_utf8(text.clone()).unwrap())
}

async fn answers(edge: &Edge, path: &str, status: u16) {
    let what = format!("{path} to be answered {status}");
    until(&what, async || (edge.get(path).await.status == status).then_some(())).await;
}

#[tokio::test]
async fn a_takedown_empties_every_relay_survives_restarts_and_is_lifted() {
    let upstream = Upstream::start().await;
    for path in ["/film/1.ts", "/film/1.ts?v=2", "/films.ts"] {
        upstream.put(path, Script::body("bytes"));
    }
    let mut adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let (mut one, two) = (Edge::join(&adapter, Options::new()).await, Edge::join(&adapter, Options::new()).await);
    for edge in [&one, &two] {
        for path in ["/film/1.ts", "/film/1.ts?v=2", "/films.ts"] {
            assert_eq!(edge.get(path).await.status, 200);
        }
    }
    let (done, said) = takedown(&adapter, &["/film/"]).await;
    assert!(done, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["target"]["path"], "/film/");
    for edge in [&one, &two] {
        for path in ["/film/1.ts", "/film/1.ts?v=2", "/film/never-seen.m3u8"] {
            answers(edge, path, 410).await;
        }
        assert_eq!(edge.get("/film/1.ts").await.header("cache-control"), "no-store");
        assert_eq!(edge.get("/films.ts").await.status, 200, "its neighbour stays");
    }
    assert_eq!(adapter.get("/film/1.ts").await.status, 410, "the adapter's own door too");
    let (_, listed) = takedown(&adapter, &[]).await;
    assert!(listed.contains("/film/"), "{listed}");

    // Without the adapter, a relay that starts again still knows.
    let kept = Path::new(&one.data()).join("networks");
    // A list without it was written when the grant came.
    let holds = |file: &Path| std::fs::read(file).unwrap().windows(6).any(|bytes| bytes == b"/film/");
    until("the takedown on disk", async || {
        std::fs::read_dir(&kept)
            .unwrap()
            .map(|file| file.unwrap().path())
            .any(|file| file.extension().is_some_and(|end| end == "takedowns") && holds(&file))
            .then_some(())
    })
    .await;
    adapter.kill9();
    one.restart().await;
    one.ready().await;
    assert_eq!(one.get("/film/1.ts").await.status, 410);
    adapter.restart().await;
    adapter.ready().await;
    assert_eq!(adapter.get("/film/1.ts").await.status, 410, "the adapter remembers");

    let (done, said) = takedown(&adapter, &["/film/", "--lift"]).await;
    assert!(done, "{said}");
    for edge in [&one, &two] {
        answers(edge, "/film/1.ts", 200).await;
    }
    // One resource alone, and what makes no sense.
    let (done, said) = takedown(&adapter, &["/film/1.ts?v=2", "--exact", "--for", "1h"]).await;
    assert!(done, "{said}");
    answers(&two, "/film/1.ts?v=2", 410).await;
    assert_eq!(two.get("/film/1.ts").await.status, 200);
    for wrong in ["film", "/film?v=1", "/../x"] {
        let (done, said) = takedown(&adapter, &[wrong]).await;
        assert!(!done && said.starts_with("weir: "), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn a_web_page_cannot_take_anything_down() {
    let upstream = Upstream::start().await;
    upstream.put("/a.ts", Script::body("bytes"));
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let url = url::Url::parse(&format!("http://{}/api/v1/takedowns", adapter.address("admin"))).unwrap();
    let preflight = request(Method::OPTIONS, &url, &[("origin", "http://evil.example")]).await;
    assert_eq!(preflight.status, 405);
    for headers in [
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/json"), ("origin", "http://evil.example")],
    ] {
        assert_eq!(request(Method::POST, &url, &headers).await.status, 403, "{headers:?}");
    }
    assert_eq!(get(&url).await.text(), r#"{"takedowns":[]}"#);
    // The public door knows nothing of it.
    assert_eq!(get(&adapter.url("/api/v1/takedowns")).await.status, 404);
}

#[tokio::test]
async fn a_grant_list_lets_in_whom_it_names_and_may_change() {
    let upstream = Upstream::start().await;
    upstream.put("/a.ts", Script::body("bytes"));
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("relays.txt");
    std::fs::write(&list, "# nobody yet\n").unwrap();
    let adapter = Adapter::start(upstream.url("/"), Options::new().arg("--grant-list", list.display())).await;
    let edge = Edge::join(&adapter, Options::new()).await;
    let id = edge.report()["relay"].as_str().unwrap().to_owned();
    let state = async || edge.status().await["networks"][0]["grant"].clone();
    until("the refusal", async || (state().await["state"] == "refused").then_some(())).await;
    let why = state().await["reason"].as_str().unwrap().to_owned();
    assert!(why.contains(&id) && why.contains("add the line"), "{why}");
    assert_eq!(edge.get("/a.ts").await.status, 404);

    // A list with a mistake changes nothing.
    std::fs::write(&list, format!("{id}\nnonsense\n")).unwrap();
    until("the complaint", async || adapter.stderr().contains("line 2").then_some(())).await;
    assert_eq!(state().await["state"], "refused");
    std::fs::write(&list, format!("{id} region=eu weight=250\n")).unwrap();
    until("the grant", async || (state().await["state"] == "granted").then_some(())).await;
    assert_eq!((&state().await["region"], &state().await["weight"]), (&"eu".into(), &250.into()));
    answers(&edge, "/a.ts", 200).await;
    adapter.has_relays(1).await;
    std::fs::write(&list, "# nobody any more\n").unwrap();
    until("the refusal", async || (state().await["state"] == "refused").then_some(())).await;
    answers(&edge, "/a.ts", 404).await;
}

#[tokio::test]
async fn an_operator_refuses_paths_and_publishers() {
    let upstream = Upstream::start().await;
    for path in ["/bad/1.ts", "/good.ts"] {
        upstream.put(path, Script::body("bytes"));
    }
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("blocked.txt");
    std::fs::write(&list, "\n").unwrap();
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let publisher = adapter.report()["publisher"].as_str().unwrap().to_owned();
    let options = || Options::new().arg("--blocklist", list.display());
    let edge = Edge::join(&adapter, options().arg("--allow-publisher", &publisher)).await;
    let plain = Edge::upstream(upstream.url("/"), options()).await;
    for edge in [&edge, &plain] {
        answers(edge, "/bad/1.ts", 200).await;
    }
    std::fs::write(&list, "/bad/ # a demand by somebody\n").unwrap();
    for edge in [&edge, &plain] {
        answers(edge, "/bad/1.ts", 451).await;
        assert_eq!(edge.get("/good.ts").await.status, 200);
    }
    // At the signal it is read at once, whatever the file's time says.
    std::fs::write(&list, "").unwrap();
    for edge in [&edge, &plain] {
        edge.signal(rustix::process::Signal::HUP);
        answers(edge, "/bad/1.ts", 200).await;
    }

    let other = format!("pub-{}", "a".repeat(52));
    let data = lists.path().join("data");
    let url = adapter.url("/").to_string();
    let args = [
        "edge",
        "--join",
        &url,
        "--allow-publisher",
        &other,
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--peer",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let (code, why) = Process::refused(&args).await;
    assert_eq!(code, Some(78));
    assert!(why.contains(&publisher) && why.contains("--allow-publisher"), "{why}");
}
