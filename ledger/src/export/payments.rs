//! A list for bank or manual payment.

use std::fmt::Write as _;

use crate::settle::{PayStatus, Settlement};

/// Cumulative amounts as CSV: pay each account the difference to what it was paid before. Amounts in units of the
/// currency have six decimals.
#[must_use]
pub fn payments_csv(settlement: &Settlement) -> String {
    let mut text = String::from("relay,account,address,currency,cumulative_micro,cumulative,status\r\n");
    for payable in &settlement.payouts {
        let status = match payable.status {
            PayStatus::Due => "due",
            PayStatus::BelowMinimum => "below_minimum",
            PayStatus::NoPayee => "no_payee",
        };
        let (units, millionths) = (payable.cumulative / 1_000_000, payable.cumulative % 1_000_000);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{},{},{},{},{},{units}.{millionths:06},{status}\r\n",
            payable.relay,
            crate::settle::csv_field(payable.account.as_deref().unwrap_or_default()),
            payable.address.as_deref().unwrap_or_default(),
            settlement.currency,
            payable.cumulative,
        );
    }
    text
}
