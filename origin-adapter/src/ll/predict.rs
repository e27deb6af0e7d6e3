//! Guesses the URI of the segment after the last one that is listed. Invariant: a guess is made only where the last two
//! URIs differ in one number, and comes to nothing worse than a request for what is not there.

/// The URI after `before` and `last`, when they differ by one number that has grown.
pub(super) fn next(before: &str, last: &str) -> Option<String> {
    let (one, other) = (pieces(before), pieces(last));
    if one.len() != other.len() {
        return None;
    }
    let mut grown = None;
    for (index, (a, b)) in one.iter().zip(&other).enumerate() {
        if a == b {
            continue;
        }
        let (a, b) = (number(a)?, number(b)?);
        let step = b.checked_sub(a).filter(|step| *step > 0)?;
        if grown.replace((index, b.checked_add(step)?)).is_some() {
            return None;
        }
    }
    let (index, number) = grown?;
    let width = other[index].len();
    Some(
        other
            .iter()
            .enumerate()
            .map(|(at, piece)| if at == index { format!("{number:0width$}") } else { (*piece).to_owned() })
            .collect(),
    )
}

fn number(piece: &str) -> Option<u64> {
    piece.bytes().all(|byte| byte.is_ascii_digit()).then(|| piece.parse().ok()).flatten()
}

/// Runs of digits, and what is between them.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 1..bytes.len() {
        // Digits are ASCII, so this is always between two characters.
        if bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit() {
            pieces.push(&text[start..at]);
            start = at;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn one_number_goes_on() {
        for (before, last, expected) in [
            ("seg-8.m4s", "seg-9.m4s", Some("seg-10.m4s")),
            ("a/0099.m4s?v=2", "a/0100.m4s?v=2", Some("a/0101.m4s?v=2")),
            ("1/t-100000.mp4", "1/t-196000.mp4", Some("1/t-292000.mp4")),
            ("ü9", "ü10", Some("ü11")),
            ("s9", "s9", None),
            ("s9", "s8", None),
            ("s1-1", "s2-2", None),
            ("s9", "t10", None),
            ("a", "b", None),
            ("s18446744073709551614", "s18446744073709551615", None),
        ] {
            assert_eq!(next(before, last).as_deref(), expected, "{before} {last}");
        }
    }
}
