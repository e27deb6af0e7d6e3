//! Settings files and directories shared by the subcommands: flags win over the environment, which wins over the
//! file, which wins over defaults.

use crate::exit::{CONFIGURATION, Failure};
use serde::de::DeserializeOwned;
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    num::NonZeroU64,
    path::{Path, PathBuf},
};
use weir_protocol::wire::is_door_url;

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

/// Every address of the machine, of both families where the system has IPv6.
pub(crate) fn any_address(port: u16) -> SocketAddr {
    let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if both { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
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

/// A rate in bytes a second: bits with a decimal unit (`20Mbit`), or bytes as [`bytes()`] reads them (`2MiB`). At least
/// one kilobyte: less would serve nobody before it gives up.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    const LEAST: u64 = 1000;
    let wrong = || format!("{text}: write a rate as 20Mbit (bits a second) or 2MiB (bytes a second)");
    let bits = [("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)].into_iter().find_map(|(unit, bits)| {
        let number = text.trim().strip_suffix(unit)?.trim();
        Some(number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * bits / 8.0))
    });
    let rate = match bits {
        Some(bytes) => bytes.ok_or_else(wrong)? as u64,
        None => bytes(text).map_err(|_| wrong())?,
    };
    NonZeroU64::new(rate).filter(|rate| rate.get() >= LEAST).ok_or_else(|| format!("{text} is less than 8kbit"))
}

/// A base URL that viewers use, without the slash at its end.
pub(crate) fn door(url: Option<String>) -> Result<Option<String>, Failure> {
    let Some(url) = url else { return Ok(None) };
    let trimmed = url.trim_end_matches('/');
    if !is_door_url(trimmed) {
        let text = format!("{url}: write an address for viewers as https://relay.example.com:7443, without ? and #");
        return Err(Failure::new(CONFIGURATION, text));
    }
    Ok(Some(trimmed.to_owned()))
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
    fn rates_are_bits_or_bytes() {
        let read = |text| rate(text).map(NonZeroU64::get);
        assert_eq!(read("20Mbit"), Ok(2_500_000));
        assert_eq!(read("2.5 Gbit"), Ok(312_500_000));
        assert_eq!(read("2MiB"), Ok(2 << 20));
        for wrong in ["0", "fast", "20MBit", "-1Mbit", "nanMbit", "1kbit", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_door_is_an_absolute_url() {
        let read = |url: &str| door(Some(url.to_owned())).ok().flatten();
        assert_eq!(read("https://r.example:7443/").as_deref(), Some("https://r.example:7443"));
        assert_eq!(door(None).ok(), Some(None));
        assert!(read("r.example").is_none() && read("https://r.example/?x").is_none());
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
