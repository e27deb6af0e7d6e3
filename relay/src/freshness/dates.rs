//! HTTP dates (RFC 9110 section 5.6.7) as milliseconds: the three forms, in any case, and nothing that only looks like
//! one. The day of the week must be one, but need not be the right one: senders get it wrong, and it adds nothing.

use http::{HeaderMap, HeaderName};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The date in this text; `None` when it is none.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let fields: Vec<&str> = text.split(' ').collect();
    match *fields.as_slice() {
        [day, date, month, year, time, "gmt"] if is_short_day(day.strip_suffix(',')?) => {
            millis(digits(year, 4)?, month, digits(date, 2)?, time)
        }
        [day, date, time, "gmt"] if DAYS.contains(&day.strip_suffix(',')?) => {
            let mut parts = date.split('-');
            let (date, month, year) = (parts.next()?, parts.next()?, digits(parts.next()?, 2)?);
            // Two digits of the year: the century that makes the date lie nearest to the standard's time.
            let year = if year < 70 { 2000 + year } else { 1900 + year };
            parts.next().is_none().then(|| millis(year, month, digits(date, 2)?, time)).flatten()
        }
        [day, month, "", date, time, year] if is_short_day(day) => {
            millis(digits(year, 4)?, month, digits(date, 1)?, time)
        }
        [day, month, date, time, year] if is_short_day(day) => millis(digits(year, 4)?, month, digits(date, 2)?, time),
        _ => None,
    }
}

/// The date in a field that may stand once; `None` when there is none, when it stands twice or is no date.
pub(super) fn field(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    parse(first.to_str().ok()?)
}

fn is_short_day(text: &str) -> bool {
    text.len() == 3 && DAYS.iter().any(|day| day.starts_with(text))
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn millis(year: u64, month: &str, day: u64, time: &str) -> Option<u64> {
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u64;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let mut parts = time.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    // A leap second is the second before it.
    let inside = (1..=days_in).contains(&day) && hour < 24 && minute < 60 && second <= 60 && year >= 1970;
    if !inside || parts.next().is_some() {
        return None;
    }
    // Days since the epoch, counting years from March so that a leap day comes last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + (day - 1);
    let days = days.checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second.min(59)) * 1000)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn three_forms_in_any_case_and_nothing_else() {
        let at = Some(784_111_777_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 NOV 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            " Sunday, 06-Nov-94 08:49:37 GMT ",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), at, "{text}");
        }
        assert_eq!(parse("Wed Nov 16 08:49:37 1994"), at.map(|at| at + 10 * 86_400_000));
        assert_eq!(parse("Thu, 29 Feb 2024 23:59:60 GMT"), Some(1_709_251_199_000));
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Thu, 29 Feb 2023 08:49:37 GMT",
            "Day, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1969 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_u64..250_000_000_000) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(parse(&text), Some(seconds * 1000), "{}", text);
        }

        #[test]
        fn any_text_is_decided(text in "[ -~]{0,40}") {
            let _ = parse(&text);
        }
    }
}
