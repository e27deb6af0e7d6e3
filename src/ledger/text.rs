//! Numbers for people.

/// An amount of millionths in units of the currency: all six decimals, since money is not rounded for show.
pub(crate) fn amount(micro: u64, currency: &str) -> String {
    format!("{}.{:06} {currency}", micro / 1_000_000, micro % 1_000_000)
}

/// Bytes with spaces between thousands: exact, and readable.
pub(crate) fn bytes(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{amount, bytes};

    #[test]
    fn numbers_are_exact() {
        assert_eq!(amount(1_234_567, "EUR"), "1.234567 EUR");
        assert_eq!(amount(7, "EUR"), "0.000007 EUR");
        assert_eq!(
            ["0", "999", "1 000", "12 345 678"],
            [0, 999, 1000, 12_345_678].map(bytes).each_ref().map(String::as_str)
        );
    }
}
