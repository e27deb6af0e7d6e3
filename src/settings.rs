//! Settings files and directories shared by the subcommands: flags win over the environment, which wins over the
//! file, which wins over defaults.

use crate::exit::{CONFIGURATION, Failure};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Reads a TOML file. A missing file and an unknown key are errors; the text names the line.
pub(crate) fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Failure> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(CONFIGURATION, format!("cannot read configuration {}: {error}", path.display()))
    })?;
    toml::from_str(&text)
        .map_err(|error| Failure::new(CONFIGURATION, format!("{}: {}", path.display(), error.to_string().trim_end())))
}

/// Where a program keeps what it keeps, when nobody says otherwise: `$XDG_DATA_HOME/weir/NAME`, or
/// `~/.local/share/weir/NAME`, or `/var/lib/weir/NAME` for a service without a home.
pub(crate) fn data_directory(name: &str) -> PathBuf {
    let set = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("STATE_DIRECTORY")
        .or_else(|| Some(set("XDG_DATA_HOME")?.join("weir").join(name)))
        .or_else(|| Some(set("HOME")?.join(".local/share/weir").join(name)))
        .unwrap_or_else(|| Path::new("/var/lib/weir").join(name))
}

/// A size from a flag, else from the file, else the default.
pub(crate) fn size(flag: Option<u64>, file: Option<String>, default: u64) -> Result<u64, Failure> {
    match (flag, file) {
        (Some(size), _) => Ok(size),
        (None, Some(text)) => bytes(&text).map_err(|error| Failure::new(CONFIGURATION, error)),
        (None, None) => Ok(default),
    }
}

/// What the flags list, else what the file lists.
pub(crate) fn several<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

/// A certificate and its key, or neither.
pub(crate) fn certificate(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(Failure::new(CONFIGURATION, "cert and key belong together: name both or neither")),
    }
}

/// A size in bytes: digits, or with a unit `KiB`, `MiB`, `GiB`, `TiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(format!("{text}: write a size as 500MiB or 10GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text}: write a size as 500MiB or 10GiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Example {
        listen: Option<String>,
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("123"), Ok(123));
        assert_eq!(bytes("10 GiB"), Ok(10 << 30));
        assert!(bytes("10GB").is_err() && bytes("").is_err() && bytes("99999999999TiB").is_err());
    }

    #[test]
    fn an_unknown_key_names_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.toml");
        std::fs::write(&path, "listen = \"x\"\nlissten = \"y\"\n").unwrap();
        let error = read::<Example>(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("lissten") && error.contains("listen"), "{error}");
        std::fs::write(&path, "listen = \"x\"\n").unwrap();
        assert_eq!(read::<Example>(Some(&path)).unwrap().listen.as_deref(), Some("x"));
        assert!(read::<Example>(Some(Path::new("/nowhere/weir.toml"))).is_err());
    }
}
