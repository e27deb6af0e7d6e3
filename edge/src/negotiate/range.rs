//! `Range` (RFC 9110 section 14). A relay answers one range; several at once are answered with the whole, which
//! section 14.2 allows and which keeps a client from multiplying its response.

use http::HeaderValue;

const UNIT: &str = "bytes=";
/// More than one range is never answered in parts, so nothing longer than one range is read.
const MAX_FIELD: usize = 128;

/// Inclusive positions of one part, within the representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub first: u64,
    /// Last byte, at least `first`.
    pub last: u64,
}

impl ByteRange {
    /// Number of bytes. At most `u64::MAX`, because `last` is below a length.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a `Range` field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeAnswer {
    /// Answer 200 with everything: no range, another unit, several ranges, or a field that makes no sense.
    Whole,
    /// Answer 206 with this part.
    Part(ByteRange),
    /// Answer 416.
    Unsatisfiable,
}

/// What a `Range` field asks for, whatever the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// From this byte on, to that one or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// Reads a `Range` field; `None` when it is answered with everything: another unit, several ranges, or a field that
/// makes no sense.
pub fn range_spec(field: &str) -> Option<RangeSpec> {
    let field = field.trim();
    let unit = field.get(..UNIT.len())?;
    if field.len() > MAX_FIELD || !unit.eq_ignore_ascii_case(UNIT) {
        return None;
    }
    let (first, last) = field[UNIT.len()..].trim().split_once('-')?;
    match (Position::parse(first), Position::parse(last)) {
        (Position::Absent, Position::At(count)) => Some(RangeSpec::Last(count)),
        (Position::At(first), Position::Absent) => Some(RangeSpec::From(first, None)),
        (Position::At(first), Position::At(last)) if first <= last => Some(RangeSpec::From(first, Some(last))),
        _ => None,
    }
}

/// What to answer to a `Range` field for a representation of `length` bytes.
pub fn parse_range(field: &str, length: u64) -> RangeAnswer {
    match range_spec(field) {
        None => RangeAnswer::Whole,
        Some(RangeSpec::Last(count)) => suffix(count, length),
        Some(RangeSpec::From(first, last)) => part(first, last.unwrap_or(u64::MAX), length),
    }
}

fn part(first: u64, last: u64, length: u64) -> RangeAnswer {
    if first >= length {
        return RangeAnswer::Unsatisfiable;
    }
    RangeAnswer::Part(ByteRange { first, last: last.min(length - 1) })
}

fn suffix(count: u64, length: u64) -> RangeAnswer {
    if count == 0 || length == 0 {
        return RangeAnswer::Unsatisfiable;
    }
    RangeAnswer::Part(ByteRange { first: length.saturating_sub(count), last: length - 1 })
}

enum Position {
    Absent,
    At(u64),
    Nonsense,
}

impl Position {
    /// Numbers have any length in the grammar; those above `u64::MAX` mean "beyond every representation".
    fn parse(text: &str) -> Self {
        if text.is_empty() {
            Self::Absent
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Self::At(text.parse().unwrap_or(u64::MAX))
        } else {
            Self::Nonsense
        }
    }
}

/// `Content-Range` of a 206; `length` is `None` while the whole length is unknown (section 14.4).
pub fn content_range(range: ByteRange, length: Option<u64>) -> HeaderValue {
    let ByteRange { first, last } = range;
    let text = match length {
        Some(length) => format!("bytes {first}-{last}/{length}"),
        None => format!("bytes {first}-{last}/*"),
    };
    HeaderValue::try_from(text).expect("digits and punctuation are a header value")
}

/// `Content-Range` of a 416.
pub fn unsatisfied_range(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits and punctuation are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(first: u64, last: u64) -> RangeAnswer {
        RangeAnswer::Part(ByteRange { first, last })
    }

    #[test]
    fn answers_the_forms_of_the_grammar() {
        use RangeAnswer::{Unsatisfiable, Whole};
        for (field, answer) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-99", part(0, 9)),
            ("bytes=5-9007199254740991", part(5, 9)),
            ("BYTES=1-2", part(1, 2)),
            (" bytes= 1-2 ", part(1, 2)),
            ("bytes=3-99999999999999999999999999", part(3, 9)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-11", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
            ("bytes=0-1,3-4", Whole),
            ("bytes=2-1", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1", Whole),
            ("items=0-1", Whole),
            ("", Whole),
            ("bytés=0-1", Whole),
        ] {
            assert_eq!(parse_range(field, 10), answer, "{field}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Unsatisfiable);
        assert_eq!(parse_range("bytes=-1", 0), Unsatisfiable);
        assert_eq!(parse_range(&format!("bytes={}1-2", "0".repeat(200)), 10), Whole);
    }

    #[test]
    fn content_ranges_are_written_as_the_standard_says() {
        assert_eq!(content_range(ByteRange { first: 1, last: 2 }, Some(10)), "bytes 1-2/10");
        assert_eq!(content_range(ByteRange { first: 1, last: 2 }, None), "bytes 1-2/*");
        assert_eq!(unsatisfied_range(10), "bytes */10");
    }

    proptest! {
        #[test]
        fn a_part_lies_inside(field in "(bytes=)?[-0-9, a=]{0,40}", length in any::<u64>()) {
            if let RangeAnswer::Part(range) = parse_range(&field, length) {
                prop_assert!(range.first <= range.last && range.last < length);
                prop_assert!(range.length() >= 1);
            }
        }

        #[test]
        fn a_plain_range_is_the_intersection(first in 0_u64..1000, extra in 0_u64..1000, length in 0_u64..1000) {
            let last = first + extra;
            let expected = if first < length { part(first, last.min(length - 1)) } else { RangeAnswer::Unsatisfiable };
            prop_assert_eq!(parse_range(&format!("bytes={first}-{last}"), length), expected);
        }
    }
}
