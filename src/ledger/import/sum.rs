//! Lines of logs, added up by epoch, relay and session. No I/O.
//!
//! Invariant: a sum holds only lines of epochs that are over, of relays that are named, and of tokens of a service that
//! this publisher signed, as far as the line holds the token and not only its hash.

use super::line::Row;
use data_encoding::HEXLOWER_PERMISSIVE;
use std::collections::{BTreeMap, HashMap};
use weir_protocol::{
    Epoch, RelayId, TokenHash, UnixMillis,
    keys::KeyRing,
    token::{TokenUse, UnverifiedToken},
};

/// Sums of one import.
const MAX_SUMS: usize = 1_000_000;

/// Which sum.
pub(super) type Place = (Epoch, RelayId, TokenHash);

/// Adds lines up.
pub(super) struct Sums<'a> {
    pub(super) epoch_ms: u64,
    pub(super) now: UnixMillis,
    pub(super) ring: &'a KeyRing,
    /// Relays by the host that logs name.
    pub(super) hosts: &'a HashMap<String, RelayId>,
    /// Tokens that were looked at.
    pub(super) tokens: HashMap<String, TokenHash>,
    pub(super) found: BTreeMap<(Epoch, TokenHash, Vec<u8>), (RelayId, u64)>,
}

impl Sums<'_> {
    /// Takes a line in; the error says what is wrong with it.
    pub(super) fn add(&mut self, row: &Row) -> Result<(), String> {
        let epoch = Epoch::of(row.time, self.epoch_ms);
        if epoch.end(self.epoch_ms) > self.now {
            return Err(format!("its epoch, {epoch}, is not over: leave its lines for the next import"));
        }
        let relay = match row.relay.parse() {
            Ok(relay) => relay,
            Err(_) => *self.hosts.get(&row.relay.to_ascii_lowercase()).ok_or_else(|| {
                format!("{} is no relay's id, and no --relay {}=ID says whose host it is", row.relay, row.relay)
            })?,
        };
        let token = self.token(&row.token)?;
        let place = (epoch, token, relay.0.to_bytes());
        if self.found.len() >= MAX_SUMS && !self.found.contains_key(&place) {
            return Err(format!("more than {MAX_SUMS} sessions: import fewer files at once"));
        }
        let sum = &mut self.found.entry(place).or_insert((relay, 0)).1;
        *sum = sum.checked_add(row.bytes).ok_or("the sum is larger than any number of bytes")?;
        Ok(())
    }

    fn token(&mut self, said: &str) -> Result<TokenHash, String> {
        if let Some(hash) = self.tokens.get(said) {
            return Ok(*hash);
        }
        let hash = self.judge(said)?;
        if self.tokens.len() >= MAX_SUMS {
            self.tokens.clear();
        }
        self.tokens.insert(said.to_owned(), hash);
        Ok(hash)
    }

    fn judge(&self, said: &str) -> Result<TokenHash, String> {
        if let Ok(hash) = HEXLOWER_PERMISSIVE.decode(said.as_bytes())
            && let Ok(hash) = <[u8; 32]>::try_from(hash)
        {
            return Ok(TokenHash(hash));
        }
        let query = said.split('#').next().unwrap_or_default();
        let query = query.split_once('?').map_or(query, |(_, query)| query);
        let within = query.split('&').find_map(|pair| pair.strip_prefix("weir_token="));
        // A compact token has only unreserved characters (RFC 7515 section 2).
        let compact = within.unwrap_or(said);
        let token = UnverifiedToken::parse(compact)
            .map_err(|error| format!("it holds neither a token nor the SHA-256 of one: {error}"))?;
        if *token.issuer() != self.ring.publisher() {
            return Err(format!("its token is another publisher's, {}", token.issuer()));
        }
        let entry = self.ring.entries().iter().find(|entry| entry.key_id == *token.kid());
        let key = entry.and_then(|entry| self.ring.key(&entry.key_id, entry.not_before));
        let key = *key.ok_or("its token is signed with a key that is not in force")?;
        let claims = token.verify(&key, UnixMillis(0), u64::MAX).map_err(|error| format!("its token: {error}"))?;
        match claims.usage {
            TokenUse::Service => Ok(TokenHash::of(compact)),
            TokenUse::Viewer => Err("its token is a viewer's: only what a service pulled is told by its log".into()),
        }
    }

    /// The sums.
    pub(super) fn into_sums(self) -> Vec<(Place, u64)> {
        self.found.into_iter().map(|((epoch, token, _), (relay, bytes))| ((epoch, relay, token), bytes)).collect()
    }
}
