//! Reads the values of a tag: numbers, durations, flags, byte ranges (section 4.2).
//!
//! Invariant: a value that does not fit is an error that names its line; nothing is rounded to fit, wrapped or taken
//! for zero.

use std::time::Duration;

use crate::attribute::{Attribute, Attributes};
use crate::playlist::error::ReadError;

/// Longest duration that is believed, in seconds (about 31 years). Sums over a whole playlist then fit easily.
pub const MAX_SECONDS: u64 = 1_000_000_000;

/// A tag or, with an empty name, a URI line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'a> {
    pub(crate) line: usize,
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

impl<'a> Tag<'a> {
    pub(crate) fn malformed(&self, reason: &'static str) -> ReadError {
        ReadError::malformed(self.line, self.name, reason)
    }

    /// The whole value as a decimal integer.
    pub(crate) fn integer(&self) -> Result<u64, ReadError> {
        integer(self.value).ok_or_else(|| self.malformed("not a decimal integer of 64 bits"))
    }

    /// The value up to a comma as a duration.
    pub(crate) fn seconds(&self) -> Result<Duration, ReadError> {
        let number = self.value.split(',').next().unwrap_or_default();
        seconds(number).ok_or_else(|| self.malformed("not a duration in seconds"))
    }

    /// The whole value as a byte range.
    pub(crate) fn written_range(&self) -> Result<WrittenRange, ReadError> {
        written_range(self.value).ok_or_else(|| self.malformed("not a byte range"))
    }

    /// The value as an attribute list.
    pub(crate) fn fields(&self) -> Result<Fields<'a>, ReadError> {
        let list = Attributes::new(self.value)
            .collect::<Result<_, _>>()
            .map_err(|_| self.malformed("not an attribute list"))?;
        Ok(Fields { tag: *self, list })
    }
}

/// A byte range as written: length, and offset if there is one.
pub(crate) type WrittenRange = (u64, Option<u64>);

/// The attributes of a tag. Where a name stands twice, the first counts.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    tag: Tag<'a>,
    list: Vec<Attribute<'a>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// A value that must be there and not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, ReadError> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.tag.malformed("a required attribute is missing or empty"))
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<u64>, ReadError> {
        self.read(name, integer, "an attribute is not a decimal integer of 64 bits")
    }

    pub(crate) fn seconds(&self, name: &str) -> Result<Option<Duration>, ReadError> {
        self.read(name, seconds, "an attribute is not a duration in seconds")
    }

    pub(crate) fn written_range(&self, name: &str) -> Result<Option<WrittenRange>, ReadError> {
        self.read(name, written_range, "an attribute is not a byte range")
    }

    /// Whether the value is `YES`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("YES")
    }

    /// Reads the value if there is one.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        reason: &'static str,
    ) -> Result<Option<T>, ReadError> {
        self.text(name).map(|value| read(value).ok_or_else(|| self.tag.malformed(reason))).transpose()
    }
}

/// Digits only: no sign, no blanks.
pub(crate) fn integer(text: &str) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

/// A decimal number of seconds, `6`, `6.006`, `.5` or `6.`, exact to the nanosecond; further digits are cut off.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { integer(whole)? };
    let digits = &fraction[..fraction.len().min(9)];
    let scaled = if digits.is_empty() { 0 } else { integer(digits)? * 10_u64.pow(9 - digits.len() as u32) };
    let nanos = u32::try_from(scaled).ok()?;
    (whole <= MAX_SECONDS).then(|| Duration::new(whole, nanos))
}

fn written_range(text: &str) -> Option<WrittenRange> {
    Some(match text.split_once('@') {
        Some((length, offset)) => (integer(length)?, Some(integer(offset)?)),
        None => (integer(text)?, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_and_bounded() {
        assert_eq!(seconds("6.006"), Some(Duration::from_millis(6006)));
        assert_eq!(seconds("9.0089999999"), Some(Duration::new(9, 8_999_999)));
        assert_eq!(seconds(".5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("10."), Some(Duration::from_secs(10)));
        assert_eq!(seconds("1000000000.999999999"), Some(Duration::new(MAX_SECONDS, 999_999_999)));
        for wrong in ["", ".", "-1", "+1", "1e3", "inf", "NaN", "1000000001", "99999999999999999999", "1.x", "1..2"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn integers_do_not_wrap() {
        assert_eq!(integer("18446744073709551615"), Some(u64::MAX));
        for wrong in ["18446744073709551616", "", "-1", "+1", "1 ", "0x1", "١"] {
            assert_eq!(integer(wrong), None, "{wrong}");
        }
        assert_eq!(written_range("5@7"), Some((5, Some(7))));
        assert_eq!(written_range("5"), Some((5, None)));
        for wrong in ["@", "5@", "@5", "5@7@9", "5@-1"] {
            assert_eq!(written_range(wrong), None, "{wrong}");
        }
    }
}
