//! Two relays of one network: the first holds signed bodies in memory, the second asks for them.

use super::STREAMS;
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt;
use libp2p::identity::Keypair;
use sha2::{Digest, Sha256};
use std::{future::poll_fn, net::SocketAddr, sync::Arc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    freshness::{Freshness, Storage, Validators},
    ids::{Generation, PublisherId, RelayId},
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    record::{HeaderBlock, RecordBody, SignedRecord},
    resource::ResourceKey,
    time::UnixMillis,
    wire::Class,
};
use weir_relay::{
    clock::Clock,
    fetch::{Fetch, FetchConfig, How, Observer, Plan},
    mesh::{DEFAULT_WEIGHT, Member},
    meter::{Account, Outcome},
    node::{PeerSide, PeerSideParts},
    object::{Entry, Growing, Head, Tree},
    peer::{Network, Networks, PeerObserver, PeerServer},
    quic::QuicConfig,
    source::{Event, FillRequest, Opened},
    store::{Store, StoreConfig},
};

const DAY_MS: u64 = 86_400_000;

struct Publisher {
    root: RootKey,
    signing: SigningKey,
    ring: KeyRing,
}

impl Publisher {
    fn new(now: UnixMillis) -> anyhow::Result<Self> {
        let (root, signing) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let publisher = root.publisher_id();
        let keys = vec![KeyEntry::new(&signing, now.minus_ms(DAY_MS), now.plus_ms(DAY_MS))];
        let list = SigningKeyList { publisher, issued: now, expires: now.plus_ms(DAY_MS), keys };
        let ring = KeyRing::verify(publisher, &list.sign(&root)?, now)?;
        Ok(Self { root, signing, ring })
    }

    fn key(&self, object: usize) -> anyhow::Result<ResourceKey> {
        Ok(ResourceKey::parse(self.root.publisher_id(), &format!("/film/{object}.m4s"))?)
    }

    fn entry(&self, object: usize, body: &Bytes, now: UnixMillis) -> anyhow::Result<Entry> {
        let tree =
            Tree::compute(body.len() as u64, |offset, length| body.slice(offset as usize..offset as usize + length));
        let record = RecordBody {
            key: self.key(object)?,
            status: 200,
            content_type: Some("video/mp4".into()),
            content_encoding: None,
            length: tree.length,
            sha256: Sha256::digest(body).into(),
            root: *tree.root.as_bytes(),
            freshness: Freshness {
                created: now,
                initial_age_ms: 0,
                ttl_ms: DAY_MS,
                stale_while_revalidate_ms: 0,
                stale_if_error_ms: 0,
                store: Storage::Store,
            },
            validators: Validators::default(),
            generation: Generation(now.0),
            headers_sha256: [0; 32],
        };
        let record = SignedRecord::sign(record, HeaderBlock::new::<&str, &str>([])?, &self.signing, now)?;
        let growing = Growing::whole(body.clone(), Some(tree));
        Ok(Entry::new(Head::of_record(Arc::new(record)), growing, now, 0, "bench"))
    }
}

/// Counts nothing.
struct Quiet;
impl Observer for Quiet {}
impl Account for Quiet {
    fn settle(&self, _: Outcome) {}
}
impl PeerObserver for Quiet {
    fn delivery(&self, _: RelayId, _: PublisherId) -> Arc<dyn Account> {
        Arc::new(Self)
    }
}

struct Relay {
    id: RelayId,
    address: SocketAddr,
    network: Arc<Network>,
    networks: Arc<Networks>,
    fetch: Fetch,
    _side: PeerSide,
    _serving: JoinHandle<()>,
}

impl Relay {
    async fn start(publisher: &Publisher, adapter: RelayId) -> anyhow::Result<Self> {
        let identity = Keypair::generate_ed25519();
        let id = RelayId::from_public_key(&identity.public());
        let config = QuicConfig::new("127.0.0.1:0".parse()?, identity);
        let PeerSideParts { side, links, tasks, control: _ } = PeerSide::start(config).await?;
        let networks = Arc::new(Networks::new(links, Clock::System));
        let network = Arc::new(Network::new(id, publisher.ring.clone(), adapter, Vec::new()));
        networks.join(network.clone());
        let store = Arc::new(Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(()))?);
        let fetch = Fetch::new(store, networks.clone(), Arc::new(Quiet), Clock::System, FetchConfig::default());
        let server = PeerServer::relay(networks.clone(), fetch.clone(), Arc::new(Quiet));
        let serving = PeerSide::serve(tasks, server, CancellationToken::new());
        Ok(Self { id, address: side.address(), network, networks, fetch, _side: side, _serving: serving })
    }
}

pub(super) struct Pair {
    _holder: Relay,
    asker: Arc<Relay>,
    keys: Arc<[ResourceKey]>,
}

impl Pair {
    pub(super) async fn open(bodies: &[Bytes]) -> anyhow::Result<Self> {
        let now = Clock::System.now();
        let publisher = Publisher::new(now)?;
        // Nobody is the adapter: what the relays have among themselves is all there is.
        let adapter = RelayId::from_public_key(&Keypair::generate_ed25519().public());
        let (holder, asker) = (Relay::start(&publisher, adapter).await?, Relay::start(&publisher, adapter).await?);
        for relay in [&holder, &asker] {
            let listed = |id| Member::new(id, "default".into(), DEFAULT_WEIGHT, UnixMillis(0));
            let members = [&holder, &asker].map(|member| (listed(member.id), vec![member.address]));
            relay.network.set_members(1, members.to_vec(), now);
        }
        let mut keys = Vec::new();
        for (object, body) in bodies.iter().enumerate() {
            holder.fetch.store().insert(Arc::new(publisher.entry(object, body, now)?));
            keys.push(publisher.key(object)?);
        }
        Ok(Self { _holder: holder, asker: Arc::new(asker), keys: keys.into() })
    }

    /// Moves so many bodies; returns the bytes that passed. With `keep` they go through the asker's fetcher into its
    /// memory, whence they are removed again; otherwise they are dropped behind the verifier.
    pub(super) async fn transfer(&self, objects: usize, keep: bool) -> anyhow::Result<u64> {
        let mut streams = JoinSet::new();
        for stream in 0..STREAMS {
            let (asker, keys) = (self.asker.clone(), self.keys.clone());
            streams.spawn(async move {
                let mut moved = 0;
                for object in (stream..objects).step_by(STREAMS) {
                    let key = &keys[object % keys.len()];
                    moved += if keep { asker.keep(key).await? } else { asker.verify(key).await? };
                }
                Ok::<_, anyhow::Error>(moved)
            });
        }
        let mut moved = 0;
        while let Some(stream) = streams.join_next().await {
            moved += stream??;
        }
        Ok(moved)
    }
}

impl Relay {
    async fn verify(&self, key: &ResourceKey) -> anyhow::Result<u64> {
        let request = FillRequest {
            key: key.clone(),
            have: None,
            resume: None,
            hops: 0,
            class: Class::Vod,
            asked: Arc::default(),
            beginning: None,
            behind: None,
            insists: false,
        };
        let candidates = self.networks.candidates(key, 0);
        let peer = candidates.into_iter().find(|one| one.label == "peer").context("no peer in the plan")?;
        let Opened::Response(mut incoming) = peer.source.open(&request).await? else { anyhow::bail!("not modified") };
        let mut moved = 0;
        while let Some(event) = incoming.events.next().await {
            if let Event::Data(chunk) = event? {
                moved += chunk.bytes().len() as u64;
            }
        }
        Ok(moved)
    }

    async fn keep(&self, key: &ResourceKey) -> anyhow::Result<u64> {
        let served = loop {
            let served = self.fetch.get(key, 0).await?;
            if served.how == How::Miss {
                break served;
            }
            // The fill before last was put away only after its reader had it all.
            self.fetch.store().remove(&key.hash());
        };
        let mut reader = served.entry.body.reader(0, None);
        let mut moved = 0;
        while let Some(piece) = poll_fn(|cx| reader.poll_next(cx)).await {
            moved += piece.map_err(|why| anyhow::anyhow!("{why}"))?.len() as u64;
        }
        self.fetch.store().remove(&key.hash());
        Ok(moved)
    }
}
