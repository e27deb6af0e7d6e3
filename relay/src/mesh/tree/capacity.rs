//! How many relays one can feed. Invariant: what all renditions together take of a line stays within the part that trees
//! are given; who could feed only one is a leaf.

/// A relay that feeds fewer than this only makes ways longer.
pub const LEAST_CHILDREN: usize = 2;
/// The most that one relay feeds of one rendition, however fast its line is: it is one relay that may die.
pub const MOST_CHILDREN: usize = 16;

/// Children that a relay can feed of one rendition when trees may take `line` bits a second for all `renditions` that it
/// follows, of which this one takes `each` bits a second for each child.
pub fn children(line: f64, renditions: usize, each: f64) -> usize {
    let children = line / renditions.max(1) as f64 / each.max(1.0);
    // A negative or infinite quotient saturates.
    match (children as usize).min(MOST_CHILDREN) {
        few if few < LEAST_CHILDREN => 0,
        children => children,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shared_by_renditions_and_too_little_is_nothing() {
        assert_eq!([1, 2, 3, 8, 9].map(|count| children(50e6, count, 3e6)), [16, 8, 5, 2, 0]);
        assert_eq!([0.0, 5.9e6, 6e6, 1e12].map(|line| children(line, 0, 3e6)), [0, 0, 2, MOST_CHILDREN]);
        assert_eq!(children(f64::NAN, 1, 0.0), 0);
    }
}
