//! `weir token`: issues session tokens with the publisher's signing key.
//!
//! Invariant: a token names nobody: its session id is random, and a new one for each token.

use crate::{
    exit::{CONFIGURATION, Failure, RUNTIME},
    ledger::now,
    settings,
};
use clap::{Args, ValueEnum};
use data_encoding::BASE64URL_NOPAD;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use url::Url;
use weir_origin::keys::PublisherKeys;
use weir_protocol::{
    CanonicalPath, RelayId, UnixMillis,
    token::{Confirmation, SessionClaims, TokenUse},
};

/// Random bytes of a session id.
const SID_BYTES: usize = 16;
/// How long a token is good unless another time is given.
const DEFAULT_LIFE: &str = "6h";

/// Arguments of `weir token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The adapter's data directory, with the publisher's keys.
    #[arg(long, value_name = "DIR", env = "WEIR_ORIGIN__DATA")]
    data: Option<PathBuf>,
    /// What the session may fetch: this path and everything below it.
    #[arg(long, value_name = "PATH", default_value = "/")]
    prefix: String,
    /// How long it is good: 90s, 30m, 6h or 7d.
    #[arg(long = "for", value_name = "TIME", default_value = DEFAULT_LIFE, value_parser = life)]
    life: Duration,
    /// Most bytes that the session may fetch, over all relays, for example 4GiB.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes)]
    max_bytes: Option<u64>,
    /// A relay that may serve the session; may be given several times. Without, any.
    #[arg(long = "relay", value_name = "ID", value_delimiter = ',')]
    relays: Vec<RelayId>,
    /// Who fetches: a viewer, or another CDN that pulls.
    #[arg(long = "use", value_name = "USE", default_value = "viewer")]
    usage: Usage,
    /// Thumbprint (RFC 7638, SHA-256) of the key that signs the player's receipts.
    #[arg(long, value_name = "THUMBPRINT")]
    cnf: Option<String>,
    /// Print this URL with the token in its query, instead of the token alone.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Usage {
    Viewer,
    Service,
}

/// Issues one.
pub(crate) fn run(args: TokenArgs) -> Result<ExitCode, Failure> {
    let data = args.data.unwrap_or_else(|| settings::data_directory("origin"));
    if !data.join("publisher-signing.key").exists() {
        let advice = "run weir origin there first, or name its directory (--data DIR)";
        return Err(Failure::new(CONFIGURATION, format!("{} holds no publisher's keys: {advice}", data.display())));
    }
    let keys = PublisherKeys::load_or_create(&data)?;
    let prefix = CanonicalPath::parse(&args.prefix)
        .map_err(|error| Failure::new(CONFIGURATION, format!("--prefix {}: {error}", args.prefix)))?;
    let token = issue(&keys, now(), args.life, |claims| SessionClaims {
        prefix: prefix.as_str().to_owned(),
        max_bytes: args.max_bytes,
        relays: args.relays,
        cnf: args.cnf.map(Confirmation::Jkt),
        usage: match args.usage {
            Usage::Viewer => TokenUse::Viewer,
            Usage::Service => TokenUse::Service,
        },
        ..claims
    })?;
    match args.url {
        None => println!("{token}"),
        Some(url) => println!("{}", with(url, &token)),
    }
    Ok(ExitCode::SUCCESS)
}

/// A token of the publisher: a viewer's for everything, unless `change` says otherwise.
pub(crate) fn issue(
    keys: &PublisherKeys,
    now: UnixMillis,
    life: Duration,
    change: impl FnOnce(SessionClaims) -> SessionClaims,
) -> Result<String, Failure> {
    let claims = change(SessionClaims {
        iss: keys.publisher(),
        sid: BASE64URL_NOPAD.encode(&rand::random::<[u8; SID_BYTES]>()),
        prefix: "/".into(),
        exp: now.as_secs().saturating_add(life.as_secs()),
        nbf: None,
        iat: Some(now.as_secs()),
        max_bytes: None,
        cnf: None,
        relays: Vec::new(),
        usage: TokenUse::Viewer,
    });
    claims.sign(&keys.signing()).map_err(|error| Failure::new(RUNTIME, error))
}

/// The URL with a token in its query.
pub(crate) fn with(mut url: Url, token: &str) -> Url {
    url.query_pairs_mut().append_pair("weir_token", token);
    url
}

/// A time with its unit: 90s, 30m, 6h or 7d.
pub(crate) fn life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: write a time as 90s, 30m, 6h or 7d");
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::token::UnverifiedToken;

    #[test]
    fn times_have_units() {
        assert_eq!(life("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(life("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "s", "6", "-1h", "0m", "6h ", "1\u{e9}", "99999999999999999999d"] {
            assert!(life(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_verifies_with_the_publishers_list_and_no_two_are_of_one_session() {
        let data = tempfile::tempdir().unwrap();
        let keys = PublisherKeys::load_or_create(data.path()).unwrap();
        let time = now();
        let hour = Duration::from_secs(3600);
        let issue = || issue(&keys, time, hour, |claims| SessionClaims { max_bytes: Some(5), ..claims }).unwrap();
        let (one, two) = (issue(), issue());
        let verified = |token: &str| {
            let token = UnverifiedToken::parse(token).unwrap();
            let ring = keys.ring(time).unwrap();
            let key = *ring.key(token.kid(), time).unwrap();
            token.verify(&key, time, 0).unwrap()
        };
        assert_eq!((verified(&one).iss, verified(&one).max_bytes), (keys.publisher(), Some(5)));
        assert_ne!(verified(&one).sid, verified(&two).sid);
        let url = with(Url::parse("https://a.example/x.m3u8?v=1").unwrap(), &one);
        assert_eq!(url.query().unwrap(), format!("v=1&weir_token={one}"));
    }
}
