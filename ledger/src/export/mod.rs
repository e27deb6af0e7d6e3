//! Settlements for those who pay: a Merkle distributor for a contract, and a list for a bank or a person.
//!
//! Both carry cumulative amounts, so that paying twice takes paying less than nothing the second time.

mod distributor;
mod payments;

pub use distributor::{Distributor, DistributorError};
pub use payments::payments_csv;
