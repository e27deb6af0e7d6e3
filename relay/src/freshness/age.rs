//! The age of a response on arrival (RFC 9111 section 4.2.3).

use super::dates;
use http::{HeaderMap, header};
use weir_protocol::time::UnixMillis;

const SECOND: u64 = 1000;
/// Larger ages are this old (RFC 9111 section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// Milliseconds: the larger of what `Age` says plus the time the request took, and what `Date` implies.
pub(super) fn initial(headers: &HeaderMap, asked: UnixMillis, received: UnixMillis) -> u64 {
    let delay = received.since(asked);
    // `Date` has seconds only: less than one second of apparent age is rounding.
    let apparent = dates::field(headers, header::DATE)
        .map_or(0, |date| received.0.saturating_sub(date))
        .checked_sub(SECOND)
        .map_or(0, |more| more + SECOND);
    match field(headers) {
        0 => apparent.max(delay),
        age => apparent.max(age * SECOND + delay),
    }
}

/// Seconds in the `Age` field: of a list, and of several lines, the first member counts; what is no number is ignored
/// (RFC 9111 section 5.1).
fn field(headers: &HeaderMap) -> u64 {
    let Some(line) = headers.get(header::AGE).and_then(|line| line.to_str().ok()) else { return 0 };
    let first = line.split(',').next().unwrap_or_default().trim();
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    first.parse().map_or(MAX_SECONDS, |age: u64| age.min(MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(lines: &[&'static str]) -> u64 {
        let lines = lines.iter().map(|line| (header::AGE, HeaderValue::from_static(line)));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        field(&headers)
    }

    #[test]
    fn the_first_member_counts_and_nonsense_is_ignored() {
        for (lines, age) in [
            (&[][..], 0),
            (&["30"][..], 30),
            (&["7200, 0"], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["+7200"], 0),
            (&["7200.0"], 0),
            (&["7200;foo=1"], 0),
            (&["2147483649"], MAX_SECONDS),
            (&["99999999999999999999999"], MAX_SECONDS),
        ] {
            assert_eq!(of(lines), age, "{lines:?}");
        }
    }
}
