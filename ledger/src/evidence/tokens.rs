//! Session tokens in the log.
//!
//! Invariant: a token is judged once, by the publisher's signature and by nothing that a relay says.

use std::cell::RefCell;
use std::collections::HashMap;

use weir_protocol::token::{SessionClaims, UnverifiedToken};
use weir_protocol::{TokenHash, UnixMillis};

use crate::evidence::keys::KeyHistory;

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Not in the log.
    Missing,
    /// Not signed by the publisher, or malformed.
    Bad,
}

/// A token that the publisher signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it states.
    pub claims: SessionClaims,
}

/// The tokens of a log.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    tokens: HashMap<TokenHash, (String, UnixMillis)>,
    /// A session's token is asked for with each of its claims and verified once.
    judged: RefCell<HashMap<TokenHash, Result<Token, TokenFault>>>,
}

impl Tokens {
    pub(super) fn add(&mut self, message: Vec<u8>, received: UnixMillis) -> bool {
        let Ok(text) = String::from_utf8(message) else { return false };
        self.tokens.entry(TokenHash::of(&text)).or_insert((text, received));
        true
    }

    /// Verifies a token. When it was valid is not judged here: a claim's times are compared with its expiry.
    pub(super) fn judge(&self, hash: &TokenHash, keys: &KeyHistory) -> Result<Token, TokenFault> {
        if let Some(judged) = self.judged.borrow().get(hash) {
            return judged.clone();
        }
        let judged = self.verify(hash, keys);
        self.judged.borrow_mut().insert(*hash, judged.clone());
        judged
    }

    fn verify(&self, hash: &TokenHash, keys: &KeyHistory) -> Result<Token, TokenFault> {
        let (text, received) = self.tokens.get(hash).ok_or(TokenFault::Missing)?;
        let token = UnverifiedToken::parse(text).map_err(|_| TokenFault::Bad)?;
        let issuer = *token.issuer();
        for ring in keys.rings_at(*received).filter(|ring| ring.publisher() == issuer) {
            for entry in ring.entries().iter().filter(|entry| entry.key_id == *token.kid()) {
                // Any time in the key's life that the token has in common with it; issue and expiry are checked later.
                let Some(key) = ring.key(&entry.key_id, entry.not_before) else { continue };
                if let Ok(claims) = token.clone().verify(key, UnixMillis(0), u64::MAX) {
                    let issued = claims.iat.or(claims.nbf).map_or(*received, UnixMillis::from_secs);
                    if ring.key_around(&entry.key_id, issued).is_some() {
                        return Ok(Token { claims });
                    }
                }
            }
        }
        Err(TokenFault::Bad)
    }
}
