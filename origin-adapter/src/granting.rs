//! Who is granted what: everybody, or the relays of a list. Invariant: a relay that was away keeps its age as a member
//! as long as it shows the grant it had and has not been away for longer than `REMEMBERED_MS`.

use crate::keys::Signer;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};
use weir_protocol::{
    epoch::{DEFAULT_EPOCH_MS, Epoch},
    grant::{DEFAULT_WEIGHT, Grant, MAX_SCOPE, MAX_SCOPES, MAX_WEIGHT, SignedGrant, UnverifiedGrant, is_region},
    ids::{PublisherId, RelayId},
    keys::KeyRing,
    resource::CanonicalPath,
    time::UnixMillis,
};
use weir_relay::access::{Decision, Granting};

/// Epochs that a grant holds for by default: three days, so that relays go on exchanging over a weekend without the
/// adapter, and one that is taken back ends soon.
pub const DEFAULT_GRANT_EPOCHS: u64 = 72;
/// How long after its grant has ended a relay is still recognised, in milliseconds: thirty days.
const REMEMBERED_MS: u64 = 30 * 24 * 3_600_000;
/// Region of a relay that nobody has assigned to one.
const REGION: &str = "default";
/// Lines that a list may have.
const MAX_LINES: usize = 100_000;

/// Why a text is no list of relays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// A line that says nothing.
    #[error("line {line}: {why}; write RELAY-ID, and behind it region=NAME, weight=MBIT and scope=/PATH as needed")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// More lines than a list may have.
    #[error("more than {MAX_LINES} lines")]
    TooLong,
}

/// What a relay is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Its region.
    pub region: String,
    /// Its share of objects: the Mbit/s it can send.
    pub weight: u32,
    /// The paths it may serve, in rising order.
    pub scopes: Vec<CanonicalPath>,
}

impl Default for Terms {
    fn default() -> Self {
        let everything = CanonicalPath::parse("/").expect("the root is a canonical path");
        Self { region: REGION.into(), weight: DEFAULT_WEIGHT, scopes: vec![everything] }
    }
}

/// The relays that are let in: one a line, `RELAY-ID region=eu weight=500 scope=/live/ scope=/film/`, of which only the
/// id is needed. `#` starts a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(HashMap<RelayId, Terms>);

impl AllowList {
    /// Reads the text of a list.
    ///
    /// # Errors
    /// [`AllowListError`] names the line.
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        let mut list = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            if at >= MAX_LINES {
                return Err(AllowListError::TooLong);
            }
            let wrong = |why: String| AllowListError::Line { line: at + 1, why };
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(relay) = words.next() else { continue };
            let relay: RelayId = relay.parse().map_err(|error| wrong(format!("{relay}: {error}")))?;
            let terms = terms(words).map_err(wrong)?;
            if list.insert(relay, terms).is_some() {
                return Err(wrong(format!("{relay} is there twice")));
            }
        }
        Ok(Self(list))
    }

    /// Relays in the list.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn terms<'a>(words: impl Iterator<Item = &'a str>) -> Result<Terms, String> {
    let mut terms = Terms::default();
    let mut scopes = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some(("region", name)) if is_region(name) => terms.region = name.to_owned(),
            Some(("region", name)) => return Err(format!("region {name}: 1 to 32 of a-z, 0-9 and -")),
            Some(("weight", number)) => {
                let weight = number.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
                terms.weight = weight.ok_or(format!("weight {number}: 1 to {MAX_WEIGHT} (Mbit/s)"))?;
            }
            Some(("scope", path)) => {
                let path = CanonicalPath::parse(path).map_err(|error| format!("scope {path}: {error}"))?;
                if path.as_str().len() > MAX_SCOPE {
                    return Err(format!("a scope has at most {MAX_SCOPE} bytes"));
                }
                scopes.push(path);
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
    if !scopes.is_empty() {
        scopes.sort();
        scopes.dedup();
        if scopes.len() > MAX_SCOPES {
            return Err(format!("a relay has at most {MAX_SCOPES} scopes"));
        }
        terms.scopes = scopes;
    }
    Ok(terms)
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Everybody, for everything.
    Open,
    /// The relays of a list.
    List(AllowList),
}

/// Signs grants by a rule that may change.
pub struct Grants {
    publisher: PublisherId,
    signer: Arc<Signer>,
    /// The publisher's own keys, to recognise what it has granted before.
    ring: Arc<RwLock<KeyRing>>,
    epochs: u64,
    /// Length of the epochs that are paid for.
    epoch_ms: u64,
    rule: RwLock<Arc<Rule>>,
}

impl Grants {
    /// Grants of `epochs` hours each.
    pub fn new(signer: Arc<Signer>, ring: Arc<RwLock<KeyRing>>, epochs: u64, rule: Rule) -> Self {
        let publisher = ring.read().unwrap_or_else(PoisonError::into_inner).publisher();
        Self { publisher, signer, ring, epochs, epoch_ms: DEFAULT_EPOCH_MS, rule: RwLock::new(Arc::new(rule)) }
    }

    /// With epochs of this length, in milliseconds; relays count what they deliver by them.
    #[must_use]
    pub fn counting_by(self, epoch_ms: u64) -> Self {
        Self { epoch_ms, ..self }
    }

    /// Another rule; tell the directory ([`policy_changed`](weir_relay::peer::Directory::policy_changed)).
    pub fn set_rule(&self, rule: Rule) {
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    fn terms(&self, relay: &RelayId) -> Option<Terms> {
        match &**self.rule.read().unwrap_or_else(PoisonError::into_inner) {
            Rule::Open => Some(Terms::default()),
            Rule::List(list) => list.0.get(relay).cloned(),
        }
    }

    /// Since when a relay is a member, by the grant it shows.
    fn since(&self, relay: &RelayId, former: Option<&[u8]>, now: UnixMillis) -> UnixMillis {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let former = former.map(|bytes| UnverifiedGrant(bytes.to_vec().into()).verify_of_any_time(&ring, relay, now));
        match former {
            Some(Ok(grant)) if now < grant.grant().ends().plus_ms(REMEMBERED_MS) => grant.grant().since.min(now),
            _ => now,
        }
    }
}

impl Granting for Grants {
    fn decide(&self, relay: &RelayId, former: Option<&[u8]>, now: UnixMillis) -> Decision {
        let Some(Terms { region, weight, scopes }) = self.terms(relay) else {
            return Decision::Refused(format!(
                "relay {relay} is not on the list of {}: ask this publisher to add the line `{relay}` to its grant list",
                self.publisher.short()
            ));
        };
        let first = Epoch::of(now, self.epoch_ms);
        let epochs = self.epochs.saturating_mul(DEFAULT_EPOCH_MS).div_ceil(self.epoch_ms.max(1));
        let grant = Grant {
            publisher: self.publisher,
            relay: *relay,
            scopes,
            first,
            last: Epoch(first.0.saturating_add(epochs.saturating_sub(1))),
            region,
            weight,
            issued: now,
            since: self.since(relay, former, now),
            prices: None,
            caps: None,
            policy: None,
            budget: None,
            epoch_ms: (self.epoch_ms != DEFAULT_EPOCH_MS).then_some(self.epoch_ms),
        };
        match SignedGrant::sign(grant, self.signer.key()) {
            Ok(grant) => Decision::Granted(grant),
            Err(error) => {
                tracing::error!(%error, "a grant cannot be signed");
                Decision::Refused("the publisher cannot grant at the moment".into())
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::keys::{KeyEntry, RootKey, SigningKey, SigningKeyList};

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const DAY_MS: u64 = 24 * DEFAULT_EPOCH_MS;

    fn relay(seed: u8) -> RelayId {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        RelayId::from_public_key(&key.public())
    }

    fn grants(rule: Rule) -> Grants {
        let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let expires = NOW.plus_ms(400 * DAY_MS);
        let keys = vec![KeyEntry::new(&key, UnixMillis(0), expires)];
        let list = SigningKeyList { publisher: root.publisher_id(), issued: NOW, expires, keys }.sign(&root).unwrap();
        let ring = KeyRing::verify(root.publisher_id(), &list, NOW).unwrap();
        Grants::new(Arc::new(Signer::new(key)), Arc::new(RwLock::new(ring)), DEFAULT_GRANT_EPOCHS, rule)
    }

    fn granted(grants: &Grants, seed: u8, former: Option<&SignedGrant>, now: UnixMillis) -> SignedGrant {
        match grants.decide(&relay(seed), former.map(|grant| &**grant.bytes()), now) {
            Decision::Granted(grant) => grant,
            Decision::Refused(why) => panic!("{why}"),
        }
    }

    #[test]
    fn an_open_network_grants_everything_to_everybody_for_a_while() {
        let grant = granted(&grants(Rule::Open), 7, None, NOW);
        let grant = grant.grant();
        assert!(grant.covers_all() && grant.region == "default" && grant.since == NOW);
        assert!(
            grant.holds_at(NOW.plus_ms(71 * DEFAULT_EPOCH_MS)) && !grant.holds_at(NOW.plus_ms(74 * DEFAULT_EPOCH_MS))
        );
    }

    #[test]
    fn a_member_keeps_its_age_over_an_absence_but_not_for_ever_and_not_by_another_s_grant() {
        let grants = grants(Rule::Open);
        let first = granted(&grants, 7, None, NOW);
        let back = granted(&grants, 7, Some(&first), NOW.plus_ms(20 * DAY_MS));
        assert_eq!(back.grant().since, NOW);
        let late = NOW.plus_ms(40 * DAY_MS);
        assert_eq!(granted(&grants, 7, Some(&first), late).grant().since, late);
        assert_eq!(granted(&grants, 8, Some(&first), late).grant().since, late, "it is another relay's");
    }

    #[test]
    fn a_list_lets_in_whom_it_names_on_its_terms() {
        let text = format!(
            "# partners\n{} region=eu-west weight=500 scope=/live/ scope=/film # Lyon\n\n{}\n",
            relay(1),
            relay(2)
        );
        let grants = grants(Rule::List(AllowList::parse(&text).unwrap()));
        let limited = granted(&grants, 1, None, NOW);
        assert_eq!((limited.grant().region.as_str(), limited.grant().weight), ("eu-west", 500));
        let scopes: Vec<&str> = limited.grant().scopes.iter().map(CanonicalPath::as_str).collect();
        assert_eq!(scopes, ["/film", "/live/"]);
        assert!(granted(&grants, 2, None, NOW).grant().covers_all());
        match grants.decide(&relay(3), None, NOW) {
            Decision::Refused(why) => assert!(why.contains(&relay(3).to_string()) && why.contains("add the line")),
            Decision::Granted(_) => panic!("it is not on the list"),
        }
        grants.set_rule(Rule::Open);
        assert!(matches!(grants.decide(&relay(3), None, NOW), Decision::Granted(_)));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let one = relay(1);
        for (text, line) in [
            ("12D3KooWnonsense".to_owned(), 1),
            (format!("\n{one} region=EU"), 2),
            (format!("{one} weight=0"), 1),
            (format!("{one} scope=film"), 1),
            (format!("{one} speed=1"), 1),
            (format!("{one}\n{one}"), 2),
        ] {
            match AllowList::parse(&text) {
                Err(AllowListError::Line { line: named, .. }) => assert_eq!(named, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
