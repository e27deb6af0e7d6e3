//! A publisher, its relays and viewers, and the leaves of its log: what settlements are tested with.

use std::collections::HashMap;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use weir_ledger::evidence::Leaves;
use weir_ledger::log::Submission;
use weir_ledger::merkle::{Frontier, RootHash};
use weir_ledger::settle::{HashedPolicy, Policy, SettleInput, Settlement, settle};
use weir_ledger::{Opening, Salt};
use weir_protocol::grant::{Grant, SignedGrant};
use weir_protocol::statement::{
    ClaimClass, HttpVersion, Kind, ProbeResult, ReceivedDigest, RelayShare, SelfSigned, Unverified, Verified,
    verify_batch,
};
use weir_protocol::token::{Confirmation, OkpKey, SessionClaims, TokenUse, UnverifiedToken};
use weir_protocol::{
    CanonicalPath, EdgeClaim, Epoch, EvidenceKey, KeyEntry, KeyRing, LogIdentity, Observation, PayeeChange,
    PeerReceipt, ProbeCommitment, ProbeReveal, PublisherId, RelayId, RootKey, SigningKey, SigningKeyList, TokenHash,
    UnixMillis, UnverifiedGrant, ViewerReceipt,
};

/// Length of an epoch in these tests: one hour.
pub(crate) const HOUR: u64 = 3_600_000;
/// The first epoch that anything happens in.
pub(crate) const FIRST: Epoch = Epoch(500_000);
/// Name of the log.
pub(crate) const ORIGIN: &str = "ledger.example/weir";

/// A policy with round numbers: 1000 micro for each 10^6 bytes to viewers, so that one byte is a thousandth of a micro.
pub(crate) const POLICY: &str = "version = 1\ncurrency = \"EUR\"\n\
    [[price]]\nkind = \"viewer\"\nmicro_per_gb = 1000000\n\
    [[price]]\nkind = \"service\"\nmicro_per_gb = 500000\n\
    [[price]]\nkind = \"peer\"\nmicro_per_gb = 100000\n";

pub(crate) fn policy(text: &str) -> HashedPolicy {
    Policy::read(text.as_bytes()).unwrap()
}

pub(crate) fn relay(seed: u8) -> EvidenceKey {
    EvidenceKey::from_bytes(&[seed; 32])
}

/// A publisher's log as it grows.
pub(crate) struct World {
    root: RootKey,
    signing: SigningKey,
    /// The log's leaves.
    pub(crate) leaves: Vec<Opening>,
    /// What time it is.
    pub(crate) now: UnixMillis,
    counters: HashMap<(RelayId, Epoch), u64>,
    previous: HashMap<RelayId, [u8; 32]>,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = FIRST.start(HOUR).minus_ms(HOUR / 2);
        let mut world = Self {
            root: RootKey::from_bytes(&[0x11; 32]),
            signing: SigningKey::from_bytes(&[0x22; 32]),
            leaves: Vec::new(),
            now,
            counters: HashMap::new(),
            previous: HashMap::new(),
        };
        let ring = world.ring();
        world.add(Kind::KeyList, ring.encoded());
        let identity = world.identity();
        world.add(Kind::LogIdentity, identity.bytes());
        world
    }

    pub(crate) fn publisher(&self) -> PublisherId {
        self.root.publisher_id()
    }

    pub(crate) fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(self.signing.secret_bytes())
    }

    pub(crate) fn ring(&self) -> KeyRing {
        let issued = FIRST.start(HOUR).minus_ms(HOUR);
        let far = issued.plus_ms(1000 * 24 * HOUR);
        let keys = vec![KeyEntry::new(&self.signing, issued, far)];
        let list = SigningKeyList { publisher: self.publisher(), issued, expires: far, keys };
        KeyRing::verify(self.publisher(), &list.sign(&self.root).unwrap(), issued).unwrap()
    }

    pub(crate) fn identity(&self) -> Verified<LogIdentity> {
        let identity = LogIdentity {
            publisher: self.publisher(),
            origin: ORIGIN.into(),
            key: [0x66; 32],
            epoch_ms: HOUR,
            time: self.now,
        };
        Verified::sign_as_publisher(identity, &self.signing).unwrap()
    }

    /// Goes to a moment: so many minutes after an epoch's start.
    pub(crate) fn at(&mut self, epoch: u64, minutes: u64) -> &mut Self {
        let to = Epoch(FIRST.0 + epoch).start(HOUR).plus_ms(minutes * 60_000);
        assert!(to >= self.now, "time does not go backwards");
        self.now = to;
        self
    }

    /// Adds a leaf and returns its number.
    pub(crate) fn add(&mut self, kind: Kind, message: &[u8]) -> u64 {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&(self.leaves.len() as u64).to_be_bytes());
        self.leaves.push(Opening { salt: Salt(salt), received: self.now, kind, message: message.to_vec() });
        self.leaves.len() as u64 - 1
    }

    fn own<S: SelfSigned>(&mut self, kind: Kind, statement: S, key: &EvidenceKey) -> u64 {
        let message = Verified::sign(statement, key).unwrap();
        self.add(kind, message.bytes())
    }

    /// Grants everything under `scope` to a relay, for a year.
    pub(crate) fn grant(&mut self, key: &EvidenceKey, scope: &str, change: impl FnOnce(&mut Grant)) -> u64 {
        let mut grant = Grant {
            publisher: self.publisher(),
            relay: key.relay_id(),
            scopes: vec![CanonicalPath::parse(scope).unwrap()],
            first: FIRST,
            last: Epoch(FIRST.0 + 8000),
            region: "default".into(),
            weight: 100,
            issued: self.now,
            since: self.now,
            prices: None,
            caps: None,
            policy: None,
            budget: None,
            epoch_ms: None,
        };
        change(&mut grant);
        let signed = SignedGrant::sign(grant, &self.signing).unwrap();
        self.add(Kind::Grant, signed.bytes())
    }

    /// Issues and logs a token.
    pub(crate) fn token(&mut self, sid: &str, change: impl FnOnce(&mut SessionClaims)) -> TokenHash {
        let text = self.token_text(sid, change);
        self.add(Kind::Token, text.as_bytes());
        TokenHash::of(&text)
    }

    pub(crate) fn token_text(&self, sid: &str, change: impl FnOnce(&mut SessionClaims)) -> String {
        let mut claims = SessionClaims {
            iss: self.publisher(),
            sid: sid.into(),
            prefix: "/".into(),
            exp: self.now.as_secs() + 20 * 3600,
            nbf: None,
            iat: Some(self.now.as_secs()),
            max_bytes: None,
            cnf: None,
            relays: vec![],
            usage: TokenUse::Viewer,
        };
        change(&mut claims);
        claims.sign(&self.signing).unwrap()
    }

    /// A claim that an edge would sign now.
    pub(crate) fn claim_of(&mut self, key: &EvidenceKey, epoch: u64, token: TokenHash, bytes: u64) -> EdgeClaim {
        let epoch = Epoch(FIRST.0 + epoch);
        let counter = self.counters.entry((key.relay_id(), epoch)).or_insert(0);
        *counter += 1;
        EdgeClaim {
            publisher: self.root.publisher_id(),
            edge: key.relay_id(),
            epoch,
            class: ClaimClass::Viewer,
            token,
            path: "/".into(),
            counter: *counter,
            bytes,
            objects: 1,
            aborted_bytes: 0,
            first: epoch.start(HOUR).plus_ms(1000),
            last: epoch.start(HOUR).plus_ms(1_500_000).min(self.now),
            http: HttpVersion::Http3,
            previous: self.previous.get(&key.relay_id()).copied().unwrap_or_default(),
        }
    }

    /// Signs and logs a claim.
    pub(crate) fn put(&mut self, key: &EvidenceKey, claim: EdgeClaim) -> u64 {
        let message = Verified::sign(claim, key).unwrap();
        self.previous.insert(key.relay_id(), message.hash().0);
        self.add(Kind::EdgeClaim, message.bytes())
    }

    /// An edge claims that it delivered `bytes` so far in a session.
    pub(crate) fn claim(&mut self, key: &EvidenceKey, epoch: u64, token: TokenHash, bytes: u64) -> u64 {
        let claim = self.claim_of(key, epoch, token, bytes);
        self.put(key, claim)
    }

    /// A relay confirms what it received from another, so far.
    pub(crate) fn receipt(
        &mut self,
        to: &EvidenceKey,
        from: &EvidenceKey,
        epoch: u64,
        counter: u64,
        bytes: u64,
    ) -> u64 {
        let receipt = PeerReceipt {
            publisher: self.publisher(),
            sender: from.relay_id(),
            receiver: to.relay_id(),
            epoch: Epoch(FIRST.0 + epoch),
            counter,
            bytes,
            unique_bytes: bytes,
            objects: counter,
            received: ReceivedDigest::default(),
            time: self.now,
        };
        self.own(Kind::PeerReceipt, receipt, to)
    }

    /// A token that confirms a session's key.
    pub(crate) fn confirming(claims: &mut SessionClaims, key: &EvidenceKey) {
        let x = BASE64URL_NOPAD.encode(&key.public_bytes());
        claims.cnf = Some(Confirmation::Jwk(OkpKey { kty: "OKP".into(), crv: "Ed25519".into(), x }));
    }

    /// A player confirms what it received from one relay.
    pub(crate) fn view(
        &mut self,
        session: &EvidenceKey,
        from: &EvidenceKey,
        epoch: u64,
        token: TokenHash,
        bytes: u64,
    ) -> u64 {
        let receipt = ViewerReceipt {
            publisher: self.publisher(),
            token,
            session_key: session.public_bytes(),
            epoch: Epoch(FIRST.0 + epoch),
            counter: 1,
            relays: vec![RelayShare { relay: from.relay_id(), bytes, objects: 1 }],
            time: self.now,
        };
        self.own(Kind::ViewerReceipt, receipt, session)
    }

    /// The publisher notes what it saw.
    pub(crate) fn observe(
        &mut self,
        key: &EvidenceKey,
        epoch: u64,
        token: TokenHash,
        change: impl FnOnce(&mut Observation),
    ) -> u64 {
        let mut observation = Observation {
            publisher: self.publisher(),
            epoch: Epoch(FIRST.0 + epoch),
            relay: key.relay_id(),
            token,
            counter: 1,
            listed_bytes: None,
            reported_bytes: None,
            imported_bytes: None,
            time: self.now,
        };
        change(&mut observation);
        let signed = Verified::sign_as_publisher(observation, &self.signing).unwrap();
        self.add(Kind::Observation, signed.bytes())
    }

    /// A list of probes: commit to it before the epoch, reveal it afterwards.
    pub(crate) fn probes(&self, epoch: u64, mut probes: Vec<ProbeResult>) -> ProbeReveal {
        probes.sort_by_key(|probe| (probe.token, probe.relay.0.to_bytes()));
        let epoch = Epoch(FIRST.0 + epoch);
        ProbeReveal { publisher: self.publisher(), epoch, list: 0, nonce: [9; 32], probes, time: self.now }
    }

    pub(crate) fn commit(&mut self, list: &ProbeReveal) -> u64 {
        let commitment = ProbeCommitment {
            publisher: list.publisher,
            epoch: list.epoch,
            list: list.list,
            commitment: list.commitment(),
            time: self.now,
        };
        let signed = Verified::sign_as_publisher(commitment, &self.signing).unwrap();
        self.add(Kind::ProbeCommitment, signed.bytes())
    }

    pub(crate) fn reveal(&mut self, mut list: ProbeReveal) -> u64 {
        list.time = self.now;
        let signed = Verified::sign_as_publisher(list, &self.signing).unwrap();
        self.add(Kind::ProbeReveal, signed.bytes())
    }

    /// A relay says where it wants to be paid.
    pub(crate) fn payee(&mut self, key: &EvidenceKey, serial: u64, address: Option<u8>, account: Option<&str>) -> u64 {
        let payee = PayeeChange {
            publisher: self.publisher(),
            relay: key.relay_id(),
            serial,
            address: address.map(|byte| [byte; 20]),
            account: account.map(Into::into),
            time: self.now,
        };
        self.own(Kind::PayeeChange, payee, key)
    }

    /// Lets time pass, and the log know it: so many epochs later, at the first minute.
    pub(crate) fn later(&mut self, epoch: u64) -> u64 {
        self.at(epoch, 1);
        self.add(Kind::Mark, &[])
    }

    pub(crate) fn source(&self) -> Leaves {
        Leaves(self.leaves.iter().cloned().map(Some).collect())
    }

    pub(crate) fn tree_root(&self) -> RootHash {
        let mut frontier = Frontier::new();
        self.leaves.iter().for_each(|leaf| frontier.append(leaf.commitment().leaf_hash()).unwrap());
        frontier.root()
    }

    pub(crate) fn settle(&self, text: &str) -> Settlement {
        let source = self.source();
        let policy = policy(text);
        let root = self.tree_root();
        settle(SettleInput { source: &source, root, publisher: self.publisher(), policy: &policy }).unwrap()
    }

    /// The leaves as verified submissions, in order, for a real log: each is verified as whoever takes it would.
    pub(crate) fn submissions(&self) -> Vec<Submission> {
        self.leaves.iter().map(|leaf| self.submission(leaf)).collect()
    }

    fn submission(&self, leaf: &Opening) -> Submission {
        let (ring, message) = (self.ring(), Bytes::from(leaf.message.clone()));
        match leaf.kind {
            Kind::KeyList => Submission::key_list(&ring).unwrap(),
            Kind::LogIdentity => {
                Submission::statement(&Unverified::<LogIdentity>::new(message).verify_with(&ring).unwrap()).unwrap()
            }
            Kind::Grant => {
                let grant = UnverifiedGrant(message);
                let relay = grant.claimed_relay().unwrap();
                Submission::grant(&grant.verify_of_any_time(&ring, &relay, leaf.received).unwrap())
            }
            Kind::Token => {
                let text = std::str::from_utf8(&leaf.message).unwrap();
                let token = UnverifiedToken::parse(text).unwrap();
                let claims = token.verify(&self.signing.verifying_key(), leaf.received, 0).unwrap();
                Submission::token(self.publisher(), text, &claims).unwrap()
            }
            Kind::Policy | Kind::EpochTotals | Kind::Mark => Submission::own(leaf.kind, &leaf.message).unwrap(),
            _ => Submission::evidence(&verify_batch(&[(leaf.kind, message)]).remove(0).unwrap()),
        }
    }
}
