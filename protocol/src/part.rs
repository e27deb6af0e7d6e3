//! Parts of representations as resources of their own: a large body that is asked for by range is fetched, signed, spread
//! and stored slice by slice. A part's variant key names it, so owners, coalescing and records work as for anything else.
//!
//! Invariant: a variant key that names a part has one form, and no `Vary` makes one like it.

use std::fmt;

use crate::resource::VariantKey;

/// Bytes of a slice.
pub const SLICE: u64 = 2 * 1024 * 1024;

/// A part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The bytes from `index * SLICE` on, at most [`SLICE`] of them.
    Slice(u64),
    /// The last so many bytes, for whoever does not know the length yet.
    Tail(u64),
}

impl Part {
    /// The slice that holds this byte.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self::Slice(offset / SLICE)
    }

    /// The part that a variant key names; `None` for any other variant.
    #[must_use]
    pub fn of(variant: &VariantKey) -> Option<Self> {
        let (kind, number) = variant.as_str().split_once('=')?;
        let number: u64 = number.parse().ok()?;
        let part = match kind {
            "slice" if number < u64::MAX / SLICE => Self::Slice(number),
            "tail" if number > 0 => Self::Tail(number),
            _ => return None,
        };
        // "slice=07" is no name.
        (part.variant() == *variant).then_some(part)
    }

    /// The variant key that names it.
    #[must_use]
    pub fn variant(self) -> VariantKey {
        VariantKey::new(&self.to_string()).expect("a word and digits are printable")
    }

    /// The value of the `Range` field that asks for it (RFC 9110 section 14.2).
    #[must_use]
    pub fn range(self) -> String {
        match self {
            Self::Slice(index) => format!("bytes={}-{}", index * SLICE, index * SLICE + (SLICE - 1)),
            Self::Tail(count) => format!("bytes=-{count}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slice(index) => write!(f, "slice={index}"),
            Self::Tail(count) => write!(f, "tail={count}"),
        }
    }
}

/// Where a part lies in its representation, as `Content-Range` says (RFC 9110 section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// First byte.
    pub first: u64,
    /// Last byte, at least `first`.
    pub last: u64,
    /// Length of the whole, more than `last`.
    pub total: u64,
}

impl Place {
    /// Reads a `Content-Range` of a 206; `None` when it is another unit, makes no sense, or leaves the length open.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        let (range, total) = field.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let place = Self { first: number(first)?, last: number(last)?, total: number(total)? };
        (place.first <= place.last && place.last < place.total).then_some(place)
    }

    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// True when it is everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.length() == self.total
    }

    /// True when this is what `part` names: a slice from its first byte to its last or the body's.
    #[must_use]
    pub fn answers(&self, part: Part) -> bool {
        match part {
            Part::Slice(index) => {
                let first = index * SLICE;
                self.first == first && self.last == (first + (SLICE - 1)).min(self.total - 1)
            }
            // Whatever the length turns out to be, the place says where the bytes lie.
            Part::Tail(_) => true,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Part, Place, SLICE};
    use crate::resource::VariantKey;
    use proptest::prelude::*;

    #[test]
    fn a_part_has_one_name() {
        for part in [Part::Slice(0), Part::Slice(7), Part::Tail(1), Part::at(SLICE), Part::at(u64::MAX - 2 * SLICE)] {
            assert_eq!(Part::of(&part.variant()), Some(part));
        }
        for other in ["slice=07", "slice=-1", "slice=", "slice", "tail=0", "vary=00", "slice=99999999999999999999"] {
            assert_eq!(Part::of(&VariantKey::new(other).unwrap()), None, "{other}");
        }
        assert_eq!(Part::Slice(1).range(), "bytes=2097152-4194303");
        assert_eq!(Part::Tail(5).range(), "bytes=-5");
    }

    #[test]
    fn places_are_coherent_or_none() {
        let place = Place::parse("bytes 0-4/10").unwrap();
        assert_eq!((place.length(), place.is_whole()), (5, false));
        assert!(Place::parse("bytes 0-9/10").unwrap().is_whole());
        for bad in
            ["bytes 4-3/10", "bytes 0-10/10", "bytes 0-4/*", "bytes */10", "items 0-4/10", "bytes 0-+4/10", "0-4/10"]
        {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
        let at = |first, last, total| Place { first, last, total };
        assert!(at(0, SLICE - 1, 3 * SLICE).answers(Part::Slice(0)));
        assert!(at(2 * SLICE, 3 * SLICE - 5, 3 * SLICE - 4).answers(Part::Slice(2)));
        assert!(!at(0, 9, 3 * SLICE).answers(Part::Slice(0)) && !at(1, SLICE, 3 * SLICE).answers(Part::Slice(0)));
    }

    proptest! {
        #[test]
        fn slices_cover_a_body_without_gap_or_overlap(total in 1_u64..20 * SLICE, at in 0_u64..20 * SLICE) {
            let at = at % total;
            let Part::Slice(index) = Part::at(at) else { unreachable!("a byte lies in a slice") };
            let first = index * SLICE;
            let place = Place { first, last: (first + SLICE - 1).min(total - 1), total };
            prop_assert!(place.answers(Part::at(at)) && (place.first..=place.last).contains(&at));
            let text = format!("bytes {}-{}/{total}", place.first, place.last);
            prop_assert_eq!(Place::parse(&text), Some(place));
            if place.last + 1 < total {
                prop_assert_eq!(Part::at(place.last + 1), Part::Slice(index + 1));
            }
        }

        #[test]
        fn any_content_range_is_decided(text in "[ -~]{0,40}") {
            if let Some(place) = Place::parse(&text) {
                prop_assert!(place.first <= place.last && place.last < place.total);
            }
        }
    }
}
