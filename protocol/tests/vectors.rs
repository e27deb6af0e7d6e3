//! The JSON test vectors under `tests/vectors`: they are what this crate makes from fixed seeds, and what is read from
//! the files verifies. After a deliberate change of format, write them anew with
//! `WEIR_WRITE_VECTORS=1 cargo test -p weir-protocol --test vectors write`, and run `tests/vectors/check.py`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::PathBuf;

use bytes::Bytes;
use common::{BODY, NOW, ROOT_SEED, SIGNING_SEED, head, key, key_list, record, ring, root, signing};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};
use weir_protocol::token::{Confirmation, OkpKey, SessionClaims, TokenUse, UnverifiedToken};
use weir_protocol::wire::{
    Accepted, Answered, Changes, Class, ControlFrame, DoorReport, Follows, Found, FrameDecoder, Hello, HelloNetwork,
    LostReason, Member, Members, Outcome, PassRequest, PlaceRequest, Placed, Purge, PurgeScope, Purged, PushClass,
    PushRequest, Refusal, RefusalReason, ReplyFrame, Report, Request, RequestKind, Resync, Submit, Submitted,
    SubscribeRequest, Tick, Verdict,
};
use weir_protocol::{
    CanonicalPath, Epoch, Generation, Grant, HeaderBlock, InterimBody, KeyId, KeyRing, PolicyHash, PublisherId, Reach,
    ReachClass, RelayId, ResourceHash, ResourceKey, SignedChunk, SignedGrant, SignedInterim, SignedTakedown, Takedown,
    Target, UnixMillis, UnverifiedChunk, UnverifiedGrant, UnverifiedHead, UnverifiedInterim, UnverifiedRecord,
    UnverifiedTakedown, VariantKey,
    epoch::DEFAULT_EPOCH_MS,
    grant::{Caps, Price, PriceClass, Prices},
};

const RELAY_SEED: [u8; 32] = [0x33; 32];
const CHUNK_OFFSET: u64 = 65_536;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn unhex(value: &Value) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn stored(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

fn relay() -> RelayId {
    let key = libp2p_identity::Keypair::ed25519_from_bytes(RELAY_SEED).unwrap();
    RelayId::from_public_key(&key.public())
}

fn header_pairs(headers: &HeaderBlock) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!([name, value])).collect()
}

fn ids() -> Value {
    let publisher = root().publisher_id();
    json!({
        "publisher": {
            "secret": hex(ROOT_SEED), "public": hex(publisher.as_bytes()),
            "text": publisher.to_string(), "short": publisher.short(),
        },
        "unsigned_publisher": {
            "upstream": "https://origin.example/base",
            "text": PublisherId::unsigned("https://origin.example/base").to_string(),
        },
        "signing_key": {
            "secret": hex(SIGNING_SEED), "public": hex(signing().public_bytes()), "key_id": signing().key_id().to_string(),
        },
        "relay": { "secret": hex(RELAY_SEED), "text": relay().to_string(), "short": relay().short() },
        "invalid_publishers": ["", "pub-", publisher.to_string().to_uppercase(), &publisher.to_string()[..55]],
    })
}

fn resource_keys() -> Value {
    let publisher = root().publisher_id();
    let accepted: Vec<Value> = [
        "/",
        "/a/b.m4s",
        "/%61/b%2em4s",
        "/a/./c/../b.m4s",
        "/a/x/%2e%2E/b",
        "/a/..",
        "/a/b/..",
        "/a/b/.",
        "/a%2fb",
        "/%e4%b8%ad",
        "/中|",
        "//a",
        "/a?",
        "/a?x=1&weir_token=t&y=%7e",
        "/a?%77eir_token=t",
        "/a?CMCD=br%3D1&cmcd=2",
        "/l?_HLS_part=2&_HLS_msn=1&a=1&_HLS_pathway=x&_HLS_throughput=9",
        "/a?u=/b?c",
        "/a?d=..%2F..",
        "/%252e%252e/a",
    ]
    .into_iter()
    .map(|input| {
        let key = ResourceKey::parse(publisher, input).unwrap();
        let variant = key.clone().with_variant(Some(VariantKey::new("accept-encoding=br").unwrap()));
        json!({
            "input": input, "path": key.path.as_str(), "query": key.query.as_ref().map(|q| q.as_str()),
            "path_and_query": key.path_and_query(), "cbor": hex(minicbor::to_vec(&key).unwrap()),
            "hash": key.hash().to_string(), "hash_with_variant": variant.hash().to_string(),
        })
    })
    .collect();
    let rejected: Vec<Value> = [
        "",
        "a",
        "http://x/a",
        "?a",
        "*",
        "/a#b",
        "/..",
        "/a/../../b",
        "/%2e%2e/b",
        "/a%2F..%2fb",
        "/a%",
        "/a%1g",
        "/a%00",
        "/a?b=%00",
        "/a%0Ab",
        "/a%5cb",
        "/a\\b",
        "/a b",
        "/a\r\n",
        "/a\u{7f}",
    ]
    .into_iter()
    .map(|input| json!({ "input": input, "error": format!("{:?}", ResourceKey::parse(publisher, input).unwrap_err()) }))
    .collect();
    json!({ "publisher": publisher.to_string(), "variant": "accept-encoding=br", "accepted": accepted, "rejected": rejected })
}

fn keys() -> Value {
    json!({
        "context": "weir/keys/1", "publisher": root().publisher_id().to_string(), "root_public": hex(root().publisher_id().as_bytes()),
        "now_ms": NOW.0, "cose": hex(key_list()), "expires_ms": ring().expires().0,
        "keys": [{ "key_id": signing().key_id().to_string(), "public": hex(signing().public_bytes()) }],
    })
}

fn record_vector() -> Value {
    let record = record();
    let fields = record.fields();
    json!({
        "publisher": key().publisher.to_string(), "path_and_query": key().path_and_query(), "now_ms": NOW.0,
        "body": hex(BODY), "signing_public": hex(signing().public_bytes()), "key_id": signing().key_id().to_string(),
        "content_type": record.body().content_type, "content_encoding": record.body().content_encoding,
        "headers": header_pairs(record.headers()), "headers_canonical": hex(record.headers().canonical_bytes()),
        "headers_sha256": hex(record.body().headers_sha256),
        "repr_digest": fields.repr_digest, "weir_record": fields.weir_record,
        "signature_input": fields.signature_input, "signature": fields.signature,
        "signature_base": record.signature_base(), "wire": hex(record.to_wire().encode()),
    })
}

fn head_vector() -> Value {
    let wire = head().to_wire();
    json!({
        "context": "weir/head/1", "path_and_query": key().path_and_query(), "now_ms": NOW.0,
        "signing_public": hex(signing().public_bytes()), "headers": header_pairs(&wire.headers),
        "cose": hex(&wire.cose), "wire": hex(wire.encode()),
    })
}

fn interim() -> SignedInterim {
    let headers = HeaderBlock::new([("Link", "</a.css>; rel=preload")]).expect("the headers are fit");
    let body = InterimBody { resource: key().hash(), status: 103, at: NOW, headers };
    SignedInterim::sign(body, &signing()).expect("the interim response is fit")
}

fn interim_vector() -> Value {
    json!({
        "context": "weir/interim/1", "resource": key().hash().to_string(), "status": 103, "now_ms": NOW.0,
        "signing_public": hex(signing().public_bytes()), "headers": header_pairs(&interim().body().headers),
        "cose": hex(interim().to_wire().0),
    })
}

fn vary_vector() -> Value {
    let fields = |fields: &[(&str, &str)], vary: &str| {
        let values = |name: &str| {
            fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| (*value).to_owned()).collect()
        };
        let variant = weir_protocol::Vary::parse([vary]).variant(values);
        json!({ "vary": vary, "fields": fields, "variant": variant.as_ref().map(VariantKey::as_str) })
    };
    json!({
        "context": "weir/variant/1",
        "selected": [
            fields(&[], "*"),
            fields(&[("accept-encoding", "br")], "Accept-Encoding"),
            fields(&[], "Foo"),
            fields(&[("foo", "")], "foo"),
            fields(&[("foo", "1, 2")], "Foo"),
            fields(&[("foo", "1"), ("foo", " 2 ")], "Bar, Foo"),
            fields(&[("accept-language", "en;q=0.5, DE, fr;q=0")], "accept-language"),
        ],
    })
}

fn chunk_vector() -> Value {
    let chunk = SignedChunk::sign(key().hash(), Generation(42), CHUNK_OFFSET, BODY, &signing()).unwrap();
    json!({
        "context": "weir/chunk/1", "resource": key().hash().to_string(), "generation": 42, "offset": CHUNK_OFFSET,
        "payload": hex(BODY), "blake3": hex(chunk.chunk().blake3), "now_ms": NOW.0,
        "signing_public": hex(signing().public_bytes()), "cose": hex(chunk.bytes()),
    })
}

fn grants() -> [(&'static str, Grant); 2] {
    let path = |path: &str| CanonicalPath::parse(path).unwrap();
    let open = Grant {
        publisher: root().publisher_id(),
        relay: relay(),
        scopes: vec![path("/")],
        first: Epoch::of(NOW, DEFAULT_EPOCH_MS),
        last: Epoch(Epoch::of(NOW, DEFAULT_EPOCH_MS).0 + 71),
        region: "default".into(),
        weight: 1,
        issued: NOW,
        since: NOW,
        prices: None,
        caps: None,
        policy: None,
        budget: None,
        epoch_ms: None,
    };
    let price = |class, micro_per_gib| Price { class, micro_per_gib };
    let paid = Grant {
        scopes: vec![path("/film"), path("/live/%E4%B8%AD/")],
        region: "eu-west".into(),
        weight: 40,
        since: NOW.minus_ms(86_400_000),
        prices: Some(Prices {
            currency: "EUR".into(),
            prices: vec![price(PriceClass::Viewer, 4_000), price(PriceClass::Peer, 1_000)],
        }),
        caps: Some(Caps { bytes: Some(1 << 40), micro: None }),
        policy: Some(PolicyHash([0x44; 32])),
        budget: Some(250_000_000),
        ..open.clone()
    };
    [("open", open), ("paid", paid)]
}

fn grant_vector() -> Value {
    let entry = |(name, grant): (&str, Grant)| {
        let scopes: Vec<&str> = grant.scopes.iter().map(CanonicalPath::as_str).collect();
        json!({
            "name": name, "scopes": scopes, "first": grant.first, "last": grant.last, "region": grant.region,
            "weight": grant.weight, "issued_ms": grant.issued, "since_ms": grant.since, "budget": grant.budget,
            "cose": hex(SignedGrant::sign(grant.clone(), &signing()).unwrap().bytes()),
        })
    };
    json!({
        "context": "weir/grant/1", "publisher": root().publisher_id().to_string(), "relay": relay().to_string(),
        "signing_public": hex(signing().public_bytes()), "now_ms": NOW.0,
        "grants": grants().into_iter().map(entry).collect::<Vec<_>>(),
    })
}

fn long_path() -> String {
    format!("/vod/{}/", "0123456789abcdef".repeat(8))
}

fn takedowns() -> Vec<(&'static str, Takedown)> {
    let path = |path: &str| Target::path(CanonicalPath::parse(path).unwrap());
    let takedown = |until, target| Takedown { publisher: root().publisher_id(), serial: NOW, until, target };
    vec![
        ("path, for ever", takedown(None, path("/film/"))),
        ("long path, for a day", takedown(Some(NOW.plus_ms(86_400_000)), path(&long_path()))),
        ("one resource, lifted", takedown(Some(NOW), Target::Resource(key().hash()))),
    ]
}

fn takedown_vector() -> Value {
    let entry = |(name, takedown): (&str, Takedown)| {
        let target = match &takedown.target {
            Target::Resource(hash) => json!({ "resource": hash.to_string() }),
            Target::Path(path) => json!({ "path": path.as_str() }),
            Target::LongPath { .. } => json!({ "path": long_path() }),
        };
        json!({
            "name": name, "serial_ms": takedown.serial, "until_ms": takedown.until, "target": target,
            "cose": hex(SignedTakedown::sign(takedown.clone(), &signing()).bytes()),
        })
    };
    json!({
        "context": "weir/takedown/1", "publisher": root().publisher_id().to_string(),
        "signing_public": hex(signing().public_bytes()), "now_ms": NOW.0, "longest_plain_path": 96,
        "takedowns": takedowns().into_iter().map(entry).collect::<Vec<_>>(),
    })
}

fn control_frames() -> Vec<(&'static str, ControlFrame)> {
    let publisher = root().publisher_id();
    let member = Member {
        relay: relay(),
        addresses: vec!["192.0.2.1:4433".into(), "[2001:db8::1]:4433".into()],
        region: "eu".into(),
        weight: None,
        since: None,
        scoped: None,
    };
    let weighed = Member { weight: Some(40), since: Some(NOW), scoped: Some(true), ..member.clone() };
    let members = Members { publisher, epoch: 7, members: vec![member], revoked: None };
    let changes = Changes {
        publisher,
        since: 7,
        epoch: 9,
        joined: vec![weighed],
        left: vec![relay()],
        revoked: Some(vec![relay()]),
    };
    let [(_, open), _] = grants();
    let grant = SignedGrant::sign(open, &signing()).unwrap();
    let shown = HelloNetwork { publisher, grant: Some(grant.bytes().to_vec().into()), takedowns: Some(5) };
    let least =
        Hello { version: 1, features: vec!["push".into()], agent: "weir/0.1.0".into(), oldest: None, networks: None };
    let introduced = Hello { networks: Some(vec![shown]), ..Hello::new("weir/0.1.0") };
    let newer = Hello { version: 2, oldest: Some(1), features: vec!["unheard-of".into()], ..least.clone() };
    let taken: Vec<Bytes> =
        takedowns().into_iter().map(|(_, body)| SignedTakedown::sign(body, &signing()).bytes().clone()).collect();
    let refusal = Refusal { publisher: Some(publisher), reason: RefusalReason::NotMember, detail: "ask".into() };
    vec![
        ("hello", ControlFrame::Hello(least)),
        ("members", ControlFrame::Members(members)),
        ("keys", ControlFrame::Keys { bytes: key_list() }),
        ("ping", ControlFrame::Ping(7)),
        ("pong", ControlFrame::Pong(7)),
        ("goodbye", ControlFrame::Goodbye { reason: "draining".into() }),
        (
            "purge",
            ControlFrame::Purge(Purge {
                publisher: root().publisher_id(),
                number: 9,
                scope: PurgeScope::Tag,
                target: "film-7".into(),
                soft: true,
            }),
        ),
        ("purged", ControlFrame::Purged(Purged { number: 9, count: 3 })),
        ("unknown optional", ControlFrame::Unknown { kind: 0x8123 }),
        ("receipt", ControlFrame::Receipt { bytes: Bytes::from_static(b"a COSE message") }),
        (
            "submit",
            ControlFrame::Submit(Submit {
                publisher,
                number: 4,
                messages: vec![Submitted { kind: 5, message: b"a COSE message".to_vec().into() }],
            }),
        ),
        (
            "answered",
            ControlFrame::Answered(Answered {
                publisher,
                number: 4,
                outcomes: vec![
                    Outcome { verdict: Verdict::Kept as u8, salt: Some([9; 16].into()) },
                    Outcome { verdict: Verdict::NotYours as u8, salt: None },
                ],
                promise: Some(b"a COSE message".to_vec().into()),
                retry_ms: None,
            }),
        ),
        (
            "answered later",
            ControlFrame::Answered(Answered {
                publisher,
                number: 5,
                outcomes: Vec::new(),
                promise: None,
                retry_ms: Some(1000),
            }),
        ),
        ("hello with networks", ControlFrame::Hello(introduced)),
        ("hello of a newer version", ControlFrame::Hello(newer)),
        ("grant", ControlFrame::Grant { bytes: grant.bytes().clone() }),
        ("changes", ControlFrame::Changes(changes)),
        ("takedowns", ControlFrame::Takedowns(taken)),
        ("refusal", ControlFrame::Refusal(refusal)),
        ("resync", ControlFrame::Resync(Resync { publisher, epoch: 7 })),
        (
            "door",
            ControlFrame::Door(DoorReport {
                publisher: PublisherId([1; 32]),
                url: "https://relay.example:7443".into(),
                since: 1_700_000_000_000,
                load: 250,
                requests: 12,
                draining: false,
            }),
        ),
        ("reach", ControlFrame::Reach(Reach { class: ReachClass::Mapped, addresses: vec!["203.0.113.9:7444".into()] })),
    ]
}

fn requests() -> Vec<(&'static str, Request)> {
    let mut resume = Request::get(&key());
    resume.offset = 1 << 20;
    resume.generation = Some(Generation(42));
    resume.hops = 1;
    let mut revalidate = Request::get(&key());
    revalidate.have = Some(Generation(42));
    revalidate.min_fresh_ms = Some(500);
    revalidate.variant = Some(VariantKey::new("accept-encoding=br").unwrap());
    let mut pass = Request::get(&key());
    pass.kind = RequestKind::Pass;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    pass.pass = Some(PassRequest { method: "POST".into(), headers, body_length: 2 });
    let subscribe = SubscribeRequest { id: 3, epoch: 9, next: 12, running: vec![(10, 262_144), (11, 0)] };
    let push = PushRequest { id: 3, epoch: 9, number: 12, class: PushClass::Segment, begun_ms: NOW.0 };
    let mut replicate = Request::get(&key());
    replicate.class = Some(Class::Background);
    let mut fields = Request::get(&key());
    fields.fields = Some(vec![("accept-language".to_owned(), "de".to_owned())]);
    let mut follows = Request::get(&key());
    follows.follows = Some(Follows { behind: Some(relay()) });
    vec![
        ("get", Request::get(&key())),
        ("resume", resume),
        ("revalidate", revalidate),
        ("pass", pass),
        ("place", Request::place(&key(), PlaceRequest { children: 4 })),
        ("subscribe", Request::subscribe(&key(), subscribe)),
        ("push", Request::push(&key(), Generation(42), 262_144, push)),
        ("background", replicate),
        ("get with fields", fields),
        ("get that follows", follows),
    ]
}

fn replies() -> Vec<(&'static str, ReplyFrame)> {
    let chunk = SignedChunk::sign(key().hash(), Generation(42), CHUNK_OFFSET, BODY, &signing()).unwrap();
    let record = record().to_wire();
    vec![
        ("wait", ReplyFrame::Wait),
        ("head", ReplyFrame::Head { head: head().to_wire(), age_ms: 5 }),
        ("chunk", ReplyFrame::Chunk { signature: chunk.bytes().clone(), payload: Bytes::from_static(BODY) }),
        ("record", ReplyFrame::Record(record.clone())),
        ("whole", ReplyFrame::Whole { record: record.clone(), age_ms: 6, offset: 16_384 }),
        ("parent", ReplyFrame::Parent([9; 64])),
        ("leaf", ReplyFrame::Leaf(Bytes::from_static(BODY))),
        ("groups", ReplyFrame::Groups { nodes: Bytes::from_static(&[9; 128]), payload: Bytes::from_static(BODY) }),
        ("not modified", ReplyFrame::NotModified { record, age_ms: 7 }),
        ("refused", ReplyFrame::Refused { reason: RefusalReason::Overloaded, detail: "later".into() }),
        ("interim", ReplyFrame::Interim(interim().to_wire())),
        ("failed", ReplyFrame::Failed { reason: RefusalReason::UpstreamTimeout, detail: "origin".into() }),
        ("accepted", ReplyFrame::Accepted(Accepted { epoch: 9, ancestors: vec![relay()], first: 12 })),
        ("tick", ReplyFrame::Tick(Tick { root_age_ms: 40, next: 13, looked_ms: 700 })),
        ("redirect", ReplyFrame::Redirect(vec![relay()])),
        ("placed", ReplyFrame::Placed(Placed { depth: 2, parent: Some(relay()), backups: vec![relay()] })),
        ("elsewhere", ReplyFrame::Elsewhere(vec![found(), Found { addresses: Vec::new(), ..found() }])),
        ("no place", ReplyFrame::Placed(Placed { depth: 0, parent: None, backups: Vec::new() })),
    ]
}

fn found() -> Found {
    Found { relay: relay(), addresses: vec!["192.0.2.7:7444".into(), "[2001:db8::7]:7444".into()] }
}

fn reports() -> Vec<(&'static str, Report)> {
    let (lost, why) = (Some(relay()), Some(LostReason::Silent));
    vec![
        ("unfed", Report::default()),
        ("fed by the adapter", Report { fed: true, ..Report::default() }),
        ("moved", Report { fed: true, parent: Some(relay()), lost, why }),
    ]
}

fn reply_bytes(frame: &ReplyFrame) -> Vec<u8> {
    let mut bytes = frame.encode_header().unwrap().to_vec();
    bytes.extend_from_slice(frame.payload().unwrap_or(&Bytes::new()));
    bytes
}

fn wire() -> Value {
    let entry = |name: &str, bytes: &[u8]| json!({ "name": name, "hex": hex(bytes) });
    json!({
        "control": control_frames().iter().map(|(name, f)| entry(name, &f.encode().unwrap())).collect::<Vec<_>>(),
        "requests": requests().iter().map(|(name, r)| entry(name, &r.encode().unwrap())).collect::<Vec<_>>(),
        "replies": replies().iter().map(|(name, f)| entry(name, &reply_bytes(f))).collect::<Vec<_>>(),
        "reports": reports().iter().map(|(name, r)| entry(name, &r.encode().unwrap())).collect::<Vec<_>>(),
        "rejected_control": [
            entry("unknown and not optional", &[0, 0, 0, 4, 0x82, 0x18, 99, 0xf6]),
            entry("longer than allowed", &[0, 4, 0, 1]),
            entry("bytes after the value", &[0, 0, 0, 4, 0x82, 4, 7, 0]),
        ],
        "rejected_replies": [
            entry("longer than any frame", &[0, 5, 0, 1, 3]),
            entry("leaf longer than a group", &[0, 0, 0x40, 2, 7]),
            entry("unknown type", &[0, 0, 0, 2, 99, 0]),
            entry("nodes longer than their frame", &[0, 0, 0, 68, 11, 0, 2]),
            entry("more ancestors than allowed", &[0, 0, 0, 8, 16, 0xa2, 0, 9, 1, 0x98, 33, 0x40]),
            entry("a list of unknown length", &[0, 0, 0, 7, 16, 0xa2, 0, 9, 1, 0x9f, 0xff]),
            entry("signature longer than its frame", &[0, 0, 0, 5, 3, 0, 9, 1, 2]),
        ],
    })
}

fn claims() -> SessionClaims {
    let x = data_encoding::BASE64URL_NOPAD.encode(&signing().public_bytes());
    SessionClaims {
        iss: root().publisher_id(),
        sid: "kL0m9vQ2".into(),
        prefix: "/live/".into(),
        exp: NOW.as_secs() + 3600,
        nbf: Some(NOW.as_secs()),
        iat: Some(NOW.as_secs()),
        max_bytes: Some(4_000_000_000),
        cnf: Some(Confirmation::Jwk(OkpKey { kty: "OKP".into(), crv: "Ed25519".into(), x })),
        relays: vec![relay()],
        usage: TokenUse::Viewer,
    }
}

fn token() -> Value {
    let token = claims().sign(&signing()).unwrap();
    let rest = token.split_once('.').unwrap().1;
    let with_header = |header: &str| format!("{}.{rest}", data_encoding::BASE64URL_NOPAD.encode(header.as_bytes()));
    json!({
        "signing_public": hex(signing().public_bytes()), "now_ms": NOW.0, "claims": claims(), "token": token,
        "rejected": [
            { "token": with_header(r#"{"alg":"none","kid":"0000000000000000"}"#), "error": "RefusedAlgorithm" },
            { "token": with_header(r#"{"alg":"ES256","kid":"0000000000000000"}"#), "error": "Unsupported" },
            { "token": "a.b", "error": "Malformed" },
        ],
    })
}

type Vector = (&'static str, fn() -> Value);
const VECTORS: [Vector; 12] = [
    ("ids.json", ids),
    ("resource_keys.json", resource_keys),
    ("keys.json", keys),
    ("record.json", record_vector),
    ("head.json", head_vector),
    ("chunk.json", chunk_vector),
    ("interim.json", interim_vector),
    ("vary.json", vary_vector),
    ("wire.json", wire),
    ("token.json", token),
    ("grant.json", grant_vector),
    ("takedown.json", takedown_vector),
];

/// Rewrites the vectors, only when it is asked to.
#[test]
fn write() {
    if std::env::var_os("WEIR_WRITE_VECTORS").is_none() {
        return;
    }
    for (name, make) in VECTORS {
        std::fs::write(path(name), format!("{}\n", serde_json::to_string_pretty(&make()).unwrap())).unwrap();
    }
}

#[test]
fn stored_vectors_are_what_this_crate_makes() {
    for (name, make) in VECTORS {
        assert_eq!(stored(name), make(), "{name}");
    }
}

#[test]
fn stored_ids_parse() {
    let ids = stored("ids.json");
    let publisher: PublisherId = ids["publisher"]["text"].as_str().unwrap().parse().unwrap();
    assert_eq!(publisher.as_bytes().as_slice(), unhex(&ids["publisher"]["public"]));
    assert_eq!(ids["relay"]["text"].as_str().unwrap().parse::<RelayId>().unwrap(), relay());
    let key_id: KeyId = ids["signing_key"]["key_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(key_id, signing().key_id());
    for invalid in ids["invalid_publishers"].as_array().unwrap() {
        assert!(invalid.as_str().unwrap().parse::<PublisherId>().is_err(), "{invalid}");
    }
}

#[test]
fn stored_signed_messages_verify() {
    let keys = stored("keys.json");
    let publisher = keys["publisher"].as_str().unwrap().parse().unwrap();
    let now = UnixMillis(keys["now_ms"].as_u64().unwrap());
    let ring = KeyRing::verify(publisher, &unhex(&keys["cose"]), now).unwrap();

    let vector = stored("record.json");
    let expected = ResourceKey::parse(publisher, vector["path_and_query"].as_str().unwrap()).unwrap();
    let record = UnverifiedRecord::decode(&unhex(&vector["wire"])).unwrap().verify(&ring, &expected, now).unwrap();
    assert_eq!(record.signature_base(), vector["signature_base"].as_str().unwrap());
    assert_eq!(&record, &common::record());

    let vector = stored("head.json");
    let head = UnverifiedHead::decode(&unhex(&vector["wire"])).unwrap().verify(&ring, &expected, now).unwrap();
    assert_eq!(head, common::head());

    let vector = stored("interim.json");
    let said = UnverifiedInterim(unhex(&vector["cose"]));
    assert_eq!(said.clone().verify(&ring, &expected.hash(), now).unwrap(), interim());
    assert!(said.clone().verify(&ring, &ResourceHash([0; 32]), now).is_err());
    assert!(said.verify(&ring, &expected.hash(), now.plus_ms(600_000)).is_err());

    let vector = stored("chunk.json");
    let chunk = UnverifiedChunk(unhex(&vector["cose"]).into());
    let payload = unhex(&vector["payload"]);
    let generation = Generation(vector["generation"].as_u64().unwrap());
    let offset = vector["offset"].as_u64().unwrap();
    chunk.verify(&ring, &expected.hash(), generation, offset, &payload, now).unwrap();
    assert!(chunk.verify(&ring, &expected.hash(), generation, offset + 1, &payload, now).is_err());
    assert!(chunk.verify(&ring, &expected.hash(), Generation(43), offset, &payload, now).is_err());

    let vector = stored("grant.json");
    for (entry, (name, expected)) in vector["grants"].as_array().unwrap().iter().zip(grants()) {
        let grant = UnverifiedGrant(unhex(&entry["cose"]).into()).verify(&ring, &relay(), now).unwrap();
        assert_eq!(grant.grant(), &expected, "{name}");
    }

    let vector = stored("takedown.json");
    for (entry, (name, expected)) in vector["takedowns"].as_array().unwrap().iter().zip(takedowns()) {
        let takedown = UnverifiedTakedown(unhex(&entry["cose"]).into()).verify(&ring, now).unwrap();
        assert_eq!(takedown.takedown(), &expected, "{name}");
    }

    let vector = stored("token.json");
    let token = UnverifiedToken::parse(vector["token"].as_str().unwrap()).unwrap();
    let key = *ring.key(token.kid(), now).unwrap();
    assert_eq!(token.verify(&key, now, 0).unwrap(), claims());
    for rejected in vector["rejected"].as_array().unwrap() {
        let error = UnverifiedToken::parse(rejected["token"].as_str().unwrap()).unwrap_err();
        assert_eq!(format!("{error:?}"), rejected["error"].as_str().unwrap());
    }
}

#[test]
fn stored_frames_decode() {
    let vector = stored("wire.json");
    for (entry, (name, frame)) in vector["control"].as_array().unwrap().iter().zip(control_frames()) {
        assert_eq!(ControlFrame::decode(&unhex(&entry["hex"])[4..]), Ok(frame), "{name}");
    }
    for (entry, (name, request)) in vector["requests"].as_array().unwrap().iter().zip(requests()) {
        assert_eq!(Request::decode(&unhex(&entry["hex"])[4..]), Ok(request), "{name}");
    }
    for (entry, (name, frame)) in vector["replies"].as_array().unwrap().iter().zip(replies()) {
        let mut decoder = FrameDecoder::new();
        decoder.push(unhex(&entry["hex"]).into());
        assert_eq!(decoder.next(), Ok(Some(frame)), "{name}");
        decoder.finish().unwrap();
    }
    for (entry, (name, report)) in vector["reports"].as_array().unwrap().iter().zip(reports()) {
        assert_eq!(Report::decode(&unhex(&entry["hex"])[4..]), Ok(report), "{name}");
    }
    for entry in vector["rejected_control"].as_array().unwrap() {
        let mut decoder = weir_protocol::wire::ControlDecoder::default();
        decoder.push(unhex(&entry["hex"]).into());
        assert!(decoder.next().is_err(), "{entry}");
    }
    for entry in vector["rejected_replies"].as_array().unwrap() {
        let mut decoder = FrameDecoder::new();
        decoder.push(unhex(&entry["hex"]).into());
        assert!(decoder.next().is_err(), "{entry}");
    }
}
