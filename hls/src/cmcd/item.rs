//! Cuts a report into keys and values: the dictionary of RFC 8941 as players really write it. Version 1 is older than
//! its structured form: values are bare, numbers may stand where version 2 has lists, and strings may hold `\"`.
//!
//! Invariant: at most [`MAX_KEYS`] keys and [`MAX_ITEMS`] items of a list are read; what lies beyond is not looked at.

/// Keys of one report that are read.
pub(super) const MAX_KEYS: usize = 64;
/// Items of one list that are read.
pub(super) const MAX_ITEMS: usize = 16;

/// A bare item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bare {
    /// A key without a value, or `?1`, `?0`.
    Flag(bool),
    /// An integer or a decimal, in thousandths.
    Number(i64),
    /// Quoted.
    Text(String),
    /// Unquoted, and not a number.
    Token(String),
}

/// An item with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) bare: Bare,
    pub(super) parameters: Vec<(String, Bare)>,
}

/// The value of a key: one item, or the items of an inner list.
pub(super) type Value = Vec<Item>;

/// Every key with a value that can be read, in order.
pub(super) fn members(text: &str) -> impl Iterator<Item = (&str, Value)> {
    let mut reader = Reader { rest: text };
    let mut left = MAX_KEYS;
    std::iter::from_fn(move || {
        loop {
            reader.skip(|c| matches!(c, ' ' | '\t' | ','));
            if reader.rest.is_empty() || left == 0 {
                return None;
            }
            left -= 1;
            let key = reader.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*'));
            let value = (!key.is_empty()).then(|| reader.value()).flatten();
            let clean = reader.skip_member();
            if let Some(value) = value.filter(|_| clean) {
                return Some((key, value));
            }
        }
    })
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.take(what);
    }

    fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Goes to the comma behind this member, over quoted ones; true if only blanks lay before it.
    fn skip_member(&mut self) -> bool {
        self.skip(|c| matches!(c, ' ' | '\t'));
        let clean = self.rest.is_empty() || self.rest.starts_with(',');
        let mut quoted = false;
        let mut escaped = false;
        let end = self.rest.find(|c| {
            if escaped {
                escaped = false;
                return false;
            }
            match c {
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => {}
            }
            c == ',' && !quoted
        });
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
        clean
    }

    fn value(&mut self) -> Option<Value> {
        if !self.eat('=') {
            let parameters = self.parameters()?;
            return Some(vec![Item { bare: Bare::Flag(true), parameters }]);
        }
        if !self.eat('(') {
            return Some(vec![self.item()?]);
        }
        let mut items = Vec::new();
        loop {
            self.skip(|c| c == ' ');
            if self.eat(')') {
                self.parameters()?;
                return Some(items);
            }
            if items.len() == MAX_ITEMS {
                return None;
            }
            items.push(self.item()?);
        }
    }

    fn item(&mut self) -> Option<Item> {
        Some(Item { bare: self.bare()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Option<Vec<(String, Bare)>> {
        let mut out = Vec::new();
        while self.eat(';') {
            self.skip(|c| c == ' ');
            let name = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*'));
            if name.is_empty() || out.len() == MAX_ITEMS {
                return None;
            }
            let bare = if self.eat('=') { self.bare()? } else { Bare::Flag(true) };
            out.push((name.to_owned(), bare));
        }
        Some(out)
    }

    fn bare(&mut self) -> Option<Bare> {
        if self.eat('"') {
            return self.text().map(Bare::Text);
        }
        if self.eat('?') {
            return match self.take(|c| c.is_ascii_alphanumeric()) {
                "1" => Some(Bare::Flag(true)),
                "0" => Some(Bare::Flag(false)),
                _ => None,
            };
        }
        let token = self.take(|c| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '"' | '(' | ')' | '='));
        match token {
            "" => None,
            // Version 1 writes these words where version 2 has `?1` and `?0`.
            "true" => Some(Bare::Flag(true)),
            "false" => Some(Bare::Flag(false)),
            _ => Some(number(token).map_or_else(|| Bare::Token(token.to_owned()), Bare::Number)),
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(out);
                }
                '\\' => out.push(chars.next()?.1),
                c if c.is_control() => return None,
                c => out.push(c),
            }
        }
        None
    }
}

/// An integer or decimal in thousandths; more digits behind the point are cut off. `None` where it does not fit.
pub(super) fn number(token: &str) -> Option<i64> {
    let (sign, digits) = match token.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, token),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all(whole) || !all(part) {
        return None;
    }
    let part: i64 = format!("{:0<3}", &part[..part.len().min(3)]).parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(part)?.checked_mul(sign)
}
