//! Times as logs write them (RFC 3339). No I/O.

use weir_protocol::UnixMillis;

/// Days from 1970-01-01 to a day of the Gregorian calendar; `None` if there is no such day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if !(1970..=9999).contains(&year) || !(1..=*length).contains(&day) {
        return None;
    }
    let before = year - 1;
    let whole = before * 365 + before / 4 - before / 100 + before / 400;
    let in_year: u64 = lengths.iter().take(usize::try_from(month - 1).ok()?).sum();
    // Days from the year 1 to 1970.
    (whole + in_year + day - 1).checked_sub(719_162)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A date, `2026-01-31`, and a time of day, `12:30:00` or `12:30:00.25`, both in UTC.
pub(super) fn utc(date: &str, time: &str) -> Option<UnixMillis> {
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = whole.split(':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // A leap second is the last one of its minute.
    if date.next().is_some() || parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = number(fraction.get(..3).unwrap_or(fraction), fraction.len().min(3))?
        * [100, 100, 10, 1].get(fraction.len().min(3)).copied()?;
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    Some(UnixMillis(seconds * 1000 + fraction))
}

/// A time of RFC 3339 in UTC, or whole milliseconds since 1970.
pub(super) fn time(text: &str) -> Option<UnixMillis> {
    if let Ok(ms) = text.parse() {
        return Some(UnixMillis(ms));
    }
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, time) = text.split_once(['T', 't', ' '])?;
    utc(date, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-11-26T16:38:19.25Z", 1_795_711_099_250),
            ("2026-11-26 16:38:19.123456+00:00", 1_795_711_099_123),
            ("1795711099250", 1_795_711_099_250),
        ] {
            assert_eq!(time(text), Some(UnixMillis(ms)), "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "2026-11-26",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+02:00",
            "2026-1-01T00:00:00Z",
            "2026-01-01T00:00Z",
            "-5",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.xZ",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
