use super::*;

fn parsed(text: &str) -> Cmcd {
    Cmcd::parse(text).unwrap_or_default()
}

#[test]
fn the_examples_of_version_1() {
    let query = "CMCD=br%3D3200%2Cbs%2Cd%3D4004%2Cmtp%3D25400%2Cnor%3D%22..%252F300kbps%252Ftrack.m4v%22%2Cot%3Dv%2Crtp%3D15000%2C\
                 sid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Ctb%3D6000%2Cnrr%3D%22100-%22";
    let found = Cmcd::from_query(&format!("a=1&{query}&b")).unwrap_or_default();
    assert_eq!((found.bitrate_kbps, found.top_kbps, found.starved), (Some(3200), Some(6000), true));
    assert_eq!(
        (found.duration_ms, found.throughput_kbps, found.requested_kbps),
        (Some(4004), Some(25400), Some(15000))
    );
    assert_eq!(found.object, Some(ObjectType::Video));
    assert_eq!(found.next, [Next { uri: "../300kbps/track.m4v".into(), range: Some((100, None)) }]);
    assert_eq!(found.session.as_ref().map(Opaque::as_str), Some("6e2fb550-c457-11e9-bb97-0800200c9a66"));
    assert!(!format!("{found:?}").contains("6e2fb550"), "a session is not shown");
    assert_eq!(Cmcd::from_query("cmcd=bs"), None);
    assert_eq!(Cmcd::from_query("CMCD=%zz"), None);
}

#[test]
fn headers_are_one_report_in_four() {
    let found = Cmcd::from_headers(["br=3200,d=4004,ot=v,tb=6000", "bl=21300,dl=18500,su", "cid=\"a,b\\\"c\",st=l"]);
    let found = found.unwrap_or_default();
    assert_eq!((found.buffer_ms, found.deadline_ms, found.startup), (Some(21300), Some(18500), true));
    assert_eq!(found.content.as_ref().map(Opaque::as_str), Some("a,b\"c"));
    assert_eq!(found.stream, Some(StreamType::Live));
    assert_eq!(Cmcd::from_headers(["x".repeat(MAX_TEXT).as_str()]), None);
}

#[test]
fn version_2_has_lists_and_parameters() {
    let found = parsed(
        "bl=(12300;v 800;a),br=(2500 128),bs=?1,su=?0,nor=(\"../b/s2.mp4\";r=\"100-200\" \"s3.mp4\"),pr=1.25,v=2",
    );
    assert_eq!((found.version, found.buffer_ms, found.bitrate_kbps), (2, Some(800), Some(2500)));
    assert_eq!((found.starved, found.startup, found.rate_thousandths), (true, false, Some(1250)));
    let next = |uri: &str, range| Next { uri: uri.into(), range };
    assert_eq!(found.next, [next("../b/s2.mp4", Some((100, Some(200)))), next("s3.mp4", None)]);
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_rest_counts() {
    for (text, buffer) in [
        ("bl=5,br=\"open", Some(5)),
        ("br=-1,bl=6", Some(6)),
        ("bl=7 8,bl=x", None),
        ("bl=(1 2,bs", None),
        ("com.example-k=\"a,b\",bl=9", Some(9)),
        ("bl=99999999999999999999", None),
        (",,bl=10,,", Some(10)),
        ("=1,bl=11", Some(11)),
    ] {
        assert_eq!(parsed(text).buffer_ms, buffer, "{text}");
    }
    for nothing in ["", ",", "unknown=1", "nor=\"\"", "sid=\"\"", "nrr=\"5-2\"", "bl"] {
        assert_eq!(Cmcd::parse(nothing), None, "{nothing}");
    }
    assert_eq!(Cmcd::parse(&"bs,".repeat(MAX_TEXT)), None);
}

#[test]
fn event_bodies_are_lines() {
    let body = b"e=ps,sta=p,ts=1700000000000,sid=\"s\",v=2\n\
                 e=rr,ts=1700000000100,rc=404,ttfb=12,ttlb=40,url=\"https://r/a.m4s\",sn=3\r\nnot one\n";
    let (found, unread) = events(body).unwrap_or_default();
    assert_eq!((found.len(), unread), (2, 1));
    assert_eq!((found[0].event, found[0].state), (Some(EventKind::PlayState), Some(PlayerState::Playing)));
    let response = &found[1];
    assert_eq!((response.status, response.first_byte_ms, response.last_byte_ms), (Some(404), Some(12), Some(40)));
    assert_eq!((response.sequence, response.at_ms), (Some(3), Some(1_700_000_000_100)));
    assert_eq!(events(b"bl=1"), Err(EventError::Nothing));
    assert_eq!(events(b"\xff"), Err(EventError::NotText));
    assert_eq!(events(&[b'\n'; MAX_EVENTS_BYTES + 1]), Err(EventError::TooLong));
    assert_eq!(events(&b"e=t,ts=1\n".repeat(MAX_EVENTS + 1)), Err(EventError::TooMany));
}
