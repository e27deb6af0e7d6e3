//! What a publisher pays: prices and caps.
//!
//! Invariant: amounts are whole micro-units (millionths of the currency's unit), so that no settlement ever rounds a
//! signed number.

use minicbor::{Decode, Encode};

/// Most prices in a schedule.
pub const MAX_PRICES: usize = 8;
/// Longest currency code, in bytes.
pub const MAX_CURRENCY: usize = 12;

/// What kind of delivery a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum PriceClass {
    /// Bytes to viewers.
    #[n(0)]
    Viewer,
    /// Bytes to other relays.
    #[n(1)]
    Peer,
    /// Bytes to another CDN that pulls through the relay.
    #[n(2)]
    Service,
}

/// The price of one kind of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Price {
    /// Which deliveries.
    #[n(0)]
    pub class: PriceClass,
    /// Micro-units for each GiB (2^30 bytes).
    #[n(1)]
    pub micro_per_gib: u64,
}

/// A price schedule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Prices {
    /// Code of the currency, such as `EUR` (ISO 4217): 1 to [`MAX_CURRENCY`] of `A-Z` and `0-9`.
    #[n(0)]
    pub currency: String,
    /// At most [`MAX_PRICES`], in rising order of their classes, each class once.
    #[n(1)]
    pub prices: Vec<Price>,
}

/// What one relay is paid at most in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Caps {
    /// Delivered body bytes that count.
    #[n(0)]
    pub bytes: Option<u64>,
    /// Micro-units.
    #[n(1)]
    pub micro: Option<u64>,
}

impl Prices {
    pub(super) fn is_sound(&self) -> bool {
        let code = (1..=MAX_CURRENCY).contains(&self.currency.len())
            && self.currency.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        code && self.prices.len() <= MAX_PRICES && self.prices.is_sorted_by(|one, next| one.class < next.class)
    }
}
