//! One line of a log: JSON, CSV with a row of names (RFC 4180), or the W3C extended log format with its `#Fields`.
//!
//! Invariant: a line is a row, or nothing (empty, a remark), or an error that says what is wrong with it; nothing of a
//! token is in an error.

use super::time::{time, utc};
use serde_json::Value;
use weir_protocol::UnixMillis;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) time: UnixMillis,
    /// A relay's id, or the host that it was pulled from.
    pub(super) relay: String,
    /// The token, its SHA-256 in hexadecimal, or a query or URL that holds it.
    pub(super) token: String,
    /// Bytes of body.
    pub(super) bytes: u64,
}

/// Where in a row of values something stands.
#[derive(Debug, Default, Clone)]
struct Columns {
    time: Option<usize>,
    /// W3C has date and time of day apart.
    date: Option<usize>,
    relay: Option<usize>,
    token: Option<usize>,
    bytes: Option<usize>,
}

#[derive(Debug, Clone)]
enum Form {
    Unknown,
    Json,
    Csv(Columns),
    W3c(Columns),
}

/// Reads the lines of one file.
#[derive(Debug, Clone)]
pub(super) struct Lines(Form);

impl Lines {
    pub(super) fn new() -> Self {
        Self(Form::Unknown)
    }

    /// Reads the next line.
    pub(super) fn read(&mut self, line: &str) -> Result<Option<Row>, String> {
        let line = line.trim_end_matches(['\r', '\n']).trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            return Ok(None);
        }
        if let Form::Unknown = self.0 {
            self.0 = match line.as_bytes().first() {
                Some(b'{') => Form::Json,
                Some(b'#') => Form::W3c(Columns::default()),
                _ => {
                    let columns = named(&cells(line)?)?;
                    columns.complete()?;
                    self.0 = Form::Csv(columns);
                    return Ok(None);
                }
            };
        }
        match &mut self.0 {
            Form::Json | Form::Unknown => json(line).map(Some),
            Form::Csv(columns) => columns.row(&cells(line)?).map(Some),
            Form::W3c(columns) => match line.strip_prefix('#') {
                Some(remark) => {
                    if let Some(fields) = remark.strip_prefix("Fields:") {
                        let names: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
                        *columns = named(&names)?;
                        columns.complete()?;
                    }
                    Ok(None)
                }
                None => {
                    let values: Vec<String> =
                        line.split([' ', '\t']).filter(|value| !value.is_empty()).map(str::to_owned).collect();
                    columns.complete()?;
                    columns.row(&values).map(Some)
                }
            },
        }
    }
}

fn named(names: &[String]) -> Result<Columns, String> {
    let mut columns = Columns::default();
    for (at, name) in names.iter().enumerate() {
        let slot = match name.trim().to_ascii_lowercase().as_str() {
            "date" => &mut columns.date,
            "time" => &mut columns.time,
            "relay" | "x-relay" | "s-host" => &mut columns.relay,
            "token" | "x-token" | "cs-uri-query" => &mut columns.token,
            "bytes" | "sc-bytes" => &mut columns.bytes,
            _ => continue,
        };
        if slot.replace(at).is_some() {
            return Err(format!("two columns say {name}"));
        }
    }
    Ok(columns)
}

impl Columns {
    fn complete(&self) -> Result<(), String> {
        let wanted = [
            (self.time, "time"),
            (self.relay, "relay (or x-relay, s-host)"),
            (self.token, "token (or x-token, cs-uri-query)"),
            (self.bytes, "bytes (or sc-bytes)"),
        ];
        match wanted.iter().find(|(column, _)| column.is_none()) {
            Some((_, name)) => Err(format!("no column is named {name}")),
            None => Ok(()),
        }
    }

    fn row(&self, values: &[String]) -> Result<Row, String> {
        let value = |column: Option<usize>, name: &str| {
            column.and_then(|at| values.get(at)).map(|value| value.trim()).ok_or_else(|| format!("there is no {name}"))
        };
        let said = value(self.time, "time")?;
        let when = match self.date {
            None => time(said),
            Some(_) => utc(value(self.date, "date")?, said),
        };
        let when =
            when.ok_or_else(|| format!("{said:?} is no time: 2026-01-31T12:30:00Z, or milliseconds since 1970"))?;
        let bytes = value(self.bytes, "bytes")?;
        let bytes = bytes.parse().map_err(|_| format!("{bytes:?} is no number of bytes"))?;
        let (relay, token) = (value(self.relay, "relay")?.to_owned(), value(self.token, "token")?.to_owned());
        Ok(Row { time: when, relay, token, bytes })
    }
}

fn json(line: &str) -> Result<Row, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name}: a text is missing"));
    let when = match &value["time"] {
        Value::String(said) => time(said),
        Value::Number(ms) => ms.as_u64().map(UnixMillis),
        _ => None,
    };
    let when = when.ok_or("time: 2026-01-31T12:30:00Z as text, or milliseconds since 1970 as a number, is missing")?;
    let bytes = value["bytes"].as_u64().ok_or("bytes: a whole number is missing")?;
    Ok(Row { time: when, relay: text("relay")?, token: text("token")?, bytes })
}

/// The cells of a line of CSV.
fn cells(line: &str) -> Result<Vec<String>, String> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (cell, behind) = rest.split_once(',').map_or((rest, None), |(cell, behind)| (cell, Some(behind)));
            found.push(cell.to_owned());
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(found),
            }
            continue;
        };
        let (mut cell, mut inside) = (String::new(), quoted);
        loop {
            let (text, behind) = inside.split_once('"').ok_or("a quotation mark is not closed")?;
            cell.push_str(text);
            match behind.strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    inside = more;
                }
                None => {
                    inside = behind;
                    break;
                }
            }
        }
        found.push(cell);
        match inside.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if inside.is_empty() => return Ok(found),
            None => return Err("something stands behind a closing quotation mark".into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let mut lines = Lines::new();
        let read: Result<Vec<Option<Row>>, String> = text.lines().map(|line| lines.read(line)).collect();
        Ok(read?.into_iter().flatten().collect())
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let row = Row { time: UnixMillis(1_795_711_099_000), relay: "r:7443".into(), token: "a.b.c".into(), bytes: 42 };
        let json = r#"{"time":"2026-11-26T16:38:19Z","relay":"r:7443","token":"a.b.c","bytes":42,"more":1}"#;
        assert_eq!(rows(json).unwrap(), std::slice::from_ref(&row));
        let csv = "\u{feff}status,time,relay,token,bytes\r\n\r\n\"2,0\"\"0\",1795711099000,r:7443,a.b.c,42\r\n";
        assert_eq!(rows(csv).unwrap(), std::slice::from_ref(&row));
        let w3c = "#Version: 1.0\n#Fields: date time s-host cs-method cs-uri-query sc-bytes\n\
                   2026-11-26 16:38:19 r:7443 GET v=1&weir_token=a.b.c 42\n#Remark: end\n";
        assert_eq!(rows(w3c).unwrap(), [Row { token: "v=1&weir_token=a.b.c".into(), ..row }]);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (text, why) in [
            ("{", "not JSON"),
            (r#"{"time":1,"relay":"r","token":"t","bytes":-1}"#, "bytes"),
            (r#"{"time":"soon","relay":"r","token":"t","bytes":1}"#, "time"),
            (r#"{"time":1,"token":"t","bytes":1}"#, "relay"),
            ("time,relay,token\n", "bytes"),
            ("time,time,relay,token,bytes\n", "two columns"),
            ("time,relay,token,bytes\n1,r,t\n", "there is no bytes"),
            ("time,relay,token,bytes\n1,r,\"t,1\n", "quotation"),
            ("time,relay,token,bytes\n1,r,\"t\"x,1\n", "quotation"),
            ("#Version: 1.0\n1 r t 1\n", "no column"),
            ("#Fields: date time s-host cs-uri-query sc-bytes\n2026-11-26 16:38 r q 1\n", "no time"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
