//! Where a relay wants to be paid: signed by the relay at any time, also after earning.
//!
//! Invariant: the highest serial counts, so an old message cannot bring back an old address.

use minicbor::{Decode, Encode};

use crate::ids::{PublisherId, RelayId};
use crate::statement::cumulative::Cumulative;
use crate::statement::error::StatementError;
use crate::statement::kind::Kind;
use crate::statement::signed::{SelfSigned, Statement};
use crate::time::UnixMillis;

/// Longest account text, in bytes.
pub const MAX_ACCOUNT: usize = 128;

/// A relay's payment address for one publisher.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PayeeChange {
    /// Who is to pay.
    #[n(0)]
    pub publisher: PublisherId,
    /// Who is to be paid, and signs.
    #[n(1)]
    pub relay: RelayId,
    /// Number of this change, from 1; the highest counts.
    #[n(2)]
    pub serial: u64,
    /// 20 bytes of an Ethereum-style address, for an export as Merkle distributor.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub address: Option<[u8; 20]>,
    /// An account for bank or manual payment: 1 to [`MAX_ACCOUNT`] bytes of printable ASCII that begin with a letter or
    /// a digit, so that no spreadsheet takes it for a formula. Public in the ledger's openings: a reference that the
    /// publisher understands serves as well as an account number.
    #[n(4)]
    pub account: Option<String>,
    /// When it was signed.
    #[n(5)]
    pub time: UnixMillis,
}

impl PayeeChange {
    /// Whether it names anything to pay to; a message that names nothing asks to be paid later.
    #[must_use]
    pub fn names_payee(&self) -> bool {
        self.address.is_some() || self.account.is_some()
    }
}

impl Statement for PayeeChange {
    const CONTEXT: &'static str = "weir/payee/1";
    const MAX: usize = 512;

    fn check(&self) -> Result<(), StatementError> {
        if self.serial == 0 {
            return Err(StatementError::Unfit("serial"));
        }
        let fit = |text: &String| {
            text.len() <= MAX_ACCOUNT
                && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        };
        if self.account.as_ref().is_some_and(|account| !fit(account)) {
            return Err(StatementError::Unfit("account"));
        }
        Ok(())
    }
}

impl SelfSigned for PayeeChange {
    fn signer(&self) -> Option<[u8; 32]> {
        self.relay.public_bytes()
    }
}

impl Cumulative for PayeeChange {
    type Series = (PublisherId, RelayId);
    const KIND: Kind = Kind::PayeeChange;

    fn numbering(&self) -> Self::Series {
        self.series()
    }

    fn series(&self) -> Self::Series {
        (self.publisher, self.relay)
    }

    fn counter(&self) -> u64 {
        self.serial
    }

    fn falls_behind(&self, _earlier: &Self) -> bool {
        false
    }
}
