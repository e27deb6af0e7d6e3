//! Reading a command and doing it.

use super::super::network::Relay;
use super::super::ward::{Condition, WardError};
use super::admit::{Refusal, Token, admit};
use super::session::Tokens;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::json;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use weir_relay::clock::Clock;
use weir_relay::http::{Answer, Body, Request, Response};

/// Longest command.
const MAX_COMMAND: usize = 4096;
/// Longest wait for its last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a slow relay sends, in bytes a second, when nothing else is said: less than the lowest rendition needs.
const SLOW: u64 = 20_000;
/// Farthest that a clock is set, in seconds: ten years.
const MAX_SKEW: u64 = 315_360_000;

/// What is done to which relay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    relay: String,
    #[serde(rename = "do")]
    act: Act,
    /// With `slow` alone.
    bytes_per_second: Option<NonZeroU64>,
    /// With `skew` alone, which needs it: how far the clock is set forward, or back.
    seconds: Option<i64>,
    /// With `slow`, `corrupt`, `partition` and `skew`: begin (the default) or end it.
    on: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    /// SIGKILL.
    Kill,
    /// Start it after it was killed.
    Restart,
    /// SIGSTOP: connections stay open and nothing comes.
    Pause,
    /// SIGCONT.
    Resume,
    /// Few bytes a second to all viewers together.
    Slow,
    /// A bit flipped in every piece of every segment for viewers.
    Corrupt,
    /// No datagram to or from the adapter and other relays.
    Partition,
    /// A clock that is wrong.
    Skew,
    /// As it was at the start, whatever was done.
    Heal,
}

impl Command {
    fn read(body: &[u8]) -> Result<Self, String> {
        let command: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if command.bytes_per_second.is_some() && command.act != Act::Slow {
            return Err("bytes_per_second belongs to slow alone".into());
        }
        if command.on.is_some() && !matches!(command.act, Act::Slow | Act::Corrupt | Act::Partition | Act::Skew) {
            return Err("on belongs to slow, corrupt, partition and skew".into());
        }
        let needs_seconds = command.act == Act::Skew && command.on != Some(false);
        if command.seconds.is_some() != needs_seconds {
            return Err("seconds belongs to the beginning of skew".into());
        }
        if command.seconds.is_some_and(|seconds| seconds.unsigned_abs() > MAX_SKEW) {
            return Err(format!("seconds is more than {MAX_SKEW}"));
        }
        Ok(command)
    }

    async fn run(&self, relay: &Relay) -> Result<Condition, WardError> {
        let ward = &relay.ward;
        let on = self.on.unwrap_or(true);
        match self.act {
            Act::Kill => ward.kill().await,
            Act::Restart => ward.restart().await,
            Act::Pause => ward.pause(true).await,
            Act::Resume => ward.pause(false).await,
            Act::Slow => {
                let rate = self.bytes_per_second.or(NonZeroU64::new(SLOW));
                ward.change(|faults| faults.slow = rate.filter(|_| on)).await
            }
            Act::Corrupt => ward.change(|faults| faults.corrupt = on).await,
            Act::Partition => ward.change(|faults| faults.partition = on).await,
            Act::Skew => {
                let seconds = self.seconds.unwrap_or(0);
                ward.change(|faults| faults.skew_seconds = seconds).await
            }
            Act::Heal => ward.heal().await,
        }?;
        Ok(ward.condition())
    }
}

/// The control desk.
pub(in crate::demo) struct Control {
    token: Token,
    relays: Arc<[Relay]>,
    tokens: Arc<Tokens>,
}

/// What is posted where.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) enum Desk {
    /// A command to a relay.
    Command,
    /// A viewer's wish for a session.
    Session,
}

impl Control {
    /// Over these relays, for whoever has the token; viewers' sessions are from `tokens`.
    pub(in crate::demo) fn new(token: Token, relays: Arc<[Relay]>, tokens: Arc<Tokens>) -> Self {
        Self { token, relays, tokens }
    }

    /// The relays it is over.
    pub(in crate::demo) fn relays(&self) -> &[Relay] {
        &self.relays
    }

    /// The token, for the page of the demo's own.
    pub(in crate::demo) fn token(&self) -> &str {
        self.token.text()
    }

    /// Answers what is posted.
    pub(in crate::demo) fn answer(&self, desk: Desk, request: Request) -> Answer {
        if request.method != Method::POST {
            return Answer::Ready(
                Response::text(StatusCode::METHOD_NOT_ALLOWED, "commands are posted")
                    .with(ALLOW, HeaderValue::from_static("POST")),
            );
        }
        if let Err(Refusal { status, why }) = admit(request.authority.as_deref(), &request.headers, &self.token) {
            return Answer::Ready(error(status, why));
        }
        let (relays, tokens) = (self.relays.clone(), self.tokens.clone());
        Answer::Pending(Box::pin(async move {
            match timeout(PATIENCE, Limited::new(request.body, MAX_COMMAND).collect()).await {
                Ok(Ok(body)) => match desk {
                    Desk::Command => obey(&relays, &body.to_bytes()).await,
                    Desk::Session => match tokens.issue(&body.to_bytes(), Clock::System.now()) {
                        Ok(given) => said(StatusCode::OK, &given),
                        Err(wrong) => error(StatusCode::BAD_REQUEST, &wrong),
                    },
                },
                Ok(Err(_)) => error(StatusCode::PAYLOAD_TOO_LARGE, "a command is at most 4096 bytes"),
                Err(_) => error(StatusCode::REQUEST_TIMEOUT, "the command did not arrive"),
            }
        }))
    }
}

async fn obey(relays: &[Relay], body: &Bytes) -> Response {
    let command = match Command::read(body) {
        Ok(command) => command,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    let Some(relay) = relays.iter().find(|relay| relay.name == command.relay) else {
        return error(StatusCode::NOT_FOUND, &format!("there is no relay {}", command.relay));
    };
    tracing::info!(relay = relay.name, act = ?command.act, "as somebody asked");
    match command.run(relay).await {
        Ok(condition) => said(StatusCode::OK, &json!({ "relay": relay.name, "condition": condition })),
        Err(wrong @ WardError::Unfit(..)) => error(StatusCode::CONFLICT, &wrong.to_string()),
        Err(wrong @ WardError::Failed(_)) => error(StatusCode::INTERNAL_SERVER_ERROR, &wrong.to_string()),
    }
}

fn error(status: StatusCode, why: &str) -> Response {
    said(status, &json!({ "error": why }))
}

fn said(status: StatusCode, what: &serde_json::Value) -> Response {
    Response::new(status)
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .body(Body::full(what.to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_strictly() {
        let read = |text: &str| Command::read(text.as_bytes());
        let slow = read(r#"{"relay":"a","do":"slow","bytes_per_second":1000}"#).unwrap();
        assert_eq!((slow.act, slow.bytes_per_second), (Act::Slow, NonZeroU64::new(1000)));
        assert_eq!(read(r#"{"relay":"a","do":"partition","on":false}"#).unwrap().on, Some(false));
        assert_eq!(read(r#"{"relay":"a","do":"skew","seconds":-60}"#).unwrap().seconds, Some(-60));
        assert_eq!(read(r#"{"relay":"a","do":"skew","on":false}"#).unwrap().seconds, None);
        for wrong in [
            r#"{"relay":"a"}"#,
            r#"{"relay":"a","do":"explode"}"#,
            r#"{"relay":"a","do":"kill","how":"hard"}"#,
            r#"{"relay":"a","do":"kill","bytes_per_second":1}"#,
            r#"{"relay":"a","do":"kill","on":true}"#,
            r#"{"relay":"a","do":"slow","bytes_per_second":0}"#,
            r#"{"relay":"a","do":"skew"}"#,
            r#"{"relay":"a","do":"skew","seconds":99999999999}"#,
            r#"{"relay":"a","do":"kill","seconds":1}"#,
            "kill a",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
