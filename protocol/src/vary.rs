//! Which of several representations a request selects (RFC 9111 section 4.1): the field names of a response's `Vary`
//! and the values that a request has for them, brought to one form, become a [`VariantKey`].
//!
//! Invariant: adapter and relays compute the same key from the same response and request, so a relay can tell whether
//! the representation it is handed is the one it asked for; two requests share a key only if every listed field means
//! the same in both.

use crate::resource::VariantKey;

/// Field names that one `Vary` may list and still be stored; more are treated like `*`.
pub const MAX_VARY: usize = 16;
/// BLAKE3 key-derivation context of a variant key.
pub const VARIANT_CONTEXT: &str = "weir/variant/1";

/// Fields that never select among what is stored: bodies are asked for without a content coding, and a shared response
/// is open to every origin.
const IGNORED: [&str; 2] = ["accept-encoding", "origin"];

/// What a response varies by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Vary {
    /// `*`: by something that no request field tells. Such a response answers only the request it was made for.
    Anything,
    /// By these request fields: lower-case, sorted, each once; perhaps none.
    Fields(Vec<String>),
}

impl Vary {
    /// Reads all `Vary` fields of a response. A member that is no field name counts as `*`.
    pub fn parse<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Vec::new();
        for member in fields.into_iter().flat_map(|field| field.split(',')).map(str::trim) {
            if member.is_empty() {
                continue;
            }
            let name = member.to_ascii_lowercase();
            if !name.bytes().all(is_name_byte) || name == "*" {
                return Self::Anything;
            }
            if !IGNORED.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.dedup();
        if names.len() > MAX_VARY { Self::Anything } else { Self::Fields(names) }
    }

    /// True when every request gets the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Fields(names) if names.is_empty())
    }

    /// True when this field (in lower case) is listed.
    #[must_use]
    pub fn lists(&self, name: &str) -> bool {
        matches!(self, Self::Fields(names) if names.iter().any(|listed| listed == name))
    }

    /// The variant that a request selects; `values` gives the lines of a request field. `None` when there is only one
    /// representation, or none that could be shared.
    #[must_use]
    pub fn variant(&self, values: impl Fn(&str) -> Vec<String>) -> Option<VariantKey> {
        let Self::Fields(names) = self else { return None };
        if names.is_empty() {
            return None;
        }
        let mut text = Vec::new();
        for name in names {
            push(&mut text, name.as_bytes());
            let lines = values(name);
            // Absent and empty are two things.
            text.push(u8::from(!lines.is_empty()));
            if !lines.is_empty() {
                push(&mut text, normalise(name, &lines).as_bytes());
            }
        }
        let hash = blake3::derive_key(VARIANT_CONTEXT, &text);
        let text = format!("vary={}", data_encoding::HEXLOWER.encode(&hash[..16]));
        Some(VariantKey::new(&text).expect("37 printable ASCII characters"))
    }
}

/// Length and bytes, so that two lists never run into one another.
fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The one form of a request field's value: lines joined in their order (RFC 9110 section 5.3), white space around
/// list members removed; of `Accept-Language` also case and order, as far as weights leave them open.
#[must_use]
pub fn normalise(name: &str, lines: &[String]) -> String {
    let members: Vec<&str> = lines.iter().flat_map(|line| members(line)).map(str::trim).collect();
    if name == "accept-language" {
        let ranked = languages(members.iter().copied());
        let mut text = String::new();
        for (tag, thousandths) in ranked {
            text.push_str(&format!("{tag};q={thousandths},"));
        }
        return text;
    }
    members.join(",")
}

/// Language ranges of an `Accept-Language` field in lower case with their weights in thousandths, best first, equal
/// ones in alphabetical order; refused ones (weight 0) are left out, and so is what makes no sense.
pub fn languages<'a>(members: impl Iterator<Item = &'a str>) -> Vec<(String, u16)> {
    let mut ranked: Vec<(String, u16)> = members
        .filter_map(|member| {
            let (tag, weight) = match member.split_once(';') {
                Some((tag, parameter)) => {
                    let value = parameter.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?;
                    (tag, thousandths(value.trim())?)
                }
                None => (member, 1000),
            };
            let tag = tag.trim();
            (!tag.is_empty() && weight > 0).then(|| (tag.to_ascii_lowercase(), weight))
        })
        .collect();
    ranked.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    ranked.dedup();
    ranked
}

/// RFC 9110 section 12.4.2.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

/// List members of one line; commas inside quoted strings do not part them.
fn members(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// RFC 9110 section 5.6.2.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{MAX_VARY, Vary};
    use proptest::prelude::*;

    fn variant(vary: &str, fields: &[(&str, &str)]) -> Option<String> {
        let values = |name: &str| {
            fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| (*value).to_owned()).collect()
        };
        Vary::parse([vary]).variant(values).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn names_are_read_and_stars_found() {
        assert_eq!(Vary::parse(["Foo , bar", "", "FOO,"]), Vary::Fields(vec!["bar".into(), "foo".into()]));
        assert!(Vary::parse(["Accept-Encoding, Origin"]).is_none() && Vary::parse([]).is_none());
        for star in [&["*"][..], &["Foo, *"], &["", "*"], &["a b"], &["x*, *"]] {
            assert_eq!(Vary::parse(star.iter().copied()), Vary::Anything, "{star:?}");
        }
        let many: Vec<String> = (0..=MAX_VARY).map(|at| format!("f{at}")).collect();
        assert_eq!(Vary::parse([many.join(",").as_str()]), Vary::Anything);
        assert!(Vary::parse(["Cookie"]).lists("cookie"));
    }

    #[test]
    fn requests_that_mean_the_same_share_a_variant() {
        for (vary, one, other) in [
            ("foo", &[("foo", "1, 2")][..], &[("foo", "1"), ("foo", "2")][..]),
            ("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")]),
            ("foo, bar", &[("foo", "1")], &[("foo", "1"), ("other", "x")]),
            ("accept-language", &[("accept-language", "en, de")], &[("accept-language", " dE ,   EN")]),
            ("accept-language", &[("accept-language", "en;q=1.0, de;q=0.5")], &[("accept-language", "de;q=0.500,en")]),
        ] {
            assert_eq!(variant(vary, one).unwrap(), variant(vary, other).unwrap(), "{one:?} {other:?}");
        }
        for (vary, one, other) in [
            ("foo", &[("foo", "1")][..], &[("foo", "2")][..]),
            ("foo", &[("foo", "1")], &[]),
            ("foo", &[("foo", "")], &[]),
            ("foo", &[("foo", "a b")], &[("foo", "ab")]),
            ("foo, bar", &[("foo", "1"), ("bar", "2")], &[("foo", "2"), ("bar", "1")]),
            ("foo, bar", &[("foo", "1")], &[("bar", "1")]),
            ("accept-language", &[("accept-language", "en, de;q=0.9")], &[("accept-language", "en;q=0.9, de")]),
        ] {
            assert_ne!(variant(vary, one), variant(vary, other), "{one:?} {other:?}");
        }
        assert_eq!(variant("*", &[]), None);
        assert_eq!(variant("Accept-Encoding", &[("accept-encoding", "br")]), None);
    }

    proptest! {
        #[test]
        fn white_space_and_lines_make_no_difference_and_members_do(
            members in proptest::collection::vec("[a-z0-9]{1,6}", 1..5),
            split in 0_usize..5,
            space in "[ \t]{0,3}",
        ) {
            let one = [members.join(",")];
            let spaced = |part: &[String]| part.iter().map(|m| format!("{space}{m}{space}")).collect::<Vec<_>>().join(",");
            let at = split.min(members.len());
            let lines: Vec<String> =
                [&members[..at], &members[at..]].iter().filter(|part| !part.is_empty()).map(|part| spaced(part)).collect();
            let of = |lines: &[String]| Vary::parse(["x"]).variant(|_| lines.to_vec()).unwrap();
            prop_assert_eq!(of(&one), of(&lines));
            let mut other = members.clone();
            other.push("z".into());
            prop_assert_ne!(of(&one), of(&[other.join(",")]));
        }

        #[test]
        fn any_vary_is_decided(text in "[ -~]{0,60}", value in "[ -~]{0,60}") {
            if let Some(key) = Vary::parse([text.as_str()]).variant(|_| vec![value.clone()]) {
                prop_assert!(crate::part::Part::of(&key).is_none());
            }
        }
    }
}
