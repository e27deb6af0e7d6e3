//! How many leaves a tree has.
//!
//! Invariant: the text form is the decimal of C2SP `tlog-checkpoint`, without sign or leading zeros, so that one size
//! has one spelling.

/// A number of leaves. Leaf `i` is in every tree of more than `i` leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeSize(u64);

/// Why a text is not a tree size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree size is a decimal number below 2^64 without sign or leading zeros")]
pub struct ParseSizeError;

impl TreeSize {
    /// The tree without leaves.
    pub const EMPTY: Self = Self(0);

    /// Any 64-bit number is a size.
    pub const fn new(leaves: u64) -> Self {
        Self(leaves)
    }

    /// The number of leaves.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// One leaf more, or `None` when no 64-bit number is left.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(leaves) => Some(Self(leaves)),
            None => None,
        }
    }
}

impl std::fmt::Display for TreeSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TreeSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let leading_zero = text.len() > 1 && text.starts_with('0');
        if leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseSizeError);
        }
        text.parse().map(Self).map_err(|_| ParseSizeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_has_one_spelling() {
        for good in ["0", "7", "10", "18446744073709551615"] {
            assert_eq!(good.parse::<TreeSize>().map(|size| size.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "+1", "-1", "00", "01", " 1", "1 ", "1_0", "0x1", "18446744073709551616"] {
            assert_eq!(bad.parse::<TreeSize>(), Err(ParseSizeError), "{bad:?}");
        }
    }

    #[test]
    fn the_last_size_has_no_next() {
        assert_eq!(TreeSize::EMPTY.next(), Some(TreeSize::new(1)));
        assert_eq!(TreeSize::new(u64::MAX).next(), None);
    }
}
