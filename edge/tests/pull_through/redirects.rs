//! Redirects of the upstream are followed here, so that viewers never see them; within bounds.

use crate::{
    edge::{Edge, Setup, manual},
    upstream::{Reply, Upstream},
};
use std::{sync::Arc, time::SystemTime};
use weir_edge::tls::SelfSigned;

fn to(status: u16, location: &str) -> Reply {
    Reply::new(status, "elsewhere").with("location", location)
}

#[tokio::test]
async fn redirects_are_followed_and_the_target_is_kept_under_the_name_that_was_asked_for() {
    let edge = Edge::new().await;
    let other = Upstream::start(manual().1).await;
    edge.origin.always("/d/301.ts", to(301, "deep/a.ts"));
    edge.origin.always("/d/302.ts", to(302, "/d/deep/a.ts?x=1#part"));
    edge.origin.always("/d/303.ts", to(303, "../d/./deep/a.ts"));
    edge.origin.always("/d/307.ts", to(307, &other.url("http", "/b.ts")));
    edge.origin.always("/d/308.ts", to(308, &format!("//{}/b.ts", other.address)));
    edge.origin.always("/d/deep/a.ts", Reply::ok("a"));
    edge.origin.always("/d/deep/a.ts?x=1", Reply::ok("a with a query"));
    other.always("/b.ts", Reply::ok("b"));
    for (path, body) in [
        ("/d/301.ts", "a"),
        ("/d/302.ts", "a with a query"),
        ("/d/303.ts", "a"),
        ("/d/307.ts", "b"),
        ("/d/308.ts", "b"),
    ] {
        let got = edge.get(path).await;
        got.is("fwd=uri-miss; stored", body);
        assert_eq!(got.field("location"), "");
        edge.idle().await;
        edge.get(path).await.is("hit", body);
        assert_eq!(edge.origin.count(path), 1);
    }
}

#[tokio::test]
async fn circles_and_bad_targets_end() {
    let edge = Edge::new().await;
    edge.origin.always("/loop", to(302, "/loop"));
    edge.origin.always("/ping.ts", to(302, "/pong.ts"));
    edge.origin.always("/pong.ts", to(302, "/ping.ts"));
    edge.origin.always("/file", to(302, "file:///etc/passwd"));
    edge.origin.always("/nonsense", to(302, "http://[::"));
    for (path, status) in [("/loop", 502), ("/ping.ts", 404), ("/file", 502), ("/nonsense", 502)] {
        edge.get(path).await.is_status(status);
    }
    assert_eq!((edge.origin.count("/loop"), edge.origin.count("/ping.ts")), (6, 3));
}

#[tokio::test]
async fn a_redirect_without_a_target_is_an_ordinary_response() {
    let edge = Edge::new().await;
    edge.origin.always("/page", Reply::new(302, "nowhere"));
    let got = edge.get("/page").await;
    got.is_status(302);
    assert_eq!((got.text(), got.cache().contains("stored")), ("nowhere", false));
}

#[tokio::test]
async fn an_https_upstream_is_trusted_by_its_certificate_and_may_not_lead_to_plain_http() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = SelfSigned::new(directory.path(), ["localhost".to_owned()]);
    certificate.load_or_create(SystemTime::now()).unwrap();
    let pem = certificate.path();
    let (time, clock) = manual();
    let plain = Upstream::start(clock.clone()).await;
    plain.always("/a", Reply::ok("overheard"));
    let secure = Arc::new(Upstream::start_tls(clock, &pem).await);
    secure.always("/up", to(302, &plain.url("http", "/a")));
    secure.always("/stays", to(302, "/a"));
    secure.always("/a", Reply::ok("secret"));
    let url = Some(secure.url("https", ""));
    let trusting = Setup { url: url.clone(), ca: Some(pem), ..Setup::default() };
    let edge = Edge::over(secure.clone(), time.clone(), trusting);
    edge.get("/stays").await.is("fwd=uri-miss", "secret");
    edge.get("/up").await.is_status(502);
    assert_eq!(plain.count("/a"), 0);
    let doubting = Edge::over(secure.clone(), time, Setup { url, ..Setup::default() });
    doubting.get("/a").await.is_status(502);
    // From plain to encrypted is allowed.
    plain.always("/down", to(302, &secure.url("https", "/a")));
    let (time, _) = manual();
    let both = Setup { ca: Some(directory.path().join("self-signed.pem")), ..Setup::default() };
    Edge::over(Arc::new(plain), time, both).get("/down").await.is("fwd=uri-miss", "secret");
}
