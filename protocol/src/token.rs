//! Session tokens: who may watch what, until when (a compact JWS, RFC 7515, with JWT claims, RFC 7519).
//!
//! Invariant: [`SessionClaims`] come out of [`UnverifiedToken::verify`] only. `alg` decides nothing but refusal: the key
//! that the caller passes is Ed25519 and so is the signature.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::ids::{KeyId, PublisherId, RelayId};
use crate::keys::SigningKey;
use crate::resource::CanonicalPath;
use crate::time::UnixMillis;

/// Longest compact token, in bytes.
pub const MAX_TOKEN: usize = 4 * 1024;
/// Most relays a token assigns.
pub const MAX_ASSIGNED_RELAYS: usize = 16;
/// Longest session id, in bytes.
pub const MAX_SID: usize = 64;

const TYPE: &str = "JWT";
const EDDSA: &str = "EdDSA";
const ES256: &str = "ES256";

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token exceeds 4096 bytes")]
    TooLong,
    /// Not three base64url parts with the JSON this protocol prescribes.
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm that may be supported later.
    #[error("tokens signed with ES256 are not supported")]
    Unsupported,
    /// `none`, or any algorithm that never will be.
    #[error("the token's algorithm is refused")]
    RefusedAlgorithm,
    /// The signature does not verify, or the key is another one than the token names.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead, or `iat` does.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim outside its bounds.
    #[error("claim `{0}` of the token is out of bounds")]
    BadClaim(&'static str),
}

/// What a token is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// One viewer's playback.
    Viewer,
    /// A service, such as another CDN that pulls through the relay.
    Service,
}

/// The key that signs a viewer's receipts (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirmation {
    /// SHA-256 thumbprint of a JWK (RFC 7638), base64url.
    Jkt(String),
    /// The public key itself.
    Jwk(OkpKey),
}

/// An Ed25519 public key as JWK (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OkpKey {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// The 32 bytes, base64url.
    pub x: String,
}

/// What a session token states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The publisher that issued it.
    pub iss: PublisherId,
    /// Pairwise random session id: names no viewer. At most [`MAX_SID`] bytes.
    pub sid: String,
    /// Canonical path prefix the session may fetch below.
    pub prefix: String,
    /// Expiry, in seconds since the epoch.
    pub exp: u64,
    /// Start, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Time of issue, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Most body bytes the session may fetch, over all relays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// The key that signs the viewer's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The relays that may serve the session; empty for any. At most [`MAX_ASSIGNED_RELAYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<RelayId>,
    /// Viewer or service.
    #[serde(rename = "use")]
    pub usage: TokenUse,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

impl SessionClaims {
    /// Signs the claims as a compact JWS.
    ///
    /// # Errors
    /// [`TokenError::BadClaim`] or [`TokenError::TooLong`] if an edge would refuse the token.
    pub fn sign(&self, key: &SigningKey) -> Result<String, TokenError> {
        self.check()?;
        let header = Header { alg: EDDSA.to_owned(), typ: Some(TYPE.to_owned()), kid: Some(key.key_id()), crit: None };
        let mut token = encode_json(&header)?;
        token.push('.');
        token.push_str(&encode_json(self)?);
        let signature = key.sign_raw(token.as_bytes());
        token.push('.');
        token.push_str(&BASE64URL_NOPAD.encode(&signature));
        if token.len() > MAX_TOKEN { Err(TokenError::TooLong) } else { Ok(token) }
    }

    /// Whether the session may fetch this path: the prefix itself, or anything below it. A prefix `/film` covers
    /// `/film/a` and not `/films`.
    #[must_use]
    pub fn covers(&self, path: &CanonicalPath) -> bool {
        let below = path.as_str().strip_prefix(self.prefix.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.prefix.ends_with('/'))
    }

    /// Whether this relay may serve the session.
    #[must_use]
    pub fn assigns(&self, relay: &RelayId) -> bool {
        self.relays.is_empty() || self.relays.contains(relay)
    }

    fn check(&self) -> Result<(), TokenError> {
        if self.sid.is_empty() || self.sid.len() > MAX_SID || !self.sid.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::BadClaim("sid"));
        }
        if !CanonicalPath::parse(&self.prefix).is_ok_and(|path| path.as_str() == self.prefix) {
            return Err(TokenError::BadClaim("prefix"));
        }
        if self.relays.len() > MAX_ASSIGNED_RELAYS {
            return Err(TokenError::BadClaim("relays"));
        }
        let confirmed = match &self.cnf {
            None => true,
            Some(Confirmation::Jkt(thumbprint)) => is_32_bytes(thumbprint),
            Some(Confirmation::Jwk(key)) => key.kty == "OKP" && key.crv == "Ed25519" && is_32_bytes(&key.x),
        };
        if confirmed { Ok(()) } else { Err(TokenError::BadClaim("cnf")) }
    }
}

/// A token whose shape is right and whose signature has not been checked.
#[derive(Clone)]
pub struct UnverifiedToken {
    kid: KeyId,
    claims: SessionClaims,
    signed: String,
    signature: [u8; 64],
}

impl UnverifiedToken {
    /// Reads a compact JWS.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(token: &str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode_json(header)?;
        match header.alg.as_str() {
            EDDSA => {}
            ES256 => return Err(TokenError::Unsupported),
            _ => return Err(TokenError::RefusedAlgorithm),
        }
        // RFC 7515 section 4.1.11: what is critical must be understood, and no extension is.
        if header.crit.is_some() || header.typ.is_some_and(|typ| typ != TYPE) {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let claims: SessionClaims = decode_json(claims)?;
        claims.check()?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenError::Malformed)?;
        let signature = signature.try_into().map_err(|_| TokenError::Malformed)?;
        Ok(Self { kid, claims, signed: signed.to_owned(), signature })
    }

    /// The key that should have signed it: `KeyRing::key(token.kid(), now)`.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The publisher that should have issued it, to find its key ring by.
    #[must_use]
    pub fn issuer(&self) -> &PublisherId {
        &self.claims.iss
    }

    /// Checks signature and times; `skew_ms` is how far the two clocks may differ, in milliseconds.
    ///
    /// The caller takes `key` from the ring of the publisher whose content is asked for; a token of another issuer
    /// must not be verified with it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(self, key: &VerifyingKey, now: UnixMillis, skew_ms: u64) -> Result<SessionClaims, TokenError> {
        if KeyId::of(key.as_bytes()) != self.kid {
            return Err(TokenError::BadSignature);
        }
        key.verify_strict(self.signed.as_bytes(), &Signature::from_bytes(&self.signature))
            .map_err(|_| TokenError::BadSignature)?;
        let claims = self.claims;
        if now.minus_ms(skew_ms) >= UnixMillis::from_secs(claims.exp) {
            return Err(TokenError::Expired);
        }
        let starts = claims.nbf.max(claims.iat).map_or(UnixMillis(0), UnixMillis::from_secs);
        if now.plus_ms(skew_ms) < starts {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }
}

impl std::fmt::Debug for UnverifiedToken {
    /// Names issuer and key only: tokens and session ids do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnverifiedToken({}, key {})", self.claims.iss.short(), self.kid)
    }
}

fn is_32_bytes(text: &str) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == 32)
}

fn encode_json<T: Serialize>(value: &T) -> Result<String, TokenError> {
    let json = serde_json::to_vec(value).map_err(|_| TokenError::Malformed)?;
    Ok(BASE64URL_NOPAD.encode(&json))
}

fn decode_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Confirmation, SessionClaims, TokenError, TokenUse, UnverifiedToken};
    use crate::ids::PublisherId;
    use crate::keys::SigningKey;
    use crate::resource::CanonicalPath;
    use crate::time::UnixMillis;
    use data_encoding::BASE64URL_NOPAD;

    fn claims() -> SessionClaims {
        SessionClaims {
            iss: PublisherId([1; 32]),
            sid: "s-1".into(),
            prefix: "/film".into(),
            exp: 2000,
            nbf: Some(1000),
            iat: None,
            max_bytes: Some(1 << 30),
            cnf: Some(Confirmation::Jkt(BASE64URL_NOPAD.encode(&[1; 32]))),
            relays: vec![],
            usage: TokenUse::Viewer,
        }
    }

    #[test]
    fn a_token_is_valid_in_its_time_for_its_key() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let token = UnverifiedToken::parse(&claims().sign(&key).unwrap()).unwrap();
        let at = |secs| token.clone().verify(&key.verifying_key(), UnixMillis::from_secs(secs), 1000);
        assert_eq!(at(1500).unwrap(), claims());
        assert!(at(999).is_ok() && at(2000).is_ok(), "within the skew");
        assert_eq!(at(998), Err(TokenError::NotYetValid));
        assert_eq!(at(2001), Err(TokenError::Expired));
        let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
        assert_eq!(token.clone().verify(&other, UnixMillis::from_secs(1500), 0), Err(TokenError::BadSignature));
    }

    #[test]
    fn prefixes_end_at_a_segment() {
        let path = |text| CanonicalPath::parse(text).unwrap();
        let mut claims = claims();
        assert!(claims.covers(&path("/film")) && claims.covers(&path("/film/a")) && !claims.covers(&path("/films")));
        claims.prefix = "/".into();
        assert!(claims.covers(&path("/anything")));
    }

    #[test]
    fn algorithms_and_claims_are_refused() {
        let token = claims().sign(&SigningKey::from_bytes(&[5; 32])).unwrap();
        let rest = token.split_once('.').unwrap().1;
        for (header, error) in [
            (r#"{"alg":"none","kid":"0000000000000000"}"#, TokenError::RefusedAlgorithm),
            (r#"{"alg":"HS256","kid":"0000000000000000"}"#, TokenError::RefusedAlgorithm),
            (r#"{"alg":"ES256","kid":"0000000000000000"}"#, TokenError::Unsupported),
            (r#"{"alg":"EdDSA"}"#, TokenError::Malformed),
            (r#"{"alg":"EdDSA","kid":"0000000000000000","crit":["x"]}"#, TokenError::Malformed),
        ] {
            let forged = format!("{}.{rest}", BASE64URL_NOPAD.encode(header.as_bytes()));
            assert_eq!(UnverifiedToken::parse(&forged).err(), Some(error), "{header}");
        }
        assert_eq!(UnverifiedToken::parse(&"a".repeat(4097)).err(), Some(TokenError::TooLong));
        let mut escaping = claims();
        escaping.prefix = "/a/../b".into();
        assert_eq!(escaping.sign(&SigningKey::from_bytes(&[5; 32])), Err(TokenError::BadClaim("prefix")));
    }
}
