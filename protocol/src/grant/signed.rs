//! A grant under the publisher's signature.

use std::sync::Arc;

use bytes::Bytes;

use crate::cbor::{self, CborError};
use crate::cose::{self, CoseError, UnverifiedSign1};
use crate::epoch::Epoch;
use crate::grant::body::Grant;
use crate::ids::{KeyId, PublisherId, RelayId};
use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// COSE context of a grant.
pub const GRANT_CONTEXT: &str = "weir/grant/1";
/// Longest signed grant, in bytes.
pub const MAX_GRANT: usize = 2 * 1024;

/// Why a grant is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not a grant, or its signature does not verify.
    #[error("grant: {0}")]
    Cose(#[from] CoseError),
    /// The signed payload is no grant.
    #[error("grant payload: {0}")]
    Payload(#[from] CborError),
    /// Another publisher's.
    #[error("the grant is of publisher {0}")]
    WrongPublisher(PublisherId),
    /// Another relay's.
    #[error("the grant is for relay {0}")]
    WrongRelay(RelayId),
    /// A member exceeds its bounds.
    #[error("`{0}` in the grant is out of bounds")]
    OutOfBounds(&'static str),
    /// The publisher's key list does not let this key sign then. Ours may be the older list.
    #[error("key {0} may not sign this grant")]
    UnknownKey(KeyId),
    /// Signed in the future: one of the two clocks is wrong.
    #[error("the grant was issued at {issued}, now it is {now}")]
    FromTheFuture {
        /// Time of issue.
        issued: UnixMillis,
        /// The time it was checked at.
        now: UnixMillis,
    },
    /// It does not hold now.
    #[error("the grant holds from epoch {first} to {last}, now it is epoch {now}")]
    NotNow {
        /// First epoch.
        first: Epoch,
        /// Last epoch.
        last: Epoch,
        /// The epoch it was checked in.
        now: Epoch,
    },
    /// The key list itself has expired.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// A grant whose signature was made or verified here. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedGrant {
    bytes: Bytes,
    grant: Arc<Grant>,
}

impl SignedGrant {
    /// Signs a grant.
    ///
    /// # Errors
    /// [`GrantError::OutOfBounds`] if a relay would refuse it.
    pub fn sign(grant: Grant, key: &SigningKey) -> Result<Self, GrantError> {
        if let Some(member) = grant.unsound() {
            return Err(GrantError::OutOfBounds(member));
        }
        let bytes: Bytes = cose::sign(key.dalek(), GRANT_CONTEXT, &cbor::to_vec(&grant)).into();
        cbor::check_length(&bytes, MAX_GRANT)?;
        Ok(Self { bytes, grant: Arc::new(grant) })
    }

    /// The COSE message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it states.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// The COSE message of a grant as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedGrant(pub Bytes);

impl UnverifiedGrant {
    /// The relay that the grant claims to be for, before anything is verified.
    ///
    /// # Errors
    /// [`GrantError`] if it is no grant.
    pub fn claimed_relay(&self) -> Result<RelayId, GrantError> {
        cbor::check_length(&self.0, MAX_GRANT)?;
        Ok(cbor::decode_canonical::<Grant>(UnverifiedSign1::parse(&self.0)?.payload)?.relay)
    }

    /// Verifies that the ring's publisher granted something to `relay`, and that it holds now.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn verify(&self, ring: &KeyRing, relay: &RelayId, now: UnixMillis) -> Result<SignedGrant, GrantError> {
        let signed = self.verify_of_any_time(ring, relay, now)?;
        let grant = &signed.grant;
        if !grant.holds_at(now) {
            return Err(GrantError::NotNow {
                first: grant.first,
                last: grant.last,
                now: Epoch::of(now, grant.epoch_length()),
            });
        }
        Ok(signed)
    }

    /// The same, whether it holds now or has ended: the publisher recognises a member that was away.
    ///
    /// # Errors
    /// [`GrantError`], but not [`GrantError::NotNow`].
    pub fn verify_of_any_time(
        &self,
        ring: &KeyRing,
        relay: &RelayId,
        now: UnixMillis,
    ) -> Result<SignedGrant, GrantError> {
        cbor::check_length(&self.0, MAX_GRANT)?;
        ring.check_expiry(now)?;
        let message = UnverifiedSign1::parse(&self.0)?;
        // The time of issue is read before it is believed, to know which key to believe it from.
        let claimed: Grant = cbor::decode_canonical(message.payload)?;
        let key = ring.key(&message.kid, claimed.issued).ok_or(GrantError::UnknownKey(message.kid))?;
        message.verify(key, GRANT_CONTEXT)?;
        let grant = claimed;
        if grant.publisher != ring.publisher() {
            return Err(GrantError::WrongPublisher(grant.publisher));
        }
        if grant.relay != *relay {
            return Err(GrantError::WrongRelay(grant.relay));
        }
        if let Some(member) = grant.unsound() {
            return Err(GrantError::OutOfBounds(member));
        }
        if grant.issued > now.plus_ms(CLOCK_SKEW_MS) {
            return Err(GrantError::FromTheFuture { issued: grant.issued, now });
        }
        Ok(SignedGrant { bytes: self.0.clone(), grant: Arc::new(grant) })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{GrantError, SignedGrant, UnverifiedGrant};
    use crate::epoch::{DEFAULT_EPOCH_MS, Epoch};
    use crate::grant::{Grant, Price, PriceClass, Prices};
    use crate::ids::RelayId;
    use crate::keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList};
    use crate::resource::CanonicalPath;
    use crate::time::UnixMillis;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_500);

    fn relay(seed: u8) -> RelayId {
        let key = libp2p_identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        RelayId::from_public_key(&key.public())
    }

    fn ring(root: &RootKey, key: &SigningKey) -> KeyRing {
        let keys = vec![KeyEntry::new(key, UnixMillis(0), NOW.plus_ms(1 << 40))];
        let list = SigningKeyList { publisher: root.publisher_id(), issued: NOW, expires: NOW.plus_ms(1 << 40), keys };
        KeyRing::verify(root.publisher_id(), &list.sign(root).unwrap(), NOW).unwrap()
    }

    fn epoch(later: u64) -> Epoch {
        Epoch(Epoch::of(NOW, DEFAULT_EPOCH_MS).0 + later)
    }

    fn grant(root: &RootKey) -> Grant {
        Grant {
            publisher: root.publisher_id(),
            relay: relay(3),
            scopes: vec![CanonicalPath::parse("/film").unwrap(), CanonicalPath::parse("/live/").unwrap()],
            first: epoch(0),
            last: epoch(2),
            region: "default".into(),
            weight: 1,
            issued: NOW,
            since: NOW,
            prices: None,
            caps: None,
            policy: None,
            budget: None,
            epoch_ms: None,
        }
    }

    #[test]
    fn a_grant_is_its_relays_for_its_time_and_its_paths() {
        let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let ring = ring(&root, &key);
        let signed = SignedGrant::sign(grant(&root), &key).unwrap();
        let wire = UnverifiedGrant(signed.bytes().clone());
        assert_eq!(wire.verify(&ring, &relay(3), NOW), Ok(signed.clone()));
        assert_eq!(wire.verify(&ring, &relay(4), NOW), Err(GrantError::WrongRelay(relay(3))));
        let after = NOW.plus_ms(4 * DEFAULT_EPOCH_MS);
        assert!(matches!(wire.verify(&ring, &relay(3), after), Err(GrantError::NotNow { .. })));
        assert_eq!(wire.verify_of_any_time(&ring, &relay(3), after), Ok(signed.clone()));
        let early = UnixMillis(NOW.0 - 600_000);
        assert!(matches!(wire.verify(&ring, &relay(3), early), Err(GrantError::FromTheFuture { .. })));
        let covers = |path: &str| signed.grant().covers(&CanonicalPath::parse(path).unwrap());
        assert!(covers("/film") && covers("/film/a.ts") && covers("/live/x") && !covers("/live") && !covers("/films"));
    }

    #[test]
    fn another_publishers_key_grants_nothing() {
        let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let other = SigningKey::from_bytes(&[9; 32]);
        let forged = SignedGrant::sign(grant(&root), &other).unwrap();
        let wire = UnverifiedGrant(forged.bytes().clone());
        let unknown = Err(GrantError::UnknownKey(other.key_id()));
        assert_eq!(wire.verify(&ring(&root, &key), &relay(3), NOW), unknown);
        // A publisher that lists another's key cannot be granted for by that key's messages.
        let stranger = RootKey::from_bytes(&[7; 32]);
        let signed = SignedGrant::sign(grant(&root), &key).unwrap();
        let wrong = UnverifiedGrant(signed.bytes().clone()).verify(&ring(&stranger, &key), &relay(3), NOW);
        assert_eq!(wrong, Err(GrantError::WrongPublisher(root.publisher_id())));
    }

    #[test]
    fn what_is_out_of_bounds_is_not_signed() {
        let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let price = |class| Price { class, micro_per_gib: 5 };
        let schedule = |prices| Some(Prices { currency: "EUR".into(), prices });
        let paid = Grant { prices: schedule(vec![price(PriceClass::Viewer), price(PriceClass::Peer)]), ..grant(&root) };
        assert!(SignedGrant::sign(paid, &key).is_ok());
        for (wrong, member) in [
            (Grant { scopes: Vec::new(), ..grant(&root) }, "scopes"),
            (Grant { last: Epoch(0), ..grant(&root) }, "last"),
            (Grant { last: epoch(366 * 24), ..grant(&root) }, "last"),
            (Grant { epoch_ms: Some(999), ..grant(&root) }, "epoch_ms"),
            (Grant { region: "EU".into(), ..grant(&root) }, "region"),
            (Grant { weight: 0, ..grant(&root) }, "weight"),
            (Grant { since: NOW.plus_ms(1), ..grant(&root) }, "since"),
            (
                Grant { prices: schedule(vec![price(PriceClass::Peer), price(PriceClass::Peer)]), ..grant(&root) },
                "prices",
            ),
        ] {
            assert_eq!(SignedGrant::sign(wrong, &key), Err(GrantError::OutOfBounds(member)));
        }
    }
}
