//! UTC instants as text for `EXT-X-PROGRAM-DATE-TIME` (RFC 8216 §4.3.2.6, ISO 8601 with milliseconds).
//!
//! Invariant: the proleptic Gregorian calendar without leap seconds, as Unix time has it.

use std::time::{Duration, SystemTime};

const DAY_MS: u128 = 86_400_000;

/// Formats an instant as `2026-01-02T03:04:05.678Z`. An instant before 1970 counts as 1970.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let (year, month, day) = civil(since / DAY_MS);
    let ms = since % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Year, month and day of the given day since 1970-01-01. Years begin in March here, so that the leap day is the last of
/// its year and the month's length follows one line (153 days in five months).
fn civil(day: u128) -> (u128, u128, u128) {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> String {
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }

    #[test]
    fn known_instants() {
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_735_689_599_500), "2024-12-31T23:59:59.500Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn agrees_with_an_independent_formatter_over_decades() {
        for day in 0..40_000_u64 {
            let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            let back = httpdate::HttpDate::from(instant).to_string();
            let (text, mut fields) = (rfc3339(instant), back.split([' ', ':']));
            let date: Vec<&str> = fields.by_ref().skip(1).take(3).collect();
            assert_eq!((&text[8..10], &text[..4]), (date[0], date[2]), "{back}");
        }
    }
}
