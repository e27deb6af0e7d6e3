//! The `Date` field (RFC 9110 section 6.6.1), formatted once a second instead of once a response.

use arc_swap::ArcSwap;
use http::HeaderValue;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The last formatted date. Cheap to read from many tasks.
pub(super) struct Dates {
    last: ArcSwap<(u64, HeaderValue)>,
}

impl Dates {
    pub(super) fn new() -> Self {
        Self { last: ArcSwap::from_pointee(format(0)) }
    }

    /// The field's value for `now`.
    pub(super) fn at(&self, now: SystemTime) -> HeaderValue {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let last = self.last.load();
        if last.0 == second {
            return last.1.clone();
        }
        let fresh = format(second);
        let value = fresh.1.clone();
        self.last.store(Arc::new(fresh));
        value
    }
}

fn format(second: u64) -> (u64, HeaderValue) {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    (second, HeaderValue::from_str(&date).expect("an HTTP date is visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_clock() {
        let dates = Dates::new();
        let start = UNIX_EPOCH + Duration::from_millis(784_111_777_000);
        assert_eq!(dates.at(start), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(dates.at(start + Duration::from_millis(999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(dates.at(start + Duration::from_secs(1)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
