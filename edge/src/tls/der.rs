//! Just enough DER (X.690) to read a certificate's validity and public key (RFC 5280 section 4.1). Invariant: never
//! reads outside its input, whatever that holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What we read of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    /// First moment of validity.
    pub(super) not_before: SystemTime,
    /// Last moment of validity.
    pub(super) not_after: SystemTime,
    /// SubjectPublicKeyInfo with its header.
    pub(super) public_key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a DER certificate; `None` when it is not one.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let (certificate, _) = expect(der, SEQUENCE)?;
        let (mut fields, _) = expect(certificate, SEQUENCE)?;
        if fields.first() == Some(&EXPLICIT_VERSION) {
            fields = element(fields)?.rest;
        }
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            fields = element(fields)?.rest;
        }
        let (validity, fields) = expect(fields, SEQUENCE)?;
        let begin = element(validity)?;
        let end = element(begin.rest)?;
        let public_key = element(element(fields)?.rest)?;
        Some(Self {
            not_before: time(begin.tag, begin.content)?,
            not_after: time(end.tag, end.content)?,
            public_key: public_key.whole,
        })
    }
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn element(input: &[u8]) -> Option<Element<'_>> {
    let (&tag, after_tag) = input.split_first()?;
    let (&first, mut body) = after_tag.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, rest) = body.split_at_checked(usize::from(first & 0x7f))?;
        body = rest;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
    };
    let (content, rest) = body.split_at_checked(length)?;
    let whole = input.get(..input.len() - rest.len())?;
    Some(Element { tag, content, whole, rest })
}

fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(input).filter(|element| element.tag == tag).map(|element| (element.content, element.rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; two-digit years below 50 are of this century (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |text: &[u8]| text.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |place: usize| number(&rest[place..place + 2]);
    let (month, day, hour, minute, second) = (part(0), part(2), part(4), part(6), part(8));
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, counted in years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (since_march * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_follow_the_calendar() {
        let unix = |tag, text: &[u8]| {
            time(tag, text).map(|time| time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs())
        };
        assert_eq!(unix(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(unix(UTC_TIME, b"000229120000Z"), Some(951_825_600));
        assert_eq!(unix(GENERALIZED_TIME, b"20380119031408Z"), Some(2_147_483_648));
        assert_eq!(unix(GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        assert_eq!(unix(UTC_TIME, b"001301000000Z"), None);
        assert_eq!(unix(UTC_TIME, b"0001010000Z"), None);
        assert_eq!(unix(UTC_TIME, b""), None);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::read(&bytes);
            let mut nested = vec![0x30, 0x81, 0xff, 0x30, 0x81, 0xf0];
            nested.extend(&bytes);
            nested.resize(258, 0x30);
            let _ = Certificate::read(&nested);
        }
    }
}
