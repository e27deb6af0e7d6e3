//! The parsers under test and what must hold of their answers. Each returns the kind of answer it got, which is all that
//! the driver knows of what happened inside.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, VARY},
};
use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    mem::discriminant,
};
use weir_edge::negotiate::{
    RangeAnswer, Validators, accepts_gzip, content_range, evaluate, parse_range, range_applies, range_spec,
};
use weir_hls::{
    Bounds, Playlist, ReadError, ResourceKind, UriRole,
    cmcd::{Cmcd, MAX_EVENTS, events},
    read, resolve, rewrite,
    steering::{Injection, NotInjected, SteeringList, inject, stable_uris},
};
use weir_protocol::{
    ids::PublisherId,
    part::Place,
    resource::{ResourceKey, token_in_query},
    time::UnixMillis,
    token::UnverifiedToken,
    vary::Vary,
    wellknown::WellKnown,
};
use weir_relay::freshness::{Judged, RequestDirectives, Rules, judge};

/// A number for a kind of answer.
fn kind(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Small counts are told apart, large ones by their magnitude.
fn about(count: usize) -> u32 {
    if count < 4 { count as u32 } else { 4 + count.ilog2() }
}

pub(super) const PLAYLIST_WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "#EXTM3U\n",
    "#EXTINF:2,\n",
    "#EXT-X-ENDLIST\n",
    "#EXT-X-TARGETDURATION:",
    "#EXT-X-MEDIA-SEQUENCE:",
    "#EXT-X-STREAM-INF:BANDWIDTH=1\n",
    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\",URI=\"c\"\n",
    "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i\"\n",
    "#EXT-X-PART:DURATION=0.5,URI=\"p\"\n",
    "#EXT-X-BYTERANGE:5@",
    "#EXT-X-MAP:URI=\"m\",BYTERANGE=\"5@0\"\n",
    "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n",
    "#EXT-X-SKIP:SKIPPED-SEGMENTS=",
    "#EXT-X-CONTENT-STEERING:SERVER-URI=\"s\"\n",
    ",PATHWAY-ID=\"A\"",
    ",STABLE-VARIANT-ID=\"",
    "\"",
    ",",
    "{$x}",
    "data:",
    "../",
    "//h/",
    "?",
    "#",
    "\u{feff}",
    "\t",
    "\u{85}",
    "AUDIO=\"a\"",
    "URI=",
];

/// Reading, rewriting and injecting: nothing panics, nothing but URIs changes, an injected playlist holds the original.
pub(super) fn playlist(input: &[u8]) -> u64 {
    let found = read(input, &Bounds::default());
    if let Err(ReadError::Disagreement(about)) = &found {
        panic!("the two readers disagree about {about}");
    }
    let mut offered: Vec<(UriRole, String)> = Vec::new();
    let same = rewrite(input, |role, uri| {
        offered.push((role, uri.to_owned()));
        Some(uri.to_owned())
    });
    assert_eq!(same, input, "the same URIs put back");
    if let Ok(playlist) = &found {
        let listed: Vec<(UriRole, String)> = playlist.uris().iter().map(|uri| (uri.role, uri.uri.clone())).collect();
        assert_eq!(listed, offered, "what is read is what is rewritten");
    }
    for (_, uri) in offered.iter().take(16) {
        let path = resolve("/a/b/c.m3u8", uri).map(|found| found.path().to_owned());
        assert!(path.is_none_or(|path| path.starts_with('/') && !path.split('/').any(|part| part == "..")));
    }
    let injection = Injection {
        server_uri: "/weir/steer?for=x",
        first: "A",
        second: "B",
        path: "/a/b/c.m3u8",
        base: "https://cdn.example",
    };
    let injected = inject(input, &injection);
    if let Ok(text) = &injected {
        holds(input, text);
        assert_eq!(inject(text, &injection), Err(NotInjected::Steered), "once is enough");
        assert_eq!(read(input, &Bounds::default()).is_ok(), read(text, &Bounds::default()).is_ok());
    }
    let names = stable_uris(input).len();
    let shape = match &found {
        Ok(Playlist::Media(media)) => {
            (0, about(media.segments.len()), about(media.trailing_parts.len()), media.is_live(), media.keys.is_empty())
        }
        Ok(Playlist::Multivariant(list)) => {
            (1, about(list.variants.len()), about(list.renditions.len()), list.session_keys.is_empty(), false)
        }
        Err(error) => (2, kind(discriminant(error)) as u32, 0, false, false),
    };
    kind((shape, about(offered.len()), injected.as_ref().err().map(discriminant), about(names)))
}

/// Every line of `before` stands in `after`, in order, with at most something behind it.
fn holds(before: &[u8], after: &[u8]) {
    let line = |text: &'_ [u8]| text.trim_ascii().to_vec();
    let mut rest = after.split(|byte| *byte == b'\n');
    for wanted in before.split(|byte| *byte == b'\n').map(line) {
        assert!(
            rest.by_ref().any(|found| line(found).starts_with(&wanted)),
            "a line is missing: {}",
            String::from_utf8_lossy(&wanted)
        );
    }
}

pub(super) const CMCD_WORDS: &[&str] = &[
    ",",
    "=",
    "\"",
    "(",
    ")",
    ";",
    " ",
    "\\",
    "\\\"",
    "?1",
    "?0",
    "bl=",
    "br=",
    "bs",
    "su",
    "nor=\"",
    "nrr=\"0-\"",
    "ot=v",
    "sid=\"",
    "cid=\"",
    "sf=h",
    "st=l",
    "e=rr",
    "ts=",
    "sta=p",
    "rc=404",
    "v=2",
    ";r=\"1-2\"",
    "%2F",
    "%",
    "CMCD=",
    "&",
    "\n",
    "é",
    "true",
    "url=\"",
    "com.example-x=1",
];

/// Reports: nothing panics, numbers are bounded, a session is never shown.
pub(super) fn cmcd(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let direct = Cmcd::parse(&text);
    let query = Cmcd::from_query(&text);
    let headers = Cmcd::from_headers(text.split('\n'));
    for found in [&direct, &query, &headers].into_iter().flatten() {
        let numbers = [found.buffer_ms, found.bitrate_kbps, found.top_kbps, found.deadline_ms, found.at_ms];
        assert!(numbers.iter().flatten().all(|number| *number <= 1 << 53));
        assert!(found.next.len() <= 8 && found.next.iter().all(|next| !next.uri.chars().any(char::is_control)));
        assert!(
            found.next.iter().filter_map(|next| next.range).all(|(first, last)| last.is_none_or(|last| first <= last))
        );
        for hidden in [&found.session, &found.content, &found.url].into_iter().flatten() {
            assert!(hidden.as_str().len() <= 1024 && !hidden.as_str().is_empty());
            let shown = format!("{hidden:?}");
            assert!(shown.starts_with('<') && shown.len() < 16);
        }
    }
    let reports = events(input);
    if let Ok((all, unread)) = &reports {
        assert!(!all.is_empty() && all.len() + unread <= MAX_EVENTS);
        assert!(all.iter().all(|report| report.event.is_some() && report.at_ms.is_some()));
    }
    let shape = direct.as_ref().map(|found| {
        let told =
            [found.buffer_ms.is_some(), found.starved, found.startup, found.session.is_some(), found.status.is_some()];
        (told, found.object, found.next.len(), found.event, found.state, found.rate_thousandths.is_some())
    });
    kind((
        shape,
        query.is_some(),
        headers.is_some(),
        reports.as_ref().ok().map(|(all, unread)| (about(all.len()), about(*unread))),
    ))
}

pub(super) const FIELD_WORDS: &[&str] = &[
    ",",
    "=",
    ";",
    "\"",
    "(",
    ")",
    ":",
    "?1",
    "?0",
    "max-age=",
    "s-maxage=",
    "no-store",
    "no-cache",
    "private",
    "=\"a\"",
    "must-revalidate",
    "stale-while-revalidate=",
    "stale-if-error=",
    "99999999999",
    "-1",
    "1.5",
    "*",
    "accept-language",
    "u=1",
    "i",
    "\t",
    "é",
    ":AAAA:",
    "sha-256=:",
    "{\"VERSION\":1",
    "\"TTL\":10",
    "\"PATHWAY-PRIORITY\":[\"A\",\"B\"]",
    "}",
];

/// Structured fields and the documents that strangers send: verdicts are inside their bounds, whatever a field says.
pub(super) fn fields(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let mut headers = HeaderMap::new();
    let names = [CACHE_CONTROL, HeaderName::from_static("cdn-cache-control"), VARY, HeaderName::from_static("age")];
    for (name, line) in names.into_iter().cycle().zip(text.split('\n').take(8)) {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.append(name, value);
        }
    }
    let mut answers = Vec::new();
    for rules in [Rules::Video, Rules::Strict] {
        let now = UnixMillis(1_800_000_000_000);
        let found = judge(&Judged {
            kind: ResourceKind::Segment,
            status: StatusCode::OK,
            headers: &headers,
            asked: now,
            received: now,
            playlist: None,
            advanced: now,
            authorized: false,
            rules,
        });
        let freshness = found.freshness;
        let bound = (1_u64 << 31) * 1000;
        assert!(freshness.ttl_ms <= bound && freshness.stale_if_error_ms <= bound.max(86_400_000));
        assert!(freshness.initial_age_ms <= bound && freshness.stale_while_revalidate_ms <= bound);
        answers.push((freshness.ttl_ms > 0, freshness.stale_if_error_ms > 0, freshness.stale_while_revalidate_ms > 0));
        answers.push((
            found.explicit,
            found.withheld.is_empty(),
            freshness.store == weir_protocol::freshness::Storage::Store,
        ));
    }
    let vary = Vary::parse(text.split('\n'));
    let variant = vary.variant(|name| vec![name.to_owned()]);
    assert!(variant.is_none_or(|variant| variant.as_str().len() <= 256));
    let wants = RequestDirectives::of(&headers);
    let document = WellKnown::parse(input).is_ok();
    let list = SteeringList::parse(input);
    if let Ok(list) = &list {
        assert!(list.priority().len() >= 2 && (10..=30).contains(&list.ttl()));
        let again = list.to_json().unwrap();
        assert_eq!(SteeringList::parse(&again).unwrap(), *list, "what is written is read");
    }
    kind((answers, vary.is_none(), wants.only_if_cached, document, list.is_ok()))
}

pub(super) const TOKEN_WORDS: &[&str] = &[
    ".",
    "eyJ",
    "/",
    "%2e",
    "%2E%2e",
    "%2f",
    "%",
    "?",
    "&",
    "=",
    "weir_token=",
    "weir_steer=1",
    "CMCD=",
    "_HLS_msn=1",
    "_HLS_part=",
    "_HLS_skip=YES",
    "_HLS_pathway=",
    "..",
    "//",
    "#",
    "\\",
    "\0",
    "é",
    "~",
    "%7E",
    "+",
    "*",
    "{\"alg\":\"EdDSA\"}",
];

/// Tokens and targets: garbage is no token, a name's canonical form is its own, and what is a player's own is not in it.
pub(super) fn tokens(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let token = UnverifiedToken::parse(&text);
    let publisher = PublisherId([1; 32]);
    let key = ResourceKey::parse(publisher, &text);
    if let Ok(key) = &key {
        let canonical = key.path_and_query();
        assert_eq!(ResourceKey::parse(publisher, &canonical).as_ref(), Ok(key), "{canonical}");
        assert!(canonical.len() <= 4096 && canonical.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(token_in_query(&canonical), None);
        let parameters = canonical.split_once('?').map_or("", |(_, query)| query).split('&');
        let own = ["weir_token", "weir_steer", "weir_cmsd", "CMCD", "_HLS_pathway", "_HLS_throughput"];
        for name in parameters.map(|pair| pair.split('=').next().unwrap_or_default()) {
            assert!(!own.contains(&name), "{name} belongs to a player");
        }
        // Whoever adds a player's own parameters asks for the same resource.
        if !text.contains('#') && text.len() < 3000 {
            let mark = if text.contains('?') { '&' } else { '?' };
            let more = format!("{text}{mark}weir_token=a.b.c&CMCD=bs&weir_steer=1");
            assert_eq!(ResourceKey::parse(publisher, &more).as_ref(), Ok(key));
        }
    }
    let taken = token_in_query(&text).map(|token| about(token.len()));
    kind((token.as_ref().err().map(discriminant), key.as_ref().err().map(discriminant), taken, about(text.len())))
}

pub(super) const RANGE_WORDS: &[&str] = &[
    "bytes=",
    "bytes ",
    "-",
    ",",
    "/",
    "*",
    "0-0",
    "18446744073709551615",
    "W/",
    "\"",
    "\"a\"",
    "gzip",
    ";q=0.5",
    "identity",
    " ",
    "\t",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "\n",
    "BYTES=",
    "99999999999999999999999",
    "+1",
];

/// Ranges and conditions: a part lies inside its representation, and what is written is read.
pub(super) fn ranges(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let line = text.split('\n').next().unwrap_or_default();
    let mut answers = Vec::new();
    for length in [0, 1, 10, 1 << 40, u64::MAX] {
        let answer = parse_range(line, length);
        if let RangeAnswer::Part(part) = answer {
            assert!(part.first <= part.last && part.last < length && part.length() >= 1);
            let written = content_range(part, Some(length));
            let place = Place::parse(written.to_str().unwrap()).unwrap();
            assert_eq!((place.first, place.last, place.total), (part.first, part.last, length));
        }
        answers.push(discriminant(&answer));
    }
    let place = Place::parse(line);
    assert!(place.is_none_or(|place| place.first <= place.last && place.last < place.total && place.length() >= 1));
    let mut headers = HeaderMap::new();
    for (name, line) in [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, ACCEPT_ENCODING].into_iter().zip(text.split('\n')) {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.append(name, value);
        }
    }
    let current = Validators { etag: Some("\"a\""), last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT") };
    let condition = evaluate(&headers, current);
    let applies = range_applies(&headers, current, None);
    let spec = range_spec(line).map(|spec| discriminant(&spec));
    kind((answers, place.is_some(), discriminant(&condition), applies, spec, accepts_gzip(&headers)))
}
