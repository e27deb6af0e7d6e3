//! A relay's key in the hands of a test, which says over the real wire whatever the test wants. Invariant: it signs
//! nothing by itself.

use bytes::Bytes;
use libp2p::identity::Keypair;
use std::net::SocketAddr;
use weir_protocol::{
    EdgeClaim, Epoch, EvidenceKey, PeerReceipt, PublisherId, RelayId, TokenHash,
    keys::KeyRing,
    statement::{
        ClaimClass, HttpVersion, InclusionPromise, Kind, PromisedLeaf, ReceivedDigest, RelayShare, Unverified,
        Verified, ViewerReceipt,
    },
    wire::{Answered, ControlDecoder, ControlFrame, Hello, Submit, Submitted, Verdict},
};
use weir_relay::{
    node::Identity,
    quic::{BulkDialer, Parts, QuicConfig, Socket, SwarmTransport},
};

use super::{
    harness::wait::{PATIENCE, until, within},
    publisher::{EPOCH_MS, Publisher, now},
};

/// The relay.
pub(crate) struct Crook {
    pub(crate) key: EvidenceKey,
    pub(crate) id: RelayId,
    pub(crate) dialer: BulkDialer,
    adapter: (SocketAddr, RelayId),
    link: Option<Link>,
    submissions: u64,
    /// The epoch that it speaks of: the one that it began in.
    pub(crate) epoch: Epoch,
    /// Claims signed so far.
    claims: u64,
    _socket: (Socket, SwarmTransport),
}

/// A control stream.
pub(crate) struct Link {
    pub(crate) connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    decoder: ControlDecoder,
}

impl Link {
    /// A connection with a control stream on which Hello was said.
    pub(crate) async fn open(dialer: &BulkDialer, at: SocketAddr, node: RelayId) -> Option<Self> {
        let connection = dialer.connect(at, *node.peer_id()).await.ok()?.conn;
        let (mut send, receive) = connection.open_bi().await.ok()?;
        send.write_chunk(ControlFrame::Hello(Hello::new("crook")).encode().unwrap()).await.ok()?;
        Some(Self { connection, send, receive, decoder: ControlDecoder::default() })
    }

    /// The next frame but pings, which are answered; `None` when the other side is gone.
    pub(crate) async fn next(&mut self) -> Option<ControlFrame> {
        loop {
            while let Some(frame) = self.decoder.next().unwrap() {
                match frame {
                    ControlFrame::Ping(number) => self.say(&ControlFrame::Pong(number)).await?,
                    frame => return Some(frame),
                }
            }
            self.decoder.push(self.receive.read_chunk(1 << 16, true).await.ok()??.bytes);
        }
    }

    async fn say(&mut self, frame: &ControlFrame) -> Option<()> {
        self.send.write_chunk(frame.encode().unwrap()).await.ok()
    }
}

/// What a submission came to.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) verdicts: Vec<Verdict>,
    /// The leaves of what is kept, in its order, by the publisher's signed word.
    pub(crate) leaves: Vec<PromisedLeaf>,
}

impl Crook {
    /// Joins the publisher's network with a new key.
    pub(crate) async fn join(publisher: &Publisher) -> Self {
        let mut crook = Self::outside(publisher);
        crook.connect().await;
        crook
    }

    /// Has a key and a socket, and has not come to the adapter.
    pub(crate) fn outside(publisher: &Publisher) -> Self {
        let identity = Identity { keypair: Keypair::generate_ed25519(), created: true };
        let config = QuicConfig::new("127.0.0.1:0".parse().unwrap(), identity.keypair.clone());
        let Parts { socket, transport, dialer, .. } = Socket::bind(config).unwrap();
        Self {
            key: identity.evidence_key().unwrap(),
            id: identity.relay(),
            dialer,
            adapter: (publisher.address("peer").parse().unwrap(), publisher.relay),
            link: None,
            submissions: 0,
            epoch: now().1,
            claims: 0,
            _socket: (socket, transport),
        }
    }

    /// Comes to the adapter until it is granted a place.
    pub(crate) async fn connect(&mut self) {
        let (dialer, (at, node)) = (self.dialer.clone(), self.adapter);
        let link = until("a grant", async || {
            let mut link = Link::open(&dialer, at, node).await?;
            while !matches!(link.next().await?, ControlFrame::Grant { .. }) {}
            Some(link)
        });
        self.link = Some(link.await);
    }

    /// Submits messages, and hears what the collector says. `None` when the connection ends first.
    pub(crate) async fn try_submit(&mut self, publisher: PublisherId, messages: &[(Kind, Bytes)]) -> Option<Answered> {
        let messages =
            messages.iter().map(|(kind, bytes)| Submitted { kind: kind.number(), message: bytes.to_vec().into() });
        self.submissions += 1;
        let number = self.submissions;
        let submit = Submit { publisher, number, messages: messages.collect() };
        let link = self.link.as_mut().expect("it has joined");
        link.say(&ControlFrame::Submit(submit)).await?;
        loop {
            match link.next().await? {
                ControlFrame::Answered(answered) if answered.number == number => return Some(answered),
                _ => {}
            }
        }
    }

    /// The same where the adapter lives and judges.
    pub(crate) async fn submit(&mut self, publisher: &Publisher, messages: &[(Kind, Bytes)]) -> Submission {
        let answered = within(PATIENCE, "a verdict", self.try_submit(publisher.id, messages)).await.expect("an answer");
        let ring = publisher.keys().ring(now().0).unwrap();
        judged(&answered, &ring).expect("the collector has looked at it")
    }

    /// A claim for a session so far, with the next number.
    pub(crate) fn claim(&mut self, publisher: PublisherId, token: &str, bytes: u64) -> EdgeClaim {
        let (time, epoch) = (now().0, self.epoch);
        self.claims += 1;
        EdgeClaim {
            publisher,
            edge: self.id,
            epoch,
            class: ClaimClass::Viewer,
            token: TokenHash::of(token),
            path: "/".into(),
            counter: self.claims,
            bytes,
            objects: 1,
            aborted_bytes: 0,
            first: epoch.start(EPOCH_MS),
            // A claim closes with its epoch, which can be while a test prepares one.
            last: time.min(epoch.start(EPOCH_MS).plus_ms(EPOCH_MS - 1)),
            http: HttpVersion::Http3,
            previous: [0; 32],
        }
    }

    /// A receipt for what another relay sent.
    pub(crate) fn receipt(&self, publisher: PublisherId, sender: RelayId, counter: u64, bytes: u64) -> PeerReceipt {
        let (time, epoch) = (now().0, self.epoch);
        PeerReceipt {
            publisher,
            sender,
            receiver: self.id,
            epoch,
            counter,
            bytes,
            unique_bytes: bytes,
            objects: 1,
            received: ReceivedDigest::default(),
            time,
        }
    }

    pub(crate) fn signed(&self, claim: EdgeClaim) -> (Kind, Bytes) {
        (Kind::EdgeClaim, Verified::sign(claim, &self.key).unwrap().bytes().clone())
    }

    pub(crate) fn signed_receipt(&self, receipt: PeerReceipt) -> (Kind, Bytes) {
        (Kind::PeerReceipt, Verified::sign(receipt, &self.key).unwrap().bytes().clone())
    }
}

/// A session's receipt for what a relay is said to have sent.
pub(crate) fn viewed(
    publisher: &Publisher,
    session: &EvidenceKey,
    relay: &Crook,
    token: &str,
    bytes: u64,
) -> (Kind, Bytes) {
    let (time, epoch) = (now().0, relay.epoch);
    let receipt = ViewerReceipt {
        publisher: publisher.id,
        token: TokenHash::of(token),
        session_key: session.public_bytes(),
        epoch,
        counter: 1,
        relays: vec![RelayShare { relay: relay.id, bytes, objects: 1 }],
        time,
    };
    (Kind::ViewerReceipt, Verified::sign(receipt, session).unwrap().bytes().clone())
}

/// A token as a message for the ledger.
pub(crate) fn brought(token: &str) -> (Kind, Bytes) {
    (Kind::Token, Bytes::copy_from_slice(token.as_bytes()))
}

/// Verdicts and promised leaves of an answer; `None` if it says "later".
pub(crate) fn judged(answered: &Answered, ring: &KeyRing) -> Option<Submission> {
    if answered.outcomes.is_empty() {
        return None;
    }
    let verdicts: Vec<Verdict> =
        answered.outcomes.iter().map(|outcome| Verdict::from_number(outcome.verdict)).collect();
    let kept = verdicts.iter().filter(|verdict| **verdict == Verdict::Kept).count();
    let leaves = answered.promise.as_ref().map_or_else(Vec::new, |promise| {
        let promise = Unverified::<InclusionPromise>::new(promise.to_vec().into()).verify_with(ring).unwrap();
        promise.statement().leaves.clone()
    });
    assert_eq!(leaves.len(), kept, "each message that is kept has a promise");
    Some(Submission { verdicts, leaves })
}
