//! `POST /api/session`: the demo as the platform gives a viewer a session token that confirms the key its receipts are
//! signed with.
//!
//! Invariant: a token names a random session and nothing of the viewer; whoever may not control the demo gets none.

use crate::demo::network::EPOCH_MS;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use weir_origin::keys::PublisherKeys;
use weir_protocol::keys::SigningKey;
use weir_protocol::time::UnixMillis;
use weir_protocol::token::{Confirmation, OkpKey, SessionClaims, TokenUse};

/// How long a token is good.
const SECONDS: u64 = 6 * 3600;
/// A token may begin a little before its time, for relays whose clocks are behind.
const SKEW_SECONDS: u64 = 60;
/// What a session may fetch: six hours of the demo's best picture are less.
const MAX_BYTES: u64 = 20_000_000_000;

/// Gives out tokens in the publisher's name.
pub(in crate::demo) struct Tokens {
    keys: PublisherKeys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The public half of the viewer's key.
    jwk: OkpKey,
}

impl Tokens {
    /// With the keys of the adapter whose data is here.
    pub(in crate::demo) fn of(adapter: &Path) -> Result<Self, String> {
        PublisherKeys::load_or_create(adapter).map(|keys| Self { keys }).map_err(|error| error.to_string())
    }

    /// A token for whoever holds the key in `body`; the error says what is wrong with it.
    pub(super) fn issue(&self, body: &Bytes, now: UnixMillis) -> Result<Value, String> {
        let Wanted { jwk } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let (token, expires) = issue(&self.keys.signing(), self.keys.publisher(), jwk, now)?;
        Ok(json!({ "token": token, "expires": expires, "epoch_ms": EPOCH_MS }))
    }
}

fn issue(
    key: &SigningKey,
    publisher: weir_protocol::ids::PublisherId,
    jwk: OkpKey,
    now: UnixMillis,
) -> Result<(String, u64), String> {
    let seconds = now.as_secs();
    let exp = seconds + SECONDS;
    let claims = SessionClaims {
        iss: publisher,
        sid: format!("{:032x}", rand::random::<u128>()),
        prefix: "/".into(),
        exp,
        nbf: Some(seconds.saturating_sub(SKEW_SECONDS)),
        iat: Some(seconds),
        max_bytes: Some(MAX_BYTES),
        cnf: Some(Confirmation::Jwk(jwk)),
        relays: Vec::new(),
        usage: TokenUse::Viewer,
    };
    claims.sign(key).map(|token| (token, exp)).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_token_confirms_the_key_and_a_wrong_key_gets_none() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(directory.path()).unwrap();
        let now = UnixMillis(1_800_000_000_000);
        let ask = |jwk: Value| tokens.issue(&json!({ "jwk": jwk }).to_string().into(), now);
        let x = "oJql9HpnWYAv-VX43C0qFKXJnSO-l_hkEn_5ODRVpPA";
        let said = ask(json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
        let token = said["token"].as_str().unwrap();
        assert_eq!((token.split('.').count(), &said["expires"]), (3, &json!(1_800_000_000 + SECONDS)));
        assert_eq!(said["epoch_ms"], EPOCH_MS, "receipts count by the ledger's epochs");
        let again = ask(json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
        assert_ne!(token, again["token"].as_str().unwrap(), "each is another session");
        assert!(ask(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" })).is_err());
        assert!(ask(json!({ "kty": "EC", "crv": "P-256", "x": x })).is_err());
        assert!(tokens.issue(&"{}".into(), now).is_err());
    }
}
