//! Statements whose numbers only grow.

use std::fmt;

use crate::statement::kind::Kind;
use crate::statement::signed::SelfSigned;

/// A statement whose numbers only grow.
pub trait Cumulative: SelfSigned {
    /// What statements that belong together have in common.
    type Series: Ord + Eq + fmt::Debug;
    /// The kind in a ledger.
    const KIND: Kind;

    /// Statements with the same of this have different counters.
    fn numbering(&self) -> Self::Series;
    /// Statements with the same of this have sums that grow with the counter.
    fn series(&self) -> Self::Series;
    /// The statement's number.
    fn counter(&self) -> u64;
    /// Whether a sum is smaller than an earlier statement of the same series has it.
    fn falls_behind(&self, earlier: &Self) -> bool;
}
