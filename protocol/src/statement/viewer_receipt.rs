//! What a player received, relay by relay: signed by the key that its token confirms.
//!
//! Invariant: relays stand in ascending order and once each, so one state of affairs has one encoding. The message is
//! small enough for a browser to build by hand and sign with WebCrypto.

use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::epoch::Epoch;
use crate::ids::{PublisherId, RelayId, TokenHash};
use crate::statement::cumulative::Cumulative;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::signed::{SelfSigned, Statement};
use crate::time::UnixMillis;
use crate::token::{Confirmation, SessionClaims};

/// Most relays in one receipt.
pub const MAX_RECEIPT_RELAYS: usize = 16;

/// What came from one relay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RelayShare {
    /// Which relay.
    #[n(0)]
    pub relay: RelayId,
    /// Verified body bytes in this epoch.
    #[n(1)]
    pub bytes: u64,
    /// Objects received whole in this epoch.
    #[n(2)]
    pub objects: u64,
}

/// What a player states about its session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ViewerReceipt {
    /// Whose content it was.
    #[n(0)]
    pub publisher: PublisherId,
    /// The session's token.
    #[n(1)]
    pub token: TokenHash,
    /// The session's Ed25519 public key, which signs; the token confirms it by `cnf`.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub session_key: [u8; 32],
    /// When, in the publisher's epochs.
    #[n(3)]
    pub epoch: Epoch,
    /// Number of this receipt in this epoch, from 1.
    #[n(4)]
    pub counter: u64,
    /// At most [`MAX_RECEIPT_RELAYS`], in ascending order of the PeerId's bytes.
    #[n(5)]
    pub relays: Vec<RelayShare>,
    /// When it was signed.
    #[n(6)]
    pub time: UnixMillis,
}

impl ViewerReceipt {
    /// Whether the token lets this key sign for the session.
    #[must_use]
    pub fn is_confirmed_by(&self, claims: &SessionClaims) -> bool {
        let x = BASE64URL_NOPAD.encode(&self.session_key);
        match &claims.cnf {
            None => false,
            Some(Confirmation::Jwk(key)) => key.x == x,
            // RFC 7638 section 3 with the members of RFC 8037 appendix A.3.
            Some(Confirmation::Jkt(thumbprint)) => {
                let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
                *thumbprint == BASE64URL_NOPAD.encode(&Sha256::digest(jwk))
            }
        }
    }

    /// What came from one relay.
    #[must_use]
    pub fn from_relay(&self, relay: &RelayId) -> Option<&RelayShare> {
        self.relays.iter().find(|share| share.relay == *relay)
    }
}

impl Statement for ViewerReceipt {
    const CONTEXT: &'static str = "weir/viewer-receipt/1";
    const MAX: usize = 2048;

    fn check(&self) -> Result<(), StatementError> {
        if self.counter == 0 {
            return Err(StatementError::Unfit("counter"));
        }
        let ascending = self.relays.windows(2).all(|pair| pair[0].relay.0.to_bytes() < pair[1].relay.0.to_bytes());
        if self.relays.len() > MAX_RECEIPT_RELAYS || !ascending {
            return Err(StatementError::Unfit("relays"));
        }
        Ok(())
    }
}

impl SelfSigned for ViewerReceipt {
    fn signer(&self) -> Option<[u8; 32]> {
        Some(self.session_key)
    }
}

impl Cumulative for ViewerReceipt {
    type Series = (PublisherId, TokenHash, [u8; 32], Epoch);
    const KIND: Kind = Kind::ViewerReceipt;

    fn numbering(&self) -> Self::Series {
        self.series()
    }

    fn series(&self) -> Self::Series {
        (self.publisher, self.token, self.session_key, self.epoch)
    }

    fn counter(&self) -> u64 {
        self.counter
    }

    fn falls_behind(&self, earlier: &Self) -> bool {
        earlier.relays.iter().any(|then| match self.from_relay(&then.relay) {
            Some(now) => now.bytes < then.bytes || now.objects < then.objects,
            None => then.bytes > 0 || then.objects > 0,
        })
    }
}
