//! `weir origin takedown`: tells a running adapter over its private address; and the adapter's side of it.

use crate::{
    exit::{CHECK_FAILED, Failure, RUNTIME},
    private::{ADMIN, exchange},
};
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;
use weir_edge::admin::Command;
use weir_origin::takedown::{Takedowns, WithdrawError};
use weir_protocol::{
    ids::PublisherId,
    resource::{CanonicalPath, ResourceKey},
    takedown::{Takedown, Target},
};

/// Where takedowns are given and listed.
const PATH: &str = "/api/v1/takedowns";
/// Limit for the whole exchange.
const PATIENCE: Duration = Duration::from_secs(30);
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Flags of `weir origin takedown`.
#[derive(Args)]
pub(crate) struct TakedownArgs {
    /// Path to withdraw, with everything below it and any query: /film/ or /film/seg7.ts. Without it, what is
    /// withdrawn is listed.
    path: Option<String>,
    /// Withdraw for so long (30m, 12h, 7d) instead of until it is lifted.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
    /// Withdraw only the one resource of exactly this path and query.
    #[arg(long)]
    exact: bool,
    /// Let it be served again.
    #[arg(long, conflicts_with = "lasts")]
    lift: bool,
    /// Private address of the running adapter.
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__ADMIN", default_value_t = ADMIN)]
    admin: SocketAddr,
}

/// A time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: write a time as 30m, 12h or 7d");
    let (number, seconds) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "s")) => (number, 1),
        Some((number, "m")) => (number, 60),
        Some((number, "h")) => (number, 3600),
        Some((number, "d")) => (number, 24 * 3600),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| (1..=3650 * 24 * 3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Tells the adapter and prints what it answers.
pub(super) async fn run(args: TakedownArgs) -> Result<(), Failure> {
    let (method, body) = match &args.path {
        None => (Method::GET, Vec::new()),
        Some(path) => {
            let seconds = args.lasts.map(|lasts| lasts.as_secs());
            let wanted = json!({ "path": path, "exact": args.exact, "lift": args.lift, "seconds": seconds });
            (Method::POST, wanted.to_string().into_bytes())
        }
    };
    let (status, text) = timeout(PATIENCE, exchange(args.admin, PATH, method, body))
        .await
        .map_err(|_| Failure::new(RUNTIME, format!("{} does not answer", args.admin)))??;
    if status != StatusCode::OK {
        return Err(Failure::new(CHECK_FAILED, format!("the adapter at {} refuses: {}", args.admin, text.trim_end())));
    }
    println!("{}", text.trim_end());
    Ok(())
}

/// Takedowns over the private address.
pub(super) struct TakedownCommand {
    takedowns: Takedowns,
    publisher: PublisherId,
}

impl TakedownCommand {
    pub(super) fn new(takedowns: Takedowns, publisher: PublisherId) -> Arc<Self> {
        Arc::new(Self { takedowns, publisher })
    }

    fn target(&self, wanted: &Value) -> Result<Target, String> {
        let path = wanted["path"].as_str().ok_or("name the path: {\"path\": \"/film/\"}")?;
        if wanted["exact"] == true {
            let key = ResourceKey::parse(self.publisher, path).map_err(|error| format!("{path}: {error}"))?;
            return Ok(Target::Resource(key.hash()));
        }
        match CanonicalPath::parse(path) {
            Ok(path) => Ok(Target::path(path)),
            Err(_) if path.contains('?') => {
                Err(format!("{path}: a path is withdrawn with any query; ask for exactly this resource (--exact)"))
            }
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}

impl Command for TakedownCommand {
    fn path(&self) -> &'static str {
        PATH
    }

    fn state(&self) -> Value {
        json!({ "takedowns": self.takedowns.in_force().iter().map(shown).collect::<Vec<_>>() })
    }

    fn change(&self, wanted: Value) -> Result<Value, (StatusCode, String)> {
        let target = self.target(&wanted).map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why))?;
        let done = if wanted["lift"] == true {
            self.takedowns.lift(target)
        } else {
            let lasts = match &wanted["seconds"] {
                Value::Null => None,
                seconds => Some(seconds.as_u64().filter(|seconds| *seconds <= 3650 * DAY_MS / 1000).ok_or((
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "seconds: a whole number, at most ten years".to_owned(),
                ))?),
            };
            self.takedowns.take_down(target, lasts.map(|seconds| seconds * 1000))
        };
        match done {
            Ok(takedown) => Ok(shown(&takedown)),
            Err(error @ WithdrawError::Full) => Err((StatusCode::CONFLICT, error.to_string())),
            Err(error @ WithdrawError::NotKept(_)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }
}

fn shown(takedown: &Takedown) -> Value {
    let target = match &takedown.target {
        Target::Resource(hash) => json!({ "resource": hash.to_string() }),
        Target::Path(path) => json!({ "path": path.as_str() }),
        Target::LongPath { length, hash } => {
            json!({ "path_length": length, "path_hash": weir_protocol::ids::ResourceHash(*hash).to_string() })
        }
    };
    let lifted = takedown.until.is_some_and(|until| until <= takedown.serial);
    json!({ "target": target, "serial": takedown.serial, "until": takedown.until, "lifted": lifted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "7", "d", "-1d", "0s", "99999d", "1w", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
