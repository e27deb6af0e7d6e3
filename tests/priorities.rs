//! Between relays on one slow line: what somebody waits for goes first.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use libp2p::identity::Keypair;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use weir_load::impair::{Config, Impairment, LinkConfig};
use weir_protocol::{
    ids::{Generation, PublisherId, RelayId},
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    record::{HeaderBlock, RecordBody, SignedRecord},
    resource::ResourceKey,
    time::UnixMillis,
    wire::{Class, ControlFrame, FrameDecoder, Hello, ReplyFrame, Request},
};
use weir_relay::{
    clock::Clock,
    fetch::{Fetch, FetchConfig},
    mesh::{DEFAULT_WEIGHT, Member},
    node::{NodeMetrics, PeerSide, PeerSideParts},
    object::{Entry, Growing, Head, Tree},
    peer::{Network, Networks, PeerServer},
    quic::{QuicConfig, Socket},
    store::{Store, StoreConfig},
};

const DAY_MS: u64 = 86_400_000;
/// The line: 16 Mbit/s.
const RATE: u64 = 2_000_000;
/// Background transfers, of so many bytes each.
const TRANSFERS: usize = 9;
const LARGE: usize = 1 << 20;
const SMALL: usize = 100_000;

struct Publisher {
    root: RootKey,
    signing: SigningKey,
    ring: KeyRing,
}

impl Publisher {
    fn new(now: UnixMillis) -> Self {
        let (root, signing) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let publisher = root.publisher_id();
        let keys = vec![KeyEntry::new(&signing, now.minus_ms(DAY_MS), now.plus_ms(DAY_MS))];
        let list = SigningKeyList { publisher, issued: now, expires: now.plus_ms(DAY_MS), keys }.sign(&root).unwrap();
        let ring = KeyRing::verify(publisher, &list, now).unwrap();
        Self { root, signing, ring }
    }

    fn id(&self) -> PublisherId {
        self.root.publisher_id()
    }

    fn entry(&self, path: &str, length: usize, now: UnixMillis) -> Entry {
        let body = Bytes::from(vec![7; length]);
        let tree = Tree::compute(length as u64, |at, length| body.slice(at as usize..at as usize + length));
        let record = RecordBody {
            key: ResourceKey::parse(self.id(), path).unwrap(),
            status: 200,
            content_type: Some("video/mp4".into()),
            content_encoding: None,
            length: tree.length,
            sha256: [0; 32],
            root: *tree.root.as_bytes(),
            freshness: weir_protocol::Freshness {
                created: now,
                initial_age_ms: 0,
                ttl_ms: DAY_MS,
                stale_while_revalidate_ms: 0,
                stale_if_error_ms: 0,
                store: weir_protocol::Storage::Store,
            },
            validators: weir_protocol::Validators::default(),
            generation: Generation(now.0),
            headers_sha256: [0; 32],
        };
        let block = HeaderBlock::new::<&str, &str>([]).unwrap();
        let record = SignedRecord::sign(record, block, &self.signing, now).unwrap();
        Entry::new(Head::of_record(Arc::new(record)), Growing::whole(body, Some(tree)), now, 0, "test")
    }
}

/// A relay that holds these bodies and knows one other.
async fn holder(publisher: &Publisher, entries: Vec<Entry>, member: RelayId) -> (RelayId, SocketAddr, PeerSide) {
    let identity = Keypair::generate_ed25519();
    let id = RelayId::from_public_key(&identity.public());
    let config = QuicConfig::new("127.0.0.1:0".parse().unwrap(), identity);
    let PeerSideParts { side, links, tasks, .. } = PeerSide::start(config).await.unwrap();
    let networks = Arc::new(Networks::new(links, Clock::System));
    let adapter = RelayId::from_public_key(&Keypair::generate_ed25519().public());
    let network = Arc::new(Network::new(id, publisher.ring.clone(), adapter, Vec::new()));
    let member = Member::new(member, "default".into(), DEFAULT_WEIGHT, UnixMillis(0));
    network.set_members(1, vec![(member, Vec::new())], Clock::System.now());
    networks.join(network);
    let store = Arc::new(Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap());
    entries.into_iter().for_each(|entry| store.insert(Arc::new(entry)));
    let metrics = NodeMetrics::register(&prometheus::Registry::new()).unwrap();
    let fetch = Fetch::new(store, networks.clone(), metrics.clone(), Clock::System, FetchConfig::default());
    let server = PeerServer::relay(networks, fetch, metrics);
    drop(PeerSide::serve(tasks, server, CancellationToken::new()));
    (id, side.address(), side)
}

/// Asks and reads to the end.
async fn get(connection: quinn::Connection, key: ResourceKey, class: Class) -> usize {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let mut request = Request::get(&key);
    request.class = Some(class);
    send.write_chunk(request.encode().unwrap()).await.unwrap();
    send.finish().unwrap();
    let (mut decoder, mut length) = (FrameDecoder::new(), 0);
    while let Some(chunk) = receive.read_chunk(1 << 16, true).await.unwrap() {
        decoder.push(chunk.bytes);
        while let Some(frame) = decoder.next().unwrap() {
            assert!(!matches!(frame, ReplyFrame::Refused { .. } | ReplyFrame::Failed { .. }), "{frame:?}");
            length += frame.payload().map_or(0, Bytes::len);
        }
    }
    length
}

/// Bytes that come over the line from when a part of this class is asked for until all of it is there, while background
/// transfers fill the connection.
async fn until_there(class: Class) -> u64 {
    let now = Clock::System.now();
    let publisher = Publisher::new(now);
    let large = |at: usize| format!("/copy/{at}.m4s");
    let mut entries: Vec<Entry> = (0..TRANSFERS).map(|at| publisher.entry(&large(at), LARGE, now)).collect();
    entries.push(publisher.entry("/live/part.m4s", SMALL, now));
    let identity = Keypair::generate_ed25519();
    let me = RelayId::from_public_key(&identity.public());
    let (id, address, _side) = holder(&publisher, entries, me).await;

    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), address);
    config.tcp = false;
    let line = LinkConfig::new(Duration::from_millis(10), 0.0).unwrap();
    (config.up, config.down) = (line, line.with_rate(RATE, None).unwrap());
    let proxy = Impairment::bind(config).await.unwrap();
    let parts = Socket::bind(QuicConfig::new("127.0.0.1:0".parse().unwrap(), identity)).unwrap();
    let link = parts.dialer.connect(proxy.local_addr(), *id.peer_id()).await.unwrap();
    let (mut control, _heard) = link.conn.open_bi().await.unwrap();
    let hello = Hello::new("test");
    control.write_chunk(ControlFrame::Hello(hello).encode().unwrap()).await.unwrap();

    let key = |path: &str| ResourceKey::parse(publisher.id(), path).unwrap();
    let mut background = JoinSet::new();
    for at in 0..TRANSFERS {
        background.spawn(get(link.conn.clone(), key(&large(at)), Class::Background));
    }
    // The line is busy: more has come than what one window lets go.
    let busy = async {
        while link.conn.stats().udp_rx.bytes < 1 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), busy).await.unwrap();
    let before = link.conn.stats().udp_rx.bytes;
    let part = timeout(Duration::from_secs(20), get(link.conn.clone(), key("/live/part.m4s"), class)).await;
    assert_eq!(part.unwrap(), SMALL);
    let meanwhile = link.conn.stats().udp_rx.bytes - before;
    assert!(background.try_join_next().is_none(), "a background transfer was done first");
    while let Some(done) = background.join_next().await {
        assert_eq!(done.unwrap(), LARGE);
    }
    meanwhile
}

/// With priorities, what is on the way already comes before the part: up to 240 KB, the line's queue of 100 ms and its
/// round trip of 20 ms; with the request's way and the part itself (104 KB on the line) that is 360 KB. A packet of the
/// part that the full queue drops comes a round trip later, another 240 KB: 600 KB at most (524 to 540 KB measured).
/// Without them the part gets one tenth of the line: ten times its 104 KB after the same 240 KB, 1280 KB (1269 to 1276
/// KB measured).
const BOUND: u64 = 800_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_part_overtakes_background_transfers_on_the_same_connection() {
    let (live, equal) = tokio::join!(until_there(Class::LivePart), until_there(Class::Background));
    assert!(live < BOUND, "{live} bytes came until the part was there");
    // What is measured is the priority: among equals the part waits for its turns.
    assert!(equal > BOUND, "{equal} bytes came until the part among its equals was there");
}
