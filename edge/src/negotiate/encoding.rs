//! Content coding (RFC 9110 section 12.5.3): whether a client takes gzip.

use http::{HeaderMap, header::ACCEPT_ENCODING};

/// True when the client accepts gzip and does not prefer the unencoded form to it. Without `Accept-Encoding` nothing
/// is encoded: any coding would be allowed, but such a client rarely decodes.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    for item in fields.flat_map(|field| field.split(',')) {
        let mut parts = item.split(';');
        let coding = parts.next().unwrap_or_default().trim();
        let slot = if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if coding.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if coding == "*" {
            &mut any
        } else {
            continue;
        };
        *slot = Some(weight(parts));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// Thousandths; a weight that makes no sense counts as a refusal, the safe side.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let Some(value) = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    }) else {
        return 1000;
    };
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{digits:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(field: &str) -> bool {
        accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, field.parse().unwrap())]))
    }

    #[test]
    fn weights_decide() {
        for yes in [
            "gzip",
            "GZip",
            "deflate, gzip, br",
            "x-gzip",
            "*",
            "gzip;q=0.5",
            "br;q=1.0, gzip ; q=0.001",
            "identity;q=0.5, gzip;q=1",
            "gzip, identity",
            "*;q=0, gzip",
        ] {
            assert!(accepts(yes), "{yes}");
        }
        for no in [
            "",
            "br",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "identity, gzip;q=0.5",
            "gzip;q=2",
            "gzip;q=x",
        ] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn any_text_is_decided(text in "[ -~]{0,60}") {
            let _ = accepts(&text);
        }

        #[test]
        fn a_positive_weight_is_a_yes(thousandths in 1_u16..=999) {
            let field = format!("gzip;q=0.{thousandths:03}");
            prop_assert!(accepts(&field));
        }
    }
}
