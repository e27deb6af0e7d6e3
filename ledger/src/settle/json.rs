//! Canonical JSON (RFC 8785): one value, one text.
//!
//! Invariant: numbers are integers below 2^53, which every JSON reader carries exactly.

use serde_json::Value;

/// Largest integer that an IEEE 754 double carries without neighbours.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A number that is no integer below 2^53.
    #[error("{0} is no integer below 2^53: settle in a coarser unit, or in shorter epochs")]
    Number(String),
    /// A value that serde cannot represent.
    #[error("{0}")]
    Value(String),
}

/// The canonical text, without a line feed at the end.
///
/// # Errors
/// [`JsonError`].
pub fn canonical<T: serde::Serialize>(value: &T) -> Result<String, JsonError> {
    let value = serde_json::to_value(value).map_err(|error| JsonError::Value(error.to_string()))?;
    let mut text = String::new();
    write(&value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<(), JsonError> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_u64().filter(|number| *number <= MAX_INTEGER) {
            Some(number) => text.push_str(&number.to_string()),
            None => return Err(JsonError::Number(number.to_string())),
        },
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            // RFC 8785 section 3.2.3 sorts by UTF-16 code units.
            members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            text.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(value, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2: the short escapes where there are some, `\u00xx` for other control characters, nothing else.
fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::{JsonError, canonical};
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 8785 section 3.2.3: sorted by UTF-16 code units.
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let text = canonical(&value).unwrap_or_default();
        let order = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"];
        let places: Vec<_> = order.iter().map(|name| text.find(name)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        // Section 3.2.2.2.
        let string = json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/");
        assert_eq!(canonical(&string).as_deref(), Ok(r#""€$\u000f\nA'B\"\\\\\"/""#));
    }

    #[test]
    fn numbers_that_not_everybody_can_read_are_refused() {
        assert_eq!(canonical(&json!([0, 9_007_199_254_740_991_u64])).as_deref(), Ok("[0,9007199254740991]"));
        for bad in [json!(9_007_199_254_740_992_u64), json!(-1), json!(0.5)] {
            assert!(matches!(canonical(&bad), Err(JsonError::Number(_))), "{bad}");
        }
    }
}
