//! What a grant states, and when and where it holds.

use minicbor::{Decode, Encode};

use crate::epoch::{DEFAULT_EPOCH_MS, Epoch, MAX_EPOCH_MS, MIN_EPOCH_MS};
use crate::grant::terms::{Caps, Prices};
use crate::ids::{PolicyHash, PublisherId, RelayId};
use crate::resource::CanonicalPath;
use crate::time::{CLOCK_SKEW_MS, UnixMillis};

/// Most scopes of a grant.
pub const MAX_SCOPES: usize = 8;
/// Longest scope, in bytes.
pub const MAX_SCOPE: usize = 128;
/// Longest region name, in bytes.
pub const MAX_REGION: usize = 32;
/// Weight of a relay whose capacity nobody has stated.
pub const DEFAULT_WEIGHT: u32 = 100;
/// Largest weight.
pub const MAX_WEIGHT: u32 = 100_000;
/// Longest life of a grant, in milliseconds: a leap year.
pub const MAX_GRANT_MS: u64 = 366 * 86_400_000;

/// A name of a region: 1 to [`MAX_REGION`] of `a-z`, `0-9` and `-`.
#[must_use]
pub fn is_region(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_REGION).contains(&name.len()) && name.bytes().all(allowed)
}

/// What a publisher grants to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Who grants.
    #[n(0)]
    pub publisher: PublisherId,
    /// To whom.
    #[n(1)]
    pub relay: RelayId,
    /// Paths that the relay may serve, each with everything below it: 1 to [`MAX_SCOPES`] of at most [`MAX_SCOPE`]
    /// bytes, in rising order.
    #[n(2)]
    pub scopes: Vec<CanonicalPath>,
    /// First epoch it holds in.
    #[n(3)]
    pub first: Epoch,
    /// Last epoch it holds in; at most [`MAX_GRANT_MS`] together.
    #[n(4)]
    pub last: Epoch,
    /// Where the publisher counts the relay to ([`is_region`]); relays exchange objects within a region first.
    #[n(5)]
    pub region: String,
    /// Share of objects the relay owns, relative to others of its region: the Mbit/s it can send, 1 to
    /// [`MAX_WEIGHT`].
    #[n(6)]
    pub weight: u32,
    /// When it was signed.
    #[n(7)]
    pub issued: UnixMillis,
    /// Since when the relay has been a member without a long break: what is asked of newcomers grows with their age.
    #[n(8)]
    pub since: UnixMillis,
    /// What the publisher pays.
    #[n(9)]
    pub prices: Option<Prices>,
    /// What it pays at most in one epoch.
    #[n(10)]
    pub caps: Option<Caps>,
    /// The policy that settlements follow.
    #[n(11)]
    pub policy: Option<PolicyHash>,
    /// Micro-units for all epochs of the grant together.
    #[n(12)]
    pub budget: Option<u64>,
    /// Length of the publisher's epochs in milliseconds; absent: [`DEFAULT_EPOCH_MS`], one hour.
    #[n(13)]
    pub epoch_ms: Option<u64>,
}

impl Grant {
    /// True while the grant holds, give or take [`CLOCK_SKEW_MS`].
    #[must_use]
    pub fn holds_at(&self, now: UnixMillis) -> bool {
        let begins = self.first.start(self.epoch_length());
        now.plus_ms(CLOCK_SKEW_MS) >= begins && now < self.ends().plus_ms(CLOCK_SKEW_MS)
    }

    /// The first moment after its last epoch.
    #[must_use]
    pub fn ends(&self) -> UnixMillis {
        self.last.end(self.epoch_length())
    }

    /// Length of an epoch, in milliseconds.
    #[must_use]
    pub fn epoch_length(&self) -> u64 {
        self.epoch_ms.unwrap_or(DEFAULT_EPOCH_MS)
    }

    /// Whether a path lies within the scopes.
    #[must_use]
    pub fn covers(&self, path: &CanonicalPath) -> bool {
        self.scopes.iter().any(|scope| scope.covers(path))
    }

    /// True when everything of the publisher's is covered.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.scopes.iter().any(|scope| scope.as_str() == "/")
    }

    /// The first member that is out of its bounds.
    pub(super) fn unsound(&self) -> Option<&'static str> {
        let length = self.epoch_length();
        let epochs = self.last.0.checked_sub(self.first.0);
        let life = epochs.map(|epochs| epochs.saturating_add(1).saturating_mul(length));
        let rules = [
            (
                (1..=MAX_SCOPES).contains(&self.scopes.len())
                    && self.scopes.iter().all(|scope| scope.as_str().len() <= MAX_SCOPE)
                    && self.scopes.is_sorted_by(|one, next| one < next),
                "scopes",
            ),
            ((MIN_EPOCH_MS..=MAX_EPOCH_MS).contains(&length), "epoch_ms"),
            (life.is_some_and(|life| life <= MAX_GRANT_MS), "last"),
            (is_region(&self.region), "region"),
            ((1..=MAX_WEIGHT).contains(&self.weight), "weight"),
            (self.since <= self.issued, "since"),
            (self.prices.as_ref().is_none_or(Prices::is_sound), "prices"),
        ];
        rules.into_iter().find_map(|(holds, member)| (!holds).then_some(member))
    }
}
