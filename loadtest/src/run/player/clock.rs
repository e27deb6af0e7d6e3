//! `EXT-X-PROGRAM-DATE-TIME` (section 4.4.4.6): when the media was made, so that a player knows how far behind it is.

/// The date of the first segment that has one: its index among the playlist's segments, and seconds since 1970.
pub(crate) fn first_date(playlist: &[u8]) -> Option<(usize, f64)> {
    let mut index = 0;
    for line in playlist.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if let Some(value) = line.strip_prefix(b"#EXT-X-PROGRAM-DATE-TIME:") {
            return Some((index, read(std::str::from_utf8(value).ok()?)?));
        }
        if !line.is_empty() && !line.starts_with(b"#") {
            index += 1;
        }
    }
    None
}

/// Reads `2026-01-02T03:04:05.678Z`, also with an offset such as `+01:00` or `+0100`; without one it is UTC.
pub(crate) fn read(text: &str) -> Option<f64> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) =
        (date.next()?.parse::<i64>().ok()?, date.next()?.parse::<i64>().ok()?, date.next()?.parse::<i64>().ok()?);
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (&time[..at], offset(&time[at..])?),
        None => (time, 0.0),
    };
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u32>().ok()?, time.next()?.parse::<u32>().ok()?);
    let second = time.next().map_or(Some(0.0), |second| second.parse::<f64>().ok())?;
    if hour > 24 || minute > 59 || !(0.0..61.0).contains(&second) {
        return None;
    }
    let clock = f64::from(hour) * 3600.0 + f64::from(minute) * 60.0 + second;
    Some(days(year, month, day) as f64 * 86_400.0 + clock - offset)
}

fn offset(text: &str) -> Option<f64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1.0,
        b'-' => -1.0,
        _ => return (text.len() == 1).then_some(0.0),
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) =
        (digits.get(..2)?.parse::<u32>().ok()?, digits.get(2..4).unwrap_or("0").parse::<u32>().ok()?);
    (hours <= 24 && minutes <= 59).then(|| sign * (f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0))
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_offsets() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2026-01-01T00:00:00.500Z", 1_767_225_600.5),
            ("2024-02-29T12:00:00+01:00", 1_709_204_400.0),
            ("2024-02-29T10:00:00-0100", 1_709_204_400.0),
            ("2000-03-01T00:00:00", 951_868_800.0),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in
            ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00+x"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_date_belongs_to_the_segment_that_follows() {
        let text = b"#EXTM3U\n#EXTINF:2,\na\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:00Z\r\n#EXTINF:2,\nb\n";
        assert_eq!(first_date(text), Some((1, 60.0)));
        assert_eq!(first_date(b"#EXTM3U\na\n"), None);
    }
}
